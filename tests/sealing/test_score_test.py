"""The test split decides nothing, and every test number can be computed again from what is stored."""

from __future__ import annotations

import functools
import math
import pickle
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest
import torch
from optuna.distributions import CategoricalDistribution
from torch import Tensor, nn

from mmbench import paths
from mmbench.data.dataset import Dataset
from mmbench.data.features import ItemFeature
from mmbench.data.interactions import Interactions
from mmbench.data.recdata import RecData
from mmbench.data.splits import Split
from mmbench.nn.recommender import FactorModel, Triplets
from mmbench.scheduling.job import Job
from mmbench.sealing.score_test import LIST_LENGTH, inference_shuffles, is_scored, score_test
from mmbench.store import records
from mmbench.store.records import CellStore
from mmbench.store.schema import Configuration, Stage, Unit
from mmbench.tuning.cell import CellTask
from tests.tiny import digests, make_job, opened, worked

EFFORT = ("budget.trials=2", "budget.seeds=2", "training.batch_size=128")
#: Each hides other interactions at test.
PROTOCOLS = ("paper", "given")
CONDITIONS = ("none", "fused", "shuffled")


def with_test(dataset: Dataset, test: Interactions) -> Dataset:
    return replace(dataset, split=replace(dataset.split, test=test))


def deleted(test: Interactions) -> Interactions:
    return test.select(np.zeros(len(test), bool))


def permuted(test: Interactions) -> Interactions:
    return replace(test, items=np.random.default_rng(0).permutation(test.items))


def replaced(test: Interactions) -> Interactions:
    return replace(test, users=np.arange(20), items=np.arange(20), times=None)


def scored(job: Job) -> tuple[CellTask, CellStore, Split]:
    task, store = opened(job)
    split = job.dataset().split
    return task, worked(task, store, split), split


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], tuple[CellTask, CellStore, Split]]:
    """Sealed cells by protocol and condition."""
    return {
        (protocol, condition): scored(
            make_job(
                tmp_path_factory.mktemp(protocol), *EFFORT, f"dataset.protocol={protocol}", f"modality={condition}"
            )
        )
        for protocol in PROTOCOLS
        for condition in CONDITIONS
    }


Cells = Mapping[tuple[str, str], tuple[CellTask, CellStore, Split]]


# The test split decides nothing


@pytest.mark.parametrize("change", [deleted, permuted, replaced])
def test_another_test_split_leaves_tuning_byte_equal(
    change: Any, cells: Cells, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, whole, split = cells["paper", "shuffled"]
    job = make_job(tmp_path, *EFFORT, "modality=shuffled")
    other = with_test(job.dataset(), change(split.test))
    assert other.split.test_fingerprint != split.test_fingerprint
    monkeypatch.setattr(Job, "dataset", lambda self: other)
    _, store, _ = scored(job)
    assert store.key == whole.key
    # Without test interactions the cell has no result, but was tuned all the same.
    of_test = (paths.RANKS, paths.LISTS, paths.seal_file(store.folder).name, paths.failure_file(store.folder).name)
    tuned, expected = (
        {name: digest for name, digest in digests(one.folder).items() if not name.endswith(of_test)}
        for one in (store, whole)
    )
    file = paths.cell_file(store.folder).name  # which says how large the test split is
    assert tuned.keys() == expected.keys() > {file, paths.choice_file(store.folder).name}
    assert {**tuned, file: ""} == {**expected, file: ""}


def test_what_tuning_is_given_holds_no_test_split(cells: Cells) -> None:
    task, _, split = cells["paper", "fused"]
    given = pickle.dumps(task)
    assert split.valid.items.tobytes() in given  # so the next line would see the test split
    assert split.test.items.tobytes() not in given


@pytest.mark.thorough
def test_a_replaced_test_split_is_scored_again_without_training(
    cells: Cells, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, store, split = scored(make_job(tmp_path, *EFFORT))
    other = replace(split, test=replaced(split.test))
    assert is_scored(store, split)
    assert not is_scored(store, other)
    before = digests(store.folder)
    monkeypatch.setattr("mmbench.tuning.study.fit", None)
    score_test(task, store, other)
    assert is_scored(store, other)
    assert not is_scored(store, split)
    changed = {name for name, digest in digests(store.folder).items() if before.get(name) != digest}
    assert paths.seal_file(store.folder).name in changed
    assert all(name.endswith((paths.seal_file(store.folder).name, paths.RANKS, paths.LISTS)) for name in changed)
    score_test(task, store, split)
    assert digests(store.folder) == before


def test_a_cell_is_scored_only_with_its_seal_and_its_choice(tmp_path: Path) -> None:
    _, store, split = scored(make_job(tmp_path, *EFFORT, "modality=none"))
    assert is_scored(store, split)
    choice = store.choice()
    assert choice is not None
    store.write_choice(msgspec.structs.replace(choice, hash="of another choice"))
    assert not is_scored(store, split)
    paths.choice_file(store.folder).unlink()
    assert not is_scored(store, split)
    store.write_choice(choice)
    assert is_scored(store, split)
    paths.seal_file(store.folder).unlink()
    assert not is_scored(store, split)


def test_the_test_split_stays_closed_until_something_is_chosen(tmp_path: Path) -> None:
    job = make_job(tmp_path, *EFFORT)
    task, store = opened(job)
    with pytest.raises(ValueError, match="the test split stays closed until a configuration is chosen"):
        score_test(task, store, job.dataset().split)
    assert store.seal() is None


def test_a_cell_whose_content_cannot_be_shuffled_is_scored_without_its_reliance(tmp_path: Path) -> None:
    job = make_job(tmp_path, *EFFORT, "modality=image")
    task, store = opened(job)
    image = task.features["image"]
    same = ItemFeature(np.tile(image.values[:1], (len(image.values), 1)), image.present)
    worked(replace(task, features={**task.features, "image": same}), store, job.dataset().split)
    assert store.failure() is None
    assert store.seal() is not None
    assert not paths.final_file(store.folder, 1, paths.shuffled_ranks("image")).exists()
    assert paths.final_file(store.folder, 1, paths.RANKS).exists()


# Every test number can be computed again


def scores_from_file(
    file: Path, features: Mapping[str, np.ndarray], configuration: Configuration, train: Interactions
) -> np.ndarray:
    """VBPR's scores, written out: ``[id, projected content]`` of the stored half-precision parameters.

    An item that training has not seen has no ID vector.
    """
    with np.load(file) as state:
        given = {name: state[name] for name in state.files}
    assert {str(value.dtype) for value in given.values()} == {"float16"}
    full = {name: value.astype(np.float64) for name, value in given.items()}
    counts = np.bincount(train.items, minlength=train.n_items)
    items = np.where(counts[:, None] > 0, full["item_embedding"], 0.0)
    weight = configuration.get("model.content_weight", 1.0)
    first = configuration.get("model.first_modality_weight", 0.5)
    shares = dict(zip(sorted(features), (first, 1.0 - first) if len(features) == 2 else [1.0], strict=False))
    kept = [name for name, share in shares.items() if share > 0.0 < weight]
    if kept:
        rows = {name: features[name].astype(np.float64) for name in kept}
        units = {name: row / np.linalg.norm(row, axis=1, keepdims=True) for name, row in rows.items()}
        content = np.hstack([len(shares) * shares[name] * units[name] for name in kept])
        items = np.hstack([items, weight * (content @ full["projection.weight"].T + full["projection.bias"])])
    return full["user_embedding"] @ items.T


def rank_of(scores: np.ndarray, user: int, item: int, hidden: set[tuple[int, int]]) -> int:
    candidates = [i for i in range(scores.shape[1]) if (user, i) not in hidden]
    assert item in candidates
    return 1 + sum(scores[user, i] > scores[user, item] for i in candidates)


def pairs_of(part: Interactions) -> set[tuple[int, int]]:
    return set(zip(part.users.tolist(), part.items.tolist(), strict=True))


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("condition", CONDITIONS)
def test_ranks_are_those_of_the_stored_parameters(protocol: str, condition: str, cells: Cells) -> None:
    task, store, split = cells[protocol, condition]
    hidden = pairs_of(split.train)
    if protocol != "paper":  # which hides train only, as the source study did
        hidden |= pairs_of(split.valid)
    for unit, training in store.finished_trainings().items():
        features = {name: feature.values for name, feature in task.inputs(training.seed).items()}
        scores = scores_from_file(store.training_file(unit, paths.STATE), features, training.configuration, split.train)
        table = pd.read_parquet(store.training_file(unit, paths.RANKS))
        assert set(zip(table["user"], table["item"], strict=True)) == pairs_of(split.test)
        expected = [rank_of(scores, u, i, hidden) for u, i in zip(table["user"], table["item"], strict=True)]
        assert table["rank"].tolist() == expected


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_protocol_decides_what_is_hidden(protocol: str, cells: Cells) -> None:
    _, store, split = cells[protocol, "none"]
    seal = store.seal()
    assert seal is not None
    assert (seal.protocol, seal.valid_masked) == (protocol, protocol != "paper")
    lists = pd.read_parquet(store.training_file(Unit(Stage.FINAL, 1), paths.LISTS))
    shown = {(user, item) for user, items in zip(lists["user"], lists["items"], strict=True) for item in items}
    assert not shown & pairs_of(split.train)
    assert bool(shown & pairs_of(split.valid)) == (protocol == "paper")


@pytest.mark.parametrize("condition", CONDITIONS)
def test_lists_of_fifty_agree_with_the_ranks(condition: str, cells: Cells) -> None:
    _, store, split = cells["given", condition]
    for seed in (1, 2):
        table = pd.read_parquet(store.training_file(Unit(Stage.FINAL, seed), paths.RANKS))
        lists = pd.read_parquet(store.training_file(Unit(Stage.FINAL, seed), paths.LISTS))
        by_user = dict(zip(lists["user"], lists["items"], strict=True))
        assert set(by_user) == set(split.test.users.tolist())
        assert all(len(items) == len(set(items)) == LIST_LENGTH for items in by_user.values())
        assert table["rank"].max() > LIST_LENGTH  # or the next line would not see what a list leaves out
        for user, item, rank in table.itertuples(index=False):
            place = np.flatnonzero(by_user[user] == item)
            assert place.tolist() == ([rank - 1] if rank <= LIST_LENGTH else [])


def test_only_final_runs_keep_lists(cells: Cells) -> None:
    _, store, _ = cells["paper", "fused"]
    for unit in store.finished_trainings():
        assert store.training_file(unit, paths.RANKS).exists()
        assert store.training_file(unit, paths.LISTS).exists() == (unit.stage == Stage.FINAL)


def test_seal_names_what_it_holds(cells: Cells) -> None:
    _, store, split = cells["paper", "fused"]
    seal, choice = store.seal(), store.choice()
    assert seal is not None
    assert choice is not None
    assert (seal.finals, seal.unscored) == ([1, 2], [])
    assert (seal.test_hash, seal.choice_hash, seal.cell_key) == (split.test_fingerprint, choice.hash, store.key)


def test_swapped_features_are_refused(cells: Cells) -> None:
    task, store, split = cells["paper", "fused"]
    real = dict(task.features)
    swapped = replace(task, features={"image": real["text"], "text": real["image"]})
    with pytest.raises(ValueError, match="vbpr/fused: features of final 1 are not those it was trained on"):
        score_test(swapped, store, split)


# What a trained model leans on


def test_every_real_modality_is_shuffled_once_at_inference(cells: Cells) -> None:
    for condition in CONDITIONS:
        _, store, _ = cells["paper", condition]
        for unit in store.finished_trainings():
            shuffled = {m for m in ("image", "text") if store.training_file(unit, paths.shuffled_ranks(m)).exists()}
            expected = {"image", "text"} if condition == "fused" and unit.stage == Stage.FINAL else set()
            assert shuffled == expected


@pytest.mark.parametrize("modality", ["image", "text"])
def test_reliance_is_the_stored_model_with_one_modality_shuffled(modality: str, cells: Cells) -> None:
    task, store, split = cells["paper", "fused"]
    condition = inference_shuffles(task)[modality]
    assert {name: condition.state(name) for name in task.features} == {
        name: "shuffle" if name == modality else "real" for name in task.features
    }
    features = {name: feature.values for name, feature in task.inputs(2, condition).items()}
    final = Unit(Stage.FINAL, 2)
    configuration = store.finished_trainings()[final].configuration
    scores = scores_from_file(store.training_file(final, paths.STATE), features, configuration, split.train)
    table = pd.read_parquet(store.training_file(Unit(Stage.FINAL, 2), paths.shuffled_ranks(modality)))
    hidden = pairs_of(split.train)
    expected = [rank_of(scores, u, i, hidden) for u, i in zip(table["user"], table["item"], strict=True)]
    assert table["rank"].tolist() == expected
    assert expected != pd.read_parquet(store.training_file(Unit(Stage.FINAL, 2), paths.RANKS))["rank"].tolist()


# Failures


class Fragile(FactorModel):
    """One that ranks, one that cannot be built, one that ranks nothing once it is rounded to half precision, and one
    that has no vector for user 0, who is in the test split only.
    """

    uses_content = False

    def __init__(self, data: RecData, *, kind: str) -> None:
        super().__init__()
        if kind == "broken":
            raise RuntimeError("cannot be built")
        step = torch.linspace(0.0, 1e-5, data.n_items) if kind == "fine" else torch.linspace(1.0, 0.0, data.n_items)
        self.items = nn.Parameter(1.0 + step.unsqueeze(1))
        self.first_user = math.nan if kind == "fragile" else 1.0
        self.n_users = data.n_users

    def forward(self) -> tuple[Tensor, Tensor]:
        users = torch.ones(self.n_users, 1)
        users[0] = self.first_user
        return users, self.items

    def loss(self, batch: Triplets) -> dict[str, Tensor]:
        return {"nothing": 0.0 * self.items.sum()}


def fragile(sweep_dir: Path, kinds: list[str]) -> tuple[CellTask, CellStore, Split]:
    job = make_job(sweep_dir, "model=bpr", "budget.batches_per_epoch=1")
    task, store = opened(job)
    _, settings = task.recipe(task.default)
    known = task.valid.users > 0
    task = replace(
        task,
        valid=replace(task.valid, users=task.valid.users[known], items=task.valid.items[known]),
        space={"model.kind": CategoricalDistribution(kinds)},
        default={"model.kind": kinds[0]},
        budget=replace(task.budget, trials=len(kinds)),
        recipe=lambda configuration: (functools.partial(Fragile, kind=configuration["model.kind"]), settings),
    )
    store.open(job.record(task))
    return task, store, job.dataset().split


@pytest.mark.thorough
def test_a_trial_that_ranks_nothing_is_named_and_a_failed_one_is_left_out(tmp_path: Path) -> None:
    task, store, split = fragile(tmp_path, ["sound", "fragile", "broken", "fine"])
    worked(task, store, split)
    choice, seal = store.choice(), store.seal()
    assert choice is not None
    assert seal is not None
    assert choice.configuration == {"model.kind": "sound"}
    kind_of = [slot["model.kind"] for slot in task.slots()]
    assert seal.unscored == [f"trial {kind_of.index('fragile')}: scores are NaN or infinite"]
    reasons = {
        trial.configuration["model.kind"]: trial.failure.reason
        for trial in records.read_trainings(store.folder, Stage.TRIAL, store.key)
        if trial.failure is not None
    }
    assert reasons == {
        "broken": "RuntimeError: cannot be built",
        "fine": "DegenerateScores: all scores are equal, so they rank nothing",
    }
    for trial in records.read_trainings(store.folder, Stage.TRIAL, store.key):
        ranked = store.training_file(trial.unit, paths.RANKS).exists()
        assert ranked == (trial.configuration == {"model.kind": "sound"})


def test_a_final_run_that_ranks_nothing_has_no_seal(tmp_path: Path) -> None:
    task, store, split = fragile(tmp_path, ["fragile"])
    failure = worked(task, store, split).failure()
    assert failure is not None
    assert failure.reason == "DegenerateScores: scores are NaN or infinite"
    assert not is_scored(store, split)
