"""EASE: Steck, "Embarrassingly Shallow Autoencoders for Sparse Data", WWW 2019."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from mmbench.data.recdata import RecData
from mmbench.messages import Refusal
from mmbench.models.base import ClosedForm
from mmbench.nn.interactions import gram_matrix, interaction_matrix, select_rows


class EASE(ClosedForm):
    r"""Linear regression of every item on all others, :math:`\hat y_u = r_u B` with zero diagonal.

    :math:`B_{ij} = -P_{ij}/P_{jj}` off the diagonal, :math:`P = (R^\top R + \lambda I)^{-1}`. Features are ignored.
    The only model that holds items x items arrays: three of them in float64 while it is computed, 24 bytes per pair
    of items (1.2 GB for 7,000 items, 60 GB for 50,000).

    Args:
        data: training data.
        reg_weight: ridge penalty, lambda.
        max_memory_gb: memory that the computation may take.

    Raises:
        ValueError: if it would need more.
    """

    uses_content: ClassVar[bool] = False
    history: Tensor
    weights: Tensor

    def __init__(self, data: RecData, *, reg_weight: float = 400.0, max_memory_gb: float = 8.0) -> None:
        super().__init__()
        need = data.n_items**2 * 8 * 3 / 1e9
        if need > max_memory_gb:
            raise Refusal(
                "EASE needs {need:.1f} GB for {n_items:,} items, more than max_memory_gb={max_memory_gb:g}",
                need=need,
                n_items=data.n_items,
                max_memory_gb=max_memory_gb,
            )
        self.reg_weight = reg_weight
        self.register_buffer("history", torch.empty(0), persistent=False)
        self.register_buffer("weights", torch.empty(0), persistent=False)

    def fit(self, data: RecData) -> None:
        """Invert the regularised Gram matrix (Steck 2019, eq. 8)."""
        self.history = interaction_matrix(data.edge_index, data.n_users, data.n_items)
        gram = gram_matrix(data.edge_index, data.n_users, data.n_items)
        gram.diagonal().add_(self.reg_weight)
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(gram))
        inverse.div_(-inverse.diagonal().clone()).fill_diagonal_(0.0)
        self.weights = inverse.to(torch.get_default_dtype())

    def score(self, users: Tensor) -> Tensor:
        """Histories times weights: ``(B, n_items)``."""
        return select_rows(self.history, users) @ self.weights
