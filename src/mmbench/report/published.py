"""The published tables of the source study (Ye et al., arXiv 2508.07399, tables 4 to 9) and ours beside them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mmbench.data.readers.delimited import read_delimited
from mmbench.messages import Message, Refusal
from mmbench.report.layout import Column, Document, Table
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
    "Cells tuned for all items are matched by the states of text and image; ours are means over users, final seeds and "
    "all data sets of that name: splits, encoders and draws.",
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
            cells, base = (ours.get((*place, STATES[n]), []) for n in (number, BASELINE))
            values = {metric: str(line[metric]).strip() for metric in METRICS}
            changes = {m: str(line[d]).strip() for m, d in changes_of.items() if number != BASELINE}
            rows.append(Row(number, line["title"], line["model"], line["dataset"], values, changes, cells, base))
    if not rows:
        raise Refusal("{file} has no row of the tables {tables}", file=file, tables=", ".join(map(str, STATES)))
    return rows


def _plain(name: object) -> str:
    """A name without case and punctuation: ``DA-MRS`` is ``damrs``."""
    return "".join(c for c in str(name).casefold() if c.isalnum())


def _by_states(table: SweepTable) -> dict[tuple[str, str, tuple[str, str]], list[CellResult]]:
    """Finished cells by model, data set and states of text and image; the published ones rank all items."""
    by_states: dict[tuple[str, str, tuple[str, str]], list[CellResult]] = {}
    for cell in table.cells.values():
        if cell.status == "done" and not cell.target and cell.states.keys() == {"text", "image"}:
            place = (_plain(cell.model), _plain(cell.data), (cell.states["text"], cell.states["image"]))
            by_states.setdefault(place, []).append(cell)
    return by_states


def document(table: SweepTable, rows: Sequence[Row]) -> Document:
    """One table per published table, laid out as it was printed, ours beside every number; CSV has a row per number."""
    printed = []
    for number in STATES:
        members = [row for row in rows if row.table == number]
        if members:
            printed.append(Table(f"Table {number}. {members[0].title}", PRINTED, members))
    matched = sum(bool(row.ours) for row in rows)
    notes = [f"{matched} of {len(rows)} published rows have a cell in this sweep.", *NOTES]
    numbers = [Number(row, metric) for row in rows for metric in METRICS]
    return Document(f"{table.title}, published and ours", printed, notes, [Table("", _exported(table), numbers)])


def _columns() -> Iterator[Column[Row]]:
    yield Column(None, "model", lambda row: row.model, names=True)
    yield Column(None, "data set", lambda row: row.dataset, names=True)
    for metric in METRICS:

        def published(row: Row, metric: str = metric) -> str:
            change = row.changes.get(metric, "")
            return row.values[metric] + (f" ({float(change):+z.1f})" if change else "")

        def ours(row: Row, metric: str = metric) -> str | None:
            value, change = row.mean(metric), row.change(metric)
            return None if value is None else f"{value:.4f}" + ("" if change is None else f" ({100 * change:+z.1f})")

        yield Column(None, metric, published)
        yield Column(None, "ours", ours)


PRINTED = tuple(_columns())


class Number(NamedTuple):
    """One published number."""

    row: Row
    metric: str


def _exported(table: SweepTable) -> Sequence[Column[Number]]:
    """Columns of the CSV file: ours in full precision, changes as fractions."""

    def published_change(n: Number) -> float | None:
        change = n.row.changes.get(n.metric)
        return float(change) / 100 if change else None

    return (
        Column("table", None, lambda n: n.row.table),
        Column("model", None, lambda n: n.row.model),
        Column("dataset", None, lambda n: n.row.dataset),
        Column("metric", None, lambda n: n.metric),
        Column("published", None, lambda n: float(n.row.values[n.metric])),
        Column("published_change", None, published_change),
        Column("ours", None, lambda n: n.row.mean(n.metric)),
        Column("our_change", None, lambda n: n.row.change(n.metric)),
        Column("records", None, lambda n: " ".join(str(cell.folder.relative_to(table.folder)) for cell in n.row.ours)),
    )
