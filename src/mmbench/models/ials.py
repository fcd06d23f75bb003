"""iALS: Hu et al., ICDM 2008, as revisited by Rendle et al., "Revisiting the Performance of iALS ...", RecSys 2022."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from mmbench.data.recdata import RecData
from mmbench.nn.alternating_least_squares import check_settings, factorised, solve
from mmbench.nn.recommender import ClosedForm


class IALS(ClosedForm):
    r"""Matrix factorisation over all pairs by alternating least squares, :math:`\hat y_{ui} = p_u^\top q_i`.

    .. math:: \sum_{(u,i) \in R} (\hat y_{ui} - 1)^2 + \alpha \sum_{u,i} \hat y_{ui}^2
              + \lambda \sum_u (|R_u| + \alpha |I|) \|p_u\|^2 + \lambda \sum_i (|R_i| + \alpha |U|) \|q_i\|^2

    The penalty grows with the number of interactions (Rendle et al. 2022, :math:`\nu = 1`). The start is
    always the same random numbers, so that the result is a function of the data alone. Features are ignored.

    Args:
        data: training data.
        embedding_dim: size of the user and item vectors, d.
        n_sweeps: times that items, then users are solved.
        unobserved_weight: weight of all pairs, alpha.
        reg_weight: penalty, lambda.
    """

    uses_content: ClassVar[bool] = False
    serves_new_users: ClassVar[bool] = True
    users: Tensor
    items: Tensor

    def __init__(
        self,
        data: RecData,
        *,
        embedding_dim: int = 64,
        n_sweeps: int = 10,
        unobserved_weight: float = 0.3,
        reg_weight: float = 1e-2,
    ) -> None:
        super().__init__()
        check_settings(embedding_dim, n_sweeps, unobserved_weight, reg_weight)
        self.embedding_dim, self.n_sweeps = embedding_dim, n_sweeps
        self.unobserved_weight, self.reg_weight = unobserved_weight, reg_weight
        self.register_buffer("users", torch.empty(0), persistent=False)
        self.register_buffer("items", torch.empty(0), persistent=False)

    def fit(self, data: RecData) -> None:
        """Solve items and users in turn, from small random user vectors."""
        self.users, self.items = factorised(
            data, self.embedding_dim, self.n_sweeps, self.unobserved_weight, self.reg_weight
        )

    def score(self, users: Tensor) -> Tensor:
        """Inner products: ``(B, n_items)``."""
        return self.users[users] @ self.items.T

    def vectors(self) -> tuple[Tensor, Tensor]:
        """Those of the factorisation."""
        return self.users, self.items

    def welcome(self, histories: Tensor) -> None:
        """Solve the vectors of other users, items fixed."""
        self.users = solve(histories, self.items, self.unobserved_weight, self.reg_weight)
