"""What would open a closed gate, or tell what the data do not: how many users, trials or seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from scipy import special

from mmbench.decision.evidence import Evidence, Gate, Status
from mmbench.decision.steps import FEW_TRIALS, MANY_TRIALS, NARROWS, ONE_SEED, USERS, largest
from mmbench.inference.gains import NoWord
from mmbench.inference.intervals import MIN_USERS, LogGain
from mmbench.inference.verdicts import MIN_SEEDS, MIN_TRIALS

#: Reasons for silence that a second final run mends.
OF_SEEDS = (ONE_SEED, NoWord.SEED_UNKNOWN)
#: Users beyond which a number is no plan.
MOST_USERS = 10**9


class Key(StrEnum):
    """What opens a gate."""

    USERS = "users"
    NO_USERS = "no number of users alone"
    TRIALS = "trials"
    SEEDS = "seeds"
    DATA = "data that can be read"
    USERS_AND_SEEDS = "times as many users and seeds"
    INPUTS = "what the business is like"
    WIDTH = "a narrower range"
    ELSE = "something else"


@dataclass(frozen=True)
class Opening:
    """What opens one gate.

    Args:
        gate: its name; empty where no gate is closed and the range holds break-even, or nothing may be concluded.
        key: what it takes.
        amount: how many users, trials or seeds, in all; how many times as many of both; with ``no number of users`` the
            share of the variance that more users leave as it is, 0 where not even none would do; with ``a narrower
            range`` the largest share of the variance that one source has; None where no number says it.
    """

    gate: str
    key: Key
    amount: float | None = None


@dataclass(frozen=True)
class Unclear:
    """What an answer takes where no gate bars one.

    Args:
        inputs: whether a number of the business is uncertain.
        asked: with which probability the gain has to lie on its side of break-even, above .5.
    """

    inputs: bool
    asked: float


def openings(
    evidence: Evidence, barred: Sequence[Gate], breakeven: float, unclear: Unclear | None = None
) -> tuple[Opening, ...]:
    """What opens each gate that bars the answer; where none does, what would tell break-even from the gain.

    Args:
        evidence: what was measured.
        barred: the gates that bar the answer.
        breakeven: gain at which images pay.
        unclear: what an answer takes where no gate bars one, and the data do not tell; None where they do.
    """
    found = [_of_gate(gate, evidence, breakeven) for gate in barred]
    if evidence.silent or evidence.of_new_items:
        silence = _of_silence(evidence)
        if replace(silence, gate="G9") not in found:  # said already
            found.append(silence)
    elif unclear is not None and (gain := evidence.gain) is not None:
        half = abs(gain.log_ratio - math.log1p(breakeven))
        if gain.at(evidence.level).contains(breakeven):
            found.append(_narrower("", evidence, gain, half / _t(gain, 0.5 + evidence.level / 2)))
        elif unclear.inputs and half >= gain.se * _t(gain, unclear.asked):
            found.append(Opening("", Key.INPUTS))
        else:
            found.append(_narrower("", evidence, gain, half / _t(gain, unclear.asked)))
    return tuple(found)


def showing_step(gate: Gate, evidence: Evidence, breakeven: float) -> str | None:
    """The step that opens a gate which is closed because a gain could not be seen; None where none would.

    An A/B test never does: its result is no part of what was measured here.
    """
    opening = _of_gate(gate, evidence, breakeven)
    if opening.key is Key.USERS:
        return USERS
    if opening.key is not Key.NO_USERS or not opening.amount:
        return None
    source = largest({name: part for name, part in evidence.variances.items() if name != USERS})
    return None if source == "trials" and evidence.trials >= MANY_TRIALS else NARROWS.get(source)


def _of_gate(gate: Gate, evidence: Evidence, breakeven: float) -> Opening:
    gain = evidence.gain
    if gate.unread:
        return Opening(gate.name, Key.DATA)
    if gate.name == "G1":
        return Opening("G1", Key.ELSE)
    if gate.name == "G3" and gate.status is Status.FAIL and gain is not None:
        return _narrower("G3", evidence, gain, gain.log_ratio / _t(gain, 0.95))
    if gate.name == "G7" and gain is not None:
        return _narrower("G7", evidence, gain, math.log1p(breakeven) / (_t(gain, 0.975) + _t(gain, 0.8)))
    if gate.name == "G4" and gate.status is Status.UNKNOWN and gate.value is not None:
        return Opening("G4", Key.USERS_AND_SEEDS, gate.value)
    if gate.name == "G9" and gate.status is Status.UNKNOWN:
        # Two runs are compared where there are two; what else keeps them apart is what silences the gain.
        other = evidence.silent not in ("", *OF_SEEDS) and gate.value is None
        return Opening("G9", Key.ELSE) if other else Opening("G9", Key.SEEDS, MIN_SEEDS)
    if gate.name == "G9":
        return Opening("G9", Key.TRIALS, max(MIN_TRIALS, 2 * evidence.trials))
    if gate.name in ("G2", "G3", "G6"):  # with as many trials as every other condition has
        return Opening(gate.name, Key.TRIALS, evidence.trials)
    return Opening(gate.name, Key.ELSE)


def _of_silence(evidence: Evidence) -> Opening:
    """What would allow a word about the gain."""
    if evidence.of_new_items:
        return Opening("", Key.ELSE)
    if evidence.silent in (FEW_TRIALS, NoWord.FEW_TRIALS, NoWord.NOTHING_WITHOUT, NoWord.ONE_TRIAL):
        return Opening("", Key.TRIALS, max(MIN_TRIALS, 2 * evidence.trials if evidence.trials >= MIN_TRIALS else 0))
    if evidence.silent in OF_SEEDS:
        return Opening("", Key.SEEDS, MIN_SEEDS)
    if evidence.silent == NoWord.WIDE and evidence.variances:
        whole = math.fsum(evidence.variances.values())
        return Opening("", Key.WIDTH, evidence.variances[largest(evidence.variances)] / whole)
    if evidence.silent == NoWord.FEW_USERS:
        return Opening("", Key.USERS, MIN_USERS)
    return Opening("", Key.ELSE)


def _t(gain: LogGain, probability: float) -> float:
    return float(special.stdtrit(gain.df, probability))


def _narrower(name: str, evidence: Evidence, gain: LogGain, se: float) -> Opening:
    """Users with which the standard error of the gain is at most ``se``, all else as it is.

    Their part of the variance shrinks with their number; what the draw of trials and training noise add does not. Where
    not even a gain that is known exactly would do, ``se`` is at most 0.
    """
    whole = math.fsum(evidence.variances.values())
    rest = whole - evidence.variances.get(USERS, 0.0)
    if whole <= 0:
        return Opening(name, Key.ELSE)
    room = se**2 - rest if se > 0 else 0.0
    users = evidence.n_users * evidence.variances.get(USERS, 0.0) / room if room > 0 else math.inf
    if not users <= MOST_USERS:
        return Opening(name, Key.NO_USERS, rest / whole if se > 0 else 0.0)
    return Opening(name, Key.USERS, float(max(math.ceil(users), evidence.n_users + 1)))
