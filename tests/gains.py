"""Tuned gains with a given point, error and curve, for tests of what is made of them."""

from __future__ import annotations

import math

import numpy as np

from mmbench.inference.gains import Estimate, NoWord, SideCurves, TunedGain, TunedSide
from mmbench.inference.intervals import LogGain
from mmbench.inference.tuning_curves import Band

#: Quantile of the normal distribution at which a 95 % interval ends.
Z95 = 1.959963984540054


def tuned(
    gain: float,
    half95: float,
    *,
    trials: int = 30,
    level: float = 0.95,
    after_all: float | None = None,
    depends: bool = False,
    refusal: NoWord | None = None,
) -> TunedGain:
    """A tuned gain with many degrees of freedom.

    Args:
        gain: the gain.
        half95: half the width of the 95 % interval of its logarithm; that of the 90 % interval is .839 of it.
        trials: trials that were run.
        level: coverage of its bounds.
        after_all: the gain after all trials.
        depends: whether it depends on tuning.
        refusal: why it has neither bounds nor a word.
    """
    n, log = math.ceil(trials / 3), math.log1p(gain)
    estimate = Estimate(log, (), (half95 / Z95) ** 2, 10**9, (), 0.0)
    curve = np.full(trials, gain)
    curve[-1] = gain if after_all is None else after_all
    sides = [
        TunedSide((f"m/{name}",), (np.eye(trials)[0],), value, 0.3) for name, value in (("a", 1 + gain), ("b", 1.0))
    ]
    curves = [SideCurves(*(Band(np.full(trials, side.tuned), *2 * (np.full(trials, np.nan),)),) * 2) for side in sides]
    return TunedGain(
        n=n,
        trials=trials,
        level=level,
        a=sides[0],
        b=sides[1],
        estimate=estimate,
        early=estimate,
        rounding=0.0,
        log_gain=LogGain(log, half95 / Z95, 1e9) if refusal is None else None,
        refusal=refusal,
        top_trial=None,
        a_beats_b=0.5,
        curve=Band(curve, np.full(trials, np.nan), np.full(trials, np.nan)),
        a_curves=curves[0],
        b_curves=curves[1],
        depends_on_tuning=depends,
    )
