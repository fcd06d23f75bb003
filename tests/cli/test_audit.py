"""``python -m mmbench audit``, and ``verify`` with data, as a user types them."""

from __future__ import annotations

import errno
import shutil
import sys
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import ClassVar

import pytest

from mmbench import cli, paths
from mmbench.audit import levels, processes
from mmbench.audit.findings import Finding
from mmbench.audit.recorded import needs_data
from mmbench.audit.retraining import chance, needed
from mmbench.audit.root import root_of
from mmbench.messages import Message
from mmbench.report.reading import read_sweep
from mmbench.scheduling.sweep import Sweep
from mmbench.store import files, records
from mmbench.store.schema import Manifest
from mmbench.tuning import study
from tests.audit.attacks import ATTACKS
from tests.audit.forger import Forger
from tests.tiny import make_job

ALLOWED = ("--allow", "tests.tiny.Broken", "--workers", "1")
Say = Callable[..., tuple[int, str]]


@pytest.fixture
def sweep(honest: Path, tmp_path: Path) -> Path:
    """A copy of the sweep, alone in its folder, that nobody has audited."""
    audited = shutil.ignore_patterns(paths.audit_file(honest).name)
    return Path(shutil.copytree(honest, tmp_path / "runs" / "s", ignore=audited))


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Say:
    """Run a command: its exit code, and what it prints."""

    def said(*words: str | Path) -> tuple[int, str]:
        code = 0
        monkeypatch.setattr(sys, "argv", ["mmbench", *map(str, words)])
        try:
            cli.main()
        except SystemExit as end:
            code = int(end.code or 0)
        shown = capsys.readouterr()
        return code, shown.out + shown.err

    return said


def test_an_honest_sweep_passes_and_keeps_what_was_shown(sweep: Path, say: Say) -> None:
    manifest = records.read(paths.manifest_file(sweep), Manifest)
    kept = [revision.hash for revision in manifest.revisions]
    code, said = say("audit", sweep, "--retrain", "2", "--seed", "7", *ALLOWED, "--plan-hash", kept[0])
    assert code == 0
    lines = said.splitlines()
    assert lines[1:4] == [
        "consistent: nothing is wrong",
        "28 trainings are ranked again",
        "re-scored: nothing is wrong",
    ]
    assert lines[4].startswith("drawn with the number 7: planted-")
    assert lines[5:7] == [
        "2 of 2 trainings agree, of 28 in all",
        "had a tenth been altered, this would have found one with probability 21 %; 18 trainings would with 95 %",
    ]
    assert lines[7].startswith("re-trained 2 of 28 (20")
    document = files.read_document(paths.audit_file(sweep))
    assert (document["level"], document["retrained"], document["trainings"]) == ("re-trained", 2, 28)
    assert say("audit", sweep, *ALLOWED, "--root", document["root"])[0] == 0


@pytest.mark.parametrize("content", ["", '{"a":', '{"schema_version": 1}', "[]"])
def test_a_damaged_result_of_an_audit_says_what_writes_it_again(sweep: Path, say: Say, content: str) -> None:
    kept = paths.audit_file(sweep)
    kept.write_text(content)
    code, said = say("report", sweep, *ALLOWED[:2])
    remedy = f"delete it, or have it written again by python -m mmbench audit {sweep}: no record rests on it"
    assert (code, said.splitlines()[-1]) == (2, f"error: {kept} holds no audit that can be read; {remedy}")
    assert say("audit", sweep, *ALLOWED)[0] == 0


def test_a_report_says_how_much_is_not_confirmed(sweep: Path) -> None:
    table = read_sweep(sweep)
    assert "not confirmed" not in table.proof
    doubt = Finding(None, "ledger.jsonl", "a/b/c trial 0", Message("its record is not there"), doubt=True)
    wrong = replace(doubt, doubt=False)

    def proof(*found: Finding) -> str:
        return replace(table, standing=replace(table.standing, findings=list(found))).proof

    assert "; 1 thing is not confirmed: python -m mmbench audit names it" in proof(doubt)
    assert "; 2 things are not confirmed: python -m mmbench audit names them" in proof(doubt, doubt)
    assert "not confirmed" not in proof(doubt, wrong)  # its level says that something is wrong


def test_the_sample_depends_on_root_and_number(sweep: Path) -> None:
    places = levels.retraining.all_trainings(sweep)
    drawn = [
        levels.retraining.draw(places, 5, root, number) for root, number in (("a", 1), ("a", 1), ("a", 2), ("b", 1))
    ]
    assert drawn[0] == drawn[1]
    assert len({str(sample) for sample in drawn}) == 3
    assert len(levels.retraining.draw(places, 99, "a", 1)) == len(places)


@pytest.mark.thorough
def test_copies_of_a_cell_in_the_plan_are_no_places_to_draw_from(sweep: Path) -> None:
    places, root = levels.retraining.all_trainings(sweep), root_of(sweep)
    with Forger(sweep) as forger:
        ATTACKS["40 copies of a harmless cell in the plan, so that a sample of trainings misses the others"](forger)
        forger.rehash()
        assert root_of(sweep) == root
        assert levels.retraining.all_trainings(sweep) == places
        assert [str(finding) for finding in levels.consistency.check(sweep)] == [
            "manifest.json: cells[planted-complementary/vbpr/text_shuffled_image]: the plan lists it 41 times"
        ]


def test_the_chance_to_find_what_was_altered() -> None:
    """27 of 264: drawn without replacement; by hand 1 - C(237, 5) / C(264, 5)."""
    assert chance(264, 5) == pytest.approx(1 - (237 * 236 * 235 * 234 * 233) / (264 * 263 * 262 * 261 * 260))
    assert chance(264, needed(264)) >= 0.95 > chance(264, needed(264) - 1)


def test_what_is_wrong_is_named_by_file_and_field(sweep: Path, say: Say) -> None:
    with Forger(sweep) as forger:
        forger.change(paths.choice_file(forger.cell("fused")), ("score",), lambda score: score + 0.1, keep=False)
        forger.rehash()
        code, said = say("audit", sweep, *ALLOWED)
        assert code == 1
        assert "planted-complementary/vbpr/fused/choice.json: score: it is 0." in said
        assert said.splitlines()[-1] == "stated"
    assert say("audit", sweep, *ALLOWED, "--plan-hash", "0" * 64)[0] == 1


def test_what_was_found_is_told_where_it_cannot_be_kept(sweep: Path, say: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*given: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system", "/sweep/.audit.json.8ea16930.tmp")

    monkeypatch.setattr(files, "write_document", refused)
    kept = f"{paths.audit_file(sweep)} cannot be written, so no page will show this audit: the disk can only be read"
    code, said = say("audit", sweep, *ALLOWED)
    assert (code, said.splitlines()[-2]) == (0, kept)
    assert said.splitlines()[-1].startswith("re-scored (")
    with Forger(sweep) as forger:
        forger.change(paths.choice_file(forger.cell("fused")), ("score",), lambda score: score + 0.1, keep=False)
        forger.rehash()
        code, said = say("audit", sweep, *ALLOWED)
    assert (code, said.splitlines()[-1]) == (1, "stated")
    assert kept in said.splitlines()
    assert "planted-complementary/vbpr/fused/choice.json: score: it is 0." in said
    assert not paths.audit_file(sweep).exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--retrain", "-1"), "--retrain=-1 must be a whole number of at least 0"),
        (("--workers", "0"), "--workers=0 must be a whole number of at least 1"),
        (("--seed", "x"), "--seed=x must be a whole number"),
        (("--seed", "7"), "error: --seed goes with --retrain: nothing else is drawn"),
        (("--plan-hash", "abc"), "--plan-hash abc is no hash"),
        (("--data", "nowhere"), "--data nowhere is no folder"),
        (("--workers", "1"), "model._target_=tests.tiny.Broken is not installed"),
    ],
)
def test_what_cannot_be_audited_is_refused_in_one_line(
    words: tuple[str, ...], message: str, sweep: Path, say: Say
) -> None:
    code, said = say("audit", sweep, *words)
    assert code == 2
    assert message in said
    assert "Traceback" not in said


def test_a_folder_that_is_no_sweep_is_said_as_everywhere(tmp_path: Path, say: Say) -> None:
    code, said = say("audit", tmp_path / "nope")
    assert code == 2
    assert said.splitlines()[-1] == f"error: {tmp_path / 'nope'} is no sweep (no manifest.json); sweeps beside it: none"


def test_a_sweep_without_trainings_is_told_so(tmp_path: Path, say: Say) -> None:
    make_sweep = Sweep.plan([make_job(tmp_path / "s", "model=vbpr", "modality=text")], [])
    make_sweep.open()
    code, said = say("audit", make_sweep.folder, "--retrain", "2")
    assert code == 0
    assert said.splitlines()[-2:] == [
        "no training has ended yet: there is nothing to rank or to train again",
        "consistent",
    ]


def test_a_process_that_is_killed_is_no_fault_of_the_records(
    sweep: Path, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed:
        """Processes that the system kills."""

        _processes: ClassVar[dict[int, BaseProcess]] = {}

        def __init__(self, *given: object) -> None: ...

        def __enter__(self) -> Killed:
            return self

        def __exit__(self, *_: object) -> None: ...

        def submit(self, *given: object) -> None:
            raise BrokenProcessPool

    monkeypatch.setattr(processes, "ProcessPoolExecutor", Killed)
    code, said = say("audit", sweep, *ALLOWED[:2], "--workers", "2")
    assert code == 2
    assert said.splitlines()[-1].startswith("error: one of the 2 processes of the audit was killed, as the system does")


@pytest.mark.parametrize(("left", "workers"), [(None, 6), (64 * 2**30, 6), (9 * 2**30, 3), (2**30, 1)])
def test_there_are_as_many_processes_as_the_memory_allows(
    left: int | None, workers: int, sweep: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A training of the sweep has needed 3 GiB."""
    monkeypatch.setattr(processes, "cores_here", lambda: 6)
    monkeypatch.setattr(processes.memory, "available", lambda: left)
    with Forger(sweep) as forger:
        rows = forger.rows()
        rows[0]["cost"]["peak_rss_mb"] = 3 * 1024.0
        forger.write_rows(rows)
        assert processes.workers_here(sweep) == workers


def test_want_of_memory_is_no_finding(sweep: Path, say: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    def short(*given: object, **named: object) -> None:
        raise MemoryError("Unable to allocate 8.00 GiB")

    def while_it_reads(*given: object) -> Iterator[None]:
        yield short()

    with monkeypatch.context() as once:
        once.setattr(levels, "rescore", while_it_reads)
        code, said = say("audit", sweep, *ALLOWED)
    assert (code, said.splitlines()[-1]) == (
        2,
        "error: there is not enough memory: MemoryError: Unable to allocate 8.00 GiB",
    )
    monkeypatch.setattr(study, "fit", short)
    code, said = say("audit", sweep, *ALLOWED, "--retrain", "28")
    assert (code, said.splitlines()[-1]) == (
        2,
        "error: there is not enough memory: MemoryError: Unable to allocate 8.00 GiB",
    )


@pytest.mark.thorough
def test_what_was_trained_on_files_is_trained_again_with_their_folder_only(
    shop_sweep: Path, honest: Path, say: Say, tmp_path: Path
) -> None:
    assert (needs_data(shop_sweep), needs_data(honest)) == (True, False)
    archive = tmp_path / "s.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for file in (paths.manifest_file(shop_sweep), *map(paths.cell_file, paths.cell_dirs(shop_sweep))):
            packed.write(file, file.relative_to(shop_sweep))
        packed.writestr("hashes.json", "{}")
    code, said = say("verify", archive, "--retrain", "1")
    assert (code, said.splitlines()[-1]) == (2, "error: --retrain needs the data: name their folder with --data DIR")


def test_an_archive_over_a_folder_is_refused_before_anything_is_computed(say: Say, tmp_path: Path) -> None:
    assert say("bundle", tmp_path / "nope", tmp_path) == (
        2,
        f"error: {tmp_path} is a folder; name the file to write with ARCHIVE\n",
    )


@pytest.mark.slow
def test_an_archive_is_audited_and_its_own_audit_counts_for_nothing(sweep: Path, say: Say, tmp_path: Path) -> None:
    assert say("audit", sweep, *ALLOWED)[0] == 0
    archive = tmp_path / "s.zip"
    assert say("bundle", sweep, archive, "--allow", "tests.tiny.Broken")[0] == 0
    code, said = say("verify", archive)
    assert (code, said.splitlines()[-1]) == (0, "every hash holds, and every table is what its records give")
    code, said = say("verify", archive, "--retrain", "1", *ALLOWED)  # a planted world is drawn from its record
    assert code == 0
    assert said.splitlines()[-1].startswith("re-trained 1 of 28")
    with Forger(sweep) as forger:
        forger.frame(forger.beside(forger.trials(forger.cell("text"))[0], paths.RANKS), lambda f: f.assign(rank=1))
        assert say("bundle", sweep, archive)[0] == 0
        code, said = say("verify", archive)
        assert code == 1
        assert "DIFFERS      planted-complementary/vbpr/text/trials/000.test.parquet (file: it is " in said
