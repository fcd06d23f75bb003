"""What the end of a worker says about its training: a crash counts, silence and other people's signals do not."""

from __future__ import annotations

import ctypes
import signal
import subprocess
import sys
from multiprocessing.sharedctypes import RawArray
from pathlib import Path
from typing import Any

import pytest

from mmbench import paths
from mmbench.scheduling import exits, worker
from mmbench.scheduling.devices import NONE, Layout
from mmbench.scheduling.exits import Exits, oom_kills
from mmbench.scheduling.pool import Pool
from mmbench.scheduling.progress import Progress
from mmbench.store import crashes
from mmbench.store.crashes import MAX_CRASHES
from mmbench.store.schema import Stage, Unit
from tests.cli.conftest import Command
from tests.machine import limited_group
from tests.signals import heard
from tests.tiny import make_job, opened, worked

FEW = ("model=bpr", "modality=none", "budget.trials=2")
#: Ends like a worker that holds a training, by the signal of its argument.
WORKER = "import os, sys; os.kill(os.getpid(), int(sys.argv[1]))"


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> dict[str, int | None]:
    """What the kernel says that it killed for memory."""
    counted: dict[str, int | None] = {"oom_kill": 0}
    monkeypatch.setattr(exits, "oom_kills", lambda: counted["oom_kill"])
    return counted


@pytest.mark.parametrize(
    ("number", "oom", "counts"),
    [
        (signal.SIGSEGV, False, True),
        (signal.SIGABRT, False, True),
        (signal.SIGBUS, False, True),
        (signal.SIGKILL, True, True),
        (signal.SIGKILL, False, False),
        (signal.SIGTERM, True, False),
        (signal.SIGINT, False, False),
        (signal.SIGHUP, False, False),
    ],
)
def test_only_a_crash_counts(
    number: int, oom: bool, counts: bool, kernel: dict[str, int | None], tmp_path: Path
) -> None:
    code = subprocess.run([sys.executable, "-c", WORKER, str(int(number))], preexec_fn=heard).returncode
    judge = Exits(tmp_path)
    kernel["oom_kill"] = int(oom)
    judge.look()
    judge.note(code, "key.tune-0")
    assert len(crashes.read(tmp_path, "key.tune-0")) == counts
    judge.note(code, "")
    assert len(list(tmp_path.rglob("*.crashes"))) == counts


def test_a_kill_long_after_the_kernel_needed_memory_is_somebody_elses(
    kernel: dict[str, int | None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge = Exits(tmp_path)
    kernel["oom_kill"] = 1
    judge.look()
    monkeypatch.setattr(exits, "ENDING", 0.0)
    judge.look()
    judge.note(-signal.SIGKILL, "key.tune-0")
    assert crashes.read(tmp_path, "key.tune-0") == []


@pytest.mark.parametrize(
    ("cgroups", "file", "content"),
    [
        ("0::/user.slice/a\n", "user.slice/a/memory.events", "low 0\noom 4\noom_kill 3\n"),
        ("0::/user.slice/a\n", "user.slice/memory.events", "oom_kill 3\n"),  # counts those of the groups in it
        ("0::/on/the/host\n", "memory.events", "oom_kill 3\noom_group_kill 0\n"),
        ("9:cpu:/a\n4:memory:/job\n0::/\n", "memory/job/memory.oom_control", "under_oom 0\noom_kill 3\n"),
        ("4:cpu,memory:/host/job\n", "memory/memory.oom_control", "oom_kill_disable 0\noom_kill 3\n"),
    ],
    ids=["version 2", "the group above", "version 2 in a container", "version 1", "version 1 in a container"],
)
def test_the_counter_of_the_cgroup(cgroups: str, file: str, content: str, tmp_path: Path) -> None:
    processes, counter = tmp_path / "proc" / "self" / "cgroup", tmp_path / "sys" / "fs" / "cgroup" / file
    for place in (processes, counter):
        place.parent.mkdir(parents=True)
    processes.write_text(cgroups)
    assert oom_kills(tmp_path) is None
    counter.write_text(content)
    assert oom_kills(tmp_path) == 3
    assert oom_kills(tmp_path / "no linux") is None


#: Has a child that wants more memory than there is, and judges its end.
WANTS_MEMORY = """
import os, sys
from pathlib import Path
open(sys.argv[1], "w").write(str(os.getpid()))
from mmbench.scheduling.exits import Exits
judge = Exits(Path(sys.argv[2]))
child = os.fork()
if not child:
    Path("/proc/self/oom_score_adj").write_text("1000")
    wanted = [bytearray(1 << 20) for _ in range(512)]
    os._exit(0)
code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
judge.look()
judge.note(code, "key.tune-0")
print(code)
"""


def test_the_kernel_itself_kills_for_want_of_memory(tmp_path: Path) -> None:
    """Where this user may make a control group."""
    with limited_group(128 << 20) as processes:
        command = [sys.executable, "-c", WANTS_MEMORY, processes, tmp_path]
        said = subprocess.run(command, check=True, capture_output=True, text=True)
    assert int(said.stdout) == -signal.SIGKILL
    assert crashes.read(tmp_path, "key.tune-0") == ["SIGKILL for want of memory (oom_kill of its cgroup rose)"]


def test_a_training_is_given_up_after_three_crashes_and_says_why(tmp_path: Path) -> None:
    job = make_job(tmp_path, *FEW)
    task, store = opened(job)
    held = f"{store.short_key}.tune-1"
    for reason in ("SIGSEGV", "SIGBUS", "SIGSEGV"):
        crashes.note(tmp_path, held, reason)
    worked(task, store, job.dataset().split)
    done = store.finished_trainings()
    failure = done[Unit(Stage.TRIAL, 1)].failure
    assert failure is not None
    assert failure.reason == "its worker crashed 3 times: SIGSEGV, SIGBUS, SIGSEGV"
    assert done[Unit(Stage.TRIAL, 0)].succeeded
    assert store.seal() is not None


@pytest.mark.parametrize("torn", [b"", bytes(12), b"\xff\xfe\x0b\x1cSIG\x85\n\xe3\x81\n\x00\n\x80"])
def test_what_a_power_cut_left_of_a_note_speaks_against_no_training(torn: bytes, tmp_path: Path) -> None:
    file = paths.crash_file(tmp_path, "key.tune-0")
    file.parent.mkdir()
    file.write_bytes(torn)
    assert crashes.read(tmp_path, "key.tune-0") == []
    file.write_bytes(torn + b"\n")
    crashes.note(tmp_path, "key.tune-0", "SIGSEGV")
    assert crashes.read(tmp_path, "key.tune-0") == ["SIGSEGV"]


def test_two_crashes_give_nothing_up(tmp_path: Path) -> None:
    job = make_job(tmp_path, *FEW)
    task, store = opened(job)
    for _ in range(MAX_CRASHES - 1):
        crashes.note(tmp_path, f"{store.short_key}.tune-1", "SIGSEGV")
    worked(task, store, job.dataset().split)
    assert all(training.succeeded for training in store.finished_trainings().values())


@pytest.mark.thorough
@pytest.mark.parametrize("n", [MAX_CRASHES - 1, MAX_CRASHES])
def test_a_ranking_of_test_that_crashes_three_times_fails_its_cell(n: int, command: Command, tmp_path: Path) -> None:
    """The next cell is reached, and the next command ranks without training again."""
    words = ("-m", "sweep.name=s", "model=bpr,popularity", "modality=none", "budget.trials=2", "sweep.workers=1")
    job = make_job(tmp_path / "s", *FEW)
    store = job.store(job.task())
    for _ in range(n):
        crashes.note(tmp_path / "s", f"{store.short_key}.seal-0", "SIGSEGV")
    said = command(*words)
    other = paths.seal_file(tmp_path / "s" / "planted-complementary" / "popularity" / "-")
    assert other.exists()
    if n < MAX_CRASHES:
        assert (said.code, store.failure()) == (0, None)
        return
    failure, trained = store.failure(), store.finished_trainings()
    assert failure is not None
    assert failure.reason == "its worker crashed 3 times: SIGSEGV, SIGSEGV, SIGSEGV"
    assert said.code == 1
    assert f"planted-complementary/bpr/-: {failure.reason}" in said.err
    assert (store.seal(), len(trained) > 2) == (None, True)
    assert command(*words).code == 0
    assert (store.failure(), store.finished_trainings()) == (None, trained)
    assert store.seal() is not None


@pytest.mark.thorough
def test_force_forgets_crashes(command: Command, tmp_path: Path) -> None:
    words = ("sweep.name=s", *FEW)
    job = make_job(tmp_path / "s", *FEW)
    held = f"{job.store(job.task()).short_key}.tune-1"
    for _ in range(MAX_CRASHES):
        crashes.note(tmp_path / "s", held, "SIGSEGV")
    assert command(*words).code == 0
    record = paths.training_file(tmp_path / "s" / "planted-complementary" / "bpr" / "-", "tune", 1, paths.RECORD)
    assert "its worker crashed 3 times" in record.read_text()
    assert command(*words, "study.resume=force").code == 0
    assert '"failure": null' in record.read_text()
    assert not list(tmp_path.rglob("*.crashes"))


class Process:
    """Stands in for a worker process that ended, or that lives and may be stopped."""

    def __init__(self, exitcode: int | None, pid: int = 0) -> None:
        self.exitcode, self.pid, self.killed = exitcode, pid, False

    def kill(self) -> None:
        self.killed = True


def test_the_pool_notes_crashes_tells_a_refusal_once_and_waits_for_no_stopped_worker(
    kernel: dict[str, int | None], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    job = make_job(tmp_path, *FEW)
    pool: Any = Pool([job], Layout({NONE: 1}, fixed=True), Progress(tmp_path, {}, {}))
    said = RawArray(ctypes.c_char, worker.STATE_SIZE)
    said.value = b"key.tune-0"
    crashed, refused, finished = Process(-signal.SIGSEGV), Process(worker.EXIT_REFUSED), Process(0)
    refusal = RawArray(ctypes.c_char, worker.STATE_SIZE)
    refusal.value = b"a.npy: changed"
    over = RawArray(ctypes.c_char, worker.STATE_SIZE)
    over.value = worker.OVER.encode()
    pool.states = {crashed: said, refused: refusal, finished: over}
    pool.pins = dict.fromkeys(pool.states, NONE)
    pool._judge(crashed)
    assert crashes.read(tmp_path, "key.tune-0") == ["SIGSEGV"]
    pool._judge(refused)
    assert capsys.readouterr().err == "error: a.npy: changed\n"
    stopped, working = Process(None, 1), Process(None, 2)
    monkeypatch.setattr("mmbench.scheduling.pool.is_stopped", lambda pid: pid == 1)
    pool.processes = [stopped, working]
    assert not stopped.killed
    pool._judge(finished)
    assert (stopped.killed, working.killed) == (True, False)


@pytest.mark.parametrize(
    ("code", "held", "noted"),
    [(0, b"key.tune-0", ["exit code 0"]), (0, b"", []), (-signal.SIGSEGV, worker.OVER.encode(), [])],
)
def test_a_worker_that_leaves_a_training_has_crashed_in_it(
    code: int, held: bytes, noted: list[str], kernel: dict[str, int | None], tmp_path: Path
) -> None:
    """One that crashes after the last cell held none."""
    pool: Any = Pool([make_job(tmp_path, *FEW)], Layout({NONE: 1}, fixed=True), Progress(tmp_path, {}, {}))
    process, state = Process(code), RawArray(ctypes.c_char, worker.STATE_SIZE)
    state.value = held
    pool.states, pool.pins = {process: state}, {process: NONE}
    pool._judge(process)
    assert not pool.finished
    assert crashes.read(tmp_path, "key.tune-0") == noted
    assert len(list(tmp_path.rglob("*.crashes"))) == len(noted)
