"""Full ranking by counting: the rank of an item is one more than the number of candidates that beat it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmbench.data.interactions import Interactions
from mmbench.metrics import RankedPairs, Ranking

#: Scores of so many users fit the processor's cache for the passes that follow the product.
BLOCK_USERS = 64
#: Comparisons held at once (a boolean each); bounds the memory of a block with many held-out items.
BLOCK_COMPARISONS = 1 << 24
TIE_SEED = 0x5EED


class Scorer(Protocol):
    """What evaluation needs of a model."""

    def score(self, users: Tensor) -> Tensor:
        """Scores of all items, ``(B, n_items)``."""


class DegenerateScores(ArithmeticError):
    """Scores that rank nothing: NaN, infinite, or the same for every item of every user."""


class Evaluator:
    """Ranks every held-out item of one part among all items the user has not seen.

    Args:
        heldout: the part to rank.
        seen: interactions whose items are not candidates for their user.
        device: where scores live.
    """

    def __init__(self, heldout: Interactions, *seen: Interactions, device: torch.device | str = "cpu") -> None:
        order = np.lexsort((heldout.items, heldout.users))
        self.users, self.pair_users = np.unique(heldout.users[order], return_inverse=True)
        self.items = heldout.items[order]
        self.n_items = heldout.n_items
        self.device = torch.device(device)
        self._pair_items = torch.from_numpy(self.items).to(self.device)
        self._pair_users = torch.from_numpy(self.pair_users).to(self.device)
        self._user_index = torch.from_numpy(self.users).to(self.device)
        mask_users, mask_items = _seen_by(self.users, seen)
        self._mask_starts = np.searchsorted(mask_users, np.arange(len(self.users) + 1))
        self._mask_users = torch.from_numpy(mask_users).to(self.device)
        self._mask_items = torch.from_numpy(mask_items).to(self.device)
        self._pair_starts = np.searchsorted(self.pair_users, np.arange(len(self.users) + 1))
        self._leading = torch.from_numpy(self._first_unseen(mask_users, mask_items)).to(self.device)

    def to(self, device: torch.device) -> Evaluator:
        """The same evaluator for scores that live on ``device``."""
        moved = copy.copy(self)
        for name, value in vars(self).items():
            if isinstance(value, Tensor):
                setattr(moved, name, value.to(device))
        moved.device = device
        return moved

    def _first_unseen(self, mask_users: NDArray[np.int64], mask_items: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Marks the first pair of each user that is a candidate, ``(n_pairs,)``."""
        keys = self.pair_users * self.n_items + self.items
        unseen = np.flatnonzero(~np.isin(keys, mask_users * self.n_items + mask_items))
        _, first = np.unique(self.pair_users[unseen], return_index=True)
        marks = np.zeros(len(keys), dtype=np.bool_)
        marks[unseen[first]] = True
        return marks

    def rank(self, model: Scorer, top_k: int = 0) -> Ranking:
        """Rank the part with ``model``; with ``top_k`` also return each user's list.

        Raises:
            DegenerateScores: if scores are NaN, infinite or all equal.
        """
        ranks = torch.empty(len(self.items), dtype=torch.int64, device=self.device)
        top = np.empty((len(self.users), min(top_k, self.n_items)), np.int32) if top_k else None
        informative = False
        for begin, end in self._blocks():
            block = self._scored(model, begin, end)
            informative = informative or _varies(block.candidates())
            pairs = slice(self._pair_starts[begin], self._pair_starts[end])
            rows, items = self._pair_users[pairs] - begin, self._pair_items[pairs]
            ranks[pairs] = block.ranks(rows, items, self._leading[pairs])
            if top is not None:
                top[begin:end] = top_items(block.candidates(), block.users, top.shape[1]).cpu().numpy()
        if not informative:
            raise DegenerateScores("all scores are equal, so they rank nothing")
        pairs_ranked = RankedPairs(self.pair_users, ranks.cpu().numpy(), len(self.users))
        return Ranking(self.users, pairs_ranked, self.items, top)

    def _blocks(self) -> Iterator[tuple[int, int]]:
        for begin in range(0, len(self.users), BLOCK_USERS):
            yield begin, min(begin + BLOCK_USERS, len(self.users))

    def _scored(self, model: Scorer, begin: int, end: int) -> _Block:
        users = self._user_index[begin:end]
        with torch.no_grad():
            scores = model.score(users)
        # A finite sum has finite terms and takes one pass; only an infinite one asks for the long look.
        if not torch.isfinite(scores.sum()) and not torch.isfinite(scores).all():
            raise DegenerateScores("scores are NaN or infinite")
        seen = slice(self._mask_starts[begin], self._mask_starts[end])
        return _Block(scores, users, self._mask_users[seen] - begin, self._mask_items[seen])


@dataclass(frozen=True)
class _Block:
    """Scores of some users.

    Args:
        scores: of all items, ``(B, n_items)``; they stay as the model gave them, which may keep them.
        users: user index of each row, ``(B,)``.
        seen_rows: rows of the pairs that are no candidates, each pair once, ``(n_seen,)``.
        seen_items: their items, ``(n_seen,)``.
    """

    scores: Tensor
    users: Tensor
    seen_rows: Tensor
    seen_items: Tensor

    def candidates(self, rows: Tensor | slice = slice(None)) -> Tensor:
        """A copy of rows, minus infinity where an item is no candidate."""
        seen = torch.zeros(self.scores.shape, dtype=torch.bool, device=self.scores.device)
        seen[self.seen_rows, self.seen_items] = True
        return self.scores[rows].masked_fill(seen[rows], -torch.inf)

    def ranks(self, rows: Tensor, items: Tensor, leading: Tensor) -> Tensor:
        """Rank of each (row, item) among the candidates of its row, as :func:`count_ranks` has it.

        Args:
            rows: row of each pair, ``(n_pairs,)``.
            items: item of each pair, ``(n_pairs,)``.
            leading: marks one candidate of every row, ``(n_pairs,)``, or of no row at all. These are ranked without a
                copy of the scores: items that were seen are counted along and taken off again.
        """
        ranks = torch.empty_like(items)
        certain = torch.zeros_like(leading)
        if int(leading.sum()) == len(self.users):
            ranks[leading], certain[leading] = self._ranks_of_leading(items[leading])
        rest = torch.nonzero(~certain).squeeze(1)
        if len(rest):
            chosen, place = torch.unique(rows[rest], return_inverse=True)
            ranks[rest] = count_ranks(self.candidates(chosen), place, items[rest], self.users[chosen])
        return ranks

    def _ranks_of_leading(self, items: Tensor) -> tuple[Tensor, Tensor]:
        """Rank of one item of every row ``(B,)``, and whether no other candidate has its score."""
        own = self.scores.gather(1, items.unsqueeze(1))
        seen, own_of_seen = self.scores[self.seen_rows, self.seen_items], own[self.seen_rows, 0]
        better = _count(torch.gt, self.scores, own).index_add_(0, self.seen_rows, -(seen > own_of_seen).int())
        at_least = _count(torch.ge, self.scores, own).index_add_(0, self.seen_rows, -(seen >= own_of_seen).int())
        return better.long() + 1, at_least == better + 1


def _count(compare: Callable[..., Tensor], scores: Tensor, own: Tensor) -> Tensor:
    """How many scores ``(m, n)`` of each row compare with its own score ``(m, 1)``: ``(m,)``."""
    # A comparison written as a number is summed several times as fast as a boolean; the count is exact.
    beats = torch.empty(scores.shape, dtype=torch.int32, device=scores.device)
    return compare(scores, own, out=beats).sum(1, dtype=torch.int32)


def count_ranks(scores: Tensor, rows: Tensor, items: Tensor, users: Tensor) -> Tensor:
    """Rank of each (row, item) among the candidates of its row, from 1.

    Equal scores are ordered by a seeded hash of (user, item): index order would leak popularity, and a hash of the
    item alone would give every user the same list.

    Args:
        scores: ``(B, n_items)``; minus infinity marks what is not a candidate.
        rows: row of each pair, ``(n_pairs,)``.
        items: item of each pair, ``(n_pairs,)``.
        users: user index of each row, ``(B,)``.
    """
    ranks = torch.empty_like(items)
    step = max(1, BLOCK_COMPARISONS // scores.shape[1])
    for begin in range(0, len(items), step):
        row, item = rows[begin : begin + step], items[begin : begin + step]
        candidates, own = scores[row], scores[row, item].unsqueeze(1)
        rank = _count(torch.gt, candidates, own) + 1
        at_least = _count(torch.ge, candidates, own)
        tied = torch.nonzero(at_least > rank).squeeze(1)
        if len(tied):
            equal = candidates[tied] == own[tied]
            keys = tie_keys(users[row[tied]], scores.shape[1])
            rank[tied] += (equal & (keys < keys.gather(1, item[tied].unsqueeze(1)))).sum(1)
        ranks[begin : begin + step] = rank
    return ranks


def top_items(scores: Tensor, users: Tensor, k: int) -> Tensor:
    """The ``k`` best items of each row in the order that :func:`count_ranks` counts, -1 where candidates run out.

    Args:
        scores: ``(B, n_items)``; minus infinity marks what is not a candidate.
        users: user index of each row, ``(B,)``.
        k: length of the lists.
    """
    by_key = tie_keys(users, scores.shape[1]).argsort(dim=1)
    order = scores.gather(1, by_key).argsort(dim=1, descending=True, stable=True)[:, :k]
    items = by_key.gather(1, order)
    return items.masked_fill(scores.gather(1, items) == -torch.inf, -1)


def tie_keys(users: Tensor, n_items: int, seed: int = TIE_SEED) -> Tensor:
    """:func:`tie_key` of every item for each of ``users`` ``(B,)``: ``(B, n_items)``."""
    return tie_key(users.unsqueeze(1), torch.arange(n_items, device=users.device), seed)


def tie_key(users: Tensor, items: Tensor, seed: int = TIE_SEED) -> Tensor:
    """Pseudo-random 64-bit key of (user, item) by the SplitMix64 finaliser; the lower key goes first.

    Args:
        users: user indices.
        items: item indices, of a shape that broadcasts with that of ``users``.
        seed: of the keys.
    """
    key = users * 0x9E3779B97F4A7C1 + items * 0xD1B54A32D192ED0 + seed
    for shift, factor in ((30, -0x40A7B892E31B1A47), (27, -0x6B2FB644ECCEEE15)):
        key = (key ^ _shifted(key, shift)) * factor
    return key ^ _shifted(key, 31)


def _shifted(key: Tensor, bits: int) -> Tensor:
    """Logical right shift of a signed 64-bit tensor."""
    return (key >> bits) & ((1 << (64 - bits)) - 1)


def _varies(scores: Tensor) -> bool:
    candidates = scores > -torch.inf
    low = scores.masked_fill(~candidates, torch.inf).amin(1)
    return bool((scores.amax(1) > low).any())


def _seen_by(users: NDArray[np.int64], seen: tuple[Interactions, ...]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Masked pairs of the evaluated users, each once: position of the user, ascending, and item."""
    all_users = np.concatenate([part.users for part in seen]) if seen else np.empty(0, np.int64)
    all_items = np.concatenate([part.items for part in seen]) if seen else np.empty(0, np.int64)
    known = np.isin(all_users, users)
    place = np.searchsorted(users, all_users[known])
    n_items = max((part.n_items for part in seen), default=1)
    pairs = np.unique(place * n_items + all_items[known])
    return pairs // n_items, pairs % n_items
