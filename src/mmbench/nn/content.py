"""Raw features of modalities, their projections, and fixed shares between modalities."""

from __future__ import annotations

from collections.abc import Callable, Collection

import torch
from torch import Tensor, nn

from mmbench.data.recdata import RecData
from mmbench.messages import Refusal
from mmbench.nn.features import projected_rows
from mmbench.nn.graph import DirectedGraph
from mmbench.nn.knn import ItemGraph, binary_normalised, row_sum_normalised, weighted, weighted_sum
from mmbench.nn.neighbours import cached_knn


class ProjectedContent(nn.Module):
    """A linear map of raw features, ``W x + b``.

    Args:
        features: raw features, ``(n_items, d_raw)``.
        dim: width of the projection.
        trainable: whether the features themselves are parameters. Frozen features keep what a condition says about
            them; a trainable matrix turns into a table of item vectors, whatever it held at first.
    """

    table: Tensor

    def __init__(self, features: Tensor, dim: int, *, trainable: bool = False) -> None:
        super().__init__()
        values = features.to(torch.get_default_dtype())
        if trainable:
            self.table = nn.Parameter(values.clone())  # the caller's features must not be trained along
        else:
            self.register_buffer("table", values, persistent=False)
        self.projection = nn.Linear(features.shape[1], dim)

    def forward(self, rows: Tensor | slice = slice(None)) -> Tensor:
        """Project the chosen rows, all of them by default: ``(n_rows, dim)``."""
        return projected_rows(self.table, rows, self.projection)


def projected_content(data: RecData, dim: int, *, trainable: bool = False) -> nn.ModuleDict:
    """A :class:`ProjectedContent` for every modality, in name order."""
    return nn.ModuleDict(
        {name: ProjectedContent(features, dim, trainable=trainable) for name, features in data.features.items()}
    )


def modality_shares(names: Collection[str], first: float) -> list[float]:
    """Fixed weights of modalities, in name order, which add up to one.

    Args:
        names: present modalities.
        first: weight of the first of exactly two modalities (image before text); one modality weighs 1, more than two
            weigh the same.
    """
    if not 0.0 <= first <= 1.0:
        raise Refusal("the weight of the first modality is {first}; it must lie between 0 and 1", first=first)
    return [first, 1.0 - first] if len(names) == 2 else [1.0 / len(names) for _ in names]


def content_graphs(data: RecData, k: Callable[[str], int]) -> dict[str, ItemGraph]:
    """Graph of the nearest items by the raw features of each modality, normalised by its row sums (SPEC A §9).

    Args:
        data: training data; items without content have no edges in the graph of that modality.
        k: neighbours per item, itself included, by modality.
    """
    lists = {name: cached_knn(features, data.present[name], k(name)) for name, features in data.features.items()}
    return {name: row_sum_normalised(weighted(neighbours)) for name, neighbours in lists.items()}


def fused_item_graph(data: RecData, k: int, first: float) -> DirectedGraph | None:
    r"""Frozen item graph of the raw features, :math:`\sum_m w_m \mathrm{kNN}(f^m)` (SPEC B §0); None without any.

    Args:
        data: training data; items without content have no edges in the graph of that modality.
        k: neighbours per item, itself included.
        first: weight of the first modality, see :func:`modality_shares`.
    """
    if not data.features:
        return None
    graphs = [binary_normalised(cached_knn(data.features[m], data.present[m], k)) for m in data.features]
    fused = weighted_sum(graphs, modality_shares(data.features, first))
    return DirectedGraph(fused.edge_index, fused.weights, data.n_items)
