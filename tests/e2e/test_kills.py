"""Kill a worker anywhere: no finished training is lost, and the records come out the same."""

from __future__ import annotations

import contextlib
import json
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
from mmbench.store.leases import is_stopped
from tests.tiny import TINY, digests

#: Starts a worker on the pickled jobs of this very test.
WORKER = "import pickle, sys; from mmbench.scheduling import worker; worker.start(pickle.load(open(sys.argv[1], 'rb')))"
#: Opens the pickled sweep of this very test, as its command does before it starts workers.
OPENER = "import pickle, sys; pickle.load(open(sys.argv[1], 'rb')).open()"
#: Folders of what was superseded when effort was raised.
EARLIER = {"looks", "aside"}
CELLS = (("bpr", "none"), ("fusion", "text"), ("itemknn", "none"))


def prepared(folder: Path, *words: str) -> Sweep:
    """A small sweep."""
    epochs = ("budget.max_steps=1", "budget.least_epochs=2")
    shared = [*TINY, "budget=smoke", *epochs, "budget.seeds=2", f"paths.multirun={folder}", *words]
    jobs = [compose([*shared, f"model={m}", f"modality={c}", "sweep.name=kills"]).job() for m, c in CELLS]
    return Sweep.plan(jobs, [])


def planned(folder: Path, *words: str) -> Sweep:
    """The same, opened but not run."""
    sweep = prepared(folder, *words)
    sweep.open()
    (folder / "jobs.pickle").write_bytes(pickle.dumps(sweep.waiting))
    return sweep


def start(folder: Path, fault: str = "") -> subprocess.Popen[bytes]:
    """Start a worker process that dies at a point, or works to the end."""
    environment = {**os.environ, faults.VARIABLE: fault}
    return subprocess.Popen([sys.executable, "-c", WORKER, str(folder / "jobs.pickle")], env=environment)


def raised(folder: Path, fault: str = "") -> int:
    """Plan two more trials and one more final run in a process that dies at a point or gives its exit code."""
    sweep = prepared(folder, "budget.trials=4", "budget.seeds=3")
    (folder / "sweep.pickle").write_bytes(pickle.dumps(sweep))
    (folder / "jobs.pickle").write_bytes(pickle.dumps(sweep.waiting))
    environment = {**os.environ, faults.VARIABLE: fault}
    return subprocess.run([sys.executable, "-c", OPENER, str(folder / "sweep.pickle")], env=environment).returncode


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


@pytest.fixture(scope="module")
def undisturbed_raise(undisturbed: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The sweep raised after its end: what is current is what a sweep leaves that was planned like this at once."""
    folder, at_once = tmp_path_factory.mktemp("raised"), tmp_path_factory.mktemp("at_once")
    worker.work(planned(folder).waiting)
    assert raised(folder) == 0
    worker.work(prepared(folder, "budget.trials=4", "budget.seeds=3").waiting)
    worker.work(planned(at_once, "budget.trials=4", "budget.seeds=3").waiting)
    found = cells(folder)
    assert {name: digest for name, digest in found.items() if not EARLIER & set(Path(name).parts)} == cells(at_once)
    earlier = {part for name in found for part in EARLIER & set(Path(name).parts)}
    assert earlier == EARLIER, "no cell chose another configuration"
    return found


@pytest.mark.slow
def test_a_kill_while_effort_is_raised_loses_nothing(
    tmp_path: Path, undisturbed_raise: dict[str, str], undisturbed: dict[str, str]
) -> None:
    """Of the trainings of before none runs again, and of the later ones only those that a kill hit."""
    planned(tmp_path)
    assert start(tmp_path).wait() == 0
    assert cells(tmp_path) == undisturbed
    before = len(list(ledger.read(tmp_path / "kills")))
    planning, *working = faults.RAISING
    assert raised(tmp_path, planning) == -signal.SIGKILL
    assert raised(tmp_path) == 0
    for point in (*working, "chosen", "record", "ledger", "sealing"):
        assert start(tmp_path, point).wait() == -signal.SIGKILL, f"no worker reached {point!r}"
    for process in [start(tmp_path) for _ in range(2)]:
        assert process.wait() == 0
    assert cells(tmp_path) == undisturbed_raise
    rows = [(row.cell_key, row.unit, row.configuration_hash) for row in ledger.read(tmp_path / "kills")]
    assert len(rows) == len(set(rows)), "a finished training was run again"
    assert before == len(CELLS) * (2 + 2)


@pytest.mark.slow
def test_kills_at_every_point_lose_nothing(tmp_path: Path, undisturbed: dict[str, str]) -> None:
    """However often a training is hit, it does not count as failed."""
    check_kills(tmp_path, [*faults.POINTS, *faults.POINTS[:6]], undisturbed, workers=3)


@pytest.mark.slow
@pytest.mark.parametrize("point", ["fitted", "record", "ledger", "sealing"])
def test_a_stopped_worker_is_overtaken_and_writes_nothing_when_it_wakes(
    point: str, tmp_path: Path, undisturbed: dict[str, str]
) -> None:
    planned(tmp_path, "study.lease_timeout=2")
    asleep = start(tmp_path, f"stop:{point}")
    for _ in range(6000):
        if is_stopped(asleep.pid):
            break
        time.sleep(0.01)
    assert is_stopped(asleep.pid), f"no worker reached {point!r}"
    assert start(tmp_path).wait() == 0
    rows = list(ledger.read(tmp_path / "kills"))
    asleep.send_signal(signal.SIGCONT)
    assert asleep.wait() == 0
    assert list(ledger.read(tmp_path / "kills")) == rows
    found = cells(tmp_path)
    assert found == undisturbed
    assert len({(row.cell_key, row.unit) for row in rows}) == len(rows)


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
    """A worker that holds a training."""
    for _ in range(6000):
        for file in rng.sample(found := sorted((folder / "kills" / "leases").glob("*.lease")), len(found)):
            with contextlib.suppress(OSError, ValueError):  # given back, or not written yet
                pid = json.loads(file.read_bytes())["pid"]
                places = [i for i, process in enumerate(workers) if process.pid == pid]
                if places:
                    return places[0]
        time.sleep(0.01)
    raise AssertionError("no worker took a training any more")


def test_a_worker_that_is_told_to_stop_gives_its_training_back(tmp_path: Path) -> None:
    planned(tmp_path, "budget.least_epochs=100000", "budget.patience_steps=1000000", "sweep.grace=1")
    process = start(tmp_path)
    leases = tmp_path / "kills" / "leases"
    for _ in range(6000):
        if list(leases.glob("*.lease")):
            break
        time.sleep(0.1)
    time.sleep(1.0)
    process.terminate()
    assert process.wait() == worker.EXIT_STOPPED
    assert list(leases.glob("*.lease")) == []
