"""The benchmark table as data: a row per model, a column per condition, every number traced to its records."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml
from numpy.typing import NDArray

from mmbench import paths
from mmbench.audit.condition_names import untold_losses
from mmbench.audit.standing import UNCHECKED, Standing
from mmbench.data.planted import MADE_UP
from mmbench.evaluation import late_ensemble, metrics
from mmbench.evaluation.metrics import LIST_LENGTH, RankedPairs, Ranking
from mmbench.inference import intervals
from mmbench.inference.contrast import Contrast
from mmbench.inference.verdicts import MIN_SEEDS
from mmbench.messages import Message, series
from mmbench.scheduling.trust import NOTHING, Trust
from mmbench.store import records
from mmbench.store.records import read_trainings
from mmbench.store.schema import CLOSED_FORM, ID_ONLY, Cell, CellName, Sample, Stage, Training
from mmbench.tuning.space import read_space, size

#: The row that no cell runs: averaged ranks of the single-modality conditions.
LATE = "late"
CONDITIONS = ("none", "text", "image", "audio", "without_image", "fused", LATE, "shuffled", "shuffled_text",
              "shuffled_image", "shuffled_audio", "text_shuffled_image", "text_shuffled_audio", "image_shuffled_text",
              "image_shuffled_audio", "audio_shuffled_text", "audio_shuffled_image",
              "fused_shuffled_image")  # fmt: skip
#: Baselines that are tuned, and trained without gradients.
SIMPLE = ("itemknn", "contentknn", "hybridknn", "ease", "ials")
#: Planned contrasts, A against B, of a manifest that names none.
CONTRASTS: tuple[Contrast, ...] = (
    Contrast("fused", "text"),
    Contrast("image", "none"),
    Contrast("text", "none"),
    Contrast("fused", "text_shuffled_image"),
)
#: Equivalence margin and primary metric of a manifest that names none.
DELTA, PRIMARY = 0.02, "ndcg@20"
#: Relative changes that the table prints: condition against reference.
AGAINST = ("none", "fused")


class Tuned(NamedTuple):
    """How hard a cell is tuned, as its record says.

    Attributes:
        budget: name of the budget.
        trials: random slots, T.
        seeds: final runs, S.
        steps: optimizer steps of a training at most.
        rule: fingerprint of its training rule.
        exhausted: whether its trials are all configurations that there are.
    """

    budget: str
    trials: int
    seeds: int
    steps: int
    rule: str
    exhausted: bool


@dataclass(frozen=True)
class CellResult:
    """One cell of the table.

    Args:
        dataset: its dataset.
        model: its model.
        modality: its condition, ``-`` for a model that ignores content.
        status: ``done``, ``failed``, ``missing`` (planned, not run) or ``stale`` (records of other data or settings).
        folder: where its records lie.
        reason: why it failed.
        seeds: numbers of the final runs.
        test_hash: fingerprint of the test split.
        effort: fingerprint of model, search space, optimizer, training rule and number of trials: what conditions that
            are compared must share.
        data: name of the data set whatever its split, for splits of one data set share its users; empty where there is
            no record.
        modalities: those of the dataset.
        only: the one modality that the condition keeps, as it is; empty for any other condition.
        tiers: those that the model's YAML declares.
        parts: cells whose lists this one averages, by modality name; no cell has run then.
        given: data set and root of the sweep whose configurations it took without tuning; empty for one that was tuned.
        external: whether it ranks lists of another system, which was neither trained nor tuned here.
        another_class: what was trained under the name of a model of the package, see :func:`another_class`.
        sample: of how many users its validation was ranked; None where it was of all.
        made_up: whether its data are a planted world.
        tuned: how hard it is tuned; None where it has no records of this plan.
    """

    dataset: str
    model: str
    modality: str
    status: str
    folder: Path
    reason: str = ""
    seeds: tuple[int, ...] = ()
    test_hash: str = ""
    effort: str = ""
    data: str = ""
    modalities: tuple[str, ...] = ()
    only: str = ""
    tiers: tuple[str, ...] = ()
    parts: tuple[CellResult, ...] = ()
    given: tuple[str, str] | tuple[()] = ()
    external: bool = False
    another_class: str = ""
    sample: Sample | None = None
    made_up: bool = False
    tuned: Tuned | None = None

    @functools.cached_property
    def tested(self) -> list[Ranking]:
        """Test ranks of each final seed with their users and items."""
        return [records.read_tested(paths.final_file(self.folder, seed, paths.RANKS)) for seed in self.seeds]

    @functools.cached_property
    def rankings(self) -> list[RankedPairs]:
        """Test ranks of each final seed."""
        if self.parts:
            runs = [[records.read_final(part.folder, seed) for part in self.parts] for seed in self.seeds]
            return [late_ensemble.late(rankings) for rankings in runs]
        return [ranking.pairs for ranking in self.tested]

    @functools.cached_property
    def states(self) -> Mapping[str, str]:
        """State of each modality; empty where a part of the items lost its content or nothing was run."""
        if self.parts:
            return {}
        cell = records.read(paths.cell_file(self.folder), Cell)
        return {} if cell.thinned else cell.states

    @functools.cached_property
    def untold_losses(self) -> list[str]:
        """Modalities that have lost content under a name that does not say so, each with how much."""
        return [] if self.parts else untold_losses(records.read(paths.cell_file(self.folder), Cell))

    @functools.cached_property
    def target(self) -> str:
        """What its tuning aimed at, see :func:`mmbench.data.held_out.target_of`."""
        if self.parts:
            return self.parts[0].target
        return records.read(paths.cell_file(self.folder), Cell).target

    @functools.cached_property
    def exact(self) -> bool:
        """Whether another seed gives the same result, see :func:`is_exact`; never of averaged lists."""
        if self.parts:
            return False
        key = records.read(paths.cell_file(self.folder), Cell).key
        return is_exact([training for stage in Stage for training in read_trainings(self.folder, stage, key)])

    @property
    def noise_known(self) -> bool:
        """Whether its final runs measure training noise, or there is none, so that bounds may be told."""
        return len(self.seeds) >= MIN_SEEDS or self.exact

    @property
    def asked_states(self) -> Mapping[str, str]:
        """State of each modality, also where a part of the items lost its content."""
        return {} if self.parts else records.read(paths.cell_file(self.folder), Cell).states

    def reaches(self, metric: str) -> bool:
        """Whether a metric is known: averaged lists say nothing of ranks beyond their length."""
        return not self.parts or metrics.check_name(metric)[1] <= LIST_LENGTH

    def per_user(self, metric: str) -> NDArray[np.float64]:
        """A metric of every test user and seed, ``(n_users, n_seeds)``."""
        return np.stack([metrics.per_user(pairs, metric) for pairs in self.rankings], axis=1)

    def by_seed(self, metric: str) -> NDArray[np.float64]:
        """A metric averaged over users, ``(n_seeds,)``."""
        if metric not in self._by_seed:
            self._by_seed[metric] = self.per_user(metric).mean(axis=0)
        return self._by_seed[metric]

    @functools.cached_property
    def _by_seed(self) -> dict[str, NDArray[np.float64]]:
        """Means that were asked for before."""
        return {}

    def mean(self, metric: str) -> float:
        """A metric averaged over users and seeds."""
        return float(self.by_seed(metric).mean())

    def spread(self, metric: str) -> float | None:
        """Standard deviation over seeds; None with one seed, which measures no training noise."""
        return float(self.by_seed(metric).std(ddof=1)) if len(self.seeds) > 1 else None


@dataclass(frozen=True)
class SweepTable:
    """All cells of a sweep.

    Args:
        name: name of the sweep.
        budget: the budget section of the last command; what was spent stands in the cells.
        metrics: metrics to print.
        conditions: conditions asked for, in table order.
        cells: result by (dataset, model, modality).
        folder: folder of the sweep.
        contrasts: planned contrasts, A against B, in table order.
        delta: equivalence margin, fixed before the sweep ran.
        primary: metric that is judged, fixed before the sweep ran.
        standing: how far its records have been checked, and their root.
        plan_hash: hash of its plan.
        text: all tables as plain text, filled by the writer.
        trust: what may be used because a record names it.
        revisions: number of the revision of the plan that planned each cell first.
        opened: number of the first revision that was planned when the test split of a cell had been opened.
        aims: what tuning aims at by data set, as planned; see :func:`mmbench.data.held_out.target_of`.
    """

    name: str
    budget: Mapping[str, Any]
    metrics: tuple[str, ...]
    conditions: tuple[str, ...]
    cells: Mapping[tuple[str, str, str], CellResult]
    folder: Path
    contrasts: tuple[Contrast, ...] = CONTRASTS
    delta: float = DELTA
    primary: str = PRIMARY
    standing: Standing = UNCHECKED
    plan_hash: str = ""
    text: str = ""
    trust: Trust = NOTHING
    revisions: Mapping[str, int] = field(default_factory=dict)
    opened: Mapping[str, int] = field(default_factory=dict)
    aims: Mapping[str, str] = field(default_factory=dict)

    @property
    def proof(self) -> Message:
        """How far the records have been checked, in one line for every page and table."""
        proof = Message(
            "records: {level}; root {root}; plan {plan}",
            level=self.standing.words,
            root=self.standing.root or "-",
            plan=self.plan_hash or "-",
        )
        findings = self.standing.findings
        if findings and all(finding.doubt for finding in findings):
            proof = Message.counted(
                "{first}; {n} thing is not confirmed: python -m mmbench audit names it",
                "{first}; {n} things are not confirmed: python -m mmbench audit names them",
                len(findings),
                first=proof,
            )
        for origin in origins_of(self.cells.values()):
            proof = Message("{first}; {second}", first=proof, second=origin)
        if rows := external_rows(self.cells.values()):
            proof = Message("{first}; lists of another system, not tuned here: {rows}", first=proof, rows=series(rows))
        for dataset, sample in self.samples.items():
            proof = Message("{first}; {second}", first=proof, second=sample_of(dataset, sample))
        return proof

    @functools.cached_property
    def samples(self) -> Mapping[str, Sample]:
        """Of how many users validation was ranked, by data set; without those where it was of all."""
        return {cell.dataset: cell.sample for _, cell in sorted(self.cells.items()) if cell.sample}

    @property
    def title(self) -> str:
        """Name for a heading; that of a sweep with planted worlds says so."""
        if any(cell.made_up for cell in self.cells.values()):
            return Message("{sweep} ({warning})", sweep=self.name, warning=Message(MADE_UP))
        return self.name

    def planned(self, name: CellName) -> int:
        """Number of the revision of the plan that planned a cell first; 0 where none did, as for a late ensemble."""
        return self.revisions.get(str(name), 0)

    def at(self, metric: str) -> SweepTable:
        """The table without what does not reach a metric."""
        cells = {key: cell for key, cell in self.cells.items() if cell.reaches(metric)}
        gone = {condition for _, _, condition in self.cells} - {condition for _, _, condition in cells}
        return replace(self, cells=cells, conditions=tuple(c for c in self.conditions if c not in gone))

    @property
    def datasets(self) -> list[str]:
        """Datasets in name order."""
        return sorted({dataset for dataset, _, _ in self.cells})

    @functools.cached_property
    def targets(self) -> Mapping[str, str]:
        """What tuning aims at, by data set: as its results say, and before there are any as it was planned."""
        done = {cell.dataset: cell for cell in self.cells.values() if cell.status == "done"}
        planned = {dataset: aim for dataset, aim in self.aims.items() if dataset in self.datasets}
        return planned | {dataset: cell.target for dataset, cell in done.items()}

    def models(self, dataset: str) -> list[str]:
        """Models of a dataset: those that ignore content first, each group in name order."""
        rows = {m: c for d, m, c in self.cells if d == dataset}
        return sorted(rows, key=lambda model: ((dataset, model, ID_ONLY) not in self.cells, model))

    def tiers(self, dataset: str, model: str) -> tuple[str, ...]:
        """Tiers of a model, none for one that declares none."""
        return next(cell.tiers for (d, m, _), cell in self.cells.items() if (d, m) == (dataset, model))

    def result(self, dataset: str, model: str, condition: str) -> CellResult | None:
        """The cell of a condition; a model that ignores content has its one result under every condition."""
        return self.cells.get((dataset, model, ID_ONLY)) or self.cells.get((dataset, model, condition))

    def repeats(self, dataset: str, model: str, condition: str) -> bool:
        """Whether the result is that of the first condition, because the model ignores content."""
        result = self.result(dataset, model, condition)
        return result is not None and result.modality == ID_ONLY and condition != self.conditions[0]

    def done(self, dataset: str, model: str, condition: str) -> CellResult | None:
        """The cell of a condition if it has a result."""
        result = self.result(dataset, model, condition)
        return result if result is not None and result.status == "done" else None

    def change(
        self, dataset: str, model: str, condition: str, against: str, metric: str
    ) -> intervals.CrossedInterval | None:
        """Relative change of a condition against another, over users and the seeds both have.

        None where one of them has no result, where both are the same cell, where splits or effort differ, or
        where a metric of somebody's own is negative, so that no share of it is more or less; infinite bounds
        where no user tells how uncertain it is. Where both rank alike, as with a configuration that leaves
        content out, zero is exact.
        """
        a, b = self.done(dataset, model, condition), self.done(dataset, model, against)
        if a is None or b is None or a is b or not comparable(a, b) or b.mean(metric) <= 0.0 or a.mean(metric) < 0.0:
            return None
        return intervals.bounded_gain(a.per_user(metric), b.per_user(metric), same=alike(a, b))

    def below_popularity(self, result: CellResult, metric: str) -> bool:
        """Whether a result is below the popularity baseline of its dataset (which may not be in the sweep).

        Never where new items alone are ranked: none of them is popular, and the baseline is the luck of ties.
        """
        baseline = self.done(result.dataset, "popularity", ID_ONLY)
        if baseline is None or result is baseline or result.mean(metric) >= baseline.mean(metric):
            return False
        return result.target != "cold"

    def ranked(self, dataset: str, condition: str, metric: str) -> list[str]:
        """Models with a result under a condition, best first."""
        results = {model: self.done(dataset, model, condition) for model in self.models(dataset)}
        return sorted(
            (model for model, result in results.items() if result),
            key=lambda m: -results[m].mean(metric),  # type: ignore[union-attr]
        )


def given_from(cell: Cell) -> tuple[str, str]:
    """Data set and root of the sweep whose configurations a cell took."""
    return str(cell.config["given"]["dataset"]), str(cell.config["given"]["root"])


@functools.cache
def packaged_class(model: str) -> str | None:
    """Dotted name of the class of a model that comes with the package; None for a name of the user's own."""
    file = paths.config_dir() / "model" / f"{model}.yaml"
    if file.stem != model or not file.exists():  # a record may name anything
        return None
    return str(yaml.safe_load(file.read_text(encoding="utf-8"))["model"]["_target_"])


def another_class(cell: Cell) -> str:
    """Dotted name of the class that was trained under the name of a model of the package, whose class is another one.

    Empty for a model of the package itself, and for a name of the user's own.
    """
    trained, known = cell.config.get("model", {}).get("_target_"), packaged_class(cell.model)
    return "" if trained is None or known is None or trained == known else str(trained)


def exhausts(cell: Cell, n_trials: int) -> bool:
    """Whether so many trials are all configurations that there are, so that more of them would find nothing."""
    return cell.given is None and size(read_space(cell.config["search"])) <= n_trials


def is_exact(trainings: Iterable[Training]) -> bool:
    """Whether another seed gives the same result: a model that is computed without chance, from features without it.

    A model of the user's own may draw by its seed all the same: then the final runs, or one of them and the trial that
    was chosen, rank validation in different ways.

    Args:
        trainings: trials, proposals of TPE and final runs of one cell.
    """
    runs = [t for t in trainings if t.course is not None]
    computed = all(t.course is not None and t.course.stop_reason == CLOSED_FORM for t in runs)
    alike = len({(t.configuration_hash, t.validation_hash) for t in runs}) == len({t.configuration_hash for t in runs})
    return bool(runs) and computed and alike and len({t.feature_hash for t in runs}) == 1


def not_tuned_here(dataset: str, root: str) -> Message:
    """That cells took the configurations of another sweep."""
    return Message("not tuned here: configurations of {dataset}, root {root}", dataset=dataset, root=root)


def origins_of(cells: Iterable[CellResult]) -> list[Message]:
    """That some cells took the configurations of other sweeps, and of which; nothing where all were tuned."""
    return [not_tuned_here(*origin) for origin in sorted({cell.given for cell in cells if cell.given})]


def external_rows(cells: Iterable[CellResult]) -> list[str]:
    """Data set and model of each row that is the lists of another system, in order."""
    return sorted({f"{cell.dataset}/{cell.model}" for cell in cells if cell.external})


def simple_baselines(cells: Iterable[CellResult]) -> list[str]:
    """Models among those of some cells that are tuned simple baselines, by their class too, in name order."""
    classes: dict[str, set[str]] = {}
    for cell in cells:
        classes.setdefault(cell.model, set()).add(cell.another_class)
    return sorted(model for model in SIMPLE if classes.get(model) == {""})


def sample_of(dataset: str, sample: Sample) -> Message:
    """That validation of a data set was ranked for a sample of its users."""
    return Message(
        "{dataset}, validation: {users} of {all} users, the same for all conditions; test: all users",
        dataset=dataset,
        users=f"{sample.users:,}",
        all=f"{sample.all:,}",
    )


def alike(a: CellResult, b: CellResult) -> bool:
    """Whether two results give every held-out item the same rank in every final run."""
    return all(np.array_equal(x.ranks, y.ranks) for x, y in zip(a.rankings, b.rankings, strict=True))


def comparable(a: CellResult, b: CellResult) -> bool:
    """Whether two results share final seeds, test split and effort."""
    return (a.seeds, a.test_hash, a.effort) == (b.seeds, b.test_hash, b.effort)


def condition_columns(table: SweepTable) -> list[tuple[str, str]]:
    """Relative changes to print: (condition, reference) in table order."""
    present: Sequence[str] = table.conditions
    pairs = [(c, against) for against in AGAINST if against in present for c in present if c != against]
    return [("fused", LATE) if pair == (LATE, "fused") else pair for pair in pairs]
