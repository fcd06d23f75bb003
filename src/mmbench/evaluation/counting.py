"""Ranks by counting: the rank of an item is one more than the number of candidates that beat it."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from mmbench.evaluation.ties import TIE_SEED, tie_key

#: Comparisons held at once, a number each; bounds the memory of a block with many held-out items.
BLOCK_COMPARISONS = 1 << 24
#: Comparisons that a processor makes at once: few enough to stay in its cache until they are summed.
CACHED_COMPARISONS = 1 << 17
#: Pairs whose ties are ordered at once on a processor: the keys of all items stay in its cache.
KEY_ROWS = 16
#: Scores among which a processor looks at once for those that sorted pairs share.
SHARED_SCORES = 1 << 19


def at_once(n_items: int) -> int:
    """Pairs that are compared with all items at once."""
    return max(1, BLOCK_COMPARISONS // n_items)


def compared(scores: Tensor, items: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Score of one item of each row, how many scores of the row are above it, and how many at least that.

    Args:
        scores: ``(m, n_items)``.
        items: one item of each row, ``(m,)``.

    Returns:
        Three tensors ``(m,)``. Counts are single-precision numbers and exact below 2^24 items.
    """
    if scores.device.type != "cpu":
        return _compared(scores, items)
    step = max(1, CACHED_COMPARISONS // scores.shape[1])
    parts = [_compared(*part) for part in zip(scores.split(step), items.split(step), strict=True)]
    own, above, at_least = (torch.cat(found) for found in zip(*parts, strict=True))
    return own, above, at_least


def _compared(scores: Tensor, items: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    own = scores.gather(1, items.unsqueeze(1))
    # A comparison written as a number is summed several times as fast as a boolean.
    passed = torch.empty(scores.shape, device=scores.device)
    return own.squeeze(1), torch.gt(scores, own, out=passed).sum(1), torch.ge(scores, own, out=passed).sum(1)


def compared_rows(scores: Tensor, rows: Tensor, items: Tensor) -> list[tuple[Tensor, Tensor, Tensor]]:
    """:func:`compared` of any pairs of row and item ``(n_pairs,)``, as many at once as memory is meant to hold."""
    step = at_once(scores.shape[1])
    parts = zip(rows.split(step), items.split(step), strict=True)
    return [compared(scores.index_select(0, row), item) for row, item in parts if len(row)]


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
    if not len(rows):
        return rows
    _, above, at_least = (torch.cat(parts) for parts in zip(*compared_rows(scores, rows, items), strict=True))
    return _with_ties(above.long() + 1, at_least > above + 1, scores, rows, items, users)


def sorted_ranks(scores: Tensor, rows: Tensor, items: Tensor, users: Tensor) -> Tensor:
    """:func:`count_ranks` for many pairs of each row, which is sorted once and then searched.

    Args:
        scores: as there.
        rows: as there, ascending.
        items: as there.
        users: as there.
    """
    n_items, ordered, own = scores.shape[1], _in_order_of_size(scores), scores[rows, items]
    below, up_to = (_searched(ordered, rows, own, right=right) for right in (False, True))
    ranks = n_items - up_to + 1
    # Pairs of a row with one score share the items that have it, whose keys are sorted once too.
    tied, shared = torch.nonzero(up_to - below > 1).squeeze(1), rows * (n_items + 1) + below
    tied = tied[shared[tied].argsort(stable=True)]
    groups, group = torch.unique_consecutive(shared[tied], return_inverse=True)
    step = max(1, SHARED_SCORES // n_items) if scores.device.type == "cpu" else at_once(n_items)
    for begin in range(0, len(groups), step):
        pairs = tied[(group >= begin) & (group < begin + step)]
        row, place = torch.unique_consecutive(shared[pairs], return_inverse=True)
        row = row // (n_items + 1)
        level = own.new_empty(len(row)).scatter_(0, place, own[pairs])
        shares, equal = torch.nonzero(scores.index_select(0, row) == level.unsqueeze(1), as_tuple=True)
        sizes = torch.bincount(shares)
        keys = equal.new_full((len(row), int(sizes.max())), torch.iinfo(torch.int64).max)
        is_key = torch.arange(keys.shape[1], device=equal.device) < sizes.unsqueeze(1)
        keys[is_key] = tie_key(users[row[shares]], equal)
        own_keys = tie_key(users[row[place]], items[pairs])
        ranks[pairs] += _searched(_in_order_of_size(keys), place, own_keys)
    return ranks


def _in_order_of_size(rows: Tensor) -> Tensor:
    """Numbers of each row ``(B, m)``, smaller first."""
    if rows.device.type == "cpu":  # numpy sorts numbers without their places several times as fast
        return torch.from_numpy(np.sort(rows.numpy(), axis=1))
    return rows.sort(dim=1).values


def _searched(ordered: Tensor, rows: Tensor, values: Tensor, right: bool = False) -> Tensor:
    """How many numbers of its row, in order of size, are below each value, or with ``right`` not above it.

    Args:
        ordered: ``(B, m)``.
        rows: row of each value, ascending, ``(n,)``.
        values: ``(n,)``.
        right: which of both.
    """
    lengths = torch.bincount(rows, minlength=len(ordered))
    place = torch.arange(len(rows), device=rows.device) - (lengths.cumsum(0) - lengths)[rows]
    wanted = values.new_zeros(len(ordered), int(lengths.max()))
    wanted[rows, place] = values
    return torch.searchsorted(ordered, wanted, right=right)[rows, place]


def _with_ties(ranks: Tensor, tied: Tensor, scores: Tensor, rows: Tensor, items: Tensor, users: Tensor) -> Tensor:
    """Ranks ``(n_pairs,)`` to which tied pairs, a mask, add the equal scores that go first; others as above."""
    step = KEY_ROWS if scores.device.type == "cpu" else at_once(scores.shape[1])
    for pairs in torch.nonzero(tied).squeeze(1).split(step):
        row, item = rows[pairs], items[pairs].unsqueeze(1)
        chosen = scores.index_select(0, row)
        equal, before = (torch.empty(chosen.shape, device=chosen.device) for _ in range(2))
        torch.eq(chosen, chosen.gather(1, item), out=equal)
        one_each, place = torch.unique_consecutive(row, return_inverse=True)
        keys = tie_keys(users[one_each], scores.shape[1])
        keys = keys if len(one_each) == len(row) else keys.index_select(0, place)
        torch.lt(keys, keys.gather(1, item), out=before)
        ranks[pairs] += torch.linalg.vecdot(equal, before).long()
    return ranks


def top_items(scores: Tensor, users: Tensor, k: int) -> Tensor:
    """The ``k`` best items of each row in the order that :func:`count_ranks` counts, -1 where candidates run out.

    Args:
        scores: ``(B, n_items)``; minus infinity marks what is not a candidate.
        users: user index of each row, ``(B,)``.
        k: length of the lists.
    """
    best, items = scores.topk(min(k + 1, scores.shape[1]), dim=1)
    listed = _in_order(best[:, :k], items[:, :k], users)
    if best.shape[1] > k:
        undecided = torch.nonzero(best[:, k - 1] == best[:, k]).squeeze(1)
        for rows in undecided.split(at_once(scores.shape[1])):
            everything = torch.arange(scores.shape[1], device=scores.device).expand(len(rows), -1)
            listed[rows] = _in_order(scores[rows], everything, users[rows])[:, :k]
    return listed.masked_fill(scores.gather(1, listed) == -torch.inf, -1)


def _in_order(scores: Tensor, items: Tensor, users: Tensor) -> Tensor:
    """Items ``(B, m)`` by their scores, larger first, equal ones by their tie keys; users as in :func:`top_items`."""
    by_key = tie_key(users.unsqueeze(1), items).argsort(dim=1)
    by_score = scores.gather(1, by_key).argsort(dim=1, descending=True, stable=True)
    return items.gather(1, by_key.gather(1, by_score))


def tie_keys(users: Tensor, n_items: int, seed: int = TIE_SEED) -> Tensor:
    """:func:`tie_key` of every item for each of ``users`` ``(B,)``: ``(B, n_items)``."""
    if users.device.type != "cpu":
        return tie_key(users.unsqueeze(1), torch.arange(n_items, device=users.device), seed)
    # Numpy shifts unsigned numbers in half the time.
    return torch.from_numpy(tie_key(users.unsqueeze(1).numpy(), np.arange(n_items), seed))
