"""Sentences of the decision page in either language: the first screen, gates, inputs, steps."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime

from mmbench.data.divisions import DIVISIONS as DIVISIONS_OF_ITEMS
from mmbench.data.planted import is_made_up
from mmbench.decision import Action, Decision, Economics, Evidence, annuity
from mmbench.decision.assumptions import Given, when_given
from mmbench.decision.economics import Source, costs, totals
from mmbench.decision.evidence import Bars, Gate, Status
from mmbench.decision.openings import Key, Opening
from mmbench.decision.rule import FAVOURABLE, Confidence, Why
from mmbench.decision.steps import FEW_TRIALS, ONE_SEED, PARTIAL, RUNGS, WAIT, NextStep
from mmbench.decision.value import breakeven, of_part
from mmbench.inference.contribution.guardrails import MARGIN, Rail
from mmbench.inference.tuned_gain import NoWord
from mmbench.inference.verdicts import Verdict
from mmbench.messages import Message, Template, Translator
from mmbench.report.sentences import metric_name

BADGES = {
    Action.GO: Message("GO"),
    Action.PARTIAL: Message("GO (partial)"),
    Action.HOLD: Message("HOLD"),
    Action.NO_GO: Message("NO-GO"),
}
#: The same where the answer rests on numbers that nobody in the company gave.
BADGES_IF = {
    Action.GO: Message("GO if these assumptions hold"),
    Action.PARTIAL: Message("GO (partial) if these assumptions hold"),
}
ACTIONS = {
    Action.GO: Template("Recommendation: add images."),
    Action.PARTIAL: Template("Recommendation: add images for a part of the items only: {part}."),
    Action.HOLD: Template("Recommendation: do not decide yet."),
    Action.NO_GO: Template("Recommendation: do not invest in images now."),
}
#: Why it is HOLD, where that is known.
REASONS = {
    Why.UNTRUSTED: Message(
        "The measurement does not reach the standard, so nothing is decided. This does not mean that images have no "
        "effect."
    ),
    Why.BARRED_GO: Message(
        "The measured gain would pay, but a check that it needs has not been passed. This does not mean that images "
        "have no effect."
    ),
    Why.BARRED_NO_GO: Message(
        "As measured the gain is too small to pay, but a check that this conclusion needs has not been passed. This "
        "does not mean that images have no effect."
    ),
}
#: Why nothing may be concluded from the gain.
SILENCES = {
    RUNGS: Message("trials were cut short"),
    FEW_TRIALS: Message("too few trials"),
    ONE_SEED: Message("one training run only, so training noise was not measured"),
    NoWord.MORE_SEARCH: Message("without controls the side with images was searched more"),
    NoWord.FEW_TRIALS: Message("too few trials"),
    NoWord.FEW_SUCCESSES: Message("too many trials failed"),
    NoWord.NOTHING_FOUND: Message("a side finds nothing"),
    NoWord.FEW_USERS: Message("too few test users"),
    NoWord.SEED_UNKNOWN: Message("one training run only, so training noise was not measured"),
    NoWord.NOTHING_WITHOUT: Message("everything rests on a single trial"),
    NoWord.ONE_TRIAL: Message("everything rests on a single trial"),
    NoWord.WIDE: Message("the range is wider than a factor of two"),
    NoWord.NO_VARIANCE: Message("users and trials do not vary"),
    NoWord.ONE_FOLD: Message("only one group of new items was tested"),
}
#: Verdicts with the break-even gain as the smallest gain of interest.
WORDS = {
    Verdict.DEPENDS_ON_TUNING: Message("depends on tuning"),
    Verdict.BETTER: Message("better, break-even or more"),
    Verdict.BETTER_SMALL: Message("better, but less than break-even"),
    Verdict.EQUIVALENT: Message("the same but for less than break-even"),
    Verdict.WORSE: Message("worse, by break-even or more"),
    Verdict.WORSE_SMALL: Message("worse, but by less than break-even"),
    Verdict.UNDECIDED: Message("neither a difference nor its absence is shown"),
}
#: How many of the calculated cases; other languages count them.
CASES = Template("{n}", context="calculated cases")
#: How likely it pays where a gate bars the answer; below, where none does, and where the answer is NO-GO.
BARRED = {
    Why.BARRED_GO: Template(
        "Unclear: as measured it would pay for itself within {years} years in {n} of 100 calculated cases, but a "
        "check is missing."
    ),
    Why.BARRED_NO_GO: Template(
        "Unclear: as measured it would pay for itself within {years} years in {n} of 100 calculated cases, but a check "
        "that this conclusion needs is missing."
    ),
}
TO_PAY = {
    Confidence.VERY_LIKELY: Template(
        "Very likely: in {n} of 100 calculated cases it pays for itself within {years} years."
    ),
    Confidence.LIKELY: Template("Likely: in {n} of 100 calculated cases it pays for itself within {years} years."),
    Confidence.UNCLEAR: Template(
        "Unclear: in {n} of 100 calculated cases it would pay for itself within {years} years."
    ),
}
NOT_TO_PAY = TO_PAY | {
    Confidence.VERY_LIKELY: Template(
        "Very likely not to pay: only in {n} of 100 calculated cases would it pay for itself within {years} years."
    ),
    Confidence.LIKELY: Template(
        "Likely not to pay: only in {n} of 100 calculated cases would it pay for itself within {years} years."
    ),
}
TAX = {"excluded": Message("All amounts exclude tax."), "included": Message("All amounts include tax.")}
STEPS = {
    "repair": Message("Repeat the comparison with equal effort."),
    "baseline": Message("Add a simple baseline, tuned like the other models."),
    "model": Message("Change the model before buying data."),
    "trials": Message("Tune with more trials."),
    "control": Message("Run the control with shuffled images."),
    "images": Message("Add images for a pilot of some items."),
    "encoder": Message("Try a second image encoder."),
    "ensemble": Message("Combine text and image models late (ensemble)."),
    "users": Message("Use a longer log with more users."),
    "seeds": Message("Repeat the training with more seeds."),
    "ab_test": Message("Run an A/B test."),
    "partial": Message("Measure images for some of the items alone."),
    "roll_out": Message("Introduce step by step, with an A/B test that can be stopped."),
}
STATUSES = {
    Status.PASS: ("pass", Message("✓ passed")),
    Status.FAIL: ("fail", Message("✗ not passed")),
    Status.UNKNOWN: ("unknown", Message("? not known")),
}
BARS = {
    Bars.EVERY: Message("needed for every answer"),
    Bars.GO: Message("needed for GO"),
    Bars.NO_GO: Message("needed for NO-GO"),
}
#: What a gate asks, and what was found.
QUESTIONS = {
    "G1": Message("Was the effort equal?"),
    "G2": Message("Is a simple baseline among the models?"),
    "G3": Message("Does the gain come from the images?"),
    "G4": Message("Does nothing else get worse?"),
    "G5": Message("Do enough items have images?"),
    "G6": Message("Were several image encoders tried?"),
    "G7": Message("Could a gain at break-even have been seen?"),
    "G8": Message("Is all the signal of the images used?"),
    "G9": Message("Do other trials and the chosen configurations agree?"),
}
ANSWERS = {
    "G1": {
        Status.PASS: Template("All conditions were tuned with the same effort on the same split."),
        Status.FAIL: Template(
            "The conditions were not treated alike or not trained to the end, see the fairness report."
        ),
        Status.UNKNOWN: Template("There is no fairness report."),
    },
    "G2": {
        Status.PASS: Template("Simple baselines among the models: {value}."),
        Status.FAIL: Template("No tuned simple baseline was run."),
        Status.UNKNOWN: Template("Nobody looked for simple baselines."),
    },
    "G3": {
        Status.PASS: Template("Better than with shuffled images; the 90 % range is {lo} to {hi}."),
        Status.FAIL: Template("Not shown to be better than with shuffled images; the 90 % range is {lo} to {hi}."),
        Status.UNKNOWN: Template("Not every condition with images has its control with shuffled images."),
    },
    "G4": {
        Status.PASS: Template("What was looked at loses no more than {margin}: {holding}."),
        Status.FAIL: Template("More than {margin} is lost: {broken}."),
        Status.UNKNOWN: Template("A loss of more than {margin} is not ruled out: {open}."),
    },
    "G5": {
        Status.PASS: Template("{value} of what is shown has an image; {limit} is needed."),
        Status.FAIL: Template("Only {value} of what is shown has an image; {limit} is needed."),
        Status.UNKNOWN: Template("How much of what is shown has an image could not be counted."),
    },
    "G6": {
        Status.PASS: Template("{value} image encoders were tried."),
        Status.FAIL: Template("Only one image encoder was tried; another may see more."),
        Status.UNKNOWN: Template("The records do not say which image features were used."),
    },
    "G7": {
        Status.PASS: Template("Gains from {value} on are seen; break-even is {limit}."),
        Status.FAIL: Template("Only gains from {value} on are seen; break-even is {limit}."),
        Status.UNKNOWN: Template("Without a range it is not known which gains can be seen."),
    },
    "G8": {
        Status.PASS: Template("What only images tell about purchases ({value}) is within chance ({limit})."),
        Status.FAIL: Template(
            "Images tell something about purchases ({value}, chance {limit}); that information may not be used yet."
        ),
        Status.UNKNOWN: Template("The signal in the images was not measured."),
    },
    "G9": {
        Status.PASS: Template("The chosen configurations ({value}, range {lo} to {hi}) do not say the opposite."),
        Status.FAIL: Template("The chosen configurations ({value}, range {lo} to {hi}) say the opposite."),
        Status.UNKNOWN: Template("The chosen configurations could not be compared over several training runs."),
    },
}
#: The same of G3 without bounds, of G4 where nothing was measured, and of G5 where a part of the items has images.
NO_RANGE = Template("Not shown to be better than with shuffled images; the gain has no range.")
NO_RAILS = Template("No guard-rail could be measured.")
NOT_MEASURED = Template("Not measured: {rails}.")
OF_PART = {
    Status.PASS: Template("{value} of the shown items of the part have an image; {limit} are needed."),
    Status.FAIL: Template("Only {value} of the shown items of the part have an image; {limit} are needed."),
    Status.UNKNOWN: ANSWERS["G5"][Status.UNKNOWN],
}
#: Guard-rails as the facts name them.
RAIL_NAMES = {
    "coverage": Message("breadth of what is shown (coverage)"),
    "tail share": Message("rarely bought items (long tail)"),
    "cold recall": Message("new items found"),
    "recall of items without image": Message("items without an image found"),
}
#: The same of G9 where it is the number of trials that says something else.
DEPENDS = Template("With more or fewer trials the gain would be another: it depends on tuning.")
#: What opens a gate, by the gate where it is nothing that can be counted, else by what is counted.
OPEN_ELSE = {
    "": Template("What is missing is named above; no number of users or trials alone brings it."),
    "G1": Template("{gate} opens when every condition is tuned alike and trained to its end; see the fairness report."),
    "G4": Template(
        "{gate} opens with a model that keeps to the guard-rails, or with more users where they are not shown."
    ),
    "G5": Template("{gate} opens when enough of what is shown has an image."),
    "G8": Template("{gate} opens when a model or an ensemble uses what images tell."),
}
OPEN_USERS = Template("{gate} opens with about {users} test users (now {now}), if the gain stays as it was measured.")
OPEN_NO_USERS = Template(
    "{gate} stays closed however many users there are: {share} of the uncertainty does not come from which customers "
    "were tested."
)
OPEN_TRIALS = {
    "G2": Template("{gate} opens with a simple baseline that is tuned with {n} trials, as all others are."),
    "G3": Template("{gate} opens with the controls, {n} trials each."),
    "G6": Template("{gate} opens with a second image encoder, {n} trials for each condition."),
    "G9": Template("{gate} opens where {n} trials for each condition agree (budget.trials={n})."),
    "": Template("It takes at least {n} trials for each condition (budget.trials={n})."),
}
OPEN_SEEDS = Template("It takes at least {n} final training runs (budget.seeds={n}).")
OPEN_FEW_USERS = Template("It takes at least {users} test users (now {now}).")
TELL_USERS = Template(
    "About {users} test users (now {now}) would tell the gain from break-even, if it stays as it was measured."
)
TELL_NO_USERS = Template(
    "More users narrow the range, but no number of them takes break-even out of it if the gain stays as it was "
    "measured: {share} of the uncertainty does not come from which customers were tested."
)
TELL_INPUTS = Template(
    "The gain is told from break-even; not known well enough are the numbers of the business, above all: {name}."
)
#: When the company gave its sums.
SUMS = {
    Given.BEFORE: Template(
        "Your sums were last changed on {changed}, before the sweep was planned ({planned}), as the time of the file "
        "says."
    ),
    Given.AFTER: Template(
        "Your sums were last changed on {changed}, after the sweep was planned ({planned}): the results may have been "
        "known, as the time of the file says."
    ),
    Given.NEVER: Template("You gave no sums of your own: those of the default file are assumed."),
    Given.UNKNOWN: Template("Whether your sums were given before or after the results is not known."),
}
#: Where a number of the business comes from.
SOURCES = {
    Source.OWN: Message("given"),
    Source.DATA: Message("from the data"),
    Source.OPINION: Message("an opinion"),
    Source.ASSUMED: Message("assumed"),
}
#: What a control came to that was run and has no result.
CONTROL_FAILED = Template(
    "The control with shuffled images failed once: {reason}.",
    "The control with shuffled images failed {n} times: {reason}.",
)
#: Inputs by dotted key, and what else a decision rests on.
INPUT_NAMES = {
    "value.recommendations_year": Message("recommended items shown per year"),
    "value.conversion": Message("share of shown items that are bought"),
    "value.order_value": Message("value of an item bought"),
    "value.margin": Message("contribution margin"),
    "transfer": Message("offline-to-online factor"),
    "items.stock": Message("items in the catalogue"),
    "items.new_year": Message("new items per year"),
    "items.with_images": Message("items that have usable images"),
    "items.target": Message("items that are to have images"),
    "cost.image": Message("cost of one image (photograph, rights, cleaning)"),
    "cost.encoding": Message("computing one embedding"),
    "cost.kilobytes": Message("kilobytes of one embedding"),
    "cost.gigabyte_month": Message("storing one gigabyte per month"),
    "cost.serving_year": Message("serving per year"),
    "cost.engineering_once": Message("one-off engineering"),
    "cost.engineers": Message("people who keep it running"),
    "cost.engineer_year": Message("yearly cost of one such person"),
    "gain": Message("gain in the quality of the order"),
    "years": Message("horizon in years"),
    "discount": Message("discount rate"),
}
MODALITIES = {"text": Message("text"), "image": Message("image"), "audio": Message("audio")}
#: Divisions of items and users, as the report begins the names of their slices.
DIVISIONS = {
    "item's training interactions": Template("earlier purchases of the item: {part}"),
    "user's training interactions": Template("earlier purchases of the user: {part}"),
    "category": Template("category {part}"),
    "text length": Template("text: {part}"),
}
LENGTHS = {"short": Message("short"), "medium": Message("medium"), "long": Message("long")}
#: Gates whose numbers are shares, and those whose numbers are counts; all others are scores.
SHARES, COUNTS = {"G3", "G5", "G7", "G9"}, {"G2", "G6"}
#: Inputs in the currency, and inputs that are shares.
MONEY = {"value.order_value", "cost.image", "cost.encoding", "cost.gigabyte_month", "cost.serving_year",
         "cost.engineering_once", "cost.engineer_year"}  # fmt: skip
#: What other inputs count, where a language says it beside the number, and from where on a count is a large one.
UNITS = {
    "value.recommendations_year": Template("{n}", context="recommendations"),
    "items.stock": Template("{n}", context="items"),
    "items.new_year": Template("{n}", context="items"),
    "cost.engineers": Template("{n}", context="people"),
}
MANY = 1e6
PERCENT = {"value.conversion", "value.margin", "items.with_images", "items.target"}


def _two_figures(amount: float) -> int:
    """Decimals of a very small sum: its first two figures, a second one that is zero left out."""
    digits = 1 - math.floor(math.log10(abs(amount)))
    return digits - (round(amount, digits) == round(amount, digits - 1))


def _failure(gate: Gate) -> Message:
    """How often a control failed, and why."""
    assert gate.value is not None
    return Message(CONTROL_FAILED, int(gate.value), reason=gate.why.rstrip("."))


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

    def gain(self, share: float) -> str:
        """A relative gain with its sign."""
        return self.translator.percent(share, 1, sign=True)

    def days(self, n: float) -> str:
        """How long a step takes."""
        return self(Message.counted("{n} day", "{n} days", math.ceil(n)))

    def share(self, share: float) -> str:
        """A share of something; small ones with decimals."""
        return self.translator.percent(share, 1 if 0 < abs(share) < 0.1 else 0)

    def money(self, amount: float) -> str:
        """A sum."""
        return self.translator.money(amount, self.economics.currency)

    def price(self, amount: float) -> str:
        """A unit price, with decimals where it is small."""
        digits = 0 if abs(amount) >= 100 or amount == 0 else 2 if abs(amount) >= 0.01 else _two_figures(amount)
        return self.translator.money(amount, self.economics.currency, digits)

    @property
    def need(self) -> str:
        """The break-even gain."""
        return self.translator.percent(self.decision.breakeven, 1)

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
        """Whether the data set is a planted world."""
        return is_made_up(self.evidence.dataset)

    # First screen

    @property
    def badge(self) -> str:
        """The answer in the fewest words."""
        return self((BADGES_IF if self.decision.assumptions else BADGES)[self.decision.action])

    @property
    def action(self) -> str:
        """What to do."""
        return self(Message(ACTIONS[self.decision.action], part=self.part_name))

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
        return self.joined(filter(None, (self._reason(), self._rests_on(), self.closed())))

    def joined(self, sentences: Iterable[str]) -> str:
        """Sentences after one another; Japanese puts no space between them."""
        return ("" if self.translator.lang == "ja" else " ").join(sentences)

    def _rests_on(self) -> str:
        """The assumed numbers without which it would not be GO."""
        if not self.decision.assumptions:
            return ""
        names = self.translator.list([self(INPUT_NAMES[name]) for name in self.decision.assumptions])
        return self(Message("It rests on numbers that nobody in the company has given: {names}.", names=names))

    def closed(self) -> str:
        """The checks that stand in the way of an answer; empty where none does."""
        names = [f"{gate.name} ({self(QUESTIONS[gate.name])})" for gate in self.decision.barred]
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
            template = OPEN_USERS if gate else OPEN_FEW_USERS if e.silent else TELL_USERS
            return Message(template, gate=gate, users=number(_round_up(amount)), now=number(e.n_users))
        if opening.key is Key.NO_USERS:
            share = self.translator.percent(amount)
            return Message(OPEN_NO_USERS if gate else TELL_NO_USERS, gate=gate, share=share)
        if opening.key is Key.TRIALS:
            return Message(OPEN_TRIALS[gate], gate=gate, n=f"{amount:.0f}")
        if opening.key is Key.SEEDS:
            return Message(OPEN_SEEDS, n=f"{amount:.0f}")
        if opening.key is Key.INPUTS:
            inputs = [swing.name for swing in self.decision.swings if swing.name != "gain"]
            return Message(TELL_INPUTS, name=self(INPUT_NAMES[inputs[0] if inputs else "discount"]))
        return Message(OPEN_ELSE[gate], gate=gate)

    def sums(self) -> str:
        """Whether the company's sums were given before or after the results."""
        given = when_given(self.evidence, self.economics)
        times = {}
        if given in (Given.BEFORE, Given.AFTER):
            times = {"planned": self._time(self.evidence.planned_at), "changed": self._time(self.economics.changed_at)}
        return self(Message(SUMS[given], **times))

    def _time(self, at: str) -> str:
        """A time of day in UTC, from ISO 8601."""
        moment = datetime.fromisoformat(at).astimezone(UTC)
        return f"{self.translator.date(moment.date())} {moment:%H:%M} UTC"

    def _reason(self) -> str:
        d, gain, more = self.decision, self.evidence.interval, self.evidence.per_thousand
        if d.action in (Action.GO, Action.PARTIAL) and more is not None and gain is not None:
            numbers = (more.mean, more.lo, more.hi)
            x, lo, hi = (self.translator.number(value, 1 if abs(value) < 10 else 0) for value in numbers)
            if not more.mean > 0:  # the order is better, and the first 20 hold no more
                return self(
                    Message(
                        "Adding images puts relevant items further up ({gain} in the quality of the order), but is not "
                        "shown to find more of them per 1,000 recommendations (range {lo} to {hi}).",
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
        if d.why is Why.MONEY and self.evidence.gain is not None:
            sides = {"hi": self.gain(self.evidence.gain.at(FAVOURABLE).hi), "need": self.need}
            control = next(gate for gate in d.gates if gate.name == "G3")
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
        if d.promise is not None:
            part = d.promise.part
            return self(
                Message(
                    "Images for all items are not shown to pay. Images for some of them alone may: {part} ({n} items). "
                    "If nothing but their purchases changed, the gain would be {gain}, and {need} would pay. A place "
                    "that one item gains another one loses, so this has to be measured.",
                    part=self.slice(part.slice),
                    n=self.translator.number(part.items),
                    gain=self.gain(d.promise.gain),
                    need=self.translator.percent(breakeven(of_part(self.economics, part)), 1),
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
                    reason=SILENCES[self.evidence.silent],
                )
            )
        if d.why in REASONS:
            return self(REASONS[d.why])
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
    def _failed_control(self) -> Gate | None:
        """G3 where a control failed and that bars the answer."""
        return next((gate for gate in self.decision.barred if gate.control_failed), None)

    def sure(self) -> str:
        """How likely it pays, in natural frequencies."""
        d = self.decision
        if d.probability is None:
            return self(Message("Unclear: as long as the measurement is not trusted, no probability can be told."))
        n = self._of_hundred(d.probability)
        if d.why in BARRED:
            return self(Message(BARRED[d.why], n=n, years=self.years))
        return self(Message((NOT_TO_PAY if d.action is Action.NO_GO else TO_PAY)[d.confidence], n=n, years=self.years))

    def _of_hundred(self, probability: float) -> str:
        """So many of 100 cases; a calculation is never sure."""
        if probability > 0.99:
            return self(Message("more than 99"))
        if probability < 0.01:
            return self(Message("fewer than 1"))
        return self(Message(CASES, n=self.translator.number(100 * probability)))

    def range(self) -> str:
        """The gain with its range against the break-even line."""
        gain, ratio = self.evidence.interval, self.evidence.ratio
        if ratio is None:
            return self(Message("Not measured; break-even line {need}.", need=self.need))
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
        given |= {"metric": metric_name(e.metric), "users": number(e.n_users)}
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
        given |= {"mean": self.gain(e.ratio), "word": WORDS[self.decision.word], "part": self.part_name}
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
        if step.name == PARTIAL and self.decision.promise is not None:
            part = self.slice(self.decision.promise.part.slice)
            return self(Message("Measure images for these items alone: {part}.", part=part))
        if step.name != WAIT:
            return self(STEPS[step.name])
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
        if step.name == WAIT:
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
                tax=TAX[self.economics.tax],
            )
        )

    # Details

    def gate(self, gate: Gate) -> Mapping[str, str]:
        """One line of the trust panel."""
        status, verdict = STATUSES[gate.status]
        numbers = {"value": gate.value, "limit": gate.limit, "lo": gate.lo, "hi": gate.hi}
        given = {
            name: self._gate_number(gate.name, value, bound=name in ("lo", "hi")) for name, value in numbers.items()
        }
        template = ANSWERS[gate.name][gate.status]
        if (gate.name, gate.status) in (("G3", Status.FAIL), ("G9", Status.FAIL)) and gate.value is None:
            template = NO_RANGE if gate.name == "G3" else DEPENDS
        if gate.name == "G5" and self.evidence.part is not None:
            template = OF_PART[gate.status]
        found = self._rails(gate) if gate.name == "G4" else self(Message(template, **given))
        return {
            "name": gate.name,
            "asks": self(QUESTIONS[gate.name]),
            "status": status,
            "said": self(verdict),
            "found": self(_failure(gate)) if gate.control_failed else found,
            "bars": self(BARS[gate.bars]),
            "command": gate.command,
        }

    def _rails(self, gate: Gate) -> str:
        """Which guard-rails hold, which do not, and which were not measured."""
        names = {
            word: self.translator.list([self.rail(name) for name, said in gate.rails if said == word]) for word in Rail
        }
        given = {"holding": names[Rail.HOLDS], "broken": names[Rail.BROKEN], "open": names[Rail.OPEN]}
        template = ANSWERS["G4"][gate.status] if gate.rails else NO_RAILS
        lines = [self(Message(template, margin=self.share(MARGIN), **given))]
        absent = [self(RAIL_NAMES[name]) for name in RAIL_NAMES if name not in dict(gate.rails)]
        if gate.rails and absent:
            lines.append(self(Message(NOT_MEASURED, rails=self.translator.list(absent))))
        return self.joined(lines)

    def rail(self, name: str) -> str:
        """A guard-rail as the facts name it."""
        return self(RAIL_NAMES[name]) if name in RAIL_NAMES else name

    def _gate_number(self, name: str, value: float | None, *, bound: bool) -> str:
        if value is None:
            return "-"
        if bound or name == "G9":
            return self.gain(value)
        if name in COUNTS:
            return self.translator.number(value)
        if name in SHARES:
            return self.translator.percent(value, 0 if name == "G5" else 1)
        return self.translator.number(value, 4)

    def input(self, name: str, value: float) -> str:
        """An input as its unit has it."""
        if name in MONEY:
            return self.price(value)
        if name in PERCENT:
            return self.share(value)
        digits = 0 if value >= 100 or value == int(value) else 1 if round(value, 1) == value else 2
        number = self.translator.large(value) if value >= MANY else self.translator.number(value, digits)
        return self(Message(UNITS[name], n=number)) if name in UNITS else number

    def modality(self, name: str) -> str:
        """A modality by name; one of the user's own keeps it."""
        return self(MODALITIES[name]) if name in MODALITIES else name

    def part(self, name: str) -> str:
        """A slice as the report calls it, in the language of the page."""
        division, _, part = name.partition(": ")
        if name == "item's training interactions: cold":
            return self(Message("new items (no purchase yet)"))
        if division in DIVISIONS:
            return self(Message(DIVISIONS[division], part=self._slice(part, division)))
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
            return self(Message("{lo} to {hi}", lo=counts[1], hi=counts[2]))
        return self(LENGTHS[first]) if first in LENGTHS else part
