"""The index page of a sweep: its results to sort and to filter, and a link to everything else that was written."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pandas as pd

from mmbench import paths
from mmbench.report.comparisons import Comparison
from mmbench.report.fairness_checks import Group
from mmbench.report.table import SweepTable
from mmbench.report.templating import render
from mmbench.store import files

#: Files of the report by what they are, in the order of the page; those that were not written are not linked.
FILES: Mapping[str, tuple[str, ...]] = {
    "Decision on images": ("decision.html", "decision.json", "checklist.html"),
    "Fairness of the tuning": ("fairness.html", "fairness.md"),
    "Results": ("table.md", "table.csv", "table.tex", "table.txt"),
    "Benchmark": ("benchmark.md", "benchmark.csv", "benchmark.tex"),
    "Verdicts": ("verdicts.md", "verdicts.csv", "verdicts.tex"),
    "What each modality contributes": ("contribution.md", "contribution.csv"),
    "Published tables with ours beside them": ("paper.md", "paper.csv", "paper.tex"),
    "Checklists for a submission": ("submission.md", "submission.tex"),
}


#: Pages in the language that was asked for last.
IN_EITHER = ("decision.html", "checklist.html")


@dataclass(frozen=True)
class Entry:
    """One cell of a table on the page: what is read, what is sorted by, and where it leads."""

    text: str
    order: str = ""
    link: str = ""
    number: bool = False


def write_index(table: SweepTable, found: Sequence[Comparison], groups: Sequence[Group], cells: pd.DataFrame) -> None:
    """Write ``report.html`` into the report folder, by atomic rename.

    Args:
        table: the sweep.
        found: its contrasts.
        groups: its fairness report.
        cells: its results, one row per cell and metric.
    """
    folder = paths.report_dir(table.folder)
    files.write_text(folder / "report.html", as_html(table, found, groups, cells))


def as_html(table: SweepTable, found: Sequence[Comparison], groups: Sequence[Group], cells: pd.DataFrame) -> str:
    """The page."""
    folder = paths.report_dir(table.folder)
    figures = sorted(path.stem for path in folder.glob("*.svg"))
    links = {title: [name for name in names if (folder / name).exists()] for title, names in FILES.items()}
    status = cells.drop_duplicates(["dataset", "model", "modality"])["status"]
    return render(
        "report.html",
        name=table.name,
        budget=table.budget,
        delta=f"{100 * table.delta:g} %",
        counts=status.value_counts().to_dict(),
        links={title: names for title, names in links.items() if names},
        decided=(folder / "decision.html").exists(),
        languages={name: language_of(folder / name) for names in links.values() for name in names},
        fairness=[(g.dataset, g.model, g.level) for g in groups],
        verdicts=verdict_rows(found),
        results=result_rows(cells, table.metrics),
        metrics=table.metrics,
        figures=[(figure, quote(figure)) for figure in figures],
        records=_records(table.folder),
    )


def language_of(file: Path) -> str:
    """Language of a page that is written in one of several; nothing for files that are English always."""
    if file.name not in IN_EITHER:
        return ""
    found = re.search(r'<html lang="([a-z]+)"', file.read_text(encoding="utf-8")[:200])
    return found[1] if found else ""


def verdict_rows(found: Sequence[Comparison]) -> list[list[Entry]]:
    """Every planned contrast: dataset, model, contrast, gain, range, verdict, fairness."""
    rows = []
    for c in found:
        gain = Entry("-", number=True)
        bounds = Entry("-", number=True)
        if c.gain is not None:
            gain = Entry(f"{100 * c.gain.mean:+z.1f} %", repr(c.gain.mean), number=True)
            if c.inference is not None:
                text = f"{100 * c.gain.lo:+z.1f} to {100 * c.gain.hi:+z.1f} %"
                bounds = Entry(text, repr(c.gain.hi - c.gain.lo), number=True)
        rows.append(
            [Entry(c.dataset), Entry(c.model), Entry(c.contrast), gain, bounds, Entry(c.word), Entry(c.fairness)]
        )
    return rows


def result_rows(cells: pd.DataFrame, metrics: Sequence[str]) -> list[list[Entry]]:
    """Every cell: dataset, model, condition (it leads to its records), status, and the mean of each metric."""
    rows: dict[tuple[str, str, str], list[Entry]] = {}
    for row in cells.to_dict("records"):
        key = (row["dataset"], row["model"], row["modality"])
        link = f"../{quote(row['records'])}/" if row["status"] != "missing" else ""
        head = [Entry(key[0]), Entry(key[1]), Entry(key[2], link=link), Entry(row["status"])]
        line = rows.setdefault(key, [*head, *(Entry("-", number=True) for _ in metrics)])
        if row["status"] == "done":
            spread = row["sd_over_seeds"]
            text = f"{row['mean']:.4f}" + ("" if pd.isna(spread) else f" ± {spread:.4f}")
            place = len(head) + list(metrics).index(row["metric"])
            line[place] = Entry(text, repr(float(row["mean"])), number=True)
    return list(rows.values())


def _records(folder: Path) -> list[str]:
    """The plan and the ledger of a sweep, where they are."""
    return [file.name for file in (paths.manifest_file(folder), paths.ledger_file(folder)) if file.exists()]
