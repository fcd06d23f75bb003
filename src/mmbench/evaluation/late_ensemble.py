"""LateEnsemble: the averaged ranks of several runs' lists, what fusing inside a model has to beat.

Nothing is trained or tuned here, and nothing is stored: the lists of the runs are the records.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from mmbench.evaluation.metrics import RankedPairs, Ranking
from mmbench.evaluation.ties import tie_key


def late(rankings: Sequence[Ranking]) -> RankedPairs:
    r"""Rank the test pairs of a user by the average rank of their items in the lists of all runs.

    .. math:: \bar r_{ui} = \frac{1}{M} \sum_m \min(r^m_{ui}, L + 1)

    L is the length of the lists: an item outside a list counts as the one that follows it. The rank that a record
    knows of a test pair further down is not used, for it would move held-out items only. Equal averages are ordered
    by the seeded hash of (user, item) that breaks every tie. A pair in none of the lists ranks behind all that are in
    one; together they hold at least L candidates, so that metrics up to L are exact and deeper ones are not.

    Args:
        rankings: the same test pairs ranked by M runs, with lists of one length.

    Raises:
        ValueError: without lists, or if pairs or lengths differ.
    """
    first = rankings[0]
    tops = [ranking.top for ranking in rankings if ranking.top is not None]
    if len(tops) < len(rankings) or any(top.shape != tops[0].shape for top in tops):
        raise ValueError("ranks can be averaged over lists of one length for the same users only")
    for other in rankings[1:]:
        ours, theirs = (first.users[first.pairs.users], first.items), (other.users[other.pairs.users], other.items)
        if not all(map(np.array_equal, ours, theirs)):
            raise ValueError("ranks can be averaged over the same test pairs only")
    n_users, length = tops[0].shape
    n_items = 1 + max(int(first.items.max()), *(int(top.max()) for top in tops))
    rows = np.arange(n_users)[:, None] * n_items
    codes = np.concatenate([(rows + top)[top >= 0] for top in tops])
    gains = np.concatenate([np.broadcast_to(np.arange(length, 0, -1), top.shape)[top >= 0] for top in tops])
    listed, place = np.unique(codes, return_inverse=True)
    gain = np.bincount(place, gains)  # whole numbers: M (L + 1) minus the sum of ranks
    user, item = np.divmod(listed, n_items)
    tie = tie_key(first.users[user], item)
    order = np.lexsort((tie, -gain, user))
    sizes = np.bincount(user, minlength=n_users)
    ranks = np.empty(len(listed), np.int64)
    ranks[order] = np.arange(len(listed)) - np.repeat(np.cumsum(sizes) - sizes, sizes) + 1
    wanted = first.pairs.users * n_items + first.items
    position = np.minimum(np.searchsorted(listed, wanted), len(listed) - 1)
    behind = sizes[first.pairs.users] + 1
    return replace(first.pairs, ranks=np.where(listed[position] == wanted, ranks[position], behind))
