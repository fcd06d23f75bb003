"""Writes the manifest of a sweep, which fixes its cells before the first one runs, and reads it again."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import msgspec
import numpy as np

from mmbench import fingerprint, paths
from mmbench.data.dataset import Dataset
from mmbench.scheduling.configuration import recorded_training
from mmbench.scheduling.job import Job
from mmbench.scheduling.planning import Planned
from mmbench.store import files, ledger, records
from mmbench.store.schema import DataPrint, Manifest, PlannedCell, Revision, Sharing, fixed, hashed


def write_manifest(sweep_dir: Path, jobs: Sequence[Job], planned: Sequence[Planned], overrides: Sequence[str]) -> str:
    """Write the manifest before the cells run; it keeps what other commands planned for this sweep.

    Returns:
        Hash of the plan.
    """
    with files.locked(paths.lock_file(sweep_dir, "manifest")):
        manifest = hashed(_merged(read_manifest(sweep_dir), sweep_dir, jobs, planned, overrides))
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
    manifest = read_manifest(sweep_dir)
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


def read_manifest(sweep_dir: Path) -> Manifest | None:
    """What earlier commands planned, if there were any."""
    file = paths.manifest_file(sweep_dir)
    return records.read(file, Manifest) if file.exists() else None
