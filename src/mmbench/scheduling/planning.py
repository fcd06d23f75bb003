"""Plans the cells of a sweep and writes the manifest that fixes them before the first one runs."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import torch

from mmbench import fingerprint, paths
from mmbench.data import splits
from mmbench.data.dataset import Dataset
from mmbench.data.held_out import target_line
from mmbench.data.recdata import RecData
from mmbench.messages import Message, Refusal, Template, Translator
from mmbench.messages.commands import several_sweeps
from mmbench.nn.recommender import ClosedForm
from mmbench.scheduling.cell_key import OUTSIDE_THE_KEY, WHERE_IT_TRAINS, shared_settings
from mmbench.scheduling.configuration import JobConfig, recorded_training
from mmbench.scheduling.job import Job
from mmbench.sealing.score_test import is_scored
from mmbench.store import files, ledger, records
from mmbench.store.records import CellStore
from mmbench.store.schema import (
    Cell,
    CellName,
    Configuration,
    DataPrint,
    Manifest,
    PlannedCell,
    Revision,
    Sharing,
    Stage,
    Unit,
    fixed,
    hashed,
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
    sampled: dict[str, int | None] = {}
    tried: set[str] = set()
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
            raise _other_sample(job.cell.dataset, users, sampled[job.cell.dataset])
        task = job.task()
        if job.coverage is not None and job.cell not in by_cell:
            print(translator(Message("{name}: {reason}", name=job.cell, reason=job.coverage.words)), flush=True)
        slots = task.slots()  # refuses a default outside its range before anything runs
        settings = task.recipe(task.default)[1]
        # Conditions of a model share their slots, and building settings for each of a thousand cells takes a while.
        shared = fingerprint.canonical_json([slots, *(job.config.plain[name] for name in TRAINED_BY)])
        if shared not in tried:
            tried.add(shared)
            _check_slots(task, slots)
        check_devices(job.model_class, settings)
        check_compiled(job.model_class, settings)
        _check_memory(job, task)
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
        ValueError: if it needs more memory than it may take, or cannot be built.
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


def write_manifest(sweep_dir: Path, jobs: Sequence[Job], planned: Sequence[Planned], overrides: Sequence[str]) -> str:
    """Write the manifest before the cells run; it keeps what other commands planned for this sweep.

    Returns:
        Hash of the plan.
    """
    with files.locked(paths.lock_file(sweep_dir, "manifest")):
        manifest = hashed(_merged(_manifest(sweep_dir), sweep_dir, jobs, planned, overrides))
        files.clear_leftovers(paths.manifest_file(sweep_dir))
        records.write_twice(paths.manifest_file(sweep_dir), manifest)
    return manifest.plan_hash


def _merged(
    earlier: Manifest | None, sweep_dir: Path, jobs: Sequence[Job], planned: Sequence[Planned], overrides: Sequence[str]
) -> Manifest:
    """What earlier commands planned, and what this one plans."""
    config = jobs[0].config
    known = [] if earlier is None else earlier.cells
    asked = sorted({job.asked_modality for job in jobs} | {modality for cell in known for modality in cell.asked})
    cells = {cell.name: cell for cell in known}
    data = {} if earlier is None else dict(earlier.data)
    before = {cell.name: (cell.key, cell.trials, cell.seeds) for cell in known}
    revisions = [] if earlier is None else list(earlier.revisions)
    # The last of each.
    read = {name: content for revision in revisions for name, content in revision.data.items()}
    code = {name: version for revision in revisions for name, version in revision.versions.items()}
    versions = {str(plan.task.cell): plan.task.versions_hash for plan in planned}
    afresh = config.study.resume == "force"
    revised: dict[tuple[int, int], dict[str, str]] = {}
    seals: dict[str, str] = {}
    for plan in planned:
        name, budget = plan.task.cell, plan.job.config.budget
        cells[name] = cell = PlannedCell(
            **name._asdict(),
            key=plan.store.key,
            folder=str(plan.store.folder.relative_to(sweep_dir)),
            draw=plan.task.draw,
            rule=plan.rule,
            trials=budget.trials,
            seeds=budget.seeds,
            trainings=plan.trainings,
            tiers=list(plan.job.config.plain["tiers"]),
            asked=asked,
        )
        data[name.dataset] = print_of(plan.job.dataset())
        # Other test rows, or content that no condition so far reads, leave the key as it was.
        changed = read.get(name.dataset) != _content(data[name.dataset])
        changed |= afresh and code.get(str(name)) != versions[str(name)]
        # Whoever begins afresh what is there opens the test split once more, whatever stays as it was.
        again = afresh and records.key_of(plan.store.folder) == cell.key
        if changed or again or before.get(name) != (cell.key, cell.trials, cell.seeds):
            revised.setdefault((cell.trials, cell.seeds), {})[str(name)] = cell.key
            key, trials, seeds = before.get(name, ("", 0, 0))
            raised = key == cell.key and (trials, seeds) != (cell.trials, cell.seeds)
            seal = plan.store.last_seal()
            # What was trained by a plan that is lost; a look at other test rows is none at these, and is not kept.
            lost = name not in before and seal is not None and seal.test_hash == data[name.dataset].test_hash
            if seal is not None and (raised or again or lost):
                seals[str(name)] = seal.hash  # whoever looked and goes on has looked
    told = {name for revision in revisions for name in revision.opened or ()}
    opened = {str(name) for name in cells if paths.seals_of(paths.cell_dir(sweep_dir, *name))} - told
    statistics = dict(config.plain["statistics"])
    previous = fixed(config.statistics.delta, config.statistics.contrasts, config.report.primary, statistics)
    for (trials, seeds), keys in revised.items():
        named = {name.partition("/")[0] for name in keys}
        revision = Revision(
            trials=trials,
            seeds=seeds,
            cells=dict(sorted(keys.items())),
            data={name: _content(data[name]) for name in sorted(named)},
            versions={name: versions[name] for name in sorted(keys)},
            command=list(overrides),
            planned_at=ledger.now(),
            previous=revisions[-1].hash if revisions else previous,
            seals={name: seals[name] for name in sorted(keys) if name in seals},
            opened=sorted(opened),
        )
        revisions.append(hashed(revision))
        opened = set()
    shared = {name: config.plain[name] for name in ("budget", "optimizer", "statistics")}
    shared["training"] = recorded_training(config.plain["training"])
    shared["primary"] = config.report.primary
    if config.evaluation.validation_users is not None:
        shared["evaluation"] = config.plain["evaluation"]
    return Manifest(
        name=config.sweep.name,
        command=list(overrides),
        budget=dict(config.plain["budget"]),
        delta=config.statistics.delta,
        contrasts=list(config.statistics.contrasts),
        config_hash=fingerprint.of_json(shared),
        primary=config.report.primary,
        metrics=list(dict.fromkeys([*config.report.metrics, config.report.primary])),
        modalities=asked,
        cells=[cells[name] for name in sorted(cells)],
        data=data,
        revisions=revisions,
        statistics=statistics,
        device_sharing={} if earlier is None else dict(earlier.device_sharing),
        named=sorted(versions),
    )


def _content(data: DataPrint) -> str:
    """What a revision holds of a dataset."""
    return fingerprint.of_json(msgspec.to_builtins(data))


def write_sharing(sweep_dir: Path, sharing: Sharing) -> None:
    """Add to the manifest how many workers a device takes; the plan and its hashes stay what they are."""
    with files.locked(paths.lock_file(sweep_dir, "manifest")):
        manifest = records.read(paths.manifest_file(sweep_dir), Manifest)
        kept = msgspec.structs.replace(manifest, device_sharing={**manifest.device_sharing, sharing.card: sharing})
        records.write_twice(paths.manifest_file(sweep_dir), kept)


def read_sharing(sweep_dir: Path, models: Collection[str], cores: int) -> list[Sharing]:
    """What earlier pilots of this sweep found that tried all of these models with so many processors."""
    manifest = _manifest(sweep_dir)
    found = [] if manifest is None else list(manifest.device_sharing.values())
    return [one for one in found if one.cores == cores and set(models) <= set(one.models)]


def print_of(dataset: Dataset) -> DataPrint:
    """What a dataset is, as the plan keeps it."""
    split = dataset.split
    per_user = np.bincount(split.train.users, minlength=split.train.n_users)
    known = len(np.unique(split.train.items))  # the only items that negatives are drawn from
    return DataPrint(
        split_hash=split.tuning_fingerprint,
        test_hash=split.test_fingerprint,
        valid_users=fingerprint.of_arrays(split.ranked_valid.active_users),
        n_users=split.test.n_users,
        n_items=split.test.n_items,
        n_train=int(per_user[per_user < known].sum()),  # what batches are drawn from
        features={name: feature.fingerprint() for name, feature in sorted(dataset.features.items())},
        validation_users=None if split.ranked is None else len(split.ranked),
        new_items=split.new_items_fingerprint,
        target=split.target,
    )


def _manifest(sweep_dir: Path) -> Manifest | None:
    """What earlier commands planned, if there were any."""
    file = paths.manifest_file(sweep_dir)
    return records.read(file, Manifest) if file.exists() else None


#: Why more effort is refused while conditions without settings of their own are left out: in their command, and in that
#: of conditions that have some.
LEFT_OUT = {
    False: Template(
        "{key}={value} raises {model} from {earlier}, which all of its conditions get together; name {left_out} too, "
        "or take another sweep.name"
    ),
    True: Template(
        "{key}={value} raises {model} from {earlier}, which all of its conditions get together; raise {left_out} "
        "first, without settings below modality., or take another sweep.name"
    ),
}


def _has_settings(cell: CellName) -> bool:
    """Whether its condition has settings of its own, which its name tells and which hold for a whole command."""
    return "=" in cell.modality


def check_effort(sweep_dir: Path, planned: Sequence[Planned]) -> list[Message]:
    """Refuse fewer trials or final runs than were planned, and more of them for some conditions of a model only.

    A condition with settings of its own cannot be named beside those without them. Those without are raised first, and
    it follows by its own command; until then the fairness report fails.

    Returns:
        Which conditions have yet to follow.

    Raises:
        ValueError: naming what is lowered, left out or fixed.
    """
    behind: dict[CellName, Message] = {}
    earlier = _manifest(sweep_dir)
    families: dict[tuple[str, str, str], list[PlannedCell]] = {}
    for cell in earlier.cells if earlier else []:
        families.setdefault(cell.family, []).append(cell)
    named = {plan.task.cell for plan in planned}
    for plan in planned:
        name, budget = plan.task.cell, plan.job.config.budget
        family = families.get((name.dataset, name.model, plan.rule), [])
        for key, asked, before in (
            ("budget.trials", budget.trials, max((cell.trials for cell in family), default=budget.trials)),
            ("budget.seeds", budget.seeds, max((cell.seeds for cell in family), default=budget.seeds)),
        ):
            model = f"{name.dataset}/{name.model}"
            if asked < before:
                raise Refusal(
                    "{key}={value}, but this sweep was planned with {earlier} for {model}; keep that or take another "
                    "sweep.name",
                    key=key,
                    value=asked,
                    earlier=before,
                    model=model,
                )
            left_out = sorted(
                cell.modality for cell in family if cell.name not in named and not _has_settings(cell.name)
            )
            if asked > before and left_out:
                raise Refusal(
                    LEFT_OUT[_has_settings(name)],
                    key=key,
                    value=asked,
                    model=model,
                    earlier=before,
                    left_out=", ".join(left_out),
                )
            if asked > before and budget.tpe and key == "budget.trials":
                raise Refusal(
                    "budget.trials={value}, but TPE proposes after {earlier} trials of {model} (budget.tpe={tpe}), so "
                    "they cannot be raised; take another sweep.name",
                    value=asked,
                    earlier=before,
                    model=model,
                    tpe=budget.tpe,
                )
        for cell in family:
            if cell.name not in named and (cell.trials, cell.seeds) != (budget.trials, budget.seeds):
                behind[cell.name] = Message(
                    "{cell} stays at T {trials} and S {seeds}, because settings of a condition hold for a whole "
                    "command; raise it by one of its own, until then the fairness report fails",
                    cell=cell.name,
                    trials=cell.trials,
                    seeds=cell.seeds,
                )
    return list(behind.values())


def check_alike(sweep_dir: Path, planned: Sequence[Planned], *, afresh: bool) -> None:
    """Refuse to train a condition with other settings, code or versions than conditions of its model that stay.

    They would not be compared, and nobody should wait for that. The code of states is that of one condition alone.

    Args:
        sweep_dir: folder of the sweep.
        planned: what is to be trained.
        afresh: whether the records of what is named are set aside.
    """
    earlier = _manifest(sweep_dir)
    waiting = {plan.task.cell: plan for plan in planned if not plan.finished}
    aside = {name for name, plan in waiting.items() if afresh or not plan.store.is_current()}
    families = {(name.dataset, name.model) for name in waiting}
    stay: dict[tuple[str, str], list[Cell]] = {}
    for one in earlier.cells if earlier else []:
        file = paths.cell_file(sweep_dir / one.folder)
        if (one.dataset, one.model) in families and one.name not in aside and file.exists():
            stay.setdefault((one.dataset, one.model), []).append(records.read(file, Cell))
    for name, plan in waiting.items():
        here = plan.task.versions
        for cell in stay.get((name.dataset, name.model), []):
            if cell.name != name:
                _check_settings(plan.job.record(plan.task), cell)
            apart = {"commit"} if cell.name == name else {"commit", records.STATES}
            other = sorted(key for key in {*here, *cell.versions} - apart if here.get(key) != cell.versions.get(key))
            if other:
                raise Refusal(
                    "{cell} would be trained by other code or versions than {begun} was ({names}), and conditions of "
                    "one model are compared only if the same code trained them; go on with that code, begin all "
                    "conditions of {model} afresh with study.resume=force, or take another sweep.name",
                    cell=name,
                    begun=cell.name,
                    names=", ".join(other),
                    model=name.model,
                )


def _check_settings(cell: Cell, begun: Cell) -> None:
    """Refuse settings that no key tells, and that are others than those of a condition of the same model.

    Conditions with other keys may follow one by one, and are not compared before all have.

    Raises:
        ValueError: naming the first of them.
    """
    before, settings = shared_settings(begun), shared_settings(cell)
    for section in OUTSIDE_THE_KEY:
        now = settings[section]
        for key in sorted({*now, *before[section]}):
            value, earlier = (fingerprint.canonical_json(one.get(key)) for one in (now, before[section]))
            if value != earlier:
                raise Refusal(
                    "{cell} would be trained with {key}={value} and {begun} was with {earlier}, and conditions of one "
                    "model are compared only if they share their settings; keep that, begin all conditions of {model} "
                    "afresh with study.resume=force, or take another sweep.name",
                    cell=cell.name,
                    key=f"{section}.{key}",
                    value=value,
                    begun=begun.name,
                    earlier=earlier,
                    model=cell.model,
                )


def check_sample(sweep_dir: Path, planned: Sequence[Planned]) -> None:
    """Refuse another sample of validation than that which other cells of the data set were planned with."""
    earlier = _manifest(sweep_dir)
    for plan in planned:
        name, now = plan.task.cell.dataset, print_of(plan.job.dataset())
        before = None if earlier is None else earlier.data.get(name)
        if before is None or before.split_hash != now.split_hash:
            continue  # other data, whose records are set aside
        if before.validation_users != now.validation_users:
            raise _other_sample(name, plan.job.config.evaluation.validation_users, before.validation_users)


def _other_sample(dataset: str, asked: int | None, earlier: int | None) -> Refusal:
    """That cells of one data set would rank validation with other users."""
    return Refusal(
        "evaluation.validation_users={value}, but in this sweep validation of {dataset} is ranked with {earlier}, for "
        "all of its cells; keep that or take another sweep.name",
        value="null" if asked is None else asked,
        earlier="null" if earlier is None else earlier,
        dataset=dataset,
    )


def check_fixed(sweep_dir: Path, config: JobConfig) -> None:
    """Refuse a margin, contrasts or a primary metric other than the manifest's, because results may be known."""
    earlier = _manifest(sweep_dir)
    if earlier is None:
        return
    for key, before, now in (
        ("statistics.delta", earlier.delta, config.statistics.delta),
        ("statistics.contrasts", earlier.contrasts, config.statistics.contrasts),
        ("report.primary", earlier.primary, config.report.primary),
    ):
        if before != now:
            raise Refusal(
                "{key}={value}, but this sweep was planned with {earlier}, before its results were "
                "known; keep that or take another sweep.name",
                key=key,
                value=now,
                earlier=before,
            )
