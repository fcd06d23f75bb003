"""Equal effort for every condition, failures that count, and a study that goes on after a kill as if nothing was."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from optuna.distributions import CategoricalDistribution
from torch import Tensor, nn

from mmbench import paths
from mmbench.data.recdata import RecData
from mmbench.models.vbpr import VBPR
from mmbench.nn.recommender import ClosedForm, FactorModel, Triplets
from mmbench.store import records
from mmbench.store.records import CellStore
from mmbench.tuning import study
from mmbench.tuning.cell import CellFailed, CellTask
from mmbench.tuning.study import choose, give_up, run_unit, waiting
from tests.tiny import digests, make_job, opened

#: Three trials and two final runs of two epochs with four steps each.
SEVERAL = ("budget.trials=3", "budget.seeds=2", "budget.max_epochs=2", "training.batch_size=128")
#: The same with fewer trainings, for the many kills.
FEW = ("budget.trials=2", "budget.seeds=2", "training.batch_size=128")
CONDITIONS = ("none", "text", "image", "fused", "shuffled", "text_shuffled_image")
#: What the ledger says of cost, which differs from run to run.
COST = {
    "wall_s",
    "setup_s",
    "total_s",
    "samples_per_s",
    "inference_us_per_user",
    "peak_rss_mb",
    "energy_kwh",
    "finished_at",
}


class Killed(BaseException):
    """Stands in for the end of the process: nothing catches it."""


# Equal effort


@pytest.fixture(scope="module")
def conditions(tmp_path_factory: pytest.TempPathFactory) -> dict[str, CellStore]:
    """The same model tuned under several conditions."""
    sweep = tmp_path_factory.mktemp("conditions")
    stores = {}
    for condition in CONDITIONS:
        task, stores[condition] = opened(make_job(sweep, *SEVERAL, f"modality={condition}"))
        tune(task, stores[condition])
    return stores


def column(store: CellStore, stage: str, name: str) -> list[Any]:
    return [record[name] for (s, _), record in sorted(store.finished_trainings().items()) if s == stage]


@pytest.mark.parametrize("name", ["index", "seed", "configuration", "configuration_hash", "split_hash", "metric"])
def test_every_condition_is_asked_the_same(conditions: Mapping[str, CellStore], name: str) -> None:
    asked = [column(store, "tune", name) for store in conditions.values()]
    assert all(values == asked[0] for values in asked)
    assert len(asked[0]) == 3


def test_trials_differ_from_each_other_and_from_the_finals(conditions: Mapping[str, CellStore]) -> None:
    store = conditions["fused"]
    assert len(set(column(store, "tune", "configuration_hash"))) == 3
    assert set(column(store, "tune", "seed")).isdisjoint(column(store, "final", "seed"))
    assert column(store, "final", "seed") == [1, 2]
    assert column(store, "tune", "configuration")[0] == {"model.reg_weight": 0.5, "optimizer.lr": 5e-3}


def test_finals_run_the_chosen_configuration(conditions: Mapping[str, CellStore]) -> None:
    for store in conditions.values():
        choice = records.read_json(store.folder / "choice.json")
        assert column(store, "final", "configuration") == [choice["configuration"]] * 2
        scores = column(store, "tune", "score")
        assert choice["score"] == max(scores) == scores[choice["slot"]]
        assert (choice["n_trials"], choice["n_failed"], choice["metric"]) == (3, 0, "ndcg@20")


def test_features_are_what_differs(conditions: Mapping[str, CellStore]) -> None:
    marks = {name: column(store, "tune", "feature_hash") for name, store in conditions.items()}
    assert len({mark[0] for mark in marks.values()}) == len(CONDITIONS)
    for name, mark in marks.items():  # a permutation is drawn anew for every run's seed
        drawn = column(conditions[name], "final", "feature_hash") + mark
        assert len(set(drawn)) == (5 if "shuffled" in name else 1)


def test_validation_is_kept_per_user(conditions: Mapping[str, CellStore]) -> None:
    store = conditions["text"]
    for (stage, index), record in store.finished_trainings().items():
        table = pd.read_parquet(store.training_file(stage, index, "valid.parquet"))
        assert table["ndcg@20"].mean() == pytest.approx(record["score"], rel=1e-12)
        assert table["user"].is_monotonic_increasing
        assert record["history"][record["best_epoch"] - 1] == max(record["history"]) == record["score"]


def test_ledger_says_what_each_training_was_and_cost(conditions: Mapping[str, CellStore]) -> None:
    store = conditions["image"]
    rows = [row for row in records.read_ledger(store.sweep_dir) if row["cell_key"] == store.key]
    trainings = [("tune", 0), ("tune", 1), ("tune", 2), ("final", 1), ("final", 2)]
    assert [(row["stage"], row["index"]) for row in rows] == trainings
    for row in rows:
        record = store.finished_trainings()[row["stage"], row["index"]]
        for name in ("seed", "configuration", "configuration_hash", "feature_hash", "split_hash", "best_epoch"):
            assert row[name] == record[name]
        assert (row["dataset"], row["model"], row["modality"]) == ("planted-complementary", "vbpr", "image")
        assert (row["budget"], row["d_eff"], row["status"]) == ("touch", 2, "ok")
        assert row["val_metric"] == record["score"]
        assert (row["epochs_run"], row["hit_max_epochs"]) == (2, True)
        assert row["n_params_trainable"] > 0
        assert row["wall_s"] > 0
        assert row["peak_rss_mb"] > 1


def test_another_run_gives_the_same_bytes(conditions: Mapping[str, CellStore], tmp_path: Path) -> None:
    task, store = opened(make_job(tmp_path, *SEVERAL, "modality=shuffled"))
    tune(task, store)
    assert store.key == conditions["shuffled"].key
    assert digests(store.folder) == digests(conditions["shuffled"].folder)


def test_a_longer_study_begins_as_the_shorter_one(tmp_path: Path) -> None:
    short, long = (make_job(tmp_path, f"budget.trials={n}").task() for n in (4, 20))
    assert long.slots()[:4] == short.slots()
    assert len(long.slots()) == 20


def test_trainings_may_run_in_any_order(conditions: Mapping[str, CellStore], tmp_path: Path) -> None:
    """As they do when many workers share a cell; finals wait for the last trial."""
    task, store = opened(make_job(tmp_path, *SEVERAL, "modality=fused"))
    for left in ([0, 1, 2], [0, 1], [0]):
        assert waiting(task, store) == [("tune", slot) for slot in left]
        assert not (store.folder / "choice.json").exists()
        run_unit(task, store, Unit("tune", left[-1]))
    for left in ([1, 2], [1]):
        assert waiting(task, store) == [("final", seed) for seed in left]
        assert (store.folder / "choice.json").exists()
        run_unit(task, store, Unit("final", left[-1]))
    assert waiting(task, store) == []
    assert digests(store.folder) == digests(conditions["fused"].folder)


def test_controls_are_shown_to_be_controls(conditions: Mapping[str, CellStore]) -> None:
    for condition, names in {"shuffled": {"image", "text"}, "text_shuffled_image": {"image"}, "fused": set()}.items():
        for control in column(conditions[condition], "tune", "controls"):
            assert control.keys() == names
            assert all(c["differs_from_real"] and c["state"] == "shuffle" for c in control.values())


# The choice


def trial(index: int, score: float | None) -> dict[str, Any]:
    state = {"status": "ok"} if score is not None else {"status": "failed", "error": f"ValueError: of slot {index}"}
    return {"stage": "tune", "index": index, "score": score, "configuration": {"model.slot": index}, **state}


@pytest.mark.parametrize(
    ("scores", "slot"),
    [([0.1, 0.3, 0.2], 1), ([0.2, 0.3, 0.3], 1), ([0.3, 0.3, 0.3], 0), ([None, 0.1, 0.1], 1), ([0.0], 0)],
)
def test_the_best_is_chosen_and_a_tie_goes_to_the_lower_slot(scores: list[float | None], slot: int) -> None:
    trials = [trial(index, score) for index, score in enumerate(scores)]
    for order in itertools.permutations(trials):
        choice = choose(order)
        assert (choice["slot"], choice["score"], choice["configuration"]) == (slot, scores[slot], {"model.slot": slot})
        assert (choice["n_trials"], choice["n_failed"]) == (len(scores), scores.count(None))
        assert choice["hash"] == choose(trials)["hash"]


def test_hash_of_a_choice_follows_what_was_chosen() -> None:
    assert choose([trial(0, 0.1), trial(1, 0.2)])["hash"] != choose([trial(0, 0.2), trial(1, 0.1)])["hash"]


def test_a_study_without_a_result_has_no_choice() -> None:
    with pytest.raises(CellFailed, match="all 2 trials failed; the first: ValueError: of slot 0"):
        choose([trial(0, None), trial(1, None)])


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
    "nan loss": "DegenerateScores: loss is not finite in epoch 1",
    "nan": "DegenerateScores: scores are NaN or infinite",
    "infinite": "DegenerateScores: scores are NaN or infinite",
    "constant": "DegenerateScores: all scores are equal",
}


def moody(
    sweep_dir: Path, moods: list[str], model: Callable[..., Any] = Moody, seeds: int = 1
) -> tuple[CellTask, CellStore]:
    """A cell whose only hyper-parameter is the mood of its model; the first mood is the default."""
    task = make_job(sweep_dir, "model=bpr").task()
    _, settings = task.recipe(task.default)
    task = replace(
        task,
        cell=Cell("planted", "moody", "-"),
        space={"model.mood": CategoricalDistribution(moods)},
        default={"model.mood": moods[0]},
        budget=replace(task.budget, trials=len(moods), seeds=seeds),
        recipe=lambda configuration: (functools.partial(model, mood=configuration["model.mood"]), settings),
    )
    store = CellStore(sweep_dir, paths.cell_dir(sweep_dir, *task.cell), "c" * 64)
    store.open({})
    return task, store


def test_a_failed_trial_is_a_record_and_counts(tmp_path: Path) -> None:
    task, store = moody(tmp_path, [*REASONS, "good"])
    choice = tune(task, store)
    trials = [record for (stage, _), record in store.finished_trainings().items() if stage == "tune"]
    assert len(trials) == len(task.slots()) == len(REASONS) + 1
    for record in trials:
        mood = record["configuration"]["model.mood"]
        if mood == "good":
            assert (record["status"], choice["slot"]) == ("ok", record["index"])
            continue
        assert (record["status"], record["score"]) == ("failed", None)
        assert record["error"].startswith(REASONS[mood])
        assert "Traceback" in record["traceback"]
        assert not store.training_file("tune", record["index"], "state.npz").exists()
    assert (choice["n_trials"], choice["n_failed"]) == (len(REASONS) + 1, len(REASONS))
    rows = [row for row in records.read_ledger(tmp_path) if row["stage"] == "tune"]
    assert [row["status"] for row in rows].count("failed") == len(REASONS)
    assert all((row["val_metric"] is None) == (row["status"] == "failed") for row in rows)


def test_failures_give_the_same_bytes_too(tmp_path: Path) -> None:
    found = []
    for name in ("one", "other"):
        task, store = moody(tmp_path / name, [*REASONS, "good"])
        tune(task, store)
        found.append(digests(store.folder))
    assert found[0] == found[1]


def test_an_accident_is_tried_once_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And with the same result as without it."""
    quiet, calm = moody(tmp_path / "calm", ["good"])
    tune(quiet, calm)
    task, store = moody(tmp_path / "rough", ["good"])
    original, number = Moody.loss, itertools.count()

    def rough(self: Moody, batch: Triplets) -> dict[str, Tensor]:
        if next(number) == 0:
            raise MemoryError("for a moment")
        return original(self, batch)

    monkeypatch.setattr(Moody, "loss", rough)
    fits = count(monkeypatch, study, "fit")
    tune(task, store)
    assert len(fits) == 3  # the trial twice, the final run once
    assert digests(store.folder) == digests(calm.folder)


@pytest.mark.parametrize(("mood", "tries"), [("no loss", 2), ("not built", 2), ("constant", 1), ("nan loss", 1)])
def test_scores_that_rank_nothing_are_no_accident(
    mood: str, tries: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, store = moody(tmp_path, [mood])
    fits = count(monkeypatch, study, "fit")
    with pytest.raises(CellFailed):
        tune(task, store)
    assert len(fits) == tries


def test_a_training_that_is_given_up_counts_as_failed(tmp_path: Path) -> None:
    task, store = moody(tmp_path, ["good", "better"])
    give_up(task, store, Unit("tune", 0), "its worker died")
    choice = tune(task, store)
    assert (choice["slot"], choice["n_trials"], choice["n_failed"]) == (1, 2, 1)
    record = store.finished_trainings()["tune", 0]
    assert (record["status"], record["error"], record["seed"]) == ("failed", "its worker died", 10_000)
    assert record["configuration"] == task.slots()[0]


def test_a_final_run_that_is_given_up_fails_its_cell(tmp_path: Path) -> None:
    task, store = moody(tmp_path, ["good"])
    run_unit(task, store, Unit("tune", 0))
    assert waiting(task, store) == [("final", 1)]
    give_up(task, store, Unit("final", 1), "its worker died")
    assert store.finished_trainings()["final", 1]["configuration"] == task.slots()[0]
    with pytest.raises(CellFailed, match="final run with seed 1 failed: its worker died"):
        waiting(task, store)


def test_a_cell_whose_trials_all_fail_has_failed(tmp_path: Path) -> None:
    task, store = moody(tmp_path, ["nan", "not built", "constant"])
    with pytest.raises(CellFailed, match="all 3 trials failed; the first: DegenerateScores: scores are NaN"):
        tune(task, store)
    assert not (store.folder / "choice.json").exists()
    assert not (store.folder / "finals").exists()
    assert len(store.finished_trainings()) == 3


def test_a_cell_whose_final_run_fails_has_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task, store = moody(tmp_path, ["not built from seed 2"], seeds=3)
    message = "final run with seed 2 failed: RuntimeError: cannot be built"
    with pytest.raises(CellFailed, match=message):
        tune(task, store)
    assert {key: record["status"] for key, record in store.finished_trainings().items()} == {
        ("tune", 0): "ok",
        ("final", 1): "ok",
        ("final", 2): "failed",
    }
    fits = count(monkeypatch, study, "fit")
    with pytest.raises(CellFailed, match=message):
        tune(task, store)
    assert fits == []


def test_equal_scores_go_to_the_lower_slot(tmp_path: Path) -> None:
    task, store = moody(tmp_path, ["a", "b", "c"], model=SameForAll)
    assert tune(task, store)["slot"] == 0
    assert len(set(column(store, "tune", "score"))) == 1


def test_a_model_that_keeps_nothing_has_no_state(tmp_path: Path) -> None:
    task, store = moody(tmp_path, ["a"], model=SameForAll)
    tune(task, store)
    assert sorted(path.name for path in (store.folder / "trials").iterdir()) == ["000.json", "000.valid.parquet"]
    assert column(store, "tune", "stop_reason") == ["closed_form"]


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


def ledger_of(sweep_dir: Path) -> dict[tuple[str, int], dict[str, Any]]:
    """What the ledger says of each training, its cost aside."""
    rows = list(records.read_ledger(sweep_dir))
    return {(row["stage"], row["index"]): {k: v for k, v in row.items() if k not in COST} for row in rows}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> CellStore:
    task, store = opened(make_job(tmp_path_factory.mktemp("undisturbed"), *FEW))
    tune(task, store)
    return store


def goes_on(task: CellTask, store: CellStore, undisturbed: CellStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same command again: it runs what is missing, and the end is as if nothing had happened."""
    monkeypatch.undo()
    finished = len(store.finished_trainings())
    assert finished < 4
    fits = count(monkeypatch, study, "fit")
    tune(task, store)
    assert len(fits) == 4 - finished
    left = {name: digest for name, digest in digests(store.folder).items() if not Path(name).name.startswith(".")}
    assert left == digests(undisturbed.folder)
    assert ledger_of(store.sweep_dir) == ledger_of(undisturbed.sweep_dir)
    fits.clear()
    tune(task, store)
    assert fits == []


#: Records are written in the order trial 0, 1, choice, final 1, 2; each training has four steps.
FAULTS = {
    "first step": (VBPR, "loss", 0, False),
    "mid-epoch of the second trial": (VBPR, "loss", 4 + 2, True),
    "mid-epoch of the last final": (VBPR, "loss", 3 * 4 + 2, True),
    "after fit, before its record": (study, "fit", 1, True),
    "after the fit of a final": (study, "fit", 2, True),
    "validation written, state not": (records, "write_state", 1, False),
    "arrays written, record not": (records, "write_json", 1, False),
    "record written, its row not": (records, "append_ledger", 0, False),
    "row written": (records, "append_ledger", 0, True),
    "all trials done, choice not written": (records, "write_json", 2, False),
    "between choice and finals": (records, "write_json", 2, True),
    "record of a final written, its row not": (records, "append_ledger", 2, False),
    "record of the last final written, its row not": (records, "append_ledger", 3, False),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_kill_costs_at_most_the_training_it_hit(
    fault: str, undisturbed: CellStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, store = opened(make_job(tmp_path, *FEW))
    owner, name, call, done = FAULTS[fault]
    strike(monkeypatch, owner, name, call, done=done)
    with pytest.raises(Killed):
        tune(task, store)
    goes_on(task, store, undisturbed, monkeypatch)


@pytest.mark.parametrize("ending", [".json", ".state.npz", ".valid.parquet"])
def test_a_kill_while_a_file_is_half_written(
    ending: str, undisturbed: CellStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A killed process cleans nothing up: half a temporary file stays where it was."""
    task, store = opened(make_job(tmp_path, *FEW))
    original = records.write_atomic

    def killed(path: Path, write: Callable[[Path], object]) -> None:
        if path.name != f"001{ending}":
            original(path, write)
            return
        temporary = path.with_name(f".{path.name}.1.tmp")
        write(temporary)
        temporary.write_bytes(temporary.read_bytes()[: temporary.stat().st_size // 2])
        raise Killed

    monkeypatch.setattr(records, "write_atomic", killed)
    with pytest.raises(Killed):
        tune(task, store)
    goes_on(task, store, undisturbed, monkeypatch)


@pytest.mark.parametrize("lost", [1, 2, 4])
@pytest.mark.parametrize("half", [False, True], ids=["whole-lines", "half-a-line"])
def test_lines_that_the_ledger_lost_are_run_again(
    lost: int, half: bool, undisturbed: CellStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, store = opened(make_job(tmp_path, *FEW))
    tune(task, store)
    ledger = paths.ledger_file(tmp_path)
    lines = ledger.read_bytes().splitlines(keepends=True)
    torn = lines[-lost][: len(lines[-lost]) // 2] if half else b""
    ledger.write_bytes(b"".join(lines[:-lost]) + torn)
    goes_on(task, store, undisturbed, monkeypatch)


def test_a_record_that_was_deleted_is_made_again(
    undisturbed: CellStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, store = opened(make_job(tmp_path, *FEW))
    tune(task, store)
    store.training_file("tune", 1, "json").unlink()
    goes_on(task, store, undisturbed, monkeypatch)
