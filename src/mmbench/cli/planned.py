"""What a sweep is going to do: its cells, and the manifest that fixes them before the first one runs (RULINGS 19)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmbench import fingerprint, metrics, paths, records, sealed
from mmbench.cells import Cell, CellTask
from mmbench.cli.jobs import Job
from mmbench.contrast import read_contrast
from mmbench.extension import Extension
from mmbench.loop import check_devices
from mmbench.messages import Refusal, Translator
from mmbench.records import CellStore

RESUME = ("auto", "force", "never")


@dataclass(frozen=True)
class Planned:
    """A cell of the sweep after planning.

    Args:
        job: how to run it.
        task: what tuning is given.
        store: where it lives.
        finished: whether its records are complete and current.
    """

    job: Job
    task: CellTask
    store: CellStore
    finished: bool

    @property
    def trainings(self) -> int:
        """Trials granted so far and final runs."""
        trials = Extension([(self.task, self.store)], (), delta=0.0).grant().trials
        return len(self.task.slots(trials)) + self.task.budget.tpe + self.task.budget.seeds

    @property
    def most_trainings(self) -> int:
        """Trainings with every extension that the budget allows."""
        budget = self.task.budget
        return len(self.task.slots(budget.most_trials)) + budget.tpe + budget.seeds

    def failure(self) -> str | None:
        """Why the cell failed, or None."""
        file = self.store.folder / "failure.json"
        return str(records.read_json(file)["reason"]) if file.exists() else None


def check_settings(settings: Mapping[str, Any]) -> None:
    """Refuse what belongs to the sweep as a whole and is out of range."""
    workers, top_k = settings["sweep"]["workers"], settings["export"]["top_k"]
    resume = settings["study"]["resume"]
    if resume not in RESUME:
        raise Refusal("study.resume={resume} is unknown; it is one of {known}", resume=resume, known=", ".join(RESUME))
    if workers is not None and (not isinstance(workers, int) or workers < 1):
        raise Refusal(
            "sweep.workers={workers} must be a whole number of at least 1, or null for one per core", workers=workers
        )
    if not isinstance(top_k, int) or not 0 <= top_k <= sealed.LIST_LENGTH:
        raise Refusal(
            "export.top_k={top_k} must be a whole number from 0 to {most}", top_k=top_k, most=sealed.LIST_LENGTH
        )
    for name in settings["report"]["metrics"]:
        metrics.check_name(name)
    delta = settings["statistics"]["delta"]
    if isinstance(delta, bool) or not isinstance(delta, int | float) or not delta > 0:
        raise Refusal("statistics.delta={delta} must be a positive number, 0.02 for 2 %", delta=delta)
    for name in settings["statistics"]["contrasts"]:
        read_contrast(str(name))


def plan_cells(jobs: Sequence[Job], resume: str, translator: Translator) -> list[Planned]:
    """Read each dataset once, say what was read, and find out which cells are finished."""
    said: set[str] = set()
    by_cell: dict[Cell, Planned] = {}
    for job in jobs:
        dataset = job.dataset()
        if job.cell.dataset not in said:
            said.add(job.cell.dataset)
            print("\n".join(map(translator, dataset.summary())), flush=True)
        task = job.task()
        task.slots()  # a default outside its range is told before anything runs
        check_devices(job.model_class, task.recipe(task.default)[1])
        store = job.store(task)
        twin = by_cell.get(job.cell)
        if twin is None:
            finished = resume != "force" and store.is_current() and sealed.is_scored(store, dataset.split)
            by_cell[job.cell] = Planned(job, task, store, finished)
        elif twin.store.key != store.key:
            raise Refusal(
                "two jobs of this sweep are the same cell {cell} with different settings; sweep over dataset, model, "
                "modality and dataset.split_seed, and let the search tune the rest",
                cell=job.cell,
            )
    return list(by_cell.values())


def write_manifest(sweep_dir: Path, jobs: Sequence[Job], planned: Sequence[Planned], overrides: Sequence[str]) -> None:
    """Write what is planned before it runs; cells that an earlier command planned under this name stay listed."""
    file = paths.manifest_file(sweep_dir)
    config = jobs[0].config
    earlier = records.read_json(file) if file.exists() else {}
    known = earlier.get("cells", [])
    cells = {tuple(c[name] for name in Cell._fields): c for c in known}
    for plan in planned:
        folder = str(plan.store.folder.relative_to(sweep_dir))
        cells[tuple(plan.task.cell)] = {
            **plan.task.cell._asdict(),
            "key": plan.store.key,
            "folder": folder,
            "trainings": plan.trainings,
            "tiers": plan.job.config["tiers"],
        }
    asked = sorted({job.asked_modality for job in jobs} | {str(m) for c in known for m in c.get("asked", [])})
    for plan in planned:
        cells[tuple(plan.task.cell)]["asked"] = asked
    shared = {name: config[name] for name in ("budget", "training", "optimizer", "statistics")}
    manifest: dict[str, Any] = {
        "kind": "manifest",
        "name": config["sweep"]["name"],
        "command": list(overrides),
        "budget": config["budget"],
        "delta": config["statistics"]["delta"],
        "contrasts": list(config["statistics"]["contrasts"]),
        "config_hash": fingerprint.of_json(shared),
        "metrics": config["report"]["metrics"],
        "modalities": asked,
        "cells": [cells[key] for key in sorted(cells)],
    }
    records.write_json(file, manifest)


def check_fixed(sweep_dir: Path, statistics: Mapping[str, Any]) -> None:
    """Refuse another margin or other contrasts than those the sweep was planned with: its results may be known."""
    file = paths.manifest_file(sweep_dir)
    earlier = records.read_json(file) if file.exists() else {}
    for name in ("delta", "contrasts"):
        if name in earlier and earlier[name] != statistics[name]:
            raise Refusal(
                "statistics.{name}={value}, but this sweep was planned with {earlier}, before its results were "
                "known; keep that or take another sweep.name",
                name=name,
                value=statistics[name],
                earlier=earlier[name],
            )
