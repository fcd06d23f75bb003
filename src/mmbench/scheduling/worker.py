"""A worker: takes one training after another from the cells of a sweep, until nothing is left to start."""

from __future__ import annotations

import ctypes
import functools
import os
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from types import FrameType

import pandas as pd
import torch

from mmbench import paths
from mmbench.data.dataset import DataChanged, Watch
from mmbench.data.readers.recommendations import recommendations_frame
from mmbench.data.splits import Split
from mmbench.messages import Refusal
from mmbench.scheduling.job import Job
from mmbench.sealing.score_test import is_scored, score_test
from mmbench.store import crashes, files, trackers
from mmbench.store.crashes import MAX_CRASHES
from mmbench.store.leases import LeaseLost, Leases, holding, make_leases
from mmbench.store.records import CellStore, Superseded
from mmbench.store.schema import Unit
from mmbench.training import allocation
from mmbench.tuning.cell import CellFailed, CellTask
from mmbench.tuning.study import choose_again, give_up, is_outdated, run_unit, waiting

#: Seconds between two searches for work while other workers hold all remaining trainings.
POLL = 0.5
EXIT_STOPPED = 143
EXIT_REFUSED = 2
#: Bytes in which a worker tells its parent what it holds, or why it ended.
STATE_SIZE = 4096


class Stopped(BaseException):
    """Raised when the worker receives SIGTERM; a ``BaseException``, so that no ``except Exception`` catches it."""


def start(jobs: Sequence[Job], parent: int | None, state: ctypes.Array[ctypes.c_char] | None = None) -> None:
    """Entry of a worker process.

    On SIGTERM the worker releases its training and exits within seconds; it also exits when its parent ends.

    Args:
        jobs: unfinished cells of the sweep.
        parent: the process whose end ends this worker too, or None.
        state: memory that the parent sees: the name of the lease that is held, and at exit code 2 the reason.
    """

    def tell(what: str) -> None:
        if state is not None:
            state.value = what.encode()[: STATE_SIZE - 1]

    torch.set_num_threads(1)
    allocation.keep_freed_memory()
    warnings.filterwarnings("ignore", module="pytorch_lightning|lightning_fabric")
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle; it sends SIGTERM
    signal.signal(signal.SIGTERM, _stop)
    if parent is not None:
        threading.Thread(target=_end_without, args=(parent,), daemon=True).start()
    try:
        work(jobs, tell)
    except Stopped:
        raise SystemExit(EXIT_STOPPED) from None
    except Refusal as error:
        tell(str(error))
        if state is None:
            print(f"error: {error}", file=sys.stderr)
        raise SystemExit(EXIT_REFUSED) from None
    except OSError as error:
        print(f"error: {error}; nothing finished is lost", file=sys.stderr)
        raise SystemExit(os.EX_IOERR) from None


def _stop(number: int, frame: FrameType | None) -> None:
    raise Stopped


def _end_without(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1.0)
    os.kill(os.getpid(), signal.SIGTERM)


def work(jobs: Sequence[Job], tell: Callable[[str], None] = lambda what: None) -> None:
    """Run trainings until every cell is sealed or has failed, and wait for those that other workers hold.

    Cells are taken in order, so the first ones are complete early; several workers may work on one cell.

    Args:
        jobs: unfinished cells of the sweep.
        tell: is told the name of the lease that is held, and an empty text after it.

    Raises:
        Refusal: if data or settings are no longer those that the sweep was opened for.
    """
    study = jobs[0].config.study
    cells = []
    for job in jobs:
        task, dataset = job.task(), job.dataset()
        store, after = job.store(task), functools.partial(_finish, job)
        try:
            store.effort()
        except Superseded:
            dataset.watch.compare(store.cell().features)
            raise
        cells.append(OpenCell(task, store, dataset.split, after, dataset.watch))
    work_on(cells, make_leases(study.storage, jobs[0].sweep_dir, study.lease_timeout), tell)


def _finish(job: Job, store: CellStore) -> None:
    """Write the requested exports of a sealed cell and mirror the cell."""
    top_k = job.config.export.top_k
    if top_k:
        dataset = job.dataset()
        lists = pd.read_parquet(paths.final_file(store.folder, 1, paths.LISTS))
        frame = recommendations_frame(lists, top_k, dataset.user_ids, dataset.item_ids)
        text = frame.to_csv(index=False, lineterminator="\n")
        files.write_text(paths.recommendations_file(store.folder), text)
    trackers.make_tracker(job.config.plain["tracking"], job.sweep_dir).cell(store.folder)


@dataclass(frozen=True)
class OpenCell:
    """A cell that a worker may work on.

    Args:
        task: input of tuning.
        store: its records.
        split: the split; its test part is opened once the choice is written.
        after: called once the cell is sealed.
        watch: notices that the data change.
    """

    task: CellTask
    store: CellStore
    split: Split
    after: Callable[[CellStore], None] = lambda store: None
    watch: Watch | None = None

    def planned(self) -> CellTask:
        """The task with the trials and final runs planned by now, which a later command may have raised."""
        return self.task.raised(self.store.effort())

    def is_over(self) -> bool:
        """Whether the cell is sealed or has failed."""
        return self.store.failure() is not None or is_scored(self.store, self.split)


def work_on(cells: Sequence[OpenCell], leases: Leases, tell: Callable[[str], None] = lambda what: None) -> None:
    """Run trainings of cells until every cell is sealed or has failed.

    Args:
        cells: the cells, in the order in which they are worked on.
        leases: keep workers from doing the same training at the same time.
        tell: is told the name of the lease that is held, and an empty text after it.
    """
    while cells := [cell for cell in cells if not cell.is_over()]:
        if not any(_run_one(cell, leases, tell) for cell in cells):
            time.sleep(POLL)


def _steps(cell: OpenCell) -> list[Unit | None]:
    """Units that may start now, or None for what follows them; a cell that cannot continue records its failure."""
    try:
        return [*waiting(cell.planned(), cell.store)] or [None]
    except CellFailed as error:
        cell.store.fail(str(error), traceback.format_exc())
        return []


def _run_one(cell: OpenCell, leases: Leases, tell: Callable[[str], None]) -> bool:
    """Run the first step of a cell that no other worker holds; return whether one was run."""
    for step in _steps(cell):
        place = "seal-0" if step is None else f"{step.stage}-{step.number}"
        name = f"{cell.store.short_key}.{place}"
        if not leases.claim(name):
            continue
        try:
            with holding(leases, name) as confirm:
                # Another worker may have finished it between the read of the ledger and the claim.
                if step in _steps(cell):
                    tell(name)
                    if cell.watch is not None:
                        cell.watch.check()
                    try:
                        _run(_guarded(cell, confirm), step, crashes.read(cell.store.sweep_dir, name))
                    except OSError:
                        confirm()  # who took over may have cleared away what this worker was writing
                        raise
        except LeaseLost:
            print(f"{cell.task.cell} {place}: taken over by another worker while this one was silent", file=sys.stderr)
        finally:
            tell("")
        return True
    return False


def _guarded(cell: OpenCell, confirm: Callable[[], None]) -> OpenCell:
    """The cell with a store that writes only while lease, folder and data are what they were."""

    def may_write() -> None:
        confirm()
        cell.store.effort()
        if cell.watch is not None:
            cell.watch.check_held()

    return replace(cell, store=replace(cell.store, confirm=may_write))


def _run(cell: OpenCell, step: Unit | None, crashed: Sequence[str]) -> None:
    try:
        task, choice = cell.planned(), cell.store.choice()
        if step is not None and len(crashed) >= MAX_CRASHES:
            give_up(task, cell.store, step, f"its worker crashed {len(crashed)} times: {', '.join(crashed)}")
        elif step is not None:
            run_unit(task, cell.store, step)
        elif choice is not None and is_outdated(task, choice):
            choose_again(task, cell.store)
        else:
            score_test(task, cell.store, cell.split)
            cell.after(cell.store)
    except (OSError, LeaseLost, Superseded, DataChanged):
        raise  # a full disk or a lost share is not the cell's fault: the training stays open
    except Exception as error:
        cell.store.fail(f"{type(error).__name__}: {error}", traceback.format_exc())
