"""Who says the sentences of the decision page, in either language: the first screen, gates, inputs, steps."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime

from mmbench.data.divisions import DIVISIONS as DIVISIONS_OF_ITEMS
from mmbench.data.planted import is_made_up
from mmbench.decision import Action, Decision, Economics, Evidence, annuity
from mmbench.decision.assumptions import Given, when_given
from mmbench.decision.economics import costs, totals
from mmbench.decision.evidence import Gate, Status
from mmbench.decision.openings import Key, Opening
from mmbench.decision.page import phrases
from mmbench.decision.rule import FAVOURABLE, Why
from mmbench.decision.steps import DATA, OF_NEW_ITEMS_ALONE, PARTIAL, WAIT, NextStep
from mmbench.decision.value import breakeven, of_part
from mmbench.inference.contribution.guardrails import MARGIN, Rail
from mmbench.inference.intervals import Interval, LogGain
from mmbench.messages import Message, Translator, digits_apart, digits_given, digits_shown
from mmbench.report.sentences import metric_among, metric_name


def _two_figures(amount: float) -> int:
    """Decimals of a very small sum: its first two figures, a second one that is zero left out."""
    digits = 1 - math.floor(math.log10(abs(amount)))
    return digits - (round(amount, digits) == round(amount, digits - 1))


def _decimals_of_price(amount: float) -> int:
    """Decimals of a unit price."""
    return 0 if abs(amount) >= 100 or amount == 0 else 2 if abs(amount) >= 0.01 else _two_figures(amount)


def _decimals_of_share(share: float) -> int:
    """Decimals of a share in percent."""
    return 1 if 0 < abs(share) < 0.1 else 0


def _failure(gate: Gate) -> Message:
    """How often a control failed, and why."""
    assert gate.value is not None
    return Message(phrases.CONTROL_FAILED, int(gate.value), reason=gate.why.rstrip("."))


def _round_up(users: float) -> float:
    """A number of users to two figures: its digits beyond them are no knowledge."""
    unit = 10 ** max(math.floor(math.log10(users)) - 1, 0)
    return math.ceil(users / unit) * unit


@dataclass(frozen=True)
class Speaker:
    """Says what was decided.

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

    @staticmethod
    def of(lang: str, evidence: Evidence, economics: Economics, decision: Decision) -> Speaker:
        """A speaker of one language; its sums are those of the items that the evidence is about.

        Raises:
            Refusal: for a language that there is no catalogue of.
        """
        return Speaker(Translator(lang), evidence, of_part(economics, evidence.part), decision)

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
        digits = _decimals_of_share(share)
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
        return self.translator.percent(share, digits_given(share, _decimals_of_share(share), 100))

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
                end for bounds in (0.95, FAVOURABLE) for end in (measured.at(bounds).lo, measured.at(bounds).hi)
            ]
        least = max(1, _two_figures(100 * need)) if 0 < need < 0.01 else 1
        return max([least, *(digits_apart(need, gain, least, 100) for gain in compared if gain is not None)])

    @property
    def years(self) -> str:
        """The horizon."""
        return self.translator.number(self.economics.years)

    @property
    def dataset(self) -> str:
        """The data set; of several that were judged together the first, and how many there are."""
        e, n = self.evidence, self.translator.number(self.evidence.repetitions)
        if e.repetitions == 1:
            return e.dataset
        if e.folds:
            return self(Message("{dataset} (mean over {n} groups of new items)", dataset=e.dataset, n=n))
        return self(Message("{dataset} (mean over {n} random splits)", dataset=e.dataset, n=n))

    @property
    def made_up(self) -> bool:
        """Whether the data set is a planted world; a record of an earlier version has its name alone."""
        return self.evidence.made_up or is_made_up(self.evidence.dataset)

    # First screen

    @property
    def badge(self) -> str:
        """The answer in the fewest words."""
        return self((phrases.BADGES_IF if self.decision.assumptions else phrases.BADGES)[self.decision.action])

    @property
    def action(self) -> str:
        """What to do."""
        return self(Message(phrases.ACTIONS[self.decision.action], part=self.part_name))

    @property
    def part_name(self) -> str:
        """The items that alone have images; empty where all have."""
        return "" if self.evidence.part is None else self.slice(self.evidence.part.slice)

    def slice(self, name: str) -> str:
        """A slice of items, ``<division>:<label>``."""
        division, _, label = name.partition(":")
        return self.part(f"{DIVISIONS_OF_ITEMS[division]}: {label}")

    def sentence(self) -> str:
        """Why, in a sentence for everybody, and what it rests on or which check is closed."""
        return self.joined(filter(None, (self._reason(), self._unpriced(), self._rests_on(), self.closed())))

    def joined(self, sentences: Iterable[str]) -> str:
        """Sentences after one another; Japanese puts no space between them."""
        return ("" if self.translator.lang == "ja" else " ").join(sentences)

    def _unpriced(self) -> str:
        """Why the gain has no price; empty where it has one."""
        return self(phrases.UNPRICED[self.evidence.target]) if self.evidence.of_new_items else ""

    def _rests_on(self) -> str:
        """The assumed numbers without which it would not be GO."""
        if not self.decision.assumptions:
            return ""
        names = self.translator.list([self(phrases.INPUT_NAMES[name]) for name in self.decision.assumptions])
        return self(Message("It rests on numbers that nobody in the company has given: {names}.", names=names))

    def closed(self) -> str:
        """The checks that stand in the way of an answer; empty where none does."""
        names = [
            self(Message("{gate} ({question})", gate=gate.name, question=self(phrases.QUESTIONS[gate.name])))
            for gate in self.decision.barred
        ]
        if not names:
            return ""
        return self(
            Message.counted(
                "Closed check: {gates}.", "Closed checks: {gates}.", len(names), gates=self.translator.list(names)
            )
        )

    def opens(self) -> list[str]:
        """What would open the closed checks, or tell what the data do not; nothing where there is an answer."""
        return [self(self._opening(opening)) for opening in self.decision.openings]

    def _opening(self, opening: Opening) -> Message:
        e, number = self.evidence, self.translator.number
        gate, amount = opening.gate, opening.amount or 0.0
        if opening.key is Key.USERS:
            template = phrases.OPEN_USERS if gate else phrases.OPEN_FEW_USERS if e.silent else phrases.TELL_USERS
            return Message(template, gate=gate, users=number(_round_up(amount)), now=number(e.n_users))
        if opening.key is Key.NO_USERS:
            share = self.translator.percent(amount)
            return Message(phrases.OPEN_NO_USERS if gate else phrases.TELL_NO_USERS, gate=gate, share=share)
        if opening.key is Key.TRIALS:
            return Message(phrases.OPEN_TRIALS[gate], gate=gate, n=f"{amount:.0f}")
        if opening.key is Key.SEEDS:
            return Message(phrases.OPEN_SEEDS[gate], gate=gate, n=f"{amount:.0f}")
        if opening.key is Key.DATA:
            return Message(phrases.OPEN_DATA, gate=gate)
        if opening.key is Key.USERS_AND_SEEDS:
            users = number(_round_up(amount * e.n_users))
            return Message(phrases.OPEN_RAILS, gate=gate, times=number(amount, 1), users=users, now=number(e.n_users))
        if opening.key is Key.INPUTS:
            inputs = [swing.name for swing in self.decision.swings if swing.name != "gain"]
            return Message(phrases.TELL_INPUTS, name=self(phrases.INPUT_NAMES[inputs[0] if inputs else "discount"]))
        return Message(phrases.OPEN_ELSE[gate], gate=gate)

    def sums(self) -> str:
        """Whether the company's sums were given before or after the results."""
        given = when_given(self.evidence, self.economics)
        times = {}
        if given in (Given.BEFORE, Given.AFTER):
            times = {"planned": self._time(self.evidence.planned_at), "changed": self._time(self.economics.changed_at)}
        return self(Message(phrases.SUMS[given], **times))

    def _time(self, at: str) -> str:
        """A time of day in UTC, from ISO 8601."""
        moment = datetime.fromisoformat(at).astimezone(UTC)
        return f"{self.translator.date(moment.date())} {moment:%H:%M} UTC"

    def _reason(self) -> str:
        d, gain = self.decision, self.evidence.interval
        if d.action in (Action.GO, Action.PARTIAL) and gain is not None:
            return self._found_more(self.evidence.per_thousand, gain)
        if d.why is Why.MONEY and self.evidence.gain is not None:
            return self._by_money_alone(self.evidence.gain)
        if d.promise is not None:
            part, promised = d.promise.part, d.promise.gain
            need = breakeven(of_part(self.economics, part))
            digits = digits_apart(promised, need, 1, 100)
            return self(
                Message(
                    "Images for all items are not shown to pay. Images for some of them alone may: {part} ({n} items). "
                    "If nothing but their purchases changed, the gain would be {gain}, and {need} would pay. A place "
                    "that one item gains another one loses, so this has to be measured.",
                    part=self.slice(part.slice),
                    n=self.translator.number(part.items),
                    gain=self.translator.percent(promised, digits, sign=True),
                    need=self.translator.percent(need, digits),
                )
            )
        if d.action is Action.NO_GO and gain is not None:
            return self(
                Message(
                    "Even in the favourable case ({hi}), images would earn less than they cost: {need} is needed to "
                    "pay.",
                    hi=self.gain(gain.hi),
                    need=self.need,
                )
            )
        if d.why in (Why.SILENT, Why.UNTRUSTED) and (gate := self._failed_control) is not None:
            return self(
                Message(
                    "{failure} Without it nothing can be concluded. This does not mean that images have no effect.",
                    failure=_failure(gate),
                )
            )
        if d.why is Why.SILENT:
            return self(
                Message(
                    "Nothing can be concluded from the measurement: {reason}. This does not mean that images have no "
                    "effect.",
                    reason=phrases.SILENCES[self.evidence.silent or OF_NEW_ITEMS_ALONE],
                )
            )
        if d.why in phrases.REASONS:
            return self(phrases.REASONS[d.why])
        if gain is None:
            return self(Message("Not measured; break-even line {need}.", need=self.need))
        return self(
            Message(
                "We cannot tell yet: the true effect may be anywhere from {lo} to {hi}, and {need} is needed to pay.",
                lo=self.gain(gain.lo),
                hi=self.gain(gain.hi),
                need=self.need,
            )
        )

    @property
    def quality(self) -> str:
        """What the metric measures, as it stands in a sentence."""
        metric, _, k = self.evidence.metric.partition("@")
        return self(Message(phrases.QUALITIES.get(metric, phrases.OWN_QUALITY), k=k))

    @property
    def explained(self) -> str:
        """What the metric measures, for the list of words; empty for one of somebody's own."""
        metric, _, k = self.evidence.metric.partition("@")
        if metric not in phrases.METRICS:
            return ""
        return self(Message(phrases.METRICS[metric], metric=metric_name(self.evidence.metric), k=k))

    def _found_more(self, more: Interval | None, gain: Interval) -> str:
        """What images bring where they are to be added.

        Args:
            more: relevant items more per 1,000 recommendations; None without bounds.
            gain: in the metric.
        """
        if more is None:
            return self(
                Message(
                    "Adding images improves {quality} ({gain}, range {lo} to {hi}). How many more relevant items per "
                    "1,000 recommendations that is cannot be told.",
                    quality=self.quality,
                    gain=self.gain(gain.mean),
                    lo=self.gain(gain.lo),
                    hi=self.gain(gain.hi),
                )
            )
        x, lo, hi = (
            self.translator.number(value, digits_shown(value, 1 if abs(value) < 10 else 0))
            for value in (more.mean, more.lo, more.hi)
        )
        if not more.mean > 0:  # the metric is better, and the first 20 hold no more
            return self(
                Message(
                    "Adding images improves {quality} ({gain}), but is not shown to find more relevant items per 1,000 "
                    "recommendations (range {lo} to {hi}).",
                    quality=self.quality,
                    gain=self.gain(gain.mean),
                    lo=lo,
                    hi=hi,
                )
            )
        return self(
            Message(
                "Adding images finds about {x} more relevant items per 1,000 recommendations (range {lo} to {hi}).",
                x=x,
                lo=lo,
                hi=hi,
            )
        )

    def _by_money_alone(self, gain: LogGain) -> str:
        """Why no gain could pay, and what a missing control leaves out."""
        sides = {"hi": self.gain(gain.at(FAVOURABLE).hi), "need": self.need}
        control = next(gate for gate in self.decision.gates if gate.name == "G3")
        if control.status is Status.UNKNOWN:
            return self(
                Message(
                    "No gain that these data allow (up to {hi}) would earn what images cost: {need} is needed to "
                    "pay. Conditions whose control is missing are no part of this; they would have to gain that "
                    "much.",
                    **sides,
                )
            )
        return self(
            Message(
                "No gain that these data allow (up to {hi}) would earn what images cost: {need} is needed to pay. "
                "This holds whatever the other checks say.",
                **sides,
            )
        )

    @property
    def _failed_control(self) -> Gate | None:
        """G3 where a control failed and that bars the answer."""
        return next((gate for gate in self.decision.barred if gate.control_failed), None)

    def sure(self) -> str:
        """How likely it pays, in natural frequencies."""
        d = self.decision
        if d.probability is None:
            return self(Message("Unclear: as long as the measurement is not trusted, no probability can be told."))
        n = self._of_hundred(d.probability)
        if d.why in phrases.BARRED:
            return self(Message(phrases.BARRED[d.why], n=n, years=self.years))
        return self(
            Message(
                (phrases.NOT_TO_PAY if d.action is Action.NO_GO else phrases.TO_PAY)[d.confidence],
                n=n,
                years=self.years,
            )
        )

    def _of_hundred(self, probability: float) -> str:
        """So many of 100 cases; a calculation is never sure."""
        if probability > 0.99:
            return self(Message("more than 99"))
        if probability < 0.01:
            return self(Message("fewer than 1"))
        return self(Message(phrases.CASES, n=self.translator.number(100 * probability)))

    def range(self) -> str:
        """The gain with its range against the break-even line."""
        gain, ratio = self.evidence.interval, self.evidence.ratio
        if ratio is None:
            return self(Message("Not measured; break-even line {need}.", need=self.need))
        if self.evidence.of_new_items:
            return self(
                Message(
                    "Measured for new items: {mean}; the break-even line ({need}) is one of all recommendations.",
                    mean=self.gain(ratio),
                    need=self.need,
                )
            )
        if gain is None or self.decision.value is None:
            return self(
                Message(
                    "Measured, but its range cannot be told: {mean}; break-even line {need}.",
                    mean=self.gain(ratio),
                    need=self.need,
                )
            )
        values = {"mean": self.gain(gain.mean), "lo": self.gain(gain.lo), "hi": self.gain(gain.hi), "need": self.need}
        if self.decision.trusted and gain.lo == gain.hi:
            return self(
                Message(
                    "Gain {mean}: whichever of the trials are drawn, the best configuration makes no use of images; "
                    "break-even line {need}.",
                    **values,
                )
            )
        if self.decision.trusted:
            return self(Message("Gain {mean}, range {lo} to {hi}; break-even line {need}.", **values))
        return self(Message("Measured, but not trusted: {mean}, range {lo} to {hi}; break-even line {need}.", **values))

    def measured(self) -> str:
        """What was measured on which data, with which models and effort."""
        e, number = self.evidence, self.translator.number
        given = {"models": ", ".join(e.models), "n": number(e.n), "trials": number(e.trials), "dataset": self.dataset}
        given |= {"metric": metric_among(e.metric, e.target), "users": number(e.n_users)}
        if e.ratio is None:
            return self(
                Message(
                    "Data set {dataset}, {users} test users, best of {models}: no gain in {metric} can be told.",
                    **given,
                )
            )
        if self.decision.word is None or not self.decision.trusted:
            return self(
                Message(
                    "Data set {dataset}, {users} test users, best of {models}, each tuned with {n} of its {trials} "
                    "trials per condition: {metric} differs by {mean} with and without the information in the images; "
                    "nothing is concluded from it.",
                    mean=self.gain(e.ratio),
                    **given,
                )
            )
        given |= {"mean": self.gain(e.ratio), "word": phrases.WORDS[self.decision.word], "part": self.part_name}
        if e.part is not None:
            return self(
                Message(
                    "Data set {dataset}, {users} test users, best of {models}, each tuned with {n} of its {trials} "
                    "trials per condition, with images for these items only: {part}. Real instead of shuffled images "
                    "change {metric} by {mean}, over all items. Against break-even: {word}.",
                    **given,
                )
            )
        return self(
            Message(
                "Data set {dataset}, {users} test users, best of {models}, each tuned with {n} of its {trials} trials "
                "per condition: real instead of shuffled images change {metric} by {mean}. Against break-even: {word}.",
                **given,
            )
        )

    def cost(self) -> str:
        """What it costs, once, every year and in all."""
        once, year = totals(costs(self.economics.likely))
        total = once + year * annuity(self.economics.years, self.economics.discount)
        return self(
            Message(
                "{once} once and {year} a year; over {years} years {total} at today's value.",
                once=self.money(once),
                year=self.money(year),
                years=self.years,
                total=self.money(total),
            )
        )

    def step(self, step: NextStep) -> str:
        """A next step."""
        if step.name == "control" and self._failed_control is not None:
            return self(Message("Find out why the control with shuffled images failed, and run it again."))
        if step.name == DATA and step.why:
            return self(Message("Make the data readable again: {reason}.", reason=step.why))
        if step.name == PARTIAL and self.decision.promise is not None:
            part = self.slice(self.decision.promise.part.slice)
            return self(Message("Measure images for these items alone: {part}.", part=part))
        if step.name != WAIT:
            return self(phrases.STEPS[step.name])
        price = self.decision.flip.image_price if self.decision.flip else None
        if price is None or price <= 0:
            return self(Message("Keep text; look again when the catalogue or the image encoder changes."))
        return self(
            Message(
                "Keep text; look again when images cost less than {price} each or the catalogue changes.",
                price=self.price(price),
            )
        )

    def next_step(self) -> str:
        """The next step with its cost and duration."""
        step = self.decision.step
        name = self.step(step)
        if step.name in (WAIT, DATA):
            return name
        return self(
            Message(
                "{step} Cost about {cost}, {days}.", step=name, cost=self.money(step.cost), days=self.days(step.days)
            )
        )

    def about(self, day: date) -> str:
        """What the page is about, when it was made, and how sums are meant."""
        return self(
            Message(
                "Data set {dataset}, models {models}; {date}. {tax}",
                dataset=self.dataset,
                models=", ".join(self.evidence.models),
                date=self.translator.date(day),
                tax=phrases.TAX[self.economics.tax],
            )
        )

    # Details

    def gate(self, gate: Gate) -> Mapping[str, str]:
        """One line of the trust panel."""
        status, verdict = phrases.STATUSES[gate.status]
        numbers = {"value": gate.value, "limit": gate.limit, "lo": gate.lo, "hi": gate.hi}
        given = {name: self._gate_number(gate, value, bound=name in ("lo", "hi")) for name, value in numbers.items()}
        template = phrases.ANSWERS[gate.name][gate.status]
        if (gate.name, gate.status) in (("G3", Status.FAIL), ("G9", Status.FAIL)) and gate.value is None:
            template = phrases.NO_RANGE if gate.name == "G3" else phrases.DEPENDS
        if gate.name == "G5" and self.evidence.part is not None:
            template = phrases.OF_PART[gate.status]
        if gate.status is Status.UNKNOWN and gate.name in phrases.NOT_KNOWN and gate.why:
            template, given = phrases.NOT_KNOWN[gate.name], {"reason": str(self.translator(gate.why))}
        found = self._rails(gate) if gate.name == "G4" else self(Message(template, **given))
        return {
            "name": gate.name,
            "asks": self(phrases.QUESTIONS[gate.name]),
            "status": status,
            "said": self(verdict),
            "found": self(_failure(gate)) if gate.control_failed else found,
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

    def input(self, name: str, value: float) -> str:
        """An input as it was given, in its unit."""
        if name in phrases.MONEY:
            return self.given_price(value)
        if name in phrases.PERCENT:
            return self.given_share(value)
        digits = digits_given(value)
        number = self.count(value, digits)
        return self(Message(phrases.UNITS[name], n=number)) if name in phrases.UNITS else number

    def count(self, value: float, digits: int = 0) -> str:
        """A number, easy to read where it is large."""
        return self.translator.large(value) if value >= phrases.MANY else self.translator.number(value, digits)

    def span(self, low: str, high: str) -> str:
        """A range between two numbers as they are written."""
        return self(Message("{lo} to {hi}", lo=low, hi=high))

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
