"""One training run, from a model to an :class:`Outcome`."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mmbench import fingerprint, graphs, loop
from mmbench.data.interactions import Interactions
from mmbench.data.recdata import RecData
from mmbench.evaluation import Evaluator
from mmbench.loop import SELECTION_METRIC
from mmbench.messages import Refusal
from mmbench.models.base import ClosedForm, FactorModel, Recommender
from mmbench.nn.memo import Memo
from mmbench.settings import TrainingSettings

__all__ = ["SELECTION_METRIC", "ModelFactory", "Outcome", "TrainingSettings", "fit", "rebuild"]

#: Of the last few splits.
_evaluators = Memo[Evaluator](2)

ModelFactory = Callable[[RecData], Recommender]


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
        approximations: what is to be said of item graphs that are not exact, see :class:`mmbench.graphs.Graphs`.
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
    approximations: list[dict[str, Any]] = field(default_factory=list)

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


def fit(
    build: ModelFactory,
    data: RecData,
    train: Interactions,
    valid: Interactions,
    settings: TrainingSettings,
    seed: int,
    *,
    graph_dir: Path | None = None,
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
        graph_dir: where large item graphs are kept for other processes.

    Raises:
        DegenerateScores: if the loss or the scores are NaN or infinite, or the scores are constant.
    """
    began = time.perf_counter()
    # The processes of a shared training bring it to their devices.
    evaluator = _evaluator(valid, train, settings.device if settings.devices == 1 else torch.device("cpu"))
    with torch.random.fork_rng(), graphs.searching(settings.neighbours, graph_dir) as search:
        torch.manual_seed(seed)
        model = build(data)
        setup = time.perf_counter() - began
        if isinstance(model, ClosedForm):
            outcome = _computed(model, data, evaluator)
        elif isinstance(model, FactorModel):
            outcome = _trained(model, data, evaluator, settings, seed)
        else:
            raise Refusal("{model} must derive from FactorModel or ClosedForm", model=type(model).__name__)
    setup += outcome.setup_seconds
    seconds = time.perf_counter() - began
    shared = settings.devices > 1 and isinstance(model, FactorModel)
    device = f"{settings.devices} x {settings.device}" if shared else str(settings.device)
    known = search.approximations
    return replace(outcome, seconds=seconds, setup_seconds=setup, device=device, approximations=known)


def rebuild(
    build: ModelFactory,
    data: RecData,
    state: Mapping[str, NDArray[Any]],
    settings: TrainingSettings,
    seed: int,
    *,
    graph_dir: Path | None = None,
) -> Recommender:
    """Make a model as :func:`fit` did and put a stored state back; a closed-form model is computed again.

    Args:
        build: makes the model from the training data.
        data: what the model sees.
        state: its parameters by name.
        settings: as in the training.
        seed: as in the training.
        graph_dir: where large item graphs are kept for other processes.

    Returns:
        The model in eval mode on the device of ``settings``.
    """
    with torch.random.fork_rng(), graphs.searching(settings.neighbours, graph_dir):
        torch.manual_seed(seed)
        model = build(data)
        if isinstance(model, ClosedForm):
            model.fit(data)
        else:
            tensors = {name: torch.from_numpy(value) for name, value in state.items()}
            model.load_state_dict(tensors)  # float16 is cast to the parameter's type
    model.eval()
    return model.to(settings.device)


def _evaluator(valid: Interactions, train: Interactions, device: torch.device) -> Evaluator:
    """What ranks validation; trainings on the same split share it."""
    key = fingerprint.of_arrays(valid.users, valid.items, train.users, train.items)
    return _evaluators.get(f"{key} {valid.n_items} {device}", lambda: Evaluator(valid, train, device=device))


def _computed(model: ClosedForm, data: RecData, evaluator: Evaluator) -> Outcome:
    began = time.perf_counter()
    model.fit(data)
    model.eval().to(evaluator.device)
    fitted = time.perf_counter()
    per_user = loop.validation_scores(evaluator, model)
    score = float(per_user.mean())
    ranking = time.perf_counter() - fitted
    outcome = Outcome(model, score, per_user, evaluator.users, 1, 1, "closed_form", [score])
    return replace(outcome, setup_seconds=fitted - began, ranking_seconds=ranking)


def _trained(model: FactorModel, data: RecData, evaluator: Evaluator, settings: TrainingSettings, seed: int) -> Outcome:
    course = loop.train(model, data, evaluator, settings, seed)
    return Outcome(
        model,
        course.best_score,
        course.best_per_user.numpy(),
        evaluator.users,
        len(course.history),
        course.best_epoch,
        course.stop_reason,
        course.history,
        course.losses,
        ranking_seconds=course.ranking_seconds,
        n_samples=course.n_samples,
    )
