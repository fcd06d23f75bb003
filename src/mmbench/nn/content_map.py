"""Numbers of items that training gives, predicted from content where there are no interactions to give them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from mmbench.data.recdata import RecData
from mmbench.nn.content_features import kernel_rows
from mmbench.nn.content_weights import content_shares
from mmbench.nn.hyperparameters import one_of, positive
from mmbench.nn.item_regressions import check_memory, content_predictions, is_narrow
from mmbench.nn.recommender import ClosedForm

#: Which items get their numbers from their content.
MAPPED = ("cold", "all")
#: Arrays of items x items that a regression on wide features holds at a time.
ARRAYS = 3


class ContentMap(ClosedForm):
    r"""A computed model with a ridge regression on content, whose penalty is lambda (Gantner et al. 2010).

    Features with half as many dimensions as there are items or more need :data:`ARRAYS` arrays of items x items in
    float64, and features three times; fewer need no such array.

    Args:
        data: training data.
        reg_weight: lambda.
        mapped: one of :data:`MAPPED`; ``cold`` are the items without training interactions.
        content_weight: 0 leaves content out.
        first_modality_weight: share of the first of two modalities in name order.
        modality_weights: relative weights of more than two modalities by name.
        max_memory_gb: memory that the regression may take.

    Raises:
        ValueError: if it would need more memory, and for settings that are none.
    """

    content_ignored_by: ClassVar[str] = "content_weight"

    def __init__(
        self,
        data: RecData,
        *,
        reg_weight: float,
        mapped: str,
        content_weight: float,
        first_modality_weight: float,
        modality_weights: Mapping[str, float] | None,
        max_memory_gb: float,
    ) -> None:
        super().__init__()
        self.shares = content_shares(data, content_weight, first_modality_weight, modality_weights)
        narrow = is_narrow(sum(data.features[name].shape[1] for name in self.shares), data.n_items)
        check_memory(type(self).__name__, data, 0 if narrow else ARRAYS, max_memory_gb, self.shares)
        self.reg_weight, self.mapped = positive("reg_weight", reg_weight), one_of("mapped", mapped, MAPPED)

    def predict(self, data: RecData, targets: Tensor) -> Tensor:
        r"""The targets, in place of which mapped items have what their content predicts.

        .. math:: \hat y_i = \bar y + x_i^\top (X_W^\top X_W + \lambda 1)^{-1} X_W^\top (Y_W - \bar y)

        W are the items with training interactions, :math:`\bar y` is the mean of their targets, and :math:`x_i` holds
        the features of each modality around their mean at length one, times the square root of its weight.

        Args:
            data: training data.
            targets: Y, ``(n_items, t)``; those of other items are not read.

        Returns:
            ``(n_items, t)`` in float64.
        """
        known, warm = targets.double(), data.warm
        mean = known[warm].mean(0)
        rows = kernel_rows(data, self.shares)
        predicted = mean + content_predictions(rows, warm, known - mean, self.reg_weight)
        return torch.where(warm.unsqueeze(1), known, predicted) if self.mapped == "cold" else predicted
