"""Pigeonhole bootstrap: users and seeds are resampled independently of each other (Owen 2007)."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from mmbench.inference.intervals import Interval

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]

REPLICAS = 1000
#: Seeds from which on pairs of different seeds are resampled: of two, half of the samples hold one seed twice and no
#: pair, and all others hold the same pair, so that no training noise would be in their spread.
MIN_PAIRED_SEEDS = 3
#: Numbers held at once.
BLOCK_NUMBERS = 1 << 22


def estimate(value: float, drawn: Vector, level: float = 0.95) -> Interval:
    """A value with the percentile interval of its bootstrap samples ``(replicas,)``; infinite without a sample."""
    drawn = drawn[~np.isnan(drawn)]
    if not len(drawn):
        return unbounded(value, level)
    lo, hi = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value, float(lo), float(hi), level)


def unbounded(value: float, level: float = 0.95) -> Interval:
    """A value about which no bounds can be told."""
    return Interval(value, -np.inf, np.inf, level)


def resamples(
    n_users: int, n_seeds: int, replicas: int = REPLICAS, seed: int = 0
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Blocks of samples: how often each user ``(b, n_users)`` and each seed ``(b, n_seeds)`` was drawn."""
    step = max(1, BLOCK_NUMBERS // n_users)
    if replicas <= step:
        yield _whole(n_users, n_seeds, replicas, seed)
        return
    rng = np.random.default_rng(seed)
    for begin in range(0, replicas, step):
        block = min(step, replicas - begin)
        yield _counts(rng, block, n_users), _counts(rng, block, n_seeds)


@functools.lru_cache(maxsize=1)  # the same samples serve every number of a model, and of all models of a data set
def _whole(n_users: int, n_seeds: int, replicas: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """All samples as one block, which nobody may change."""
    rng = np.random.default_rng(seed)
    users, seeds = _counts(rng, replicas, n_users), _counts(rng, replicas, n_seeds)
    users.flags.writeable = seeds.flags.writeable = False
    return users, seeds


def _counts(rng: np.random.Generator, block: int, n: int) -> NDArray[np.int64]:
    return np.stack([np.bincount(rng.integers(0, n, n), minlength=n) for _ in range(block)])


def sums_by_user(values: Matrix, users: NDArray[np.int64], n_users: int) -> Matrix:
    """Sum rows of ``values`` ``(n_pairs, c)`` over the pairs of each user: ``(n_users, c)``."""
    return np.stack([np.bincount(users, column, n_users) for column in values.T], axis=1)


def ordered_pairs(n_seeds: int) -> list[tuple[int, int]]:
    """Ordered pairs of different seeds."""
    return [(i, j) for i in range(n_seeds) for j in range(n_seeds) if i != j]
