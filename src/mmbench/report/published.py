"""The published tables of the source study (Ye et al., arXiv 2508.07399, tables 4 to 9) and ours beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from mmbench.data.readers.delimited import read_delimited
from mmbench.messages import Message, Refusal
from mmbench.report import layout
from mmbench.report.layout import Block, block
from mmbench.report.table import CellResult, SweepTable

METRICS = ("NDCG@5", "NDCG@10", "Recall@5", "Recall@10", "Precision@5", "Precision@10")
#: State of text and image behind each published table.
STATES: Mapping[int, tuple[str, str]] = {
    4: ("real", "real"),
    5: ("noise", "noise"),
    6: ("noise", "real"),
    7: ("real", "noise"),
    8: ("ones", "ones"),
    9: ("zeros", "zeros"),
}
BASELINE = 4
NOTES = (
    "Each metric: published, then ours; in brackets the change against table 4 in percent. - is not in this sweep.",
    "Cells are matched by the states of text and image, ours are means over users, final seeds and splits.",
    "The published configurations were chosen on the test metric, from 1 to 320 trials per model, with one seed: their "
    "numbers and ours answer different questions and need not agree.",
    "Published numbers that are failures, not effects: LATTICE, MGCN and SMORE in table 9 (0.0000), VBPR in table 9.",
)


@dataclass(frozen=True)
class Row:
    """One published row and our cells for it.

    Args:
        table: number of the published table.
        title: its title.
        model: the model as it is printed.
        dataset: the data set as it is printed.
        values: metrics as they are printed, by name.
        changes: changes against table 4 as they are printed, in percent, by metric; empty in table 4.
        ours: our cells, one per split.
        base: our cells of table 4.
    """

    table: int
    title: str
    model: str
    dataset: str
    values: Mapping[str, str]
    changes: Mapping[str, str]
    ours: Sequence[CellResult]
    base: Sequence[CellResult]

    def mean(self, metric: str) -> float | None:
        """Our mean of a metric; None without a cell."""
        return _mean(self.ours, metric)

    def change(self, metric: str) -> float | None:
        """Our change against our cells of table 4 on the splits that have both, as a fraction; None in table 4."""
        shared = {cell.dataset for cell in self.ours} & {cell.dataset for cell in self.base}
        value, base = (_mean([c for c in side if c.dataset in shared], metric) for side in (self.ours, self.base))
        return None if self.table == BASELINE or value is None or not base else value / base - 1


def _mean(cells: Sequence[CellResult], metric: str) -> float | None:
    return float(np.mean([cell.mean(metric.lower()) for cell in cells])) if cells else None


def read_published(file: Path, table: SweepTable) -> list[Row]:
    """Read the published tables and find our cells for each row.

    Args:
        file: CSV with the columns table, title, model, dataset, the six metrics and ``d_<metric>``.
        table: the sweep.

    Raises:
        ValueError: naming the file and the column or line that is wrong.
    """
    read = read_delimited(file)
    changes_of = {metric: f"d_{metric}" for metric in METRICS}
    for column in ("table", "title", "model", "dataset", *METRICS, *changes_of.values()):
        read.check_column(column, "of the study's tables")
    for column in ("table", *METRICS):
        read.require(np.isfinite(read.numbers(column)), column, Message("it must be a number"))
    for column in changes_of.values():
        read.numbers(column)
    ours = _by_states(table)
    rows = []
    for line in read.frame.to_dict("records"):
        number = int(float(line["table"]))
        if number in STATES:
            place = (_plain(line["model"]), _plain(line["dataset"]))
            found, base = (ours.get((*place, STATES[n]), []) for n in (number, BASELINE))
            values = {metric: str(line[metric]).strip() for metric in METRICS}
            changes = {m: str(line[d]).strip() for m, d in changes_of.items() if number != BASELINE}
            rows.append(Row(number, line["title"], line["model"], line["dataset"], values, changes, found, base))
    if not rows:
        raise Refusal("{file} has no row of the tables {tables}", file=file, tables=", ".join(map(str, STATES)))
    return rows


def _plain(name: object) -> str:
    """A name without case and punctuation: ``DA-MRS`` is ``damrs``."""
    return "".join(c for c in str(name).casefold() if c.isalnum())


def _by_states(table: SweepTable) -> dict[tuple[str, str, tuple[str, str]], list[CellResult]]:
    """Finished cells by model, data set and states of text and image."""
    found: dict[tuple[str, str, tuple[str, str]], list[CellResult]] = {}
    for cell in table.cells.values():
        if cell.status == "done" and cell.states.keys() == {"text", "image"}:
            place = (_plain(cell.model), _plain(cell.data), (cell.states["text"], cell.states["image"]))
            found.setdefault(place, []).append(cell)
    return found


def blocks(rows: Sequence[Row]) -> list[Block]:
    """One block per published table, laid out as it was printed, ours beside every number."""
    header = ["model", "data set", *(name for metric in METRICS for name in (metric, "ours"))]
    made = []
    for number in STATES:
        members = [row for row in rows if row.table == number]
        if members:
            cells = [[row.model, row.dataset, *(text for m in METRICS for text in _pair(row, m))] for row in members]
            made.append(block(f"Table {number}. {members[0].title}", header, cells, keys=2))
    return made


def _pair(row: Row, metric: str) -> tuple[str, str]:
    printed, value, change = row.changes.get(metric, ""), row.mean(metric), row.change(metric)
    published = row.values[metric] + (f" ({float(printed):+z.1f})" if printed else "")
    ours = "-" if value is None else f"{value:.4f}" + ("" if change is None else f" ({100 * change:+z.1f})")
    return published, ours


def as_markdown(table: SweepTable, rows: Sequence[Row]) -> str:
    """The tables as GitHub Markdown."""
    return layout.markdown(f"{table.name}, published and ours", blocks(rows), notes(rows))


def as_latex(rows: Sequence[Row]) -> str:
    """The tables for a paper."""
    return layout.latex(blocks(rows), notes(rows))


def notes(rows: Sequence[Row]) -> list[str]:
    """What has to be said under the tables."""
    matched = sum(bool(row.ours) for row in rows)
    return [f"{matched} of {len(rows)} published rows have a cell in this sweep.", *NOTES]


def as_frame(table: SweepTable, rows: Sequence[Row]) -> pd.DataFrame:
    """One row per published number; ours in full precision, changes as fractions."""
    numbers = [
        {
            "table": row.table,
            "model": row.model,
            "dataset": row.dataset,
            "metric": metric,
            "published": float(row.values[metric]),
            "published_change": float(row.changes[metric]) / 100 if row.changes.get(metric) else None,
            "ours": row.mean(metric),
            "our_change": row.change(metric),
            "records": " ".join(str(cell.folder.relative_to(table.folder)) for cell in row.ours),
        }
        for row in rows
        for metric in METRICS
    ]
    return pd.DataFrame(numbers)
