"""Measured facts of one dataset and model in one form, so that every file says the same."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from mmbench.inference.intervals import UNCHANGED, Interval
from mmbench.inference.verdicts import MIN_SEEDS
from mmbench.messages import Message, Template, series
from mmbench.report.layout import NOTHING, Column, Document, Table

#: Cut-off of hits and lists.
K = 20


@dataclass(frozen=True)
class Fact:
    """One number.

    Args:
        measure: what kind of measure it is.
        subject: the modality, contrast or condition it is about.
        part: what exactly is measured.
        value: the number; NaN where it is not defined.
        interval: the number with its bounds; None where nothing is inferred.
        baseline: the same without an effect, for example between two seeds.
        share: its part in the whole.
        n: what it was counted over.
        word: what it amounts to.
    """

    measure: str
    subject: str
    part: str
    value: float
    interval: Interval | None = None
    baseline: float | None = None
    share: float | None = None
    n: int | None = None
    word: str = ""


@dataclass
class Facts:
    """All facts of one dataset and model.

    Args:
        dataset: its dataset.
        model: its model.
        seeds: final seeds; with fewer than two no bound is told, but of what is exact.
        fairness: level of the fairness report.
        about: which configurations the readings are about, with effort and metric.
        one_draw: whether the numbers are of one draw of new items: what would vary with other new items is in no bound,
            so that nothing is said in words.
        over_folds: whether the bounds are those of a mean over folds, in whose spread the noise of one training of each
            is too.
        exact: whether another seed gives the same, so that there is no training noise to measure; of M1 to M3, whose
            conditions have each modality as it is or not at all.
        unmeasured: conditions whose training noise one final run does not measure, where not all of them are such.
        facts: the facts.
        unknown: what could not be measured and why.
        readings: what they say in words.
    """

    dataset: str
    model: str
    seeds: int
    fairness: str
    about: str = ""
    one_draw: bool = False
    over_folds: bool = False
    exact: bool = False
    unmeasured: list[str] = field(default_factory=list)
    facts: list[Fact] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    readings: list[str] = field(default_factory=list)

    @property
    def inferred(self) -> bool:
        """Whether training noise was measured, or there is none, so that bounds may be told."""
        return self.exact or self.seeds >= MIN_SEEDS

    @property
    def worded(self) -> bool:
        """Whether anything may be said in words."""
        return self.inferred and not self.one_draw

    def add(
        self,
        measure: str,
        subject: str,
        part: str,
        value: Interval | float,
        *,
        baseline: float | None = None,
        share: float | None = None,
        n: int | None = None,
        word: str = "",
        noise_known: bool | None = None,
    ) -> None:
        """Note one number; its bounds only where training noise was measured and where it has any.

        Args:
            measure: what kind of measure it is.
            subject: the modality, contrast or condition it is about.
            part: what exactly is measured.
            value: the number.
            baseline: the same without an effect.
            share: its part in the whole.
            n: what it was counted over.
            word: what it amounts to.
            noise_known: whether training noise of what it is about was measured, or there is none; None as in M1 to M3.
        """
        interval = None
        if isinstance(value, Interval):
            known = self.inferred if noise_known is None else noise_known
            interval = value if known and math.isfinite(value.mean) and math.isfinite(value.lo) else None
            value = value.mean
        self.facts.append(Fact(measure, subject, part, value, interval, baseline, share, n, word))


class MeasuredFact(NamedTuple):
    """A fact with what it is a fact of."""

    of: Facts
    fact: Fact


def document(title: str, measured: Sequence[Facts], legend: Sequence[str]) -> Document:
    """All facts: one printed table per measure, one row per fact in the export."""
    printed = [table for facts in measured for table in tables(facts)]
    exported = Table("", columns_of(), [MeasuredFact(facts, fact) for facts in measured for fact in facts.facts])
    return Document(title, printed, [*legend, *notes(measured)], [exported])


#: Titles of tables, the name of what they are about, and the note of what could not be measured.
TITLE = Template("{dataset}, {model}: {measure}")
NAME, NOT_MEASURED = Template("{dataset}/{model}"), Template("{name}: not measured: {line}")
#: Headers of what a number is and of the number.
MEASURED, VALUE = Message("measured"), Message("value")


def columns_of(level: float = 0.95) -> Sequence[Column[MeasuredFact]]:
    """Every column; ``level`` is the coverage that the printed bounds have."""
    return (
        Column("dataset", None, lambda m: m.of.dataset),
        Column("model", None, lambda m: m.of.model),
        Column("fairness", None, lambda m: m.of.fairness),
        Column("seeds", None, lambda m: m.of.seeds),
        Column("measure", None, lambda m: m.fact.measure),
        Column("subject", "", lambda m: m.fact.subject, names=True),
        Column("part", MEASURED, lambda m: m.fact.part, names=True),
        Column("value", VALUE, lambda m: m.fact.value, number),
        Column(
            None,
            Message("{level} %", level=f"{100 * level:.0f}"),
            lambda m: m.fact.interval,
            lambda i: f"[{number(i.lo)}, {number(i.hi)}]",
        ),
        Column("lo", None, lambda m: m.fact.interval.lo if m.fact.interval else None),
        Column("hi", None, lambda m: m.fact.interval.hi if m.fact.interval else None),
        Column("level", None, lambda m: m.fact.interval.level if m.fact.interval else 0.95),
        Column("baseline", Message("baseline"), lambda m: m.fact.baseline, number),
        Column(
            "share",
            Message("share"),
            lambda m: m.fact.share,
            lambda share: Message("{share} %", share=f"{100 * share:.0f}"),
        ),
        Column("n", "n", lambda m: m.fact.n),
        Column("word", "", lambda m: m.fact.word, lambda word: word or NOTHING),
    )


def tables(facts: Facts) -> list[Table[Any]]:
    """One table per measure, without columns that would be empty; plain numbers stand in one column per part."""
    made: list[Table[Any]] = []
    for measure in dict.fromkeys(fact.measure for fact in facts.facts):
        rows = [MeasuredFact(facts, fact) for fact in facts.facts if fact.measure == measure]
        title = Message(TITLE, dataset=facts.dataset, model=facts.model, measure=measure)
        level = next((m.fact.interval.level for m in rows if m.fact.interval), 0.95)
        columns = [
            column
            for column in columns_of(level)
            if column.label is not None and any(column.get(row) not in (None, "") for row in rows)
        ]
        plain = [column.label for column in columns] == ["", MEASURED, VALUE]
        made.append(_matrix(title, [m.fact for m in rows]) if plain else Table(title, columns, rows))
    return made


def _matrix(title: str, members: Sequence[Fact]) -> Table[str]:
    """A row for each subject, a column for each part."""
    values = {(fact.subject, fact.part): fact.value for fact in members}
    columns: list[Column[str]] = [Column(None, "", lambda subject: subject, names=True)]
    for part in dict.fromkeys(fact.part for fact in members):

        def value(subject: str, part: str = part) -> float | None:
            return values.get((subject, part))

        columns.append(Column(None, part, value, number))
    return Table(title, columns, list(dict.fromkeys(fact.subject for fact in members)))


def number(value: float) -> str:
    """Four significant figures, enough to see an effect and its bounds; rounding noise is zero."""
    if math.isnan(value):
        return Message("not defined")
    return "0" if abs(value) < UNCHANGED else f"{value:.4g}"


def notes(measured: Sequence[Facts]) -> Iterable[str]:
    """What could not be measured, and what the measures say in words."""
    for facts in measured:
        name = Message(NAME, dataset=facts.dataset, model=facts.model)
        if facts.fairness == "FAIL":
            yield Message("{name}: measurement not trusted, see fairness.md", name=name)
        if not facts.inferred and facts.over_folds:
            yield Message("{name}: one seed in a fold, bounds are over the folds alone, no conclusions", name=name)
        elif facts.unmeasured:
            yield Message(
                "{name}: one final run of {conditions} does not tell how far runs differ, no bounds and no conclusions "
                "of what they are part of",
                name=name,
                conditions=series(facts.unmeasured),
            )
        elif not facts.inferred:
            yield Message(
                "{name}: one final run does not tell how far runs differ, no bounds and no conclusions", name=name
            )
        if facts.one_draw:
            yield Message(
                "{name}: one draw of new items, bounds are over its users and seeds alone, no conclusions", name=name
            )
        for line in facts.readings:
            yield Message("{name}, {about}: {line}", name=name, about=facts.about, line=line)
        yield from (Message(NOT_MEASURED, name=name, line=line) for line in facts.unknown)
