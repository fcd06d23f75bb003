"""The decision as a record that can be replayed: inputs, rule version, answer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any, TypeVar

import msgspec

from mmbench.decision.assumptions import when_given
from mmbench.decision.economics import Economics, Range, Source, Step, checked
from mmbench.decision.evidence import Evidence, Gate, Part, Promise, Status
from mmbench.decision.rule import RULE_VERSION, Decision, decide
from mmbench.inference.intervals import Interval, LogGain
from mmbench.messages import Refusal

T = TypeVar("T")

#: What gates and steps say in sentences, which another version may word in another way.
WORDED = frozenset({"why"})
#: By how much numbers of another machine may differ.
TOLERANCE = 1e-6


def as_record(evidence: Evidence, economics: Economics, decision: Decision) -> dict[str, Any]:
    """Inputs and answer as plain JSON."""
    value, flip, swings = (
        (decision.value, decision.flip, decision.swings) if decision.trusted else (None, None, ())
    )  # of a gain from which nothing may be concluded no sum is told
    steps = [step if decision.trusted else replace(step, evsi=None) for step in (*decision.steps, decision.step)]
    return {
        "kind": "decision",
        "rule": RULE_VERSION,
        "inputs": {"evidence": _evidence_record(evidence), "economics": asdict(economics)},
        "result": {
            "action": str(decision.action),
            "why": str(decision.why),
            "barred": [gate.name for gate in decision.barred],
            "assumptions": list(decision.assumptions),
            "sums": str(when_given(evidence, economics)),
            "promise": asdict(decision.promise) if decision.promise else None,
            "opens": [asdict(opening) for opening in decision.openings],
            "gates": [asdict(gate) for gate in decision.gates],
            "gain": evidence.ratio,
            "gain_95": _ends(evidence.gain, 0.95),
            "gain_99": _ends(evidence.gain, 0.99),
            "level": evidence.level,
            "gain_range": _ends(evidence.gain, evidence.level),
            "detectable": evidence.mde,
            "breakeven": decision.breakeven,
            "word": decision.word,
            "probability": value.probability if value else None,
            "confidence": str(decision.confidence),
            "npv_mean": value.mean if value else None,
            "npv_sd": value.sd if value else None,
            "npv_quantiles": {f"{p:g}": q for p, q in value.quantiles.items()} if value else None,
            "evpi": value.evpi if value else None,
            "flip": asdict(flip) if flip else None,
            "tornado": [asdict(swing) for swing in swings],
            "steps": [asdict(step) for step in steps[:-1]],
            "next_step": asdict(steps[-1]),
        },
    }


def replay(record: Mapping[str, Any]) -> Decision:
    """Decide again from the inputs of a record.

    Raises:
        ValueError: if it is no decision record, of another rule, or its inputs cannot be read.
    """
    return decided(record)[2]


def holds(record: Mapping[str, Any]) -> bool:
    """Whether the inputs of a record lead to its answer again, with the same numbers.

    Raises:
        ValueError: as :func:`replay`.
    """
    again = msgspec.json.decode(msgspec.json.encode(as_record(*decided(record))["result"]))
    result = record.get("result")
    return isinstance(result, Mapping) and all(_alike(result.get(name), value) for name, value in again.items())


def _alike(one: Any, other: Any) -> bool:
    """Whether two values are the same but for the rounding of another machine, and the wording of their parts."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_alike(one[name], other[name]) for name in one.keys() - WORDED)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_alike, one, other))
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
    return bool(one == other)


def decided(record: Mapping[str, Any]) -> tuple[Evidence, Economics, Decision]:
    """The inputs of a record, and the decision again.

    Raises:
        ValueError: as :func:`replay`.
    """
    if record.get("kind") != "decision":
        raise Refusal("this is no decision record: kind is {kind}", kind=record.get("kind"))
    if record.get("rule") != RULE_VERSION:
        raise Refusal(
            "the record was made by rule {rule}; this mmbench has rule {known}",
            rule=record.get("rule"),
            known=RULE_VERSION,
        )
    try:
        evidence = _typed(_evidence(record["inputs"]["evidence"]))
        economics = checked(_typed(_economics(record["inputs"]["economics"])))
        return evidence, economics, decide(evidence, economics)
    except (LookupError, TypeError, ValueError, ArithmeticError, msgspec.ValidationError) as error:
        raise Refusal("the inputs of the decision record cannot be read: {error}", error=error) from error


def _typed(value: T) -> T:
    """A value whose every field has the type that its class says; what reads a record sets them unseen.

    Raises:
        msgspec.ValidationError: naming the field.
    """
    return msgspec.convert(msgspec.to_builtins(value, enc_hook=str), type(value))


def _ends(gain: LogGain | None, level: float) -> list[float] | None:
    return None if gain is None else [gain.at(level).lo, gain.at(level).hi]


def _evidence_record(evidence: Evidence) -> dict[str, Any]:
    """Evidence as it is, without defaults of what came later.

    ``per_thousand`` is a list of three, and of four with a level other than 95 %.
    """
    more = evidence.per_thousand
    told = None if more is None else [more.mean, more.lo, more.hi, *([] if more.level == 0.95 else [more.level])]
    record = {**asdict(evidence), "per_thousand": told}
    single = {"repetitions": 1, "folds": False, "target": "", "made_up": False}
    return {name: value for name, value in record.items() if name not in single or value != single[name]}


def _evidence(given: Mapping[str, Any]) -> Evidence:
    return Evidence(**{
        **given,
        "models": tuple(given["models"]),
        "gain": None if given["gain"] is None else LogGain(**given["gain"]),
        "per_thousand": None if given["per_thousand"] is None else Interval(*given["per_thousand"]),
        "gates": tuple(Gate(**{**gate, "status": Status(gate["status"])}) for gate in given["gates"]),
        "part": None if given["part"] is None else Part(**given["part"]),
        "promising": tuple(Promise(**{**one, "part": Part(**one["part"])}) for one in given["promising"]),
    })  # fmt: skip


def _economics(given: Mapping[str, Any]) -> Economics:
    inputs = {name: Range(**value) for name, value in given["inputs"].items()}
    steps = {name: Step(**value) for name, value in given["steps"].items()}
    sources = {name: Source(value) for name, value in given["sources"].items()}
    return Economics(**{**given, "inputs": inputs, "steps": steps, "sources": sources})
