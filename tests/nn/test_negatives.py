from __future__ import annotations

import itertools

import pytest
import torch
from scipy import stats
from torch import Tensor

from mmbench.nn import negatives
from mmbench.nn.negatives import NegativeSampler

N_USERS, N_ITEMS = 12, 15
UNUSED_ITEMS = {0, 6, 14}  # the first, one in the middle, the last


@pytest.fixture(scope="module")
def edges() -> Tensor:
    """Users with few, many and all but one items; edges in random order."""
    generator = torch.Generator().manual_seed(3)
    pairs = torch.rand(N_USERS, N_ITEMS, generator=generator) < torch.linspace(0.1, 0.8, N_USERS)[:, None]
    used = [i for i in range(N_ITEMS) if i not in UNUSED_ITEMS]
    pairs[0, used] = True
    pairs[0, 7] = False  # one item is left for this user
    pairs[1] = False  # a user without any interaction may take everything
    pairs[2, used[:4]] = True  # positives at the front
    pairs[3, used[-4:]] = True  # and at the end
    pairs[:, list(UNUSED_ITEMS)] = False
    edges = pairs.nonzero().T
    return edges[:, torch.randperm(edges.shape[1], generator=generator)]


def complement(edges: Tensor, user: int) -> list[int]:
    users, items = edges
    known = set(items.tolist())
    return sorted(known - set(items[users == user].tolist()))


@pytest.fixture(scope="module")
def drawn(edges: Tensor) -> Tensor:
    """Many draws for every user: ``(N_USERS, n)``."""
    sampler = NegativeSampler(edges, N_USERS, N_ITEMS)
    users = torch.arange(N_USERS).repeat_interleave(20_000)
    return sampler.sample(users, torch.Generator().manual_seed(0)).reshape(N_USERS, -1)


@pytest.mark.parametrize("user", range(N_USERS))
def test_uniform_over_the_complement(edges: Tensor, drawn: Tensor, user: int) -> None:
    allowed = complement(edges, user)
    counts = torch.bincount(drawn[user], minlength=N_ITEMS)
    assert counts.nonzero().squeeze(1).tolist() == allowed
    if len(allowed) > 1:
        # Twelve users and one fixed seed: a sampler that is right passes this bound with probability 0.988.
        assert stats.chisquare(counts[allowed].numpy()).pvalue > 0.001


def test_every_draw_reaches_its_own_item(edges: Tensor) -> None:
    """The map from the r-th free place to an item is one to one: enumerated, not sampled."""
    sampler = NegativeSampler(edges, N_USERS, N_ITEMS)
    for user in range(N_USERS):
        free = int(sampler.free[user])
        allowed = complement(edges, user)
        assert free == len(allowed)
        draw = torch.arange(free)
        users = torch.full((free,), user)
        before = torch.searchsorted(sampler.keys, users * sampler.stride + draw, right=True) - sampler.starts[users]
        assert sampler.items[draw + before].tolist() == allowed


def test_never_a_positive_and_never_an_item_without_interaction(edges: Tensor, drawn: Tensor) -> None:
    positives = set(map(tuple, edges.T.tolist()))
    pairs = {(user, item) for user in range(N_USERS) for item in drawn[user].unique().tolist()}
    assert not pairs & positives
    assert not {item for _, item in pairs} & UNUSED_ITEMS


def test_same_generator_same_draws(edges: Tensor) -> None:
    sampler = NegativeSampler(edges, N_USERS, N_ITEMS)
    users = torch.randint(N_USERS, (500,), generator=torch.Generator().manual_seed(1))
    first, second, other = (sampler.sample(users, torch.Generator().manual_seed(seed)) for seed in (5, 5, 6))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_the_global_generator_is_left_alone(edges: Tensor) -> None:
    before = torch.get_rng_state()
    NegativeSampler(edges, N_USERS, N_ITEMS).sample(torch.arange(N_USERS), torch.Generator().manual_seed(0))
    assert torch.equal(torch.get_rng_state(), before)


def test_order_of_edges_does_not_matter(edges: Tensor) -> None:
    users = torch.arange(N_USERS).repeat(50)
    draws = [
        NegativeSampler(e, N_USERS, N_ITEMS).sample(users, torch.Generator().manual_seed(0))
        for e in (edges, edges.flip(1))
    ]
    assert torch.equal(*draws)


# Several at a time, without replacement


def test_every_set_is_equally_likely(edges: Tensor) -> None:
    """Of all sets of three that a user lacks, and of all sets of all but one."""
    sampler = NegativeSampler(edges, N_USERS, N_ITEMS)
    for user in (u for u in range(N_USERS) if 4 <= int(sampler.free[u]) <= 7):
        allowed = complement(edges, user)
        for n in (3, len(allowed) - 1):
            sets = {chosen: number for number, chosen in enumerate(itertools.combinations(allowed, n))}
            users = torch.full((400 * len(sets),), user)
            items, counted = sampler.sample_distinct(users, n, torch.Generator().manual_seed(user))
            assert bool(counted.all())
            drawn = torch.tensor([sets[tuple(sorted(row))] for row in items.tolist()])
            assert stats.chisquare(torch.bincount(drawn, minlength=len(sets)).numpy()).pvalue > 0.001


def test_who_lacks_fewer_gets_all_of_them(edges: Tensor) -> None:
    sampler = NegativeSampler(edges, N_USERS, N_ITEMS)
    n = int(sampler.free.max())
    items, counted = sampler.sample_distinct(torch.arange(N_USERS), n, torch.Generator().manual_seed(0))
    assert items.shape == counted.shape == (N_USERS, n)
    known = set(edges[1].tolist())
    for user in range(N_USERS):
        assert sorted(items[user, counted[user]].tolist()) == complement(edges, user)
        assert set(items[user].tolist()) <= known  # what fills the row can be looked up


def test_what_is_held_in_tables_does_not_change_a_draw(edges: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Draws marked or compared, places of items listed or searched."""
    users, found = torch.arange(1, N_USERS).repeat(40), []
    for entries in (1 << 22, 0):
        monkeypatch.setattr(negatives, "TABLE_ENTRIES", entries)
        monkeypatch.setattr(negatives, "MARKED_ENTRIES", entries)
        sampler = NegativeSampler(edges, N_USERS, N_ITEMS)
        assert bool(len(sampler.listed)) == bool(entries)
        generator = torch.Generator().manual_seed(0)
        found.append((sampler.sample(users, generator), *sampler.sample_distinct(users, 6, generator)))
    for with_tables, without in zip(*found, strict=True):
        assert torch.equal(with_tables, without)


def test_distinct_draws_follow_the_generator(edges: Tensor) -> None:
    sampler = NegativeSampler(edges, N_USERS, N_ITEMS)
    users = torch.arange(1, N_USERS)
    first, second, other = (
        sampler.sample_distinct(users, 2, torch.Generator().manual_seed(seed))[0] for seed in (5, 5, 6)
    )
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_as_a_part_it_adds_no_state_and_moves_along(edges: Tensor) -> None:
    model = torch.nn.Module()
    model.sampler = NegativeSampler(edges, N_USERS, N_ITEMS)
    assert not model.state_dict()
    assert {buffer.device.type for buffer in model.to("meta").sampler.buffers()} == {"meta"}
