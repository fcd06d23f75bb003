"""How sparse matrices are built, their rows, and constant ones as linear maps."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from mmbench.nn import sparse
from mmbench.nn.sparse import (
    DirectedGraph,
    added_rows,
    common_neighbours,
    dense_rows,
    gram_matrix,
    interaction_matrix,
    parts_of,
    select_rows,
    sparse_matrix,
    turned,
)

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


def test_sparse_matrix_adds_entries_given_twice() -> None:
    rows, columns = torch.tensor([2, 0, 2, 1]), torch.tensor([1, 3, 1, 0])
    matrix = sparse_matrix(rows, columns, torch.tensor([1.0, 2.0, 4.0, 8.0]), (3, 4))
    expected = torch.zeros(3, 4)
    expected[2, 1], expected[0, 3], expected[1, 0] = 5.0, 2.0, 8.0
    assert torch.equal(matrix.to_dense(), expected)


@pytest.mark.filterwarnings("error")
def test_no_warning_about_the_layout() -> None:
    torch.set_warn_always(True)  # otherwise the process may have been warned before
    try:
        sparse_matrix(torch.tensor([0]), torch.tensor([1]), torch.tensor([1.0]), (2, 2))
    finally:
        torch.set_warn_always(False)


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
def test_chosen_rows_of_a_map_and_their_gradient(directed: tuple[Tensor, Tensor, Tensor]) -> None:
    edge_index, weights, matrix = directed
    rows, x = torch.tensor([5, 0, 3]), torch.randn(N_ITEMS, 3, requires_grad=True)
    chosen, pull = DirectedGraph(edge_index, weights, N_ITEMS).of_rows(rows)(x), torch.randn(3, 3)
    torch.testing.assert_close(chosen, (matrix @ x)[rows])
    (gradient,) = torch.autograd.grad((chosen * pull).sum(), x)
    torch.testing.assert_close(gradient, matrix[rows].T @ pull)


def test_rows_of_a_sparse_matrix(edges: Tensor) -> None:
    rows = torch.tensor([4, 0, 8, 0])
    matrix = interaction_matrix(edges, N_USERS, N_ITEMS)
    assert torch.equal(matrix.to_dense(), dense_interactions(edges))
    assert torch.equal(dense_rows(matrix, rows), dense_interactions(edges)[rows])
    assert select_rows(matrix, rows).layout == torch.sparse_csr
    torch.testing.assert_close(select_rows(matrix, rows) @ torch.eye(N_ITEMS), dense_interactions(edges)[rows])
    assert dense_rows(matrix, rows[:0]).shape == (0, N_ITEMS)


@pytest.mark.parametrize("block", [1, 30, 1 << 22])
@pytest.mark.parametrize("operations", [0.0, 1e9], ids=["sparse", "dense"])
def test_products_with_the_transpose(
    edges: Tensor, operations: float, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sparse, "DENSE_OPERATIONS", operations)
    monkeypatch.setattr(sparse, "BLOCK_ENTRIES", block)
    interactions = dense_interactions(edges)
    of_items = interaction_matrix(edges.flip(0), N_ITEMS, N_USERS)
    assert torch.equal(common_neighbours(of_items)(2, 5), (interactions.T @ interactions)[2:5])
    assert torch.equal(gram_matrix(of_items), interactions.T @ interactions)
    weighed = sparse_matrix(edges[1], edges[0], torch.arange(edges.shape[1]).double(), (N_ITEMS, N_USERS))
    torch.testing.assert_close(gram_matrix(weighed), weighed.to_dense() @ weighed.to_dense().T)
    nobody = torch.empty(2, 0, dtype=torch.int64)
    assert not gram_matrix(interaction_matrix(nobody, 3, 4)).any()
    assert gram_matrix(interaction_matrix(nobody, 0, 4)).shape == (0, 0)


@pytest.mark.parametrize("block", [1, 10, 1 << 22])
def test_chosen_rows_are_added(
    edges: Tensor, directed: tuple[Tensor, Tensor, Tensor], block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sparse, "BLOCK_ENTRIES", block)
    weights = directed[2].double()
    chosen = select_rows(interaction_matrix(edges, N_USERS, N_ITEMS), torch.tensor([8, 4, 1])).double()
    ours = added_rows(chosen, weights.to_sparse_csr())
    torch.testing.assert_close(ours, chosen.to_dense() @ weights)
    assert ours.is_contiguous()
    assert not ours[1].any()
    assert torch.equal(turned(weights.to_sparse_csr()).to_dense(), weights.T)


def test_parts_hold_no_more_than_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sparse, "BLOCK_ENTRIES", 10)
    sizes = torch.tensor([0, 4, 6, 0, 11, 3, 3, 3, 3, 0])
    parts = list(parts_of(sizes.cumsum(0)))
    assert [(part.start, part.stop) for part in parts] == [(0, 4), (4, 5), (5, 8), (8, 10)]
    assert list(parts_of(sizes[:0])) == []
