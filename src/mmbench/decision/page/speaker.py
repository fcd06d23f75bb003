"""Sentences of the decision page in either language: the first screen, gates, inputs, steps."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

from mmbench.decision import Action, Decision, Economics, Evidence, annuity
from mmbench.decision.economics import costs, totals
from mmbench.decision.evidence import GATES, Bars, Gate, Status
from mmbench.decision.rule import Confidence, Why
from mmbench.decision.steps import WAIT, NextStep
from mmbench.messages import Words

BADGES = {Action.GO: "go", Action.GO_PARTIAL: "go_partial", Action.HOLD: "hold", Action.NO_GO: "no_go"}
STATUSES = {Status.PASS: "pass", Status.FAIL: "fail", Status.UNKNOWN: "unknown"}
BARS = {Bars.EVERY: "bars_every", Bars.GO: "bars_go", Bars.NO_GO: "bars_no_go"}
#: Gates whose numbers are shares, and those whose numbers are counts; all others are scores.
SHARES, COUNTS = {"G3", "G5", "G7"}, {"G6"}
#: Inputs in the currency, and inputs that are shares.
MONEY = {"value.order_value", "cost.image", "cost.encoding", "cost.gigabyte_month", "cost.serving_year",
         "cost.engineering_once", "cost.engineer_year"}  # fmt: skip
PERCENT = {"value.conversion", "value.margin", "items.with_images", "items.target"}


@dataclass(frozen=True)
class Speaker:
    """Says what was decided.

    Args:
        words: the page's catalogue.
        gates: the catalogue of gates and inputs.
        common: words that pages share.
        evidence: what was measured.
        economics: what was put in.
        decision: the answer.
    """

    words: Words
    gates: Words
    common: Words
    evidence: Evidence
    economics: Economics
    decision: Decision

    @staticmethod
    def of(lang: str, evidence: Evidence, economics: Economics, decision: Decision) -> Speaker:
        """A speaker of one language.

        Raises:
            ValueError: for a language that there is no catalogue of.
        """
        words, gates, common = (Words(domain, lang) for domain in ("decision", "gates", "common"))
        return Speaker(words, gates, common, evidence, economics, decision)

    def __call__(self, name: str, **values: object) -> str:
        """A sentence of the page."""
        return self.words(name, **values)

    def gain(self, share: float) -> str:
        """A relative gain with its sign."""
        return self.words.percent(share, 1, sign=True)

    def days(self, n: float) -> str:
        """How long a step takes."""
        return self.words("days", math.ceil(n))

    def share(self, share: float) -> str:
        """A share of something; small ones with decimals."""
        return self.words.percent(share, 1 if 0 < abs(share) < 0.1 else 0)

    def money(self, amount: float) -> str:
        """A sum."""
        return self.words.money(amount, self.economics.currency)

    def price(self, amount: float) -> str:
        """A unit price, with decimals where it is small."""
        digits = 0 if abs(amount) >= 100 or amount == 0 else 2 if abs(amount) >= 0.01 else 6
        return self.words.money(amount, self.economics.currency, digits)

    @property
    def need(self) -> str:
        """The break-even gain."""
        return self.words.percent(self.decision.breakeven, 1)

    @property
    def years(self) -> str:
        """The horizon."""
        return self.words.number(self.economics.years)

    # First screen

    @property
    def badge(self) -> str:
        """The answer in the fewest words."""
        return self(BADGES[self.decision.action])

    @property
    def action(self) -> str:
        """What to do."""
        return self(f"action_{BADGES[self.decision.action]}")

    def sentence(self) -> str:
        """Why, in one sentence for everybody."""
        d, gain, more = self.decision, self.evidence.gain, self.evidence.per_thousand
        if d.action is Action.GO and more is not None:
            numbers = (more.mean, more.lo, more.hi)
            x, lo, hi = (self.words.number(value, 1 if abs(value) < 10 else 0) for value in numbers)
            return self("say_go", x=x, lo=lo, hi=hi)
        if d.action is Action.GO_PARTIAL and d.subset is not None:
            return self("say_go_partial", part=self.part(d.subset.name))
        if d.action is Action.NO_GO and gain is not None:
            return self("say_no_go", hi=self.gain(gain.hi), need=self.need)
        said = {Why.UNTRUSTED: "say_untrusted", Why.BARRED_GO: "say_barred_go", Why.BARRED_NO_GO: "say_barred_no_go"}
        if d.why in said:
            return self(said[d.why])
        if gain is None:
            return self("range_none", need=self.need)
        return self("say_unclear", lo=self.gain(gain.lo), hi=self.gain(gain.hi), need=self.need)

    def sure(self) -> str:
        """How likely it pays, in natural frequencies."""
        d = self.decision
        if d.probability is None:
            return self("unclear_untrusted")
        n = self.words.number(100 * d.probability)
        barred = {Why.BARRED_GO: "unclear_barred_go", Why.BARRED_NO_GO: "unclear_barred_no_go"}
        if d.why in barred:
            return self(barred[d.why], n=n, years=self.years)
        names = {Confidence.VERY_LIKELY: "very_likely", Confidence.LIKELY: "likely", Confidence.UNCLEAR: "unclear"}
        ending = "not" if d.action is Action.NO_GO and d.confidence is not Confidence.UNCLEAR else "pays"
        return self(f"{names[d.confidence]}_{ending}", n=n, years=self.years)

    def range(self) -> str:
        """The gain with its range against the break-even line."""
        gain = self.evidence.gain
        if gain is None:
            return self("range_none", need=self.need)
        if self.decision.value is None:
            return self("range_point", mean=self.gain(gain.mean), need=self.need)
        name = "range_text" if self.decision.trusted else "range_untrusted"
        return self(name, mean=self.gain(gain.mean), lo=self.gain(gain.lo), hi=self.gain(gain.hi), need=self.need)

    def cost(self) -> str:
        """What it costs, once, every year and in all."""
        once, year = totals(costs(self.economics.likely))
        total = once + year * annuity(self.economics.years, self.economics.discount)
        return self(
            "cost_text", once=self.money(once), year=self.money(year), years=self.years, total=self.money(total)
        )

    def step(self, step: NextStep) -> str:
        """A next step."""
        if step.name != WAIT:
            return self(f"step_{step.name}")
        price = self.decision.flip.image_price if self.decision.flip else None
        return self("step_wait_plain") if price is None or price <= 0 else self("step_wait", price=self.price(price))

    def next_step(self) -> str:
        """The next step with its cost and duration."""
        step = self.decision.step
        said = self.step(step)
        if step.name == WAIT:
            return said
        return self("next_text", step=said, cost=self.money(step.cost), days=self.days(step.days))

    def about(self, day: date) -> str:
        """What the page is about, when it was made, and how sums are meant."""
        tax = self(f"tax_{self.economics.tax}")
        return self(
            "about", dataset=self.evidence.dataset, model=self.evidence.model, date=self.words.date(day), tax=tax
        )

    # Details

    def gate(self, gate: Gate) -> Mapping[str, str]:
        """One line of the trust panel."""
        status = STATUSES[gate.status]
        given = {"value": self._gate_number(gate.name, gate.value), "limit": self._gate_number(gate.name, gate.limit)}
        return {
            "name": gate.name,
            "asks": self.gates(gate.name),
            "status": status,
            "said": self.gates(status),
            "found": self.gates(f"{gate.name}_{status}", **given),
            "bars": self.gates(BARS[GATES[gate.name][0]]),
        }

    def _gate_number(self, name: str, value: float | None) -> str:
        if value is None:
            return "-"
        if name in COUNTS:
            return self.words.number(value)
        if name in SHARES:
            return self.words.percent(value, 0 if name == "G5" else 1)
        return self.words.number(value, 4)

    def input(self, name: str, value: float) -> str:
        """An input as its unit has it."""
        if name in MONEY:
            return self.price(value)
        if name in PERCENT:
            return self.share(value)
        return self.words.number(value, 0 if value >= 100 or value == int(value) else 2)

    def modality(self, name: str) -> str:
        """A modality by name; one of the user's own keeps it."""
        return self.common(name) if name in ("text", "image", "audio") else name

    def part(self, name: str) -> str:
        """A slice as the report calls it, in the language of the page."""
        division, _, part = name.partition(": ")
        if name == "item's training interactions: cold":
            return self("part_cold")
        divided = {
            "item's training interactions": "div_items",
            "user's training interactions": "div_users",
            "category": "div_category",
            "text length": "div_length",
        }
        key = divided.get(division, "div_presence" if division.endswith(" present") else "")
        return self(key, part=self._slice(part, division)) if key else name

    def _slice(self, part: str, division: str) -> str:
        first, _, rest = part.partition(" ")
        if division == "category":
            return self("others") if part == "other categories" else part
        if part == "cold":
            return self("cold")
        if rest == "and more":
            return self("more", n=first)
        if first in ("has", "no"):
            return self("has" if first == "has" else "lacks", modality=self.modality(rest))
        if first in ("short", "medium", "long"):
            return self(first)
        return part
