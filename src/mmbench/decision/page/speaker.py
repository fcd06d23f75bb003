"""Who says the sentences of the decision page, in either language: the first screen and the next steps."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime

from mmbench.data.planted import is_made_up
from mmbench.decision import Action, Decision, Economics, Evidence, annuity
from mmbench.decision.assumptions import Given, when_given
from mmbench.decision.economics import costs, totals
from mmbench.decision.evidence import Gate, Status
from mmbench.decision.openings import Key, Opening
from mmbench.decision.page import phrases
from mmbench.decision.page.amounts import decimals_of_share
from mmbench.decision.page.gate_speaker import GateSpeaker, failure
from mmbench.decision.rule import FAVOURABLE, LIKELY_FROM, Why
from mmbench.decision.steps import DATA, NO_PRICE, OF_NEW_ITEMS_ALONE, PARTIAL, REPAIR, WAIT, NextStep, largest
from mmbench.decision.value import breakeven, of_part
from mmbench.inference.intervals import Interval, LogGain
from mmbench.inference.verdicts import Verdict
from mmbench.messages import Message, Template, Translator, digits_apart, digits_shown
from mmbench.report.sentences import metric_among, metric_name


def _round_up(users: float) -> float:
    """A number of users to two figures: its digits beyond them are no knowledge."""
    unit = 10 ** max(math.floor(math.log10(users)) - 1, 0)
    return math.ceil(users / unit) * unit


class Speaker(GateSpeaker):
    """Says what was decided."""

    @staticmethod
    def of(lang: str, evidence: Evidence, economics: Economics, decision: Decision) -> Speaker:
        """A speaker of one language; its sums are those of the items that the evidence is about.

        Raises:
            Refusal: for a language that there is no catalogue of.
        """
        return Speaker(Translator(lang), evidence, of_part(economics, evidence.part), decision)

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

    def sentence(self) -> str:
        """Why, in a sentence for everybody, and what it rests on or which check is closed."""
        return self.joined(filter(None, (self._reason(), self._unpriced(), self._rests_on(), self.closed())))

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
            told = phrases.SURE_BY_USERS if self._beside_need else phrases.TELL_USERS
            template = phrases.OPEN_USERS if gate else phrases.OPEN_FEW_USERS if e.silent else told
            return Message(template, gate=gate, users=number(_round_up(amount)), now=number(e.n_users))
        if opening.key is Key.NO_USERS:
            return Message(self._no_users(opening), gate=gate, share=self.translator.percent(amount))
        if opening.key is Key.TRIALS:
            trials = phrases.OPEN_TRIALS[gate]
            if trials.other is None:  # as it is written behind budget.trials=
                return Message(trials, gate=gate, n=f"{amount:.0f}")
            return Message(trials, round(amount), gate=gate)
        if opening.key is Key.SEEDS:
            return Message(phrases.OPEN_SEEDS[gate], gate=gate, n=f"{amount:.0f}")
        if opening.key is Key.DATA:
            return Message(phrases.OPEN_DATA, gate=gate)
        if opening.key is Key.USERS_AND_SEEDS:
            tenths = max(math.ceil(10 * amount), 11)  # fewer would not open it
            users = number(_round_up(tenths * e.n_users / 10))
            times = number(tenths / 10, 1)
            return Message(phrases.OPEN_RAILS, gate=gate, times=times, users=users, now=number(e.n_users))
        if opening.key is Key.INPUTS:
            return Message(phrases.TELL_INPUTS, name=self._least_known)
        if opening.key is Key.WIDTH:
            source = self(phrases.RANGE_SOURCES[largest(e.variances)])
            return Message(phrases.OPEN_WIDTH, share=self.translator.percent(amount), source=source)
        if self.decision.why is Why.UNCLEAR:
            return Message(phrases.TELL_ELSE)
        known = next((one for one in self.decision.gates if one.name == gate), None)
        if gate == "G5" and known is not None and known.status is Status.UNKNOWN:
            return Message(phrases.OPEN_UNCOUNTED, gate=gate)
        return Message(phrases.OPEN_ELSE[gate], gate=gate)

    def _no_users(self, opening: Opening) -> Template:
        """Why no number of users helps; a share that is shown as none is no reason, one shown as all leaves no use."""
        percent = self.translator.percent
        shown = percent(opening.amount or 0.0)
        if opening.gate:
            return phrases.OPEN_NEVER if shown == percent(0.0) else phrases.OPEN_NO_USERS
        if self._beside_need:
            return phrases.NOT_SURE_BY_USERS
        return {percent(0.0): phrases.TELL_NEVER, percent(1.0): phrases.TELL_NOT_BY_USERS}.get(
            shown, phrases.TELL_NO_USERS
        )

    @property
    def _beside_need(self) -> bool:
        """Whether the range of the gain lies on one side of break-even."""
        gain = self.evidence.interval
        return gain is not None and not gain.contains(self.decision.breakeven)

    @property
    def _least_known(self) -> str:
        """The number of the business that moves the result most, where one is uncertain."""
        assert self.decision.least_known is not None
        return self(phrases.INPUT_NAMES[self.decision.least_known])

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
            digits = digits_apart(promised, need, max(1, decimals_of_share(need)), 100)
            return self(
                Message.counted(
                    "Images for all items are not shown to pay. Images for some of them alone may: {part} ({n} item). "
                    "If nothing but its purchases changed, the gain would be {gain}, and {need} would pay. A place "
                    "that one item gains another one loses, so this has to be measured.",
                    "Images for all items are not shown to pay. Images for some of them alone may: {part} ({n} items). "
                    "If nothing but their purchases changed, the gain would be {gain}, and {need} would pay. A place "
                    "that one item gains another one loses, so this has to be measured.",
                    part.items,
                    part=self.slice(part.slice),
                    gain=self.translator.percent(promised, digits, sign=True),
                    need=self.translator.percent(need, digits),
                )
            )
        if d.action is Action.NO_GO and self.evidence.gain is not None:
            said = self(
                Message(
                    "Even at the upper end of its range ({hi}) the gain would not pay at the likely values of the "
                    "business: {need} is needed.",
                    hi=self.gain(self.evidence.gain.at(0.95).hi),
                    need=self.need,
                )
            )
            return self.joined((said, self(phrases.AT_95))) if self.looked_before else said
        if d.why in (Why.SILENT, Why.UNTRUSTED) and (gate := self._failed_control) is not None:
            return self(
                Message(
                    "{failure} Without it nothing can be concluded. This does not mean that images have no effect.",
                    failure=failure(gate),
                )
            )
        if d.why is Why.SILENT:
            if self.evidence.silent in ("", OF_NEW_ITEMS_ALONE):
                return ""  # something is concluded, and why it has no price is said next
            return self(
                Message(
                    "Nothing can be concluded from the measurement: {reason}. This does not mean that images have no "
                    "effect.",
                    reason=phrases.SILENCES[self.evidence.silent],
                )
            )
        if d.why in phrases.REASONS:
            return self(phrases.REASONS[d.why])
        if gain is None:
            return self(Message("Not measured; break-even line {need}.", need=self.need))
        if any(opening.key is Key.INPUTS for opening in d.openings):
            template = phrases.CLEAR_OF_NEED[gain.mean > d.breakeven]
            return self(Message(template, range=self.range_of(gain), need=self.need, name=self._least_known))
        if self._beside_need:
            above = gain.mean > d.breakeven
            asked = self.given_share(self.economics.go if above else self.economics.no_go)
            template = phrases.NOT_SURE_OF_NEED[above]
            return self(Message(template, range=self.range_of(gain), need=self.need, asked=asked))
        if gain.lo == gain.hi:
            return self(Message(phrases.EVEN, gain=self.gain(gain.mean), need=self.need))
        return self(
            Message(
                "We cannot tell yet: the true effect may be anywhere from {range}, and {need} is needed to pay.",
                range=self.range_of(gain),
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
                    "Adding images improves {quality} ({gain}, range {range}). How many more relevant items per 1,000 "
                    "recommendations that is cannot be told.",
                    quality=self.quality,
                    gain=self.gain(gain.mean),
                    range=self.range_of(gain),
                )
            )
        x, lo, hi = (
            self.translator.number(value, digits_shown(value, 1 if abs(value) < 10 else 0))
            for value in (more.mean, more.lo, more.hi)
        )
        bounds = self.span(lo, hi, more.level)
        if not more.lo > 0:  # the metric is better, and the first 20 are not shown to hold more
            return self(
                Message(
                    "Adding images improves {quality} ({gain}), but is not shown to find more relevant items per 1,000 "
                    "recommendations (range {range}).",
                    quality=self.quality,
                    gain=self.gain(gain.mean),
                    range=bounds,
                )
            )
        return self(
            Message(
                "Adding images finds about {x} more relevant items per 1,000 recommendations (range {range}).",
                x=x,
                range=bounds,
            )
        )

    def _by_money_alone(self, gain: LogGain) -> str:
        """Why no gain could pay, and what a missing control leaves out."""
        sides = {"hi": self.leveled(self.gain(gain.at(FAVOURABLE).hi), FAVOURABLE), "need": self.need}
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
        if self.evidence.depends_on_tuning:
            return self(
                Message(
                    "No gain that these data allow after {n} of {trials} trials (up to {hi}) would earn what images "
                    "cost: {need} is needed to pay. With more or fewer trials the gain would be another: it depends on "
                    "tuning.",
                    n=self.translator.number(self.evidence.n),
                    trials=self.translator.number(self.evidence.trials),
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
        if self.evidence.of_new_items:
            return self(Message("The gain has no price, so no probability that images pay can be told."))
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
        edges = (*LIKELY_FROM, self.economics.go, self.economics.no_go)
        digits = max(digits_apart(probability, edge, 0, 100) for edge in edges)
        return self(Message(phrases.CASES, n=self.translator.number(100 * probability, digits)))

    def range(self) -> str:
        """The gain with its range against the break-even line."""
        gain, ratio = self.evidence.interval, self.evidence.ratio
        if ratio is None:
            return self(Message("Not measured; break-even line {need}.", need=self.need))
        if self.evidence.of_new_items:
            beside = phrases.BESIDE_NEED[self.evidence.target]
            return self(Message(beside, mean=self.gain(ratio), need=self.need))
        if gain is None or self.decision.value is None:
            return self(
                Message(
                    "Measured, but its range cannot be told: {mean}; break-even line {need}.",
                    mean=self.gain(ratio),
                    need=self.need,
                )
            )
        values = {"mean": self.gain(gain.mean), "need": self.need}
        if self.decision.trusted and gain.lo == gain.hi:
            return self(
                Message(
                    "Gain {mean}: whichever of the trials are drawn, the best configuration makes no use of images; "
                    "break-even line {need}.",
                    **values,
                )
            )
        bounds = self.range_of(gain)
        if self.decision.trusted:
            return self(Message("Gain {mean}, range {range}; break-even line {need}.", range=bounds, **values))
        return self(
            Message("Measured, but not trusted: {mean}, range {range}; break-even line {need}.", range=bounds, **values)
        )

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
        given |= {"mean": self.gain(e.ratio), "word": self._word(self.decision.word), "part": self.part_name}
        if e.part is not None:
            return self(
                Message(
                    "Data set {dataset}, {users} test users, best of {models}, each tuned with {n} of its {trials} "
                    "trials per condition, with images for these items only: {part}. Real instead of shuffled images "
                    "change {metric} by {mean}, over all items. Against break-even with likely inputs: {word}.",
                    **given,
                )
            )
        return self(
            Message(
                "Data set {dataset}, {users} test users, best of {models}, each tuned with {n} of its {trials} trials "
                "per condition: real instead of shuffled images change {metric} by {mean}. Against break-even with "
                "likely inputs: {word}.",
                **given,
            )
        )

    def _word(self, word: Verdict) -> Message:
        """What is shown of the gain beside break-even; plainly where the whole range lies on one side of it.

        The word *equivalent* rests on a narrower range, which the page does not show: where the range that it shows
        goes beyond break-even, the page does not say that the gain cannot.
        """
        gain, need = self.evidence.interval, self.decision.breakeven
        assert gain is not None  # there is no word without bounds
        if word is Verdict.EQUIVALENT and not -need < gain.lo <= gain.hi < need:
            word = Verdict.WORSE_SMALL if gain.hi < 0 else Verdict.UNDECIDED
        wholly = {
            Verdict.EQUIVALENT: gain.hi < 0,
            Verdict.BETTER: gain.lo >= need,
            Verdict.BETTER_SMALL: gain.hi < need,
            Verdict.WORSE: gain.hi <= -need,
        }
        return (phrases.WHOLLY if wholly.get(word, False) else phrases.WORDS)[word]

    def cost(self) -> str:
        """What it costs, once, every year and in all."""
        once, year = totals(costs(self.economics.likely))
        total = once + year * annuity(self.economics.years, self.economics.discount)
        return self(
            Message(
                "{once} once and {year} a year; over {years} {total} at today's value.",
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
        if step.name == REPAIR and (words := self._repaired()) is not None:
            return self(words)
        if step.name == DATA and step.why:
            return self(Message("Make the data readable again: {reason}.", reason=step.why))
        if step.name == PARTIAL and self.decision.promise is not None:
            part = self.slice(self.decision.promise.part.slice)
            return self(Message("Measure images for these items alone: {part}.", part=part))
        if step.name != WAIT:
            return self(phrases.STEPS[step.name])
        price = self.decision.flip.image_price if self.decision.flip else None
        if price is None or price <= 0:
            return self(Message("Do without images; look again when the catalogue or the image encoder changes."))
        return self(
            Message(
                "Do without images; look again when they cost less than {price} each or the catalogue changes.",
                price=self.price(price),
            )
        )

    def _repaired(self) -> Message | None:
        """What to do again where it is not effort that was unequal; None where it is, or nothing is known."""
        closed = {gate.name: gate for gate in self.decision.barred}
        if "G1" in closed:
            return None
        if self.evidence.silent:
            return phrases.REPAIRS.get(self.evidence.silent)
        return phrases.COUNTED if "G5" in closed and closed["G5"].status is Status.UNKNOWN else None

    def next_step(self) -> str:
        """The next step with its cost and duration."""
        step = self.decision.step
        name = self.step(step)
        if step.name in (WAIT, *NO_PRICE):
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
