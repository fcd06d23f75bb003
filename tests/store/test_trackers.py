"""Trackers: which runs they are shown, what W&B writes offline, and that none ever costs a result."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import pytest
from PIL import Image

from mmbench import paths
from mmbench.evaluation import metrics
from mmbench.messages import Translator
from mmbench.store import leases, records
from mmbench.store.records import CellStore
from mmbench.store.schema import Cell, Failure, Stage, Unit
from mmbench.store.trackers import Tracker, make_tracker, mlflow_runs, wandb_runs
from mmbench.store.trackers.csv_runs import CsvClient
from mmbench.store.trackers.mirrored import Client, Gap, Grid, Run, Summary
from mmbench.store.trackers.mlflow_runs import MlflowClient
from mmbench.store.trackers.wandb_runs import WandbClient
from tests.tiny import digests, make_job, sealed

OPTIONS = {"mode": "offline", "project": "mmbench", "entity": None, "tags": []}
WANDB = {"curves": "finals", "wandb": OPTIONS}


GAPS = [
    Gap("vbpr/fused_vs_text", 0.03, -0.01, 0.07, "undecided", 0.975),
    Gap("vbpr/text_vs_none", 0.2, None, None, "no word", 0.95, "more search on one side"),
]
GRID = Grid(["model", "mean", "by_seed"], [["vbpr", 0.25, "0.2 0.3"], ["fusion", None, None]])
DECIDED = {"badge": "HOLD", "sentence": "We cannot tell yet.", "probability": None}


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Summary:
    """What a report shows."""
    figure = tmp_path_factory.mktemp("figures") / "gains.png"
    Image.new("RGB", (8, 6), (200, 30, 30)).save(figure)
    return Summary(GAPS, {"table": GRID}, {"gains": figure}, DECIDED)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> CellStore:
    """A sealed cell."""
    words = ("budget.trials=2", "budget.seeds=2", "budget.max_steps=1", "budget.least_epochs=2")
    made = sealed(make_job(tmp_path_factory.mktemp("sweep"), *words))
    leases.identity(made.sweep_dir)  # the first mirror writes it, and it is no record
    return made


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mflow": {}}, "tracking.mflow is not a key of tracking; accepted: curves, wandb, mlflow, tensorboard, csv"),
        ({"wandb": {"mode": "on"}}, "tracking.wandb.mode=on is unknown; modes are offline, online, disabled"),
        ({"wandb": {"mode": None}}, "tracking.wandb.mode=None is unknown; modes are"),
        ({"wandb": {"team": "us"}}, "tracking.wandb.team is not a key of tracking; accepted: mode, project, entity, "),
        ({"wandb": {"tags": "baseline"}}, r"tracking.wandb.tags=baseline must be a list, as in .*tags=\[baseline\]"),
        ({"wandb": {"tags": None}}, "tracking.wandb.tags=None must be a list"),
        ({"wandb": {"tags": ["a", 1]}}, r"tracking.wandb.tags=\['a', 1\]: Expected `str`, got `int`"),
        ({"wandb": {"tags": ["t" * 65]}}, r"tracking.wandb.tags: t+\.\.\. has 65 letters; W&B takes 1 to 64"),
        ({"wandb": {"tags": ["a", ""]}}, "tracking.wandb.tags: '' has 0 letters; W&B takes 1 to 64"),
        ({"wandb": {"project": 123}}, "tracking.wandb.project=123 must be a text; put a number in double quotes"),
        ({"wandb": {"project": None}}, "tracking.wandb.project=None must be a text"),
        ({"wandb": {"project": ""}}, "tracking.wandb.project: '' has 0 letters; W&B takes 1 to 128"),
        ({"wandb": {"project": "my:proj"}}, "tracking.wandb.project=my:proj has : in it; W&B takes none of / "),
        ({"wandb": {"entity": 7}}, "tracking.wandb.entity=7 must be a text"),
        ({"wandb": {"entity": "us/mmbench"}}, "tracking.wandb.entity=us/mmbench has / in it; W&B takes none of "),
        ({"csv": {"folder": "x"}}, "tracking.csv.folder is not a key of tracking; accepted: none"),
        ({"csv": 3}, "tracking.csv is not a key of tracking"),
        ({"curves": "some"}, "tracking.curves=some is unknown; it is one of finals, all, none"),
        ({"none": {}}, "tracking=none goes with no other tracker, and wandb, none stand beside it"),
    ],
)
def test_a_wrong_setting_is_named(change: Mapping[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        make_tracker({**WANDB, **change}, tmp_path)


def test_names_and_tags_of_the_greatest_length_pass(tmp_path: Path) -> None:
    options = {**OPTIONS, "project": "p" * 128, "entity": "e" * 128, "tags": ["t" * 64, "a b/c"]}
    assert make_tracker({"wandb": options}, tmp_path).clients


def test_settings_reach_the_tracker(tmp_path: Path) -> None:
    section = {"curves": "all", "csv": {}, "wandb": {**OPTIONS, "entity": "us", "tags": ["a"], "mode": "disabled"}}
    clients = [CsvClient(tmp_path), WandbClient(tmp_path, "disabled", "mmbench", "us", ["a"])]
    assert make_tracker(section, tmp_path) == Tracker(tmp_path, clients, "all")


def test_none_writes_nothing(store: CellStore, report: Summary) -> None:
    tracker = make_tracker({"curves": "all", "none": {}}, store.sweep_dir)
    assert tracker.clients == []
    before = digests(store.sweep_dir)
    tracker.cell(store.folder)
    tracker.report(report)
    assert digests(store.sweep_dir) == before


def test_without_wandb_that_is_said_and_there_is_no_mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    tracker = make_tracker({**WANDB, "csv": {}}, tmp_path)
    assert tracker.clients == [CsvClient(tmp_path)]
    assert list(map(Translator("ja"), tracker.lacking)) == [
        "wandb がインストールされていないため、実験は wandb に記録されません。tracking=none でこの表示は出なくなります"
    ]


@pytest.mark.parametrize("name", ["mlflow", "tensorboard"])
def test_without_its_library_a_tracker_is_refused(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ValueError, match=rf"{name}, which is not installed: pip install 'mmbench\[{name}\]'"):
        make_tracker({name: {}}, tmp_path)


class Noted(Client):
    """Keeps what it is shown."""

    title = "noted"

    def __init__(self) -> None:
        self.runs: list[Run] = []
        self.closed = 0

    def show(self, run: Run) -> None:
        self.runs.append(run)
        if run.title == "seed1":
            raise ConnectionError("lost")

    def close(self) -> None:
        self.closed += 1


@pytest.mark.parametrize(
    ("curves", "titles"),
    [
        ("finals", ["study", "seed1", "seed2"]),
        ("none", ["study", "seed1", "seed2"]),
        ("all", ["study", "trial000", "trial001", "seed1", "seed2"]),
    ],
)
def test_curves_are_shown_at_the_level_that_is_asked_for(curves: str, titles: list[str], store: CellStore) -> None:
    first, second = Noted(), Noted()
    with pytest.warns(UserWarning, match="noted does not mirror .*/vbpr/fused/seed1: ConnectionError: lost") as told:
        Tracker(store.sweep_dir, [first, second], curves).cell(store.folder)
    assert len(told) == 2
    assert [run.title for run in first.runs] == [run.title for run in second.runs] == titles
    assert (first.closed, second.closed) == (1, 1)
    trainings = {
        {Stage.TRIAL: f"trial{unit.number:03d}", Stage.FINAL: f"seed{unit.number}"}[unit.stage]: training
        for unit, training in store.finished_trainings().items()
    }
    study, *runs = first.runs
    assert [step for step, _ in study.steps] == [0, 1]
    for run in runs:
        training = trainings[run.title]
        assert training.course is not None
        assert [values["validation"] for _, values in run.steps] == (
            [] if curves == "none" else training.course.history
        )
        assert run.config["configuration"] == training.configuration
        assert ("test/ndcg@20" in run.results) == run.title.startswith("seed")


def test_a_tracker_that_does_not_close_costs_a_warning_only(tmp_path: Path) -> None:
    class Stuck(Noted):
        def close(self) -> None:
            raise TimeoutError("it goes on")

    second = Noted()
    with pytest.warns(UserWarning, match="noted has not ended its mirror of .*: TimeoutError: it goes on"):
        Tracker(tmp_path, [Stuck(), second]).report(Summary())
    assert (len(second.runs), second.closed) == (1, 1)


def test_a_process_of_mlflow_that_goes_on_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mlflow_runs, "PATIENCE", 0.1)
    client = MlflowClient(tmp_path)
    command = [sys.executable, "-c", "import time; time.sleep(60)"]  # which reads nothing, not even the end
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        client.process = process
        client.close()
        assert process.wait(10) == -signal.SIGKILL


class Begun:
    """Notes what a run is told."""

    #: Its summary where it was shown before.
    earlier: ClassVar[Mapping[str, Any]] = {}

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.settings = settings
        self.rows: list[tuple[int | None, dict[str, Any]]] = []
        self.summary: dict[str, Any] = dict(self.earlier)
        self.exit_code: int | None = None

    def log(self, values: Mapping[str, Any], step: int | None = None) -> None:
        if self.settings["mode"] == "breaks":
            raise ConnectionError("lost")
        self.rows.append((step, dict(values)))

    def finish(self, exit_code: int) -> None:
        self.exit_code = exit_code


def sweep_dir(folder: Path) -> Path:
    """The folder of a sweep."""
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Begun]]:
    """Runs that were begun. The real ones are begun in the test of the offline mode; they take seconds each."""
    import wandb

    begun: list[Begun] = []

    def init(**settings: Any) -> Begun:
        begun.append(Begun(settings))
        return begun[-1]

    monkeypatch.setattr(wandb, "init", init)
    yield begun
    assert all(run.exit_code is not None for run in begun), "an unfinished run swallows the next"


def test_a_cell_is_a_study_and_a_run_for_each_seed(store: CellStore, runs: list[Begun]) -> None:
    make_tracker({"wandb": {**OPTIONS, "tags": ["t"]}}, store.sweep_dir).cell(store.folder)
    study, *finals = runs
    trainings = store.finished_trainings()
    assert [step for step, _ in study.rows] == [0, 1]
    for step, values in study.rows:
        assert step is not None
        training = trainings[Unit(Stage.TRIAL, step)]
        assert values["validation"] == training.score
        assert values["configuration/optimizer.lr"] == training.configuration["optimizer.lr"]
    assert study.summary["validation"] == max(values["validation"] for _, values in study.rows)
    assert study.settings["config"]["model"]["_target_"].endswith("VBPR")
    assert len(finals) == 2
    for seed, run in enumerate(finals, 1):
        unit = Unit(Stage.FINAL, seed)
        course = trainings[unit].course
        assert course is not None
        assert [(step, values["validation"]) for step, values in run.rows] == list(enumerate(course.history, 1))
        assert [values["loss/bpr"] for _, values in run.rows] == [losses["bpr"] for losses in course.losses]
        expected = metrics.mean_metrics(records.read_ranking(store.training_file(unit, paths.RANKS)))
        assert run.summary == {f"test/{name}": value for name, value in expected.items()}
    assert all(run.exit_code == 0 and run.settings["tags"] == ["t"] for run in runs)
    assert {run.settings["project"] for run in runs} == {"mmbench"}


def test_a_failed_trial_has_a_step_without_a_score(store: CellStore, runs: list[Begun], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(store.folder, tmp_path / "cell"))
    _, trial = records.read_trainings(folder, Stage.TRIAL, store.key)
    failed = msgspec.structs.replace(trial, course=None, failure=Failure(reason="why"))
    records.write(paths.training_file(folder, Stage.TRIAL, 1, paths.RECORD), failed)
    make_tracker(WANDB, store.sweep_dir).cell(folder)
    assert [step for step, _ in runs[0].rows] == [0, 1]
    assert runs[0].rows[1][1]["validation"] is None
    assert [run.exit_code for run in runs] == [0, 0, 0]


def test_where_the_data_lie_is_not_told(store: CellStore, runs: list[Begun], tmp_path: Path) -> None:
    """Earlier versions kept the folder in the configuration."""
    folder = Path(shutil.copytree(store.folder, tmp_path / "cell"))
    cell = records.read(paths.cell_file(folder), Cell)
    config = {**cell.config, "dataset": {**cell.config["dataset"], "path": "/home/ann/shop"}}
    records.write(paths.cell_file(folder), msgspec.structs.replace(cell, config=config, data_folder=msgspec.UNSET))
    make_tracker(WANDB, store.sweep_dir).cell(folder)
    assert [run.settings["config"]["dataset"] for run in runs] == [cell.config["dataset"]] * 3


def test_runs_are_known_again(store: CellStore, runs: list[Begun], tmp_path: Path) -> None:
    for _ in range(2):
        make_tracker(WANDB, store.sweep_dir).cell(store.folder)
    identities = [run.settings["id"] for run in runs]
    assert identities[:3] == identities[3:]
    assert len(set(identities)) == 3
    make_tracker(WANDB, sweep_dir(tmp_path / "other")).cell(store.folder)  # the same cell in another sweep
    assert set(identities).isdisjoint(run.settings["id"] for run in runs[6:])


def test_the_report_is_one_run_with_every_gap_and_its_bounds(runs: list[Begun], tmp_path: Path) -> None:
    make_tracker(WANDB, tmp_path).report(Summary(GAPS))
    (run,) = runs
    assert run.rows == []
    assert run.summary == {
        "gap/vbpr/fused_vs_text": 0.03,
        "gap/vbpr/fused_vs_text/lo": -0.01,
        "gap/vbpr/fused_vs_text/hi": 0.07,
        "gap/vbpr/fused_vs_text/level": 0.975,
        "gap/vbpr/fused_vs_text/verdict": "undecided",
        "gap/vbpr/text_vs_none": 0.2,
        "gap/vbpr/text_vs_none/level": 0.95,
        "gap/vbpr/text_vs_none/verdict": "no word",
        "gap/vbpr/text_vs_none/no_word": "more search on one side",
    }


def test_tables_figures_and_the_decision_are_in_it(runs: list[Begun], report: Summary, tmp_path: Path) -> None:
    make_tracker(WANDB, tmp_path).report(report)
    (run,) = runs
    ((_, shown),) = run.rows
    assert shown.keys() == {"report/table", "figures/gains"}
    assert (shown["report/table"].columns, shown["report/table"].data) == (GRID.columns, GRID.rows)
    assert shown["figures/gains"].image.size == (8, 6)
    assert {k: v for k, v in run.summary.items() if k.startswith("decision/")} == {
        "decision/badge": "HOLD", "decision/sentence": "We cannot tell yet.", "decision/probability": None,
    }  # fmt: skip


def test_the_run_of_a_report_is_known_again_whatever_the_sweep_grew_to(
    runs: list[Begun], report: Summary, tmp_path: Path
) -> None:
    for folder, shown in (("s", Summary()), ("s", report), ("t", report)):
        make_tracker(WANDB, sweep_dir(tmp_path / folder)).report(shown)
    first, again, other = (run.settings["id"] for run in runs)
    assert first == again != other
    online = make_tracker({"wandb": {**OPTIONS, "mode": "online"}}, tmp_path / "s")
    online.report(report)
    assert (runs[-1].settings["id"], runs[-1].settings["resume"]) == (first, "allow")


def test_sweeps_of_one_name_have_runs_of_their_own_and_a_moved_one_keeps_them(
    runs: list[Begun], store: CellStore, tmp_path: Path
) -> None:
    def identities(folder: Path) -> list[str]:
        tracker, n_before = make_tracker(WANDB, folder), len(runs)
        tracker.cell(store.folder)
        tracker.report(Summary(GAPS))
        return [run.settings["id"] for run in runs[n_before:]]

    mine, theirs = sweep_dir(tmp_path / "mine" / "s"), sweep_dir(tmp_path / "theirs" / "s")
    first = identities(mine)
    assert set(first).isdisjoint(identities(theirs))
    assert identities(mine.rename(sweep_dir(tmp_path / "elsewhere") / "s")) == first


def test_a_run_that_is_sent_again_keeps_nothing_of_before(
    runs: list[Begun], store: CellStore, report: Summary, monkeypatch: pytest.MonkeyPatch
) -> None:
    """W&B begins a resumed run with the summary that it had."""
    old = {"gap/vbpr/text_vs_none/lo": 0.1, "decision/paying": 0.9, "report/gone": {}, "choice/gone": 1, "_runtime": 3}
    monkeypatch.setattr(Begun, "earlier", {**old, "loss/bpr": 0.5, "report/table": {}})
    tracker = make_tracker({"wandb": {**OPTIONS, "mode": "online"}}, store.sweep_dir)
    tracker.report(report)
    tracker.cell(store.folder)
    summary, _, final, _ = runs
    assert summary.summary == {**report.results, "report/table": {}, "_runtime": 3}
    # Of steps that it has already, W&B takes nothing: what it has of them stays.
    assert {name for name in final.summary if not name.startswith("test/")} == {"loss/bpr", "_runtime"}


def test_a_mirror_that_cannot_begin_costs_warnings_only(
    store: CellStore, report: Summary, monkeypatch: pytest.MonkeyPatch
) -> None:
    import wandb

    def refuse(**settings: Any) -> None:
        raise wandb.errors.CommError("no server")

    monkeypatch.setattr(wandb, "init", refuse)
    before = digests(store.sweep_dir)
    tracker = make_tracker(WANDB, store.sweep_dir)
    with pytest.warns(UserWarning, match=r"W&B does not mirror .*/vbpr/fused.*: CommError: no server") as told:
        tracker.cell(store.folder)
    assert len(told) == 3
    with pytest.warns(UserWarning, match=r"W&B does not mirror .*summary: CommError: no server") as told:
        tracker.report(report)
    assert len(told) == 1
    assert digests(store.sweep_dir) == before


def test_a_mirror_that_breaks_off_is_closed_and_costs_warnings_only(
    store: CellStore, report: Summary, runs: list[Begun], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wandb_runs, "MODES", ("breaks",))
    tracker = Tracker(store.sweep_dir, [WandbClient(store.sweep_dir, mode="breaks")])
    with pytest.warns(UserWarning, match="ConnectionError: lost"):
        tracker.cell(store.folder)
    with pytest.warns(UserWarning, match="ConnectionError: lost"):
        tracker.report(report)
    assert [run.exit_code for run in runs] == [1, 1, 1, 1]


@pytest.mark.parametrize("fails", ["init", "finish"])
def test_where_the_server_fails_runs_are_written_offline_with_one_warning(
    fails: str, store: CellStore, report: Summary, runs: list[Begun], monkeypatch: pytest.MonkeyPatch
) -> None:
    import wandb

    modes, begin, finish = [], wandb.init, Begun.finish

    def init(**settings: Any) -> Begun:
        modes.append(settings["mode"])
        if (fails, settings["mode"]) == ("init", "online"):
            raise wandb.errors.CommError("no server")
        return begin(**settings)  # type: ignore[return-value]

    def finish_late(run: Begun, exit_code: int) -> None:
        finish(run, exit_code)
        if (fails, run.settings["mode"]) == ("finish", "online"):
            raise TimeoutError("no server")

    def teardown() -> None:
        raise ConnectionResetError("its process has ended")

    monkeypatch.setattr(wandb, "init", init)
    monkeypatch.setattr(wandb, "teardown", teardown)
    monkeypatch.setattr(Begun, "finish", finish_late)
    monkeypatch.setattr(wandb_runs, "_paused_until", float("-inf"))
    online = {"wandb": {**OPTIONS, "mode": "online"}}
    tracker = make_tracker(online, store.sweep_dir)
    with pytest.warns(UserWarning, match=r"W&B was not sent .*/study: .*: no server; .*wandb sync sends them") as told:
        tracker.cell(store.folder)
    assert len(told) == 1
    tracker = make_tracker(online, store.sweep_dir)  # of the next cell
    tracker.report(report)
    assert modes == ["online", *["offline"] * 4]
    assert {name: runs[-1].summary[name] for name in report.results} == report.results
    monkeypatch.setattr(wandb_runs, "_paused_until", time.monotonic())  # minutes later
    with pytest.warns(UserWarning, match="W&B was not sent"):
        tracker.report(report)
    assert modes[-2:] == ["online", "offline"]


@pytest.mark.parametrize("mode", ["offline", "online"])
def test_wandb_adds_nothing_of_the_machine(mode: str, runs: list[Begun], tmp_path: Path) -> None:
    """The page for companies says all that leaves the house; files that are written offline may be sent later."""
    make_tracker({"wandb": {**OPTIONS, "mode": mode}}, tmp_path).report(Summary())
    settings = runs[-1].settings["settings"]
    assert (settings.host, settings.program, settings.save_code) == ("", "", False)
    assert (settings.disable_git, settings.x_save_requirements, settings.x_disable_meta) == (True, False, True)
    assert (settings.x_disable_stats, settings.console) == (True, "off")


def test_wandb_waits_for_a_server_as_briefly_as_its_version_can(
    runs: list[Begun], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import wandb

    tracker = make_tracker({"wandb": {**OPTIONS, "mode": "online"}}, tmp_path)
    tracker.report(Summary())
    settings = runs[-1].settings["settings"]
    bounds = {"init_timeout": 20, "finish_timeout": 60, "finish_timeout_raises": True}
    known = {name: bounds[name] for name in bounds if name in wandb.Settings.__annotations__}
    assert {name: getattr(settings, name) for name in known} == known

    class Earlier(dict[str, Any]):
        init_timeout: float

    monkeypatch.setattr(wandb, "Settings", Earlier)
    tracker.report(Summary())
    settings = runs[-1].settings["settings"]
    assert {name: settings[name] for name in bounds if name in settings} == {"init_timeout": 20}


@pytest.mark.thorough
def test_offline_runs_are_written_beside_the_sweep(
    store: CellStore, report: Summary, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The real thing, once; without a network, and without leaving anything where W&B keeps tables of its own."""
    for name in ("WANDB_MODE", "WANDB_DIR", "WANDB_PROJECT", "WANDB_DISABLED"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path))
    tracker = make_tracker(WANDB, store.sweep_dir)
    tracker.cell(store.folder)
    tracker.report(report)
    written = list(paths.mirror_dir(store.sweep_dir, "wandb").glob("offline-run-*/run-*.wandb"))
    assert len({file.stem for file in written}) == len(written) == 4  # the study, two final runs and the summary
    assert all(file.stat().st_size > 0 for file in written)
    (table,) = paths.mirror_dir(store.sweep_dir, "wandb").glob("offline-run-*/files/media/table/report/table_*.json")
    assert json.loads(table.read_text()) == {"columns": GRID.columns, "data": GRID.rows}
    (picture,) = paths.mirror_dir(store.sweep_dir, "wandb").glob("offline-run-*/files/media/images/figures/gains_*.png")
    assert picture.read_bytes() == report.figures["gains"].read_bytes()
    (of_report,) = (file for file in written if file.parent in table.parents)
    words, end = (b"fused_vs_text/verdict", b"undecided", b"We cannot tell yet."), time.monotonic() + 30
    while not all(word in of_report.read_bytes() for word in words):
        assert time.monotonic() < end, "the process of W&B closes its file a moment after a run is finished"
        time.sleep(0.1)
    tracker.report(report)
    again = {file.stem for file in paths.mirror_dir(store.sweep_dir, "wandb").glob("offline-run-*/run-*.wandb")}
    assert again == {file.stem for file in written}
