"""Whatever a user gets wrong ends in one line that says what, where and what is allowed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mmbench.cli.errors import one_line_errors
from mmbench.data.planted import make_world
from mmbench.data.sources import write_folder
from mmbench.messages.hints import did_you_mean
from tests.cli.conftest import Command

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


def empty_log(folder: Path) -> None:
    pd.read_parquet(folder / "interactions.parquet").head(0).to_parquet(folder / "interactions.parquet")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (nan_features, "text_feat.npy has NaN or infinite values in 1 row (row 3); mark missing items with"),
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
        (["dataset=ml10k"], "dataset=ml10k is unknown; did you mean ml100k? accepted: baby, folder, "),
        (["modality=txet"], "modality=txet is unknown; did you mean text? accepted: audio, fused, image, "),
        (["budget=huge"], "budget=huge is unknown; accepted: paper, small, smoke, standard, touch"),
        (["-m", "model=vbpr,fusoin"], "model=fusoin is unknown; did you mean fusion?"),
        (["vbpr"], "'vbpr' is not of the form key=value"),
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
        (["tracking=wandb", "tracking.mode=on"], "tracking.mode=on is unknown; modes are offline, online, disabled"),
        (["tracking.kind=mlflow"], "tracking.kind=mlflow is unknown; kinds are none, wandb"),
        (["optimizer.lr=5.0"], "optimizer.lr=5.0 is outside its search range"),
        (["+search.model.depth={low:1,high:3}"], "search.model.depth: the configuration has no key model.depth"),
        (["search.model.reg_weight.low=9"], "search.model.reg_weight: "),
        (["model._target_=no.such.Model"], "model._target_=no.such.Model cannot be imported"),
        (
            ["model._target_=torch.nn.Linear"],
            "model._target_=torch.nn.Linear must derive from FactorModel or C",
        ),
        (["dataset.min_rating=3"], "dataset.min_rating=3 needs a column 'rating'; columns are user_id, item_id, split"),
        (["dataset.k_core=70"], "no interaction is left after min_rating and k_core=70"),
        (["sweep.grace=-1"], "sweep.grace=-1 must be a number of seconds of at least 0"),
        (["sweep.workers=0"], "sweep.workers=0 must be a whole number of at least 1, or null for one per core"),
        (["report.metrics=[ndcg]"], "'ndcg' is not a metric; write one of recall, ndcg"),
        (["report.primary=recall"], "'recall' is not a metric; write one of recall, ndcg"),
        (["report.primary=ndcg@60"], "report.primary=ndcg@60 looks further down than the 50 items that the lists of a"),
        (["export.top_k=100"], "export.top_k=100 must be a whole number from 0 to 50"),
        (["study.resume=maybe"], "study.resume=maybe is unknown; it is one of auto, force, never"),
        (["study.storage=redis://x"], "study.storage=redis://x is unknown; write files or postgresql"),
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
        (["+tracking.team=me", "tracking=wandb"], "team"),
        (["training.accelerator=tpux"], "training.accelerator=tpux"),
        (["training.batch_size=0"], "training.batch_size=0"),
        (["training.precision=8-bit"], "training.precision=8-bit is unknown; it is 32-true, 64-true"),
        (["training.neighbours=fast"], "training.neighbours=fast is unknown; it is exact or approximate"),
        (["model=freedom", "training.devices=2"], "training.devices=2: FREEDOM cannot share its batches"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_one_line(words: list[str], message: str, command: Command) -> None:
    is_one_line(command(*words), message)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["dataset.protocol=random"], "dataset.protocol=random is unknown"),
        (["modality=none,audio"], "has no modality 'audio'"),
        (
            ["budget.trials=1,2"],
            "two jobs of this sweep are the same cell planted-complementary/vbpr/fused with d",
        ),
        (["model=vbpr,external"], "model.recommendations has no default"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_in_a_sweep_is_one_line(words: list[str], message: str, command: Command) -> None:
    is_one_line(command("-m", "sweep.name=s", *words), message)


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
        "has schema version 9, this mmbench reads version 3; use the version of mmbench that wrote it",
    )


@pytest.mark.parametrize("error", [ValueError("two\n  lines"), FileNotFoundError(2, "No such file", "x")])
def test_one_line_whatever_the_message(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end, one_line_errors([]):
        raise error
    assert end.value.code == 2
    assert capsys.readouterr().err == f"error: {' '.join(str(error).split())}\n"


def test_other_exceptions_are_defects_and_pass() -> None:
    with pytest.raises(KeyError), one_line_errors([]):
        raise KeyError("x")


def test_a_stopped_command_says_how_to_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end, one_line_errors([]):
        raise KeyboardInterrupt
    assert end.value.code == 130
    assert "the same command goes on from here" in capsys.readouterr().err


def test_hints() -> None:
    assert did_you_mean("vbrp", ["vbpr", "bpr"]) == "did you mean vbpr? accepted: bpr, vbpr"
    assert did_you_mean("zzz", ["vbpr", "bpr"]) == "accepted: bpr, vbpr"
    assert did_you_mean("zzz", []) == "accepted: nothing"
