r"""One gain from repetitions of the same comparison: several random splits of a data set, several folds of its items.

See ``docs/protocol.md``, Tuned gain.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from statistics import fmean

import numpy as np
from scipy import special

from mmbench.inference.gains import BOUNDED, WIDEST, Estimate, Gain, NoWord, TunedGain, depends, unvaried
from mmbench.inference.intervals import UNCHANGED, CrossedInterval, Interval, LogGain, Vector
from mmbench.inference.looks import level_after
from mmbench.inference.tuning_curves import Band

#: Reasons against bounds that say nothing against a fold: its ratio is all that counts.
NOT_OF_FOLDS = (
    NoWord.FEW_USERS,
    NoWord.SEED_UNKNOWN,
    NoWord.NOTHING_WITHOUT,
    NoWord.ONE_TRIAL,
    NoWord.WIDE,
)


class Repeated(StrEnum):
    """What differs between repetitions; the value is its name in print."""

    SPLIT = "split seed"
    FOLD = "cold fold"


def over_splits(gains: Sequence[LogGain]) -> LogGain:
    r"""One gain from those of several splits of one data set.

    Mean of the :math:`L_r`, variance :math:`\bar V + s^2 / R` with s their standard deviation, the least degrees of
    freedom: splits of the same users are no independent samples of users.

    Raises:
        ValueError: for fewer than two splits.
    """
    if len(gains) < 2:
        raise ValueError(f"gains of at least two splits are needed, not {len(gains)}")
    logs = np.array([gain.log_ratio for gain in gains])
    variance = float(np.mean([gain.se**2 for gain in gains]) + logs.var(ddof=1) / len(gains))
    return LogGain(float(logs.mean()), math.sqrt(variance), min(gain.df for gain in gains))


def over_folds(log_ratios: Sequence[float] | Vector) -> LogGain:
    r"""One gain from folds of items, each with trials of its own: mean of L, :math:`sd/\sqrt K`, K - 1 degrees.

    Users have no term: they are the same in all folds, and the folds are what is sampled.

    Args:
        log_ratios: L of each fold, ``(n_folds,)``.

    Raises:
        ValueError: for fewer than two folds, or one without a ratio.
    """
    return LogGain(*_over_folds(log_ratios))


def mean_over_folds(values: Sequence[float] | Vector, level: float = 0.95) -> Interval:
    r"""Mean over folds of items of anything that is measured in each, :math:`\pm t_{K-1} sd / \sqrt K`.

    Args:
        values: one of each fold, ``(n_folds,)``.
        level: coverage.

    Raises:
        ValueError: for fewer than two folds, or one without a value.
    """
    mean, se, df = _over_folds(values)
    half = float(special.stdtrit(df, (1 + level) / 2)) * se
    return Interval(mean, mean - half, mean + half, level)


def _over_folds(values: Sequence[float] | Vector) -> tuple[float, float, float]:
    """Mean over folds, its standard error and degrees of freedom."""
    found = np.asarray(values, np.float64)
    if len(found) < 2 or not np.isfinite(found).all():
        raise ValueError(f"finite values of at least two folds are needed, not {found.tolist()}")
    return float(found.mean()), float(found.std(ddof=1)) / math.sqrt(len(found)), len(found) - 1.0


def over_repetitions(kind: Repeated, gains: Sequence[CrossedInterval]) -> CrossedInterval:
    """The gain of chosen configurations over all repetitions, joined as :func:`over_splits` or :func:`over_folds` do.

    Args:
        kind: what differs between the repetitions.
        gains: the gain in each; its standard error counts to first order.

    Raises:
        ValueError: for fewer than two repetitions.
    """
    logs = [LogGain(math.log1p(gain.mean), gain.se / (1 + gain.mean), gain.df) for gain in gains]
    joined = over_folds([log.log_ratio for log in logs]) if kind is Repeated.FOLD else over_splits(logs)
    interval, seeds = joined.at(0.95), min(gain.seeds for gain in gains)
    return CrossedInterval(
        interval.mean,
        interval.lo,
        interval.hi,
        0.95,
        se=(1 + joined.gain) * joined.se,
        df=joined.df,
        p=joined.p,
        seeds=seeds,
    )


@dataclass(frozen=True, kw_only=True)
class RepeatedGain(Gain):
    """The gain over all repetitions of a comparison; its curve is that of the mean logarithm and has no bounds.

    Args:
        kind: what differs between them.
        parts: the gain of each.
    """

    kind: Repeated
    parts: tuple[TunedGain, ...]

    @property
    def log_ratio(self) -> float:
        """Mean logarithm of the ratio; NaN where one is not defined."""
        return float(np.mean([part.log_ratio for part in self.parts]))

    @property
    def between(self) -> float:
        """Variance of the mean by what differs between the repetitions; NaN for a single one."""
        logs = np.array([part.log_ratio for part in self.parts])
        return float(logs.var(ddof=1)) / len(logs) if len(logs) > 1 else math.nan

    @property
    def variances(self) -> Mapping[str, float]:
        """What the variance of the mean is made of, by source; folds have no other source than themselves."""
        if self.kind is Repeated.FOLD:
            return {"folds": self.between}
        sources = {name: fmean(part.variances[name] for part in self.parts) for name in self.parts[0].variances}
        return {**sources, "splits": self.between}


def repeated_gain(kind: Repeated, parts: Sequence[TunedGain], further: int = 0) -> RepeatedGain:
    """The gain over all repetitions of a comparison.

    Splits need bounds in each of them, folds only a ratio; a single fold has no bounds.

    Args:
        kind: what differs between them.
        parts: the gain of each; the strictest of their levels counts.
        further: looks at them together beyond those at each.

    Raises:
        ValueError: for no repetition, a single split, or repetitions that differ in their numbers of trials.
    """
    efforts = {(part.n, part.trials) for part in parts}
    if len(efforts) != 1:
        counts = ", ".join(str(trials) for _, trials in sorted(efforts))
        raise ValueError(f"repetitions with different numbers of trials ({counts}) have no gain in common")
    (n, trials), level = efforts.pop(), level_after(max(part.level for part in parts), further)
    log_gain, refusal = _judged(kind, parts, level)
    logs = np.mean([np.log1p(part.curve.mean) for part in parts], axis=0)
    unbounded = np.full(trials, np.nan)
    found = RepeatedGain(
        n=n,
        trials=trials,
        level=level,
        log_gain=log_gain,
        refusal=refusal,
        curve=Band(np.expm1(logs), unbounded, unbounded),
        depends_on_tuning=False,
        kind=kind,
        parts=tuple(parts),
    )
    if log_gain is None or refusal is not None:
        return found
    after_all, rounding = float(logs[-1]) - found.log_ratio, max(part.rounding for part in parts)
    return replace(found, depends_on_tuning=depends(log_gain, _early(kind, parts, level), after_all, level, rounding))


def _judged(kind: Repeated, parts: Sequence[TunedGain], level: float) -> tuple[LogGain | None, NoWord | None]:
    """The gain over all repetitions with its law, and what speaks against bounds or a word."""
    # The law over folds takes no more than the ratio of each of them.
    enough = (*BOUNDED, *NOT_OF_FOLDS) if kind is Repeated.FOLD else BOUNDED
    refusal = next((part.refusal for part in parts if part.refusal not in enough), None)
    if kind is Repeated.FOLD and refusal is None:
        refusal = NoWord.ONE_FOLD if len(parts) < 2 else None
    if refusal is not None:
        return None, refusal
    log_gain = _over(kind, [part.estimate for part in parts])
    if log_gain.half_width(level) > WIDEST:
        return None, NoWord.WIDE
    return log_gain, NoWord.NO_VARIANCE if log_gain.se == 0.0 and log_gain.log_ratio != 0.0 else None


def _early(kind: Repeated, parts: Sequence[TunedGain], level: float) -> LogGain | None:
    """The same after the early trials; None where it has no bounds."""
    early = [part.early for part in parts]
    if kind is Repeated.FOLD:
        return _over(kind, early) if all(math.isfinite(e.log_ratio) for e in early) else None
    return _over(kind, early) if all(e.no_word(level) in BOUNDED for e in early) else None


def _over(kind: Repeated, estimates: Sequence[Estimate]) -> LogGain:
    if kind is Repeated.FOLD:
        found = over_folds([estimate.log_ratio for estimate in estimates])
    else:
        found = over_splits([estimate.log_gain for estimate in estimates])
    return found if found.se > UNCHANGED else unvaried(found.log_ratio, found.df)
