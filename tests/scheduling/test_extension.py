"""More trials for every condition of a model, decided on validation alone and the same by every worker."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmbench.inference import tuning_luck
from mmbench.inference.contrast import Contrast
from mmbench.inference.tuning_luck import Trials
from mmbench.scheduling.extension import Extension, Grant, contrast_shifts
from mmbench.store import records, schema
from mmbench.store.records import CellStore
from mmbench.store.schema import Stage, Unit
from mmbench.tuning import study
from mmbench.tuning.cell import CellTask
from mmbench.tuning.study import run_unit, waiting
from tests.tiny import make_job, opened, worked

USERS = 400
PAIRS = tuple(map(Contrast.parse, ("fused_vs_text", "fused_vs_none", "text_vs_none", "image_vs_none")))
EXTENDING = ("model=vbpr", "budget.trials=2", "budget.seeds=1", "budget.extend=true", "budget.batches_per_epoch=2")


def trials(scores: list[float], seed: int = 0) -> Trials:
    """Trials whose mean over users is the given score."""
    users = np.random.default_rng(seed).gamma(4.0, 0.25, USERS)
    return Trials(np.array(scores), np.outer(scores, users / users.mean()))


def test_a_contrast_that_late_trials_moved_asks_for_more() -> None:
    """Text finds its best configurations rarely, the ID-only condition anywhere: half the trials undersell text."""
    rare = [0.10] * 10 + [0.20, 0.201, 0.202]
    shifts = contrast_shifts({"none": trials([0.1] * 13), "text": trials(rare)}, PAIRS, delta=0.02)
    (shift,) = shifts
    assert (shift.a, shift.b, shift.more) == ("text", "none", True)
    assert shift.lo <= shift.shift <= shift.hi
    assert shift.shift > 0.02
    assert not contrast_shifts({"none": trials([0.1] * 13), "text": trials(rare)}, PAIRS, delta=0.9)[0].more


def test_a_contrast_that_stood_asks_for_nothing() -> None:
    flat = {"none": trials([0.1] * 13), "text": trials([0.11] * 13), "fused": trials([0.12] * 13)}
    shifts = contrast_shifts(flat, PAIRS, delta=0.02)
    assert [(s.a, s.b) for s in shifts] == [("fused", "text"), ("fused", "none"), ("text", "none")]
    assert not any(s.more for s in shifts)


def test_a_condition_without_a_result_is_passed_over() -> None:
    dead = Trials(np.full(4, -np.inf), np.full((4, USERS), np.nan))
    silent = Trials(np.zeros(4), np.zeros((4, USERS)))
    alive = trials([0.1, 0.2, 0.1, 0.1])
    assert contrast_shifts({"none": dead, "text": alive}, PAIRS, 0.02) == []
    assert contrast_shifts({"none": silent, "text": alive}, PAIRS, 0.02) == []
    assert contrast_shifts({"text": alive}, PAIRS, 0.02) == []


@pytest.fixture
def members(tmp_path: Path) -> list[tuple[CellTask, CellStore]]:
    return [opened(make_job(tmp_path, *EXTENDING, f"modality={name}")) for name in ("none", "text")]


def run_trials(members: list[tuple[CellTask, CellStore]], granted: int) -> None:
    for task, store in members:
        for unit in waiting(task, store, granted, settled=False):
            run_unit(task, store, unit)


def asks(monkeypatch: pytest.MonkeyPatch, answer: bool) -> None:
    monkeypatch.setattr(tuning_luck, "needs_more_trials", lambda shift, delta: answer)


def test_nothing_is_decided_before_every_member_has_run(members: list[tuple[CellTask, CellStore]]) -> None:
    extension = Extension(members, PAIRS, delta=0.02)
    run_trials(members[:1], 2)
    extension.decide()
    assert not extension.file.exists()
    assert extension.grant() == Grant(2, settled=False)
    task, store = members[0]
    assert waiting(task, store, 2, settled=False) == []
    assert store.choice() is None


def test_trials_grow_by_halves_to_twice_and_then_it_is_settled(
    members: list[tuple[CellTask, CellStore]], monkeypatch: pytest.MonkeyPatch
) -> None:
    asks(monkeypatch, answer=True)
    extension = Extension(members, PAIRS, delta=0.02)
    for granted, then in ((2, Grant(3, False)), (3, Grant(4, False)), (4, Grant(4, True))):
        run_trials(members, granted)
        extension.decide()
        assert extension.grant() == then
    decided = records.read(extension.file, schema.Extension)
    assert [r.trials for r in decided.rounds] == [2, 3, 4]
    assert all((r.contrasts[0].a, r.contrasts[0].b) == ("text", "none") for r in decided.rounds)
    for task, store in members:
        assert waiting(task, store, 4) == [Unit(Stage.FINAL, 1)]
        choice = store.choice()
        assert choice is not None
        assert choice.n_trials == 4
    trials_of = [records.read_trainings(store.folder, Stage.TRIAL, store.key) for _, store in members]
    hashes = [[trial.configuration_hash for trial in done] for done in trials_of]
    assert hashes[0] == hashes[1]
    assert len(set(hashes[0])) == 4


def test_a_standing_contrast_settles_at_once(
    members: list[tuple[CellTask, CellStore]], monkeypatch: pytest.MonkeyPatch
) -> None:
    asks(monkeypatch, answer=False)
    run_trials(members, 2)
    extension = Extension(members, PAIRS, delta=0.02)
    extension.decide()
    assert extension.grant() == Grant(2, settled=True)
    bytes_before = extension.file.read_bytes()
    extension.decide()
    assert extension.file.read_bytes() == bytes_before


def test_every_worker_decides_the_same(members: list[tuple[CellTask, CellStore]], tmp_path: Path) -> None:
    run_trials(members, 2)
    extension = Extension(members, PAIRS, delta=1e-12)
    extension.decide()
    first = extension.file.read_bytes()
    extension.file.unlink()
    Extension(members, PAIRS, delta=1e-12).decide()
    assert extension.file.read_bytes() == first


def test_a_decision_about_another_budget_is_not_theirs(
    members: list[tuple[CellTask, CellStore]], tmp_path: Path
) -> None:
    run_trials(members, 2)
    Extension(members, PAIRS, delta=0.02).decide()
    other = [opened(make_job(tmp_path, *EXTENDING, "budget.patience_steps=7", "modality=none"))]
    assert Extension(other, PAIRS, delta=0.02).grant() == Grant(2, settled=False)


def test_a_member_that_cannot_go_on_is_not_waited_for(members: list[tuple[CellTask, CellStore]]) -> None:
    run_trials(members[:1], 2)
    members[1][1].fail("no", "")
    extension = Extension(members, PAIRS, delta=0.02)
    extension.decide()
    assert extension.grant() == Grant(2, settled=True)


def test_without_the_rule_nothing_is_read_or_written(tmp_path: Path) -> None:
    job = make_job(tmp_path, "model=vbpr", "modality=none", "budget.trials=2")
    task, store = opened(job)
    extension = Extension([(task, store)], PAIRS, delta=0.02)
    assert extension.grant() == Grant(2, settled=True)
    assert worked(task, store, job.dataset().split).seal() is not None
    assert not extension.file.exists()


def test_the_rule_is_that_of_effort(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[tuning_luck.Contrast, float]] = []
    monkeypatch.setattr(tuning_luck, "needs_more_trials", lambda *asked: bool(seen.append(asked)))
    contrast_shifts({"none": trials([0.1, 0.2]), "text": trials([0.1, 0.3])}, PAIRS, delta=0.07)
    assert [delta for _, delta in seen] == [0.07]


def test_failed_trials_count(members: list[tuple[CellTask, CellStore]], monkeypatch: pytest.MonkeyPatch) -> None:
    original: Any = study.fit

    def failing(*given: Any, **options: Any) -> Any:
        if given[-1] == 10_001:
            raise RuntimeError("no")
        return original(*given, **options)

    monkeypatch.setattr(study, "fit", failing)
    run_trials(members, 2)
    extension = Extension(members, PAIRS, delta=0.02)
    extension.decide()
    assert extension.file.exists()
