"""How often the rule says what, over simulated sweeps and economics whose truth is known.

Each world draws a business around the default file and a sweep, tuning included, in which images have a true gain that
is a multiple of that business's break-even gain. ``python -m tests.decision.simulation`` prints the table of
docs/decision.md; with ``--known`` the one of businesses that know their inputs, on the same random numbers.
"""

from __future__ import annotations

import argparse
import functools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mmbench.decision import Action, Evidence, Gate, Status, decide, read_economics
from mmbench.decision.economics import Economics, Range
from mmbench.decision.gates import agreement, better_than_shuffled
from mmbench.decision.value import breakeven
from mmbench.inference import intervals
from mmbench.inference.best_of_n import SeedNoise, TunedCell, Tuning
from mmbench.inference.intervals import Vector
from mmbench.inference.tuned_gain import free_disposal
from tests.decision.cases import default_file

#: True gain in break-even gains; between nothing and three times of it lies the grey zone. HARM is planted: images
#: take a break-even gain away from whatever they are added to.
HARM = -1.0
TRUTHS = (HARM, 0.0, 0.5, 1.0, 1.5, 3.0, 5.0)
GREY = (0.5, 1.0, 1.5)
WORLDS = 2100
#: Gates that nothing of a world decides, so that its answers are those of worlds that pass them.
TAKEN_FOR_PASSED = ("G1", "G2", "G4", "G5", "G6", "G8")
#: Users that count as many: with them a gain at break-even is seen in most of the businesses.
MANY, FEW = 20_000, 300
TRIALS, N, SEEDS = 30, 10, 5
#: A fifth of the usual draws of the value: the answer is a share of them, off by one in a hundred.
DRAWS = 4000
#: Users are drawn as means of groups, whose mean and standard error are those of the users.
GROUPS = 60
#: Standard deviations relative to the metric: of a user's change from one condition to another and from one training to
#: another, of the training noise of the mean, and of what a configuration is worth in all conditions.
USER_SD, NOISE_SD, TRAINING_SD, COMMON_SD = 0.35, 0.35, 0.003, 0.10
#: What is lost without text.
WITHOUT_TEXT = -0.05
SAME = ("simple/-", "model/none", "model/text")
REAL = (*SAME, "model/image", "model/fused")
CONTROL = (*SAME, "model/shuffled_image", "model/text_shuffled_image")
CELLS = tuple(dict.fromkeys((*REAL, *CONTROL)))


@dataclass(frozen=True)
class Regime:
    """What tuning is like.

    Args:
        own_sd: standard deviation of what a configuration is worth in one condition alone.
        simple: what a simple baseline is worth, as a logarithm.
    """

    own_sd: float
    simple: float


#: The model far above the simple baseline; configurations that suit one condition and not another; a baseline that many
#: draws of trials find better than the model.
REGIMES = {"quiet": Regime(0.005, -0.10), "noisy": Regime(0.013, -0.10), "close baseline": Regime(0.005, -0.03)}
QUIET = REGIMES["quiet"]


@functools.cache
def _default() -> Economics:
    return read_economics({}, default_file())


def business(rng: np.random.Generator, *, known: bool = False) -> Economics:
    """The default business with every input moved by up to a third either way and its range kept in proportion.

    Args:
        rng: where the inputs are drawn from.
        known: the business knows its inputs, so they have no range.
    """
    inputs = {}
    for name, given in _default().inputs.items():
        ends = (given.likely,) * 3 if known else (given.low, given.likely, given.high)
        factor = float(np.exp(rng.uniform(-0.3, 0.3))) if name.split(".")[0] in ("value", "cost") else 1.0
        inputs[name] = Range(*(min(end * factor, 1.0) if name in ("value.margin",) else end * factor
                               for end in ends))  # fmt: skip
    return replace(_default(), inputs=inputs)


def levels(planted: float, regime: Regime) -> dict[str, float]:
    """What each cell is worth, as a logarithm: images raise whatever they are added to, shuffled ones do nothing."""
    return {
        "simple/-": regime.simple,
        "model/none": WITHOUT_TEXT,
        "model/image": WITHOUT_TEXT + planted,
        "model/shuffled_image": WITHOUT_TEXT,
        "model/text": 0.0,
        "model/fused": planted,
        "model/text_shuffled_image": 0.0,
    }


def validation_sd(n_users: int) -> float:
    """How far the validation score of a training is from what the training is worth."""
    return float(np.sqrt((USER_SD**2 + NOISE_SD**2) / 2 / n_users))


@functools.cache
def _planted(n_users: int, regime: Regime, n_worlds: int = 20_000) -> tuple[Vector, Vector]:
    """Planted gains and the gain of the best of N trials of the real cells over that of the controls, by simulation."""
    rng = np.random.default_rng(0)
    common = {model: COMMON_SD * rng.standard_normal((n_worlds, N)) for model in ("simple", "model")}
    own = {name: common[name.partition("/")[0]] + regime.own_sd * rng.standard_normal((n_worlds, N)) for name in CELLS}
    trained = {name: x + TRAINING_SD * rng.standard_normal((n_worlds, N)) for name, x in own.items()}
    noise = {name: validation_sd(n_users) * rng.standard_normal((n_worlds, N)) for name in trained}
    planted = np.linspace(0.0, 0.4, 41)

    def tuned(side: tuple[str, ...], gain: float) -> float:
        test = np.exp(np.concatenate([trained[name] + levels(gain, regime)[name] for name in side], axis=1))
        best = (test + np.concatenate([noise[name] for name in side], axis=1)).argmax(axis=1)
        return float(test[np.arange(n_worlds), best].mean())

    return planted, np.array([tuned(REAL, gain) / tuned(CONTROL, gain) - 1 for gain in planted])


def planted_for(truth: float, n_users: int, regime: Regime) -> float:
    """The gain to plant so that the true gain after tuning is ``truth``."""
    planted, true = _planted(n_users, regime)
    return float(np.interp(truth, true - true[0], planted))


def tuned_cells(
    rng: np.random.Generator, planted: float, n_users: int, regime: Regime
) -> tuple[dict[str, TunedCell], dict[str, Vector]]:
    """The tuned cells of a sweep, and the final metric of each, ``(GROUPS, SEEDS)``."""
    common = {model: COMMON_SD * rng.standard_normal(TRIALS) for model in ("simple", "model")}
    group = np.sqrt(GROUPS / n_users / 2)
    made, finals = {}, {}
    for name, level in levels(planted, regime).items():
        model, _, condition = name.partition("/")
        quality = np.exp(level + common[model] + regime.own_sd * rng.standard_normal(TRIALS))
        trained = quality * np.exp(TRAINING_SD * rng.standard_normal(TRIALS))
        users = 1 + group * USER_SD * rng.standard_normal(GROUPS)
        noise = group * NOISE_SD * rng.standard_normal((TRIALS + SEEDS, GROUPS))
        validation = trained + validation_sd(n_users) * rng.standard_normal(TRIALS)
        again = quality[validation.argmax()] * np.exp(TRAINING_SD * rng.standard_normal(SEEDS))
        finals[name] = (again[:, None] * (users + noise[TRIALS:])).T
        tuning = Tuning(
            validation=validation,
            test=trained[:, None] * (users + noise[:TRIALS]),
            users=np.arange(GROUPS),
            configurations=[f"{model} {slot}" for slot in range(TRIALS)],
            seed_noise=SeedNoise.of_finals(finals[name].mean(axis=0)),
        )
        used = {"-": 0, "none": 0, "fused": 2, "text_shuffled_image": 2}.get(condition, 1)
        made[name] = TunedCell(model, condition, used, tuning, name)
    return made, finals


def world(
    rng: np.random.Generator, truth: float, n_users: int, regime: Regime = QUIET, *, known: bool = False
) -> Action:
    """The answer in one world: two encoders, fair effort, every control run."""
    economics = business(rng, known=known)
    gain = truth * breakeven(economics)
    planted = gain if truth == HARM else planted_for(gain, n_users, regime)
    made, finals = tuned_cells(rng, planted, n_users, regime)
    tuned = free_disposal([made[name] for name in REAL], [made[name] for name in CONTROL])
    a, b = (max(side, key=lambda name: made[name].tuning.scores.max()) for side in (REAL, CONTROL))
    gates = (
        *(Gate(name, Status.PASS) for name in TAKEN_FOR_PASSED),
        better_than_shuffled(tuned.log_gain),
        agreement(tuned, intervals.relative_gain(finals[a], finals[b])),
    )
    estimate = tuned.estimate
    evidence = Evidence(
        dataset="simulated",
        metric="ndcg@20",
        models=("model", "simple"),
        n_users=n_users,
        trials=TRIALS,
        n=tuned.n,
        ratio=tuned.gain,
        gain=tuned.log_gain,
        level=tuned.level,
        silent=str(tuned.refusal or ""),
        depends_on_tuning=tuned.depends_on_tuning,
        variances={
            "trials": estimate.trials_variance,
            "users": estimate.users_variance,
            "seed": estimate.seed_variance,
        },
        model="model",
        contrast="fused_vs_text",
        per_thousand=None,
        gates=gates,
    )
    return decide(evidence, economics, DRAWS).action


def rates(
    n_worlds: int = WORLDS,
    n_users: int = MANY,
    regime: Regime = QUIET,
    seed: int = 0,
    *,
    truths: Sequence[float] = TRUTHS,
    known: bool = False,
) -> dict[float, Mapping[Action, float]]:
    """Share of the worlds with each answer, by true gain in break-even gains; ``n_worlds`` are for all of TRUTHS."""
    rates_of = {}
    for truth in truths:
        rng = np.random.default_rng([seed, TRUTHS.index(truth)])
        n = n_worlds // len(TRUTHS)
        counts = Counter(world(rng, truth, n_users, regime, known=known) for _ in range(n))
        rates_of[truth] = {action: counts[action] / n for action in Action}
    return rates_of


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.decision.simulation", description=__doc__)
    parser.add_argument("--known", action="store_true", help="inputs without ranges, many users, gains of 0 and 3")
    known = parser.parse_args().known
    truths = (0.0, 3.0) if known else TRUTHS
    print("| users | tuning | true gain / break-even | GO | HOLD | NO-GO |\n| --- | --- | --- | --- | --- | --- |")
    for n_users, tuning in (*((MANY, name) for name in REGIMES), *([] if known else [(FEW, "quiet")])):
        shares = rates(n_users=n_users, regime=REGIMES[tuning], truths=truths, known=known)
        for truth, share in shares.items():
            percents = " | ".join(f"{100 * share[action]:.0f} %" for action in (Action.GO, Action.HOLD, Action.NO_GO))
            name = "images harm" if truth == HARM else f"{truth:g}"
            print(f"| {n_users:,} | {tuning} | {name} | {percents} |", flush=True)


if __name__ == "__main__":
    main()
