"""How often the rule says what, over simulated score matrices and economics whose truth is known.

Each world draws a business around the default file and a score matrix of users and seeds with a true gain that is a
multiple of that business's break-even gain. ``python -m tests.decision.simulation`` prints the table of
docs/decision.md.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from mmbench.decision import Action, Evidence, Gate, Status, decide, read_economics
from mmbench.decision.economics import Economics, Range
from mmbench.decision.value import breakeven
from mmbench.inference import intervals, power
from tests.decision.cases import default_file

#: True gain in break-even gains; between nothing and three times of it lies the grey zone.
TRUTHS = (-1.0, 0.0, 0.5, 1.0, 1.5, 3.0, 5.0)
GREY = (0.5, 1.0, 1.5)
WORLDS = 5000
#: Users that count as many: with them a gain at break-even is seen in most of the businesses.
MANY, FEW = 20_000, 1_000
SEEDS = 5
#: A fifth of the usual draws of the value: the answer is a share of them, off by one in a hundred.
DRAWS = 4000
#: Scaled differences of one user: most do not change, as on real lists. Training noise is the same in every world.
USER_SD, SEED_SD, NOISE_SD = 0.35, 0.0012, 0.35


@functools.cache
def _default() -> Economics:
    return read_economics({}, default_file())


def business(rng: np.random.Generator) -> Economics:
    """The default business with every input moved by up to a third either way and its range kept in proportion."""
    inputs = {}
    for name, given in _default().inputs.items():
        factor = float(np.exp(rng.uniform(-0.3, 0.3))) if name.split(".")[0] in ("value", "cost") else 1.0
        inputs[name] = Range(*(min(end * factor, 1.0) if name in ("value.margin",) else end * factor
                               for end in (given.low, given.likely, given.high)))  # fmt: skip
    return replace(_default(), inputs=inputs)


def scores(rng: np.random.Generator, gain: float, n_users: int) -> np.ndarray:
    """Differences scaled by the base mean with a true mean of ``gain``, ``(n_users, n_seeds)``."""
    user = USER_SD * rng.standard_normal((n_users, 1), dtype=np.float32)
    seed = SEED_SD * rng.standard_normal((1, SEEDS), dtype=np.float32)
    noise = NOISE_SD * rng.standard_normal((n_users, SEEDS), dtype=np.float32)
    return np.asarray(gain + user + seed + noise, np.float64)


def world(rng: np.random.Generator, truth: float, n_users: int) -> Action:
    """The answer in one world: two encoders, fair effort, honest controls.

    The shuffled-image control has the same true gain and noise of its own; the tuned contrast agrees with the chosen
    configurations in nine of ten worlds, the coverage of its interval.
    """
    economics = business(rng)
    gain = truth * breakeven(economics)
    matrix = scores(rng, gain, n_users)
    measured = intervals.crossed_interval(matrix)
    squares = intervals.mean_squares(matrix)
    mde = power.mde_relative(**squares.components(), n=n_users, seeds=SEEDS)
    control = intervals.crossed_interval(scores(rng, gain, n_users))
    statuses = {f"G{i}": Status.PASS for i in (1, 2, 4, 5, 6, 8)}
    statuses["G3"] = Status.PASS if control.at(0.9).lo > 0 else Status.FAIL
    statuses["G9"] = Status.PASS if rng.random() < 0.9 else Status.FAIL
    gates = tuple(Gate(name, status) for name, status in statuses.items())
    evidence = Evidence(
        "simulated", "m", "fused_vs_text", n_users, measured, None, mde, squares.components(), None, gates
    )
    return decide(evidence, economics, DRAWS).action


def rates(n_worlds: int = WORLDS, n_users: int = MANY, seed: int = 0) -> dict[float, Mapping[Action, float]]:
    """Share of the worlds with each answer, by true gain in break-even gains."""
    rates_of = {}
    for place, truth in enumerate(TRUTHS):
        rng = np.random.default_rng([seed, place])
        n = n_worlds // len(TRUTHS)
        counts = Counter(world(rng, truth, n_users) for _ in range(n))
        rates_of[truth] = {action: counts[action] / n for action in Action}
    return rates_of


def main() -> None:
    """Print the table."""
    print("| users | true gain / break-even | GO | HOLD | NO-GO |\n| --- | --- | --- | --- | --- |")
    for n_users in (MANY, FEW):
        for truth, share in rates(n_users=n_users).items():
            percents = " | ".join(f"{100 * share[action]:.0f} %" for action in (Action.GO, Action.HOLD, Action.NO_GO))
            print(f"| {n_users:,} | {truth:g} | {percents} |")


if __name__ == "__main__":
    main()
