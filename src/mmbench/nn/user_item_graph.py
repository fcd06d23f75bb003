"""The bipartite graph of users and items: its normalisations, its blocks, and edges whose weights are learned.

Users are the first nodes, items follow: item i is node ``n_users + i``.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mmbench.data.recdata import RecData
from mmbench.nn.kernels import EdgeProducts, EdgePropagation, EdgeSoftmax, RowsOfWeightedSum
from mmbench.nn.memo import Memo, content_key
from mmbench.nn.sparse import DirectedGraph, sparse_matrix

#: Graphs kept in memory, of a few data sets and models.
_graphs = Memo[Tensor](4)


def both_directions(edge_index: Tensor, n_users: int) -> tuple[Tensor, Tensor]:
    """Receivers and senders of the training edges in both directions.

    Args:
        edge_index: users and items of each edge, ``(2, n_edges)``.
        n_users: number of users.

    Returns:
        Two tensors of nodes, each ``(2 * n_edges,)``.
    """
    users, items = edge_index[0], edge_index[1] + n_users
    return torch.cat([users, items]), torch.cat([items, users])


def symmetric_normalised(edge_index: Tensor, n_users: int, n_items: int, eps: float = 0.0) -> Tensor:
    r"""Symmetrically normalised adjacency :math:`D^{-1/2} A D^{-1/2}` without self loops (He et al. 2020, eq. 7).

    Args:
        edge_index: users and items of each edge, ``(2, n_edges)``.
        n_users: number of users.
        n_items: number of items.
        eps: added to every degree, as the reference implementations do; an isolated node has an empty row either way.

    Returns:
        Sparse CSR ``(n_users + n_items, n_users + n_items)`` of the default dtype.
    """
    rows, columns = both_directions(edge_index, n_users)
    n = n_users + n_items
    degree = torch.bincount(rows, minlength=n).double() + eps
    # Computed in float64 and rounded once, as the reference implementations build their graphs.
    values = (degree[rows] * degree[columns]).rsqrt().to(torch.get_default_dtype())
    return sparse_matrix(rows, columns, values, (n, n))


def set_adjacency(owner: nn.Module, data: RecData, eps: float = 0.0) -> None:
    """Give a module the buffer ``adjacency``, the graph of :func:`symmetric_normalised`; no state stores it.

    Trainings on the same interactions share one tensor.
    """
    edges = data.edge_index
    adjacency = _graphs.get(
        content_key(torch.get_default_dtype(), edges.device, data.n_users, data.n_items, eps, edges),
        lambda: symmetric_normalised(edges, data.n_users, data.n_items, eps),
    )
    owner.register_buffer("adjacency", adjacency, persistent=False)


class NeighbourMean(DirectedGraph):
    r"""Mean over the neighbours of every user and item, :math:`D^{-1} A x`; an isolated node gets zero.

    Args:
        edge_index: users and items of each edge, ``(2, n_edges)``.
        n_users: number of users.
        n_items: number of items.
        self_loops: whether every node counts among its own neighbours, :math:`D^{-1}(A + I) x`.
    """

    def __init__(self, edge_index: Tensor, n_users: int, n_items: int, *, self_loops: bool = False) -> None:
        n = n_users + n_items
        rows, columns = both_directions(edge_index, n_users)
        if self_loops:
            nodes = torch.arange(n)
            rows, columns = torch.cat([rows, nodes]), torch.cat([columns, nodes])
        degree = torch.bincount(rows, minlength=n).to(torch.get_default_dtype())
        super().__init__(torch.stack([rows, columns]), degree[rows].reciprocal(), n)


def user_item_blocks(adjacency: Tensor, n_users: int) -> tuple[Tensor, Tensor]:
    """The two blocks of a bipartite graph that hold its edges.

    Args:
        adjacency: sparse CSR without edges among users or among items, ``(n_users + n_items, n_users + n_items)``.
        n_users: number of users.

    Returns:
        Sparse CSR ``(n_users, n_items)`` and ``(n_items, n_users)``.
    """
    starts, columns, values = adjacency.crow_indices(), adjacency.col_indices(), adjacency.values()
    n_items, split = len(adjacency) - n_users, int(starts[n_users])
    of_users = (starts[: n_users + 1], columns[:split] - n_users, values[:split], (n_users, n_items))
    of_items = (starts[n_users:] - split, columns[split:], values[split:], (n_items, n_users))
    upper, lower = (torch.sparse_csr_tensor(*block, check_invariants=True) for block in (of_users, of_items))
    return upper, lower


class UserItemEdges(nn.Module):
    """Every training edge in both directions, for weights that a model computes in every forward pass.

    Edges are sorted by the receiving node and then by the sender, so that those into users come first. The structure
    is fixed and symmetric, so that a weighted matrix over it needs no sorting, and its transpose is the same structure
    with the weights of the reversed edges.

    Args:
        edge_index: users and items of each edge, ``(2, n_edges)``, each pair once.
        n_users: number of users.
        n_items: number of items.
    """

    pattern: Tensor
    rows: Tensor
    columns: Tensor
    reverse: Tensor
    of_users: Tensor
    of_items: Tensor

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
        of_users, of_items = user_item_blocks(pattern, n_users)
        self.register_buffer("of_users", of_users, persistent=False)
        self.register_buffer("of_items", of_items, persistent=False)

    @property
    def into_items(self) -> Tensor:
        """Place among the edges into users of each edge into an item, ``(n_edges,)``."""
        return self.reverse[len(self.reverse) // 2 :]

    def products(self, users: Tensor, items: Tensor) -> Tensor:
        r"""Inner products :math:`\langle x_u, x_i\rangle` of the edges into users, with gradients: ``(n_edges,)``."""
        return EdgeProducts.apply(self.of_users, self.of_items, self.into_items, users, items)

    def both_ways(self, scores: Tensor) -> Tensor:
        """What the edges into users have, ``(n_edges,)``, for every edge and its reverse: ``(2 * n_edges,)``."""
        return torch.cat([scores, scores.index_select(0, self.into_items)])

    def attention(self, scores: Tensor) -> Tensor:
        """Softmax of ``(2 * n_edges,)`` over the edges into the same node."""
        return EdgeSoftmax.apply(self.pattern.crow_indices(), self.rows, scores)

    def attention_of_users(self, scores: Tensor) -> Tensor:
        """Softmax of ``(n_edges,)`` over the edges into the same user."""
        return EdgeSoftmax.apply(self.of_users.crow_indices(), self.rows[: len(scores)], scores)

    def propagate(self, weights: Tensor, x: Tensor) -> Tensor:
        r"""One step :math:`y_r = \sum_c w_{rc} x_c` of ``(n, d)``, with gradients for ``x`` and the weights."""
        return EdgePropagation.apply(self.pattern, self.pattern, self.reverse, weights, x)

    def propagate_to_users(self, weights: Tensor, items: Tensor) -> Tensor:
        """Users' rows of :meth:`propagate`, ``(n_users, d)``: weights ``(n_edges,)``, items ``(n_items, d)``."""
        return EdgePropagation.apply(self.of_users, self.of_items, self.into_items, weights, items)

    def rows_of_sum(self, weights: Tensor, x: Tensor, n_layers: int, nodes: Tensor) -> Tensor:
        r"""Chosen rows of :math:`\sum_{l=0}^{L} W^l x`, with gradients for ``x`` and the weights: ``(m, d)``.

        Args:
            weights: ``(2 * n_edges,)``.
            x: ``(n, d)``.
            n_layers: L.
            nodes: rows, users first, ``(m,)``; a row may be asked for several times.
        """
        return RowsOfWeightedSum.apply(self.pattern, self.reverse, n_layers, nodes, weights, x)
