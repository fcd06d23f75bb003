"""Configurations of one sweep run in another without tuning, and every page says so."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import yaml

from mmbench import paths
from mmbench.cli import habits, main
from mmbench.cli.compose import compose, parse
from mmbench.cli.tuned import without_tuning
from mmbench.messages import Translator
from mmbench.report.fairness_checks import FAIL, WARN, read_groups
from mmbench.report.reading import read_sweep
from mmbench.report.tuned import write_tuned
from mmbench.scheduling.cell_key import unsearched
from mmbench.scheduling.planning import plan_cells
from mmbench.store import records
from mmbench.store.schema import Cell, Choice, Stage
from mmbench.tuning.space import contains, read_space
from tests.cli.conftest import Command
from tests.cli.test_errors import is_one_line
from tests.report.constructed import Made, write_sweep
from tests.tiny import make_job, sealed

CELLS = ("model=vbpr", "modality=none,text", "statistics.contrasts=[text_vs_none]", "dataset.world_options.n_users=200")
SEARCHED = [path for path in read_space(compose(["model=vbpr"]).config["search"]) if path != "optimizer.lr"]
DATA = "planted-complementary"


@pytest.fixture
def tuned(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a sweep whose configurations lie in ``conf/tuned`` of the working folder."""
    monkeypatch.chdir(tmp_path)
    said = command("run", "-m", "sweep.name=first", *CELLS, "budget.trials=9", "budget.seeds=2")
    assert said.code == 0, said.err
    report(monkeypatch, tmp_path / "first", "--tuned")
    return tmp_path / "first"


def report(monkeypatch: pytest.MonkeyPatch, *words: object) -> None:
    monkeypatch.setattr("sys.argv", ["mmbench", "report", *map(str, words)])
    main()


def chosen(sweep: Path, modality: str) -> Choice:
    return records.read(paths.choice_file(paths.cell_dir(sweep, DATA, "vbpr", modality)), Choice)


@pytest.mark.slow
def test_a_table_is_made_again_without_tuning_and_says_so(
    tuned: Path, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = read_sweep(tuned).standing.root
    file = tmp_path / "conf" / "tuned" / DATA / "vbpr" / "text.yaml"
    written = yaml.safe_load(file.read_text())
    assert (written["root"], written["trials"]) == (root, 9)
    assert written["configuration"] == chosen(tuned, "text").configuration
    assert written["settings"]["model.embedding_dim"] == 64
    words = ("-m", "sweep.name=again", *CELLS, f"tuned={DATA}", "budget=small", "budget.max_steps=3")
    said = command("run", *words)
    assert said.code == 0, said.err
    (line,) = (line for line in said.out.splitlines() if "what tuned= gives was tuned with" in line)
    assert "budget.max_steps=3" in line.partition("is trained with")[2]
    again, marked = tmp_path / "again", f"not tuned here: configurations of {DATA}, root {root}"
    for modality in ("none", "text"):
        folder = paths.cell_dir(again, DATA, "vbpr", modality)
        cell = records.read(paths.cell_file(folder), Cell)
        assert cell.given == chosen(tuned, modality).configuration == chosen(again, modality).configuration
        assert (cell.effort.trials, cell.effort.proposals, cell.effort.seeds) == (1, 0, 3)
        assert len(records.read_trainings(folder, Stage.TRIAL)) == 1
        configurations = [final.configuration for final in records.read_trainings(folder, Stage.FINAL)]
        assert configurations == [cell.given] * 3
    pages = ("table.md", "table.txt", "table.tex", "verdicts.md", "benchmark.md", "contribution.md", "fairness.md",
             "fairness.html", "report.html", "submission.md")  # fmt: skip
    for page in pages:
        assert root in (paths.report_dir(again) / page).read_text(encoding="utf-8"), page
        if not page.endswith((".html", ".tex")):
            assert marked in (paths.report_dir(again) / page).read_text(encoding="utf-8"), page
    assert f"text_vs_none: no word: {marked}" in (paths.report_dir(again) / "table.txt").read_text() + said.out
    table = read_sweep(again)
    (group,) = read_groups(table, again)
    assert {check.level for check in group.checks if check.name == "tuning"} == {WARN}
    assert FAIL not in {check.level for check in group.checks}
    assert table.standing.words == "consistent"
    assert table.change(DATA, "vbpr", "text", "none", table.primary) is not None  # of these two configurations
    export = ["mmbench", "export", str(again), "--cell", f"{DATA}/vbpr/text", "--out", str(tmp_path / "out")]
    monkeypatch.setattr("sys.argv", export)
    main()
    assert f"**chosen among**: {marked}" in (tmp_path / "out" / "card.md").read_text()
    with pytest.raises(SystemExit):
        report(monkeypatch, again, "--tuned")  # nothing was tuned there
    is_one_line(
        command("run", *words, "budget.trials=9"), "budget.trials=9 asks for a search, and tuned=planted-complemen"
    )


def test_a_folder_of_data_sets_names_those_that_it_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What ``report SWEEP --tuned FOLDER`` has written is taken by the word that the refusal of FOLDER says."""
    monkeypatch.chdir(tmp_path)
    cells = {("d-text=other", "vbpr", "text"): Made(np.ones((2, 40), bool))}
    write_tuned(read_sweep(write_sweep(tmp_path / "s", cells)), Path("mine"))
    job: Any = SimpleNamespace(
        overrides=(), choices={"model": "vbpr"}, modality="text", config=SimpleNamespace(plain={"budget": {}})
    )
    for folder in ("mine", "./mine", str(tmp_path / "mine")):
        with pytest.raises(ValueError, match=f"tuned={folder} is a folder of data sets; take the one of a") as refused:
            without_tuning(job, folder, [])
        (override,) = parse([str(refused.value).rpartition("data set: ")[2]])
        given = without_tuning(job, override.value(), [])["given"]
        assert (given["dataset"], given["model"]) == ("d-text=other", "vbpr")
    job.modality = "image"
    with pytest.raises(ValueError, match="has nothing for vbpr and image: mine/"):
        without_tuning(job, "mine/d-text=other", [])


@pytest.mark.parametrize("place", ["", "./conf/tuned/", "../", "/srv/tuned/", "~/", "データ/", "_/"])
def test_the_encoder_in_a_name_needs_no_quotes(place: str) -> None:
    for quote in ("", "'", '"'):
        (override,) = parse(habits.ours([f"tuned={quote}{place}lfm2k-text=name{quote}"], multirun=False))
        assert (override.key_or_group, override.value()) == ("given", f"{place}lfm2k-text=name")


def test_a_configuration_outside_the_ranges_of_this_data_set_is_trained(tmp_path: Path) -> None:
    """Ranges may differ by data set, and so may what is offered: nothing is drawn from them here."""
    words = ("model=vbpr", "modality=text", "~search.model.reg_weight", "+search.model.reg_weight={choices: [0.1, 1]}")
    job = make_job(tmp_path, *words, "model.reg_weight=1")
    task = job.task()
    values = {**task.default, "model.reg_weight": 0.5, "optimizer.lr": 0.9}
    assert not any(contains(task.space[path], values[path]) for path in ("model.reg_weight", "optimizer.lr"))
    file = paths.tuned_file(tmp_path / "theirs", "vbpr", "text")
    file.parent.mkdir(parents=True)
    content = {"dataset": "d", "model": "vbpr", "modality": "text", "root": "r", "trials": 9, "configuration": values}
    file.write_text(yaml.safe_dump(content))
    store = sealed(make_job(tmp_path, *words, f"given={tmp_path / 'theirs'}"))
    for stage in (Stage.TRIAL, Stage.FINAL):
        (training,) = records.read_trainings(store.folder, stage, store.key)
        assert (training.configuration, training.failure) == (values, None)


@pytest.mark.slow
def test_a_condition_that_was_tuned_here_is_not_compared_with_one_that_was_not(
    tuned: Path, command: Command, tmp_path: Path
) -> None:
    shared = ("budget.seeds=2", "budget.trials=1", "sweep.name=mixed", "model=vbpr", *CELLS[2:])
    assert command("run", "-m", *shared, "modality=text", f"tuned={DATA}").code == 0
    said = command("run", "-m", *shared, "modality=none")
    assert said.code == 0, said.err
    (group,) = read_groups(read_sweep(tmp_path / "mixed"), tmp_path / "mixed")
    (check,) = (check for check in group.checks if check.name == "tuning")
    assert check.level == FAIL
    assert "text_vs_none: measurement not trusted" in said.out


@pytest.mark.slow
def test_a_name_with_an_encoder_is_found(tuned: Path, command: Command, tmp_path: Path) -> None:
    place = tmp_path / "conf" / "tuned"
    (place / DATA).rename(place / f"{DATA}-image=second")
    words = ("-m", "sweep.name=other", *CELLS[:1], "budget=small", "budget.max_steps=3", "modality=text")
    said = command("run", *words, f"tuned={DATA}-image=second")
    assert said.code == 0, said.err
    (group,) = read_groups(read_sweep(tmp_path / "other"), tmp_path / "other")
    assert group.cells[0].cell.name.modality == "text"


@pytest.mark.thorough
def test_configurations_of_other_records_are_replaced_only_when_that_is_asked_for(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    cells = ("model=hybridknn", "modality=none,text", "statistics.contrasts=[text_vs_none]")
    for name, seeds in (("first", 2), ("second", 3)):
        assert command("run", "-m", f"sweep.name={name}", *cells, f"budget.seeds={seeds}").code == 0
    first, second = tmp_path / "first", tmp_path / "second"
    report(monkeypatch, first, "--tuned")
    report(monkeypatch, first, "--tuned")  # its own files, again
    place = tmp_path / "conf" / "tuned" / DATA / "hybridknn"
    (place / "none.yaml").unlink()
    before = (place / "text.yaml").read_bytes()
    capsys.readouterr()
    with pytest.raises(SystemExit) as end:
        report(monkeypatch, second, "--tuned")
    roots = [read_sweep(sweep).standing.root for sweep in (first, second)]
    message = f"text.yaml holds a configuration of root {roots[0]}, and this sweep has root {roots[1]}; "
    is_one_line((int(end.value.code or 0), *capsys.readouterr()), message + "--replace replaces it")
    assert [file.name for file in place.iterdir()] == ["text.yaml"]  # nothing was written
    assert (place / "text.yaml").read_bytes() == before
    report(monkeypatch, second, "--tuned", "--replace")
    assert {yaml.safe_load(file.read_text())["root"] for file in place.iterdir()} == {roots[1]}
    (place / "text.yaml").write_text("mine: 1\n")
    with pytest.raises(SystemExit):
        report(monkeypatch, second, "--tuned")
    assert "holds a configuration of root -, " in capsys.readouterr().err
    with pytest.raises(SystemExit):
        report(monkeypatch, second, "--replace")
    assert "--replace goes with --tuned" in capsys.readouterr().err


@pytest.mark.slow
def test_configurations_of_two_sweeps_are_not_compared(tuned: Path, command: Command, tmp_path: Path) -> None:
    file = tmp_path / "conf" / "tuned" / DATA / "vbpr" / "text.yaml"
    file.write_text(file.read_text().replace("root: ", "root: f"))
    said = command("run", "-m", "sweep.name=two", *CELLS, f"tuned=conf/tuned/{DATA}", "budget.seeds=2")
    assert said.code == 0, said.err
    assert "text_vs_none: measurement not trusted" in said.out


@pytest.mark.thorough
def test_nothing_is_decided_about_what_was_tuned_elsewhere(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    cells = ("model=hybridknn", "modality=text,fused", "statistics.contrasts=[fused_vs_text]")
    assert command("run", "-m", "sweep.name=first", *cells).code == 0
    report(monkeypatch, tmp_path / "first", "--tuned")
    said = command("run", "-m", "sweep.name=again", *cells, f"tuned={DATA}")
    assert said.code == 0, said.err
    assert "mmbench decide" not in said.out  # no step that leads nowhere
    monkeypatch.setattr("sys.argv", ["mmbench", "decide", str(tmp_path / "again")])
    with pytest.raises(SystemExit) as end:
        main()
    message = f"again: not tuned here: configurations of {DATA}, root {read_sweep(tmp_path / 'first').standing.root}; "
    is_one_line((int(end.value.code or 0), *capsys.readouterr()), message + "decide about the sweep that tuned them")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: None, "tuned=planted-complementary has nothing for vbpr and text: "),
        (lambda text: text.replace("modality: text", "modality: none"), "is of vbpr/none, not of the cell that it is"),
        (lambda text: text.replace("optimizer.lr:", "model.embedding_dim:"), "it is one of another search space"),
        (lambda text: text.replace("optimizer.lr:", "model._target_:"), "model._target_ begins with an underscore"),
        (
            lambda text: text + "mine: 1\n",
            "given.mine is not a key of given; accepted: configuration, dataset, modality, model, ",
        ),
        (lambda text: text.replace("trials: 9", "trials: ${oc.env:HOME}"), "${...} is not read here"),
        (lambda text: text.replace("trials: 9", "trials: many"), "given.trials=many"),
    ],
    ids=["missing", "another cell", "another space", "class", "unknown key", "interpolation", "type"],
)
def test_a_file_that_does_not_fit_is_refused(
    change: Callable[[str], str | None], message: str, command: Command, tmp_path: Path
) -> None:
    folder = tmp_path / "configurations" / "tuned" / DATA / "vbpr"
    folder.mkdir(parents=True)
    values = {"optimizer.lr": 0.003, **dict.fromkeys(SEARCHED, 0.5)}
    content = {"dataset": DATA, "model": "vbpr", "modality": "text", "root": "r", "trials": 9, "configuration": values}
    changed = change(yaml.safe_dump(content))
    if changed is not None:
        (folder / "text.yaml").write_text(changed)
    words = ("--config-dir", str(tmp_path / "configurations"), "model=vbpr", "modality=text", f"tuned={DATA}")
    is_one_line(command("run", "-m", "sweep.name=next", *words), message)
    assert not (tmp_path / "next").exists()


def test_settings_that_were_others_beside_the_search_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    search = ("budget.trials=9", "budget.tpe=2", "budget.rungs=[1]")
    wide = make_job(tmp_path, "model=vbpr", "modality=text", "model.embedding_dim=8", *search)
    configuration = wide.task().default
    settings = unsearched(wide.config.plain, configuration)
    assert settings["model.embedding_dim"] == 8
    assert not settings.keys() & {
        "model._target_",
        "training.accelerator",
        "budget.trials",
        "budget.tpe",
        "budget.rungs",
        *configuration,
    }
    for modality in ("none", "text"):
        file = paths.tuned_file(tmp_path / "theirs", "vbpr", modality)
        file.parent.mkdir(parents=True, exist_ok=True)
        content = {"dataset": "d", "model": "vbpr", "modality": modality, "root": "r", "trials": 9}
        file.write_text(yaml.safe_dump({**content, "configuration": configuration, "settings": settings}))
    said = (
        f"vbpr on {DATA}: what tuned= gives was tuned with model.embedding_dim=8, and is trained with "
        "model.embedding_dim=4 here\n"
    )
    for dimension, times in ((4, 1), (8, 0)):
        words = ("model=vbpr", f"given={tmp_path / 'theirs'}", f"model.embedding_dim={dimension}")
        jobs = [make_job(tmp_path / "again", *words, f"modality={modality}") for modality in ("none", "text")]
        plan_cells(jobs, "auto", Translator())
        out = capsys.readouterr().out
        assert out.count(said) == out.count("what tuned= gives") == times


@pytest.mark.parametrize("word", ["budget.trials=9", "budget.tpe=1", "budget.rungs=[1]"])
def test_effort_of_a_search_is_refused(word: str, command: Command) -> None:
    is_one_line(command("run", "tuned=nowhere", word), f"{word} asks for a search, and tuned=nowhere tunes nothing")


def test_a_folder_that_is_not_there_is_named(command: Command) -> None:
    is_one_line(
        command("run", "model=vbpr", "tuned=no_set"), "tuned=no_set: there is no folder conf/tuned/no_set; python"
    )
