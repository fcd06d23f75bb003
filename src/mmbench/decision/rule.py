"""The rule: gates first, then what the gain is worth (docs/decision.md)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from mmbench.decision.economics import Economics, Scope
from mmbench.decision.evidence import GATES, Bars, Evidence, Gate, Status, SubsetGain
from mmbench.decision.steps import ROLL_OUT, WAIT, NextStep, measuring_steps, mending_step
from mmbench.decision.value import DRAWS, Flip, Swing, Value, breakeven, flips, tornado, valued
from mmbench.messages import Refusal
from mmbench.stats import CrossedInterval
from mmbench.verdicts import MIN_SEEDS

#: Raised whenever the same inputs may give another answer.
RULE_VERSION = 1
#: Half-width of a 95 % interval in standard errors where only the bounds are known.
Z95 = 1.959963984540054


class Action(StrEnum):
    """What is recommended."""

    GO = "GO"
    GO_PARTIAL = "GO (partial)"
    HOLD = "HOLD"
    NO_GO = "NO-GO"


class Why(StrEnum):
    """Why it is HOLD."""

    NONE = ""
    UNTRUSTED = "the measurement cannot be trusted"
    BARRED_GO = "it would pay, but a gate bars GO"
    BARRED_NO_GO = "it would not pay, but a gate bars NO-GO"
    UNCLEAR = "the data do not tell"


class Confidence(StrEnum):
    """Words for a probability, fixed."""

    VERY_LIKELY = "very likely"
    LIKELY = "likely"
    UNCLEAR = "unclear"


@dataclass(frozen=True)
class Decision:
    """The answer and everything it rests on.

    Args:
        action: what is recommended.
        why: why nothing is, where it is HOLD.
        gates: all nine gates in order.
        barred: gates that stand in the way of an answer.
        breakeven: gain at which it pays at likely inputs.
        value: distribution of the net present value of the whole catalogue; None without a gain.
        subset: slice that pays alone, for GO (partial).
        subset_value: its value.
        flip: what would turn the answer; None without a gain.
        swings: what drives the value.
        steps: steps that measure the gain better, best first.
        step: what to do next.
    """

    action: Action
    why: Why
    gates: tuple[Gate, ...]
    barred: tuple[Gate, ...]
    breakeven: float
    value: Value | None
    subset: SubsetGain | None
    subset_value: Value | None
    flip: Flip | None
    swings: tuple[Swing, ...]
    steps: tuple[NextStep, ...]
    step: NextStep

    @property
    def trusted(self) -> bool:
        """Whether anything may be said about the gain."""
        return self.why is not Why.UNTRUSTED

    @property
    def probability(self) -> float | None:
        """Probability that what is recommended (or, where nothing is, the whole catalogue) pays; None if untrusted."""
        shown = self.subset_value or self.value
        return shown.probability if shown and self.trusted else None

    @property
    def confidence(self) -> Confidence:
        """How sure one may be of paying, or for NO-GO of not paying."""
        if self.probability is None or self.action is Action.HOLD:
            return Confidence.UNCLEAR
        return confidence(1 - self.probability if self.action is Action.NO_GO else self.probability)


def confidence(probability: float) -> Confidence:
    """The word of a probability: from .95 very likely, from .80 likely, else unclear."""
    if probability >= 0.95:
        return Confidence.VERY_LIKELY
    return Confidence.LIKELY if probability >= 0.80 else Confidence.UNCLEAR


def decide(evidence: Evidence, economics: Economics, n_draws: int = DRAWS) -> Decision:
    """Apply the rule.

    HOLD where a gate that bars every answer does not pass. GO where the probability of paying reaches ``go`` and the
    expected value is above zero, unless a gate bars it; GO (partial) where that holds for one slice of the items alone
    and its gain is above zero. NO-GO where the probability is at most ``no_go`` and the upper 95 % bound of the gain is
    below break-even: evidence of smallness, not lack of evidence. HOLD otherwise.

    Args:
        evidence: what was measured.
        economics: what the company put in.
        n_draws: draws of the value.
    """
    limit = breakeven(economics)
    gates = _in_order((*evidence.gates, _power(evidence, limit)))
    closed = _closed(gates)
    gain = evidence.gain
    if gain is None or gain.seeds < MIN_SEEDS:
        return _unmeasured(gain, gates, closed[Bars.EVERY], limit, economics)
    value = valued(economics, gain, n_draws=n_draws)
    steps = tuple(measuring_steps(evidence, gain, value, economics))
    flip, swings = flips(economics, gain.mean), tuple(tornado(economics, gain))
    decision = Decision(
        Action.HOLD, Why.UNCLEAR, gates, (), limit, value, None, None, flip, swings, steps=steps, step=steps[0]
    )
    if closed[Bars.EVERY]:
        return _held(decision, Why.UNTRUSTED, closed[Bars.EVERY], economics)
    if _pays(value, economics):
        if closed[Bars.GO]:
            return _held(decision, Why.BARRED_GO, closed[Bars.GO], economics)
        return replace(decision, action=Action.GO, why=Why.NONE, step=_roll_out(economics))
    part = None if closed[Bars.GO] else _part(evidence, economics)
    if part is not None:
        return _partial(decision, part, economics)
    if value.probability <= economics.no_go and gain.at(0.95).hi < limit:
        if closed[Bars.NO_GO]:
            return _held(decision, Why.BARRED_NO_GO, closed[Bars.NO_GO], economics)
        return replace(decision, action=Action.NO_GO, why=Why.NONE, step=NextStep(WAIT, 0.0, 0.0, None))
    return decision


def _closed(gates: tuple[Gate, ...]) -> dict[Bars, tuple[Gate, ...]]:
    """Gates that do not pass, by the answer that they bar."""
    closed = [gate for gate in gates if gate.status is not Status.PASS]
    return {bar: tuple(gate for gate in closed if GATES[gate.name][0] is bar) for bar in Bars}


def _unmeasured(
    gain: CrossedInterval | None, gates: tuple[Gate, ...], barred: tuple[Gate, ...], limit: float, economics: Economics
) -> Decision:
    """HOLD without a value: without training noise there is no distribution of the gain, hence none of its value."""
    missing = "repair" if gain is None else "seeds"
    step = mending_step(barred, (), economics) if barred else _known(missing, economics)
    return Decision(
        Action.HOLD, Why.UNTRUSTED, gates, barred, limit, None, None, None, None, swings=(), steps=(), step=step
    )


def _held(decision: Decision, why: Why, barred: tuple[Gate, ...], economics: Economics) -> Decision:
    """HOLD, with the step that mends what bars the answer."""
    return replace(decision, why=why, barred=barred, step=mending_step(barred, decision.steps, economics))


def _partial(decision: Decision, part: tuple[SubsetGain, Value, Scope], economics: Economics) -> Decision:
    """GO for one slice of the items."""
    subset, value, scope = part
    flip = flips(economics, subset.gain.mean, scope)
    step = _roll_out(economics)
    return replace(
        decision, action=Action.GO_PARTIAL, why=Why.NONE, subset=subset, subset_value=value, flip=flip, step=step
    )


def _power(evidence: Evidence, limit: float) -> Gate:
    """G7: could a gain that just pays have been seen?"""
    if evidence.mde is None:
        return Gate("G7", Status.UNKNOWN, None, limit, "one seed: training noise was not measured")
    return Gate("G7", Status.PASS if evidence.mde <= limit else Status.FAIL, evidence.mde, limit)


def _in_order(gates: tuple[Gate, ...]) -> tuple[Gate, ...]:
    """All nine gates by number; one that nobody measured is not known."""
    by_name = {gate.name: gate for gate in gates}
    if unknown := sorted(by_name.keys() - GATES.keys()):
        raise Refusal("{name} is no gate; gates are {gates}", name=unknown[0], gates=", ".join(sorted(GATES)))
    return tuple(by_name.get(name, Gate(name, Status.UNKNOWN, why="not measured")) for name in sorted(GATES))


def _pays(value: Value, economics: Economics) -> bool:
    return value.probability >= economics.go and value.mean > 0


def _part(evidence: Evidence, economics: Economics) -> tuple[SubsetGain, Value, Scope] | None:
    """The slice of the items that pays best alone; its standard error is that of the simultaneous bounds."""
    paying = []
    assert evidence.gain is not None
    for subset in evidence.subsets:
        part = subset.gain
        if part.lo <= 0:
            continue
        se = (part.hi - part.lo) / 2 / Z95
        gain = CrossedInterval(
            part.mean, part.lo, part.hi, se=se, df=evidence.gain.df, p=0.0, seeds=evidence.gain.seeds
        )
        scope = Scope(subset.stock, subset.new)
        value = valued(economics, gain, scope)
        if _pays(value, economics):
            paying.append((subset, value, scope))
    return max(paying, key=lambda part: part[1].mean) if paying else None


def _roll_out(economics: Economics) -> NextStep:
    """Rolling out means an A/B test that can be stopped."""
    return replace(_known("ab_test", economics), name=ROLL_OUT)


def _known(name: str, economics: Economics) -> NextStep:
    step = economics.steps[name]
    return NextStep(name, step.cost, step.days, None)
