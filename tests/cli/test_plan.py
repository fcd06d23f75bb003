"""What a sweep would cost, told before it runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmbench.cli import plan
from mmbench.cli.plan import Pilot
from tests.tiny import TINY


def test_every_cell_is_counted_and_nothing_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [*TINY, f"paths.multirun={tmp_path}", "budget.trials=3", "budget.seeds=2"]
    plan.main(["-m", *words, "model=popularity,bpr,fusion", "modality=none,text"])
    said = capsys.readouterr().out
    assert "4 cells, 0 of them finished" in said
    # Popularity has nothing to choose: one trial; three models-and-conditions have three; two seeds each.
    assert f"{1 + 3 * 3 + 4 * 2} trainings to run" in said
    assert "planted-complementary/fusion (text)" in said
    assert "smallest gain that this budget can detect: unknown" in said
    assert list(tmp_path.iterdir()) == []


def test_the_plan_in_japanese(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan.main([*TINY, f"paths.multirun={tmp_path}", "model=bpr", "lang=ja"])
    said = capsys.readouterr().out
    assert "\nセル1個、うち0個は終了\nこれから行う学習は2回です(1回につき1スレッド)\n" in said
    assert "モデル(最も重い条件)" in said
    assert "planted-complementary/bpr (-)" in said


def test_a_preset_is_planned_as_it_runs() -> None:
    jobs = plan.expand(["experiment=demo"])
    assert len(jobs) == 16
    assert {job.choices["model"] for job in jobs} == {"popularity", "bpr", "vbpr", "fusion"}
    assert {job.choices["modality"] for job in jobs} == {"none", "text", "image", "fused"}


def test_a_flag_is_refused() -> None:
    with pytest.raises(ValueError, match="--fast is no override"):
        plan.main(["--fast", "model=bpr"])


def test_a_model_that_is_computed_costs_one_epoch_whatever_the_budget() -> None:
    assert Pilot(2.0, 3.0, 0.0, 0.0, trained=False).seconds(60) == 5.0
    assert Pilot(2.0, 3.0, 0.0, 0.0, trained=True).seconds(60) == 182.0
