"""Kill a worker anywhere or tear any file: nothing that was finished is lost, and the records come out the same."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from mmbench import faults, paths
from mmbench.scheduling import worker
from mmbench.scheduling.job import Job
from mmbench.scheduling.sweep import Sweep
from mmbench.store import ledger
from mmbench.store.leases import is_stopped
from mmbench.store.schema import Unit
from mmbench.training.fit import fit
from mmbench.tuning import study
from tests.tiny import TINY, composed
from tests.torn import MODES, command, results, tear

#: Starts a worker on the pickled jobs of this very test.
WORKER = """
import ctypes, pickle, sys
from mmbench.scheduling import worker
worker.start(pickle.load(open(sys.argv[1], 'rb')), ctypes.create_string_buffer(worker.STATE_SIZE))
"""
#: Opens the pickled sweep of this very test, as its command does before it starts workers.
OPENER = "import pickle, sys; pickle.load(open(sys.argv[1], 'rb')).open()"
#: Folders of what was superseded when effort was raised.
EARLIER = {"looks", "aside"}
CELLS = (("bpr", "none"), ("fusion", "text"), ("itemknn", "none"))


def jobs(folder: Path, *words: str) -> list[Job]:
    """The jobs of a small sweep."""
    epochs = ("budget.max_steps=1", "budget.least_epochs=2")
    shared = [*TINY, "budget=smoke", *epochs, "budget.seeds=2", f"paths.multirun={folder}", *words]
    return [composed([*shared, f"model={m}", f"modality={c}", "sweep.name=kills"]).job() for m, c in CELLS]


def prepared(folder: Path, *words: str) -> Sweep:
    """A small sweep."""
    return Sweep.plan(jobs(folder, *words), [])


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
    return results(folder / "kills")


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


@pytest.mark.slow
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


@pytest.mark.thorough
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


RAISED = ("budget.trials=4", "budget.seeds=3", "export.top_k=5")
#: A file of every kind, no two of which damage the same training, and what is left of it.
TORN = {
    "manifest.json": "empty",
    "ledger.jsonl": "cut",
    "bpr/-/cell.json": "cut",
    "bpr/-/looks/1/sealed.json": "zeros",
    "bpr/-/trials/000.json": "garbage",
    "bpr/-/trials/001.state.npz": "cut",
    "bpr/-/finals/seed1.valid.parquet": "empty",
    "bpr/-/finals/seed2.state.npz": "zeros",
    "fusion/text/choice.json": "empty",
    "fusion/text/sealed.json": "garbage",
    "fusion/text/trials/002.test.parquet": "cut",
    "fusion/text/finals/seed3.lists.parquet": "zeros",
    "fusion/text/finals/seed1.shuffled_text.test.parquet": "empty",
    "fusion/text/recommendations.csv": "zeros",
    "fusion/text/looks/1/choice.json": "cut",
    "itemknn/-/aside/*/finals/seed2.json": "cut",
    "itemknn/-/aside/*/finals/seed1.test.parquet": "zeros",
}
#: Of these, damages that cost a training each, and files that have a copy.
TRAINED_AGAIN, WITH_A_COPY = 5, 5


@pytest.fixture(scope="module")
def looked_at_twice(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep that was raised after its end."""
    folder = tmp_path_factory.mktemp("looked_at_twice")
    assert command(jobs(folder, "export.top_k=5")) == command(jobs(folder, *RAISED)) == 0
    return folder


def copied(folder: Path, target: Path) -> Path:
    """A copy of a sweep."""
    shutil.copytree(folder, target, dirs_exist_ok=True)
    return target / "kills"


def times_trained(sweep_dir: Path) -> Counter[tuple[str, Unit, str]]:
    """How often each training was run to its end, lines that were written again from a record left out."""
    rows = [row for row in ledger.read(sweep_dir) if row.cost.seconds is not None]
    return Counter((row.cell_key, row.unit, row.configuration_hash) for row in rows)


@pytest.mark.slow
def test_a_torn_file_of_every_kind_is_made_again_and_nothing_else(
    looked_at_twice: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep_dir = copied(looked_at_twice, tmp_path)
    for name, mode in TORN.items():
        (file,) = sweep_dir.glob(name if name in ("manifest.json", "ledger.jsonl") else f"planted-complementary/{name}")
        tear(file, mode, random.Random(0))
    trained = []
    monkeypatch.setattr(study, "fit", lambda *given, **named: trained.append(given) or fit(*given, **named))
    capsys.readouterr()
    assert command(jobs(tmp_path, *RAISED)) == 0
    said = capsys.readouterr().out
    assert results(sweep_dir) == results(looked_at_twice / "kills")
    assert len(trained) == TRAINED_AGAIN
    kept = [file for file in paths.damaged_dir(sweep_dir).rglob("*") if file.is_file()]
    for name in TORN:
        if name != "ledger.jsonl":
            assert any(file.match(name) for file in kept), name
    assert said.count("counts as never written; moved to") == len(TORN) - WITH_A_COPY - 1
    assert said.count("was written again from its copy") == WITH_A_COPY
    assert "ledger.jsonl: 1 line cannot be read" in said
    command(jobs(tmp_path, *RAISED))
    assert len(trained) == TRAINED_AGAIN
    assert "moved to" not in capsys.readouterr().out


@pytest.mark.thorough
def test_damage_in_the_middle_of_a_file_is_mended_when_it_is_read(
    looked_at_twice: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep_dir = copied(looked_at_twice, tmp_path)
    file = sweep_dir / "planted-complementary" / "bpr" / "-" / "finals" / "seed1.test.parquet"
    content = bytearray(file.read_bytes())
    content[len(content) // 4 : len(content) // 2] = bytes(len(content) // 2 - len(content) // 4)
    file.write_bytes(content)
    assert command(jobs(tmp_path, *RAISED)) == 0
    assert f"{file} is empty, cut or overwritten" in capsys.readouterr().out
    assert results(sweep_dir) == results(looked_at_twice / "kills")


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("state", ["finished", "unfinished"])
def test_any_torn_file_is_made_again(mode: str, state: str, looked_at_twice: Path, tmp_path: Path) -> None:
    """Each file in turn, of a sweep that was raised and finished, and of one that was killed between two cells."""
    began, expected = looked_at_twice, results(looked_at_twice / "kills")
    if state == "unfinished":
        began = tmp_path / "began"
        began.mkdir()
        planned(began, *RAISED)
        assert start(began, "sealing").wait() == start(began, "ledger").wait() == -signal.SIGKILL
        at_once = tmp_path / "at_once"
        assert command(jobs(at_once, *RAISED)) == 0
        expected = results(at_once / "kills")
    before = times_trained(began / "kills")
    for number, file in enumerate(sorted(file for file in began.rglob("*") if file.is_file())):
        folder = tmp_path / str(number)
        torn = copied(began, folder) / file.relative_to(began / "kills") if began / "kills" in file.parents else None
        if torn is None:
            continue
        tear(torn, mode, random.Random(number))
        assert command(jobs(folder, *RAISED)) == 0, file
        assert results(folder / "kills") == expected, file
        again = times_trained(folder / "kills")
        if torn.suffix != ".jsonl":
            assert sum((again - before).values()) <= 1 + len(again.keys() - before.keys()), file
        shutil.rmtree(folder)
