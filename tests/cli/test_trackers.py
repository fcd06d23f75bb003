"""A real sweep, shown to each tracker that works offline, read back with the tracker's own library."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from mmbench import paths
from mmbench.cli import main
from mmbench.evaluation.metrics import mean_metrics
from mmbench.store import records
from mmbench.store.schema import Cell, CellName, Stage, Training
from mmbench.store.trackers import make_tracker
from tests.cli.conftest import Command
from tests.parts import require_modules
from tests.tiny import digests

SWEEP = ("-m", "sweep.name=s", "model=vbpr", "modality=none,text", "statistics.contrasts=[text_vs_none]")
EFFORT = (
    "budget.trials=3",
    "budget.seeds=2",
    "budget.max_steps=2",
    "budget.least_epochs=2",
    "dataset.world_options.n_users=300",
)
GAP = "gap/vbpr/text_vs_none"


def cells(sweep: Path) -> Iterator[tuple[Path, Cell]]:
    for file in paths.cell_files(sweep):
        yield file.parent, records.read(file, Cell)


def trainings(folder: Path, stage: Stage) -> list[tuple[str, Training]]:
    named = {Stage.TRIAL: "trial{:03d}", Stage.FINAL: "seed{}"}[stage]
    return [(named.format(training.index), training) for training in records.read_trainings(folder, stage)]


def curves(training: Training) -> dict[str, list[tuple[int, float]]]:
    """Every curve of a training by name."""
    assert training.course is not None
    assert len(training.course.history) > 1
    found = {"validation": list(enumerate(training.course.history, 1))}
    for epoch, losses in enumerate(training.course.losses, 1):
        for name, value in losses.items():
            found.setdefault(f"loss/{name}", []).append((epoch, value))
    assert len(found) > 1
    return found


def on_test(folder: Path, training: Training) -> Mapping[str, float]:
    ranks = records.read_ranking(paths.final_file(folder, training.index, paths.RANKS))
    return {f"test/{name}": value for name, value in mean_metrics(ranks).items()}


def same(a: list[tuple[int, float]], b: list[tuple[int, float]], precision: float = 1e-12) -> bool:
    return [step for step, _ in a] == [step for step, _ in b] and [v for _, v in a] == pytest.approx(
        [v for _, v in b], rel=precision
    )


def verdict(sweep: Path) -> dict[str, Any]:
    """The row of the contrast."""
    rows = pd.read_csv(paths.report_dir(sweep) / "verdicts.csv").to_dict("records")
    (row,) = (row for row in rows if row["contrast"] == "text_vs_none")
    return row


def run(command: Command, *words: str) -> None:
    said = command("run", *SWEEP, *EFFORT, *words)
    assert said.code == 0, said.err


def report(monkeypatch: pytest.MonkeyPatch, sweep: Path, *words: str) -> None:
    monkeypatch.setattr("sys.argv", ["mmbench", "report", str(sweep), *words])
    main()


@pytest.mark.thorough
def test_csv_holds_the_curves_of_every_training(command: Command, tmp_path: Path) -> None:
    run(command, "tracking=csv", "tracking.curves=all")
    sweep = tmp_path / "s"
    seen = 0
    for folder, cell in cells(sweep):
        for stage in (Stage.TRIAL, Stage.FINAL):
            for title, training in trainings(folder, stage):
                place = sweep / "csv" / Path(*cell.name) / title
                metrics = pd.read_csv(place / "metrics.csv")
                for name, curve in curves(training).items():
                    assert same(list(zip(metrics["step"], metrics[name], strict=True)), curve)
                values = pd.read_csv(place / "summary.csv").set_index("key")["value"]
                for path, value in training.configuration.items():
                    assert float(values[f"config/configuration.{path}"]) == pytest.approx(value)
                for name, value in on_test(folder, training).items() if stage is Stage.FINAL else ():
                    assert float(values[name]) == pytest.approx(value)
                seen += 1
        study = pd.read_csv(sweep / "csv" / Path(*cell.name) / "study" / "metrics.csv")
        assert study["validation"].tolist() == pytest.approx([t.score for _, t in trainings(folder, Stage.TRIAL)])
    assert seen == 2 * (3 + 2)
    row, values = verdict(sweep), pd.read_csv(sweep / "csv" / "summary" / "summary.csv").set_index("key")["value"]
    assert float(values[GAP]) == pytest.approx(row["gain"])
    assert values[f"{GAP}/verdict"] == row["verdict"]
    table = pd.read_csv(sweep / "csv" / "summary" / "table.csv")
    assert len(table) == len(pd.read_csv(paths.report_dir(sweep) / "table.csv")) > 0
    before = digests(sweep / "csv")
    run(command, "tracking=csv", "tracking.curves=all")  # the same command again repeats nothing
    assert digests(sweep / "csv").keys() == before.keys()


def events(folder: Path) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    held = EventAccumulator(str(folder))
    held.Reload()
    return held


@pytest.mark.thorough
def test_tensorboard_holds_the_curves_of_the_final_runs(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_modules("tensorboard")
    run(command, "tracking=[csv,tensorboard]")
    sweep = tmp_path / "s"
    assert (sweep / "csv" / "summary" / "summary.csv").exists()
    for folder, cell in cells(sweep):
        home = sweep / "tensorboard" / Path(*cell.name)
        assert {place.name for place in home.iterdir()} == {"study", "seed1", "seed2"}
        for title, training in trainings(folder, Stage.FINAL):
            held = events(home / title)
            for name, curve in curves(training).items():
                assert same([(event.step, event.value) for event in held.Scalars(name)], curve, precision=1e-6)
            for name, value in on_test(folder, training).items():
                assert held.Scalars(name)[-1].value == pytest.approx(value, rel=1e-6)
        shown = [event.value for event in events(home / "study").Scalars("validation")]
        # The last one is what the study ends with.
        assert shown[:3] == pytest.approx([t.score for _, t in trainings(folder, Stage.TRIAL)], rel=1e-6)
    row = verdict(sweep)
    report(monkeypatch, sweep, "tracking=tensorboard")  # replaces the summary
    assert len(list((sweep / "tensorboard" / "summary").iterdir())) == 1
    held = events(sweep / "tensorboard" / "summary")
    assert held.Scalars(GAP)[-1].value == pytest.approx(row["gain"], rel=1e-6)
    texts = {tag: b"".join(held.Tensors(tag)[-1].tensor_proto.string_val) for tag in held.Tags()["tensors"]}
    assert texts[f"{GAP}/verdict/text_summary"].decode() == row["verdict"]
    assert b"planted-complementary/vbpr/text |" in texts["report/table/text_summary"]
    assert {"figures/gains"} <= {*held.Tags()["images"]}


@pytest.mark.slow
def test_mlflow_holds_the_curves_of_the_final_runs(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_modules("mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")  # an address that is no part of the command
    run(command, "tracking=mlflow")
    sweep = tmp_path / "s"
    from mlflow import MlflowClient

    store = f"sqlite:///{sweep / 'mlflow' / 'mlflow.db'}"
    client = MlflowClient(tracking_uri=store, registry_uri=store)
    experiment = client.get_experiment_by_name(sweep.name)
    assert experiment is not None

    def runs() -> dict[str, Any]:
        found = client.search_runs([experiment.experiment_id])
        named = {run.info.run_name: run for run in found}
        assert len(named) == len(found)
        return named

    shown = runs()
    names = {f"{CellName(*cell.name)}/{title}" for _, cell in cells(sweep) for title in ("study", "seed1", "seed2")}
    assert {*shown} == names | {f"{sweep.name}/summary"}
    assert {run.info.status for run in shown.values()} == {"FINISHED"}
    for folder, cell in cells(sweep):
        for title, training in trainings(folder, Stage.FINAL):
            run_of = shown[f"{cell.name}/{title}"]
            for name, curve in curves(training).items():
                history = client.get_metric_history(run_of.info.run_id, name)
                assert same([(metric.step, metric.value) for metric in history], curve)
            for name, value in on_test(folder, training).items():
                assert run_of.data.metrics[name.replace("@", "_")] == pytest.approx(value)
            for path, value in training.configuration.items():
                assert float(run_of.data.params[f"configuration.{path}"]) == pytest.approx(value)
    summary, row = shown[f"{sweep.name}/summary"], verdict(sweep)
    assert summary.data.metrics[GAP] == pytest.approx(row["gain"])
    assert summary.data.tags[f"{GAP}/verdict"] == row["verdict"]
    files = {file.path for file in client.list_artifacts(summary.info.run_id, "report")}
    assert "report/table.csv" in files
    assert {file.path for file in client.list_artifacts(summary.info.run_id, "figures")} >= {"figures/gains.png"}
    assert [*(sweep / "mlflow" / "artifacts").rglob("gains.png")]
    report(monkeypatch, sweep, "tracking=mlflow")
    again = runs()
    assert again.keys() == shown.keys()
    assert again[f"{sweep.name}/summary"].info.run_id != summary.info.run_id


@pytest.mark.slow
def test_mlflow_opens_no_connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its reports of use are forbidden: where they are not, it asks for where to send them after the first call."""
    require_modules("mlflow")
    from mmbench.store.trackers import mirrored, mlflow_runs

    spy = tmp_path / "spy"
    spy.mkdir()
    (spy / "sitecustomize.py").write_text(
        "import socket\n"
        "def refuse(*args, **named):\n"
        f"    open({str(tmp_path / 'asked')!r}, 'a').write(repr(args) + chr(10))\n"
        "    raise OSError('no network')\n"
        "socket.getaddrinfo = socket.create_connection = refuse\n"
        "socket.socket.connect = refuse\n"
    )
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(spy), os.environ.get("PYTHONPATH", "")]))
    for name in ("CI", "GITHUB_ACTIONS", "PYTEST_CURRENT_TEST"):  # which MLflow takes for no use at all
        monkeypatch.delenv(name, raising=False)
    entry = mirrored.Run("s", "summary", "summary", results={"gap/vbpr/fused_vs_text": 0.1})
    with contextlib.closing(mlflow_runs.MlflowClient(tmp_path / "s")) as client:
        client.show(entry)
    assert not (tmp_path / "asked").exists()
    monkeypatch.setattr(mlflow_runs, "SILENT", {})
    with contextlib.closing(mlflow_runs.MlflowClient(tmp_path / "s")) as client:
        client.show(entry)
    assert (tmp_path / "asked").exists()


@pytest.mark.slow
def test_a_store_that_was_forged_writes_nowhere_else(tmp_path: Path) -> None:
    """Where artefacts go stands in the store, and the store may lie in somebody else's folder."""
    require_modules("mlflow")
    from mmbench.store.trackers.mirrored import Grid, Summary

    sweep, outside = tmp_path / "a b" / "s", tmp_path / "outside"
    summary = Summary(tables={"table": Grid(["a"], [[1]])})
    make_tracker({"mlflow": {}}, sweep).report(summary)
    database = sweep / "mlflow" / "mlflow.db"
    with contextlib.closing(sqlite3.connect(database)) as store, store:
        store.execute("UPDATE experiments SET artifact_location = ?", [outside.as_uri()])
    make_tracker({"mlflow": {}}, sweep).report(summary)
    assert not outside.exists()
    assert len([*(sweep / "mlflow" / "artifacts").rglob("table.csv")]) == 2
    with contextlib.closing(sqlite3.connect(database)) as store, store:
        store.execute(
            "CREATE TRIGGER elsewhere AFTER INSERT ON runs BEGIN "
            f"UPDATE runs SET artifact_uri = '{outside.as_uri()}' WHERE run_uuid = NEW.run_uuid; END"
        )
    with pytest.warns(UserWarning, match="MLflow does not mirror s/summary: .* keeps its artefacts in another place"):
        make_tracker({"mlflow": {}}, sweep).report(summary)
    assert not outside.exists()
