"""From data sets to one statement: pooled gains, and ranks where there are enough data sets."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import special
from scipy import stats as distributions

from mmbench.inference.intervals import Interval, LogGain, Matrix, Vector, gain_of, holm
from mmbench.messages import Refusal

#: Mean ranks over fewer data sets than this tell nothing.
MIN_DATASETS = 10


@dataclass(frozen=True)
class PooledEffect:
    """A mean over independent studies that differ in their true effects.

    Args:
        effect: the mean effect.
        se: its standard error.
        tau: standard deviation of the true effects.
        predicted: interval for the effect in a new study; None below three studies.
        k: number of studies.
    """

    effect: Interval
    se: float
    tau: float
    predicted: Interval | None
    k: int


def random_effects(estimates: Sequence[float], errors: Sequence[float], level: float = 0.95) -> PooledEffect | None:
    r"""Random-effects mean: DerSimonian and Laird's :math:`\tau^2`, Hartung and Knapp's t interval.

    With :math:`w_i = 1/(se_i^2 + \tau^2)`: mean :math:`\mu = \sum w_i y_i / \sum w_i`, variance
    :math:`q / \sum w_i` with :math:`q = \max\{1, \sum w_i (y_i - \mu)^2 / (k-1)\}` (never narrower than the errors
    alone allow; Knapp & Hartung 2003), t with k - 1 degrees of freedom. Prediction interval
    :math:`\mu \pm t_{k-2} \sqrt{\tau^2 + var}` (Higgins, Thompson & Spiegelhalter 2009).

    An estimate without error counts, as the limit of one whose error is small: its weight is :math:`1/\tau^2`. To leave
    it out would choose studies by their result, for a gain has no error where it is exactly zero.

    Args:
        estimates: one effect per independent study, ``(k,)``.
        errors: their standard errors, ``(k,)``.
        level: coverage.

    Returns:
        The mean; None where :math:`\tau^2` is zero beside an estimate without error, which would have all the weight.

    Raises:
        ValueError: for fewer than two studies, or a standard error that is negative or not finite.
    """
    y, variances = np.asarray(estimates, np.float64), np.asarray(errors, np.float64) ** 2
    k = len(y)
    if k < 2 or len(variances) != k:
        raise Refusal("pooling needs at least two studies and one standard error for each, not {k}", k=k)
    if not (np.isfinite(variances) & (np.asarray(errors) >= 0)).all():
        raise Refusal("standard errors must be finite and not negative, not {errors}", errors=list(errors))
    tau2 = _between(y, variances)
    if tau2 == 0.0 and not variances.all():
        return None
    w = 1.0 / (variances + tau2)
    mean = float(np.average(y, weights=w))
    q = max(1.0, float((w * (y - mean) ** 2).sum()) / (k - 1))
    se = math.sqrt(q / float(w.sum()))
    half = float(special.stdtrit(k - 1, 0.5 + level / 2)) * se
    predicted = None
    if k > 2:
        reach = float(special.stdtrit(k - 2, 0.5 + level / 2)) * math.sqrt(tau2 + se**2)
        predicted = Interval(mean, mean - reach, mean + reach, level)
    return PooledEffect(Interval(mean, mean - half, mean + half, level), se, math.sqrt(tau2), predicted, k)


def _between(y: Vector, variances: Vector) -> float:
    r"""DerSimonian and Laird's :math:`\tau^2`.

    As the error of one study goes to zero, the fixed mean goes to its estimate and the denominator to twice the sum of
    the other weights; of two such studies the denominator has no bound.
    """
    exact = variances == 0
    if exact.sum() > 1:
        return 0.0
    weights = 1.0 / variances[~exact]
    total = float(weights.sum())
    mean = float(y[exact][0]) if exact.any() else float(np.average(y, weights=weights))
    heterogeneity = float((weights * (y[~exact] - mean) ** 2).sum())
    denominator = 2 * total if exact.any() else total - float((weights**2).sum()) / total
    return max(0.0, (heterogeneity - (len(y) - 1)) / denominator)


def pooled_gain(gains: Sequence[LogGain], level: float = 0.95) -> PooledEffect | None:
    r"""Random-effects mean of relative gains, pooled as :math:`\log(1 + \rho)` and turned back.

    Args:
        gains: one gain per data set; models on one data set share its users and are no independent studies.
        level: coverage.

    Returns:
        Mean, bounds and prediction interval as relative gains; ``se`` and ``tau`` on the log scale. None as
        :func:`random_effects`.
    """
    pooled = random_effects([gain.log_ratio for gain in gains], [gain.se for gain in gains], level)
    if pooled is None:
        return None
    return replace(pooled, effect=_as_gain(pooled.effect), predicted=pooled.predicted and _as_gain(pooled.predicted))


def _as_gain(log: Interval) -> Interval:
    """A relative gain from its logarithm."""
    return Interval(gain_of(log.mean), gain_of(log.lo), gain_of(log.hi), log.level)


@dataclass(frozen=True)
class RankComparison:
    """Methods compared over many data sets by their ranks.

    Args:
        mean_ranks: ``(k,)``, 1 is best.
        friedman_p: p of equal ranks (Friedman 1937).
        critical_difference: difference of mean ranks that Nemenyi's test calls significant.
        pairwise_p: Wilcoxon signed-rank p of every pair, Holm-adjusted, ``(k, k)``, 1 on the diagonal.
    """

    mean_ranks: Vector
    friedman_p: float
    critical_difference: float
    pairwise_p: Matrix


def compare_ranks(scores: Matrix, alpha: float = 0.05) -> RankComparison:
    """Friedman's test, critical difference and pairwise tests over data sets (Demsar 2006).

    Cliques in a diagram come from ``pairwise_p``: mean ranks depend on which other methods are compared.

    Args:
        scores: mean metric of every data set and method, ``(n_datasets, k)``, larger is better.
        alpha: level of the critical difference.

    Raises:
        ValueError: below :data:`MIN_DATASETS` data sets or three methods.
    """
    n, k = scores.shape
    if n < MIN_DATASETS:
        raise Refusal(
            "ranks over {n} data sets decide nothing, {needed} are needed; show a forest plot and pooled_gain",
            n=n,
            needed=MIN_DATASETS,
        )
    if k < 3:
        raise Refusal("Friedman's test compares at least three methods, not {k}", k=k)
    mean_ranks = distributions.rankdata(-scores, axis=1).mean(axis=0)
    pairs = [(i, j) for i in range(k) for j in range(i)]
    raw = [_wilcoxon_p(scores[:, i] - scores[:, j]) for i, j in pairs]
    pairwise = np.ones((k, k))
    for (i, j), p in zip(pairs, holm(raw), strict=True):
        pairwise[i, j] = pairwise[j, i] = p
    friedman = float(distributions.friedmanchisquare(*scores.T).pvalue)
    return RankComparison(mean_ranks, friedman, critical_difference(k, n, alpha), pairwise)


def _wilcoxon_p(d: Vector) -> float:
    return float(distributions.wilcoxon(d, zero_method="zsplit").pvalue) if d.any() else 1.0


def critical_difference(k: int, n: int, alpha: float = 0.05) -> float:
    r"""Nemenyi's critical difference of mean ranks, :math:`q_\alpha \sqrt{k (k+1) / (6n)}` (Demsar 2006).

    Args:
        k: number of methods.
        n: number of data sets.
        alpha: level.

    Raises:
        ValueError: below :data:`MIN_DATASETS` data sets.
    """
    if n < MIN_DATASETS:
        raise Refusal("a critical difference needs at least {needed} data sets, not {n}", needed=MIN_DATASETS, n=n)
    q = float(distributions.studentized_range.ppf(1 - alpha, k, np.inf)) / math.sqrt(2)
    return q * math.sqrt(k * (k + 1) / (6 * n))
