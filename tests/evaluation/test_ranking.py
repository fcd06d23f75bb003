from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor

from mmbench.data.interactions import Interactions
from mmbench.evaluation import counting, ties
from mmbench.evaluation.counting import count_ranks, sorted_ranks, tie_keys, top_items
from mmbench.evaluation.ranking import DegenerateScores, Evaluator

N_USERS, N_ITEMS = 30, 25


class Table:
    """Scores from a table; remembers for which users it was asked."""

    def __init__(self, scores: Tensor) -> None:
        self.scores = scores
        self.asked: list[int] = []

    def score(self, users: Tensor) -> Tensor:
        self.asked += users.tolist()
        return self.scores[users]


def interactions(pairs: set[tuple[int, int]], n_users: int = N_USERS, n_items: int = N_ITEMS) -> Interactions:
    users, items = np.array(sorted(pairs)).T.reshape(2, -1).astype(np.int64)
    mixed = np.random.default_rng(0).permutation(len(users))
    return Interactions(users[mixed], items[mixed], n_users, n_items)


@pytest.fixture(scope="module")
def world() -> tuple[Interactions, Interactions, Tensor]:
    """Train, held-out and scores with many ties; users 3 and 7 have nothing held out."""
    rng = np.random.default_rng(0)
    train, heldout = set(), set()
    for user in range(N_USERS):
        chosen = rng.choice(N_ITEMS, 10, replace=False).tolist()
        train |= {(user, item) for item in chosen[:7]}
        if user not in (3, 7):
            heldout |= {(user, item) for item in chosen[7 : 8 + user % 3]}
    scores = torch.from_numpy(rng.integers(0, 4, (N_USERS, N_ITEMS)).astype(np.float32))
    return interactions(train), interactions(heldout), scores


def brute_force(scores: Tensor, users: Tensor) -> list[list[int]]:
    """Candidates of each row, best first, by sorting on score and tie key."""
    keys = tie_keys(users, scores.shape[1])
    lists = []
    for row in range(len(scores)):
        candidates = [i for i in range(scores.shape[1]) if scores[row, i] > -torch.inf]
        lists.append(sorted(candidates, key=lambda i, row=row: (-scores[row, i].item(), keys[row, i].item())))
    return lists


@settings(max_examples=40, deadline=None, derandomize=True)
@given(levels=st.integers(1, 30), masked=st.floats(0, 0.9), seed=st.integers(0, 10**6))
def test_all_ways_to_rank_agree(levels: int, masked: float, seed: int) -> None:
    """Counting, sorting, listing and brute force, from all scores equal to hardly any tie, with masked items."""
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randint(levels, (6, 17), generator=generator).float()
    hidden = torch.rand(6, 17, generator=generator) < masked
    scores[hidden] = -torch.inf
    users = torch.randperm(1000, generator=generator)[:6]
    expected = brute_force(scores, users)

    listed = top_items(scores, users, 17).tolist()
    assert listed == [own + [-1] * (17 - len(own)) for own in expected]
    assert top_items(scores, users, 4).tolist() == [own[:4] for own in listed]

    rows, items = (~hidden).nonzero().T
    ranks = count_ranks(scores, rows, items, users).tolist()
    assert ranks == [expected[row].index(item) + 1 for row, item in zip(rows.tolist(), items.tolist(), strict=True)]
    for at_once in (17 * 2, counting.SHARED_SCORES):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(counting, "SHARED_SCORES", at_once)
            assert not ranks or sorted_ranks(scores, rows, items, users).tolist() == ranks


def test_equal_scores_are_not_ordered_alike_for_every_user() -> None:
    lists = top_items(torch.zeros(200, 50), torch.arange(200), 50)
    assert len({tuple(row) for row in lists.tolist()}) == 200


def test_order_of_equal_scores_favours_no_item() -> None:
    """Over 4,000 users every item is first, and last, about equally often."""
    lists = top_items(torch.zeros(4000, 20), torch.arange(4000), 20)
    for place in (0, 19):
        counts = torch.bincount(lists[:, place], minlength=20).numpy()
        assert stats.chisquare(counts).pvalue > 0.001


def test_order_of_equal_scores_does_not_depend_on_the_block() -> None:
    scores, users = torch.zeros(40, 15), torch.arange(100, 140)
    whole = top_items(scores, users, 15)
    assert torch.equal(torch.cat([top_items(scores[:9], users[:9], 15), top_items(scores[9:], users[9:], 15)]), whole)


def test_tie_keys_are_fixed() -> None:
    """They decide numbers in records, so they may never change; computed here with Python's unbounded integers."""

    def signed(value: int) -> int:
        value &= 2**64 - 1
        return value - 2**64 if value >= 2**63 else value

    def key(user: int, item: int) -> int:
        z = (user * 0x9E3779B97F4A7C1 + item * 0xD1B54A32D192ED0 + ties.TIE_SEED) & (2**64 - 1)
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & (2**64 - 1)
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & (2**64 - 1)
        return signed(z ^ (z >> 31))

    users = [0, 1, 77, 1_000_003]
    assert ties.TIE_SEED == 0x5EED
    assert tie_keys(torch.tensor(users), 30).tolist() == [[key(u, i) for i in range(30)] for u in users]


def test_ranks_among_unseen_candidates(world: tuple[Interactions, Interactions, Tensor]) -> None:
    train, heldout, scores = world
    model = Table(scores)
    ranking = Evaluator(heldout, train).rank(model, top_k=6)
    masked = scores.clone()
    masked[train.users, train.items] = -torch.inf
    expected = brute_force(masked, torch.arange(N_USERS))

    assert ranking.users.tolist() == sorted(set(heldout.users.tolist()))
    assert model.asked == ranking.users.tolist(), "one look, although every user has a tied item here"
    pairs = list(zip(ranking.users[ranking.pairs.users].tolist(), ranking.items.tolist(), strict=True))
    assert sorted(pairs) == sorted(zip(heldout.users.tolist(), heldout.items.tolist(), strict=True))
    assert ranking.pairs.ranks.tolist() == [expected[user].index(item) + 1 for user, item in pairs]
    assert ranking.top is not None
    assert ranking.top.tolist() == [expected[user][:6] for user in ranking.users]
    assert ranking.pairs.n_users == len(ranking.users)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    levels=st.sampled_from([2, 9, 10**6]),
    held=st.integers(1, 40),
    many=st.sampled_from([1, 3, 5, 100]),
    seed=st.integers(0, 10**6),
)
def test_ranks_are_those_of_the_masked_scores(levels: int, held: int, many: int, seed: int) -> None:
    """With and without ties; held-out items that were seen rank behind all candidates, pairs seen twice count once."""
    rng = np.random.default_rng(seed)
    pairs = rng.integers(0, (7, 11), (30 + held, 2))
    seen, heldout = (
        Interactions(part[:, 0], part[:, 1], 7, 11) for part in (pairs[:30], np.unique(pairs[30:], axis=0))
    )
    scores = torch.from_numpy(rng.integers(0, levels, (7, 11)).astype(np.float32))
    assume(scores.unique().numel() > 1)
    masked = scores.clone()
    masked[seen.users, seen.items] = -torch.inf
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("mmbench.evaluation.ranking.SORTED_PAIRS", many)
            ranking = Evaluator(heldout, seen, seen).rank(Table(scores))
    except DegenerateScores:
        assume(False)
    users = torch.from_numpy(ranking.users)
    rows, items = torch.from_numpy(ranking.pairs.users), torch.from_numpy(ranking.items)
    assert ranking.pairs.ranks.tolist() == count_ranks(masked[users], rows, items, users).tolist()


def test_scores_without_ties_are_asked_for_once(world: tuple[Interactions, Interactions, Tensor]) -> None:
    train, heldout, _ = world
    model = Table(torch.rand(N_USERS, N_ITEMS, generator=torch.Generator().manual_seed(0)))
    assert Evaluator(heldout, train).rank(model).users.tolist() == model.asked


def test_no_seen_item_is_listed(world: tuple[Interactions, Interactions, Tensor]) -> None:
    train, heldout, scores = world
    ranking = Evaluator(heldout, train).rank(Table(scores), top_k=N_ITEMS)
    assert ranking.top is not None
    seen = set(zip(train.users.tolist(), train.items.tolist(), strict=True))
    for user, items in zip(ranking.users.tolist(), ranking.top.tolist(), strict=True):
        assert not {(user, item) for item in items} & seen
        assert len(set(items) - {-1}) == N_ITEMS - 7
        assert items[N_ITEMS - 7 :] == [-1] * 7


def test_every_seen_part_is_masked(world: tuple[Interactions, Interactions, Tensor]) -> None:
    train, heldout, scores = world
    half = np.arange(len(train)) % 2 == 0
    parts = Evaluator(heldout, train.select(half), train.select(~half)).rank(Table(scores))
    whole = Evaluator(heldout, train).rank(Table(scores))
    nothing = Evaluator(heldout).rank(Table(scores))
    assert parts.pairs.ranks.tolist() == whole.pairs.ranks.tolist()
    assert (whole.pairs.ranks <= nothing.pairs.ranks).all()
    assert (whole.pairs.ranks < nothing.pairs.ranks).any()


def test_only_the_own_items_of_a_user_are_masked() -> None:
    heldout = interactions({(0, 2), (1, 2)})
    train = interactions({(0, 0), (5, 1)})  # user 5 is not evaluated
    scores = torch.tensor([[3.0, 2.0, 1.0] + [0.0] * (N_ITEMS - 3)] * N_USERS)
    assert Evaluator(heldout, train).rank(Table(scores)).pairs.ranks.tolist() == [2, 3]


def test_no_lists_unless_asked_for(world: tuple[Interactions, Interactions, Tensor]) -> None:
    train, heldout, scores = world
    assert Evaluator(heldout, train).rank(Table(scores)).top is None


def test_scores_of_the_model_are_left_alone(world: tuple[Interactions, Interactions, Tensor]) -> None:
    """A model may hand out a view of its own state."""
    train, heldout, scores = world

    class Shared:
        def score(self, users: Tensor) -> Tensor:
            return shared[: len(users)]

    shared = scores.clone()
    Evaluator(heldout, train).rank(Shared())
    assert torch.equal(shared, scores)


@pytest.mark.parametrize("many", [2, 100])
@pytest.mark.parametrize("users, comparisons", [(1, 1 << 24), (7, 1 << 24), (256, 1), (7, 60)])
def test_blocks_do_not_change_ranks(
    world: tuple[Interactions, Interactions, Tensor],
    users: int,
    comparisons: int,
    many: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    train, heldout, scores = world
    whole = Evaluator(heldout, train).rank(Table(scores), top_k=5)
    monkeypatch.setattr("mmbench.evaluation.ranking.SORTED_PAIRS", many)
    monkeypatch.setattr("mmbench.evaluation.ranking.BLOCK_USERS", users)
    monkeypatch.setattr("mmbench.evaluation.ranking.BLOCK_SCORES", 1)
    monkeypatch.setattr(counting, "BLOCK_COMPARISONS", comparisons)
    monkeypatch.setattr(counting, "CACHED_COMPARISONS", comparisons)
    blocks = Evaluator(heldout, train).rank(Table(scores), top_k=5)
    assert blocks.pairs.ranks.tolist() == whole.pairs.ranks.tolist()
    assert blocks.top is not None
    assert whole.top is not None
    assert blocks.top.tolist() == whole.top.tolist()


@pytest.mark.parametrize(
    "bad, message",
    [
        (torch.nan, "scores are NaN or infinite"),
        (torch.inf, "scores are NaN or infinite"),
        (-torch.inf, "scores are NaN or infinite"),
    ],
)
def test_one_bad_number_is_enough(world: tuple[Interactions, Interactions, Tensor], bad: float, message: str) -> None:
    train, heldout, scores = world
    broken = scores.clone()
    broken[29, 24] = bad
    with pytest.raises(DegenerateScores, match=message):
        Evaluator(heldout, train).rank(Table(broken))


def test_constant_scores_rank_nothing(world: tuple[Interactions, Interactions, Tensor]) -> None:
    """Also where every user has another constant, and where only masked items differ."""
    train, heldout, _ = world
    per_user = torch.arange(float(N_USERS))[:, None].expand(-1, N_ITEMS)
    only_masked = torch.zeros(N_USERS, N_ITEMS)
    only_masked[train.users, train.items] = 1.0
    for scores in (torch.zeros(N_USERS, N_ITEMS), per_user, only_masked):
        with pytest.raises(DegenerateScores, match="all scores are equal, so they rank nothing"):
            Evaluator(heldout, train).rank(Table(scores))


def test_a_part_without_interactions_ranks_nothing(world: tuple[Interactions, Interactions, Tensor]) -> None:
    train, _, scores = world
    with pytest.raises(DegenerateScores, match="rank nothing"):
        Evaluator(interactions(set()), train).rank(Table(scores))


def test_one_informative_user_is_enough(
    world: tuple[Interactions, Interactions, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the first block, in one between and in the last."""
    train, heldout, scores = world
    monkeypatch.setattr("mmbench.evaluation.ranking.BLOCK_USERS", 10)
    monkeypatch.setattr("mmbench.evaluation.ranking.BLOCK_SCORES", 1)
    for user in (0, 15, 29):
        one = torch.zeros_like(scores)
        one[user] = torch.arange(float(N_ITEMS))
        ranked = Evaluator(heldout, train).rank(Table(one))
        assert len(ranked.pairs.ranks) == len(heldout.users)


def test_users_whose_candidates_all_tie_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not one whose only candidate stands alone, nor one without any; seen items that differ change nothing."""
    monkeypatch.setattr("mmbench.evaluation.ranking.BLOCK_USERS", 2)
    monkeypatch.setattr("mmbench.evaluation.ranking.BLOCK_SCORES", 1)
    scores = torch.zeros(5, 4)
    scores[0, 3] = scores[1, 3] = 1.0
    seen = interactions({(1, 3), *((2, i) for i in range(3)), *((3, i) for i in range(4))}, 5, 4)
    heldout = interactions({(user, 0) for user in range(5)}, 5, 4)
    evaluator = Evaluator(heldout, seen, ties_rank=True)
    tied = evaluator.rank(Table(scores), 1).tied
    assert tied is not None
    assert tied.tolist() == [False, True, False, False, True]
    assert evaluator.rank(Table(scores)).tied is None


def test_random_scores_hit_at_chance(world: tuple[Interactions, Interactions, Tensor]) -> None:
    train, heldout, _ = world
    generator = torch.Generator().manual_seed(0)
    evaluator = Evaluator(heldout, train)
    ranks = [evaluator.rank(Table(torch.rand(N_USERS, N_ITEMS, generator=generator))).pairs.ranks for _ in range(100)]
    counts = np.bincount(np.concatenate(ranks))[1:]
    assert len(counts) == N_ITEMS - 7
    assert stats.chisquare(counts).pvalue > 0.001
