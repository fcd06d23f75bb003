"""Two commands under one name, and data that change under a sweep: nothing is mixed, and a refusal is one line."""

from __future__ import annotations

import multiprocessing
import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mmbench import faults, paths
from mmbench.data.planted import make_world
from mmbench.data.sources import write_folder
from mmbench.scheduling import job as job_module
from mmbench.scheduling import worker
from mmbench.scheduling.manifest import write_manifest
from mmbench.scheduling.planning import Planned
from mmbench.scheduling.worker import OpenCell, work_on
from mmbench.store import leases, ledger, records
from mmbench.store.leases import FileLeases, Owner, make_leases
from mmbench.store.records import Superseded, read_looks
from mmbench.store.schema import Cell, CellName, Manifest, Stage, Unit
from mmbench.tuning import study
from tests.cli.conftest import Command, Said
from tests.tiny import composed, digests, make_job, opened, sealed, worked

SWEEP = ("-m", "sweep.name=s", "model=vbpr", "modality=none")
OTHER = "budget.max_steps=4"


@pytest.fixture(autouse=True)
def no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """A report takes longer than the cells of this file."""
    monkeypatch.setattr("mmbench.report.write.write_report", lambda folder, **_: SimpleNamespace(text="", cells={}))
    monkeypatch.setattr("mmbench.decision.mirror.mirror", lambda *_: None)


def during(monkeypatch: pytest.MonkeyPatch, happens: Callable[[], None]) -> None:
    """Let something happen once, after the first training of a command."""
    original = study.run_unit

    def run(*args: Any, **named: Any) -> Any:
        done = original(*args, **named)
        monkeypatch.setattr(worker, "run_unit", original)
        happens()
        return done

    monkeypatch.setattr(worker, "run_unit", run)


# Another plan


@pytest.mark.thorough
@pytest.mark.parametrize("word", [OTHER, "study.resume=force"])
def test_another_plan_is_refused_while_a_command_is_at_work_and_nothing_is_lost(
    word: str, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    second: list[Said] = []
    during(monkeypatch, lambda: second.append(command(*SWEEP, word)))
    assert command(*SWEEP).code == 0
    assert second[0].code == 2
    assert second[0].err == (
        "error: planted-complementary/vbpr/none: another command is at work on this sweep, so its records cannot be "
        "set aside for other data, settings or study.resume=force; only budget.trials and budget.seeds can be raised "
        "now; wait until it has ended, or take another sweep.name\n"
    )
    assert not list(tmp_path.rglob("*.stale-*"))
    assert len(list(ledger.read(tmp_path / "s"))) == 2
    assert not list((tmp_path / "s" / "leases").glob("*.lease"))


@pytest.mark.thorough
def test_another_plan_sets_records_aside_once_nobody_is_at_work(command: Command, tmp_path: Path) -> None:
    assert command(*SWEEP).code == 0
    said = command(*SWEEP, OTHER)
    assert said.code == 0, said.err
    assert said.out.count("its records belong to other data or settings; moved to") == 1


@pytest.mark.thorough
def test_trials_are_raised_while_a_command_is_at_work(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    second: list[Said] = []
    during(monkeypatch, lambda: second.append(command(*SWEEP, "budget.trials=3")))
    first = command(*SWEEP)
    assert (first.code, second[0].code) == (0, 0), first.err + second[0].err
    assert [look.trials for look in read_looks(tmp_path / "s" / "planted-complementary" / "vbpr" / "none")] == [3]
    manifest = records.read(paths.manifest_file(tmp_path / "s"), Manifest)
    assert {planned.trials for planned in manifest.cells} == {3}


# Records of another key


@pytest.mark.thorough
def test_records_of_another_key_in_the_same_place_are_not_used(tmp_path: Path) -> None:
    """As two commands left them that wrote to one folder."""
    few = ("model=vbpr", "modality=none", "budget.trials=2")
    job, other = make_job(tmp_path / "a", *few), make_job(tmp_path / "a", *few, "budget.max_steps=4")
    task, store = opened(job)
    alone = sealed(make_job(tmp_path / "b", *few))
    for unit in study.waiting(task, store):
        study.run_unit(task, store, unit)
    stray = other.store(other.task())
    record = store.training_file(Unit(Stage.TRIAL, 1), paths.RECORD)
    theirs = records.read(record, records.Trial)
    records.write(record, records.msgspec.structs.replace(theirs, cell_key=stray.key))
    assert list(store.finished_trainings()) == [Unit(Stage.TRIAL, 0)]
    assert stray.finished_trainings() == {}
    worked(task, store, job.dataset().split)
    assert digests(store.folder) == digests(alone.folder)
    foreign = replace(store, key=stray.key)
    assert (foreign.choice(), foreign.seal()) == (None, None)


def test_a_worker_whose_cell_was_set_aside_stops_before_it_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It slept, its leases ended, and another command took the folder over."""
    job, other = make_job(tmp_path, "model=vbpr"), make_job(tmp_path, "model=vbpr", OTHER)
    task, store = opened(job)
    before: dict[str, str] = {}

    def reach(point: str) -> None:
        if point == "fitted":
            opened(other)
            before.update(digests(tmp_path))

    monkeypatch.setattr(faults, "reach", reach)
    with pytest.raises(Superseded, match="belongs to other data or settings by now: another command took it over"):
        worked(task, store, job.dataset().split)
    after = digests(tmp_path)
    assert {name for name in after if before.get(name) != after[name]} == set()
    assert records.read(paths.cell_file(store.folder), Cell).key == other.store(other.task()).key
    with pytest.raises(Superseded):
        worker.work([job])


# A worker that was silent


@pytest.mark.thorough
@pytest.mark.parametrize("point", ["fitted", "ledger", "sealing"])
def test_a_worker_that_wakes_after_its_lease_was_taken_over_changes_nothing(
    point: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    job = make_job(tmp_path / "slept", "model=vbpr", "budget.trials=2")
    task, store = opened(job)
    alone = sealed(make_job(tmp_path / "alone", "model=vbpr", "budget.trials=2"))
    others = FileLeases(paths.lease_dir(store.sweep_dir), owner=Owner("elsewhere", 1, "1"))
    finished: dict[str, tuple[int, int]] = {}

    def stamps() -> dict[str, tuple[int, int]]:
        files = [file for file in store.folder.rglob("*") if file.is_file()]
        return {str(file): (file.stat().st_ino, file.stat().st_mtime_ns) for file in files}

    def reach(here: str) -> None:
        if here != point or finished:
            return
        finished["asleep"] = (0, 0)
        for lease in others.folder.glob("*.lease"):
            os.utime(lease, (1, 1))
        work_on([OpenCell(task, store, job.dataset().split)], others)
        finished.update(stamps())
        del finished["asleep"]

    monkeypatch.setattr(faults, "reach", reach)
    monkeypatch.setattr(leases, "BEAT", 60.0)
    worked(task, store, job.dataset().split)
    assert "taken over by another worker while this one was silent" in capsys.readouterr().err
    assert stamps() == finished
    assert digests(store.folder) == digests(alone.folder)
    rows = [row.unit for row in ledger.read(store.sweep_dir)]
    assert len(rows) == len(set(rows)) == 2 + 1


def test_a_choice_that_is_written_late_does_not_replace_one_among_more_trials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its worker sleeps before it gives the file its name; meanwhile trials are raised, and others seal the cell."""
    job, raised = (make_job(tmp_path, "model=ease", f"budget.trials={n}") for n in (2, 3))
    task, store = opened(job)
    others = FileLeases(paths.lease_dir(tmp_path), owner=Owner("elsewhere", 1, "1"))
    after: list[dict[str, str]] = []

    def reach(point: str) -> None:
        if point != "record" or not list(store.folder.glob(f".{paths.choice_file(store.folder).name}.*.tmp")):
            return
        monkeypatch.setattr(faults, "reach", lambda point: None)
        for lease in others.folder.glob("*.lease"):
            os.utime(lease, (1, 1))
        work_on([OpenCell(*opened(raised), job.dataset().split)], others)
        after.append(digests(store.folder))

    monkeypatch.setattr(faults, "reach", reach)
    monkeypatch.setattr(leases, "BEAT", 60.0)
    worked(task, store, job.dataset().split)
    assert "seal-0: taken over by another worker while this one was silent" in capsys.readouterr().err
    choice = store.choice()
    assert choice is not None
    assert choice.n_trials == 3
    temporary = {name for name in after[0] if name.endswith(".tmp")}
    assert digests(store.folder) == {name: held for name, held in after[0].items() if name not in temporary}


# The manifest


def _plan(folder: Path, planned: Planned, numbers: range) -> None:
    """Write the manifest once for each number, as so many commands."""
    for number in numbers:
        name = CellName("planted", f"m{number}", "none")
        alone = replace(planned, task=replace(planned.task, cell=name))
        write_manifest(folder, [planned.job], [alone], [f"model=m{number}"])


@pytest.mark.thorough
def test_two_hundred_writes_of_the_manifest_at_once_lose_no_cell(tmp_path: Path) -> None:
    job = make_job(tmp_path, "model=popularity", "modality=none")
    task, store = opened(job)
    planned = Planned(job, task, store, finished=False)
    context = multiprocessing.get_context("fork")
    parts = [range(begin, begin + 25) for begin in range(0, 200, 25)]
    processes = [context.Process(target=_plan, args=(tmp_path, planned, part)) for part in parts[:4]]
    for process in processes:
        process.start()
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda part: _plan(tmp_path, planned, part), parts[4:]))
    for process in processes:
        process.join()
        assert process.exitcode == 0
    manifest = records.read(paths.manifest_file(tmp_path), Manifest)
    assert {planned.model for planned in manifest.cells} == {f"m{number}" for number in range(200)}
    assert len(manifest.revisions) == 200


# Data that change


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A folder of data."""
    folder = tmp_path / "shop"
    write_folder(make_world("complementary", n_users=60, n_items=80, per_user=10), folder, {})
    return folder


def rewritten(file: Path) -> None:
    """Change features within the file, under the pages that workers have mapped."""
    features = np.load(file, mmap_mode="r+")
    features[0] += 1
    features.flush()


def replaced(file: Path) -> None:
    """Put another file in its place."""
    np.save(file.with_name("new.npy"), np.load(file)[::-1])
    os.replace(file.with_name("new.npy"), file)


def cut(file: Path) -> None:
    """Leave it as a copy in progress."""
    data = file.read_bytes()
    file.unlink()  # who has mapped it keeps what it has
    file.write_bytes(data[: len(data) // 2])


@pytest.mark.thorough
@pytest.mark.parametrize("change", [rewritten, replaced, cut])
def test_features_that_change_are_noticed_before_the_next_training(
    change: Callable[[Path], None], shop: Path, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("-m", "sweep.name=s", "model=vbpr", "modality=fused", "budget.trials=3", "dataset=folder")
    words = (*words, "dataset.name=shop", f"dataset.path={shop}")
    file = shop / "image_feat.npy"
    during(monkeypatch, lambda: change(file))
    before = file.read_bytes()
    said = command(*words)
    assert said.code == 2
    (line,) = [line for line in said.err.splitlines() if line.startswith("error:")]
    assert str(file) in line
    if change is not cut:
        assert line == (
            f"error: {file}: the features of image are no longer those that this sweep began with; put the file back, "
            "or start the command again for the new ones"
        )
    assert [row.unit for row in ledger.read(tmp_path / "s")] == [Unit(Stage.TRIAL, 0)]
    assert not list(tmp_path.rglob("failure.json"))
    file.unlink()
    file.write_bytes(before)
    assert command(*words).code == 0
    assert len(list(ledger.read(tmp_path / "s"))) == 3 + 1


@pytest.mark.parametrize(("change", "kept"), [(rewritten, 0), (replaced, 1)])
def test_a_training_that_runs_while_features_change_counts_if_it_did_not_see_it(
    change: Callable[[Path], None],
    kept: int,
    shop: Path,
    command: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A worker has mapped the file: what is written into it changes the features of the training that runs."""
    once = [change]
    monkeypatch.setattr(
        faults, "reach", lambda point: once.pop()(shop / "image_feat.npy") if once and point == "fitted" else None
    )
    said = command("sweep.name=s", "model=vbpr", "dataset=folder", "dataset.name=shop", f"dataset.path={shop}")
    assert said.code == 2
    assert said.err.count("image_feat.npy: the features of image are no longer those") == 1
    assert len(list(ledger.read(tmp_path / "s"))) == kept


def test_a_worker_that_starts_on_other_features_names_them(shop: Path, tmp_path: Path) -> None:
    words = ["budget=touch", "tracking=none", "model=vbpr", "dataset=folder", f"dataset.path={shop}"]
    words += ["dataset.name=shop", "dataset.trust_row_order=true"]
    job = replace(composed(words).job(), sweep_dir=tmp_path / "s")
    opened(job)
    replaced(shop / "text_feat.npy")
    job_module._dataset.cache_clear()  # a process of its own reads its data itself
    job_module._aimed.cache_clear()
    with pytest.raises(ValueError, match=r"text_feat\.npy: the features of text are no longer those that this sweep"):
        worker.work([job])


def test_files_that_are_touched_or_added_change_nothing(
    shop: Path, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def touched() -> None:
        for file in shop.iterdir():
            os.utime(file)
        shutil.copy(shop / "image_feat.npy", shop / "image_feat@clip.npy")

    during(monkeypatch, touched)
    words = ("sweep.name=s", "model=vbpr", "modality=fused", "dataset=folder", f"dataset.path={shop}")
    said = command(*words, "dataset.name=shop", "budget.trials=2")
    assert said.code == 0, said.err
    assert len(list(ledger.read(tmp_path / "s"))) == 2 + 1


@pytest.mark.thorough
def test_leases_of_a_dead_command_refuse_nothing(command: Command, tmp_path: Path) -> None:
    assert command(*SWEEP).code == 0
    left = make_leases("files", tmp_path / "s", 120.0)
    assert isinstance(left, FileLeases)
    left.owner = replace(left.owner, started="1")
    assert left.claim("command-of-a-killed-process")
    assert command(*SWEEP, OTHER).code == 0
