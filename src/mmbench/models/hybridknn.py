"""HybridKNN: item neighbourhoods from interactions and from content, added up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from mmbench.data.recdata import RecData
from mmbench.messages import Refusal
from mmbench.nn.common_users import common_user_lists
from mmbench.nn.content_weights import weighed
from mmbench.nn.history_sums import HistorySums
from mmbench.nn.hyperparameters import at_least, nonnegative
from mmbench.nn.item_graphs import Weigher, history_weights, modality_shares
from mmbench.nn.item_neighbours import content_neighbours
from mmbench.nn.recommender import UnseenItems


class HybridKNN(HistorySums):
    r"""ItemKNN whose similarity has a share of content.

    .. math:: \hat y_{uj} = \sum_{i \in R_u} \Big((1 - \beta)\, s_{ji} + \beta\,
        \frac{\sum_{m \in M_{ji}} s_m c^m_{ji}}{\sum_{m \in M_{ji}} s_m}\Big)

    :math:`s` is the shrunk cosine of common users, :math:`c^m` the cosine of the features of modality m around their
    mean, or 0 where it is negative: embeddings of one encoder all point in much the same direction, so that around zero
    all items would be alike. Each similarity keeps the k best items of each item j. :math:`M_{ji}` are the modalities
    that both items have: what one of them lacks is absent, which is not the same as unlike, and the others weigh more.
    Two items without a modality in common are compared by :math:`s` alone. So is every item without any modality, or
    with ``content_weight`` 0: then the model is ItemKNN.

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
    unseen_items_by: ClassVar[UnseenItems] = UnseenItems.HISTORY

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
        at_least(1, k=k)
        nonnegative(shrink=shrink)
        if not 0.0 <= content_weight <= 1.0:
            raise Refusal("content_weight={content_weight} must lie between 0 and 1", content_weight=content_weight)
        self.k, self.shrink = k, shrink
        data, _ = weighed(data, first_modality_weight, modality_weights, content_weight=content_weight)
        shares = modality_shares(data.features, first_modality_weight, modality_weights)
        self.content_weight = content_weight if data.features else 0.0
        self.shares = dict(zip(data.features, shares, strict=True))

    def item_weights(self, data: RecData) -> Tensor:
        """The neighbours of each item by interactions and by each modality, turned round."""
        common = common_user_lists(data.edge_index, data.n_users, data.n_items, self.k, shrink=self.shrink)
        contents = [content_neighbours(data.features[n], data.present[n], data.warm, self.k) for n in self.shares]
        return history_weights(common, contents, self._weigher(data))

    def _weigher(self, data: RecData) -> Weigher:
        """Weight of the similarity by interactions and of that by each modality; one per pair where content lacks."""
        of_content = [self.content_weight * share for share in self.shares.values()]
        present = [data.present[name] for name in self.shares]
        complete = all(bool(mask.all()) for mask in present)

        def weigh(number: int, items: Tensor, owners: Tensor) -> Tensor | float:
            if complete:
                return [1.0 - self.content_weight, *of_content][number]
            common = torch.zeros(len(items), device=items.device)
            for share, mask in zip(self.shares.values(), present, strict=True):
                common += share * (mask[items] & mask[owners])
            if number == 0:
                return torch.where(common > 0, 1.0 - self.content_weight, 1.0)
            return of_content[number - 1] * sum(self.shares.values()) / common

        return weigh
