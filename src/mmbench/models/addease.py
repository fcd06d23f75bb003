"""AddEASE: Jeunen et al., "Closed-Form Models for Collaborative Filtering with Side-Information", RecSys 2020."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from mmbench.data.recdata import RecData
from mmbench.messages import Refusal
from mmbench.nn.common_users import cached_common_users
from mmbench.nn.content_features import kernel_rows
from mmbench.nn.content_weights import content_shares
from mmbench.nn.hyperparameters import positive
from mmbench.nn.item_regressions import (
    ItemWeightModel,
    cached_content_solution,
    regressions_on_others,
    regularised_inverse,
)
from mmbench.nn.recommender import UnseenItems


class AddEASE(ItemWeightModel):
    r"""EASE blended with the same regression of features, :math:`\hat y_u = r_u B`.

    .. math:: B = \Big(1 - \sum_m \beta_m\Big)\, \mathrm{EASE}(R^\top R, \lambda)
              + \sum_m \beta_m\, \mathrm{EASE}(X^m X^{m\top}, \lambda_F)

    :math:`X^m` are the features of modality m around their mean, every row of length one; :math:`\beta_m` is
    ``content_weight`` times the share of m. Both fits are over items with training interactions; an item without any is
    regressed on them by its content: :math:`B_{\cdot j} = \sum_m \beta_m (X^m_W X_W^{m\top} + \lambda_F 1)^{-1} X^m_W
    x^m_j`. Without any modality, or with ``content_weight`` 0, the model is EASE.

    Three arrays of items x items in float64 and one for each modality are held at a time, 32 bytes per pair of items
    with one modality, and features three times. Solutions of content are kept for the next trainings, up to 1 GB of
    them.

    ``as_reference`` differs from the default in two ways: features are raw, and all items are in one fit.

    Args:
        data: training data.
        reg_weight: ridge penalty of the regression on interactions, lambda.
        content_reg_weight: ridge penalty of the regressions on features, lambda_F.
        content_weight: weight of content, the sum of beta; 0 leaves content out, 1 interactions.
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
        content_reg_weight: float = 10.0,
        content_weight: float = 0.2,
        first_modality_weight: float = 0.2,
        modality_weights: Mapping[str, float] | None = None,
        max_memory_gb: float = 8.0,
        as_reference: bool = False,
    ) -> None:
        if not 0.0 <= content_weight <= 1.0:
            raise Refusal("content_weight={content_weight} must lie between 0 and 1", content_weight=content_weight)
        shares = content_shares(data, content_weight, first_modality_weight, modality_weights)
        super().__init__(data, n_arrays=3 + len(shares), max_memory_gb=max_memory_gb, names=shares)
        self.reg_weight = positive("reg_weight", reg_weight)
        self.content_reg_weight = positive("content_reg_weight", content_reg_weight)
        self.shares, self.as_reference = shares, as_reference

    def item_weights(self, data: RecData) -> Tensor:
        """Add up the regressions on interactions and on each modality."""
        warm = torch.ones(data.n_items, dtype=torch.bool) if self.as_reference else data.warm
        solutions = [
            cached_content_solution(
                kernel_rows(data, {name: 1.0}, raw=self.as_reference), warm, self.content_reg_weight
            )
            for name in self.shares
        ]
        common = cached_common_users(data.edge_index, data.n_users, data.n_items)
        weights = regressions_on_others(regularised_inverse(common, self.reg_weight))
        weights.mul_(1.0 - sum(self.shares.values()))
        for solution, share in zip(solutions, self.shares.values(), strict=True):
            solution.add_to(weights, share)
        return weights.fill_diagonal_(0.0)
