"""From the data sets of a sweep to one statement per model and contrast."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple, TypeVar

import numpy as np

from mmbench import paths
from mmbench.inference.intervals import LogGain
from mmbench.inference.looks import level_after
from mmbench.inference.pooling import MIN_DATASETS, PooledEffect, RankComparison, compare_ranks, pooled_gain
from mmbench.inference.verdicts import Verdict
from mmbench.messages import Message, Template, points, series
from mmbench.report.additions import Part, later_looks
from mmbench.report.comparisons import Comparison
from mmbench.report.disposals import ALL_MODELS, Disposal
from mmbench.report.layout import Column, Table
from mmbench.report.sentences import metric_among, percents
from mmbench.report.table import SweepTable
from mmbench.store import records
from mmbench.store.schema import ID_ONLY, CellName, DataPrint, Manifest

T = TypeVar("T")
NOT_POOLED = (Verdict.FAILED, Verdict.UNTRUSTED)
#: Adjusted p below which two conditions are told apart by their ranks over data sets.
ALPHA = 0.05


class Contrasted(NamedTuple):
    """A contrast, or the free disposal of a modality, of one model or over all of them, tuned for one target."""

    model: str
    contrast: str
    target: str = ""


Judged = Comparison | Disposal


class Members(NamedTuple):
    """One row of each data set.

    Args:
        pooled: rows that are trusted and have a tuned gain with bounds; those of exactly zero have no variance.
        left_out: the others.
    """

    pooled: list[Judged]
    left_out: list[Judged]


def studies(compared: Sequence[Judged], table: SweepTable) -> dict[Contrasted, Members]:
    """Rows to pool by model, contrast and target, where a gain that chance moves and another one can be.

    Several splits of one data set share their users and are no independent studies: where they were judged together,
    that counts, otherwise the one that was planned first, of those planned at once the first by name; of several draws
    and encoders, and of several names of the same interactions, that one too. What is planned later, when its result
    may be guessed, takes no other one's place, and neither does any where the first cannot be pooled.

    Args:
        compared: contrasts and free disposals.
        table: their sweep.
    """
    alike: dict[Contrasted, dict[str, list[Judged]]] = {}
    plan, same = _planned_data(table), same_data(table)
    for c in compared:
        if c.within is None:
            # Of what has not begun only the plan knows the target, and nothing says that two splits are of one source.
            planned = [plan[dataset].target for dataset in _datasets(c) if dataset in plan]
            target = c.target or next((one for one in planned if one), "")
            name = Contrasted(c.model or ALL_MODELS, c.name.split("/")[-1], target)
            alike.setdefault(name, {}).setdefault(same(c.data or c.dataset), []).append(c)
    found = {}
    for name, by_data in alike.items():
        first = [min(rows, key=lambda row: planned_first(row, table)) for rows in by_data.values()]
        members = Members([row for row in first if _is_pooled(row)], [row for row in first if not _is_pooled(row)])
        if len(members.pooled) > 1 and any(gain.se > 0 for gain in _gains(members.pooled)):
            found[name] = members
    return found


def _planned_data(table: SweepTable) -> Mapping[str, DataPrint]:
    return records.read(paths.manifest_file(table.folder), Manifest).data


def same_data(table: SweepTable) -> Callable[[str], str]:
    """One name for the names of data sets that have the same training, validation and test interactions.

    A folder under a second name has them, and so has a planted world whose items show something else.
    """
    names = {cell.dataset: cell.data for cell in table.cells.values() if cell.data}
    same: dict[str, str] = {}
    first: dict[tuple[str, str], str] = {}
    for dataset, data in _planned_data(table).items():
        name = names.get(dataset, dataset)
        mine, other = same.setdefault(name, name), first.setdefault((data.split_hash, data.test_hash), name)
        same |= {one: same[other] for one, of in same.items() if of == mine}
    return lambda name: same.get(name, name)


def planned_first(row: Judged, table: SweepTable) -> int:
    """Number of the revision of the plan from which on a row stood in it.

    A contrast takes both of its conditions, a free disposal has more to choose from with every condition; of
    repetitions that are judged together the first counts.
    """
    cells = _cells(row, table)
    if isinstance(row, Disposal):
        return min(map(table.planned, cells))
    return min(max(table.planned(cell) for cell in cells if cell.dataset == dataset) for dataset in _datasets(row))


def _datasets(row: Judged) -> Sequence[str]:
    return [row.dataset] if row.over is None else row.over.datasets


def _cells(row: Judged, table: SweepTable) -> frozenset[CellName]:
    """The cells that a row is made of, or, of a free disposal, may be made of: no late ensemble, which nobody plans."""
    if isinstance(row, Disposal):
        names = [CellName(*key) for key, cell in table.cells.items() if not cell.parts and key[0] in _datasets(row)]
        return frozenset(name for name in names if row.model in (None, name.model))
    return frozenset(side._replace(dataset=dataset) for side in row.sides for dataset in _datasets(row))


def _is_pooled(row: Judged) -> bool:
    """Whether a row is trusted and has a gain with bounds, that of two sides which are the same runs included."""
    trusted = row.judgement is not None and row.judgement.word not in NOT_POOLED
    return trusted and bool(_gains([row]))


def _gains(rows: Sequence[Judged]) -> list[LogGain]:
    tuned = [row.tuned for row in rows if row.tuned is not None]
    return [gain.log_gain for gain in tuned if gain.log_gain is not None]


def pool(compared: Sequence[Judged], table: SweepTable) -> dict[Contrasted, PooledEffect | None]:
    """Random-effects mean over data sets by model, contrast and target, where there are at least two data sets.

    The level is that of the data set that was looked at most often: pooling takes no look back. A data set that was
    added after results had been seen is a further look. None as :func:`mmbench.inference.pooling.random_effects`.

    Args:
        compared: contrasts and free disposals.
        table: their sweep.
    """
    pooled = {}
    for key, members in studies(compared, table).items():
        level = max(row.tuned.level for row in members.pooled if row.tuned is not None)
        pooled[key] = pooled_gain(_gains(members.pooled), level_after(level, len(_additions(members, table))))
    return pooled


def has_added_data(compared: Sequence[Judged], table: SweepTable) -> bool:
    """Whether an interval of :func:`pool` has further looks because data sets were added.

    Args:
        compared: contrasts and free disposals.
        table: their sweep.
    """
    return any(_additions(members, table) for members in studies(compared, table).values())


def _additions(members: Members, table: SweepTable) -> tuple[int, ...]:
    """Revisions of the plan that added data sets to what is pooled once results had been seen."""
    parts = [Part(planned_first(row, table), _cells(row, table)) for row in members.pooled]
    return later_looks(table, parts, lambda before: len(before) > 1)


def pooled_tables(compared: Sequence[Judged], table: SweepTable) -> list[Table[Contrasted]]:
    """The pooled gains, a table for each target: among new items a metric is another one than among all.

    Args:
        compared: contrasts and free disposals.
        table: their sweep.
    """
    found, effects = studies(compared, table), pool(compared, table)

    def named(rows: Callable[[Contrasted], Iterable[Judged]]) -> Callable[[Contrasted], str | None]:
        def listed(key: Contrasted) -> str | None:
            names = [row.dataset for row in rows(key)]
            return series(names) if names else None

        return listed

    def of(value: Callable[[PooledEffect], T]) -> Callable[[Contrasted], T | None]:
        def valued(key: Contrasted) -> T | None:
            effect = effects[key]
            return None if effect is None else value(effect)

        return valued

    # Of the draws, splits, encoders and names of a data set one counts: which one, where its name is not the only one.
    same = same_data(table)
    names = Counter(map(same, {row.data for row in compared}))
    others = named(
        lambda key: (row for row in found[key].pooled if row.dataset != row.data or names[same(row.data)] > 1)
    )
    exact = named(lambda key: (row for row in found[key].pooled if _gains([row])[0].se == 0))
    columns: list[Column[Contrasted]] = [
        Column(None, Message("model"), lambda key: key.model, names=True),
        Column(None, Message("contrast"), lambda key: key.contrast, names=True),
        Column(None, Message("data sets"), lambda key: len(found[key].pooled)),
        Column(None, Message("of them"), others),
        Column(None, Message("of them exactly 0"), exact),
        Column(None, Message("left out"), named(lambda key: found[key].left_out)),
        Column(None, Message("tuned gain %"), of(lambda pooled: pooled.effect.mean), points),
        Column(None, Message("95 %"), of(lambda pooled: pooled.effect), percents),
        Column(None, Message("in a new data set %"), of(lambda pooled: pooled.predicted), percents),
        Column(None, Message("tau"), of(lambda pooled: pooled.tau), lambda tau: f"{tau:.3f}"),
    ]
    seldom = {"of them", "of them exactly 0", "left out"}
    columns = [column for column in columns if column.label not in seldom or any(map(column.get, effects))]
    by_target: dict[str, list[Contrasted]] = {}
    for key in effects:
        by_target.setdefault(key.target, []).append(key)
    title = Template("all data sets, {metric}: random effects of log(1 + gain)")
    metrics = {target: metric_among(table.primary, target) for target in by_target}
    return [Table(Message(title, metric=metrics[target]), columns, rows) for target, rows in by_target.items()]


def ranks(table: SweepTable, model: str, target: str = "") -> tuple[list[str], RankComparison] | None:
    """Conditions of a model tuned for a target, ranked over data sets; None below ten data sets or three conditions."""
    datasets: dict[str, str] = {}
    same = same_data(table)
    planned = [item for item in table.cells.items() if not item[1].parts]
    in_order = sorted(planned, key=lambda item: (table.planned(CellName(*item[0])), item[0]))
    for (dataset, name, modality), cell in in_order:
        if name == model and modality != ID_ONLY and cell.status == "done" and cell.target == target:
            datasets.setdefault(same(cell.data), dataset)  # what was planned first of each data set
    done = {c: [table.done(d, model, c) for d in datasets.values()] for c in table.conditions}
    whole = {c: [r.mean(table.primary) for r in row if r] for c, row in done.items() if row and all(row)}
    if len(datasets) < MIN_DATASETS or len(whole) < 3:
        return None
    return list(whole), compare_ranks(np.array(list(whole.values())).T)


def rank_tables(table: SweepTable) -> list[Table[int]]:
    """Mean ranks of the conditions of each model, only from ten data sets on."""
    tables = []
    done = {name: cell for name, cell in table.cells.items() if cell.status == "done"}
    for model, target in sorted({(model, cell.target) for (_, model, _), cell in done.items()}):
        ranked = ranks(table, model, target)
        if ranked is not None:
            names, compared = ranked
            title = Message(
                "{model}, {metric}: mean ranks over data sets (Friedman p {p}, critical difference {difference})",
                model=model,
                metric=metric_among(table.primary, target),
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
