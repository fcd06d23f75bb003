"""BM3: Zhou et al., "Bootstrap Latent Representations for Multi-modal Recommendation", WWW 2023."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from mmbench.data.recdata import RecData
from mmbench.nn.content_features import projected_content
from mmbench.nn.content_weights import weighed
from mmbench.nn.distinct import distinct
from mmbench.nn.hyperparameters import at_least, nonnegative, rate
from mmbench.nn.initialisation import linear, table, xavier_normal, xavier_uniform
from mmbench.nn.kernels import ChosenRows, RowsAndNorm
from mmbench.nn.losses import cosine_distance
from mmbench.nn.noise import Noise
from mmbench.nn.propagation import propagated
from mmbench.nn.recommender import FactorModel, Triplets
from mmbench.nn.user_item_graph import set_adjacency


class BM3(FactorModel):
    r"""Self-supervised alignment without negatives: :math:`q(\bar u), q(h)` predict dropped-out targets of each other.

    .. math::
        L = C(q(\bar u), \tilde h) + C(q(h), \tilde u)
        + \lambda_c \sum_m a_m [C(q(f_m), \tilde h) + C(q(f_m), \tilde f_m)] + \lambda\,(\|\bar U\|_F + \|H\|_F) / n_i

    :math:`[\bar U; \bar I]` are LightGCN's vectors, :math:`H = \bar I + Q` adds the ID vectors of items, :math:`f_m` is
    the projected content, :math:`q` one linear predictor for all views and :math:`C` the cosine distance, through whose
    targets no gradient goes. Scores are :math:`q(\bar u)^\top q(h)`: content acts through training only, and
    :math:`\lambda_c a_m` is its weight. Modalities that are absent drop out of the sum; without any the model aligns
    users and items alone.

    By default raw features are frozen and only their projections are trained. ``as_reference`` trains them too, which
    is all it changes.

    Args:
        data: training data.
        embedding_dim: size of all vectors.
        n_layers: propagation layers over users and items.
        dropout: rate of the dropout that makes a target.
        cl_weight: weight of the terms of modalities, :math:`\lambda_c`; 0 leaves content out.
        reg_weight: weight of the norms of the propagated tables, :math:`\lambda`.
        first_modality_weight: share of the first of two modalities in name order (image before text); 0 or 1 leaves one
            of them out.
        modality_weights: relative weights of more than two modalities by name, 1 where none is given; 0 leaves one out.
        trainable_features: whether the raw features are parameters.
        as_reference: reproduce the numbers of the reference implementation.
    """

    content_ignored_by: ClassVar[str] = "cl_weight"
    adjacency: Tensor

    def __init__(
        self,
        data: RecData,
        *,
        embedding_dim: int = 64,
        n_layers: int = 1,
        dropout: float = 0.3,
        cl_weight: float = 2.0,
        reg_weight: float = 0.1,
        first_modality_weight: float = 0.5,
        modality_weights: Mapping[str, float] | None = None,
        trainable_features: bool = False,
        as_reference: bool = False,
    ) -> None:
        super().__init__()
        at_least(1, embedding_dim=embedding_dim)
        at_least(0, n_layers=n_layers)
        nonnegative(reg_weight=reg_weight)
        trainable_features |= as_reference  # all that as_reference changes
        data, self.weights = weighed(data, first_modality_weight, modality_weights, cl_weight=cl_weight)
        self.n_layers, self.dropout = n_layers, rate("dropout", dropout)
        self.cl_weight, self.reg_weight = cl_weight, reg_weight
        self.user_embedding = table(data.n_users, embedding_dim, xavier_uniform)
        self.item_embedding = table(data.n_items, embedding_dim, xavier_uniform)
        self.predictor = linear(embedding_dim, embedding_dim, xavier_normal)
        self.content = projected_content(data, embedding_dim, trainable=trainable_features, law=xavier_normal)
        self.noise = Noise("user", "item", *(f"content_{name}" for name in data.features))
        set_adjacency(self, data, eps=1e-7)

    def forward(self) -> tuple[Tensor, Tensor]:
        """Predictions of users and items."""
        users, items = self._propagated()
        return self.predictor(users), self.predictor(items)

    def loss(self, batch: Triplets) -> dict[str, Tensor]:
        """Alignment of users, items and content, and the norms; negatives are not read."""
        users, items = self._propagated()
        user, user_norm = RowsAndNorm.apply(batch.users, users)
        item, item_norm = RowsAndNorm.apply(batch.positives, items)
        user_target = self.noise.drop_rows("user", user.detach(), self.dropout, batch.users, len(users))
        item_target = self.noise.drop_rows("item", item.detach(), self.dropout, batch.positives, len(items))
        terms = {
            "user_item": cosine_distance(self.predictor(user), item_target),
            "item_user": cosine_distance(self.predictor(item), user_target),
            "reg": self.reg_weight * (user_norm + item_norm) / len(items),
        }
        for name, tower in self.content.items():
            # An item that is there twice has one target.
            rows, place = distinct(batch.positives)
            pairs = ChosenRows.apply(place, self._with_target(name, tower, rows))
            projected, target = pairs.chunk(2, dim=1)
            online, weight = self.predictor(projected), self.cl_weight * self.weights[name]
            terms[f"{name}_align"] = weight * cosine_distance(online, item_target)
            terms[f"{name}_intra"] = weight * cosine_distance(online, target)
        return terms

    def _propagated(self) -> tuple[Tensor, Tensor]:
        """User vectors, and item vectors with the ID vectors added once more."""
        users, items = propagated(self.adjacency, self.user_embedding, self.item_embedding, self.n_layers)
        return users, items + self.item_embedding

    def _with_target(self, name: str, tower: nn.Module, rows: Tensor) -> Tensor:
        """Projected content of items beside its target, ``(n_rows, 2 d)``."""
        projected = tower(rows)
        target = self.noise.drop(f"content_{name}", projected.detach(), self.dropout)
        return torch.cat([projected, target], dim=1)
