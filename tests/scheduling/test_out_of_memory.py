"""A training that runs out of memory ends with a reason, and the worker that had it goes on with the others."""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import resource
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from mmbench import paths
from mmbench.messages import Refusal
from mmbench.nn.memo import Memo
from mmbench.scheduling import worker
from mmbench.scheduling.job import forget_data
from mmbench.scheduling.sweep import Sweep
from mmbench.store import records
from mmbench.store.leases import make_leases
from mmbench.store.schema import CellFailure, Manifest, Stage, Trial
from mmbench.training import allocation
from mmbench.training.fit import fit
from mmbench.tuning import study
from tests.cli.conftest import Command
from tests.tiny import TINY, make_job, opened, sealed, worked, write_hungry_model

GIB = 2**30
#: Three models with one cell each and two with four conditions, besides the one that is hungry.
MODELS = "model=hungry,popularity,itemknn,ease,hybridknn,contentknn"
MODALITIES = ("none", "text", "image", "fused")
SWEEP = ("-m", "sweep.name=s", MODELS, "modality=none,text,image,fused")


@contextlib.contextmanager
def limited(room: int) -> Iterator[None]:
    """Let this process address no more than so many bytes besides those it has."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    size = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (size + room, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def check(sweep: Path, said: str) -> None:
    """One cell of twelve has failed for want of memory, and all others are done."""
    manifest = records.read(paths.manifest_file(sweep), Manifest)
    failed = {cell.model for cell in manifest.cells if paths.failure_file(sweep / cell.folder).exists()}
    done = {cell.name for cell in manifest.cells if paths.seal_file(sweep / cell.folder).exists()}
    assert (len(manifest.cells), failed, len(done)) == (12, {"hungry"}, 11)
    (hungry,) = (sweep / cell.folder for cell in manifest.cells if cell.model == "hungry")
    trial = records.read(paths.training_file(hungry, Stage.TRIAL, 0, paths.RECORD), Trial)
    assert trial.failure is not None
    assert trial.failure.reason.startswith(f"out of memory: {said}")
    assert "out of memory" in records.read(paths.failure_file(hungry), CellFailure).reason


@pytest.mark.slow
@pytest.mark.parametrize(
    ("of", "at", "said"),
    [
        ("torch", "fit", "RuntimeError: "),
        ("numpy", "fit", "MemoryError: Unable to allocate "),
        ("torch", "build", "RuntimeError: "),
    ],
)
def test_eleven_of_twelve_cells_are_done(of: str, at: str, said: str, command: Command, tmp_path: Path) -> None:
    write_hungry_model(tmp_path / "conf", of, at)
    with limited(8 * GIB):
        ended = command(*SWEEP, "--config-dir", str(tmp_path / "conf"))
    assert ended.code == 1
    assert "hungry/-: " in ended.err
    assert "out of memory" in ended.err
    check(tmp_path / "s", said)


@pytest.mark.slow
def test_the_workers_of_a_pool_live_on(tmp_path: Path) -> None:
    """Under a limit of the address space, as ``ulimit -v`` sets it for a command and all of its workers."""
    write_hungry_model(tmp_path / "conf")
    command = [
        sys.executable, "-m", "mmbench", *SWEEP, *TINY, f"paths.multirun={tmp_path}", "sweep.workers=2",
        "--config-dir", str(tmp_path / "conf"),
    ]  # fmt: skip
    most = (64 * GIB, 64 * GIB)
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=500, cwd=Path(__file__).parents[2],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, most),
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    check(tmp_path / "s", "RuntimeError: ")


@pytest.mark.slow
def test_data_that_do_not_fit_end_their_cell_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command could read them, the worker cannot: features of 200 MB under a limit of 100 MB."""
    wide = ("dataset.name=planted-wide", "dataset.world_options.image_dim=600000")
    models = [("popularity", "none"), ("itemknn", "none"), ("ease", "none")]
    models += [(model, modality) for model in ("hybridknn", "contentknn") for modality in MODALITIES]
    words = [(f"model={model}", f"modality={modality}") for model, modality in models]
    jobs = [make_job(tmp_path / "s", *some) for some in [*words[:3], ("model=bpr", *wide), *words[3:]]]
    sweep = Sweep.plan(jobs, [])
    sweep.open()
    forget_data()
    with limited(100 << 20):
        worker.work(sweep.waiting)
        worker.work(sweep.waiting)  # who comes later finds nothing to do, and needs no memory to see that
    manifest = records.read(paths.manifest_file(sweep.folder), Manifest)
    failed = [cell for cell in manifest.cells if paths.failure_file(sweep.folder / cell.folder).exists()]
    done = [cell for cell in manifest.cells if paths.seal_file(sweep.folder / cell.folder).exists()]
    assert ([cell.dataset for cell in failed], len(done), len(manifest.cells)) == (["planted-wide"], 11, 12)
    failure = records.read(paths.failure_file(sweep.folder / failed[0].folder), CellFailure)
    assert failure.key == failed[0].key
    assert failure.reason.startswith("out of memory: MemoryError: Unable to allocate ")
    assert "\n" not in failure.reason
    assert sweep.conclude(0) == 1
    assert f"failed: planted-wide/bpr/-: {failure.reason}\n" in capsys.readouterr().err
    again = Sweep.plan(jobs, [])  # where there is memory, the same command does what is left
    again.open()
    worker.work(again.waiting)
    assert paths.seal_file(sweep.folder / failed[0].folder).exists()


@pytest.mark.thorough
def test_a_cell_that_another_worker_is_at_is_left_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = make_job(tmp_path, "model=popularity")
    _, store = opened(job)
    leases = make_leases("files", tmp_path, timeout=60.0)
    lease = f"{store.short_key}.tune-0"
    assert leases.claim(lease)
    original, short = worker._opened, [True]

    def open_cell(*given: Any) -> worker.OpenCell:
        if short[0]:
            raise MemoryError("Unable to allocate 8.00 GiB")
        return original(*given)

    class Patient(threading.Event):
        """The other worker gives the training back while this one waits, and memory is free by then."""

        waits = 0

        def wait(self, timeout: float | None = None) -> bool:
            self.waits += 1
            assert store.failure() is None
            if self.waits == 3:
                leases.release(lease)
                short[0] = False
            return self.is_set()

    monkeypatch.setattr(worker, "_opened", open_cell)
    monkeypatch.setattr(worker, "make_leases", lambda *given: leases)
    stop = Patient()
    worker.work([job], stop)
    assert stop.waits == 3
    assert store.failure() is None
    assert store.seal() is not None


@pytest.mark.parametrize("error", [RuntimeError("shapes differ"), Refusal("{path} is gone", path="x.npy")])
def test_another_error_of_opening_is_none_of_memory(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = make_job(tmp_path, "model=popularity")
    _, store = opened(job)

    def fails(*given: object) -> None:
        raise error

    monkeypatch.setattr(worker, "_opened", fails)
    with pytest.raises(type(error)):
        worker.work([job])
    assert store.failure() is None


class Kept:
    """Something that a memo keeps."""


def raised_from(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            MemoryError("Unable to allocate 8.00 GiB"),
            "out of memory: MemoryError: Unable to allocate 8.00 GiB",
        ),
        (
            torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of"),
            "out of memory: OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.",
        ),
        (
            RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED"),
            "out of memory: RuntimeError: CUDA error: ",
        ),
        (
            RuntimeError("[enforce fail at alloc_cpu.cpp:1] err == 0. DefaultCPUAllocator: not enough memory"),
            "out of memory: RuntimeError: [enforce fail",
        ),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "out of memory: OSError: [Errno 12] Cannot allocate"),
        (
            raised_from(Refusal("{path} is not a readable .npy file", path="x.npy"), MemoryError("Unable to allocate")),
            "out of memory: MemoryError: Unable to allocate",
        ),
        (OSError(errno.ENOSPC, "No space left on device"), "OSError: [Errno 28] No space left"),
        (raised_from(ValueError("x"), RuntimeError("y")), "ValueError: x"),
        (RuntimeError("shapes differ"), "RuntimeError: shapes differ"),
        (ValueError("out of memory cards"), "ValueError: out of memory cards"),
    ],
)
def test_the_reason_says_what_was_wanting(error: Exception, said: str) -> None:
    assert allocation.reason(error).startswith(said)
    assert ("total capacity" in allocation.reason(error)) is False


def test_nothing_of_a_failed_training_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tensors in a circle, as those of a trainer, are gone before the second try, and after it."""
    alive: list[weakref.ref[torch.nn.Module]] = []
    left: list[int] = []

    def fails(*given: object, **named: object) -> None:
        left.append(sum(one() is not None for one in alive))
        module = torch.nn.Linear(1000, 1000)
        module.circle = torch.nn.ModuleList([torch.nn.Linear(1, 1)])
        module.circle.owner = [module]  # type: ignore[assignment]
        alive.append(weakref.ref(module))
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has")

    emptied: list[int] = []
    monkeypatch.setattr(study, "fit", fails)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: emptied.append(len(alive)))
    job = make_job(tmp_path, "model=bpr", "budget.trials=1")
    task, store = opened(job)
    gc.disable()  # nothing but the code under test collects
    try:
        worked(task, store, job.dataset().split)
        assert left == [0, 0]
        assert [one() for one in alive] == [None, None]
    finally:
        gc.enable()
    assert emptied[:2] == [1, 2]
    failure = store.failure()
    assert failure is not None
    assert "Tried to allocate 2.00 GiB." in failure.reason


@pytest.mark.parametrize(("error", "kept"), [(MemoryError("Unable to allocate"), False), (RuntimeError("x"), True)])
def test_what_is_kept_for_the_next_training_is_let_go_of_where_memory_is_short(
    error: Exception, kept: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the second try, which has that memory then; after another error nothing is computed anew."""
    memo, asked = Memo[Kept](1), []

    def fails_once(*given: Any, **named: Any) -> Any:
        asked.append(memo.get("key", Kept))
        if len(asked) == 1:
            raise error
        return fit(*given, **named)

    monkeypatch.setattr(study, "fit", fails_once)
    assert sealed(make_job(tmp_path, "model=popularity", "budget.trials=1")).seal() is not None
    assert (asked[0] is asked[1]) is kept


def test_what_is_kept_is_let_go_of_before_data_are_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = make_job(tmp_path, "model=popularity")
    opened(job)
    memo, opens, original = Memo[Kept](1), [], worker._opened
    first = weakref.ref(memo.get("key", Kept))

    def short_once(*given: Any) -> worker.OpenCell:
        opens.append(first() is not None)
        if len(opens) == 1:
            raise MemoryError("Unable to allocate 8.00 GiB")
        return original(*given)

    monkeypatch.setattr(worker, "_opened", short_once)
    worker.work([job])
    assert opens == [True, False]


def test_the_limit_of_a_test_is_one() -> None:
    with limited(GIB), pytest.raises(RuntimeError) as raised:
        torch.empty(2 * GIB, dtype=torch.int8)
    assert allocation.is_out_of_memory(raised.value)
    assert torch.empty(2 * GIB, dtype=torch.int8).numel() == 2 * GIB
