"""What a number of trials was worth: expected performance after tuning, saturation, edges.

Dodge et al. 2019 introduced the curves, Tang et al. 2020 the unbiased estimator.

Trials are i.i.d. random draws, all conditions of a comparison share their slots, and slot 0 may be the default
configuration, which is always tried. A failed trial has the validation score minus infinity and counts as a trial.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]

#: Which trials are near the top, and how near a bound is its edge (``docs/protocol.md``, Fairness report).
TOP_SHARE, EDGE_WIDTH, EDGE_WARNING = 0.2, 0.05, 0.5


@functools.lru_cache(maxsize=512)
def _rank_weights(trials: int, n: int) -> Vector:
    r"""Chance that the j-th smallest of ``trials`` is the largest of ``n`` drawn without replacement, ``(trials,)``.

    :math:`\binom{j-1}{n-1} / \binom{T}{n}` by log-gamma (Tang et al. 2020), zero for j < n.
    """
    if not 1 <= n <= trials:
        raise ValueError(f"n={n} must lie between 1 and the {trials} trials; nothing is extrapolated")
    whole = _log_binomial(trials, n)
    weights = [math.exp(_log_binomial(j - 1, n - 1) - whole) if j >= n else 0.0 for j in range(1, trials + 1)]
    return np.array(weights)


def _log_binomial(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def chance_of_choice(validation: Matrix, n: int, *, default_first: bool = False) -> Matrix:
    """Chance that each trial is the one chosen when only ``n`` of the trials had been run.

    The choice is the best validation score, ties go to the lower slot.

    Args:
        validation: validation score of each slot, ``(..., n_trials)``.
        n: number of trials that had been run.
        default_first: slot 0 is always among them, the other n - 1 are random; otherwise all are random.

    Returns:
        ``(..., n_trials)``, each row adds up to one.

    Raises:
        ValueError: if ``n`` is not between 1 and the number of trials, or a score is NaN.
    """
    if np.isnan(validation).any():
        raise ValueError("a validation score is NaN; a failed trial has the score minus infinity")
    drawn = validation[..., 1:] if default_first else validation
    trials = validation.shape[-1]
    if not 1 <= n <= trials:
        raise ValueError(f"n={n} must lie between 1 and the {trials} trials; nothing is extrapolated")
    chances = np.zeros_like(validation, dtype=np.float64)
    if default_first and n == 1:
        chances[..., 0] = 1.0
        return chances
    # A stable sort of the reversed slots puts the lower slot of a tie last, where it is the larger one.
    order = drawn.shape[-1] - 1 - np.argsort(drawn[..., ::-1], axis=-1, kind="stable")
    weights = np.broadcast_to(_rank_weights(drawn.shape[-1], n - default_first), order.shape)
    if not default_first:
        np.put_along_axis(chances, order, weights, axis=-1)
        return chances
    np.put_along_axis(chances, order + 1, weights, axis=-1)
    beaten = validation[..., 1:] <= validation[..., :1]
    chances[..., 0] = (chances[..., 1:] * beaten).sum(axis=-1)
    chances[..., 1:][beaten] = 0.0
    return chances


def expected_validation_performance(validation: Vector, n: int, *, default_first: bool = False) -> float:
    r"""Expected best validation score of ``n`` trials, unbiased for ``n`` up to T (Dodge 2019, Tang 2020).

    :math:`EVP(n) = \sum_{j=n}^{T} \binom{j-1}{n-1}/\binom{T}{n}\, v_{(j)}`; with ``default_first``
    :math:`E \max(v_0, \text{n - 1 random others})`.

    Args:
        validation: validation score of each slot, ``(n_trials,)``.
        n: number of trials.
        default_first: slot 0 is always tried.
    """
    chances = chance_of_choice(validation, n, default_first=default_first)
    return float(_expected(chances, validation))


def expected_tuned_test_performance(
    validation: Vector, test: Matrix, n: int, *, default_first: bool = False
) -> float | Vector:
    r"""Expected test score of the trial chosen on validation among ``n``, :math:`\sum_j w_j(n)\, test_{(j)}`.

    EVP minus ETP is the optimism of choosing.

    Args:
        validation: validation score of each slot, ``(n_trials,)``.
        test: test score of each slot ``(n_trials,)``, or of each slot and user ``(n_trials, n_users)``.
        n: number of trials.
        default_first: slot 0 is always tried.

    Returns:
        A number, or one number per user ``(n_users,)``.

    Raises:
        ValueError: if validation and test hold different numbers of trials.
    """
    if len(test) != len(validation):
        raise ValueError(f"{len(validation)} validation scores and {len(test)} test scores are not of the same trials")
    chances = chance_of_choice(validation, n, default_first=default_first)
    if test.ndim == 1:
        return float(_expected(chances, test))
    possible = chances > 0
    result: Vector = chances[possible] @ test[possible]
    return result


def _expected(chances: Matrix, scores: Matrix) -> Matrix:
    """Sum over trials where the chance is positive: a failed trial that cannot be chosen does not count."""
    total: Matrix = (chances * np.where(chances > 0, scores, 0.0)).sum(axis=-1)
    return total


def saturation(validation: Vector, *, default_first: bool = False) -> float:
    r"""Share of the best score that the second half of the trials found.

    :math:`[EVP(T) - EVP(\lceil T/2 \rceil)] / EVP(T)`; 5 to 10 % is usual at 30 trials.
    """
    trials = len(validation)
    half, whole = (
        expected_validation_performance(validation, n, default_first=default_first)
        for n in (math.ceil(trials / 2), trials)
    )
    return (whole - half) / whole


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

    Above :data:`EDGE_WARNING` the optimum is at the edge, and the range should be wider. A bound that has a probability
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
    best = np.argsort(-validation, kind="stable")[: math.ceil(TOP_SHARE * len(validation))]
    chosen = np.asarray(values, np.float64)[best]
    chosen = chosen[~np.isin(chosen, atoms)]
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
