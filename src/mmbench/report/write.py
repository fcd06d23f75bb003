"""Writes the table as Markdown, CSV, booktabs LaTeX and plain text."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table as RichTable

from mmbench import paths, records
from mmbench.report.fairness import write_fairness
from mmbench.report.table import ID_ONLY, CellResult, SweepTable, condition_columns, read_sweep

SAME, MISSING, FAILED, STALE, LOW = "=", "-", "failed", "stale", "(below popularity)"
LEGEND = (
    f"mean over users and seeds, ± standard deviation over seeds; best and second of a column marked; "
    f"{SAME} the model ignores content and has one result; {MISSING} planned, not run; "
    f"{LOW} worse than the popularity baseline, kept. Changes are relative, in percent; this table tests nothing."
)


@dataclass(frozen=True)
class Entry:
    """One printed value: text and rank of its column (1 best, 2 second, 0 neither)."""

    text: str
    rank: int = 0


Mark = Callable[[Entry], str]


def write_report(sweep_dir: Path) -> SweepTable:
    """Write the table and the fairness report of a sweep and return the table with its text filled in."""
    table = read_sweep(sweep_dir)
    table = replace(table, text=as_text(table))
    folder = paths.report_dir(sweep_dir)
    for ending, text in {
        "md": as_markdown(table),
        "tex": as_latex(table),
        "txt": table.text,
        "csv": as_frame(table).to_csv(index=False, lineterminator="\n"),
    }.items():
        records.write_text(folder / f"table.{ending}", text)
    write_fairness(table, sweep_dir)
    return table


def grid(table: SweepTable, dataset: str, metric: str) -> tuple[list[str], list[list[Entry]]]:
    """Header and rows of one dataset and metric."""
    changes = condition_columns(table)
    header = ["model", *table.conditions, *(f"{c} vs {against} %" for c, against in changes)]
    ranks = {
        (condition, model): place + 1
        for condition in table.conditions
        for place, model in enumerate(table.ranked(dataset, condition, metric)[:2])
    }
    rows = []
    for model in table.models(dataset):
        row = [Entry(model)]
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
    for cell in table.cells.values():
        if cell.status in ("failed", "stale"):
            reason = " ".join(cell.reason.split())
            said.append(f"{cell.status}: {cell.dataset}/{cell.model}/{cell.modality}: {reason}")
    return said


def as_markdown(table: SweepTable) -> str:
    """The table as GitHub Markdown: best bold, second italic."""
    blocks = [f"# {table.name}"]
    marks = {0: "{}", 1: "**{}**", 2: "*{}*"}
    for dataset in table.datasets:
        for metric in table.metrics:
            header, rows = grid(table, dataset, metric)
            lines = [f"## {dataset}, {metric}", "", _markdown_row(header), _markdown_row(["---"] * len(header))]
            lines += [_markdown_row([marks[e.rank].format(_md(e.text)) for e in row]) for row in rows]
            blocks.append("\n".join(lines))
    return "\n\n".join([*blocks, "\n".join(f"- {_md(line)}" for line in notes(table))]) + "\n"


def _markdown_row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _md(text: str) -> str:
    return text.replace("|", "\\|")


def as_latex(table: SweepTable) -> str:
    """The table for a paper (booktabs): best bold, second underlined."""
    marks = {0: "{}", 1: "\\textbf{{{}}}", 2: "\\underline{{{}}}"}
    blocks = ["% needs \\usepackage{booktabs}"]
    for dataset in table.datasets:
        for metric in table.metrics:
            header, rows = grid(table, dataset, metric)
            body = [" & ".join(marks[e.rank].format(_tex(e.text)) for e in row) + r" \\" for row in rows]
            blocks.append(
                "\n".join(
                    [
                        r"\begin{table}",
                        rf"\caption{{{_tex(f'{dataset}, {metric}')}}}",
                        rf"\begin{{tabular}}{{l{'r' * (len(header) - 1)}}}",
                        r"\toprule",
                        " & ".join(map(_tex, header)) + r" \\",
                        r"\midrule",
                        *body,
                        r"\bottomrule",
                        r"\end{tabular}",
                        r"\end{table}",
                    ]
                )
            )
    return "\n\n".join([*blocks, *(f"% {line}" for line in notes(table))]) + "\n"


def _tex(text: str) -> str:
    special = {"\\": r"\textbackslash{}", "±": r"$\pm$", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    special |= {c: f"\\{c}" for c in "&%$#_{}"}
    return "".join(special.get(c, c) for c in text)


def as_text(table: SweepTable) -> str:
    """The table for a terminal or a log, as wide as it has to be."""
    out = io.StringIO()
    console = Console(file=out, width=10_000, color_system=None)
    for dataset in table.datasets:
        for metric in table.metrics:
            header, rows = grid(table, dataset, metric)
            console.print(f"{dataset}, {metric} (* best of its column, + second)", markup=False, highlight=False)
            values = 1 + len(table.conditions)
            for columns in (range(1, values), range(values, len(header))):
                if columns:
                    console.print(_text_table(header, rows, columns))
    for line in notes(table):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def _text_table(header: Sequence[str], rows: Sequence[Sequence[Entry]], columns: range) -> RichTable:
    """The model and some columns; values and changes stand apart so that they fit a terminal."""
    marks = {0: "{}  ", 1: "{} *", 2: "{} +"}
    shown = RichTable(box=box.SIMPLE_HEAD)
    shown.add_column(header[0])
    for place in columns:
        shown.add_column(header[place], justify="right")
    for row in rows:
        shown.add_row(row[0].text, *(marks[row[i].rank].format(row[i].text) for i in columns))
    return shown


def as_frame(table: SweepTable) -> pd.DataFrame:
    """One row per cell and metric, for a spreadsheet or a script; seeds are separated by a blank."""
    rows = []
    for cell in table.cells.values():
        for metric in table.metrics:
            done = cell.status == "done"
            rows.append(
                {
                    "dataset": cell.dataset,
                    "model": cell.model,
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
