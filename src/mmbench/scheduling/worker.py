"""A worker: takes one training after another from the cells of a sweep, until nothing is left to start."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType

import pandas as pd
import torch

from mmbench import paths
from mmbench.data.dataset import DataChanged, Watch
from mmbench.data.readers.recommendations import recommendations_frame
from mmbench.data.splits import Split
from mmbench.data.spreadsheet import csv_text
from mmbench.extensions import kept_alive
from mmbench.messages import Message, Refusal, Translator
from mmbench.messages.refused import told
from mmbench.nn.memo import Memo
from mmbench.scheduling import pinned
from mmbench.scheduling.exits import FAULTS
from mmbench.scheduling.job import Job, forget_data
from mmbench.sealing.score_test import is_scored, score_test
from mmbench.store import bounds, crashes, files, ledger, mending, records, trackers
from mmbench.store.bounds import Damaged
from mmbench.store.crashes import MAX_CRASHES
from mmbench.store.leases import Hold, LeaseLost, Leases, keeping, make_leases
from mmbench.store.records import CellStore, Superseded
from mmbench.store.schema import Unit
from mmbench.training import allocation
from mmbench.training.loop import ProcessKilled
from mmbench.tuning.cell import CellFailed, CellTask
from mmbench.tuning.study import choose_if_due, give_up, run_unit, waiting

#: Seconds between two searches for work while other workers hold all remaining trainings.
POLL = 0.5
EXIT_STOPPED = 143
EXIT_REFUSED = 2
#: Of a worker that cannot use the GPUs that it is pinned to; it has held no training.
EXIT_NO_GPU = os.EX_UNAVAILABLE
#: After the last cell.
END = object()
#: Seconds after which SIGALRM comes again: one that arrives while a call is entered that blocks is not seen until then.
AGAIN = 0.1
#: Bytes in which a worker tells its parent what it holds, or why it ended.
STATE_SIZE = 4096
#: What it tells after the last cell; exit code 0 alone does not say it, for the code of a model may end a worker so.
OVER = "every cell is over"


#: What ends a worker and no cell, unless want of memory is behind it.
NOT_ITS_FAULT = (OSError, Damaged, LeaseLost, Superseded, DataChanged)


class Stopped(BaseException):
    """Raised when the worker is to end now; a ``BaseException``, so that no ``except Exception`` catches it."""


def start(jobs: Sequence[Job], state: ctypes.Array[ctypes.c_char]) -> None:
    """Entry of a worker process.

    On SIGTERM the worker ends the training that it holds and exits, or, when the grace period is over first, gives it
    back as if it had never begun. On SIGALRM, and when its parent ends, it gives it back at once.

    Args:
        jobs: unfinished cells of the sweep.
        state: memory that the parent sees: the name of the lease that is held, at exit code 2 the reason, and at exit
            code 0 :data:`OVER`.
    """
    say = Translator(jobs[0].config.plain["lang"])
    stop, grace = threading.Event(), max(jobs[0].config.sweep.grace, 1e-3)

    def wind_down(number: int, frame: FrameType | None) -> None:
        if not stop.is_set():
            stop.set()
            signal.setitimer(signal.ITIMER_REAL, grace, AGAIN)  # ends in SIGALRM

    def tell(what: str) -> None:
        state.value = what.encode()[: STATE_SIZE - 1]

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    torch.set_num_threads(1)
    allocation.keep_freed_memory()
    allocation.settle()
    warnings.filterwarnings("ignore", module="pytorch_lightning|lightning_fabric")
    try:
        signal.signal(signal.SIGALRM, _give_back)
        signal.signal(signal.SIGTERM, wind_down)
        pinned.end_with_parent()
        if _lacks_gpus():  # each training would fail, or train on a processor
            raise SystemExit(EXIT_NO_GPU)
        work(jobs, stop, tell)
        tell(OVER)
    except Stopped:
        raise SystemExit(EXIT_STOPPED) from None
    except Refusal as error:
        tell(say(error.message))
        raise SystemExit(EXIT_REFUSED) from None
    except OSError as error:
        print(say(Message("error: {message}; nothing finished is lost", message=told(error))), file=sys.stderr)
        raise SystemExit(os.EX_IOERR) from None


def _lacks_gpus() -> bool:
    """Whether this process is pinned to GPUs and cannot use them."""
    pinned_to = list(filter(None, os.environ.get(pinned.VISIBLE, "").split(",")))
    lacking = torch.cuda.device_count() < len(pinned_to)
    return bool(pinned_to) and (lacking or allocation.is_lost(torch.device("cuda")))


def _give_back(number: int, frame: FrameType | None) -> None:
    signal.signal(signal.SIGALRM, signal.SIG_IGN)  # a second one must not interrupt the giving back
    raise Stopped


def work(
    jobs: Sequence[Job], stop: threading.Event | None = None, tell: Callable[[str], None] = lambda what: None
) -> None:
    """Run trainings until every cell is sealed or has failed, and wait for those that other workers hold.

    Cells are taken in order, so the first ones are complete early; several workers may work on one cell.

    Args:
        jobs: unfinished cells of the sweep.
        stop: once it is set, no further training begins.
        tell: is told the name of the lease that is held, and an empty text after it.

    Raises:
        Stopped: after ``stop`` was set.
        Refusal: if data or settings are no longer those that the sweep was opened for, or its folder is gone.
    """
    study, sweep_dir = jobs[0].config.study, jobs[0].sweep_dir
    seen = ledger.Reader(sweep_dir)
    try:
        with contextlib.closing(make_leases(study.storage, sweep_dir, study.lease_timeout)) as leases:
            work_on(_openings(jobs, seen, leases), leases, stop, tell)
    except OSError as error:
        if sweep_dir.is_dir():
            raise
        raise Refusal(
            "{folder} is not there any more: it was removed or renamed while the sweep ran", folder=sweep_dir
        ) from error


def _openings(jobs: Sequence[Job], seen: ledger.Reader, leases: Leases) -> Iterator[OpenCell | None]:
    """Open one cell after the other; None means that nothing is left to be opened now.

    A cell fails if this process lacks the memory for its data, as one does whose training lacks it. A cell that
    another worker is at is that worker's, who had the memory; it is tried again later.
    """
    while jobs:
        later = []
        for job in jobs:
            cell = _opened_if_it_fits(job, seen)
            if isinstance(cell, OpenCell):
                yield cell
            elif not _failed(job, cell, leases):
                later.append(job)
        if jobs := later:
            yield None


@dataclass(frozen=True)
class Short:
    """That memory was short: the reason and where, without the exception, which would hold what was allocated."""

    reason: str
    traceback: str


def _opened_if_it_fits(job: Job, seen: ledger.Reader) -> OpenCell | Short:
    """A cell, if need be after this process has let go of all that no open cell has."""
    for _ in range(2):
        if isinstance(ended := _try_to_open(job, seen), OpenCell):
            break
        forget_data()
        Memo.empty_all()
        allocation.release()
    return ended


def _try_to_open(job: Job, seen: ledger.Reader) -> OpenCell | Short:
    try:
        return _opened(job, seen)
    except Exception as error:
        if not allocation.is_out_of_memory(error):
            raise
        return Short(allocation.reason(error), traceback.format_exc())


def _failed(job: Job, short: Short, leases: Leases) -> bool:
    """Record the failure of a cell that could not be opened; false where another worker is at it."""
    folder = paths.cell_dir(job.sweep_dir, *job.cell)
    key = records.key_of(folder)
    if key is None or paths.failure_file(folder).exists():
        return True  # somebody else has taken it away, or has brought it to its end
    store = CellStore(job.sweep_dir, folder, key)
    choice, seal = store.choice(), store.seal()
    if choice is not None and seal is not None and store.effort().is_met_by(choice, seal):
        return True
    if any(name.startswith(store.short_key) for name in leases.living()):
        return False
    store.fail(short.reason, short.traceback)
    return True


def _opened(job: Job, seen: ledger.Reader) -> OpenCell:
    task, dataset = job.task(), job.dataset()
    store = replace(job.store(task), ledger=seen)
    try:
        store.effort()
    except Superseded:
        dataset.watch.compare(store.cell().features)
        raise
    dataset.split.test_fingerprint  # noqa: B018 -- asked at every look; here want of memory has its reason
    export, mirror = functools.partial(export_cell, job), functools.partial(_mirror, job)
    return OpenCell(task, store, dataset.split, export, mirror, dataset.watch)


def export_cell(job: Job, store: CellStore) -> None:
    """Write the requested exports of a cell from what is stored of its final runs."""
    top_k = job.config.export.top_k
    if top_k:
        dataset = job.dataset()
        users, lists = bounds.read_lists(paths.final_file(store.folder, 1, paths.LISTS), "user", "items")
        stored = pd.DataFrame({"user": users, "items": list(lists)})
        frame = recommendations_frame(stored, top_k, dataset.user_ids, dataset.item_ids)
        files.write_text(paths.recommendations_file(store.folder), csv_text(frame))


def _mirror(job: Job, store: CellStore) -> None:
    """Show a sealed cell to the trackers."""
    try:
        tracker = trackers.make_tracker(job.config.plain["tracking"], job.sweep_dir)
    except Refusal as error:  # this machine lacks a library that the one with the command has; the cell is finished
        warnings.warn(store.translator(error.message), stacklevel=2)
    else:
        tracker.cell(store.folder)


@dataclass(frozen=True)
class OpenCell:
    """A cell that a worker may work on.

    Args:
        task: input of tuning.
        store: its records.
        split: the split; its test part is opened once the choice is written.
        export: called before the cell is sealed, so that a kill cannot leave a sealed cell without its exports.
        mirror: called once the cell is sealed.
        watch: notices that the data change.
    """

    task: CellTask
    store: CellStore
    split: Split
    export: Callable[[CellStore], None] = lambda store: None
    mirror: Callable[[CellStore], None] = lambda store: None
    watch: Watch | None = None

    def planned(self) -> CellTask:
        """The task with the trials and final runs planned by now, which a later command may have raised."""
        return self.task.raised(self.store.effort())

    def is_over(self) -> bool:
        """Whether the cell is sealed or has failed."""
        return self.store.failure() is not None or is_scored(self.store, self.split)


def work_on(
    cells: Iterable[OpenCell | None],
    leases: Leases,
    stop: threading.Event | None = None,
    tell: Callable[[str], None] = lambda what: None,
) -> None:
    """Run trainings of cells until every cell is sealed or has failed.

    A look for work reads the cells that others are at and the next one that has work, not all that come after it, so it
    costs the same however many cells there are. A cell that is over is not looked at again.

    Args:
        cells: the cells, in the order in which they are worked on; None where the next one has to be waited for.
        leases: keep workers from doing the same training at the same time.
        stop: once it is set, no further training begins.
        tell: is told the name of the lease that is held, and an empty text after it.

    Raises:
        Stopped: after ``stop`` was set.
    """
    stop = stop or threading.Event()
    coming: Iterator[OpenCell | object | None] = iter(cells)
    begun: list[OpenCell] = []
    mended: set[Path] = set()
    with keeping(leases) as hold:
        while not stop.is_set():
            try:
                begun = [cell for cell in begun if not cell.is_over()]
                if any(_run_one(cell, leases, hold, tell) for cell in begun):
                    continue
            except Damaged as error:
                if error.path in mended:
                    raise
                mended.add(error.path)
                store = begun[0].store
                for line in mending.mend_after(store.sweep_dir, error):
                    print(store.translator(line), flush=True)
                continue
            cell = next(coming, END)
            if isinstance(cell, OpenCell):
                begun.append(cell)
            elif cell is None or begun:
                stop.wait(POLL)
            else:
                return
    raise Stopped


def _steps(cell: OpenCell) -> list[Unit | None]:
    """Units that may start now, or None for what follows them; a cell that cannot continue records its failure."""
    try:
        return [*waiting(cell.planned(), cell.store)] or [None]
    except CellFailed as error:
        cell.store.fail(str(error), traceback.format_exc())
        return []


def _run_one(cell: OpenCell, leases: Leases, hold: Hold, tell: Callable[[str], None]) -> bool:
    """Run the first step of a cell that no other worker holds; return whether one was run."""
    looked_at = cell.store.progress()
    for step in _steps(cell):
        place = "seal-0" if step is None else f"{step.stage}-{step.number}"
        name = f"{cell.store.short_key}.{place}"
        if not leases.claim(name):
            continue
        try:
            with hold(name) as confirm:
                # Another worker may have finished it between the look and the claim.
                if cell.store.progress() == looked_at or step in _steps(cell):
                    tell(name)
                    try:
                        _run(_guarded(cell, confirm), step, crashes.read(cell.store.sweep_dir, name))
                    except OSError:
                        confirm()  # who took over may have cleared away what this worker was writing
                        raise
        except LeaseLost:
            cell.store.sweep_dir.stat()  # with the folder of the sweep the lease is gone, and nobody took it over
            taken = Message(
                "{cell} {training}: taken over by another worker while this one was silent",
                cell=cell.task.cell,
                training=place,
            )
            print(cell.store.translator(taken), file=sys.stderr)
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
        if cell.watch is not None:
            cell.watch.check()
        task = cell.planned()
        if len(crashed) >= MAX_CRASHES and step is not None:
            give_up(task, cell.store, step, crashes.why(crashed))
        elif step is not None:
            run_unit(task, cell.store, step)
        elif choose_if_due(task, cell.store):
            pass  # final runs come before the test split
        elif len(crashed) >= MAX_CRASHES:
            cell.store.fail(crashes.why(crashed), "")
        else:
            with kept_alive():
                score_test(task, cell.store, cell.split, cell.export)
            cell.mirror(cell.store)
    except ProcessKilled as error:
        _end_like(error.number)
    except Exception as error:
        # A full disk, a lost share or a damaged file is not the cell's fault: the training stays open.
        if isinstance(error, NOT_ITS_FAULT) and not allocation.is_out_of_memory(error):
            raise
        cell.store.fail(allocation.reason(error), traceback.format_exc())
    finally:
        allocation.release()


def _end_like(number: int) -> None:
    """End as a process of the training did: the pool tells from it whether the training is at fault."""
    if number not in (*FAULTS, signal.SIGKILL):
        raise Stopped
    os.kill(os.getpid(), number)
