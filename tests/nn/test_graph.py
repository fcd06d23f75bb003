from __future__ import annotations

import pytest
import torch
from scipy import stats
from torch import Tensor

from mmbench.nn import graph as graph_module
from mmbench.nn.graph import (
    DirectedGraph,
    SelfLoopedMean,
    common_neighbours,
    degree_weights,
    dense_rows,
    gram_matrix,
    history_scores,
    interaction_matrix,
    mean_of_layers,
    propagate,
    sample_edges,
    sparse_matrix,
    symmetric_normalised,
    user_item_blocks,
    weighted_propagate,
)

N_USERS, N_ITEMS = 9, 7
NODES = N_USERS + N_ITEMS

pytestmark = pytest.mark.usefixtures("float64")


@pytest.fixture
def edges() -> Tensor:
    """Random interactions; user 4 and item 2 have none."""
    pairs = torch.rand(N_USERS, N_ITEMS, generator=torch.Generator().manual_seed(0)) < 0.4
    pairs[4], pairs[:, 2] = False, False
    return pairs.nonzero().T


def dense_adjacency(edges: Tensor) -> Tensor:
    matrix = torch.zeros(NODES, NODES)
    users, items = edges
    matrix[users, N_USERS + items] = 1.0
    return matrix + matrix.T


@pytest.mark.parametrize("eps", [0.0, 1e-7, 0.5])
def test_symmetric_normalised_against_dense(edges: Tensor, eps: float) -> None:
    adjacency = dense_adjacency(edges)
    root = (adjacency.sum(1) + eps).pow(-0.5)
    root[adjacency.sum(1) == 0] = 0.0
    expected = root[:, None] * adjacency * root[None, :]
    ours = symmetric_normalised(edges, N_USERS, N_ITEMS, eps=eps)
    assert ours.layout == torch.sparse_csr
    torch.testing.assert_close(ours.to_dense(), expected, rtol=0, atol=1e-15)


def test_isolated_nodes_have_empty_rows(edges: Tensor) -> None:
    matrix = symmetric_normalised(edges, N_USERS, N_ITEMS).to_dense()
    assert torch.isfinite(matrix).all()
    assert not matrix[4].any()
    assert not matrix[N_USERS + 2].any()


def test_largest_eigenvalue_is_one(edges: Tensor) -> None:
    """Propagation neither blows up nor dies out."""
    eigenvalues = torch.linalg.eigvalsh(symmetric_normalised(edges, N_USERS, N_ITEMS).to_dense())
    assert eigenvalues.max().item() == pytest.approx(1.0, abs=1e-12)
    assert eigenvalues.min().item() == pytest.approx(-1.0, abs=1e-12)


def test_normalised_graph_is_rounded_once(edges: Tensor) -> None:
    """The float32 graph is the float64 graph rounded, not one computed in float32."""
    double = symmetric_normalised(edges, N_USERS, N_ITEMS, eps=1e-7)
    torch.set_default_dtype(torch.float32)
    single = symmetric_normalised(edges, N_USERS, N_ITEMS, eps=1e-7)
    assert single.dtype == torch.float32
    assert torch.equal(single.to_dense(), double.to_dense().float())


def test_sparse_matrix_adds_entries_given_twice() -> None:
    rows, columns = torch.tensor([2, 0, 2, 1]), torch.tensor([1, 3, 1, 0])
    matrix = sparse_matrix(rows, columns, torch.tensor([1.0, 2.0, 4.0, 8.0]), (3, 4))
    expected = torch.zeros(3, 4)
    expected[2, 1], expected[0, 3], expected[1, 0] = 5.0, 2.0, 8.0
    assert torch.equal(matrix.to_dense(), expected)


@pytest.mark.filterwarnings("error")
def test_no_warning_about_the_layout() -> None:
    sparse_matrix(torch.tensor([0]), torch.tensor([1]), torch.tensor([1.0]), (2, 2))


@pytest.mark.parametrize("n_layers", [0, 1, 2, 4])
def test_mean_of_layers_against_dense(edges: Tensor, n_layers: int) -> None:
    graph = symmetric_normalised(edges, N_USERS, N_ITEMS)
    x = torch.randn(NODES, 3, generator=torch.Generator().manual_seed(1))
    powers = torch.stack([torch.linalg.matrix_power(graph.to_dense(), layer) for layer in range(n_layers + 1)])
    torch.testing.assert_close(mean_of_layers(graph, x, n_layers), powers.mean(0) @ x, rtol=0, atol=1e-14)


def test_gradient_of_propagate_against_dense(edges: Tensor) -> None:
    graph = symmetric_normalised(edges, N_USERS, N_ITEMS)
    start = torch.randn(NODES, 3, generator=torch.Generator().manual_seed(1))
    weight = torch.randn(NODES, 3, generator=torch.Generator().manual_seed(2))
    sparse, dense = start.clone().requires_grad_(), start.clone().requires_grad_()
    (propagate(graph, propagate(graph, sparse).tanh()) * weight).sum().backward()
    (graph.to_dense() @ (graph.to_dense() @ dense).tanh() * weight).sum().backward()
    torch.testing.assert_close(sparse.grad, dense.grad, rtol=0, atol=1e-14)


def test_gradient_of_propagate_numerically(edges: Tensor) -> None:
    graph = symmetric_normalised(edges, N_USERS, N_ITEMS)
    x = torch.randn(NODES, 2, generator=torch.Generator().manual_seed(1), requires_grad=True)
    assert torch.autograd.gradcheck(lambda value: mean_of_layers(graph, value, 2), (x,))


@pytest.fixture
def directed() -> tuple[Tensor, Tensor]:
    """Edges of a graph that is not symmetric, one of them given twice, and their weights."""
    edge_index = torch.tensor([[0, 0, 3, 2, 0, 4], [1, 2, 3, 0, 1, 2]])
    return edge_index, torch.tensor([0.5, -1.0, 2.0, 3.0, 0.25, 1.5])


def dense(edge_index: Tensor, weights: Tensor, n: int) -> Tensor:
    return torch.zeros(n, n).index_put(tuple(edge_index), weights, accumulate=True)


def test_directed_graph_against_dense(directed: tuple[Tensor, Tensor]) -> None:
    """Values and gradients."""
    x = torch.randn(5, 3, generator=torch.Generator().manual_seed(0), requires_grad=True)
    graph = DirectedGraph(*directed, 5)
    torch.testing.assert_close(graph(x), dense(*directed, 5) @ x, rtol=0, atol=1e-15)
    assert torch.autograd.gradcheck(lambda value: graph(graph(value)), (x,))
    assert list(graph.state_dict()) == []


@pytest.mark.parametrize("block", [1 << 16, 4])
def test_weighted_propagate_against_dense(
    directed: tuple[Tensor, Tensor], block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Gradients for the weights too, an edge given twice included, whatever the size of blocks."""
    monkeypatch.setattr(graph_module, "BLOCK_EDGES", block)
    edge_index, weights = directed
    weights = weights.clone().requires_grad_()
    x = torch.randn(5, 3, generator=torch.Generator().manual_seed(0), requires_grad=True)
    torch.testing.assert_close(weighted_propagate(edge_index, weights, x), dense(edge_index, weights, 5) @ x)
    assert torch.autograd.gradcheck(lambda w, value: weighted_propagate(edge_index, w, value), (weights, x))


def test_self_looped_mean_against_dense(edges: Tensor) -> None:
    """An isolated node keeps itself."""
    looped = dense_adjacency(edges) + torch.eye(NODES)
    x = torch.randn(NODES, 3, generator=torch.Generator().manual_seed(0), requires_grad=True)
    graph = SelfLoopedMean(edges, N_USERS, N_ITEMS)
    torch.testing.assert_close(graph(x), looped / looped.sum(1, keepdim=True) @ x, rtol=0, atol=1e-15)
    assert torch.equal(graph(x)[4], x[4])
    assert torch.autograd.gradcheck(graph, (x,))


def test_rows_of_a_sparse_matrix(edges: Tensor) -> None:
    matrix = interaction_matrix(edges, N_USERS, N_ITEMS)
    rows = torch.tensor([8, 4, 0, 8])
    assert torch.equal(dense_rows(matrix, rows), matrix.to_dense()[rows])
    assert dense_rows(matrix, rows[:0]).shape == (0, N_ITEMS)


def test_history_scores_against_dense(edges: Tensor) -> None:
    history = interaction_matrix(edges, N_USERS, N_ITEMS)
    generator = torch.Generator().manual_seed(0)
    similarity = torch.randn(N_ITEMS, N_ITEMS, generator=generator) * (torch.rand(N_ITEMS, N_ITEMS) < 0.5)
    users = torch.tensor([3, 0, 3])
    expected = history.to_dense()[users] @ similarity.T
    torch.testing.assert_close(history_scores(history, similarity.to_sparse_csr(), users), expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("block", [1 << 22, 1])
def test_common_users_against_dense(edges: Tensor, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph_module, "BLOCK_ENTRIES", block)
    interactions = interaction_matrix(edges, N_USERS, N_ITEMS).to_dense()
    expected = interactions.T @ interactions
    assert torch.equal(gram_matrix(edges, N_USERS, N_ITEMS), expected)
    of_items = interaction_matrix(edges.flip(0), N_ITEMS, N_USERS)
    assert torch.equal(common_neighbours(of_items, 2, 5), expected[2:5])


def test_blocks_of_a_bipartite_graph(edges: Tensor) -> None:
    graph = symmetric_normalised(edges, N_USERS, N_ITEMS)
    of_users, of_items = user_item_blocks(graph, N_USERS)
    assert torch.equal(of_users.to_dense(), graph.to_dense()[:N_USERS, N_USERS:])
    assert torch.equal(of_items.to_dense(), graph.to_dense()[N_USERS:, :N_USERS])


def test_degree_weights(edges: Tensor) -> None:
    """The same numbers as the entries of the normalised graph."""
    users, items = edges
    expected = symmetric_normalised(edges, N_USERS, N_ITEMS, eps=1e-7).to_dense()[users, N_USERS + items]
    torch.testing.assert_close(degree_weights(edges, N_USERS, N_ITEMS), expected, rtol=1e-14, atol=0)


@pytest.mark.parametrize("keep, expected", [(1.0, 27), (0.5, 13), (0.2, 5), (1 - 0.8, 5), (0.001, 1), (1 / 3, 9)])
def test_number_of_sampled_edges(keep: float, expected: int) -> None:
    """The whole part of the fraction, rounding errors of the fraction aside, and never none."""
    edge_index = torch.arange(54).reshape(2, 27)
    kept = sample_edges(edge_index, torch.ones(27), keep, torch.Generator().manual_seed(0))
    assert kept.shape == (2, expected)
    columns = kept[0].tolist()
    assert columns == sorted(set(columns)), "without repetition and in their old order"
    assert torch.equal(kept[1], kept[0] + 27)


def test_first_sampled_edge_follows_the_weights() -> None:
    weights = torch.tensor([1.0, 2.0, 3.0, 4.0])
    generator = torch.Generator().manual_seed(0)
    edge_index = torch.arange(8).reshape(2, 4)
    drawn = [int(sample_edges(edge_index, weights, 0.25, generator)[0]) for _ in range(4000)]
    counts = torch.bincount(torch.tensor(drawn), minlength=4).numpy()
    assert stats.chisquare(counts, 4000 * weights.numpy() / 10).pvalue > 0.001


def test_pairs_are_sampled_one_after_the_other() -> None:
    """Two of three without replacement: the second is drawn from the two that are left."""
    w = [0.5, 0.3, 0.2]
    generator = torch.Generator().manual_seed(0)
    edge_index = torch.arange(6).reshape(2, 3)
    counts = dict.fromkeys([(0, 1), (0, 2), (1, 2)], 0)
    for _ in range(4000):
        kept = sample_edges(edge_index, torch.tensor(w), 2 / 3, generator)
        counts[tuple(kept[0].tolist())] += 1
    expected = {(a, b): w[a] * w[b] / (1 - w[a]) + w[b] * w[a] / (1 - w[b]) for a, b in counts}
    observed, theory = zip(*[(counts[pair], 4000 * expected[pair]) for pair in counts], strict=True)
    assert stats.chisquare(observed, theory).pvalue > 0.001
