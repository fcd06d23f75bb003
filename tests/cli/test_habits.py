"""What Hydra's users type means what it means everywhere; words of other projects are told ours."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from mmbench import paths
from mmbench.cli import habits, run
from mmbench.cli.compose import check_overrides, compose
from mmbench.cli.habits import FOREIGN_WORDS
from mmbench.cli.plan import expand
from tests.cli.conftest import Command
from tests.cli.test_errors import is_one_line
from tests.tiny import TINY

ROOT = Path(__file__).resolve().parents[2]
WORDS = [word for words in FOREIGN_WORDS.values() for word in words.split()]
GROUPS = {folder.name for folder in paths.config_dir().iterdir() if folder.is_dir()} - {"hydra"}
POPULARITY = ("model=popularity", "modality=none")


def keys(node: Mapping[str, Any], prefix: str = "") -> set[str]:
    """Every dotted key of a configuration, sections included."""
    found = set()
    for name, value in node.items():
        found.add(f"{prefix}{name}")
        if isinstance(value, Mapping):
            found |= keys(value, f"{prefix}{name}.")
    return found


def test_there_are_many_words_and_none_twice() -> None:
    assert len(WORDS) >= 60
    assert len(WORDS) == len(set(WORDS))


@pytest.mark.thorough
def test_no_word_of_ours_is_taken_for_a_foreign_one() -> None:
    for model in sorted(file.stem for file in (paths.config_dir() / "model").glob("*.yaml")):
        given = ["model.recommendations=lists.csv"] if model == "external" else []
        config = compose([f"model={model}", *given]).config
        for key in keys(config) | GROUPS:
            habits.check([key])


@pytest.mark.parametrize("entry", FOREIGN_WORDS, ids=lambda entry: entry[0].partition("=")[0])
def test_what_is_named_exists(entry: tuple[str, str]) -> None:
    written, page = entry
    assert shlex.join(shlex.split(written)) == written  # a shell takes it as it stands
    explained = (ROOT / habits.PAGES.format(page=page)).read_text(encoding="utf-8")
    named = [key.removesuffix("KEY") for key in re.findall(r"([\w./]+)=", written)]
    assert [key for key in named if not re.search(rf"(?<![\w.]){re.escape(key)}", explained)] == [], page
    known = keys(compose(["model=lightgcn"]).config) | GROUPS
    known |= {"hydra/launcher", "hydra.launcher.allocations", "search.KEY"}
    assert {*re.findall(r"([\w./]+)=", written)} <= known


def test_the_page_lists_every_word() -> None:
    """``python -m tests.cli.test_habits`` writes it."""
    assert table() in (ROOT / "docs" / "hydra.md").read_text(encoding="utf-8")


def table() -> str:
    """The words as the page has them."""
    rows = ["| there | here | explained in |", "| --- | --- | --- |"]
    for (written, page), words in FOREIGN_WORDS.items():
        listed = " ".join(f"`{word}`" for word in words.split())
        rows.append(f"| {listed} | `{written}` | [{page}]({page}.md) |")
    return "\n".join(rows)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["trainer.max_epochs=5"],
            "here it is budget.max_steps=STEPS",
        ),
        (["trainer=gpu"], "here it is training.accelerator=gpu training.devices=1, see docs/cluster.md"),
        (["+trainer.limit_val_batches=2"], "here it is training.accelerator=gpu"),
        (["seed=1"], "here it is study.draw=K budget.seeds=S dataset.split_seed=K, see docs/protocol.md"),
        (["logger=csv"], "here it is tracking=csv, see docs/trackers.md"),
        (["logger=mlflow"], "here it is tracking=mlflow, see docs/trackers.md"),
        (["+logger=many_loggers"], "here it is 'tracking=[wandb,csv]', see docs/trackers.md"),
        (["logger=comet"], "here it is tracking=wandb, see docs/trackers.md"),
        (["hparams_search=optuna"], "here it is budget=standard budget.trials=N"),
        (["-m", "hydra/sweeper=optuna"], "here it is budget=standard budget.trials=N"),
        (["-m", "hydra/launcher=joblib"], "here it is hydra/launcher=local sweep.workers=N, see docs/cluster.md"),
        (["--epochs", "5"], "error: epochs is a word of other projects; here it is budget.max_steps=STEPS"),
        (["--nonsense"], "--nonsense is no flag of this command; settings are written key=value"),
        (["--nonsens=x"], "--nonsens is no flag of this command"),
        (["--config-name", "mine"], "--config-name is not taken here; --config-dir=FOLDER adds presets of your own"),
        (["-cp", "mine"], "-cp is not taken here"),
        (["--experimental-rerun=job.pickle"], "--experimental-rerun is not taken here"),
        (["-sc"], "--shell-completion takes one of install=SHELL, uninstall=SHELL, query=SHELL"),
        (["-sc", "install=powershell"], "where SHELL is one of bash, fish, zsh"),
        (["-m", "model=glob(zzz*)"], "model=glob(zzz*) fits nothing"),
        (["-m", "optimizer.lr=interval(1,2)"], "names no single values; write them with commas, or as range("),
        (["sweep.dir=''"], "sweep.dir is empty"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_a_foreign_word_is_one_line(words: list[str], message: str, command: Command, tmp_path: Path) -> None:
    place = f"paths.multirun={tmp_path / 'runs'}"
    is_one_line(command("run", *words, place), message)
    assert not (tmp_path / "runs").exists() or not [*(tmp_path / "runs").iterdir()]


@pytest.mark.parametrize(
    "word", ["model.num_layers=3", "model.epochs=3", "model.lr=3", "model.compile=3", "model.optimizer.lr=3"]
)
def test_a_key_that_a_model_has_is_none_of_other_projects(word: str, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    held = {"_target_": "mine.Mine", "num_layers": 2, "epochs": 2, "lr": 2, "compile": 2, "optimizer": {"lr": 2}}
    (tmp_path / "model" / "mine.yaml").write_text(f"# @package _global_\nmodel: {held}\n", encoding="utf-8")
    words = habits.ours(["model=mine", word], multirun=False)
    assert "3" in str(compose(words, [tmp_path]).config["model"])
    for model in ("vbpr", "mine,vbpr"):
        with pytest.raises(ValueError, match=f"^{word} is a word of other projects; here it is "):
            check_overrides(habits.ours([f"model={model}", word], multirun=True), [tmp_path])


def test_other_commands_know_the_words(command: Command) -> None:
    is_one_line(command("plan", "epochs=5"), "here it is budget.max_steps=STEPS")
    is_one_line(command("signal", "seed=5"), "here it is study.draw=K")


@pytest.mark.parametrize(("flags", "key"), [(["-m"], "hydra.sweep.dir"), ([], "hydra.run.dir"), (["-m"], "sweep.dir")])
def test_hydras_folder_is_the_folder(flags: list[str], key: str, command: Command, tmp_path: Path) -> None:
    place = tmp_path / "there" / "deep"
    words = [*TINY, *POPULARITY, f"{key}={place}", f"paths.multirun={tmp_path / 'runs'}"]
    said = command("run", *flags, *words)
    assert said.code == 0, said.err
    assert paths.manifest_file(place).exists()
    assert (paths.report_dir(place) / "table.md").exists()
    assert not (tmp_path / "runs").exists()
    assert yaml.safe_load(paths.hydra_file(place, "config").read_text())["sweep"]["dir"] == str(place)
    overrides = yaml.safe_load(paths.hydra_file(place, "overrides").read_text())
    assert {*POPULARITY, f"sweep.dir={place}"} <= {*overrides}


@pytest.mark.parametrize("key", ["hydra.sweep.dir", "hydra.run.dir", "sweep.dir"])
def test_hydras_folder_is_that_of_a_preset_which_sweeps_by_itself(key: str, tmp_path: Path) -> None:
    words, composed = run.asked([], ["experiment=planted_demo", f"{key}={tmp_path}"], multirun=False)
    assert words == ["experiment=planted_demo", f"sweep.dir={tmp_path}"]
    assert composed.config["sweep"]["dir"] == str(tmp_path)


@pytest.mark.parametrize("beside", [(), ("other",)], ids=["alone", "beside --config-dir"])
def test_places_that_hydra_searches_are_those_of_every_job(beside: tuple[str, ...], tmp_path: Path) -> None:
    for folder, model in (("it's", "mine"), ("other", "theirs")):
        (tmp_path / folder / "model").mkdir(parents=True)
        file = tmp_path / folder / "model" / f"{model}.yaml"
        file.write_text("# @package _global_\nmodel: {_target_: mine.Mine, depth: 2}\n", encoding="utf-8")
    named, folders = f'hydra.searchpath=["file://{tmp_path}/it\'s"]', [tmp_path / name for name in beside]
    models = ["vbpr", "mine", *(["theirs"] if beside else [])]
    for model in models:
        assert compose([named, f"model={model}"], folders).choices["model"] == model
    words = [named, f"model={','.join(models)}"]
    assert check_overrides(words, folders).choices["model"] == "vbpr"
    assert [job.choices["model"] for job in expand(words, folders)] == models
    with pytest.raises(ValueError, match=r"model=mine; did you mean depth\? accepted: _target_, depth$"):
        check_overrides([named, "model=mine", "model.dpeth=1"], folders)


def test_a_folder_that_a_file_sets_for_hydra_alone_is_refused(command: Command, tmp_path: Path) -> None:
    experiment = tmp_path / "conf" / "experiment" / "mine.yaml"
    experiment.parent.mkdir(parents=True)
    experiment.write_text(f"# @package _global_\nhydra: {{sweep: {{dir: {tmp_path / 'there'}}}}}\n")
    words = ["--config-dir", str(tmp_path / "conf"), "experiment=mine", f"paths.multirun={tmp_path}"]
    is_one_line(command("run", "-m", *words, *TINY, *POPULARITY), "set sweep.dir in that file")


def test_names_are_found_by_pattern_in_further_folders_too(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    text = (paths.config_dir() / "model" / "popularity.yaml").read_text(encoding="utf-8")
    (folder / "popular_mine.yaml").write_text(text, encoding="utf-8")
    assert check_overrides(["model=glob(pop*)"], [tmp_path]).choices["model"] in ("popularity", "popular_mine")
    with pytest.raises(ValueError, match="fits nothing"):
        check_overrides(["model=glob(popular_m*)"])
    check_overrides(["model=glob(popular_m*)"], [tmp_path])


@pytest.mark.thorough
def test_a_pattern_and_a_range_sweep(command: Command, tmp_path: Path) -> None:
    words = ["model=glob(i*)", "modality=none", "dataset.protocol=paper", "dataset.split_seed=range(0,2)"]
    said = command("run", "-m", *TINY, *words, f"paths.multirun={tmp_path}", "sweep.name=s")
    assert said.code == 0, said.err
    cells = {str(cell.parent.relative_to(tmp_path / "s")) for cell in (tmp_path / "s").rglob("cell.json")}
    assert len(cells) == 4


def test_tracking_can_be_taken_away() -> None:
    assert habits.ours(["~tracking"], multirun=True) == ["tracking=none"]


def test_the_version_is_ours(command: Command) -> None:
    assert command("run", "--version").out.startswith("mmbench ")


def write_page() -> None:
    """Write the table into its page."""
    page = ROOT / "docs" / "hydra.md"
    text = page.read_text(encoding="utf-8")
    begin, end = "<!-- words: begin -->\n", "\n<!-- words: end -->"
    before, after = text.partition(begin)[0], text.partition("<!-- words: end -->")[2]
    page.write_text(f"{before}{begin}{table()}{end}{after}", encoding="utf-8")


if __name__ == "__main__":
    write_page()
