"""EASE: Steck, "Embarrassingly Shallow Autoencoders for Sparse Data", WWW 2019."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from mmbench.data.recdata import RecData
from mmbench.nn.common_users import cached_common_users
from mmbench.nn.hyperparameters import positive
from mmbench.nn.item_regressions import (
    ItemWeightModel,
    regressions_on_others,
    regularised_inverse,
)


class EASE(ItemWeightModel):
    r"""Linear regression of every item on all others, :math:`\hat y_u = r_u B` with zero diagonal.

    :math:`B_{ij} = -P_{ij}/P_{jj}` off the diagonal, :math:`P = (R^\top R + \lambda I)^{-1}`. Features are ignored.
    Three arrays of items x items in float64 are held at a time, 24 bytes per pair of items (1.2 GB for 7,000 items, 60
    GB for 50,000).

    Args:
        data: training data.
        reg_weight: ridge penalty, lambda.
        max_memory_gb: memory that the computation may take.

    Raises:
        ValueError: if it would need more.
    """

    uses_content: ClassVar[bool] = False

    def __init__(self, data: RecData, *, reg_weight: float = 400.0, max_memory_gb: float = 8.0) -> None:
        super().__init__(data, n_arrays=3, max_memory_gb=max_memory_gb)
        self.reg_weight = positive("reg_weight", reg_weight)

    def item_weights(self, data: RecData) -> Tensor:
        """Invert the regularised Gram matrix (Steck 2019, eq. 8)."""
        common = cached_common_users(data.edge_index, data.n_users, data.n_items)
        return regressions_on_others(regularised_inverse(common, self.reg_weight))
