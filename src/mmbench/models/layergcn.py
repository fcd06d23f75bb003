"""LayerGCN: Zhou et al., "Layer-refined Graph Convolutional Networks for Recommendation", ICDE 2023."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from mmbench.data.recdata import RecData
from mmbench.messages import Refusal
from mmbench.nn.hyperparameters import at_least, nonnegative, rate
from mmbench.nn.initialisation import table, xavier_uniform
from mmbench.nn.losses import half_squares
from mmbench.nn.propagation import halves, refined_layers
from mmbench.nn.recommender import FactorModel, Triplets
from mmbench.nn.sampled_graph import SampledGraph


class LayerGCN(FactorModel):
    r"""Propagation refined by the ego layer, trained on a pruned graph, :math:`Z = \sum_{l=1}^{L} X^l`.

    :math:`X^l = \cos(H^l, X^0) \odot H^l` with :math:`H^l = \hat A X^{l-1}`. The edges of the first epoch are a sample
    that prefers those between nodes of low degree, the edges of the next one a uniform sample, and so on in turn;
    scores use all edges. The ego layer is not part of the sum. The loss is a sum over the batch. The model has the
    numbers of the reference without any option.

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
        at_least(1, embedding_dim=embedding_dim)
        nonnegative(reg_weight=reg_weight)
        if n_layers < 1:
            raise Refusal(
                "n_layers={n_layers} must be at least 1, as the ego layer is not part of the sum", n_layers=n_layers
            )
        self.n_layers, self.reg_weight = n_layers, reg_weight
        self.user_embedding = table(data.n_users, embedding_dim, xavier_uniform)
        self.item_embedding = table(data.n_items, embedding_dim, xavier_uniform)
        self.graph = SampledGraph(data.edge_index, data.n_users, data.n_items, 1.0 - rate("dropout", dropout))
        self.by_degree = True

    def begin_epoch(self) -> None:
        """Draw the edges of this epoch, by degree and uniformly in turn."""
        self.graph.draw(by_degree=self.by_degree)
        self.by_degree = not self.by_degree

    def forward(self) -> tuple[Tensor, Tensor]:
        """Sum of the refined layers, split into users and items."""
        ego = torch.cat([self.user_embedding, self.item_embedding])
        layers = refined_layers(self.graph(), ego, self.n_layers)
        return halves(sum(layers[1:], layers[0]), len(self.user_embedding))

    def loss(self, batch: Triplets) -> dict[str, Tensor]:
        """BPR and half the squared norms of the ego rows, both summed over the batch."""
        user, positive, negative = batch.rows(*self())
        margins = (user * (positive - negative)).sum(1)
        ego = batch.rows(self.user_embedding, self.item_embedding)
        return {"bpr": -functional.logsigmoid(margins).sum(), "reg": self.reg_weight * half_squares(*ego)}
