"""``python -m mmbench report SWEEP``."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from mmbench.cli import main
from tests.cli.conftest import Command


def report(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["mmbench", "report", *words])
    try:
        main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def test_the_table_is_written_again_from_the_records(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command("sweep.name=s", "model=popularity")
    folder = tmp_path / "s" / "report"
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    shutil.rmtree(folder)
    assert report(monkeypatch, str(tmp_path / "s")) == 0
    out = capsys.readouterr().out
    assert before["table.txt"].decode() in out
    assert f"written to {folder}" in out
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    monkeypatch.setattr(sys, "argv", ["mmbench", "report", str(tmp_path / "s")])
    main()  # the same as a sub-command
    assert before["table.txt"].decode() in capsys.readouterr().out


def test_studies_for_optuna_dashboard_are_written_where_asked(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command("sweep.name=s", "model=popularity")
    file = tmp_path / "studies.db"
    asked = (str(tmp_path / "s"), "--optuna", str(file))
    assert report(monkeypatch, *asked) == 0
    assert capsys.readouterr().out == f"cells in {file}: 1; optuna-dashboard sqlite:///{file} shows them\n"
    assert report(monkeypatch, *asked) == 2
    assert capsys.readouterr().err == f"error: {file} exists; studies are written to a new file\n"


def test_a_folder_that_is_no_sweep_is_said_with_its_neighbours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("b", "a"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "manifest.json").touch()
    assert report(monkeypatch, str(tmp_path / "c")) == 2
    assert capsys.readouterr().err == (
        f"error: {tmp_path / 'c'} is no sweep (no manifest.json); sweeps beside it: a, b\n"
    )


def test_a_plan_that_is_a_folder_is_said_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It makes no sweep of its folder either."""
    plan = tmp_path / "a" / "manifest.json"
    plan.mkdir(parents=True)
    assert report(monkeypatch, str(tmp_path / "a")) == 2
    assert capsys.readouterr().err == f"error: {plan}: it is a folder\n"
    assert report(monkeypatch, str(tmp_path / "c")) == 2
    assert capsys.readouterr().err.endswith("sweeps beside it: none\n")


@pytest.mark.parametrize("name", ["report", "decide", "bundle"])
def test_what_is_in_the_way_is_told_before_a_record_is_read(
    name: str, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "s"
    command("sweep.name=s", "model=popularity")
    monkeypatch.setattr("mmbench.report.reading.records.read", lambda *file: pytest.fail("a record is read"))
    monkeypatch.setattr(sys, "argv", ["mmbench", name, str(folder)])

    def said() -> str:
        with pytest.raises(SystemExit):
            main()
        return capsys.readouterr().err.splitlines()[-1]

    shutil.rmtree(folder / "report")
    (folder / "report").touch()
    assert said() == (
        f"error: {folder / 'report'} cannot be written: what should be a folder is a file; it must be a folder that "
        "files can be written into"
    )
    (folder / "report").unlink()
    (folder / "ledger.jsonl").unlink()
    (folder / "ledger.jsonl").mkdir()
    assert said() == f"error: {folder / 'ledger.jsonl'} is no file but a folder, a pipe, a socket or a device"


@pytest.mark.parametrize(("option", "file", "named"), [("--optuna", "x.db", "FILE"), ("--tuned", "", "FOLDER")])
def test_a_place_that_cannot_be_written_is_told_before_a_record_is_read(
    option: str,
    file: str,
    named: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "taken").touch()
    place = tmp_path / "taken" / "below"
    assert report(monkeypatch, str(tmp_path / "s"), option, str(place / file)) == 2
    assert capsys.readouterr().err == (
        f"error: {place} cannot be written: what should be a folder is a file; name another place with {option} "
        f"{named}\n"
    )
    assert report(monkeypatch, str(tmp_path / "s"), option, str(tmp_path / "new" / "below" / file)) == 2
    assert "is no sweep" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_studies_over_a_file_are_refused_before_a_record_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x.db").touch()
    assert report(monkeypatch, str(tmp_path / "s"), "--optuna", str(tmp_path / "x.db")) == 2
    assert capsys.readouterr().err == f"error: {tmp_path / 'x.db'} exists; studies are written to a new file\n"


def test_debug_shows_the_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert report(monkeypatch, str(tmp_path / "c"), "debug=true") == 2
    said = capsys.readouterr().err
    assert "Traceback" in said
    assert "is no sweep" in said.splitlines()[-1]


def test_a_verdict_is_explained_and_nothing_is_written(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command("-m", "sweep.name=s", "model=vbpr", "modality=none,text")
    folder = tmp_path / "s" / "report"
    shutil.rmtree(folder)
    assert report(monkeypatch, str(tmp_path / "s"), "--explain", "planted-complementary/vbpr/text_vs_none") == 0
    out = capsys.readouterr().out
    assert out.startswith("planted-complementary/vbpr/text_vs_none: measurement not trusted\n")
    assert "raise budget.max_steps" in out
    assert "planted-complementary/vbpr/text/finals/seed1.test.parquet, 60 users" in out
    assert not folder.exists()


@pytest.mark.thorough
def test_a_wrong_cell_is_one_line(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command("-m", "sweep.name=s", "model=popularity,vbpr", "modality=none,text")
    assert report(monkeypatch, str(tmp_path / "s"), "--explain", "planted-complementary/vbpr/text_vs_non") == 2
    place = "planted-complementary"
    assert capsys.readouterr().err == (
        f"error: {place}/vbpr/text_vs_non is no contrast or cell of this sweep; "
        f"did you mean {place}/vbpr/text_vs_none? "
        f"accepted: {place}/all models/free_disposal_of_text, {place}/popularity/-, "
        f"{place}/vbpr/free_disposal_of_text, {place}/vbpr/none, {place}/vbpr/text, {place}/vbpr/text_vs_none\n"
    )


def test_published_tables_that_are_not_there_are_one_line_and_nothing_is_written(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command("sweep.name=s", "model=popularity")
    shutil.rmtree(tmp_path / "s" / "report")
    assert report(monkeypatch, str(tmp_path / "s"), "--paper", str(tmp_path / "tables.csv")) == 2
    assert capsys.readouterr().err == f"error: {tmp_path / 'tables.csv'} is missing\n"
    assert not (tmp_path / "s" / "report").exists()


def test_a_sweep_that_was_tracked_keeps_no_address(command: Command, tmp_path: Path) -> None:
    assert command("sweep.name=s", "model=popularity", "tracking=wandb", "tracking.wandb.mode=disabled").code == 0
    assert not list((tmp_path / "s").rglob("*mmbench.json"))
