"""One scheduler: a pool of single-threaded worker processes over the cells of a sweep (RULINGS 19, 20)."""

from __future__ import annotations

import multiprocessing
import os
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from mmbench import fingerprint, metrics, paths, records, sealed, tracking
from mmbench.cli.compose import Composed
from mmbench.cli.jobs import Job
from mmbench.cli.progress import Progress
from mmbench.data.external import recommendations_frame
from mmbench.records import CellStore
from mmbench.report import write_report
from mmbench.study import Cell, CellTask, tune


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
        """Trials and final runs."""
        return len(self.task.slots()) + self.task.budget.seeds


def run_sweep(composed: Sequence[Composed], overrides: Sequence[str]) -> int:
    """Plan, run and report a sweep.

    Args:
        composed: one configuration per job.
        overrides: the command line, for the manifest.

    Returns:
        Exit code: 1 if a cell failed, else 0.

    Raises:
        ValueError: for anything a user has to mend before the first cell runs.
    """
    settings = composed[0].config
    _check_settings(settings)
    sweep_dir = Path(settings["paths"]["multirun"]) / paths.slug([str(settings["sweep"]["name"])])
    jobs = [Job(c, sweep_dir) for c in composed]
    print(f"sweep {settings['sweep']['name']} -> {sweep_dir}", flush=True)
    planned = _plan(jobs)
    _write_manifest(sweep_dir, jobs, planned, overrides)
    waiting = [plan for plan in planned if not plan.finished]
    tracker = tracking.make_tracker(settings["tracking"], sweep_dir)
    progress = Progress(sweep_dir, {plan.store.key: (plan.task.cell, plan.trainings) for plan in planned})
    progress.start(finished=[plan.store.key for plan in planned if plan.finished])
    failures: dict[Cell, str] = {}
    for cell, failure in _run(waiting, settings["sweep"]["workers"], progress):
        if failure:
            failures[cell] = failure
    progress.stop()
    table = write_report(sweep_dir)
    tracker.gaps(table)
    print(table.text)
    for cell, reason in failures.items():
        print(f"failed: {cell}: {reason}", file=sys.stderr)
    return 1 if failures else 0


def _check_settings(settings: Mapping[str, Any]) -> None:
    """Refuse what belongs to the sweep as a whole and is out of range."""
    workers, top_k = settings["sweep"]["workers"], settings["export"]["top_k"]
    if workers is not None and (not isinstance(workers, int) or workers < 1):
        raise ValueError(f"sweep.workers={workers} must be a whole number of at least 1, or null for one per core")
    if not isinstance(top_k, int) or not 0 <= top_k <= sealed.LIST_LENGTH:
        raise ValueError(f"export.top_k={top_k} must be a whole number from 0 to {sealed.LIST_LENGTH}")
    for name in settings["report"]["metrics"]:
        metrics.check_name(name)


def _plan(jobs: Sequence[Job]) -> list[Planned]:
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
            finished = store.is_current() and sealed.is_scored(store, dataset.split)
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
    known = records.read_json(file)["cells"] if file.exists() else []
    cells = {tuple(c[name] for name in Cell._fields): c for c in known}
    for plan in planned:
        folder = str(plan.store.folder.relative_to(sweep_dir))
        cells[tuple(plan.task.cell)] = {
            **plan.task.cell._asdict(),
            "key": plan.store.key,
            "folder": folder,
            "trainings": plan.trainings,
        }
    asked = sorted({job.asked_modality for job in jobs} | {str(m) for c in known for m in c.get("asked", [])})
    for plan in planned:
        cells[tuple(plan.task.cell)]["asked"] = asked
    config = jobs[0].config
    shared = {name: config[name] for name in ("budget", "training", "optimizer", "statistics")}
    manifest: dict[str, Any] = {
        "kind": "manifest",
        "name": config["sweep"]["name"],
        "command": list(overrides),
        "budget": config["budget"],
        "delta": config["statistics"]["delta"],
        "config_hash": fingerprint.of_json(shared),
        "metrics": config["report"]["metrics"],
        "modalities": asked,
        "cells": [cells[key] for key in sorted(cells)],
    }
    records.write_json(file, manifest)


def _run(waiting: Sequence[Planned], workers: int | None, progress: Progress) -> Iterator[tuple[Cell, str | None]]:
    """Run the waiting cells, yielding each with the reason of its failure or None."""
    if not waiting:
        return
    n_workers = min(len(waiting), workers or len(os.sched_getaffinity(0)))
    context = multiprocessing.get_context("spawn")  # forking a process that holds torch threads can hang
    with ProcessPoolExecutor(n_workers, context, _start_worker) as pool:
        futures: dict[Future[str | None], Cell] = {pool.submit(run_cell, p.job): p.task.cell for p in waiting}
        try:
            while futures:
                done, _ = wait(futures, timeout=progress.interval, return_when=FIRST_COMPLETED)
                progress.update()
                for future in done:
                    yield futures.pop(future), _outcome(future)
        except KeyboardInterrupt:
            _end(pool)
            raise


def _outcome(future: Future[str | None]) -> str | None:
    try:
        return future.result()
    except BrokenProcessPool:
        return "a worker process died (out of memory?); the same command goes on from the last finished training"


def _end(pool: ProcessPoolExecutor) -> None:
    """Stop the workers at once; a training they were in is run again by the next start."""
    for process in list(pool._processes.values()):
        process.terminate()
    pool.shutdown(wait=False, cancel_futures=True)


def _start_worker() -> None:
    import signal

    import torch

    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle


def run_cell(job: Job) -> str | None:
    """Tune, seal and mirror one cell in this process; returns the reason where it failed."""
    task = job.task()
    store = job.store(task)
    moved = store.open(job.description(task))
    if moved:
        print(
            f"{task.cell}: its records belong to other data or settings; moved to {moved}, nothing reused", flush=True
        )
    try:
        tune(task, store)
        sealed.score_test(task, store, job.dataset().split)
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        store.fail(reason, traceback.format_exc())
        return reason
    _export(job, store)
    tracking.make_tracker(job.config["tracking"], job.sweep_dir).cell(store.folder)
    return None


def _export(job: Job, store: CellStore) -> None:
    """Write the lists of the first final run with raw ids where ``export.top_k`` asks for them."""
    top_k = job.config["export"]["top_k"]
    if top_k:
        dataset = job.dataset()
        lists = pd.read_parquet(store.training_file("final", 1, "lists.parquet"))
        frame = recommendations_frame(lists, top_k, dataset.user_ids, dataset.item_ids)
        records.write_text(store.folder / "recommendations.csv", frame.to_csv(index=False, lineterminator="\n"))
