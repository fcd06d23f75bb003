"""What a gain in accuracy must not cost: coverage, the long tail, new items."""

from __future__ import annotations

import math
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from mmbench.evaluation import list_measures
from mmbench.inference.contribution.bootstrap import REPLICAS, estimate, resamples
from mmbench.inference.intervals import Interval

#: Relative loss that counts as none.
MARGIN = 0.05
#: A one-sided bound of 95 % is an end of the two-sided 90 % interval.
LEVEL = 0.90


class Rail(StrEnum):
    """Whether a guard-rail holds."""

    HOLDS = "holds"
    BROKEN = "broken"
    OPEN = "not shown"


def rail(change: Interval, margin: float = MARGIN) -> Rail:
    """Judge a relative change by its 90 % interval: holds above minus the margin, broken below it."""
    if change.lo > -margin:
        return Rail.HOLDS
    return Rail.BROKEN if change.hi < -margin else Rail.OPEN


def shown_by(change: Interval, margin: float = MARGIN) -> float:
    r"""How many times as many users and final runs would show a change, as it was measured, to hold; inf where none do.

    Every part of the variance of a mean over users and seeds shrinks at least as one over that number, so the lower
    bound rises above :math:`-m` with :math:`((\hat r - l) / (\hat r + m))^2` times as many.
    """
    room = change.mean + margin
    return ((change.mean - change.lo) / room) ** 2 if room > 0 else math.inf


def coverage_change(
    a: NDArray[np.integer], b: NDArray[np.integer], n_items: int, *, replicas: int = REPLICAS, seed: int = 0
) -> Interval:
    r"""Relative change of coverage, :math:`\bar c_A / \bar c_B - 1`, with its pigeonhole interval of 90 %.

    A sample holds fewer distinct users and covers less, so the samples are moved to have the estimate as their mean.

    Args:
        a: lists under A, ``(n_seeds, n_users, k)``, -1 where candidates ran out.
        b: lists under B, seeds and users paired.
        n_items: size of the catalogue.
        replicas: bootstrap samples.
        seed: seed of the bootstrap.

    Raises:
        ValueError: if the lists differ in seeds or users, or B recommends nothing.
    """
    if a.shape[:2] != b.shape[:2]:
        raise ValueError(f"lists {a.shape} and {b.shape} are not paired")
    n_seeds, n_users = a.shape[:2]
    covered = [np.mean([list_measures.coverage(lists, n_items) for lists in side]) for side in (a, b)]
    if covered[1] == 0:
        raise ValueError("nothing was recommended, so coverage has no relative change")
    shown = [[_shown(lists, n_items) for lists in side] for side in (a, b)]
    drawn = []
    for users, seeds in resamples(n_users, n_seeds, replicas, seed):
        drawn_users = (users > 0).T.astype(np.float32)
        top, base = (_shares(side, drawn_users, seeds) for side in shown)
        drawn.append(top / base - 1.0)
    value, samples = float(covered[0] / covered[1]) - 1.0, np.concatenate(drawn)
    return estimate(value, samples - samples.mean() + value, LEVEL)


def _shown(lists: NDArray[np.integer], n_items: int) -> sparse.csr_matrix:
    """Which item is in the list of which user, ``(n_items, n_users)``."""
    users, _ = np.nonzero(lists >= 0)
    items = lists[lists >= 0]
    return sparse.csr_matrix((np.ones(len(items), np.float32), (items, users)), (n_items, len(lists)))


def _shares(side: list[sparse.csr_matrix], users: NDArray[np.float32], seeds: NDArray[np.int64]) -> NDArray[np.float64]:
    """Coverage in samples of users ``(n_users, b)`` and seeds ``(b, n_seeds)``: ``(b,)``."""
    by_seed = np.stack([((shown @ users) > 0).mean(axis=0) for shown in side], axis=1)
    share: NDArray[np.float64] = (by_seed * seeds).sum(axis=1) / seeds.sum(axis=1)
    return share
