"""Graphs as sparse matrices, and propagation over them."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


def sparse_matrix(rows: Tensor, columns: Tensor, values: Tensor, shape: tuple[int, int]) -> Tensor:
    """Build a sparse CSR matrix; entries given twice are added.

    Args:
        rows: ``(nnz,)``.
        columns: ``(nnz,)``.
        values: ``(nnz,)``.
        shape: number of rows and columns.
    """
    coo = torch.sparse_coo_tensor(torch.stack([rows, columns]), values, shape, check_invariants=True).coalesce()
    with warnings.catch_warnings():  # torch announces on first use that its CSR layout is in beta
        warnings.filterwarnings("ignore", message=".*Sparse CSR tensor support is in beta.*")
        return coo.to_sparse_csr()


def product(matrix: Tensor, x: Tensor) -> Tensor:
    """Sparse CSR ``(n, m)`` times dense ``(m, d)``, without gradients.

    In float32 on a CPU the rows are summed by torch's embedding bag: its kernel is about four times as fast as the
    sparse product and differs from it by rounding only.
    """
    columns = matrix.col_indices()
    if x.device.type != "cpu" or x.dtype != torch.float32 or not len(columns):
        return matrix @ x
    with torch.no_grad():
        return functional.embedding_bag(
            columns,
            x.contiguous(),
            matrix.crow_indices(),
            mode="sum",
            per_sample_weights=matrix.values(),
            include_last_offset=True,
        )


def symmetric_normalised(edge_index: Tensor, n_users: int, n_items: int, eps: float = 0.0) -> Tensor:
    r"""Symmetrically normalised bipartite adjacency :math:`D^{-1/2} A D^{-1/2}` without self loops (SPEC A §0).

    Args:
        edge_index: users and items of each edge, ``(2, n_edges)``.
        n_users: number of users; they are the first nodes.
        n_items: number of items.
        eps: added to every degree, as the reference does; an isolated node keeps an empty row either way.

    Returns:
        Sparse CSR ``(n_users + n_items, n_users + n_items)`` of the default dtype.
    """
    users, items = edge_index[0], edge_index[1] + n_users
    rows, columns = torch.cat([users, items]), torch.cat([items, users])
    n = n_users + n_items
    degree = torch.bincount(rows, minlength=n).double() + eps
    # In float64 and rounded once: the reference builds its graphs so.
    values = (degree[rows] * degree[columns]).rsqrt().to(torch.get_default_dtype())
    return sparse_matrix(rows, columns, values, (n, n))


class _SymmetricProduct(torch.autograd.Function):
    """Product with a symmetric constant matrix, which serves its own backward pass."""

    @staticmethod
    def forward(ctx: Any, matrix: Tensor, x: Tensor) -> Tensor:
        ctx.save_for_backward(matrix)
        return product(matrix, x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[None, Tensor]:
        (matrix,) = ctx.saved_tensors
        return None, product(matrix, grads[0])


def propagate(adjacency: Tensor, x: Tensor) -> Tensor:
    """One step ``A x`` over a symmetric constant graph: ``(n, n)`` times ``(n, d)``."""
    return _SymmetricProduct.apply(adjacency, x)


class _DirectedProduct(torch.autograd.Function):
    """Product with a constant matrix; the transposed matrix serves the backward pass."""

    @staticmethod
    def forward(ctx: Any, matrix: Tensor, transposed: Tensor, x: Tensor) -> Tensor:
        ctx.save_for_backward(transposed)
        return product(matrix, x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[None, None, Tensor]:
        (transposed,) = ctx.saved_tensors
        return None, None, product(transposed, grads[0])


class DirectedGraph(nn.Module):
    """A constant weighted graph that need not be symmetric: ``graph(x)`` is ``A x``.

    Args:
        edge_index: row (receiver) and column (sender) of each edge, ``(2, n_edges)``; edges given twice are added.
        weights: ``(n_edges,)``.
        n: number of nodes.
    """

    matrix: Tensor
    transposed: Tensor

    def __init__(self, edge_index: Tensor, weights: Tensor, n: int) -> None:
        super().__init__()
        rows, columns = edge_index
        self.register_buffer("matrix", sparse_matrix(rows, columns, weights, (n, n)), persistent=False)
        self.register_buffer("transposed", sparse_matrix(columns, rows, weights, (n, n)), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """One step of propagation: ``(n, d)`` to ``(n, d)``."""
        return _DirectedProduct.apply(self.matrix, self.transposed, x)


#: Edges whose gradients are computed at once; bounds the memory of the backward pass of :func:`weighted_propagate`.
BLOCK_EDGES = 1 << 16


#: Entries of a dense block of rows; bounds memory whatever the number of nodes.
BLOCK_ENTRIES = 1 << 22


class _WeightedProduct(torch.autograd.Function):
    """Sparse product that is differentiable in the weights of the edges too."""

    @staticmethod
    def forward(ctx: Any, graph: DirectedGraph, edge_index: Tensor, weights: Tensor, x: Tensor) -> Tensor:
        ctx.save_for_backward(graph.transposed, edge_index, x)
        return product(graph.matrix, x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[None, None, Tensor, Tensor]:
        transposed, edge_index, x = ctx.saved_tensors
        grad = grads[0].contiguous()
        blocks = zip(*(ends.split(BLOCK_EDGES) for ends in edge_index), strict=True)
        of_weights = torch.cat([(grad[r] * x[c]).sum(1) for r, c in blocks])
        return None, None, of_weights, product(transposed, grad)


def weighted_propagate(graph: DirectedGraph, edge_index: Tensor, weights: Tensor, x: Tensor) -> Tensor:
    r"""One step :math:`y_r = \sum_{(r, c)} w_{rc} x_c` with gradients for the weights and for ``x``.

    Args:
        graph: made of these edges and weights.
        edge_index: row and column of each edge, ``(2, n_edges)``; edges given twice are added.
        weights: ``(n_edges,)``.
        x: ``(n, d)``.
    """
    return _WeightedProduct.apply(graph, edge_index, weights, x)


class SelfLoopedMean(DirectedGraph):
    r"""Mean of a node and its neighbours, :math:`D^{-1}(A + I) x` over users and items (SPEC A §9).

    Args:
        edge_index: users and items of each edge, ``(2, n_edges)``.
        n_users: number of users; they are the first nodes.
        n_items: number of items.
    """

    def __init__(self, edge_index: Tensor, n_users: int, n_items: int) -> None:
        n = n_users + n_items
        users, items, nodes = edge_index[0], edge_index[1] + n_users, torch.arange(n)
        rows, columns = torch.cat([users, items, nodes]), torch.cat([items, users, nodes])
        degree = torch.bincount(rows, minlength=n).to(torch.get_default_dtype())
        super().__init__(torch.stack([rows, columns]), degree.reciprocal()[rows], n)


def user_item_blocks(adjacency: Tensor, n_users: int) -> tuple[Tensor, Tensor]:
    """The two blocks of a graph between users and items that hold its edges.

    Args:
        adjacency: sparse CSR without edges among users or among items, ``(n_users + n_items, n_users + n_items)``.
        n_users: number of users; they are the first nodes.

    Returns:
        Sparse CSR ``(n_users, n_items)`` and ``(n_items, n_users)``.
    """
    starts, columns, values = adjacency.crow_indices(), adjacency.col_indices(), adjacency.values()
    n_items, split = len(adjacency) - n_users, int(starts[n_users])
    of_users = (starts[: n_users + 1], columns[:split] - n_users, values[:split], (n_users, n_items))
    of_items = (starts[n_users:] - split, columns[split:], values[split:], (n_items, n_users))
    upper, lower = (torch.sparse_csr_tensor(*block, check_invariants=True) for block in (of_users, of_items))
    return upper, lower


class ItemsToUsers(nn.Module):
    """A constant weighted sum of items for every user, ``(n_items, d)`` to ``(n_users, d)``.

    Args:
        matrix: sparse CSR, ``(n_users, n_items)``.
        transposed: the same turned round, ``(n_items, n_users)``; it serves the backward pass.
    """

    matrix: Tensor
    transposed: Tensor

    def __init__(self, matrix: Tensor, transposed: Tensor) -> None:
        super().__init__()
        self.register_buffer("matrix", matrix, persistent=False)
        self.register_buffer("transposed", transposed, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Sum the items of every user."""
        return _DirectedProduct.apply(self.matrix, self.transposed, x)
