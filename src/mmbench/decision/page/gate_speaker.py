"""The trust panel of the decision page, in either language: what each gate asks, and what it found."""

from __future__ import annotations

from collections.abc import Mapping

from mmbench.decision.evidence import Gate, Status
from mmbench.decision.page import phrases
from mmbench.decision.page.amounts import Amounts
from mmbench.inference.contribution.guardrails import MARGIN, Rail
from mmbench.messages import Message, digits_apart


def failure(gate: Gate) -> Message:
    """How often a control failed, and why."""
    assert gate.value is not None
    return Message(phrases.CONTROL_FAILED, int(gate.value), reason=gate.why.rstrip("."))


class GateSpeaker(Amounts):
    """Says what the gates found."""

    def gate(self, gate: Gate) -> Mapping[str, str]:
        """One line of the trust panel."""
        status, verdict = phrases.STATUSES[gate.status]
        numbers = {"value": gate.value, "limit": gate.limit, "lo": gate.lo, "hi": gate.hi}
        given = {name: self._gate_number(gate, value, bound=name in ("lo", "hi")) for name, value in numbers.items()}
        template = phrases.ANSWERS[gate.name][gate.status]
        if (gate.name, gate.status) in (("G3", Status.FAIL), ("G9", Status.FAIL)) and gate.value is None:
            template = phrases.NO_RANGE if gate.name == "G3" else phrases.DEPENDS
        if gate.name == "G7" and gate.value == 0.0:
            template = phrases.NO_WIDTH
        if gate.name == "G5" and self.evidence.part is not None:
            template = phrases.OF_PART[gate.status]
        if gate.status is Status.UNKNOWN and gate.name in phrases.NOT_KNOWN and gate.why:
            template, given = phrases.NOT_KNOWN[gate.name], {"reason": str(self.translator(gate.why))}
        found = self._rails(gate) if gate.name == "G4" else self(Message(template, **given))
        if gate.name == "G7" and gate.value and self.looked_before:
            found = self.joined((found, self(phrases.AT_95)))
        return {
            "name": gate.name,
            "asks": self(phrases.QUESTIONS[gate.name]),
            "status": status,
            "said": self(verdict),
            "found": self(failure(gate)) if gate.control_failed else found,
            "bars": self(phrases.BARS[gate.bars]),
            "command": gate.command,
        }

    def _rails(self, gate: Gate) -> str:
        """Which guard-rails hold, which do not, and which were not measured."""
        names = {
            word: self.translator.list([self.rail(name) for name, said in gate.rails if said == word]) for word in Rail
        }
        given = {"holding": names[Rail.HOLDS], "broken": names[Rail.BROKEN], "open": names[Rail.OPEN]}
        template = phrases.ANSWERS["G4"][gate.status] if gate.rails else phrases.NO_RAILS
        if not gate.rails and gate.why:
            template, given = phrases.NOT_KNOWN["G4"], {"reason": str(self.translator(gate.why))}
        lines = [self(Message(template, margin=self.share(MARGIN), **given))]
        absent = [self(phrases.RAIL_NAMES[name]) for name in phrases.RAIL_NAMES if name not in dict(gate.rails)]
        if gate.rails and absent:
            lines.append(self(Message(phrases.NOT_MEASURED, rails=self.translator.list(absent))))
        return self.joined(lines)

    def rail(self, name: str) -> str:
        """A guard-rail as the facts name it."""
        return self(phrases.RAIL_NAMES[name]) if name in phrases.RAIL_NAMES else name

    def _gate_number(self, gate: Gate, value: float | None, *, bound: bool) -> str:
        """A number of a gate; what decides it does not look like its limit where it is not."""
        if value is None:
            return "-"
        if bound or gate.name in phrases.GAINS:
            return self.gain(value, sign=bound or gate.name == "G9")
        if gate.name in phrases.COUNTS:
            return self.translator.number(value)
        scale, least = (100, 0) if gate.name in phrases.SHARES else (1, 4)
        ends = (gate.value, gate.limit)
        digits = least if ends[0] is None or ends[1] is None else digits_apart(ends[0], ends[1], least, scale)
        return self.translator.percent(value, digits) if scale == 100 else self.translator.number(value, digits)
