"""The mirror: what it writes offline, and that it never costs a result."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mmbench import metrics, records, sealed
from mmbench.records import CellStore
from mmbench.study import tune
from mmbench.tracking import Gap, NoTracker, WandbTracker, make_tracker
from tests.tiny import digests, make_job, opened

WANDB = {"kind": "wandb", "mode": "offline", "project": "mmbench", "entity": None, "tags": []}


@dataclass
class Table:
    """What the summary needs of a report."""

    gaps: list[Gap]
    key: str = "k" * 64


GAPS = Table([Gap("vbpr/fused_vs_text", 0.03, -0.01, 0.07, "undecided"), Gap("vbpr/text_vs_none", 0.2, 0.1, 0.3)])


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> CellStore:
    """A sealed cell."""
    job = make_job(tmp_path_factory.mktemp("sweep"), "budget.trials=2", "budget.seeds=2", "budget.max_epochs=2")
    task, store = opened(job)
    tune(task, store)
    sealed.score_test(task, store, job.dataset().split)
    return store


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "mlflow"}, "tracking.kind=mlflow is unknown; kinds are none, wandb"),
        ({"mode": "on"}, "tracking.mode=on is unknown; modes are offline, online, disabled"),
        ({"mode": None}, "tracking.mode=None is unknown; modes are"),
        ({"team": "us"}, "team"),
    ],
)
def test_a_wrong_setting_is_named(change: Mapping[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        make_tracker({**WANDB, **change}, tmp_path)


def test_settings_reach_the_tracker(tmp_path: Path) -> None:
    tracker = make_tracker({**WANDB, "entity": "us", "tags": ["a"], "mode": "disabled"}, tmp_path)
    assert tracker == WandbTracker(tmp_path, "disabled", "mmbench", "us", ["a"])


def test_none_writes_nothing(store: CellStore) -> None:
    tracker = make_tracker({"kind": "none"}, store.sweep_dir)
    assert isinstance(tracker, NoTracker)
    before = digests(store.sweep_dir)
    tracker.cell(store.folder)
    tracker.gaps(GAPS)
    assert digests(store.sweep_dir) == before


def test_without_wandb_there_is_a_warning_and_no_mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.warns(UserWarning, match="wandb is not installed, so the sweep is not mirrored"):
        assert isinstance(make_tracker(WANDB, tmp_path), NoTracker)


class Run:
    """Notes what a run is told."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.settings = settings
        self.rows: list[tuple[int, dict[str, Any]]] = []
        self.summary: dict[str, Any] = {}
        self.exit_code: int | None = None

    def log(self, values: Mapping[str, Any], step: int) -> None:
        if self.settings["mode"] == "breaks":
            raise ConnectionError("lost")
        self.rows.append((step, dict(values)))

    def finish(self, exit_code: int) -> None:
        self.exit_code = exit_code


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Run]]:
    """Runs that were begun. The real ones are begun in the test of the offline mode; they take seconds each."""
    import wandb

    begun: list[Run] = []

    def init(**settings: Any) -> Run:
        begun.append(Run(settings))
        return begun[-1]

    monkeypatch.setattr(wandb, "init", init)
    yield begun
    assert all(run.exit_code is not None for run in begun), "an unfinished run swallows the next"


def test_a_cell_is_a_study_and_a_run_for_each_seed(store: CellStore, runs: list[Run]) -> None:
    make_tracker({**WANDB, "tags": ["t"]}, store.sweep_dir).cell(store.folder)
    study, *finals = runs
    trainings = store.finished_trainings()
    assert [step for step, _ in study.rows] == [0, 1]
    for step, values in study.rows:
        record = trainings["tune", step]
        assert values["validation"] == record["score"]
        assert values["configuration/optimizer.lr"] == record["configuration"]["optimizer.lr"]
    assert study.summary["validation"] == max(values["validation"] for _, values in study.rows)
    assert study.settings["config"]["model"]["_target_"].endswith("VBPR")
    assert len(finals) == 2
    for seed, run in enumerate(finals, 1):
        record = trainings["final", seed]
        assert [(step, values["validation"]) for step, values in run.rows] == list(enumerate(record["history"], 1))
        assert [values["loss/bpr"] for _, values in run.rows] == [losses["bpr"] for losses in record["losses"]]
        expected = metrics.mean_metrics(store.read_ranking("final", seed))
        assert run.summary == {f"test/{name}": value for name, value in expected.items()}
    assert all(run.exit_code == 0 and run.settings["tags"] == ["t"] for run in runs)
    assert {run.settings["project"] for run in runs} == {"mmbench"}


def test_a_failed_trial_has_a_step_without_a_score(store: CellStore, runs: list[Run], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(store.folder, tmp_path / "cell"))
    file = folder / "trials" / "001.json"
    kept = {name: value for name, value in records.read_json(file).items() if name != "schema_version"}
    records.write_json(file, {**kept, "status": "failed", "score": None, "error": "why"})
    make_tracker(WANDB, store.sweep_dir).cell(folder)
    assert [step for step, _ in runs[0].rows] == [0, 1]
    assert runs[0].rows[1][1]["validation"] is None
    assert [run.exit_code for run in runs] == [0, 0, 0]


def test_runs_are_known_again(store: CellStore, runs: list[Run], tmp_path: Path) -> None:
    for _ in range(2):
        make_tracker(WANDB, store.sweep_dir).cell(store.folder)
    identities = [run.settings["id"] for run in runs]
    assert identities[:3] == identities[3:]
    assert len(set(identities)) == 3
    make_tracker(WANDB, tmp_path / "other").cell(store.folder)  # the same cell in another sweep
    assert set(identities).isdisjoint(run.settings["id"] for run in runs[6:])


def test_gaps_are_one_summary_with_bounds(runs: list[Run], tmp_path: Path) -> None:
    make_tracker(WANDB, tmp_path).gaps(GAPS)
    (run,) = runs
    assert run.summary == {
        "gap/vbpr/fused_vs_text": 0.03,
        "gap/vbpr/fused_vs_text/lo": -0.01,
        "gap/vbpr/fused_vs_text/hi": 0.07,
        "gap/vbpr/fused_vs_text/verdict": "undecided",
        "gap/vbpr/text_vs_none": 0.2,
        "gap/vbpr/text_vs_none/lo": 0.1,
        "gap/vbpr/text_vs_none/hi": 0.3,
    }


def test_without_gaps_there_is_no_summary(runs: list[Run], tmp_path: Path) -> None:
    make_tracker(WANDB, tmp_path).gaps(Table([]))
    assert runs == []


def test_a_mirror_that_cannot_begin_costs_warnings_only(store: CellStore, monkeypatch: pytest.MonkeyPatch) -> None:
    import wandb

    def refuse(**settings: Any) -> None:
        raise wandb.errors.CommError("no server")

    monkeypatch.setattr(wandb, "init", refuse)
    before = digests(store.sweep_dir)
    tracker = make_tracker(WANDB, store.sweep_dir)
    with pytest.warns(UserWarning, match=r"W&B does not mirror .*/vbpr/fused.*: CommError: no server") as told:
        tracker.cell(store.folder)
    assert len(told) == 3
    with pytest.warns(UserWarning, match=r"W&B does not mirror .*gaps: CommError: no server"):
        tracker.gaps(GAPS)
    assert digests(store.sweep_dir) == before


def test_a_mirror_that_breaks_off_is_closed_and_costs_warnings_only(store: CellStore, runs: list[Run]) -> None:
    tracker = WandbTracker(store.sweep_dir, mode="breaks")
    with pytest.warns(UserWarning, match="ConnectionError: lost"):
        tracker.cell(store.folder)
    assert [run.exit_code for run in runs] == [1, 1, 1]


def test_offline_runs_are_written_beside_the_sweep(store: CellStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real thing, once; without a network and without leaving anything elsewhere."""
    for name in ("WANDB_MODE", "WANDB_DIR", "WANDB_PROJECT", "WANDB_DISABLED"):
        monkeypatch.delenv(name, raising=False)
    tracker = make_tracker(WANDB, store.sweep_dir)
    tracker.cell(store.folder)
    tracker.gaps(GAPS)
    written = list((store.sweep_dir / "wandb").glob("offline-run-*/run-*.wandb"))
    assert len({file.stem for file in written}) == len(written) == 4  # the study, two final runs and the summary
    assert all(file.stat().st_size > 0 for file in written)
    tracker.gaps(GAPS)
    again = {file.stem for file in (store.sweep_dir / "wandb").glob("offline-run-*/run-*.wandb")}
    assert again == {file.stem for file in written}
