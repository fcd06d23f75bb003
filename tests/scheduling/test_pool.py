"""A pool keeps its workers: how many, which are replaced, what a signal does to them, and what its exit code says.

The workers are real processes that do what a file tells them in place of trainings, so that a test takes a second.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from multiprocessing.process import BaseProcess
from multiprocessing.sharedctypes import RawArray
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from mmbench.scheduling import memory, pool, worker
from mmbench.scheduling.devices import NONE, Layout, Machine
from mmbench.scheduling.pinned import VISIBLE
from mmbench.scheduling.pool import EXIT_INCOMPLETE, MAX_MISSES, MAX_REPLACEMENTS, UNMEASURED, UNTOLD, Pool
from mmbench.store import ledger
from mmbench.store.schema import Cost
from tests import records
from tests.signals import heard
from tests.tiny import make_job

GIB = 2**30


class Shown:
    """Stands in for the progress of a sweep: trainings that ended so far, and what they needed."""

    interval = 0.05

    def __init__(self) -> None:
        self.n_done = 0
        self.peak_bytes = 0
        self.looks: list[Callable[[], None]] = []

    def update(self) -> None:
        if self.looks:
            self.looks.pop(0)()

    def stop(self) -> None:
        self.update()


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Pool]:
    """Make a pool whose workers are processes that a test describes by a function of their number."""

    def make(behaviour: Callable[[int], Process], workers: int | None = 1, cores: int = 4, **shown: Any) -> Pool:
        monkeypatch.setattr(Pool, "_serve", lambda pool: None)
        progress = Shown()
        vars(progress).update(shown)
        job = make_job(tmp_path, "model=popularity")
        layout = Machine(cores).layout(replace(job.config.sweep, workers=workers))
        started = Pool([job], layout, progress)  # type: ignore[arg-type]
        numbers = iter(range(10**6))
        started.context = Context(lambda: behaviour(next(numbers)))  # type: ignore[assignment]
        return started

    return make


class Process:
    """A worker that ends with a code after some looks at it, and ends at a signal; with 0 after the last cell."""

    def __init__(self, code: int = 0, looks: int = 1, memory_now: int = 0, over: bool = True) -> None:
        self.code, self.looks, self.over = code, looks, over
        self.state = RawArray(ctypes.c_char, worker.STATE_SIZE)
        self.exitcode: int | None = None
        self.reading, self.writing = os.pipe()
        self.sentinel = self.reading
        self.pid = id(self)
        self.memory_now = memory_now

    def start(self) -> None: ...

    def is_alive(self) -> bool:
        self.looks -= 1
        if self.looks <= 0 and self.exitcode is None:
            self.exitcode = self.code
            self.state.value = worker.OVER.encode() if self.over and self.code == 0 else self.state.value
        return self.exitcode is None

    def __del__(self) -> None:
        os.close(self.reading)
        os.close(self.writing)


class Context:
    def __init__(self, make: Callable[[], Process]) -> None:
        self.make = make
        self.made: list[Process] = []

    def Process(self, args: tuple[Any, ...], **named: Any) -> Process:  # noqa: N802 - as multiprocessing calls it
        self.made.append(self.make())
        self.made[-1].state = args[-1]
        return self.made[-1]


def started(run: Pool) -> int:
    return len(run.context.made)  # type: ignore[attr-defined]


def test_a_signal_that_is_ignored_stays_ignored(made: Callable[..., Pool], monkeypatch: pytest.MonkeyPatch) -> None:
    """As under ``nohup``; the pool takes those that this process hears."""
    run = made(lambda number: Process())
    seen: list[Any] = []
    monkeypatch.setattr(run, "_watch", lambda: seen.extend(map(signal.getsignal, (signal.SIGINT, signal.SIGTERM))) or 0)
    earlier = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        assert run.run() == 0
        assert seen == [signal.SIG_IGN, run._stop]
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, earlier)


def test_it_ends_when_its_workers_have_found_nothing_left(made: Callable[..., Pool]) -> None:
    run = made(lambda number: Process(0, looks=1 + number), workers=3)
    assert run.run() == 0
    assert started(run) == 3


@pytest.mark.parametrize("code", [-signal.SIGKILL, -signal.SIGTERM, worker.EXIT_STOPPED])
def test_a_worker_that_somebody_ends_is_replaced(made: Callable[..., Pool], code: int) -> None:
    run = made(lambda number: Process(code if number == 0 else 0, looks=1 if number == 0 else 4), workers=2)
    assert run.run() == 0
    assert started(run) == 3


def test_a_worker_that_leaves_before_every_cell_is_over_is_replaced_and_finishes_nothing(
    made: Callable[..., Pool], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one does whose model ends the process."""
    monkeypatch.setattr(pool, "MAX_REPLACEMENTS", 3)
    run = made(lambda number: Process(0, over=number == 1), workers=1)
    assert run.run() == 0
    assert started(run) == 2
    run = made(lambda number: Process(0, over=False), workers=1)
    assert run.run() == EXIT_INCOMPLETE
    assert started(run) == 1 + pool.MAX_REPLACEMENTS


def test_after_many_replacements_it_says_missing_only_of_what_is_missing(made: Callable[..., Pool]) -> None:
    """The last worker to go on is not given up, and what it finishes counts."""
    run = made(lambda number: Process(0, looks=100) if number == 0 else Process(-signal.SIGKILL), workers=2)
    assert run.run() == 0
    assert started(run) == 2 + MAX_REPLACEMENTS
    run = made(lambda number: Process(-signal.SIGKILL), workers=2)
    assert run.run() == EXIT_INCOMPLETE
    assert started(run) <= 2 + MAX_REPLACEMENTS


def test_replacements_are_counted_from_the_last_training_that_ended(made: Callable[..., Pool]) -> None:
    run = made(lambda number: Process(-signal.SIGKILL if number < 3 * MAX_REPLACEMENTS else 0), workers=1)

    def ended() -> None:
        run.progress.n_done += 1  # type: ignore[misc]

    run.progress.looks = [ended] * 1000  # type: ignore[attr-defined]
    assert run.run() == 0
    assert started(run) == 3 * MAX_REPLACEMENTS + 1


def test_a_worker_that_cannot_go_on_ends_the_pool(made: Callable[..., Pool], monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[int] = []
    monkeypatch.setattr(os, "kill", lambda pid, number: sent.append(number))
    run = made(lambda number: Process(os.EX_IOERR) if number == 0 else Process(worker.EXIT_STOPPED, 5), workers=3)
    assert run.run() == os.EX_IOERR
    assert started(run) == 3
    assert set(sent) == {signal.SIGALRM}


def test_a_worker_that_cannot_be_interrupted_is_killed_after_the_error_of_another(
    made: Callable[..., Pool], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Busy(Process):
        def kill(self) -> None:
            self.exitcode = -signal.SIGKILL

    monkeypatch.setattr(os, "kill", lambda pid, number: None)
    monkeypatch.setattr(pool, "PATIENCE", -1.0)
    run = made(lambda number: Process(os.EX_IOERR) if number == 0 else Busy(looks=1000), workers=2)
    assert run.run() == os.EX_IOERR
    assert run.context.made[1].exitcode == -signal.SIGKILL  # type: ignore[attr-defined]


def test_workers_whose_server_was_killed_end_the_pool_and_are_told_once(
    made: Callable[..., Pool], capsys: pytest.CaptureFixture[str]
) -> None:
    run = made(lambda number: Process(UNTOLD, looks=3), workers=2)
    assert run.run() == EXIT_INCOMPLETE
    assert started(run) == 2
    assert capsys.readouterr().err == (
        "error: the process that workers are started from was killed, as the system does for want of memory\n"
    )


def test_a_worker_whose_server_was_killed_is_one_that_nobody_tells_of(tmp_path: Path) -> None:
    """In a process of its own: the server of this one serves other tests."""
    program = tmp_path / "program.py"
    program.write_text(
        "import os, signal, time\n"
        "from multiprocessing import forkserver\n"
        "from mmbench.scheduling import pinned\n"
        "if __name__ == '__main__':\n"
        "    process = pinned.process(pinned.server(pinned.__name__), '', time.sleep, 60, shared=())\n"
        "    process.start()\n"
        "    os.kill(forkserver._forkserver._forkserver_pid, signal.SIGKILL)\n"
        "    process.join()\n"
        "    os.kill(process.pid, signal.SIGKILL)\n"
        "    print(process.exitcode)\n"
    )
    done = subprocess.run([sys.executable, program], capture_output=True, text=True, check=True)
    assert int(done.stdout) == UNTOLD


# GPUs that do not come back


def on_gpus(run: Pool, seats: dict[str, int], codes: dict[str, list[int]]) -> list[str]:
    """Let workers on GPUs end with these codes, one after the other and the last of them again; what each one saw."""
    saw: list[str] = []

    def process(target: object, args: tuple[Any, ...]) -> Process:
        saw.append(args[0])
        left = codes[args[0]]
        code = left.pop(0) if len(left) > 1 else left[0]
        ended = Process(code, looks=1 if code else 20)
        ended.state = args[-1]
        return ended

    run.layout = Layout(seats, fixed=True)
    run.context = SimpleNamespace(Process=process)  # type: ignore[assignment]
    return saw


def test_a_seat_whose_gpu_does_not_come_back_is_given_up(
    made: Callable[..., Pool], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is tried by new workers, whose ends say nothing of a training and are none of those that are counted."""
    run = made(lambda number: Process())
    lost = [-signal.SIGABRT, *([worker.EXIT_NO_GPU] * (MAX_MISSES - 1)), -signal.SIGABRT, worker.EXIT_NO_GPU]
    saw = on_gpus(run, {"0,1": 1, "2,3": 1}, {"0,1": lost, "2,3": [0]})
    assert run.run() == 0
    assert Counter(saw) == {"0,1": 2 + 2 * MAX_MISSES - 1, "2,3": 1}
    assert run.replacements == 2
    assert capsys.readouterr().err == (
        f"GPU 0+1: {MAX_MISSES} workers in a row could not use it, so this command goes on without it\n"
    )
    assert not list(tmp_path.rglob("*.crashes"))


def test_workers_that_still_have_a_lost_gpu_keep_their_seats(
    made: Callable[..., Pool], capsys: pytest.CaptureFixture[str]
) -> None:
    run = made(lambda number: Process())
    saw = on_gpus(run, {"0": 2}, {"0": [0, worker.EXIT_NO_GPU]})
    assert run.run() == 0
    assert len(saw) == 1 + MAX_MISSES
    assert capsys.readouterr().err == ""


def test_a_pool_without_a_gpu_left_ends_in_one_line(
    made: Callable[..., Pool], capsys: pytest.CaptureFixture[str]
) -> None:
    run = made(lambda number: Process())
    saw = on_gpus(run, {"0": 3}, {"0": [worker.EXIT_NO_GPU]})
    assert run.run() == EXIT_INCOMPLETE
    assert len(saw) == MAX_MISSES - 1 + 3
    assert capsys.readouterr().err == (
        f"error: GPU 0: {len(saw)} workers in a row could not use it, and this command has no other\n"
    )


@pytest.mark.parametrize(("named", "found", "works"), [("0", 0, False), ("0,1", 1, False), ("0,1", 2, True)])
def test_a_worker_without_its_gpus_takes_no_training(
    named: str, found: int, works: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VISIBLE, named)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: found > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: found)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: None)
    monkeypatch.setattr(worker, "work", lambda *given: (tmp_path / "works").touch())
    state = RawArray(ctypes.c_char, worker.STATE_SIZE)
    process = multiprocessing.get_context("fork").Process(target=entry, args=([Ordered(tmp_path, 0.0, 0.0)], state))
    process.start()
    assert exit_code(process) == (0 if works else worker.EXIT_NO_GPU)
    assert (tmp_path / "works").exists() == works
    assert (state.value.decode() == worker.OVER) == works


# As many as the memory allows


def room(
    made: Callable[..., Pool], monkeypatch: pytest.MonkeyPatch, left: int | None, running: list[int], **of: Any
) -> int:
    """How many workers a pool would start beside running ones that have this much memory."""
    monkeypatch.setattr(memory, "available", lambda: left)
    run = made(lambda number: Process(), **{"workers": None, "cores": 16, **of})
    run.processes = [Process(memory_now=now) for now in running]  # type: ignore[misc]
    by_pid = {process.pid: (process.memory_now, process.memory_now) for process in run.processes}  # type: ignore[attr-defined]
    monkeypatch.setattr(memory, "resident", by_pid.__getitem__)
    return run.room()


def test_before_a_training_has_ended_memory_is_reckoned_generously(
    made: Callable[..., Pool], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert room(made, monkeypatch, 4 * GIB, []) == 1
    assert room(made, monkeypatch, 3 * UNMEASURED + 1, []) == 3
    assert room(made, monkeypatch, GIB // 2, []) == 1  # one always
    assert room(made, monkeypatch, 100 * UNMEASURED, []) == 16
    assert room(made, monkeypatch, None, []) == 16


def test_then_as_many_start_as_fit(made: Callable[..., Pool], monkeypatch: pytest.MonkeyPatch) -> None:
    """Fourteen workers of 800 MB each were killed in 4 GB; four fit."""
    assert room(made, monkeypatch, 4 * GIB - 800 * 2**20, [800 * 2**20], cores=14, peak_bytes=800 * 2**20) == 4
    # What running workers have not taken yet is promised to them.
    assert room(made, monkeypatch, 4 * GIB, [GIB, GIB // 2], peak_bytes=GIB) == 3
    assert room(made, monkeypatch, GIB, [GIB], peak_bytes=GIB) == 1
    assert room(made, monkeypatch, GIB - 1, [GIB], peak_bytes=GIB) == 0
    # One that grew further than any training told.
    assert room(made, monkeypatch, 4 * GIB, [2 * GIB], peak_bytes=GIB) == 2


def test_a_number_that_was_asked_for_is_kept(made: Callable[..., Pool], monkeypatch: pytest.MonkeyPatch) -> None:
    assert room(made, monkeypatch, GIB, [GIB], workers=5, peak_bytes=GIB) == 4


def test_the_rest_starts_once_the_first_training_has_told_its_need(
    made: Callable[..., Pool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "available", lambda: 3 * GIB)
    monkeypatch.setattr(memory, "resident", lambda pid: (GIB, GIB))
    counts: list[int] = []
    run = made(lambda number: Process(0, looks=9), workers=None)

    def told() -> None:
        counts.append(started(run))
        run.progress.peak_bytes = GIB

    run.progress.looks = [told, told]  # type: ignore[attr-defined]
    assert run.run() == 0
    assert counts == [1, 4]


def test_it_learns_the_need_from_the_ledger(tmp_path: Path) -> None:
    from mmbench.scheduling.progress import Progress
    from mmbench.store.schema import CellName

    shown = Progress(tmp_path, {records.KEY: CellName("data", "vbpr", "text")}, {records.KEY: 3})
    shown.start(finished=[])
    assert shown.peak_bytes == 0
    for slot, peak in enumerate((700.0, 900.0, 800.0)):
        ledger.append(tmp_path, records.row(records.trial(slot), Cost(seconds=1.0, peak_rss_mb=peak)))
    shown.update()
    assert shown.peak_bytes == 900 * 2**20


# Signals, with processes as they are


class Ordered:
    """What a worker is given in place of its jobs: trainings of some seconds each."""

    def __init__(self, folder: Path, seconds: float, grace: float) -> None:
        self.folder = self.sweep_dir = folder
        self.seconds, self.grace = seconds, grace
        self.config = self.sweep = self
        self.plain = {"training": {"devices": 1}, "lang": "en"}


def pretend(jobs: list[Any], stop: threading.Event, tell: Callable[[str], None]) -> None:
    """Stands in for the work: a training is a file while it is held, and another one once it has ended."""
    folder = jobs[0].folder
    for number in range(10**6):
        if stop.is_set():
            raise worker.Stopped
        held = folder / f"held-{os.getpid()}-{number}"
        try:  # around the touch too: the worker is interrupted anywhere, as soon as the file can be seen
            held.touch()
            time.sleep(jobs[0].seconds)
            (folder / f"ended-{os.getpid()}-{number}").touch()
        finally:
            held.unlink(missing_ok=True)


def start_pretending(jobs: list[Any], state: Any) -> None:
    """Entry of a worker: the real one, but for its trainings."""
    worker.work = pretend
    entry(jobs, state)


entry = worker.start


def run_pool(folder: Path, seconds: float, grace: float, method: str) -> None:
    """Run a pool of two workers, in a process of its own."""
    os.setsid()
    heard()
    worker.start = start_pretending
    run = Pool([Ordered(folder, seconds, grace)], Layout({NONE: 2}, fixed=True), Shown())  # type: ignore[list-item, arg-type]
    if method == "fork":  # everything is imported here, so a test takes no longer than its sleep
        run._serve = lambda: None  # type: ignore[method-assign]
        run.context = multiprocessing.get_context("fork")  # type: ignore[assignment]
    raise SystemExit(run.run())


Start = Callable[..., BaseProcess]


@pytest.fixture(params=["fork", pytest.param("forkserver", marks=pytest.mark.slow)])
def running(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Start]:
    """Start a pool in a process group of its own and wait until both workers hold something."""
    started: list[BaseProcess] = []

    def start(seconds: float, grace: float) -> BaseProcess:
        context = multiprocessing.get_context("fork" if request.param == "fork" else "spawn")
        started.append(context.Process(target=run_pool, args=(tmp_path, seconds, grace, request.param)))  # type: ignore[attr-defined]
        started[0].start()
        until(lambda: len(held(tmp_path)) == 2)
        return started[0]

    yield start
    for process in started:
        process.kill()
        process.join()


def exit_code(process: BaseProcess) -> int | None:
    process.join(120)
    return process.exitcode


def until(holds: Callable[[], bool], seconds: float = 120.0) -> None:
    """Wait for something that comes about; the machine may be busy."""
    last = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < last
        time.sleep(0.02)


def held(folder: Path) -> dict[int, str]:
    """Process and number of what is held."""
    return {int(file.name.split("-")[1]): file.name for file in folder.glob("held-*")}


def gone(pids: list[int]) -> bool:
    return all(memory.resident(pid) == (0, 0) for pid in pids)


def test_sigterm_lets_trainings_end_within_the_grace_period(tmp_path: Path, running: Start) -> None:
    process = running(seconds=1.0, grace=100.0)
    holding = held(tmp_path)
    os.killpg(process.pid, signal.SIGTERM)  # to all of them at once, as SLURM does
    assert exit_code(process) == 128 + signal.SIGTERM
    assert held(tmp_path) == {}
    assert {name.replace("held", "ended") for name in holding.values()} <= {file.name for file in tmp_path.iterdir()}
    assert gone(list(holding))


@pytest.mark.parametrize(("number", "grace"), [(signal.SIGTERM, 0.2), (signal.SIGTERM, 0.0), (signal.SIGINT, 1000.0)])
def test_what_does_not_end_in_time_is_given_back(tmp_path: Path, running: Start, number: int, grace: float) -> None:
    """Ctrl-C waits for no training."""
    process = running(seconds=1000.0, grace=grace)
    holding = list(held(tmp_path))
    os.killpg(process.pid, number)
    assert exit_code(process) == 128 + number
    assert held(tmp_path) == {}
    assert not list(tmp_path.glob("ended-*"))
    assert gone(holding)


def miss_the_first_alarm(jobs: list[Any], stop: threading.Event, tell: Callable[[str], None]) -> None:
    handler = signal.getsignal(signal.SIGALRM)
    signal.signal(signal.SIGALRM, lambda number, frame: signal.signal(signal.SIGALRM, handler))
    pretend(jobs, stop, tell)


def test_an_alarm_that_was_missed_comes_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal that arrives while a call is entered that blocks is seen when that call ends, which may be never."""
    monkeypatch.setattr(worker, "work", miss_the_first_alarm)
    state = RawArray(ctypes.c_char, worker.STATE_SIZE)
    process = multiprocessing.get_context("fork").Process(target=entry, args=([Ordered(tmp_path, 1000.0, 0.0)], state))
    process.start()
    try:
        until(lambda: len(held(tmp_path)) == 1)
        process.terminate()
        assert exit_code(process) == worker.EXIT_STOPPED
        assert held(tmp_path) == {}
    finally:
        process.kill()


def test_a_second_sigterm_waits_no_longer(tmp_path: Path, running: Start) -> None:
    process = running(seconds=1000.0, grace=1000.0)
    for _ in range(2):
        process.terminate()
        time.sleep(0.3)
    assert exit_code(process) == 128 + signal.SIGTERM
    assert held(tmp_path) == {}


def test_sigterm_of_one_worker_costs_that_training_only(tmp_path: Path, running: Start) -> None:
    process = running(seconds=1000.0, grace=0.1)
    first, other = held(tmp_path).items()
    os.kill(first[0], signal.SIGTERM)
    until(lambda: len(held(tmp_path)) == 2 and first[0] not in held(tmp_path))
    assert other in held(tmp_path).items()
    assert process.is_alive()


def test_no_worker_outlives_a_pool_that_was_killed(tmp_path: Path, running: Start) -> None:
    process = running(seconds=1000.0, grace=1000.0)
    holding = list(held(tmp_path))
    process.kill()
    until(lambda: gone(holding))
    assert held(tmp_path) == {}
