"""One training on several processes of the CPU gives what one process gives."""

from __future__ import annotations

import signal
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch.multiprocessing.spawn import ProcessException, ProcessExitedException, ProcessRaisedException

from mmbench.data.recdata import RecData
from mmbench.evaluation.ranking import DegenerateScores
from mmbench.models.bpr import BPR
from mmbench.models.freedom import FREEDOM
from mmbench.models.lightgcn import LightGCN
from mmbench.models.popularity import Popularity
from mmbench.models.vbpr import VBPR
from mmbench.nn.recommender import FactorModel, Part, Recommender, Triplets
from mmbench.training.fit import Fitted, fit
from mmbench.training.loop import ProcessKilled, run
from mmbench.training.settings import TrainingSettings
from mmbench.training.stopping import StoppingRule
from tests.conftest import BlockWorld

Build = Callable[[RecData], Recommender]

#: 220 interactions in batches of 51: the last one has 16, and no batch can be halved evenly but that one.
SETTINGS = {"stopping": StoppingRule(500, 0, 1, least_epochs=3), "batch_size": 51, "lr": 0.01}


def trained(block_world: BlockWorld, build: Build, devices: int, **settings: object) -> Fitted:
    chosen = TrainingSettings(**{**SETTINGS, "devices": devices, **settings})  # type: ignore[arg-type]
    data = block_world.data(("image", "text"))
    return fit(build, data, block_world.train, block_world.heldout, chosen, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("model", [BPR, LightGCN, VBPR], ids=lambda model: model.__name__)
def test_two_processes_train_as_one_does(block_world: BlockWorld, float64: None, model: type[FactorModel]) -> None:
    """In double precision, so that nothing but the order of sums can differ; the penalty is large enough to matter."""
    build = partial(model, embedding_dim=8, reg_weight=0.1)
    alone, shared = (trained(block_world, build, n) for n in (1, 2))
    assert shared.cost.device == "2 x cpu"
    assert (shared.course.epochs, shared.course.best_epoch, shared.cost.n_samples) == (
        alone.course.epochs,
        alone.course.best_epoch,
        660,
    )
    assert shared.course.history == pytest.approx(alone.course.history, rel=1e-9)
    assert shared.per_user.tolist() == pytest.approx(alone.per_user.tolist(), rel=1e-9)
    assert shared.users.tolist() == alone.users.tolist()
    for mine, theirs in zip(shared.course.losses, alone.course.losses, strict=True):
        assert mine == pytest.approx(theirs, rel=1e-9)
    for name, value in shared.state.items():  # in half precision, where rounding may go either way
        np.testing.assert_allclose(value, alone.state[name], rtol=2**-10, atol=1e-7)


@pytest.mark.slow
def test_single_precision_differs_by_rounding_only(block_world: BlockWorld) -> None:
    build = partial(VBPR, embedding_dim=8)
    alone, shared = (trained(block_world, build, n) for n in (1, 2))
    assert shared.course.losses[-1]["bpr"] == pytest.approx(alone.course.losses[-1]["bpr"], rel=1e-5)
    assert shared.course.best == pytest.approx(alone.course.best, rel=1e-3)


class Exploding(BPR):
    """Its loss is not a number in the second epoch."""

    epoch = 0

    def begin_epoch(self) -> None:
        self.epoch += 1

    def loss(self, batch: Triplets) -> dict[str, torch.Tensor]:
        return {name: value / (self.epoch < 2) for name, value in super().loss(batch).items()}


class Failing(BPR):
    """Does not survive its first step."""

    def loss(self, batch: Triplets) -> dict[str, torch.Tensor]:
        raise RuntimeError("no memory left\nfor anything")


@pytest.mark.slow
def test_degenerate_losses_of_other_processes_are_told(block_world: BlockWorld) -> None:
    with pytest.raises(DegenerateScores, match="loss is not finite in epoch 2"):
        trained(block_world, Exploding, 2)


@pytest.mark.slow
def test_the_failure_of_a_process_is_one_line(block_world: BlockWorld) -> None:
    with pytest.raises(RuntimeError, match=r"^a process of the training ended: for anything$"):
        trained(block_world, Failing, 2)


def test_a_model_that_needs_the_whole_batch_refuses(block_world: BlockWorld) -> None:
    message = "training.devices=2: FREEDOM cannot share its batches between devices; leave training.devices=1"
    with pytest.raises(ValueError, match=message):
        trained(block_world, FREEDOM, 2)


def test_a_computed_model_has_no_batches_to_share(block_world: BlockWorld) -> None:
    fitted = trained(block_world, Popularity, 2)
    assert (fitted.course.stop_reason, fitted.cost.device) == ("closed_form", "cpu")


def test_more_devices_than_there_are_is_refused(block_world: BlockWorld) -> None:
    there = torch.cuda.device_count()
    with pytest.raises(ValueError, match=f"training.devices={there + 2}, but this machine has {there} GPUs"):
        trained(block_world, BPR, there + 2, accelerator="gpu")


@pytest.mark.parametrize("size", [0, 1, 2, 3, 10, 11])
@pytest.mark.parametrize("n_ranks", [1, 2, 3])
def test_parts_make_up_the_batch(size: int, n_ranks: int) -> None:
    parts = [Part.of(size, rank, n_ranks) for rank in range(n_ranks)]
    assert [row for part in parts for row in range(size)[part.place]] == list(range(size))
    lengths = [part.end - part.begin for part in parts]
    assert max(lengths) - min(lengths) <= 1


def test_one_process_keeps_the_batch_itself() -> None:
    batch = Triplets(*torch.arange(6).reshape(3, 2))
    assert batch.share(0, 1) is batch
    rows = (torch.rand(2, 3), torch.rand(2, 3))
    assert all(mine is theirs for mine, theirs in zip(batch.whole(*rows), rows, strict=True))


def raised(text: str) -> ProcessException:
    return ProcessRaisedException(f"\n\n-- Process 1 terminated with the following error:\nTraceback\n{text}\n", 1, 7)


def exited(code: int) -> ProcessException:
    return ProcessExitedException("process 1 terminated", error_index=1, error_pid=7, exit_code=code)


@pytest.mark.parametrize(
    ("ended", "kind", "said"),
    [
        (raised("OSError: [Errno 28] No space left on device: '/data/x'"), OSError, (28, "/data/x")),
        (
            raised("FileNotFoundError: [Errno 2] No such file or directory: '/data/x'"),
            FileNotFoundError,
            (2, "/data/x"),
        ),
        (raised("OSError: the share is gone"), OSError, (None, None)),
        (exited(-signal.SIGSEGV), ProcessKilled, (None, None)),
        (
            raised("ValueError: no such thing"),
            RuntimeError,
            "a process of the training ended: ValueError: no such thing",
        ),
        (exited(3), RuntimeError, "a process of the training ended: process 1 terminated"),
    ],
)
def test_what_is_no_fault_of_the_training_is_told_from_it(
    ended: ProcessException, kind: type[Exception], said: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Trainer:
        optimizers = ()
        strategy = SimpleNamespace(launcher=None)

        def __init__(self, **flags: object) -> None: ...

        def fit(self, module: object) -> None:
            raise ended

    monkeypatch.setattr(pl, "Trainer", Trainer)
    with pytest.raises(kind) as told:
        run(SimpleNamespace(settings=TrainingSettings(**SETTINGS)))  # type: ignore[arg-type]
    error = told.value
    assert type(error) is kind
    assert ((error.errno, error.filename) if isinstance(error, OSError) else str(error)) == said
