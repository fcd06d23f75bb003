"""A sweep as DataFrames and figures: the numbers are those of the report, and errors are one line of one class."""

from __future__ import annotations

import io
from pathlib import Path

import pandas as pd
import pytest
from matplotlib.figure import Figure

import mmbench
from mmbench import paths
from mmbench.report.write import write_report
from tests.report.constructed import write_sweep
from tests.report.test_verdict_table import NONE, TEXT

COURSE = {"history": [0.1, 0.3, 0.2], "best_epoch": 2, "steps_per_epoch": 5}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    models = ("better", "undecided", "failed", "missing")
    cells = {("d", model, "text"): TEXT[model] for model in models} | {("d", model, "none"): NONE for model in models}
    return write_sweep(tmp_path_factory.mktemp("frames") / "s", cells)


@pytest.fixture(scope="module")
def results(folder: Path) -> mmbench.Results:
    return mmbench.read(folder)


def test_tables_are_those_of_the_report(folder: Path, results: mmbench.Results) -> None:
    write_report(folder)
    for frame, name in ((results.table(), paths.TABLE), (results.verdicts(), paths.VERDICTS)):
        written = pd.read_csv(paths.report_dir(folder) / f"{name}.csv")
        ours = pd.read_csv(io.StringIO(frame.to_csv(index=False)))
        pd.testing.assert_frame_equal(ours, written, check_exact=False, rtol=1e-12)
        assert {type(value) for column in frame for value in frame[column] if isinstance(value, str)} <= {str}


def test_a_contrast_by_its_name_or_with_data_and_model(results: mmbench.Results) -> None:
    rows = results.contrast("text_vs_none").set_index("model")
    assert rows.index.tolist() == ["better", "failed", "missing", "undecided"]
    assert rows["verdict"].loc["better"] == "better"
    assert rows["gain"].loc["better"] == pytest.approx(0.1)
    (one,) = results.contrast("d/better/text_vs_none").to_dict("records")
    assert (one["model"], one["gain"]) == ("better", pytest.approx(0.1))


def test_a_row_for_every_training(results: mmbench.Results) -> None:
    trials = results.trials().set_index(["model", "modality", "stage", "number"])
    better = trials.loc["better", "text"]
    assert len(better.loc["tune"]) == 8
    assert better.loc["final"].index.tolist() == [1, 2, 3]
    assert better["test"].to_numpy() == pytest.approx(0.55)
    assert better.loc["tune", "validation"].iloc[0] == pytest.approx(0.55)
    assert better.loc["tune", "optimizer.lr"].tolist() == pytest.approx([0.01 * slot for slot in range(1, 9)])
    assert better.index[better["chosen"]].tolist() == [("tune", 0)]
    assert "failed" not in {model for model, modality, *_ in trials.index if modality == "text"}


def test_curves_by_epoch_and_by_trials(tmp_path: Path) -> None:
    text = TEXT["better"]
    made = type(text)(text.finals, courses=[COURSE] * 8, final=COURSE)
    results = mmbench.read(write_sweep(tmp_path / "s", {("d", "m", "text"): made, ("d", "m", "none"): NONE}))
    curves = results.curves()
    first = curves[(curves["modality"] == "text") & (curves["stage"] == "tune") & (curves["number"] == 0)]
    assert first[["epoch", "step", "validation"]].to_numpy().tolist() == [[1, 5, 0.1], [2, 10, 0.3], [3, 15, 0.2]]
    tuning = results.curves("tuning")
    text_only = tuning[tuning["modality"] == "text"]
    assert text_only["trials"].tolist() == list(range(1, 9))
    assert text_only["test"].to_numpy() == pytest.approx(0.55)


def test_figures_are_those_of_the_report(results: mmbench.Results) -> None:
    forest = results.plot_forest("text_vs_none")
    assert isinstance(forest, Figure)
    assert [tick.get_text() for tick in forest.axes[0].get_yticklabels()] == ["better", "undecided"]
    assert results.plot_forest().axes[0].get_xlabel() == forest.axes[0].get_xlabel()
    assert "tuned gain in NDCG@20, text against none" in forest.axes[0].get_xlabel()
    assert forest._repr_png_().startswith(b"\x89PNG")  # type: ignore[attr-defined]
    assert results.plot_conditions().axes[0].get_xlabel() == "NDCG@20"
    assert len(results.plot_tuning("d/better/text_vs_none").axes) == 2
    assert results.plot_tuning().axes[1].get_ylabel() == "tuned gain, %"


def test_what_is_not_there_is_refused_in_one_line(results: mmbench.Results, tmp_path: Path) -> None:
    for ask, line in (
        (
            lambda: results.contrast("image_vs_none"),
            "image_vs_none is no contrast that this sweep planned",
        ),
        (lambda: results.plot_forest("txt_vs_none"), "did you mean text_vs_none?"),
        (lambda: results.plot_tuning("d/failed/text_vs_none"), "d/failed/text_vs_none has nothing to draw"),
        (lambda: results.curves("epochs"), "curves of epochs are not known; accepted: training, tuning"),
        (lambda: mmbench.read(tmp_path), "is no sweep"),
        (lambda: mmbench.read(tmp_path, allow=("x",)), "x cannot be vouched for: it is neither"),
    ):
        with pytest.raises(mmbench.Refusal, match=line) as refused:
            ask()
        assert "\n" not in str(refused.value)


def test_a_call_that_lacks_an_argument_blames_no_record(results: mmbench.Results) -> None:
    with pytest.raises(TypeError, match="missing a required argument: 'name'"):
        results.contrast()  # type: ignore[call-arg]


def test_records_that_do_not_go_together_are_refused(tmp_path: Path) -> None:
    folder = write_sweep(tmp_path / "s", {("d", "m", "text"): TEXT["better"], ("d", "m", "none"): NONE})
    results = mmbench.read(folder)
    seal = paths.seal_file(paths.cell_dir(folder, "d", "m", "text"))
    seal.write_text("{}", encoding="utf-8")
    with pytest.raises(mmbench.Refusal):
        results.trials()
