"""A sweep packed, checked, tampered with, and checked again."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import msgspec
import pandas as pd
import pytest

from mmbench import cli, paths
from mmbench.audit import standing
from mmbench.audit.root import root_of
from mmbench.audit.standing import Level, Standing
from mmbench.cli import bundle as command
from mmbench.decision.record import holds
from mmbench.messages import Refusal
from mmbench.report import archive as packing
from mmbench.report import verification
from mmbench.report.archive import Finding, pack
from mmbench.report.contribution_facts import ON_DATA
from mmbench.report.write import write_report
from mmbench.scheduling.trust import NOTHING
from mmbench.store import records
from mmbench.store.schema import Manifest, hashed
from tests.audit.conftest import run
from tests.conftest import blank_charts
from tests.report.constructed import write_sweep
from tests.report.shop import vouched
from tests.report.test_contribution import cells

Change = Callable[[dict[str, bytes]], None]


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With blank charts, as a test makes them that is not marked: what is packed and unpacked must be drawn alike."""
    with pytest.MonkeyPatch.context() as patch:
        blank_charts(patch)
        return packed(tmp_path_factory.mktemp("packed"))


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With its charts."""
    return packed(tmp_path_factory.mktemp("drawn"))


def packed(folder: Path) -> Path:
    sweep = write_sweep(folder / "s", cells(), contrasts=["fused_vs_text"])
    paths.final_file(sweep / "d" / "m" / "none", 1, paths.STATE).write_bytes(b"weights")
    paths.ledger_file(sweep).write_text("")
    paths.identity_file(sweep).write_text("0" * 32)
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


def verify(*given: Any) -> list[Finding]:
    """What checking an archive finds, but for the two files that are their author's word."""
    findings = verification.verify(*given)
    word = [finding for finding in findings if finding.comparison == "its author's word"]
    assert [(finding.file, finding.same) for finding in word] == [("README.md", None), ("environment.json", None)]
    return [finding for finding in findings if finding not in word]


@pytest.mark.thorough
@pytest.mark.charts
def test_what_was_packed_is_what_the_records_give(drawn: Path, tmp_path: Path) -> None:
    findings = verify(drawn, tmp_path, holds)
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
    assert ".identity" not in names  # by which workers of this sweep know each other's leases
    assert "| report/verdicts.csv | `python -m mmbench report FOLDER` |" in read_me
    assert "unpack into a folder, which is FOLDER here," in read_me
    assert "numpy" in installed


def test_the_read_me_of_an_archive_names_the_command_of_every_file(tmp_path: Path) -> None:
    sweep = write_sweep(tmp_path / "s", cells(), contrasts=["fused_vs_text"])
    paths.ledger_file(sweep).write_text("")
    report = paths.report_dir(sweep)
    report.mkdir(exist_ok=True)
    for page in ("decision", "decision-without-titles", "checklist"):
        for file in (f"{page}.html", f"{page}.ja.html"):
            (report / file).write_text("item 1")
    (report / "paper.csv").write_text("a\n")
    pack(sweep, tmp_path / "s 1.zip")
    with zipfile.ZipFile(tmp_path / "s 1.zip") as opened:
        read_me = opened.read("README.md").decode()
    assert "`python -m mmbench verify 's 1.zip'`" in read_me
    command = dict(re.findall(r"^\| report/(\S+) \| `python -m mmbench (.+)` \|$", read_me, re.M))
    for page in ("decision.html", "decision.ja.html", "checklist.html", "checklist.ja.html"):
        assert command.pop(page) == "decide FOLDER", page
    assert command.pop("paper.csv") == "report FOLDER --paper CSV"
    assert {*command.values()} == {"report FOLDER"}


@pytest.mark.thorough
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
        not_same = {
            finding.file: finding.same for finding in verify(tmp_path / "s.zip", folder, holds) if not finding.same
        }
        assert not_same == {"decision.html": None}


@pytest.mark.thorough
@pytest.mark.parametrize("ends", [Refusal, OSError, KeyboardInterrupt])
def test_what_an_audit_has_shown_stays_on_the_pages_however_packing_ends(
    ends: type[BaseException], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = write_sweep(tmp_path / "s", cells(), contrasts=["fused_vs_text"])
    paths.ledger_file(sweep).write_text("")
    standing.keep(sweep, Standing(Level.RETRAINED, root_of(sweep), "now", 1, 1))
    write_report(sweep)
    page = paths.report_dir(sweep) / "table.md"
    said, written = page.read_text(), page.stat().st_mtime_ns
    assert "re-trained 1 of 1" in said
    if ends is Refusal:
        (page.parent / "decision.html").write_text("Desk lamp Aurora")
    else:
        monkeypatch.setattr("mmbench.report.archive._save", raised := Mock(side_effect=ends))
    with pytest.raises(ends):
        pack(sweep, tmp_path / "s.zip")
    assert page.read_text() == said
    if ends is Refusal:  # before a page was written
        assert page.stat().st_mtime_ns == written
    else:
        assert raised.called
    assert not (tmp_path / "s.zip").exists()


@pytest.mark.thorough
@pytest.mark.parametrize("when", ["write_report", "_save"])
def test_a_sweep_that_is_written_meanwhile_is_not_packed(
    when: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its report would be one of fewer records, and who checks the archive would be told that it differs."""
    sweep = write_sweep(tmp_path / "s", cells(), contrasts=["fused_vs_text"])
    paths.ledger_file(sweep).write_text("")
    plain = getattr(packing, when)

    def meanwhile(*given: Any, **named: Any) -> Any:
        done = plain(*given, **named)
        (sweep / "d" / "m" / "none" / "trials" / "008.json").write_text("{}")
        return done

    monkeypatch.setattr(packing, when, meanwhile)
    with pytest.raises(ValueError, match=rf"^records of {sweep} have changed while they were packed, as those of a sw"):
        pack(sweep, tmp_path / "s.zip")
    assert [path.name for path in tmp_path.iterdir()] == ["s"]


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


@pytest.mark.charts
@pytest.mark.thorough
def test_the_same_sweep_gives_the_same_bytes(drawn: Path, tmp_path: Path) -> None:
    pack(drawn.parent / "s", tmp_path / "s.zip")
    assert (tmp_path / "s.zip").read_bytes() == drawn.read_bytes()


@pytest.mark.thorough
def test_an_archive_holds_what_tells_of_records_that_are_gone(archive: Path, tmp_path: Path) -> None:
    """Copies of seals and damaged records, which an audit reads; no other copy, no leftover, no damaged array."""
    sweep = Path(shutil.copytree(archive.parent / "s", tmp_path / "s"))
    cell = sweep / "d" / "m" / "none"
    damaged = paths.damaged_dir(sweep) / cell.relative_to(sweep)
    root, lost = root_of(sweep), paths.final_file(damaged, 1, paths.RECORD)
    told = [paths.seal_copy(cell), paths.seal_file(damaged), lost, lost.with_name(f"{lost.name}.2")]
    for file in (
        *told,
        paths.copy_of(paths.manifest_file(sweep)),
        paths.seal_file(damaged).with_name(f".{paths.seal_file(damaged).name}.1.tmp"),
        paths.final_file(damaged, 1, paths.STATE),
    ):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("{}")
    assert root_of(sweep) == root
    pack(sweep, tmp_path / "s.zip")
    with zipfile.ZipFile(archive) as before, zipfile.ZipFile(tmp_path / "s.zip") as now:
        assert set(now.namelist()) - set(before.namelist()) == {f.relative_to(sweep).as_posix() for f in told}
    (tmp_path / "there").mkdir()
    assert all(finding.same for finding in verify(tmp_path / "s.zip", tmp_path / "there", holds))


@pytest.mark.thorough
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


@pytest.mark.parametrize("cell", [b"", b"0.625 0.625"])
def test_a_number_that_was_deleted_or_repeated_is_found(archive: Path, tmp_path: Path, cell: bytes) -> None:
    def edit(files: dict[str, bytes]) -> None:
        assert b",0.625," in files["report/table.csv"]
        files["report/table.csv"] = files["report/table.csv"].replace(b",0.625,", b"," + cell + b",")

    findings = verify(changed(archive, tmp_path / "s.zip", edit, honest=False), tmp_path / "out", holds)
    assert [finding.file for finding in findings if finding.same is False] == ["table.csv"]


def test_a_changed_record_is_found_in_every_table_of_it(archive: Path, tmp_path: Path) -> None:
    def swap(files: dict[str, bytes]) -> None:
        a, b = (f"d/m/{c}/finals/seed1.test.parquet" for c in ("none", "fused"))
        files[a], files[b] = files[b], files[a]

    findings = verify(changed(archive, tmp_path / "s.zip", swap, honest=False), tmp_path / "out", holds)
    assert {"table.csv", "verdicts.csv", "contribution.csv"} <= {f.file for f in findings if f.same is False}


def replaced(file: str, old: bytes, new: bytes) -> Change:
    """One place of one file."""

    def change(files: dict[str, bytes]) -> None:
        assert old in files[f"report/{file}"], file
        files[f"report/{file}"] = files[f"report/{file}"].replace(old, new)

    return change


#: Edits by the file of the report that they change; all hashes are forged too.
EDITS: dict[str, Change] = {
    "fairness.html": replaced("fairness.html", b"FAIL", b"PASS"),
    "fairness.ja.html": replaced("fairness.ja.html", b"<svg", b"<svg fill='none'"),
    "fairness.md": replaced("fairness.md", b"- PASS: choice", b"- PASS: nothing"),
    "fairness.ja.md": lambda files: files.update({"report/fairness.ja.md": files["report/fairness.ja.md"][:-9]}),
    "benchmark.csv": replaced("benchmark.csv", b"0.625", b"0.725"),
    "benchmark.md": replaced("benchmark.md", b"0.625", b"0.725"),
    "benchmark.tex": replaced("benchmark.tex", b"0.625", b"0.725"),
    "table.ja.md": replaced("table.ja.md", b"0.625", b"0.725"),
    "contribution.md": replaced("contribution.md", b"image", b"sound"),
    "contribution.ja.md": replaced("contribution.ja.md", b"image", b"sound"),
    "submission.md": replaced("submission.md", b"| no |", b"| yes |"),
    "submission.tex": replaced("submission.tex", b"[no]", b"[yes]"),
    "report.html": replaced("report.html", b"standard", b"paper"),
    "forest-fused_vs_text.svg": replaced("forest-fused_vs_text.svg", b"</svg>", b"<!-- --></svg>"),
    "conditions.png": lambda files: files.update({"report/conditions.png": b"no picture"}),
    "extra.html": lambda files: files.update({"report/extra.html": b"300 trials"}),
    "forest-more.svg": lambda files: files.update({"report/forest-more.svg": b"<svg></svg>"}),
    "new_items.csv": lambda files: files.update({"report/new_items.csv": b"a,b"}),
    "more/table.md": lambda files: files.update({"report/more/table.md": b"1"}),
    "gains.png": lambda files: files.pop("report/gains.png") and None,
}


def test_every_changed_file_of_a_report_is_found(archive: Path, tmp_path: Path) -> None:
    def edit(files: dict[str, bytes]) -> None:
        for change in EDITS.values():
            change(files)

    findings = verify(changed(archive, tmp_path / "s.zip", edit, honest=False), tmp_path / "out", holds)
    assert {finding.file for finding in findings if finding.same is False} == {*EDITS}
    told = {finding.file: finding.comparison for finding in findings}
    assert told["extra.html"] == told["new_items.csv"] == "no command writes it from these records"
    assert told["gains.png"] == "missing"
    assert told["fairness.html"] == "letter by letter"


@pytest.mark.thorough
@pytest.mark.charts
def test_drawings_of_other_versions_are_not_checked_and_the_text_beside_them_is(drawn: Path, tmp_path: Path) -> None:
    drawings = ("fairness.ja.html", "forest-fused_vs_text.svg", "conditions.png")
    text = ("fairness.html", "report.html", "benchmark.md")

    def elsewhere(files: dict[str, bytes]) -> None:
        environment = json.loads(files["environment.json"])
        environment["installed"]["matplotlib"] = "0.1"
        files["environment.json"] = json.dumps(environment).encode()
        for name in (*drawings, *text):
            EDITS[name](files)

    findings = verify(changed(drawn, tmp_path / "s.zip", elsewhere, honest=False), tmp_path / "out", holds)
    assert {finding.file for finding in findings if finding.same is None} == {*drawings}
    assert {finding.file for finding in findings if finding.same is False} == {*text}
    told = {finding.file: finding.comparison for finding in findings}
    assert told["conditions.png"] == "drawn by other versions of matplotlib, numpy and fonts than those here"
    assert told["fairness.ja.html"] == "letter by letter, but for drawings of other versions than those here"


@pytest.mark.thorough
def test_sweeps_beside_it_are_named_at_home_and_in_the_read_me_alone(tmp_path: Path) -> None:
    """Where an archive is checked there are none, or others."""
    home = tmp_path / "home"
    sweep, other = (write_sweep(home / name, cells(), contrasts=["fused_vs_text"]) for name in ("s", "t"))
    file = paths.manifest_file(other)
    plan = records.read(file, Manifest)
    drawn = msgspec.structs.replace(plan.cells[0], dataset="d-draw1", draw=1, key="another")
    records.write(file, hashed(msgspec.structs.replace(plan, cells=[*plan.cells, drawn])))
    for place in (sweep, other):
        paths.ledger_file(place).write_text("")
    said = "sweep t beside it has cells with the same plan"
    pack(sweep, tmp_path / "s.zip")
    told = (paths.report_dir(sweep) / "fairness.md").read_text()
    assert said in told
    assert "not shown here: draw 1 in t" in told
    with zipfile.ZipFile(tmp_path / "s.zip") as opened:
        read_me = opened.read("README.md").decode()
    assert f"\n- d/m: {said}\n- d/m: draw 1 of its tuning is in t\n" in read_me
    for folder in (tmp_path / "empty" / "out", home / "out"):
        folder.mkdir(parents=True)
        assert all(finding.same for finding in verify(tmp_path / "s.zip", folder, holds))


@pytest.mark.thorough
def test_pages_in_the_language_that_was_asked_for(tmp_path: Path) -> None:
    sweep = write_sweep(tmp_path / "s", cells(), contrasts=["fused_vs_text"])
    paths.ledger_file(sweep).write_text("")
    write_report(sweep, lang="ja")
    pack(sweep, tmp_path / "s.zip")
    with zipfile.ZipFile(tmp_path / "s.zip") as opened:
        assert "report/report.en.html" in opened.namelist()
    (tmp_path / "out").mkdir()
    assert all(finding.same for finding in verify(tmp_path / "s.zip", tmp_path / "out", holds))


def test_what_no_command_writes_is_left_out_and_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sweep = write_sweep(tmp_path / "s", cells(), contrasts=["fused_vs_text"])
    paths.ledger_file(sweep).write_text("")
    report = paths.report_dir(sweep)
    (report / "mine").mkdir(parents=True)
    for name in ("notes.txt", "mine/table.md", "new_items.md", "paper.csv"):
        (report / name).write_text("of mine")
    command.bundle([str(sweep), str(tmp_path / "s.zip")])
    assert "2 files of the report were left out, which no command writes" in capsys.readouterr().out
    assert not (report / "new_items.md").exists()  # of a plan that had new items
    command.verify([str(tmp_path / "s.zip")])
    said = capsys.readouterr().out
    assert "not checked  paper.csv (needs the published tables, which are not in the archive)" in said
    assert "not checked  README.md (its author's word)" in said
    assert "DIFFERS" not in said


@pytest.mark.thorough
def test_what_a_data_set_tells_is_not_checked_without_it(shop_sweep: Path, tmp_path: Path) -> None:
    """Neither an honest archive nor an edit of what the records tell is taken for what the data set told."""
    sweep = Path(shutil.copytree(shop_sweep, tmp_path / "home" / shop_sweep.name))
    pack(sweep, tmp_path / "s.zip", vouched(shop_sweep))
    with_data = verify(tmp_path / "s.zip", tmp_path / "with", holds, vouched(shop_sweep))
    assert [finding for finding in with_data if not finding.same] == []
    without = {finding.file: finding for finding in verify(tmp_path / "s.zip", tmp_path / "without", holds)}
    unknown = {"contribution.md", "contribution.ja.md", "submission.md", "submission.ja.md", "submission.tex"}
    assert {name for name, finding in without.items() if not finding.same} == unknown
    assert {without[name].same for name in unknown} == {None}
    lines = read(tmp_path / "s.zip", "contribution.md").splitlines()
    row = next(line for line in lines if line.startswith("| ") and " 0.0" in line)

    def edit(files: dict[str, bytes]) -> None:
        replaced("submission.md", b"| yes |", b"| no |")(files)
        replaced("submission.tex", b"[yes]", b"[no]")(files)
        replaced("contribution.md", row.encode(), row.encode().replace(b" 0.0", b" 0.9"))(files)

    bad = changed(tmp_path / "s.zip", tmp_path / "bad.zip", edit, honest=False)
    found = {finding.file for finding in verify(bad, tmp_path / "bad", holds) if finding.same is False}
    assert found == {"contribution.md", "submission.md", "submission.tex"}

    def as_if_without(files: dict[str, bytes]) -> None:
        rows = files["report/contribution.csv"].decode().splitlines(keepends=True)
        kept = [row for row in rows if not any(f",{measure}," in row.replace('"', "") for measure in ON_DATA)]
        assert len(kept) < len(rows)
        files["report/contribution.csv"] = "".join(kept).encode()
        with_prose(files)

    bad = changed(tmp_path / "s.zip", tmp_path / "stripped.zip", as_if_without, honest=False)
    for folder, trust, differs in (
        ("stripped", vouched(shop_sweep), {"contribution.csv", "contribution.md", "contribution.ja.md"}),
        ("stripped without", NOTHING, {"contribution.md", "contribution.ja.md"}),
    ):
        found = {finding.file for finding in verify(bad, tmp_path / folder, holds, trust) if finding.same is False}
        assert found == differs


def with_prose(files: dict[str, bytes]) -> None:
    """Claims below the titles of the contributions."""
    for name in ("contribution.md", "contribution.ja.md"):
        title, rest = files[f"report/{name}"].split(b"\n", 1)
        files[f"report/{name}"] = title + b"\n\nImages raise NDCG@20 by 40 % for every model.\n" + rest


def test_prose_that_was_added_to_the_contributions_is_found(archive: Path, tmp_path: Path) -> None:
    """Also where their data set is not here."""
    assert "not measured: slices, list measures and guard-rails: " in read(archive, "contribution.md")
    bad = changed(archive, tmp_path / "s.zip", with_prose, honest=False)
    found = {finding.file for finding in verify(bad, tmp_path / "out", holds) if finding.same is False}
    assert found == {"contribution.md", "contribution.ja.md"}


@pytest.mark.thorough
def test_contributions_with_what_a_data_set_tells_are_compared_whole(tmp_path: Path) -> None:
    """Also where the archive has another number of rows."""
    packed, again = tmp_path / "packed.csv", tmp_path / "again.csv"
    header, value, coverage = "dataset,model,measure,value\n", "d,m,M1 value,1\n", "d,m,beyond accuracy,"
    again.write_text(f"{header}{value}{coverage}2\n{coverage}3\n")
    for rows in (f"{coverage}9\n", ""):
        packed.write_text(f"{header}{value}{rows}")
        assert verification._contribution(packed, again, set()).same is False
    packed.write_text(f"{header}{value}{coverage}9\n")
    again.write_text(f"{header}{value}")
    assert verification._contribution(packed, again, {("d", "m")}).same is True
    assert verification._contribution(packed, again, {("d", "n")}).same is False


def read(archive: Path, name: str) -> str:
    """A file of the report in an archive."""
    with zipfile.ZipFile(archive) as opened:
        return opened.read(f"report/{name}").decode()


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


def test_what_bundle_never_packs_is_found(archive: Path, tmp_path: Path) -> None:
    """Such as what somebody says of an audit: it would count in the folder of who unpacks the archive by hand."""
    kept = paths.audit_file(archive.parent / "s").read_bytes()
    more = {"audit.json": kept, "wandb/run.json": b"{}", "more.txt": b"more", "damaged/d/m/none/seed1.state.npz": b"x"}
    bad = changed(archive, tmp_path / "s.zip", lambda files: files.update(more), honest=False)
    found = {f.file: f.comparison for f in verify(bad, tmp_path / "out", holds) if f.same is False}
    assert found == dict.fromkeys(more, "bundle packs no such file")


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


@pytest.mark.thorough
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
        (["verify", str(tmp_path / "nowhere.zip")], "nowhere.zip: there is no such file or folder"),
        (["bundle", str(tmp_path)], "is no sweep"),
        (["bundle", str(archive.parent / "s"), str(archive.parent / "s" / "x.zip")], "would lie inside the sweep"),
        (["bundle", str(archive.parent / "s"), str(tmp_path / "no.zip" / "x.zip")], "name another place with ARCHIVE"),
    ):
        monkeypatch.setattr("sys.argv", ["mmbench", *words])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        message_shown = capsys.readouterr().err
        assert stopped.value.code == 2
        assert message in message_shown
        assert message_shown.count("\n") == 1
