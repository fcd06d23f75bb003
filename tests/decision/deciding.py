"""Decision pages of a sweep with its measured gain replaced, so that every answer can be looked at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

from mmbench.decision import Decision, Economics, Evidence, Gate, Status, decide
from mmbench.decision.page.examples import examples_of
from mmbench.decision.page.sections import write_decision
from mmbench.decision.serving import Serving
from mmbench.decision.steps import ONE_SEED
from mmbench.decision.sweep_evidence import Read, read_evidence
from mmbench.inference.gains import NoWord
from mmbench.report.reading import read_sweep
from mmbench.report.table import SweepTable
from tests.decision.cases import assuming, evidence, in_part, promising, without_gain
from tests.report.shop import vouched

#: Evidence by the answer it leads to.
ANSWERS: Mapping[str, Evidence] = {
    "go": evidence(0.25),
    "go_if": evidence(0.25),
    "partial": in_part(evidence(0.1)),
    "promising": promising(evidence(0.05, 0.06)),
    "no_go": evidence(0.0, 0.027),
    "money": evidence(0.0, G6=Status.FAIL),
    "hold": evidence(0.05, 0.06),
    "untrusted": evidence(-0.05, G1=Status.FAIL),
    "barred_go": evidence(0.25, G3=Status.FAIL),
    "barred_no_go": evidence(-0.02, 0.03, G6=Status.FAIL),
    "one_seed": evidence(-0.05, silent=ONE_SEED),
    "too_wide": without_gain(evidence(-0.05), NoWord.WIDE),
    "nothing": replace(without_gain(evidence(0.0, G1=Status.FAIL)), ratio=None),
}
#: Inputs that nobody gave, by answer.
ASSUMED = {"go_if": ("value.margin", "cost.image", "cost.kilobytes")}
SERVING = (Serving("hybridknn", "fused", 0.2, 0.21, 0.012, 0), Serving("itemknn", "-", 0.19, 0.1, 0.008, None))
DAY = date(2026, 11, 24)


@dataclass(frozen=True)
class Decided:
    """A page and what it says."""

    file: Path
    decision: Decision
    economics: Economics


def read_shop(sweep: Path) -> tuple[SweepTable, Read]:
    table = read_sweep(sweep, vouched(sweep))
    return table, read_evidence(table)


def write_answer(table: SweepTable, read: Read, answer: str, lang: str, **changed: object) -> Decided:
    """Write the page of one answer; names of the sweep, gates that were passed and titles are the real ones."""
    measured = replace(
        ANSWERS[answer],
        dataset=read.evidence.dataset,
        model=read.evidence.model,
        contrast=read.evidence.contrast,
        models=read.evidence.models,
        gates=tuple(Gate(g.name, g.status, 0.9, 0.8) for g in ANSWERS[answer].gates),
    )
    setting = assuming(*ASSUMED.get(answer, ()), **changed)
    decision = decide(measured, setting)
    examples = examples_of(table, read.comparison.a, read.catalogue)
    write_decision(
        table, replace(read, evidence=measured), setting, decision, lang, day=DAY, examples=examples, serving=SERVING,
        command="python -m mmbench decide multirun/shop",
    )  # fmt: skip
    return Decided(table.folder / "report" / "decision.html", decision, setting)
