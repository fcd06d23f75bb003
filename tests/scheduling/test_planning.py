"""What is refused before the first cell."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from mmbench.data import splits
from mmbench.data.interactions import Interactions
from mmbench.data.recdata import RecData, make_recdata
from mmbench.messages import Translator
from mmbench.models.ease import EASE
from mmbench.scheduling import job as job_module
from mmbench.scheduling.job import _recipe
from mmbench.scheduling.manifest import print_of
from mmbench.scheduling.planning import check_names, check_split_seed, plan_cells
from mmbench.training.batches import TripletLoader
from tests.tiny import make_job


@pytest.mark.parametrize("name", ["text.v2", "items", "type", "values", "half"])
def test_a_modality_after_which_no_part_of_a_model_can_be_called_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        nn.ModuleDict({name: nn.Identity()})
    dataset = make_job(tmp_path).dataset()
    with pytest.raises(
        ValueError, match=rf"^dataset {dataset.name}: no modality can be called {name}, because trained"
    ):
        check_names(replace(dataset, features={"text": dataset.features["text"], name: dataset.features["image"]}))


@pytest.mark.parametrize("name", ["text", "image_2", "audio-whisper", "商品画像"])
def test_other_names_are_taken(name: str, tmp_path: Path) -> None:
    nn.ModuleDict({name: nn.Identity()})
    dataset = make_job(tmp_path).dataset()
    check_names(replace(dataset, features={name: dataset.features["image"]}))


def test_a_seed_that_draws_no_split_is_refused(tmp_path: Path) -> None:
    """Three equal splits under three names would be taken for three repetitions."""
    dataset = make_job(tmp_path).dataset()
    for protocol in splits.DRAWN:
        check_split_seed(replace(dataset, split=replace(dataset.split, protocol=protocol)), 2)
    for protocol in {*splits.PROTOCOLS} - {*splits.DRAWN, "auto"}:
        fixed = replace(dataset, split=replace(dataset.split, protocol=protocol))
        check_split_seed(fixed, 0)
        said = rf"dataset.split_seed=2 changes nothing, because protocol {protocol} draws no split; take study.draw=2 "
        with pytest.raises(ValueError, match=said):
            check_split_seed(fixed, 2)


LR = ("~search.optimizer.lr", "+search.optimizer.lr={low: 0.0, high: 0.02, step: 0.005}")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (LR, "optimizer.lr=0.0 must be a positive number"),
        (["+search.budget.patience_steps={choices: [0, 100]}"], "budget.patience_steps=0 must be a whole number of"),
        (["+search.budget.batches_per_epoch={low: 0, high: 2}"], "budget.batches_per_epoch=0 must be a whole number"),
        (["+search.training.batch_size={low: 64.0, high: 2048.0}"], "training.batch_size=[0-9.]+ must be a whole"),
        (["+search.training.precision={choices: [32-true, bf16-true]}"], "training.precision=bf16-true is unknown"),
    ],
)
def test_a_search_that_would_try_what_no_training_takes_is_refused(
    words: Sequence[str], said: str, tmp_path: Path
) -> None:
    """The cell failed at that trial, which had stopped a sweep whose other cells were half trained."""
    searched = said.partition("=")[0]
    budget = ("budget.trials=12", "budget.patience_steps=100", "budget.batches_per_epoch=1")
    job = make_job(tmp_path, "model=bpr", *budget, *words)
    with pytest.raises(ValueError, match=rf"^search.{searched}: trial \d+ would try what no training takes: {said}"):
        plan_cells([job], "auto", Translator())


def test_conditions_that_share_their_slots_are_looked_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand cells are planned while somebody waits."""
    names, made = ("none", "text", "image"), []
    monkeypatch.setattr(job_module, "_recipe", lambda *given: made.append(given) or _recipe(*given))
    jobs = [make_job(tmp_path, "model=vbpr", "budget.trials=30", f"modality={name}") for name in names]
    plan_cells(jobs, "auto", Translator())
    assert len(made) == 30 + len(names)


def test_the_plan_counts_the_interactions_that_batches_are_drawn_from(tmp_path: Path) -> None:
    """User 0 has every item but one that training lacks, and so has no negative."""
    dataset = make_job(tmp_path).dataset()
    users, items = np.array([0, 0, 0, 1, 2, 2]), np.array([0, 1, 3, 1, 0, 3])
    train = Interactions(users, items, n_users=3, n_items=4)
    drawn = TripletLoader(make_recdata(train, {}), batch_size=2, seed=0).edges
    assert torch.equal(drawn[0].unique(), torch.tensor([1, 2]))
    assert print_of(replace(dataset, split=replace(dataset.split, train=train))).n_train == drawn.shape[1]


class Leaving(EASE):
    """Ends the process that builds it."""

    def __init__(self, data: RecData, *, reg_weight: float, max_memory_gb: float) -> None:
        sys.exit(0)


def test_a_model_that_ends_the_process_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command ended with exit code 0 and had run nothing."""
    (tmp_path / "leaving_model.py").write_text("import sys\n\nsys.exit()\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    for target, said in (
        (f"{__name__}.Leaving", r"failed: RuntimeError: sys.exit\(0\) was called"),
        ("leaving_model.Model", r"cannot be imported: sys.exit\(None\) was called"),
    ):
        job = make_job(tmp_path, "model=ease", f"model._target_={target}")
        with pytest.raises(ValueError, match=rf"^model._target_={target} {said}$"):
            plan_cells([job], "auto", Translator())
