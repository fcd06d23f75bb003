"""Nested spaces: a weight of 0 gives the scores of the condition that lacks the modality, trained from the same seed.

What a model claims stands in its class (``content_ignored_by``, or ``content_needed_because``) and in its search space.
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from mmbench.data.recdata import RecData, make_recdata
from mmbench.nn.hyperparameters import is_read
from mmbench.nn.recommender import FactorModel
from mmbench.training.fit import fit
from mmbench.tuning.space import NumericRange, inverse_cdf, numeric_ranges, read_space, uniform
from tests.conftest import BlockWorld
from tests.models.test_contract import MODELS, Model, scores_of, train
from tests.regressions import with_new_items
from tests.test_conf import job_of
from tests.tiny import make_job

WITH_CONTENT = [model for model in MODELS if model.uses_content]
THREE = ("audio", "image", "text")
SUBSETS = [names for size in range(4) for names in itertools.combinations(THREE, size)]
STEPS = 4


def ignoring(model: Model, present: tuple[str, ...], rest: tuple[str, ...]) -> dict[str, Any] | None:
    """Hyper-parameters with which a model of the present modalities ignores all but the rest; None if it cannot."""
    if not rest:
        return {model.content_ignored_by: 0.0} if model.content_ignored_by else None
    if len(present) == 2:
        return {"first_modality_weight": 1.0 if rest == present[:1] else 0.0}
    return {"modality_weights": {name: float(name in rest) for name in THREE}}


def claims() -> list[Any]:
    """Every model, bigger condition and what is left of it, for all that models claim."""
    # Names of modalities are all alike to a model: these are one of each kind.
    often = {(("text",), ()), *((("image", "text"), rest) for rest in ((), ("image",), ("text",)))}
    often |= {(THREE, rest) for rest in ((), ("text",), ("image", "text"))}
    return [
        pytest.param(
            model,
            present,
            rest,
            id=f"{model.__name__}-{'+'.join(present)}-{'+'.join(rest) or 'none'}",
            marks=[] if (present, rest) in often else pytest.mark.thorough,
        )
        for model in WITH_CONTENT
        for present, rest in itertools.product(SUBSETS, SUBSETS)
        if set(rest) < set(present) and ignoring(model, present, rest) is not None
    ]


@pytest.fixture(scope="module")
def trained(block_world: BlockWorld) -> Callable[..., Tensor]:
    """Scores after some training from one seed, in float64; the smaller conditions are trained once.

    Every modality says something else of the items, so that their weights matter.
    """
    done: dict[Any, Tensor] = {}
    noise = np.random.default_rng(5)
    features = {
        name: replace(feature, values=noise.standard_normal(feature.values.shape).astype(np.float32))
        for name, feature in block_world.features.items()
    }

    def get(model_class: Model, names: tuple[str, ...], **weights: Any) -> Tensor:
        key = (model_class, names, repr(weights))
        if key not in done:
            data = make_recdata(block_world.train, {name: features[name] for name in names})
            torch.manual_seed(0)
            small = {"embedding_dim": 8} if issubclass(model_class, FactorModel) else {}
            # Every item of the small world has been bought: a model that maps new items is to map all.
            mapped = {"mapped": "all"} if "mapped" in inspect.signature(model_class).parameters else {}
            model = model_class(data, **small, **mapped, **weights)
            if isinstance(model, FactorModel):
                train(model, data, STEPS)
            else:
                model.fit(data)
            done[key] = scores_of(model.eval(), data)
        return done[key]

    return get


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("model_class, present, rest", claims())
def test_a_weight_of_zero_is_the_smaller_condition(
    model_class: Model, present: tuple[str, ...], rest: tuple[str, ...], trained: Callable[..., Tensor]
) -> None:
    weights = ignoring(model_class, present, rest)
    smaller = trained(model_class, rest)
    torch.testing.assert_close(trained(model_class, present, **weights or {}), smaller, rtol=0, atol=1e-6)
    assert not torch.allclose(trained(model_class, present), smaller), "the modality is ignored at its published weight"


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("model_class", WITH_CONTENT, ids=lambda model: model.__name__)
def test_one_slot_is_one_configuration_for_all_conditions(model_class: Model, trained: Callable[..., Tensor]) -> None:
    """Where a slot ignores a modality of three, it trains what the smaller condition trains in that slot."""
    slot = {"modality_weights": {"audio": 0.0, "image": 0.5, "text": 3.0}, "first_modality_weight": 0.3}
    bigger, smaller = (trained(model_class, names, **slot) for names in (THREE, ("image", "text")))
    torch.testing.assert_close(bigger, smaller, rtol=0, atol=1e-6)
    assert not torch.allclose(smaller, trained(model_class, ("image", "text"))), "a share of .3 changes nothing"


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("model_class", WITH_CONTENT, ids=lambda model: model.__name__)
def test_a_weight_matters_between_its_ends(model_class: Model, trained: Callable[..., Tensor]) -> None:
    """Only ContentKNN scores by content alone, so that the size of its weight cannot matter."""
    several = [{"modality_weights": {"audio": 3.0, "image": 1.0, "text": 0.5}}]
    if name := model_class.content_ignored_by:
        several += [{name: 0.4}, {name: 0.8}]
    scores = [trained(model_class, THREE, **weights) for weights in several]
    for one, other in itertools.combinations(scores, 2):
        assert torch.allclose(one, other) == (model_class.__name__ == "ContentKNN" and one is not scores[0])


# What the search spaces hold


def ranges_of(model: Model) -> dict[str, NumericRange]:
    name = model.__module__.rpartition(".")[2]
    return numeric_ranges(read_space(job_of(name).config.plain["search"]))


@pytest.mark.parametrize("model_class", WITH_CONTENT, ids=lambda model: model.__name__)
def test_every_space_holds_the_points_that_ignore(model_class: Model) -> None:
    ranges = ranges_of(model_class)
    assert ranges["model.first_modality_weight"].atoms == (0.0, 1.0)
    assert all(ranges[f"model.modality_weights.{name}"].atoms == (0.0,) for name in THREE)
    if model_class.content_ignored_by:
        assert ranges[f"model.{model_class.content_ignored_by}"].atoms == (0.0,)


@pytest.mark.parametrize("model_class", WITH_CONTENT, ids=lambda model: model.__name__)
def test_a_model_ignores_all_content_or_says_why_not(model_class: Model) -> None:
    """One that says why has no weight of content, whose 0 would be the condition without any."""
    assert bool(model_class.content_ignored_by) != bool(model_class.content_needed_because)
    parameters = inspect.signature(model_class).parameters
    if model_class.content_needed_because:
        assert "content_weight" not in parameters
        assert "model.content_weight" not in ranges_of(model_class)
    else:
        assert model_class.content_ignored_by in parameters


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("model_class", WITH_CONTENT, ids=lambda model: model.__name__)
def test_what_content_alone_reads_is_said(model_class: Model, block_world: BlockWorld) -> None:
    """Both ways: what is said so changes nothing without content, and nothing else changes something with it alone."""
    space = read_space(job_of(model_class.__module__.rpartition(".")[2]).config.plain["search"])
    own = {path.removeprefix("model."): space[path] for path in space if path.startswith("model.")}
    assert model_class.read_by_content <= own.keys()

    def after(data: RecData, **given: Any) -> Tensor:
        torch.manual_seed(0)
        model = model_class(data, **given)
        if isinstance(model, FactorModel):
            train(model, data, 2)
        else:
            model.fit(data)
        return scores_of(model.eval(), data)

    nothing, everything = (with_new_items(block_world, names) for names in ((), THREE))
    of_content = {*model_class.read_by_content, model_class.content_ignored_by}
    for name, distribution in own.items():
        key, _, modality = name.partition(".")
        ends = [inverse_cdf(distribution, u) for u in (0.3, 0.9)]

        def changes(data: RecData, *, key: str = key, modality: str = modality, ends: Any = ends) -> bool:
            first, second = (after(data, **{key: {modality: end} if modality else end}) for end in ends)
            return not torch.equal(first, second)

        if not is_read(name, (), of_content):
            assert not changes(nothing), name
        else:
            assert changes(nothing) or not changes(everything), name


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(
    "model_class", [m for m in WITH_CONTENT if m.content_needed_because], ids=lambda model: model.__name__
)
def test_no_content_is_another_model_for_those_that_say_so(model_class: Model, block_world: BlockWorld) -> None:
    """Without content they have parameters that no condition with content has: a table in its place."""
    names = [
        {name for name, _ in model_class(block_world.data(present)).named_parameters()}
        for present in ((), ("text",), THREE)
    ]
    assert names[0] - names[1] - names[2]


@pytest.mark.parametrize("model_class", [m for m in MODELS if not m.uses_content], ids=lambda model: model.__name__)
def test_a_model_without_content_claims_nothing(model_class: Model) -> None:
    assert not model_class.content_ignored_by
    assert not model_class.content_needed_because


def test_a_quarter_of_the_slots_ignores() -> None:
    """As many of content, and as many of one of two modalities, in the space of every model."""
    space = read_space(job_of("fusion").config.plain["search"])
    for path, atoms in (("model.content_weight", {0.0}), ("model.first_modality_weight", {0.0, 1.0})):
        draws = [inverse_cdf(space[path], uniform("data|fusion", slot, 0, path)) for slot in range(2000)]
        assert 0.2 < sum(draw in atoms for draw in draws) / 2000 < 0.3


# From the command line to the validation scores of a training

CELLS = [
    (["modality=fused", "model.{weight}=0"], ["modality=none"]),
    (["modality=fused", "model.first_modality_weight=0"], ["modality=text"]),
    (["modality=fused", "model.first_modality_weight=1"], ["modality=image"]),
]


@pytest.mark.thorough
@pytest.mark.parametrize("model_class", WITH_CONTENT, ids=lambda model: model.__name__)
def test_a_training_of_a_sweep(model_class: Model, tmp_path: Any) -> None:
    """The state as it is stored and the score of every user are the same."""
    name = model_class.__module__.rpartition(".")[2]
    for bigger, smaller in CELLS[0 if model_class.content_ignored_by else 1 :]:
        fitted = []
        for words in (bigger, smaller):
            weight = model_class.content_ignored_by
            job = make_job(tmp_path, f"model={name}", *(word.format(weight=weight) for word in words))
            task = job.task()
            build, settings = task.recipe(task.default)
            data = make_recdata(task.train, task.inputs(seed=3))
            fitted.append(fit(partial(build), data, task.train, task.valid, settings, seed=3))
        assert (fitted[0].per_user == fitted[1].per_user).all()
        states = [one.model.state_dict() for one in fitted]
        assert states[0].keys() == states[1].keys()
        assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())
