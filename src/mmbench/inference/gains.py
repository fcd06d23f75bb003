"""What a tuned gain is: the logarithm of a ratio with the sources of its error, bounds, and why there may be no word.

How it is computed from trials is in :mod:`mmbench.inference.tuned_gain`, over several folds in
:mod:`mmbench.inference.repetitions`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

import numpy as np

from mmbench.inference.intervals import MIN_USERS, UNCHANGED, Interval, LogGain, Vector
from mmbench.inference.tuning_curves import Band
from mmbench.messages import Message

#: Largest half width of an interval, and largest change by one trial, of the logarithm of the ratio.
WIDEST = math.log(2.0)


class NoWord(StrEnum):
    """Why a tuned gain carries no word; with all but the last it has no bounds either."""

    ONE_FOLD = "one draw of new items (a single fold)"
    MORE_SEARCH = "one side was searched more than the other"
    FEW_TRIALS = "fewer than three trials"
    FEW_SUCCESSES = "fewer than three successful trials in a condition"
    NOTHING_FOUND = "a side finds nothing, so there is no ratio"
    FEW_USERS = "fewer than 30 test users"
    SEED_UNKNOWN = "the seed noise of the default configuration is unknown: fewer than two successful final runs"
    NOTHING_WITHOUT = "a side finds nothing, or nothing is left to draw, when one trial is taken away"
    ONE_TRIAL = "a single trial changes the ratio by more than a factor of two"
    WIDE = "the interval is wider than a factor of two to each side"
    NO_VARIANCE = "a gain without any variance"


#: The same for the reader.
REFUSALS: Mapping[NoWord, Message] = {
    NoWord.ONE_FOLD: Message("one draw of new items (a single fold)"),
    NoWord.MORE_SEARCH: Message("one side was searched more than the other"),
    NoWord.FEW_TRIALS: Message("fewer than three trials"),
    NoWord.FEW_SUCCESSES: Message("fewer than three successful trials in a condition"),
    NoWord.NOTHING_FOUND: Message("a side finds nothing, so there is no ratio"),
    NoWord.FEW_USERS: Message("fewer than 30 test users"),
    NoWord.SEED_UNKNOWN: Message(
        "the seed noise of the default configuration is unknown: fewer than two successful final runs"
    ),
    NoWord.NOTHING_WITHOUT: Message("a side finds nothing, or nothing is left to draw, when one trial is taken away"),
    NoWord.ONE_TRIAL: Message("a single trial changes the ratio by more than a factor of two"),
    NoWord.WIDE: Message("the interval is wider than a factor of two to each side"),
    NoWord.NO_VARIANCE: Message("a gain without any variance"),
}
#: With these there are bounds.
BOUNDED = (None, NoWord.NO_VARIANCE)


def early_trials(trials: int) -> int:
    """Trials after which a gain is looked at too, to see whether it depends on tuning.

    A sixth of all, rounded up, at least two where there are two.
    """
    return min(max(math.ceil(trials / 6), 2), trials)


class TrialTerm(NamedTuple):
    r"""Variance of L by the draw of the trials of one model.

    Attributes:
        model: its name.
        variance: jackknife variance.
        effective_configurations: :math:`k = (\sum w)^2 / \sum w^2` over random slots and sides; NaN where none is
            ever chosen.
    """

    model: str
    variance: float
    effective_configurations: float

    @property
    def df(self) -> float:
        """Degrees of freedom."""
        return max(1.0, self.effective_configurations - 1.0)


class SeedTerm(NamedTuple):
    """Variance of L by the seed of one default configuration; NaN where it is unknown."""

    variance: float
    df: float


class Shares(NamedTuple):
    """Shares of the variance of L, which add up to one; NaN without variance."""

    trials: float
    users: float
    seed: float


@dataclass(frozen=True)
class Estimate:
    """Logarithm of a ratio of tuned metrics with every source of its error, for one number of trials.

    Args:
        log_ratio: L; NaN where a side finds nothing.
        trial_terms: variance by the draw of trials, one term per model.
        users_variance: variance by the draw of users.
        n_users: number of users.
        seed_terms: variance by the seed of default configurations, one term per training.
        largest_change: largest change of L by one deleted trial; NaN where L without it is not defined.
    """

    log_ratio: float
    trial_terms: tuple[TrialTerm, ...]
    users_variance: float
    n_users: int
    seed_terms: tuple[SeedTerm, ...]
    largest_change: float

    @property
    def trials_variance(self) -> float:
        """Variance by the draw of trials."""
        return math.fsum(term.variance for term in self.trial_terms)

    @property
    def seed_variance(self) -> float:
        """Variance by the seed of default configurations."""
        return math.fsum(term.variance for term in self.seed_terms)

    @property
    def shares(self) -> Shares:
        """What the variance comes from."""
        parts = (self.trials_variance, self.users_variance, self.seed_variance)
        total = math.fsum(parts)
        return Shares(*(part / total if total else math.nan for part in parts))

    @property
    def log_gain(self) -> LogGain:
        r"""L with :math:`V = \sum V_i` and :math:`df = V^2 / \sum V_i^2 / df_i`, whatever speaks against its bounds."""
        terms = [(self.users_variance, max(self.n_users - 1.0, 1.0))]
        terms += [(term.variance, term.df) for term in self.trial_terms]
        terms += [(term.variance, term.df) for term in self.seed_terms]
        variance = math.fsum(part for part, _ in terms)
        if variance <= UNCHANGED**2:
            return unvaried(self.log_ratio, terms[0][1])
        # Shares instead of variances: the square of a small variance would vanish.
        spread = math.fsum((part / variance) ** 2 / df for part, df in terms if part != 0.0)
        return LogGain(self.log_ratio, math.sqrt(variance), 1.0 / spread)

    def no_word(self, level: float) -> NoWord | None:
        """What speaks against bounds, or against a word."""
        log = self.log_gain
        reasons = {
            NoWord.NOTHING_FOUND: math.isnan(self.log_ratio),
            NoWord.FEW_USERS: self.n_users < MIN_USERS,
            NoWord.SEED_UNKNOWN: math.isnan(self.seed_variance),
            NoWord.NOTHING_WITHOUT: math.isnan(self.largest_change),
            NoWord.ONE_TRIAL: self.largest_change > WIDEST,
            NoWord.WIDE: log.half_width(level) > WIDEST,
            NoWord.NO_VARIANCE: log.se == 0.0 and log.log_ratio != 0.0,
        }
        return next((reason for reason, holds in reasons.items() if holds), None)


@dataclass(frozen=True)
class Estimated:
    """What a word about a tuned gain rests on; :class:`TunedGain` adds the curves and what is shown beside them.

    Args:
        n: trials per condition that the gain speaks of.
        trials: trials per condition that were run.
        level: coverage of the bounds.
        estimate: L and its errors after ``n`` trials, whether or not they allow bounds.
        early: the same after :func:`early_trials`.
        log_of_all: L after all trials; NaN where it is not defined.
        rounding: how far two L that are equal in exact numbers may lie apart, see :func:`rounding_of`.
        refusal: why there is no word; None where there may be one.
    """

    n: int
    trials: int
    level: float
    estimate: Estimate
    early: Estimate
    log_of_all: float
    rounding: float
    refusal: NoWord | None

    @property
    def log_gain(self) -> LogGain | None:
        """L for intervals and tests; None where there are no bounds."""
        return self.estimate.log_gain if self.refusal in BOUNDED else None

    @property
    def depends_on_tuning(self) -> bool:
        """Whether more trials, or fewer, say something else."""
        if self.refusal is not None:
            return False
        early = self.early.log_gain if self.early.no_word(self.level) in BOUNDED else None
        after_all = self.log_of_all - self.estimate.log_ratio
        return depends(self.estimate.log_gain, early, after_all, self.level, self.rounding)


@dataclass(frozen=True)
class TunedSide:
    """One side of a tuned gain.

    Args:
        cells: its cells in the order that decides between equal scores.
        weights: chance of each slot to be the chosen one, ``(n_trials,)`` per cell; all add up to one.
        tuned: expected test metric of the chosen trial.
        validation: its expected validation score.
    """

    cells: tuple[str, ...]
    weights: tuple[Vector, ...]
    tuned: float
    validation: float

    @property
    def optimism(self) -> float:
        """How much of the expected validation score is not found again on test."""
        return self.validation - self.tuned


class TopTrial(NamedTuple):
    """The random trial that is chosen most often.

    Attributes:
        model: its model.
        slot: its slot.
        weight_a: its chance to be chosen on side A.
        weight_b: the same on side B.
        gain_without: the gain with this slot deleted on both sides.
    """

    model: str
    slot: int
    weight_a: float
    weight_b: float
    gain_without: float


class SideCurves(NamedTuple):
    """Expected validation score and expected test metric of a side, entry k after k + 1 trials.

    Bands of the validation score know the draw of the trials, those of the test metric also users and seed.
    """

    validation: Band
    test: Band


@dataclass(frozen=True, kw_only=True)
class Gain(ABC):
    """Relative gain of side A over side B after tuning: what a word is said about.

    Args:
        n: trials per condition that the gain speaks of.
        trials: trials per condition that were run.
        level: coverage of the bounds.
        log_gain: logarithm of the ratio for intervals and tests; None where there are no bounds.
        refusal: why there is no word; None where there may be one.
        curve: the gain after 1 to T trials.
        depends_on_tuning: the gain after all trials lies outside the interval, or the interval after
            :func:`early_trials` lies on the other side of zero; never where there is no word.
    """

    n: int
    trials: int
    level: float
    log_gain: LogGain | None
    refusal: NoWord | None
    curve: Band
    depends_on_tuning: bool

    @property
    @abstractmethod
    def log_ratio(self) -> float:
        """Logarithm of the ratio; NaN where it is not defined."""

    @property
    @abstractmethod
    def variances(self) -> Mapping[str, float]:
        """What the variance of that logarithm is made of, by source."""

    @property
    def gain(self) -> float:
        """The gain; NaN where it is not defined."""
        return math.expm1(self.log_ratio)

    @property
    def interval(self) -> Interval | None:
        """The gain with its bounds; None where there are none."""
        return None if self.log_gain is None else self.log_gain.at(self.level)

    @property
    def gain_at_defaults(self) -> float:
        """The gain with the default configurations alone; NaN where it is not defined."""
        return float(self.curve.mean[0])


@dataclass(frozen=True, kw_only=True)
class TunedGain(Gain):
    """Relative gain of side A over side B, both tuned with ``n`` trials on the same data; bounds up to T / 2 trials.

    Args:
        a: side A.
        b: side B.
        estimate: L and its errors, whether or not they allow bounds.
        early: the same after :func:`early_trials`.
        rounding: how far two L that are equal in exact numbers may lie apart, see :func:`rounding_of`.
        top_trial: the random trial with the largest weights; None where the default is always chosen.
        a_beats_b: probability, over draws of n trials that both sides share, that the trial chosen on A has the higher
            test metric; equal ones count half (Bouthillier et al. 2021).
        a_curves: curves of side A.
        b_curves: curves of side B.
    """

    a: TunedSide
    b: TunedSide
    estimate: Estimate
    early: Estimate
    rounding: float
    top_trial: TopTrial | None
    a_beats_b: float
    a_curves: SideCurves
    b_curves: SideCurves

    @property
    def log_ratio(self) -> float:
        """Logarithm of the ratio; NaN where it is not defined."""
        return self.estimate.log_ratio

    @property
    def variances(self) -> Mapping[str, float]:
        """Variance of that logarithm by the draw of trials, by the users and by the seed of default configurations."""
        estimate = self.estimate
        return {
            "trials": estimate.trials_variance,
            "users": estimate.users_variance,
            "seed": estimate.seed_variance,
        }


def depends(log_gain: LogGain, early: LogGain | None, after_all: float, level: float, rounding: float) -> bool:
    """Whether more trials, or fewer, say something else.

    Args:
        log_gain: L after n trials.
        early: the same after :func:`early_trials`; None where it has no bounds.
        after_all: how much larger L is after all trials.
        level: coverage of the bounds.
        rounding: how far two L that are equal in exact numbers may lie apart.
    """
    if not abs(after_all) <= log_gain.half_width(level) + rounding:  # also where it is not defined
        return True
    if early is None:
        return False
    bounds = early.at(level)
    return (bounds.lo > 0 and log_gain.log_ratio < -rounding) or (bounds.hi < 0 and log_gain.log_ratio > rounding)


def unvaried(log_ratio: float, df: float) -> LogGain:
    """L without variance, which is exactly zero where it is no more than rounding: sums of equal numbers differ."""
    return LogGain(0.0 if abs(log_ratio) <= UNCHANGED else log_ratio, 0.0, df)


def rounding_of(slots: int, log_metric: float) -> float:
    r"""How far two L that are equal in exact numbers may lie apart, all that may be chosen having the same metric.

    With unit roundoff :math:`u = \epsilon / 2`, a sum of k numbers that are not negative has a relative error of at
    most :math:`k u` (Higham 2002, section 4.2). :math:`\Pi = \sum_j w_j t_j` takes three such sums over the S slots of
    both sides - the mean of a level, the weights that are divided by their sum, the sum itself - and three operations:
    :math:`3 (S + 1) u`, four times in two L. Their logarithms and differences add :math:`7 \epsilon |\log \Pi|`.

    Args:
        slots: slots of both sides, S.
        log_metric: larger absolute logarithm of the metric of a side.
    """
    return float(np.finfo(np.float64).eps) * (6 * (slots + 1) + 7 * log_metric)
