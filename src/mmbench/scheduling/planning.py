"""Plans the cells of a sweep: reads each data set once, refuses what cannot be trained, finds what is finished."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch

from mmbench import fingerprint, paths
from mmbench.data import splits
from mmbench.data.dataset import Dataset
from mmbench.data.held_out import target_line
from mmbench.data.recdata import RecData
from mmbench.messages import Message, Refusal, Translator, clauses, conjoined
from mmbench.messages.commands import several_sweeps
from mmbench.nn.item_regressions import TooLarge
from mmbench.nn.recommender import ClosedForm
from mmbench.scheduling.cell_key import WHERE_IT_TRAINS
from mmbench.scheduling.job import Job
from mmbench.sealing.score_test import is_scored
from mmbench.store import ledger
from mmbench.store.records import CellStore
from mmbench.store.schema import (
    CellName,
    Configuration,
    Stage,
    Unit,
    training_rule,
)
from mmbench.training import allocation
from mmbench.training.loop import check_compiled, check_devices
from mmbench.tuning.cell import CellTask
from mmbench.tuning.space import configuration_hash
from mmbench.tuning.study import is_outdated

#: What torch calls something of its own in the containers that models keep the parts of their modalities in.
NAMES_OF_TORCH = frozenset((*dir(torch.nn.ModuleDict()), *dir(torch.nn.ParameterDict())))


#: Sections of which all jobs of a sweep have one, but for the number of a draw, and keys beside sections.
SHARED, SHARED_KEYS = ("sweep", "study", "statistics", "report", "export", "tracking"), ("lang", "debug")
OWN = "study.draw"
#: Sections that a training's settings are made of, beside the values of its slot.
TRAINED_BY = ("budget", "training", "optimizer")


@dataclass(frozen=True)
class Planned:
    """A cell of the sweep after planning.

    Args:
        job: how to run it.
        task: input of tuning.
        store: records of the cell.
        finished: whether its records are complete and current.
        done: trainings that need not run; where trials are raised, final runs may have to.
    """

    job: Job
    task: CellTask
    store: CellStore
    finished: bool
    done: int = 0

    @property
    def trainings(self) -> int:
        """Number of trials, proposals and final runs."""
        return self.task.effort.trainings

    @property
    def left(self) -> int:
        """Trainings to run, at most."""
        return 0 if self.finished else self.trainings - self.done

    @property
    def unlisted(self) -> bool:
        """Whether the ledger lacks a training of a finished cell, so that a line of it was lost."""
        return self.finished and self.done < self.trainings

    @property
    def rule(self) -> str:
        """Hash of the training rule, which all conditions of a model share."""
        return fingerprint.of_json(training_rule(self.job.config.plain["budget"]))

    def failure(self) -> str | None:
        """Why the cell failed, or None."""
        failure = self.store.failure()
        return None if failure is None else failure.reason


def plan_cells(jobs: Sequence[Job], resume: str, translator: Translator) -> list[Planned]:
    """Read each dataset once, print its summary, and find out which cells are finished."""
    described: set[str] = set()
    aimed: set[str] = set()
    by_cell: dict[CellName, Planned] = {}
    told: set[str] = set()
    sampled: dict[str, int | None] = {}
    tried: set[str] = set()
    too_large: dict[str, TooLarge] = {}
    seen = ledger.Reader(jobs[0].sweep_dir)
    for job in jobs:
        dataset = job.dataset()
        if job.config.dataset.cell_name not in described:
            described.add(job.config.dataset.cell_name)
            check_names(dataset)
            check_split_seed(dataset, job.config.dataset.split_seed)
            print("\n".join(map(translator, dataset.summary())), flush=True)
        if job.target and job.cell.dataset not in aimed:
            aimed.add(job.cell.dataset)
            print(translator(target_line(job.cell.dataset, job.target)), flush=True)
        users = job.config.evaluation.validation_users
        if sampled.setdefault(job.cell.dataset, users) != users:
            raise other_sample(job.cell.dataset, users, sampled[job.cell.dataset])
        task = job.task()
        if job.coverage is not None and job.cell not in by_cell:
            print(translator(Message("{name}: {reason}", name=job.cell, reason=job.coverage.words)), flush=True)
        if (others := job.set_otherwise) is not None and (line := translator(others)) not in told:
            told.add(line)
            print(line, flush=True)
        slots = task.slots()  # refuses a default outside its range before anything runs
        settings = task.recipe(task.default)[1]
        # Conditions of a model share their slots, and building settings for each of a thousand cells takes a while.
        shared = fingerprint.canonical_json([slots, *(job.config.plain[name] for name in TRAINED_BY)])
        if shared not in tried:
            tried.add(shared)
            _check_slots(task, slots)
        check_devices(job.model_class, settings)
        check_compiled(job.model_class, settings)
        try:
            _check_memory(job, task)
        except TooLarge as error:  # who leaves one model out should not learn of the next one then
            model = job.choices["model"]
            too_large[model] = max(too_large.get(model, error), error, key=lambda one: one.need)
        store = job.store(task)
        twin = by_cell.get(job.cell)
        if twin is None:
            by_cell[job.cell] = _found(job, task, store, seen.trainings(store.key), afresh=resume == "force")
        elif twin.store.key != store.key or twin.job.config.budget != job.config.budget:
            if len({str(one.config.plain["model"].get("recommendations")) for one in (job, twin.job)}) > 1:
                raise Refusal(
                    "two jobs of this sweep are the same cell {cell} with the lists of two systems; for rows of one "
                    "table write one YAML per system, model/NAME.yaml in the folder of --config-dir, for model=NAME",
                    cell=job.cell,
                )
            raise Refusal(
                "two jobs of this sweep are the same cell {cell} with different settings; sweep over dataset, model, "
                "modality and keys below it, dataset.split_seed, dataset.cold_fold, dataset.encoder, tuning.target and "
                "study.draw, and let the search tune the rest",
                cell=job.cell,
            )
    if too_large:
        raise Refusal(
            "{reasons}; leave out {models}, or give them a sweep of their own with a larger model.max_memory_gb",
            reasons=clauses([error.message for error in too_large.values()]),
            models=conjoined(list(too_large)),
        )
    return list(by_cell.values())


def check_shared(jobs: Iterable[Job]) -> None:
    """Refuse jobs that differ in what a sweep has one of: all but the first value would be lost without a word.

    Raises:
        ValueError: naming the key and its values.
    """
    values: dict[str, dict[str, None]] = {}
    for job in jobs:
        plain = job.config.plain
        shared = {f"{section}.{key}": value for section in SHARED for key, value in plain[section].items()}
        shared |= {f"training.{key}": plain["training"][key] for key in WHERE_IT_TRAINS}
        for key, value in {**shared, **{key: plain[key] for key in SHARED_KEYS}}.items():
            if key != OWN:
                values.setdefault(key, {})[fingerprint.canonical_json(value)] = None
    for key, written in values.items():
        if len(written) > 1:
            several = ",".join(written).replace('"', "")
            raise several_sweeps(f"{key}={several}")


def check_split_seed(dataset: Dataset, seed: int) -> None:
    """Refuse a seed that draws nothing: equal splits under several names would be taken for repetitions.

    Raises:
        ValueError: naming the protocol.
    """
    if seed and dataset.split.protocol not in splits.DRAWN:
        raise Refusal(
            "{name}: dataset.split_seed={seed} changes nothing, because protocol {protocol} draws no split; take "
            "study.draw={seed} for another draw of the tuning, or a protocol that draws one: {drawn}",
            name=dataset.name,
            seed=seed,
            protocol=dataset.split.protocol,
            drawn=", ".join(splits.DRAWN),
        )


def check_names(dataset: Dataset) -> None:
    """Refuse modalities after which no part of a trained model can be called.

    Raises:
        ValueError: naming the first of them.
    """
    for name in sorted(dataset.features):
        if "." in name or name in NAMES_OF_TORCH:
            raise Refusal(
                "dataset {dataset}: no modality can be called {modality}, because trained models call their parts by "
                "it: it must not hold a dot, and torch has another use for some names, such as type, items and values; "
                "rename its feature file",
                dataset=dataset.name,
                modality=name,
            )


def _check_slots(task: CellTask, slots: Sequence[Configuration]) -> None:
    """Refuse a search that would try what no training takes; a cell would fail at it while others are trained.

    Raises:
        ValueError: naming what is searched.
    """
    for slot, configuration in enumerate(slots):
        try:
            task.recipe(configuration)
        except Refusal as error:
            searched = [path for path in configuration if path in error.message] or list(configuration)
            raise Refusal(
                "{searched}: trial {slot} would try what no training takes: {error}",
                searched=", ".join(f"search.{path}" for path in searched),
                slot=slot,
                error=error.message,
            ) from error


def _check_memory(job: Job, task: CellTask) -> None:
    """Let a computed model refuse a catalogue that is too large for it; its constructor computes nothing yet.

    Raises:
        TooLarge: if it needs more memory than it may take.
        ValueError: if it cannot be built.
    """
    if issubclass(job.model_class, ClosedForm):
        build, _ = task.recipe(task.default)
        kept = task.condition.kept(task.features)
        values = {name: torch.from_numpy(task.features[name].values) for name in kept}
        present = {name: torch.from_numpy(task.features[name].present) for name in kept}
        empty = RecData(task.train.n_users, task.train.n_items, torch.empty(2, 0, dtype=torch.int64), values, present)
        try:
            with job.running_model():
                build(empty)
        except Exception as error:
            if not allocation.is_out_of_memory(error):
                raise  # where memory is short now, the training will say so, and end no cell but its own


def _found(job: Job, task: CellTask, store: CellStore, listed: Iterable[tuple[Unit, str]], *, afresh: bool) -> Planned:
    """A cell with what its folder holds of it.

    Args:
        job: how to run it.
        task: its task, as the command asks for it.
        store: its records.
        listed: trainings that the ledger lists, with the hash of their configuration.
        afresh: whether nothing of it is to be used.
    """
    if afresh or not store.is_current():
        return Planned(job, task, store, finished=False)
    task = task.raised(store.effort())  # a worker that joins late takes what a later command has planned
    finished = store.effort() == task.effort and is_scored(store, job.dataset().split)
    choice, chosen = store.choice(), None
    if choice is not None and not is_outdated(task, choice):
        chosen = configuration_hash(choice.configuration)
    done = {
        unit
        for unit, configuration in listed
        if (unit.stage != Stage.FINAL or configuration == chosen) and store.training_file(unit, paths.RECORD).exists()
    }
    return Planned(job, task, store, finished, len(done))


def other_sample(dataset: str, asked: int | None, earlier: int | None) -> Refusal:
    """That cells of one data set would rank validation with other users."""
    return Refusal(
        "evaluation.validation_users={value}, but in this sweep validation of {dataset} is ranked with {earlier}, for "
        "all of its cells; keep that or take another sweep.name",
        value="null" if asked is None else asked,
        earlier="null" if earlier is None else earlier,
        dataset=dataset,
    )
