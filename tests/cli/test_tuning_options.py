"""Proposals and rungs through whole sweeps: equal for all conditions, whoever works on them."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmbench import paths
from mmbench.store import ledger, records
from mmbench.store.schema import Cell, Choice, Course, Stage, Training
from tests.cli.conftest import Command
from tests.tiny import digests

SWEEP = ("-m", "sweep.name=s", "model=vbpr", "modality=none,text", "budget.seeds=1", "budget.batches_per_epoch=2")


def cells(tmp_path: Path) -> list[Path]:
    return [tmp_path / "s" / "planted-complementary" / "vbpr" / name for name in ("none", "text")]


def trainings(cell: Path, stage: Stage = Stage.TRIAL) -> list[Training]:
    return records.read_trainings(cell, stage, records.read(paths.cell_file(cell), Cell).key)


def course(training: Training) -> Course:
    assert training.course is not None
    return training.course


@pytest.mark.thorough
def test_tpe_proposes_after_the_random_trials_and_is_left_out_of_the_curves(command: Command, tmp_path: Path) -> None:
    said = command(*SWEEP, "budget.trials=3", "budget.tpe=2")
    assert said.code == 0, said.err
    for cell in cells(tmp_path):
        random, proposed, finals = (trainings(cell, stage) for stage in Stage)
        assert [len(random), len(proposed), len(finals)] == [3, 2, 1]
        assert [training.seed for training in proposed] == [20_000, 20_001]
        choice = records.read(paths.choice_file(cell), Choice)
        assert choice.score == max(training.score for training in (*random, *proposed))
        assert choice.n_trials == 5
        for training in proposed:
            assert paths.training_file(cell, *training.unit, paths.RANKS).exists()
    report = (tmp_path / "s" / "report" / "fairness.md").read_text()
    assert "PASS: proposals: TPE proposed 2 further trials to each; curves over trials leave them out" in report
    assert "PASS: trials: 3 trials each, slots without a gap" in report
    assert "PASS: choice" in report


@pytest.mark.slow
def test_proposals_are_the_same_on_another_day(command: Command, tmp_path: Path) -> None:
    command(*SWEEP, "budget.trials=2", "budget.tpe=2")
    first = [digests(cell) for cell in cells(tmp_path)]
    command(*SWEEP, "budget.trials=2", "budget.tpe=2", f"paths.multirun={tmp_path / 'again'}")
    assert [digests(cell) for cell in cells(tmp_path / "again")] == first


@pytest.mark.thorough
def test_trials_below_the_median_of_the_pilots_stop_at_the_rung(command: Command, tmp_path: Path) -> None:
    said = command(*SWEEP, "budget.trials=9", "budget.least_epochs=4", "budget.max_steps=3", "budget.rungs=[2]")
    assert said.code == 0, said.err
    stopped = 0
    for cell in cells(tmp_path):
        courses = [course(training) for training in trainings(cell)]
        bests = [max(c.history[:2]) for c in courses]
        bar = sorted(bests[:5])[2]
        assert [c.stop_reason == "rung" for c in courses[:5]] == [False] * 5
        for c, best in zip(courses[5:], bests[5:], strict=True):
            assert (c.stop_reason == "rung") == (c.epochs == 2) == (best < bar)
            assert c.best == max(c.history)
        (final,) = trainings(cell, Stage.FINAL)
        assert course(final).stop_reason != "rung"
        stopped += sum(c.stop_reason == "rung" for c in courses)
    assert stopped
    report = (tmp_path / "s" / "report" / "fairness.md").read_text()
    assert "rungs: order of" in report
    assert "survived: none " in report


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("budget.rungs=[3,2]", "budget.rungs=[3, 2] must be ascending steps from 1 to below max_steps=5"),
        ("budget.tpe=-1", "budget.tpe=-1 must be a whole number of at least 0"),
    ],
)
def test_what_cannot_be_meant_ends_in_one_line(command: Command, word: str, message: str) -> None:
    said = command(*SWEEP, word)
    assert said.code == 2
    assert said.err == f"error: {message}\n"


@pytest.mark.thorough
def test_ledger_rows_of_proposals_say_so(command: Command, tmp_path: Path) -> None:
    command(*SWEEP, "budget.trials=2", "budget.tpe=1")
    rows = list(ledger.read(tmp_path / "s"))
    assert {row.stage for row in rows} == set(Stage)
