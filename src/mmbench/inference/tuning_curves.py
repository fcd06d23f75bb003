"""What trials were worth: bands of curves, the gain over the default, edges of ranges, learning curves that cross.

:mod:`mmbench.inference.best_of_n` estimates the curves.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats as distributions

Vector = NDArray[np.float64]

#: Which trials are near the top, and how near a bound is its edge (``docs/protocol.md``, Fairness report).
TOP_SHARE, EDGE_WIDTH, EDGE_WARNING = 0.2, 0.05, 0.5
#: Probability that a range of a model is called too narrow where the order of the trials is mere chance.
EDGE_LEVEL = 0.05


class Edge(NamedTuple):
    """How many of the best trials lie at a bound of a range.

    Attributes:
        share: of the best trials, at the bound where the most lie; of equal shares where chance is the smaller.
        chance: probability that chance places as many there, or more, times two, for it may be either bound: that of a
            draw of the best trials from all, without replacement (hypergeometric).
    """

    share: float
    chance: float

    def shown(self, n_ranges: int) -> bool:
        """Whether the optimum is shown to be at the edge, so that the range should be wider.

        Args:
            n_ranges: how many ranges are looked at, over which the probability is adjusted (Bonferroni).
        """
        return self.share > EDGE_WARNING and n_ranges * self.chance <= EDGE_LEVEL


def tuning_gain(validation: Vector) -> float:
    """Relative gain of the best trial over the default configuration, which is slot 0."""
    return float(validation.max() / validation[0] - 1.0)


def edge(
    values: Sequence[float] | Vector,
    validation: Vector,
    low: float,
    high: float,
    *,
    log: bool,
    atoms: Sequence[float] = (),
) -> Edge:
    """How many of the best 20 % of the trials have a value within 5 % of one bound of its range.

    Trials that are as good as the last of them count too: a value that makes no difference is at no edge. A bound
    that has a probability of its own, such as a weight of 0, is no edge, nor is any other such value: beyond it there
    is nothing to search.

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
    best = validation >= last
    place = np.full(len(validation), np.nan)
    searched = ~np.isin(values, atoms)
    chosen, bounds = np.asarray(values, np.float64)[searched], np.array([low, high], np.float64)
    if log:
        chosen, bounds = np.log(chosen), np.log(bounds)
    place[searched] = (chosen - bounds[0]) / (bounds[1] - bounds[0])
    reach = EDGE_WIDTH + 1e-12
    at_bounds = [(place <= reach) & (low not in atoms), (place >= 1 - reach) & (high not in atoms)]
    n, n_best = len(validation), int(best.sum())
    chances = [float(distributions.hypergeom.sf((at & best).sum() - 1, n, at.sum(), n_best)) for at in at_bounds]
    edges = [Edge(float((at & best).sum() / n_best), min(1.0, 2 * p)) for at, p in zip(at_bounds, chances, strict=True)]
    return max(edges, key=lambda edge: (edge.share, -edge.chance))


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


#: Up to so many numbers of trials each has bounds of its own; of more, so many of the small ones and so many beyond.
DENSE, EACH, SPACED = 60, 20, 40


def banded(trials: int) -> list[int]:
    """Numbers of trials, up to half of those that were run, at which a band has bounds.

    All of them up to 120 trials. Beyond, about 60 bound a band as well, for every number costs time as the square of
    the trials: each of the small ones, where a curve bends, then some that grow by a constant factor up to the half.

    >>> banded(8), len(banded(120)), banded(1000)[18:23], banded(1000)[-2:]
    ([1, 2, 3, 4], 60, [19, 20, 22, 23, 25], [461, 500])
    """
    half = trials // 2
    if half <= DENSE:
        return list(range(1, half + 1))
    return sorted({*range(1, EACH + 1), *np.geomspace(EACH, half, SPACED + 1).round().astype(int).tolist()})


@dataclass(frozen=True)
class Band:
    """A curve over the number of trials, entry k for k + 1 trials, with its bounds; each ``(n_trials,)``.

    Bounds are NaN where there are none: beyond half of the trials, between the numbers of :func:`banded`, and where
    something speaks against them.
    """

    mean: Vector
    lo: Vector
    hi: Vector
