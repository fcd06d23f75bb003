"""More trials and final runs by the same command: nothing is trained again, every look is kept, draws stay apart."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from mmbench import faults, paths
from mmbench.cli import plan
from mmbench.report.reading import read_sweep
from mmbench.scheduling import worker
from mmbench.scheduling.worker import OpenCell, work_on
from mmbench.store import ledger, records
from mmbench.store.leases import make_leases
from mmbench.store.records import Look, read_looks
from mmbench.store.schema import Cell, Effort, FinalRun, Manifest, Stage, Unit
from mmbench.tuning import study
from tests.cli.conftest import Command
from tests.tiny import TINY, digests, make_job, opened, sealed, worked

BEGUN = ("budget.trials=2", "budget.seeds=2")
RAISED = ("budget.trials=4", "budget.seeds=2")


def cell(folder: Path, modality: str) -> Path:
    return folder / "s" / "planted-complementary" / "vbpr" / modality


def manifest(folder: Path) -> Manifest:
    return records.read(paths.manifest_file(folder / "s"), Manifest)


def current(folder: Path) -> Mapping[str, str]:
    """Bytes of a cell without what earlier looks left."""
    return {name: digest for name, digest in digests(folder).items() if not name.startswith(("looks/", "aside/"))}


def recorded(folder: Path) -> dict[str, str]:
    """Bytes of plan, ledger and cells; a file of Hydra notes every command."""
    kept = [str(file(Path("s"))) for file in (paths.manifest_file, paths.ledger_file)]
    return {name: digest for name, digest in digests(folder).items() if name.startswith((*kept, "s/planted-"))}


def told(looks: list[Look]) -> list[tuple[int, int, int]]:
    return [(look.number, look.trials, look.seeds) for look in looks]


class Fresh(NamedTuple):
    """Cells that were planned with four trials and two final runs at once.

    Attributes:
        folder: their sweep.
        kept: a condition whose choice among two trials is its choice among four.
        changed: one whose choice is another.
    """

    folder: Path
    kept: str
    changed: str

    @property
    def sweep(self) -> tuple[str, ...]:
        """Words of a sweep over the two conditions."""
        return ("-m", "sweep.name=s", "model=vbpr", f"modality={self.kept},{self.changed}")


@pytest.fixture(scope="session")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Fresh:
    folder = tmp_path_factory.mktemp("fresh") / "s"
    chosen: dict[bool, str] = {}
    for name in ("none", "text", "image", "fused", "shuffled", "text_shuffled_image", "paper_ones", "paper_noise"):
        choice = sealed(make_job(folder, f"modality={name}", *RAISED)).choice()
        assert choice is not None
        chosen.setdefault(choice.slot < 2, name)
        if len(chosen) == 2:
            return Fresh(folder, chosen[True], chosen[False])
    raise AssertionError("every condition keeps its choice, or every one changes it: take another number of trials")


@pytest.fixture(scope="session")
def begun_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("begun") / "sweeps"


@pytest.fixture
def begun(begun_once: Path, fresh: Fresh, command: Command, tmp_path: Path) -> Path:
    """A copy of a finished sweep with two trials and two final runs."""
    if not begun_once.exists():
        said = command(*fresh.sweep, *BEGUN, f"paths.multirun={begun_once}")
        assert said.code == 0, said.err
    shutil.copytree(begun_once, tmp_path, dirs_exist_ok=True)
    return tmp_path


# Raising


@pytest.mark.slow
def test_raised_trials_end_as_if_they_had_been_planned_at_once(
    begun: Path, fresh: Fresh, command: Command, trained: list[Any]
) -> None:
    before = {name: digests(cell(begun, name)) for name in fresh[1:]}
    rows = paths.ledger_file(begun / "s").read_bytes()
    said = command(*fresh.sweep, *RAISED)
    assert said.code == 0, said.err
    assert "2 cells, 12 trainings planned; 8 done before, 4 to go" in said.out
    assert "[2/2 cells, 14/14 trainings" in said.out  # the final runs of the other choice on top
    assert len(trained) == 2 * 2 + 2
    assert paths.ledger_file(begun / "s").read_bytes().startswith(rows)
    for name, files in before.items():
        kept = {file: digest for file, digest in files.items() if file.startswith("trials/")}
        assert kept.items() <= digests(cell(begun, name)).items()
        assert current(cell(begun, name)) == digests(cell(fresh.folder.parent, name))

    looks = read_looks(cell(begun, fresh.kept))
    assert told(looks) == [(1, 2, 2), (2, 4, 2)]
    assert looks[0].choice.slot == looks[1].choice.slot
    assert [look.folder for look in looks] == [cell(begun, fresh.kept)] * 2
    assert not (cell(begun, fresh.kept) / "aside").exists()
    first, second = read_looks(cell(begun, fresh.changed))
    assert told([first, second]) == [(1, 2, 2), (2, 4, 2)]
    assert first.choice.slot < 2 <= second.choice.slot
    assert second.folder == cell(begun, fresh.changed) != first.folder
    for seed in first.seal.finals:
        for ending in (paths.RECORD, paths.STATE, paths.VALIDATION, paths.RANKS, paths.LISTS):
            old = paths.final_file(Path(), seed, ending)
            assert digests(first.folder)[str(old)] == before[fresh.changed][str(old)]
        final = records.read(paths.final_file(first.folder, seed, paths.RECORD), FinalRun)
        assert final.configuration == first.choice.configuration != second.choice.configuration


@pytest.mark.thorough
def test_the_plan_keeps_its_revisions_and_the_report_tells_the_looks(
    begun: Path, fresh: Fresh, command: Command
) -> None:
    assert command(*fresh.sweep, *RAISED).code == 0
    plan = manifest(begun)
    assert [(r.trials, r.seeds, r.models) for r in plan.revisions] == [
        (2, 2, ["planted-complementary/vbpr"]),
        (4, 2, ["planted-complementary/vbpr"]),
    ]
    assert "budget.trials=2" in plan.revisions[0].command
    assert "budget.trials=4" in plan.revisions[1].command
    assert plan.revisions[0].planned_at <= plan.revisions[1].planned_at
    assert {(c.trials, c.seeds, c.trainings) for c in plan.cells} == {(4, 2, 6)}
    assert plan.budget["trials"] == 4
    report = (begun / "s" / "report" / "fairness.md").read_text()
    assert "PASS: looks: the test split was opened 2 times, with T 2 and S 2, then with T 4 and S 2" in report
    assert "PASS: trials: 4 trials each, slots without a gap" in report
    assert "PASS: budget: one training rule, T and S for all" in report
    table = read_sweep(begun / "s")
    assert table.change("planted-complementary", "vbpr", *fresh[1:], "ndcg@20") is not None


@pytest.mark.thorough
def test_raised_final_runs_join_those_that_were_trained(
    begun: Path, fresh: Fresh, command: Command, trained: list[Any]
) -> None:
    before = {name: digests(cell(begun, name)) for name in fresh[1:]}
    said = command(*fresh.sweep, "budget.trials=2", "budget.seeds=3")
    assert said.code == 0, said.err
    assert len(trained) == 2
    for name, files in before.items():
        after = digests(cell(begun, name))
        changed = {file for file, digest in files.items() if after[file] != digest}
        assert changed == {paths.cell_file(Path()).name, paths.seal_file(Path()).name}
        looks = read_looks(cell(begun, name))
        assert told(looks) == [(1, 2, 2), (2, 2, 3)]
        assert looks[0].choice == looks[1].choice
        assert (looks[0].seal.finals, looks[1].seal.finals) == ([1, 2], [1, 2, 3])
        assert after[f"looks/1/{paths.seal_file(Path()).name}"] == files[paths.seal_file(Path()).name]


@pytest.mark.slow
def test_looks_add_up(begun: Path, fresh: Fresh, command: Command) -> None:
    for trials, seeds in ((2, 3), (4, 3), (4, 4)):
        assert command(*fresh.sweep, f"budget.trials={trials}", f"budget.seeds={seeds}").code == 0
    looks = read_looks(cell(begun, fresh.changed))
    assert told(looks) == [(1, 2, 2), (2, 2, 3), (3, 4, 3), (4, 4, 4)]
    assert looks[0].folder == looks[1].folder != looks[2].folder == looks[3].folder == cell(begun, fresh.changed)
    for look in looks:  # everything that a look was made of is still there
        for seed in look.seal.finals:
            final = records.read(paths.final_file(look.folder, seed, paths.RECORD), FinalRun)
            assert final.configuration == look.choice.configuration
            assert records.read_final(look.folder, seed).users.size == 60
    assert [(r.trials, r.seeds) for r in manifest(begun).revisions] == [(2, 2), (2, 3), (4, 3), (4, 4)]


@pytest.mark.thorough
def test_a_condition_with_settings_of_its_own_follows_by_its_own_command(
    begun: Path, fresh: Fresh, command: Command
) -> None:
    own = ("-m", "sweep.name=s", "model=vbpr", "modality=fused", "modality.missing.image=0.5")
    name = "fused_missing.image=0.5"
    behind = (
        f"planted-complementary/vbpr/{name} stays at T 2 and S 2, because settings of a condition hold for a whole "
        "command; raise it by one of its own, until then the fairness report fails\n"
    )
    said = command(*own, *BEGUN)
    assert (said.code, behind in said.out) == (0, False)
    said = command(*own, *RAISED)
    assert (said.code, said.err) == (
        2,
        "error: budget.trials=4 raises planted-complementary/vbpr from 2, which all of its conditions get together; "
        f"raise {', '.join(sorted(fresh[1:]))} first, without settings below modality., or take another sweep.name\n",
    )

    said = command(*fresh.sweep, *RAISED)
    assert (said.code, said.out.count(behind)) == (0, 1)
    assert "FAIL: budget: conditions differ" in (begun / "s" / "report" / "fairness.md").read_text()
    said = command(*own, *BEGUN)
    assert (said.code, said.err) == (
        2,
        f"error: budget.trials=2, {LOWERED.replace('planned with 2', 'planned with 4')}",
    )

    said = command(*own, *RAISED)
    assert (said.code, behind in said.out) == (0, False)
    assert "PASS: budget: one training rule, T and S for all" in (begun / "s" / "report" / "fairness.md").read_text()
    assert told(read_looks(cell(begun, name))) == [(1, 2, 2), (2, 4, 2)]


@pytest.mark.thorough
def test_the_raised_command_again_has_nothing_to_do(
    begun: Path, fresh: Fresh, command: Command, trained: list[Any]
) -> None:
    command(*fresh.sweep, *RAISED)
    trained.clear()
    before = digests(begun / "s" / "planted-complementary"), manifest(begun)
    said = command(*fresh.sweep, *RAISED)
    assert said.code == 0
    assert "12 done before, 0 to go" in said.out
    assert trained == []
    assert (digests(begun / "s" / "planted-complementary"), manifest(begun)) == before


@pytest.mark.thorough
def test_rungs_allow_more_trials(tmp_path: Path) -> None:
    """The pilots are the first five slots however many follow, so their median is the same."""
    rungs = (
        "budget.seeds=1",
        "budget.max_steps=8",
        "budget.least_epochs=1",
        "budget.rungs=[2]",
        "training.batch_size=240",
    )
    once = sealed(make_job(tmp_path / "once", *rungs, "budget.trials=8"))
    for trials in (3, 6, 8):
        twice = sealed(make_job(tmp_path / "twice", *rungs, f"budget.trials={trials}"))
    tried = records.read_trainings(once.folder, Stage.TRIAL, once.key)
    assert "rung" in {training.course.stop_reason for training in tried if training.course is not None}
    assert current(twice.folder) == digests(once.folder)
    assert told(read_looks(twice.folder)) == [(1, 3, 1), (2, 6, 1), (3, 8, 1)]


def test_a_space_without_further_configurations_is_not_looked_at_again(command: Command, tmp_path: Path) -> None:
    words = ("-m", "sweep.name=s", "model=popularity", "modality=none")
    assert command(*words, "budget.trials=1").code == 0
    folder = tmp_path / "s" / "planted-complementary" / "popularity" / "-"
    before = digests(folder)
    assert command(*words, "budget.trials=4").code == 0
    assert digests(folder) == before
    assert len(read_looks(folder)) == 1
    assert manifest(tmp_path).cells[0].trials == 4


@pytest.mark.thorough
def test_a_derived_name_does_not_depend_on_how_often(command: Command, tmp_path: Path) -> None:
    for words in (["budget.trials=1"], ["budget.trials=2"], ["budget.seeds=2", "budget.trials=2"], ["study.draw=1"]):
        assert command("-m", "model=popularity", "modality=none", *words).code == 0
    (sweep,) = {path.parent for path in tmp_path.glob(str(paths.manifest_file(Path("*"))))}
    assert [(r.trials, r.seeds) for r in records.read(paths.manifest_file(sweep), Manifest).revisions] == [
        (1, 1),
        (2, 1),
        (2, 2),
        (1, 1),
    ]


def test_the_plan_counts_what_is_left(begun: Path, fresh: Fresh, capsys: pytest.CaptureFixture[str]) -> None:
    words = [*TINY, *fresh.sweep[1:], f"paths.multirun={begun}"]
    plan.main([*words, *RAISED])
    # Two trials each and at most two final runs each.
    assert "8 trainings to run" in capsys.readouterr().out
    with pytest.raises(ValueError, match=r"budget\.trials=1, but this sweep was planned with 2"):
        plan.main([*words, "budget.trials=1", "budget.seeds=2"])


# What is refused


LOWERED = "but this sweep was planned with 2 for planted-complementary/vbpr; keep that or take another sweep.name\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("budget.trials=1", "budget.seeds=2"), f"budget.trials=1, {LOWERED}"),
        (("budget.trials=4", "budget.seeds=1"), f"budget.seeds=1, {LOWERED}"),
        (("budget.trials=1", "budget.seeds=2", "study.resume=force"), f"budget.trials=1, {LOWERED}"),
        (("modality=image_shuffled_text", "budget.trials=1", "budget.seeds=2"), f"budget.trials=1, {LOWERED}"),
        (
            ("modality=CHANGED", "budget.trials=4", "budget.seeds=2"),
            "budget.trials=4 raises planted-complementary/vbpr from 2, which all of its conditions get together; name "
            "KEPT too, or take another sweep.name\n",
        ),
        (
            ("modality=image_shuffled_text", "budget.trials=2", "budget.seeds=3"),
            "budget.seeds=3 raises planted-complementary/vbpr from 2, which all of its conditions get together; name "
            "BOTH too, or take another sweep.name\n",
        ),
        (
            ("modality=KEPT,CHANGED", "budget.trials=2,4", "budget.seeds=2"),
            "two jobs of this sweep are the same cell planted-complementary/vbpr/KEPT with different settings; sweep "
            "over dataset, model, modality and keys below it, dataset.split_seed, dataset.cold_fold, dataset.encoder, "
            "tuning.target and study.draw, and let the search tune the rest\n",
        ),
    ],
)
def test_effort_that_would_not_be_equal_or_grow_is_refused(
    words: tuple[str, ...], message: str, begun: Path, fresh: Fresh, command: Command
) -> None:
    def named(text: str) -> str:
        text = text.replace("BOTH", ", ".join(sorted(fresh[1:])))
        return text.replace("KEPT", fresh.kept).replace("CHANGED", fresh.changed)

    before = recorded(begun)
    given = {word.split("=")[0] for word in words}
    said = command(*(word for word in fresh.sweep if word.split("=")[0] not in given), *map(named, words))
    assert (said.code, said.err) == (2, f"error: {named(message)}")
    assert recorded(begun) == before


@pytest.mark.thorough
def test_proposals_fix_the_number_of_trials_but_not_of_final_runs(command: Command, tmp_path: Path) -> None:
    words = ("sweep.name=s", "modality=fused", "budget.tpe=1")
    assert command(*words, *BEGUN).code == 0
    before = recorded(tmp_path)
    said = command(*words, *RAISED)
    assert (said.code, said.err) == (
        2,
        "error: budget.trials=4, but TPE proposes after 2 trials of planted-complementary/vbpr (budget.tpe=1), so they "
        "cannot be raised; take another sweep.name\n",
    )
    assert recorded(tmp_path) == before
    assert command(*words, "budget.trials=2", "budget.seeds=3").code == 0
    assert [look.trials for look in read_looks(cell(tmp_path, "fused"))] == [2, 2]


@pytest.mark.thorough
def test_another_training_rule_is_another_plan(begun: Path, fresh: Fresh, command: Command) -> None:
    said = command(*fresh.sweep, "budget.trials=1", "budget.seeds=1", "budget.max_steps=3")
    assert said.code == 0, said.err
    assert "its records belong to other data or settings" in said.out
    assert told(read_looks(cell(begun, fresh.changed))) == [(1, 1, 1)]


@pytest.mark.thorough
def test_a_condition_may_be_added_at_the_effort_of_the_others(begun: Path, fresh: Fresh, command: Command) -> None:
    said = command("-m", "sweep.name=s", "model=vbpr", "modality=image_shuffled_text", *BEGUN)
    assert said.code == 0, said.err
    assert len(manifest(begun).revisions) == 2  # every command that plans a cell is one
    said = command(*fresh.sweep[:-1], f"{fresh.sweep[-1]},image_shuffled_text", *RAISED)
    assert said.code == 0, said.err
    assert {len(read_looks(cell(begun, name))) for name in (*fresh[1:], "image_shuffled_text")} == {2}


# While workers are at it


@pytest.mark.thorough
def test_a_sweep_that_is_being_raised_has_no_result_yet(
    begun: Path, fresh: Fresh, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(worker, "work", lambda jobs: None)
        assert command(*fresh.sweep, *RAISED).code == 0
    assert {result.status for result in read_sweep(begun / "s").cells.values()} == {"missing"}
    place = cell(begun, fresh.changed)
    assert records.read(paths.cell_file(place), Cell).effort == Effort(trials=4, proposals=0, seeds=2)
    assert told(read_looks(place)) == [(1, 2, 2)]
    assert command(*fresh.sweep, *RAISED).code == 0
    assert {result.status for result in read_sweep(begun / "s").cells.values()} == {"done"}


@pytest.mark.thorough
def test_a_worker_takes_up_what_is_raised_while_it_works(fresh: Fresh, tmp_path: Path) -> None:
    """It was started for two trials, and never chooses or opens the test split for fewer than are planned by now."""
    few = make_job(tmp_path, f"modality={fresh.changed}", *BEGUN)
    task, store = opened(few)
    many = make_job(tmp_path, f"modality={fresh.changed}", *RAISED)
    store.open(many.record(many.task()))
    work_on([OpenCell(task, store, few.dataset().split)], make_leases("files", tmp_path, timeout=60.0))
    assert told(read_looks(store.folder)) == [(1, 4, 2)]
    assert digests(store.folder) == digests(cell(fresh.folder.parent, fresh.changed))


def test_a_late_starter_of_the_earlier_command_lowers_nothing(begun: Path, fresh: Fresh) -> None:
    few, many = (make_job(begun / "s", f"modality={fresh.changed}", *words) for words in (BEGUN, RAISED))
    store = many.store(many.task())
    store.open(many.record(many.task()))
    store.open(few.record(few.task()))
    assert store.effort() == Effort(trials=4, proposals=0, seeds=2)


@pytest.mark.thorough
def test_a_final_run_of_an_earlier_choice_that_ends_late_replaces_nothing(begun: Path, fresh: Fresh) -> None:
    """Its worker began before the trials were raised, and ends after another configuration was chosen and trained."""
    job = make_job(begun / "s", f"modality={fresh.changed}", *RAISED)
    task, store = opened(job)
    late = store.finished_trainings()[Unit(Stage.FINAL, 2)]
    (row,) = [row for row in ledger.read(begun / "s") if row.cell_key == store.key and row.unit == late.unit]
    worked(task, store, job.dataset().split)
    after = digests(store.folder)
    store.write_training(late, row)
    assert digests(store.folder) == after
    assert store.finished_trainings()[late.unit].configuration == store.choice().configuration  # type: ignore[union-attr]


@pytest.mark.thorough
def test_a_final_run_of_an_earlier_choice_in_the_place_of_a_new_one_is_set_aside(
    begun: Path, fresh: Fresh, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other order: it ends after the choice, and before the run that is to have its place."""
    job = make_job(begun / "s", f"modality={fresh.changed}", *RAISED)
    task, store = opened(job)
    late = store.finished_trainings()[Unit(Stage.FINAL, 2)]
    (row,) = [row for row in ledger.read(begun / "s") if row.cell_key == store.key and row.unit == late.unit]
    original = store.write_choice.__func__  # type: ignore[attr-defined]

    def chosen(self: records.CellStore, choice: Any) -> None:
        original(self, choice)
        records.write(self.training_file(late.unit, paths.RECORD), late)
        ledger.append(self.sweep_dir, row)

    monkeypatch.setattr(records.CellStore, "write_choice", chosen)
    worked(task, store, job.dataset().split)
    monkeypatch.undo()
    assert current(store.folder) == digests(cell(fresh.folder.parent, fresh.changed))
    assert told(read_looks(store.folder)) == [(1, 2, 2), (2, 4, 2)]


class Killed(BaseException):
    """Stands in for the end of the process: nothing catches it."""


@pytest.fixture(scope="module")
def undisturbed(fresh: Fresh, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Bytes of a cell that was finished and then raised."""
    folder = tmp_path_factory.mktemp("undisturbed")
    for words in (BEGUN, ("budget.trials=4", "budget.seeds=3")):
        store = sealed(make_job(folder, f"modality={fresh.changed}", *words))
    return digests(store.folder)


@pytest.mark.thorough
@pytest.mark.parametrize("point", [*faults.RAISING[1:], "chosen", "record", "ledger", "sealing"])
@pytest.mark.parametrize("time", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_kill_while_effort_is_raised_costs_at_most_the_training_it_hit(
    point: str, time: int, undisturbed: dict[str, str], fresh: Fresh, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sealed(make_job(tmp_path, f"modality={fresh.changed}", *BEGUN))
    job = make_job(tmp_path, f"modality={fresh.changed}", "budget.trials=4", "budget.seeds=3")
    task, store = opened(job)
    reached = []

    def reach(here: str) -> None:
        reached.append(here)
        if here == point and reached.count(point) == time:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(faults, "reach", reach)
        with contextlib.suppress(Killed):
            worked(task, store, job.dataset().split)
    assert point in reached
    worked(*opened(job), job.dataset().split)
    assert digests(store.folder) == undisturbed
    rows = [(row.unit, row.configuration_hash) for row in ledger.read(tmp_path)]
    assert len(rows) == len(set(rows)) == 2 + 2 + 2 + 3


@pytest.mark.thorough
def test_a_failed_final_run_is_forgotten_with_its_choice(fresh: Fresh, tmp_path: Path) -> None:
    job = make_job(tmp_path, f"modality={fresh.changed}", *BEGUN)
    task, store = opened(job)
    for unit in (Unit(Stage.TRIAL, 0), Unit(Stage.TRIAL, 1)):
        study.run_unit(task, store, unit)
    assert study.choose_if_due(task, store)
    assert study.waiting(task, store) == [Unit(Stage.FINAL, 1), Unit(Stage.FINAL, 2)]
    study.give_up(task, store, Unit(Stage.FINAL, 1), "its worker died")
    assert worked(task, store, job.dataset().split).failure() is not None
    store = sealed(make_job(tmp_path, f"modality={fresh.changed}", *RAISED))
    assert store.failure() is None
    assert told(read_looks(store.folder)) == [(1, 4, 2)]
