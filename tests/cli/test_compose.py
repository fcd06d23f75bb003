"""Composing a job: what it holds, and overrides that need no plus sign."""

from __future__ import annotations

import itertools
import json
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest

from mmbench.cli import compose, habits
from mmbench.cli.compose import Composed


def test_a_job_is_plain_and_resolved() -> None:
    job = compose.compose(["model=lightgcn", "dataset=ml100k", "modality=text", "budget.trials=3"])
    assert isinstance(job, Composed)
    assert isinstance(job.config, dict)
    assert "hydra" not in job.config
    assert job.config["optimizer"]["lr"] == job.config["dataset"]["lr"]["default"] == 5e-3
    assert job.config["search"]["optimizer"]["lr"] == {"low": 1e-3, "high": 2e-2, "log": True}
    assert job.config["dataset"]["path"].endswith("data/ml100k")
    assert {group: job.choices[group] for group in ("model", "dataset", "modality", "budget", "tracking")} == {
        "model": "lightgcn",
        "dataset": "ml100k",
        "modality": "text",
        "budget": "smoke",
        "tracking": "wandb",
    }
    assert job.overrides == ("model=lightgcn", "dataset=ml100k", "modality=text", "budget.trials=3")


def test_data_lie_where_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MMBENCH_DATA", raising=False)
    assert compose.compose(["dataset=ml100k"]).config["dataset"]["path"] == "data/ml100k"
    monkeypatch.setenv("MMBENCH_DATA", "/elsewhere")
    assert compose.compose(["dataset=ml100k"]).config["dataset"]["path"] == "/elsewhere/ml100k"


def test_modalities_need_no_plus_sign() -> None:
    words = ["modality.states.image=shuffle", "modality.missing.audio=0.5", "modality.seed=1", "model=vbpr"]
    opened = habits.ours(words, multirun=False)
    assert opened == ["++modality.states.image=shuffle", "++modality.missing.audio=0.5", *words[2:]]
    config = compose.compose([*opened, "modality=text"]).config["modality"]
    assert config["states"] == {"text": "real", "image": "shuffle"}
    assert config["missing"] == {"audio": 0.5}


def test_folders_of_the_user_add_choices(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine.yaml").write_text(
        "# @package _global_\nmodel: {_target_: my.Model, depth: 2}\nsearch: {}\n"
    )
    job = compose.compose(["model=mine", "model.depth=3"], [tmp_path])
    assert job.config["model"] == {"_target_": "my.Model", "depth": 3}
    with pytest.raises(ValueError, match=r"model=mime is unknown; did you mean mine\?"):
        compose.compose(["model=mime"], [tmp_path])
    with pytest.raises(ValueError, match="model=mine is unknown"):
        compose.compose(["model=mine"])


@pytest.mark.parametrize(
    "words",
    [
        ["model=vbpr", "modality=text", "study.draw=3", "budget=standard", "sweep.name='a b'"],
        ["model=bpr", "optimizer.lr=0.5", "~search.optimizer", "+search.optimizer.weight_decay={low: 0.1, high: 1}"],
        ["model=fusion", "++modality.states.image=shuffle", "dataset=ml100k", "hydra.job.chdir=true"],
        ["experiment=paper_study", "dataset=folder", "dataset.name=shop", "dataset.path=shop", "hydra/launcher=slurm"],
        ["model=mine", "model.depth=4", "tracking=none"],
    ],
)
def test_jobs_composed_together_are_those_composed_alone(words: list[str], tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine.yaml").write_text("# @package _global_\nmodel: {_target_: my.Model, depth: 2}\n")
    alone = compose.compose(words, [tmp_path])
    own = [word for word in words if not word.startswith("hydra")]
    for together in compose.compose_all([["model=mine"], words, own, words], [tmp_path])[1:]:
        assert json.dumps(together.config) == json.dumps(alone.config)
        assert together.overrides == alone.overrides
        assert together.folders == alone.folders
        assert {name: together.choices[name] for name in ("model", "modality", "dataset", "budget")}.items() <= (
            alone.choices.items()
        )


def test_what_jobs_share_is_merged_once(monkeypatch: pytest.MonkeyPatch) -> None:
    merged: list[object] = []
    original = compose.create_defaults_list

    def noting(*args: Any, **named: Any) -> Any:
        merged.append(args)
        return original(*args, **named)

    monkeypatch.setattr(compose, "create_defaults_list", noting)
    axes = (("model=bpr", "model=vbpr"), ("modality=none", "modality=text"), [f"study.draw={k}" for k in range(5)])
    jobs = compose.compose_all(itertools.product(*axes))
    assert len(jobs) == 20
    assert len(merged) == 4
    assert len({json.dumps(job.config) for job in jobs}) == 20
    jobs[0].config["model"]["embedding_dim"] = -1  # jobs share no part that one could change for another
    assert jobs[1].config["model"]["embedding_dim"] == 64


def test_every_value_of_a_sweep_is_checked() -> None:
    compose.check_overrides(["model=bpr,vbpr", "modality=none,text", "budget.trials=choice(1,2)"])
    for words in (["model=bpr,vbpr,vbpx"], ["model=bpr", "modality=none,txt"], ["+x=1,2", "modell=bpr,vbpr"]):
        with pytest.raises(ValueError, match=r"is unknown|is not a key"):
            compose.check_overrides(words)


def test_values_of_a_sweep_are_checked_under_the_other_choices() -> None:
    compose.check_overrides(["model=lightgcn,bpr", "modality=text"])
    with pytest.raises(ValueError, match=r"model\.n_layers is not a key"):
        compose.check_overrides(["model=lightgcn,bpr", "model.n_layers=3"])


def test_a_word_without_a_value_is_named() -> None:
    with pytest.raises(ValueError, match="'--not=' is not of the form key=value"):
        compose.parse(["model=vbpr", "--not="])


@pytest.mark.parametrize("word", ["sweep.name=店の比較", "sweep.name=a;b", "+tracking.note=it is 5 %!"])
def test_a_value_that_lacks_quotes_is_told_as_a_shell_takes_it(word: str) -> None:
    with pytest.raises(ValueError, match="is not of the form key=value") as refused:
        compose.parse([word])
    (typed,) = shlex.split(str(refused.value).rpartition(" second pair: ")[2])
    (override,) = compose.parse([typed])
    assert f"{override.input_line.partition('=')[0]}={override.value()}" == word


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (
            "In 'config': Could not find 'model/vbrp'\n\nAvailable options in 'model':\n\tbpr\n\tvbpr\nConfig search",
            "model=vbrp is unknown; did you mean vbpr? accepted: bpr, vbpr",
        ),
        (
            "Could not override 'budget.trails'.\nTo append to your config use +budget.trails=1\nKey 'trails' is not",
            "budget.trails is not a key of the configuration; did you mean trials? accepted: batches_per_epoch",
        ),
        ("Something else\nwith a second line", "Something else"),
    ],
)
def test_messages_of_hydra_are_put_plainly(message: str, said: str) -> None:
    assert compose._explained(message, []).startswith(said)


def test_composing_leaves_no_trace() -> None:
    from hydra.core.global_hydra import GlobalHydra

    before = list(sys.argv)
    compose.compose([])
    with pytest.raises(ValueError, match="is unknown"):
        compose.compose(["model=x"])
    assert not GlobalHydra.instance().is_initialized()
    assert sys.argv == before
