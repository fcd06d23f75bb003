"""Lists of new items, of items of the training log and of both, against a plain sort and known answers."""

from __future__ import annotations

import functools
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from mmbench.data.held_out import HeldOut
from mmbench.data.interactions import Interactions
from mmbench.evaluation import metrics, new_items
from mmbench.evaluation.metrics import RankedPairs
from mmbench.evaluation.new_items import OFFSETS, Calibrated, CommonLists, new_in, ranker
from mmbench.evaluation.ranking import DegenerateScores

GOLDEN = Path(__file__).parents[1] / "parity" / "d"
CUTOFFS = (3, 5, 10)


@dataclass(frozen=True)
class Known:
    """Known answers of a folder; ``$MMBENCH_PARITY`` names further ones."""

    folder: Path

    @property
    def answers(self) -> dict[str, Any]:
        return json.loads((self.folder / "cold_evaluation.json").read_text())

    @functools.cached_property
    def dataset(self) -> dict[str, np.ndarray]:
        return dict(np.load(self.folder / "dataset.npz"))

    @property
    def size(self) -> tuple[int, int]:
        return int(self.dataset["n_users"]), int(self.dataset["n_items"])

    def interactions(self, *names: str) -> Interactions:
        users, items = (
            np.concatenate([self.dataset[f"{name}_{kind}"] for name in names]) for kind in ("users", "items")
        )
        return Interactions(users, items, *self.size)

    def mask(self, name: str) -> np.ndarray:
        return np.isin(np.arange(self.size[1]), self.dataset[name])

    @property
    def test(self) -> HeldOut:
        return HeldOut(self.interactions("test", "test_cold"), self.mask("test_cold_pool"), self.mask("warm_items"))

    @property
    def seen(self) -> tuple[Interactions, Interactions]:
        return self.interactions("train"), self.interactions("valid", "valid_cold")


MORE = [Path(folder) for folder in os.environ.get("MMBENCH_PARITY", "").split(":") if folder]
KNOWN = [
    Known(GOLDEN),
    *(Known(file.parent) for folder in MORE for file in sorted(folder.rglob("cold_evaluation.json"))),
]
CASES = [
    pytest.param(known, case, id=f"{known.folder.name}-{case}") for known in KNOWN for case in known.answers["cases"]
]


class Table:
    """Fixed scores."""

    def __init__(self, scores: np.ndarray) -> None:
        self.table = torch.from_numpy(scores)

    def score(self, users: Tensor) -> Tensor:
        return self.table[users]


def measured(pairs: RankedPairs) -> dict[str, float]:
    values = {"n_users": pairs.n_users, "auc": float(metrics.auc(pairs).mean())}
    for k in CUTOFFS:
        values |= {f"{name}@{k}": float(metrics.METRICS[name](pairs, k).mean()) for name in ("ndcg", "recall")}
    return values


@pytest.mark.parametrize("known, case", CASES)
def test_known_answers(known: Known, case: str) -> None:
    """Seven score tables among cold, warm and all candidates; common lists as the scores stand."""
    expected, model = known.answers["cases"][case], Table(np.load(known.folder / f"{case}.npz")["scores"])
    for candidates in ("cold", "warm"):
        pairs = ranker(known.test, candidates, *known.seen).rank(model).pairs
        assert measured(pairs) == pytest.approx(expected[candidates], rel=1e-9, abs=1e-12), candidates
    common = CommonLists(known.test, *known.seen).evaluator.rank(model)
    assert measured(common.pairs) == pytest.approx(
        {k: v for k, v in expected["all"].items() if not k.startswith("harmonic")}, rel=1e-9, abs=1e-12
    )
    mixed = RankedPairs(
        common.pairs.users,
        common.pairs.ranks,
        common.pairs.n_users,
        new=known.test.pool[common.items],
        candidates=common.pairs.candidates,
    )
    for new, name in ((False, "warm_in_all"), (True, "cold_in_all")):
        assert measured(metrics.of_kind(mixed, new=new)) == pytest.approx(expected[name], rel=1e-9, abs=1e-12), name
    for k in CUTOFFS:
        assert metrics.per_user(mixed, f"ndcg@{k}").mean() == pytest.approx(
            expected["all"][f"harmonic_ndcg@{k}"], rel=1e-9, abs=1e-12
        )


@pytest.mark.parametrize("known", KNOWN, ids=lambda known: known.folder.name)
def test_known_answers_of_the_floor(known: Known) -> None:
    """In closed form; the seeded ties of constant scores agree up to chance."""
    expected = known.answers["floor_of_cold_when_all_tie"]
    pairs = ranker(known.test, "cold", *known.seen).rank(Table(np.zeros(known.size))).pairs
    for k in CUTOFFS:
        for name in ("ndcg", "recall"):
            assert metrics.floor(pairs, f"{name}@{k}").mean() == pytest.approx(expected[f"{name}@{k}"], rel=1e-12)
    assert abs(metrics.auc(pairs).mean() - expected["auc"]) < 0.1
    with pytest.raises(ValueError, match="the floor of mrr is not known"):
        metrics.floor(pairs, "mrr@5")


def test_the_floor_is_the_mean_over_all_orders() -> None:
    rng, n, g, k = np.random.default_rng(0), 9, 3, 5
    orders = np.argsort(rng.random((40_000, n)), axis=1)[:, :g] + 1
    drawn = RankedPairs(
        np.repeat(np.arange(len(orders)), g), orders.ravel(), len(orders), candidates=np.full(40_000, n)
    )
    for name in ("ndcg@5", "recall@5"):
        values = metrics.per_user(drawn, name)
        assert abs(values.mean() - metrics.floor(drawn, name)[0]) < 4 * values.std() / 200
    assert abs(metrics.auc(drawn).mean() - 0.5) < 0.01
    short = RankedPairs(np.array([0, 0]), np.array([1, 2]), 1, candidates=np.array([2]))
    assert metrics.floor(short, f"ndcg@{k}").tolist() == metrics.floor(short, f"recall@{k}").tolist() == [1.0]
    assert metrics.auc(short).tolist() == [0.5]


def test_the_harmonic_mean_is_that_of_the_means() -> None:
    a, b = np.array([0.5, 0.1, 0.0]), np.array([0.2, 0.0, 0.1])
    expected = 2 * a.mean() * b.mean() / (a.mean() + b.mean())
    assert metrics.harmonic(a, b).mean() == pytest.approx(expected, rel=1e-14)
    assert metrics.harmonic(a, 0 * b).tolist() == [0.0, 0.0, 0.0]
    # Its spread is that of the harmonic mean when users are left out one at a time (jackknife).
    rng = np.random.default_rng(1)
    a, b = rng.random(400), rng.random(400) * 0.3
    left = [2 * x * y / (x + y) for x, y in zip((a.sum() - a) / 399, (b.sum() - b) / 399, strict=True)]
    jackknife = np.sqrt(399 / 400 * np.square(left - np.mean(left)).sum())
    assert metrics.harmonic(a, b).std(ddof=1) / 20 == pytest.approx(jackknife, rel=0.01)


def a_part(n_users: int = 12, n_items: int = 30) -> tuple[HeldOut, Interactions]:
    """Random held-out pairs of ten new items, of those in the training log, and of two that are neither."""
    rng = np.random.default_rng(3)
    role = np.repeat(["new", "warm", "none"], [10, 18, 2])[rng.permutation(n_items)]
    train, held = [], []
    for user in range(n_users):
        items = rng.permutation(np.flatnonzero(role == "warm"))
        train += [(user, i) for i in items[:5]]
        held += [(user, i) for i in items[5 : 5 + rng.integers(0, 3)]]
        held += [(user, i) for i in rng.permutation(np.flatnonzero(role == "new"))[: rng.integers(0, 4)]]
    rows, known = (Interactions(*np.array(pairs).T, n_users, n_items) for pairs in (held, train))
    return HeldOut(rows, role == "new", role == "warm"), known


@pytest.mark.parametrize("candidates", ["cold", "warm", "all"])
@pytest.mark.parametrize("digits", [1, 9])
def test_ranks_against_a_plain_sort(candidates: str, digits: int) -> None:
    """With and without ties; nothing outside the candidates is counted or listed."""
    part, train = a_part()
    scores = np.random.default_rng(5).standard_normal((12, 30)).round(digits)
    rank = ranker(part, candidates, train)
    evaluator = rank.evaluator if isinstance(rank, CommonLists) else rank
    ranking = evaluator.rank(Table(scores), top_k=30)
    allowed = part.allowed(candidates)
    assert ranking.top is not None
    assert ranking.pairs.candidates is not None
    for place, user in enumerate(ranking.users):
        own = np.flatnonzero(allowed & ~np.isin(np.arange(30), train.items[train.users == user]))
        assert sorted(ranking.top[place][ranking.top[place] >= 0]) == own.tolist()
        assert ranking.pairs.candidates[place] == len(own)
        of_user = ranking.pairs.users == place
        for item, r in zip(ranking.items[of_user], ranking.pairs.ranks[of_user], strict=True):
            above, equal = (own_scores.sum() for own_scores in (scores[user, own] > scores[user, item],
                                                                scores[user, own] == scores[user, item]))  # fmt: skip
            assert above + 1 <= r <= above + equal
            assert ranking.top[place][r - 1] == item


def test_equal_scores_rank_new_items_by_chance_and_are_an_error_elsewhere() -> None:
    part, train = a_part()
    constant = Table(np.zeros((12, 30)))
    assert ranker(part, "cold", train).rank(constant).pairs.ranks.max() > 1
    with pytest.raises(DegenerateScores, match="all scores are equal"):
        ranker(part, "warm", train).rank(constant)
    for candidates in ("cold", "warm", "all"):
        with pytest.raises(DegenerateScores, match="NaN or infinite"):
            ranker(part, candidates, train).rank(Table(np.full((12, 30), np.nan)))


def test_calibrated_scores_have_the_moments_of_the_others() -> None:
    part, train = a_part()
    scores = np.random.default_rng(5).standard_normal((12, 30)) * 3 - 40
    scores[:, part.pool] = scores[:, part.pool] * 100 + 7000
    users = torch.tensor([4, 0, 11])
    calibrated = Calibrated(Table(scores), part, (train,), 1.5).score(users).numpy()
    for row, user in zip(calibrated, users.tolist(), strict=True):
        old = part.warm & ~np.isin(np.arange(30), train.items[train.users == user])
        assert row[part.pool].mean() == pytest.approx(scores[user, old].mean() + 1.5 * scores[user, old].std())
        assert row[part.pool].std() == pytest.approx(scores[user, old].std())
        assert np.array_equal(row[~part.pool], scores[user, ~part.pool])
        assert np.array_equal(np.argsort(row[part.pool]), np.argsort(scores[user, part.pool]))


def test_nothing_tells_new_items_apart_the_floor_of_common_lists_is_chance() -> None:
    part, train = a_part()
    scores = np.random.default_rng(5).standard_normal((12, 30))
    scores[:, part.pool] = 0.25
    calibrated = Calibrated(Table(scores), part, (train,), 0.0).score(torch.arange(12)).numpy()[:, part.pool]
    assert len(np.unique(np.argsort(calibrated, axis=1), axis=0)) > 6, "each user has an order of its own"
    again = Calibrated(Table(scores), part, (train,), 0.0).score(torch.tensor([7])).numpy()[0, part.pool]
    assert np.array_equal(again, calibrated[7])
    many = new_items._chance(torch.arange(400), torch.ones(50, dtype=torch.bool))
    assert abs(float(many.mean())) < 0.03
    assert abs(float(many.std()) - 1) < 0.03


def test_scores_of_new_items_that_nothing_tells_apart_stay_where_chance_is_not_asked_for() -> None:
    part, train = a_part()
    scores = np.random.default_rng(5).standard_normal((12, 30))
    scores[::2, part.pool] = 0.25
    table, users = Table(scores), torch.arange(12)
    left = Calibrated(table, part, (train,), 1.5, by_chance=False).score(users).numpy()
    assert np.array_equal(left[::2], scores[::2])
    assert np.array_equal(left[1::2], Calibrated(table, part, (train,), 1.5).score(users).numpy()[1::2])


@pytest.mark.parametrize(("metric", "equal"), [("ndcg@20", False), ("recall@30", True)])
def test_the_offset_is_the_best_of_validation_and_then_stays(metric: str, equal: bool) -> None:
    """Of equal ones it is the first, as where every list holds all candidates."""
    part, train = a_part()
    model = Table(np.random.default_rng(5).standard_normal((12, 30)))
    lists = CommonLists(part, train)
    offset, values = lists.best(model, metric)
    means = {
        o: metrics.per_user(CommonLists(part, train).with_offset(o).rank(model).pairs, metric).mean() for o in OFFSETS
    }
    assert (len(set(means.values())) == 1) is equal
    assert means[offset] == max(means.values()) == values.mean() == lists.scores(model, metric).mean()
    assert offset == next(o for o in OFFSETS if means[o] == max(means.values()))


def test_all_offsets_are_ranked_from_scores_that_are_asked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mmbench.evaluation.ranking.BLOCK_SCORES", 1)
    monkeypatch.setattr("mmbench.evaluation.ranking.BLOCK_USERS", 5)
    part, train = a_part(n_users=40)
    lists, table = CommonLists(part, train), Table(np.random.default_rng(5).standard_normal((40, 30)))
    table.table[::4, torch.from_numpy(part.pool)] = 0.25  # by chance for some users of a block
    asked: list[int] = []

    class Counted:
        def score(self, users: Tensor) -> Tensor:
            asked.extend(users.tolist())
            return table.score(users)

    lists.best(Counted())
    assert asked == lists.users.tolist()
    versions = Calibrated(table, part, (train,), 0.0).with_offsets(torch.arange(40), OFFSETS)
    for offset, version in zip(OFFSETS, versions, strict=True):
        assert torch.equal(version, Calibrated(table, part, (train,), offset).score(torch.arange(40)))
        of_offset = lists.with_offset(offset).rank(table).pairs
        alone = lists.evaluator.rank(Calibrated(table, part, (train,), offset)).pairs
        assert np.array_equal(of_offset.ranks, alone.ranks)


def test_without_calibration_one_scale_takes_all_places() -> None:
    """Scores of new items far below the others: none in the first places; calibrated, some are."""
    part, train = a_part(n_users=40, n_items=30)
    scores = np.random.default_rng(5).standard_normal((40, 30))
    scores[:, part.pool] -= 100
    lists = CommonLists(part, train).with_offset(0.0)
    plain, fair = lists.evaluator.rank(Table(scores), 30).top, lists.rank(Table(scores), 30).top
    assert plain is not None
    assert fair is not None
    assert new_in(plain, part.pool, 10).sum() == 0
    assert new_in(fair, part.pool, 10).sum() > 40


def test_places_of_a_list_that_ran_out_hold_nothing_new() -> None:
    lists = np.array([[0, 1, -1], [1, -1, -1], [-1, -1, -1]])
    assert new_in(lists, np.array([True, False, True])).tolist() == [1, 0, 0]


def test_known_kinds_of_relevance() -> None:
    part, _ = a_part()
    cold, warm, both = (part.among(candidates) for candidates in ("cold", "warm", "all"))
    assert part.pool[cold.items].all()
    assert part.warm[warm.items].all()
    assert set(both.users) == set(cold.users) & set(warm.users)
    assert len(both) == sum(np.isin(rows.users, both.users).sum() for rows in (cold, warm))
