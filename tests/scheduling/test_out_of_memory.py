"""A training that runs out of memory ends with a reason, and the worker that had it goes on with the others."""

from __future__ import annotations

import contextlib
import gc
import os
import resource
import subprocess
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from mmbench import paths
from mmbench.store import records
from mmbench.store.schema import CellFailure, Manifest, Stage, Trial
from mmbench.training import allocation
from mmbench.tuning import study
from tests.cli.conftest import Command
from tests.tiny import TINY, make_job, opened, worked, write_hungry_model

GIB = 2**30
#: Three models with one cell each and two with four conditions, besides the one that is hungry.
MODELS = "model=hungry,popularity,itemknn,ease,hybridknn,contentknn"
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


@pytest.mark.parametrize(("of", "said"), [("torch", "RuntimeError: "), ("numpy", "MemoryError: Unable to allocate ")])
def test_eleven_of_twelve_cells_are_done(of: str, said: str, command: Command, tmp_path: Path) -> None:
    write_hungry_model(tmp_path / "conf", of)
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


def test_the_limit_of_a_test_is_one() -> None:
    with limited(GIB), pytest.raises(RuntimeError) as raised:
        torch.empty(2 * GIB, dtype=torch.int8)
    assert allocation.is_out_of_memory(raised.value)
    assert torch.empty(2 * GIB, dtype=torch.int8).numel() == 2 * GIB
