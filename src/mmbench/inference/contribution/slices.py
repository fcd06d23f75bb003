"""M6: where the gain lives, by kinds of items and users.

A metric of a user is divided among the user's held-out pairs, so that every slice of pairs has its part of the whole
difference. Popularity and history are counted on train.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mmbench.data.divisions import Slicing, by_count
from mmbench.evaluation import metrics
from mmbench.evaluation.metrics import RankedPairs
from mmbench.inference.contribution.bootstrap import REPLICAS, Matrix, Vector, pigeonhole_means, sums_by_user
from mmbench.inference.intervals import Interval
from mmbench.inference.tuned_gain import MIN_USERS

#: First count of each slice after the first one.
HISTORY_EDGES = (5, 10, 20, 50)


def by_history(users: NDArray[np.int64], train_counts: NDArray[np.int64]) -> Slicing:
    """Slices by the number of training interactions of a pair's user, ``train_counts`` ``(n_users,)``."""
    return by_count(train_counts[users], HISTORY_EDGES)


def by_presence(items: NDArray[np.int64], present: NDArray[np.bool_], modality: str) -> Slicing:
    """Slices by whether a pair's item has content, ``present`` ``(n_items,)``."""
    return Slicing(1 - present[items].astype(np.int64), (f"has {modality}", f"no {modality}"))


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
    a: Matrix,
    b: Matrix,
    users: NDArray[np.int64],
    slicing: Slicing,
    *,
    level: float = 0.95,
    replicas: int = REPLICAS,
    seed: int = 0,
) -> dict[str, SliceGain]:
    """Differences and relative gains by slice, with intervals that hold for all slices at once (bootstrap max-t).

    Users and seeds are resampled independently; the largest studentised deviation over the slices gives the width. A
    slice of fewer than :data:`MIN_USERS` users has no bounds, and widens no other's: of one pair nothing would vary.

    Args:
        a: value of every pair and seed under A, ``(n_pairs, n_seeds)``, see :func:`pair_values`.
        b: the same under B, pairs and seeds paired.
        users: user of each pair, ``(n_pairs,)``.
        slicing: slice of each pair; empty slices are left out.
        level: coverage.
        replicas: bootstrap samples.
        seed: seed of the bootstrap.

    Raises:
        ValueError: if tables, users and labels are not of the same pairs.
    """
    if a.shape != b.shape or not len(a) == len(users) == len(slicing.labels):
        raise ValueError(
            f"tables {a.shape} and {b.shape}, {len(users)} users, {len(slicing.labels)} labels: not paired"
        )
    rows = [slicing.labels == label for label in range(len(slicing.names))]
    kept = [label for label, row in enumerate(rows) if row.any()]
    sizes = np.array([rows[label].sum() for label in kept])
    top, base = (np.array([side[rows[label]].mean() for label in kept]) for side in (a, b))
    resampled = _Resampled(users, level, replicas, seed)
    told = np.array([len(np.unique(users[rows[label]])) >= MIN_USERS for label in kept])
    members = [rows[label][:, None] for label in kept]
    differences = _differences(a, b, top - base, members, told, resampled)
    gains = _relative(a, b, top, base, members, told, resampled)
    whole = float((a - b).mean()) * len(a)
    slices = {}
    for i, label in enumerate(kept):
        share = differences[i].mean * int(sizes[i]) / whole if whole else None
        slices[slicing.names[label]] = SliceGain(int(sizes[i]), differences[i], gains.get(i), share)
    return slices


def _differences(
    a: Matrix,
    b: Matrix,
    d: Vector,
    members: Sequence[NDArray[np.bool_]],
    told: NDArray[np.bool_],
    resampled: _Resampled,
) -> list[Interval]:
    """Mean differences ``d`` of the slices, linear in the pairs: each pair's part is what it differs by from d."""
    sizes = np.array([rows.sum() for rows in members])
    residuals = [((a - b) - mean) * rows for mean, rows in zip(d, members, strict=True)]
    half = resampled.half_widths(residuals, 1.0 / sizes, told)
    return [_around(mean, width, resampled.level) for mean, width in zip(d, half, strict=True)]


def _relative(
    a: Matrix,
    b: Matrix,
    top: Vector,
    base: Vector,
    members: Sequence[NDArray[np.bool_]],
    told: NDArray[np.bool_],
    resampled: _Resampled,
) -> dict[int, Interval]:
    """Relative gains by slice where both find something, linearised at the ratio of the means (delta method)."""
    compared = np.flatnonzero((base > 0) & (top > 0))
    sizes = np.array([rows.sum() for rows in members])
    ratio, of_base = top[compared] / base[compared], 1.0 / (sizes * base)[compared]
    residuals = [(a - r * b) * members[int(i)] for r, i in zip(ratio, compared, strict=True)]
    half = resampled.half_widths(residuals, of_base, told[compared])
    return {int(i): _around(r - 1.0, width, resampled.level) for i, r, width in zip(compared, ratio, half, strict=True)}


def _around(value: float, half: float, level: float) -> Interval:
    return Interval(float(value), float(value - half), float(value + half), level)


@dataclass(frozen=True)
class _Resampled:
    """Simultaneous half-widths of ratios over pairs, linearised at their estimates."""

    users: NDArray[np.int64]
    level: float
    replicas: int
    seed: int

    def half_widths(self, residuals: Sequence[Matrix], scale: Vector, told: NDArray[np.bool_]) -> Vector:
        """One half-width per slice, infinite where it is not ``told``.

        Args:
            residuals: of each slice, ``(n_pairs, n_seeds)``, whose sum is zero.
            scale: what they are multiplied by, ``(n_slices,)``.
            told: slices that have bounds, ``(n_slices,)``.
        """
        half = np.full(len(residuals), np.inf)
        if not told.any():
            return half
        n_users = int(self.users.max()) + 1
        tables = np.stack([sums_by_user(residuals[i], self.users, n_users) for i in map(int, np.flatnonzero(told))])
        drawn = pigeonhole_means(tables, self.replicas, self.seed) * n_users * scale[told]
        spread = drawn.std(axis=0)
        studentised = np.divide(np.abs(drawn), spread, out=np.zeros_like(drawn), where=spread > 0)
        half[told] = spread * np.quantile(studentised.max(axis=1), self.level)
        return half
