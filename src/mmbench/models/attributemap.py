"""AttributeMap: Gantner et al., "Learning Attribute-to-Feature Mappings for Cold-Start Recommendations", ICDM 2010."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from mmbench.data.recdata import RecData
from mmbench.nn.alternating_least_squares import check_settings, factorised
from mmbench.nn.content_map import ContentMap
from mmbench.nn.equal_rows import EqualRows
from mmbench.nn.recommender import UnseenItems


class AttributeMap(ContentMap):
    r"""Item vectors of a factorisation, predicted from content where there are no interactions to learn them from.

    The factorisation is iALS, with vectors :math:`p_u` and, for the items W with training interactions, :math:`q_i`
    and their mean :math:`\bar q`. A ridge regression maps content to the rest:

    .. math:: \hat q_i = \bar q + x_i^\top (X_W^\top X_W + \lambda 1)^{-1} X_W^\top (Q_W - \bar q), \quad
              \hat y_{ui} = \langle p_u, \hat q_i\rangle

    :math:`x_i` holds the features of each modality around their mean at length one, times :math:`\sqrt{w_m}` with
    ``content_weight`` times the share of m as :math:`w_m`. Items with interactions keep :math:`q_i`, unless
    ``mapped=all``, which scores everything by content. Without any modality, or with ``content_weight`` 0, a mapped
    item has the vector :math:`\bar q`.

    Features with half as many dimensions as there are items or more need three arrays of items x items in float64, 24
    bytes per pair of items, and features three times; fewer need no such array.

    Args:
        data: training data.
        embedding_dim: size of the user and item vectors, d.
        n_sweeps: times that items, then users are solved.
        unobserved_weight: weight of all pairs in the factorisation.
        mf_reg_weight: penalty of the factorisation.
        reg_weight: ridge penalty of the map, lambda.
        mapped: ``cold``, the items without training interactions, or ``all``.
        content_weight: 0 leaves content out; any other weight is one over the penalty.
        first_modality_weight: share of the first of two modalities in name order (image before text); 0 or 1 leaves one
            of them out.
        modality_weights: relative weights of more than two modalities by name, 1 where none is given; 0 leaves one out.
        max_memory_gb: memory that the map may take.

    Raises:
        ValueError: if it would need more memory.
    """

    read_by_content: ClassVar[frozenset[str]] = frozenset({"reg_weight"})
    unseen_items_by: ClassVar[UnseenItems] = UnseenItems.PREDICTED_VECTOR
    users: Tensor
    items: Tensor
    copies: Tensor
    originals: Tensor

    def __init__(
        self,
        data: RecData,
        *,
        embedding_dim: int = 64,
        n_sweeps: int = 10,
        unobserved_weight: float = 0.3,
        mf_reg_weight: float = 1e-2,
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
        self.factorisation = (embedding_dim, n_sweeps, unobserved_weight, mf_reg_weight)
        check_settings(*self.factorisation)
        self.register_buffer("users", torch.empty(0), persistent=False)
        self.register_buffer("items", torch.empty(0), persistent=False)
        for name in EqualRows._fields:
            self.register_buffer(name, torch.empty(0, dtype=torch.long), persistent=False)

    def fit(self, data: RecData) -> None:
        """Factorise the interactions, then regress the item vectors on content."""
        self.users, items = factorised(data, *self.factorisation)
        self.items = self.predict(data, items).to(items.dtype)
        mapped = ~data.warm if self.mapped == "cold" else torch.ones_like(data.warm)
        self.copies, self.originals = EqualRows.of(self.items, torch.nonzero(mapped).squeeze(1))

    def score(self, users: Tensor) -> Tensor:
        """Inner products: ``(B, n_items)``; items of equal content have equal ones."""
        return EqualRows(self.copies, self.originals).even(self.users[users] @ self.items.T)

    def vectors(self) -> tuple[Tensor, Tensor]:
        """Users as they were factorised, items as they are mapped."""
        return self.users, self.items
