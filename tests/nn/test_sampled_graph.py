from __future__ import annotations

import pytest
import torch
from torch import Tensor

from mmbench.nn.sampled_graph import SampledGraph, degree_weights, sample_edges
from mmbench.nn.user_item_graph import symmetric_normalised

N_USERS, N_ITEMS = 30, 24

pytestmark = pytest.mark.usefixtures("float64")


@pytest.fixture
def edges() -> Tensor:
    """Random interactions; user 4 and item 2 have none."""
    pairs = torch.rand(N_USERS, N_ITEMS, generator=torch.Generator().manual_seed(0)) < 0.3
    pairs[4], pairs[:, 2] = False, False
    return pairs.nonzero().T


def test_training_sees_a_sample_and_ranking_everything(edges: Tensor) -> None:
    graph = SampledGraph(edges, N_USERS, N_ITEMS, 0.4)
    full = symmetric_normalised(edges, N_USERS, N_ITEMS, eps=1e-7).to_dense()
    graph.train().draw()
    sampled = graph().to_dense()
    assert torch.equal(graph.eval()().to_dense(), full)
    assert not sampled[full == 0].any()
    assert int((sampled != 0).sum()) == 2 * int(0.4 * edges.shape[1])
    assert graph.state_dict() == {}


def test_a_sample_is_normalised_by_its_own_degrees(edges: Tensor) -> None:
    graph = SampledGraph(edges, N_USERS, N_ITEMS, 0.4).train()
    graph.use_edges(edges[:, :1])
    sampled = graph().to_dense()
    assert sampled[edges[0, 0], N_USERS + edges[1, 0]].item() == pytest.approx(1.0, abs=1e-6)
    assert int((sampled != 0).sum()) == 2


def test_draws_differ_and_the_seed_decides_them(edges: Tensor) -> None:
    def draws() -> list[Tensor]:
        torch.manual_seed(2)
        graph, drawn = SampledGraph(edges, N_USERS, N_ITEMS, 0.4).train(), []
        for _ in range(2):
            graph.draw()
            drawn.append(graph().to_dense())
        return drawn

    first = draws()
    assert not torch.equal(*first)
    assert all(torch.equal(a, b) for a, b in zip(first, draws(), strict=True))


def test_keeping_all_edges_draws_nothing(edges: Tensor) -> None:
    graph = SampledGraph(edges, N_USERS, N_ITEMS, 1.0).train()
    graph.draw()
    assert graph() is graph.full


@pytest.mark.parametrize("keep", [0.0, 1.1])
def test_a_sample_keeps_some_edges(edges: Tensor, keep: float) -> None:
    with pytest.raises(ValueError, match=f"the fraction of edges to keep is {keep}; it must be more than 0"):
        SampledGraph(edges, N_USERS, N_ITEMS, keep)


def test_edges_of_busy_nodes_weigh_less(edges: Tensor) -> None:
    interactions = torch.zeros(N_USERS, N_ITEMS).index_put(tuple(edges), torch.ones(()))
    users, items = edges
    expected = (interactions.sum(1)[users] * interactions.sum(0)[items]).rsqrt()
    torch.testing.assert_close(degree_weights(edges, N_USERS, N_ITEMS), expected, rtol=1e-6, atol=0)


def test_sampled_edges_are_distinct_and_repeatable(edges: Tensor) -> None:
    weights = degree_weights(edges, N_USERS, N_ITEMS)
    draws = [sample_edges(edges, weights, 0.5, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
    assert draws[0].shape[1] == edges.shape[1] // 2
    pairs = {tuple(pair) for pair in draws[0].T.tolist()}
    assert len(pairs) == draws[0].shape[1]
    assert pairs <= {tuple(pair) for pair in edges.T.tolist()}


@pytest.mark.parametrize(
    "n_edges, keep, expected", [(1000, 1 - 0.9, 100), (423, 1 - 0.8, 84), (3, 0.01, 1), (5, 1.0, 5)]
)
def test_number_of_sampled_edges(n_edges: int, keep: float, expected: int) -> None:
    """Not one less because 1 - 0.9 is a little less than 0.1, and never none."""
    edge_index = torch.arange(n_edges).repeat(2, 1)
    sample = sample_edges(edge_index, torch.ones(n_edges, dtype=torch.float64), keep, torch.Generator())
    assert sample.shape[1] == expected


def test_sampling_is_proportional_to_weights_without_replacement() -> None:
    """Two of three edges: successive draws give exact probabilities."""
    weights = torch.tensor([1.0, 2.0, 5.0], dtype=torch.float64)
    p = (weights / weights.sum()).tolist()
    expected = {
        frozenset((a, b)): p[a] * p[b] / (1 - p[a]) + p[b] * p[a] / (1 - p[b]) for a, b in ((0, 1), (0, 2), (1, 2))
    }
    generator, n = torch.Generator().manual_seed(0), 4000
    counts = dict.fromkeys(expected, 0)
    for _ in range(n):
        counts[frozenset(sample_edges(torch.arange(3).repeat(2, 1), weights, 2 / 3, generator)[0].tolist())] += 1
    for pair, probability in expected.items():
        assert counts[pair] / n == pytest.approx(probability, abs=4 * (probability * (1 - probability) / n) ** 0.5)
