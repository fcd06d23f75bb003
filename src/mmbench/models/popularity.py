"""Popularity: the same list for everybody. What every other model has to beat."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from mmbench.data.recdata import RecData
from mmbench.nn.recommender import ClosedForm


class Popularity(ClosedForm):
    r"""Score an item by its number of training interactions, :math:`\hat y_{ui} = |\{v : (v, i) \in R\}|`.

    Args:
        data: training data.
    """

    uses_content: ClassVar[bool] = False
    serves_new_users: ClassVar[bool] = True
    counts: Tensor

    def __init__(self, data: RecData) -> None:
        super().__init__()
        self.register_buffer("counts", torch.zeros(data.n_items), persistent=False)

    def fit(self, data: RecData) -> None:
        """Count the training interactions of each item."""
        self.counts = torch.bincount(data.edge_index[1], minlength=data.n_items).to(self.counts.dtype)

    def score(self, users: Tensor) -> Tensor:
        """The counts, once per user: ``(B, n_items)``."""
        return self.counts.expand(len(users), -1)
