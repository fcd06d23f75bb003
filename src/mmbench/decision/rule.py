"""The rule: gates first, then what the gain is worth (docs/decision.md)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from mmbench.decision.assumptions import deciding
from mmbench.decision.economics import Economics
from mmbench.decision.evidence import GATES, Bars, Evidence, Gate, Promise, Status
from mmbench.decision.openings import Opening, Unclear, openings, showing_step
from mmbench.decision.steps import (
    AB_TEST,
    ALL_ITEMS,
    FINISH,
    OF_NEW_ITEMS_ALONE,
    PARTIAL,
    ROLL_OUT,
    SILENT,
    WAIT,
    NextStep,
    before_agreement,
    first_of,
    is_unseen,
    measuring_steps,
    mending_step,
    silence_step,
    worthwhile,
)
from mmbench.decision.value import DRAWS, Flip, Swing, Value, breakeven, draw, flips, of_part, tornado
from mmbench.inference import verdicts
from mmbench.inference.intervals import LogGain
from mmbench.inference.verdicts import Verdict
from mmbench.messages import Refusal

#: Raised whenever the same inputs may give another answer.
RULE_VERSION = 9
#: Probabilities from which paying, or for NO-GO not paying, is likely and very likely.
LIKELY_FROM = (0.80, 0.95)
#: NO-GO by money alone: probability of paying, and level of the bounds of the gain whose upper end is looked at.
HARDLY, FAVOURABLE = 0.01, 0.99


class Action(StrEnum):
    """What is recommended."""

    GO = "GO"
    PARTIAL = "GO (partial)"
    HOLD = "HOLD"
    NO_GO = "NO-GO"


class Why(StrEnum):
    """Why it is HOLD, or NO-GO whatever the gates say."""

    NONE = ""
    MONEY = "no gain that the data allow would pay"
    UNTRUSTED = "the measurement cannot be trusted"
    SILENT = "nothing may be concluded from the gain"
    BARRED_GO = "it would pay, but a gate bars GO"
    BARRED_NO_GO = "it would not pay, but a gate bars NO-GO"
    UNCLEAR = "the data do not tell"
    PROMISING = "images for some items alone look promising and were not measured"


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
        why: why nothing is, where it is HOLD, or why gates do not matter.
        gates: all nine gates in order.
        barred: gates that stand in the way of an answer.
        breakeven: gain at which it pays at likely inputs, the smallest gain of interest.
        word: verdict on the gain with that margin; None where nothing may be concluded from the gain.
        value: distribution of the net present value; None where nothing may be concluded from the gain.
        flip: what would turn the answer; None without a value.
        swings: what drives the value.
        steps: steps that measure the gain better, best first.
        step: what to do next.
        assumptions: assumed inputs without which it would not be GO; empty for any other answer.
        promise: items for which images alone may pay, measured next where the answer is HOLD; None where there are
            none.
        openings: what would open each gate that stands in the way, or tell what the data do not.
    """

    action: Action
    why: Why
    gates: tuple[Gate, ...]
    barred: tuple[Gate, ...]
    breakeven: float
    word: Verdict | None
    value: Value | None
    flip: Flip | None
    swings: tuple[Swing, ...]
    steps: tuple[NextStep, ...]
    step: NextStep
    assumptions: tuple[str, ...] = ()
    promise: Promise | None = None
    openings: tuple[Opening, ...] = ()

    @property
    def trusted(self) -> bool:
        """Whether anything may be said about the gain."""
        return self.why not in (Why.UNTRUSTED, Why.SILENT)

    @property
    def least_known(self) -> str | None:
        """The number of the business that moves the value most; None where none is uncertain."""
        return next((swing.name for swing in self.swings if swing.name != "gain"), None)

    @property
    def probability(self) -> float | None:
        """Probability that images pay; None if nothing may be said."""
        return self.value.probability if self.value and self.trusted else None

    @property
    def confidence(self) -> Confidence:
        """How sure one may be of paying, or for NO-GO of not paying."""
        if self.probability is None or self.action is Action.HOLD:
            return Confidence.UNCLEAR
        return confidence(1 - self.probability if self.action is Action.NO_GO else self.probability)


def confidence(probability: float) -> Confidence:
    """The word of a probability: from .95 very likely, from .80 likely, else unclear."""
    words = (Confidence.UNCLEAR, Confidence.LIKELY, Confidence.VERY_LIKELY)
    return words[sum(probability >= edge for edge in LIKELY_FROM)]


def decide(evidence: Evidence, economics: Economics, n_draws: int = DRAWS) -> Decision:
    """Apply the rule.

    HOLD where nothing may be concluded from the gain, and where it is one of new items, which has no price. NO-GO
    by money alone where even the upper 99 % bound of the gain is below break-even and pays in less than one of a
    hundred draws; that needs a gain with a range, equal effort (G1) and no other gate. HOLD where a gate that bars
    every answer does not pass. GO where the probability of paying reaches ``go`` and the expected value is above
    zero, unless a gate bars it. NO-GO where the probability is at most ``no_go`` and the upper 95 % bound of the
    gain is below break-even: evidence of smallness, not lack of evidence. HOLD otherwise. None of it takes account
    of earlier looks at the test split; the word does.

    Args:
        evidence: what was measured.
        economics: what the company put in.
        n_draws: draws of the value.
    """
    decision = _decide(evidence, of_part(economics, evidence.part), n_draws)
    if decision.action is Action.HOLD:
        unclear = _unclear(decision, evidence, economics) if decision.why is Why.UNCLEAR else None
        return replace(decision, openings=openings(evidence, decision.barred, decision.breakeven, unclear))
    return decision


def _unclear(decision: Decision, evidence: Evidence, economics: Economics) -> Unclear:
    """What an answer takes: GO where the gain lies above break-even, else NO-GO."""
    above = evidence.ratio is not None and evidence.ratio > decision.breakeven
    return Unclear(decision.least_known is not None, economics.go if above else 1 - economics.no_go)


def decide_first(
    whole: Evidence, parts: Sequence[Evidence], economics: Economics, n_draws: int = DRAWS
) -> tuple[Evidence, Decision]:
    """The decision about images for all items; where it is no GO, about the part that was measured, if that is one.

    Args:
        whole: evidence about images for all items.
        parts: evidence about images for some items alone, the part that is best on validation first. No other one is
            looked at: the best of several gains on test would be too high.
        economics: what the company put in.
        n_draws: draws of the value.

    Returns:
        The evidence that the answer rests on, and the answer; all its numbers are about the same items.
    """
    decision = decide(whole, economics, n_draws)
    if decision.action is not Action.GO and parts:
        partial = decide(parts[0], economics, n_draws)
        if partial.action is Action.PARTIAL:
            return parts[0], partial
    return whole, decision


def _decide(evidence: Evidence, economics: Economics, n_draws: int) -> Decision:
    """See :func:`decide`; the economics are those of the items in question."""
    limit = breakeven(economics)
    gates = _in_order((*evidence.gates, _power(evidence, limit)))
    closed = _closed(gates)
    gain = evidence.gain
    if gain is None or evidence.silent or evidence.of_new_items:
        return _unmeasured(evidence, gates, closed[Bars.EVERY], limit, economics)
    draws = draw(economics, gain, n_draws)
    value = draws.value()
    steps = tuple(measuring_steps(evidence, gain, draws, economics))
    words = {Verdict.DEPENDS_ON_TUNING: evidence.depends_on_tuning} | verdicts.shown(gain, limit, evidence.level)
    word = next((word for word, holds in words.items() if holds), Verdict.UNDECIDED)
    flip, swings = flips(economics, gain.gain), tuple(tornado(economics, gain, evidence.level))
    decision = Decision(
        Action.HOLD, Why.UNCLEAR, gates, (), limit, word, value, flip, swings, steps=steps, step=worthwhile(steps)
    )
    no_go = replace(decision, action=Action.NO_GO, why=Why.NONE, step=NextStep(WAIT, 0.0, 0.0, None))
    if gates[0].status is Status.PASS and _hardly_pays(economics, gain, limit, n_draws):
        return replace(no_go, why=Why.MONEY, promise=_promise(evidence, economics))
    if closed[Bars.EVERY]:
        return _held(decision, Why.UNTRUSTED, closed[Bars.EVERY], evidence, economics)
    if _pays(economics, gain, n_draws):
        if closed[Bars.GO]:
            return _held(decision, Why.BARRED_GO, closed[Bars.GO], evidence, economics)
        action = Action.GO if evidence.part is None else Action.PARTIAL
        assumptions = deciding(economics, lambda worse: _pays(worse, gain, n_draws))
        step = _known(AB_TEST, economics, ROLL_OUT)
        return replace(decision, action=action, why=Why.NONE, step=step, assumptions=assumptions)
    small = value.probability <= economics.no_go and gain.at(0.95).hi < limit
    barred = closed[Bars.NO_GO] if small else ()
    if (promise := _promise(evidence, economics)) is not None:
        step = replace(_known(PARTIAL, economics), command=promise.command)
        return replace(decision, why=Why.PROMISING, barred=barred, step=step, promise=promise)
    if barred:
        return _held(decision, Why.BARRED_NO_GO, barred, evidence, economics)
    return no_go if small else decision


def _pays(economics: Economics, gain: LogGain, n_draws: int) -> bool:
    """Whether a gain pays with the probability that the company asks for, and on average."""
    draws = draw(economics, gain, n_draws)
    return draws.probability >= economics.go and float(draws.npv.mean()) > 0


def _promise(evidence: Evidence, economics: Economics) -> Promise | None:
    """The first of the promising slices whose images would pay if nothing else changed.

    None where the gain is exactly zero, whichever trials are drawn: whatever is best leaves images out, and a slice
    gained with a configuration that nobody would choose.
    """
    if evidence.gain is None or evidence.gain.se == evidence.gain.log_ratio == 0.0:
        return None
    paying = (one for one in evidence.promising if one.gain >= breakeven(of_part(economics, one.part)))
    return next(paying, None)


def _hardly_pays(economics: Economics, gain: LogGain, limit: float, n_draws: int) -> bool:
    """Whether even the most favourable gain that the data allow pays neither as is likely nor in hardly any draw.

    A gain without range says what these trials chose, not what others would choose: no bound of it is favourable. Where
    the likely inputs are the favourable ends of their ranges, hardly any draw pays and the likely ones may.
    """
    if gain.se == 0.0 or gain.at(FAVOURABLE).hi >= limit:
        return False
    most = LogGain(gain.log_ratio + gain.half_width(FAVOURABLE), 0.0, gain.df)
    return draw(economics, most, n_draws).probability < HARDLY


def _closed(gates: tuple[Gate, ...]) -> dict[Bars, tuple[Gate, ...]]:
    """Gates that do not pass, by the answer that they bar."""
    closed = [gate for gate in gates if gate.status is not Status.PASS]
    return {bar: tuple(gate for gate in closed if gate.bars is bar) for bar in Bars}


def _unmeasured(
    evidence: Evidence, gates: tuple[Gate, ...], barred: tuple[Gate, ...], limit: float, economics: Economics
) -> Decision:
    """HOLD without a value: a gain from which nothing may be concluded has no law, hence neither has its value.

    A gain of new items may have one, but not the recommendations that it is multiplied with: another sweep is needed,
    whatever the gates of this one. Why nothing may be concluded is mended where G9 would be, which asks whether what is
    concluded agrees, and before anything is bought.
    """
    if evidence.of_new_items:
        step = _known(SILENT[OF_NEW_ITEMS_ALONE], economics, ALL_ITEMS)
        return Decision(Action.HOLD, Why.SILENT, gates, (), limit, None, None, None, swings=(), steps=(), step=step)
    first = before_agreement(barred) if evidence.silent else barred
    name = silence_step(evidence)
    if first:
        step = mending_step(first_of(first), (), economics)
    else:
        step = NextStep(FINISH, 0.0, 0.0, None) if name == FINISH else _known(name, economics)
    why = Why.SILENT if evidence.silent else Why.UNTRUSTED
    return Decision(Action.HOLD, why, gates, barred, limit, None, None, None, swings=(), steps=(), step=step)


def _held(decision: Decision, why: Why, barred: tuple[Gate, ...], evidence: Evidence, economics: Economics) -> Decision:
    """HOLD, with the step that mends what bars the answer; where none can, the measurement that is worth its cost."""
    gate, word = first_of(barred), None if why is Why.UNTRUSTED else decision.word
    if not is_unseen(gate):
        step = mending_step(gate, decision.steps, economics)
    elif (name := showing_step(gate, evidence, decision.breakeven)) is None:
        step = worthwhile(decision.steps)
    else:
        step = next((one for one in decision.steps if one.name == name), _known(name, economics))
    return replace(decision, why=why, barred=barred, word=word, step=step)


def _power(evidence: Evidence, limit: float) -> Gate:
    """G7: could a gain that just pays have been seen? At 95 % whatever the look, as the NO-GO that it bars."""
    if evidence.gain is None:
        return Gate("G7", Status.UNKNOWN, None, limit, "the gain has no bounds")
    seen = evidence.gain.mde()
    return Gate("G7", Status.PASS if seen <= limit else Status.FAIL, seen, limit)


def _in_order(gates: tuple[Gate, ...]) -> tuple[Gate, ...]:
    """All nine gates by number; one that nobody measured is not known."""
    by_name = {gate.name: gate for gate in gates}
    if unknown := sorted(by_name.keys() - GATES.keys()):
        raise Refusal("{name} is no gate; gates are {gates}", name=unknown[0], gates=", ".join(sorted(GATES)))
    return tuple(by_name.get(name, Gate(name, Status.UNKNOWN, why="not measured")) for name in sorted(GATES))


def _known(name: str, economics: Economics, called: str = "") -> NextStep:
    """A step of the file; rolling out means an A/B test that can be stopped."""
    step = economics.steps[name]
    return NextStep(called or name, step.cost, step.days, None)
