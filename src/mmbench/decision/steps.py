"""What to do next, and what knowing more is worth."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mmbench.decision.economics import Economics
from mmbench.decision.evidence import GATES, Evidence, Gate, Status
from mmbench.decision.formulas import evsi, preposterior_sd
from mmbench.decision.value import Draws
from mmbench.inference.gains import NoWord
from mmbench.inference.intervals import LogGain

#: Steps that narrow what is known about the gain, so that their value can be computed. More trials hardly do beyond
#: about 30: the gain is told for a third of them, and the best of more depends on the draw as much.
USERS, AB_TEST = "users", "ab_test"
#: To do again what was not done as it has to be.
REPAIR = "repair"
#: What to do where the answer is known.
ROLL_OUT, WAIT = "roll_out", "wait"
#: To put data back where the sweep read them, to train what is planned, and to leave everything as it is because no
#: measurement is worth its cost. No file of sums has a price for them.
DATA, FINISH, NOTHING = "data", "finish", "nothing"
NO_PRICE = (DATA, FINISH, NOTHING)
#: To measure what images for some items alone bring, and a gain among all items where it was one of new items.
PARTIAL, ALL_ITEMS = "partial", "all_items"
#: Why nothing may be concluded from a gain although it may have bounds.
RUNGS, WAITING, FEW_TRIALS, ONE_SEED = (
    "trials were cut short at rungs",
    "planned conditions or repetitions have no result",
    "fewer trials than a conclusion takes",
    "one final seed, so training noise was not measured",
)
#: A gain in lists of new items, or in a mean that counts them as much as all others: no sum of money belongs to it.
OF_NEW_ITEMS_ALONE = "a gain of new items, not of all recommendations"
#: Every reason why nothing may be concluded, and the step that mends it.
SILENT: Mapping[str, str] = {
    RUNGS: REPAIR,
    WAITING: FINISH,
    FEW_TRIALS: "trials",
    ONE_SEED: "seeds",
    OF_NEW_ITEMS_ALONE: "trials",
    NoWord.ONE_FOLD: REPAIR,
    NoWord.MORE_SEARCH: "control",
    NoWord.FEW_TRIALS: "trials",
    NoWord.FEW_SUCCESSES: REPAIR,
    NoWord.NOTHING_FOUND: "model",
    NoWord.FEW_USERS: "users",
    NoWord.SEED_UNKNOWN: "seeds",
    NoWord.NOTHING_WITHOUT: "trials",
    NoWord.ONE_TRIAL: "trials",
    NoWord.WIDE: "users",
    NoWord.NO_VARIANCE: "users",
}
#: Steps that mend a gate which is not known, where they are others than for one that does not pass: nothing is bought
#: because nobody could count, and trials do not replace a second training run.
NOT_KNOWN: Mapping[str, str] = {"G5": REPAIR, "G9": "seeds"}
#: What narrows a range that is too wide, by what most of it comes from. No step of the file of sums adds splits.
NARROWS: Mapping[str, str] = {"trials": "trials", "seed": "seeds"}
#: Trials from which more of them hardly narrow a range (docs/calibration.md).
MANY_TRIALS = 30


@dataclass(frozen=True)
class NextStep:
    """One next step.

    Args:
        name: its name, see :data:`mmbench.decision.economics.STEPS`, ``roll_out``, ``wait``, ``all_items``, ``data``,
            ``finish`` or ``nothing``.
        cost: what it costs.
        days: how long it takes.
        evsi: value of what it would tell; None where no distribution says what it may find.
        command: what to run, where that is all it takes.
        why: of ``data``, why they cannot be read; empty for any other step.
    """

    name: str
    cost: float
    days: float
    evsi: float | None
    command: str = ""
    why: str = ""

    @property
    def net(self) -> float:
        """Value minus cost."""
        return (self.evsi or 0.0) - self.cost


def measuring_steps(evidence: Evidence, gain: LogGain, draws: Draws, economics: Economics) -> list[NextStep]:
    """Every step that measures the gain better, the one first whose value is most above its cost.

    More users shrink their part of the variance. An A/B test measures what reaches the business, the gain times the
    transfer, with the noise of two samples of conversions. Standard errors are those of the gain to first order,
    (1 + gain) times those of the logarithm. What a step is worth is counted over the draws of the value itself, so that
    none is worth more than to know everything.
    """
    steps = []
    se = (1 + gain.gain) * gain.se
    for name in (USERS, AB_TEST):
        step = economics.steps[name]
        if name == AB_TEST:
            eta, conversion = economics.inputs["transfer"], economics.likely["value.conversion"]
            spread = (eta.low, eta.likely, eta.high)
            mean_eta = sum(spread) / 3
            variance_eta = (
                sum(e * e for e in spread) - sum(a * b for a, b in zip(spread, (*spread[1:], spread[0]), strict=True))
            ) / 18
            sd = math.sqrt(se**2 * (variance_eta + mean_eta**2) + gain.gain**2 * variance_eta)
            per_unit = draws.per_gain / mean_eta
            noise = math.sqrt(2 * (1 - conversion) / (step.amount * conversion)) if step.amount else math.inf
        else:
            sd, per_unit = se, draws.per_gain
            # Folds of items have the same users, who are no part of the variance.
            part, whole = evidence.variances.get(USERS, 0.0), math.fsum(evidence.variances.values())
            left = 1.0 if whole == 0 else 1 - part / whole * (1 - 1 / max(step.amount, 1))
            noise = _equivalent_noise(se, se * math.sqrt(left))
        worth = evsi(draws.npv, preposterior_sd(sd * per_unit, noise * per_unit)) if math.isfinite(noise) else 0.0
        steps.append(NextStep(name, step.cost, step.days, worth))
    return sorted(steps, key=lambda step: -step.net)


def worthwhile(measuring: Sequence[NextStep]) -> NextStep:
    """The first of the steps that measure, where it is worth its cost; otherwise everything is left as it is."""
    return measuring[0] if measuring[0].net > 0 else NextStep(NOTHING, 0.0, 0.0, None)


def largest(variances: Mapping[str, float]) -> str:
    """The source that most of the variance comes from."""
    return max(variances, key=lambda source: variances[source])


def silence_step(evidence: Evidence) -> str:
    """The step that mends why nothing may be concluded; a range that is too wide by what most of it comes from."""
    if evidence.silent == NoWord.WIDE and evidence.variances:
        return NARROWS.get(largest(evidence.variances), USERS)
    return SILENT.get(evidence.silent, REPAIR)


def _equivalent_noise(before: float, after: float) -> float:
    """Standard error of the pilot that brings a standard error from before to after, precisions adding up."""
    if before <= 0 or after >= before:
        return math.inf
    return 0.0 if after <= 0 else 1 / math.sqrt(1 / after**2 - 1 / before**2)


def before_agreement(barred: Sequence[Gate]) -> list[Gate]:
    """The gates that are mended before G9, in the order of :data:`~mmbench.decision.evidence.GATES`."""
    earlier = list(GATES)[: list(GATES).index("G9")]
    return [gate for gate in barred if gate.name in earlier]


def first_of(barred: Sequence[Gate]) -> Gate:
    """The gate that is mended first, in the order of :data:`~mmbench.decision.evidence.GATES`."""
    return min(barred, key=lambda gate: list(GATES).index(gate.name))


def is_unseen(gate: Gate) -> bool:
    """Whether a gate is closed because a gain could not have been seen, or is not shown beside all of its controls."""
    return gate.name == "G7" or (gate.name, gate.status) == ("G3", Status.FAIL)


def mending_step(gate: Gate, measuring: Sequence[NextStep], economics: Economics) -> NextStep:
    """The step that mends a gate which is closed for another reason than that a gain could not be seen."""
    if gate.unread:
        return NextStep(DATA, 0.0, 0.0, None, why=gate.why)
    mends = GATES[gate.name][1]
    name = NOT_KNOWN.get(gate.name, mends) if gate.status is Status.UNKNOWN else mends
    if gate.status is Status.UNKNOWN and gate.command:
        name = "control"  # it takes conditions that were not run
    if gate.name == "G4" and gate.status is Status.UNKNOWN and gate.value is not None:
        name = USERS  # nothing is broken, and more users and final runs would show it
    known = next((step for step in measuring if step.name == name), None)
    step = economics.steps[name]
    cost = step.cost
    if name == "images":
        x = economics.likely
        cost += step.amount * (x["cost.image"] + x["cost.encoding"])
    return known or NextStep(name, cost, step.days, None, gate.command)
