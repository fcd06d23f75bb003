"""The contract of a model: what it is given for training and what it owes for ranking."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from mmbench.data.recdata import RecData
from mmbench.messages import Refusal
from mmbench.nn.equal_rows import EqualRows
from mmbench.nn.initialisation import draw_by_name
from mmbench.nn.kernels import ChosenRows, GatheredRows
from mmbench.nn.towers import ItemTable


@dataclass(frozen=True)
class Part:
    """The rows of a batch that one process works on.

    Args:
        begin: the first row.
        end: one after the last row; parts of a batch differ by one row at most and may be empty.
        size: rows of the batch, B.
    """

    begin: int
    end: int
    size: int

    @staticmethod
    def of(size: int, rank: int, n_ranks: int) -> Part:
        """The part of process ``rank`` among ``n_ranks``."""
        return Part(size * rank // n_ranks, size * (rank + 1) // n_ranks, size)

    @property
    def place(self) -> slice:
        """The rows as a slice."""
        return slice(self.begin, self.end)


@dataclass(frozen=True)
class Triplets:
    """A batch of training triplets.

    Args:
        users: ``(B,)``.
        positives: an item that each user has, ``(B,)``.
        negatives: an item that each user does not have, ``(B,)``.
        part: which rows of the batch these are, where several processes share it.
    """

    users: Tensor
    positives: Tensor
    negatives: Tensor
    part: Part | None = None

    def share(self, rank: int, n_ranks: int) -> Triplets:
        """The rows that process ``rank`` of ``n_ranks`` makes vectors of; the batch itself where there is only one."""
        if n_ranks == 1:
            return self
        part = Part.of(len(self.users), rank, n_ranks)
        return Triplets(self.users[part.place], self.positives[part.place], self.negatives[part.place], part)

    def whole(self, *rows: Tensor) -> tuple[Tensor, ...]:
        """Vectors of the whole batch, each ``(B, d)``, from those of this process; a loss is computed from them."""
        if self.part is None:
            return rows
        return tuple(GatheredRows.apply(self.part.place, self.part.size, r) for r in rows)

    def rows(self, users: Tensor, items: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Rows of users, positives and negatives, each ``(B, d)``, of tables ``(n_users, d)`` and ``(n_items, d)``.

        Both kinds of items are looked up together: their table then gets one dense gradient instead of two and a sum.
        """
        both = ChosenRows.apply(torch.cat([self.positives, self.negatives]), items)
        positive, negative = both.split(len(self.positives))
        user, positive, negative = self.whole(ChosenRows.apply(self.users, users), positive, negative)
        return user, positive, negative

    def nodes(self, n_users: int) -> tuple[Tensor, Tensor, Tensor]:
        """Users, positives and negatives as nodes of a graph whose first nodes are the users, each ``(B,)``."""
        return self.users, n_users + self.positives, n_users + self.negatives


class UnseenItems(StrEnum):
    """What is left to rank an item by that training has not seen."""

    TIES = "nothing: they tie"
    CONTENT_PART = "the content part of the score alone"
    NEIGHBOURS = "ID vectors of its seen neighbours"
    CONTENT_VECTORS = "vectors from content, as any item"
    CONTENT_AND_IDS = "its content, and ID vectors of seen items that a graph brings to it"
    HISTORY = "similarity of its content to the history"
    CONTENT_WEIGHTS = "item weights that content alone gives"
    PREDICTED_VECTOR = "the vector that its content predicts"
    ENCODED_CONTENT = "encoded content in place of the ID vector"
    TOWER = "its content through the item tower, with zeros for its vector"
    PREDICTED_POPULARITY = "the popularity that its content predicts"
    EXTERNAL = "what the other system says"


class Recommender(nn.Module, ABC):
    """Anything that scores all items for a user."""

    #: False for a model that never looks at features; it then has one cell per dataset.
    uses_content: ClassVar[bool] = True
    #: Name of the hyper-parameter whose 0 leaves out all content, so that the model is that of no modality.
    content_ignored_by: ClassVar[str] = ""
    #: Why no hyper-parameter does so, where none does.
    content_needed_because: ClassVar[str] = ""
    #: Of its search space what content alone reads, beside ``content_*``: without any modality it changes nothing.
    read_by_content: ClassVar[frozenset[str]] = frozenset()
    #: What it ranks an item by that training has not seen.
    unseen_items_by: ClassVar[UnseenItems] = UnseenItems.TIES

    @abstractmethod
    def score(self, users: Tensor) -> Tensor:
        """Score every item for ``users`` ``(B,)``.

        Returns:
            ``(B, n_items)``, larger is better; in eval mode the same numbers at every call.
        """

    def vectors(self) -> tuple[Tensor, Tensor] | None:
        """Vectors of all users ``(n_users, d)`` and items ``(n_items, d)`` whose inner products rank as the scores do.

        None for a model that has none.
        """
        return None


class FactorModel(Recommender):
    """A trained model whose score is the inner product of a user vector and an item vector.

    Every start value and every draw in training has a stream of its own, named by its place in the model. All streams
    come from one number that a model takes from the global generator before anything else, and are set when a part is
    assigned to the model (:func:`mmbench.nn.initialisation.draw_by_name`): what else the model has moves none of them.
    """

    #: True for a model whose loss depends on vectors of the whole batch (:meth:`Triplets.whole`) and on no random draw,
    #: so that several devices can share its batches.
    shares_batches: ClassVar[bool] = False
    #: True for a model whose loss torch may compile: a test shows that a training comes out the same, and that nothing
    #: is compiled again once both sizes of batches, whole and last, were seen.
    compiles: ClassVar[bool] = False

    #: Items without a training interaction, ``(n_unseen,)``, which training notes after it has made the model.
    unseen: Tensor | None = None
    #: Final vectors of users, of items as columns, ``(d, n_items)``, and which unseen ones are equal, until the next
    #: training or state.
    _frozen: tuple[Tensor, Tensor, EqualRows] | None = None

    def __init__(self) -> None:
        super().__init__()
        self.stream_seed = int(torch.randint(2**62, ()))

    def __setattr__(self, name: str, value: Any) -> None:
        """Assign an attribute; a part of the model gets its streams."""
        if isinstance(value, nn.Module | Tensor):
            draw_by_name(value, name, self.stream_seed)
        super().__setattr__(name, value)

    @abstractmethod
    def forward(self) -> tuple[Tensor, Tensor]:
        """Final vectors of all users ``(n_users, d)`` and of all items ``(n_items, d)``."""

    @abstractmethod
    def loss(self, batch: Triplets) -> dict[str, Tensor]:
        """Named terms of the loss, already weighted; their sum is minimised."""

    def begin_epoch(self) -> None:
        """Draw anew whatever is drawn once per epoch."""

    def item_tables(self) -> list[Tensor]:
        """Free tables whose row i belongs to item i alone: parameters, or views of some.

        An unseen item has never been a positive, so that its rows hold nothing but their random start:
        :meth:`final_vectors` puts zeros in their place. By default these are ``item_embedding``, a parameter or a
        ``torch.nn.Embedding``, and the tables of all parts that are an :class:`mmbench.nn.towers.ItemTable`; a model
        that keeps such rows elsewhere overrides this.

        Raises:
            ValueError: if ``item_embedding`` is something else.
        """
        own = getattr(self, "item_embedding", None)
        inside = [part.table for part in self.modules() if isinstance(part, ItemTable)]
        if own is None:
            return inside
        if isinstance(own, nn.Embedding):
            own = own.weight
        if not isinstance(own, Tensor):
            raise Refusal(
                "{model}.item_embedding is of type {kind}; item_tables() must be overridden to return the tables whose "
                "row i belongs to item i alone, or an empty list",
                model=type(self).__name__,
                kind=type(own).__name__,
            )
        return [own, *inside]

    def final_vectors(self) -> tuple[Tensor, Tensor]:
        """:meth:`forward` as it is ranked: rows of :meth:`item_tables` are zero for :attr:`unseen` items.

        What an unseen item scores then comes from its content, or from its neighbours among the seen items. A model
        that has another rule for them, such as a content encoder in place of the ID vector, applies it in
        :meth:`forward` and needs nothing else.
        """
        if self.unseen is None or not len(self.unseen):
            return self()
        with torch.no_grad():
            tables = self.item_tables()
            unseen = self.unseen.to(tables[0].device) if tables else self.unseen
            kept = [table[unseen] for table in tables]
            for table in tables:
                table[unseen] = 0.0
            try:
                users, items = self()
                return users, items.clone()  # a model may give its table itself, whose rows come back now
            finally:
                for table, rows in zip(tables, kept, strict=True):
                    table[unseen] = rows

    def score(self, users: Tensor) -> Tensor:
        """Inner products ``(B, n_items)``; in eval mode one forward pass serves all blocks of users.

        Unseen items with equal vectors get equal scores, whatever the order in which a product sums.
        """
        if self.training:
            user_vectors, item_vectors = self()
            return user_vectors[users] @ item_vectors.T
        if self._frozen is None:
            user_vectors, item_vectors = self.final_vectors()
            unseen = torch.empty(0, dtype=torch.long) if self.unseen is None else self.unseen
            # The product of a block of users takes less time with items as columns, which all blocks share.
            self._frozen = user_vectors, item_vectors.T.contiguous(), EqualRows.of(item_vectors, unseen)
        user_vectors, columns, equal = self._frozen
        return equal.even(user_vectors[users] @ columns)

    def vectors(self) -> tuple[Tensor, Tensor]:
        """Those of :meth:`final_vectors`, in eval mode."""
        self.eval()
        with torch.no_grad():
            users, items = self.final_vectors()
        return users.detach(), items.detach()

    def load_state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """Load parameters; the final vectors are computed anew afterwards."""
        self._frozen = None
        return super().load_state_dict(*args, **kwargs)

    def train(self, mode: bool = True) -> FactorModel:
        """Switch between training and evaluation; either way the final vectors are computed anew afterwards."""
        self._frozen = None
        super().train(mode)
        return self


class ClosedForm(Recommender):
    """A model that is computed, not trained: popularity, neighbourhoods, linear solutions."""

    #: Whether a user is to the model no more than the items it has, so that :meth:`welcome` works.
    serves_new_users: ClassVar[bool] = False
    history: Tensor

    @abstractmethod
    def fit(self, data: RecData) -> None:
        """Compute everything that :meth:`score` needs from the training data."""

    def welcome(self, histories: Tensor) -> None:
        """Score other users from now on, where ``serves_new_users``.

        Args:
            histories: sparse CSR of ones, ``(n, n_items)``; row u is what user u has.
        """
        self.history = histories
