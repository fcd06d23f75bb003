"""Kill a worker anywhere: no finished training is lost, and the records come out the same."""

from __future__ import annotations

import os
import pickle
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from mmbench import faults, paths
from mmbench.cli.compose import compose
from mmbench.scheduling import worker
from mmbench.scheduling.sweep import Sweep
from mmbench.store import ledger
from mmbench.store.leases import MAX_DEATHS, FileLeases
from tests.tiny import TINY, digests

#: Starts a worker on the pickled jobs of this very test.
WORKER = (
    "import pickle, sys; from mmbench.scheduling import worker; "
    "worker.start(pickle.load(open(sys.argv[1], 'rb')), None)"
)
CELLS = (("bpr", "none"), ("fusion", "text"), ("itemknn", "none"))


def planned(folder: Path, *words: str) -> Sweep:
    """A small sweep, opened but not run."""
    epochs = ("budget.max_steps=1", "budget.least_epochs=2")
    shared = [*TINY, "budget=smoke", *epochs, "budget.seeds=2", f"paths.multirun={folder}", *words]
    jobs = [compose([*shared, f"model={m}", f"modality={c}", "sweep.name=kills"]).job() for m, c in CELLS]
    sweep = Sweep.plan(jobs, [])
    sweep.open()
    (folder / "jobs.pickle").write_bytes(pickle.dumps(sweep.waiting))
    return sweep


def start(folder: Path, fault: str = "") -> subprocess.Popen[bytes]:
    """Start a worker process that dies at a point, or works to the end."""
    environment = {**os.environ, faults.VARIABLE: fault}
    return subprocess.Popen([sys.executable, "-c", WORKER, str(folder / "jobs.pickle")], env=environment)


def cells(folder: Path) -> dict[str, str]:
    """Digest of every record of every cell; leases and the ledger say how it came about, not what came out."""
    found = digests(folder / "kills")
    return {name: digest for name, digest in found.items() if name.count("/") >= 3}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("undisturbed")
    worker.work(planned(folder).waiting)
    found = cells(folder)
    assert sum(name.endswith(paths.seal_file(folder).name) for name in found) == len(CELLS)
    return found


def check_kills(folder: Path, points: Sequence[str], undisturbed: dict[str, str], workers: int = 1) -> None:
    planned(folder)
    for point in points:
        assert start(folder, point).wait() == -signal.SIGKILL, f"no worker reached {point!r}"
    for process in [start(folder) for _ in range(workers)]:
        assert process.wait() == 0
    assert cells(folder) == undisturbed
    rows = [(row.cell_key, row.unit) for row in ledger.read(folder / "kills")]
    assert len(rows) == len(set(rows)), "a finished training was run again"


def test_a_kill_loses_nothing_that_was_finished(tmp_path: Path, undisturbed: dict[str, str]) -> None:
    check_kills(tmp_path, ["fitted", "locked", "sealing"], undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize("points", [faults.POINTS[:4], faults.POINTS[4:]], ids=" ".join)
def test_kills_at_every_point_lose_nothing(
    points: tuple[str, ...], tmp_path: Path, undisturbed: dict[str, str]
) -> None:
    """In two halves: the fifth death in one training would count as its failure."""
    check_kills(tmp_path, points, undisturbed, workers=3)


@pytest.mark.slow
def test_twenty_kills_at_random_with_three_workers_lose_nothing(tmp_path: Path) -> None:
    """Each kill hits a worker that holds a training, somewhere in it."""
    longer = ("budget.trials=6", "budget.least_epochs=150", "budget.patience_steps=100000")
    alone, together = tmp_path / "alone", tmp_path / "together"
    for folder in (alone, together):
        folder.mkdir()
        planned(folder, *longer)
    assert start(alone).wait() == 0
    rng = random.Random(0)
    workers = [start(together) for _ in range(3)]
    for _ in range(20):
        victim = holder(together, workers, rng)
        time.sleep(rng.uniform(0.0, 0.5))
        workers[victim].kill()
        workers[victim].wait()
        workers[victim] = start(together)
    for process in workers:
        assert process.wait() == 0
    assert cells(together) == cells(alone)
    rows = [(row.cell_key, row.unit) for row in ledger.read(together / "kills")]
    assert len(rows) == len(set(rows)) == len(CELLS) * (6 + 2)


def holder(folder: Path, workers: Sequence[subprocess.Popen[bytes]], rng: random.Random) -> int:
    """A worker that holds a training; one that has been hit often is spared, for five deaths make it a failure."""
    leases = FileLeases(folder / "kills" / "leases")
    for _ in range(6000):
        for file in rng.sample(found := sorted(leases.folder.glob("*.lease")), len(found)):
            owner = leases._read(file)
            places = [i for i, process in enumerate(workers) if owner is not None and process.pid == owner.pid]
            if places and leases.deaths(file.stem) < MAX_DEATHS - 1:
                return places[0]
        time.sleep(0.01)
    raise AssertionError("no worker took a training any more")


def test_a_worker_that_is_told_to_stop_gives_its_training_back(tmp_path: Path) -> None:
    planned(tmp_path, "budget.least_epochs=100000", "budget.patience_steps=1000000")
    process = start(tmp_path)
    leases = tmp_path / "kills" / "leases"
    for _ in range(600):
        if list(leases.glob("*.lease")):
            break
        time.sleep(0.1)
    time.sleep(1.0)
    process.terminate()
    assert process.wait() == worker.EXIT_STOPPED
    assert list(leases.glob("*.lease")) == []
