"""The late ensemble against the definition, written out over all candidates, and against full evaluation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from mmbench.data.interactions import Interactions
from mmbench.evaluation import metrics
from mmbench.evaluation.counting import tie_keys
from mmbench.evaluation.late_ensemble import late
from mmbench.evaluation.metrics import Ranking
from mmbench.evaluation.ranking import Evaluator
from mmbench.evaluation.ties import tie_key

N_USERS, N_ITEMS = 23, 60
RNG = np.random.default_rng(5)


class Table:
    """Scores by user and item; few different values, so that there are many ties."""

    def __init__(self, scores: Tensor) -> None:
        self.scores = scores

    def score(self, users: Tensor) -> Tensor:
        return self.scores[users]


def part(share: float) -> Interactions:
    users, items = np.nonzero(RNG.random((N_USERS, N_ITEMS)) < share)
    return Interactions(users, items, N_USERS, N_ITEMS)


SEEN = part(0.2)
# User 7 has seen all but six items, and user 4 has nothing to find.
SEEN = Interactions(
    np.concatenate([SEEN.users[SEEN.users != 7], np.full(N_ITEMS - 6, 7)]),
    np.concatenate([SEEN.items[SEEN.users != 7], np.arange(N_ITEMS - 6)]),
    N_USERS,
    N_ITEMS,
)
CANDIDATE = np.ones((N_USERS, N_ITEMS), bool)
CANDIDATE[SEEN.users, SEEN.items] = False
HELD = CANDIDATE & (RNG.random((N_USERS, N_ITEMS)) < 0.15)
HELD[7, N_ITEMS - 1], HELD[4] = True, False
EVALUATOR = Evaluator(Interactions(*np.nonzero(HELD), N_USERS, N_ITEMS), SEEN)


def scorers(count: int) -> list[Table]:
    return [Table(torch.from_numpy(RNG.integers(0, 25, (N_USERS, N_ITEMS)).astype(np.float32))) for _ in range(count)]


def all_ranks(table: Table) -> np.ndarray:
    """Rank of every item among the candidates of every user, one after the other."""
    ranks = np.full((N_USERS, N_ITEMS), 10**6)
    keys = tie_keys(torch.arange(N_USERS), N_ITEMS).numpy()
    for user in range(N_USERS):
        candidates = np.flatnonzero(CANDIDATE[user])
        order = sorted(candidates, key=lambda item: (-float(table.scores[user, item]), keys[user, item]))
        ranks[user, order] = np.arange(1, len(order) + 1)
    return ranks


@pytest.mark.parametrize("length", [1, 5, 20, N_ITEMS])
@pytest.mark.parametrize("count", [2, 3])
def test_ranks_are_those_of_the_definition(count: int, length: int) -> None:
    tables = scorers(count)
    rankings = [EVALUATOR.rank(table, length) for table in tables]
    by_run = [all_ranks(table) for table in tables]
    whole = sum(np.minimum(ranks, length + 1) for ranks in by_run)
    expected = EVALUATOR.rank(Table(-torch.from_numpy(whole).float()))
    found = late(rankings)
    listed = np.logical_or.reduce([ranks <= length for ranks in by_run])
    pair_users = EVALUATOR.users[found.users]
    inside = listed[pair_users, EVALUATOR.items]
    assert found.ranks[inside].tolist() == expected.pairs.ranks[inside].tolist()
    assert found.ranks[~inside].tolist() == (listed.sum(axis=1)[pair_users[~inside]] + 1).tolist()
    assert inside.any()
    assert inside.all() == (length == N_ITEMS)
    for k in {1, length // 2 or 1, length}:
        for name in metrics.METRICS:
            assert metrics.per_user(found, f"{name}@{k}").tolist() == pytest.approx(
                metrics.per_user(expected.pairs, f"{name}@{k}").tolist()
            ), (name, k)


def test_of_equal_runs_the_ensemble_is_the_run() -> None:
    (table,) = scorers(1)
    ranking = EVALUATOR.rank(table, N_ITEMS)
    assert late([ranking, ranking, ranking]).ranks.tolist() == ranking.pairs.ranks.tolist()


def test_the_order_of_runs_does_not_matter() -> None:
    rankings = [EVALUATOR.rank(table, 10) for table in scorers(3)]
    assert late(rankings).ranks.tolist() == late(rankings[::-1]).ranks.tolist()


def test_exact_ranks_of_held_out_items_are_not_used() -> None:
    """They are known of held-out items only, and would lift nothing else."""
    rankings = [EVALUATOR.rank(table, 5) for table in scorers(2)]
    better = [replace(r, pairs=replace(r.pairs, ranks=np.ones_like(r.pairs.ranks))) for r in rankings]
    assert late(better).ranks.tolist() == late(rankings).ranks.tolist()


def test_a_key_by_pair_is_the_key_of_the_row() -> None:
    users, items = torch.tensor([3, 0, 9]), torch.tensor([7, 2, 0])
    assert torch.equal(tie_key(users, items), tie_keys(users, 8).gather(1, items.unsqueeze(1)).squeeze(1))
    assert tie_key(users, items).tolist() == tie_key(users.numpy(), items.numpy()).tolist()


def shorter(ranking: Ranking) -> Ranking:
    assert ranking.top is not None
    return replace(ranking, top=ranking.top[:, :3])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: replace(r, top=None), "lists of one length"),
        (shorter, "lists of one length"),
        (lambda r: replace(r, items=r.items[::-1]), "same test pairs"),
        (lambda r: replace(r, users=r.users + 1), "same test pairs"),
    ],
)
def test_what_cannot_be_averaged_is_refused(change, message) -> None:  # type: ignore[no-untyped-def]
    ranking, other = (EVALUATOR.rank(table, 5) for table in scorers(2))
    with pytest.raises(ValueError, match=message):
        late([ranking, change(other)])
