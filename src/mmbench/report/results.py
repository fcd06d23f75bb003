"""The table of results: mean of every condition of every model, changes between conditions, best and second marked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple
from urllib.parse import quote

from mmbench.inference.verdicts import UNTRAINED_WEIGHT
from mmbench.messages import Message, Template, points, series
from mmbench.report.cell_effort import REMEDIES
from mmbench.report.fairness_checks import Group
from mmbench.report.layout import NOTHING, Column, Document, Table
from mmbench.report.new_items import floor_lines, mean_and_spread, target_lines
from mmbench.report.spent import SEEDS, TRIALS, counted, spent_by
from mmbench.report.table import LATE, CellResult, SweepTable, condition_columns
from mmbench.report.together import UNMARKED, draws_of_new_items, read_repetitions

SAME, LOW = "=", Message("(below popularity)")
#: What stands for a cell without a result, and what a page counts.
STATUSES: Mapping[str, str] = {
    "failed": Message("failed"),
    "missing": Message(Template("missing", context="cell")),
    "stale": Message("stale"),
}
COUNTED = {**STATUSES, "done": Message("done")}
LEGEND = Template(
    "sweep {sweep}: budget {budget} ({trials}, {seeds}); mean over users and seeds, ± standard deviation "
    "over seeds; best and second of a column marked; {same} the model ignores content and has one result; {missing} "
    "planned, not run; {nothing} not planned; {low} below the popularity baseline in the metric of the table, kept. "
    "Changes are relative, in percent; this table tests nothing, verdicts.md does."
)


class CellMetric(NamedTuple):
    """One cell and one metric."""

    cell: CellResult
    metric: str


#: Marks by dataset, model and condition of results whose trainings did not come to their end.
Marks = Mapping[tuple[str, str, str], list[str]]


def document(table: SweepTable, groups: Sequence[Group]) -> Document:
    """One printed table for each dataset and metric; one row for each cell and metric in the export.

    Args:
        table: the sweep.
        groups: its fairness report, which knows how trainings ended.
    """
    marks = {(g.dataset, g.model, c.modality): c.marks(table.delta) for g in groups for c in g.cells}
    draws = draws_of_new_items(read_repetitions(table, groups))
    printed = [
        _models(table, dataset, metric, marks, ranked=dataset not in draws)
        for dataset in table.datasets
        for metric in table.metrics
    ]
    notes = _notes(table, groups, marks)
    if draws:
        notes.append(Message(UNMARKED, datasets=series(sorted(draws))))
    return Document(table.title, printed, notes, [_cells(table, marks)])


#: What the marks of a terminal mean.
HINT = Message(" (* best of its column, + second)")


def _models(table: SweepTable, dataset: str, metric: str, marks: Marks, *, ranked: bool) -> Table[str]:
    """A row for each model of a dataset, a column for each condition and change; these stand apart in a terminal.

    Args:
        table: the sweep.
        dataset: the data set.
        metric: the metric.
        marks: how trainings ended.
        ranked: whether best and second of a column are marked.
    """
    table = table.at(metric)
    columns: list[Column[str]] = [
        Column(None, Message("model"), str, names=True),
        Column(None, Message("tier"), lambda model: ", ".join(table.tiers(dataset, model))),
    ]
    columns += [_condition(table, dataset, condition, metric, marks, ranked) for condition in table.conditions]
    for condition, against in condition_columns(table):

        def change(model: str, condition: str = condition, against: str = against) -> float | None:
            interval = table.change(dataset, model, condition, against, metric)
            return None if interval is None else interval.mean

        columns.append(Column(None, f"{condition} vs {against} %", change, points, part=2))
    return Table(f"{dataset}, {metric}", columns, table.models(dataset), HINT if ranked else "")


def _condition(table: SweepTable, dataset: str, condition: str, metric: str, marks: Marks, ranked: bool) -> Column[str]:
    best = table.ranked(dataset, condition, metric)[:2] if ranked else []
    ranks = {model: place for place, model in enumerate(best, 1)}

    def text(model: str) -> str | None:
        result = table.result(dataset, model, condition)
        if result is None:
            return None
        if table.repeats(dataset, model, condition):
            return SAME
        if result.status != "done":
            return STATUSES[result.status]
        value = mean_and_spread((result.mean(metric), result.spread(metric)))
        low = [LOW] if table.below_popularity(result, metric) else []
        ended = [Message("({mark})", mark=mark) for mark in marks.get((dataset, model, result.modality), ())]
        for word in (*low, *ended):
            value = Message("{value} {mark}", value=value, mark=word)
        return value

    return Column(
        None, condition, text, rank=lambda model: 0 if table.repeats(dataset, model, condition) else ranks.get(model, 0)
    )


def _cells(table: SweepTable, marks: Marks) -> Table[CellMetric]:
    columns: Sequence[Column[CellMetric]] = (
        Column("dataset", None, lambda m: m.cell.dataset),
        Column("model", None, lambda m: m.cell.model),
        Column("tiers", None, lambda m: " ".join(m.cell.tiers)),
        Column("modality", None, lambda m: m.cell.modality),
        Column("status", None, lambda m: m.cell.status),
        Column("metric", None, lambda m: m.metric),
        Column("mean", None, lambda m: m.cell.mean(m.metric) if m.cell.status == "done" else None),
        Column("sd_over_seeds", None, lambda m: m.cell.spread(m.metric) if m.cell.status == "done" else None),
        Column("by_seed", None, _by_seed),
        Column(
            "below_popularity",
            None,
            lambda m: table.below_popularity(m.cell, m.metric) if m.cell.status == "done" else None,
        ),
        Column("ended", None, lambda m: "; ".join(marks.get((m.cell.dataset, m.cell.model, m.cell.modality), ()))),
        Column("reason", None, lambda m: m.cell.reason),
        Column("records", None, lambda m: str(m.cell.folder.relative_to(table.folder))),
    )
    rows = [CellMetric(cell, metric) for cell in table.cells.values() for metric in filter(cell.reaches, table.metrics)]
    return Table("", columns, rows)


def _by_seed(measured: CellMetric) -> str:
    """Means of the seeds, separated by a blank."""
    if measured.cell.status != "done":
        return ""
    return " ".join(f"{value:.10g}" for value in measured.cell.by_seed(measured.metric))


def page_table(table: SweepTable) -> Table[CellResult]:
    """A row for each cell, which leads to its records, and a column for each metric."""

    def link(cell: CellResult) -> str:
        return f"../{quote(str(cell.folder.relative_to(table.folder)))}/" if cell.status != "missing" else ""

    columns: list[Column[CellResult]] = [
        Column(None, Message("dataset"), lambda cell: cell.dataset),
        Column(None, Message("model"), lambda cell: cell.model),
        Column(None, Message("condition"), lambda cell: cell.modality, link=link),
        Column(None, Message("status"), lambda cell: COUNTED[cell.status]),
    ]
    for metric in table.metrics:

        def value(cell: CellResult, metric: str = metric) -> tuple[float, float | None] | None:
            known = cell.status == "done" and cell.reaches(metric)
            return (cell.mean(metric), cell.spread(metric)) if known else None

        columns.append(Column(None, metric, value, mean_and_spread, order=lambda value: value[0]))
    rows = [cell for cell in table.cells.values() if any(map(cell.reaches, table.metrics))]
    return Table(Message("Results"), columns, rows)


def _notes(table: SweepTable, groups: Sequence[Group], marks: Marks) -> list[str]:
    had = spent_by(table)
    trials, seeds = counted(had.trials, TRIALS), counted(had.seeds, SEEDS)
    given = {"sweep": table.title, "budget": series(had.budgets), "trials": trials, "seeds": seeds}
    given |= {"same": SAME, "missing": STATUSES["missing"], "nothing": NOTHING, "low": LOW}
    lines: list[str] = [Message(LEGEND, **given), *had.notes]
    lines += target_lines(groups)
    lines += floor_lines(table, table.metrics)
    if any(marks.values()):
        patience, cap = REMEDIES.values()
        lines.append(
            Message(
                "(stalled): patience ended trainings below the popularity baseline, raise {patience}; (cut off): the "
                "cap ended them while they still rose, raise {cap}. Marked where that weighs more than {share} %.",
                patience=patience,
                cap=cap,
                share=f"{100 * UNTRAINED_WEIGHT:.0f}",
            )
        )
    if not had.measured:
        lines.append(Message("One seed: training noise was not measured, so differences cannot be judged."))
    if LATE in table.conditions:
        lines.append(
            Message(
                "{late}: averaged ranks of the runs with one modality each, by final seed; nothing tuned.", late=LATE
            )
        )
    for cell in table.cells.values():
        if cell.status in ("failed", "stale"):
            lines.append(
                Message(
                    "{status}: {cell}: {reason}",
                    status=STATUSES[cell.status],
                    cell=f"{cell.dataset}/{cell.model}/{cell.modality}",
                    reason=cell.reason if isinstance(cell.reason, Message) else " ".join(cell.reason.split()),
                )
            )
    return lines
