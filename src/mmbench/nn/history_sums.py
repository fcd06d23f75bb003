"""Models that add up what each item of a history gives to every item, by sparse weights."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from mmbench.data.recdata import RecData
from mmbench.nn.kernels import product
from mmbench.nn.recommender import ClosedForm
from mmbench.nn.sparse import added_rows, interaction_matrix, select_rows, turned

#: Multiplications of a product that reads all weights for a block of users, in the time of one addition of those that
#: read only the weights of their histories; and the users of a block that such a product is worth at least.
PRODUCTS_PER_ADDITION, LEAST_USERS = 64, 64


class HistorySums(ClosedForm):
    r"""A computed model that scores by sparse weights between items, :math:`\hat y_{uj} = \sum_{i \in R_u} w_{ij}`.

    Additions have the order of the history, so that results repeat.

    Attributes:
        similarity: sparse CSR ``(n_items, n_items)``; row i holds what item i of a history adds to each item.
    """

    serves_new_users: ClassVar[bool] = True
    similarity: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("history", torch.empty(0), persistent=False)
        self.register_buffer("similarity", torch.empty(0), persistent=False)
        self._received: Tensor | None = None  # the same turned round, made when it is first needed

    def fit(self, data: RecData) -> None:
        """Find the weights."""
        self.history = interaction_matrix(data.edge_index, data.n_users, data.n_items)
        self.similarity, self._received = self.item_weights(data), None

    @abstractmethod
    def item_weights(self, data: RecData) -> Tensor:
        """What an item of a history adds to each item, sparse CSR ``(n_items, n_items)``."""

    def score(self, users: Tensor) -> Tensor:
        """Sums over the history: ``(B, n_items)``.

        The work is one addition per item of a history and entry of its row. On a processor a product of all weights
        with the dense histories of a block reads its numbers in order instead, which long histories are worth.
        """
        chosen = select_rows(self.history, users).to(self.similarity.dtype)
        if users.device.type == "cpu":
            entries = self.similarity.crow_indices().diff().index_select(0, chosen.col_indices())
            block = max(len(users), LEAST_USERS) * len(self.similarity.values())
            if PRODUCTS_PER_ADDITION * int(entries.sum()) > block:
                if self._received is None:
                    self._received = turned(self.similarity)
                return product(self._received, chosen.to_dense().T.contiguous()).T.contiguous()
        return added_rows(chosen, self.similarity)
