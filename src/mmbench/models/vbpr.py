"""VBPR: He & McAuley, "VBPR: Visual Bayesian Personalized Ranking from Implicit Feedback", AAAI 2016."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from mmbench.data.recdata import RecData
from mmbench.nn.content_features import concatenated, on_unique_rows, projected_rows
from mmbench.nn.content_weights import weighed
from mmbench.nn.hyperparameters import at_least, nonnegative, one_of
from mmbench.nn.initialisation import linear, table, xavier_normal, xavier_uniform
from mmbench.nn.losses import bpr_terms
from mmbench.nn.recommender import FactorModel, Triplets, UnseenItems

#: How content is projected.
PRECISIONS = ("full", "bf16")


class VBPR(FactorModel):
    r"""BPR with a linear content part, :math:`\hat y_{ui} = u_u^\top [q_i; c\,(W f_i + b)]`.

    :math:`f_i` joins the features of all present modalities in name order, each of length :math:`a_m`. As in the code
    behind the published numbers, and unlike the paper, the projection has a bias and there are no item and visual bias
    terms. Without any modality the content half vanishes and the model is BPR with ``embedding_dim`` columns. Paper and
    code take features as they are; ``as_reference`` does.

    Args:
        data: training data.
        embedding_dim: size of the ID vector and of the projected content; user vectors have twice that.
        reg_weight: weight of the un-squared norms of the batch rows (projected content included).
        projection_precision: ``full``, or ``bf16`` to hold the content and to multiply it by W in bfloat16, with sums
            in single precision: an approximation with relative errors around 1/256.
        content_weight: weight of content, c; 0 leaves it out.
        first_modality_weight: share of the first of two modalities in name order (image before text); 0 or 1 leaves one
            of them out.
        modality_weights: relative weights of more than two modalities by name, 1 where none is given; 0 leaves one out.
        as_reference: reproduce the numbers of the reference implementation.
    """

    content_ignored_by: ClassVar[str] = "content_weight"
    unseen_items_by: ClassVar[UnseenItems] = UnseenItems.CONTENT_PART
    shares_batches: ClassVar[bool] = True
    compiles: ClassVar[bool] = True
    content: Tensor

    def __init__(
        self,
        data: RecData,
        *,
        embedding_dim: int = 64,
        reg_weight: float = 1e-4,
        projection_precision: str = "full",
        content_weight: float = 1.0,
        first_modality_weight: float = 0.5,
        modality_weights: Mapping[str, float] | None = None,
        as_reference: bool = False,
    ) -> None:
        super().__init__()
        at_least(1, embedding_dim=embedding_dim)
        nonnegative(reg_weight=reg_weight)
        self.reg_weight, self.content_weight = reg_weight, content_weight
        data, weights = weighed(data, first_modality_weight, modality_weights, content_weight=content_weight)
        content = concatenated(data, weights, unit=not as_reference)
        self.in_bf16 = one_of("projection_precision", projection_precision, PRECISIONS) == "bf16"
        if self.in_bf16:
            content = content.bfloat16()
        self.register_buffer("content", content, persistent=False)
        width = self.content.shape[1]
        self.user_embedding = table(data.n_users, embedding_dim * (2 if width else 1), xavier_uniform)
        self.item_embedding = table(data.n_items, embedding_dim, xavier_uniform)
        self.projection = linear(width, embedding_dim, xavier_normal) if width else None
        if self.projection is not None:
            nn.init.zeros_(self.projection.bias)

    def forward(self) -> tuple[Tensor, Tensor]:
        """User vectors and item vectors ``[id, projected content]``."""
        return self.user_embedding, self._items(slice(None))

    def loss(self, batch: Triplets) -> dict[str, Tensor]:
        """BPR and the norm penalty on the batch rows."""
        items = on_unique_rows(self._items, batch.positives, batch.negatives, whole=len(self.item_embedding))
        user, positive, negative = batch.whole(self.user_embedding[batch.users], *items)
        return bpr_terms(user, positive, negative, self.reg_weight)

    def _items(self, rows: Tensor | slice) -> Tensor:
        ids = self.item_embedding[rows]
        if self.projection is None:
            return ids
        return torch.cat([ids, self.content_weight * self._projected(self.projection, rows)], dim=1)

    def _projected(self, projection: nn.Linear, rows: Tensor | slice) -> Tensor:
        """Content of the chosen rows times W plus b, ``(n_rows, embedding_dim)``."""
        if not self.in_bf16:
            return projected_rows(self.content, rows, projection)
        # A training in double precision has widened the content with everything else, which changed none of its digits.
        product = functional.linear(self.content[rows].bfloat16(), projection.weight.bfloat16())
        return product.to(projection.bias.dtype) + projection.bias
