"""The command that decides, and its mistakes in one line."""

from __future__ import annotations

import argparse
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from mmbench import cli, paths
from mmbench.cli import decide
from mmbench.cli.decide import _command
from mmbench.cli.economics_file import load_economics
from mmbench.decision import Action
from mmbench.decision.economics import INPUTS, POLICY, Source
from mmbench.decision.page.phrases import BADGES
from mmbench.decision.serving import measure_serving
from mmbench.messages import Translator
from mmbench.report.reading import read_sweep
from mmbench.scheduling.job import Job
from mmbench.store import files, records
from mmbench.store.bounds import Damaged
from mmbench.store.schema import Cell, Configuration
from mmbench.training.fit import ModelFactory
from mmbench.training.settings import TrainingSettings
from mmbench.tuning.cell import CellTask
from tests.audit.conftest import run
from tests.report.shop import vouched


@pytest.fixture
def sweep(shop_sweep: Path, tmp_path: Path) -> Path:
    """A copy to write into."""
    return Path(shutil.copytree(shop_sweep, tmp_path / "shop", ignore=shutil.ignore_patterns("report")))


def test_page_record_and_terminal(sweep: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = tmp_path / "my.yaml"
    own.write_text("currency: JPY\nvalue: {margin: 0.3}\n")
    decide.main([str(sweep), f"economics={own}", "lang=ja"])
    told = capsys.readouterr().out
    record = files.read_document(sweep / "report" / "decision.json")
    assert "decision.html、decision.json、checklist.html を書きました" in told
    assert record["inputs"]["economics"]["currency"] == "JPY"
    assert {name for name, source in record["inputs"]["economics"]["sources"].items() if source == "given"} == {
        "value.margin"
    }
    assert 'lang="ja"' in (sweep / "report" / "decision.html").read_text()
    decide.main([str(sweep / "report" / "decision.json")])
    assert capsys.readouterr().out.startswith(f"{record['result']['action']}, as in ")
    decide.main([str(sweep / "report" / "decision.json"), "lang=ja"])
    answer = Translator("ja")(BADGES[Action(record["result"]["action"])])
    assert capsys.readouterr().out == f"{answer}({sweep / 'report' / 'decision.json'} と同じ結論)\n"
    files.write_document(sweep / "report" / "decision.json", {**record, "result": {"action": "GO!"}})
    with pytest.raises(ValueError, match="says GO!, but its inputs give"):
        decide.main([str(sweep / "report" / "decision.json")])
    altered = {**record["result"], "breakeven": 2 * record["result"]["breakeven"]}
    files.write_document(sweep / "report" / "decision.json", {**record, "result": altered})
    with pytest.raises(ValueError, match="but its inputs give that with other numbers"):
        decide.main([str(sweep / "report" / "decision.json")])


def test_the_terminal_says_that_data_could_not_be_read(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cell = paths.cell_dirs(sweep)[0]
    config = records.read(paths.cell_file(cell), Cell).located_config["dataset"]
    allowed = ["--allow", config["path"]]
    Path(config["path"]).rename(hidden := Path(f"{config['path']}.hidden"))
    try:
        Path(config["path"]).mkdir()
        decide.main([str(sweep), "serving=false", *allowed])
    finally:
        Path(config["path"]).rmdir()
        hidden.rename(config["path"])
    told = capsys.readouterr().out
    assert "the data set cannot be read where the sweep's configuration says" in told
    assert "pilot" not in told


def test_the_command_on_the_page_names_no_place() -> None:
    """Which a folder of another name than the sweep, or on another machine, would not have."""
    asked = argparse.Namespace(sweep=Path("elsewhere/it is here"), allow=["my data"])
    assert str(_command(asked, ["serving=false", "lang=ja"])) == (
        "python -m mmbench decide FOLDER serving=false lang=ja --allow 'my data' (FOLDER: the folder of this sweep)"
    )


def test_a_packaged_file_is_nobodys_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(paths.config_dir().parent)
    for name in ("default", "yen"):
        packaged = load_economics(name)
        assert load_economics(f"conf/economics/{name}.yaml") == packaged  # by its place, too
        assert set(packaged.assumed) == {*INPUTS, *POLICY}
        assert (packaged.digest, packaged.changed_at) == ("", "")


def test_readers_of_japanese_get_yen_unless_they_name_other_sums() -> None:
    assert decide.read_settings([], "ja")["economics"] == "yen"
    assert decide.read_settings([])["economics"] == "default"
    assert decide.read_settings(["economics=default"], "ja")["economics"] == "default"


def test_a_file_starts_from_the_prices_of_its_currency(tmp_path: Path) -> None:
    own = tmp_path / "my.yaml"
    own.write_text("currency: JPY\nvalue: {order_value: 5000}\nitems: {stock: 300, new_year: 20}\n")
    company, yen, euro = (load_economics(name) for name in (str(own), "yen", "default"))
    assert company.inputs["cost.engineering_once"] == yen.inputs["cost.engineering_once"]
    assert company.steps == yen.steps
    assert company.machine_hour == yen.machine_hour
    assert company.inputs["value.margin"] == euro.inputs["value.margin"]
    given = {"value.order_value", "items.stock", "items.new_year"}
    assert set(company.assumed) == {*INPUTS, *POLICY} - given
    assert {company.sources[name] for name in given} == {Source.OWN}
    own.write_text("currency: USD\n")
    with pytest.raises(ValueError, match="currency=USD, and no prices are known in it; give these too: value"):
        load_economics(str(own))


@pytest.mark.parametrize(("name", "lang"), [("default", "en"), ("yen", "ja")])
def test_a_file_of_ones_own_sums_is_written_for_editing(
    name: str, lang: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    decide.main(["--template", name, f"lang={lang}"])
    file = Path(f"economics-{name}.yaml")
    assert str(file) in capsys.readouterr().out
    text = file.read_text(encoding="utf-8")
    known, own = load_economics(name), load_economics(str(file))
    assert (own.currency, own.inputs, own.steps) == (known.currency, known.inputs, known.steps)
    assert set(own.assumed) == {*INPUTS, *POLICY}  # nothing counts as one's own before its # is gone
    edited = re.sub(r"^#(?=[a-z])(?!transfer_pairs)", "", text, flags=re.M)
    file.write_text(edited, encoding="utf-8")
    given = load_economics(str(file))
    assert (given.inputs, given.steps, given.years) == (known.inputs, known.steps, known.years)
    assert set(given.assumed) == {"transfer"}
    one = text.replace("#value.margin: {low: 0.2, likely: 0.25, high: 0.3}", "value.margin: 0.4")
    file.write_text(one.replace("#transfer_pairs", "transfer_pairs"), encoding="utf-8")
    assert set(load_economics(str(file)).assumed) == {*INPUTS, *POLICY} - {"value.margin", "transfer"}
    comments = [line for line in text.splitlines() if line.startswith("# ")]
    assert len(comments) > len(INPUTS)
    if lang == "ja":
        assert all(re.search("[\u3040-\u30ff\u4e00-\u9fff]", line) for line in comments)
    with pytest.raises(ValueError, match=rf"economics-{name}.yaml is there already; edit it, or move it away first"):
        decide.main(["--template", name])
    with pytest.raises(ValueError, match=r"--template yenn: there is no such file; did you mean yen\?"):
        decide.main(["--template", "yenn"])
    with pytest.raises(ValueError, match="the following arguments are required: sweep"):
        decide.main([])


def test_serving_is_measured_from_the_records(sweep: Path, shop_sweep: Path) -> None:
    found = measure_serving(read_sweep(sweep, vouched(shop_sweep)), "shop")
    assert {(s.model, s.modality) for s in found} == {("itemknn", "-"), ("hybridknn", "fused"), ("hybridknn", "text")}
    assert all(s.batch_ms > 0 for s in found)
    assert all(s.one_ms > 0 for s in found)
    assert [s.score for s in found] == sorted((s.score for s in found), reverse=True)


def test_serving_is_measured_on_the_processor_wherever_a_model_was_trained(
    sweep: Path, shop_sweep: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = Job.task

    def task(job: Job) -> CellTask:
        made = asked(job)

        def trained_on_a_gpu(configuration: Configuration) -> tuple[ModelFactory, TrainingSettings]:
            build, settings = made.recipe(configuration)
            return build, replace(settings, accelerator="gpu")

        return replace(made, recipe=trained_on_a_gpu)

    monkeypatch.setattr(Job, "task", task)
    assert len(measure_serving(read_sweep(sweep, vouched(shop_sweep)), "shop")) == 3


def test_a_state_that_is_gone_leaves_its_model_out_and_a_damaged_one_is_told(tmp_path: Path) -> None:
    sweep = run(tmp_path, "s", cells=(("vbpr", "text", "complementary"),))
    (cell,) = paths.cell_dirs(sweep)
    state = paths.final_file(cell, 1, paths.STATE)

    def measured() -> list[str]:
        return [serving.modality for serving in measure_serving(read_sweep(sweep), "planted-complementary")]

    assert measured() == ["text"]
    content = state.read_bytes()
    state.write_bytes(content[: len(content) // 2])
    with pytest.raises(Damaged, match=r"state\.npz is missing, empty, cut or overwritten; the command"):
        measured()
    state.unlink()
    assert measured() == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["{sweep}", "lang=fr"], "error: lang=fr: there are only en, ja"),
        (["{sweep}", "langue=en"], "error: langue=en is not a setting of decide; did you mean lang?"),
        (["{sweep}", "economics"], "error: economics is not a setting of decide"),
        (["{sweep}", "serving=no"], "error: serving=no must be true or false"),
        (["{sweep}", "economics=nowhere.yaml"], "no such file; name a YAML file or one of default, yen"),
        (["{sweep}", "economics={tmp}/list.yaml"], "list.yaml must hold keys and values"),
        (["{sweep}", "economics={tmp}/broken.yaml"], "broken.yaml is no YAML file"),
        (["{sweep}", "economics={tmp}/wrong.yaml"], "error: economics: value.margin=7 must be a share from 0 up to 1"),
        (["{tmp}"], "is no sweep (no manifest.json)"),
        (["{sweep}", "model=vbpr"], "no results of any/vbpr with and without images; there are shop/hybridknn"),
        (["{tmp}/list.yaml"], "is not a record"),
        (["{tmp}/list.yaml", "lang=en", "economics=default", "tracking=csv"], "holds all of its inputs; beside it only "
         "lang may be set, not economics=default tracking=csv"),
        (["{tmp}/list.yaml", "lang=fr"], "error: lang=fr: there are only en, ja"),
    ],
)  # fmt: skip
def test_mistakes(
    sweep: Path, tmp_path: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    (tmp_path / "list.yaml").write_text("- 1\n")
    (tmp_path / "broken.yaml").write_text("a: [1\n")
    (tmp_path / "wrong.yaml").write_text("value: {margin: 7}\n")
    given = [word.format(sweep=sweep, tmp=tmp_path) for word in words]
    monkeypatch.setattr("sys.argv", ["mmbench", "decide", *given])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    told = capsys.readouterr().err
    assert stopped.value.code == 2
    assert message in told
    assert told.count("\n") == 1
