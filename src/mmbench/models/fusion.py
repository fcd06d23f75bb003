"""Fusion: the simplest way to use content, and what every refined fusion has to beat."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from mmbench.data.recdata import RecData
from mmbench.nn.content_features import concatenated, on_unique_rows
from mmbench.nn.content_weights import weighed
from mmbench.nn.hyperparameters import at_least, nonnegative
from mmbench.nn.initialisation import linear, table, xavier_normal
from mmbench.nn.losses import bpr_terms
from mmbench.nn.recommender import FactorModel, Triplets, UnseenItems


class Fusion(FactorModel):
    r"""Projected, concatenated features added to the ID vector, :math:`\hat y_{ui} = p_u^\top (q_i + c\,g(f_i))`.

    :math:`f_i` joins the present modalities in name order, each of length :math:`a_m` and louder where the item lacks
    others (:func:`balanced`); :math:`g` is linear, or has one hidden layer with ReLU. Without any modality :math:`g`
    vanishes and the model is BPR.

    Args:
        data: training data.
        embedding_dim: size of the user and item vectors.
        hidden_dim: width of the hidden layer; 0 for a linear projection.
        reg_weight: weight of the un-squared norms of the batch rows.
        content_weight: weight of content, c; 0 leaves it out.
        first_modality_weight: share of the first of two modalities in name order (image before text); 0 or 1 leaves one
            of them out.
        modality_weights: relative weights of more than two modalities by name, 1 where none is given; 0 leaves one out.
    """

    content_ignored_by: ClassVar[str] = "content_weight"
    read_by_content: ClassVar[frozenset[str]] = frozenset({"hidden_dim"})
    unseen_items_by: ClassVar[UnseenItems] = UnseenItems.CONTENT_PART
    compiles: ClassVar[bool] = True
    content: Tensor

    def __init__(
        self,
        data: RecData,
        *,
        embedding_dim: int = 64,
        hidden_dim: int = 0,
        reg_weight: float = 1e-4,
        content_weight: float = 1.0,
        first_modality_weight: float = 0.5,
        modality_weights: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__()
        at_least(1, embedding_dim=embedding_dim)
        at_least(0, hidden_dim=hidden_dim)
        nonnegative(reg_weight=reg_weight)
        self.reg_weight, self.content_weight = reg_weight, content_weight
        data, weights = weighed(data, first_modality_weight, modality_weights, content_weight=content_weight)
        self.user_embedding = table(data.n_users, embedding_dim, xavier_normal)
        self.item_embedding = table(data.n_items, embedding_dim, xavier_normal)
        self.register_buffer("content", balanced(data, weights), persistent=False)
        self.projection = _projection(self.content.shape[1], hidden_dim, embedding_dim)

    def forward(self) -> tuple[Tensor, Tensor]:
        """User vectors and fused item vectors."""
        return self.user_embedding, self._items(slice(None))

    def loss(self, batch: Triplets) -> dict[str, Tensor]:
        """BPR and the norm penalty on the fused batch rows."""
        positive, negative = on_unique_rows(
            self._items, batch.positives, batch.negatives, whole=len(self.item_embedding)
        )
        return bpr_terms(self.user_embedding[batch.users], positive, negative, self.reg_weight)

    def _items(self, rows: Tensor | slice) -> Tensor:
        ids = self.item_embedding[rows]
        if self.projection is None:
            return ids
        return ids + self.content_weight * self.projection(self.content[rows])


def _projection(width: int, hidden: int, out: int) -> nn.Module | None:
    if width == 0:
        return None
    if hidden == 0:
        return linear(width, out)
    return nn.Sequential(linear(width, hidden), nn.ReLU(), linear(hidden, out))


def balanced(data: RecData, weights: Mapping[str, float] | None = None) -> Tensor:
    r"""Features of all present modalities side by side, none louder than its weight: ``(n_items, sum of d)``.

    Rows have length :math:`a_m` in each modality, so that a wide one does not drown the others. Where item i has no
    content its row is zero, and the modalities that it has are scaled by :math:`\sum_m a_m` over the sum of their own
    weights, as dropout scales what it keeps: the image of a new item without a text weighs as much as image and text of
    others together.

    Args:
        data: training data.
        weights: :math:`a_m` by modality, 1 where None.
    """
    if not data.features:
        return concatenated(data)
    weights = dict.fromkeys(data.features, 1.0) if weights is None else weights
    has = {name: data.present[name].to(torch.get_default_dtype()) for name in weights}
    own = torch.stack([weight * has[name] for name, weight in weights.items()]).sum(0)
    lacks = ~torch.stack([data.present[name] for name in weights]).all(0)
    scale = torch.where(lacks & (own > 0), sum(weights.values()) / own, 1.0)
    return concatenated(data, weights, unit=True, scales={name: scale * has[name] for name in weights})
