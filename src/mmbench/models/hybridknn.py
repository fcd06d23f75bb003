"""HybridKNN: item neighbourhoods from interactions and from content, added up."""

from __future__ import annotations

import torch
from torch import Tensor

from mmbench.data.recdata import RecData
from mmbench.messages import Refusal
from mmbench.models.base import ClosedForm
from mmbench.nn.content import modality_shares
from mmbench.nn.interactions import history_scores, interaction_matrix
from mmbench.nn.knn import cooccurrence_knn, weighted, weighted_sum
from mmbench.nn.neighbours import content_neighbours


class HybridKNN(ClosedForm):
    r"""ItemKNN whose similarity has a share of content.

    .. math:: \hat y_{uj} = \sum_{i \in R_u} \Big((1 - \beta)\, s_{ji} + \beta \sum_m w_m c^m_{ji}\Big)

    :math:`s` is the shrunk cosine of common users, :math:`c^m` the cosine of the features of modality m around their
    mean, negative ones cut off: embeddings of one encoder all point the same way, so without the mean everything is
    alike. Each similarity keeps the k best items of each item j. An item without content has no neighbours in that
    modality. Without any modality, or with ``content_weight`` 0, the model is ItemKNN.

    Args:
        data: training data.
        k: neighbours per item and similarity.
        shrink: damps similarities that rest on few users.
        content_weight: weight of content against interactions, beta.
        first_modality_weight: weight of the first of two modalities in name order (image before text), the other has
            the rest; one modality weighs 1, more than two weigh the same.
    """

    history: Tensor
    similarity: Tensor

    def __init__(
        self,
        data: RecData,
        *,
        k: int = 200,
        shrink: float = 20.0,
        content_weight: float = 0.3,
        first_modality_weight: float = 0.2,
    ) -> None:
        super().__init__()
        if not 0.0 <= content_weight <= 1.0:
            raise Refusal("content_weight={content_weight} must lie between 0 and 1", content_weight=content_weight)
        self.k, self.shrink = k, shrink
        share = content_weight if data.features else 0.0
        shares = modality_shares(data.features, first_modality_weight)
        self.weights = [1.0 - share, *(share * part for part in shares)]
        self.register_buffer("history", torch.empty(0), persistent=False)
        self.register_buffer("similarity", torch.empty(0), persistent=False)

    def fit(self, data: RecData) -> None:
        """Find the neighbours of each item by interactions and by each modality."""
        self.history = interaction_matrix(data.edge_index, data.n_users, data.n_items)
        lists = [cooccurrence_knn(data.edge_index, data.n_users, data.n_items, self.k, shrink=self.shrink)]
        lists += [content_neighbours(data.features[name], data.present[name], self.k) for name in data.features]
        self.similarity = weighted_sum([weighted(neighbours) for neighbours in lists], self.weights).matrix()

    def score(self, users: Tensor) -> Tensor:
        """Sums of similarities to the history: ``(B, n_items)``."""
        return history_scores(self.history, self.similarity, users)
