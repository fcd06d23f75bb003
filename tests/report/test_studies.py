"""Every cell of a sweep as an Optuna study that others can open."""

from __future__ import annotations

import resource
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest

from mmbench import paths
from mmbench.report.reading import read_sweep
from mmbench.report.studies import write_studies
from mmbench.scheduling.sweep import Sweep
from mmbench.store import ledger, records
from mmbench.store.schema import Cell, Stage
from tests.records import row
from tests.report.constructed import Made, write_sweep
from tests.tiny import make_job, sealed


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    words = ("model=vbpr", "modality=text", "budget.trials=3", "budget.tpe=1", "budget.batches_per_epoch=1")
    planned = Sweep.plan([make_job(tmp_path, *words)], words)
    planned.open()
    sealed(planned.jobs[0])
    return planned.folder


def test_a_study_holds_the_trials_of_its_cell(sweep: Path, tmp_path: Path) -> None:
    file = tmp_path / "studies.db"
    table = read_sweep(sweep)
    assert write_studies(table, sweep, file) == ["planted-complementary/vbpr/text"]
    study = optuna.load_study(study_name="planted-complementary/vbpr/text", storage=f"sqlite:///{file}")
    assert [t.user_attrs["stage"] for t in study.trials] == ["tune", "tune", "tune", "extended"]
    assert study.best_value == max(t.value for t in study.trials if t.value is not None)
    assert {"model.reg_weight", "optimizer.lr", "model.content_weight:place"} <= set(study.best_params)
    with pytest.raises(ValueError, match=r"studies.db exists; studies are written to a new file"):
        write_studies(table, sweep, file)


@pytest.mark.parametrize("searched", [{"low": 0.1, "high": 1.0}, {"choices": [0.1, 1.0]}], ids=["range", "choices"])
def test_a_study_of_what_another_sweep_has_tuned_holds_its_one_configuration(
    searched: Mapping[str, Any], tmp_path: Path
) -> None:
    """It may lie outside what would be searched here."""
    given = {"optimizer.lr": 0.01}
    origin = {"dataset": "d", "root": "r", "trials": 9, "configuration": given}
    config, one = {"search": {"optimizer": {"lr": searched}}, "given": origin}, np.ones((1, 40), bool)
    cells = {("data", "vbpr", "text"): Made(one, one, config=config)}
    sweep, file = write_sweep(tmp_path / "sweep", cells), tmp_path / "studies.db"
    place = paths.cell_dir(sweep, "data", "vbpr", "text")
    (trial,) = records.read_trainings(place, Stage.TRIAL, records.read(paths.cell_file(place), Cell).key)
    ledger.append(sweep, row(trial))
    write_studies(read_sweep(sweep), sweep, file)
    study = optuna.load_study(study_name="data/vbpr/text", storage=f"sqlite:///{file}")
    assert [(trial.params, trial.value) for trial in study.trials] == [(given, 1.0)]
    assert study.trials[0].distributions["optimizer.lr"].single()


@pytest.mark.parametrize("most", [0, 100_000], ids=["while it is made", "while trials are added"])
def test_a_file_that_cannot_be_written_is_no_fault_of_the_records(most: int, sweep: Path, tmp_path: Path) -> None:
    """No file may grow beyond a limit: what a full disk does, on any machine."""
    table, file = read_sweep(sweep), tmp_path / "studies.db"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, hard))
    try:
        with pytest.raises(OSError, match=r"disk I/O error|disk is full") as raised:
            write_studies(table, sweep, file)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert raised.value.filename == str(file)
    assert not list(tmp_path.glob("*studies.db*"))


def test_a_sweep_without_a_trial_gives_no_file(sweep: Path, tmp_path: Path) -> None:
    paths.ledger_file(sweep).unlink()
    with pytest.raises(ValueError, match="has no finished trial"):
        write_studies(read_sweep(sweep), sweep, tmp_path / "studies.db")
    assert not (tmp_path / "studies.db").exists()
