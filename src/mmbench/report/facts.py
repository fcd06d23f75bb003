"""Measured facts of one dataset and model in one form, so that every file says the same."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import pandas as pd

from mmbench.inference.contribution.bootstrap import Estimate
from mmbench.inference.intervals import UNCHANGED
from mmbench.inference.verdicts import MIN_SEEDS
from mmbench.report import layout
from mmbench.report.layout import Block, block

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
        lo: lower bound; None where nothing is inferred.
        hi: upper bound.
        level: coverage of the bounds.
        baseline: the same without an effect, for example between two seeds.
        share: its part in the whole.
        n: what it was counted over.
        word: what it amounts to.
    """

    measure: str
    subject: str
    part: str
    value: float
    lo: float | None = None
    hi: float | None = None
    level: float = 0.95
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
        seeds: final seeds; with fewer than two no bound is told.
        fairness: level of the fairness report.
        found: the facts.
        unknown: what could not be measured and why.
        readings: what they say in words.
    """

    dataset: str
    model: str
    seeds: int
    fairness: str
    found: list[Fact] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    readings: list[str] = field(default_factory=list)

    @property
    def inferred(self) -> bool:
        """Whether training noise was measured, so that bounds may be told."""
        return self.seeds >= MIN_SEEDS

    def add(
        self,
        measure: str,
        subject: str,
        part: str,
        value: Estimate | float,
        *,
        level: float = 0.95,
        baseline: float | None = None,
        share: float | None = None,
        n: int | None = None,
        word: str = "",
    ) -> None:
        """Note one number; its bounds only where training noise was measured."""
        lo = hi = None
        if isinstance(value, Estimate):
            if self.inferred and math.isfinite(value.value):
                lo, hi = value.lo, value.hi
            value = value.value
        self.found.append(Fact(measure, subject, part, value, lo, hi, level, baseline, share, n, word))


def blocks(facts: Facts) -> list[Block]:
    """One table per measure, without columns that would be empty; plain numbers stand in one column per part."""
    made = []
    for measure in dict.fromkeys(fact.measure for fact in facts.found):
        members = [fact for fact in facts.found if fact.measure == measure]
        title = f"{facts.dataset}, {facts.model}: {measure}"
        plain = all(cell == "-" for fact in members for cell in _optional(fact))
        made.append(_matrix(title, members) if plain else _list(title, members))
    return made


def _matrix(title: str, members: Sequence[Fact]) -> Block:
    parts, subjects = (
        list(dict.fromkeys(names)) for names in zip(*((f.part, f.subject) for f in members), strict=True)
    )
    values = {(fact.subject, fact.part): number(fact.value) for fact in members}
    rows = [[subject, *(values.get((subject, part), "-") for part in parts)] for subject in subjects]
    return block(title, ["", *parts], rows)


def _list(title: str, members: Sequence[Fact]) -> Block:
    header = ("", "measured", "value", f"{100 * members[0].level:.0f} %", "baseline", "share", "n", "")
    rows = [[fact.subject, fact.part, number(fact.value), *_optional(fact)] for fact in members]
    kept = [i for i in range(len(header)) if i < 3 or any(row[i] != "-" for row in rows)]
    return block(title, [header[i] for i in kept], [[row[i] for i in kept] for row in rows], keys=2)


def _optional(fact: Fact) -> list[str]:
    interval = "-" if fact.lo is None or fact.hi is None else f"[{number(fact.lo)}, {number(fact.hi)}]"
    return [
        interval,
        "-" if fact.baseline is None else number(fact.baseline),
        "-" if fact.share is None else f"{100 * fact.share:.0f} %",
        "-" if fact.n is None else str(fact.n),
        fact.word or "-",
    ]


def number(value: float) -> str:
    """Four significant figures, enough to see an effect and its bounds; rounding noise is zero."""
    if math.isnan(value):
        return "not defined"
    return "0" if abs(value) < UNCHANGED else f"{value:.4g}"


def notes(measured: Sequence[Facts]) -> Iterable[str]:
    """What could not be measured, and what the measures say in words."""
    for facts in measured:
        name = f"{facts.dataset}/{facts.model}"
        if facts.fairness == "FAIL":
            yield f"{name}: measurement not trusted, see fairness.md"
        if not facts.inferred:
            yield f"{name}: one seed, training noise not measured, no bounds and no conclusions"
        yield from (f"{name}: {line}" for line in facts.readings)
        yield from (f"{name}: not measured: {line}" for line in facts.unknown)


def as_markdown(title: str, measured: Sequence[Facts], legend: Sequence[str]) -> str:
    """All facts as GitHub Markdown."""
    tables = [table for facts in measured for table in blocks(facts)]
    return layout.markdown(title, tables, [*legend, *notes(measured)])


def as_frame(measured: Sequence[Facts]) -> pd.DataFrame:
    """One row per fact in full precision."""
    columns = ["dataset", "model", "fairness", "seeds", *Fact.__dataclass_fields__]
    rows = [
        {"dataset": f.dataset, "model": f.model, "fairness": f.fairness, "seeds": f.seeds, **vars(fact)}
        for f in measured
        for fact in f.found
    ]
    return pd.DataFrame(rows, columns=columns)
