"""SelfCF: Zhou et al., "SelfCF: A Simple Framework for Self-supervised Collaborative Filtering", ACM TORS 2023."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from mmbench.data.recdata import RecData
from mmbench.nn.hyperparameters import at_least, nonnegative, rate
from mmbench.nn.initialisation import linear, table, xavier_uniform
from mmbench.nn.losses import cosine_distance, half_squares
from mmbench.nn.noise import Noise
from mmbench.nn.propagation import halves, propagated
from mmbench.nn.recommender import FactorModel, Triplets
from mmbench.nn.user_item_graph import UserItemEdges, set_adjacency


class SelfCF(FactorModel):
    r"""LightGCN without negatives: users and items predict each other's dropped-out vectors.

    .. math:: L = -\tfrac12\cos(g(z_u), \mathrm{drop}(z_i)) - \tfrac12\cos(g(z_i), \mathrm{drop}(z_u))
              + \tfrac{\lambda}{2} \sum (\|z_u\|^2 + \|z_i\|^2)

    :math:`g` is linear and no gradient goes through the targets. This is the variant with embedding dropout. Scores are
    :math:`\hat y_{ui} = g(z_u)^\top z_i + z_u^\top g(z_i)`. Negatives of a batch are ignored.

    ``as_reference`` also drops edges in training, which the paper's embedding dropout does not: each direction of an
    edge on its own, at a rate that every batch draws from [0, 1).

    Args:
        data: training data; features are ignored.
        embedding_dim: size of the user and item vectors.
        n_layers: number of propagation layers.
        dropout: dropout rate of the targets.
        reg_weight: weight of the squared norms of the propagated rows of the batch.
        as_reference: reproduce the numbers of the reference implementation.
    """

    uses_content: ClassVar[bool] = False
    adjacency: Tensor

    def __init__(
        self,
        data: RecData,
        *,
        embedding_dim: int = 64,
        n_layers: int = 2,
        dropout: float = 0.2,
        reg_weight: float = 0.0,
        as_reference: bool = False,
    ) -> None:
        super().__init__()
        at_least(1, embedding_dim=embedding_dim)
        at_least(0, n_layers=n_layers)
        nonnegative(reg_weight=reg_weight)
        self.n_layers, self.dropout, self.reg_weight = n_layers, rate("dropout", dropout), reg_weight
        self.user_embedding = table(data.n_users, embedding_dim, xavier_uniform)
        self.item_embedding = table(data.n_items, embedding_dim, xavier_uniform)
        self.predictor = linear(embedding_dim, embedding_dim)
        set_adjacency(self, data, eps=1e-7)
        self.noise = Noise("edge_rate", "edges", "user_target", "item_target")
        # Deviation of the reference, see _over_dropped_edges.
        self.dropped_edges = UserItemEdges(data.edge_index, data.n_users, data.n_items) if as_reference else None

    def forward(self) -> tuple[Tensor, Tensor]:
        """User vectors ``[g(z_u), z_u]`` and item vectors ``[z_i, g(z_i)]``."""
        users, items = self._propagated()
        return torch.cat([self.predictor(users), users], dim=1), torch.cat([items, self.predictor(items)], dim=1)

    def loss(self, batch: Triplets) -> dict[str, Tensor]:
        """Mutual prediction, and half the squared norms summed over the batch."""
        users, items = self._propagated()
        user, item = users[batch.users], items[batch.positives]
        user_target = self.noise.drop("user_target", user.detach(), self.dropout)
        item_target = self.noise.drop("item_target", item.detach(), self.dropout)
        of_item = cosine_distance(self.predictor(user), item_target)
        of_user = cosine_distance(self.predictor(item), user_target)
        return {"prediction": 0.5 * (of_item + of_user) - 1.0, "reg": self.reg_weight * half_squares(user, item)}

    def _propagated(self) -> tuple[Tensor, Tensor]:
        """Mean of the layers, ``(n_users, d)`` and ``(n_items, d)``."""
        if self.dropped_edges is not None and self.training:
            return self._over_dropped_edges(self.dropped_edges)
        return propagated(self.adjacency, self.user_embedding, self.item_embedding, self.n_layers)

    def _over_dropped_edges(self, edges: UserItemEdges) -> tuple[Tensor, Tensor]:
        """The reference's mean of the layers in training, after dropout of edges at a random rate."""
        # The entries of both structures are sorted by receiver and sender.
        weights = self.noise.drop("edges", self.adjacency.values(), self.noise.uniform("edge_rate"))
        layers = [torch.cat([self.user_embedding, self.item_embedding])]
        for _ in range(self.n_layers):
            layers.append(edges.propagate(weights, layers[-1]))
        return halves(torch.stack(layers).mean(0), len(self.user_embedding))
