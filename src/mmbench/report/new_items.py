"""New items: what every condition finds of them, beside the exact floor, popularity lists and the other items.

See ``docs/protocol.md``, New items.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mmbench import paths
from mmbench.data.held_out import AIMS, OF_NEW_ITEMS, TARGETS, target_line
from mmbench.evaluation import metrics
from mmbench.evaluation.metrics import RankedPairs, Ranking
from mmbench.inference.intervals import LogGain
from mmbench.inference.repetitions import over_folds
from mmbench.messages import Message, points, series
from mmbench.report.fairness_checks import Group
from mmbench.report.layout import NOTHING, Column, Document, Table
from mmbench.report.sentences import percents
from mmbench.report.table import CellResult, SweepTable
from mmbench.report.together import Repetitions, read_repetitions
from mmbench.store import records
from mmbench.store.schema import ID_ONLY, FinalRun

NDCG, RECALL, K = "ndcg@20", "recall@20", 20
#: The model that gives everybody the same list of new items, by popularity that their content predicts.
CONTENT_POPULARITY = "contentpopularity"
#: Share of the held-out interactions with new items that stand in the first 20 places of common lists.
FOUND = "found"
#: Seed of the order of new items that test counts do not tell apart.
ORACLE_SEED = 0
#: What stands in place of a model where the pool is in the order of its test counts.
ORACLE = Message("oracle popularity")
LEGEND = (
    Message(
        "new: NDCG@20, Recall@20 and AUC of new items among the pool of new items; floor: what is expected where "
        "nothing tells the candidates apart, exact; the AUC of the floor is 0.5 whatever the pool. A model without "
        "content is at the floor, but for the luck of ties. others: items of the training log among themselves."
    ),
    Message(
        "common lists: both kinds, for users who hold out some of each; scores of new items are put on the scale of "
        "the others for each user, with the offset that validation chose. NDCG@20 is given for either kind and as the "
        "harmonic mean of both, which a single NDCG of common lists would hide; found: share of the interactions with "
        "new items that the first 20 places hold; share: of these places, those of new items. The floor of common "
        "lists is the same model without content, whose new items stand at random."
    ),
    Message(
        "content popularity: one list for everybody, by the popularity that content predicts "
        "(model=contentpopularity): the floor of what is personal. oracle popularity: the pool in the order of its "
        "test interactions, which nobody can know: a ceiling of lists that are the same for everybody, compared with "
        "nothing."
    ),
    Message(
        "over folds: mean ± standard deviation of the folds, each of which holds out other items; gains over content "
        "popularity are those of the chosen configurations, not of the tuning, with a 95 % interval over the folds, t "
        "with one degree of freedom less than there are folds."
    ),
)


@dataclass(frozen=True)
class FoldMeasures:
    """What one condition finds in one fold, averaged over users and final runs.

    Args:
        values: by the name of the measure; what was not ranked is missing.
        pool: number of new items.
        others: mean number of other items in a list.
        users: users with a new item to find.
        offset: mean offset of common lists.
        common: interactions with new items in common lists, of the users who hold out some of each kind.
    """

    values: Mapping[str, float]
    pool: int
    others: float
    users: int
    offset: float
    common: int = 0


@dataclass(frozen=True)
class Row:
    """One line: a condition of a model, over all folds or alone.

    Args:
        data: name of the data set, or of its folds.
        target: what tuning aimed at.
        model: name of the model, or of a line that is none.
        condition: its condition.
        folds: what it finds, fold after fold.
        against: content popularity of the same condition, fold after fold; empty without.
    """

    data: str
    target: str
    model: str
    condition: str
    folds: tuple[FoldMeasures, ...]
    against: tuple[FoldMeasures, ...] = ()

    def over(self, name: str) -> tuple[float, float | None] | None:
        """Mean and standard deviation over folds of a measure; no deviation of one fold, None if it was not ranked."""
        found = [fold.values[name] for fold in self.folds if name in fold.values]
        if len(found) < len(self.folds):
            return None
        return float(np.mean(found)), float(np.std(found, ddof=1)) if len(found) > 1 else None

    @property
    def listed(self) -> float | None:
        """Mean number of other items in a list, over the folds; None where they were not ranked."""
        mean = float(np.mean([fold.others for fold in self.folds]))
        return None if math.isnan(mean) else mean

    @property
    def beyond(self) -> tuple[float, LogGain | None] | None:
        """Gain over content popularity in NDCG@20 of new items, and its law over the folds."""
        pairs = list(zip(self.folds, self.against, strict=True)) if self.against else []
        if not pairs or any(m.values.get(f"new {NDCG}", 0.0) <= 0.0 for pair in pairs for m in pair):
            return None
        logs = [math.log(own.values[f"new {NDCG}"] / other.values[f"new {NDCG}"]) for own, other in pairs]
        if len(logs) < 2:
            return math.expm1(logs[0]), None
        law = over_folds(logs)
        return law.gain, law


def read_rows(table: SweepTable, groups: Sequence[Group]) -> list[Row]:
    """What every finished condition of every data set with new items finds of them; folds of one data set together."""
    repeated = {name: over for over in read_repetitions(table, groups) for name in over.datasets}
    measured: dict[tuple[str, str, str], FoldMeasures] = {}
    targets: dict[str, str] = {}
    oracles: dict[str, FoldMeasures] = {}
    for key, cell in table.cells.items():
        if cell.status != "done" or cell.parts:
            continue
        views = views_of(cell)
        if "cold" not in views:
            continue
        measured[key], targets[cell.dataset] = measure(cell, views), cell.target
        oracles.setdefault(cell.dataset, _oracle(views["cold"][0]))
    rows: list[Row] = []
    for dataset in targets:
        over = repeated.get(dataset)
        members = [d for d in over.datasets if d in targets] if over else [dataset]
        if dataset != members[0]:
            continue
        rows += _rows(over, members, targets[dataset], measured, oracles)
    return rows


def target_lines(groups: Sequence[Group]) -> list[str]:
    """What the tuning of each data set aimed at, where that is not the ranking of all items."""
    aims = {group.dataset: group.cells[0].cell.target for group in groups}
    return [target_line(dataset, target) for dataset, target in aims.items() if target]


def floor_lines(table: SweepTable, names: Sequence[str]) -> list[str]:
    """Pool of each data set that was tuned for one kind of items, and what metrics are where nothing tells them apart.

    Args:
        table: the sweep.
        names: the metrics; the floor of NDCG and recall is known in closed form. Of common lists it is not: there it is
            what the condition without content comes to.
    """
    lines: list[str] = []
    for dataset in table.datasets:
        done = (cell for cell in table.cells.values() if (cell.dataset, cell.status) == (dataset, "done"))
        cell = next((cell for cell in done if not cell.parts and cell.target), None)
        line = None if cell is None else floor_line(cell, names)
        lines += [] if line is None else [line]
    return lines


def floor_line(cell: CellResult, names: Sequence[str]) -> Message | None:
    """The line of :func:`floor_lines` on one cell that was tuned for one kind of items; None without what it needs."""
    kind = "cold" if cell.target in OF_NEW_ITEMS else "warm"
    ranked = views_of(cell).get(kind)
    if ranked is None or (candidates := ranked[0].pairs.candidates) is None:
        return None
    pairs = ranked[0].pairs
    given = {"dataset": cell.dataset, "pool": _pool(pairs)}
    if TARGETS[cell.target] == "all":
        return Message(
            "{dataset}: pool of {pool} new items beside the others; the floor of common lists is the condition "
            "without content, whose new items stand at random.",
            **given,
        )
    known = [name for name in names if metrics.check_name(name)[0] in metrics.FLOORS]
    floors = series([f"{name} {metrics.floor(pairs, name).mean():.4f}" for name in known]) if known else NOTHING
    if kind == "cold":
        return Message(
            "{dataset}: pool of {pool} new items; floor, where nothing tells them apart: {floors}.",
            floors=floors,
            **given,
        )
    return Message(
        "{dataset}: lists of {listed} items of the training log on average; floor, where nothing tells them apart: "
        "{floors}.",
        dataset=cell.dataset,
        listed=f"{candidates.mean():.0f}",
        floors=floors,
    )


def _rows(
    over: Repetitions | None,
    members: Sequence[str],
    target: str,
    measured: Mapping[tuple[str, str, str], FoldMeasures],
    oracles: Mapping[str, FoldMeasures],
) -> list[Row]:
    """The lines of a data set, those of its folds together first; a condition stands in it if all folds have it."""
    wholes = [(over.of(members).name, tuple(members))] if over is not None and len(members) > 1 else []
    rows = []
    for name, folds in [*wholes, *((member, (member,)) for member in members)]:
        pairs = dict.fromkeys((model, condition) for dataset, model, condition in measured if dataset == folds[0])
        for model, condition in pairs:
            own = [measured.get((fold, model, condition)) for fold in folds]
            base = [measured.get((fold, CONTENT_POPULARITY, condition)) for fold in folds]
            if all(own):
                against = base if all(base) and model != CONTENT_POPULARITY else []
                rows.append(Row(name, target, model, condition, _known(own), _known(against)))
        rows.append(Row(name, target, ORACLE, ID_ONLY, tuple(oracles[fold] for fold in folds)))
    return rows


def _known(found: Sequence[FoldMeasures | None]) -> tuple[FoldMeasures, ...]:
    return tuple(one for one in found if one is not None)


def views_of(cell: CellResult) -> dict[str, list[Ranking]]:
    """Test ranks of every final run by the candidates, where there are files of them."""
    own = TARGETS.get(cell.target)
    files = {
        candidates: [
            paths.final_file(cell.folder, seed, paths.RANKS if candidates == own else paths.ranks_among(candidates))
            for seed in cell.seeds
        ]
        for candidates in ("cold", "warm", "all")
    }
    return {
        candidates: cell.tested if candidates == own else [records.read_tested(file) for file in of_seeds]
        for candidates, of_seeds in files.items()
        if of_seeds and all(file.exists() for file in of_seeds)
    }


def measure(cell: CellResult, views: Mapping[str, list[Ranking]]) -> FoldMeasures:
    """What a finished condition finds, from the ranks of its final runs by the candidates; ``cold`` must be there."""
    values: dict[str, list[float]] = {}

    def note(name: str, value: float) -> None:
        values.setdefault(name, []).append(value)

    for kind, candidates in (("new", "cold"), ("others", "warm")):
        for ranking in views.get(candidates, []):
            for name, value in _plain(ranking.pairs).items():
                note(f"{kind} {name}", value)
    for ranking in views.get("all", []):
        note(f"harmonic {NDCG}", float(metrics.per_user(ranking.pairs, NDCG).mean()))
        for kind, new in (("new", True), ("others", False)):
            pairs = metrics.of_kind(ranking.pairs, new=new)
            note(f"common {kind} {NDCG}", float(metrics.per_user(pairs, NDCG).mean()))
            if new:
                note(FOUND, float((pairs.ranks <= K).mean()))
        if ranking.listed_new is not None and ranking.pairs.candidates is not None:
            places = np.minimum(K, ranking.pairs.candidates)
            note("share", float((ranking.listed_new / places).mean()))
    cold = views["cold"][0].pairs
    common = int(metrics.of_kind(views["all"][0].pairs, new=True).ranks.size) if views.get("all") else 0
    warm = views["warm"][0].pairs.candidates if "warm" in views else None
    return FoldMeasures(
        {name: float(np.mean(found)) for name, found in values.items()},
        _pool(cold),
        math.nan if warm is None else float(warm.mean()),
        cold.n_users,
        _offset(cell),
        common,
    )


def _plain(pairs: RankedPairs) -> dict[str, float]:
    """Metrics of one kind of items and their floors."""
    found = {name: float(metrics.per_user(pairs, name).mean()) for name in (NDCG, RECALL)}
    found |= {f"floor of {name}": float(metrics.floor(pairs, name).mean()) for name in (NDCG, RECALL)}
    return {**found, "auc": float(metrics.auc(pairs).mean())}


def _pool(pairs: RankedPairs) -> int:
    return 0 if pairs.candidates is None else int(pairs.candidates.max())


def _offset(cell: CellResult) -> float:
    """Mean offset over final runs, NaN where there is none."""
    offsets = []
    for seed in cell.seeds:
        course = records.read(paths.final_file(cell.folder, seed, paths.RECORD), FinalRun).course
        offsets.append(math.nan if course is None or course.offset is None else course.offset)
    return float(np.mean(offsets)) if offsets else math.nan


def _oracle(ranking: Ranking) -> FoldMeasures:
    """The pool in the order of its test interactions, the same list for everybody."""
    pairs, counts = ranking.pairs, np.bincount(ranking.items)
    order: NDArray[np.int64] = np.lexsort((np.random.default_rng(ORACLE_SEED).random(len(counts)), -counts))
    place = np.empty(len(counts), np.int64)
    place[order] = np.arange(1, len(counts) + 1)
    listed = RankedPairs(pairs.users, place[ranking.items], pairs.n_users, candidates=pairs.candidates)
    values = {f"new {name}": value for name, value in _plain(listed).items()}
    return FoldMeasures(values, _pool(pairs), math.nan, pairs.n_users, math.nan)


def document(table: SweepTable, rows: Sequence[Row]) -> Document:
    """One printed table for each data set, a line for each fold and condition in the export."""
    tables = [
        Table(_title(data, [row for row in rows if row.data == data]), COLUMNS, [r for r in rows if r.data == data])
        for data in dict.fromkeys(row.data for row in rows)
    ]
    notes: list[str] = list(LEGEND)
    alone = [data for data in dict.fromkeys(row.data for row in rows) if _is_alone(rows, data)]
    notes += [
        Message(
            "{data}: one draw of new items: what varies is which items are new, so nothing can be said of others",
            data=data,
        )
        for data in alone
    ]
    notes += missing_lines(rows)
    return Document(
        Message("{sweep}, new items", sweep=table.title),
        tables,
        notes,
        [Table("", EXPORTED, [r for r in rows if len(r.folds) == 1])],
    )


def missing_lines(rows: Sequence[Row]) -> list[str]:
    """What a fair reading needs and the sweep does not hold."""
    lacking = [
        data for data in dict.fromkeys(row.data for row in rows)
        if not any(row.model == CONTENT_POPULARITY for row in rows if row.data == data)
    ]  # fmt: skip
    return [
        Message("{data}: content popularity was not run (model={model})", data=data, model=CONTENT_POPULARITY)
        for data in lacking
    ]


def _is_alone(rows: Sequence[Row], data: str) -> bool:
    """Whether a data set is the only fold of its kind."""
    own = {id(fold) for row in rows if row.data == data for fold in row.folds}
    return not any(id(fold) in own for row in rows if len(row.folds) > 1 for fold in row.folds)


def _title(data: str, rows: Sequence[Row]) -> str:
    row = rows[0]
    pools = ", ".join(str(fold.pool) for fold in row.folds)
    return Message("{data}: pool of {pools} new items; tuned for {aim}", data=data, pools=pools, aim=AIMS[row.target])


def _measure_column(name: str, label: str | None, part: int = 1) -> Column[Row]:
    return Column(None, label, lambda row: row.over(name), mean_and_spread, part=part)


def mean_and_spread(value: tuple[float, float | None]) -> str:
    """A mean with its standard deviation over seeds or folds, where there are several."""
    mean, spread = value
    return f"{mean:.4f}" + ("" if spread is None else f" ± {spread:.4f}")


def _beyond(value: tuple[float, LogGain | None]) -> str:
    gain, law = value
    return points(gain) if law is None else f"{points(gain)} {percents(law.at(0.95))}"


#: Printed columns.
COLUMNS: Sequence[Column[Row]] = (
    Column(None, Message("model"), lambda row: row.model, names=True),
    Column(None, Message("condition"), lambda row: row.condition, names=True),
    _measure_column(f"new {NDCG}", Message("new: NDCG@20")),
    _measure_column(f"new floor of {NDCG}", Message("floor")),
    _measure_column(f"new {RECALL}", "Recall@20"),
    _measure_column(f"new floor of {RECALL}", Message("floor")),
    _measure_column("new auc", "AUC"),
    Column(None, Message("over content popularity %"), lambda row: row.beyond, _beyond),
    _measure_column(f"others {NDCG}", Message("others: NDCG@20"), 2),
    _measure_column(f"others floor of {NDCG}", Message("floor"), 2),
    _measure_column(f"others {RECALL}", "Recall@20", 2),
    _measure_column(f"others floor of {RECALL}", Message("floor"), 2),
    _measure_column("others auc", "AUC", 2),
    Column(None, Message("items in a list"), lambda row: row.listed, lambda n: f"{n:.0f}", part=2),
    _measure_column(f"harmonic {NDCG}", Message("common lists: harmonic NDCG@20"), 3),
    _measure_column(FOUND, Message("new items found"), 3),
    _measure_column(f"common new {NDCG}", Message("of new items"), 3),
    _measure_column(f"common others {NDCG}", Message("of others"), 3),
    _measure_column("share", Message("share of new items"), 3),
    Column(
        None,
        Message("offset"),
        lambda row: float(np.mean([fold.offset for fold in row.folds])),
        lambda offset: "-" if math.isnan(offset) else f"{offset:.2f}",
        part=3,
    ),
)


def _alone(get: Callable[[FoldMeasures], float]) -> Callable[[Row], float | None]:
    """A number of a line of one fold."""

    def value(row: Row) -> float | None:
        found = get(row.folds[0])
        return None if math.isnan(found) else found

    return value


def _value(name: str) -> Callable[[FoldMeasures], float]:
    return lambda fold: fold.values.get(name, math.nan)


MEASURES = (
    *(f"{kind} {name}" for kind in ("new", "others") for name in (NDCG, f"floor of {NDCG}", RECALL)),
    *(f"{kind} {name}" for kind in ("new", "others") for name in (f"floor of {RECALL}", "auc")),
    f"harmonic {NDCG}",
    FOUND,
    *(f"common {kind} {NDCG}" for kind in ("new", "others")),
    "share",
)
#: Exported columns.
EXPORTED: Sequence[Column[Row]] = (
    Column("dataset", None, lambda row: row.data),
    Column("target", None, lambda row: row.target),
    Column("model", None, lambda row: row.model),
    Column("modality", None, lambda row: row.condition),
    Column("pool", None, _alone(lambda fold: fold.pool)),
    Column("others", None, _alone(lambda fold: fold.others)),
    Column("users", None, _alone(lambda fold: fold.users)),
    Column("offset", None, _alone(lambda fold: fold.offset)),
    *(Column(name.replace(" ", "_"), None, _alone(_value(name))) for name in MEASURES),
)
