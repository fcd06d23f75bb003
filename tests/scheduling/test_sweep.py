"""A sweep from its plan to its table: what runs, what is not run again, and what a failure costs."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from mmbench import paths
from mmbench.report.reading import read_sweep
from mmbench.scheduling import pinned
from mmbench.scheduling.sweep import run_sweep
from mmbench.store import records
from mmbench.store.bounds import Damaged
from mmbench.store.schema import Cell, CellFailure, Manifest
from tests.cli.conftest import Command, Here
from tests.data.readers.files import write
from tests.tiny import TINY, composed, digests, write_broken_model

SWEEP = ("-m", "sweep.name=s", "model=popularity,vbpr", "modality=none,fused")


@pytest.fixture(scope="session")
def finished_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("finished") / "sweeps"


@pytest.fixture
def finished(finished_once: Path, command: Command, tmp_path: Path) -> dict[str, str]:
    """A copy of the finished sweep; bytes of its files."""
    if not finished_once.exists():
        said = command(*SWEEP, f"paths.multirun={finished_once}")
        assert said.code == 0, said.err
    shutil.copytree(finished_once, tmp_path, dirs_exist_ok=True)
    return results(tmp_path)


def results(folder: Path) -> dict[str, str]:
    """Bytes of ledger and cells; plan and report name the folder they lie in, which is the test's own."""
    kept = (str(paths.ledger_file(Path("s"))), "s/planted-complementary/")
    return {name: digest for name, digest in digests(folder).items() if name.startswith(kept)}


def manifest(tmp_path: Path, name: str = "s") -> Manifest:
    return records.read(paths.manifest_file(tmp_path / name), Manifest)


def cell(tmp_path: Path, model: str, modality: str, name: str = "s") -> Path:
    return tmp_path / name / "planted-complementary" / model / modality


@pytest.mark.thorough
def test_what_killed_commands_left_of_a_manifest_is_cleared(command: Command, tmp_path: Path) -> None:
    assert command(*SWEEP).code == 0
    plan = paths.manifest_file(tmp_path / "s")
    left = [file.with_name(f".{file.name}.0a1b.tmp") for file in (plan, paths.copy_of(plan))]
    for file in left:
        file.write_text("{")
    assert command(*SWEEP).code == 0
    assert not [file for file in left if file.exists()]
    assert plan.read_bytes() == paths.copy_of(plan).read_bytes()


def test_a_sweep_tunes_tests_and_reports(command: Command, tmp_path: Path) -> None:
    said = command(*SWEEP)
    assert said.code == 0, said.err
    assert f"sweep s -> {tmp_path / 's'}" in said.out
    assert said.out.count("planted-complementary: 60 users, 80 items, train / valid / test 480 / 60 / 60 (paper)") == 1
    assert "3 cells, 6 trainings planned; 0 done before, 6 to go" in said.out
    assert "[3/3 cells, 6/6 trainings" in said.out
    assert said.err == ""
    for folder in (cell(tmp_path, "popularity", "-"), cell(tmp_path, "vbpr", "none"), cell(tmp_path, "vbpr", "fused")):
        assert {path.name for path in folder.iterdir()} == {
            "cell.json",
            "choice.json",
            "sealed.json",
            "trials",
            "finals",
            "looks",
        }
    assert {path.name for path in (tmp_path / "s" / "report").iterdir()} >= {
        "table.md",
        "table.csv",
        "table.tex",
        "table.txt",
    }
    assert (tmp_path / "s" / "report" / "table.txt").read_text() in said.out


def test_the_plan_is_written_down(finished: dict[str, str], tmp_path: Path) -> None:
    plan = manifest(tmp_path)
    assert (plan.name, plan.delta, plan.modalities) == ("s", 0.02, ["fused", "none"])
    assert plan.contrasts == ["fused_vs_text", "image_vs_none", "text_vs_none", "fused_vs_text_shuffled_image"]
    assert {"sweep.name=s", "model=popularity,vbpr", "modality=none,fused"} <= set(plan.command)
    assert plan.budget["name"] == "touch"
    assert plan.primary == "ndcg@20"
    expected = [("popularity", "-", 2), ("vbpr", "fused", 2), ("vbpr", "none", 2)]
    assert [(planned.model, planned.modality, planned.trainings) for planned in plan.cells] == expected
    for planned in plan.cells:
        folder = tmp_path / "s" / planned.folder
        assert folder == cell(tmp_path, planned.model, planned.modality)
        assert records.read(paths.cell_file(folder), Cell).key == planned.key


def test_a_folder_for_temporary_files_is_looked_at_before_anything_is_written(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pinned, "SOCKET", 20)
    done = command(*SWEEP)
    assert (done.code, done.err.count("\n")) == (2, 1), done.err
    assert done.err.startswith("error: TMPDIR=")
    assert not (tmp_path / "s").exists()


def test_the_same_command_again_has_nothing_to_do(
    finished: dict[str, str], command: Command, tmp_path: Path, trained: list[Any]
) -> None:
    again = command(*SWEEP)
    assert again.code == 0
    assert "6 done before, 0 to go" in again.out
    assert trained == []
    assert results(tmp_path) == finished


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("statistics.delta=0.05", "statistics.delta=0.05, but this sweep was planned with 0.02, before its results"),
        ("statistics.contrasts=[fused_vs_none]", "but this sweep was planned with ['fused_vs_text', 'image_vs_none', "),
        ("report.primary=recall@20", "report.primary=recall@20, but this sweep was planned with ndcg@20, before its"),
    ],
)
def test_what_was_planned_before_the_results_stays(
    finished: dict[str, str], command: Command, tmp_path: Path, word: str, said: str
) -> None:
    done = command(*SWEEP, word, "study.resume=force")
    assert done.code == 2
    assert said in done.err
    assert results(tmp_path) == finished
    assert manifest(tmp_path).delta == 0.02


def test_a_plan_whose_file_is_gone_stays(finished: dict[str, str], command: Command, tmp_path: Path) -> None:
    """Another margin is refused as if the file were there; the plan comes from its copy."""
    plan = manifest(tmp_path).plan_hash
    paths.manifest_file(tmp_path / "s").unlink()
    done = command(*SWEEP, "statistics.delta=0.05")
    assert done.code == 2
    assert "statistics.delta=0.05, but this sweep was planned with 0.02, before its results" in done.err
    assert f"{paths.manifest_file(tmp_path / 's')} is missing; it was written again from its copy" in done.out
    assert manifest(tmp_path).plan_hash == plan


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("statistics.delta=0", "error: statistics.delta=0 must be a positive number, 0.02 for 2 %"),
        ("statistics.delta=much", "error: statistics.delta=much must be a positive number, 0.02 for 2 %"),
        ("statistics.contrasts=[fused]", "error: 'fused' is no contrast; write two different conditions like fused_vs"),
        ("statistics.contrasts=[text_vs_text]", "error: 'text_vs_text' is no contrast; write two different conditions"),
    ],
)
def test_a_margin_or_contrast_that_is_none(command: Command, word: str, said: str) -> None:
    done = command("sweep.name=s", "model=popularity", word)
    assert (done.code, said in done.err) == (2, True), done.err


@pytest.mark.thorough
def test_another_command_under_the_name_adds_its_cells(
    finished: dict[str, str], command: Command, tmp_path: Path
) -> None:
    said = command("-m", "sweep.name=s", "model=vbpr,bpr", "modality=text,fused")
    assert said.code == 0
    assert "3 cells, 6 trainings planned; 2 done before, 4 to go" in said.out
    table = read_sweep(tmp_path / "s")
    assert sorted((m, c) for _, m, c in table.cells) == [
        ("bpr", "-"),
        ("popularity", "-"),
        ("vbpr", "fused"),
        ("vbpr", "none"),
        ("vbpr", "text"),
    ]
    assert all(result.status == "done" for result in table.cells.values())
    assert table.conditions == ("none", "text", "fused")


def test_records_of_other_settings_are_set_aside(finished: dict[str, str], command: Command, tmp_path: Path) -> None:
    old = digests(cell(tmp_path, "vbpr", "none"))
    said = command("-m", "sweep.name=s", "model=vbpr", "modality=none", "model.embedding_dim=16")
    assert said.code == 0
    assert "vbpr/none: its records belong to other data or settings; moved to none.stale-" in said.out
    (key,) = (planned.key for planned in manifest(tmp_path).cells if planned.modality == "none")
    assert records.read(paths.cell_file(cell(tmp_path, "vbpr", "none")), Cell).key == key
    (aside,) = cell(tmp_path, "vbpr", "x").parent.glob("none.stale-*")
    assert digests(aside) == old


@pytest.mark.parametrize("words", [["budget.trials=2", "budget.max_steps=4"], ["model.embedding_dim=16"]])
def test_conditions_tuned_otherwise_are_not_compared(
    words: list[str], finished: dict[str, str], command: Command, tmp_path: Path
) -> None:
    """A second command under the name, with another training rule or model: its gain is not one of the modality."""
    assert read_sweep(tmp_path / "s").change("planted-complementary", "vbpr", "fused", "none", "ndcg@20") is not None
    command("-m", "sweep.name=s", "model=vbpr", "modality=fused", *words)
    table = read_sweep(tmp_path / "s")
    assert table.done("planted-complementary", "vbpr", "fused") is not None
    assert table.change("planted-complementary", "vbpr", "fused", "none", "ndcg@20") is None


def test_a_deleted_cell_is_run_again_and_counted(
    finished: dict[str, str], command: Command, tmp_path: Path, trained: list[Any]
) -> None:
    shutil.rmtree(cell(tmp_path, "vbpr", "none"))
    said = command(*SWEEP)
    assert len(trained) == 2
    after = results(tmp_path)
    assert {name for name in finished if finished[name] != after[name]} <= {str(paths.ledger_file(Path("s")))}
    assert "4 done before, 2 to go" in said.out


@pytest.mark.thorough
def test_another_test_split_is_scored_without_training(command: Command, tmp_path: Path, trained: list[Any]) -> None:
    """Which a folder of the user can come to; here its rows of the test part change items."""
    from mmbench.data.planted import make_world
    from mmbench.data.sources import write_folder

    source = make_world("complementary", n_users=60, n_items=80, per_user=10)
    shop = tmp_path / "shop"
    write_folder(source, shop, {})
    words = ("sweep.name=s", "dataset=folder", "dataset.protocol=given", "dataset.name=shop", f"dataset.path={shop}")
    assert command(*words).code == 0
    tuned = digests(tmp_path / "s" / "shop")
    log = pd.read_parquet(shop / "interactions.parquet")
    test = log["split"] == "test"
    log.loc[test, "item_id"] = log.loc[test, "item_id"].to_numpy()[::-1]
    log.drop_duplicates(["user_id", "item_id"]).to_parquet(shop / "interactions.parquet")
    trained.clear()
    said = command(*words)
    assert said.code == 0
    assert trained == []
    changed = {name for name, digest in digests(tmp_path / "s" / "shop").items() if tuned.get(name) != digest}
    seal = str(paths.seal_file(Path("vbpr/fused")))
    assert seal in changed
    assert all(name.endswith((seal, paths.RANKS, paths.LISTS)) for name in changed)


# Going on, or not


@pytest.mark.parametrize(
    ("words", "begun"),
    [
        (("model=vbpr", "modality=text"), "vbpr/fused"),  # a further condition of a model
        (("model=vbpr", "modality=fused", "study.resume=force"), "vbpr/none"),  # some of its conditions afresh
        ((*SWEEP[2:], "budget.trials=2"), "vbpr/fused"),  # raised
    ],
)
def test_a_model_is_not_gone_on_with_by_other_code(
    words: tuple[str, ...], begun: str, finished: dict[str, str], command: Command, tmp_path: Path, other_code: None
) -> None:
    said = command("-m", "sweep.name=s", *words)
    assert said.code == 2
    assert (
        f"than planted-complementary/{begun} was (source, torch), and conditions of one model are compared" in said.err
    )
    assert "begin all conditions of " in said.err
    assert results(tmp_path) == finished


@pytest.mark.thorough
def test_other_code_leaves_what_is_finished_and_may_begin_other_models_or_all_afresh(
    finished: dict[str, str], command: Command, tmp_path: Path, trained: list[Any], other_code: None
) -> None:
    assert command(*SWEEP).code == 0
    assert trained == []
    assert results(tmp_path) == finished
    for words in (("model=bpr",), ("model=vbpr", "modality=none,fused", "study.resume=force")):
        assert command("-m", "sweep.name=s", *words).code == 0, words
    assert len(trained) == 6


@pytest.fixture
def other_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another version of torch and of what trains; a commit that changes neither is none."""
    versions, other = records.versions, {"torch": "another one", "source": "another one", "commit": "another one"}
    monkeypatch.setattr(records, "versions", lambda *own: {**versions(*own), **other})


def test_never_refuses_where_records_are(finished: dict[str, str], command: Command, tmp_path: Path) -> None:
    said = command(*SWEEP, "study.resume=never")
    assert said.code == 2
    assert "study.resume=never, but " in said.err
    assert results(tmp_path) == finished
    assert command("sweep.name=other", "model=popularity", "study.resume=never").code == 0


@pytest.mark.thorough
def test_force_begins_afresh_and_keeps_the_old(
    finished: dict[str, str], command: Command, tmp_path: Path, trained: list[Any]
) -> None:
    old = {condition: digests(cell(tmp_path, "vbpr", condition)) for condition in ("none", "fused")}
    said = command(*SWEEP, "study.resume=force")
    assert said.code == 0
    assert len(trained) == 6
    for condition, digest in old.items():
        (aside,) = cell(tmp_path, "vbpr", "x").parent.glob(f"{condition}.stale-*")
        assert digests(aside) == digest
        assert digests(cell(tmp_path, "vbpr", condition)) == digest
    assert "0 done before, 6 to go" in said.out


@pytest.mark.parametrize("resume", ["force", "never"])
def test_what_the_report_finds_damaged_is_made_again_and_nothing_else(
    resume: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trained: list[Any]
) -> None:
    """The records are this command's own by then: none is set aside, or refused, as those of before were to be."""
    monkeypatch.setattr("mmbench.scheduling.sweep.Pool", Here)
    seen: list[Path] = []

    def report(folder: Path) -> str:
        (file,) = (cell(tmp_path, "popularity", "-") / "finals").glob(f"*.{paths.RANKS}")
        seen.append(file)
        if len(seen) == 1:
            file.write_bytes(file.read_bytes()[:60] + bytes(20) + file.read_bytes()[80:])
            raise Damaged(file)
        return ""

    words = [*TINY, f"paths.multirun={tmp_path}", "sweep.name=s", "model=popularity", f"study.resume={resume}"]
    assert run_sweep([composed(words).job()], words, report) == 0
    assert len(seen) == 2
    assert not list(tmp_path.rglob("*.stale-*"))
    assert len(trained) == 2
    assert len(manifest(tmp_path).revisions) == 1


@pytest.mark.thorough
@pytest.mark.parametrize("words", [["model=popularity"], ["-m", "model=popularity,bpr"]], ids=["one-cell", "sweep"])
def test_a_stopped_sweep_says_the_command_that_goes_on(
    words: list[str], command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stopped(Here):
        def run(self) -> int:
            return 143

    with monkeypatch.context() as patch:
        patch.setattr("mmbench.scheduling.sweep.Pool", Stopped)
        said = command(*words)
    assert said.code == 143
    (told,) = re.findall(r"goes on from the last finished training: python -m mmbench (.*)", said.err)
    assert command(*shlex.split(told)).code == 0
    (sweep,) = {path.parent for path in tmp_path.glob(str(paths.manifest_file(Path("*"))))}
    assert {cell.status for cell in read_sweep(sweep).cells.values()} == {"done"}


@pytest.mark.parametrize("flags", [("-m",), ("--multirun",), ()])
def test_the_command_that_goes_on_keeps_folders_and_launcher(
    flags: tuple[str, ...], command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The plan holds what is trained alone."""

    class Stopped(Here):
        def run(self) -> int:
            return 143

    monkeypatch.setattr("mmbench.scheduling.sweep.Pool", Stopped)
    write_broken_model(tmp_path / "my conf")
    where = [f"--config-dir={tmp_path / 'my conf'}", "hydra/launcher=local"]
    said = command(*flags, "model=broken", *where, "sweep.name=s")
    (told,) = re.findall(r"goes on from the last finished training: python -m mmbench (.*)", said.err)
    assert shlex.split(told)[:5] == ["-m", where[0], "model=broken", where[1], "sweep.name=s"]
    assert not [word for word in manifest(tmp_path).command if "hydra" in word or "conf" in word]


def test_a_name_with_blanks_is_one_folder(command: Command, tmp_path: Path) -> None:
    assert command("-m", "sweep.name='my shop'", "model=popularity").code == 0
    (folder,) = [path for path in tmp_path.iterdir() if path.is_dir()]
    assert read_sweep(folder).name == "my shop"


# Failures


@pytest.mark.thorough
def test_a_cell_that_fails_leaves_its_reason_and_the_others_run(
    command: Command, tmp_path: Path, trained: list[Any]
) -> None:
    write_broken_model(tmp_path / "conf")
    words = (f"--config-dir={tmp_path / 'conf'}", "-m", "sweep.name=s", "model=broken,vbpr", "modality=text")
    said = command(*words)
    assert said.code == 1
    folder = cell(tmp_path, "broken", "text")
    failure = records.read(paths.failure_file(folder), CellFailure)
    assert "all 1 trials failed; the first: RuntimeError: no use for\n80 items" in failure.reason
    assert "Traceback" in failure.traceback
    assert not paths.seal_file(folder).exists()
    assert paths.seal_file(cell(tmp_path, "vbpr", "text")).exists()
    assert "failed: planted-complementary/broken/text: " in said.err
    table = read_sweep(tmp_path / "s")
    assert {key[1:]: result.status for key, result in table.cells.items()} == {
        ("broken", "text"): "failed",
        ("vbpr", "text"): "done",
    }
    # The same command fails again, from the records and without training.
    before = digests(tmp_path)
    trained.clear()
    again = command(*words)
    assert (again.code, again.err) == (1, said.err)
    assert trained == []
    assert digests(tmp_path) == before


@pytest.mark.thorough
def test_features_that_controls_leave_alone_fail_their_cell_only(command: Command, tmp_path: Path) -> None:
    """Rows that are all equal are the same in any order, so shuffling them controls nothing."""
    from dataclasses import replace

    import numpy as np

    from mmbench.data.features import ItemFeature
    from mmbench.data.planted import make_world
    from mmbench.data.sources import write_folder

    source = make_world("complementary", n_users=60, n_items=80, per_user=10)
    flat = ItemFeature(np.ones((80, 4), np.float32), np.ones(80, bool))
    write_folder(replace(source, features={**source.features, "image": flat}), tmp_path / "shop", {})
    words = ("dataset=folder", "dataset.protocol=given", "dataset.name=shop", f"dataset.path={tmp_path / 'shop'}")
    said = command("-m", "sweep.name=s", *words, "modality=text,text_shuffled_image")
    assert said.code == 1
    assert "modality image: state 'shuffle' left the features unchanged, so it controls nothing" in said.err
    assert paths.seal_file(tmp_path / "s" / "shop" / "vbpr" / "text").exists()


# Lists in and out


@pytest.mark.thorough
def test_lists_go_out_with_raw_ids_and_come_back_as_another_system(command: Command, tmp_path: Path) -> None:
    assert command("sweep.name=ours", "export.top_k=50").code == 0
    lists = paths.recommendations_file(cell(tmp_path, "vbpr", "fused", "ours"))
    frame = pd.read_csv(lists)
    assert list(frame) == ["user", "item", "rank"]
    assert frame["user"].str.fullmatch(r"u\d{5}").all()
    assert frame["item"].str.fullmatch(r"i\d{5}").all()
    assert frame.groupby("user")["rank"].apply(lambda ranks: ranks.tolist() == list(range(1, 51))).all()
    assert command("sweep.name=theirs", "model=external", f"model.recommendations={lists}").code == 0
    ours, theirs = (read_sweep(tmp_path / name).cells for name in ("ours", "theirs"))
    (one,), (other,) = ours.values(), theirs.values()
    assert other.per_user("ndcg@20").tolist() == one.per_user("ndcg@20").tolist()


def test_lists_that_the_data_half_know_are_told(command: Command, tmp_path: Path) -> None:
    rows = [f"u{user:05},i{user + place:05},{place + 1}" for user in range(60) for place in range(20)]
    lists = write(tmp_path / "lists.csv", "\n".join(["user,item,rank", *rows, *[f"x{row}" for row in rows]]))
    said = command("sweep.name=s", "model=external", f"model.recommendations={lists}")
    assert said.code == 0, said.err
    known = "1,200 of 2,400 rows known, lists for 60 of 60 users"
    assert said.out.count(f"planted-complementary/external/-: {known}\n") == 1
    page = (paths.report_dir(tmp_path / "s") / "fairness.md").read_text()
    assert f"what it learned from cannot be checked; {known}" in page


def test_no_lists_unless_they_are_asked_for_which_costs_a_finished_cell_no_training(
    command: Command, tmp_path: Path
) -> None:
    words = ("sweep.name=s", "model=popularity", "modality=none")
    command(*words)
    before = results(tmp_path)
    assert not list(tmp_path.rglob(paths.recommendations_file(tmp_path).name))
    assert command(*words, "export.top_k=5").code == 0
    (lists,) = tmp_path.rglob(paths.recommendations_file(tmp_path).name)
    assert pd.read_csv(lists).groupby("user")["rank"].apply(list).map([1, 2, 3, 4, 5].__eq__).all()
    after = results(tmp_path)
    assert {name: after[name] for name in before} == before
    assert after.keys() - before.keys() == {str(lists.relative_to(tmp_path))}
