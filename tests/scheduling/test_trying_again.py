"""What a second command makes of a cell that failed, or that it begins afresh."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from mmbench import faults, paths
from mmbench.audit import consistency
from mmbench.report.cell_effort import read_cell
from mmbench.store import ledger, records
from mmbench.store.schema import LedgerRow, Stage
from mmbench.training.fit import fit
from mmbench.tuning import study
from tests.audit.conftest import run

CELLS = (("ease", "none", "no_signal"),)
FEW = ("budget.trials=3", "budget.seeds=2")


def cell_in(sweep: Path) -> Path:
    (folder,) = (folder for folder in paths.cell_dirs(sweep) if paths.STALE not in folder.name)
    return folder


def test_a_final_run_that_was_short_of_memory_is_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And nothing else of the cell is: 30 trials are not thrown away for one run of five."""
    trained = []

    def short(*given: Any, **named: Any) -> Any:
        trained.append(given[5] if len(given) > 5 else named["seed"])
        if len(trained) in (5, 6):  # the second final run, and its repetition
            raise MemoryError("Unable to allocate 8.00 GiB")
        return fit(*given, **named)

    monkeypatch.setattr(study, "fit", short)
    sweep = run(tmp_path, "s", *FEW, cells=CELLS)
    folder = cell_in(sweep)
    assert paths.failure_file(folder).exists()
    assert len(trained) == 6
    run(tmp_path, "s", *FEW, cells=CELLS)
    assert len(trained) == 7
    assert "failed for want of memory or with its worker, and is run again" in capsys.readouterr().out
    assert (paths.seal_file(folder).exists(), paths.failure_file(folder).exists()) == (True, False)
    finals = records.read_trainings(folder, Stage.FINAL)
    assert [(final.index, final.failure) for final in finals] == [(1, None), (2, None)]
    assert not consistency.check(sweep)


def test_what_was_set_aside_to_begin_afresh_is_no_cost_of_the_condition(tmp_path: Path) -> None:
    for word in ((), ("study.resume=force",)):
        sweep = run(tmp_path, "s", *FEW, *word, cells=CELLS)
        rows: dict[str, list[LedgerRow]] = {}
        for row in ledger.read(sweep):
            rows.setdefault(row.cell_key, []).append(row)
        (listed,) = rows.values()
        cell = read_cell("none", cell_in(sweep), rows, "ndcg@20")
        assert len(cell.ledger) == len(cell.trials) + len(cell.finals) == 5
        assert cell.ledger == listed[-5:]
    assert len(listed) == 10


def test_a_kill_after_beginning_afresh_with_other_code_leaves_an_honest_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The row from before is that of another record, though slot and configuration are the same."""

    class Killed(BaseException):
        """Nothing catches it."""

    run(tmp_path, "s", *FEW, cells=CELLS)
    versions, reached = records.versions, []

    def other_code(*given: Any) -> Mapping[str, str | None]:
        return {**versions(*given), "torch": "another one"}

    def kill_at(point: str) -> None:
        reached.append(point)
        if reached.count("ledger") == 2:
            raise Killed

    monkeypatch.setattr(records, "versions", other_code)
    with monkeypatch.context() as killing:
        killing.setattr(faults, "reach", kill_at)
        with pytest.raises(Killed):
            run(tmp_path, "s", *FEW, "study.resume=force", cells=CELLS)
    sweep = run(tmp_path, "s", *FEW, cells=CELLS)
    rows = {row.hash for row in ledger.read(sweep)}
    trainings = [training for stage in Stage for training in records.read_trainings(cell_in(sweep), stage)]
    assert {training.hash for training in trainings} <= rows
    assert len(trainings) == 5
    assert paths.seal_file(cell_in(sweep)).exists()
    assert not consistency.check(sweep)
