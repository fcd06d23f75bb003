"""HybridKNN: item neighbourhoods from interactions and from content, added up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from mmbench.data.recdata import RecData
from mmbench.messages import Refusal
from mmbench.nn.content_weights import content_shares
from mmbench.nn.item_graphs import weighted, weighted_sum
from mmbench.nn.item_neighbours import content_neighbours, cooccurrence_knn
from mmbench.nn.recommender import ClosedForm
from mmbench.nn.sparse import history_scores, interaction_matrix


class HybridKNN(ClosedForm):
    r"""ItemKNN whose similarity has a share of content.

    .. math:: \hat y_{uj} = \sum_{i \in R_u} \Big((1 - \beta)\, s_{ji} + \beta \sum_m s_m c^m_{ji}\Big)

    :math:`s` is the shrunk cosine of common users, :math:`c^m` the cosine of the features of modality m around their
    mean, or 0 where it is negative: embeddings of one encoder all point in much the same direction, so that around zero
    all items would be alike. Each similarity keeps the k best items of each item j. An item without content has no
    neighbours in that modality. Without any modality, or with ``content_weight`` 0, the model is ItemKNN.

    Args:
        data: training data.
        k: neighbours per item and similarity.
        shrink: damps similarities that rest on few users.
        content_weight: weight of content against interactions, beta; 0 leaves content out.
        first_modality_weight: share of the first of two modalities in name order (image before text); 0 or 1 leaves one
            of them out.
        modality_weights: relative weights of more than two modalities by name, 1 where none is given; 0 leaves one out.
    """

    content_ignored_by: ClassVar[str] = "content_weight"
    serves_new_users: ClassVar[bool] = True
    similarity: Tensor

    def __init__(
        self,
        data: RecData,
        *,
        k: int = 200,
        shrink: float = 20.0,
        content_weight: float = 0.3,
        first_modality_weight: float = 0.2,
        modality_weights: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__()
        if not 0.0 <= content_weight <= 1.0:
            raise Refusal("content_weight={content_weight} must lie between 0 and 1", content_weight=content_weight)
        self.k, self.shrink = k, shrink
        self.shares = content_shares(data, content_weight, first_modality_weight, modality_weights)
        self.interaction_weight = 1.0 - content_weight if self.shares else 1.0
        self.register_buffer("history", torch.empty(0), persistent=False)
        self.register_buffer("similarity", torch.empty(0), persistent=False)

    def fit(self, data: RecData) -> None:
        """Find the neighbours of each item by interactions and by each modality."""
        self.history = interaction_matrix(data.edge_index, data.n_users, data.n_items)
        lists = [cooccurrence_knn(data.edge_index, data.n_users, data.n_items, self.k, shrink=self.shrink)]
        lists += [content_neighbours(data.features[name], data.present[name], self.k) for name in self.shares]
        weights = [self.interaction_weight, *self.shares.values()]
        self.similarity = weighted_sum([weighted(neighbours) for neighbours in lists], weights).matrix()

    def score(self, users: Tensor) -> Tensor:
        """Sums of similarities to the history: ``(B, n_items)``."""
        return history_scores(self.history, self.similarity, users)
