"""The contract of a model (DESIGN §4, RULINGS 21)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from mmbench.data.recdata import RecData


@dataclass(frozen=True)
class Triplets:
    """A batch of training triplets, each field ``(B,)``."""

    users: Tensor
    positives: Tensor
    negatives: Tensor

    def rows(self, users: Tensor, items: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Rows of users, positives and negatives, each ``(B, d)``, of tables ``(n_users, d)`` and ``(n_items, d)``.

        Items are looked up together: their table then gets one dense gradient instead of two and their sum.
        """
        both = functional.embedding(torch.cat([self.positives, self.negatives]), items)
        positive, negative = both.split(len(self.positives))
        return functional.embedding(self.users, users), positive, negative

    def nodes(self, n_users: int) -> tuple[Tensor, Tensor, Tensor]:
        """Users, positives and negatives as nodes of a graph whose first nodes are the users, each ``(B,)``."""
        return self.users, n_users + self.positives, n_users + self.negatives


class Recommender(nn.Module, ABC):
    """Anything that scores all items for a user."""

    #: False for a model that never looks at features; it then has one cell per dataset.
    uses_content: ClassVar[bool] = True

    @abstractmethod
    def score(self, users: Tensor) -> Tensor:
        """Score every item for ``users`` ``(B,)``: ``(B, n_items)``, larger is better."""


class FactorModel(Recommender):
    """A trained model whose score is the inner product of a user and an item vector."""

    _frozen: tuple[Tensor, Tensor] | None = None

    @abstractmethod
    def forward(self) -> tuple[Tensor, Tensor]:
        """Final representations of all users ``(n_users, d)`` and all items ``(n_items, d)``."""

    @abstractmethod
    def loss(self, batch: Triplets) -> dict[str, Tensor]:
        """Named, weighted terms of the loss; their sum is minimised."""

    def begin_epoch(self) -> None:
        """Draw again whatever is drawn once per epoch."""

    def score(self, users: Tensor) -> Tensor:
        """Inner products ``(B, n_items)``; in eval mode one fresh forward pass serves all blocks of users."""
        if self.training:
            user_vectors, item_vectors = self()
        else:
            self._frozen = self._frozen or self()
            user_vectors, item_vectors = self._frozen
        return user_vectors[users] @ item_vectors.T

    def load_state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """Load parameters; representations are computed afresh afterwards."""
        self._frozen = None
        return super().load_state_dict(*args, **kwargs)

    def train(self, mode: bool = True) -> FactorModel:
        """Switch between training and evaluation; either way representations are computed afresh afterwards."""
        self._frozen = None
        super().train(mode)
        return self


class ClosedForm(Recommender):
    """A model that is computed, not trained: popularity, neighbourhoods, linear solutions."""

    @abstractmethod
    def fit(self, data: RecData) -> None:
        """Compute everything that :meth:`score` needs from the training data."""
