"""Full ranking by counting: the rank of an item is one more than the number of candidates that beat it."""

from __future__ import annotations

import copy
from collections.abc import Iterator
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
        keys = self.pair_users * self.n_items + self.items
        self._pair_seen = torch.from_numpy(np.isin(keys, mask_users * self.n_items + mask_items)).to(self.device)

    def to(self, device: torch.device) -> Evaluator:
        """The same evaluator for scores that live on ``device``."""
        moved = copy.copy(self)
        for name, value in vars(self).items():
            if isinstance(value, Tensor):
                setattr(moved, name, value.to(device))
        moved.device = device
        return moved

    def rank(self, model: Scorer, top_k: int = 0) -> Ranking:
        """Rank the part with ``model``; with ``top_k`` also return each user's list.

        Raises:
            DegenerateScores: if scores are NaN, infinite or all equal.
        """
        ranks, own, of_seen = [], [], []
        top = np.empty((len(self.users), min(top_k, self.n_items)), np.int32) if top_k else None
        informative = False
        for begin, end in self._blocks():
            block = self._scored(model, begin, end)
            informative = informative or _varies(block.candidates())
            pairs = slice(self._pair_starts[begin], self._pair_starts[end])
            rows, items = self._pair_users[pairs] - begin, self._pair_items[pairs]
            for results, result in zip((ranks, own), block.ranks(rows, items, self._pair_seen[pairs]), strict=True):
                results.append(result)
            of_seen.append(block.of_seen)
            if top is not None:
                top[begin:end] = top_items(block.candidates(), block.users, top.shape[1]).cpu().numpy()
        if not informative:
            raise DegenerateScores("all scores are equal, so they rank nothing")
        among_unseen = torch.cat(ranks) - self._seen_ahead(torch.cat(own), torch.cat(of_seen))
        pairs_ranked = RankedPairs(self.pair_users, among_unseen.cpu().numpy(), len(self.users))
        return Ranking(self.users, pairs_ranked, self.items, top)

    def _seen_ahead(self, own: Tensor, of_seen: Tensor) -> Tensor:
        """How many of its user's seen items score more than each pair, ``(n_pairs,)``.

        Args:
            own: score of each pair, ``(n_pairs,)``.
            of_seen: scores of the seen items, user after user, ``(n_seen,)``.
        """
        sizes = torch.bincount(self._mask_users, minlength=len(self.users))
        starts = sizes.cumsum(0) - sizes
        ahead, step = [], _at_once(self.n_items)
        for users, level in zip(self._pair_users.split(step), own.split(step), strict=True):
            many = sizes[users]
            pairs = torch.arange(len(users), device=own.device).repeat_interleave(many)
            place = torch.arange(len(pairs), device=own.device) - (many.cumsum(0) - many)[pairs]
            before = of_seen[starts[users][pairs] + place] > level[pairs]
            ahead.append(torch.zeros_like(users).index_add_(0, pairs, before.long()))
        return torch.cat(ahead)

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

    @property
    def of_seen(self) -> Tensor:
        """Scores of the seen items, ``(n_seen,)``."""
        return self.scores[self.seen_rows, self.seen_items]

    def ranks(self, rows: Tensor, items: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
        """Rank of each (row, item) among all items, seen ones too, and its score; both ``(n_pairs,)``.

        Of a tied score it is the rank among the candidates, and infinity stands for the score, which no seen item
        beats. So no copy of the scores without the seen items is made where nothing is tied.

        Args:
            rows: row of each pair, ``(n_pairs,)``.
            items: item of each pair, ``(n_pairs,)``.
            seen: whether the pair itself is no candidate, ``(n_pairs,)``; it is treated as tied.
        """
        own = self.scores[rows, items]
        better, at_least = _counts(self.scores, rows, own)
        ranks = better + 1
        tied = torch.nonzero((at_least != ranks) | seen).squeeze(1)
        if len(tied):
            chosen, place = torch.unique(rows[tied], return_inverse=True)
            ranks[tied] = count_ranks(self.candidates(chosen), place, items[tied], self.users[chosen])
            own[tied] = torch.inf
        return ranks, own


def _at_once(n_items: int) -> int:
    """Pairs that are compared with all items at once."""
    return max(1, BLOCK_COMPARISONS // n_items)


def _counts(scores: Tensor, rows: Tensor, own: Tensor) -> tuple[Tensor, Tensor]:
    """How many scores ``(B, n_items)`` of each pair's row are above its own, and how many at least that."""
    step, better, at_least = _at_once(scores.shape[1]), [], []
    for row, level in zip(rows.split(step), own.unsqueeze(1).split(step), strict=True):
        compared = scores.index_select(0, row)
        # A comparison written as a number is summed several times as fast as a boolean; below 2^24 the sum is exact.
        passed = torch.empty(compared.shape, device=scores.device)
        better.append(torch.gt(compared, level, out=passed).sum(1).long())
        at_least.append(torch.ge(compared, level, out=passed).sum(1).long())
    return torch.cat(better), torch.cat(at_least)


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
    own = scores[rows, items]
    better, at_least = _counts(scores, rows, own)
    ranks = better + 1
    for tied in torch.nonzero(at_least > ranks).squeeze(1).split(_at_once(scores.shape[1])):
        row = rows[tied]
        equal = scores[row] == own[tied].unsqueeze(1)
        keys = tie_keys(users[row], scores.shape[1])
        ranks[tied] += (equal & (keys < keys.gather(1, items[tied].unsqueeze(1)))).sum(1)
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
