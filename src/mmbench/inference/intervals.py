"""Intervals for paired comparisons over users and seeds, equivalence and multiplicity; see ``docs/protocol.md``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special
from scipy import stats as distributions

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]
#: A user whose metric differs by no more than this has not changed; sums of equal numbers round differently.
UNCHANGED = 1e-12
#: Of fewer users nothing tells how uncertain a gain is.
MIN_USERS = 30


@dataclass(frozen=True)
class Interval:
    """An estimate with its bounds.

    Args:
        mean: point estimate.
        lo: lower bound.
        hi: upper bound.
        level: coverage of the bounds.
    """

    mean: float
    lo: float
    hi: float
    level: float = 0.95

    def contains(self, value: float) -> bool:
        """Whether a value lies in the interval, its ends included."""
        return self.lo <= value <= self.hi


@dataclass(frozen=True, kw_only=True)
class CrossedInterval(Interval):
    """The interval of a mean over users and seeds, by Student's t.

    Args:
        se: standard error.
        df: Satterthwaite's degrees of freedom.
        p: two-sided p of a mean of zero.
        seeds: seeds it rests on; with one seed training noise is not measured.
    """

    se: float
    df: float
    p: float
    seeds: int

    @property
    def bounded(self) -> bool:
        """Whether anything tells how uncertain it is; see :func:`bounded_interval`."""
        return math.isfinite(self.se)

    def at(self, level: float) -> Interval:
        """The interval at another level."""
        half = float(special.stdtrit(self.df, 0.5 + level / 2)) * self.se if self.bounded else math.inf
        return Interval(self.mean, self.mean - half, self.mean + half, level)


@dataclass(frozen=True)
class LogGain:
    r"""An estimate L of :math:`\log(1 + \rho)`, :math:`\rho` a relative gain, with Student's t for its error.

    Methods speak of the gain itself. Without variance the interval is a point, and only a gain of exactly zero has a p.

    Args:
        log_ratio: L.
        se: its standard error.
        df: degrees of freedom.
    """

    log_ratio: float
    se: float
    df: float

    @property
    def gain(self) -> float:
        r"""Relative gain :math:`\rho = e^L - 1`."""
        return gain_of(self.log_ratio)

    def at(self, level: float) -> Interval:
        r"""The gain with bounds :math:`\exp(L \pm t_{df} \, se) - 1`."""
        half = self.half_width(level)
        return Interval(self.gain, gain_of(self.log_ratio - half), gain_of(self.log_ratio + half), level)

    def half_width(self, level: float) -> float:
        """Half the width of the interval of L."""
        return 0.0 if self.se == 0.0 else float(special.stdtrit(self.df, 0.5 + level / 2)) * self.se

    @property
    def p(self) -> float:
        """Two-sided p of no gain; NaN where a gain other than zero comes without variance."""
        if self.se == 0.0:
            return 1.0 if self.log_ratio == 0.0 else math.nan
        return 2.0 * float(special.stdtr(self.df, -abs(self.log_ratio) / self.se))

    def tost(self, margin: float) -> Tost:
        r"""Two one-sided t tests against :math:`\log(1 - \delta)` and :math:`\log(1 + \delta)` (Schuirmann 1987).

        Args:
            margin: :math:`\delta`, a relative gain, fixed before the data were seen; from 1 on no loss reaches it.

        Raises:
            ValueError: for a margin that is not positive.
        """
        _checked_margin(margin)
        lower = math.log1p(-margin) if margin < 1 else -math.inf
        noninferior = _one_sided_p(self.log_ratio - lower, self)
        return Tost(max(noninferior, _one_sided_p(math.log1p(margin) - self.log_ratio, self)), noninferior)

    def mde(self, alpha: float = 0.05, power: float = 0.8) -> float:
        r"""Minimal detectable gain, :math:`\exp((t_{df,1-\alpha/2} + t_{df,power}) \, se) - 1` (Bloom 1995)."""
        if self.se == 0.0:
            return 0.0
        return gain_of(float(special.stdtrit(self.df, [1 - alpha / 2, power]).sum()) * self.se)

    def draws(self, rng: np.random.Generator, size: int) -> Vector:
        r"""Gains drawn from :math:`\exp(L + se \, t_{df}) - 1`, ``(size,)``; this law has no finite mean."""
        if self.se == 0.0:
            return np.full(size, self.gain)
        with np.errstate(over="ignore"):
            gains: Vector = np.expm1(self.log_ratio + self.se * rng.standard_t(self.df, size))
        return gains


def gain_of(log_ratio: float) -> float:
    """A relative gain from its logarithm, infinite where it is too large for a number."""
    with np.errstate(over="ignore"):
        return float(np.expm1(log_ratio))


@dataclass(frozen=True)
class MeanSquares:
    """Mean squares of a users x seeds table: users, seeds, residual (the last two are 0 with one seed)."""

    users: float
    seeds: float
    residual: float
    n: int
    s: int

    def components(self) -> dict[str, float]:
        """Variance components of users, seeds and their interaction (Searle et al. 1992)."""
        return {
            "var_user": (self.users - self.residual) / self.s,
            "var_seed": max((self.seeds - self.residual) / self.n, 0.0),
            "var_interaction": self.residual,
        }


def mean_squares(d: Matrix) -> MeanSquares:
    """Two-way mean squares of ``d`` ``(n_users, n_seeds)``; of one user that of users is infinite."""
    n, s = d.shape
    if n < 2:
        return MeanSquares(math.inf, 0.0, 0.0, n, s)
    grand, by_user, by_seed = d.mean(), d.mean(axis=1), d.mean(axis=0)
    users = s * float(((by_user - grand) ** 2).sum()) / (n - 1)
    if s == 1:
        return MeanSquares(users, 0.0, 0.0, n, s)
    seeds = n * float(((by_seed - grand) ** 2).sum()) / (s - 1)
    residual = d - by_user[:, None] - by_seed + grand
    return MeanSquares(users, seeds, float((residual**2).sum()) / ((n - 1) * (s - 1)), n, s)


def crossed_interval(d: Matrix, level: float = 0.95) -> CrossedInterval:
    r"""Interval for the mean of a crossed users x seeds table (two-way random effects; Satterthwaite 1946).

    :math:`d = \delta + a_u + b_s + e_{us}`,
    :math:`Var = \max\{(MS_u + MS_s - MS_e) / nS,\; MS_u / nS\}`, Satterthwaite's degrees of freedom, Student's t.
    One user tells no variance: the bounds are infinite.

    Args:
        d: paired differences, ``(n_users, n_seeds)``.
        level: coverage.
    """
    ms = mean_squares(d)
    if ms.n < 2:
        mean = float(d.mean())
        return CrossedInterval(mean, -math.inf, math.inf, level, se=math.inf, df=math.nan, p=math.nan, seeds=ms.s)
    cells = ms.n * ms.s
    variance = max((ms.users + ms.seeds - ms.residual) / cells, ms.users / cells)
    spread = ms.users**2 / (ms.n - 1)
    if ms.s > 1:
        spread += ms.seeds**2 / (ms.s - 1) + ms.residual**2 / ((ms.n - 1) * (ms.s - 1))
    se, mean = float(np.sqrt(variance)), float(d.mean())
    if se == 0.0:
        p, df = 1.0 if mean == 0.0 else 0.0, float(ms.n - 1)
        return CrossedInterval(mean, mean, mean, level, se=0.0, df=df, p=p, seeds=ms.s)
    df = (cells * variance) ** 2 / spread
    half = float(distributions.t.ppf(0.5 + level / 2, df)) * se
    p = 2.0 * float(distributions.t.sf(abs(mean) / se, df))
    return CrossedInterval(mean, mean - half, mean + half, level, se=se, df=df, p=p, seeds=ms.s)


def relative_gain(a: Matrix, b: Matrix, level: float = 0.95) -> CrossedInterval:
    r"""Relative gain :math:`\rho = \bar m_A / \bar m_B - 1` with its crossed interval (delta method; docs/protocol.md).

    Args:
        a: metric of every user and seed under A, ``(n_users, n_seeds)``.
        b: the same under B, users and seeds paired.
        level: coverage.

    Raises:
        ValueError: if the tables differ in shape or B's mean is zero.
    """
    d, ratio = scaled_differences(a, b)
    noise = crossed_interval(d, level)  # has mean zero by construction
    gain = ratio - 1.0
    certain = 1.0 if gain == 0.0 else 0.0
    p = certain if noise.se == 0.0 else 2.0 * float(distributions.t.sf(abs(gain) / noise.se, noise.df))
    return replace(noise, mean=gain, lo=gain + noise.lo - noise.mean, hi=gain + noise.hi - noise.mean, p=p)


def bounded_gain(a: Matrix, b: Matrix, level: float = 0.95, *, same: bool = False) -> CrossedInterval:
    """The relative gain, with infinite bounds where no user tells how uncertain it is.

    Where a side finds nothing or both find the same, the differences of all users are zero whatever the sample, and an
    interval of no width would look like proof. The same holds below :data:`MIN_USERS` users.

    Args:
        a: as for :func:`relative_gain`, whose errors it has.
        b: the same.
        level: coverage.
        same: whether both sides are known to be the same, by more than these tables: then zero is exact.
    """
    gain = relative_gain(a, b, level)
    return gain if same else bounded_interval(gain, len(a))


def bounded_interval(interval: CrossedInterval, n_users: int) -> CrossedInterval:
    """An interval over users, with infinite bounds where no user tells how uncertain it is; see :func:`bounded_gain`.

    Args:
        interval: the interval.
        n_users: users that it rests on.
    """
    if n_users >= MIN_USERS and interval.se > UNCHANGED:
        return interval
    return replace(interval, lo=-math.inf, hi=math.inf, se=math.inf, p=math.nan)


def scaled_differences(a: Matrix, b: Matrix) -> tuple[Matrix, float]:
    r"""Differences :math:`(m_A - r\, m_B) / \bar m_B` that carry the noise of the ratio r of the means, and r.

    Their mean squares give the variance components of the relative gain (delta method).

    Args:
        a: metric of every user and seed under A, ``(n_users, n_seeds)``.
        b: the same under B, users and seeds paired.

    Raises:
        ValueError: if the tables differ in shape or B's mean is zero.
    """
    if a.shape != b.shape:
        raise ValueError(f"tables {a.shape} and {b.shape} are not paired")
    base = float(b.mean())
    if base == 0.0:
        raise ValueError("the relative gain over a mean of zero is not defined")
    ratio = float(a.mean()) / base
    return (a - ratio * b) / base, ratio


class Tost(NamedTuple):
    """P-values of two one-sided tests: that the effect is inside the margins, and that it is not below the lower."""

    equivalence_p: float
    noninferiority_p: float


def _checked_margin(margin: float) -> None:
    if not margin > 0:
        raise ValueError(f"an equivalence margin must be positive, not {margin}")


def _one_sided_p(distance: float, gain: LogGain) -> float:
    if gain.se == 0.0:
        return 0.0 if distance > 0 else 1.0
    return float(special.stdtr(gain.df, -distance / gain.se))


def smallest_equivalence_margin(gain: LogGain, level: float = 0.9) -> float:
    """The smallest margin at which the effect counts as equivalent: the larger end of its interval."""
    interval = gain.at(level)
    return max(abs(interval.lo), abs(interval.hi))


def holm(p: Sequence[float] | Vector) -> Vector:
    r"""Holm's step-down adjusted p, :math:`\max_{j \le i} \min(1, (m - j + 1) p_{(j)})`, in the order given ``(m,)``.

    Controls the family-wise error rate (Holm 1979).
    """
    p = _checked_p(p)
    order = np.argsort(p, kind="stable")
    steps = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(steps, 1.0)
    return adjusted


def benjamini_hochberg(p: Sequence[float] | Vector) -> Vector:
    r"""Adjusted p of Benjamini and Hochberg (1995), :math:`\min_{j \ge i} \min(1, m p_{(j)} / j)`, as given ``(m,)``.

    Controls the false discovery rate.
    """
    return np.asarray(distributions.false_discovery_control(_checked_p(p)))


def _checked_p(p: Sequence[float] | Vector) -> Vector:
    values = np.asarray(p, np.float64)
    if values.ndim != 1 or not ((values >= 0) & (values <= 1)).all():
        raise ValueError(f"p-values must be a vector of numbers in [0, 1], not {values.tolist()}")
    return values


@dataclass(frozen=True)
class UserEffects:
    """How a difference is spread over users.

    Args:
        improved: share of users whose seed-averaged metric is higher.
        harmed: share of users whose metric is lower.
        d_z: mean over standard deviation of the user differences (Cohen's d for pairs).
    """

    improved: float
    harmed: float
    d_z: float


def user_effects(a: Matrix, b: Matrix) -> UserEffects:
    """Share of users whom A serves better and worse than B, and the standardised difference.

    Args:
        a: metric of every user and seed under A, ``(n_users, n_seeds)``.
        b: the same under B, users and seeds paired.

    Raises:
        ValueError: if the tables differ in shape.
    """
    if a.shape != b.shape:
        raise ValueError(f"tables {a.shape} and {b.shape} are not paired")
    d = (a - b).mean(axis=1)
    mean, spread = float(d.mean()), float(d.std(ddof=1)) if len(d) > 1 else 0.0
    d_z = mean / spread if spread > 0 else math.copysign(math.inf, mean) if mean else 0.0
    return UserEffects(float((d > UNCHANGED).mean()), float((d < -UNCHANGED).mean()), d_z)
