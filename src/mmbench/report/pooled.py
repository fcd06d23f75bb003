"""From the data sets of a sweep to one statement per model and contrast."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mmbench.inference.intervals import Interval
from mmbench.inference.pooling import MIN_DATASETS, PooledEffect, RankComparison, compare_ranks, pooled_gain
from mmbench.inference.verdicts import Verdict
from mmbench.messages import Message, points
from mmbench.report.comparisons import ALPHA, Comparison
from mmbench.report.disposals import ALL_MODELS, Disposal
from mmbench.report.layout import Column, Table
from mmbench.report.table import SweepTable
from mmbench.store.schema import ID_ONLY

NOT_POOLED = (Verdict.FAILED, Verdict.UNTRUSTED)


class Contrasted(NamedTuple):
    """A contrast, or the free disposal of a modality, of one model or over all of them."""

    model: str
    contrast: str


Judged = Comparison | Disposal


def studies(compared: Sequence[Judged]) -> dict[Contrasted, list[Judged]]:
    """Rows to pool by model and contrast: one for each data set, trusted, with a tuned gain that has bounds.

    A gain of exactly zero without variance, of two sides that are the same runs, is no estimate that has a weight.

    Several splits of one data set share their users and are no independent studies: where they were judged together,
    that counts, otherwise the first.
    """
    pooled: dict[Contrasted, dict[str, Judged]] = {}
    for c in compared:
        trusted = c.within is None and c.judgement is not None and c.judgement.word not in NOT_POOLED
        if trusted and c.tuned is not None and c.tuned.log_gain is not None and c.tuned.log_gain.se > 0:
            name = Contrasted(c.model or ALL_MODELS, c.name.split("/")[-1])
            pooled.setdefault(name, {}).setdefault(c.data, c)
    return {key: list(by_data.values()) for key, by_data in pooled.items() if len(by_data) > 1}


def pool(compared: Sequence[Judged]) -> dict[Contrasted, PooledEffect]:
    """Random-effects mean over data sets by model and contrast, where there are at least two data sets."""
    return {
        key: pooled_gain([c.tuned.log_gain for c in members if c.tuned and c.tuned.log_gain])
        for key, members in studies(compared).items()
    }


def pooled_tables(compared: Sequence[Judged]) -> list[Table[tuple[Contrasted, PooledEffect]]]:
    """The pooled gains as a table, if there are any."""
    columns: Sequence[Column[tuple[Contrasted, PooledEffect]]] = (
        Column(None, Message("model"), lambda row: row[0].model, names=True),
        Column(None, Message("contrast"), lambda row: row[0].contrast, names=True),
        Column(None, Message("data sets"), lambda row: row[1].k),
        Column(None, Message("tuned gain %"), lambda row: row[1].effect.mean, points),
        Column(None, Message("95 %"), lambda row: row[1].effect, percents),
        Column(None, Message("in a new data set %"), lambda row: row[1].predicted, percents),
        Column(None, Message("tau"), lambda row: row[1].tau, lambda tau: f"{tau:.3f}"),
    )
    rows = list(pool(compared).items())
    return [Table(Message("all data sets, random effects of log(1 + gain)"), columns, rows)] if rows else []


def percents(interval: Interval) -> str:
    """Bounds in percent."""
    return f"[{points(interval.lo)}, {points(interval.hi)}]"


def ranks(table: SweepTable, model: str) -> tuple[list[str], RankComparison] | None:
    """Conditions of a model ranked over data sets; None below ten data sets or three conditions."""
    datasets: dict[str, str] = {}
    for (dataset, name, modality), cell in table.cells.items():
        if name == model and modality != ID_ONLY and cell.status == "done":
            datasets.setdefault(cell.data, dataset)  # the first split of each data set
    done = {c: [table.done(d, model, c) for d in datasets.values()] for c in table.conditions}
    whole = {c: [r.mean(table.primary) for r in row if r] for c, row in done.items() if row and all(row)}
    if len(datasets) < MIN_DATASETS or len(whole) < 3:
        return None
    return list(whole), compare_ranks(np.array(list(whole.values())).T)


def rank_tables(table: SweepTable) -> list[Table[int]]:
    """Mean ranks of the conditions of each model, only from ten data sets on."""
    tables = []
    for model in sorted({model for _, model, _ in table.cells}):
        ranked = ranks(table, model)
        if ranked is not None:
            names, compared = ranked
            title = Message(
                "{model}, mean ranks over data sets (Friedman p {p}, critical difference {difference})",
                model=model,
                p=f"{compared.friedman_p:.3g}",
                difference=f"{compared.critical_difference:.2f}",
            )
            tables.append(Table(title, _rank_columns(names, compared), range(len(names))))
    return tables


def _rank_columns(names: Sequence[str], compared: RankComparison) -> Sequence[Column[int]]:
    def alike(place: int) -> str | None:
        """Conditions whose pairwise difference (Wilcoxon, Holm) is not significant."""
        others = (i for i in range(len(names)) if i != place and compared.pairwise_p[place, i] >= ALPHA)
        return ", ".join(names[i] for i in others) or None

    return (
        Column(None, Message("condition"), lambda place: names[place], names=True),
        Column(None, Message("mean rank"), lambda place: compared.mean_ranks[place], lambda rank: f"{rank:.2f}"),
        Column(None, Message("not told apart from"), alike),
    )
