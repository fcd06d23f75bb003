"""Measures of recommendation lists other than accuracy.

Lists are item indices ``(n_users, k)``, best first, -1 where candidates ran out. Counts are training interactions by
item ``(n_items,)``. What is averaged over users leaves out those whose list is empty.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

Lists = NDArray[np.integer]
Counts = NDArray[np.int64]
Vector = NDArray[np.float64]
Mask = NDArray[np.bool_]

#: The short head is the smallest set of items with this share of the training interactions.
HEAD_SHARE = 0.8
#: Weight of the profile in the smoothed recommendation distribution of calibration (Steck 2018).
CALIBRATION_ALPHA = 0.01
#: Numbers that are in memory at once for a block of users, 128 MB as float64.
BLOCK_NUMBERS = 1 << 24


def exposure(lists: Lists, n_items: int) -> Counts:
    """How often each item is recommended, ``(n_items,)``."""
    return np.bincount(lists[lists >= 0], minlength=n_items)


def coverage(lists: Lists, n_items: int) -> float:
    r"""Share of the catalogue that anybody is recommended, :math:`|\cup_u L_u| / n`."""
    return float((exposure(lists, n_items) > 0).mean())


def gini(counts: Counts) -> float:
    r"""Gini coefficient, :math:`\sum_i (2i - n - 1) x_{(i)} / (n \sum_i x_i)`, items never recommended included.

    Args:
        counts: exposure of every item, ``(n_items,)``; 0 is equal exposure.

    Raises:
        ValueError: without any exposure.
    """
    n = len(counts)
    total = _total(counts)
    return float((2 * np.arange(1, n + 1) - n - 1) @ np.sort(counts)) / (n * total)


def effective_catalogue(counts: Counts) -> float:
    """Number of items that, equally exposed, would have the same entropy of exposure.

    Raises:
        ValueError: without any exposure.
    """
    shares = counts[counts > 0] / _total(counts)
    return float(np.exp(-(shares * np.log(shares)).sum()))


def _total(counts: Counts) -> int:
    total = int(counts.sum())
    if total == 0:
        raise ValueError("nothing was recommended, so exposure has no distribution")
    return total


def list_means(lists: Lists, values: Vector) -> Vector:
    """Mean of a value of the items ``(n_items,)`` over each list, NaN for an empty one: ``(n_users,)``."""
    filled = lists >= 0
    sizes = filled.sum(axis=1)
    sums = np.where(filled, values[np.maximum(lists, 0)], 0.0).sum(axis=1)
    return np.divide(sums, sizes, out=np.full(len(lists), np.nan), where=sizes > 0)


def _over_users(values: Vector) -> float:
    if np.isnan(values).all():
        raise ValueError("no user has a list")
    return float(np.nanmean(values))


def novelty(lists: Lists, counts: Counts, n_users: int) -> float:
    r"""Mean self-information of what is recommended, :math:`-\log_2(pop_i / |U|)`, a cold item counting as bought once.

    Args:
        lists: ``(n_users, k)``.
        counts: training count of each item, ``(n_items,)``.
        n_users: users of the training log, whether they have a list or not.
    """
    return _over_users(list_means(lists, -np.log2(np.maximum(counts, 1) / n_users)))


def average_popularity(lists: Lists, counts: Counts) -> float:
    """ARP: mean training count of what is recommended."""
    return _over_users(list_means(lists, counts.astype(np.float64)))


def popularity_lift(lists: Lists, counts: Counts, users: NDArray[np.int64], items: NDArray[np.int64]) -> float:
    r"""How much more popular recommendations are than profiles, :math:`(ARP_{rec} - ARP_{profile}) / ARP_{profile}`.

    Both are averages over users of the mean training count (Abdollahpouri et al. 2019).

    Args:
        lists: list of each evaluated user, ``(n_users, k)``.
        counts: training count of each item, ``(n_items,)``.
        users: row in ``lists`` of each training interaction of these users, ``(n,)``.
        items: its item, ``(n,)``.
    """
    n_users = len(lists)
    sizes = np.bincount(users, minlength=n_users)
    sums = np.bincount(users, counts[items], n_users)
    profiles = np.divide(sums, sizes, out=np.full(n_users, np.nan), where=sizes > 0)
    own = _over_users(profiles)
    return (average_popularity(lists, counts) - own) / own


def long_tail(counts: Counts, head_share: float = HEAD_SHARE) -> Mask:
    """Items outside the short head, cold ones included, ``(n_items,)``.

    The short head are the most popular items that together have ``head_share`` of the interactions (ties by index).
    """
    order = np.argsort(-counts, kind="stable")
    before = np.cumsum(counts[order]) - counts[order]
    tail = np.ones(len(counts), bool)
    tail[order[(before < head_share * counts.sum()) & (counts[order] > 0)]] = False
    return tail


def tail_share(lists: Lists, tail: Mask) -> float:
    """APLT: mean share of long-tail items in a list."""
    return _over_users(list_means(lists, tail.astype(np.float64)))


def tail_count(lists: Lists, tail: Mask) -> float:
    """ACLT: mean number of long-tail items in a list."""
    filled = lists >= 0
    hits = (filled & tail[np.maximum(lists, 0)]).sum(axis=1)
    return _over_users(np.where(filled.any(axis=1), hits, np.nan))


def category_diversity(lists: Lists, categories: NDArray[np.bool_]) -> float:
    """ILD: mean Jaccard distance of the categories of the pairs in a list.

    Args:
        lists: ``(n_users, k)``; lists with fewer than two items are left out.
        categories: categories of each item, ``(n_items, n_categories)``; two items without any are alike.
    """
    member = categories.astype(np.float64)
    sizes = member.sum(axis=1)

    def distance(rows: Lists) -> Vector:
        common = np.einsum("uic,ujc->uij", member[rows], member[rows])
        either = sizes[rows][:, :, None] + sizes[rows][:, None, :] - common
        return 1.0 - np.divide(common, either, out=np.ones_like(common), where=either > 0)

    return _pairwise(lists, distance, categories.shape[1])


def _blocks(n_users: int, numbers: int) -> Iterator[slice]:
    """Users in blocks, where each user takes so many numbers."""
    size = max(1, BLOCK_NUMBERS // max(1, numbers))
    return (slice(begin, begin + size) for begin in range(0, n_users, size))


def _pairwise(lists: Lists, distance: Callable[[Lists], Vector], width: int) -> float:
    """Mean over users of the mean distance between the entries of a list, of which each takes ``width`` numbers."""
    upper = np.triu(np.ones((lists.shape[1], lists.shape[1]), bool), 1)
    means = np.full(len(lists), np.nan)
    for rows in _blocks(len(lists), lists.shape[1] * (width + lists.shape[1])):
        block = lists[rows]
        filled = block >= 0
        pairs = filled[:, :, None] & filled[:, None, :] & upper
        sums, sizes = (distance(np.maximum(block, 0)) * pairs).sum(axis=(1, 2)), pairs.sum(axis=(1, 2))
        means[rows] = np.divide(sums, sizes, out=np.full(len(block), np.nan), where=sizes > 0)
    return _over_users(means)


def miscalibration(
    lists: Lists,
    categories: NDArray[np.bool_],
    users: NDArray[np.int64],
    items: NDArray[np.int64],
    alpha: float = CALIBRATION_ALPHA,
) -> float:
    r"""Distance of a list's categories from the user's own, 0 is calibrated (Steck 2018, eq. 2, 3 and 6).

    :math:`KL(p \,\|\, (1-\alpha) q + \alpha p)`, p and q the mean over the profile and over the list of the categories
    of an item, each item sharing its weight among its categories. Mean over users, in nats; NaN where no user has both.

    Args:
        lists: list of each evaluated user, ``(n_users, k)``.
        categories: categories of each item, ``(n_items, n_categories)``; an item without any does not count.
        users: row in ``lists`` of each training interaction of these users, ``(n,)``.
        items: its item, ``(n,)``.
        alpha: weight of the profile that keeps the distance finite.
    """
    sizes = categories.sum(axis=1)
    share = np.divide(1.0, sizes, out=np.zeros(len(sizes)), where=sizes > 0)
    order = np.argsort(users, kind="stable")
    users, items = users[order], items[order]
    distances = np.full(len(lists), np.nan)
    for rows in _blocks(len(lists), lists.shape[1] * categories.shape[1]):
        block = lists[rows]
        own = slice(*np.searchsorted(users, [rows.start, rows.start + len(block)]))
        owners, owned = users[own] - rows.start, items[own]
        columns = [np.bincount(owners, column[owned] * share[owned], len(block)) for column in categories.T]
        p = _distributions(np.stack(columns, axis=1))
        listed = np.where(block >= 0, share[block], 0.0)
        q = _distributions((categories[block] * listed[:, :, None]).sum(axis=1))
        smoothed = (1 - alpha) * q + alpha * p
        ratio = np.divide(p, smoothed, out=np.ones_like(p), where=p > 0)
        distances[rows] = (p * np.log(ratio)).sum(axis=1)
    return float(np.nanmean(distances)) if not np.isnan(distances).all() else math.nan


def _distributions(sums: Vector) -> Vector:
    """Rows scaled to one; NaN where there is nothing."""
    totals = sums.sum(axis=1, keepdims=True)
    return np.divide(sums, totals, out=np.full(sums.shape, np.nan), where=totals > 0)


def cold_recall(
    users: NDArray[np.int64], items: NDArray[np.int64], ranks: NDArray[np.int64], counts: Counts, k: int
) -> float | None:
    """Recall of held-out items that have no training interaction, mean over users who have one; None without any.

    Arguments as for :func:`cold_recall_by_user`.
    """
    by_user = cold_recall_by_user(users, items, ranks, counts, k)
    return float(by_user.mean()) if len(by_user) else None


def cold_recall_by_user(
    users: NDArray[np.int64], items: NDArray[np.int64], ranks: NDArray[np.int64], counts: Counts, k: int
) -> Vector:
    """The same for each user who has a held-out item without training interactions, users ascending.

    Args:
        users: user of each held-out pair, ``(n_pairs,)``.
        items: its item.
        ranks: its rank among all candidates, from 1.
        counts: training count of each item, ``(n_items,)``.
        k: cut-off.
    """
    cold = counts[items] == 0
    _, place = np.unique(users[cold], return_inverse=True)
    recalls: Vector = np.bincount(place, ranks[cold] <= k) / np.maximum(np.bincount(place), 1)
    return recalls


def summary(
    lists: Lists, counts: Counts, n_users: int, users: NDArray[np.int64], items: NDArray[np.int64], k: int
) -> dict[str, float]:
    """Measures of the top ``k`` that need nothing but lists and training interactions, by name with the cut-off.

    Args:
        lists: list of each evaluated user, ``(n_users, at least k)``.
        counts: training count of each item, ``(n_items,)``.
        n_users: users of the training log.
        users: row in ``lists`` of each training interaction of these users, ``(n,)``.
        items: its item, ``(n,)``.
        k: cut-off.

    Raises:
        ValueError: if the lists are shorter than ``k``.
    """
    if lists.shape[1] < k:
        raise ValueError(f"lists hold {lists.shape[1]} items, fewer than {k}")
    top = lists[:, :k]
    shown, tail = exposure(top, len(counts)), long_tail(counts)
    return {
        f"coverage@{k}": coverage(top, len(counts)),
        f"gini@{k}": gini(shown),
        f"effective_catalogue@{k}": effective_catalogue(shown),
        f"novelty@{k}": novelty(top, counts, n_users),
        f"arp@{k}": average_popularity(top, counts),
        f"aplt@{k}": tail_share(top, tail),
        f"aclt@{k}": tail_count(top, tail),
        f"poplift@{k}": popularity_lift(top, counts, users, items),
    }
