"""Weighted graphs over items, mostly of nearest neighbours: normalisations, sums, and the graphs of raw features."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from mmbench.data.recdata import RecData
from mmbench.messages import Refusal
from mmbench.nn.common_users import CommonUsers
from mmbench.nn.item_neighbours import Neighbours, joined, seen_and_unseen
from mmbench.nn.sparse import DirectedGraph, parts_of, sparse_matrix

#: Weight of pairs by the number of their kind of list, the listed items and the owners of the lists, ``(n_pairs,)``.
Weigher = Callable[[int, Tensor, Tensor], Tensor | float]


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


def weighted(neighbours: Neighbours) -> ItemGraph:
    """The graph whose weights are the similarities."""
    rows = neighbours.items.repeat_interleave(neighbours.k)
    edge_index = torch.stack([rows, neighbours.indices.flatten()])
    return ItemGraph(edge_index, neighbours.values.flatten(), neighbours.n_items)


def binary_normalised(neighbours: Neighbours) -> ItemGraph:
    r"""Edges of weight one over :math:`\sqrt{r_i + \epsilon}\sqrt{r_j + \epsilon}` with the row sums r.

    This is the item graph of FREEDOM (Zhou & Shen 2023, section 3.1), :math:`\epsilon = 10^{-7}`. Every item with edges
    has k of them, so that every weight is :math:`1/(k + \epsilon)`.
    """
    return weighted(replace(neighbours, values=torch.full_like(neighbours.values, 1.0 / (neighbours.k + 1e-7))))


def row_sum_normalised(graph: ItemGraph) -> ItemGraph:
    r"""Weights over :math:`\sqrt{r_i r_j}` with the row sums r of both ends, as in LATTICE (Zhang et al. 2021).

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


def history_weights(
    common: CommonUsers | Neighbours,
    contents: Sequence[Neighbours] = (),
    weigh: Weigher = lambda number, items, owners: 1.0,
) -> Tensor:
    """Weighted sum of lists, turned round: what an item of a history adds to the items whose lists it is in.

    It is made in blocks of rows whose entries are counted before, so that beside the result and the lists only one
    block is held.

    Args:
        common: lists by common users.
        contents: further lists, by content.
        weigh: weight of the entries of a kind of list by its number, 0 for ``common``; see :data:`Weigher`.

    Returns:
        Sparse CSR ``(n_items, n_items)``, without entries of weight zero.
    """
    n, lists = common.n_items, (common, *contents)
    work, room = torch.stack([listed.work for listed in lists]).sum(0), sum(listed.size for listed in lists)
    starts = torch.zeros(n + 1, dtype=torch.int64, device=work.device)
    columns, values = work.new_empty(room), torch.empty(room, dtype=common.dtype, device=work.device)
    for part in parts_of(work.cumsum(0)):
        rows = _block(lists, weigh, part, n)
        filled = int(starts[part.start])
        starts[part.start + 1 : part.stop + 1] = filled + rows.crow_indices()[1:]
        place = slice(filled, int(starts[part.stop]))
        columns[place], values[place] = rows.col_indices(), rows.values()
    filled = int(starts[-1])
    if filled < room // 2:
        columns, values = columns[:filled].clone(), values[:filled].clone()
    return torch.sparse_csr_tensor(starts, columns[:filled], values[:filled], (n, n), check_invariants=False)


def _block(
    lists: Sequence[CommonUsers | Neighbours],
    weigh: Weigher,
    part: slice,
    n_items: int,
) -> Tensor:
    """Some rows of :func:`history_weights`, sparse CSR."""
    found = []
    for number, listed in enumerate(lists):
        items, owners, similarities = listed.listing(part.start, part.stop)
        weights = similarities * weigh(number, items, owners)
        kept = weights != 0
        found.append((items[kept] - part.start, owners[kept], weights[kept]))
    rows, columns, weights = (torch.cat(parts) for parts in zip(*found, strict=True))
    return sparse_matrix(rows, columns, weights, (part.stop - part.start, n_items))


def modality_shares(names: Collection[str], first: float, relative: Mapping[str, float] | None = None) -> list[float]:
    """Fixed weights of modalities, in name order, which add up to one.

    Args:
        names: present modalities.
        first: weight of the first of exactly two modalities (image before text); one modality weighs 1.
        relative: relative weights of more than two modalities by name, 1 where none is given. Equal ones give equal
            shares. A modality of weight 0 has the share 0, and the others have those that they have without it.

    Raises:
        ValueError: if ``first`` is outside [0, 1].
    """
    if not 0.0 <= first <= 1.0:
        raise Refusal("the weight of the first modality is {first}; it must lie between 0 and 1", first=first)
    if len(names) == 2:
        return [first, 1.0 - first]
    weights = {name: (relative or {}).get(name, 1.0) for name in names}
    if len(set(weights.values())) <= 1 or len(names) < 2:
        return [1.0 / len(names) for _ in names]
    heard = [name for name, weight in weights.items() if weight > 0.0]
    if len(heard) < len(names):
        shares = dict(zip(heard, modality_shares(heard, first, relative), strict=True))
        return [shares.get(name, 0.0) for name in names]
    return [weight / sum(weights.values()) for weight in weights.values()]


def content_graphs(data: RecData, k: Callable[[str], int], *, unseen_too: bool = False) -> dict[str, ItemGraph]:
    """Graph of the nearest items by the raw features of each modality, see :func:`row_sum_normalised`.

    Args:
        data: training data; items without content have no edges in the graph of that modality.
        k: neighbours per item, itself included, by modality.
        unseen_too: see :func:`content_lists`.
    """
    lists = {name: content_lists(data, name, k(name), unseen_too=unseen_too) for name in data.features}
    return {name: row_sum_normalised(weighted(neighbours)) for name, neighbours in lists.items()}


def content_lists(data: RecData, name: str, k: int, *, unseen_too: bool = False) -> Neighbours:
    """Nearest items by the raw features of one modality; every neighbour is an item that training sees.

    Edges of a graph made of them lead from seen items to seen and to unseen ones, and none leaves an unseen one. So an
    unseen item takes no part in training, where no row of it is read, and is ranked by its seen neighbours.

    Args:
        data: training data; items without content have no list.
        name: the modality.
        k: neighbours per item; a seen item is one of its own.
        unseen_too: whether unseen items are neighbours like any other, as in reference implementations.
    """
    warm = torch.ones_like(data.warm) if unseen_too else data.warm
    return joined(*seen_and_unseen(data.features[name], data.present[name], warm, k))


def fused_item_graph(
    data: RecData, k: int, first: float, relative: Mapping[str, float] | None = None, *, unseen_too: bool = False
) -> DirectedGraph | None:
    r"""Frozen item graph of the raw features, :math:`\sum_m w_m \mathrm{kNN}(f^m)` (Zhou & Shen 2023, section 3.1).

    Args:
        data: training data; items without content have no edges in the graph of that modality.
        k: neighbours per item, itself included.
        first: weight of the first of two modalities, see :func:`modality_shares`.
        relative: relative weights of more than two.
        unseen_too: see :func:`content_lists`.

    Returns:
        The graph; None without any modality. See :func:`binary_normalised` for kNN.
    """
    if not data.features:
        return None
    graphs = [binary_normalised(content_lists(data, name, k, unseen_too=unseen_too)) for name in data.features]
    fused = weighted_sum(graphs, modality_shares(data.features, first, relative))
    return DirectedGraph(fused.edge_index, fused.weights, data.n_items)
