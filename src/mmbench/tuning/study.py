"""Equal-effort tuning of one cell: exact slots, one choice, final seeds. Nothing here can reach the test split.

What is equal for every condition of a (dataset, model): the number of trials, the sampled configurations and their
order, the seed of each trial, the budget rule and the selection rule; see ``docs/protocol.md``.
"""

from __future__ import annotations

import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import msgspec
import pandas as pd

from mmbench import faults, fingerprint, paths
from mmbench.data.conditions import control_statistics
from mmbench.data.features import ItemFeature
from mmbench.data.recdata import RecData, make_recdata
from mmbench.evaluation.ranking import DegenerateScores
from mmbench.extensions import kept_alive
from mmbench.messages import Message, Refusal
from mmbench.nn.memo import Memo
from mmbench.nn.recommender import Recommender
from mmbench.store import bounds, ledger, mending
from mmbench.store.files import State, fits_reader
from mmbench.store.records import CellStore, frame_fingerprint, read_trainings
from mmbench.store.schema import (
    TRAININGS,
    Choice,
    Configuration,
    Control,
    Cost,
    Failure,
    LedgerRow,
    Stage,
    Training,
    Unit,
)
from mmbench.training import allocation, energy
from mmbench.training.fit import ModelFactory, fit, machine
from mmbench.training.loop import ProcessKilled
from mmbench.training.settings import TrainingSettings
from mmbench.training.stopping import SELECTION_METRIC
from mmbench.tuning import sampler
from mmbench.tuning.budget import PILOTS
from mmbench.tuning.cell import CellFailed, CellTask
from mmbench.tuning.choice import choose
from mmbench.tuning.space import configuration_hash

T = TypeVar("T")


def waiting(task: CellTask, store: CellStore) -> list[Unit]:
    """Trainings of a cell that may start now: its open trials, and once a configuration is chosen its open final runs.

    An empty list means that no training is left to start before :func:`choose_if_due` and, where nothing is to be
    chosen, the test split.

    Args:
        task: the cell.
        store: its records.

    Raises:
        CellFailed: if every trial or one of the final runs failed.
    """
    done, effort = store.finished_trainings(), task.effort
    random = [Unit(Stage.TRIAL, slot) for slot in range(effort.trials)]
    if unfinished := [unit for unit in random if unit not in done]:
        pilots = [unit for unit in unfinished if unit.number < PILOTS]
        return pilots if task.budget.rungs and pilots else unfinished
    proposed = [Unit(Stage.PROPOSAL, place) for place in range(effort.proposals)]
    if unfinished := [unit for unit in proposed if unit not in done]:
        return unfinished[:1]  # each proposal has seen the score of the one before
    choice, chosen = store.choice(), choose([done[unit] for unit in (*random, *proposed)], store.cell().plan)
    if choice is None or choice.hash != chosen.hash:
        return []
    finals = [Unit(Stage.FINAL, number) for number in range(1, effort.seeds + 1)]
    ended = {unit: done[unit] for unit in finals if unit in done and done[unit].configuration == choice.configuration}
    for unit, training in ended.items():
        if training.failure is not None:
            raise CellFailed(f"final run with seed {unit.number} failed: {training.failure.reason}")
    return [unit for unit in finals if unit not in ended]


def is_outdated(task: CellTask, choice: Choice) -> bool:
    """Whether the number of trials was raised since the choice."""
    return choice.n_trials != task.effort.trials + task.effort.proposals


def choose_if_due(task: CellTask, store: CellStore) -> bool:
    """Write the choice that is due: the first one, one among more trials, or one that repeated trials give.

    An earlier choice, its seal and its final runs are kept. Final runs stay in use if the same configuration is the
    best one again. Only one worker may be here at a time: one that writes an earlier choice late would spoil a look.

    Args:
        task: the cell.
        store: its records.

    Returns:
        False if the choice that is written stands.

    Raises:
        CellFailed: if every trial failed.
    """
    done, effort, before = store.finished_trainings(), task.effort, store.choice()
    numbers = {Stage.TRIAL: effort.trials, Stage.PROPOSAL: effort.proposals}
    units = [Unit(stage, number) for stage, n in numbers.items() for number in range(n)]
    if not done.keys() >= set(units):
        return True  # trials were raised meanwhile, and come first
    choice = choose([done[unit] for unit in units], store.cell().plan)
    if before is not None and before.hash == choice.hash:
        return False
    if before is not None and is_outdated(task, before):
        store.keep_look()
        store.set_finals_aside(choice.configuration)
    elif before is not None:
        print(store.translator(mending.set_aside_choice(store, before)), flush=True)
    store.write_choice(choice)
    faults.reach("chosen")
    return True


@dataclass(frozen=True)
class Trained:
    """What a training gave.

    Args:
        record: its record.
        cost: what it cost.
        validation: validation score by user, columns ``user`` and the metric; None for one that failed.
        state: parameters as they are stored; empty where there are none.
    """

    record: Training
    cost: Cost
    validation: pd.DataFrame | None = None
    state: State = field(default_factory=dict)


def run_unit(task: CellTask, store: CellStore, unit: Unit, configuration: Configuration | None = None) -> Training:
    """Run one training that :func:`waiting` returned, with values from Optuna; write its record and return it.

    One that was written whole only gets its row in the ledger, without its cost, which nobody knows any more.

    Args:
        task: the cell.
        store: its records.
        unit: the training.
        configuration: values of the searched hyper-parameters, by default those that are due.
    """
    if configuration is None:
        configuration = _configuration(task, store, unit)
    if (written := store.written(unit, configuration_hash(configuration))) is not None:
        _list_again(task, store, written)
        return written
    if unit.stage != Stage.FINAL:
        faults.reach("asked")
    trained = train(task, store, unit, configuration, paths.graph_dir(store.sweep_dir))
    faults.reach("fitted")
    if line := mending.differs_from_before(store, trained.record):
        print(store.translator(line), flush=True)
    row = _ledger_row(task, trained.record, trained.cost)
    store.write_training(trained.record, row, trained.validation, trained.state or None)
    return trained.record


def list_unlisted(task: CellTask, store: CellStore, seen: ledger.Reader) -> int:
    """Give the trainings of a finished cell whose line the ledger has lost a row again; return how many there are.

    A trial that has a row, of whatever configuration and hash, gets none: its record was edited, which an audit finds
    by that row.

    Args:
        task: the cell, whose trainings have all ended.
        store: its records.
        seen: the ledger.
    """
    store, listed = replace(store, ledger=seen), set(seen.trainings(store.key))
    tried = {unit for unit, _ in listed if unit.stage != Stage.FINAL}  # final runs of an earlier choice have rows, too
    unlisted = [
        training
        for stage in Stage
        for training in read_trainings(store.folder, stage, store.key)
        if training.unit not in tried and (training.unit, training.configuration_hash) not in listed
    ]
    whole = [training for training in unlisted if store.written(training.unit, training.configuration_hash) is not None]
    for training in whole:
        _list_again(task, store, training)
    return len(whole)


def _list_again(task: CellTask, store: CellStore, written: Training) -> None:
    """Write the row of a training that was written whole, without its cost."""
    if written.stage != Stage.FINAL and any(unit.stage == Stage.FINAL for unit in store.finished_trainings()):
        mending.keep_unlisted(store, written.unit)
    store.enlist(_row(task, written, Cost()))


def train(task: CellTask, store: CellStore, unit: Unit, configuration: Configuration, graph_dir: Path) -> Trained:
    """Run one training and write nothing of it.

    After an exception, want of memory and a model's ``sys.exit`` included, the training is repeated once with the same
    configuration: another worker may have had the memory of the card. A second exception gives the record of a failed
    training, which counts as a trial. Degenerate scores are deterministic, so they are not tried again; a process that
    a signal ended is for the worker to judge. Its features under the condition of the cell are made anew after an
    exception, too; a second one is raised, because it says nothing of the configuration. A training of so many epochs
    that its record would be too large to be read fails at once.

    Args:
        task: its cell.
        store: records of the cell, which say what a rung asks for.
        unit: which training.
        configuration: what it tries.
        graph_dir: where large item graphs are kept.

    Raises:
        OSError: for what is wrong with the disk or the system and not with the training; want of memory is none of it.
        ProcessKilled: for an error after which this process can use its GPU no more; a new process can.
    """
    seed = task.seed(unit)
    build, settings = recipe_of(task, configuration)

    def begin() -> tuple[Training, RecData]:
        begun, features = _begun(task, store, unit, configuration, settings.precision)
        return begun, make_recdata(task.train, features)

    begun, data = _with_one_retry(begin)
    if unit.stage != Stage.FINAL and not (unit.stage == Stage.TRIAL and unit.number < PILOTS):
        settings = replace(settings, rungs=_rungs(task, store))
    began = time.perf_counter()
    fitted, failure = None, None
    with energy.metered() as meter:
        try:
            fitted = _with_one_retry(
                lambda: fit(
                    build,
                    data,
                    task.train,
                    task.valid,
                    settings,
                    seed,
                    graph_dir=graph_dir,
                    translator=store.translator,
                    new_valid=task.new_valid,
                    target=task.target,
                    common_lists=task.lists_new_items(unit.stage),
                    informed=task.informed,
                )
            )
        except Exception as error:
            # A full disk or a lost share is not the configuration's fault, and a failure would stand for good.
            if isinstance(error, OSError) and not allocation.is_out_of_memory(error):
                raise
            if not allocation.is_out_of_memory(error) and allocation.is_lost(settings.device):
                lost = Message(
                    "{cell} {training}: {reason}; since then the GPU fails every call of this worker, which ends so "
                    "that a new one tries again",
                    cell=task.cell,
                    training=f"{unit.stage}-{unit.number}",
                    reason=allocation.reason(error).partition("\n")[0],
                )
                print(store.translator(lost), file=sys.stderr, flush=True)
                raise ProcessKilled(signal.SIGABRT) from error
            failure = Failure(reason=allocation.reason(error), traceback=traceback.format_exc())
    spent = time.perf_counter() - began

    def failed(failure: Failure | None) -> Trained:
        cost = Cost(total_seconds=spent, machine=machine(settings), energy_kwh=meter.kwh)
        return Trained(begun.ended(failure=failure), cost)

    if fitted is None:
        return failed(failure)
    validation = pd.DataFrame({"user": fitted.users.astype("int32"), SELECTION_METRIC: fitted.per_user})
    record = begun.ended(
        course=fitted.course,
        n_parameters=fitted.n_parameters,
        approximations=fitted.approximations,
        validation_hash=frame_fingerprint(validation),
        state_hash=fingerprint.of_named_arrays(fitted.state) if fitted.state else "",
    )
    if not fits_reader(msgspec.to_builtins(record)):  # a record that nobody can read would end every later command
        reason = (
            f"the record of {fitted.course.epochs} epochs would be larger than the {bounds.MOST_JSON} bytes that can "
            "be read; lower budget.max_steps, or make the epochs longer: a smaller training.batch_size, a larger "
            "budget.batches_per_epoch"
        )
        return failed(Failure(reason=reason))
    fitted.cost.energy_kwh, fitted.cost.total_seconds = meter.kwh, spent
    return Trained(record, fitted.cost, validation, fitted.state)


def recipe_of(task: CellTask, configuration: Configuration) -> tuple[ModelFactory, TrainingSettings]:
    """How to train a configuration; where it is refused, a factory that raises the refusal, and the default's settings.

    Planning refuses what the slots hold, but nobody knows beforehand what TPE proposes; that is then a failed trial.
    """
    try:
        return task.recipe(configuration)
    except Refusal as error:
        refused = error  # the name of an exception ends with its clause

    def build(data: RecData) -> Recommender:
        raise refused

    return build, task.recipe(task.default)[1]


def give_up(task: CellTask, store: CellStore, unit: Unit, reason: str) -> None:
    """Record a training as failed because it repeatedly killed its worker."""
    configuration = _configuration(task, store, unit)
    precision = recipe_of(task, configuration)[1].precision
    begun, _ = _with_one_retry(lambda: _begun(task, store, unit, configuration, precision))
    training = begun.ended(failure=Failure(reason=reason))
    store.write_training(training, _ledger_row(task, training, Cost()))


def feature_hash(features: Mapping[str, ItemFeature]) -> str:
    """One fingerprint of all features of a run."""
    return fingerprint.of_json({name: feature.fingerprint() for name, feature in features.items()})


def _configuration(task: CellTask, store: CellStore, unit: Unit) -> Configuration:
    """Configuration of a training."""
    if unit.stage == Stage.FINAL:
        choice = store.choice()
        assert choice is not None, "final runs are named by waiting, which writes the choice first"
        return choice.configuration
    if task.given is not None:
        return task.given  # its values need not lie in the ranges of this data set, which Optuna would hold them to
    done = store.finished_trainings()
    if unit.stage == Stage.PROPOSAL:
        key = f"{task.cell.dataset}|{task.cell.model}|tpe|{unit.number}"
        return sampler.ask_tpe(task.space, done, unit.number, key)
    return sampler.ask_slot(task.space, task.slots(unit.number + 1), done, unit.number)


def _begun(
    task: CellTask, store: CellStore, unit: Unit, configuration: Configuration, precision: str
) -> tuple[Training, dict[str, ItemFeature]]:
    """The record of a training before it runs, and the features that it is given."""
    seed = task.seed(unit)
    features = task.inputs(seed)
    controlled = {name: task.condition.state(name) for name in features if task.condition.state(name) != "real"}
    training = TRAININGS[unit.stage](
        cell_key=store.key,
        stage=unit.stage,
        index=unit.number,
        seed=seed,
        configuration=configuration,
        configuration_hash=configuration_hash(configuration),
        feature_hash=feature_hash(features),
        split_hash=task.split_fingerprint,
        metric=SELECTION_METRIC,
        precision=configuration.get("training.precision", precision),  # of one that is refused there are no settings
        versions_hash=task.versions_hash,
        controls={
            name: Control(state=state, **control_statistics(features[name], task.features[name])._asdict())
            for name, state in controlled.items()
        },
    )
    return training, features


def _rungs(task: CellTask, store: CellStore) -> tuple[tuple[int, float], ...]:
    """Epoch and required score of each rung."""
    if not task.budget.rungs:
        return ()
    done = store.finished_trainings()
    pilots = [done[unit] for slot in range(PILOTS) if (unit := Unit(Stage.TRIAL, slot)) in done]
    return sampler.thresholds(task.budget.rungs, pilots)


def _with_one_retry(make: Callable[[], T]) -> T:
    try:
        with kept_alive():
            return make()
    except (DegenerateScores, ProcessKilled):
        raise
    except Exception as error:
        short = allocation.is_out_of_memory(error)
    # Not above: the exception holds what the first try had made.
    if short:
        Memo.empty_all()
    allocation.release()
    with kept_alive():
        return make()


def _ledger_row(task: CellTask, training: Training, cost: Cost) -> LedgerRow:
    cost.peak_rss_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return _row(task, training, cost)


def _row(task: CellTask, training: Training, cost: Cost) -> LedgerRow:
    return LedgerRow.of(
        task.cell, training, cost, budget=task.budget.name, searched=len(task.space), finished_at=ledger.now()
    )
