"""Fusion: the simplest way to use content, and what every refined fusion has to beat."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from mmbench.data.recdata import RecData
from mmbench.nn.content_features import concatenated, on_unique_rows
from mmbench.nn.initialisation import table, xavier_normal
from mmbench.nn.losses import bpr_terms
from mmbench.nn.recommender import FactorModel, Triplets


class Fusion(FactorModel):
    r"""Projected, concatenated features added to the ID vector, :math:`\hat y_{ui} = p_u^\top (q_i + g(f_i))`.

    :math:`f_i` joins the present modalities in name order, each of unit length and louder where the item lacks others
    (:func:`balanced`); :math:`g` is linear, or has one hidden layer with ReLU. Without any
    modality :math:`g` vanishes and the model is BPR.

    Args:
        data: training data.
        embedding_dim: size of the user and item vectors.
        hidden_dim: width of the hidden layer; 0 for a linear projection.
        reg_weight: weight of the un-squared norms of the batch rows.
    """

    content: Tensor

    def __init__(
        self, data: RecData, *, embedding_dim: int = 64, hidden_dim: int = 0, reg_weight: float = 1e-4
    ) -> None:
        super().__init__()
        self.reg_weight = reg_weight
        self.user_embedding = table(data.n_users, embedding_dim, xavier_normal)
        self.item_embedding = table(data.n_items, embedding_dim, xavier_normal)
        self.register_buffer("content", balanced(data), persistent=False)
        self.projection = _projection(self.content.shape[1], hidden_dim, embedding_dim)

    def forward(self) -> tuple[Tensor, Tensor]:
        """User vectors and fused item vectors."""
        return self.user_embedding, self._items(slice(None))

    def loss(self, batch: Triplets) -> dict[str, Tensor]:
        """BPR and the norm penalty on the fused batch rows; only items of the batch are projected."""
        positive, negative = on_unique_rows(self._items, batch.positives, batch.negatives)
        return bpr_terms(self.user_embedding[batch.users], positive, negative, self.reg_weight)

    def _items(self, rows: Tensor | slice) -> Tensor:
        ids = self.item_embedding[rows]
        return ids if self.projection is None else ids + self.projection(self.content[rows])


def _projection(width: int, hidden: int, out: int) -> nn.Module | None:
    if width == 0:
        return None
    if hidden == 0:
        return nn.Linear(width, out)
    return nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, out))


def balanced(data: RecData) -> Tensor:
    r"""Features of all present modalities side by side, all of the same weight: ``(n_items, sum of d)``.

    Rows have length one in each modality, so that a wide one does not drown the others. Where item :math:`i` has no
    content its row is zero, and the :math:`M_i` modalities that it has are scaled by :math:`M / M_i`, as dropout
    scales what it keeps: the image of a new item without a text weighs as much as image and text of others together.
    """
    if not data.features:
        return concatenated(data)
    present = torch.stack([data.present[name] for name in data.features]).to(torch.get_default_dtype())
    weights = len(present) * present / present.sum(dim=0).clamp(min=1)
    rows = {
        name: weight[:, None] * functional.normalize(part, dim=1, eps=1e-12)
        for (name, part), weight in zip(data.features.items(), weights, strict=True)
    }
    return concatenated(replace(data, features=rows))
