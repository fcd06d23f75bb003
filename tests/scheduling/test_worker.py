"""How a worker looks for work: it reads what it needs, however many cells there are, and nothing twice."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from mmbench import faults, paths
from mmbench.messages import Refusal
from mmbench.scheduling import worker
from mmbench.scheduling.job import Job
from mmbench.scheduling.worker import OpenCell, Stopped, work_on
from mmbench.store import ledger, records
from mmbench.store.schema import CellName, Stage, Unit
from mmbench.training.loop import ProcessKilled
from mmbench.training.settings import TrainingSettings
from mmbench.tuning import study
from mmbench.tuning.study import waiting
from tests.tiny import make_job, opened, sealed


class Board:
    """Leases of which others hold those of some cells."""

    timeout = 60.0

    def __init__(self, *held: str) -> None:
        self.held = held
        self.asked: list[str] = []

    def claim(self, name: str) -> bool:
        self.asked.append(name)
        return not name.startswith(self.held)

    def beat(self, name: str) -> None: ...

    def release(self, name: str) -> None: ...

    def deaths(self, name: str) -> int:
        return 0


def jobs(folder: Path, n: int) -> list[Job]:
    return [make_job(folder, "model=popularity", f"study.draw={draw}") for draw in range(n)]


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each record of a cell was read, by its path."""
    noted: Counter[str] = Counter()
    original = records.read

    def noting(path: Path, kind: type[records.R]) -> records.R:
        noted[str(path)] += 1
        return original(path, kind)

    monkeypatch.setattr(records, "read", noting)
    return noted


@pytest.mark.parametrize("n", [3, 9])
def test_a_look_reads_the_cells_that_others_are_at_and_the_next_one(
    n: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: Counter[str]
) -> None:
    stop = threading.Event()
    ran: list[CellName] = []

    def run(cell: OpenCell, step: Unit | None, deaths: int) -> None:
        ran.append(cell.task.cell)
        stop.set()

    monkeypatch.setattr(worker, "_run", run)
    cells = [OpenCell(*opened(job), job.dataset().split) for job in jobs(tmp_path, n)]
    given: list[OpenCell] = []

    def one_by_one() -> Iterator[OpenCell]:
        for cell in cells:
            given.append(cell)
            yield cell

    leases = Board(*(cell.store.key[:20] for cell in cells[:1]))
    read.clear()
    with pytest.raises(Stopped):
        work_on(one_by_one(), leases, stop)
    assert ran == [cells[1].task.cell]
    assert len(given) == 2
    assert {Path(path).parent for path in read} == {cell.store.folder for cell in cells[:2]}
    assert read.total() <= 8


def test_what_a_worker_says_of_damage_is_in_the_language_of_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = sealed(job := make_job(tmp_path, "model=vbpr", "lang=ja"))
    file, rows = store.training_file(Unit(Stage.TRIAL, 0), paths.STATE), list(ledger.read(tmp_path))
    content = file.read_bytes()
    file.write_bytes(content[:60] + bytes(len(content) - 90) + content[-30:])
    paths.seal_file(store.folder).unlink()
    before = paths.ledger_file(tmp_path).read_text(encoding="utf-8")
    other = before.replace(f'"score": {rows[0].score}', '"score": 0.125', 1)
    paths.ledger_file(tmp_path).write_text(other, encoding="utf-8")
    capsys.readouterr()
    sealed(job)
    damaged, *_, repeated = capsys.readouterr().out.splitlines()
    assert damaged.startswith(f"{file} は空であるか、途中で切れているか、上書きされているため")
    assert repeated.startswith(f"{store.folder}: tune 0 をやり直したところ {rows[0].score} となり、以前の 0.125 と")


@pytest.mark.thorough
def test_a_cell_that_is_over_is_not_looked_at_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: Counter[str]
) -> None:
    *over, last = jobs(tmp_path, 4)
    for job in over:
        sealed(job)
    cells = [OpenCell(*opened(job), job.dataset().split) for job in [*over, last]]

    class Patient(threading.Event):
        """Stops after some polls."""

        polls = 5

        def wait(self, timeout: float | None = None) -> bool:
            self.polls -= 1
            if not self.polls:
                self.set()
            return self.is_set()

    read.clear()
    board = Board(cells[-1].store.key[:20])
    with pytest.raises(Stopped):
        work_on(cells, board, Patient())
    by_cell = Counter({str(cell.store.folder): 0 for cell in cells})
    for path, times in read.items():
        by_cell[str(Path(path).parent)] += times
    assert all(by_cell[str(cell.store.folder)] <= 3 for cell in cells[:-1])  # seal, choice and effort, once
    assert len(board.asked) >= 5  # looks at the last one, whose record did not change
    assert by_cell[str(cells[-1].store.folder)] <= 3


@pytest.mark.thorough
def test_a_worker_opens_a_cell_when_it_comes_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = jobs(tmp_path, 3)
    for job in asked:
        opened(job)
    made: list[Job] = []
    original = worker._opened

    def noting(job: Job, seen: ledger.Reader) -> OpenCell:
        made.append(job)
        return original(job, seen)

    monkeypatch.setattr(worker, "_opened", noting)
    when: list[int] = []
    monkeypatch.setattr(worker, "run_unit", lambda *args: when.append(len(made)) or run_unit(*args))
    worker.work(asked)
    assert when == [1, 1, 2, 2, 3, 3]  # a trial and a final run of each


@pytest.mark.parametrize("new", ["elsewhere", None])
def test_a_sweep_whose_folder_is_gone_says_so(
    new: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It was removed or renamed while a training ran; it is not made again, and nobody took the training over."""
    (job,) = jobs(tmp_path / "s", 1)
    opened(job)

    def reach(point: str) -> None:
        if point == "fitted":
            (tmp_path / "s").rename(tmp_path / (new or "removed"))
            shutil.rmtree(tmp_path / "removed", ignore_errors=True)

    monkeypatch.setattr(faults, "reach", reach)
    with pytest.raises(Refusal, match=r"/s is not there any more: it was removed or renamed while the sweep ran"):
        worker.work([job])
    assert "taken over" not in capsys.readouterr().err
    assert not (tmp_path / "s").exists()


class Dead(BaseException):
    """Stands in for the end of the process."""


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL, signal.SIGTERM])
def test_a_worker_ends_as_a_process_of_its_training_did(
    number: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it holds the training, which the pool counts a crash against or not; it is not tried again here."""
    (job,) = jobs(tmp_path, 1)
    _, store = opened(job)
    tries: list[str] = []
    told: list[str] = []

    def fit(*given: object, **named: object) -> None:
        tries.append("fit")
        raise ProcessKilled(number)

    def kill(pid: int, sent: int) -> None:
        assert (pid, sent, told) == (os.getpid(), number, [f"{store.short_key}.tune-0"])
        raise Dead

    monkeypatch.setattr(study, "fit", fit)
    monkeypatch.setattr(os, "kill", lambda pid, sent: kill(pid, sent) if sent else None)
    with pytest.raises(Stopped if number == signal.SIGTERM else Dead):
        worker.work([job], tell=told.append)
    assert tries == ["fit"]
    assert list(ledger.read(tmp_path)) == []
    assert store.failure() is None


@pytest.mark.parametrize(("lost", "there"), [(True, True), (True, False), (False, True)])
def test_a_worker_whose_gpu_is_lost_ends_like_a_crash(
    lost: bool, there: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It leaves no record of the training that it holds; an error that leaves the GPU usable is the training's."""
    (job,) = jobs(tmp_path, 1)
    _, store = opened(job)

    def fails(*given: object, **named: object) -> None:
        raise RuntimeError("CUDA error: device-side assert triggered\nCUDA kernel errors might be reported later")

    def kill(pid: int, sent: int) -> None:
        assert (pid, sent) == (os.getpid(), signal.SIGABRT)
        raise Dead

    monkeypatch.setattr(study, "fit", fails)
    monkeypatch.setattr(TrainingSettings, "device", torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: int(there))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda *device: "NVIDIA")
    monkeypatch.setattr(torch.cuda, "synchronize", fails if lost else lambda device: None)
    monkeypatch.setattr(os, "kill", lambda pid, sent: kill(pid, sent) if sent else None)
    with pytest.raises(Dead) if lost else contextlib.nullcontext():
        worker.work([job])
    assert len(list(ledger.read(tmp_path))) == (0 if lost else 1)
    assert (store.failure() is None) == lost
    said = (
        f"{job.cell} tune-0: RuntimeError: CUDA error: device-side assert triggered; since then the GPU fails every "
        "call of this worker, which ends so that a new one tries again\n"
    )
    assert capsys.readouterr().err == (said if lost else "")


run_unit = worker.run_unit


def test_the_records_of_a_cell_are_parsed_once(tmp_path: Path, read: Counter[str]) -> None:
    job = make_job(tmp_path, "model=popularity", "budget.trials=1", "budget.seeds=3")
    opened(job)
    worker.work([job])
    of_trainings = {path: times for path, times in read.items() if "/trials/" in path or "/finals/" in path}
    assert len(of_trainings) == 4
    assert max(of_trainings.values()) <= 2 + 3  # once by the reader; moving finals aside looks at them itself


@pytest.mark.parametrize("disturbed", [False, True])
def test_a_claim_looks_again_where_something_happened_since_the_look(
    disturbed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = make_job(tmp_path, "model=ease", "budget.trials=3", "budget.seeds=1")
    cell = OpenCell(*opened(job), job.dataset().split)
    stop = threading.Event()
    ran: list[Unit | None] = []
    looks: list[list[Unit]] = []

    class Late(Board):
        """A lease that is had only once another worker is through with its training."""

        def claim(self, name: str) -> bool:
            if disturbed and not self.asked:
                run_unit(cell.task, cell.store, looks[0][0])
            return super().claim(name)

    def look(*given: Any) -> list[Unit]:
        looks.append(waiting(*given))
        return looks[-1]

    def run(cell: OpenCell, step: Unit | None, deaths: int) -> None:
        ran.append(step)
        stop.set()

    monkeypatch.setattr(worker, "waiting", look)
    monkeypatch.setattr(worker, "_run", run)
    with pytest.raises(Stopped):
        work_on([cell], Late("nobody's"), stop)
    first, second, _ = looks[0]
    if disturbed:
        assert first not in looks[1]
        assert ran == [second]
    else:
        assert ran == [first]
        assert len(looks) == 1
