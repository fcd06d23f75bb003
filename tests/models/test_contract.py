"""The contract of a model, for every file of ``mmbench/models``: a new model is picked up by being there."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import inspect
import itertools
import pkgutil
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import mmbench.models
from mmbench.data.features import ItemFeature, with_missing_filled
from mmbench.data.interactions import Interactions
from mmbench.data.recdata import RecData, make_recdata
from mmbench.evaluation import metrics
from mmbench.evaluation.ranking import Evaluator
from mmbench.messages import Refusal
from mmbench.models.contentpopularity import ContentPopularity
from mmbench.models.popularity import Popularity
from mmbench.nn.negatives import NegativeSampler
from mmbench.nn.recommender import ClosedForm, FactorModel, Recommender, Triplets
from tests.conftest import BlockWorld

CONDITIONS = {
    "none": (),
    "text": ("text",),
    "image": ("image",),
    "fused": ("image", "text"),
    "three": ("audio", "image", "text"),
}
STEPS, CHECKPOINT = 30, 10
#: How a number is told that is not called by its keyword.
SAID_OF = {
    "first_modality_weight": "the weight of the first modality is -1.0",
    "keep": "the fraction of edges to keep is -1.0",
    "max_memory_gb": "more than max_memory_gb=-1$",
    "mf_reg_weight": "reg_weight=-1.0 must be positive",
    "reg_weight": r"\breg_weight=-1.0 must be ",
}
Model = type[Recommender]


def model_of(file: str) -> Model:
    """The one concrete recommender that a file of models defines."""
    module = importlib.import_module(f"mmbench.models.{file}")
    own = [
        value
        for value in vars(module).values()
        if inspect.isclass(value)
        and issubclass(value, Recommender)
        and value.__module__ == module.__name__
        and not inspect.isabstract(value)
    ]
    assert len(own) == 1, f"{module.__name__} defines {len(own)} models; one file holds one model"
    return own[0]


FILES = [info.name for info in pkgutil.iter_modules(mmbench.models.__path__)]


def usable(files: list[str]) -> list[Model]:
    """Models that the contract is checked for. A file that cannot be imported fails its own test only."""
    classes = []
    for file in files:
        with contextlib.suppress(Exception):
            classes.append(model_of(file))
    return classes


# External needs the lists of another system; it has its own test.
MODELS = usable([file for file in FILES if file != "external"])
TRAINED = [model for model in MODELS if issubclass(model, FactorModel)]


def cells(models: list[Model]) -> list[Any]:
    """Models by conditions; a model that ignores content has one condition."""
    return [
        # One modality is as good as another: to a model it is a name.
        pytest.param(
            model,
            condition,
            id=f"{model.__name__}-{condition}",
            marks=pytest.mark.thorough if condition == "image" else [],
        )
        for model in models
        for condition in (CONDITIONS if model.uses_content else ["none"])
    ]


def seldom(some: list[Any]) -> list[Any]:
    """The same for tests that train for long: with no content and with two modalities, all others thoroughly."""
    often = ("none", "fused")
    return [
        pytest.param(*one.values, id=one.id, marks=[] if one.values[1] in often else pytest.mark.thorough)
        for one in some
    ]


every_cell = pytest.mark.parametrize("model_class, condition", cells(MODELS))
every_trained_cell = pytest.mark.parametrize("model_class, condition", cells(TRAINED))
every_model = pytest.mark.parametrize("model_class", MODELS, ids=lambda model: model.__name__)


def build(model_class: Model, data: RecData, seed: int = 0) -> Any:
    """A small model, fitted if it is computed, in eval mode."""
    torch.manual_seed(seed)
    known = inspect.signature(model_class).parameters
    # Every item of the small world has been bought: a model that maps new items from their content is to map all.
    small = {"embedding_dim": 16, "mapped": "all"}
    model = model_class(data, **{name: value for name, value in small.items() if name in known})
    if isinstance(model, ClosedForm):
        model.fit(data)
    return model.eval()


def batch_of(data: RecData, seed: int = 0) -> Triplets:
    """Every training interaction once, with negatives."""
    sampler = NegativeSampler(data.edge_index, data.n_users, data.n_items)
    users, items = data.edge_index
    return Triplets(users, items, sampler.sample(users, torch.Generator().manual_seed(seed)))


def total(terms: dict[str, Tensor]) -> Tensor:
    return torch.stack([term.reshape(()) for term in terms.values()]).sum()


def train(model: Any, data: RecData, steps: int, look: Callable[[int], None] = lambda step: None) -> list[float]:
    """A few full-batch Adam steps, each an epoch of one batch; the losses before each step.

    After each step ``look`` is called with the number of steps done.
    """
    if isinstance(model, ClosedForm):
        return []
    torch.manual_seed(1)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    losses = []
    model.train()
    for step in range(steps):
        model.begin_epoch()
        loss = total(model.loss(batch_of(data, step)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        look(step + 1)
    model.eval()
    return losses


def scores_of(model: Any, data: RecData) -> Tensor:
    with torch.no_grad():
        return model.score(torch.arange(data.n_users))


@dataclasses.dataclass(frozen=True)
class Training:
    """Losses of a training run, and its best recall among the checkpoints, as a real run keeps its best epoch."""

    losses: list[float]
    recall: float


@pytest.fixture(scope="module")
def trained(block_world: BlockWorld) -> Callable[[Model, str], Training]:
    """Training of a cell, done once."""
    evaluator = Evaluator(block_world.heldout, block_world.train)
    done: dict[tuple[Model, str], Training] = {}

    def get(model_class: Model, condition: str) -> Training:
        key = (model_class, condition)
        if key not in done:
            data = block_world.data(CONDITIONS[condition])
            model = build(model_class, data)
            recalls: list[float] = []

            def look(step: int) -> None:
                if step % CHECKPOINT == 0:
                    recalls.append(float(metrics.recall(evaluator.rank(model.eval()).pairs, 5).mean()))
                    model.train()

            losses = train(model, data, STEPS, look)
            if not losses:
                look(0)
            done[key] = Training(losses, max(recalls))
        return done[key]

    return get


def test_a_batch_gathers_its_rows_and_its_nodes() -> None:
    batch = Triplets(torch.tensor([1, 0, 1]), torch.tensor([2, 0, 1]), torch.tensor([0, 0, 2]))
    users, items = torch.randn(2, 4), torch.randn(3, 4)
    whole = torch.cat([users, items])
    for rows, nodes in zip(batch.rows(users, items), batch.nodes(2), strict=True):
        assert torch.equal(rows, whole[nodes])
    assert [nodes.tolist() for nodes in batch.nodes(2)] == [[1, 0, 1], [4, 2, 3], [2, 2, 4]]


@pytest.mark.parametrize("file", FILES)
def test_a_file_holds_one_model(file: str) -> None:
    assert model_of(file).__module__ == f"mmbench.models.{file}"


def test_a_model_is_given_nothing_held_out() -> None:
    """Neither the data nor a model's constructor has room for validation or test."""
    names = [field.name for field in dataclasses.fields(RecData)]
    assert names == ["n_users", "n_items", "edge_index", "features", "present"]
    for model_class in MODELS:
        positional = [p for p in inspect.signature(model_class).parameters.values() if p.kind is not p.KEYWORD_ONLY]
        assert [p.name for p in positional] == ["data"], (
            f"{model_class.__name__} takes hyper-parameters by keyword only"
        )


@every_model
def test_defaults_are_enough(model_class: Model, block_world: BlockWorld) -> None:
    model = model_class(block_world.data(CONDITIONS["fused"]))
    assert isinstance(model, FactorModel | ClosedForm)


def numbers_of(model_class: Model) -> dict[str, str]:
    """Numeric keywords of a model with their types."""
    parameters = inspect.signature(model_class).parameters.values()
    types = {p.name: str(p.annotation).removesuffix(" | None") for p in parameters if p.kind is p.KEYWORD_ONLY}
    return {name: kind for name, kind in types.items() if kind in ("int", "float")}


@every_model
def test_no_number_may_be_negative(model_class: Model, block_world: BlockWorld) -> None:
    """What has no meaning is refused before anything is trained, in one line that names it."""
    data = block_world.data(CONDITIONS["fused"])
    for name, kind in numbers_of(model_class).items():
        with pytest.raises(Refusal) as refused:
            model_class(data, **{name: -1 if kind == "int" else -1.0})
        assert re.search(SAID_OF.get(name, rf"{name}=-1(\.0)? "), str(refused.value))


@every_model
def test_rates_are_below_one_and_temperatures_above_zero(model_class: Model, block_world: BlockWorld) -> None:
    data = block_world.data(CONDITIONS["fused"])
    for name in numbers_of(model_class):
        ends = {"dropout": 1.0, "temperature": 0.0}
        for value in (end for word, end in ends.items() if name.split("_")[-1] == word):
            with pytest.raises(Refusal, match=f"{name}={value} must be "):
                model_class(data, **{name: value})


@every_model
def test_no_number_is_left_out_of_that(model_class: Model) -> None:
    """A number is annotated as one, a mapping of numbers is checked by the tests of who reads it."""
    for name, parameter in inspect.signature(model_class).parameters.items():
        if isinstance(parameter.default, int | float) and not isinstance(parameter.default, bool):
            assert name in numbers_of(model_class)


@every_cell
def test_shape_of_scores(model_class: Model, condition: str, block_world: BlockWorld) -> None:
    data = block_world.data(CONDITIONS[condition])
    model = build(model_class, data)
    users = torch.tensor([5, 0, 5, 43])
    with torch.no_grad():
        scores = model.score(users)
    assert scores.shape == (4, data.n_items)
    assert scores.is_floating_point()
    assert torch.isfinite(scores).all()
    assert torch.equal(scores[0], scores[2])
    torch.testing.assert_close(scores, scores_of(model, data)[users])


@every_trained_cell
def test_shape_of_representations(model_class: Model, condition: str, block_world: BlockWorld) -> None:
    data = block_world.data(CONDITIONS[condition])
    model = build(model_class, data)
    users, items = model()
    assert users.ndim == items.ndim == 2
    assert len(users) == data.n_users
    assert len(items) == data.n_items
    assert users.shape[1] == items.shape[1]


@every_trained_cell
def test_loss_is_finite_and_its_gradient_reaches_every_parameter(
    model_class: Model, condition: str, block_world: BlockWorld
) -> None:
    data = block_world.data(CONDITIONS[condition])
    model = build(model_class, data).train()
    model.begin_epoch()
    terms = model.loss(batch_of(data))
    assert all(term.numel() == 1 and torch.isfinite(term).all() for term in terms.values()), terms
    total(terms).backward()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    assert gradients
    assert [name for name, gradient in gradients.items() if gradient is None or not gradient.any()] == []
    assert all(torch.isfinite(gradient).all() for gradient in gradients.values() if gradient is not None)


@every_trained_cell
def test_loss_leaves_the_batch_alone(model_class: Model, condition: str, block_world: BlockWorld) -> None:
    data = block_world.data(CONDITIONS[condition])
    batch, again = batch_of(data), batch_of(data)
    model = build(model_class, data).train()
    model.begin_epoch()
    total(model.loss(batch)).backward()
    for name in ("users", "positives", "negatives"):
        assert torch.equal(getattr(batch, name), getattr(again, name))


@pytest.mark.parametrize("model_class, condition", seldom(cells(TRAINED)))
def test_loss_falls(model_class: Model, condition: str, trained: Callable[[Model, str], Training]) -> None:
    losses = trained(model_class, condition).losses
    assert np.mean(losses[-5:]) < np.mean(losses[:5])


def knows_something(model_class: Model, condition: str) -> bool:
    """Whether a model can beat popularity: not by one list for all, nor by content alone where there is none."""
    if model_class in (Popularity, ContentPopularity):
        return False
    by_content = issubclass(model_class, ClosedForm) and model_class.uses_content
    return bool(CONDITIONS[condition] or not by_content)


@pytest.mark.thorough
@pytest.mark.parametrize(
    "model_class, condition", seldom([cell for cell in cells(MODELS) if knows_something(*cell.values)])
)
def test_beats_popularity(
    model_class: Model, condition: str, block_world: BlockWorld, trained: Callable[[Model, str], Training]
) -> None:
    # A list of the own block finds everything, popularity less than a tenth.
    assert trained(model_class, condition).recall > trained(Popularity, "none").recall + 0.25


def permuted(state: dict[str, Tensor], order: Tensor, n_users: int) -> dict[str, Tensor]:
    """Reorder every axis that runs over items, or over users and items."""
    both = torch.cat([torch.arange(n_users), n_users + order])
    by_length = {len(order): order, len(both): both}
    result = {}
    for name, tensor in state.items():
        for axis, length in enumerate(tensor.shape):
            if length in by_length:
                tensor = tensor.index_select(axis, by_length[length])
        result[name] = tensor
    return result


@every_cell
@pytest.mark.usefixtures("float64")
def test_permuted_items_get_permuted_scores(model_class: Model, condition: str, block_world: BlockWorld) -> None:
    data = block_world.data(CONDITIONS[condition])
    order = torch.from_numpy(np.random.default_rng(3).permutation(data.n_items))
    check_permuted(model_class, data, order)


def check_permuted(model_class: Model, data: RecData, order: Tensor) -> None:
    """New item ``i`` is old item ``order[i]``, in the data and in the parameters."""
    users, items = data.edge_index
    moved = RecData(
        data.n_users,
        data.n_items,
        torch.stack([users, torch.argsort(order)[items]]),
        {name: values[order] for name, values in data.features.items()},
        {name: mask[order] for name, mask in data.present.items()},
    )
    model, moved_model = build(model_class, data), build(model_class, moved, seed=1)
    if isinstance(model, FactorModel):
        train(model, data, 2)
        moved_model.load_state_dict(permuted(model.state_dict(), order, data.n_users))
        moved_model.eval()
    torch.testing.assert_close(scores_of(moved_model, moved), scores_of(model, data)[:, order], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    "model_class, condition",
    [
        # Of trained models the next test shows more.
        pytest.param(*cell.values, id=cell.id, marks=pytest.mark.thorough if cell.values[0] in TRAINED else cell.marks)
        for cell in cells(MODELS)
    ],
)
def test_same_seed_same_numbers(model_class: Model, condition: str, block_world: BlockWorld) -> None:
    data = block_world.data(CONDITIONS[condition])
    first, second = build(model_class, data), build(model_class, data)
    assert train(first, data, 3) == train(second, data, 3)
    assert torch.equal(scores_of(first, data), scores_of(second, data))


@every_trained_cell
def test_every_start_and_every_draw_has_a_stream_of_its_own(
    model_class: Model, condition: str, block_world: BlockWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing but the model's own number decides them: the global generator may be anywhere else."""
    data = block_world.data(CONDITIONS[condition])
    begin, states = FactorModel.__init__, []

    def begin_elsewhere(model: FactorModel) -> None:
        begin(model)
        torch.manual_seed(len(states))

    monkeypatch.setattr(FactorModel, "__init__", begin_elsewhere)
    for _ in range(2):
        model = build(model_class, data)
        optimizer = torch.optim.SGD(model.train().parameters(), lr=0.01)
        for step in range(2):
            model.begin_epoch()
            optimizer.zero_grad()
            total(model.loss(batch_of(data, step))).backward()
            optimizer.step()
        states.append(model.state_dict())
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


@pytest.mark.parametrize("model_class", [m for m in TRAINED if m.uses_content], ids=lambda model: model.__name__)
def test_another_modality_moves_no_start(model_class: Model, block_world: BlockWorld) -> None:
    """What two conditions share, by name and shape, starts alike, up to the scale of a law that looks at a width."""
    starts = {name: build(model_class, block_world.data(m)).state_dict() for name, m in CONDITIONS.items()}
    compared = set()
    for one, other in itertools.combinations(starts, 2):
        shared = [name for name in starts[one] if name in starts[other]]
        for name in shared:
            a, b = starts[one][name], starts[other][name]
            if a.shape == b.shape:
                compared.add(name)
                torch.testing.assert_close(a * b.norm(), b * a.norm(), msg=f"{name} of {one} and of {other}")
    assert compared


@every_trained_cell
def test_another_seed_other_numbers(model_class: Model, condition: str, block_world: BlockWorld) -> None:
    data = block_world.data(CONDITIONS[condition])
    scores = [scores_of(build(model_class, data, seed), data) for seed in (0, 1)]
    assert not torch.equal(*scores)


@every_cell
def test_state_dict_round_trip(model_class: Model, condition: str, block_world: BlockWorld) -> None:
    """The state alone restores the scores in a model that was built from another seed."""
    data = block_world.data(CONDITIONS[condition])
    model, other = build(model_class, data), build(model_class, data, seed=1)
    train(model, data, 2)
    other.load_state_dict(model.state_dict())
    assert torch.equal(scores_of(other.eval(), data), scores_of(model, data))


@every_cell
@pytest.mark.usefixtures("float64")
def test_runs_in_double_precision(model_class: Model, condition: str, block_world: BlockWorld) -> None:
    data = block_world.data(CONDITIONS[condition])
    model = build(model_class, data)
    assert scores_of(model, data).dtype == torch.float64
    assert all(np.isfinite(train(model, data, 2)))
    if isinstance(model, FactorModel):
        assert {term.dtype for term in model.train().loss(batch_of(data)).values()} == {torch.float64}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@every_cell
@pytest.mark.usefixtures("float64")
def test_same_scores_on_cuda(model_class: Model, condition: str, block_world: BlockWorld) -> None:
    data = block_world.data(CONDITIONS[condition])
    model = build(model_class, data)
    on_cpu = scores_of(model, data)
    model = model.train().to("cuda").eval()
    with torch.no_grad():
        on_cuda = model.score(torch.arange(data.n_users, device="cuda"))
    torch.testing.assert_close(on_cuda.cpu(), on_cpu, rtol=1e-9, atol=1e-9)
    if isinstance(model, FactorModel):
        batch = Triplets(*(getattr(batch_of(data), f.name).cuda() for f in dataclasses.fields(Triplets)))
        model.train().begin_epoch()
        loss = total(model.loss(batch))
        loss.backward()
        assert torch.isfinite(loss)


@every_cell
def test_missing_content_gives_finite_numbers(model_class: Model, condition: str, block_world: BlockWorld) -> None:
    """Items without content, all-zero rows that claim to be content, and an item that nobody has."""
    features = {}
    for name in CONDITIONS[condition]:
        values = block_world.features[name].values.copy()
        values[[3, 4]] = 0.0
        present = np.ones(len(values), bool)
        present[[5, 6, 7]] = False
        features[name] = with_missing_filled(values, present)
    train_part = block_world.train
    known = train_part.select(train_part.items != 8)
    data = make_recdata(known, features)
    model = build(model_class, data)
    assert all(np.isfinite(train(model, data, 3)))
    assert torch.isfinite(scores_of(model, data)).all()


@every_trained_cell
def test_evaluation_uses_fresh_parameters(model_class: Model, condition: str, block_world: BlockWorld) -> None:
    """Scores in eval mode never come from representations of before the last step."""
    data = block_world.data(CONDITIONS[condition])
    model, other = build(model_class, data), build(model_class, data)
    before = scores_of(model, data)
    train(model, data, 1)
    after = scores_of(model, data)
    assert not torch.equal(before, after)
    other.load_state_dict(model.state_dict())
    other.train().eval()
    torch.testing.assert_close(scores_of(other, data), after)


@every_trained_cell
def test_evaluation_draws_nothing(model_class: Model, condition: str, block_world: BlockWorld) -> None:
    """No dropout and no resampled graph while ranking: the same scores twice, and after the next epoch began."""
    data = block_world.data(CONDITIONS[condition])
    model = build(model_class, data)
    first = scores_of(model, data)
    model.train().begin_epoch()
    torch.testing.assert_close(scores_of(model.eval(), data), first)


@pytest.mark.parametrize("model_class", [m for m in MODELS if not m.uses_content], ids=lambda model: model.__name__)
def test_content_is_ignored_by_models_that_say_so(model_class: Model, block_world: BlockWorld) -> None:
    """Trained from one seed, with all features and with none."""
    scores = []
    for condition in ("none", "three"):
        data = block_world.data(CONDITIONS[condition])
        model = build(model_class, data)
        train(model, data, 3)
        scores.append(scores_of(model, data))
    assert torch.equal(*scores)


@pytest.mark.parametrize("model_class", [m for m in MODELS if m.uses_content], ids=lambda model: model.__name__)
def test_every_modality_is_looked_at(model_class: Model, block_world: BlockWorld) -> None:
    """Shuffled features of one modality give other scores after training from one seed."""

    def scores(**changes: ItemFeature) -> Tensor:
        data = make_recdata(block_world.train, {**block_world.features, **changes})
        model = build(model_class, data)
        train(model, data, 3)
        return scores_of(model, data)

    real, overlooked = scores(), []
    for modality in CONDITIONS["three"]:
        values = block_world.features[modality].values
        order = np.random.default_rng(0).permutation(len(values))
        shuffled = with_missing_filled(values[order], np.ones(len(values), bool))
        if torch.allclose(real, scores(**{modality: shuffled})):
            overlooked.append(modality)
    assert overlooked == []


@every_cell
def test_order_of_interactions_does_not_matter(model_class: Model, condition: str, block_world: BlockWorld) -> None:
    data = block_world.data(CONDITIONS[condition])
    rows = np.random.default_rng(0).permutation(len(block_world.train))
    shuffled = Interactions(block_world.train.users[rows], block_world.train.items[rows], data.n_users, data.n_items)
    moved = make_recdata(shuffled, {name: block_world.features[name] for name in CONDITIONS[condition]})
    torch.testing.assert_close(scores_of(build(model_class, moved), moved), scores_of(build(model_class, data), data))
