"""Draws of the tuning: other slots, seeds and shuffles on the same data, side by side in one sweep."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from mmbench import paths
from mmbench.report.draws import Draws, read_draws
from mmbench.report.reading import read_sweep
from mmbench.scheduling.job import Job
from mmbench.store import records
from mmbench.store.schema import Cell, Manifest, Stage, Unit
from mmbench.tuning.space import configuration_hash, configurations
from mmbench.tuning.study import run_unit
from tests.cli.conftest import Command
from tests.tiny import make_job, opened

TRIALS = "budget.trials=6"
DATA = "planted-complementary"


def job(draw: int, *words: str) -> Job:
    return make_job(Path("sweep"), TRIALS, f"study.draw={draw}", *words)


def hashes(draw: int, *words: str) -> list[str]:
    return [configuration_hash(slot) for slot in job(draw, *words).task().slots()]


def test_draw_0_is_what_it_was_before_there_were_draws() -> None:
    task = job(0).task()
    assert task.slots() == configurations(task.space, task.default, 6, f"{DATA}|vbpr|space")
    seeds = [task.seed(Unit(*unit)) for unit in ((Stage.TRIAL, 3), (Stage.PROPOSAL, 2), (Stage.FINAL, 1))]
    assert seeds == [10_003, 20_002, 1]
    assert str(task.cell) == f"{DATA}/vbpr/fused"


def test_every_draw_has_slots_of_its_own_which_all_conditions_share() -> None:
    drawn = [hashes(draw) for draw in range(6)]
    assert len({slots[0] for slots in drawn}) == 1  # the default configuration
    assert len({slot for slots in drawn for slot in slots}) == 1 + 6 * 5
    assert hashes(3, "modality=none") == hashes(3, "modality=shuffled") == drawn[3]


def test_no_two_trainings_of_any_draws_share_a_seed() -> None:
    units = [Unit(stage, number) for stage in Stage for number in range(1, 1000)]
    tasks = [job(draw).task() for draw in range(6)]
    assert len({task.seed(unit) for task in tasks for unit in units}) == len(units) * len(tasks)
    assert job(4, "modality=none").task().seed(units[0]) == tasks[4].seed(units[0])


def test_the_data_and_their_split_are_the_same() -> None:
    first, second = job(0), job(1)
    assert first.task().split_fingerprint == second.task().split_fingerprint
    assert first.dataset() is second.dataset()


def test_a_draw_has_a_cell_and_a_key_of_its_own() -> None:
    jobs = [job(draw) for draw in range(3)]
    stores = [one.store(one.task()) for one in jobs]
    assert [str(one.cell) for one in jobs] == [f"{DATA}{end}/vbpr/fused" for end in ("", "-draw1", "-draw2")]
    assert len({store.folder for store in stores}) == len({store.key for store in stores}) == 3
    assert str(job(1, "dataset.split_seed=2").cell) == f"{DATA}-split2-draw1/vbpr/fused"
    named = job(0, f"dataset.name={DATA}-draw1")  # the folder of a draw, but not its numbers
    assert named.cell == jobs[1].cell
    assert named.store(named.task()).key != stores[1].key


def test_trainings_shuffles_and_proposals_follow_the_draw(tmp_path: Path) -> None:
    trained = {}
    for draw in (0, 1):
        one = make_job(tmp_path, "modality=shuffled", f"study.draw={draw}", "budget.trials=2", "budget.tpe=1")
        task, store = opened(one)
        for unit in (Unit(Stage.TRIAL, 0), Unit(Stage.TRIAL, 1), Unit(Stage.PROPOSAL, 0)):
            trained[draw, unit] = run_unit(task, store, unit)
        assert records.read(paths.cell_file(store.folder), Cell).draw == draw
    for unit in {unit for _, unit in trained}:
        first, second = trained[0, unit], trained[1, unit]
        assert second.seed == first.seed + 100_000
        assert second.feature_hash != first.feature_hash
        assert second.score != first.score
        default = unit == Unit(Stage.TRIAL, 0)
        assert (second.configuration == first.configuration) == default
        assert second.split_hash == first.split_hash


@pytest.mark.parametrize("value", ["-1", "1.5", "true", "first", "10001", "99999999999999999999999"])
def test_a_draw_is_a_whole_number(value: str, command: Command) -> None:
    said = command("sweep.name=s", "model=popularity", f"study.draw={value}")
    shown = {"true": "True"}.get(value, value)
    assert (said.code, said.err) == (2, f"error: study.draw={shown} must be a whole number from 0 to 10000\n")


@pytest.mark.thorough
def test_a_sweep_holds_its_draws_and_lists_them(command: Command, tmp_path: Path) -> None:
    words = ("-m", "model=popularity,vbpr", "modality=none")
    said = command(*words, "sweep.name=s", "study.draw=0,2")
    assert said.code == 0, said.err
    assert said.out.count(f"{DATA}: 60 users") == 1  # the data are the same
    plan = records.read(paths.manifest_file(tmp_path / "s"), Manifest)
    assert {(cell.dataset, cell.draw) for cell in plan.cells} == {(DATA, 0), (f"{DATA}-draw2", 2)}
    table = read_sweep(tmp_path / "s")
    assert table.datasets == [DATA, f"{DATA}-draw2"]
    assert {cell.status for cell in table.cells.values()} == {"done"}
    assert {cell.data for cell in table.cells.values()} == {DATA}  # one data set where several are pooled
    report = (tmp_path / "s" / "report" / "fairness.md").read_text()
    assert report.count("PASS: draws: this is draw 0; draws run in this sweep: 0, 2") == 2
    assert report.count("PASS: draws: this is draw 2; draws run in this sweep: 0, 2") == 2

    # One that stands beside it is not kept quiet about, and one that was set aside neither.
    assert command(*words, "sweep.name=t", "study.draw=5", "model=vbpr").code == 0
    assert command(*words, "sweep.name=s", "study.draw=0,2", "study.resume=force").code == 0
    draws = read_draws(tmp_path / "s")
    assert draws[DATA, "vbpr"] == Draws({0, 2}, {5: {"t"}})
    assert draws[DATA, "popularity"] == Draws({0, 2})
    report = (tmp_path / "s" / "report" / "fairness.md").read_text()
    for draw in (0, 2):
        reason = f"this is draw {draw}; draws run in this sweep: 0, 2; not shown here: draw 5 in t"
        assert report.count(f"PASS: draws: {reason}") == 1
    paths.manifest_file(tmp_path / "s").unlink()
    shutil.rmtree(tmp_path / "s" / f"{DATA}-draw2" / "vbpr" / "none")
    assert read_draws(tmp_path / "s")[DATA, "vbpr"].here == {0, 2}


def test_a_plan_of_another_version_beside_a_sweep_stops_no_report(command: Command, tmp_path: Path) -> None:
    assert command("sweep.name=s", "model=popularity").code == 0
    beside = paths.manifest_file(tmp_path / "old")
    beside.parent.mkdir()
    beside.write_text('{"schema_version": 2, "kind": "manifest"}')
    assert read_draws(tmp_path / "s")[DATA, "popularity"] == Draws({0})
