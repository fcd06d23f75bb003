"""Item graphs: nearest neighbours and normalisations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from mmbench.nn.graph import sparse_matrix
from mmbench.nn.interactions import common_neighbours, interaction_matrix
from mmbench.nn.nearest import Told, nearest

#: Width of features whose products are as fast in small blocks.
NARROW = 128


@dataclass(frozen=True)
class Neighbours:
    """The most similar items of each item, best first.

    Args:
        n_items: number of items.
        items: items that have neighbours, ascending, ``(m,)``; the others are isolated.
        indices: their neighbours, ``(m, k)``.
        values: similarities, ``(m, k)``.
        recall: share of the exact neighbours among approximate ones, on a sample; None where the lists are exact.
    """

    n_items: int
    items: Tensor
    indices: Tensor
    values: Tensor
    recall: float | None = None

    @property
    def k(self) -> int:
        """Neighbours per item."""
        return self.indices.shape[1]

    def top(self, k: int) -> Neighbours:
        """The best ``k`` of the list."""
        return replace(self, indices=self.indices[:, :k], values=self.values[:, :k])


@dataclass(frozen=True)
class ItemGraph:
    """A weighted directed graph over items as a list of edges.

    Args:
        edge_index: row (the item that receives) and column of each edge, ``(2, n_edges)``.
        weights: ``(n_edges,)``; edges given twice are added.
        n_items: number of items.
    """

    edge_index: Tensor
    weights: Tensor
    n_items: int

    def matrix(self) -> Tensor:
        """Sparse CSR ``(n_items, n_items)``, without the edges of weight zero."""
        kept = self.weights != 0
        rows, columns = self.edge_index[:, kept]
        return sparse_matrix(rows, columns, self.weights[kept], (self.n_items, self.n_items))

    def to(self, device: torch.device) -> ItemGraph:
        """The same graph on another device."""
        return ItemGraph(self.edge_index.to(device), self.weights.to(device), self.n_items)


def knn(features: Tensor, present: Tensor, k: int, *, shrink: float = 0.0, told: Told | None = None) -> Neighbours:
    r"""Exact nearest items by cosine, the item itself among them (SPEC A §5 and §9, B §0).

    .. math:: s_{ij} = \frac{\langle f_i, f_j\rangle}{\|f_i\| \|f_j\| + \text{shrink}}

    An item without content, or whose features are all zero and so have no direction, is isolated: no edge leaves or
    reaches it.

    Args:
        features: ``(n_items, d)``.
        present: whether an item has content, ``(n_items,)``.
        k: neighbours per item, itself included.
        shrink: added to the product of norms; damps similarities of items with small features.
        told: told how many items are done.
    """
    items, chosen, norm = directions(features, present)
    if shrink != 0:
        chosen = features[items]

    def similarity(begin: int, end: int) -> Tensor:
        products = chosen[begin:end] @ chosen.T
        return products if shrink == 0 else products / (norm[begin:end].unsqueeze(1) * norm + shrink)

    indices, values = nearest(similarity, len(items), k, told=told, narrow=features.shape[1] <= NARROW)
    return Neighbours(len(features), items, items[indices], values)


def directions(features: Tensor, present: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Items that have a direction ``(m,)``, their rows at length one ``(m, d)``, and their lengths ``(m,)``."""
    norms = torch.linalg.vector_norm(features, dim=1)
    items = torch.nonzero(present & (norms > 0)).squeeze(1)
    return items, features[items] / norms[items].unsqueeze(1), norms[items]


def cooccurrence_knn(edge_index: Tensor, n_users: int, n_items: int, k: int, *, shrink: float = 0.0) -> Neighbours:
    r"""Nearest items by their common users, without the item itself (Deshpande & Karypis 2004).

    .. math:: s_{ij} = \frac{c_{ij}}{\sqrt{c_{ii} c_{jj}} + \text{shrink}},\quad c_{ij} = |U_i \cap U_j|

    Args:
        edge_index: training interactions, ``(2, n_edges)``.
        n_users: number of users.
        n_items: number of items.
        k: neighbours per item.
        shrink: added to the denominator; damps similarities that rest on few users.
    """
    of_items = interaction_matrix(edge_index.flip(0), n_items, n_users)
    root = torch.bincount(edge_index[1], minlength=n_items).to(of_items.dtype).sqrt()

    def similarity(begin: int, end: int) -> Tensor:
        scale = (root[begin:end].unsqueeze(1) * root + shrink).clamp_min(1e-12)  # an item without users divides by 0
        return common_neighbours(of_items, begin, end) / scale

    indices, values = nearest(similarity, n_items, k, include_self=False, width=n_users)
    return Neighbours(n_items, torch.arange(n_items, device=edge_index.device), indices, values)


def learned_knn(features: Tensor, present: Tensor, k: int) -> Neighbours:
    """:func:`knn` by cosine whose similarities carry gradients to ``features`` ``(n_items, d)``.

    Which items are neighbours is not differentiated, how similar they are is (SPEC A §9).
    """
    # In full precision whatever a training in mixed precision does with its products: lists are decided by digits.
    with torch.autocast(features.device.type, enabled=False):
        features = features.to(torch.promote_types(features.dtype, torch.float32))
        lists = knn(features.detach(), present, k)
        unit = functional.normalize(features, dim=1, eps=1e-12)
        neighbours, own = functional.embedding(lists.indices, unit), functional.embedding(lists.items, unit)
        values = torch.bmm(neighbours, own.unsqueeze(2)).squeeze(2)
    return replace(lists, values=values)


def weighted(neighbours: Neighbours) -> ItemGraph:
    """The graph whose weights are the similarities."""
    rows = neighbours.items.repeat_interleave(neighbours.k)
    edge_index = torch.stack([rows, neighbours.indices.flatten()])
    return ItemGraph(edge_index, neighbours.values.flatten(), neighbours.n_items)


def binary_normalised(neighbours: Neighbours) -> ItemGraph:
    r"""kNN01 of SPEC B §0: unweighted edges over :math:`\sqrt{r_i + \epsilon}\sqrt{r_j + \epsilon}`, r row sums.

    Every item with edges has k of them, so every weight is :math:`1/(k + \epsilon)`.
    """
    return weighted(replace(neighbours, values=torch.full_like(neighbours.values, 1.0 / (neighbours.k + 1e-7))))


def row_sum_normalised(graph: ItemGraph) -> ItemGraph:
    r"""Weights over :math:`\sqrt{r_i r_j}` with the row sums r on both sides: kNNw of SPEC B §0, lap of A §9.

    A row whose sum is not positive has no edges; the formula would give NaN.
    """
    rows, columns = graph.edge_index
    sums = torch.zeros(graph.n_items, dtype=graph.weights.dtype, device=rows.device).index_add(0, rows, graph.weights)
    scale = torch.where(sums > 0, sums, 1.0).rsqrt() * (sums > 0)
    return replace(graph, weights=graph.weights * scale[rows] * scale[columns])


def transposed(graph: ItemGraph) -> ItemGraph:
    """The graph with every edge turned round."""
    return replace(graph, edge_index=graph.edge_index.flip(0))


def weighted_sum(graphs: Sequence[ItemGraph], weights: Sequence[Tensor | float]) -> ItemGraph:
    """Sum of graphs over the same items, each times its weight."""
    return ItemGraph(
        torch.cat([graph.edge_index for graph in graphs], dim=1),
        torch.cat([weight * graph.weights for graph, weight in zip(graphs, weights, strict=True)]),
        graphs[0].n_items,
    )


def union_maximum(graphs: Sequence[ItemGraph]) -> ItemGraph:
    """Union of the edges of graphs over the same items, each with its largest weight (SPEC B §7).

    An edge of one graph keeps its weight, a negative one too.
    """
    n = graphs[0].n_items
    keys = torch.cat([graph.edge_index[0] * n + graph.edge_index[1] for graph in graphs])
    weights = torch.cat([graph.weights for graph in graphs])
    edges, place = torch.unique(keys, return_inverse=True)
    largest = torch.full_like(weights[: len(edges)], -torch.inf).scatter_reduce(0, place, weights, "amax")
    return ItemGraph(torch.stack([edges // n, edges % n]), largest, n)
