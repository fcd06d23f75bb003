"""Looks at the test split that the plan knows, whatever became of their folders: raised, begun afresh, moved."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from mmbench import faults, paths
from mmbench.audit import consistency
from mmbench.audit.further_tries import read_tries
from mmbench.audit.levels import check_kept_elsewhere
from mmbench.inference.verdicts import Verdict
from mmbench.report.archive import pack, unpack
from mmbench.report.cell_effort import CellEffort
from mmbench.report.comparisons import Comparison, level_of, read_contrasts
from mmbench.report.fairness_checks import read_groups
from mmbench.report.reading import read_sweep
from mmbench.store import records
from mmbench.store.mending import mend
from mmbench.store.schema import Manifest, Seal, Stage, hashed
from tests.audit import levels
from tests.audit.conftest import SOURCES, run
from tests.audit.forger import DROPPED, Forger
from tests.audit.test_attacks import plan_of

ONE = (("ease", "none", "complementary"),)
WORDS, FORCE = ("budget.seeds=1",), "study.resume=force"
RESULT_GONE = "its test split was opened, and the result is not there; run the command of the sweep again"


def swept(folder: Path, trials: int, *words: str) -> Path:
    """One cell of a model that is computed, with so many trials."""
    return run(folder, "s", *WORDS, f"budget.trials={trials}", *words, cells=ONE)


def cell_of(sweep: Path) -> Path:
    (cell,) = (folder for folder in paths.cell_dirs(sweep) if paths.STALE not in folder.name)
    return cell


def seal_of(folder: Path) -> str:
    return records.read(paths.seal_file(folder), Seal).hash


def revisions(sweep: Path) -> list[tuple[int, list[str]]]:
    """T of every revision and the seals that it holds."""
    manifest = records.read(paths.manifest_file(sweep), Manifest)
    return [(revision.trials, list(revision.seals.values())) for revision in manifest.revisions]


def found(sweep: Path) -> list[str]:
    return [str(finding) for finding in consistency.check(sweep)]


def tidied(forger: Forger) -> None:
    """What a cheat does after a run was forced: nothing set aside, and one row of the ledger for every record."""
    for stale in paths.stale_dirs(forger.folder):
        forger.remove(stale)
    here = {forger.read(file)["hash"] for c in forger.cells() for file in [*forger.trials(c), *forger.finals(c)]}
    forger.write_rows(list({row["hash"]: row for row in forger.rows() if row["hash"] in here}.values()))


@pytest.mark.parametrize("cleared", [False, True])
def test_a_plan_that_was_removed_after_a_look_leaves_that_look(cleared: bool, tmp_path: Path) -> None:
    """The plan that is written anew says what had been opened, though it is the first one."""
    sweep = swept(tmp_path, 2)
    for file in sweep.glob(f"{paths.manifest_file(sweep).stem}*"):
        file.unlink()
    swept(tmp_path, 4)
    if cleared:
        shutil.rmtree(paths.look_dir(cell_of(sweep), 1))
    assert looked(sweep) == (1 if cleared else 2, 2)
    said = "the plan of - was written after its test split had been opened"
    assert said in [str(message) for tries in read_tries(sweep).values() for message in tries.here]
    swept(tmp_path, 6)
    assert looked(sweep) == (2 if cleared else 3, 3)
    assert bool(found(sweep)) == cleared


def test_a_raise_after_a_plan_was_removed_is_forecast_as_it_will_count(tmp_path: Path) -> None:
    """The look of the plan that is lost is among those that are known once the next plan names its seal."""
    sweep = swept(tmp_path, 2)
    for file in sweep.glob(f"{paths.manifest_file(sweep).stem}*"):
        file.unlink()
    swept(tmp_path, 2)
    ((cell,),) = (group.cells for group in read_groups(read_sweep(sweep), sweep))
    assert cell.n_looks == 2
    expected = cell.n_looks_with(1)
    swept(tmp_path, 4)
    assert looked(sweep)[1] == expected == 2


def test_a_plan_that_is_written_anew_notes_no_look_at_other_test_rows(tmp_path: Path) -> None:
    """Such a seal is written over, and an honest user would be accused of having removed it."""
    sweep = swept(tmp_path, 2)
    folder = cell_of(sweep)
    for file in (paths.seal_file(folder), paths.seal_copy(folder)):
        records.write(file, msgspec.structs.replace(records.read(file, Seal), test_hash="other rows"))
    for file in sweep.glob(f"{paths.manifest_file(sweep).stem}*"):
        file.unlink()
    swept(tmp_path, 2)
    assert revisions(sweep) == [(2, [])]
    assert not found(sweep)


def looked(sweep: Path) -> tuple[int, int]:
    """Looks at the test split of the only cell that can be shown, and those that were."""
    ((cell,),) = (group.cells for group in read_groups(read_sweep(sweep), sweep))
    return len(cell.openings), cell.n_looks


def test_a_forced_command_appends_a_revision_with_the_seal_of_then(tmp_path: Path) -> None:
    sweep = swept(tmp_path, 2, FORCE)
    assert revisions(sweep) == [(2, [])]  # there was nothing to begin afresh
    plan, seal = plan_of(sweep), seal_of(cell_of(sweep))
    swept(tmp_path, 2, FORCE)
    assert revisions(sweep) == [(2, []), (2, [seal])]
    assert plan_of(sweep) != plan
    assert not found(sweep)
    assert not check_kept_elsewhere(sweep, plan, "")
    swept(tmp_path, 3)
    assert revisions(sweep)[2:] == [(3, [seal])]


@pytest.mark.thorough
@pytest.mark.parametrize("words", [("budget.trials=2", "budget.seeds=3"), ("budget.trials=4", "budget.seeds=1")])
def test_a_raise_that_was_killed_accuses_nobody(
    words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is doubted until the folder is claimed: after that the table says that the cell is not finished."""
    sweep = swept(tmp_path, 2)
    why = "more trials or final runs are planned than it has; run the command of the sweep again"
    planned = f"{cell_of(sweep).relative_to(sweep)}/cell.json: effort: {why}"
    for point, expected in (("planned", [planned]), ("fitted", []), ("ledger", None), ("fitted", [])):

        def killed(here: str, point: str = point) -> None:
            if here == point:
                raise KeyboardInterrupt

        with monkeypatch.context() as once:
            once.setattr(faults, "reach", killed)
            with pytest.raises(KeyboardInterrupt):
                run(tmp_path, "s", *words, cells=ONE)
        assert expected is None or found(sweep) == expected
        assert all(finding.doubt for finding in consistency.check(sweep))
    assert not levels.rescored(sweep, SOURCES)  # one training more, which ranks nothing of test yet
    run(tmp_path, "s", *words, cells=ONE)
    assert not found(sweep)


@pytest.mark.thorough
def test_a_result_that_was_taken_away_is_doubted_in_an_archive_too(tmp_path: Path) -> None:
    """The copy of its seal says that the test split was opened."""
    sweep = swept(tmp_path / "runs", 2)
    cell = cell_of(sweep)
    for file in (paths.seal_file(cell), *cell.rglob(f"*.{paths.RANKS}"), *cell.rglob(f"*.{paths.LISTS}")):
        file.unlink()
    pack(sweep, tmp_path / "s.zip")
    unpack(tmp_path / "s.zip", tmp_path / "there")
    for folder in (sweep, tmp_path / "there"):
        (doubt,) = found(folder)
        assert doubt.endswith(RESULT_GONE)


def test_a_revision_notes_what_had_been_opened(tmp_path: Path) -> None:
    """Each cell once, and none that was planned and has not run; whoever takes it away is seen."""
    other = ("ease", "none", "no_signal")
    run(tmp_path, "s", *WORDS, "budget.trials=2", cells=ONE, work=False)
    run(tmp_path, "s", *WORDS, "budget.trials=2", "dataset.split_seed=1", cells=ONE)
    run(tmp_path, "s", *WORDS, "budget.trials=2", cells=(other,))
    sweep = run(tmp_path, "s", *WORDS, "budget.trials=3", "dataset.split_seed=1", cells=ONE)
    manifest = records.read(paths.manifest_file(sweep), Manifest)
    split, last = ("planted-complementary-split1/ease/-", "planted-no_signal/ease/-")
    assert [revision.opened for revision in manifest.revisions] == [[], [], [split], [last]]
    assert manifest.first_opened() == {split: 3, last: 4}
    assert not found(sweep)
    for edit, reason in (
        (lambda opened: [*opened, "planted-a/ease/-"], "it is ['planted-a/ease/-'], the other records give []"),
        (lambda _: [], f"it is ['{split}'], the other records give []"),
        (lambda _: DROPPED, "it is missing, and an earlier revision has one"),
    ):
        with Forger(sweep) as forger:
            forger.change(forger.manifest, ("revisions", 2, "opened"), edit, keep=False)
            forger.rehash()
            assert next(one for one in found(sweep) if ".opened" in one).endswith(f".opened: {reason}")


def test_a_cell_that_was_taken_away_whole_is_doubted(tmp_path: Path) -> None:
    """By what a later revision notes, by what lies in its folder, and by the ledger; never one that has not run."""
    other = ("ease", "none", "no_signal")
    sweep = swept(tmp_path, 2)
    cell = cell_of(sweep)
    gone, listed = f"{cell.relative_to(sweep)}/cell.json: file: {RESULT_GONE}", "whose record is not there"

    def without(*places: Path, rows: bool = False) -> list[str]:
        with Forger(sweep) as forger:
            forger.remove(*places)
            forger.write_rows([] if rows else forger.rows())
            assert all(finding.doubt for finding in consistency.check(sweep))
            return found(sweep)

    assert without(paths.cell_file(cell)) == [gone]
    assert without(cell, rows=True) == []  # nothing shows that it has run
    (doubt,) = without(cell)
    assert listed in doubt
    run(tmp_path, "s", *WORDS, "budget.trials=2", cells=(other,), work=False)
    assert not found(sweep)  # the one that is only planned
    assert without(cell, rows=True) == without(cell) == [gone]
    opened = [paths.seal_file(cell), paths.seal_copy(cell)]
    opened += [file for ending in (paths.RANKS, paths.LISTS) for file in cell.rglob(f"*.{ending}")]
    assert without(*opened) == [gone.replace("cell.json", "sealed.json")]


@pytest.mark.thorough
@pytest.mark.parametrize("trials", [2, 3])
def test_a_look_before_a_forced_run_is_missed(trials: int, tmp_path: Path) -> None:
    """Also where T is raised by the same command, and by the plan as it lies there."""
    sweep = swept(tmp_path, 2)
    seal = seal_of(cell_of(sweep))
    swept(tmp_path, trials, FORCE)
    assert revisions(sweep)[1:] == [(trials, [seal])]
    assert not found(sweep)
    with Forger(sweep) as forger:
        tidied(forger)
        # The very same seal again shows nothing that is not there.
        expected = ["manifest.json: revisions[2].seals: no look has the seal of then"] if trials > 2 else []
        assert found(sweep) == expected
        forger.rehash()
        assert found(sweep) == expected


@pytest.mark.thorough
@pytest.mark.parametrize("point", ["planned", "fitted", "ledger", "chosen", "sealing"])
def test_a_forced_run_that_was_killed_and_resumed_passes(
    point: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Resumed as it is, raised, or forced once more."""

    def killed(here: str) -> None:
        if here == point:
            raise KeyboardInterrupt

    swept(tmp_path / "first", 2)
    with monkeypatch.context() as once:
        once.setattr(faults, "reach", killed)
        with pytest.raises(KeyboardInterrupt):
            swept(tmp_path / "first", 3, FORCE)
    for name, words in (("resumed", ("3",)), ("raised", ("4",)), ("forced", ("3", FORCE))):
        shutil.copytree(tmp_path / "first", tmp_path / name)
        sweep = swept(tmp_path / name, int(words[0]), *words[1:])
        assert not found(sweep), name


@pytest.fixture(scope="session")
def raised(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep with three looks."""
    folder = tmp_path_factory.mktemp("raised")
    return [swept(folder, trials) for trials in (2, 3, 4)][-1]


def moved(forger: Forger, file: Path, target: Path) -> None:
    forger.copy(file, target)
    forger.remove(file)


def into_a_folder(forger: Forger, look: Path) -> None:
    moved(forger, look, look.parents[1] / "old" / look.name)


def below_the_looks(forger: Forger, look: Path) -> None:
    moved(forger, look, look.parent / "old" / look.name)


def aside(forger: Forger, look: Path) -> None:
    moved(forger, look, look.parents[1] / "aside" / look.name)


def deep_in_a_folder_set_aside(forger: Forger, look: Path) -> None:
    cell = look.parents[1]
    moved(forger, look, cell.with_name(f"{cell.name}{paths.STALE}0000") / "old" / "looks" / look.name)


def to_a_copy(forger: Forger, look: Path) -> None:
    moved(forger, paths.seal_file(look), paths.copy_of(paths.seal_file(look)))


def to_a_seal_that_says_something_else(forger: Forger, look: Path) -> None:
    """With the hash of before, where looks that were set aside lie."""
    cell = look.parents[1]
    set_aside = cell.with_name(f"{cell.name}{paths.STALE}0000") / "looks" / look.name
    moved(forger, look, set_aside)
    forger.remove(paths.copy_of(paths.seal_file(set_aside)))
    forger.change(paths.seal_file(set_aside), ("test_hash",), lambda _: "0" * 64)


@pytest.mark.parametrize(
    "hidden",
    [
        into_a_folder,
        below_the_looks,
        aside,
        deep_in_a_folder_set_aside,
        to_a_copy,
        to_a_seal_that_says_something_else,
    ],
)
@pytest.mark.parametrize("looks", [(1, 2), (2,)])
def test_a_look_that_was_moved_is_missed(
    looks: tuple[int, ...], hidden: Callable[[Forger, Path], None], raised: Path
) -> None:
    assert not found(raised)
    with Forger(raised) as forger:
        for number in looks:
            hidden(forger, paths.look_dir(cell_of(raised), number))
        expected = [f"manifest.json: revisions[{number + 1}].seals: no look has the seal of then" for number in looks]
        assert found(raised) == expected
        forger.rehash()
        assert found(raised) == expected


def test_a_trial_that_an_earlier_look_alone_calls_unscored_is_found(raised: Path) -> None:
    """Its words of then would rest on one trial less."""
    with Forger(raised) as forger:
        file = paths.seal_file(paths.look_dir(cell_of(raised), 1))
        seal = forger.read(file)
        del seal["files"][paths.training_file(Path(), Stage.TRIAL, 1, paths.RANKS).as_posix()]
        forger.write(file, {**seal, "unscored": ["trial 1: all scores are equal"]})
        forger.rehash()
        assert not found(raised)
        (finding,) = levels.rescored(raised, SOURCES)
        assert str(finding).endswith(
            "trials/001.json: state: it ranks the test split, and a seal says that its scores rank nothing"
        )


def test_a_seal_whose_file_lost_what_it_stands_for_is_a_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Among the damaged files, and as the copy that a later look would keep."""

    def killed(here: str) -> None:
        if here == "planned":
            raise KeyboardInterrupt

    sweep = swept(tmp_path, 2)
    cell = cell_of(sweep)
    for words in ((), (FORCE,)):
        paths.final_file(cell, 1, paths.RANKS).unlink()
        assert list(mend(sweep))
        with monkeypatch.context() as once:
            once.setattr(faults, "reach", killed)
            with pytest.raises(KeyboardInterrupt):
                swept(tmp_path, 3, *words)
        assert len(list(filter(None, (held for _, held in revisions(sweep))))) == (2 if words else 1)
        assert not any("no look has the seal of then" in line for line in found(sweep))
        shutil.rmtree(paths.damaged_dir(sweep))  # an archive holds none of it
        assert not any("no look has the seal of then" in line for line in found(sweep))
        swept(tmp_path, 3)
        assert not found(sweep)


@pytest.mark.thorough
def test_a_forced_run_of_an_earlier_version_accuses_nobody(tmp_path: Path) -> None:
    """Its plan has neither a revision nor a seal of it, whether what was set aside is there or not."""
    swept(tmp_path, 2)
    sweep = swept(tmp_path, 2, FORCE)
    with Forger(sweep) as forger:
        manifest = forger.read(forger.manifest)
        manifest["revisions"].pop()
        forger.write(forger.manifest, manifest)
        forger.rehash()
        assert revisions(sweep) == [(2, [])]
        assert not found(sweep)
        tidied(forger)
        assert not found(sweep)


def effort_of(sweep: Path) -> tuple[CellEffort, str]:
    """The one condition, and what the fairness report says of its looks."""
    (group,) = read_groups(read_sweep(sweep), sweep)
    (said,) = (f"{check.level}: {check.reason}" for check in group.checks if check.name == "looks")
    return group.cells[0], said


@pytest.fixture
def forced(raised: Path, tmp_path: Path) -> Path:
    """The sweep with three looks, begun afresh."""
    shutil.copytree(raised, tmp_path / "s")
    return swept(tmp_path, 4, FORCE)


FOUR = "opened 4 times, with T 2 and S 1, then with T 3 and S 1, then with T 4 and S 1, then with T 4 and S 1"


def test_looks_before_a_forced_run_count(raised: Path, forced: Path) -> None:
    """One with the same records is told, and shows nothing new."""
    before, _ = effort_of(raised)
    after, said = effort_of(forced)
    assert said == f"PASS: the test split was {FOUR}, which gave the same records"
    assert [look.trials for look in after.openings] == [2, 3, 4]
    assert after.n_looks == before.n_looks == 3
    assert level_of([after]) == level_of([before]) == 1 - 0.05 / 3
    for number in (1, 2):
        then, again = before.past(number), after.past(number)
        assert again.choice == then.choice
        assert again.finals_test == then.finals_test
        assert np.array_equal(again.tuning.test, then.tuning.test)
    (tries,) = read_tries(forced).values()
    (name,) = (folder.relative_to(forced).as_posix() for folder in paths.stale_dirs(forced))
    assert [str(message) for message in tries.here] == [
        f"{name} was set aside with 5 trainings",
        f"for {name} the test split had been opened 3 times",
    ]


def test_a_look_that_comes_out_otherwise_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As with other versions: then a forced run is a further chance to stop."""
    sweep, versions = swept(tmp_path, 2), records.versions
    monkeypatch.setattr(records, "versions", lambda *own: {**versions(*own), "torch": "another one"})
    swept(tmp_path, 2, FORCE)
    cell, said = effort_of(sweep)
    assert (cell.n_looks, level_of([cell])) == (2, 0.975)
    assert said == "PASS: the test split was opened 2 times, with T 2 and S 1, then with T 2 and S 1"
    assert not found(sweep)


def test_looks_that_are_gone_with_what_was_set_aside_still_count(forced: Path) -> None:
    with Forger(forced) as forger:
        tidied(forger)
        cell, said = effort_of(forced)
        assert (cell.n_looks, cell.missed) == (3, 2)
        assert said == "FAIL: the plan knows looks at the test split that the folder does not show (- 2)"
        assert len(found(forced)) == 2


def test_looks_whose_tables_are_gone_count_and_accuse_nobody(forced: Path) -> None:
    """Files that were set aside may be large."""
    with Forger(forced) as forger:
        for stale in paths.stale_dirs(forced):
            forger.remove(*stale.rglob(f"*.{paths.RANKS}"))
        cell, said = effort_of(forced)
        assert [look.trials for look in cell.openings] == [4]
        assert (cell.n_looks, cell.missed) == (3, 0)
        assert said == (
            "PASS: the test split was opened once, with T 4 and S 1, and 2 times more, of which no word can be said "
            "again"
        )
        assert not found(forced)


@pytest.mark.parametrize("seals", [True, False])
def test_looks_of_earlier_versions_count_by_what_was_set_aside(seals: bool, forced: Path) -> None:
    """Their plans have no revision of a forced run, and the oldest ones no seal."""
    with Forger(forced) as forger:
        manifest = forger.read(forger.manifest)
        manifest["revisions"].pop()
        for revision in manifest["revisions"] if not seals else []:
            revision.pop("seals", None)
        forger.write(forger.manifest, manifest)
        forger.rehash()
        assert [bool(held) for _, held in revisions(forced)] == [False, seals, seals]
        cell, said = effort_of(forced)
        assert (cell.n_looks, cell.missed) == (3, 0)
        assert said.startswith(f"PASS: the test split was {FOUR}")
        assert not found(forced)
        if not seals:
            tidied(forger)
            assert effort_of(forced)[1] == "PASS: the test split was opened once, with T 4 and S 1"
            assert not found(forced)


def test_a_look_among_the_damaged_files_counts_where_the_plan_has_it(raised: Path) -> None:
    """Moved there by somebody, and what was made again after a power cut."""
    with Forger(raised) as forger:
        cell = cell_of(raised)
        damaged = paths.damaged_dir(raised) / cell.relative_to(raised)
        for number in (1, 2):
            moved(forger, paths.look_dir(cell, number), paths.look_dir(damaged, number))
        forger.copy(paths.seal_file(paths.look_dir(damaged, 1)), paths.seal_file(damaged))
        seal = records.read(paths.seal_file(cell), Seal)
        records.write(paths.seal_file(damaged), hashed(msgspec.structs.replace(seal, runs=["another"])))
        effort, said = effort_of(raised)
        assert (effort.n_looks, effort.missed, level_of([effort])) == (3, 0, 1 - 0.05 / 3)
        assert said == (
            "PASS: the test split was opened once, with T 4 and S 1, and 2 times more, of which no word can be said "
            "again"
        )


@pytest.mark.thorough
def test_a_forced_run_changes_no_verdict(tmp_path: Path) -> None:
    """Neither the level of the words nor what was said at earlier looks."""
    cells = (("vbpr", "text", "complementary"), ("vbpr", "fused", "complementary"))
    for trials in (2, 3):
        sweep = run(tmp_path, "s", *WORDS, f"budget.trials={trials}", cells=cells)
    before = contrasts_of(sweep)
    assert [look.number for look in before.earlier] == [1]
    run(tmp_path, "s", *WORDS, "budget.trials=3", FORCE, cells=cells)
    after = contrasts_of(sweep)
    assert words(after) == words(before)
    assert after.tuned is not None
    assert after.tuned.level == 0.975
    for stale in paths.stale_dirs(sweep):
        shutil.rmtree(stale)
    gone = contrasts_of(sweep)
    assert gone.word == Verdict.UNTRUSTED


def contrasts_of(sweep: Path) -> Comparison:
    """The contrast of both together with text."""
    table = read_sweep(sweep)
    (contrast,) = (c for c in read_contrasts(table, read_groups(table, sweep)) if c.contrast == "fused_vs_text")
    return contrast


def words(contrast: Comparison) -> list[Any]:
    """What is said of it at every look."""
    looks = [(look.number, look.trials, look.seeds, look.tuned, look.judgement) for look in contrast.earlier]
    said = [*looks, (None, None, None, contrast.tuned, contrast.judgement)]
    return [(*which, None if tuned is None else tuned.interval, judgement) for *which, tuned, judgement in said]
