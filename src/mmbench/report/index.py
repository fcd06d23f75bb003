"""The index page of a sweep: its results to sort and to filter, and a link to everything else that was written."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from mmbench import paths
from mmbench.report.comparisons import Comparison
from mmbench.report.disposals import Disposal
from mmbench.report.fairness_checks import Group
from mmbench.report.layout import Table, page
from mmbench.report.results import page_table
from mmbench.report.sentences import contrast_verdict, disposal_verdict, metric_name
from mmbench.report.table import SweepTable
from mmbench.report.templating import render
from mmbench.report.verdict_table import DISPOSAL_PAGE, PAGE
from mmbench.store import files

#: Files of the report by what they are, in the order of the page; those that were not written are not linked.
FILES: Mapping[str, tuple[str, ...]] = {
    "Decision on images": (f"{paths.DECISION}.html", f"{paths.DECISION}.json", f"{paths.CHECKLIST}.html"),
    "Fairness of the tuning": (f"{paths.FAIRNESS}.html", f"{paths.FAIRNESS}.md"),
    "Results": tuple(f"{paths.TABLE}.{ending}" for ending in ("md", "csv", "tex", "txt")),
    "Benchmark": tuple(f"{paths.BENCHMARK}.{ending}" for ending in ("md", "csv", "tex")),
    "Verdicts": tuple(f"{paths.VERDICTS}.{ending}" for ending in ("md", "csv", "tex")),
    "New items": tuple(f"{paths.NEW_ITEMS}.{ending}" for ending in ("md", "csv", "tex")),
    "What each modality contributes": tuple(f"{paths.CONTRIBUTION}.{ending}" for ending in ("md", "csv")),
    "Published tables with ours beside them": tuple(f"{paths.PAPER}.{ending}" for ending in ("md", "csv", "tex")),
    "Checklists for a submission": tuple(f"{paths.SUBMISSION}.{ending}" for ending in ("md", "tex")),
}


#: Pages in the language that was asked for last.
IN_EITHER = (f"{paths.DECISION}.html", f"{paths.CHECKLIST}.html")


def write_index(
    table: SweepTable, compared: Sequence[Comparison], disposals: Sequence[Disposal], groups: Sequence[Group]
) -> None:
    """Write ``report.html`` into the report folder, by atomic rename.

    Args:
        table: the sweep.
        compared: its contrasts.
        disposals: free disposal of its modalities.
        groups: its fairness report.
    """
    folder = paths.report_dir(table.folder)
    files.write_text(folder / f"{paths.INDEX}.html", as_html(table, compared, disposals, groups))


def as_html(
    table: SweepTable, compared: Sequence[Comparison], disposals: Sequence[Disposal], groups: Sequence[Group]
) -> str:
    """The page."""
    folder = paths.report_dir(table.folder)
    figures = sorted(path.stem for path in folder.glob("*.svg"))
    links = {title: [name for name in names if (folder / name).exists()] for title, names in FILES.items()}
    results = page_table(table)
    return render(
        "report.html",
        name=table.name,
        heading=table.title,
        budget=table.budget,
        proof=table.proof,
        delta=f"{100 * table.delta:g} %",
        counts=Counter(cell.status for cell in results.rows).most_common(),
        links={title: names for title, names in links.items() if names},
        decided=(folder / f"{paths.DECISION}.html").exists(),
        languages={name: language_of(folder / name) for names in links.values() for name in names},
        fairness=[(g.dataset, g.model, g.level) for g in groups],
        primary=metric_name(table.primary),
        verdicts=page(Table("Verdicts of the planned contrasts", PAGE, compared)),
        disposals=page(Table("Free disposal", DISPOSAL_PAGE, disposals)),
        sentences=_sentences(table, compared, disposals),
        results=page(results),
        figures=[(figure, quote(figure)) for figure in figures],
        records=_records(table.folder),
    )


def _sentences(
    table: SweepTable, compared: Sequence[Comparison], disposals: Sequence[Disposal]
) -> list[tuple[str, str]]:
    """What each contrast and free disposal says, by its name."""
    told = [(c.name, contrast_verdict(c, table.primary)) for c in compared]
    return told + [(d.name, disposal_verdict(d, table.primary)) for d in disposals]


def language_of(file: Path) -> str:
    """Language of a page that is written in one of several; nothing for files that are English always."""
    if file.name not in IN_EITHER:
        return ""
    language = re.search(r'<html lang="([a-z]+)"', file.read_text(encoding="utf-8")[:200])
    return language[1] if language else ""


def _records(folder: Path) -> list[str]:
    """The plan and the ledger of a sweep, where they are."""
    return [file.name for file in (paths.manifest_file(folder), paths.ledger_file(folder)) if file.exists()]
