from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmbench.data.interactions import Interactions, deduplicated, k_core, rating_at_least


def log_of(pairs: list[tuple[int, int]], **columns: list[object]) -> pd.DataFrame:
    users, items = zip(*pairs, strict=True) if pairs else ((), ())
    ids = {"user_id": [f"u{u}" for u in users], "item_id": [f"i{i}" for i in items]}
    return pd.DataFrame({**ids, **columns}).astype({"user_id": str, "item_id": str})


def slow_k_core(pairs: list[tuple[int, int]], k: int) -> list[tuple[int, int]]:
    """Remove one offending row after another."""
    kept = list(pairs)
    while True:
        by_user, by_item = [u for u, _ in kept], [i for _, i in kept]
        bad = [p for p in kept if by_user.count(p[0]) < k or by_item.count(p[1]) < k]
        if not bad:
            return kept
        kept.remove(bad[0])


@settings(max_examples=80, deadline=None, derandomize=True)
@given(
    pairs=st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=40, unique=True),
    k=st.integers(0, 5),
)
def test_k_core_against_slow(pairs: list[tuple[int, int]], k: int) -> None:
    """The core is unique, so the order of removal cannot matter."""
    core = k_core(log_of(pairs), k)
    assert list(core["user_id"] + core["item_id"]) == [f"u{u}i{i}" for u, i in slow_k_core(pairs, k)]


def test_k_core_needs_more_than_one_round() -> None:
    """Dropping item 9 leaves user 2 short, which leaves item 1 short, and so on until nothing is left."""
    chain = [(0, 0), (0, 1), (1, 0), (2, 1), (2, 9)]
    assert k_core(log_of(chain), 2).empty
    square = [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert len(k_core(log_of([*square, (1, 9)]), 2)) == 4


@pytest.mark.parametrize("k", [0, 1])
def test_no_core_keeps_everything(k: int) -> None:
    log = log_of([(0, 0), (1, 5)])
    pd.testing.assert_frame_equal(k_core(log, k), log)


def test_deduplicated_keeps_the_earliest() -> None:
    log = log_of([(0, 0), (0, 1), (0, 0), (0, 0)], timestamp=[30, 5, 10, 20])
    assert deduplicated(log)["timestamp"].tolist() == [5, 10]


def test_deduplicated_keeps_the_first_without_time_and_the_order_of_rows() -> None:
    log = log_of([(3, 0), (0, 1), (3, 0), (1, 1)], rating=[1, 2, 3, 4])
    assert deduplicated(log)["rating"].tolist() == [1, 2, 4]


def test_deduplicated_breaks_equal_times_by_row() -> None:
    log = log_of([(0, 0), (0, 0)], timestamp=[7, 7], rating=[1, 2])
    assert deduplicated(log)["rating"].tolist() == [1]


def test_rating_threshold_includes_the_threshold() -> None:
    log = log_of([(0, 0), (0, 1), (0, 2)], rating=[3.5, 4.0, 4.5])
    assert rating_at_least(log, 4.0)["rating"].tolist() == [4.0, 4.5]
    assert rating_at_least(log, None) is log


def test_rating_threshold_needs_ratings() -> None:
    message = r"dataset.min_rating=4.0 needs a column 'rating'; columns are user_id, item_id"
    with pytest.raises(ValueError, match=message):
        rating_at_least(log_of([(0, 0)]), 4.0)


@pytest.mark.parametrize(
    "ratings", [["3.5", "4", None], pd.array([3.5, 4, None], "Float64"), pd.Categorical([3, 4, 3])]
)
def test_ratings_as_text_and_nullable_ones_are_numbers(ratings: object) -> None:
    log = log_of([(0, 0), (0, 1), (0, 2)]).assign(rating=ratings)
    assert rating_at_least(log, 4.0)["item_id"].tolist() == ["i1"]


def test_ratings_that_are_no_numbers_are_refused() -> None:
    log = log_of([(0, 0), (0, 1)], rating=["4", "good"])
    with pytest.raises(ValueError, match=r"min_rating=4.0 needs numbers in column 'rating', and 'good' is none"):
        rating_at_least(log, 4.0)


def some(users: list[int], items: list[int], n_users: int = 4, n_items: int = 5) -> Interactions:
    return Interactions(np.array(users), np.array(items), n_users, n_items)


@pytest.mark.parametrize(
    "users, items, message",
    [
        ([0, 4], [0, 0], r"user index 4 is outside \[0, 4\)"),
        ([0, 1], [0, 5], r"item index 5 is outside \[0, 5\)"),
        ([0, -1], [0, 1], r"user index -1 is outside \[0, 4\)"),
        ([0, 1], [0], r"users \(2,\) and items \(1,\) must be vectors of one length"),
        ([[0, 1]], [[0, 1]], r"must be vectors of one length"),
    ],
)
def test_interactions_check_their_indices(users: list[int], items: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        some(users, items)


def test_select_keeps_sizes_and_times() -> None:
    whole = Interactions(np.array([0, 1, 2]), np.array([4, 3, 2]), 9, 8, np.array([10, 20, 30]))
    part = whole.select(np.array([True, False, True]))
    assert (part.users.tolist(), part.items.tolist(), part.n_users, part.n_items) == ([0, 2], [4, 2], 9, 8)
    assert part.times is not None
    assert part.times.tolist() == [10, 30]
    assert len(part) == 2


def test_fingerprint_sees_the_set_of_pairs_and_nothing_else() -> None:
    one = some([0, 1, 1], [2, 3, 4])
    assert one.fingerprint() == some([1, 0, 1], [4, 2, 3]).fingerprint()
    others = [some([0, 1, 1], [2, 3, 3]), some([0, 1], [2, 3]), some([0, 1, 1], [2, 3, 4], n_items=6)]
    assert len({one.fingerprint(), *(other.fingerprint() for other in others)}) == 4
    swapped = Interactions(one.items, one.users, 5, 4)
    assert swapped.fingerprint() != one.fingerprint()
