"""Measures beyond accuracy against values worked out by hand and against plain loops."""

from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmbench.evaluation import list_measures

#: Five items; three users, the second list ran out after one item.
LISTS = np.array([[0, 1, 2], [1, -1, -1], [3, 1, 0]], np.int32)
COUNTS = np.array([6, 3, 1, 0, 0])
#: Training interactions of these users.
USERS, ITEMS = np.array([0, 0, 1, 2, 2]), np.array([0, 2, 0, 1, 1])


def test_exposure_and_coverage() -> None:
    assert list_measures.exposure(LISTS, 5).tolist() == [2, 3, 1, 1, 0]
    assert list_measures.coverage(LISTS, 5) == 0.8


@pytest.mark.parametrize(
    ("counts", "gini", "effective"),
    [
        ([3, 3, 3, 3], 0.0, 4.0),
        ([0, 0, 0, 8], 0.75, 1.0),
        ([1, 0, 0, 1], 0.5, 2.0),
        ([0, 1, 3], (-1 * 0 + 0 + 2 * 3) / 12, None),
    ],
)
def test_concentration_of_exposure(counts: list[int], gini: float, effective: float | None) -> None:
    assert list_measures.gini(np.array(counts)) == pytest.approx(gini)
    p = np.array(counts)[np.array(counts) > 0] / sum(counts)
    expected = effective if effective is not None else math.exp(-sum(x * math.log(x) for x in p))
    assert list_measures.effective_catalogue(np.array(counts)) == pytest.approx(expected)


def test_gini_is_the_mean_difference() -> None:
    x = np.random.default_rng(0).integers(0, 50, 40)
    expected = np.abs(x[:, None] - x).sum() / (2 * len(x) ** 2 * x.mean())
    assert list_measures.gini(x) == pytest.approx(expected)


def test_popularity_of_lists() -> None:
    assert list_measures.average_popularity(LISTS, COUNTS) == pytest.approx((10 / 3 + 3 + 3) / 3)
    # Ten users: an item of the log of nobody counts as bought once.
    bits = -np.log2(np.array([6, 3, 1, 1, 1]) / 10)
    expected = ((bits[0] + bits[1] + bits[2]) / 3 + bits[1] + (bits[3] + bits[1] + bits[0]) / 3) / 3
    assert list_measures.novelty(LISTS, COUNTS, 10) == pytest.approx(expected)
    profile = ((6 + 1) / 2 + 6 + 3) / 3
    found = list_measures.popularity_lift(LISTS, COUNTS, USERS, ITEMS)
    assert found == pytest.approx(((10 / 3 + 3 + 3) / 3 - profile) / profile)


def test_the_long_tail_starts_after_four_fifths_of_the_interactions() -> None:
    assert list_measures.long_tail(COUNTS).tolist() == [
        False,
        False,
        True,
        True,
        True,
    ]  # 6 + 3 of 10 are the first to reach 8
    assert list_measures.long_tail(np.array([8, 1, 1])).tolist() == [False, True, True]  # 8 of 10 is exactly enough
    assert list_measures.long_tail(np.array([1, 1, 1, 1, 1])).tolist() == [False] * 4 + [True]
    assert list_measures.long_tail(np.zeros(3, int)).all()
    tail = list_measures.long_tail(COUNTS)
    assert list_measures.tail_share(LISTS, tail) == pytest.approx((1 / 3 + 0 + 1 / 3) / 3)
    assert list_measures.tail_count(LISTS, tail) == pytest.approx(2 / 3)


def test_an_empty_list_counts_for_nothing() -> None:
    longer = np.vstack([LISTS, [[-1, -1, -1]]])
    tail = list_measures.long_tail(COUNTS)
    for measure, argument in (
        (list_measures.average_popularity, COUNTS),
        (list_measures.tail_share, tail),
        (list_measures.tail_count, tail),
    ):
        assert measure(longer, argument) == pytest.approx(measure(LISTS, argument))
    with pytest.raises(ValueError, match="no user has a list"):
        list_measures.average_popularity(longer[3:], COUNTS)
    with pytest.raises(ValueError, match="nothing was recommended"):
        list_measures.gini(list_measures.exposure(longer[3:], 5))


def test_diversity_of_categories() -> None:
    categories = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 1], [0, 0, 0], [0, 0, 0]], bool)
    # First list: 1 - 1/2, 1, 1; third: items 3 and 1 share nothing, 3 and 0 neither, 1 and 0 half.
    assert list_measures.category_diversity(LISTS, categories) == pytest.approx(
        ((0.5 + 1 + 1) / 3 + (1 + 1 + 0.5) / 3) / 2
    )
    alike = np.array([[3, 4]])
    assert list_measures.category_diversity(alike, categories) == 0.0


@settings(deadline=None, derandomize=True, max_examples=30)
@given(st.integers(0, 10_000))
def test_diversity_against_loops(seed: int) -> None:
    rng = np.random.default_rng(seed)
    lists = np.stack([rng.permutation(9)[:4] for _ in range(6)])
    lists[0, 2:] = -1
    categories = rng.random((9, 4)) < 0.4
    jaccard = []
    for row in lists:
        kept = [i for i in row if i >= 0]
        pairs = [(a, b) for n, a in enumerate(kept) for b in kept[:n]]
        jaccard.append(np.mean([_jaccard(categories[a], categories[b]) for a, b in pairs]))
    assert list_measures.category_diversity(lists, categories) == pytest.approx(np.mean(jaccard))


def _jaccard(a: np.ndarray, b: np.ndarray) -> float:
    either = (a | b).sum()
    return 1 - (a & b).sum() / either if either else 0.0


def test_calibration() -> None:
    categories = np.array([[1, 0], [0, 1], [1, 1], [0, 0]], bool)
    lists = np.array([[0, 1], [1, 1], [0, 0], [3, -1]])
    users, items = np.array([0, 0, 1, 2, 3]), np.array([0, 1, 0, 2, 0])
    # User 0: half and half in both. User 1: all of the first in the profile, all of the second in the list.
    opposite = math.log(1 / 0.01)
    half = 0.5 * math.log(0.5 / (0.99 * 1 + 0.01 * 0.5)) + 0.5 * math.log(0.5 / (0.01 * 0.5))
    found = list_measures.miscalibration(lists, categories, users, items)
    assert found == pytest.approx((0.0 + opposite + half) / 3)  # the last list has no category
    assert math.isnan(list_measures.miscalibration(lists[3:], categories, np.array([0]), np.array([0])))


@pytest.mark.parametrize("numbers", [1, 500])
def test_measures_of_categories_work_in_blocks_of_users(numbers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same numbers to the last bit, in a fraction of the memory of users x places x categories."""
    rng = np.random.default_rng(3)
    lists = rng.integers(-1, 60, (400, 20))
    categories = rng.random((60, 50)) < 0.05
    users, items = rng.integers(0, 400, 5000), rng.integers(0, 60, 5000)
    calibration = list_measures.miscalibration(lists, categories, users, items)
    diversity = list_measures.category_diversity(lists, categories)
    monkeypatch.setattr(list_measures, "BLOCK_NUMBERS", numbers)
    tracemalloc.start()
    try:
        assert list_measures.miscalibration(lists, categories, users, items) == calibration
        assert list_measures.category_diversity(lists, categories) == diversity
        assert tracemalloc.get_traced_memory()[1] < lists.size * 50
    finally:
        tracemalloc.stop()


def test_cold_recall() -> None:
    users, items = np.array([0, 0, 1, 1, 2]), np.array([3, 0, 3, 4, 1])
    ranks = np.array([5, 1, 30, 20, 1])
    assert list_measures.cold_recall(users, items, ranks, COUNTS, 20) == pytest.approx((1 + 0.5) / 2)
    assert list_measures.cold_recall(users[[1, 4]], items[[1, 4]], ranks[[1, 4]], COUNTS, 20) is None


def test_summary_of_a_list() -> None:
    # The first two of each list show item 0 once, 1 three times and 3 once, which alone is in the tail.
    bits = -np.log2(np.array([6, 3, 1]) / 10)
    assert list_measures.summary(LISTS, COUNTS, 10, USERS, ITEMS, 2) == pytest.approx({
        "coverage@2": 3 / 5,
        "gini@2": (2 * 1 + 4 * 3) / (5 * 5),
        "effective_catalogue@2": math.exp(-2 * 0.2 * math.log(0.2) - 0.6 * math.log(0.6)),
        "novelty@2": ((bits[0] + bits[1]) / 2 + bits[1] + (bits[2] + bits[1]) / 2) / 3,
        "arp@2": ((6 + 3) / 2 + 3 + (0 + 3) / 2) / 3,
        "aplt@2": (0 + 0 + 1 / 2) / 3,
        "aclt@2": (0 + 0 + 1) / 3,
        "poplift@2": 3 / (((6 + 1) / 2 + 6 + 3) / 3) - 1,
    })  # fmt: skip
    with pytest.raises(ValueError, match="lists hold 3 items, fewer than 4"):
        list_measures.summary(LISTS, COUNTS, 10, USERS, ITEMS, 4)
