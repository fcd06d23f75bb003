"""Equal-effort tuning of one cell: exact slots, one choice, final seeds. Nothing here can reach the test split.

What is equal for every condition of a (dataset, model): the number of trials, the sampled configurations and their
order, the seed of each trial, the budget rule and the selection rule (METHOD §1, RULINGS 1-3, 6).
"""

from __future__ import annotations

import resource
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from mmbench import energy, faults, fingerprint, paths, proposals, records, search
from mmbench.budget import PILOTS
from mmbench.cells import CellFailed, CellTask, Unit
from mmbench.data.conditions import control_statistics
from mmbench.data.features import ItemFeature
from mmbench.data.recdata import make_recdata
from mmbench.evaluation import DegenerateScores
from mmbench.records import CellStore
from mmbench.search import Configuration
from mmbench.training import SELECTION_METRIC, Outcome, fit


def waiting(task: CellTask, store: CellStore, trials: int | None = None, *, settled: bool = True) -> list[Unit]:
    """Trainings of a cell that may start now: its open trials, and when all have ended its open final runs.

    Writes the choice as soon as it is due. An empty list means that nothing is left to start before the number of
    trials is settled or, when it is, that the cell is ready for the test split.

    Args:
        task: the cell.
        store: its records.
        trials: random trials that it gets, by default those of its budget.
        settled: whether that number can no longer grow; nothing is proposed or chosen before.

    Raises:
        CellFailed: if every trial or one of the final runs failed.
    """
    done = store.finished_trainings()
    random = [Unit("tune", slot) for slot in range(len(task.slots(trials)))]
    if unfinished := [unit for unit in random if unit not in done]:
        pilots = [unit for unit in unfinished if unit.number < PILOTS]
        return pilots if task.budget.rungs and pilots else unfinished
    if not settled:
        return []
    proposed = [Unit("extended", place) for place in range(task.budget.tpe)]
    if unfinished := [unit for unit in proposed if unit not in done]:
        return unfinished[:1]  # each proposal has seen the score of the one before
    file = store.folder / "choice.json"
    if not file.exists():
        choice = {**choose([done[unit] for unit in (*random, *proposed)]), "cell_key": store.key}
        records.write_json(file, choice)
        faults.reach("chosen")
    finals = [Unit("final", seed) for seed in range(1, task.budget.seeds + 1)]
    for unit in finals:
        if unit in done and done[unit]["status"] != "ok":
            raise CellFailed(f"final run with seed {unit.number} failed: {done[unit]['error']}")
    return [unit for unit in finals if unit not in done]


def run_unit(task: CellTask, store: CellStore, unit: Unit) -> dict[str, Any]:
    """Run one training that :func:`waiting` named and return its record; a trial's values are asked from Optuna."""
    configuration = _configuration(task, store, unit)
    if unit.stage != "final":
        faults.reach("asked")
    return run_training(task, store, unit, configuration)


def give_up(task: CellTask, store: CellStore, unit: Unit, reason: str) -> None:
    """Count a training as failed that kills its worker again and again."""
    record = _record(task, unit, _configuration(task, store, unit), task.inputs(unit.seed)) | _failure(reason, "")
    store.write_training(record, _ledger_row(task, record, None), None, None)


def _configuration(task: CellTask, store: CellStore, unit: Unit) -> Configuration:
    """What a training tries."""
    if unit.stage == "final":
        chosen: Configuration = records.read_json(store.folder / "choice.json")["configuration"]
        return chosen
    done = store.finished_trainings()
    if unit.stage == "extended":
        key = f"{task.cell.dataset}|{task.cell.model}|tpe|{unit.number}"
        return proposals.ask_tpe(task.space, done, unit.number, key)
    return proposals.ask_slot(task.space, task.slots(unit.number + 1), done, unit.number)


def tune(task: CellTask, store: CellStore) -> Mapping[str, Any]:
    """Run every open trial and final run of a cell in this process, without extension, and return its choice.

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
    order = {"tune": 0, "extended": 1}
    finished = [trial for trial in trials if trial["status"] == "ok"]
    if not finished:
        raise CellFailed(f"all {len(trials)} trials failed; the first: {trials[0]['error']}")
    best = max(finished, key=lambda trial: (trial["score"], -order[trial["stage"]], -trial["index"]))
    choice = {
        "kind": "choice",
        "stage": best["stage"],
        "slot": best["index"],
        "configuration": best["configuration"],
        "metric": SELECTION_METRIC,
        "score": best["score"],
        "n_trials": len(trials),
        "n_failed": len(trials) - len(finished),
    }
    return {**choice, "hash": fingerprint.of_json(choice)}


def run_training(task: CellTask, store: CellStore, unit: Unit, configuration: Configuration) -> dict[str, Any]:
    """Train, write the record and return it.

    An exception is tried once more with the same configuration; the second one becomes a record with status ``failed``,
    which counts as a trial (METHOD §1.3). Degenerate scores are no accident and are not tried again.
    """
    features = task.inputs(unit.seed)
    build, settings = task.recipe(configuration)
    record = _record(task, unit, configuration, features) | {"precision": settings.precision}
    if unit.stage != "final" and not (unit.stage == "tune" and unit.number < PILOTS):
        settings = replace(settings, rungs=_rungs(task, store))
    data = make_recdata(task.train, features)
    graph_dir = paths.graph_dir(store.sweep_dir)
    began = time.perf_counter()
    try:
        with energy.metered() as meter:
            outcome = _with_one_retry(
                lambda: fit(build, data, task.train, task.valid, settings, unit.seed, graph_dir=graph_dir)
            )
    except Exception as error:
        record |= _failure(f"{type(error).__name__}: {error}", traceback.format_exc())
        row = _ledger_row(task, record, None) | {"energy_kwh": meter.kwh}
        store.write_training(record, row, None, None)
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
    if outcome.approximations:
        record["approximate_neighbours"] = outcome.approximations
    faults.reach("fitted")
    valid = pd.DataFrame({"user": outcome.users.astype("int32"), SELECTION_METRIC: outcome.per_user})
    state = {name: value.cpu().numpy() for name, value in outcome.model.state_dict().items()}
    row = _ledger_row(task, record, outcome) | {"energy_kwh": meter.kwh, "total_s": time.perf_counter() - began}
    store.write_training(record, row, valid, state or None)
    return record


def _rungs(task: CellTask, store: CellStore) -> tuple[tuple[int, float], ...]:
    """Epochs of the rungs with the score that a trial has to reach there."""
    if not task.budget.rungs:
        return ()
    done = store.finished_trainings()
    pilots = [done["tune", slot] for slot in range(PILOTS) if ("tune", slot) in done]
    return proposals.thresholds(task.budget.rungs, pilots)


def _with_one_retry(train: Callable[[], Outcome]) -> Outcome:
    try:
        return train()
    except DegenerateScores:
        raise
    except Exception:
        return train()


def _record(
    task: CellTask, unit: Unit, configuration: Configuration, features: Mapping[str, ItemFeature]
) -> dict[str, Any]:
    """What a record says of a training before it runs."""
    return {
        "kind": "training",
        "stage": unit.stage,
        "index": unit.number,
        "seed": unit.seed,
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
