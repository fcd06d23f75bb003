"""Checklists of venues: what records prove is answered, everything else waits for a person.

NeurIPS paper, ML reproducibility (Pineau et al. 2021), ACM artifact badges 1.1, RecSys reproducibility track.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mmbench import paths
from mmbench.inference.contribution.guardrails import MARGIN, Rail
from mmbench.inference.verdicts import MIN_SEEDS
from mmbench.report.comparisons import Comparison
from mmbench.report.facts import Facts
from mmbench.report.fairness_checks import FAIL, Group
from mmbench.report.layout import Column, Table, markdown_table, md, tex
from mmbench.report.list_facts import GUARDRAILS
from mmbench.report.sentences import metric_name
from mmbench.report.table import SweepTable
from mmbench.store import records
from mmbench.store.ledger import read as read_rows
from mmbench.store.schema import Cell, Seal

YES, NO, NOT_APPLICABLE, OPEN = "yes", "no", "not applicable", "to be answered"
NEURIPS, PINEAU = "NeurIPS paper checklist", "ML reproducibility checklist"
ACM, RECSYS = "ACM badges", "RecSys reproducibility"


#: Links from the report to what the sweep wrote beside it.
LEDGER, MANIFEST = str(paths.ledger_file(Path(".."))), str(paths.manifest_file(Path("..")))
CELL = paths.cell_file(Path()).name
#: Evidence within the report.
FAIRNESS, TABLE, VERDICTS = f"{paths.FAIRNESS}.md", f"{paths.TABLE}.md", f"{paths.VERDICTS}.md"


@dataclass(frozen=True)
class Answer:
    """One item.

    Args:
        checklist: its checklist.
        item: what is asked.
        answer: one of the words above.
        reason: one or two sentences.
        evidence: files beside the checklist that prove it.
    """

    checklist: str
    item: str
    answer: str
    reason: str
    evidence: tuple[str, ...] = ()

    @property
    def status(self) -> str:
        """Who answered."""
        return "person" if self.answer == OPEN else "records"


@dataclass(frozen=True)
class Ledger:
    """What the records say of the whole sweep."""

    trainings: int
    failed: int
    hours: float
    kwh: float | None
    devices: tuple[str, ...]
    cells: tuple[Cell, ...]
    protocols: tuple[str, ...]

    @property
    def versions(self) -> str:
        """Versions of what decides numbers."""
        versions = sorted({f"{k} {v}" for cell in self.cells for k, v in cell.versions.items() if v})
        return ", ".join(versions) or "not recorded"

    @property
    def data(self) -> str:
        """Sizes of the data sets."""
        return "; ".join(dict.fromkeys(cell.data[0] for cell in self.cells if cell.data)) or "not recorded"


def read_ledger(table: SweepTable) -> Ledger:
    """Sum up the ledger and the cells of a sweep."""
    rows = list(read_rows(table.folder))
    status = Counter(row.status for row in rows)
    seconds = sum(row.cost.total_seconds or row.cost.seconds or 0.0 for row in rows)
    energy = [row.cost.energy_kwh for row in rows if row.cost.energy_kwh is not None]
    done = [cell for cell in table.cells.values() if cell.status == "done" and not cell.parts]
    seals = [records.read(paths.seal_file(cell.folder), Seal) for cell in done]
    return Ledger(
        len(rows),
        len(rows) - status["ok"],
        seconds / 3600,
        sum(energy) if energy and len(energy) == len(rows) else None,
        tuple(sorted({row.cost.device for row in rows if row.cost.device})),
        tuple(records.read(paths.cell_file(cell.folder), Cell) for cell in done),
        tuple(sorted({seal.protocol for seal in seals})),
    )


def answers(
    table: SweepTable, comparisons: Sequence[Comparison], groups: Sequence[Group], measured: Sequence[Facts]
) -> list[Answer]:
    """Every item of every checklist.

    Args:
        table: the sweep.
        comparisons: its contrasts.
        groups: its fairness report.
        measured: contribution measures, with the guard-rails of every contrast.
    """
    ledger = read_ledger(table)
    return [
        *_neurips(table, comparisons, ledger),
        *_pineau_data(ledger),
        *_pineau_runs(table, ledger),
        *_acm(ledger),
        *_recsys(table, comparisons, groups, ledger),
        _guardrails(measured),
    ]


def _significance(table: SweepTable, comparisons: Sequence[Comparison]) -> tuple[str, str]:
    """What is inferred, and from what."""
    judged = sum(c.inference is not None for c in comparisons)
    if table.budget["seeds"] < MIN_SEEDS or not judged:
        return NO, "One final seed, too few trials or no comparable pair: nothing is inferred."
    return YES, (
        f"{judged} contrasts in {metric_name(table.primary)}, each the gain after tuning with a third of the trials, "
        "with intervals over the draw of trials, users and the seed of the default configuration (jackknife of a "
        "U-statistic, Satterthwaite, Student's t; no normality of single users is assumed), Holm and "
        f"Benjamini-Hochberg adjusted; metric and equivalence margin {100 * table.delta:g} % fixed before the sweep. "
        f"Valid for random search in the spaces given; {_splits(comparisons)}."
    )


def _splits(comparisons: Sequence[Comparison]) -> str:
    """Whether the split varies."""
    varied = sorted({c.over.name for c in comparisons if c.over is not None and c.inference is not None})
    return f"the split varies in {', '.join(varied)}" if varied else "the split does not vary"


def _settings(table: SweepTable) -> str:
    budget = table.budget
    return (
        f"{budget['trials']} trials of every condition with the same configurations, chosen by validation NDCG@20, "
        f"then {budget['seeds']} final seeds; judged on {metric_name(table.primary)}. Ranges, chosen values "
        "and splits stand in the records."
    )


def _compute(ledger: Ledger) -> tuple[str, str]:
    if not ledger.trainings:
        return NO, "The ledger is empty."
    energy = "energy was not measured" if ledger.kwh is None else f"{ledger.kwh:.3g} kWh"
    return YES, (
        f"{ledger.trainings} trainings, {ledger.failed} of them failed, {ledger.hours:.2g} hours in all on "
        f"{', '.join(ledger.devices) or 'a device that was not recorded'}, {energy}. Every training has a row."
    )


def _answer(checklist: str, name: str, answer: str, reason: str, *evidence: str) -> Answer:
    return Answer(checklist, name, answer, reason, evidence)


def _neurips(table: SweepTable, comparisons: Sequence[Comparison], ledger: Ledger) -> Iterator[Answer]:
    item = functools.partial(_answer, NEURIPS)
    names = ", ".join(dict.fromkeys(c.contrast for c in comparisons)) or "none"
    yield item(
        "1 Claims",
        OPEN,
        f"Every claim about a difference should name model, trials, data and one of: {names}.",
        VERDICTS,
    )
    limits = f"{len(table.datasets)} data set(s); one feature set per modality and data set; offline metrics only."
    yield item("2 Limitations", OPEN, f"Say at least: {limits}", TABLE)
    yield item("3 Theory", NOT_APPLICABLE, "There are no theorems.")
    yield item(
        "4 Reproducibility of results",
        YES,
        "Every number is computed from records; python -m mmbench verify computes every table of a bundle again.",
        MANIFEST,
        LEDGER,
    )
    yield item("5 Open access to data and code", OPEN, "The code is under Apache-2.0; say where data and bundle lie.")
    yield item("6 Experimental setting", YES, _settings(table), FAIRNESS, MANIFEST)
    answer, reason = _significance(table, comparisons)
    yield item("7 Statistical significance", answer, reason, VERDICTS)
    answer, reason = _compute(ledger)
    yield item("8 Compute resources", answer, reason, LEDGER, FAIRNESS)
    for name in ("9 Code of ethics", "10 Broader impacts", "11 Safeguards"):
        yield item(name, OPEN, "For a person.")
    yield item("12 Licences of existing assets", OPEN, "Name the licence of every data set and encoder.")
    yield item("13 New assets", OPEN, "If a data set or model is released, document it.")
    for name in ("14 Human subjects", "15 Review board", "16 Use of language models"):
        yield item(name, OPEN, "For a person.")


def _pineau_data(ledger: Ledger) -> Iterator[Answer]:
    item = functools.partial(_answer, PINEAU)
    yield item("Clear description of the models", YES, "Each model file names its paper and formula.")
    yield item("Statistics of the data", YES if ledger.cells else NO, ledger.data, MANIFEST)
    yield item(
        "Splits",
        YES if ledger.protocols else NO,
        f"Protocol {', '.join(ledger.protocols) or 'not recorded'}; one frozen split with its hash in every "
        "record, shared by all conditions.",
        FAIRNESS,
    )
    yield item(
        "Excluded data and preprocessing",
        YES,
        f"k-core, smallest rating and items without content are settings of the data set in every {CELL}.",
        MANIFEST,
    )
    yield item("Link to the data", OPEN, "Say where the data can be had.")


def _pineau_runs(table: SweepTable, ledger: Ledger) -> Iterator[Answer]:
    item = functools.partial(_answer, PINEAU)
    yield item("Ranges of hyper-parameters, how the best were chosen", YES, _settings(table), FAIRNESS)
    yield item(
        "Exact number of training and evaluation runs",
        YES if ledger.trainings else NO,
        f"{ledger.trainings} trainings in the ledger, failed ones included.",
        LEDGER,
    )
    yield item(
        "Definition of the metrics",
        YES,
        f"{', '.join(table.metrics)}: all items are ranked but those seen in training; formulas in docs/protocol.md.",
        TABLE,
    )
    answer = YES if table.budget["seeds"] >= MIN_SEEDS else NO
    yield item(
        "Central tendency and variation",
        answer,
        "Mean and standard deviation over seeds; intervals of tuned gains over trials, users and seed.",
        TABLE,
        VERDICTS,
    )
    answer, reason = _compute(ledger)
    yield item("Average runtime, energy", answer, reason, LEDGER)
    devices = ", ".join(ledger.devices) or "device not recorded"
    yield item("Computing infrastructure", YES if ledger.devices else NO, f"{devices}; {ledger.versions}.", LEDGER)


def _acm(ledger: Ledger) -> Iterator[Answer]:
    item = functools.partial(_answer, ACM)
    yield item("Artifacts available", OPEN, "Put the bundle into an archive with a DOI and name its licence.")
    yield item(
        "Artifacts evaluated: functional",
        OPEN,
        "Documented, consistent, complete, exercisable: python -m "
        "mmbench bundle packs records, environment, hashes and a command per table.",
        MANIFEST,
    )
    yield item("Artifacts evaluated: reusable", OPEN, f"Versions: {ledger.versions}.")
    yield item(
        "Results reproduced",
        OPEN,
        "By another team with these artifacts: python -m mmbench verify, then the command of the manifest.",
    )
    yield item("Results replicated", OPEN, "By another team without these artifacts.")


def _recsys(
    table: SweepTable, comparisons: Sequence[Comparison], groups: Sequence[Group], ledger: Ledger
) -> Iterator[Answer]:
    item = functools.partial(_answer, RECSYS)
    unfair = [f"{g.dataset}/{g.model}" for g in groups if g.level == FAIL]
    equal = NO if unfair or not groups else YES
    reason = (
        f"Not for {', '.join(unfair)}." if unfair else "Same trials, configurations, seeds and epoch rule, checked."
    )
    yield item("Were baselines tuned with equal effort?", equal, reason, FAIRNESS)
    yield item("The same split for all?", equal, "Fingerprints of train, validation and test are compared.", FAIRNESS)
    yield item(
        "Was the choice made on validation data?",
        equal,
        "The choice is hashed before the test split is opened; tuning code cannot import it.",
        FAIRNESS,
    )
    answer, reason = _significance(table, comparisons)
    yield item("Which statistical test, over which unit?", answer, reason, VERDICTS)
    yield item("How many seeds?", YES, f"{table.budget['seeds']} final seeds, apart from the tuning seeds.", FAIRNESS)
    yield item(
        "Is nothing of the future seen?",
        YES if ledger.protocols == ("time",) else OPEN,
        f"Protocol {', '.join(ledger.protocols) or 'not recorded'}. A random split per user (paper) knows the "
        "future, a split by time does not.",
        MANIFEST,
    )
    simple = sorted({m for _, m, _ in table.cells} & {"popularity", "itemknn", "ease", "contentknn", "hybridknn"})
    yield item("Simple baselines?", YES if simple else NO, ", ".join(simple) or "None in this sweep.", TABLE)
    yield item("Ranges and chosen values of all methods?", YES, _settings(table), FAIRNESS)
    yield item("Full ranking?", YES, "All items but those of the user's training part.", TABLE)
    yield item("Code of baselines?", YES, "One file per model, tuned by the same command.", MANIFEST)


def _guardrails(measured: Sequence[Facts]) -> Answer:
    """Whether a gain has a price: coverage, long tail, new items and items that lack the content which is added."""
    question = "Does nothing get worse beside the accuracy?"
    rails = [(facts, fact) for facts in measured for fact in facts.facts if fact.measure == GUARDRAILS]
    if not rails:
        return Answer(RECSYS, question, OPEN, "No guard-rail was measured: the data set or a second seed is missing.")
    by_word = {word: [pair for pair in rails if pair[1].word == word] for word in Rail}
    count = ", ".join(f"{len(found)} {word}" for word, found in by_word.items())
    broken = [
        f"{fact.part.removeprefix('relative change of ')} of {facts.dataset}/{facts.model} {fact.subject}"
        for facts, fact in by_word[Rail.BROKEN]
    ]
    named = f" Broken: {'; '.join(broken)}." if broken else ""
    reason = (
        f"Guard-rails of all contrasts: {count}. One holds where the loss is below {100 * MARGIN:g} % at 95 % "
        f"confidence.{named}"
    )
    answer = YES if len(by_word[Rail.HOLDS]) == len(rails) else NO
    return Answer(RECSYS, question, answer, reason, (f"{paths.CONTRIBUTION}.md",))


COLUMNS: Sequence[Column[Answer]] = (
    Column(None, "item", lambda a: a.item),
    Column(None, "answer", lambda a: a.answer),
    Column(None, "why", lambda a: a.reason),
    Column(None, "evidence", lambda a: ", ".join(f"[{file}]({file})" for file in a.evidence) or None, markdown=True),
    Column(None, "filled by", lambda a: a.status),
)


def as_markdown(table: SweepTable, answered: Sequence[Answer]) -> str:
    """All checklists as GitHub Markdown with links."""
    pieces = [
        f"# Checklists for {md(table.title)}",
        "Filled from the records; what waits for a person says so.",
        f"{table.proof}.",
    ]
    for checklist in dict.fromkeys(a.checklist for a in answered):
        rows = [a for a in answered if a.checklist == checklist]
        pieces += [f"## {checklist}", markdown_table(Table(checklist, COLUMNS, rows))]
    return "\n\n".join(pieces) + "\n"


def as_latex(answered: Sequence[Answer]) -> str:
    """All checklists for the appendix of a paper; needs no package."""
    lines = []
    for checklist in dict.fromkeys(a.checklist for a in answered):
        lines += [rf"\section*{{{tex(checklist)}}}", r"\begin{itemize}"]
        for a in (a for a in answered if a.checklist == checklist):
            evidence = f" Evidence: {', '.join(a.evidence)}." if a.evidence else ""
            lines.append(rf"\item \textbf{{{tex(a.item)}}} [{tex(a.answer)}] {tex(a.reason + evidence)}")
        lines.append(r"\end{itemize}")
    return "\n".join(lines) + "\n"
