"""ContentPopularity: Gantner et al., ICDM 2010, whose mapping of factors is one of popularity here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from mmbench.data.recdata import RecData
from mmbench.nn.content_map import ContentMap
from mmbench.nn.recommender import UnseenItems


class ContentPopularity(ContentMap):
    r"""One list for everybody: popularity, predicted from content where there are no interactions to count.

    With the counts :math:`n_i` of training interactions, the items W that have any, and the mean :math:`\bar p` of
    their :math:`p_i = \log(1 + n_i)`, an unseen item gets

    .. math:: \hat p_i = \bar p + x_i^\top (X_W^\top X_W + \lambda 1)^{-1} X_W^\top (p_W - \bar p)

    :math:`x_i` holds the features of each modality around their mean at length one, times the square root of its
    weight. What a model finds among new items beyond this list is personal. Items of W keep :math:`p_i`, unless
    ``mapped=all``. Without any modality, or with ``content_weight`` 0, all unseen items tie.

    Args:
        data: training data.
        reg_weight: ridge penalty, lambda.
        mapped: ``cold``, the items without training interactions, or ``all``.
        content_weight: 0 leaves content out; any other weight is one over the penalty.
        first_modality_weight: share of the first of two modalities in name order (image before text); 0 or 1 leaves one
            of them out.
        modality_weights: relative weights of more than two modalities by name, 1 where none is given; 0 leaves one out.
        max_memory_gb: memory that the regression may take, see :class:`mmbench.models.attributemap.AttributeMap`.

    Raises:
        ValueError: if it would need more memory.
    """

    read_by_content: ClassVar[frozenset[str]] = frozenset({"reg_weight"})
    unseen_items_by: ClassVar[UnseenItems] = UnseenItems.PREDICTED_POPULARITY
    popularity: Tensor

    def __init__(
        self,
        data: RecData,
        *,
        reg_weight: float = 10.0,
        mapped: str = "cold",
        content_weight: float = 1.0,
        first_modality_weight: float = 0.2,
        modality_weights: Mapping[str, float] | None = None,
        max_memory_gb: float = 8.0,
    ) -> None:
        super().__init__(
            data,
            reg_weight=reg_weight,
            mapped=mapped,
            content_weight=content_weight,
            first_modality_weight=first_modality_weight,
            modality_weights=modality_weights,
            max_memory_gb=max_memory_gb,
        )
        self.register_buffer("popularity", torch.empty(0), persistent=False)

    def fit(self, data: RecData) -> None:
        """Regress the logarithm of the counts on content."""
        counts = torch.bincount(data.edge_index[1], minlength=data.n_items)
        known = torch.log1p(counts.double()).unsqueeze(1)
        self.popularity = self.predict(data, known).squeeze(1).to(torch.get_default_dtype())

    def score(self, users: Tensor) -> Tensor:
        """The same numbers for every user: ``(B, n_items)``."""
        return self.popularity.expand(len(users), -1)
