"""LayerGCN: Zhou et al., "Layer-refined Graph Convolutional Networks for Recommendation", ICDE 2023."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from mmbench.data.recdata import RecData
from mmbench.models.base import FactorModel, Triplets
from mmbench.nn.checks import rate
from mmbench.nn.init import table, xavier_uniform
from mmbench.nn.losses import half_squares
from mmbench.nn.refinement import sum_of_refined_layers
from mmbench.nn.smoothing import halves
from mmbench.nn.subgraph import SampledGraph, sample_edges


class LayerGCN(FactorModel):
    r"""Propagation refined by the ego layer, trained on a pruned graph, :math:`Z = \sum_{l=1}^{L} X^l`.

    :math:`X^l = \cos(H^l, X^0) \odot H^l` with :math:`H^l = \hat A X^{l-1}`. The edges of the first epoch are a sample
    that prefers those between nodes of low degree, the edges of the next one a uniform sample, and so on in turn;
    scores use all edges. The loss is a sum over the batch. It reproduces the numbers of the reference as it is.

    Args:
        data: training data; features are ignored.
        embedding_dim: size of the user and item vectors.
        n_layers: number of propagation layers L.
        dropout: fraction of the edges left out of each epoch.
        reg_weight: weight of the squared norms of the ego rows of the batch.
    """

    uses_content: ClassVar[bool] = False

    def __init__(
        self,
        data: RecData,
        *,
        embedding_dim: int = 64,
        n_layers: int = 4,
        dropout: float = 0.1,
        reg_weight: float = 1e-4,
    ) -> None:
        super().__init__()
        self.n_layers, self.reg_weight = n_layers, reg_weight
        self.user_embedding = table(data.n_users, embedding_dim, xavier_uniform)
        self.item_embedding = table(data.n_items, embedding_dim, xavier_uniform)
        self.graph = SampledGraph(data.edge_index, data.n_users, data.n_items, 1.0 - rate("dropout", dropout))
        self.by_degree = True

    def begin_epoch(self) -> None:
        """Draw the edges of this epoch, by degree and uniformly in turn."""
        graph = self.graph
        if self.by_degree:
            graph.draw()
        elif graph.keep < 1.0:
            uniform = torch.ones_like(graph.weights)
            graph.use_edges(sample_edges(graph.edges, uniform, graph.keep, graph.generator))
        self.by_degree = not self.by_degree

    def forward(self) -> tuple[Tensor, Tensor]:
        """Sum of the refined layers, split into users and items."""
        ego = torch.cat([self.user_embedding, self.item_embedding])
        return halves(sum_of_refined_layers(self.graph(), ego, self.n_layers), len(self.user_embedding))

    def loss(self, batch: Triplets) -> dict[str, Tensor]:
        """BPR and half the squared norms of the ego rows, both summed over the batch (SPEC A §3)."""
        user, positive, negative = batch.rows(*self())
        margins = (user * (positive - negative)).sum(1)
        ego = batch.rows(self.user_embedding, self.item_embedding)
        return {"bpr": -functional.logsigmoid(margins).sum(), "reg": self.reg_weight * half_squares(*ego)}
