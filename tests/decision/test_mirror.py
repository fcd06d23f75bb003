"""The summary run shows what the files of the report say."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mmbench import paths
from mmbench.cli import main
from mmbench.decision import Gate, Status, as_record, decide
from mmbench.decision.mirror import TABLES, mirror, read_summary
from mmbench.report import layout, verdict_table
from mmbench.report.comparisons import read_contrasts
from mmbench.report.fairness_checks import read_groups
from mmbench.report.reading import read_sweep
from mmbench.report.write import write_report
from mmbench.store import files, trackers
from mmbench.store.trackers.mirrored import Summary
from tests.decision.cases import economics, evidence
from tests.report.constructed import Made, hit_users, write_sweep
from tests.report.test_contribution import cells


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    """A sweep with a report; one cell is missing."""
    folder = write_sweep(tmp_path / "s", {**cells(), ("d", "n", "text"): Made(missing=True)})
    write_report(folder)
    return folder


def test_every_table_figure_gap_and_verdict_is_in_it(sweep: Path) -> None:
    folder = paths.report_dir(sweep)
    figures = {file.stem: file for file in folder.glob("*.png")}
    (folder / "screenshot.png").write_bytes(b"a picture of somebody else")
    summary = read_summary(read_sweep(sweep))
    assert summary.tables.keys() == set(TABLES)
    for name, grid in summary.tables.items():
        header, *rows = csv.reader((folder / f"{name}.csv").open(encoding="utf-8"))
        assert list(grid.columns) == header
        shown = [["" if cell is None else cell for cell in row] for row in grid.rows]
        for read, row in zip(shown, rows, strict=True):
            assert [_text(cell, given) for cell, given in zip(read, row, strict=True)] == row
    assert summary.figures == figures
    assert "gains" in summary.figures
    (gap,) = (gap for gap in summary.gaps if gap.name == "m/text_vs_none")
    assert gap.mean == pytest.approx(0.2)
    assert gap.lo is not None
    assert gap.hi is not None
    assert gap.lo < gap.mean < gap.hi
    assert (gap.level, gap.no_word) == (0.95, None)
    assert gap.verdict == next(r[4] for r in csv.reader((folder / "verdicts.csv").open()) if r[2] == "text_vs_none")
    assert summary.decision == {}


@pytest.mark.parametrize(
    ("n_seeds", "trials", "said"),
    [
        (3, 5, "5 trials, and a word takes 8: raise budget.trials"),  # which have bounds
        (1, 8, "the seed noise of the default"),
    ],
)
def test_a_gain_without_a_word_has_the_reason(tmp_path: Path, n_seeds: int, trials: int, said: str) -> None:
    made = {
        ("d", "m", name): Made(
            np.stack([hit_users(200, range(end))] * n_seeds), trials=np.stack([hit_users(200, range(end))] * trials)
        )
        for name, end in (("none", 100), ("text", 120))
    }
    folder = write_sweep(tmp_path / "s", made, contrasts=["text_vs_none"])
    table = read_sweep(folder)
    groups = read_groups(table, folder)
    report = paths.report_dir(folder)
    report.mkdir(exist_ok=True)
    (report / "verdicts.csv").write_text(layout.csv(verdict_table.document(table, read_contrasts(table, groups), [])))
    (gap,) = read_summary(table).gaps
    assert (gap.verdict, gap.no_word is not None and said in gap.no_word) == ("no word", True), gap
    assert said in str(Summary([gap]).results["gap/m/text_vs_none/no_word"])


def _text(cell: object, given: str) -> str:
    """A cell as the file has it."""
    same = isinstance(cell, float | int) and not isinstance(cell, bool) and float(given) == pytest.approx(float(cell))
    return given if same else str(cell)


def test_the_decision_is_in_it_once_there_is_one(sweep: Path) -> None:
    file = paths.report_dir(sweep) / "decision.json"
    measured, setting = replace(evidence(0.0, 0.027), dataset="d", models=("m", "n")), economics()
    table = read_sweep(sweep)
    made = {**as_record(measured, setting, decide(measured, setting)), "root": table.standing.root}
    files.write_document(file, made)
    decision = read_summary(read_sweep(sweep)).decision
    assert (decision["badge"], decision["dataset"], decision["models"]) == ("NO-GO", "d", "m, n")
    assert (decision["gain"], decision["word"]) == (0.0, "equivalent")  # within break-even
    assert decision["gain_lo"] < 0 < decision["gain_hi"] < decision["breakeven"]
    assert decision["gain_level"] == 0.95
    assert "10 of its 30 trials" in decision["measured"]
    assert decision["breakeven"] == pytest.approx(0.08)
    assert decision["sentence"].startswith("Even at the upper end of its range")
    doubted = replace(measured, gates=(Gate("G1", Status.FAIL), *measured.gates[1:]))
    files.write_document(file, {**as_record(doubted, setting, decide(doubted, setting)), "root": table.standing.root})
    told = read_summary(read_sweep(sweep)).decision
    assert (told["badge"], told["word"], told["probability"]) == ("HOLD", None, None)
    for old in ({"rule": 0}, {"root": "of other records"}):
        files.write_document(file, {**made, **old})
        assert read_summary(read_sweep(sweep)).decision == {}


def test_a_sweep_that_is_not_tracked_is_not_mirrored(sweep: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mmbench.decision.mirror.read_summary", lambda table: pytest.fail("read for nothing"))
    mirror(read_sweep(sweep), trackers.Tracker(sweep))
    assert not (sweep / "wandb").exists()


@pytest.mark.thorough
def test_the_report_command_mirrors_what_it_wrote_and_outlives_a_mirror_that_fails(
    sweep: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import wandb

    shown: list[Summary] = []
    monkeypatch.setattr(trackers.Tracker, "report", lambda self, summary: shown.append(summary))
    monkeypatch.setattr("sys.argv", ["mmbench", "report", str(sweep), "tracking=wandb"])
    main()
    assert [summary.tables.keys() for summary in shown] == [set(TABLES)]
    monkeypatch.undo()

    def refuse(**settings: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(wandb, "init", refuse)
    monkeypatch.setattr("sys.argv", ["mmbench", "report", str(sweep), "tracking=wandb"])
    before = capsys.readouterr().out
    with pytest.warns(UserWarning, match="W&B does not mirror s/summary: OSError: disk full") as warned:
        main()
    assert len(warned) == 1
    assert capsys.readouterr().out == before
