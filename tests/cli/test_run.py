"""From words on the command line to jobs."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hydra._internal.config_loader_impl import ConfigLoaderImpl

from mmbench import paths
from mmbench.cli import compose, run
from mmbench.cli.compose import Composed
from mmbench.cli.tiers import TIERS, models_of
from tests.cli.conftest import Command
from tests.cli.test_errors import is_one_line


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Composed]:
    """Note the jobs of a command instead of running them."""
    noted: list[Composed] = []

    def note(composed: Sequence[Composed], overrides: Sequence[str], *others: Any) -> int:
        noted[:] = composed
        return 0

    monkeypatch.setattr(run, "run", note)
    return noted


def test_without_m_there_is_one_job(command: Command, asked: list[Composed]) -> None:
    assert command("model=bpr").code == 0
    (job,) = asked
    assert job.choices["model"] == "bpr"
    assert job.config["sweep"]["name"] == "single"


def test_with_m_there_is_a_job_per_combination(command: Command, asked: list[Composed]) -> None:
    assert command("-m", "sweep.name=s", "model=bpr,vbpr", "modality=none,text").code == 0
    assert [(job.choices["model"], job.choices["modality"]) for job in asked] == [
        ("bpr", "none"),
        ("bpr", "text"),
        ("vbpr", "none"),
        ("vbpr", "text"),
    ]
    assert {"model=vbpr", "modality=text", "sweep.name=s"} <= set(asked[-1].overrides)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["model=bpr,vbpr"], "model=bpr,vbpr has several values, and only a sweep tries them one after the other: add"),
        (["model=bpr,vbpr", "--cfg", "job"], "model=bpr,vbpr has several values"),
        (["report", "--help"], "'report' is not of the form key=value"),
        (["--info", "all", "model=[bpr"], "'model=[bpr' is not of the form key=value"),
        (["nonsense=1", "--help"], "nonsense is not a key of the configuration"),
        (["--cfg", "--resolve"], "--cfg takes one of job, hydra, all, not ''"),
        (["--cfg", "nope"], "--cfg takes one of job, hydra, all, not 'nope'"),
        (["--info=nope"], "--info takes one of all, config, "),
        (["model=bpx", "--cfg", "job"], "model=bpx is unknown; did you mean bpr?"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_hydra_would_tell_in_many_lines_is_one_line(words: list[str], message: str, command: Command) -> None:
    is_one_line(command("run", *words), message)


def test_a_preset_is_swept_over_several_values_without_m(command: Command, asked: list[Composed]) -> None:
    assert command("experiment=planted_demo", "model=bpr,vbpr", "hydra.sweeper.params.modality=none").code == 0
    assert [job.choices["model"] for job in asked] == ["bpr", "vbpr"]


def test_what_may_not_run_is_still_shown(command: Command) -> None:
    """A configuration is looked at to see what is missing."""
    said = command("model=external", "budget.trials=-3", "--cfg", "job")
    assert said.code == 0, said.err
    assert "recommendations: ???" in said.out


@pytest.mark.parametrize("words", [["--info", "model=bpr"], ["model=bpr", "--info"], ["-i", "config", "model=bpr"]])
def test_info_takes_no_setting_for_its_value(words: list[str], command: Command) -> None:
    assert command("run", *words)[::2] == (0, "")


@pytest.mark.parametrize("flags", [["-m"], ["--config-dir", "."], ["-cd", ".", "--multirun"], ["--config-dir=."]])
def test_flags_stand_before_or_after_the_settings(
    flags: list[str], command: Command, asked: list[Composed], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for words in ([*flags, "model=bpr"], ["model=bpr", *flags]):
        asked.clear()
        assert command("run", "sweep.name=s", *words).code == 0
        assert [job.choices["model"] for job in asked] == ["bpr"]


def test_every_job_is_composed_once(command: Command, asked: list[Composed], monkeypatch: pytest.MonkeyPatch) -> None:
    """Besides them Hydra composes the sweep itself, and a value that is in no earlier job is checked on its own."""
    noted: dict[str, int] = {}
    for kind, name in ((compose.Composer, "compose"), (ConfigLoaderImpl, "_load_configuration_impl")):
        original = getattr(kind, name)

        def noting(*args: Any, name: str = name, original: Any = original, **named: Any) -> Any:
            noted[name] = noted.get(name, 0) + 1
            return original(*args, **named)

        monkeypatch.setattr(kind, name, noting)
    counts = []
    for draws in (1, 6):
        noted.clear()
        words = ["model=bpr,vbpr", "modality=none,text", f"study.draw=range({draws})"]
        assert command("-m", "sweep.name=s", *words).code == 0
        counts.append((len(asked), dict(noted)))
    (few, at_few), (many, at_many) = counts
    assert (few, many) == (4, 24)
    assert at_few["_load_configuration_impl"] == at_many["_load_configuration_impl"]
    assert at_many["compose"] == many + 1 + 1 + 5  # and the second model, the second condition, five more draws
    assert at_few["compose"] == few + 1 + 1


def test_states_may_be_swept_without_a_plus_sign(command: Command, asked: list[Composed]) -> None:
    command("--multirun", "sweep.name=s", "modality.states.image=real,shuffle", "modality=text")
    assert [job.config["modality"]["states"] for job in asked] == [
        {"text": "real", "image": "real"},
        {"text": "real", "image": "shuffle"},
    ]


@pytest.mark.thorough
def test_a_sweep_without_a_name_is_named_after_its_words(command: Command, asked: list[Composed]) -> None:
    """The same command finds its own results again, whatever the order of its words."""
    names = []
    for words in (
        ["model=bpr,vbpr", "modality=none,text"],
        ["modality=none,text", "model=bpr,vbpr"],
        ["modality=none,text", "model=bpr,vbpr", "budget.max_steps=2"],
        ["modality.states.image=shuffle", "model=bpr,vbpr"],
    ):
        said = command("-m", *words)
        assert said.code == 0, said.err
        names.append(asked[0].config["sweep"]["name"])
    assert names[0] == names[1]
    assert len(set(names)) == 3
    assert all(set(name) & set("/\\ ,") == set() for name in names)


@pytest.mark.thorough
def test_a_name_says_what_runs_and_not_where_or_how(command: Command, asked: list[Composed], tmp_path: Path) -> None:
    """More workers, another launcher or a look at a traceback must go on with the sweep and not begin another."""
    names = set()
    shown = ["report.metrics=[ndcg@20,recall@10]"]  # computed from ranks that are recorded
    for words in ([], ["sweep.workers=2"], ["debug=true"], [f"paths.multirun={tmp_path / 'b'}"], shown):
        assert command("-m", "model=bpr,vbpr", *words).code == 0
        names.add(asked[0].config["sweep"]["name"])
    assert len(names) == 1


@pytest.mark.parametrize("flags", [(), ("-m",)])
def test_every_job_knows_the_folder_of_the_package(
    flags: tuple[str, ...], command: Command, asked: list[Composed]
) -> None:
    """Where its tuned configurations lie."""
    assert command(*flags, "model=bpr").code == 0
    assert [job.folders[-1] for job in asked] == [paths.config_dir()]


@pytest.mark.parametrize("flags", [(), ("-m",)])
def test_a_preset_is_a_sweep_of_its_own(flags: tuple[str, ...], command: Command, asked: list[Composed]) -> None:
    assert command(*flags, "experiment=planted_demo", "hydra.sweeper.params.modality=none").code == 0
    assert [job.choices["model"] for job in asked] == ["popularity", "bpr", "vbpr", "fusion"]
    assert asked[0].config["sweep"]["name"] == "planted_demo"


def test_a_preset_without_a_name_is_named_after_its_words(tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text("# @package _global_\nbudget: {trials: 3}\n", encoding="utf-8")
    words = ["experiment=mine", "model=bpr,vbpr"]
    assert run.named(words, [tmp_path]) == [*words, "sweep.name=experiment-mine_model-bpr-vbpr-e56e58"]
    for given in ("sweep.name=s", "+sweep.name=s", "++sweep.name=s"):
        assert run.named([*words, given], [tmp_path]) == [*words, given]


def test_a_name_is_made_of_letters_of_any_language() -> None:
    words = ["dataset=folder", 'dataset.name="店"', 'dataset.path="データ/店"', "modality=none,text"]
    named, composed = run.asked([], words, multirun=True)
    assert named[:-1] == words
    assert "店" in composed.config["sweep"]["name"]
    assert Path(composed.config["sweep"]["dir"]).name == composed.config["sweep"]["name"]


def test_a_single_cell_has_the_name_that_the_configuration_gives_it() -> None:
    assert compose.compose([]).config["sweep"]["name"] == run.UNNAMED


def test_flags_keep_their_values() -> None:
    words = [
        "-m",
        "model=bpr",
        "--config-dir",
        "my conf",
        "--cfg",
        "job",
        "-i",
        "x=1",
        "--info",
        "all",
        "--config-dir=b",
    ]
    flags, overrides = run.separated(words)
    assert flags == ["-m", "--config-dir", "my conf", "--cfg", "job", "-i", "--info", "all", "--config-dir=b"]
    assert overrides == ["model=bpr", "x=1"]


@pytest.mark.parametrize("name", ["conf", "設定", "Ünï", "it's", "x=y", "my conf (old)", "a,b"])
def test_models_of_the_user_need_no_fork(name: str, command: Command, asked: list[Composed], tmp_path: Path) -> None:
    folder = tmp_path / name
    (folder / "model").mkdir(parents=True)
    (folder / "model" / "mine.yaml").write_text(
        "# @package _global_\nmodel: {_target_: mmbench.models.bpr.BPR}\nsearch: {}\n"
    )
    said = command("--config-dir", str(folder), "model=mine")
    assert said.code == 0, said.err
    assert asked[0].config["model"]["_target_"] == "mmbench.models.bpr.BPR"
    said = command("-m", f"--config-dir={folder}", "sweep.name=s", "model=mine,vbpr")
    assert said.code == 0, said.err
    assert [job.choices["model"] for job in asked] == ["mine", "vbpr"]


def test_a_file_of_the_user_that_is_no_yaml_is_named_with_its_line(command: Command, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    file = tmp_path / "model" / "mine.yaml"
    file.write_text("# @package _global_\nmodel: {_target_: a.B\nsearch: {}\n")
    is_one_line(
        command("run", "--config-dir", str(tmp_path), "model=mine"), f"{file}, line 3: no YAML: expected ',' or"
    )


@pytest.mark.thorough
def test_looking_at_the_configuration_loads_no_library_that_is_slow() -> None:
    """One process for both questions, because starting one costs most."""
    program = """
import contextlib, io, json, sys
from mmbench.cli import main
said = []
for words in (["--help"], ["--cfg", "job", "model=fusion"], ["model=vbpx"]):
    sys.argv = ["mmbench", *words]
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        try:
            main()
        except SystemExit as end:
            pass
    said.append(out.getvalue() + err.getvalue())
slow = {"torch", "pytorch_lightning", "optuna", "pandas", "wandb", "scipy", "torch_geometric", "matplotlib"}
print(json.dumps({"said": said, "loaded": sorted(slow & set(sys.modules))}))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True)
    answer = json.loads(done.stdout.splitlines()[-1])
    assert answer["loaded"] == []
    helped, shown, refused = answer["said"]
    for tier in TIERS:
        assert f"model={','.join(models_of(tier))}\n" in helped
    for word in ("model: ", "vbpr", "modality: ", "text_shuffled_image", "budget: ", "smoke"):
        assert word in helped
    assert "_target_: mmbench.models.fusion.Fusion" in shown
    assert "hydra:" not in shown
    assert "did you mean vbpr?" in refused
