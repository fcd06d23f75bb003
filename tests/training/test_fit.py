from __future__ import annotations

import gc
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mmbench.data.held_out import HeldOut
from mmbench.data.interactions import Interactions
from mmbench.data.recdata import RecData, make_recdata
from mmbench.evaluation import metrics
from mmbench.evaluation.ranking import DegenerateScores, Evaluator
from mmbench.models.bpr import BPR
from mmbench.models.lightgcn import LightGCN
from mmbench.models.popularity import Popularity
from mmbench.nn.recommender import FactorModel, Recommender, Triplets
from mmbench.store.schema import Course
from mmbench.training import batches as module
from mmbench.training import fit as fit_module
from mmbench.training import loop
from mmbench.training.batches import TripletLoader
from mmbench.training.fit import Fitted, _validation, fit, rebuild
from mmbench.training.settings import TrainingSettings
from mmbench.training.stopping import SELECTION_METRIC, StoppingRule
from tests.conftest import BlockWorld

Fit = Callable[..., Fitted]


@pytest.fixture
def fitted(block_world: BlockWorld) -> Fit:
    """Fit a model to the block world."""

    def run(build: Callable[[RecData], Recommender], seed: int = 0, *, max_epochs: int = 4, **settings: Any) -> Fitted:
        chosen = {"stopping": at_most(max_epochs), "batch_size": 64, "lr": 0.02, **settings}
        data = block_world.data(())
        return fit(build, data, block_world.train, block_world.heldout, TrainingSettings(**chosen), seed)

    return run


def at_most(epochs: int) -> StoppingRule:
    """A rule whose patience never ends a training."""
    return StoppingRule(patience_steps=10**6, min_steps=0, max_steps=1, least_epochs=epochs)


def bpr(data: RecData) -> BPR:
    return BPR(data, embedding_dim=8)


def state_of(outcome: Fitted) -> dict[str, list[Any]]:
    return {name: value.tolist() for name, value in outcome.model.state_dict().items()}


class Scripted(FactorModel):
    """A model whose quality in each epoch is given: 1 ranks the held-out items first, 0 at random.

    Its one parameter moves in every step, so that states of different epochs can be told apart.
    """

    def __init__(self, data: RecData, truth: Tensor, qualities: list[float]) -> None:
        super().__init__()
        self.truth, self.qualities = truth, qualities
        self.noise = torch.rand(truth.shape, generator=torch.Generator().manual_seed(0))
        self.weight = nn.Parameter(torch.zeros(1))
        self.register_buffer("epoch", torch.zeros((), dtype=torch.int64))
        self.steps = 0

    def begin_epoch(self) -> None:
        self.epoch += 1

    def forward(self) -> tuple[Tensor, Tensor]:
        quality = self.qualities[int(self.epoch) - 1]
        return quality * self.truth + self.noise, torch.eye(self.truth.shape[1])

    def loss(self, batch: Triplets) -> dict[str, Tensor]:
        self.steps += 1
        return {"move": (self.weight - 100.0).abs().sum(), "constant": torch.tensor(float(self.steps))}


@pytest.fixture
def scripted(block_world: BlockWorld) -> Callable[[list[float]], Callable[[RecData], Scripted]]:
    truth = torch.zeros(44, 36)
    truth[block_world.heldout.users, block_world.heldout.items] = 1.0

    def with_qualities(qualities: list[float]) -> Callable[[RecData], Scripted]:
        return lambda data: Scripted(data, truth, qualities)

    return with_qualities


@pytest.mark.parametrize("build", [bpr, lambda data: LightGCN(data, embedding_dim=8)], ids=["BPR", "LightGCN"])
def test_same_seed_same_run_bit_for_bit(fitted: Fit, build: Callable[[RecData], Recommender]) -> None:
    first, second = fitted(build), fitted(build)
    assert state_of(first) == state_of(second)
    assert first.course.history == second.course.history
    assert first.course.losses == second.course.losses
    assert first.per_user.tolist() == second.per_user.tolist()


def test_another_seed_another_run(fitted: Fit) -> None:
    first, second = fitted(bpr, seed=0), fitted(bpr, seed=1)
    assert state_of(first) != state_of(second)
    assert first.course.losses != second.course.losses


def test_a_run_does_not_depend_on_the_global_random_state(fitted: Fit) -> None:
    torch.manual_seed(1)
    first = fitted(bpr)
    torch.manual_seed(2)
    assert state_of(fitted(bpr)) == state_of(first)


@pytest.mark.parametrize("build", [bpr, Popularity], ids=["trained", "computed"])
def test_the_global_random_state_is_left_alone(fitted: Fit, build: Callable[[RecData], Recommender]) -> None:
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002 - it is the global state that is tested
    random.seed(5)
    before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()  # noqa: NPY002
    fitted(build)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1]  # noqa: NPY002
    assert random.getstate() == before[2]


def test_training_learns(fitted: Fit) -> None:
    outcome = fitted(bpr, max_epochs=30)
    assert outcome.course.validated > 0.8
    assert outcome.course.losses[-1]["bpr"] < 0.5 * outcome.course.losses[0]["bpr"]
    assert set(outcome.course.losses[0]) == {"bpr", "reg"}


#: Best in epoch 3; the fourth and the sixth are worse, the fifth is equally good.
RISE_AND_FALL = [0.1, 0.3, 0.8, 0.2, 0.8, 0.5, 0.7, 0.6, 0.4, 0.3, 0.2, 0.1, 0.9]


@pytest.mark.parametrize(
    "patience, least, last",
    [(1, 0, 8), (20, 0, 8), (21, 0, 9), (28, 0, 10), (1, 40, 10), (28, 45, 12)],
    ids=["five rankings at least", "five epochs", "rounded up", "seven epochs", "steps at least", "both"],
)
def test_patience_is_counted_in_steps(fitted: Fit, scripted: Any, patience: int, least: int, last: int) -> None:
    """Four steps an epoch, the best epoch is the third."""
    rule = StoppingRule(patience_steps=patience, min_steps=least, max_steps=52)
    course = fitted(scripted(RISE_AND_FALL), stopping=rule).course
    assert (course.epochs, course.best_epoch, course.stop_reason) == (last, 3, "patience")
    assert course.steps_per_epoch == 4
    assert len(course.history) == len(course.losses) == last
    assert course.best == max(course.history) == course.history[2] == course.history[4]


def test_of_equal_epochs_the_last_is_kept_among_new_items(
    fitted: Fit, scripted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Patience counts from the first of them all the same."""
    monkeypatch.setattr(loop, "ranks_new_items", lambda evaluator: True)
    rule = StoppingRule(patience_steps=1, min_steps=0, max_steps=52)
    course = fitted(scripted(RISE_AND_FALL), stopping=rule).course
    assert (course.epochs, course.risen_at, course.best_epoch, course.stop_reason) == (8, 3, 5, "patience")


def test_patience_starts_anew_with_every_improvement(fitted: Fit, scripted: Any) -> None:
    rule = StoppingRule(patience_steps=20, min_steps=0, max_steps=52)
    course = fitted(scripted([0.3, 0.2, 0.2, 0.2, 0.5, *5 * [0.4], 0.9]), stopping=rule).course
    assert (course.epochs, course.best_epoch, course.stop_reason) == (10, 5, "patience")


@pytest.mark.parametrize("max_steps, least_epochs, last", [(16, 1, 4), (17, 1, 5), (1, 6, 6), (16, 3, 4)])
def test_training_ends_at_the_cap(fitted: Fit, scripted: Any, max_steps: int, least_epochs: int, last: int) -> None:
    rule = StoppingRule(patience_steps=500, min_steps=0, max_steps=max_steps, least_epochs=least_epochs)
    course = fitted(scripted([0.2, 0.5, 0.4, 0.7, 0.3, 0.2, 0.1]), stopping=rule).course
    assert (course.epochs, course.best_epoch, course.stop_reason) == (last, 4, "max_steps")


def test_a_rung_asks_for_the_best_score_up_to_it(fitted: Fit, scripted: Any) -> None:
    """The second epoch is worse than the rung asks for, the first is better."""
    model = scripted([0.9, -0.9, 0.1, 0.2])
    best, last, *_ = fitted(model).course.history
    assert last < best
    for score, end in (((best + last) / 2, (4, "max_steps")), (best + 1e-9, (2, "rung"))):
        course = fitted(model, rungs=((2, score),)).course
        assert (course.epochs, course.stop_reason) == end


def test_a_rule_tells_its_shortest_and_longest_training() -> None:
    rule = StoppingRule(patience_steps=500, min_steps=1000, max_steps=3000, least_epochs=75)
    assert [rule.fewest_epochs(n) for n in (12, 40, 500)] == [84, 25, 6]
    assert [rule.most_epochs(n) for n in (12, 40, 500)] == [250, 75, 75]
    assert StoppingRule(500, 0, 5).fewest_epochs(5) == 1


@pytest.mark.parametrize("field", ["patience_steps", "min_steps", "max_steps", "least_epochs"])
@pytest.mark.parametrize("value", [-1, 2.5, "8", True])
def test_what_is_no_rule_is_refused(field: str, value: object) -> None:
    rule: dict[str, Any] = {"patience_steps": 500, "min_steps": 1000, "max_steps": 3000, "least_epochs": 75}
    with pytest.raises(ValueError, match=rf"budget\.{field}={value} must be a whole number of at least"):
        StoppingRule(**{**rule, field: value})


def test_popularity_is_recorded_beside_every_score(fitted: Fit, scripted: Any) -> None:
    floor = fitted(Popularity).course
    assert floor.popularity == floor.validated == floor.best
    rule = StoppingRule(patience_steps=1, min_steps=0, max_steps=52)
    good, bad = (fitted(scripted([q] * 7), stopping=rule).course for q in (0.9, -0.9))
    assert (good.popularity, bad.popularity) == (floor.best, floor.best)
    assert (good.stalled, bad.stalled) == (False, True)


def test_among_new_items_a_training_that_reads_content_is_to_exceed_their_exact_floor(
    block_world: BlockWorld, scripted: Any
) -> None:
    """Half of the items are new, so that popularity says nothing.

    Without content of their own, shuffled or left out, they cannot be ranked above it but by luck.
    """
    pool = np.arange(36) >= 18
    train = block_world.train.select(~pool[block_world.train.items])
    rows = block_world.heldout.select(pool[block_world.heldout.items])
    part = HeldOut(rows, pool, ~pool)
    rule = StoppingRule(patience_steps=1, min_steps=0, max_steps=52)

    def course(quality: float, *, informed: bool = True, alike: bool = False) -> Course:
        def build(data: RecData) -> Scripted:
            model = scripted([quality] * 7)(data)
            if alike:  # as a model whose weight of content is 0
                model.truth, model.noise = torch.zeros_like(model.truth), torch.zeros_like(model.noise)
            return model

        settings, data = TrainingSettings(stopping=rule, batch_size=64, lr=0.02), make_recdata(train, {})
        given = {"new_valid": part, "target": "cold", "informed": informed}
        return fit(build, data, train, rows, settings, 0, **given).course

    good, bad = course(0.9), course(-0.9)
    relevant = np.bincount(rows.users)
    relevant = relevant[relevant > 0]
    gains = np.cumsum(1 / np.log2(np.arange(2, 22)))
    expected = float(np.mean(relevant / 18 * gains[17] / gains[relevant - 1]))
    assert good.popularity == bad.popularity == pytest.approx(expected, rel=1e-12)
    assert good.best > expected > bad.best
    assert (good.stalled, bad.stalled) == (False, True)
    for blind in (course(-0.9, informed=False), course(0.9, alike=True)):
        assert (bad.stop_reason, blind.stop_reason) == ("patience", "patience")
        assert (blind.popularity, blind.stalled) == (None, False)


def test_the_best_state_is_restored(fitted: Fit, scripted: Any, block_world: BlockWorld) -> None:
    """The model that comes back scores what the outcome says, and holds the parameters of the best epoch."""
    outcome = fitted(scripted([0.1, 0.9, 0.2, 0.3]), max_epochs=4, batch_size=110)
    assert outcome.course.best_epoch == 2
    assert not outcome.model.training
    assert int(outcome.model.epoch) == 2
    # Two batches an epoch and steps of lr each: after epoch 2 the weight has made four of them, in half precision.
    assert outcome.model.weight.item() == pytest.approx(4 * 0.02, rel=2**-11)
    ranking = Evaluator(block_world.heldout, block_world.train).rank(outcome.model)
    per_user = metrics.per_user(ranking.pairs, SELECTION_METRIC)
    assert per_user.tolist() == outcome.per_user.tolist()
    assert per_user.mean() == outcome.course.validated == outcome.course.history[1]
    assert ranking.users.tolist() == outcome.users.tolist()


def test_the_best_state_of_a_real_model_is_restored(fitted: Fit, block_world: BlockWorld) -> None:
    """Large steps: the score goes up and down, and the best is not the last."""
    outcome = fitted(bpr, max_epochs=12, lr=0.3)
    assert outcome.course.best_epoch < outcome.course.epochs
    ranking = Evaluator(block_world.heldout, block_world.train).rank(outcome.model)
    assert metrics.per_user(ranking.pairs, SELECTION_METRIC).mean() == outcome.course.validated
    assert outcome.course.validated == pytest.approx(max(outcome.course.history), rel=0.02)


def test_rebuilding_gives_the_same_model(fitted: Fit, block_world: BlockWorld) -> None:
    outcome = fitted(bpr)
    users = torch.arange(44)
    model = rebuild(bpr, block_world.data(()), outcome.state, TrainingSettings(at_most(1)), seed=0)
    assert not model.training
    assert torch.equal(model.score(users), outcome.model.score(users))


def test_rebuilding_a_computed_model_computes_it(fitted: Fit, block_world: BlockWorld) -> None:
    outcome = fitted(Popularity)
    model = rebuild(Popularity, block_world.data(()), {}, TrainingSettings(at_most(1)), seed=0)
    assert torch.equal(model.score(torch.arange(44)), outcome.model.score(torch.arange(44)))


@pytest.mark.parametrize("limit, steps", [(None, 4), (2, 2), (1, 1), (99, 4)])
def test_batches_per_epoch_is_a_limit(fitted: Fit, scripted: Any, limit: int | None, steps: int) -> None:
    """The block world has 220 training interactions: four batches of 64, the last one short."""
    outcome = fitted(scripted([0.1, 0.2, 0.3]), max_epochs=3, batches_per_epoch=limit)
    assert outcome.course.steps_per_epoch == steps
    # The term counts steps, so its mean over an epoch says which steps the mean was taken over.
    assert [terms["constant"] for terms in outcome.course.losses] == [
        pytest.approx(epoch * steps + (steps + 1) / 2) for epoch in range(3)
    ]


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_fails_the_run(fitted: Fit, scripted: Any, bad: float) -> None:
    class Broken(Scripted):
        def loss(self, batch: Triplets) -> dict[str, Tensor]:
            terms = super().loss(batch)
            return terms if int(self.epoch) < 2 else {**terms, "constant": torch.tensor(bad)}

    good = scripted([0.1, 0.2, 0.3])(None)
    with pytest.raises(DegenerateScores, match=r"loss is not finite in epoch 2: .*constant"):
        fitted(lambda data: Broken(data, good.truth, good.qualities), max_epochs=3)


def test_scores_that_are_not_finite_fail_the_run(fitted: Fit, scripted: Any) -> None:
    with pytest.raises(DegenerateScores, match="scores are NaN or infinite"):
        fitted(scripted([0.1, float("nan")]), max_epochs=2)


def test_constant_scores_fail_the_run(fitted: Fit) -> None:
    class Constant(Popularity):
        def score(self, users: Tensor) -> Tensor:
            return torch.zeros(len(users), 36)

    with pytest.raises(DegenerateScores, match="all scores are equal"):
        fitted(Constant)


def test_a_closed_form_model_is_computed_once(fitted: Fit, block_world: BlockWorld) -> None:
    calls = []

    class Counting(Popularity):
        def fit(self, data: RecData) -> None:
            calls.append(data)
            super().fit(data)

    outcome = fitted(Counting)
    assert len(calls) == 1
    assert (outcome.course.epochs, outcome.course.best_epoch, outcome.course.stop_reason) == (1, 1, "closed_form")
    assert outcome.n_parameters == 0
    counts = np.bincount(block_world.train.items, minlength=36).tolist()
    assert outcome.model.score(torch.tensor([0, 3])).tolist() == [counts, counts]
    ranking = Evaluator(block_world.heldout, block_world.train).rank(outcome.model)
    assert outcome.per_user.tolist() == metrics.per_user(ranking.pairs, SELECTION_METRIC).tolist()
    assert outcome.course.validated == outcome.per_user.mean()


def test_a_model_of_neither_kind_is_refused(fitted: Fit) -> None:
    class Neither(Recommender):
        def score(self, users: Tensor) -> Tensor:
            return torch.zeros(len(users), 36)

    with pytest.raises(ValueError, match="Neither must derive from FactorModel or ClosedForm"):
        fitted(lambda data: Neither())


def test_outcome_counts_parameters_and_says_where_it_ran(fitted: Fit) -> None:
    outcome = fitted(bpr, max_epochs=1)
    assert outcome.n_parameters == 8 * (44 + 36)
    assert outcome.cost.device == "cpu"


def epochs_of(loader: TripletLoader, n: int) -> list[list[Triplets]]:
    return [list(loader) for _ in range(n)]


def test_every_interaction_comes_once_per_epoch(block_world: BlockWorld) -> None:
    data = block_world.data(())
    loader = TripletLoader(data, batch_size=50, seed=0)
    edges = Counter(map(tuple, data.edge_index.T.tolist()))
    orders = []
    for batches in epochs_of(loader, 3):
        assert len(batches) == len(loader) == 5
        assert [len(batch.users) for batch in batches] == [50, 50, 50, 50, 20]
        users = torch.cat([batch.users for batch in batches])
        positives = torch.cat([batch.positives for batch in batches])
        assert Counter(zip(users.tolist(), positives.tolist(), strict=True)) == edges
        orders.append(users.tolist())
    assert orders[0] != orders[1] != orders[2], "the order is drawn anew in every epoch"


def test_negatives_are_unseen_items_drawn_anew(block_world: BlockWorld) -> None:
    data = block_world.data(())
    edges = set(map(tuple, data.edge_index.T.tolist()))
    drawn = []
    for batches in epochs_of(TripletLoader(data, batch_size=50, seed=0), 2):
        pairs = [(u, n) for b in batches for u, n in zip(b.users.tolist(), b.negatives.tolist(), strict=True)]
        assert not set(pairs) & edges
        drawn.append(sorted(pairs))
    assert drawn[0] != drawn[1]


def test_the_loader_follows_its_seed(block_world: BlockWorld) -> None:
    def first(seed: int) -> list[int]:
        batch = next(iter(TripletLoader(block_world.data(()), 64, seed)))
        return [*batch.users.tolist(), *batch.positives.tolist(), *batch.negatives.tolist()]

    assert first(3) == first(3)
    assert first(3) != first(4)


def test_batches_drawn_at_once_are_those_drawn_one_by_one(
    block_world: BlockWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    def batches() -> list[list[int]]:
        loader = TripletLoader(block_world.data(()), batch_size=50, seed=0)
        return [
            torch.cat([b.users, b.positives, b.negatives]).tolist() for epoch in epochs_of(loader, 2) for b in epoch
        ]

    at_once = batches()
    monkeypatch.setattr(module, "BATCHES_AT_ONCE", 1)
    assert batches() == at_once


def test_trainings_on_the_same_split_share_what_ranks_validation(block_world: BlockWorld) -> None:
    world, cpu = block_world, torch.device("cpu")
    data = world.data(())
    shared = _validation(world.heldout, world.train, data, cpu, None, "")
    everything = np.ones(len(world.train), dtype=np.bool_)
    assert _validation(world.heldout, world.train.select(everything), data, cpu, None, "") is shared
    everything[0] = False
    assert _validation(world.heldout, world.train.select(everything), data, cpu, None, "") is not shared


def test_numbers_too_small_for_speed_are_zeros_while_a_model_is_trained(
    fitted: Fit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Subnormal numbers make a processor slow; elsewhere they are left as they are."""
    found: list[float] = []

    def product() -> float:
        return float(torch.full((1,), 1e-30) * torch.full((1,), 1e-10))

    def looking(self: BPR, batch: Triplets) -> dict[str, Tensor]:
        found.append(product())
        return loss(self, batch)

    loss, before = BPR.loss, product()
    monkeypatch.setattr(BPR, "loss", looking)
    fitted(bpr, max_epochs=1)
    assert before > 0.0
    assert set(found) == {0.0}
    assert product() == before


def test_a_limited_epoch_is_a_random_part(block_world: BlockWorld) -> None:
    """Over many epochs all interactions come, although each epoch has one batch only."""
    loader = TripletLoader(block_world.data(()), batch_size=50, seed=0, limit=1)
    assert len(loader) == 1
    seen = {
        (user, item)
        for (batch,) in epochs_of(loader, 60)
        for user, item in zip(batch.users.tolist(), batch.positives.tolist(), strict=True)
    }
    assert len(seen) == 220


def test_users_who_have_everything_teach_nothing() -> None:
    edges = torch.tensor([[0, 0, 0, 1], [0, 1, 2, 1]])
    (batch,) = TripletLoader(RecData(2, 4, edges), batch_size=10, seed=0)
    assert batch.users.tolist() == [1]
    assert batch.positives.tolist() == [1]
    assert batch.negatives.tolist() in ([0], [2])


def test_nothing_to_rank_is_refused() -> None:
    edges = torch.tensor([[0, 0, 1, 1], [0, 1, 0, 1]])
    with pytest.raises(ValueError, match="every user has every training item, so there is nothing to rank"):
        TripletLoader(RecData(2, 2, edges), batch_size=10, seed=0)


@pytest.mark.parametrize("accelerator, device", [("cpu", "cpu"), ("gpu", "cuda")])
def test_device_of_an_accelerator(accelerator: str, device: str) -> None:
    assert TrainingSettings(1, 1, accelerator=accelerator).device == torch.device(device)


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"accelerator": "tpu"}, r"training.accelerator=tpu is unknown; it is "),
        ({"batch_size": 0}, r"training.batch_size=0 must be a whole number of at least 1"),
        ({"devices": 0}, r"training.devices=0 must be a whole number of at least 1"),
        ({"devices": True}, r"training.devices=True must be a whole number of at least 1"),
        ({"precision": "8-bit"}, r"training.precision=8-bit is unknown; it is 32-true, 64-true, bf16-mixed, 16-mixed"),
        ({"neighbours": "fast"}, r"training.neighbours=fast is unknown; it is exact or approximate"),
        ({"batch_size": 2.5}, r"training.batch_size=2.5 must be a whole number of at least 1"),
        ({"lr": 0.0}, r"optimizer.lr=0.0 must be a positive number"),
        ({"lr": float("nan")}, r"optimizer.lr=nan must be a positive number"),
        ({"lr": "1e-3"}, r"optimizer.lr=1e-3 must be a positive number"),
        ({"weight_decay": -0.1}, r"optimizer.weight_decay=-0.1 must be a number of at least 0"),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrainingSettings(at_most(1), **settings)


def test_automatic_device() -> None:
    expected = "cuda" if torch.cuda.is_available() else "cpu"
    assert TrainingSettings(at_most(1), accelerator="auto").device == torch.device(expected)


def test_no_state_of_validation_reaches_training(block_world: BlockWorld) -> None:
    """Other validation interactions choose another epoch, but every epoch trains alike."""
    settings = TrainingSettings(at_most(4), batch_size=64, lr=0.02)
    data, train = block_world.data(()), block_world.train
    first = fit(bpr, data, train, block_world.heldout, settings, 0)
    reversed_part = Interactions(block_world.heldout.users[:10], block_world.heldout.items[:10], 44, 36)
    second = fit(bpr, data, train, reversed_part, settings, 0)
    assert first.course.losses == second.course.losses


def test_parameters_loaded_in_eval_mode_are_the_ones_that_score() -> None:
    data = RecData(2, 3, torch.tensor([[0, 1], [0, 1]]))
    model, other = BPR(data), BPR(data)
    everyone = torch.arange(2)
    model.eval().score(everyone)
    model.load_state_dict(other.state_dict())
    assert torch.equal(model.score(everyone), other.eval().score(everyone))


def test_nothing_of_the_trained_model_lives_on_beside_the_one_that_is_built_anew(
    fitted: Fit, block_world: BlockWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parameters, gradients, moments of Adam and the best state are gone when another model takes the stored state."""
    shape = (block_world.train.n_users, 48)
    alive: list[int] = []

    def counted(*given: Any, **named: Any) -> Recommender:
        alive.append(sum(type(one) in (Tensor, nn.Parameter) and one.shape == shape for one in gc.get_objects()))
        return rebuild(*given, **named)

    monkeypatch.setattr(fit_module, "rebuild", counted)
    gc.collect()
    gc.disable()
    try:
        fitted(lambda data: BPR(data, embedding_dim=48))
    finally:
        gc.enable()
    assert alive == [0]
