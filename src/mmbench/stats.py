"""Intervals for paired comparisons over users and seeds (METHOD §3)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats as distributions

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A mean with its uncertainty over users and training randomness.

    Args:
        mean: point estimate.
        lo: lower bound.
        hi: upper bound.
        se: standard error.
        df: Satterthwaite's degrees of freedom.
        p: two-sided p of a mean of zero.
        seeds: seeds it rests on; with one seed training noise is not measured.
    """

    mean: float
    lo: float
    hi: float
    se: float
    df: float
    p: float
    seeds: int


@dataclass(frozen=True)
class MeanSquares:
    """Mean squares of a users x seeds table: users, seeds, residual (the last two are 0 with one seed)."""

    users: float
    seeds: float
    residual: float
    n: int
    s: int

    def components(self) -> dict[str, float]:
        """Variance components of users, seeds and their interaction (RULINGS 27)."""
        return {
            "var_user": (self.users - self.residual) / self.s,
            "var_seed": max((self.seeds - self.residual) / self.n, 0.0),
            "var_interaction": self.residual,
        }


def mean_squares(d: Matrix) -> MeanSquares:
    """Two-way mean squares of ``d`` ``(n_users, n_seeds)``.

    Raises:
        ValueError: for fewer than two users.
    """
    n, s = d.shape
    if n < 2:
        raise ValueError(f"an interval needs at least two users, not {n}")
    grand, by_user, by_seed = d.mean(), d.mean(axis=1), d.mean(axis=0)
    users = s * float(((by_user - grand) ** 2).sum()) / (n - 1)
    if s == 1:
        return MeanSquares(users, 0.0, 0.0, n, s)
    seeds = n * float(((by_seed - grand) ** 2).sum()) / (s - 1)
    residual = d - by_user[:, None] - by_seed + grand
    return MeanSquares(users, seeds, float((residual**2).sum()) / ((n - 1) * (s - 1)), n, s)


def crossed_interval(d: Matrix, level: float = 0.95) -> Interval:
    r"""Interval for the mean of a crossed users x seeds table (METHOD §3.1).

    :math:`d = \delta + a_u + b_s + e_{us}`,
    :math:`Var = \max\{(MS_u + MS_s - MS_e) / nS,\; MS_u / nS\}`, Satterthwaite's degrees of freedom, Student's t.

    Args:
        d: paired differences, ``(n_users, n_seeds)``.
        level: coverage.
    """
    ms = mean_squares(d)
    cells = ms.n * ms.s
    variance = max((ms.users + ms.seeds - ms.residual) / cells, ms.users / cells)
    spread = ms.users**2 / (ms.n - 1)
    if ms.s > 1:
        spread += ms.seeds**2 / (ms.s - 1) + ms.residual**2 / ((ms.n - 1) * (ms.s - 1))
    se, mean = float(np.sqrt(variance)), float(d.mean())
    if se == 0.0:
        return Interval(mean, mean, mean, 0.0, float(ms.n - 1), 1.0 if mean == 0.0 else 0.0, ms.s)
    df = (cells * variance) ** 2 / spread
    half = float(distributions.t.ppf(0.5 + level / 2, df)) * se
    p = 2.0 * float(distributions.t.sf(abs(mean) / se, df))
    return Interval(mean, mean - half, mean + half, se, df, p, ms.s)


def relative_gain(a: Matrix, b: Matrix, level: float = 0.95) -> Interval:
    r"""Relative gain :math:`\rho = \bar m_A / \bar m_B - 1` with its crossed interval (METHOD §3.1, delta method).

    Args:
        a: metric of every user and seed under A, ``(n_users, n_seeds)``.
        b: the same under B, users and seeds paired.
        level: coverage.

    Raises:
        ValueError: if the tables differ in shape or B's mean is zero.
    """
    if a.shape != b.shape:
        raise ValueError(f"tables {a.shape} and {b.shape} are not paired")
    base = float(b.mean())
    if base == 0.0:
        raise ValueError("the relative gain over a mean of zero is not defined")
    ratio = float(a.mean()) / base
    noise = crossed_interval((a - ratio * b) / base, level)  # has mean zero by construction
    gain = ratio - 1.0
    certain = 1.0 if gain == 0.0 else 0.0
    p = certain if noise.se == 0.0 else 2.0 * float(distributions.t.sf(abs(gain) / noise.se, noise.df))
    return Interval(
        gain, gain + noise.lo - noise.mean, gain + noise.hi - noise.mean, noise.se, noise.df, p, noise.seeds
    )
