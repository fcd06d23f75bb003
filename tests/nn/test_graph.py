from __future__ import annotations

import pytest
import torch
from torch import Tensor

from mmbench.nn.graph import propagate, sparse_matrix, symmetric_normalised, user_item_blocks
from mmbench.nn.smoothing import mean_of_layers

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


def test_blocks_of_a_bipartite_graph(edges: Tensor) -> None:
    graph = symmetric_normalised(edges, N_USERS, N_ITEMS)
    of_users, of_items = user_item_blocks(graph, N_USERS)
    assert torch.equal(of_users.to_dense(), graph.to_dense()[:N_USERS, N_USERS:])
    assert torch.equal(of_items.to_dense(), graph.to_dense()[N_USERS:, :N_USERS])
