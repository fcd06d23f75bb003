"""What to do next, and what knowing more is worth."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from mmbench.decision.economics import Economics
from mmbench.decision.evidence import GATES, Evidence, Gate
from mmbench.decision.formulas import evsi_normal
from mmbench.decision.value import Value
from mmbench.inference.intervals import CrossedInterval

#: Steps that narrow what is known about the gain, so that their value can be computed.
MEASURING = ("users", "seeds", "ab_test")
#: What to do where the answer is known.
ROLL_OUT, WAIT = "roll_out", "wait"


@dataclass(frozen=True)
class NextStep:
    """One next step.

    Args:
        name: its name, see :data:`mmbench.decision.economics.STEPS`, ``roll_out`` or ``wait``.
        cost: what it costs.
        days: how long it takes.
        evsi: value of what it would tell; None where no distribution says what it may find.
    """

    name: str
    cost: float
    days: float
    evsi: float | None

    @property
    def net(self) -> float:
        """Value minus cost."""
        return (self.evsi or 0.0) - self.cost


def measuring_steps(evidence: Evidence, gain: CrossedInterval, value: Value, economics: Economics) -> list[NextStep]:
    """Every step that measures the gain better, the best one first.

    More users and more seeds shrink the standard error of the offline gain as its variance components say. An A/B test
    measures what reaches the business, the gain times the transfer, with the noise of two samples of conversions.
    """
    steps = []
    for name in MEASURING:
        step = economics.steps[name]
        if name == "ab_test":
            eta, conversion = economics.inputs["transfer"], economics.likely["value.conversion"]
            spread = (eta.low, eta.likely, eta.high)
            mean_eta = sum(spread) / 3
            variance_eta = (
                sum(e * e for e in spread) - sum(a * b for a, b in zip(spread, (*spread[1:], spread[0]), strict=True))
            ) / 18
            sd = math.sqrt(gain.se**2 * (variance_eta + mean_eta**2) + gain.mean**2 * variance_eta)
            per_unit = value.per_gain / mean_eta
            noise = math.sqrt(2 * (1 - conversion) / (step.amount * conversion)) if step.amount else math.inf
        else:
            sd, per_unit = gain.se, value.per_gain
            noise = _equivalent_noise(gain.se, _se_after(name, step.amount, evidence, gain))
        worth = evsi_normal(value.mean, sd * per_unit, noise * per_unit) if math.isfinite(noise) else 0.0
        steps.append(NextStep(name, step.cost, step.days, worth))
    return sorted(steps, key=_order)


def _order(step: NextStep) -> tuple[bool, float]:
    """What is worth its cost first, by what is left; then what tells most for its cost."""
    worth = step.net > 0
    return (not worth, -step.net if worth else -(step.evsi or 0.0) / max(step.cost, 1e-9))


def _se_after(name: str, amount: float, evidence: Evidence, gain: CrossedInterval) -> float:
    """Standard error of the gain with more users or seeds; without variance components only users are reckoned."""
    parts, n, seeds = evidence.components, evidence.n_users, gain.seeds
    if not parts:
        return gain.se / math.sqrt(amount) if name == "users" and amount > 1 else gain.se

    def variance(n_users: float, n_seeds: float) -> float:
        user, seed, both = (max(parts[f"var_{part}"], 0.0) for part in ("user", "seed", "interaction"))
        return user / n_users + seed / n_seeds + both / (n_users * n_seeds)

    now = variance(n, seeds)
    after = variance(n * max(amount, 1), seeds) if name == "users" else variance(n, max(amount, seeds))
    return gain.se * math.sqrt(after / now) if now > 0 else gain.se


def _equivalent_noise(before: float, after: float) -> float:
    """Standard error of the pilot that brings a standard error from before to after, precisions adding up."""
    if before <= 0 or after >= before:
        return math.inf
    return 0.0 if after <= 0 else 1 / math.sqrt(1 / after**2 - 1 / before**2)


def mending_step(barred: Sequence[Gate], measuring: Sequence[NextStep], economics: Economics) -> NextStep:
    """The step that mends the first gate in the order of :data:`~mmbench.decision.evidence.GATES`."""
    order = list(GATES)
    name = GATES[min(barred, key=lambda gate: order.index(gate.name)).name][1]
    known = next((step for step in measuring if step.name == name), None)
    step = economics.steps[name]
    cost = step.cost
    if name == "images":
        x = economics.likely
        cost += step.amount * (x["cost.image"] + x["cost.encoding"])
    return known or NextStep(name, cost, step.days, None)
