"""Numbers and names as the decision page writes them, in either language: sums, shares, gains, items, modalities."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

from mmbench.data.divisions import DIVISIONS as DIVISIONS_OF_ITEMS
from mmbench.decision import Decision, Economics, Evidence
from mmbench.decision.economics import Source
from mmbench.decision.page import phrases
from mmbench.decision.rule import FAVOURABLE
from mmbench.inference.intervals import Interval
from mmbench.messages import Message, Translator, digits_apart, digits_given, digits_shown
from mmbench.report.sentences import at_level

#: Inputs that count items.
ITEMS = ("items.stock", "items.new_year")


def _two_figures(amount: float) -> int:
    """Decimals of a very small number: its first two figures, a second one that is zero left out."""
    digits = 1 - math.floor(math.log10(abs(amount)))
    return digits - (round(amount, digits) == round(amount, digits - 1))


def _decimals_of_price(amount: float) -> int:
    """Decimals of a unit price."""
    return 0 if abs(amount) >= 100 or amount == 0 else 2 if abs(amount) >= 0.01 else _two_figures(amount)


def decimals_of_share(share: float) -> int:
    """Decimals of a share in percent: two figures of a very small one."""
    if 0 < abs(share) < 0.01:
        return max(1, _two_figures(100 * share))
    return 1 if 0 < abs(share) < 0.1 else 0


@dataclass(frozen=True)
class Amounts:
    """Says numbers and names, each as long as it takes to differ from what it is held against.

    Args:
        translator: into the language of the page.
        evidence: what was measured.
        economics: what was put in.
        decision: the answer.
    """

    translator: Translator
    evidence: Evidence
    economics: Economics
    decision: Decision

    def __call__(self, message: Message) -> str:
        """A sentence of the page."""
        return str(self.translator(message))

    def text(self, template: str, /, **values: object) -> str:
        """A sentence that stands in the template of the page."""
        return self(Message(template, **values))

    def gain(self, share: float, *, sign: bool = True) -> str:
        """A relative gain with its sign, or without; one that is not break-even does not look like it.

        Rounding keeps the order of two numbers, so that each is as long as it takes to differ from the other.
        """
        breakeven = self.decision.breakeven
        digits = max(digits_apart(share, breakeven, 1, 100), digits_shown(100 * share, 1))
        if math.isclose(share, breakeven, rel_tol=1e-9):
            digits = self._digits_of_need
        return self.translator.percent(share, digits, sign=sign)

    def days(self, n: float) -> str:
        """How long a step takes."""
        return self(Message.counted("{n} day", "{n} days", math.ceil(n)))

    def share(self, share: float, beside: float | None = None) -> str:
        """A share that was computed; small ones with decimals, and one beside another does not look like it."""
        digits = decimals_of_share(share)
        digits = digits if beside is None else digits_apart(share, beside, digits, 100)
        return self.translator.percent(share, digits)

    def money(self, amount: float) -> str:
        """A sum."""
        return self.translator.money(amount, self.economics.currency)

    def price(self, amount: float, beside: float | None = None) -> str:
        """A unit price that was computed, with decimals where it is small; one beside another does not look like it."""
        digits = _decimals_of_price(amount)
        digits = digits if beside is None else digits_apart(amount, beside, digits)
        return self.translator.money(amount, self.economics.currency, digits, exact=True)

    def given_price(self, amount: float) -> str:
        """A unit price or a sum as somebody gave it."""
        digits = digits_given(amount, _decimals_of_price(amount))
        return self.translator.money(amount, self.economics.currency, digits, exact=True)

    def given_share(self, share: float) -> str:
        """A share of something as somebody gave it."""
        return self.translator.percent(share, digits_given(share, decimals_of_share(share), 100))

    @property
    def need(self) -> str:
        """The break-even gain."""
        return self.translator.percent(self.decision.breakeven, self._digits_of_need)

    @functools.cached_property
    def _digits_of_need(self) -> int:
        """Decimals of the break-even gain: two figures of a small one, and what tells it from the measured numbers."""
        need, measured = self.decision.breakeven, self.evidence.gain
        compared = [self.evidence.ratio, self.evidence.mde]
        if measured is not None:
            compared += [
                end
                for bounds in (0.95, self.evidence.level, FAVOURABLE)
                for end in (measured.at(bounds).lo, measured.at(bounds).hi)
            ]
        least = max(1, decimals_of_share(need))
        return max([least, *(digits_apart(need, gain, least, 100) for gain in compared if gain is not None)])

    @property
    def years(self) -> str:
        """The horizon."""
        return self(Message.counted("{n} year", "{n} years", self.economics.years))

    def slice(self, name: str) -> str:
        """A slice of items, ``<division>:<label>``."""
        division, _, label = name.partition(":")
        return self.part(f"{DIVISIONS_OF_ITEMS[division]}: {label}")

    def joined(self, sentences: Iterable[str]) -> str:
        """Sentences after one another; Japanese puts no space between them."""
        return ("" if self.translator.lang == "ja" else " ").join(sentences)

    def input(self, name: str, value: float) -> str:
        """An input as it was given, in its unit."""
        if name in phrases.MONEY:
            return self.given_price(value)
        if name in phrases.PERCENT:
            return self.given_share(value)
        # How many items a part has is a share of their number, and what the data tell of a year is one as well.
        computed = self.evidence.part is not None or self.economics.sources[name] is Source.DATA
        digits = digits_shown(value, 0) if name in ITEMS and computed else digits_given(value)
        number = self.count(value, digits)
        return self(Message(phrases.UNITS[name], n=number)) if name in phrases.UNITS else number

    def count(self, value: float, digits: int = 0) -> str:
        """A number, easy to read where it is large."""
        return self.translator.large(value) if value >= phrases.MANY else self.translator.number(value, digits)

    def span(self, low: str, high: str, level: float = 0.95) -> str:
        """A range between two numbers as they are written, with its level where that is not 95 %."""
        return self.leveled(Message("{lo} to {hi}", lo=low, hi=high), level)

    def leveled(self, bounds: str, level: float) -> str:
        """Bounds with their level where that is not 95 %."""
        return str(self.translator(at_level(bounds, level)))

    def range_of(self, gain: Interval) -> str:
        """The range of a gain."""
        return self.span(self.gain(gain.lo), self.gain(gain.hi), gain.level)

    @property
    def looked_before(self) -> bool:
        """Whether this is a later look at the test split, so that ranges of the gain have another level than 95 %."""
        return not math.isclose(self.evidence.level, 0.95)

    def modality(self, name: str) -> str:
        """A modality by name; one of the user's own keeps it."""
        return self(phrases.MODALITIES[name]) if name in phrases.MODALITIES else name

    def part(self, name: str) -> str:
        """A slice as the report calls it, in the language of the page."""
        division, _, part = name.partition(": ")
        if name == "item's training interactions: cold":
            return self(Message("new items (no purchase yet)"))
        if division in phrases.DIVISIONS:
            return self(Message(phrases.DIVISIONS[division], part=self._slice(part, division)))
        if division.endswith(" present"):
            return self(Message("items {part}", part=self._slice(part, division)))
        return name

    def _slice(self, part: str, division: str) -> str:
        first, _, rest = part.partition(" ")
        if division == "category":
            return self(Message("all others")) if part == "other categories" else part
        if part == "cold":
            return self(Message("none (new items)"))
        if rest == "and more":
            return self(Message("{n} and more", n=first))
        if first == "has":
            return self(Message("with {modality}", modality=self.modality(rest)))
        if first == "no":
            return self(Message("without {modality}", modality=self.modality(rest)))
        if counts := re.fullmatch(r"(\d+)-(\d+)", part):
            return self.span(counts[1], counts[2])
        return self(phrases.LENGTHS[first]) if first in phrases.LENGTHS else part
