"""One training run: the one LightningModule and :func:`fit`, from a model to an :class:`Outcome`."""

from __future__ import annotations

import logging
import math
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmbench import faults, metrics
from mmbench.data.interactions import Interactions
from mmbench.data.recdata import RecData
from mmbench.evaluation import DegenerateScores, Evaluator
from mmbench.messages import Refusal
from mmbench.models.base import ClosedForm, FactorModel, Recommender, Triplets
from mmbench.nn.negatives import NegativeSampler

SELECTION_METRIC = "ndcg@20"
ACCELERATORS = ("cpu", "gpu", "auto")

ModelFactory = Callable[[RecData], Recommender]

for _name in ("pytorch_lightning", "lightning", "lightning_fabric", "lightning.pytorch"):
    logging.getLogger(_name).setLevel(logging.ERROR)


@dataclass(frozen=True)
class TrainingSettings:
    """How long and how a model is trained; the same rule for every condition.

    Args:
        max_epochs: epochs at most.
        patience: epochs without a better validation score before training stops.
        batch_size: triplets per step; the last short batch is kept.
        batches_per_epoch: steps per epoch at most, or None for all.
        lr: learning rate of Adam.
        weight_decay: L2 term of Adam.
        accelerator: ``cpu``, ``gpu`` or ``auto``.
        precision: Lightning's precision flag.
        rungs: epoch and validation score; a training whose best score up to that epoch is lower stops there.
    """

    max_epochs: int
    patience: int
    batch_size: int = 2048
    batches_per_epoch: int | None = None
    lr: float = 1e-3
    weight_decay: float = 0.0
    accelerator: str = "cpu"
    precision: str = "32-true"
    rungs: tuple[tuple[int, float], ...] = ()

    def __post_init__(self) -> None:
        if self.accelerator not in ACCELERATORS:
            raise Refusal("study", "no_accelerator", accelerator=self.accelerator, accelerators=", ".join(ACCELERATORS))
        if not isinstance(self.batch_size, int) or self.batch_size < 1:
            raise Refusal("study", "at_least_one", key="training.batch_size", value=self.batch_size)
        if not (isinstance(self.lr, int | float) and 0 < self.lr < math.inf):
            raise Refusal("study", "positive", key="optimizer.lr", value=self.lr)
        if not (isinstance(self.weight_decay, int | float) and 0 <= self.weight_decay < math.inf):
            raise Refusal("study", "number_from_zero", key="optimizer.weight_decay", value=self.weight_decay)

    @property
    def device(self) -> torch.device:
        """The device that ``accelerator`` means on this machine."""
        if self.accelerator == "auto":
            return torch.device("cuda" if torch.cuda.is_available() else "cpu")
        return torch.device({"gpu": "cuda"}.get(self.accelerator, self.accelerator))


@dataclass(frozen=True)
class Outcome:
    """What one training run gave.

    Args:
        model: the model in its best state, in eval mode.
        score: best validation score, full precision.
        per_user: validation score of each evaluated user in the best state, ``(n_valid_users,)``.
        users: the evaluated users, ``(n_valid_users,)``.
        epochs: epochs run.
        best_epoch: epoch of the best state, from 1.
        stop_reason: ``patience``, ``max_epochs``, ``rung`` or ``closed_form``.
        history: validation score after each epoch.
        losses: mean of each loss term by epoch.
        seconds: wall time of the run.
        setup_seconds: of it, building (and computing) the model.
        ranking_seconds: of it, scoring and ranking validation.
        n_samples: triplets trained on.
        device: where it ran.
    """

    model: Recommender
    score: float
    per_user: NDArray[np.float64]
    users: NDArray[np.int64]
    epochs: int
    best_epoch: int
    stop_reason: str
    history: list[float] = field(default_factory=list)
    losses: list[dict[str, float]] = field(default_factory=list)
    seconds: float = 0.0
    setup_seconds: float = 0.0
    ranking_seconds: float = 0.0
    n_samples: int = 0
    device: str = "cpu"

    @property
    def samples_per_second(self) -> float | None:
        """Triplets per second of training steps; None for a model that is computed."""
        training = self.seconds - self.setup_seconds - self.ranking_seconds
        return self.n_samples / training if self.n_samples and training > 0 else None

    @property
    def inference_us_per_user(self) -> float:
        """Microseconds to score and rank one user among all items, averaged over the validations."""
        return 1e6 * self.ranking_seconds / (len(self.users) * len(self.history))

    @property
    def n_parameters(self) -> int:
        """Number of trained numbers."""
        return sum(p.numel() for p in self.model.parameters())


class TripletLoader:
    """Batches of (user, positive, negative) as index tensors, reshuffled every epoch.

    Args:
        data: training data.
        batch_size: triplets per batch.
        seed: seed of order and negatives.
        limit: batches per epoch at most, or None.
    """

    def __init__(self, data: RecData, batch_size: int, seed: int, limit: int | None = None) -> None:
        self.sampler = NegativeSampler(data.edge_index, data.n_users, data.n_items)
        # A user who has every training item has no negative, hence no pair to learn from.
        self.edges = data.edge_index[:, self.sampler.free[data.edge_index[0]] > 0]
        if self.edges.shape[1] == 0:
            raise Refusal("study", "nothing_to_rank")
        self.batch_size = batch_size
        self.generator = torch.Generator(device=data.edge_index.device).manual_seed(seed)
        full = math.ceil(self.edges.shape[1] / batch_size)
        self.n_batches = full if limit is None else min(full, limit)

    def __len__(self) -> int:
        return self.n_batches

    def __iter__(self) -> Iterator[Triplets]:
        n = self.edges.shape[1]
        order = torch.randperm(n, generator=self.generator, device=self.edges.device)
        for batch in range(self.n_batches):
            users, positives = self.edges[:, order[batch * self.batch_size : (batch + 1) * self.batch_size]]
            yield Triplets(users, positives, self.sampler.sample(users, self.generator))


class LitRecommender(pl.LightningModule):
    """Wraps every trained model: minimises the sum of its loss terms, validates and stops early."""

    def __init__(self, model: FactorModel, settings: TrainingSettings, evaluator: Evaluator) -> None:
        super().__init__()
        self.model = model
        self.settings = settings
        self.evaluator = evaluator
        self.best_score = -math.inf
        self.best_epoch = 0
        self.best_state: dict[str, Tensor] = {}
        self.best_per_user: NDArray[np.float64] = np.empty(0)
        self.history: list[float] = []
        self.losses: list[dict[str, float]] = []
        self.ranking_seconds = 0.0
        self.stop_reason = "max_epochs"
        self._sums: dict[str, Tensor] = {}

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
        terms = self.model.loss(batch)
        for name, value in terms.items():
            self._sums[name] = self._sums.get(name, torch.zeros((), device=value.device)) + value.detach()
        return torch.stack([value.reshape(()) for value in terms.values()]).sum()

    def on_train_epoch_end(self) -> None:
        """Validate, keep the best state, stop when patience is over."""
        faults.reach("epoch")
        steps = self.trainer.num_training_batches
        self.losses.append({name: float(total) / float(steps) for name, total in self._sums.items()})
        if not all(math.isfinite(value) for value in self.losses[-1].values()):
            raise DegenerateScores(f"loss is not finite in epoch {self.current_epoch + 1}: {self.losses[-1]}")
        self.model.eval()
        began = time.perf_counter()
        per_user = validation_scores(self.evaluator, self.model)
        self.ranking_seconds += time.perf_counter() - began
        self.history.append(float(per_user.mean()))
        epoch = len(self.history)
        if self.history[-1] > self.best_score:
            self.best_score, self.best_epoch, self.best_per_user = self.history[-1], epoch, per_user
            self.best_state = {name: value.detach().clone() for name, value in self.model.state_dict().items()}
        if epoch == self.settings.max_epochs:
            return
        if epoch - self.best_epoch >= self.settings.patience:
            self.stop_reason = "patience"
        elif self.best_score < dict(self.settings.rungs).get(epoch, -math.inf):
            self.stop_reason = "rung"
        self.trainer.should_stop = self.stop_reason != "max_epochs"


def validation_scores(evaluator: Evaluator, model: Recommender) -> NDArray[np.float64]:
    """Per-user value of the selection metric, ``(n_valid_users,)``."""
    return metrics.per_user(evaluator.rank(model).pairs, SELECTION_METRIC)


def fit(
    build: ModelFactory, data: RecData, train: Interactions, valid: Interactions, settings: TrainingSettings, seed: int
) -> Outcome:
    """Train one model from one seed and return it in its best validation state.

    The global random state is put back afterwards.

    Args:
        build: makes the model from the training data.
        data: what the model sees.
        train: training interactions, masked when validation is ranked.
        valid: validation interactions.
        settings: how long and how to train.
        seed: seed of initial values, batch order, negatives and dropout.

    Raises:
        DegenerateScores: if the loss or the scores are NaN or infinite, or the scores are constant.
    """
    began = time.perf_counter()
    evaluator = Evaluator(valid, train, device=settings.device)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = build(data)
        setup = time.perf_counter() - began
        if isinstance(model, ClosedForm):
            outcome = _computed(model, data, evaluator)
        elif isinstance(model, FactorModel):
            outcome = _trained(model, data, evaluator, settings, seed)
        else:
            raise Refusal("study", "no_recommender", model=type(model).__name__)
    setup += outcome.setup_seconds
    seconds = time.perf_counter() - began
    return replace(outcome, seconds=seconds, setup_seconds=setup, device=str(settings.device))


def rebuild(
    build: ModelFactory,
    data: RecData,
    state: Mapping[str, NDArray[Any]],
    settings: TrainingSettings,
    seed: int,
) -> Recommender:
    """Make a model as :func:`fit` did and put a stored state back; a closed-form model is computed again.

    Returns:
        The model in eval mode on the device of ``settings``.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = build(data)
        if isinstance(model, ClosedForm):
            model.fit(data)
        else:
            tensors = {name: torch.from_numpy(value) for name, value in state.items()}
            model.load_state_dict(tensors)  # float16 is cast to the parameter's type
    model.eval()
    return model.to(settings.device)


def _computed(model: ClosedForm, data: RecData, evaluator: Evaluator) -> Outcome:
    began = time.perf_counter()
    model.fit(data)
    model.eval().to(evaluator.device)
    fitted = time.perf_counter()
    per_user = validation_scores(evaluator, model)
    score = float(per_user.mean())
    ranking = time.perf_counter() - fitted
    outcome = Outcome(model, score, per_user, evaluator.users, 1, 1, "closed_form", [score])
    return replace(outcome, setup_seconds=fitted - began, ranking_seconds=ranking)


def _trained(model: FactorModel, data: RecData, evaluator: Evaluator, settings: TrainingSettings, seed: int) -> Outcome:
    module = LitRecommender(model, settings, evaluator)
    on_device = RecData(data.n_users, data.n_items, data.edge_index.to(evaluator.device))
    loader = TripletLoader(on_device, settings.batch_size, seed, settings.batches_per_epoch)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="pytorch_lightning|lightning_fabric")
        trainer = pl.Trainer(
            accelerator=evaluator.device.type,
            devices=1,
            precision=settings.precision,  # type: ignore[arg-type]
            max_epochs=settings.max_epochs,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
            inference_mode=False,
        )
        trainer.fit(module, train_dataloaders=loader)
    model.load_state_dict(module.best_state)
    model.eval()
    epochs = len(module.history)
    return Outcome(
        model,
        module.best_score,
        module.best_per_user,
        evaluator.users,
        epochs,
        module.best_epoch,
        module.stop_reason,
        module.history,
        module.losses,
        ranking_seconds=module.ranking_seconds,
        n_samples=min(loader.edges.shape[1], loader.n_batches * settings.batch_size) * epochs,
    )
