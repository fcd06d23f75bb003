"""BPR: Rendle et al., "BPR: Bayesian Personalized Ranking from Implicit Feedback", UAI 2009."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from mmbench.data.recdata import RecData
from mmbench.nn.hyperparameters import at_least, nonnegative
from mmbench.nn.initialisation import table, xavier_normal
from mmbench.nn.losses import bpr_terms
from mmbench.nn.recommender import FactorModel, Triplets


class BPR(FactorModel):
    r"""Matrix factorisation trained pairwise, :math:`\hat y_{ui} = p_u^\top q_i`.

    Args:
        data: training data; features are ignored.
        embedding_dim: size of the user and item vectors.
        reg_weight: weight of the un-squared norms of the batch rows.
    """

    uses_content: ClassVar[bool] = False
    shares_batches: ClassVar[bool] = True
    compiles: ClassVar[bool] = True

    def __init__(self, data: RecData, *, embedding_dim: int = 64, reg_weight: float = 1e-4) -> None:
        super().__init__()
        at_least(1, embedding_dim=embedding_dim)
        nonnegative(reg_weight=reg_weight)
        self.reg_weight = reg_weight
        self.user_embedding = table(data.n_users, embedding_dim, xavier_normal)
        self.item_embedding = table(data.n_items, embedding_dim, xavier_normal)

    def forward(self) -> tuple[Tensor, Tensor]:
        """The two tables."""
        return self.user_embedding, self.item_embedding

    def loss(self, batch: Triplets) -> dict[str, Tensor]:
        """BPR and the norm penalty on the batch rows."""
        return bpr_terms(*batch.rows(*self()), self.reg_weight)
