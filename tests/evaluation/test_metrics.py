from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.functional import retrieval

from mmbench.evaluation import metrics
from mmbench.evaluation.metrics import RankedPairs

N_ITEMS = 60
N_USERS = 40


@pytest.fixture(scope="module")
def lists() -> tuple[np.ndarray, np.ndarray]:
    """Distinct scores ``(N_USERS, N_ITEMS)`` and relevance; user 0 has one relevant item, user 1 has thirty."""
    rng = np.random.default_rng(0)
    scores = np.array([rng.permutation(N_ITEMS) for _ in range(N_USERS)]).astype(float)
    counts = np.r_[1, 30, rng.integers(1, 8, N_USERS - 2)]
    relevance = np.arange(N_ITEMS) < counts[:, None]
    return scores, rng.permuted(relevance, axis=1)


@pytest.fixture(scope="module")
def pairs(lists: tuple[np.ndarray, np.ndarray]) -> RankedPairs:
    scores, relevance = lists
    users, items = np.nonzero(relevance)
    ranks = N_ITEMS - scores[users, items].astype(int)
    mixed = np.random.default_rng(1).permutation(len(users))  # the order of pairs carries no meaning
    return RankedPairs(users[mixed], ranks[mixed], N_USERS)


def from_torchmetrics(lists: tuple[np.ndarray, np.ndarray], metric: Callable[..., torch.Tensor], k: int) -> np.ndarray:
    rows = zip(torch.from_numpy(lists[0]), torch.from_numpy(lists[1]), strict=True)
    return np.array([metric(scores, relevant, top_k=k).item() for scores, relevant in rows])


@pytest.mark.parametrize("k", [1, 5, 20, 50])
@pytest.mark.parametrize(
    "name, oracle",
    [
        ("recall", retrieval.retrieval_recall),
        ("precision", retrieval.retrieval_precision),
        ("ndcg", retrieval.retrieval_normalized_dcg),
        ("mrr", retrieval.retrieval_reciprocal_rank),
        ("hr", retrieval.retrieval_hit_rate),
    ],
)
def test_against_torchmetrics(
    lists: tuple[np.ndarray, np.ndarray], pairs: RankedPairs, name: str, oracle: Callable[..., torch.Tensor], k: int
) -> None:
    expected = from_torchmetrics(lists, oracle, k)
    np.testing.assert_allclose(metrics.per_user(pairs, f"{name}@{k}"), expected, rtol=1e-5)  # the oracle is float32


@pytest.mark.parametrize("k", [1, 5, 20, 50])
def test_average_precision_against_torchmetrics(
    lists: tuple[np.ndarray, np.ndarray], pairs: RankedPairs, k: int
) -> None:
    """Torchmetrics divides by the number of hits in the list, we by ``min(k, |G|)``: a missed item costs."""
    theirs = from_torchmetrics(lists, retrieval.retrieval_average_precision, k)
    hits = metrics.recall(pairs, k) * pairs.relevant
    expected = theirs * hits / np.minimum(k, pairs.relevant)
    np.testing.assert_allclose(metrics.per_user(pairs, f"map@{k}"), expected, rtol=1e-5)


def slow(ranks: list[int], k: int) -> dict[str, float]:
    """The definitions, one user at a time."""
    n, hits = len(ranks), [rank for rank in sorted(ranks) if rank <= k]
    ideal = sum(1 / math.log2(place + 1) for place in range(1, min(k, n) + 1))
    return {
        "recall": len(hits) / n,
        "precision": len(hits) / k,
        "hr": float(bool(hits)),
        "ndcg": sum(1 / math.log2(rank + 1) for rank in hits) / ideal,
        "mrr": 1 / hits[0] if hits else 0.0,
        "map": sum((place + 1) / rank for place, rank in enumerate(hits)) / min(k, n),
    }


users_with_ranks = st.lists(st.lists(st.integers(1, 40), min_size=1, max_size=12, unique=True), min_size=1, max_size=8)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(users_with_ranks, st.integers(1, 45), st.randoms(use_true_random=False))
def test_against_slow_python(ranks: list[list[int]], k: int, random: object) -> None:
    flat = [(user, rank) for user, own in enumerate(ranks) for rank in own]
    random.shuffle(flat)  # type: ignore[attr-defined]
    users, values = np.array(flat).T
    pairs = RankedPairs(users, values, len(ranks))
    for name in metrics.METRICS:
        expected = [slow(own, k)[name] for own in ranks]
        np.testing.assert_allclose(metrics.per_user(pairs, f"{name}@{k}"), expected, rtol=1e-12, err_msg=name)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(users_with_ranks)
def test_values_lie_between_zero_and_one_and_recall_grows(ranks: list[list[int]]) -> None:
    users = np.repeat(np.arange(len(ranks)), [len(own) for own in ranks])
    pairs = RankedPairs(users, np.concatenate(ranks), len(ranks))
    means = metrics.mean_metrics(pairs)
    assert all(0.0 <= value <= 1.0 + 1e-12 for value in means.values())
    for name in ("recall", "hr", "mrr"):
        by_cutoff = [means[f"{name}@{k}"] for k in metrics.CUTOFFS]
        assert by_cutoff == sorted(by_cutoff)


def test_a_cut_off_beyond_all_items_costs_no_memory(pairs: RankedPairs) -> None:
    listed = RankedPairs(pairs.users, pairs.ranks, N_USERS, candidates=np.full(N_USERS, N_ITEMS))
    tied = np.ones(len(pairs.ranks), np.int64)
    for compute in (metrics.ndcg, lambda p, k: metrics.expected_ndcg(p, tied, k)):
        assert compute(listed, 10**30).tolist() == compute(listed, N_ITEMS).tolist()
    for name in metrics.METRICS:
        if name != "precision":
            all_of_them = metrics.per_user(pairs, f"{name}@{N_ITEMS}").tolist()
            assert metrics.per_user(pairs, f"{name}@{10**30}").tolist() == all_of_them
    for name in metrics.FLOORS:
        assert metrics.floor(listed, f"{name}@{10**30}").tolist() == metrics.floor(listed, f"{name}@{N_ITEMS}").tolist()


def test_a_perfect_list_scores_one() -> None:
    """Also where more items are held out than the list is long, except for recall and precision."""
    pairs = RankedPairs(np.zeros(8, np.int64), np.arange(1, 9), 1)
    perfect = {name: metrics.per_user(pairs, f"{name}@5")[0] for name in metrics.METRICS}
    assert perfect == pytest.approx({"recall": 5 / 8, "ndcg": 1, "precision": 1, "mrr": 1, "map": 1, "hr": 1})


def test_auc_of_a_user_who_took_every_candidate_is_that_of_chance() -> None:
    """The other user took the last of three."""
    pairs = RankedPairs(np.array([0, 0, 1]), np.array([1, 2, 3]), 2, candidates=np.array([2, 3]))
    assert metrics.auc(pairs).tolist() == [0.5, 0.0]


def test_mean_metrics_is_the_mean_of_every_metric(pairs: RankedPairs) -> None:
    means = metrics.mean_metrics(pairs)
    assert set(means) == {f"{name}@{k}" for name in metrics.METRICS for k in (5, 10, 20, 50)}
    for key, value in means.items():
        assert value == pytest.approx(metrics.per_user(pairs, key).mean(), rel=1e-14)


@pytest.mark.parametrize("name", ["ndcg", "ndcg@", "ndcg@0", "ndcg@-5", "ndcg@x", "gini@20", "", "@20", "NDCG@20"])
def test_unknown_names_are_refused(pairs: RankedPairs, name: str) -> None:
    with pytest.raises(ValueError, match="is not a metric; write one of recall, ndcg") as error:
        metrics.per_user(pairs, name)
    assert repr(name) in str(error.value)


def later_by_one(pairs: RankedPairs, k: int) -> np.ndarray:
    pairs.ranks[:] += 1
    pairs.users[:] = 0
    return np.ones(pairs.n_users)


def test_a_metric_of_ones_own_cannot_write_into_the_ranks(pairs: RankedPairs) -> None:
    before = metrics.mean_metrics(pairs)
    metrics.per_user(pairs, f"{__name__}.later_by_one@5")
    assert metrics.mean_metrics(pairs) == before
