"""Plans the cells of a sweep and writes the manifest that fixes them before the first one runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mmbench import fingerprint, paths
from mmbench.messages import Refusal, Translator
from mmbench.scheduling.configuration import StatisticsConfig
from mmbench.scheduling.job import Job
from mmbench.sealing.score_test import is_scored
from mmbench.store import records
from mmbench.store.records import CellStore
from mmbench.store.schema import CellName, Manifest, PlannedCell
from mmbench.training.loop import check_devices
from mmbench.tuning.cell import CellTask


@dataclass(frozen=True)
class Planned:
    """A cell of the sweep after planning.

    Args:
        job: how to run it.
        task: input of tuning.
        store: records of the cell.
        finished: whether its records are complete and current.
    """

    job: Job
    task: CellTask
    store: CellStore
    finished: bool

    @property
    def trainings(self) -> int:
        """Number of trials, proposals and final runs."""
        return len(self.task.slots()) + self.task.budget.tpe + self.task.budget.seeds

    def failure(self) -> str | None:
        """Why the cell failed, or None."""
        failure = self.store.failure()
        return None if failure is None else failure.reason


def plan_cells(jobs: Sequence[Job], resume: str, translator: Translator) -> list[Planned]:
    """Read each dataset once, print its summary, and find out which cells are finished."""
    described: set[str] = set()
    by_cell: dict[CellName, Planned] = {}
    for job in jobs:
        dataset = job.dataset()
        if job.cell.dataset not in described:
            described.add(job.cell.dataset)
            print("\n".join(map(translator, dataset.summary())), flush=True)
        task = job.task()
        task.slots()  # refuses a default outside its range before anything runs
        check_devices(job.model_class, task.recipe(task.default)[1])
        store = job.store(task)
        twin = by_cell.get(job.cell)
        if twin is None:
            finished = resume != "force" and store.is_current() and is_scored(store, dataset.split)
            by_cell[job.cell] = Planned(job, task, store, finished)
        elif twin.store.key != store.key:
            raise Refusal(
                "two jobs of this sweep are the same cell {cell} with different settings; sweep over dataset, model, "
                "modality and dataset.split_seed, and let the search tune the rest",
                cell=job.cell,
            )
    return list(by_cell.values())


def write_manifest(sweep_dir: Path, jobs: Sequence[Job], planned: Sequence[Planned], overrides: Sequence[str]) -> None:
    """Write the manifest before the cells run; it keeps the cells that earlier commands planned for this sweep."""
    file = paths.manifest_file(sweep_dir)
    known = records.read(file, Manifest).cells if file.exists() else []
    asked = sorted({job.asked_modality for job in jobs} | {modality for cell in known for modality in cell.asked})
    cells = {cell.name: cell for cell in known}
    for plan in planned:
        cells[plan.task.cell] = PlannedCell(
            **plan.task.cell._asdict(),
            key=plan.store.key,
            folder=str(plan.store.folder.relative_to(sweep_dir)),
            trainings=plan.trainings,
            tiers=list(plan.job.config.plain["tiers"]),
            asked=asked,
        )
    config = jobs[0].config
    shared = {name: config.plain[name] for name in ("budget", "training", "optimizer", "statistics")}
    manifest = Manifest(
        name=config.sweep.name,
        command=list(overrides),
        budget=dict(config.plain["budget"]),
        delta=config.statistics.delta,
        contrasts=list(config.statistics.contrasts),
        config_hash=fingerprint.of_json(shared),
        metrics=list(config.report.metrics),
        modalities=asked,
        cells=[cells[name] for name in sorted(cells)],
    )
    records.write(file, manifest)


def check_fixed(sweep_dir: Path, statistics: StatisticsConfig) -> None:
    """Refuse a margin or contrasts that differ from the manifest, because results may already be known."""
    file = paths.manifest_file(sweep_dir)
    if not file.exists():
        return
    earlier = records.read(file, Manifest)
    for name, before, now in (
        ("delta", earlier.delta, statistics.delta),
        ("contrasts", earlier.contrasts, statistics.contrasts),
    ):
        if before != now:
            raise Refusal(
                "statistics.{name}={value}, but this sweep was planned with {earlier}, before its results were "
                "known; keep that or take another sweep.name",
                name=name,
                value=now,
                earlier=before,
            )
