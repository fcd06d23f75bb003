"""Equal-effort tuning of one cell: exact slots, one choice, final seeds. Nothing here can reach the test split.

What is equal for every condition of a (dataset, model): the number of trials, the sampled configurations and their
order, the seed of each trial, the budget rule and the selection rule (METHOD §1, RULINGS 1-3, 6).
"""

from __future__ import annotations

import resource
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import optuna
import pandas as pd

from mmbench import faults, fingerprint, records, search
from mmbench.data.features import ItemFeature
from mmbench.data.interactions import Interactions
from mmbench.data.modality import ModalityCondition, control_statistics
from mmbench.data.recdata import make_recdata
from mmbench.evaluation import DegenerateScores
from mmbench.records import CellStore
from mmbench.search import Configuration, Space
from mmbench.training import SELECTION_METRIC, ModelFactory, Outcome, TrainingSettings, fit

#: Added to a trial's slot to give its seed; final seeds are 1..S, so the two never meet.
TUNING_SEEDS = 10_000

Recipe = Callable[[Configuration], tuple[ModelFactory, TrainingSettings]]


@dataclass(frozen=True)
class Budget:
    """Tuning effort of a cell (RULINGS 3).

    Args:
        name: name of the budget.
        trials: configurations tried, T.
        seeds: final runs of the chosen one, S.
        max_epochs: epochs of a training at most.
        patience: epochs without a better validation score before a training stops.
        batches_per_epoch: steps per epoch at most, or None for all.
    """

    name: str
    trials: int
    seeds: int
    max_epochs: int
    patience: int
    batches_per_epoch: int | None = None

    def __post_init__(self) -> None:
        for field in ("trials", "seeds", "max_epochs", "patience", "batches_per_epoch"):
            value = getattr(self, field)
            if value is not None and (not isinstance(value, int) or value < 1):
                raise ValueError(f"budget.{field}={value} must be a whole number of at least 1")


class Cell(NamedTuple):
    """The unit of tuning and of a table; modality ``-`` for a model that ignores content."""

    dataset: str
    model: str
    modality: str

    def __str__(self) -> str:
        return "/".join(self)


@dataclass(frozen=True)
class CellTask:
    """Everything that tuning a cell needs, and nothing of the test split.

    Args:
        cell: which cell.
        train: training interactions.
        valid: validation interactions.
        features: real features by modality, before the condition.
        condition: the modality condition.
        space: search space.
        default: default configuration, slot 0.
        budget: tuning effort.
        recipe: makes a model factory and training settings from a configuration.
        split_fingerprint: SHA-256 of train and validation.
    """

    cell: Cell
    train: Interactions
    valid: Interactions
    features: Mapping[str, ItemFeature]
    condition: ModalityCondition
    space: Space
    default: Configuration
    budget: Budget
    recipe: Recipe
    split_fingerprint: str

    def slots(self) -> list[Configuration]:
        """The configuration of each slot; the draws depend on dataset and model only."""
        key = f"{self.cell.dataset}|{self.cell.model}|space"
        return search.configurations(self.space, self.default, self.budget.trials, key)

    def inputs(self, seed: int, condition: ModalityCondition | None = None) -> dict[str, ItemFeature]:
        """Features of a run after the condition (or after another one); ``seed`` drives the random states."""
        counts = np.bincount(self.train.items, minlength=self.train.n_items)
        return (condition or self.condition).apply(self.features, seed, counts)


class CellFailed(RuntimeError):
    """The cell has no result; the message says why."""


class Unit(NamedTuple):
    """One training of a cell: a trial (``tune``, its slot) or a final run (``final``, its seed)."""

    stage: str
    number: int


def waiting(task: CellTask, store: CellStore) -> list[Unit]:
    """Trainings of a cell that may start now: its open trials, and when all have ended its open final runs.

    Writes the choice as soon as it is due. An empty list means that nothing is left to start.

    Raises:
        CellFailed: if every trial or one of the final runs failed.
    """
    done = store.finished_trainings()
    n_slots = len(task.slots())
    trials = [Unit("tune", slot) for slot in range(n_slots) if ("tune", slot) not in done]
    if trials:
        return trials
    file = store.folder / "choice.json"
    if not file.exists():
        choice = {**choose([done["tune", slot] for slot in range(n_slots)]), "cell_key": store.key}
        records.write_json(file, choice)
        faults.reach("chosen")
    finals = [Unit("final", seed) for seed in range(1, task.budget.seeds + 1)]
    for unit in finals:
        if unit in done and done[unit]["status"] != "ok":
            raise CellFailed(f"final run with seed {unit.number} failed: {done[unit]['error']}")
    return [unit for unit in finals if unit not in done]


def run_unit(task: CellTask, store: CellStore, unit: Unit) -> dict[str, Any]:
    """Run one training that :func:`waiting` named and return its record; a trial's values are asked from Optuna."""
    if unit.stage == "final":
        configuration = records.read_json(store.folder / "choice.json")["configuration"]
        return run_training(task, store, "final", unit.number, unit.number, configuration)
    done = store.finished_trainings()
    study = rebuilt_study(task.space, task.slots(), done, waiting=[unit.number])
    trial = study.ask()
    faults.reach("asked")
    configuration = {path: _suggested(trial, path, d) for path, d in task.space.items()}
    return run_training(task, store, "tune", unit.number, TUNING_SEEDS + unit.number, configuration)


def give_up(task: CellTask, store: CellStore, unit: Unit, reason: str) -> None:
    """Count a training as failed that kills its worker again and again."""
    chosen = store.folder / "choice.json"
    configuration = records.read_json(chosen)["configuration"] if unit.stage == "final" else task.slots()[unit.number]
    seed = unit.number if unit.stage == "final" else TUNING_SEEDS + unit.number
    record = _record(task, unit, seed, configuration, task.inputs(seed)) | _failure(reason, "")
    store.write_training(record, _ledger_row(task, record, None), None, None)


def tune(task: CellTask, store: CellStore) -> Mapping[str, Any]:
    """Run every open trial and final run of a cell in this process and return its choice.

    Raises:
        CellFailed: if every trial or one of the final runs failed.
    """
    while units := waiting(task, store):
        run_unit(task, store, units[0])
    return records.read_json(store.folder / "choice.json")


def feature_hash(features: Mapping[str, ItemFeature]) -> str:
    """One fingerprint of all features of a run (RULINGS 9)."""
    return fingerprint.of_json({name: feature.fingerprint() for name, feature in features.items()})


def choose(trials: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Pick the trial with the best validation score; a tie goes to the lower slot (RULINGS 6).

    Raises:
        CellFailed: if every trial failed.
    """
    finished = [trial for trial in trials if trial["status"] == "ok"]
    if not finished:
        raise CellFailed(f"all {len(trials)} trials failed; the first: {trials[0]['error']}")
    best = max(finished, key=lambda trial: (trial["score"], -trial["index"]))
    choice = {
        "kind": "choice",
        "slot": best["index"],
        "configuration": best["configuration"],
        "metric": SELECTION_METRIC,
        "score": best["score"],
        "n_trials": len(trials),
        "n_failed": len(trials) - len(finished),
    }
    return {**choice, "hash": fingerprint.of_json(choice)}


def run_training(
    task: CellTask, store: CellStore, stage: str, index: int, seed: int, configuration: Configuration
) -> dict[str, Any]:
    """Train, write the record and return it.

    An exception is tried once more with the same configuration; the second one becomes a record with status ``failed``,
    which counts as a trial (METHOD §1.3). Degenerate scores are no accident and are not tried again.
    """
    features = task.inputs(seed)
    build, settings = task.recipe(configuration)
    record = _record(task, Unit(stage, index), seed, configuration, features)
    data = make_recdata(task.train, features)
    began = time.perf_counter()
    try:
        outcome = _with_one_retry(lambda: fit(build, data, task.train, task.valid, settings, seed))
    except Exception as error:
        record |= _failure(f"{type(error).__name__}: {error}", traceback.format_exc())
        store.write_training(record, _ledger_row(task, record, None), None, None)
        return record
    record |= {
        "status": "ok",
        "score": outcome.score,
        "epochs": outcome.epochs,
        "best_epoch": outcome.best_epoch,
        "stop_reason": outcome.stop_reason,
        "history": outcome.history,
        "losses": outcome.losses,
        "n_parameters": outcome.n_parameters,
    }
    faults.reach("fitted")
    valid = pd.DataFrame({"user": outcome.users.astype("int32"), SELECTION_METRIC: outcome.per_user})
    state = {name: value.cpu().numpy() for name, value in outcome.model.state_dict().items()}
    row = _ledger_row(task, record, outcome) | {"total_s": time.perf_counter() - began}
    store.write_training(record, row, valid, state or None)
    return record


def _with_one_retry(train: Callable[[], Outcome]) -> Outcome:
    try:
        return train()
    except DegenerateScores:
        raise
    except Exception:
        return train()


def _record(
    task: CellTask, unit: Unit, seed: int, configuration: Configuration, features: Mapping[str, ItemFeature]
) -> dict[str, Any]:
    """What a record says of a training before it runs."""
    return {
        "kind": "training",
        "stage": unit.stage,
        "index": unit.number,
        "seed": seed,
        "configuration": configuration,
        "configuration_hash": search.configuration_hash(configuration),
        "feature_hash": feature_hash(features),
        "controls": {
            name: {"state": task.condition.state(name), **control_statistics(feature, task.features[name])}
            for name, feature in features.items()
            if task.condition.state(name) != "real"
        },
        "split_hash": task.split_fingerprint,
        "metric": SELECTION_METRIC,
    }


def _failure(reason: str, trace: str) -> dict[str, Any]:
    return {"status": "failed", "score": None, "error": reason, "traceback": trace}


def rebuilt_study(
    space: Space,
    slots: Sequence[Configuration],
    done: Mapping[tuple[str, int], Mapping[str, Any]],
    waiting: Sequence[int],
    storage: optuna.storages.BaseStorage | None = None,
    name: str | None = None,
) -> optuna.Study:
    """An Optuna study with the finished trials of the ledger told and the waiting slots queued.

    Args:
        space: search space.
        slots: configuration of each slot.
        done: record of every finished training.
        waiting: slots to queue.
        storage: where the study is kept; in memory by default.
        name: its name.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = search.SlotSampler(slots)
    study = optuna.create_study(direction="maximize", sampler=sampler, storage=storage, study_name=name)
    for slot, configuration in enumerate(slots):
        record = done.get(("tune", slot))
        if record is None:
            continue
        failed = record["status"] != "ok"
        study.add_trial(
            optuna.trial.create_trial(
                state=optuna.trial.TrialState.FAIL if failed else optuna.trial.TrialState.COMPLETE,
                value=None if failed else record["score"],
                params=configuration,
                distributions=dict(space),
                user_attrs={"slot": slot},
            )
        )
    for slot in waiting:
        study.enqueue_trial({}, user_attrs={"slot": slot})
    return study


def _suggested(trial: optuna.Trial, path: str, distribution: optuna.distributions.BaseDistribution) -> Any:
    if isinstance(distribution, optuna.distributions.CategoricalDistribution):
        return trial.suggest_categorical(path, distribution.choices)
    if isinstance(distribution, optuna.distributions.IntDistribution):
        return trial.suggest_int(
            path, distribution.low, distribution.high, step=distribution.step, log=distribution.log
        )
    assert isinstance(distribution, optuna.distributions.FloatDistribution)
    return trial.suggest_float(path, distribution.low, distribution.high, step=distribution.step, log=distribution.log)


def _ledger_row(task: CellTask, record: Mapping[str, Any], outcome: Outcome | None) -> dict[str, Any]:
    """What the ledger says of a training (METHOD §1.3): the record's fields that compare, and what it cost."""
    fields = ("stage", "index", "seed", "configuration", "configuration_hash", "feature_hash", "split_hash", "status")
    row = {name: record[name] for name in fields}
    row |= {
        **task.cell._asdict(),
        "budget": task.budget.name,
        "d_eff": len(task.space),
        "val_metric": record["score"],
        "epochs_run": record.get("epochs"),
        "best_epoch": record.get("best_epoch"),
        "stop_reason": record.get("stop_reason"),
        "hit_max_epochs": record.get("stop_reason") == "max_epochs",
        "n_params_trainable": record.get("n_parameters"),
        "wall_s": None if outcome is None else outcome.seconds,
        "setup_s": None if outcome is None else outcome.setup_seconds,
        "samples_per_s": None if outcome is None else outcome.samples_per_second,
        "inference_us_per_user": None if outcome is None else outcome.inference_us_per_user,
        "device": None if outcome is None else outcome.device,
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "finished_at": records.now(),
    }
    return row
