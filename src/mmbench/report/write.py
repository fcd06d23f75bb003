"""Writes all reports of a sweep; the table as Markdown, CSV, booktabs LaTeX and plain text."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd

from mmbench import paths
from mmbench.report import benchmark, contribution_facts, facts, layout, published, submission, verdict_table
from mmbench.report.comparisons import Comparison, read_contrasts
from mmbench.report.contribution_facts import read_contributions, with_redundancy
from mmbench.report.fairness import write_fairness
from mmbench.report.figures import write_figures
from mmbench.report.index import write_index
from mmbench.report.layout import Block, Entry
from mmbench.report.reading import read_sweep
from mmbench.report.table import ID_ONLY, LATE, CellResult, SweepTable, condition_columns
from mmbench.store import files

SAME, MISSING, FAILED, STALE, LOW = "=", "-", "failed", "stale", "(below popularity)"
LEGEND = (
    f"mean over users and seeds, ± standard deviation over seeds; best and second of a column marked; "
    f"{SAME} the model ignores content and has one result; {MISSING} planned, not run; "
    f"{LOW} worse than the popularity baseline, kept. Changes are relative, in percent; "
    "this table tests nothing, verdicts.md does."
)


def write_report(sweep_dir: Path, paper: Path | None = None) -> SweepTable:
    """Write all reports of a sweep; return its table with the text for a terminal and the verdict words filled in.

    Args:
        sweep_dir: folder of the sweep.
        paper: the published tables of the source study, to be written with ours beside them.

    Raises:
        ValueError: if the folder is no sweep or the file does not hold the published tables.
    """
    table = read_sweep(sweep_dir)
    rows = None if paper is None else published.read_published(paper, table)
    groups = write_fairness(table, sweep_dir)
    found = read_contrasts(table, groups)
    measured = read_contributions(table, groups, found)
    found = with_redundancy(found, measured)
    words = {c.name: c.word for c in found}
    table = replace(table, text=f"{as_text(table)}\n{verdict_table.as_text(table, found)}", words=words)
    folder = paths.report_dir(sweep_dir)
    texts = _tables(table, found) | {
        "contribution.md": contribution_facts.as_markdown(table, measured),
        "contribution.csv": as_csv(facts.as_frame(measured)),
    }
    asked = submission.answers(table, found, groups)
    texts |= {"submission.md": submission.as_markdown(table, asked), "submission.tex": submission.as_latex(asked)}
    if rows is not None:
        texts |= {"paper.md": published.as_markdown(table, rows), "paper.tex": published.as_latex(rows)}
        texts["paper.csv"] = as_csv(published.as_frame(table, rows))
    for name, text in texts.items():
        files.write_text(folder / name, text)
    write_figures(table, found, folder)
    write_index(table, found, groups, as_frame(table))
    return table


def _tables(table: SweepTable, found: list[Comparison]) -> dict[str, str]:
    """The table, the benchmark and the verdicts in every format, by file name."""
    return {
        "table.md": as_markdown(table),
        "table.tex": as_latex(table),
        "table.txt": table.text,
        "table.csv": as_csv(as_frame(table)),
        "benchmark.md": benchmark.as_markdown(table, found),
        "benchmark.tex": benchmark.as_latex(table, found),
        "benchmark.csv": as_csv(benchmark.as_frame(table, found)),
        "verdicts.md": verdict_table.as_markdown(table, found),
        "verdicts.tex": verdict_table.as_latex(table, found),
        "verdicts.csv": as_csv(verdict_table.as_frame(table, found)),
    }


def as_csv(frame: pd.DataFrame) -> str:
    """A frame as CSV, the same on every machine."""
    return str(frame.to_csv(index=False, lineterminator="\n"))


def grid(table: SweepTable, dataset: str, metric: str) -> tuple[list[str], list[list[Entry]]]:
    """Header and rows of one dataset and metric."""
    table = table.at(metric)
    changes = condition_columns(table)
    header = ["model", "tier", *table.conditions, *(f"{c} vs {against} %" for c, against in changes)]
    ranks = {
        (condition, model): place + 1
        for condition in table.conditions
        for place, model in enumerate(table.ranked(dataset, condition, metric)[:2])
    }
    rows = []
    for model in table.models(dataset):
        row = [Entry(model), Entry(", ".join(table.tiers(dataset, model)))]
        for number, condition in enumerate(table.conditions):
            result = table.result(dataset, model, condition)
            repeated = result is not None and result.modality == ID_ONLY and number > 0
            row.append(
                Entry(SAME) if repeated else Entry(_value(table, result, metric), ranks.get((condition, model), 0))
            )
        for condition, against in changes:
            interval = table.change(dataset, model, condition, against, metric)
            row.append(Entry(MISSING if interval is None else f"{100 * interval.mean:+.1f}"))
        rows.append(row)
    return header, rows


def _value(table: SweepTable, result: CellResult | None, metric: str) -> str:
    if result is None:
        return MISSING
    if result.status != "done":
        return {"failed": FAILED, "missing": MISSING, "stale": STALE}[result.status]
    spread = result.spread(metric)
    text = f"{result.mean(metric):.4f}" + ("" if spread is None else f" ± {spread:.4f}")
    return f"{text} {LOW}" if table.below_popularity(result) else text


def notes(table: SweepTable) -> list[str]:
    """What has to be said under a table."""
    budget = table.budget
    head = f"sweep {table.name}: budget {budget['name']} ({budget['trials']} trials, {budget['seeds']} seeds)"
    said = [f"{head}; {LEGEND}"]
    if budget["seeds"] == 1:
        said.append("One seed: training noise was not measured, so differences cannot be judged.")
    if LATE in table.conditions:
        said.append(f"{LATE}: averaged ranks of the runs with one modality each, by final seed; nothing tuned.")
    for cell in table.cells.values():
        if cell.status in ("failed", "stale"):
            reason = " ".join(cell.reason.split())
            said.append(f"{cell.status}: {cell.dataset}/{cell.model}/{cell.modality}: {reason}")
    return said


def blocks(table: SweepTable) -> list[Block]:
    """One table per dataset and metric; values and changes stand apart in a terminal so that they fit."""
    found = []
    for dataset in table.datasets:
        for metric in table.metrics:
            header, rows = grid(table, dataset, metric)
            values = 2 + len(table.at(metric).conditions)
            parts = (range(1, values), range(values, len(header)))
            found.append(Block(f"{dataset}, {metric}", header, rows, parts, " (* best of its column, + second)"))
    return found


def as_markdown(table: SweepTable) -> str:
    """The table as GitHub Markdown: best bold, second italic."""
    return layout.markdown(table.name, blocks(table), notes(table))


def as_latex(table: SweepTable) -> str:
    """The table for a paper (booktabs): best bold, second underlined."""
    return layout.latex(blocks(table), notes(table))


def as_text(table: SweepTable) -> str:
    """The table for a terminal or a log."""
    return layout.plain(blocks(table), notes(table))


def as_frame(table: SweepTable) -> pd.DataFrame:
    """One row per cell and metric, for a spreadsheet or a script; seeds are separated by a blank."""
    rows = []
    for cell in table.cells.values():
        for metric in filter(cell.reaches, table.metrics):
            done = cell.status == "done"
            rows.append(
                {
                    "dataset": cell.dataset,
                    "model": cell.model,
                    "tiers": " ".join(cell.tiers),
                    "modality": cell.modality,
                    "status": cell.status,
                    "metric": metric,
                    "mean": cell.mean(metric) if done else None,
                    "sd_over_seeds": cell.spread(metric) if done else None,
                    "by_seed": " ".join(f"{v:.10g}" for v in cell.by_seed(metric)) if done else "",
                    "below_popularity": table.below_popularity(cell) if done else None,
                    "reason": cell.reason,
                    "records": str(cell.folder.relative_to(table.folder)),
                }
            )
    return pd.DataFrame(rows)
