"""The training loop: batches, the one LightningModule, and Lightning's trainer on one device or several.

Several devices share every batch: each makes the vectors of its part, all of them compute the loss of the whole batch
from the gathered vectors. So terms that are no sums over triplets, like norms of batch rows, stay what they are, and a
training gives the same result, up to the rounding of sums, on any number of devices.
"""

from __future__ import annotations

import logging
import math
import signal
import time
import warnings
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from numpy.typing import NDArray
from pytorch_lightning.strategies import DDPStrategy
from torch import Tensor
from torch.multiprocessing.spawn import ProcessException

from mmbench import allocation, faults, metrics
from mmbench.batches import TripletLoader
from mmbench.data.recdata import RecData
from mmbench.evaluation import DegenerateScores, Evaluator
from mmbench.messages import Refusal
from mmbench.models.base import FactorModel, Recommender, Triplets
from mmbench.settings import TrainingSettings

SELECTION_METRIC = "ndcg@20"

for _name in ("pytorch_lightning", "lightning", "lightning_fabric", "lightning.pytorch"):
    logging.getLogger(_name).setLevel(logging.ERROR)


@dataclass
class Course:
    """What a training has come to; the processes of a shared training hand it back.

    Args:
        best_score: best validation score so far.
        best_epoch: its epoch, from 1.
        best_state: the model's state then.
        best_per_user: validation score of each evaluated user then, ``(n_valid_users,)``.
        history: validation score after each epoch.
        losses: mean of each loss term by epoch.
        ranking_seconds: time spent on scoring and ranking.
        n_samples: triplets trained on.
        stop_reason: why training ended.
        degenerate: what is wrong with the loss or the scores, empty while nothing is.
    """

    best_score: float = -math.inf
    best_epoch: int = 0
    best_state: dict[str, Tensor] = field(default_factory=dict)
    best_per_user: Tensor = field(default_factory=lambda: torch.empty(0))
    history: list[float] = field(default_factory=list)
    losses: list[dict[str, float]] = field(default_factory=list)
    ranking_seconds: float = 0.0
    n_samples: int = 0
    stop_reason: str = "max_epochs"
    degenerate: str = ""


class LitRecommender(pl.LightningModule):
    """Wraps every trained model: minimises the sum of its loss terms, validates and stops early.

    Args:
        model: what is trained.
        data: training data; its features are not used.
        settings: how to train.
        evaluator: ranks validation.
        seed: seed of batch order and negatives.
    """

    def __init__(
        self, model: FactorModel, data: RecData, settings: TrainingSettings, evaluator: Evaluator, seed: int
    ) -> None:
        super().__init__()
        self.model = model
        self.settings = settings
        self.evaluator = evaluator
        self.seed = seed
        self.course = Course()
        self.n_threads = torch.get_num_threads()
        self._size = (data.n_users, data.n_items)
        self._edges = data.edge_index
        self._sums: dict[str, Tensor] = {}

    def get_extra_state(self) -> dict[str, Any]:
        """The course: it comes back with the state from the processes of a shared training."""
        return vars(self.course)

    def set_extra_state(self, state: Any) -> None:
        """Take over the course of another process."""
        self.course = Course(**state)

    def on_fit_start(self) -> None:
        """Bring what ranks to the device; a process that shares a training gets this one's manner of running."""
        if self.trainer.world_size > 1:
            torch.set_num_threads(self.n_threads)
            allocation.keep_freed_memory()
        self.evaluator = self.evaluator.to(self.device)

    def train_dataloader(self) -> TripletLoader:
        """Batches where the model lives; every device draws the same ones."""
        edges = RecData(*self._size, self._edges.to(self.device))
        return TripletLoader(edges, self.settings.batch_size, self.seed, self.settings.batches_per_epoch)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Fused Adam over all parameters."""
        settings = self.settings
        return torch.optim.Adam(self.model.parameters(), settings.lr, weight_decay=settings.weight_decay, fused=True)

    def transfer_batch_to_device(self, batch: Triplets, device: torch.device, dataloader_idx: int) -> Triplets:
        """Batches are made where the model lives, so nothing is copied per step."""
        return batch

    def on_train_epoch_start(self) -> None:
        """Let the model draw what it draws once per epoch."""
        self.model.train()
        self.model.begin_epoch()
        self._sums = {}

    def training_step(self, batch: Triplets, batch_idx: int) -> Tensor:
        """Sum of the model's loss terms."""
        self.course.n_samples += len(batch.users)
        terms = self.model.loss(batch.share(self.trainer.global_rank, self.trainer.world_size))
        for name, value in terms.items():
            before = self._sums.get(name)
            self._sums[name] = value.detach() if before is None else before + value.detach()
        return torch.stack([value.reshape(()) for value in terms.values()]).sum()

    def on_train_epoch_end(self) -> None:
        """Validate, keep the best state, stop when patience is over."""
        faults.reach("epoch")
        course, steps = self.course, self.trainer.num_training_batches
        course.losses.append({name: float(total) / float(steps) for name, total in self._sums.items()})
        # One process ranks for all: they hold the same state, and no rounding of theirs may part their ways.
        per_user, course.degenerate = self.trainer.strategy.broadcast(
            self._validated() if self.trainer.is_global_zero else (np.empty(0), "")
        )
        if course.degenerate:
            self.trainer.should_stop = True
            return
        self._keep(per_user)
        epoch = len(course.history)
        if epoch == self.settings.max_epochs:
            return
        if epoch - course.best_epoch >= self.settings.patience:
            course.stop_reason = "patience"
        elif course.best_score < dict(self.settings.rungs).get(epoch, -math.inf):
            course.stop_reason = "rung"
        self.trainer.should_stop = course.stop_reason != "max_epochs"

    def _validated(self) -> tuple[NDArray[np.float64], str]:
        """Validation score of each user, or what is wrong with the loss or the scores."""
        losses = self.course.losses[-1]
        if not all(math.isfinite(value) for value in losses.values()):
            return np.empty(0), f"loss is not finite in epoch {self.current_epoch + 1}: {losses}"
        self.model.eval()
        began = time.perf_counter()
        try:
            return validation_scores(self.evaluator, self.model), ""
        except DegenerateScores as error:
            return np.empty(0), str(error)
        finally:
            self.course.ranking_seconds += time.perf_counter() - began

    def _keep(self, per_user: NDArray[np.float64]) -> None:
        course, score = self.course, float(per_user.mean())
        course.history.append(score)
        if score > course.best_score:
            course.best_score, course.best_epoch = score, len(course.history)
            course.best_per_user = torch.from_numpy(per_user)
            course.best_state = {name: value.detach().clone() for name, value in self.model.state_dict().items()}


def validation_scores(evaluator: Evaluator, model: Recommender) -> NDArray[np.float64]:
    """Per-user value of the selection metric, ``(n_valid_users,)``."""
    return metrics.per_user(evaluator.rank(model).pairs, SELECTION_METRIC)


def check_devices(model: type[Recommender], settings: TrainingSettings) -> None:
    """Refuse to share the batches of a model that cannot share them.

    Raises:
        ValueError: naming the model.
    """
    if settings.devices > 1 and issubclass(model, FactorModel) and not model.shares_batches:
        raise Refusal(
            "training.devices={devices}: {model} cannot share its batches between devices; leave training.devices=1",
            devices=settings.devices,
            model=model.__name__,
        )


def train(model: FactorModel, data: RecData, evaluator: Evaluator, settings: TrainingSettings, seed: int) -> Course:
    """Train a model, which ends in its best validation state.

    Args:
        model: what is trained.
        data: training data.
        evaluator: ranks validation.
        settings: how to train.
        seed: seed of batch order and negatives.

    Raises:
        DegenerateScores: if the loss or the scores are NaN or infinite, or the scores are constant.
        ValueError: for more devices than the model or the machine allows.
    """
    check_devices(type(model), settings)
    module = LitRecommender(model, data, settings, evaluator, seed)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="pytorch_lightning|lightning_fabric")
        trainer = pl.Trainer(
            accelerator=settings.device.type,
            precision=settings.precision,  # type: ignore[arg-type]
            max_epochs=settings.max_epochs,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
            inference_mode=False,
            **_placement(settings),
        )
        _fit(trainer, module)
    if module.course.degenerate:
        raise DegenerateScores(module.course.degenerate)
    model.load_state_dict(module.course.best_state)
    model.eval()
    return module.course


def _placement(settings: TrainingSettings) -> dict[str, Any]:
    """Lightning's flags that say where a training runs."""
    if settings.devices == 1:
        return {"devices": 1}
    on_gpu = settings.device.type == "cuda"
    if on_gpu and torch.cuda.device_count() < settings.devices:
        raise Refusal(
            "training.devices={devices}, but this machine has {gpus} GPUs",
            devices=settings.devices,
            gpus=torch.cuda.device_count(),
        )
    # The processes build nothing anew, so their states are equal from the start; sparse graphs cannot be broadcast.
    strategy = DDPStrategy(
        start_method="spawn",
        process_group_backend="nccl" if on_gpu else "gloo",
        init_sync=False,
        broadcast_buffers=False,
    )
    return {"devices": settings.devices, "strategy": strategy, "plugins": [LightningEnvironment()]}


def _fit(trainer: pl.Trainer, module: LitRecommender) -> None:
    """Run the trainer; the processes of a shared training end with it, whatever ends it."""
    try:
        trainer.fit(module)
    except ProcessException as error:
        reason = str(error).strip().splitlines()[-1]
        raise RuntimeError(f"a process of the training ended: {reason}") from error
    finally:
        if trainer.strategy.launcher is not None:
            trainer.strategy.launcher.kill(signal.SIGKILL)
