"""Whatever a user gets wrong ends in one line that says what, where and what is allowed."""

from __future__ import annotations

import contextlib
import errno
import itertools
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from mmbench.cli import COMMANDS, folders, main
from mmbench.cli.compose import check_overrides, compose
from mmbench.cli.errors import one_line_errors
from mmbench.data.planted import make_world
from mmbench.data.sources import write_folder
from mmbench.messages import Translator
from mmbench.messages.hints import did_you_mean
from mmbench.scheduling.configuration import SECTIONS, JobConfig
from mmbench.store import ledger
from tests.cli.conftest import Command
from tests.machine import small_disk
from tests.torn import results

FOLDER = ("dataset=folder", "dataset.name=shop", "dataset.protocol=given")


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A folder as a user would bring it."""
    folder = tmp_path / "data" / "shop"
    write_folder(make_world("complementary", n_users=60, n_items=80, per_user=10), folder, {})
    return folder


def change_meta(folder: Path) -> None:
    (folder / "dataset.json").unlink()


def nan_features(folder: Path) -> None:
    values = np.load(folder / "text_feat.npy")
    values[3, 1] = np.nan
    np.save(folder / "text_feat.npy", values)


def pickled_features(folder: Path) -> None:
    np.save(folder / "text_feat.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)


def short_features(folder: Path) -> None:
    np.save(folder / "image_feat.npy", np.load(folder / "image_feat.npy")[:-1])


def foreign_ids(folder: Path) -> None:
    log = pd.read_parquet(folder / "interactions.parquet")
    log.assign(item_id="x" + log["item_id"]).to_parquet(folder / "interactions.parquet")


def foreign_sidecar(folder: Path) -> None:
    (folder / "text_feat.ids.txt").write_text("\n".join(f"x{i}" for i in range(80)))


def other_order(folder: Path) -> None:
    items = pd.read_parquet(folder / "items.parquet")
    items.iloc[::-1].to_parquet(folder / "items.parquet")


def no_test_rows(folder: Path) -> None:
    log = pd.read_parquet(folder / "interactions.parquet")
    log[log["split"] != "test"].to_parquet(folder / "interactions.parquet")


def odd_part(folder: Path) -> None:
    log = pd.read_parquet(folder / "interactions.parquet")
    log.assign(split="holdout").to_parquet(folder / "interactions.parquet")


def no_interactions(folder: Path) -> None:
    (folder / "interactions.parquet").unlink()


def no_parquet(folder: Path) -> None:
    (folder / "interactions.parquet").write_text("user,item\n1,2\n")


def broken_meta(folder: Path) -> None:
    (folder / "dataset.json").write_text("{")


def beyond_single_precision(folder: Path) -> None:
    values = np.load(folder / "text_feat.npy").astype(np.float64)
    values[3, 1] = 1e300
    np.save(folder / "text_feat.npy", values)


def deep_meta(folder: Path) -> None:
    (folder / "dataset.json").write_text("[" * 100_000)


def ids_in_another_encoding(folder: Path) -> None:
    (folder / "text_feat.ids.txt").write_bytes("商品".encode("cp932"))


def device_as_features(folder: Path) -> None:
    (folder / "text_feat.npy").unlink()
    (folder / "text_feat.npy").symlink_to("/dev/zero")


def pipe_as(name: str) -> Callable[[Path], None]:
    """A pipe in the place of a file; whoever opens it waits for ever."""

    def spoil(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        os.mkfifo(folder / name)

    return spoil


def empty_log(folder: Path) -> None:
    pd.read_parquet(folder / "interactions.parquet").head(0).to_parquet(folder / "interactions.parquet")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (nan_features, "text_feat.npy has NaN or infinite values in 1 row (row 3); mark missing items with"),
        (beyond_single_precision, "text_feat.npy has a number beyond 1e+18 in 1 row (row 3: 1e+300): is it a mark"),
        (deep_meta, "dataset.json is not valid JSON: maximum recursion depth"),
        (ids_in_another_encoding, "text_feat.ids.txt is not UTF-8 text: 'utf-8' codec can't decode"),
        (device_as_features, "text_feat.npy is no file but a folder, a pipe, a socket or a device"),
        *(
            (pipe_as(name), f"{name} is no file but a folder, a pipe, a socket or a device")
            for name in ("interactions.parquet", "items.parquet", "text_feat.npy", "text_feat.ids.txt", "dataset.json")
        ),
        (pickled_features, "text_feat.npy holds pickled objects, which are never loaded"),
        (short_features, "image_feat.npy has 79 rows but items.parquet has 80; they must match"),
        (foreign_ids, "items.parquet: no item_id of interactions.parquet occurs in it ('xi"),
        (foreign_sidecar, "text_feat.ids.txt: none of its ids occurs in items.parquet ('x0' against 'i00000')"),
        (other_order, "dataset.json was written for another items.parquet (ids or their order differ)"),
        (change_meta, "nothing proves that its rows are in the order of items.parquet"),
        (no_test_rows, "dataset shop: the test part of protocol given is empty"),
        (odd_part, "column 'split' holds 'holdout'; allowed are train, 0, valid"),
        (no_interactions, "interactions.parquet is missing; a dataset folder needs interactions.parquet"),
        (no_parquet, "interactions.parquet is not a readable parquet file"),
        (broken_meta, "dataset.json is not valid JSON"),
        (empty_log, "interactions.parquet has no rows"),
    ],
)
def test_bad_data_are_named(spoil: Callable[[Path], None], message: str, shop: Path, command: Command) -> None:
    spoil(shop)
    is_one_line(command(*FOLDER, f"dataset.path={shop}"), message)


def is_one_line(said: object, message: str) -> None:
    code, _, err = said  # type: ignore[misc]
    assert code == 2, err
    assert err.startswith("error: ")
    assert err.count("\n") == 1, err
    assert message in err


def test_two_commands_may_look_at_new_folders_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one makes a folder beside that of the other, or takes both away, when the other is about to write there."""
    probe, one, other = folders.tempfile.TemporaryFile, tmp_path / "multirun" / "one", tmp_path / "multirun" / "other"

    def and_makes(dir: Path) -> object:
        other.mkdir()
        return probe(dir=dir)

    def and_removes(dir: Path) -> object:
        monkeypatch.setattr(folders.tempfile, "TemporaryFile", probe)
        dir.rmdir()
        dir.parent.rmdir()
        return probe(dir=dir)

    monkeypatch.setattr(folders.tempfile, "TemporaryFile", and_removes)
    folders.check_writable(one)
    assert not one.parent.exists()
    monkeypatch.setattr(folders.tempfile, "TemporaryFile", and_makes)
    folders.check_writable(one)
    assert [*one.parent.iterdir()] == [other]


@pytest.mark.parametrize("words", [("run",), ("run", "-m"), ("plan",), ("demo",)])
def test_an_empty_folder_of_data_is_not_the_root(
    words: tuple[str, ...], command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MMBENCH_DATA", "")
    is_one_line(command(*words), "paths.data ($MMBENCH_DATA) is empty")


@pytest.mark.parametrize("models", ["mine", "vbpr,mine"])
def test_accepted_are_the_keys_of_a_model_of_the_user(models: str, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine.yaml").write_text("# @package _global_\nmodel: {_target_: mine.Mine, depth: 2}\n")
    said = "model.reg_weight is not a key of the configuration of model=mine; accepted: _target_, depth"
    with pytest.raises(ValueError, match=f"^{re.escape(said)}$"):
        check_overrides([f"model={models}", "model.reg_weight=3"], [tmp_path])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["optimizr.lr=0.1"], "optimizr.lr is not a key of the configuration; did you mean optimizer?"),
        (
            ["optimizer.lrr=0.1"],
            "optimizer.lrr is not a key of the configuration; did you mean lr? accepted: lr, w",
        ),
        (
            ["model.n_layer=3", "model=lightgcn"],
            "did you mean n_layers? accepted: _target_, embedding_dim, n_layers",
        ),
        (["modell=vbpr"], "modell is not a key of the configuration; did you mean model?"),
        (["budget.trial=3"], "budget.trial is not a key of the configuration; did you mean trials?"),
        (["model=vbpx"], "model=vbpx is unknown; did you mean vbpr? accepted: "),
        (["dataset=ml10k"], "dataset=ml10k is unknown; did you mean ml100k? accepted: baby, baby_titled, "),
        (["modality=txet"], "modality=txet is unknown; did you mean text? accepted: audio, audio_shuffled_image, "),
        (["budget=huge"], "budget=huge is unknown; accepted: paper, small, smoke, standard, touch"),
        (["-m", "model=vbpr,fusoin"], "model=fusoin is unknown; did you mean fusion?"),
        (["rpeort"], "rpeort is no command of mmbench; did you mean report? accepted: audit, bundle, "),
        (["model=bpr", "vbpr"], "'vbpr' is not of the form key=value, with brackets and quotes closed"),
        (["model=[bpr,vbpr]"], "model takes exactly one name; several are a sweep: -m model=A,B"),
        (["modality=[none]"], "modality takes exactly one name; several are a sweep: -m modality=A,B"),
        (["budget=[touch]"], "budget takes exactly one name; several are a sweep: -m budget=A,B"),
        (["model="], "model= is unknown; accepted: addease, "),
        (["+experiment=planted_demo"], "experiment is chosen twice; write it once, without a plus sign"),
        *(
            (words, f"{words[-1]} drops {key}, whose value is needed; leave the word out, or give the key a value")
            for words, key in (
                (["~sweep.name"], "sweep.name"),
                (["-m", "~sweep.name"], "sweep.name"),
                (["~dataset.lr"], "dataset.lr"),
            )
        ),
        (["-m", "sweep.name=a,b"], "sweep.name=a,b would be several sweeps; give one value"),
        (["-m", "experiment=demo,company"], "experiment=demo,company would be several sweeps; give one value"),
        (["-m", "hydra/launcher=local,slurm"], "hydra/launcher=local,slurm would be several sweeps; give one value"),
        (["-m", "hydra.launcher.wait=1,2"], "hydra.launcher.wait=1,2 would be several sweeps; give one value"),
        (
            ["search.optimizer.lr={choices: [0.005, 0.01]}"],
            "search.optimizer.lr has another form already; write '~search.optimizer.lr' to drop it and "
            "'+search.optimizer.lr={choices: [A, B]}', the default among them",
        ),
        (["training.devices=9999"], "training.devices=9999, but this machine has "),
        (["model=vbpr,"], "'model=vbpr,' is not of the form key=value"),
        (["--config-dir", "no/such/folder"], "--config-dir no/such/folder is not a folder"),
        (["budget.trials=0"], "budget.trials=0 must be a whole number of at least 1"),
        (
            ["dataset.world=complimentary"],
            "dataset.world=complimentary is unknown; worlds are complementary, r",
        ),
        (["dataset.protocol=random"], "dataset.protocol=random is unknown; protocols are "),
        (
            ["modality=audio"],
            "dataset planted-complementary has no modality 'audio' (asked as real); it has: ima",
        ),
        (["modality.states.audio=shuffle"], "has no modality 'audio' (asked as shuffle); it has: image, text"),
        (["modality.missing.audio=0.5"], "has no modality 'audio' (asked to miss 0.5); it has: image, text"),
        (["modality.states.image=blur"], "modality.states.image=blur is not a state; states are real, drop, shuffle"),
        (["modality.missing.image=2"], "modality.missing.image=2 must be at least 0 and below 1"),
        (
            ["tracking=wandb", "tracking.wandb.mode=on"],
            "tracking.wandb.mode=on is unknown; modes are offline, online, ",
        ),
        (["tracking=wandb", "tracking.mode=on"], "tracking.mode is not a key of the configuration; accepted: curves, "),
        (["tracking=mlflwo"], "tracking=mlflwo is unknown; did you mean mlflow? accepted: csv, mlflow, none, "),
        (["tracking=[csv,mlflwo]"], "tracking=mlflwo is unknown; did you mean mlflow? accepted: csv, mlflow, none, "),
        (["tracking=[csv,none]"], "tracking=none goes with no other tracker, and csv, none stand beside it"),
        (
            ["tracking=wandb,csv"],
            "tracking=wandb,csv would be two sweeps; trackers of one are a list: 'tracking=[wandb,csv]'",
        ),
        (["-m", "tracking=wandb,csv"], "would be two sweeps; trackers of one are a list: 'tracking=[wandb,csv]'"),
        (["tracking=csv", "tracking.curves=some"], "tracking.curves=some is unknown; it is one of finals, all, none"),
        (["optimizer.lr=5.0"], "optimizer.lr=5.0 is outside its search range"),
        (["+search.model.depth={low:1,high:3}"], "search.model.depth: the configuration has no key model.depth"),
        (["search.model.reg_weight.low=9"], "search.model.reg_weight: "),
        (["model._target_=no.such.Model"], "model._target_=no.such.Model cannot be imported"),
        (
            ["model._target_=torch.nn.Linear"],
            "model._target_=torch.nn.Linear must derive from FactorModel or C",
        ),
        (["dataset.min_rating=3"], "dataset.min_rating=3 needs a column 'rating'; columns are user_id, item_id, split"),
        (["dataset.k_core=70"], "no interaction is left after items_with, min_rating and k_core=70"),
        (
            ["dataset.items_with=[sound]"],
            "dataset.items_with=[sound]: there is no sound; the modalities are image, text",
        ),
        (["sweep.grace=-1"], "sweep.grace=-1 must be a number of seconds of at least 0"),
        (["sweep.workers=0"], "sweep.workers=0 must be a whole number of at least 1, or null for one per core"),
        (["report.metrics=[ndcg]"], "'ndcg' is not a metric; write one of recall, ndcg"),
        (["report.primary=recall"], "'recall' is not a metric; write one of recall, ndcg"),
        (["report.primary=ndcg@60"], "report.primary=ndcg@60 looks further down than the 50 items that the lists of a"),
        (["export.top_k=100"], "export.top_k=100 must be a whole number from 0 to 50"),
        (["study.resume=maybe"], "study.resume=maybe is unknown; it is one of auto, force, never"),
        (["study.storage=redis://x"], "study.storage=redis://x is unknown; write files or postgresql"),
        pytest.param(
            ["study.storage=postgresql+psycopg://me:secret@host/x"],
            "study.storage holds a password, which the records",
            marks=pytest.mark.skipif(find_spec("psycopg") is None, reason="not installed: psycopg"),
        ),
        *(
            ([f"study.lease_timeout={value}"], f"study.lease_timeout={value} must be a number of seconds from 1 to")
            for value in ("abc", "nan", "-1", "0", "inf")
        ),
        (["model=external"], "model.recommendations has no default; give it on the command line"),
        (
            ["dataset=folder", "dataset.path=no/such/folder"],
            "no/such/folder is not a folder; point dataset.path",
        ),
        (["+dataset.world_options.n_shops=3"], "n_shops"),
        (["+dataset.world_options.encoder={image: second}"], "dataset.world_options.encoder is not a key of dataset.w"),
        (
            ["dataset.encoder.image=third"],
            "has no image_feat@third.npy; choose with dataset.encoder.image=LABEL one of",
        ),
        (["+budget.hours=3"], "hours"),
        (["+modality.fusion=late"], "fusion"),
        (["+tracking.wandb.team=me", "tracking=wandb"], "tracking.wandb.team is not a key of tracking"),
        (["training.accelerator=tpux"], "training.accelerator=tpux"),
        *(
            ([f"training.accelerator={word}"], f"{word} is unknown; it is cpu, gpu, auto; this machine has CPU cores: ")
            for word in ("cuda", "tpu")
        ),
        (["training.accelerator=mps"], "Apple's GPU has no double precision and is not supported; use cpu or auto"),
        *(
            ([f"training.precision={word}"], f"{word} is unknown; it is 32-true, 64-true, bf16-mixed, 16-mixed")
            for word in ("16-true", "bf16-true")
        ),
        (["training.batch_size=0"], "training.batch_size=0"),
        (["training.precision=8-bit"], "training.precision=8-bit is unknown; it is 32-true, 64-true"),
        (["training.compile=maybe"], "training.compile=maybe must be true or false"),
        (["training.neighbours=fast"], "training.neighbours=fast is unknown; it is exact or approximate"),
        *(
            ([f"{name}={value}"], f"{name}={shown} must be a text; put a number in double quotes")
            for name in ("dataset.name", "sweep.name")
            for value, shown in {"5": "5", "1.5": "1.5", "true": "True", "null": "None", "[a]": "['a']"}.items()
        ),
        *(([f"{name}=''"], f"{name} is empty") for name in ("dataset.name", "sweep.name")),
        (
            ["dataset=folder", "dataset.name=csv", "dataset.path=x"],
            "dataset.name=csv is the name of a folder that every",
        ),
        (["dataset.name=planted/2026"], "dataset.name=planted/2026 must be a name without /"),
        (["dataset.name={a:1}"], "dataset.name={'a': 1} must be a text"),
        (["dataset=folder", "dataset.path=5"], "dataset.path=5: Expected `str | null`, got `int`"),
        (["dataset=folder", "dataset.path=[a]"], "dataset.path=['a']: Expected `str | null`, got `array`"),
        (["dataset.world=5"], "dataset.world=5: Expected `str | null`, got `int`"),
        (["dataset.world=[a]"], "dataset.world=['a']: Expected `str | null`, got `array`"),
        *(
            (
                [*first, f"dataset.{key}={value}"],
                f"dataset.{key}={value} does not go with dataset={choice}, a planted w",
            )
            for first, choice in (([], "planted"), (["plan"], "planted"), (["signal"], "planted"))
            for key, value in (("name", "shop"), ("path", "/nonexistent"), ("path", "data/shop"))
        ),
        (
            ["dataset=planted_baby", "dataset.name=baby"],
            "dataset.name=baby does not go with dataset=planted_baby, a pl",
        ),
        (
            ["dataset=folder", "dataset.world=redundant"],
            "dataset.name=folder does not go with dataset=folder, a planted",
        ),
        *(
            (
                [*first, "experiment=compnay"],
                "experiment=compnay is unknown; did you mean company? accepted: company, demo",
            )
            for first in ([], ["-m"], ["plan"], ["signal"])
        ),
        (["dataset.world_options.n_users=abc"], "dataset.world_options.n_users=abc: Expected `int`, got `str`"),
        (["dataset.world_options.n_users=1e300"], "dataset.world_options.n_users=1e+300: Expected `int`, got `float`"),
        (["dataset.world_options.n_users=null"], "dataset.world_options.n_users=None: Expected `int`, got `null`"),
        (
            ["dataset.world_options.n_users=-5"],
            "dataset.world_options.n_users=-5 must be a number from 1 to 1000000000",
        ),
        (["dataset.world_options.n_users=99999999999999999999"], "must be a number from 1 to 1000000000"),
        (["dataset.world_options.seed=-1"], "dataset.world_options.seed=-1 must be a number from 0 to "),
        *(
            ([f"dataset.world_options.{word}"], f"dataset.world_options.{word} must be a number from {allowed}")
            for word, allowed in (
                ("temperature=0.0", "0.001 to 1000000"),
                ("temperature=-1.0", "0.001 to 1000000"),
                ("feature_noise=-1.0", "0 to 1000000"),
                ("feature_noise=1e+308", "0 to 1000000"),
                ("popularity_sd=-1.0", "0 to 1000000"),
            )
        ),
        (["dataset.world_options.temperature=nan"], "dataset.world_options.temperature=nan must be a finite number"),
        (["model=ease", "model.max_memory_gb=inf"], "model.max_memory_gb=inf must be a finite number"),
        (
            ["dataset.world_options.per_user=abc"],
            "dataset.world_options.per_user=abc: Expected `int | null`, got `str`",
        ),
        (["dataset.world_options.per_user=0"], "per_user=0 must be at least 5"),
        (["dataset.split_column=5"], "dataset.split_column=5 must be a text"),
        (["dataset.protocol=5"], "dataset.protocol=5 is unknown; protocols are "),
        (["dataset.k_core=abc"], "dataset.k_core=abc must be a whole number of at least 0"),
        (["dataset.min_rating=abc"], "dataset.min_rating=abc must be a number, or null for none"),
        (["dataset.trust_row_order=5"], "dataset.trust_row_order=5 must be true or false"),
        (["dataset.encoder=5"], "dataset.encoder=5 must be set by modality, as in dataset.encoder.image="),
        (
            ["dataset.encoder.image=5"],
            "dataset.encoder.image=5 must be the label of an encoder; put a number in double",
        ),
        (["modality.states=5"], "modality.states=5 must be set by modality, as in modality.states.image="),
        (["modality.states.image=5"], "modality.states.image=5 is not a state; states are "),
        (["modality.missing.image=abc"], "modality.missing.image=abc must be at least 0 and below 1"),
        (["modality.missing.image=nan"], "modality.missing.image=nan must be at least 0 and below 1"),
        (["modality.seed=1e300"], "modality.seed=1e+300 must be a whole number of at least 0"),
        (["modality.seed=-1"], "modality.seed=-1 must be a whole number of at least 0"),
        (["model._target_=5"], "model._target_=5 cannot be imported"),
        (["model.embedding_dim=abc"], "model.embedding_dim=abc: Expected `int`, got `str`"),
        (["model.embedding_dim=1e300"], "model.embedding_dim=1e+300: Expected `int`, got `float`"),
        (["model.embedding_dim=null"], "model.embedding_dim=None: Expected `int`, got `null`"),
        (["model.embedding_dim=-4"], "model.embedding_dim=-4 must be a whole number of at least 1"),
        (["model=fusion", "model.hidden_dim=-1"], "model.hidden_dim=-1 must be a whole number of at least 0"),
        (["export.top_k=true"], "export.top_k=True: Expected `int`, got `bool`"),
        (["sweep.workers=true"], "sweep.workers=True must be a whole number of at least 1, or null"),
        (["sweep.workers=1e300"], "sweep.workers=1e+300 must be a whole number of at least 1, or null"),
        (["tiers=5"], "tiers=5: Expected `array`, got `int`"),
        (["tiers=[5]"], "tiers=[5]: Expected `str`, got `int`"),
        (["debug=abc"], "debug=abc: Expected `bool`, got `str`"),
        *(
            ([f"{section}=5"], f"{section}=5 must hold keys and values")
            for section in ("study", "statistics", "search", "report", "sweep")
        ),
        (["search.model=5"], "search.model=5 must be {low, high, log, step} or {choices}"),
        (["optimizer.lr=null"], "optimizer.lr=None is outside its search range"),
        (["training.batch_size=1e300"], "training.batch_size=1e+300 must be a whole number of at least 1"),
        (["training.devices=null"], "training.devices=None must be a whole number of at least 1"),
        (["training.precision=[a]"], "training.precision=['a'] is unknown"),
        (["budget.name=5"], "budget.name=5 must be a text"),
        (["budget.trials=1e300"], "budget.trials=1e+300 must be a whole number of at least 1"),
        (["budget.trials=null"], "budget.trials=None: Expected `int`, got `null`"),
        (["budget.rungs=5"], "budget.rungs=5: Expected `array`, got `int`"),
        (["budget.rungs=[abc]"], "budget.rungs=['abc'] must be ascending steps from 1 to below max_steps="),
        (["budget.tpe=-1"], "budget.tpe=-1 must be a whole number of at least 0"),
        (["study.draw=abc"], "study.draw=abc must be a whole number from 0 to 10000"),
        (["study.storage=null"], "study.storage=None must be a text"),
        (["study.lease_timeout=abc"], "study.lease_timeout=abc must be a number of seconds from 1 to "),
        (["report.metrics=5"], "report.metrics=5 must be a list, as in 'report.metrics=[ndcg@20]'"),
        (["report.metrics=recall@20"], "report.metrics=recall@20 must be a list, as in 'report.metrics=[ndcg@20]'"),
        (["report.metrics=[5]"], "report.metrics=[5]: Expected `str`, got `int`"),
        (["report.primary=5"], "report.primary=5 must be a text"),
        (["statistics.delta=inf"], "statistics.delta=inf must be a positive number"),
        (["statistics.delta=nan"], "statistics.delta=nan must be a positive number"),
        (
            ["statistics.contrasts=fused_vs_text"],
            "statistics.contrasts=fused_vs_text must be a list, as in 'statistics.contrasts=[fused_vs_text]'",
        ),
        (
            ["statistics.contrasts=[fused_vs_text,text_vs_none,fused_vs_text]"],
            "statistics.contrasts names fused_vs_text twice; each contrast is judged once",
        ),
        (
            ["statistics.contrasts=[fused_vs_text,text_vs_none,text_vs_fused]"],
            "statistics.contrasts names fused_vs_text and text_vs_fused, which are one contrast; name one of them",
        ),
        (
            ["statistics.contrasts=[fused_vs_txet]"],
            "statistics.contrasts: fused_vs_txet is about txet, which is no condition; did you mean text? accepted: ",
        ),
        (["paths.multirun=5"], "paths.multirun=5 must be a text; put a number in double quotes"),
        (["paths.multirun=null"], "paths.multirun=None must be a text"),
        (["paths.multirun="], "paths.multirun is empty"),
        (["-m", "paths.multirun=' '"], "paths.multirun is empty"),
        (["paths.data="], "paths.data ($MMBENCH_DATA) is empty"),
        (["-m", "paths.data=' '"], "paths.data ($MMBENCH_DATA) is empty"),
        (
            ["paths.multirun=/dev/null"],
            "/dev/null/single cannot be written: what should be a folder is a file; name another place with paths",
        ),
        (
            ["paths.multirun=/proc/x"],
            "/proc/x/single cannot be written: there is no such file or folder; name another place",
        ),
        *(
            ([f"~{key}"], f"{key} is missing")
            for key in ("training.precision", "budget.trials", "dataset.name", "report.primary")
        ),
        *(([f"~{section}"], f"{section}=None must hold keys and values") for section in ("search", "study")),
        *(([f"~{group}"], f"{group} takes exactly one name; several are a sweep") for group in ("model", "modality")),
        (
            ["dataset.name=${nothing}"],
            "error: dataset.name=${nothing}: Interpolation key 'nothing' not found; ${KEY} is the value of another "
            "key, and $ and a brace themselves are written \\${\n",
        ),
        (["paths.multirun='a${b}'"], "error: paths.multirun='a${b}': Interpolation key 'b' not found; ${KEY} is the v"),
        (["dataset.name=${dataset.name}"], "dataset.name=${dataset.name}: Recursive interpolation detected; ${KEY} is"),
        (["=5"], "'=5' is not of the form key=value"),
        (["tracking=null"], "tracking=null is unknown; accepted: csv, mlflow, none, tensorboard, wandb"),
        (["tracking=[csv,null]"], "tracking=[csv,null] is unknown; accepted: csv, mlflow, none, tensorboard, wandb"),
        (["~tracking=5"], "tracking=5 is unknown; accepted: csv"),
        (["budget=true"], "budget=true is unknown; accepted: paper, small, smoke, standard, touch"),
        (["hydra/launcher=null"], "hydra/launcher=null is unknown; accepted: basic, local, ray, slurm"),
        (["dataset.name=["], "is not of the form key=value"),
        (["model=freedom", "training.devices=2"], "training.devices=2: FREEDOM cannot share its batches"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_one_line(words: list[str], message: str, command: Command) -> None:
    is_one_line(command(*words), message)


def test_signs_of_an_interpolation_may_stand_in_a_value(tmp_path: Path) -> None:
    """As the error of one that leads nowhere says."""
    folder = rf"{tmp_path}/a\${{b}}"
    assert compose([f"paths.multirun='{folder}'"]).job().sweep_dir == tmp_path / "a${b}" / "single"


def test_a_folder_that_is_gone_is_said(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    for words in (["model=popularity"], ["report", "s"], ["prepare", "log.csv", "--out", "out"]):
        is_one_line(command(*words), "the folder in which this command runs is not there any more; go to another one")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["dataset.protocol=random"], "dataset.protocol=random is unknown"),
        (["modality=none,audio"], "has no modality 'audio'"),
        (["modality=none,null"], "modality=null is unknown; accepted: audio"),
        (["modality=null,none"], "modality=null is unknown; accepted: audio"),
        (
            ["budget.trials=1,2"],
            "two jobs of this sweep are the same cell planted-complementary/vbpr/fused with d",
        ),
        (["model=vbpr,external"], "model.recommendations has no default"),
        (
            ["model=glob(*)"],
            "or leave out model=external, which needs it: model=glob(*,exclude=external) are all other models",
        ),
        *(
            ([word], f"{word} would be several sweeps; give one value")
            for word in (
                "statistics.delta=0.03,0.02",
                "statistics.contrasts=[fused_vs_text],[text_vs_none]",
                "report.primary=ndcg@20,recall@20",
                "report.metrics=[ndcg@20],[recall@20,ndcg@20]",
                "export.top_k=0,10",
                "study.resume=auto,force",
                "study.lease_timeout=1,2",
                "sweep.workers=1,2",
                "sweep.workers_per_device=1,2",
                "training.accelerator=cpu,auto",
                "training.devices=1,2",
                "lang=en,ja",
            )
        ),
        (
            ["model=external,vbpr", "model.recommendations=lists.csv"],
            "model.recommendations is not a key of the configuration of model=vbpr; accepted: ",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_in_a_sweep_is_one_line(words: list[str], message: str, command: Command) -> None:
    is_one_line(command("-m", "sweep.name=s", *words), message)


def test_lists_of_two_systems_need_two_names(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b"):
        Path(f"{name}.csv").write_text(f"user,item,score\nu00001,i0000{ord(name) - ord('a')},1\n")
    words = ("sweep.name=s", "model=external", "model.recommendations=a.csv,b.csv")
    is_one_line(
        command("-m", *words),
        "two jobs of this sweep are the same cell planted-complementary/external/- with the lists of two systems; for "
        "rows of one table write one YAML per system, ",
    )


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("first", [["run", "-m", "sweep.name=s"], ["plan"]], ids=["run", "plan"])
@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("training.accelerator=gpu", "training.accelerator=gpu, but torch finds no GPU here; use cpu or auto; this"),
        ("training.precision=16-mixed", "training.precision=16-mixed needs a GPU; a CPU has bf16-mixed; this machine"),
    ],
)
def test_a_gpu_that_is_not_there_is_told_before_the_first_cell(
    first: list[str], word: str, message: str, command: Command, tmp_path: Path
) -> None:
    is_one_line(command(*first, word), message)
    assert not list(tmp_path.rglob("*.json"))


@pytest.mark.parametrize(
    ("model", "first"),
    [
        ("ease", ["run", "-m", "sweep.name=s"]),
        *((model, ["plan"]) for model in ("cease", "addease", "l3ae", "mmgf", "attributemap")),
    ],
)
def test_a_catalogue_that_is_too_large_is_told_before_the_first_cell(
    model: str, first: list[str], command: Command, tmp_path: Path
) -> None:
    wide = [
        "modality=fused",
        "dataset.world_options.image_dim=60",
    ]  # for AttributeMap, which else holds no pairs of items
    message = "needs 0.0 GB for 80 items, more than max_memory_gb=1e-05"
    is_one_line(command(*first, f"model={model}", "model.max_memory_gb=1e-5", *wide), message)
    assert not list(tmp_path.rglob("*.json"))


def test_all_models_that_a_catalogue_is_too_large_for_are_told_at_once(command: Command, tmp_path: Path) -> None:
    """Of one model under two conditions it is what the larger one needs: 5 arrays instead of 3."""
    words = ["model=addease,ease", "modality=none,fused", "dataset.world_options.n_items=5000"]
    message = (
        "AddEASE needs 1.0 GB for 5,000 items, more than max_memory_gb=0.5; EASE needs 0.6 GB for 5,000 items, more "
        "than max_memory_gb=0.5; leave out addease and ease, or give them a sweep of their own with a larger "
        "model.max_memory_gb"
    )
    is_one_line(command("plan", *words, "model.max_memory_gb=.5"), message)
    assert not list(tmp_path.rglob("*.json"))


@pytest.mark.parametrize("section", SECTIONS)
def test_every_section_holds_keys(section: str) -> None:
    plain = compose([]).config
    for value in (5, None, [1], "abc"):
        with pytest.raises(ValueError, match=f"{section}=.* must hold keys and values"):
            JobConfig.of({**plain, section: value})
    for key in SECTIONS[section]:
        with pytest.raises(ValueError, match=f"{section}.{key} is missing"):
            JobConfig.of({**plain, section: {name: value for name, value in plain[section].items() if name != key}})


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (PermissionError(errno.EACCES, "Permission denied"), "permission is denied"),
        (OSError(errno.ENOSPC, "No space left on device"), "there is no space left on the disk"),
        (OSError(errno.EIO, "Input/output error"), "Input/output error"),
    ],
)
@pytest.mark.parametrize("multirun", [[], ["-m"]], ids=["one", "many"])
def test_a_folder_that_takes_nothing_is_told_before_hydra_writes(
    error: OSError,
    reason: str,
    multirun: list[str],
    command: Command,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    def fails(**place: object) -> None:
        raise error

    monkeypatch.setattr("tempfile.TemporaryFile", fails)
    is_one_line(command(*multirun, "sweep.name=s"), f"{tmp_path / 's'} cannot be written: {reason}; name another")
    assert list((tmp_path / "s").iterdir()) == []


def test_a_file_in_the_place_of_the_report_is_told_before_anything_is_trained(command: Command, tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "report").touch()
    said = command("sweep.name=s", "model=popularity")
    report = tmp_path / "s" / "report"
    is_one_line(said, f"{report} cannot be written: what should be a folder is a file; it must be a folder")
    assert [file.name for file in (tmp_path / "s").iterdir()] == ["report"]


@pytest.mark.parametrize("nth", [1, 4, 7, 9])
def test_a_full_disk_is_one_line_and_loses_nothing(
    nth: int, command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The disk is full at one file of many; what was finished before is not done again afterwards."""
    words = ("model=bpr", "sweep.name=s", "budget.trials=2")
    replace, calls = os.replace, itertools.count(1)

    def full(source: Path, target: Path) -> None:
        if next(calls) == nth:
            raise OSError(errno.ENOSPC, "No space left on device", str(target))
        replace(source, target)

    with monkeypatch.context() as patched:
        patched.setattr("os.replace", full)
        is_one_line(command(*words), "there is no space left on the disk")
    assert next(calls) > nth
    assert not list(tmp_path.rglob(".*.tmp"))
    listed = list(ledger.read(tmp_path / "s"))
    assert command(*words).code == 0
    rows = list(ledger.read(tmp_path / "s"))
    assert rows[: len(listed)] == listed
    assert len(rows) == len({row.unit for row in rows}) == 3


@pytest.mark.slow
def test_a_disk_that_is_really_full_is_one_line_and_loses_nothing(command: Command, tmp_path: Path) -> None:
    """It is enlarged after each failure; where this user may mount a file system."""
    words = ("model=bpr", "sweep.name=s", "budget.trials=3")
    assert command(*words).code == 0
    with small_disk(tmp_path / "disk") as enlarge:
        sweep, kib, failures, listed = tmp_path / "disk" / "s", 64, 0, 0
        while (said := command(*words, f"paths.multirun={tmp_path / 'disk'}")).code:
            is_one_line(said, "there is no space left on the disk")
            rows = list(ledger.read(sweep))
            assert len(rows) >= listed
            failures, listed, kib = failures + 1, len(rows), kib + 32
            enlarge(kib)
        rows = list(ledger.read(sweep))
        assert len(rows) == len({row.unit for row in rows}) == 4
        assert results(sweep) == results(tmp_path / "s")
    assert failures > 3
    assert listed == 4


def test_a_mistake_is_told_before_anything_is_written(command: Command, tmp_path: Path) -> None:
    command("-m", "sweep.name=s", "model=vbpr", "modality=none,audio")
    assert not list(tmp_path.rglob("*.json"))
    assert not list(tmp_path.rglob("*.jsonl"))


def test_a_model_without_its_first_line_is_named(command: Command, tmp_path: Path) -> None:
    """Hydra reads the package from the very first lines only."""
    (tmp_path / "conf" / "model").mkdir(parents=True)
    text = "# mine\n# @package _global_\nmodel: {_target_: mmbench.models.bpr.BPR}\nsearch: {}\n"
    (tmp_path / "conf" / "model" / "mine.yaml").write_text(text)
    said = command(f"--config-dir={tmp_path / 'conf'}", "model=mine")
    is_one_line(said, "model=mine has no model._target_; is the first line of its YAML # @package _global_ ?")


@pytest.mark.parametrize(
    "words", [["model=sub/mine"], ["-m", "sweep.name=s", "model=popularity,sub/mine"], ["plan", "model=sub/mine"]]
)
def test_a_model_in_a_folder_of_its_own_is_refused_before_it_is_trained(
    command: Command, tmp_path: Path, words: list[str]
) -> None:
    (tmp_path / "conf" / "model" / "sub").mkdir(parents=True)
    text = "# @package _global_\nmodel: {_target_: mmbench.models.bpr.BPR}\nsearch: {}\n"
    (tmp_path / "conf" / "model" / "sub" / "mine.yaml").write_text(text)
    said = command(*words, f"--config-dir={tmp_path / 'conf'}")
    is_one_line(said, "model=sub/mine lies in a folder of its own, and a model is named without /: put its YAML into")


@pytest.mark.parametrize(
    "name",
    sorted(COMMANDS.keys() - {"run"}),  # of which it is a setting, in the table above
)
def test_debug_is_true_or_false_for_every_command(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["mmbench", name, "debug=yes"])
    with pytest.raises(SystemExit) as end:
        main()
    assert (end.value.code, capsys.readouterr().err) == (2, "error: debug=yes must be true or false\n")
    monkeypatch.setattr(sys, "argv", ["mmbench", name, "debug=false", "--help"])
    with contextlib.suppress(SystemExit):  # in which some helps end
        main()
    assert f"python -m mmbench {name}" in capsys.readouterr().out


@pytest.mark.parametrize("words, message", [("optimizr.lr=0.1", "optimizr"), ("budget.trials=0", "budget.trials=0")])
def test_debug_shows_the_traceback(command: Command, words: str, message: str) -> None:
    said = command(words, "debug=true")
    assert said.code == 2
    assert "Traceback" in said.err
    assert f"Refusal: {message}" in said.err
    assert f"error: {message}" in said.err.splitlines()[-1]


def test_a_record_of_another_version_is_named(command: Command, tmp_path: Path) -> None:
    command("model=popularity", "sweep.name=s")
    cell = tmp_path / "s" / "planted-complementary" / "popularity" / "-" / "cell.json"
    cell.write_text(json.dumps({**json.loads(cell.read_text()), "schema_version": 9}))
    is_one_line(
        command("model=popularity", "sweep.name=s"),
        "has schema version 9, this mmbench reads version 4; use the version of mmbench that wrote it",
    )


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValueError("two\n  lines"), "two lines"),
        (FileNotFoundError(errno.ENOENT, "No such file", "x"), "x: there is no such file or folder"),
        (OSError(errno.ENOSPC, "No space left on device"), "there is no space left on the disk"),
        (OSError(errno.EIO, "Input/output error", "x"), "[Errno 5] Input/output error: 'x'"),
    ],
)
def test_one_line_whatever_the_message(error: Exception, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end, one_line_errors([]):
        raise error
    assert end.value.code == 2
    assert capsys.readouterr().err == f"error: {said}\n"


@pytest.mark.parametrize("words", [["--cfg", "job"], ["report", "--help"]], ids=" ".join)
@pytest.mark.parametrize(
    ("full", "code", "said"),
    [(False, 141, ""), (True, 2, "error: standard output: there is no space left on the disk\n")],
    ids=["unread", "full"],
)
def test_output_that_goes_nowhere_is_no_traceback(full: bool, code: int, said: str, words: list[str]) -> None:
    if full:
        output = os.open("/dev/full", os.O_WRONLY)
    else:
        reader, output = os.pipe()
        os.close(reader)
    command = [sys.executable, "-m", "mmbench", *words]
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    ended = subprocess.run(command, stdout=output, stderr=subprocess.PIPE, env=buffered, text=True, timeout=300)
    os.close(output)
    assert (ended.returncode, ended.stderr) == (code, said)


def test_a_fault_of_the_program_is_no_failed_cell(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise KeyError("x")

    monkeypatch.setattr("mmbench.report.write.write_report", broken)
    for words in (["model=popularity"], ["-m", "model=popularity"]):
        said = command(*words, "sweep.name=s")
        first, *_, last = said.err.splitlines()
        assert (said.code, first, last) == (os.EX_SOFTWARE, "Traceback (most recent call last):", "KeyError: 'x'")


@pytest.mark.parametrize(
    ("goes_on", "said"),
    [(True, "stopped; the same command goes on from here\n"), (False, "stopped; the same command begins anew\n")],
)
def test_a_stopped_command_says_how_to_go_on(goes_on: bool, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end, one_line_errors([], goes_on=goes_on):
        raise KeyboardInterrupt
    assert end.value.code == 130
    assert capsys.readouterr().err == said


def test_hints() -> None:
    assert did_you_mean("vbrp", ["vbpr", "bpr"]) == "did you mean vbpr? accepted: bpr, vbpr"
    assert did_you_mean("zzz", ["vbpr", "bpr"]) == "accepted: bpr, vbpr"
    assert did_you_mean("zzz", []) == "accepted: nothing"


def test_a_hint_at_one_of_very_many_names_stays_a_line() -> None:
    """As there are cells and contrasts of a large sweep."""
    cells = [f"shop/model{number}/fused" for number in range(2500)]
    near = did_you_mean("shop/modle7/fused", cells)
    assert near == (
        "did you mean shop/model7/fused? accepted: shop/model7/fused, shop/model78/fused, shop/model79/fused, "
        "shop/model87/fused, shop/model97/fused and 2,495 others"
    )
    assert Translator("ja")(near).endswith("shop/model97/fused、ほか2,495件")
