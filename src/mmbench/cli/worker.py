"""A worker: takes one training after another from the cells of a sweep, until nothing is left to start."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Sequence
from types import FrameType

import pandas as pd
import torch

from mmbench import allocation, records, sealed, tracking
from mmbench.cells import CellFailed, CellTask, Unit
from mmbench.cli.jobs import Job
from mmbench.contrast import read_contrast
from mmbench.data.external import recommendations_frame
from mmbench.extension import Extension
from mmbench.leases import MAX_DEATHS, Leases, holding, make_leases
from mmbench.records import CellStore
from mmbench.study import give_up, run_unit, waiting

#: Seconds between two looks for work while other workers hold what is left.
POLL = 0.5
SEAL = Unit("seal", 0)
EXIT_STOPPED = 143


class Stopped(BaseException):
    """The worker was told to stop; no ``except Exception`` may hold it up."""


def start(jobs: Sequence[Job], parent: int | None) -> None:
    """Entry of a worker process.

    SIGTERM hands the training back and exits within seconds; without its parent a worker ends by itself.

    Args:
        jobs: unfinished cells of the sweep.
        parent: process to outlive not, or None.
    """
    torch.set_num_threads(1)
    allocation.keep_freed_memory()
    warnings.filterwarnings("ignore", module="pytorch_lightning|lightning_fabric")
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle; it sends SIGTERM
    signal.signal(signal.SIGTERM, _stop)
    if parent is not None:
        threading.Thread(target=_end_without, args=(parent,), daemon=True).start()
    try:
        work(jobs)
    except Stopped:
        raise SystemExit(EXIT_STOPPED) from None
    except OSError as error:
        print(f"error: {error}; nothing finished is lost", file=sys.stderr)
        raise SystemExit(os.EX_IOERR) from None


def _stop(number: int, frame: FrameType | None) -> None:
    raise Stopped


def _end_without(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1.0)
    os.kill(os.getpid(), signal.SIGTERM)


def work(jobs: Sequence[Job]) -> None:
    """Run trainings until every cell is sealed or has failed; waits for what other workers hold.

    Cells are taken in order, so that the first ones are complete early; all workers may be in one cell.
    """
    settings = jobs[0].config["study"]
    leases = make_leases(settings["storage"], jobs[0].sweep_dir, settings["lease_timeout"])
    cells = [_Cell(job) for job in jobs]
    for cell in cells:
        cell.tuned_with([other for other in cells if other.task.cell[:2] == cell.task.cell[:2]])
    while open_cells := [cell for cell in cells if not cell.is_over()]:
        if not any(_run_one(cell, leases) for cell in open_cells):
            time.sleep(POLL)


class _Cell:
    """A cell as a worker sees it; its task is made when first needed and kept."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.task: CellTask = job.task()
        self.store: CellStore = job.store(self.task)
        self.extension = self._extension([self])

    def tuned_with(self, members: Sequence[_Cell]) -> None:
        """Name the conditions of the same dataset and model, this one included: they get the same trials."""
        self.extension = self._extension(members)

    def _extension(self, members: Sequence[_Cell]) -> Extension:
        statistics = self.job.config["statistics"]
        contrasts = [read_contrast(name) for name in statistics["contrasts"]]
        return Extension([(cell.task, cell.store) for cell in members], contrasts, statistics["delta"])

    def is_over(self) -> bool:
        """Whether the cell is sealed or has failed."""
        return (self.store.folder / "failure.json").exists() or sealed.is_scored(self.store, self.job.dataset().split)

    def units(self) -> list[Unit]:
        """What may start now; a cell that cannot go on leaves its failure record."""
        try:
            grant = self.extension.grant()
            units = waiting(self.task, self.store, grant.trials, settled=grant.settled)
            if not units and not grant.settled:
                self.extension.decide()
                return []  # more trials, or the choice, with the next look
            return units or [SEAL]
        except CellFailed as error:
            self.store.fail(str(error), traceback.format_exc())
            return []


def _run_one(cell: _Cell, leases: Leases) -> bool:
    """Run the first unit of a cell that nobody else holds; whether there was one."""
    for unit in cell.units():
        name = f"{cell.store.key[:20]}.{unit.stage}-{unit.number}"
        if not leases.claim(name):
            continue
        with holding(leases, name):
            # Between the look at the ledger and the claim another worker may have finished it.
            if unit in cell.units():
                _run(cell, unit, leases.deaths(name))
        return True
    return False


def _run(cell: _Cell, unit: Unit, deaths: int) -> None:
    try:
        if unit == SEAL:
            seal(cell.job, cell.task, cell.store)
        elif deaths >= MAX_DEATHS:
            give_up(cell.task, cell.store, unit, f"its worker died {deaths} times (out of memory?)")
        else:
            run_unit(cell.task, cell.store, unit)
    except OSError:
        raise  # a full disk or a lost share is not the cell's fault: the training stays open
    except Exception as error:
        cell.store.fail(f"{type(error).__name__}: {error}", traceback.format_exc())


def seal(job: Job, task: CellTask, store: CellStore) -> None:
    """Open the test split for a cell, write what was asked for besides, and mirror the cell."""
    sealed.score_test(task, store, job.dataset().split)
    top_k = job.config["export"]["top_k"]
    if top_k:
        dataset = job.dataset()
        lists = pd.read_parquet(store.training_file("final", 1, "lists.parquet"))
        frame = recommendations_frame(lists, top_k, dataset.user_ids, dataset.item_ids)
        records.write_text(store.folder / "recommendations.csv", frame.to_csv(index=False, lineterminator="\n"))
    tracking.make_tracker(job.config["tracking"], job.sweep_dir).cell(store.folder)
