"""M6: where the gain lives, by kinds of items and users.

A metric of a user is divided among the user's held-out pairs, so that every slice of pairs has its part of the whole
difference. Popularity and history are counted on train.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mmbench.evaluation import metrics
from mmbench.evaluation.metrics import RankedPairs
from mmbench.inference.contribution.bootstrap import REPLICAS, Matrix, Vector, pigeonhole_means, sums_by_user
from mmbench.inference.intervals import Interval

#: First count of each slice after the first one.
POPULARITY_EDGES = (1, 6, 21, 101)
HISTORY_EDGES = (5, 10, 20, 50)


@dataclass(frozen=True)
class Slicing:
    """A division of the test pairs into slices.

    Args:
        labels: slice of each pair, ``(n_pairs,)``, an index into ``names``; -1 is in none.
        names: what the slices are called, in the order of tables.
    """

    labels: NDArray[np.int64]
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(self.labels) and self.labels.max() >= len(self.names):
            raise ValueError(f"label {self.labels.max()} has no name; names are {', '.join(self.names)}")


def by_count(counts: NDArray[np.int64], edges: Sequence[int], zero: str = "") -> Slicing:
    """Slices of counts, for example ``0``, ``1-5``, ``6-20``.

    Args:
        counts: count of each pair's item or user, ``(n_pairs,)``.
        edges: first count of each slice after the first.
        zero: name of the first slice where it holds nothing but zeros, for example ``cold``.
    """
    starts = [0, *edges]
    names = [_span(a, b - 1) for a, b in itertools.pairwise(starts)] + [f"{starts[-1]} and more"]
    if zero and edges[0] == 1:
        names[0] = zero
    return Slicing(np.searchsorted(edges, counts, side="right"), tuple(names))


def _span(first: int, last: int) -> str:
    return str(first) if first == last else f"{first}-{last}"


def by_popularity(items: NDArray[np.int64], train_counts: NDArray[np.int64]) -> Slicing:
    """Slices by how often a pair's item ``(n_pairs,)`` occurs in train, ``train_counts`` ``(n_items,)``."""
    return by_count(train_counts[items], POPULARITY_EDGES, "cold")


def by_history(users: NDArray[np.int64], train_counts: NDArray[np.int64]) -> Slicing:
    """Slices by the number of training interactions of a pair's user, ``train_counts`` ``(n_users,)``."""
    return by_count(train_counts[users], HISTORY_EDGES)


def by_presence(items: NDArray[np.int64], present: NDArray[np.bool_], modality: str) -> Slicing:
    """Slices by whether a pair's item has content, ``present`` ``(n_items,)``."""
    return Slicing(1 - present[items].astype(np.int64), (f"has {modality}", f"no {modality}"))


def by_category(items: NDArray[np.int64], categories: Sequence[str | None], most: int = 10) -> Slicing:
    """The ``most`` frequent categories among the pairs, and all others as one slice.

    Args:
        items: item of each pair, ``(n_pairs,)``.
        categories: category of each item, ``(n_items,)``; None is in no slice.
        most: categories shown by name.
    """
    named = np.array(["" if c is None else str(c) for c in categories], dtype=object)[items]
    names, counts = np.unique(named[named != ""].astype(str), return_counts=True)
    order = sorted(range(len(names)), key=lambda i: (-counts[i], names[i]))
    shown = [str(names[i]) for i in order[:most]]
    place = {name: i for i, name in enumerate(shown)}
    rest = len(shown)
    labels = np.array([-1 if name == "" else place.get(name, rest) for name in named], dtype=np.int64)
    return Slicing(labels, (*shown, "other categories") if len(names) > rest else tuple(shown))


def by_length(items: NDArray[np.int64], lengths: NDArray[np.int64], what: str = "text") -> Slicing:
    """Thirds of the pairs by the length of their item's text, ``lengths`` ``(n_items,)``; no text is its own slice."""
    of_pairs = lengths[items]
    some = of_pairs[of_pairs > 0]
    low, high = np.quantile(some, [1 / 3, 2 / 3]) if len(some) else (0.0, 0.0)
    labels = np.where(of_pairs == 0, 0, 1 + (of_pairs > low).astype(np.int64) + (of_pairs > high))
    return Slicing(labels, (f"no {what}", f"short {what}", f"medium {what}", f"long {what}"))


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

    Users and seeds are resampled independently; the largest studentised deviation over the slices gives the width.

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
    members = [rows[label][:, None] for label in kept]
    differences = _differences(a, b, top - base, members, resampled)
    gains = _relative(a, b, top, base, members, resampled)
    whole = float((a - b).mean()) * len(a)
    slices = {}
    for i, label in enumerate(kept):
        share = differences[i].mean * int(sizes[i]) / whole if whole else None
        slices[slicing.names[label]] = SliceGain(int(sizes[i]), differences[i], gains.get(i), share)
    return slices


def _differences(
    a: Matrix, b: Matrix, d: Vector, members: Sequence[NDArray[np.bool_]], resampled: _Resampled
) -> list[Interval]:
    """Mean differences ``d`` of the slices, linear in the pairs: each pair's part is what it differs by from d."""
    sizes = np.array([rows.sum() for rows in members])
    residuals = [((a - b) - mean) * rows for mean, rows in zip(d, members, strict=True)]
    half = resampled.half_widths(residuals, 1.0 / sizes)
    return [_around(mean, width, resampled.level) for mean, width in zip(d, half, strict=True)]


def _relative(
    a: Matrix, b: Matrix, top: Vector, base: Vector, members: Sequence[NDArray[np.bool_]], resampled: _Resampled
) -> dict[int, Interval]:
    """Relative gains by slice where both find something, linearised at the ratio of the means (delta method)."""
    compared = np.flatnonzero((base > 0) & (top > 0))
    sizes = np.array([rows.sum() for rows in members])
    ratio, of_base = top[compared] / base[compared], 1.0 / (sizes * base)[compared]
    residuals = [(a - r * b) * members[int(i)] for r, i in zip(ratio, compared, strict=True)]
    half = resampled.half_widths(residuals, of_base)
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

    def half_widths(self, residuals: Sequence[Matrix], scale: Vector) -> Vector:
        """One half-width per slice from its residuals ``(n_pairs, n_seeds)``, whose sum is zero, times its scale."""
        if not len(residuals):
            return np.empty(0)
        n_users = int(self.users.max()) + 1
        tables = np.stack([sums_by_user(residual, self.users, n_users) for residual in residuals])
        drawn = pigeonhole_means(tables, self.replicas, self.seed) * n_users * scale
        spread: Vector = drawn.std(axis=0)
        studentised = np.divide(np.abs(drawn), spread, out=np.zeros_like(drawn), where=spread > 0)
        return spread * np.quantile(studentised.max(axis=1), self.level)
