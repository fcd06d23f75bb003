"""What a gain in accuracy must not cost: coverage, the long tail, new items."""

from __future__ import annotations

import math
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from mmbench.evaluation import list_measures
from mmbench.inference.intervals import Interval, bounded_gain

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


def coverage_change(a: NDArray[np.integer], b: NDArray[np.integer], n_items: int) -> Interval:
    r"""Relative change of coverage, :math:`\bar c_A / \bar c_B - 1`, with its crossed interval of 90 %.

    Coverage is no mean over users, but the jackknife makes one of it; see :func:`_covered`. Where nothing varies, or
    below :data:`~mmbench.inference.intervals.MIN_USERS` users, the bounds are infinite, unless both sides show the same
    items in every run.

    Args:
        a: lists under A, ``(n_seeds, n_users, k)``, -1 where candidates ran out.
        b: lists under B, seeds and users paired.
        n_items: size of the catalogue.

    Raises:
        ValueError: if the lists differ in seeds or users, or B recommends nothing.
    """
    if a.shape[:2] != b.shape[:2]:
        raise ValueError(f"lists {a.shape} and {b.shape} are not paired")
    if not (b >= 0).any():
        raise ValueError("nothing was recommended, so coverage has no relative change")
    shown = [[list_measures.exposure(by_user, n_items) > 0 for by_user in side] for side in (a, b)]
    return bounded_gain(_covered(a, n_items), _covered(b, n_items), LEVEL, same=np.array_equal(shown[0], shown[1]))


def _covered(lists: NDArray[np.integer], n_items: int) -> NDArray[np.float64]:
    r"""Coverage of every run as a mean over its users, ``(n_users, n_seeds)``.

    With :math:`x_u` the share of the catalogue that stands in the list of user u alone, which coverage would lose
    without u, the value of a user is :math:`c + (n - 1)(x_u - \bar x)`: the mean over users is c, and its variance is
    the jackknife's, which errs upwards (Efron & Stein 1981). A bootstrap sample lacks a third of the users and tells
    too little of items that stand in few lists.
    """
    by_seed = []
    for by_user in lists:
        counts = list_measures.exposure(by_user, n_items)
        alone = ((by_user >= 0) & (counts[by_user] == 1)).sum(axis=1) / n_items
        by_seed.append(list_measures.coverage(by_user, n_items) + (len(by_user) - 1) * (alone - alone.mean()))
    return np.stack(by_seed, axis=1)
