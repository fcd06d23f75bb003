"""What a published study keeps so that every gain, interval and word of its verdicts can be computed again.

``ranks.parquet`` holds the rank of every held-out item in every trial, exactly as far down as the metric looks, and
``tuning.json`` the validation scores and configurations of the trials with the test metric of the final runs. Neither
says which items they are: the data are not ours to pass on. ``python -m tests.studies.kept NAME`` computes the verdicts
of ``studies/NAME`` again and says how far they lie from the published ones.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from mmbench import paths
from mmbench.evaluation import metrics
from mmbench.evaluation.metrics import RankedPairs
from mmbench.inference.best_of_n import NO_SEED_NOISE, SeedNoise, TunedCell, Tuning
from mmbench.inference.gains import Gain, NoWord, TunedGain
from mmbench.inference.repetitions import Repeated
from mmbench.inference.tuned_gain import free_disposal
from mmbench.inference.verdicts import Judgement, verdict
from mmbench.messages import clauses, points
from mmbench.report.cell_effort import CellEffort, soundness
from mmbench.report.comparisons import unfairness, wordless
from mmbench.report.disposals import FREE
from mmbench.report.fairness_checks import Group
from mmbench.report.sentences import percents
from mmbench.report.table import SweepTable
from mmbench.report.together import Repetitions, judge_together, read_repetitions, without_word
from mmbench.store import files, records
from mmbench.store.schema import DataPrint, Manifest
from tests.studies.sweeps import ROOT

RANKS, TUNING, VERDICTS, PLAN = "ranks.parquet", "tuning.json", "verdicts.csv", "plan.json"
#: How the verdicts say that there is no word.
NO_WORD = "no word"
#: A page of the ranks holds all of a condition, whose pairs are alike: that halves the file.
PAGE_BYTES = 1 << 26


class Condition(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One condition of one model, but for the ranks.

    Args:
        dataset: its data set.
        model: its model.
        modality: the condition.
        modalities: number of modalities that it uses.
        runs: key of its trainings.
        validation: validation score by slot; None for a failed trial.
        configurations: hash of the configuration in each slot.
        exact: whether another seed gives the same result.
        exhausted: whether the search space holds no further configuration.
        finals: mean test metric of each successful final run.
        marked: slots whose training did not come to its end, by the mark.
        wordless: why no word is allowed about it; empty where one is.
    """

    dataset: str
    model: str
    modality: str
    modalities: int
    runs: str
    validation: list[float | None]
    configurations: list[str]
    exact: bool
    exhausted: bool
    finals: list[float]
    marked: dict[str, list[int]]
    wordless: str

    @property
    def name(self) -> str:
        """Model and condition, as in ``verdicts.csv``."""
        return f"{self.model}/{self.modality}"


class Repeating(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Data sets that are repetitions of one another, see :class:`mmbench.report.together.Repetitions`."""

    kind: Repeated
    data: str
    datasets: list[str]


class Scores(msgspec.Struct, frozen=True):
    """The content of ``tuning.json``.

    Args:
        root: root of the records.
        metric: the metric that is judged.
        delta: equivalence margin.
        doubts: why measurements of a ``dataset/model`` cannot be trusted.
        conditions: every finished condition.
        repeating: which data sets are judged together.
    """

    root: str
    metric: str
    delta: float
    doubts: dict[str, list[str]]
    conditions: list[Condition]
    repeating: list[Repeating] = []


@dataclass(frozen=True, eq=False)
class KeptCell:
    """A condition with the test metric of its trials.

    Args:
        condition: all but the test metric.
        test: test metric by slot and user, NaN for a failed trial, ``(n_trials, n_users)``.
        users: the test users, ``(n_users,)``.
    """

    condition: Condition
    test: NDArray[np.float64]
    users: NDArray[np.int64]

    @property
    def modality(self) -> str:
        """The condition."""
        return self.condition.modality

    @functools.cached_property
    def tuning(self) -> Tuning:
        """Its trials."""
        kept = self.condition
        scores = np.array([-np.inf if score is None else score for score in kept.validation], np.float64)
        return Tuning(
            validation=np.where(np.isfinite(self.test).all(axis=1), scores, -np.inf),
            test=self.test,
            users=self.users,
            configurations=kept.configurations,
            seed_noise=NO_SEED_NOISE if kept.exact else SeedNoise.of_finals(kept.finals),
            exhausted=kept.exhausted,
        )

    @property
    def tuned_cell(self) -> TunedCell:
        """It as a cell of one side of a tuned gain."""
        kept = self.condition
        return TunedCell(kept.model, kept.modality, kept.modalities, self.tuning, kept.runs)

    @property
    def marked(self) -> dict[str, NDArray[np.bool_]]:
        """Which of its trials did not come to their end, by the mark."""
        slots = np.arange(len(self.condition.validation))
        return {name: np.isin(slots, marked) for name, marked in self.condition.marked.items()}


class Judged(NamedTuple):
    """A row of the verdicts, computed again.

    Attributes:
        row: as it was published.
        tuned: its gain.
        judgement: its word.
    """

    row: Any
    tuned: Gain
    judgement: Judgement

    @property
    def distance(self) -> float:
        """How far gain and bounds lie from the published ones at most."""
        bounds = (
            []
            if self.tuned.interval is None
            else [self.tuned.interval.lo - self.row.lo, self.tuned.interval.hi - self.row.hi]
        )
        return max(abs(difference) for difference in (self.tuned.gain - self.row.gain, *bounds))


class Kept:
    """What is kept of a study, or of several whose models are compared with one another.

    Args:
        folders: of the studies.
        metric: another metric of the same ranks, at most as deep; trials are chosen by the same validation scores.

    Raises:
        ValueError: if they are not alike in data, effort, metric or margin.
    """

    def __init__(self, *folders: Path, metric: str | None = None) -> None:
        self.folders = folders
        parts = {folder: msgspec.convert(files.read_document(folder / TUNING), Scores) for folder in folders}
        first = parts[folders[0]]
        for folder, scores in list(parts.items())[1:]:
            if (scores.metric, scores.delta, *_terms(folder)) != (first.metric, first.delta, *_terms(folders[0])):
                raise ValueError(f"{folder.name} and {folders[0].name} differ in data, effort, metric or margin")
        self.judged_by, self.delta = first.metric, first.delta
        self.metric = self.judged_by if metric is None else metric
        self.doubts = {name: said for scores in parts.values() for name, said in scores.doubts.items()}
        self.conditions = {(kept.dataset, kept.name): kept for scores in parts.values() for kept in scores.conditions}
        self._homes = {
            (kept.dataset, kept.name): folder for folder, scores in parts.items() for kept in scores.conditions
        }
        self.repeated = [
            Repetitions(r.kind, r.data, tuple(r.datasets)) for scores in parts.values() for r in scores.repeating
        ]
        self._cells: dict[tuple[str, str], KeptCell] = {}
        self._gains: dict[tuple[str, tuple[tuple[str, ...], ...], float], TunedGain] = {}

    @property
    def verdicts(self) -> pd.DataFrame:
        """The published verdicts."""
        return pd.concat([pd.read_csv(folder / VERDICTS) for folder in self.folders], ignore_index=True)

    def judged(self) -> Iterator[Judged]:
        """Every published verdict that has a gain, computed again."""
        rows = self.verdicts
        for row in rows[rows.gain.notna()].itertuples():
            yield self.judge(row)

    def judge(self, row: Any, delta: float | None = None) -> Judged:
        """One row of the verdicts, computed again; what repetitions say together is computed from each of them.

        Args:
            row: of the verdicts.
            delta: another equivalence margin than the study's.

        Raises:
            KeyError: for a data set that is not kept.
        """
        delta = self.delta if delta is None else delta
        if row.contrast.startswith(FREE):
            sides = tuple(row.real.split()), tuple(row.control.split())
        else:
            first, second = row.contrast.split("_vs_")
            sides = (f"{row.model}/{first}",), (f"{row.model}/{second}",)
        asked = {name for side in sides for name in side}
        for over in self.repeated:
            own = over.of([name for name in over.datasets if all((name, cell) in self.conditions for cell in asked)])
            if not own.several:
                continue
            if row.dataset == own.name:
                said = {name: self._said(name, sides, row.level, delta) for name in own.datasets}
                return Judged(row, *judge_together(own, said, delta))
            if row.dataset in own.datasets:
                tuned, judgement = self._said(row.dataset, sides, row.level, delta)
                return Judged(row, tuned, without_word(own, judgement))
        return Judged(row, *self._said(row.dataset, sides, row.level, delta))

    def _said(
        self, dataset: str, sides: tuple[tuple[str, ...], tuple[str, ...]], level: float, delta: float
    ) -> tuple[TunedGain, Judgement]:
        """Gain and word of one data set, of two sides with the names of their conditions."""
        real, control = ([self.cell(dataset, name) for name in names] for names in sides)
        asked = dataset, sides, level
        if asked not in self._gains:  # which no margin changes
            self._gains[asked] = free_disposal(
                [c.tuned_cell for c in real], [c.tuned_cell for c in control], level=level
            )
        tuned = self._gains[asked]
        return tuned, self._word(dataset, tuned, {cell.condition.name: cell for cell in real + control}, delta)

    def _word(self, dataset: str, tuned: TunedGain, cells: dict[str, KeptCell], delta: float) -> Judgement:
        if tuned.refusal is NoWord.MORE_SEARCH:  # there never is a word, whatever else speaks against one
            return verdict(tuned, delta)
        models = {cell.condition.model for cell in cells.values()}
        doubts = [reason for model in models for reason in self.doubts.get(f"{dataset}/{model}", ())]
        tunings = {name: cell.tuning for name, cell in cells.items()}
        marked = {name: cell.marked for name, cell in cells.items()}
        sides = [soundness(side, tunings, marked) for side in (tuned.a, tuned.b)]
        if any(side.untrained_too_much or side.failed_too_often for side in sides):
            doubts.append("trials failed or were not trained to their end")
        silent = list(dict.fromkeys(cell.condition.wordless for cell in cells.values() if cell.condition.wordless))
        return verdict(
            tuned, delta, untrusted=clauses(doubts) if doubts else "", wordless=clauses(silent) if silent else ""
        )

    def cell(self, dataset: str, name: str) -> KeptCell:
        """A condition by its data set and its name, ``model/condition``.

        Raises:
            KeyError: for one that is not kept.
            ValueError: for a trained one by another metric than the study's, of which no final run is kept.
        """
        if (dataset, name) not in self._cells:
            self._cells[dataset, name] = self.cell_of(dataset, name)
        return self._cells[dataset, name]

    def cell_of(self, dataset: str, name: str, counted: NDArray[np.bool_] | None = None) -> KeptCell:
        """A condition, where a part of the held-out items alone counts.

        Args:
            dataset: its data set.
            name: ``model/condition``.
            counted: which held-out items count, ``(n_pairs,)`` in the order of users and their items; the others count
                as not found, and the ideal list stays that of all.

        Raises:
            KeyError: for one that is not kept.
            ValueError: for a trained one by another metric than the study's, of which no final run is kept.
        """
        condition = self.conditions[dataset, name]
        metric = self.metric
        if metric != self.judged_by and not condition.exact:
            raise ValueError(f"final runs of {name} are kept by {self.judged_by} alone")
        file = self._homes[dataset, name] / RANKS
        present = set(pq.read_schema(file).names)
        kept = pq.read_table(file, columns=[each for each in ("dataset", "user", "new", name) if each in present])
        rows = kept.filter(pc.equal(kept["dataset"].cast(pa.string()), dataset))
        users, positions = np.unique(rows["user"].to_numpy(), return_inverse=True)
        new = rows["new"].to_numpy() if "new" in rows.column_names else None
        below = metrics.check_name(self.judged_by)[1] + 1
        test = np.full((len(condition.validation), len(users)), np.nan)
        if name in rows.column_names:  # else no trial of it could be tested
            by_pair = rows[name].combine_chunks().flatten().cast(pa.int64()).fill_null(-1).to_numpy()
            for slot, ranks in enumerate(by_pair.reshape(len(positions), -1).T):
                if (ranks >= 0).all():
                    found = ranks > 0 if counted is None else (ranks > 0) & counted
                    pairs = RankedPairs(positions, np.where(found, ranks, below), len(users), new=new)
                    test[slot] = metrics.per_user(pairs, metric)
        return KeptCell(condition, test, users)


def _terms(folder: Path) -> tuple[dict[str, DataPrint], dict[str, Any]]:
    """Data and effort of a study."""
    plan = records.read(folder / PLAN, Manifest)
    return plan.data, plan.budget


def write(table: SweepTable, groups: Sequence[Group], folder: Path) -> None:
    """Write what is kept of a sweep.

    Args:
        table: the sweep.
        groups: its fairness report.
        folder: of the study.
    """
    cells = [cell for group in groups for cell in group.cells]
    scores = Scores(
        root=table.standing.root,
        metric=table.primary,
        delta=table.delta,
        doubts={f"{g.dataset}/{g.model}": list(map(str, unfairness(g))) for g in groups if unfairness(g)},
        conditions=[_condition(cell, table.delta) for cell in cells],
        repeating=[Repeating(r.kind, r.data, list(r.datasets)) for r in read_repetitions(table, groups)],
    )
    files.write_document(folder / TUNING, msgspec.to_builtins(scores))
    ranks = _ranks(cells, metrics.check_name(table.primary)[1])
    pq.write_table(
        ranks,
        folder / RANKS,
        compression="zstd",
        compression_level=19,
        data_page_size=PAGE_BYTES,
        row_group_size=len(ranks),
    )


def _condition(cell: CellEffort, delta: float) -> Condition:
    tuned = cell.tuned_cell
    return Condition(
        dataset=cell.cell.dataset,
        model=cell.cell.model,
        modality=cell.modality,
        modalities=tuned.n_modalities,
        runs=tuned.runs,
        validation=[trial.score for trial in cell.trials],
        configurations=[trial.configuration_hash for trial in cell.trials],
        exact=cell.exact,
        exhausted=cell.tuning.exhausted,
        finals=cell.finals_test,
        marked={str(name): np.flatnonzero(marked).tolist() for name, marked in cell.marked(delta).items()},
        wordless=str(wordless([cell])),
    )


def _ranks(cells: Sequence[CellEffort], depth: int) -> pa.Table:
    """A row for each held-out item of a user of a data set; by condition the list of its ranks, a place for each trial.

    0 stands for a rank beyond ``depth``, null for a trial that has none. Lists of mixed items say which are new.
    """
    by_dataset: dict[str, dict[str, pa.Array]] = {}
    for cell in cells:
        columns = by_dataset.setdefault(cell.cell.dataset, {})
        columns |= _columns(cell, depth, columns)
    parts = []
    for dataset, columns in by_dataset.items():
        own = {"dataset": pa.array([dataset] * len(columns["user"])).dictionary_encode()}
        parts.append(pa.table(own | columns))
    return pa.concat_tables(parts, promote_options="default").unify_dictionaries()


def _columns(cell: CellEffort, depth: int, known: Mapping[str, pa.Array]) -> dict[str, pa.Array]:
    """The ranks of one condition, and whose they are, which is the same for all conditions of a data set.

    Raises:
        ValueError: if it is not.
    """
    columns: dict[str, pa.Array] = {}
    ranks: dict[int, NDArray[Any]] = {}
    for slot, trial in enumerate(cell.trials):
        file = paths.training_file(cell.folder, trial.stage, trial.index, paths.RANKS)
        if file.exists():
            tested = records.read_tested(file)
            ranks[slot] = np.where(tested.pairs.ranks <= depth, tested.pairs.ranks, 0)
            own = {"user": pa.array(tested.users[tested.pairs.users].astype(np.int32))}
            if tested.pairs.new is not None:
                own["new"] = pa.array(tested.pairs.new)
            columns = columns or own
            if own != columns or any(name in known and known[name] != column for name, column in own.items()):
                raise ValueError(f"{file}: its held-out items are not those of the other trainings")
    if ranks:
        pairs, trials = len(columns["user"]), len(cell.trials)
        flat, missing = np.zeros((pairs, trials), np.min_scalar_type(depth)), np.ones((pairs, trials), bool)
        for slot, own_ranks in ranks.items():
            flat[:, slot], missing[:, slot] = own_ranks, False
        offsets = pa.array(np.arange(pairs + 1, dtype=np.int32) * trials)
        values = pa.array(flat.ravel(), mask=missing.ravel())
        columns[f"{cell.cell.model}/{cell.modality}"] = pa.ListArray.from_arrays(offsets, values)
    return columns


def main() -> None:
    """Compute the verdicts of the named studies again, and print them beside the published words."""
    for name in sys.argv[1:]:
        found = list(Kept(ROOT / "studies" / name).judged())
        for judged in found:
            row, interval = judged.row, judged.tuned.interval
            bounds = "(no interval)" if interval is None else percents(interval)
            gain = f"{points(judged.tuned.gain)} {bounds} {judged.judgement}"
            print(f"{row.dataset}/{row.model}/{row.contrast}: {gain}; published: {row.verdict}")
        farthest = max((judged.distance for judged in found), default=0.0)
        print(f"{name}: {len(found)} verdicts, gains and bounds at most {farthest:.1g} from the published ones")


if __name__ == "__main__":
    main()
