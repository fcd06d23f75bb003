"""Item graphs of DA-MRS: neighbours that every modality calls similar, and items that often go together."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from mmbench.nn.interactions import common_neighbours, interaction_matrix
from mmbench.nn.knn import ItemGraph, row_sum_normalised
from mmbench.nn.nearest import RING_SEED, nearest

#: Below every cosine: marks a pair that some modality calls unlike.
UNLIKE = -2.0
#: Common users that a pair of items needs to count as going together.
MIN_COMMON = 2


def binary_graph(rows: Tensor, columns: Tensor, n_items: int) -> ItemGraph:
    """Unweighted edges over the square roots of the row sums of both ends."""
    weights = torch.ones(len(rows), dtype=torch.get_default_dtype(), device=rows.device)
    return row_sum_normalised(ItemGraph(torch.stack([rows, columns]), weights, n_items))


def consistent_graphs(features: Mapping[str, Tensor], present: Mapping[str, Tensor], k: int) -> dict[str, ItemGraph]:
    r"""For each modality the k nearest items, among those that every modality calls similar (SPEC B §6).

    Modality m calls two items similar if their cosine is not below its mean over all pairs,
    :math:`\frac{1}{n^2}\sum_{ij} \langle \hat f_i, \hat f_j\rangle = \|\frac{1}{n}\sum_i \hat f_i\|^2`; differences
    that rounding explains do not count. It says nothing about an item without content or with features of zero, which
    has no edges in its graph. Rows may have fewer than k neighbours, the item itself is always one. No ``(n, n)`` array
    is made.

    Args:
        features: ``(n_items, d)`` by modality.
        present: whether an item has content, ``(n_items,)`` by modality.
        k: neighbours per item at most, itself included.
    """
    dtype = torch.get_default_dtype()
    tolerance = 16 * torch.finfo(dtype).eps
    units, known, means = {}, {}, {}
    for name, values in features.items():
        norms = torch.linalg.vector_norm(values.double(), dim=1, keepdim=True)
        known[name] = present[name] & (norms.squeeze(1) > 0)
        unit = torch.where(known[name].unsqueeze(1), values.double() / norms.clamp_min(1e-300), 0.0)
        means[name] = float((unit.sum(0) / known[name].sum().clamp_min(1)).square().sum())
        units[name] = unit.to(dtype)

    def graph(name: str) -> ItemGraph:
        items = torch.nonzero(known[name]).squeeze(1)

        def similarity(begin: int, end: int) -> Tensor:
            rows = items[begin:end]
            block = units[name][rows] @ units[name][items].T
            unlike = torch.zeros_like(block, dtype=torch.bool)
            for other, unit in units.items():
                cosines = block if other == name else unit[rows] @ unit[items].T
                informed = known[other][rows].unsqueeze(1) & known[other][items]
                unlike |= informed & (cosines < means[other] - tolerance)
            return block.masked_fill(unlike, UNLIKE)

        indices, values = nearest(similarity, len(items), k)
        place, rank = torch.nonzero(values > UNLIKE / 2).T
        return binary_graph(items[place], items[indices[place, rank]], len(known[name]))

    return {name: graph(name) for name in features}


def companion_graph(edge_index: Tensor, n_users: int, n_items: int, k: int) -> ItemGraph:
    """Each item with itself and the ``k`` items that it has most users in common with, two at least (SPEC B §6).

    Of equally frequent companions the one with fewer users comes first, since it owes more of them to this item; users
    count with fixed random weights there, so that few ties remain.

    Args:
        edge_index: training interactions, ``(2, n_edges)``.
        n_users: number of users.
        n_items: number of items.
        k: companions per item at most.
    """
    of_items = interaction_matrix(edge_index.flip(0), n_items, n_users).double()
    weights = 1.0 + torch.rand(n_users, generator=torch.Generator().manual_seed(RING_SEED), dtype=torch.float64)
    handicap = of_items @ weights / (weights.sum() + 1.0)

    def similarity(begin: int, end: int) -> Tensor:
        return common_neighbours(of_items, begin, end) - handicap

    indices, counts = nearest(similarity, n_items, k, include_self=False, width=n_users)
    place, rank = torch.nonzero(counts > MIN_COMMON - 1).T
    items = torch.arange(n_items)
    return binary_graph(torch.cat([items, place]), torch.cat([items, indices[place, rank]]), n_items)
