"""User-item edges whose weights a model computes in every forward pass, and the plain mean over them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.utils import softmax

from mmbench.nn.graph import DirectedGraph, product, sparse_matrix


def both_directions(edge_index: Tensor, n_users: int) -> tuple[Tensor, Tensor]:
    """Receivers and senders of the training edges in both directions, items numbered after the users.

    Args:
        edge_index: users and items of each edge, ``(2, n_edges)``.
        n_users: number of users.

    Returns:
        Two tensors ``(2 * n_edges,)``.
    """
    users, items = edge_index[0], edge_index[1] + n_users
    return torch.cat([users, items]), torch.cat([items, users])


def neighbour_mean(edge_index: Tensor, n_users: int, n_items: int) -> DirectedGraph:
    r"""Mean over the neighbours of every user and item, :math:`D^{-1} A x` without self loops (SPEC A §7).

    An isolated node gets zero.
    """
    rows, columns = both_directions(edge_index, n_users)
    degree = torch.bincount(rows).to(torch.get_default_dtype())
    return DirectedGraph(torch.stack([rows, columns]), degree[rows].reciprocal(), n_users + n_items)


class UserItemEdges(nn.Module):
    """Every training edge in both directions, sorted by the receiving node and then by the sender.

    The structure is fixed and symmetric, so a weighted matrix over it needs no sorting, and its transpose is the same
    structure with the weights of the reversed edges.

    Args:
        edge_index: users and items of each edge, ``(2, n_edges)``, each pair once.
        n_users: number of users; they are the first nodes.
        n_items: number of items.
    """

    pattern: Tensor
    rows: Tensor
    columns: Tensor
    reverse: Tensor

    def __init__(self, edge_index: Tensor, n_users: int, n_items: int) -> None:
        super().__init__()
        n = n_users + n_items
        rows, columns = both_directions(edge_index, n_users)
        pattern = sparse_matrix(rows, columns, torch.ones(len(rows)), (n, n))
        columns = pattern.col_indices()
        rows = torch.arange(n).repeat_interleave(pattern.crow_indices().diff())
        self.register_buffer("pattern", pattern, persistent=False)
        self.register_buffer("rows", rows, persistent=False)
        self.register_buffer("columns", columns, persistent=False)
        self.register_buffer("reverse", torch.argsort(columns * n + rows), persistent=False)

    def matrix(self, weights: Tensor) -> Tensor:
        """Sparse CSR ``(n, n)`` of weights ``(2 * n_edges,)``."""
        structure = (self.pattern.crow_indices(), self.columns, weights, self.pattern.shape)
        return torch.sparse_csr_tensor(*structure, check_invariants=False)

    def of_ends(self, a: Tensor, b: Tensor) -> Tensor:
        """Products of the receivers' rows of ``a`` and the senders' of ``b``, both ``(n, d)``: ``(2 * n_edges,)``."""
        return torch.sparse.sampled_addmm(self.pattern, a, b.T, beta=0.0).values()

    def products(self, x: Tensor) -> Tensor:
        r"""Inner products :math:`\langle x_r, x_c\rangle` of the ends, with gradients for ``x``: ``(2 * n_edges,)``."""
        return _EndProducts.apply(self, x)

    def attention(self, scores: Tensor) -> Tensor:
        """Softmax of ``(2 * n_edges,)`` over the edges into the same node."""
        return softmax(scores, self.rows, num_nodes=len(self.pattern))

    def propagate(self, weights: Tensor, x: Tensor) -> Tensor:
        r"""One step :math:`y_r = \sum_c w_{rc} x_c` of ``(n, d)``, with gradients for ``x`` and the weights."""
        return _EdgePropagation.apply(self, weights, x)


class _EndProducts(torch.autograd.Function):
    """Inner products along edges; the gradient of the vectors is a sparse product."""

    @staticmethod
    def forward(ctx: Any, edges: UserItemEdges, x: Tensor) -> Tensor:
        ctx.edges = edges
        ctx.save_for_backward(x)
        return edges.of_ends(x, x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[None, Tensor]:
        (x,) = ctx.saved_tensors
        return None, product(ctx.edges.matrix(grads[0] + grads[0][ctx.edges.reverse]), x)


class _EdgePropagation(torch.autograd.Function):
    """Sparse product over a fixed symmetric structure, differentiable in the weights."""

    @staticmethod
    def forward(ctx: Any, edges: UserItemEdges, weights: Tensor, x: Tensor) -> Tensor:
        ctx.edges = edges
        ctx.save_for_backward(weights, x)
        return product(edges.matrix(weights), x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[None, Tensor, Tensor]:
        weights, x = ctx.saved_tensors
        grad = grads[0].contiguous()
        return None, ctx.edges.of_ends(grad, x), product(ctx.edges.matrix(weights[ctx.edges.reverse]), grad)
