"""What trials were worth: bands of curves, the gain over the default, edges of ranges, learning curves that cross.

:mod:`mmbench.inference.best_of_n` estimates the curves.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]

#: Which trials are near the top, and how near a bound is its edge (``docs/protocol.md``, Fairness report).
TOP_SHARE, EDGE_WIDTH, EDGE_WARNING = 0.2, 0.05, 0.5


def tuning_gain(validation: Vector) -> float:
    """Relative gain of the best trial over the default configuration, which is slot 0."""
    return float(validation.max() / validation[0] - 1.0)


def edge_share(
    values: Sequence[float] | Vector,
    validation: Vector,
    low: float,
    high: float,
    *,
    log: bool,
    atoms: Sequence[float] = (),
) -> float:
    """Share of the best 20 % of the trials whose value lies within 5 % of a bound of its range.

    Trials that are as good as the last of them count too: a value that makes no difference is at no edge. Above
    :data:`EDGE_WARNING` the optimum is at the edge, and the range should be wider. A bound that has a probability
    of its own, such as a weight of 0, is no edge, nor is any other such value: beyond it there is nothing to search.

    Args:
        values: the hyper-parameter's value in each slot, ``(n_trials,)``.
        validation: validation score of each slot, ``(n_trials,)``.
        low: lower bound of the range.
        high: upper bound.
        log: the range is searched on the logarithmic scale, where distances are measured then.
        atoms: values that have a probability of their own.

    Raises:
        ValueError: for an empty range.
    """
    if not low < high:
        raise ValueError(f"the range from {low} to {high} is empty")
    last = np.sort(validation)[-math.ceil(TOP_SHARE * len(validation))]
    best = np.asarray(values, np.float64)[validation >= last]
    chosen = best[~np.isin(best, atoms)]
    bounds = np.array([low, high], np.float64)
    if log:
        chosen, bounds = np.log(chosen), np.log(bounds)
    place = (chosen - bounds[0]) / (bounds[1] - bounds[0])
    reach = EDGE_WIDTH + 1e-12
    at_low, at_high = (place <= reach) & (low not in atoms), (place >= 1 - reach) & (high not in atoms)
    return float((at_low | at_high).sum() / len(best))


def crossings(rungs: Sequence[int], histories: Sequence[Sequence[float] | None]) -> float | None:
    """Share of the pairs of learning curves, per rung, whose order at the rung is not their order at the end.

    Where curves cross often, cutting trials short at a rung favours what learns fast.

    Args:
        rungs: epochs.
        histories: validation score after each epoch of trials that were not cut short; None of a failed one.

    Returns:
        The share, or None without two curves.
    """
    curves = [history for history in histories if history]
    crossed = [
        (max(a[:rung]) - max(b[:rung])) * (max(a) - max(b)) < 0
        for a, b in itertools.combinations(curves, 2)
        for rung in rungs
    ]
    return sum(crossed) / len(crossed) if crossed else None


@dataclass(frozen=True)
class Band:
    """A curve over the number of trials, entry k for k + 1 trials, with its bounds; each ``(n_trials,)``."""

    mean: Vector
    lo: Vector
    hi: Vector
