"""Equal effort for every condition, failures that count, and a study that goes on after a kill as if nothing was."""

from __future__ import annotations

import errno
import functools
import itertools
import os
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pandas as pd
import pytest
import torch
from optuna.distributions import CategoricalDistribution
from torch import Tensor, nn

from mmbench import paths
from mmbench.cli.stops import stoppable
from mmbench.data.conditions import ModalityCondition
from mmbench.data.recdata import RecData
from mmbench.data.splits import Split
from mmbench.messages import Refusal
from mmbench.models.vbpr import VBPR
from mmbench.nn.recommender import ClosedForm, FactorModel, Triplets
from mmbench.scheduling import worker
from mmbench.scheduling.job import Job
from mmbench.store import files, ledger, records
from mmbench.store.records import CellStore
from mmbench.store.schema import CellName, Configuration, Cost, Failure, LedgerRow, Stage, Training, Unit
from mmbench.tuning import study
from mmbench.tuning.cell import CellFailed, CellTask
from mmbench.tuning.choice import choose
from mmbench.tuning.study import choose_if_due, give_up, run_unit, waiting
from tests.records import cell, trial
from tests.tiny import digests, make_job, opened, sealed, worked

#: Three trials and two final runs of two epochs with four steps each.
TWO_EPOCHS = ("budget.max_steps=1", "budget.least_epochs=2")
SEVERAL = ("budget.trials=3", "budget.seeds=2", *TWO_EPOCHS, "training.batch_size=128")
#: The same with fewer trainings, for the many kills.
FEW = ("budget.trials=2", "budget.seeds=2", "training.batch_size=128")
CONDITIONS = ("none", "text", "image", "fused", "shuffled", "text_shuffled_image")


class Killed(BaseException):
    """Stands in for the end of the process: nothing catches it."""


# Equal effort


@pytest.fixture(scope="module")
def conditions(tmp_path_factory: pytest.TempPathFactory) -> dict[str, CellStore]:
    """The same model tuned under several conditions."""
    sweep = tmp_path_factory.mktemp("conditions")
    return {name: sealed(make_job(sweep, *SEVERAL, f"modality={name}")) for name in CONDITIONS}


def trainings(store: CellStore, stage: Stage) -> list[Training]:
    return records.read_trainings(store.folder, stage, store.key)


def column(store: CellStore, stage: Stage, name: str) -> list[Any]:
    return [getattr(training, name) for training in trainings(store, stage)]


@pytest.mark.parametrize("name", ["index", "seed", "configuration", "configuration_hash", "split_hash", "metric"])
def test_every_condition_is_asked_the_same(conditions: Mapping[str, CellStore], name: str) -> None:
    asked = [column(store, Stage.TRIAL, name) for store in conditions.values()]
    assert all(values == asked[0] for values in asked)
    assert len(asked[0]) == 3


def test_a_condition_is_informed_where_one_modality_is_left_to_its_items(tmp_path: Path) -> None:
    informed = [name for name in CONDITIONS if make_job(tmp_path, f"modality={name}").task().informed]
    assert informed == ["text", "image", "fused", "text_shuffled_image"]


def test_trials_differ_from_each_other_and_from_the_finals(conditions: Mapping[str, CellStore]) -> None:
    store = conditions["fused"]
    assert len(set(column(store, Stage.TRIAL, "configuration_hash"))) == 3
    assert set(column(store, Stage.TRIAL, "seed")).isdisjoint(column(store, Stage.FINAL, "seed"))
    assert column(store, Stage.FINAL, "seed") == [1, 2]
    default = {"model.reg_weight": 0.5, "optimizer.lr": 5e-3, "model.content_weight": 1.0}
    default |= {"model.first_modality_weight": 0.5}
    default |= {f"model.modality_weights.{name}": 1.0 for name in ("audio", "image", "text")}
    assert column(store, Stage.TRIAL, "configuration")[0] == default


def test_finals_run_the_chosen_configuration(conditions: Mapping[str, CellStore]) -> None:
    for store in conditions.values():
        choice = store.choice()
        assert choice is not None
        assert column(store, Stage.FINAL, "configuration") == [choice.configuration] * 2
        scores = column(store, Stage.TRIAL, "score")
        assert choice.score == max(scores) == scores[choice.slot]
        assert (choice.n_trials, choice.n_failed, choice.metric) == (3, 0, "ndcg@20")


def test_features_are_what_differs(conditions: Mapping[str, CellStore]) -> None:
    marks = {name: column(store, Stage.TRIAL, "feature_hash") for name, store in conditions.items()}
    assert len({mark[0] for mark in marks.values()}) == len(CONDITIONS)
    for name, mark in marks.items():  # a permutation is drawn anew for every run's seed
        drawn = column(conditions[name], Stage.FINAL, "feature_hash") + mark
        assert len(set(drawn)) == (5 if "shuffled" in name else 1)


def test_validation_is_kept_per_user(conditions: Mapping[str, CellStore]) -> None:
    store = conditions["text"]
    for unit, training in store.finished_trainings().items():
        table = pd.read_parquet(store.training_file(unit, paths.VALIDATION))
        assert table["ndcg@20"].mean() == pytest.approx(training.score, rel=1e-12)
        assert table["user"].is_monotonic_increasing
        assert training.course is not None
        assert training.score == max(training.course.history)


def test_ledger_says_what_each_training_was_and_cost(conditions: Mapping[str, CellStore]) -> None:
    store = conditions["image"]
    rows = [row for row in ledger.read(store.sweep_dir) if row.cell_key == store.key]
    done = store.finished_trainings()
    assert [row.unit for row in rows] == [
        *(Unit(Stage.TRIAL, i) for i in range(3)),
        *(Unit(Stage.FINAL, i) for i in (1, 2)),
    ]
    for row in rows:
        training = done[row.unit]
        for name in (
            "seed",
            "configuration",
            "configuration_hash",
            "feature_hash",
            "split_hash",
            "n_parameters",
            "score",
        ):
            assert getattr(row, name) == getattr(training, name)
        assert training.course is not None
        assert (row.epochs, row.best_epoch, row.stop_reason) == (2, training.course.best_epoch, "max_steps")
        assert (row.dataset, row.model, row.modality) == ("planted-complementary", "vbpr", "image")
        assert (row.budget, row.searched, row.status) == ("touch", 7, "ok")
        assert row.n_parameters is not None
        assert row.n_parameters > 0
        cost = row.cost
        assert cost.seconds is not None
        assert cost.total_seconds is not None
        assert cost.peak_rss_mb is not None
        assert 0 < cost.setup_seconds < cost.seconds <= cost.total_seconds
        assert (cost.n_samples, cost.ranked_users) == (2 * 480, 2 * 60)
        assert cost.peak_rss_mb > 1


@pytest.mark.thorough
def test_another_run_gives_the_same_bytes(conditions: Mapping[str, CellStore], tmp_path: Path) -> None:
    store = sealed(make_job(tmp_path, *SEVERAL, "modality=shuffled"))
    assert store.key == conditions["shuffled"].key
    assert digests(store.folder) == digests(conditions["shuffled"].folder)


def test_a_longer_study_begins_as_the_shorter_one(tmp_path: Path) -> None:
    short, long = (make_job(tmp_path, f"budget.trials={n}").task() for n in (4, 20))
    assert long.slots()[:4] == short.slots()
    assert len(long.slots()) == 20


def test_trainings_may_run_in_any_order(conditions: Mapping[str, CellStore], tmp_path: Path) -> None:
    """As they do when many workers share a cell; finals wait for the last trial, the test split for the last final."""
    job = make_job(tmp_path, *SEVERAL, "modality=fused")
    task, store = opened(job)
    for left in ([0, 1, 2], [0, 1], [0]):
        assert waiting(task, store) == [Unit(Stage.TRIAL, slot) for slot in left]
        assert store.choice() is None
        run_unit(task, store, Unit(Stage.TRIAL, left[-1]))
    assert waiting(task, store) == []
    assert choose_if_due(task, store)
    for left in ([1, 2], [1]):
        assert waiting(task, store) == [Unit(Stage.FINAL, seed) for seed in left]
        assert not choose_if_due(task, store)
        run_unit(task, store, Unit(Stage.FINAL, left[-1]))
    assert waiting(task, store) == []
    assert store.seal() is None
    worked(task, store, job.dataset().split)
    assert digests(store.folder) == digests(conditions["fused"].folder)


@pytest.mark.parametrize(("words", "first"), [(("budget.rungs=[2]",), study.PILOTS), ((), 8)])
def test_with_rungs_the_trials_that_set_them_run_first(words: tuple[str, ...], first: int, tmp_path: Path) -> None:
    budget = ("budget.trials=8", "budget.max_steps=8", "budget.least_epochs=1")
    task, store = opened(make_job(tmp_path, *budget, *words))
    assert waiting(task, store) == [Unit(Stage.TRIAL, slot) for slot in range(first)]


def test_controls_are_shown_to_be_controls(conditions: Mapping[str, CellStore]) -> None:
    for condition, names in {"shuffled": {"image", "text"}, "text_shuffled_image": {"image"}, "fused": set()}.items():
        for control in column(conditions[condition], Stage.TRIAL, "controls"):
            assert control.keys() == names
            assert all(c.differs_from_real and c.state == "shuffle" for c in control.values())


# The choice


@pytest.mark.parametrize(
    ("scores", "slot"),
    [([0.1, 0.3, 0.2], 1), ([0.2, 0.3, 0.3], 1), ([0.3, 0.3, 0.3], 0), ([None, 0.1, 0.1], 1), ([0.0], 0)],
)
def test_the_best_is_chosen_and_a_tie_goes_to_the_lower_slot(scores: list[float | None], slot: int) -> None:
    trials = [trial(index, score) for index, score in enumerate(scores)]
    for order in itertools.permutations(trials):
        choice = choose(order, "plan")
        assert (choice.slot, choice.score, choice.configuration) == (slot, scores[slot], trials[slot].configuration)
        assert (choice.n_trials, choice.n_failed) == (len(scores), scores.count(None))
        assert choice == choose(trials, "plan")


def test_a_proposal_is_chosen_only_if_it_is_better_than_every_slot() -> None:
    slots = [trial(0, 0.1), trial(1, 0.3)]
    for score, stage in ((0.3, Stage.TRIAL), (0.4, Stage.PROPOSAL)):
        assert choose([trial(0, score, Stage.PROPOSAL), *slots], "plan").stage == stage


def test_hash_of_a_choice_follows_what_was_chosen() -> None:
    first, second = ([trial(0, a), trial(1, b)] for a, b in ((0.1, 0.2), (0.2, 0.1)))
    assert len({choose(first, "plan").hash, choose(second, "plan").hash, choose(first, "other").hash}) == 3


def test_a_study_without_a_result_has_no_choice() -> None:
    failed = [trial(slot, None, failure=Failure(reason=f"ValueError: of slot {slot}")) for slot in range(2)]
    with pytest.raises(CellFailed, match="all 2 trials failed; the first: ValueError: of slot 0"):
        choose(failed, "plan")


# Failures


class Moody(FactorModel):
    """Fails in the way that ``mood`` says."""

    def __init__(self, data: RecData, *, mood: str) -> None:
        super().__init__()
        if mood == "not built" or mood == f"not built from seed {torch.initial_seed()}":
            raise RuntimeError("cannot be built")
        self.mood = mood
        self.users = nn.Parameter(torch.randn(data.n_users, 4))
        self.items = nn.Parameter(torch.randn(data.n_items, 4))

    def forward(self) -> tuple[Tensor, Tensor]:
        factor = {"nan": float("nan"), "infinite": float("inf"), "constant": 0.0}.get(self.mood, 1.0)
        return self.users * (1.0 if self.training else factor), self.items

    def loss(self, batch: Triplets) -> dict[str, Tensor]:
        if self.mood == "leaves":
            sys.exit()
        if self.mood == "no loss":
            raise ZeroDivisionError("in the loss")
        total = (self.users[batch.users] * self.items[batch.positives]).sum()
        return {"total": total * float("nan") if self.mood == "nan loss" else -total}


class SameForAll(ClosedForm):
    """Scores that no hyper-parameter changes."""

    def __init__(self, data: RecData, *, mood: str) -> None:
        super().__init__()
        self.n_items = data.n_items

    def fit(self, data: RecData) -> None:
        """Nothing."""

    def score(self, users: Tensor) -> Tensor:
        return torch.arange(self.n_items).float().expand(len(users), -1)


REASONS = {
    "not built": "RuntimeError: cannot be built",
    "no loss": "ZeroDivisionError: in the loss",
    "leaves": "RuntimeError: sys.exit(None) was called",
    "nan loss": "DegenerateScores: loss is not finite in epoch 1",
    "nan": "DegenerateScores: scores are NaN or infinite",
    "infinite": "DegenerateScores: scores are NaN or infinite",
    "constant": "DegenerateScores: all scores are equal",
}


def moody(
    sweep_dir: Path, moods: list[str], model: Callable[..., Any] = Moody, seeds: int = 1
) -> tuple[CellTask, CellStore, Split]:
    """A cell whose only hyper-parameter is the mood of its model; the first mood is the default."""
    job = make_job(sweep_dir, "model=bpr")
    task = job.task()
    _, settings = task.recipe(task.default)
    task = replace(
        task,
        cell=CellName("planted", "moody", "-"),
        space={"model.mood": CategoricalDistribution(moods)},
        default={"model.mood": moods[0]},
        budget=replace(task.budget, trials=len(moods), seeds=seeds),
        recipe=lambda configuration: (functools.partial(model, mood=configuration["model.mood"]), settings),
    )
    store = CellStore(sweep_dir, paths.cell_dir(sweep_dir, *task.cell), "c" * 64)
    store.open(cell(key=store.key, effort=task.effort))
    return task, store, job.dataset().split


def reason(store: CellStore) -> str:
    """Why a cell has no result."""
    failure = store.failure()
    assert failure is not None
    assert store.seal() is None
    return failure.reason


def test_a_failed_trial_is_a_record_and_counts(tmp_path: Path) -> None:
    task, store, split = moody(tmp_path, [*REASONS, "good"])
    choice = worked(task, store, split).choice()
    assert choice is not None
    trials = trainings(store, Stage.TRIAL)
    assert len(trials) == len(task.slots()) == len(REASONS) + 1
    for training in trials:
        mood = training.configuration["model.mood"]
        if mood == "good":
            assert (training.failure, choice.slot) == (None, training.index)
            continue
        assert (training.course, training.score) == (None, None)
        assert training.failure is not None
        assert training.failure.reason.startswith(REASONS[mood])
        assert "Traceback" in training.failure.traceback
        assert not store.training_file(training.unit, paths.STATE).exists()
        assert not store.training_file(training.unit, paths.RANKS).exists()
    assert (choice.n_trials, choice.n_failed) == (len(REASONS) + 1, len(REASONS))
    rows = [row for row in ledger.read(tmp_path) if row.stage == Stage.TRIAL]
    assert [row.status for row in rows].count("failed") == len(REASONS)
    assert all((row.score is None) == (row.status == "failed") for row in rows)
    assert all((row.cost.seconds is None) == (row.status == "failed") for row in rows)
    assert all(0 < row.cost.spent == row.cost.total_seconds for row in rows)


@pytest.mark.slow
def test_failures_give_the_same_bytes_too(tmp_path: Path) -> None:
    one, other = (worked(*moody(tmp_path / name, [*REASONS, "good"])) for name in ("one", "other"))
    assert digests(one.folder) == digests(other.folder)


@pytest.mark.thorough
def test_an_accident_is_tried_once_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And with the same result as without it."""
    calm = worked(*moody(tmp_path / "calm", ["good"]))
    original, number = Moody.loss, itertools.count()

    def rough(self: Moody, batch: Triplets) -> dict[str, Tensor]:
        if next(number) == 0:
            raise MemoryError("for a moment")
        return original(self, batch)

    monkeypatch.setattr(Moody, "loss", rough)
    fits = count(monkeypatch, study, "fit")
    store = worked(*moody(tmp_path / "rough", ["good"]))
    assert len(fits) == 3  # the trial twice, the final run once
    assert digests(store.folder) == digests(calm.folder)


@pytest.mark.parametrize(
    ("mood", "tries"), [("no loss", 2), ("leaves", 2), ("not built", 2), ("constant", 1), ("nan loss", 1)]
)
def test_scores_that_rank_nothing_are_no_accident(
    mood: str, tries: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fits = count(monkeypatch, study, "fit")
    store = worked(*moody(tmp_path, [mood]))
    assert len(fits) == tries
    assert reason(store).startswith("all 1 trials failed")


def test_a_model_that_leaves_while_test_is_ranked_fails_its_cell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "score_test", lambda *given: sys.exit(0))
    assert reason(worked(*moody(tmp_path, ["good"]))) == "RuntimeError: sys.exit(0) was called"


@pytest.mark.usefixtures("hearing")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_ends_the_command_is_no_failure_of_a_training(
    number: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes as SystemExit too, SIGINT from Lightning; an audit would find an honest trial to have failed."""
    task, store, _ = moody(tmp_path, ["good"])
    monkeypatch.setattr(Moody, "loss", lambda *given: signal.raise_signal(number))
    with stoppable(), pytest.raises(SystemExit):
        study.train(task, store, Unit(Stage.TRIAL, 0), task.default, tmp_path)


def test_a_full_disk_fails_no_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It stays open, and runs once there is space again."""
    task, store, split = moody(tmp_path, ["good"])

    def full(*given: object, **named: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as once:
        once.setattr(study, "fit", full)
        with pytest.raises(OSError, match="No space left"):
            worked(task, store, split)
    assert (store.failure(), list(ledger.read(tmp_path))) == (None, [])
    assert store.finished_trainings() == {}
    assert worked(task, store, split).seal() is not None


def test_want_of_memory_in_a_file_fails_its_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that cannot be mapped is no fault of the disk."""

    def short(*given: object, **named: object) -> None:
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    monkeypatch.setattr(study, "fit", short)
    assert "out of memory: OSError" in reason(worked(*moody(tmp_path, ["good"])))


def short(monkeypatch: pytest.MonkeyPatch, *calls: int) -> None:
    """Memory is short at some of the times when a condition is applied."""
    original, number = ModalityCondition.apply, itertools.count()

    def apply(*given: Any, **named: Any) -> Any:
        if next(number) in calls:
            raise MemoryError("Unable to allocate 1.60 GiB")
        return original(*given, **named)

    monkeypatch.setattr(ModalityCondition, "apply", apply)


SHUFFLED = ("model=hybridknn", "modality=shuffled", "budget.trials=2")


def test_a_condition_that_lacks_memory_for_a_moment_is_applied_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And with the same result as without it."""
    calm = sealed(make_job(tmp_path / "calm", *SHUFFLED))
    short(monkeypatch, 1)  # of the second trial
    store = sealed(make_job(tmp_path / "short", *SHUFFLED))
    assert digests(store.folder) == digests(calm.folder)


def test_a_condition_for_which_there_is_no_memory_fails_no_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cell fails, and the next command goes on with it."""
    job = make_job(tmp_path, *SHUFFLED)
    with monkeypatch.context() as once:
        short(once, 1, 2)
        store = sealed(job)
    assert reason(store) == "out of memory: MemoryError: Unable to allocate 1.60 GiB"
    assert list(store.finished_trainings()) == [Unit(Stage.TRIAL, 0)]
    store = sealed(job)
    assert store.seal() is not None
    assert all(training.succeeded for training in store.finished_trainings().values())


def test_giving_up_a_training_needs_its_features_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task, store = opened(make_job(tmp_path, *SHUFFLED))
    short(monkeypatch, 0)
    give_up(task, store, Unit(Stage.TRIAL, 0), "its worker died")
    assert store.finished_trainings()[Unit(Stage.TRIAL, 0)].failure == Failure(reason="its worker died")


def test_a_training_that_is_given_up_counts_as_failed(tmp_path: Path) -> None:
    task, store, split = moody(tmp_path, ["good", "better"])
    given_up = Unit(Stage.TRIAL, 0)
    give_up(task, store, given_up, "its worker died")
    choice = worked(task, store, split).choice()
    assert choice is not None
    assert (choice.slot, choice.n_trials, choice.n_failed) == (1, 2, 1)
    training = store.finished_trainings()[given_up]
    assert (training.failure, training.seed) == (Failure(reason="its worker died"), 10_000)
    assert training.configuration == task.slots()[0]


def test_a_training_whose_record_could_not_be_read_counts_as_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Written as it is, it would end every later command of the sweep."""
    monkeypatch.setattr("mmbench.store.bounds.MOST_JSON", 2_000)
    store = sealed(make_job(tmp_path, "budget.max_steps=1", "budget.least_epochs=20", "budget.patience_steps=99"))
    said = "all 1 trials failed; the first: the record of 20 epochs would be larger than the 2000 bytes that can be "
    assert reason(store).startswith(said)
    (training,) = store.finished_trainings().values()
    assert (training.course, training.validation_hash, training.state_hash) == (None, "", "")


def test_a_final_run_that_is_given_up_fails_its_cell(tmp_path: Path) -> None:
    task, store, split = moody(tmp_path, ["good"])
    run_unit(task, store, Unit(Stage.TRIAL, 0))
    assert choose_if_due(task, store)
    assert waiting(task, store) == [Unit(Stage.FINAL, 1)]
    give_up(task, store, Unit(Stage.FINAL, 1), "its worker died")
    assert store.finished_trainings()[Unit(Stage.FINAL, 1)].configuration == task.slots()[0]
    assert reason(worked(task, store, split)) == "final run with seed 1 failed: its worker died"


def test_a_configuration_that_no_training_takes_fails_its_trial_alone(tmp_path: Path) -> None:
    """Planning knows what the slots hold and not what TPE proposes."""
    task, store, split = moody(tmp_path, ["good", "other", "third"])
    recipe = task.recipe

    def refusing(configuration: Configuration) -> Any:
        if configuration != task.default:
            raise Refusal("{key}={value} must be a positive number", key="optimizer.lr", value=0)
        return recipe(configuration)

    task = replace(task, recipe=refusing)
    give_up(task, store, Unit(Stage.TRIAL, 2), "its worker died")
    choice = worked(task, store, split).choice()
    assert choice is not None
    assert (choice.slot, choice.n_failed) == (0, 2)
    reasons = [training.failure and training.failure.reason for training in trainings(store, Stage.TRIAL)]
    assert reasons == [None, "Refusal: optimizer.lr=0 must be a positive number", "its worker died"]


def test_a_cell_whose_trials_all_fail_has_failed(tmp_path: Path) -> None:
    store = worked(*moody(tmp_path, ["nan", "not built", "constant"]))
    assert reason(store).startswith("all 3 trials failed; the first: DegenerateScores: scores are NaN")
    assert store.choice() is None
    assert {unit.stage for unit in store.finished_trainings()} == {Stage.TRIAL}
    assert len(store.finished_trainings()) == 3


def test_a_cell_whose_final_run_fails_has_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And fails again from its records, without training."""
    task, store, split = moody(tmp_path, ["not built from seed 2"], seeds=3)
    message = "final run with seed 2 failed: RuntimeError: cannot be built"
    assert reason(worked(task, store, split)) == message
    assert {unit: training.succeeded for unit, training in store.finished_trainings().items()} == {
        Unit(Stage.TRIAL, 0): True,
        Unit(Stage.FINAL, 1): True,
        Unit(Stage.FINAL, 2): False,
    }
    fits = count(monkeypatch, study, "fit")
    store.open(cell(key=store.key))
    assert store.failure() is None
    assert reason(worked(task, store, split)) == message
    assert fits == []


def test_equal_scores_go_to_the_lower_slot(tmp_path: Path) -> None:
    store = worked(*moody(tmp_path, ["a", "b", "c"], model=SameForAll))
    choice = store.choice()
    assert choice is not None
    assert choice.slot == 0
    assert len(set(column(store, Stage.TRIAL, "score"))) == 1


def test_a_model_that_keeps_nothing_has_no_state(tmp_path: Path) -> None:
    store = worked(*moody(tmp_path, ["a"], model=SameForAll))
    (training,) = trainings(store, Stage.TRIAL)
    assert not store.training_file(training.unit, paths.STATE).exists()
    assert store.training_file(training.unit, paths.RANKS).exists()
    assert training.course is not None
    assert training.course.stop_reason == "closed_form"


# Going on after a kill


def count(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str) -> list[Any]:
    """Note every call of a function and let it do its work."""
    calls: list[Any] = []
    original = getattr(owner, name)

    def noted(*args: Any, **keywords: Any) -> Any:
        calls.append(args)
        return original(*args, **keywords)

    monkeypatch.setattr(owner, name, noted)
    return calls


def strike(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, call: int, *, done: bool) -> None:
    """End the process at one call of a function, before or after its work is done."""
    original, number = getattr(owner, name), itertools.count()

    def struck(*args: Any, **keywords: Any) -> Any:
        here = next(number) == call
        if here and not done:
            raise Killed
        result = original(*args, **keywords)
        if here:
            raise Killed
        return result

    monkeypatch.setattr(owner, name, struck)


def ledger_of(sweep_dir: Path) -> dict[Unit, LedgerRow]:
    """What the ledger says of each training, its cost aside."""
    rows = (msgspec.structs.replace(row, cost=Cost(), finished_at="") for row in ledger.read(sweep_dir))
    return {row.unit: row for row in rows}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> CellStore:
    return sealed(make_job(tmp_path_factory.mktemp("undisturbed"), *FEW))


def goes_on(job: Job, undisturbed: CellStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same command again: it runs what is missing, and the end is as if nothing had happened."""
    monkeypatch.undo()
    task, store = opened(job)
    written = sum(len(paths.training_records(store.folder, stage)) for stage in Stage)
    fits = count(monkeypatch, study, "fit")
    worked(task, store, job.dataset().split)
    assert len(fits) == 4 - written, "a record without its row only gets its row"
    assert digests(store.folder) == digests(undisturbed.folder)
    assert ledger_of(store.sweep_dir) == ledger_of(undisturbed.sweep_dir)
    fits.clear()
    worked(task, store, job.dataset().split)
    assert fits == []


#: Records are written in the order trial 0, 1, choice, final 1, 2, seal; each training has four steps.
FAULTS = {
    "first step": (VBPR, "loss", 0, False),
    "mid-epoch of the second trial": (VBPR, "loss", 4 + 2, True),
    "mid-epoch of the last final": (VBPR, "loss", 3 * 4 + 2, True),
    "after fit, before its record": (study, "fit", 1, True),
    "after the fit of a final": (study, "fit", 2, True),
    "validation written, state not": (os, "replace", 3 + 1, False),
    "arrays written, record not": (os, "replace", 3 + 2, False),
    "record written, its row not": (ledger, "append", 0, False),
    "row written": (ledger, "append", 0, True),
    "all trials done, choice not written": (CellStore, "write_choice", 0, False),
    "between choice and finals": (CellStore, "write_choice", 0, True),
    "record of a final written, its row not": (ledger, "append", 2, False),
    "record of the last final written, its row not": (ledger, "append", 3, False),
    "all finals done, the test split closed": (worker, "score_test", 0, False),
    "test ranks written, seal not": (CellStore, "write_seal", 0, False),
}


#: One of each kind, which `make test` strikes.
USUAL = (
    "mid-epoch of the second trial",
    "arrays written, record not",
    "between choice and finals",
    "test ranks written, seal not",
)


@pytest.mark.thorough
@pytest.mark.parametrize(
    "fault", [pytest.param(fault, marks=() if fault in USUAL else pytest.mark.slow) for fault in FAULTS]
)
def test_a_kill_costs_at_most_the_training_it_hit(
    fault: str, undisturbed: CellStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = make_job(tmp_path, *FEW)
    task, store = opened(job)
    owner, name, call, done = FAULTS[fault]
    strike(monkeypatch, owner, name, call, done=done)
    with pytest.raises(Killed):
        worked(task, store, job.dataset().split)
    assert store.seal() is None
    goes_on(job, undisturbed, monkeypatch)


@pytest.mark.thorough
@pytest.mark.parametrize("ending", [paths.RECORD, paths.STATE, paths.VALIDATION, paths.RANKS])
def test_a_kill_while_a_file_is_half_written(
    ending: str, undisturbed: CellStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A killed process cleans nothing up: half a temporary file stays where it was."""
    job = make_job(tmp_path, *FEW)
    task, store = opened(job)
    original, hit = files.write_all, store.training_file(Unit(Stage.TRIAL, 1), ending)

    def killed(contents: Mapping[Path, Callable[[Path], object]], **how: Any) -> None:
        if hit not in contents:
            original(contents, **how)
            return
        temporary = hit.with_name(f".{hit.name}.1.tmp")
        contents[hit](temporary)
        temporary.write_bytes(temporary.read_bytes()[: temporary.stat().st_size // 2])
        raise Killed

    monkeypatch.setattr(records, "write_all", killed)
    with pytest.raises(Killed):
        worked(task, store, job.dataset().split)
    goes_on(job, undisturbed, monkeypatch)


@pytest.fixture
def unsealed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Job, CellStore]:
    """A cell whose worker was killed before it opened the test split."""
    job = make_job(tmp_path, *FEW)
    task, store = opened(job)
    strike(monkeypatch, worker, "score_test", 0, done=False)
    with pytest.raises(Killed):
        worked(task, store, job.dataset().split)
    return job, store


@pytest.mark.thorough
@pytest.mark.parametrize("lost", [pytest.param(1, marks=pytest.mark.slow), 2, pytest.param(4, marks=pytest.mark.slow)])
@pytest.mark.parametrize("half", [False, True], ids=["whole-lines", "half-a-line"])
def test_lines_that_the_ledger_lost_are_written_again_from_the_records(
    lost: int,
    half: bool,
    unsealed: tuple[Job, CellStore],
    undisturbed: CellStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job, store = unsealed
    file = paths.ledger_file(store.sweep_dir)
    lines = file.read_bytes().splitlines(keepends=True)
    torn = lines[-lost][: len(lines[-lost]) // 2] if half else b""
    file.write_bytes(b"".join(lines[:-lost]) + torn)
    assert len(store.finished_trainings()) == 4 - lost
    goes_on(job, undisturbed, monkeypatch)


def test_a_record_that_was_deleted_is_made_again(
    unsealed: tuple[Job, CellStore], undisturbed: CellStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, store = unsealed
    store.training_file(Unit(Stage.TRIAL, 1), paths.RECORD).unlink()
    assert len(store.finished_trainings()) == 3
    goes_on(job, undisturbed, monkeypatch)
