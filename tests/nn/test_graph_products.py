"""Products over directed and weighted graphs, rows of sparse matrices, and samples of edges."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from mmbench.nn import graph as module
from mmbench.nn.graph import DirectedGraph, SelfLoopedMean, product, sparse_matrix, weighted_propagate
from mmbench.nn.interactions import (
    common_neighbours,
    dense_rows,
    gram_matrix,
    history_scores,
    interaction_matrix,
    select_rows,
)
from mmbench.nn.subgraph import degree_weights, sample_edges

N_USERS, N_ITEMS = 9, 7


@pytest.fixture
def edges() -> Tensor:
    """Random interactions; user 4 and item 2 have none."""
    pairs = torch.rand(N_USERS, N_ITEMS, generator=torch.Generator().manual_seed(0)) < 0.4
    pairs[4], pairs[:, 2] = False, False
    return pairs.nonzero().T


@pytest.fixture
def directed() -> tuple[Tensor, Tensor, Tensor]:
    """Edges, some given twice, their weights and the dense matrix."""
    generator = torch.Generator().manual_seed(1)
    edge_index = torch.randint(0, N_ITEMS, (2, 30), generator=generator)
    weights = torch.randn(30, generator=generator, dtype=torch.float64)
    matrix = torch.zeros(N_ITEMS, N_ITEMS, dtype=torch.float64)
    return edge_index, weights, matrix.index_put(tuple(edge_index), weights, accumulate=True)


def dense_interactions(edges: Tensor) -> Tensor:
    return torch.zeros(N_USERS, N_ITEMS).index_put(tuple(edges), torch.ones(()))


@pytest.mark.usefixtures("float64")
def test_directed_graph_against_dense(directed: tuple[Tensor, Tensor, Tensor]) -> None:
    edge_index, weights, matrix = directed
    graph = DirectedGraph(edge_index, weights, N_ITEMS)
    x = torch.randn(N_ITEMS, 3, requires_grad=True)
    pull = torch.randn(N_ITEMS, 3)
    torch.testing.assert_close(graph(x), matrix @ x)
    (gradient,) = torch.autograd.grad((graph(x) * pull).sum(), x)
    torch.testing.assert_close(gradient, matrix.T @ pull)
    assert not graph.state_dict()


@pytest.mark.usefixtures("float64")
def test_weighted_propagation_and_its_gradients(
    directed: tuple[Tensor, Tensor, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BLOCK_EDGES", 7)
    edge_index, weights, matrix = directed
    x = torch.randn(N_ITEMS, 3, requires_grad=True)

    def propagated(weights: Tensor, x: Tensor) -> Tensor:
        return weighted_propagate(DirectedGraph(edge_index, weights.detach(), N_ITEMS), edge_index, weights, x)

    torch.testing.assert_close(propagated(weights, x), matrix @ x)
    weights.requires_grad_()
    assert torch.autograd.gradcheck(propagated, (weights, x))


@pytest.mark.usefixtures("float64")
def test_mean_with_self_loops_against_dense(edges: Tensor) -> None:
    interactions, n = dense_interactions(edges), N_USERS + N_ITEMS
    adjacency = torch.eye(n)
    adjacency[:N_USERS, N_USERS:], adjacency[N_USERS:, :N_USERS] = interactions, interactions.T
    expected = adjacency / adjacency.sum(1, keepdim=True)
    step = SelfLoopedMean(edges, N_USERS, N_ITEMS)
    x = torch.randn(n, 3, requires_grad=True)
    pull = torch.randn(n, 3)
    torch.testing.assert_close(step(x), expected @ x)
    torch.testing.assert_close(step(x)[4], x[4])
    (gradient,) = torch.autograd.grad((step(x) * pull).sum(), x)
    torch.testing.assert_close(gradient, expected.T @ pull)


def test_rows_of_a_sparse_matrix(edges: Tensor) -> None:
    rows = torch.tensor([4, 0, 8, 0])
    matrix = interaction_matrix(edges, N_USERS, N_ITEMS)
    assert torch.equal(matrix.to_dense(), dense_interactions(edges))
    assert torch.equal(dense_rows(matrix, rows), dense_interactions(edges)[rows])
    assert select_rows(matrix, rows).layout == torch.sparse_csr
    torch.testing.assert_close(select_rows(matrix, rows) @ torch.eye(N_ITEMS), dense_interactions(edges)[rows])
    assert dense_rows(matrix, rows[:0]).shape == (0, N_ITEMS)


def test_common_users(edges: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    interactions = dense_interactions(edges)
    expected = interactions.T @ interactions
    of_items = interaction_matrix(edges.flip(0), N_ITEMS, N_USERS)
    assert torch.equal(common_neighbours(of_items, 2, 5), expected[2:5])
    monkeypatch.setattr(module, "BLOCK_ENTRIES", 2 * N_USERS)
    assert torch.equal(gram_matrix(edges, N_USERS, N_ITEMS), expected.double())


@pytest.mark.usefixtures("float64")
def test_scores_of_histories(edges: Tensor, directed: tuple[Tensor, Tensor, Tensor]) -> None:
    similarity = directed[2]
    users = torch.tensor([8, 4, 1])
    history = interaction_matrix(edges, N_USERS, N_ITEMS)
    ours = history_scores(history, similarity.to_sparse_csr(), users)
    torch.testing.assert_close(ours, (dense_interactions(edges) @ similarity.T)[users])
    assert ours.is_contiguous()


def test_edges_of_busy_nodes_weigh_less(edges: Tensor) -> None:
    interactions = dense_interactions(edges).double()
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


def test_the_fast_product_is_the_sparse_one() -> None:
    """Rows without entries, one with many, columns of every width: equal to float64 and to torch's own product."""
    generator = torch.Generator().manual_seed(3)
    rows, columns = torch.randint(0, 40, (2, 300), generator=generator)
    rows[rows == 7] = 8
    matrix = sparse_matrix(rows, columns, torch.randn(300, generator=generator), (40, 40))
    for width in (1, 3, 64, 130):
        x = torch.randn(width, 40, generator=generator).T  # not contiguous, as gradients may be
        exact = matrix.double().to_dense() @ x.double()
        for result in (product(matrix, x), matrix @ x):
            assert (result - exact).abs().max() <= 1e-6 * exact.abs().max()
        torch.testing.assert_close(product(matrix.double(), x.double()), exact)


def test_the_product_of_an_empty_matrix_is_zero() -> None:
    none = torch.empty(0, dtype=torch.int64)
    assert torch.equal(product(sparse_matrix(none, none, torch.empty(0), (3, 2)), torch.ones(2, 4)), torch.zeros(3, 4))
