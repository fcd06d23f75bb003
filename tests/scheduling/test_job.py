"""A cell's name, and the key that decides whether its records may be used."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch

from mmbench.cli import habits
from mmbench.data.recdata import RecData, make_recdata
from mmbench.messages import Refusal
from mmbench.models.bpr import BPR
from mmbench.models.vbpr import VBPR
from mmbench.scheduling.cell_key import key_of
from mmbench.scheduling.configuration import JobConfig
from mmbench.scheduling.job import Job
from mmbench.scheduling.trust import NOTHING
from tests.tiny import make_job

HERE = Path("sweep")


def job(*words: str) -> Job:
    return make_job(HERE, *habits.ours(words, multirun=False))


def key(asked: Job) -> str:
    return asked.store(asked.task()).key


@pytest.mark.parametrize(
    ("words", "cell"),
    [
        ([], "planted-complementary/vbpr/fused"),
        (["modality=text"], "planted-complementary/vbpr/text"),
        (["model=bpr", "modality=text"], "planted-complementary/bpr/-"),
        (["study.draw=1"], "planted-complementary-draw1/vbpr/fused"),
        (["dataset.split_seed=2"], "planted-complementary-split2/vbpr/fused"),
        (["modality.states.image=shuffle"], "planted-complementary/vbpr/fused_states.image=shuffle"),
        (
            ["modality=text", "modality.seed=1", "modality.missing.text=0.5"],
            "planted-complementary/vbpr/text_missing.text=0.5_seed=1",
        ),
        (["dataset.name=planted-mine"], "planted-mine/vbpr/fused"),
    ],
)
def test_a_cell_is_named_after_what_was_asked(words: list[str], cell: str) -> None:
    asked = job(*words)
    assert str(asked.cell) == cell
    assert asked.store(asked.task()).folder == HERE / cell


def test_order_of_words_is_no_part_of_a_name() -> None:
    words = ["modality.states.image=shuffle", "modality.missing.text=0.5"]
    assert job(*words).cell == job(*reversed(words)).cell
    assert key(job(*words)) == key(job(*reversed(words)))


def test_a_model_that_ignores_content_has_one_cell() -> None:
    cells = {(str(asked.cell), key(asked)) for asked in (job("model=bpr", f"modality={m}") for m in ("none", "fused"))}
    assert len(cells) == 1
    assert job("model=bpr").task().features == {}
    assert job("model=bpr").asked_modality == "fused"


def test_even_under_a_condition_that_the_data_cannot_serve() -> None:
    """Its other conditions point to the one cell, so a sweep over audio does not stop at BPR."""
    assert job("model=bpr", "modality=audio").task().cell.modality == "-"
    with pytest.raises(ValueError, match="has no modality 'audio'"):
        job("model=vbpr", "modality=audio").task()


@pytest.mark.parametrize(
    "words",
    [
        ["tracking=wandb"],
        ["sweep.workers=3"],
        ["sweep.name=other"],
        ["paths.multirun=elsewhere"],
        ["training.accelerator=auto"],
        ["training.devices=2"],
        ["statistics.delta=0.05"],
        ["report.metrics=[recall@5]"],
        ["report.primary=recall@20"],
        ["export.top_k=10"],
        ["study.lease_timeout=5"],
        ["budget.trials=2"],
        ["budget.seeds=2"],
        ["budget.name=mine"],
        ["debug=true"],
        ["modality.states.image=real"],
    ],
    ids="".join,
)
def test_what_changes_no_number_keeps_the_key(words: list[str]) -> None:
    base, other = job(), job(*words)
    if "modality" not in words[0]:
        assert key(other) == key(base)
    else:  # another name, but the same condition: only the name differs
        assert other.task().condition.apply(other.task().features, 1) == base.task().features


@pytest.mark.parametrize(
    "words",
    [
        ["budget.patience_steps=2"],
        ["budget.min_steps=2"],
        ["budget.max_steps=6"],
        ["budget.least_epochs=2"],
        ["budget.batches_per_epoch=4"],
        ["model.embedding_dim=32"],
        ["model.reg_weight=0.25"],
        ["optimizer.weight_decay=0.1"],
        ["search.model.reg_weight.high=3.0"],
        ["~search.model.reg_weight"],
        ["training.batch_size=128"],
        ["training.precision=64-true"],
        ["training.compile=true"],
        ["budget.tpe=1"],
        ["study.draw=1"],
        ["dataset.split_seed=1"],
        ["dataset.world_options.seed=1"],
        ["dataset.world_options.feature_noise=0.6"],
        ["modality=none"],
        ["modality=shuffled"],
        ["modality.seed=1"],
        ["modality.missing.image=0.5"],
        ["model=fusion"],
    ],
    ids="".join,
)
def test_what_changes_numbers_changes_the_key(words: list[str]) -> None:
    assert key(job(*words)) != key(job())


def changed(asked: Job, monkeypatch: pytest.MonkeyPatch, **of_dataset: Any) -> str:
    whole = asked.dataset()
    with monkeypatch.context() as patch:
        patch.setattr(Job, "dataset", lambda self: replace(whole, **of_dataset))
        return key(asked)


@pytest.mark.parametrize(
    ("condition", "depends"),
    [("none", False), ("text", False), ("image", True), ("fused", True), ("text_shuffled_image", True)],
)
def test_only_conditions_that_see_a_modality_depend_on_it(
    condition: str, depends: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = job(f"modality={condition}")
    features = asked.dataset().features
    image = replace(features["image"], values=features["image"].values + np.float32(0.5))
    assert (changed(asked, monkeypatch, features={**features, "image": image}) != key(asked)) == depends


def test_the_key_follows_train_and_validation_and_never_test(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = job()
    split = asked.dataset().split
    fewer = {
        part: replace(split, **{part: getattr(split, part).select(np.arange(len(getattr(split, part))) > 0)})
        for part in ("train", "valid", "test")
    }
    depends = {part: changed(asked, monkeypatch, split=other) != key(asked) for part, other in fewer.items()}
    assert depends == {"train": True, "valid": True, "test": False}


def test_a_slot_reaches_model_and_optimizer(tmp_path: Path) -> None:
    task = make_job(tmp_path, "model=bpr", "optimizer.weight_decay=0.125").task()
    build, settings = task.recipe({"model.reg_weight": 0.75, "optimizer.lr": 0.0025})
    assert (settings.lr, settings.weight_decay, settings.stopping.max_steps, settings.batches_per_epoch) == (
        0.0025,
        0.125,
        5,
        5,
    )
    assert (settings.accelerator, settings.precision, settings.batch_size) == ("cpu", "32-true", 2048)
    assert build.func is BPR  # type: ignore[attr-defined]
    assert build.keywords == {"embedding_dim": 64, "reg_weight": 0.75}  # type: ignore[attr-defined]


class Centred(VBPR):
    """Writes into the features that it is given."""

    @functools.wraps(VBPR.__init__)
    def __init__(self, data: RecData, **options: Any) -> None:
        for values in data.features.values():
            values -= values.mean(0)
        super().__init__(data, **options)


def test_a_model_of_ones_own_cannot_write_into_the_features(tmp_path: Path) -> None:
    """Every later training would have read what it wrote, under the fingerprint of before."""
    task = make_job(tmp_path, "model=vbpr", "modality=fused", f"model._target_={__name__}.Centred").task()
    data = make_recdata(task.train, task.inputs(1))
    before = {name: values.clone() for name, values in data.features.items()}
    task.recipe(task.default)[0](data)
    assert all(torch.equal(data.features[name], values) for name, values in before.items())


def test_a_path_of_the_search_need_not_be_the_models() -> None:
    task = job("model=bpr", "+search.training.batch_size={choices:[2048,64]}").task()
    assert task.default["training.batch_size"] == 2048
    _, settings = task.recipe({**task.default, "training.batch_size": 64})
    assert settings.batch_size == 64


@pytest.mark.parametrize("model", ["gume", "lattice", "mgcn", "smore"])
def test_the_nominal_batch_size_is_that_of_the_slot_unless_it_has_its_own(model: str) -> None:
    words = (f"model={model}", "model.as_reference=true", "+search.training.batch_size={choices:[64,2048]}")

    def divisor(*more: str, **values: int) -> int:
        asked = job(*words, *more)
        task = asked.task()
        build, settings = task.recipe({**task.default, "training.batch_size": 64, **values})
        assert settings.batch_size == 64
        assert asked.record(task).config["model"]["train_batch_size"] == (512 if more else 2048)
        return int(build.keywords["train_batch_size"])  # type: ignore[attr-defined]

    assert divisor() == 64
    assert divisor("model.train_batch_size=512") == 512
    assert divisor(**{"model.train_batch_size": 2048}) == 2048


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("dataset.split_seed", ("model=bpr",)),
        ("modality.seed", ("model=bpr",)),
        ("tuning.target", ("model=bpr",)),
        ("training.devices", ("model=bpr",)),
        ("optimizer", ("model=bpr", "~search.optimizer")),
        ("model.recommendations", ("model=external", "model.recommendations=lists.csv")),
    ],
)
def test_what_no_training_reads_is_not_searched(path: str, words: Sequence[str]) -> None:
    """Not even where it is a key of the model: a record would name lists that were never ranked."""
    said = (
        f"search.{path}: no training reads it; searched are keys of model, and optimizer.lr, optimizer.weight_decay, "
        "training.batch_size, training.precision, training.neighbours, budget.patience_steps, budget.min_steps, "
        "budget.max_steps, budget.least_epochs, budget.batches_per_epoch"
    )
    with pytest.raises(Refusal, match=re.escape(said)):
        job(*words, f"+search.{path}={{choices:[0,1,2]}}").task()


@pytest.mark.parametrize("path", ["optimizer.lr", "training.batch_size", "budget.max_steps"])
def test_a_computed_model_is_not_searched_over_what_it_does_not_read(path: str) -> None:
    """Its slots would be trials of one configuration."""
    said = (
        f"search.{path}: a model that is computed, not trained, does not read it; searched are keys of model, and "
        "training.neighbours"
    )
    with pytest.raises(Refusal, match=re.escape(said)):
        job("model=ease", f"+search.{path}={{low: 1, high: 2}}").task()


def test_a_computed_model_may_be_searched_over_how_neighbours_are_found() -> None:
    assert job("model=itemknn", "+search.training.neighbours={choices: [exact, approximate]}").task()


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("+optimizer.weigth_decay=1.0e-4", "optimizer.weigth_decay is not a key of optimizer; did you mean weight_dec"),
        ("+training.batchsize=512", "training.batchsize is not a key of training; did you mean batch_size?"),
    ],
)
def test_a_setting_that_no_training_reads_is_refused(word: str, said: str) -> None:
    """A misspelt one in the YAML of a model, and the search over it, would be as if it were not there."""
    section, key = word.lstrip("+").partition("=")[0].split(".")
    asked = job("model=bpr", word)
    with pytest.raises(Refusal, match=re.escape(said)):
        asked.task()
    with pytest.raises(Refusal, match=re.escape(said)):
        job("model=bpr", word, f"+search.{section}.{key}={{low: 1, high: 2}}").task()
    recorded = replace(asked, trust=NOTHING)  # by an earlier version, which did not look
    assert recorded.record(recorded.task()).config[section][key]


@pytest.mark.parametrize("path_of_steps", ["training.batch_size", "budget.batches_per_epoch"])
def test_rungs_are_compared_after_equal_numbers_of_steps(path_of_steps: str) -> None:
    words = ("model=bpr", f"+search.{path_of_steps}={{choices:[64,128]}}")
    said = f"search.{path_of_steps} gives trials epochs of different lengths, and budget.rungs=[2] compares them after"
    with pytest.raises(Refusal, match=re.escape(said)):
        job(*words, "budget.rungs=[2]").task()
    assert job(*words).task()


def test_the_record_of_a_cell_says_what_its_results_rest_on() -> None:
    asked = job("modality=text_shuffled_image")
    cell = asked.record(asked.task())
    assert (cell.key, cell.name) == (asked.store(asked.task()).key, asked.cell)
    assert cell.states == {"image": "shuffle", "text": "real"}
    assert cell.features.keys() == {"image", "text"}
    assert cell.split_hash == asked.dataset().split.tuning_fingerprint
    assert cell.config["model"]["embedding_dim"] == 64
    assert not cell.config.keys() & {"paths", "tracking", "sweep"}
    assert cell.versions["mmbench"]
    assert cell.data[0].startswith("planted-complementary: 60 users, 80 items, train / valid / test 480 / 60 / 60")


SLICE = ("modality.missing.image=1", "modality.missing_rule=slice", "modality.missing_slice=popularity:6-20")


def test_a_slice_is_part_of_the_key_with_its_items() -> None:
    asked = job(*SLICE)
    assert key(asked) == key(job(*reversed(SLICE)))
    others = [job(), job("modality.missing.image=0.5"), job(*SLICE[:2], "modality.missing_slice=popularity:1-5")]
    assert len({key(asked), *map(key, others)}) == 4
    task = asked.task()
    counts = np.bincount(task.train.items, minlength=task.train.n_items)
    assert task.inside is not None
    np.testing.assert_array_equal(task.inside, (counts >= 6) & (counts <= 20))
    made = task.inputs(1)
    np.testing.assert_array_equal(made["image"].present, task.features["image"].present & task.inside)
    assert made["text"].fingerprint() == task.features["text"].fingerprint()
    record = asked.record(task)
    again = replace(asked, config=JobConfig.of_record(record.config))
    assert again.task().inside is not None
    assert key_of(record) == record.key == key(asked)
    # A record whose slice held other items is not mixed with what the data say now.
    moved = {**record.config, "modality": {**record.config["modality"], "missing_items": "0" * 64}}
    assert key_of(msgspec.structs.replace(record, config=moved)) != record.key
    with pytest.raises(ValueError, match="popularity:6-20: its items are no longer those that the record was made"):
        replace(asked, config=JobConfig.of_record(moved)).task()


def test_a_model_that_ignores_content_ignores_slices() -> None:
    words = (*SLICE[:2], "modality.missing_slice=category:Lamps")
    assert key(job("model=bpr", *words)) == key(job("model=bpr"))
    with pytest.raises(ValueError, match=r"category:Lamps: items.parquet has none of the columns category, categories"):
        job(*words).task()
