"""One scheduler: plan the cells of a sweep, keep a pool of single-threaded workers on them, report (RULINGS 19, 20)."""

from __future__ import annotations

import multiprocessing
import os
import shlex
import signal
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.context import SpawnProcess
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

from mmbench import fingerprint, metrics, paths, records, sealed, tracking
from mmbench.cli import worker
from mmbench.cli.compose import Composed
from mmbench.cli.jobs import Job
from mmbench.cli.progress import Progress
from mmbench.extension import Extension
from mmbench.leases import make_leases
from mmbench.records import CellStore
from mmbench.report import read_contrast, write_report
from mmbench.report.mirror import mirror
from mmbench.study import Cell, CellTask

RESUME = ("auto", "force", "never")
#: Workers that die are replaced, but not for ever.
MAX_REPLACEMENTS = 20


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


@dataclass(frozen=True)
class Sweep:
    """A planned sweep.

    Args:
        folder: where it lives.
        settings: configuration that all its jobs share.
        jobs: what was asked for.
        planned: its cells.
        overrides: the command line.
    """

    folder: Path
    settings: Mapping[str, Any]
    jobs: Sequence[Job]
    planned: Sequence[Planned]
    overrides: Sequence[str]

    @staticmethod
    def plan(composed: Sequence[Composed], overrides: Sequence[str]) -> Sweep:
        """Read the data, check everything a user has to mend, and find out which cells are finished.

        Args:
            composed: one configuration per job.
            overrides: the command line, for the manifest.

        Raises:
            ValueError: for anything a user has to mend before the first cell runs.
        """
        settings = composed[0].config
        _check_settings(settings)
        folder = Path(settings["paths"]["multirun"]) / paths.slug([str(settings["sweep"]["name"])])
        jobs = [Job(c, folder) for c in composed]
        print(f"sweep {settings['sweep']['name']} -> {folder}", flush=True)
        return Sweep(folder, settings, jobs, _plan(jobs, settings["study"]["resume"]), overrides)

    @property
    def waiting(self) -> list[Job]:
        """Cells that are not finished."""
        return [plan.job for plan in self.planned if not plan.finished]

    def open(self) -> None:
        """Write the manifest and how the sweep is tracked, and claim the folders of the cells that will run."""
        _check_fixed(self.folder, self.settings["statistics"])
        _open(self.planned, self.settings["study"]["resume"])
        _write_manifest(self.folder, self.jobs, self.planned, self.overrides)
        tracking.remember(self.settings["tracking"], self.folder)

    def run_pool(self) -> int:
        """Work on the cells that wait with a pool of this machine; returns its exit code."""
        planned = {plan.store.key: plan for plan in self.planned}
        progress = Progress(
            self.folder,
            {key: plan.task.cell for key, plan in planned.items()},
            trainings=lambda key: planned[key].trainings,
            stands=lambda key, training: planned[key].store.training_file(*training, "json").exists(),
        )
        progress.start(finished=[plan.store.key for plan in self.planned if plan.finished])
        return Pool(self.waiting, self.settings["sweep"]["workers"], progress).run() if self.waiting else 0

    def report(self, code: int) -> int:
        """Write the report, mirror it, tell what failed; returns the exit code of the sweep."""
        table = write_report(self.folder)
        mirror(table)
        print(table.text)
        for plan in self.planned:
            if reason := plan.failure():
                print(f"failed: {plan.task.cell}: {reason}", file=sys.stderr)
                code = code or 1
        if code not in (0, 1):
            command = _command(self.overrides, str(self.settings["sweep"]["name"]))
            print(f"not finished; this goes on from the last finished training: {command}", file=sys.stderr)
        return code


class Placement(Protocol):
    """Runs the waiting cells of an opened sweep somewhere; a dry run only says where."""

    @property
    def dry_run(self) -> bool:
        """Whether nothing is to be started or written."""

    def __call__(self, sweep: Sweep) -> int:
        """Run and return the worst exit code."""


class LocalPool:
    """A pool on this machine."""

    dry_run = False

    def __call__(self, sweep: Sweep) -> int:
        """Run the pool."""
        return sweep.run_pool()


def run_sweep(composed: Sequence[Composed], overrides: Sequence[str], place: Placement | None = None) -> int:
    """Plan, run and report a sweep.

    Args:
        composed: one configuration per job.
        overrides: the command line.
        place: where the waiting cells run; by default on a pool of this machine.

    Returns:
        0, 1 if a cell failed, or the code that stopped it.

    Raises:
        ValueError: for anything a user has to mend before the first cell runs.
    """
    place = place or LocalPool()
    sweep = Sweep.plan(composed, overrides)
    if place.dry_run:
        return place(sweep)
    tracking.make_tracker(sweep.settings["tracking"], sweep.folder)  # a mistake there is told now
    study = sweep.settings["study"]
    make_leases(study["storage"], sweep.folder, study["lease_timeout"])  # and a server that does not answer
    sweep.open()
    return sweep.report(place(sweep))


def join_sweep(composed: Sequence[Composed], overrides: Sequence[str]) -> int:
    """Add a pool of this machine to a sweep that somebody else has planned and will report."""
    return Sweep.plan(composed, overrides).run_pool()


def _command(overrides: Sequence[str], name: str) -> str:
    """The command that goes on with this very sweep, whether or not its name was typed."""
    named = any(word.startswith("sweep.name=") for word in overrides)
    words = ["-m", *overrides, *([] if named else [f"sweep.name='{name}'"])]
    return f"python -m mmbench {shlex.join(words)}"


def _open(planned: Sequence[Planned], resume: str) -> None:
    """Claim the folders of unfinished cells; records of another key, or all with ``resume=force``, are moved aside.

    Raises:
        ValueError: with ``resume=never`` if a cell has records already.
    """
    for plan in planned:
        if resume == "never" and (plan.store.folder / "cell.json").exists():
            raise ValueError(
                f"study.resume=never, but {plan.store.folder} has records; use auto, force or another name"
            )
        if plan.finished:
            continue
        moved = plan.store.open(plan.job.description(plan.task), afresh=resume == "force")
        if moved:
            why = "set aside" if resume == "force" else "belong to other data or settings"
            print(f"{plan.task.cell}: its records {why}; moved to {moved}, nothing reused", flush=True)


def _check_settings(settings: Mapping[str, Any]) -> None:
    """Refuse what belongs to the sweep as a whole and is out of range."""
    workers, top_k = settings["sweep"]["workers"], settings["export"]["top_k"]
    resume = settings["study"]["resume"]
    if resume not in RESUME:
        raise ValueError(f"study.resume={resume} is unknown; it is one of {', '.join(RESUME)}")
    if workers is not None and (not isinstance(workers, int) or workers < 1):
        raise ValueError(f"sweep.workers={workers} must be a whole number of at least 1, or null for one per core")
    if not isinstance(top_k, int) or not 0 <= top_k <= sealed.LIST_LENGTH:
        raise ValueError(f"export.top_k={top_k} must be a whole number from 0 to {sealed.LIST_LENGTH}")
    for name in settings["report"]["metrics"]:
        metrics.check_name(name)
    delta = settings["statistics"]["delta"]
    if isinstance(delta, bool) or not isinstance(delta, int | float) or not delta > 0:
        raise ValueError(f"statistics.delta={delta} must be a positive number, 0.02 for 2 %")
    for name in settings["statistics"]["contrasts"]:
        read_contrast(str(name))


def _plan(jobs: Sequence[Job], resume: str) -> list[Planned]:
    """Read each dataset once, say what was read, and find out which cells are finished."""
    said: set[str] = set()
    by_cell: dict[Cell, Planned] = {}
    for job in jobs:
        dataset = job.dataset()
        if job.cell.dataset not in said:
            said.add(job.cell.dataset)
            print("\n".join(dataset.summary()), flush=True)
        task = job.task()
        task.slots()  # a default outside its range is told before anything runs
        task.recipe(task.default)
        store = job.store(task)
        twin = by_cell.get(job.cell)
        if twin is None:
            finished = resume != "force" and store.is_current() and sealed.is_scored(store, dataset.split)
            by_cell[job.cell] = Planned(job, task, store, finished)
        elif twin.store.key != store.key:
            raise ValueError(
                f"two jobs of this sweep are the same cell {job.cell} with different settings; sweep over dataset, "
                "model, modality and dataset.split_seed, and let the search tune the rest"
            )
    return list(by_cell.values())


def _write_manifest(sweep_dir: Path, jobs: Sequence[Job], planned: Sequence[Planned], overrides: Sequence[str]) -> None:
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


def _check_fixed(sweep_dir: Path, statistics: Mapping[str, Any]) -> None:
    """Refuse another margin or other contrasts than those the sweep was planned with: its results may be known."""
    file = paths.manifest_file(sweep_dir)
    earlier = records.read_json(file) if file.exists() else {}
    for name in ("delta", "contrasts"):
        if name in earlier and earlier[name] != statistics[name]:
            raise ValueError(
                f"statistics.{name}={statistics[name]}, but this sweep was planned with {earlier[name]}, before its "
                "results were known; keep that or take another sweep.name"
            )


class Pool:
    """Worker processes on this machine, one thread each.

    Args:
        jobs: unfinished cells.
        workers: number of processes, None for one per core.
        progress: told about the ledger while the workers run.
    """

    def __init__(self, jobs: Sequence[Job], workers: int | None, progress: Progress) -> None:
        self.jobs = jobs
        self.size = workers or len(os.sched_getaffinity(0))
        self.progress = progress
        self.processes: list[SpawnProcess] = []
        self.stopped = 0

    def run(self) -> int:
        """Run until the workers have nothing left to start.

        Returns:
            0, the exit code of a worker that could not go on, or 128 plus the signal that stopped the sweep.
        """
        if threading.current_thread() is threading.main_thread():  # a Ray task is not; Ray stops it by itself
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, self._stop)
        self.processes = [self._start() for _ in range(self.size)]
        replacements = 0
        while self.processes:
            time.sleep(self.progress.interval if all(p.is_alive() for p in self.processes) else 0.0)
            self.progress.update()
            for process in [p for p in self.processes if not p.is_alive()]:
                self.processes.remove(process)
                if process.exitcode is not None and process.exitcode < 0 and not self.stopped:
                    replacements += 1
                    if replacements > MAX_REPLACEMENTS:
                        return 3
                    self.processes.append(self._start())
                elif process.exitcode and not self.stopped:
                    self.stopped = process.exitcode  # it has said why; the others would meet the same
                    self._terminate()
        self.progress.update()
        return self.stopped

    def _start(self) -> SpawnProcess:
        context = multiprocessing.get_context("spawn")  # forking a process that holds torch threads can hang
        process = context.Process(target=worker.start, args=(self.jobs, os.getpid()))
        process.start()
        return process

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self.stopped = 128 + number
        self._terminate()

    def _terminate(self) -> None:
        for process in self.processes:
            process.terminate()
