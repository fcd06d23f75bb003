"""A worker: takes one training after another from the cells of a sweep, until nothing is left to start."""

from __future__ import annotations

import functools
import os
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import torch

from mmbench import paths
from mmbench.data.readers.recommendations import recommendations_frame
from mmbench.data.splits import Split
from mmbench.scheduling.job import Job
from mmbench.sealing.score_test import is_scored, score_test
from mmbench.store import files, mending, trackers
from mmbench.store.leases import MAX_DEATHS, Leases, holding, make_leases
from mmbench.store.records import CellStore
from mmbench.store.schema import Unit
from mmbench.training import allocation
from mmbench.tuning.cell import CellFailed, CellTask
from mmbench.tuning.study import choose_again, give_up, is_outdated, run_unit, waiting

#: Seconds between two searches for work while other workers hold all remaining trainings.
POLL = 0.5
EXIT_STOPPED = 143


class Stopped(BaseException):
    """Raised when the worker receives SIGTERM; a ``BaseException``, so that no ``except Exception`` catches it."""


def start(jobs: Sequence[Job], parent: int | None) -> None:
    """Entry of a worker process.

    On SIGTERM the worker releases its training and exits within seconds; it also exits when its parent ends.

    Args:
        jobs: unfinished cells of the sweep.
        parent: the process whose end ends this worker too, or None.
    """
    torch.set_num_threads(1)
    allocation.keep_freed_memory()
    warnings.filterwarnings("ignore", module="pytorch_lightning|lightning_fabric")
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle; it sends SIGTERM
    try:
        signal.signal(signal.SIGTERM, _stop)
        if parent is not None:
            threading.Thread(target=_end_without, args=(parent,), daemon=True).start()
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
    """Run trainings until every cell is sealed or has failed, and wait for those that other workers hold.

    Cells are taken in order, so the first ones are complete early; several workers may work on one cell.
    """
    study = jobs[0].config.study
    cells = []
    for job in jobs:
        task = job.task()
        export, mirror = functools.partial(_export, job), functools.partial(_mirror, job)
        cells.append(OpenCell(task, job.store(task), job.dataset().split, export, mirror))
    work_on(cells, make_leases(study.storage, jobs[0].sweep_dir, study.lease_timeout))


def _export(job: Job, store: CellStore) -> None:
    """Write the requested exports of a cell."""
    top_k = job.config.export.top_k
    if top_k:
        dataset = job.dataset()
        lists = files.read_table(paths.final_file(store.folder, 1, paths.LISTS))
        frame = recommendations_frame(lists, top_k, dataset.user_ids, dataset.item_ids)
        text = frame.to_csv(index=False, lineterminator="\n")
        files.write_text(paths.recommendations_file(store.folder), text)


def _mirror(job: Job, store: CellStore) -> None:
    """Show a sealed cell to the tracker."""
    trackers.make_tracker(job.config.plain["tracking"], job.sweep_dir).cell(store.folder)


@dataclass(frozen=True)
class OpenCell:
    """A cell that a worker may work on.

    Args:
        task: input of tuning.
        store: its records.
        split: the split; its test part is opened once the choice is written.
        export: called before the cell is sealed, so that a kill cannot leave a sealed cell without its exports.
        mirror: called once the cell is sealed.
    """

    task: CellTask
    store: CellStore
    split: Split
    export: Callable[[CellStore], None] = lambda store: None
    mirror: Callable[[CellStore], None] = lambda store: None

    def planned(self) -> CellTask:
        """The task with the trials and final runs planned by now, which a later command may have raised."""
        return self.task.raised(self.store.effort())

    def is_over(self) -> bool:
        """Whether the cell is sealed or has failed."""
        return self.store.failure() is not None or is_scored(self.store, self.split)


def work_on(cells: Sequence[OpenCell], leases: Leases) -> None:
    """Run trainings of cells until every cell is sealed or has failed.

    Args:
        cells: the cells, in the order in which they are worked on.
        leases: keep workers from doing the same training at the same time.
    """
    mended: set[Path] = set()
    while cells:
        try:
            cells = [cell for cell in cells if not cell.is_over()]
            if cells and not any(_run_one(cell, leases) for cell in cells):
                time.sleep(POLL)
        except files.Damaged as error:
            if error.path in mended:
                raise
            mended.add(error.path)
            for line in mending.mend_after(cells[0].store.sweep_dir, error):
                print(line, flush=True)


def _steps(cell: OpenCell) -> list[Unit | None]:
    """Units that may start now, or None for what follows them; a cell that cannot continue records its failure."""
    try:
        return [*waiting(cell.planned(), cell.store)] or [None]
    except CellFailed as error:
        cell.store.fail(str(error), traceback.format_exc())
        return []


def _run_one(cell: OpenCell, leases: Leases) -> bool:
    """Run the first step of a cell that no other worker holds; return whether one was run."""
    for step in _steps(cell):
        place = "seal-0" if step is None else f"{step.stage}-{step.number}"
        name = f"{cell.store.key[:20]}.{place}"
        if not leases.claim(name):
            continue
        with holding(leases, name):
            # Another worker may have finished it between the read of the ledger and the claim.
            if step in _steps(cell):
                _run(cell, step, leases.deaths(name))
        return True
    return False


def _run(cell: OpenCell, step: Unit | None, deaths: int) -> None:
    try:
        task, choice = cell.planned(), cell.store.choice()
        if step is not None and deaths >= MAX_DEATHS:
            give_up(task, cell.store, step, f"its worker died {deaths} times (out of memory?)")
        elif step is not None:
            run_unit(task, cell.store, step)
        elif choice is not None and is_outdated(task, choice):
            choose_again(task, cell.store)
        else:
            score_test(task, cell.store, cell.split, cell.export)
            cell.mirror(cell.store)
    except (OSError, files.Damaged):
        raise  # a full disk, a lost share or a damaged file is not the cell's fault: the training stays open
    except Exception as error:
        cell.store.fail(f"{type(error).__name__}: {error}", traceback.format_exc())
