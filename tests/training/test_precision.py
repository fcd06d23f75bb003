"""Double and mixed precision are asked for, work on every model, and stand in the records."""

from __future__ import annotations

import inspect
import os
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from mmbench import paths
from mmbench.models.bpr import BPR
from mmbench.models.freedom import FREEDOM
from mmbench.models.lattice import LATTICE
from mmbench.models.lightgcn import LightGCN
from mmbench.models.smore import SMORE
from mmbench.models.vbpr import VBPR
from mmbench.nn.recommender import FactorModel, Triplets
from mmbench.store import records
from mmbench.store.schema import Cell
from mmbench.training.fit import Fitted, fit, rebuild
from mmbench.training.settings import TrainingSettings, check_machine, devices_here
from mmbench.training.stopping import StoppingRule
from tests.conftest import BlockWorld
from tests.models.test_contract import MODELS, TRAINED, batch_of, total
from tests.tiny import make_job, sealed


def settings(precision: str, epochs: int = 2) -> TrainingSettings:
    rule = StoppingRule(500, 0, 1, least_epochs=epochs)
    return TrainingSettings(rule, batch_size=64, lr=0.02, precision=precision)


def fitted(block_world: BlockWorld, model: type[Any], chosen: TrainingSettings) -> Fitted:
    data = block_world.data(("image", "text"))
    options = {"embedding_dim": 16} if "embedding_dim" in inspect.signature(model).parameters else {}
    return fit(partial(model, **options), data, block_world.train, block_world.heldout, chosen, seed=0)


@pytest.mark.thorough
@pytest.mark.parametrize("model", TRAINED, ids=lambda model: model.__name__)
def test_every_trained_model_trains_in_double_precision(block_world: BlockWorld, model: type[FactorModel]) -> None:
    """Parameters, scores and the rebuilt model are in double precision."""
    trained = fitted(block_world, model, settings("64-true"))
    assert {p.dtype for p in trained.model.parameters()} == {torch.float64}
    state = {name: value.numpy() for name, value in trained.model.state_dict().items()}
    build, data = partial(model, embedding_dim=16), block_world.data(("image", "text"))
    again = rebuild(build, data, state, settings("64-true"), seed=0)
    scores = again.score(torch.arange(data.n_users))
    assert scores.dtype == torch.float64
    torch.testing.assert_close(scores, trained.model.score(torch.arange(data.n_users)))


@pytest.mark.parametrize("model", [BPR, VBPR, FREEDOM, LATTICE], ids=lambda model: model.__name__)
def test_double_precision_is_the_same_training(block_world: BlockWorld, model: type[FactorModel]) -> None:
    """Same start, same draws: it differs from single precision by rounding only."""
    single, double = (fitted(block_world, model, settings(precision)) for precision in ("32-true", "64-true"))
    for mine, theirs in zip(double.course.losses, single.course.losses, strict=True):
        assert mine == pytest.approx(theirs, rel=1e-5)
        assert mine != theirs


@pytest.mark.parametrize("precision", ["64-true", "bf16-mixed", "16-mixed"])
@pytest.mark.parametrize("model", [model for model in MODELS if model not in TRAINED], ids=lambda model: model.__name__)
def test_a_model_that_is_computed_ignores_the_precision(
    block_world: BlockWorld, model: type[Any], precision: str
) -> None:
    own, asked = (fitted(block_world, model, settings(word)) for word in ("32-true", precision))
    assert asked.per_user.tolist() == own.per_user.tolist()


@pytest.mark.thorough
@pytest.mark.parametrize("model", TRAINED, ids=lambda model: model.__name__)
def test_every_trained_model_trains_in_mixed_precision(block_world: BlockWorld, model: type[FactorModel]) -> None:
    """Sparse products have no half precision; every model that puts one behind a linear layer needs a cast."""
    trained = fitted(block_world, model, settings("bf16-mixed"))
    assert {p.dtype for p in trained.model.parameters()} == {torch.float32}
    assert all(torch.isfinite(p).all() for p in trained.model.parameters())


def test_the_transform_of_content_is_given_no_half_precision(
    block_world: BlockWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A CPU casts its input up in mixed precision; a GPU does not, and has no transform of bfloat16."""
    transform, given = torch.fft.rfft, []

    def noted(content: torch.Tensor, *args: Any, **options: Any) -> torch.Tensor:
        given.append(content.dtype)
        return transform(content, *args, **options)

    monkeypatch.setattr(torch.fft, "rfft", noted)
    data = block_world.data(("image", "text"))
    model = SMORE(data, embedding_dim=16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = total(model.loss(batch_of(data)))
    loss.backward()
    assert given == [torch.float32] * 2


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize(
    "accelerator, precision, message",
    [
        ("gpu", "32-true", "training.accelerator=gpu, but torch finds no GPU here; use cpu or auto; this machine has "),
        ("cpu", "16-mixed", "training.precision=16-mixed needs a GPU; a CPU has bf16-mixed; this machine has "),
        ("auto", "16-mixed", "training.precision=16-mixed needs a GPU"),
    ],
)
def test_what_needs_a_gpu_is_refused_without_one(accelerator: str, precision: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        check_machine(accelerator, precision)
    assert str(error.value).endswith(devices_here())
    assert devices_here() == f"CPU cores: {len(os.sched_getaffinity(0))}, GPUs that torch finds: 0"


def test_what_every_machine_has_is_allowed() -> None:
    for accelerator in ("cpu", "auto"):
        for precision in ("32-true", "64-true", "bf16-mixed"):
            check_machine(accelerator, precision)


@pytest.mark.parametrize("model", [BPR, LightGCN, VBPR, FREEDOM, LATTICE], ids=lambda model: model.__name__)
def test_mixed_precision_trains(block_world: BlockWorld, model: type[FactorModel]) -> None:
    """Parameters and scores stay in single precision, and it learns as much."""

    full, mixed = (fitted(block_world, model, settings(word, epochs=15)) for word in ("32-true", "bf16-mixed"))
    assert {str(p.dtype) for p in mixed.model.parameters()} == {"torch.float32"}
    assert mixed.course.losses[-1]["bpr"] == pytest.approx(full.course.losses[-1]["bpr"], rel=0.1)
    assert mixed.course.best == pytest.approx(full.course.best, abs=0.05)
    assert mixed.course.losses != full.course.losses or model in (BPR, LightGCN), (
        "the products of embeddings alone are not cast"
    )


class SameLoss(BPR):
    """BPR with one more term, the same number in half precision at every step."""

    def loss(self, batch: Triplets) -> dict[str, torch.Tensor]:
        return {**super().loss(batch), "same": torch.tensor(3.109375, dtype=torch.bfloat16)}


def test_losses_of_half_precision_are_not_summed_in_it(block_world: BlockWorld) -> None:
    """A sum of bfloat16 moves by steps of two from 256 on."""
    many = replace(settings("32-true", epochs=1), batch_size=2)
    (first, *_) = (done := fitted(block_world, SameLoss, many)).course.losses
    assert done.course.steps_per_epoch > 100
    assert first["same"] == 3.109375


@pytest.mark.thorough
def test_the_records_say_the_precision(tmp_path: Path) -> None:
    keys = set()
    for precision in ("32-true", "64-true", "bf16-mixed"):
        store = sealed(make_job(tmp_path / precision, f"training.precision={precision}"))
        keys.add(store.key)
        assert {training.precision for training in store.finished_trainings().values()} == {precision}
        assert records.read(paths.cell_file(store.folder), Cell).config["training"]["precision"] == precision
    assert len(keys) == 3
