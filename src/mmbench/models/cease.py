"""CEASE: Jeunen et al., "Closed-Form Models for Collaborative Filtering with Side-Information", RecSys 2020."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from mmbench.data.recdata import RecData
from mmbench.nn.common_users import cached_common_users
from mmbench.nn.content_features import kernel_rows
from mmbench.nn.content_weights import content_shares
from mmbench.nn.hyperparameters import positive
from mmbench.nn.item_regressions import (
    ItemWeightModel,
    content_solution,
    regressions_on_others,
    regularised_inverse,
)
from mmbench.nn.recommender import UnseenItems


class CEASE(ItemWeightModel):
    r"""EASE that learns from dimensions of features as it does from users, :math:`\hat y_u = r_u B`.

    .. math:: \min_B \|R - RB\|^2 + \sum_m w_m \|X^{m\top} - X^{m\top} B\|^2 + \lambda \|B\|^2, \quad B_{jj} = 0

    so that B is that of EASE with :math:`R^\top R + \sum_m w_m X^m X^{m\top}` in place of :math:`R^\top R`. :math:`X^m`
    are the features of modality m around their mean, every row of length one, and :math:`w_m` is ``content_weight``
    times the share of m. The fit is over items with training interactions. An item without any gets the weights that
    minimise the same sum without R, which would ask that nobody liked it: :math:`B_{\cdot j} = (\sum_m w_m X^m_W
    X_W^{m\top} + \lambda 1)^{-1} \sum_m w_m X^m_W x^m_j`. Without any modality, or with ``content_weight`` 0, the model
    is EASE.

    Three arrays of items x items in float64 and the columns of new items are held at a time, at most 32 bytes per pair
    of items, and features three times.

    ``as_reference`` differs from the default in two ways: features are raw, and all items are in one fit.

    Args:
        data: training data.
        reg_weight: ridge penalty, lambda.
        content_weight: weight of a dimension of features against a user; 0 leaves content out.
        first_modality_weight: share of the first of two modalities in name order (image before text); 0 or 1 leaves one
            of them out.
        modality_weights: relative weights of more than two modalities by name, 1 where none is given; 0 leaves one out.
        max_memory_gb: memory that the computation may take.
        as_reference: reproduce the numbers of the reference implementation.

    Raises:
        ValueError: if it would need more memory.
    """

    content_ignored_by: ClassVar[str] = "content_weight"
    unseen_items_by: ClassVar[UnseenItems] = UnseenItems.CONTENT_WEIGHTS

    def __init__(
        self,
        data: RecData,
        *,
        reg_weight: float = 400.0,
        content_weight: float = 10.0,
        first_modality_weight: float = 0.2,
        modality_weights: Mapping[str, float] | None = None,
        max_memory_gb: float = 8.0,
        as_reference: bool = False,
    ) -> None:
        shares = content_shares(data, content_weight, first_modality_weight, modality_weights)
        super().__init__(data, n_arrays=4, max_memory_gb=max_memory_gb, names=shares)
        self.reg_weight, self.shares = positive("reg_weight", reg_weight), shares
        self.as_reference = as_reference

    def item_weights(self, data: RecData) -> Tensor:
        """Regress items on items over users and dimensions of features, new items over the latter alone."""
        rows = kernel_rows(data, self.shares, raw=self.as_reference)
        warm = torch.ones(data.n_items, dtype=torch.bool) if self.as_reference else data.warm
        of_new = torch.empty(data.n_items, 0)
        if not warm.all():
            of_new = content_solution(rows, warm, self.reg_weight).of_unknown(~warm)
        common = cached_common_users(data.edge_index, data.n_users, data.n_items)
        inverse = regularised_inverse(common, self.reg_weight, rows * warm.unsqueeze(1))
        weights = regressions_on_others(inverse)
        if not warm.all():
            weights[:, ~warm] = of_new
        return weights
