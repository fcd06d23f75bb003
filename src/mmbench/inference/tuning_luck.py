"""A gain after tuning, and how far the luck of tuning moves it: trials, then users are drawn again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mmbench.inference.intervals import Interval
from mmbench.inference.tuning_curves import Matrix, Slots, Vector, chance_of_choice, resampled_slots, tails

#: Numbers held at once by the bootstrap over users.
BLOCK_NUMBERS = 1 << 22


@dataclass(frozen=True)
class Trials:
    """The trials of one condition.

    Args:
        validation: validation score of each slot, ``(n_trials,)``.
        test: test metric of each slot and user, ``(n_trials, n_users)``; NaN of a failed trial counts as zero.
    """

    validation: Vector
    test: Matrix


def tuned_gain(
    a: Trials,
    b: Trials,
    n: int | None = None,
    *,
    default_first: bool = False,
    level: float = 0.9,
    replicas: int = 1000,
    seed: int = 0,
) -> Interval:
    r"""Relative gain of A over B after tuning with ``n`` trials, and how far the luck of tuning moves it.

    :math:`\overline{ETP}_A(n) / \overline{ETP}_B(n) - 1`. Percentile bootstrap: trials are resampled jointly for both
    conditions, then users.

    Args:
        a: trials of A.
        b: trials of B, slots and users as A's.
        n: number of trials; None is all of them.
        default_first: slot 0 is always tried.
        level: coverage.
        replicas: bootstrap samples.
        seed: seed of the bootstrap.

    Raises:
        ValueError: if the trials or users differ, or B scores nothing.
    """
    numbers = [n or len(a.validation)]
    (point,), drawn = _gains(a, b, numbers, default_first, replicas, seed)
    lo, hi = np.quantile(drawn[:, 0], tails(level))
    return Interval(float(point), float(lo), float(hi), level)


def _gains(
    a: Trials, b: Trials, numbers: Sequence[int], default_first: bool, replicas: int, seed: int
) -> tuple[Vector, Matrix]:
    """Gain for each number of trials, ``(len(numbers),)``, and bootstrap samples of it ``(replicas, len(numbers))``."""
    if a.test.shape != b.test.shape or len(a.validation) != len(b.validation):
        raise ValueError(f"trials {a.test.shape} and {b.test.shape} are not paired")
    trials, users = a.test.shape
    if trials != len(a.validation):
        raise ValueError(f"{len(a.validation)} validation scores and {trials} test scores are not of the same trials")
    rng = np.random.default_rng(seed)
    slots = resampled_slots(trials, replicas, rng, default_first=default_first)
    everyone = np.full((1, users), 1.0 / users)
    identity = np.arange(trials)[None]
    sides = [(side.validation, np.nan_to_num(side.test)) for side in (a, b)]
    tested = [_tuned(*side, identity, everyone, numbers, default_first) for side in sides]
    if (tested[1] == 0).any():
        raise ValueError("the relative gain over a mean of zero is not defined")
    drawn = []
    step = max(1, BLOCK_NUMBERS // users)
    for begin in range(0, replicas, step):
        block = slots[begin : begin + step]
        share = np.stack([np.bincount(rng.integers(0, users, users), minlength=users) for _ in block]) / users
        top, base = (_tuned(*side, block, share, numbers, default_first) for side in sides)
        with np.errstate(divide="ignore", invalid="ignore"):  # a sample in which B scores nothing: infinite gain
            drawn.append(np.where(base > 0, top / base - 1.0, np.inf))
    return (tested[0] / tested[1] - 1.0)[0], np.concatenate(drawn)


def _tuned(
    validation: Vector, test: Matrix, slots: Slots, share: Matrix, numbers: Sequence[int], default_first: bool
) -> Matrix:
    """Mean test score after tuning in each sample: slots and user shares ``(B, ...)`` to ``(B, len(numbers))``."""
    scores = np.take_along_axis(share @ test.T, slots, axis=1)
    drawn = validation[slots]
    columns = [(chance_of_choice(drawn, n, default_first=default_first) * scores).sum(axis=1) for n in numbers]
    return np.stack(columns, axis=1)
