"""One training run, from a factory of models to a :class:`Fitted` model."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mmbench import fingerprint
from mmbench.data.held_out import HeldOut
from mmbench.data.interactions import Interactions
from mmbench.data.recdata import RecData
from mmbench.evaluation.metrics import floor
from mmbench.evaluation.new_items import CommonLists, ranker_for
from mmbench.evaluation.ranking import DegenerateScores, Evaluator
from mmbench.messages import Refusal, Translator
from mmbench.models.popularity import Popularity
from mmbench.nn.memo import Memo
from mmbench.nn.recommender import ClosedForm, FactorModel, Recommender
from mmbench.store.files import State, as_stored
from mmbench.store.schema import CLOSED_FORM, Approximation, Cost, Course
from mmbench.training import compilation, loop, neighbour_search
from mmbench.training.settings import TrainingSettings
from mmbench.training.stopping import SELECTION_METRIC


@dataclass(frozen=True)
class Validation:
    """The validation split: what ranks it, and what the popularity baseline scores there.

    Args:
        evaluator: ranks it.
        popularity: score of the baseline; None where all items are equally popular.
    """

    evaluator: Evaluator | CommonLists
    popularity: float | None


#: Those of the last few splits.
_validations = Memo[Validation](2)

ModelFactory = Callable[[RecData], Recommender]


@dataclass(frozen=True)
class Fitted:
    """A trained model with the scores and costs of its training.

    Args:
        model: the model in its best state as it is stored, in eval mode.
        state: its parameters as they are stored; empty for a closed form, which is computed again.
        users: the evaluated users, ``(n_valid_users,)``.
        per_user: validation score that ``model`` gives each evaluated user, ``(n_valid_users,)``.
        course: scores and losses by epoch.
        cost: seconds and device.
        approximations: item graphs that are not exact.
    """

    model: Recommender
    state: State
    users: NDArray[np.int64]
    per_user: NDArray[np.float64]
    course: Course
    cost: Cost
    approximations: list[Approximation]

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
    translator: Translator | None = None,
    new_valid: HeldOut | None = None,
    target: str = "",
    common_lists: bool = True,
    informed: bool = True,
) -> Fitted:
    """Train one model from one seed and return it in its best validation state.

    That state is rounded as it will be stored, and validation is ranked once more with it, so that what chooses can be
    computed again from what is stored. The global random state is restored afterwards.

    Args:
        build: makes the model from the training data.
        data: what the model sees.
        train: training interactions, masked when validation is ranked.
        valid: validation interactions.
        settings: how long and how to train.
        seed: seed of initial values, batch order, negatives and dropout.
        graph_dir: where large item graphs are kept for other processes.
        translator: language of what is printed; by default English.
        new_valid: the whole of validation with its new items; None where there are none.
        target: what tuning aims at; empty to rank validation among all items.
        common_lists: whether validation chooses the offset of lists that hold new items and others too.
        informed: whether items have content of their own, so that it can tell new ones apart.

    Raises:
        DegenerateScores: if the loss or the scores are NaN or infinite, or the scores are constant.
    """
    began = time.perf_counter()
    # The processes of a shared training bring it to their devices.
    device = settings.device if settings.devices == 1 else torch.device("cpu")
    validation = _validation(valid, train, data, device, new_valid, target)
    evaluator = validation.evaluator
    cost = Cost(device=str(settings.device), machine=machine(settings))
    searching = neighbour_search.searching(settings.neighbours, graph_dir, translator)
    with torch.random.fork_rng(), searching as search:
        torch.manual_seed(seed)
        model = made(build, data)
        cost.setup_seconds = time.perf_counter() - began
        if isinstance(model, ClosedForm):
            model.fit(data)
            model.eval().to(evaluator.device)
            cost.setup_seconds = time.perf_counter() - began
            state: State = {}
            per_user = loop.validation_scores(evaluator, model)
            cost.ranking_seconds = time.perf_counter() - began - cost.setup_seconds
            course = Course(history=[float(per_user.mean())], best_epoch=1, stop_reason=CLOSED_FORM)
        elif isinstance(model, FactorModel):
            ended = loop.train(model, data, evaluator, settings, seed)
            course = ended.course
            cost.ranking_seconds, cost.n_samples = ended.ranking_seconds, ended.n_samples
            if settings.devices > 1:
                cost.device = f"{settings.devices} x {settings.device}"
            state = as_stored({name: value.cpu().numpy() for name, value in model.state_dict().items()})
            del model  # one of them at a time
            model = rebuild(build, data, state, settings, seed, graph_dir=graph_dir, translator=translator)
            ranked = time.perf_counter()
            evaluator = evaluator.to(settings.device)
            per_user = loop.validation_scores(evaluator, model)
            cost.ranking_seconds += time.perf_counter() - ranked
        else:
            raise Refusal("{model} must derive from FactorModel or ClosedForm", model=type(model).__name__)
    course.popularity = baseline(evaluator, validation.popularity, model, informed=informed)
    course.validated = float(per_user.mean())
    if isinstance(model, FactorModel) and len(model.unseen if model.unseen is not None else ()) and model.item_tables():
        course.cold_rows = "zero"
    if common_lists and new_valid is not None:
        course.offset = offset_of(model, new_valid, train, evaluator.device)
    cost.ranked_users = len(evaluator.users) * course.epochs
    cost.seconds = time.perf_counter() - began
    return Fitted(model, state, evaluator.users, per_user, course, cost, search.approximations)


def machine(settings: TrainingSettings) -> str:
    """What the bits of a result may depend on: processor family, instruction set, a GPU that trains, and a compiler.

    Args:
        settings: how it is trained; a training on processors touches no GPU, not even for its name.
    """
    on_gpu = settings.device.type == "cuda" and torch.cuda.is_available()
    gpu = [torch.cuda.get_device_name(settings.device)] if on_gpu else []
    compiled = [compilation.compiler()] if settings.compile else []
    return " ".join([platform.machine(), torch.backends.cpu.get_cpu_capability(), *gpu, *compiled])


def rebuild(
    build: ModelFactory,
    data: RecData,
    state: Mapping[str, NDArray[Any]],
    settings: TrainingSettings,
    seed: int,
    *,
    graph_dir: Path | None = None,
    translator: Translator | None = None,
) -> Recommender:
    """Make a model as :func:`fit` did and put a stored state back; a closed-form model is computed again.

    Args:
        build: makes the model from the training data.
        data: what the model sees.
        state: its parameters by name.
        settings: as in the training.
        seed: as in the training.
        graph_dir: where large item graphs are kept for other processes.
        translator: language of what is printed; by default English.

    Returns:
        The model in eval mode on the device of ``settings``.
    """
    with torch.random.fork_rng(), neighbour_search.searching(settings.neighbours, graph_dir, translator):
        torch.manual_seed(seed)
        model = made(build, data)
        if isinstance(model, ClosedForm):
            model.fit(data)
        else:
            tensors = {name: torch.from_numpy(value) for name, value in state.items()}
            if settings.is_double:
                model.double()
            model.load_state_dict(tensors)  # float16 is cast to the parameter's type
    model.eval()
    return model.to(settings.device)


def made(build: ModelFactory, data: RecData) -> Recommender:
    """A model that knows which items it will not see in training."""
    model = build(data)
    if isinstance(model, FactorModel):
        model.unseen = torch.nonzero(~data.warm).squeeze(1)
    return model


def popularity_score(evaluator: Evaluator | CommonLists, data: RecData) -> float | None:
    """What the popularity baseline scores on validation; None where all items are equally popular.

    New items are, so that among themselves it is their exact floor and not what the luck of ties makes of it.
    """
    popularity = Popularity(data)
    popularity.fit(data)
    popularity.to(evaluator.device)
    if loop.ranks_new_items(evaluator):
        return float(floor(evaluator.rank(popularity).pairs, SELECTION_METRIC).mean())
    try:
        return float(loop.validation_scores(evaluator, popularity).mean())
    except DegenerateScores:
        return None


def baseline(
    evaluator: Evaluator | CommonLists, popularity: float | None, model: Recommender, *, informed: bool
) -> float | None:
    """What a training is to exceed; None where only luck could: nothing that it reads tells new items apart.

    Args:
        evaluator: of validation.
        popularity: see :func:`popularity_score`.
        model: what was trained; one that leaves all content out scores new items alike.
        informed: as :func:`fit` takes it.
    """
    if loop.ranks_new_items(evaluator) and not (informed and evaluator.tells_apart(model)):
        return None
    return popularity


def evaluator_of_validation(
    valid: Interactions,
    train: Interactions,
    new_valid: HeldOut | None = None,
    target: str = "",
    device: torch.device | str = "cpu",
) -> Evaluator | CommonLists:
    """What ranks validation: among all items, or for a target of tuning among the candidates of that."""
    if target:
        assert new_valid is not None
        return ranker_for(target, new_valid, train, device=device)
    return Evaluator(valid, train, device=device)


def offset_of(
    model: Recommender, new_valid: HeldOut, train: Interactions, device: torch.device | str = "cpu"
) -> float | None:
    """Offset of new items in common lists by validation; None where no user holds out items of both kinds."""
    if not len(new_valid.among("all")):
        return None
    return CommonLists(new_valid, train, device=device).best(model)[0]


def _validation(
    valid: Interactions,
    train: Interactions,
    data: RecData,
    device: torch.device,
    new_valid: HeldOut | None,
    target: str,
) -> Validation:
    """The validation split; trainings on the same split share it."""

    def make() -> Validation:
        evaluator = evaluator_of_validation(valid, train, new_valid, target, device)
        return Validation(evaluator, popularity_score(evaluator, data))

    pool = [] if new_valid is None else [new_valid.pool]
    key = fingerprint.of_arrays(valid.users, valid.items, train.users, train.items, *pool)
    return _validations.get(f"{key} {valid.n_items} {target} {device}", make)
