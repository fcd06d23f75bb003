"""LightGCN: He et al., "LightGCN: Simplifying and Powering Graph Convolution Network", SIGIR 2020."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from mmbench.data.recdata import RecData
from mmbench.nn.hyperparameters import at_least, nonnegative
from mmbench.nn.initialisation import table, xavier_uniform
from mmbench.nn.losses import bpr_terms
from mmbench.nn.propagation import halves, rows_of_mean
from mmbench.nn.recommender import FactorModel, Triplets
from mmbench.nn.user_item_graph import set_adjacency


class LightGCN(FactorModel):
    r"""Linear propagation of free vectors over the user-item graph, :math:`Z = \frac{1}{L+1}\sum_l \hat A^l X`.

    Args:
        data: training data; features are ignored.
        embedding_dim: size of the user and item vectors.
        n_layers: number of propagation layers L.
        reg_weight: weight of the un-squared norms of the ego rows of the batch.
    """

    uses_content: ClassVar[bool] = False
    shares_batches: ClassVar[bool] = True
    compiles: ClassVar[bool] = True
    adjacency: Tensor

    def __init__(self, data: RecData, *, embedding_dim: int = 64, n_layers: int = 2, reg_weight: float = 1e-4) -> None:
        super().__init__()
        at_least(1, embedding_dim=embedding_dim)
        at_least(0, n_layers=n_layers)
        nonnegative(reg_weight=reg_weight)
        self.n_layers = n_layers
        self.reg_weight = reg_weight
        self.user_embedding = table(data.n_users, embedding_dim, xavier_uniform)
        self.item_embedding = table(data.n_items, embedding_dim, xavier_uniform)
        set_adjacency(self, data, eps=1e-7)

    def forward(self) -> tuple[Tensor, Tensor]:
        """Mean of the layers (eq. 8), split into users and items."""
        final, _ = self._rows()
        return halves(final, len(self.user_embedding))

    def loss(self, batch: Triplets) -> dict[str, Tensor]:
        """BPR on the propagated vectors, norm penalty on the ego rows (eq. 15, whose norms are squared)."""
        final, ego = self._rows(torch.cat(batch.nodes(len(self.user_embedding))))
        user, positive, negative = batch.whole(*final.tensor_split(3))
        return bpr_terms(user, positive, negative, self.reg_weight, penalised=batch.whole(*ego.tensor_split(3)))

    def _rows(self, nodes: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Final and ego vectors of chosen nodes, of all by default, users first: each ``(n_rows, d)``."""
        return rows_of_mean(self.adjacency, self.user_embedding, self.item_embedding, self.n_layers, nodes)
