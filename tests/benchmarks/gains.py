"""Time and peak memory of tuned gains: ``python -m tests.benchmarks.gains``, half a minute.

Models with five conditions each, four of which are compared with the first; one model's trials are in memory at a
time, as in a report. Then one free disposal over ten models. Seconds are processor seconds of one thread; the time it
takes to make the trials is left out. Peak memory is the largest resident size of the process, libraries and trials
included.
"""

from __future__ import annotations

import os
import resource
import time
from dataclasses import dataclass

import numpy as np

from mmbench.inference.best_of_n import SeedNoise, TunedCell, Tuning
from mmbench.inference.gains import TunedGain
from mmbench.inference.tuned_gain import free_disposal, tuned_gain

CONTRASTS, USERS, TRIALS = 200, 20_000, 30
CONDITIONS = 5


@dataclass(frozen=True)
class Measured:
    """What was measured.

    Args:
        seconds: processor seconds of all contrasts.
        peak_mb: largest resident size of the process after them.
        gains: their results, which a report keeps.
    """

    seconds: float
    peak_mb: float
    gains: list[TunedGain]


def conditions(seed: int, n_users: int, trials: int) -> list[Tuning]:
    """Trials of the conditions of one model, alike but for noise."""
    rng = np.random.default_rng(seed)
    users, slots = np.arange(n_users), [f"{seed} {slot}" for slot in range(trials)]
    easy, good = rng.gamma(1.0, 0.1, n_users), 1 + 0.1 * rng.standard_normal((trials, 1))
    found = []
    for _ in range(CONDITIONS):
        test = easy * good * (1 + 0.3 * rng.standard_normal((trials, n_users)))
        validation = test.mean(axis=1) * (1 + 0.01 * rng.standard_normal(trials))
        found.append(Tuning(validation, test, users, slots, SeedNoise(0.01, 4.0)))
    return found


def measured(contrasts: int = CONTRASTS, n_users: int = USERS, trials: int = TRIALS) -> Measured:
    """Contrasts of as many models as are needed."""
    gains: list[TunedGain] = []
    seconds, seed = 0.0, 0
    while len(gains) < contrasts:
        base, *others = conditions(seed, n_users, trials)
        began = time.process_time()
        gains += [tuned_gain(other, base) for other in others]
        seconds, seed = seconds + time.process_time() - began, seed + 1
    return Measured(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, gains)


def seconds_of_free_disposal(models: int = 10, n_users: int = USERS, trials: int = TRIALS) -> float:
    """Processor seconds of one free disposal with two cells per side and model."""
    sides: tuple[list[TunedCell], list[TunedCell]] = ([], [])
    for model in range(models):
        for at, one in enumerate(conditions(model, n_users, trials)[:4]):
            sides[at // 2].append(TunedCell(f"model {model}", f"condition {at}", 1, one, f"{model} {at}"))
    began = time.process_time()
    free_disposal(*sides)
    return time.process_time() - began


if __name__ == "__main__":
    if os.environ.get("OPENBLAS_NUM_THREADS") != "1":
        raise SystemExit("set OPENBLAS_NUM_THREADS=1, or the seconds are those of several threads")
    done = measured()
    print(
        f"{len(done.gains)} contrasts, {USERS:,} users, {TRIALS} trials: {done.seconds:.1f} s, {done.peak_mb:,.0f} MB"
    )
    print(f"free disposal, 40 cells of 10 models: {seconds_of_free_disposal():.2f} s")
