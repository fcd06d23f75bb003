"""A sweep packed, checked, tampered with, and checked again."""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from mmbench import cli, paths
from mmbench.audit import standing
from mmbench.audit.root import root_of
from mmbench.audit.standing import Level, Standing
from mmbench.cli import bundle as command
from mmbench.decision.record import holds
from mmbench.report.archive import pack, verify
from tests.audit.conftest import run
from tests.report.constructed import write_sweep
from tests.report.test_contribution import cells

Change = Callable[[dict[str, bytes]], None]


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("packed")
    sweep = write_sweep(folder / "s", cells(), contrasts=["fused_vs_text"])
    paths.final_file(sweep / "d" / "m" / "none", 1, paths.STATE).write_bytes(b"weights")
    paths.ledger_file(sweep).write_text("")
    standing.keep(sweep, Standing(Level.RETRAINED, root_of(sweep), "now", 1, 1))
    pack(sweep, folder / "s.zip")
    return folder / "s.zip"


def changed(archive: Path, target: Path, change: Change, *, honest: bool) -> Path:
    """The archive with changed files; ``honest`` leaves its hashes as they were, else they are forged too."""
    with zipfile.ZipFile(archive) as opened:
        files = {name: opened.read(name) for name in opened.namelist()}
    change(files)
    if not honest:
        hashes = {n: hashlib.sha256(c).hexdigest() for n, c in files.items() if n != "hashes.json"}
        files["hashes.json"] = json.dumps(hashes).encode()
    with zipfile.ZipFile(target, "w") as made:
        for name, content in files.items():
            made.writestr(name, content)
    return target


def test_what_was_packed_is_what_the_records_give(archive: Path, tmp_path: Path) -> None:
    findings = verify(archive, tmp_path, holds)
    assert {finding.file for finding in findings} >= {"table.csv", "verdicts.csv", "verdicts.tex", "contribution.csv"}
    assert all(finding.same for finding in findings)


def test_an_archive_holds_what_is_needed_and_no_more(archive: Path) -> None:
    with zipfile.ZipFile(archive) as opened:
        names = set(opened.namelist())
        read_me = opened.read("README.md").decode()
        installed = json.loads(opened.read("environment.json"))["installed"]
    assert {"manifest.json", "hashes.json", "d/m/none/cell.json", "d/m/none/finals/seed1.test.parquet"} <= names
    assert {"d/m/none/finals/seed1.state.npz", "ledger.jsonl"} <= names  # what an audit needs
    assert "audit.json" not in names  # what its author says of an audit
    assert "| report/verdicts.csv | `python -m mmbench report s` |" in read_me
    assert "numpy" in installed


def test_titles_and_pictures_stay_at_home_unless_asked_for(tmp_path: Path) -> None:
    sweep = write_sweep(tmp_path / "s", cells(), contrasts=["fused_vs_text"])
    paths.ledger_file(sweep).write_text("")
    report = paths.report_dir(sweep)
    report.mkdir(exist_ok=True)
    (report / "decision.html").write_text("Desk lamp Aurora")
    with pytest.raises(ValueError, match=r"there is no decision-without-titles\.html beside it .* --with-titles"):
        pack(sweep, tmp_path / "s.zip")
    assert not (tmp_path / "s.zip").exists()
    (report / "decision-without-titles.html").write_text("item 1")
    for with_titles, page in ((False, b"item 1"), (True, b"Desk lamp Aurora")):
        pack(sweep, tmp_path / "s.zip", with_titles=with_titles)
        with zipfile.ZipFile(tmp_path / "s.zip") as opened:
            assert opened.read("report/decision.html") == page
            assert "report/decision-without-titles.html" not in opened.namelist()
            held = [name for name in opened.namelist() if b"Aurora" in opened.read(name)]
        assert held == (["report/decision.html"] if with_titles else [])
        folder = tmp_path / str(with_titles)
        folder.mkdir()
        assert all(finding.same for finding in verify(tmp_path / "s.zip", folder, holds))


def test_no_language_of_a_page_takes_titles_out_of_the_house(tmp_path: Path) -> None:
    sweep = write_sweep(tmp_path / "s", cells(), contrasts=["fused_vs_text"])
    paths.ledger_file(sweep).write_text("")
    report = paths.report_dir(sweep)
    report.mkdir(exist_ok=True)
    for name in ("decision.html", "decision.ja.html"):
        (report / name).write_text("Desk lamp Aurora")
    (report / "decision-without-titles.html").write_text('<a href="decision-without-titles.ja.html">')
    with pytest.raises(ValueError, match=r"there is no decision-without-titles\.ja\.html beside it"):
        pack(sweep, tmp_path / "s.zip")
    (report / "decision-without-titles.ja.html").write_text('<a href="decision-without-titles.html">')
    pack(sweep, tmp_path / "s.zip")
    with zipfile.ZipFile(tmp_path / "s.zip") as opened:
        assert not [name for name in opened.namelist() if b"Aurora" in opened.read(name)]
        # The pages that are packed lead to each other, under the names that they have there.
        assert opened.read("report/decision.html") == b'<a href="decision.ja.html">'
        assert opened.read("report/decision.ja.html") == b'<a href="decision.html">'


@pytest.mark.thorough
@pytest.mark.charts
def test_the_same_sweep_gives_the_same_bytes(archive: Path, tmp_path: Path) -> None:
    pack(archive.parent / "s", tmp_path / "s.zip")
    assert (tmp_path / "s.zip").read_bytes() == archive.read_bytes()


@pytest.mark.thorough
@pytest.mark.charts
def test_copies_and_what_was_damaged_stay_out_of_an_archive(archive: Path, tmp_path: Path) -> None:
    sweep = Path(shutil.copytree(archive.parent / "s", tmp_path / "s"))
    cell = sweep / "d" / "m" / "none"
    damaged = paths.damaged_dir(sweep) / cell.relative_to(sweep)
    root = root_of(sweep)
    for file in (paths.manifest_file(sweep), paths.seal_copy(cell), paths.final_file(damaged, 1, paths.RECORD)):
        for place in (file, paths.copy_of(file), file.with_name(f".{file.name}.1.tmp")):
            if not place.exists():
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_text("{}")
    assert root_of(sweep) == root
    pack(sweep, tmp_path / "s.zip")
    assert (tmp_path / "s.zip").read_bytes() == archive.read_bytes()


def test_sweeps_beside_it_change_nothing_that_is_computed_again(tmp_path: Path) -> None:
    """Further draws and cells with the same plan are named on the fairness page alone, which no archive repeats."""
    both = (("addease", "text", "complementary"), ("addease", "fused", "complementary"))
    sweep, *_ = (
        run(tmp_path / "runs", name, f"study.draw={draw}", "budget.trials=2", "budget.seeds=1", cells=both)
        for name, draw in (("s", 0), ("t", 1), ("u", 0))
    )
    pack(sweep, tmp_path / "s.zip")
    report = paths.report_dir(sweep)
    fairness = (report / "fairness.md").read_text()
    assert "- PASS: draws: this is draw 0; draws run in this sweep: 0; not shown here: draw 1 in t\n" in fairness
    assert "- PASS: further tries: sweep u beside it has cells with the same plan\n" in fairness
    assert pd.read_csv(report / "verdicts.csv")["fairness"].dropna().unique() == ["PASS"]
    (tmp_path / "alone").mkdir()
    findings = verify(tmp_path / "s.zip", tmp_path / "alone", holds)
    assert {finding.file for finding in findings} >= {"verdicts.csv", "contribution.csv"}
    assert [finding.file for finding in findings if not finding.same] == []


def test_a_changed_number_is_found(archive: Path, tmp_path: Path) -> None:
    def better(files: dict[str, bytes]) -> None:
        files["report/table.csv"] = files["report/table.csv"].replace(b"0.625", b"0.725")

    for honest in (True, False):
        folder = tmp_path / str(honest)
        folder.mkdir()
        findings = verify(changed(archive, folder / "s.zip", better, honest=honest), folder / "out", holds)
        differing = {finding.file for finding in findings if finding.same is False}
        assert differing == ({"report/table.csv", "table.csv"} if honest else {"table.csv"})


def test_a_changed_record_is_found_in_every_table_of_it(archive: Path, tmp_path: Path) -> None:
    def swap(files: dict[str, bytes]) -> None:
        a, b = (f"d/m/{c}/finals/seed1.test.parquet" for c in ("none", "fused"))
        files[a], files[b] = files[b], files[a]

    findings = verify(changed(archive, tmp_path / "s.zip", swap, honest=False), tmp_path / "out", holds)
    assert {"table.csv", "verdicts.csv", "contribution.csv"} <= {f.file for f in findings if f.same is False}


def test_a_file_that_is_gone_or_too_many(archive: Path, tmp_path: Path) -> None:
    def exchange(files: dict[str, bytes]) -> None:
        del files["report/table.md"]
        files["more.txt"] = b"more"

    findings = verify(changed(archive, tmp_path / "s.zip", exchange, honest=True), tmp_path / "out", holds)
    comparisons = {finding.file: finding.comparison for finding in findings if finding.same is False}
    assert comparisons == {
        "report/table.md": "missing",
        "table.md": "missing",
        "more.txt": "not listed in hashes.json",
    }


@pytest.mark.parametrize("hashes", ["[]", '{"manifest.json": 1}'])
def test_hashes_that_are_none_are_refused(archive: Path, tmp_path: Path, hashes: str) -> None:
    bad = changed(archive, tmp_path / "s.zip", lambda f: f.update({"hashes.json": hashes.encode()}), honest=True)
    with pytest.raises(ValueError, match=r"^hashes\.json is no list of hashes$"):
        verify(bad, tmp_path / "out", holds)


@pytest.mark.parametrize("name", ["../out.txt", "/tmp/out.txt", "a/../../out.txt", "a\\b"])
def test_a_name_that_leads_out_of_the_folder(archive: Path, tmp_path: Path, name: str) -> None:
    bad = changed(archive, tmp_path / "s.zip", lambda files: files.update({name: b"x"}), honest=False)
    with pytest.raises(ValueError, match="leads out of its folder"):
        verify(bad, tmp_path / "inner" / "out", holds)
    assert not list(tmp_path.rglob("out.txt"))


def test_the_commands(
    archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command.bundle([str(archive.parent / "s"), str(tmp_path / "x.zip")])
    command.verify([str(tmp_path / "x.zip")])
    assert "every table is what its records give" in capsys.readouterr().out
    bad = changed(archive, tmp_path / "y.zip", lambda f: f.update({"report/table.md": b"x"}), honest=False)
    with pytest.raises(SystemExit) as stopped:
        command.verify([str(bad)])
    assert stopped.value.code == 1
    assert "DIFFERS      table.md" in capsys.readouterr().out
    command.bundle([str(archive.parent / "s"), "lang=ja"])
    assert (archive.parent / "s.zip").is_file()  # no archive of this name
    with pytest.raises(SystemExit):
        command.verify([str(bad), "lang=ja"])
    said = capsys.readouterr().out
    assert "個のファイルを" in said
    assert "相違あり" in said
    assert "table.md (1文字ずつ照合)" in said
    (tmp_path / "no.zip").write_bytes(b"no archive")
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as made:
        made.writestr("a", "b")
    for words, message in (
        (["verify", str(tmp_path / "no.zip")], "is no archive of a sweep"),
        (["verify", str(tmp_path / "other.zip")], "it holds no hashes.json"),
        (["verify", str(tmp_path / "nowhere.zip")], "No such file"),
        (["bundle", str(tmp_path)], "is no sweep"),
        (["bundle", str(archive.parent / "s"), str(archive.parent / "s" / "x.zip")], "would lie inside the sweep"),
    ):
        monkeypatch.setattr("sys.argv", ["mmbench", *words])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        message_shown = capsys.readouterr().err
        assert stopped.value.code == 2
        assert message in message_shown
        assert message_shown.count("\n") == 1
