"""The training loop: batches, the one LightningModule, and Lightning's trainer on one device or several.

Several devices share every batch: each makes the vectors of its part, all of them compute the loss of the whole batch
from the gathered vectors. So terms that are no sums over triplets, like norms of batch rows, stay what they are, and a
training gives the same result, up to the rounding of sums, on any number of devices.
"""

from __future__ import annotations

import builtins
import logging
import math
import re
import signal
import time
import warnings
from dataclasses import dataclass, field
from typing import Any, TypeGuard

import msgspec
import numpy as np
import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from numpy.typing import NDArray
from pytorch_lightning.plugins.precision.double import DoublePrecision
from pytorch_lightning.strategies import DDPStrategy
from pytorch_lightning.trainer.connectors.signal_connector import _SignalConnector
from torch import Tensor
from torch.multiprocessing.spawn import ProcessException, ProcessExitedException

from mmbench import faults
from mmbench.data.recdata import RecData
from mmbench.evaluation.new_items import CommonLists
from mmbench.evaluation.ranking import DegenerateScores, Evaluator
from mmbench.messages import Refusal
from mmbench.nn import subnormals
from mmbench.nn.recommender import FactorModel, Recommender, Triplets
from mmbench.store.schema import Course
from mmbench.training import allocation, compilation
from mmbench.training.batches import TripletLoader
from mmbench.training.settings import TrainingSettings
from mmbench.training.stopping import SELECTION_METRIC

for _name in ("pytorch_lightning", "lightning", "lightning_fabric", "lightning.pytorch"):
    logging.getLogger(_name).setLevel(logging.ERROR)


@dataclass
class LoopState:
    """How far a training has come; the processes of a shared training hand it back.

    Args:
        course: scores, losses and the reason to stop.
        ranking_seconds: time spent on scoring and ranking.
        n_samples: triplets trained on.
        best_state: the model's state after the best epoch.
        degenerate: error in the loss or the scores; empty without one.
    """

    course: Course = field(default_factory=Course)
    ranking_seconds: float = 0.0
    n_samples: int = 0
    best_state: dict[str, Tensor] = field(default_factory=dict)
    degenerate: str = ""


class _Double(DoublePrecision):
    """Lightning's double precision, without its look for floating-point numbers in a batch, which has none."""

    def convert_input(self, data: Any) -> Any:
        return data


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
        self,
        model: FactorModel,
        data: RecData,
        settings: TrainingSettings,
        evaluator: Evaluator | CommonLists,
        seed: int,
    ) -> None:
        super().__init__()
        self.model = model
        self.settings = settings
        self.evaluator = evaluator
        self.seed = seed
        self.loop_state = LoopState()
        self.n_threads = torch.get_num_threads()
        self._size = (data.n_users, data.n_items)
        self._edges = data.edge_index
        self._sums: dict[str, Tensor] = {}
        self._loss = compilation.compiled(model.loss) if settings.compile else model.loss

    def get_extra_state(self) -> dict[str, Any]:
        """The state of the loop: it comes back with the state from the processes of a shared training."""
        return {**vars(self.loop_state), "course": msgspec.to_builtins(self.loop_state.course)}

    def set_extra_state(self, state: Any) -> None:
        """Take over the state of another process."""
        self.loop_state = LoopState(**{**state, "course": msgspec.convert(state["course"], Course)})

    def on_fit_start(self) -> None:
        """Move the evaluator to the device; processes that share a training compute as the one that began it does."""
        if self.trainer.world_size > 1:
            torch.set_num_threads(self.n_threads)
            torch.set_flush_denormal(True)
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
        self.loop_state.n_samples += len(batch.users)
        terms = self._loss(batch.share(self.trainer.global_rank, self.trainer.world_size))
        for name, value in terms.items():
            one = value.detach().to(torch.promote_types(value.dtype, torch.float32))  # sums of halves would stand still
            before = self._sums.get(name)
            self._sums[name] = one if before is None else before + one
        return torch.stack([value.reshape(()) for value in terms.values()]).sum()

    def on_train_epoch_end(self) -> None:
        """Validate, keep the best state, stop when patience is over."""
        faults.reach("epoch")
        state, course, rule = self.loop_state, self.loop_state.course, self.settings.stopping
        steps = course.steps_per_epoch = int(self.trainer.num_training_batches)
        course.losses.append({name: float(total) / steps for name, total in self._sums.items()})
        # One process ranks for all: they hold the same state, and different rounding must not let them stop at
        # different epochs.
        per_user, state.degenerate = self.trainer.strategy.broadcast(
            self._validated() if self.trainer.is_global_zero else (np.empty(0), "")
        )
        if state.degenerate:
            self.trainer.should_stop = True
            return
        score = float(per_user.mean())
        course.history.append(score)
        # Without content all scores of new items are alike in every epoch: the first would be a model that is hardly
        # trained, and that is what ranks the other items.
        as_good = ranks_new_items(self.evaluator) and score == course.best
        if course.epochs == 1 or score > course.best or as_good:
            course.best_epoch = course.epochs
            self._keep_best()
        if course.epochs == rule.most_epochs(steps):
            self.trainer.should_stop = True
            return
        if rule.is_out_of_patience(course.epochs, course.risen_at, steps):
            course.stop_reason = "patience"
        elif course.best < dict(self.settings.rungs).get(course.epochs, -math.inf):
            course.stop_reason = "rung"
        self.trainer.should_stop = course.stop_reason != "max_steps"

    def _keep_best(self) -> None:
        """Keep the model's state in the place of the best one before, so that there are never two copies of it."""
        kept = self.loop_state.best_state
        for name, value in self.model.state_dict().items():
            if name in kept:
                kept[name].copy_(value)
            else:
                kept[name] = value.detach().clone()

    def _validated(self) -> tuple[NDArray[np.float64], str]:
        """Validation score of each user, or what is wrong with the loss or the scores."""
        losses = self.loop_state.course.losses[-1]
        if not all(math.isfinite(value) for value in losses.values()):
            return np.empty(0), f"loss is not finite in epoch {self.current_epoch + 1}: {losses}"
        self.model.eval()
        began = time.perf_counter()
        try:
            return validation_scores(self.evaluator, self.model), ""
        except DegenerateScores as error:
            return np.empty(0), str(error)
        finally:
            self.loop_state.ranking_seconds += time.perf_counter() - began


def validation_scores(evaluator: Evaluator | CommonLists, model: Recommender) -> NDArray[np.float64]:
    """Per-user value of the selection metric, ``(n_valid_users,)``."""
    return evaluator.scores(model, SELECTION_METRIC)


def ranks_new_items(evaluator: Evaluator | CommonLists) -> TypeGuard[Evaluator]:
    """Whether it ranks new items among themselves, where nothing but content can tell one from another."""
    return isinstance(evaluator, Evaluator) and evaluator.ties_rank


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


def check_compiled(model: type[Recommender], settings: TrainingSettings) -> None:
    """Refuse to compile a model whose compiled loss is not known to be the same.

    Raises:
        ValueError: naming the models that can be compiled.
    """
    if settings.compile and issubclass(model, FactorModel) and not model.compiles:
        raise Refusal(
            "training.compile=true: {model} is not compiled, only {models} are, whose results a test compares; leave "
            "training.compile=false",
            model=model.__name__,
            models=", ".join(compilation.may_compile()),
        )


def train(
    model: FactorModel, data: RecData, evaluator: Evaluator | CommonLists, settings: TrainingSettings, seed: int
) -> LoopState:
    """Train a model, which ends in its best validation state.

    Args:
        model: what is trained.
        data: training data.
        evaluator: ranks validation.
        settings: how to train.
        seed: seed of batch order and negatives.

    Raises:
        DegenerateScores: if the loss or the scores are NaN or infinite, or the scores are constant.
        ValueError: for more devices than the model or the machine allows, and for a model that is not compiled.
    """
    check_devices(type(model), settings)
    check_compiled(type(model), settings)
    module = LitRecommender(model, data, settings, evaluator, seed)
    try:
        run(module)
    except Exception:
        if settings.compile:
            compilation.distrust_kernels()  # a training is tried twice
        raise
    finally:
        if settings.compile:
            compilation.forget()
    if module.loop_state.degenerate:
        raise DegenerateScores(module.loop_state.degenerate)
    model.load_state_dict(module.loop_state.best_state)
    # What follows builds the model anew from its stored state: nothing of its size may live on, and the circle of
    # trainer and module lives on until the next collection.
    module.loop_state.best_state = {}
    del module.model, module._loss
    model.zero_grad()
    model.eval()
    return module.loop_state


def _placement(settings: TrainingSettings) -> dict[str, Any]:
    """Lightning's flags that say where a training runs, and in which precision."""
    plugins: list[Any] = [_Double()] if settings.is_double else []
    flags = {"precision": None if settings.is_double else settings.precision, "devices": settings.devices}
    if settings.devices == 1:
        return {**flags, "plugins": plugins}
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
    return {**flags, "strategy": strategy, "plugins": [*plugins, LightningEnvironment()]}


class _WorkersSignals(_SignalConnector):
    """Leaves signals to the worker: Lightning would end a training at SIGTERM, at once and with exit code 0."""

    def register_signal_handlers(self) -> None:
        """Register none."""


def run(module: LitRecommender) -> None:
    """Train a module until it stops itself; the processes of a shared training end with it, whatever ends it."""
    settings = module.settings
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="pytorch_lightning|lightning_fabric")
        trainer = pl.Trainer(
            accelerator=settings.device.type,
            max_epochs=-1,  # the module stops itself
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
            inference_mode=False,
            **_placement(settings),
        )
        trainer._signal_connector = _WorkersSignals(trainer)
        try:
            with subnormals.as_zeros():
                trainer.fit(module)
        except ProcessException as error:
            raise _ended(error) from error
        finally:
            for optimizer in trainer.optimizers:  # it lives on in the circle of trainer and module
                optimizer.state.clear()
                optimizer.param_groups.clear()
            if trainer.strategy.launcher is not None:
                trainer.strategy.launcher.kill(signal.SIGKILL)


class ProcessKilled(OSError):
    """A signal ended a process of a training, or is to end it: it says of it what the same end of its worker would.

    Args:
        number: the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(f"a process of the training was ended by {signal.Signals(number).name}")
        self.number = number


def _ended(error: ProcessException) -> Exception:
    """What ended a process of a shared training, of whose exception there is the text alone."""
    if isinstance(error, ProcessExitedException) and error.exit_code < 0:
        return ProcessKilled(-error.exit_code)
    reason = str(error).strip().splitlines()[-1]
    name, _, said = reason.partition(": ")
    kind = getattr(builtins, name, None)
    if isinstance(kind, type) and issubclass(kind, OSError):
        numbered = re.fullmatch(r"\[Errno (\d+)\] (.*?)(?:: '(.*)')?", said)
        return OSError(int(numbered[1]), *numbered.groups()[1:]) if numbered else OSError(said)
    return RuntimeError(f"a process of the training ended: {reason}")
