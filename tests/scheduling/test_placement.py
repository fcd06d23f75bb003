"""Pools on other machines: the same pool, the same records."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mmbench.messages import Refusal
from mmbench.scheduling import sweep as sweep_module
from mmbench.scheduling.job import Job
from mmbench.scheduling.placement import PoolTask, Ray, Slurm
from mmbench.scheduling.sweep import LocalPool, Placement, Sweep, join_sweep, run_sweep
from mmbench.tuning.cell import CellTask
from tests.cli.conftest import Here
from tests.tiny import TINY, composed, digests

OVERRIDES = ["model=bpr,fusion", "modality=text"]
OPTIONS = {"timeout_min": 5, "slurm_partition": None}


@pytest.fixture(autouse=True)
def pool_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep_module, "Pool", Here)


def asked(folder: Path, *words: str) -> list[Job]:
    shared = [*TINY, f"paths.multirun={folder}", "sweep.name=s", *words]
    return [composed([*shared, f"model={model}", "modality=text"]).job() for model in ("bpr", "fusion")]


def run(jobs: list[Job], place: Placement | None = None) -> int:
    return run_sweep(jobs, OVERRIDES, lambda folder: "", place)


def cells(folder: Path) -> dict[str, str]:
    """Digest of every file of the cells."""
    return {name: digest for name, digest in digests(folder / "s").items() if name.startswith("planted")}


@pytest.mark.thorough
def test_allocations_give_the_records_of_the_local_pool(tmp_path: Path) -> None:
    assert run(asked(tmp_path / "a")) == 0
    # submitit's executor without a cluster; its job runs when its result is asked for.
    slurm = Slurm(allocations=2, cluster="debug", dry_run=False, max_timeouts=1, options=OPTIONS)
    assert run(asked(tmp_path / "b"), slurm) == 0
    assert cells(tmp_path / "a") == cells(tmp_path / "b") != {}


def test_a_dry_run_says_what_would_be_submitted_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    slurm = Slurm(allocations=8, cluster="slurm", dry_run=True, max_timeouts=1, options=OPTIONS)
    assert run(asked(tmp_path), slurm) == 0
    said = capsys.readouterr().out
    assert "would submit 4 allocations to slurm" in said  # no more than there are trainings
    assert "python -m mmbench -m model=bpr,fusion modality=text" in said
    assert "timeout_min: 5" in said
    assert "slurm_partition" not in said
    ray = Ray(pools=3, address="auto", num_cpus=2, num_gpus=0, dry_run=True)
    assert run(asked(tmp_path), ray) == 0
    assert "would start 3 pools of 2 CPUs" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_a_sweep_that_nobody_reads_says_how_to_go_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    class Unread(LocalPool):
        def __call__(self, sweep: Sweep) -> int:
            raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        run(asked(tmp_path), Unread())
    goes_on = "not finished; this goes on from the last finished training: python -m mmbench -m model=bpr,fusion modali"
    assert capsys.readouterr().err.startswith(goes_on)


def test_a_full_disk_hides_neither_the_code_nor_how_to_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It ends the workers with 74 and the report after them."""

    class Full(LocalPool):
        def __call__(self, sweep: Sweep) -> int:
            return os.EX_IOERR

    def report(folder: Path) -> str:
        raise OSError(errno.ENOSPC, "No space left on device", str(folder / "report" / "table.md"))

    assert run_sweep(asked(tmp_path), OVERRIDES, report, Full()) == os.EX_IOERR
    goes_on, error = capsys.readouterr().err.splitlines()
    assert goes_on.startswith("not finished; this goes on from the last finished training: python -m mmbench -m model")
    assert error == f"error: {tmp_path / 's' / 'report' / 'table.md'}: there is no space left on the disk"


def test_an_allocation_that_is_taken_away_queues_the_same_pool(tmp_path: Path) -> None:
    task = PoolTask(asked(tmp_path), OVERRIDES)
    again = task.checkpoint()
    assert again.function is task


@pytest.mark.thorough
def test_records_set_aside_once_are_not_set_aside_by_every_allocation(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(asked(tmp_path)) == 0
    slurm = Slurm(allocations=2, cluster="debug", dry_run=False, max_timeouts=1, options=OPTIONS)
    assert run(asked(tmp_path, "study.resume=force"), slurm) == 0
    assert capsys.readouterr().out.count("its records set aside") == 2  # one of each model
    assert len(list(tmp_path.rglob("*.stale-*"))) == 2


@pytest.mark.parametrize(
    "module, place, message",
    [
        ("submitit", Slurm(1, "local", False, 1, {}), r"needs submitit: pip install 'mmbench\[slurm\]'"),
        ("ray", Ray(1, None, 1, 0, False), r"needs Ray: pip install 'mmbench\[ray\]'"),
    ],
)
def test_a_missing_library_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, place: Slurm | Ray, message: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ValueError, match=message):
        run(asked(tmp_path), place)
    assert list(tmp_path.iterdir()) == []  # no plan is begun, and no records are set aside, for what cannot run


def test_a_cluster_of_ray_that_does_not_answer_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def init(**named: Any) -> None:
        raise ConnectionError("timed out")

    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(init=init, is_initialized=lambda: False))
    with pytest.raises(ValueError, match=r"^hydra/launcher=ray: no cluster at 10\.0\.0\.1:6379: timed out$"):
        run(asked(tmp_path), Ray(1, "10.0.0.1:6379", 1, 0, False))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.thorough
def test_a_finished_sweep_asks_for_no_other_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Repeated, the command only writes the report again; the cluster may be gone by then."""
    assert run(asked(tmp_path)) == 0
    for name in ("ray", "submitit"):
        monkeypatch.setitem(sys.modules, name, None)
    assert run(asked(tmp_path), Ray(3, "10.0.0.1:6379", 2, 0, False)) == 0
    assert run(asked(tmp_path), Slurm(2, "slurm", False, 1, OPTIONS)) == 0
    capsys.readouterr()


def test_no_more_pools_of_ray_than_trainings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ray = Ray(pools=100, address="auto", num_cpus=2, num_gpus=0, dry_run=True)
    assert run(asked(tmp_path), ray) == 0
    assert "would start 4 pools of 2 CPUs" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("codes", "code"),
    [([None, 143, 0], 0), ([143, 143], 3), ([os.EX_IOERR, 143], os.EX_IOERR)],
)
def test_an_allocation_that_is_cancelled_or_lost_ends_its_own_pool_alone(
    codes: list[int | None],
    code: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One that ends with 0 has seen that every cell is over; without it work is left, and the report says which."""

    class Job:
        def __init__(self, number: int) -> None:
            self.job_id = str(number)

        def result(self) -> int:
            ended = codes[int(self.job_id)]
            if ended is None:
                raise TimeoutError
            return ended

    class Executor:
        def __init__(self, **_: object) -> None:
            self.jobs: list[Job] = []

        def update_parameters(self, **_: object) -> None: ...

        def batch(self) -> contextlib.nullcontext[None]:
            return contextlib.nullcontext()

        def submit(self, task: PoolTask) -> Job:
            self.jobs.append(Job(len(self.jobs)))
            return self.jobs[-1]

    monkeypatch.setitem(sys.modules, "submitit", SimpleNamespace(AutoExecutor=Executor))
    place = Slurm(len(codes), "local", False, 1, OPTIONS)
    assert run_sweep(asked(tmp_path), OVERRIDES, lambda folder: "the report", place) == code
    said = capsys.readouterr()
    assert said.out.splitlines()[-1] == "the report"
    assert ("allocation 0 ended badly: TimeoutError" in said.out) == (codes[0] is None)
    assert ("not finished; this goes on from the last finished training" in said.err) == (code != 0)


def test_a_pool_of_ray_that_is_lost_ends_its_own_work_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The others go on until their work is over, and the report is written."""
    asked_for: list[int] = []

    def get(pool: int) -> int:
        asked_for.append(pool)
        if pool == 1:
            raise RuntimeError("traceback\nWorkerCrashedError: the node died")
        return 0

    pools = iter((1, 2))
    ray = SimpleNamespace(
        is_initialized=lambda: True,
        nodes=lambda: [{"Alive": True, "Resources": {"CPU": 4.0}}],
        remote=lambda **_: lambda join: SimpleNamespace(remote=lambda task: next(pools)),
        get=get,
        shutdown=lambda: None,
    )
    monkeypatch.setitem(sys.modules, "ray", ray)
    place = Ray(pools=2, address="auto", num_cpus=2, num_gpus=0, dry_run=False)
    assert run_sweep(asked(tmp_path), OVERRIDES, lambda folder: "the report", place) == 0
    said = capsys.readouterr().out.splitlines()
    assert asked_for == [1, 2]
    assert "pool 1 ended badly: WorkerCrashedError: the node died" in said
    assert said[-1] == "the report"


def test_a_pool_that_comes_later_is_refused_if_the_code_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An allocation may begin days after its sweep was planned."""
    assert run(asked(tmp_path)) == 0
    now = [job.resuming() for job in asked(tmp_path, "budget.trials=3")]
    Sweep.plan(now, OVERRIDES).open()
    original = Job.task

    def changed(job: Job) -> CellTask:
        task = original(job)
        return replace(task, versions={**task.versions, "torch": "0.0.1"})

    monkeypatch.setattr(Job, "task", changed)
    with pytest.raises(Refusal, match=r"would be trained by other code or versions than .* was \(torch\)"):
        join_sweep(now, OVERRIDES)


@pytest.mark.parametrize(
    ("cluster", "options", "message"),
    [("local", {"walltime": 3}, "walltime"), ("slurm", {}, 'Could not detect "srun"')],
)
def test_what_submitit_refuses_is_told(
    cluster: str, options: dict[str, int], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")  # on a cluster there is an srun
    with pytest.raises(ValueError, match=f"hydra/launcher=slurm: .*{message}"):
        run(asked(tmp_path), Slurm(1, cluster, False, 1, options))
    assert list(tmp_path.iterdir()) == []
