"""M6: where the gain lives, by kinds of items and users.

A metric of a user is divided among the user's held-out pairs, so that every slice of pairs has its part of the whole
difference. Popularity and history are counted on train.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mmbench.data.divisions import Slicing, by_count
from mmbench.evaluation import metrics
from mmbench.evaluation.metrics import RankedPairs
from mmbench.inference.contribution.bootstrap import sums_by_user, unbounded
from mmbench.inference.intervals import (
    MIN_USERS,
    UNCHANGED,
    Interval,
    Matrix,
    Vector,
    bounded_interval,
    crossed_interval,
    scaled_differences,
)
from mmbench.messages import Message

#: First count of each slice after the first one.
HISTORY_EDGES = (5, 10, 20, 50)


def by_history(users: NDArray[np.int64], train_counts: NDArray[np.int64]) -> Slicing:
    """Slices by the number of training interactions of a pair's user, ``train_counts`` ``(n_users,)``."""
    return by_count(train_counts[users], HISTORY_EDGES)


def by_presence(items: NDArray[np.int64], present: NDArray[np.bool_], modality: str) -> Slicing:
    """Slices by whether a pair's item has content, ``present`` ``(n_items,)``."""
    return Slicing(
        1 - present[items].astype(np.int64),
        (Message("has {modality}", modality=modality), Message("no {modality}", modality=modality)),
    )


def pair_values(pairs: RankedPairs, metric: str) -> Vector:
    """Part of each held-out pair in a metric: their sum over a user's pairs is the user's metric, ``(n_pairs,)``.

    Hits share a user's metric in proportion to their gain, which is the discount of the rank for NDCG and equal
    otherwise.

    Raises:
        ValueError: for a name that is no metric.
    """
    name, k = metrics.check_name(metric)
    gains = 1.0 / np.log2(pairs.ranks + 1.0) if name == "ndcg" else np.ones(len(pairs.ranks))
    gains = np.where(pairs.ranks <= k, gains, 0.0)
    whole = np.bincount(pairs.users, gains, pairs.n_users)[pairs.users]
    share = np.divide(gains, whole, out=np.zeros_like(gains), where=whole > 0)
    parts: Vector = metrics.per_user(pairs, metric)[pairs.users] * share
    return parts


@dataclass(frozen=True)
class SliceGain:
    """The difference between two conditions in one slice.

    Args:
        n_pairs: test pairs in the slice.
        difference: A minus B, mean over the slice's pairs and seeds, with bounds that hold for all slices at once.
        gain: the same relative to B's mean in the slice; None where A or B finds nothing there, for then no user's
            difference tells how uncertain the ratio is.
        share: part of the slice in the whole difference, None where there is none; the parts add up to one where every
            pair is in a slice.
    """

    n_pairs: int
    difference: Interval
    gain: Interval | None
    share: float | None


def slice_gains(
    a: Matrix, b: Matrix, users: NDArray[np.int64], slicing: Slicing, *, level: float = 0.95
) -> dict[str, SliceGain]:
    """Differences and relative gains by slice, with intervals that hold for all slices at once (Dunn 1961).

    Each of m slices has its crossed interval over users and seeds at the level ``1 - (1 - level) / m``. That holds
    however the slices hang together, which a few seeds do not tell. A slice of fewer than :data:`MIN_USERS` users has
    no bounds, and widens no other's: of one pair nothing would vary. Nor has one whose users all differ by the same,
    for bounds of no width would look like proof.

    Args:
        a: value of every pair and seed under A, ``(n_pairs, n_seeds)``, see :func:`pair_values`.
        b: the same under B, pairs and seeds paired.
        users: user of each pair, ``(n_pairs,)``.
        slicing: slice of each pair; empty slices are left out.
        level: coverage.

    Raises:
        ValueError: if tables, users and labels are not of the same pairs.
    """
    if a.shape != b.shape or not len(a) == len(users) == len(slicing.labels):
        raise ValueError(
            f"tables {a.shape} and {b.shape}, {len(users)} users, {len(slicing.labels)} labels: not paired"
        )
    parts = {
        name: _Part(a[rows], b[rows], np.unique(users[rows], return_inverse=True)[1])
        for name, rows in ((name, slicing.labels == label) for label, name in enumerate(slicing.names))
        if rows.any()
    }
    of_each = _share_of(level, sum(part.told for part in parts.values()))
    of_gains = _share_of(level, sum(part.told and part.compared for part in parts.values()))
    change = float((a - b).mean())
    whole = change * len(a)
    slices = {}
    for name, part in parts.items():
        n_pairs, difference = len(part.users), part.difference(of_each, level)
        gain = part.gain(of_gains, level) if part.compared else None
        share = difference.mean * n_pairs / whole if abs(change) > UNCHANGED else None
        slices[name] = SliceGain(n_pairs, difference, gain, share)
    return slices


def _share_of(level: float, n: int) -> float:
    """Level of each of ``n`` intervals that hold at once (Dunn, Multiple Comparisons among Means, JASA 1961)."""
    return 1.0 - (1.0 - level) / max(n, 1)


@dataclass(frozen=True)
class _Part:
    """The pairs of one slice.

    Args:
        a: their values under A, ``(n_pairs, n_seeds)``.
        b: the same under B.
        users: user of each pair among those of the slice, counted from 0, ``(n_pairs,)``.
    """

    a: Matrix
    b: Matrix
    users: NDArray[np.int64]

    @property
    def n_users(self) -> int:
        return int(self.users.max()) + 1

    @property
    def told(self) -> bool:
        """Whether it has bounds."""
        return self.n_users >= MIN_USERS

    @property
    def compared(self) -> bool:
        """Whether both sides find something."""
        return bool(self.a.mean() > 0 and self.b.mean() > 0)

    def difference(self, of_each: float, level: float) -> Interval:
        """A minus B, linear in the pairs: each pair's part is what it differs by from the mean."""
        d = self.a - self.b
        return self._around(float(d.mean()), d - d.mean(), of_each, level)

    def gain(self, of_each: float, level: float) -> Interval:
        """The relative gain, linearised at the ratio of the means (delta method)."""
        d, ratio = scaled_differences(self.a, self.b)
        return self._around(ratio - 1.0, d, of_each, level)

    def _around(self, value: float, residuals: Matrix, of_each: float, level: float) -> Interval:
        """A mean over pairs with bounds over the users who have them, who differ in how many.

        Args:
            value: the mean.
            residuals: what each pair and seed adds to its error, ``(n_pairs, n_seeds)``, whose sum is zero.
            of_each: level of the bounds alone.
            level: level of all slices at once.
        """
        if not self.told:
            return unbounded(value, level)
        by_user = sums_by_user(residuals, self.users, self.n_users) * (self.n_users / len(self.users))
        noise = bounded_interval(crossed_interval(by_user, of_each), self.n_users)
        half = noise.hi - noise.mean
        return Interval(value, value - half, value + half, level)
