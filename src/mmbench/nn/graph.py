"""Graphs as sparse matrices, and propagation over them."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor


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
        return matrix @ x

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[None, Tensor]:
        (matrix,) = ctx.saved_tensors
        return None, matrix @ grads[0].contiguous()


def propagate(adjacency: Tensor, x: Tensor) -> Tensor:
    """One step ``A x`` over a symmetric constant graph: ``(n, n)`` times ``(n, d)``."""
    return _SymmetricProduct.apply(adjacency, x)


def mean_of_layers(adjacency: Tensor, x: Tensor, n_layers: int) -> Tensor:
    r"""Mean of the propagated layers, :math:`\frac{1}{L+1}\sum_{l=0}^{L} A^l X` (He et al. 2020, eq. 8).

    Args:
        adjacency: symmetric, ``(n, n)``.
        x: ego embeddings, ``(n, d)``.
        n_layers: L.
    """
    total = x
    for _ in range(n_layers):
        x = propagate(adjacency, x)
        total = total + x
    return total / (n_layers + 1)
