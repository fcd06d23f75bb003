"""Configurations of trials, proposed by Optuna, and the scores that a trial needs to continue.

The records are authoritative; an Optuna study is rebuilt from them whenever one is needed.
"""

from __future__ import annotations

import errno
import hashlib
import os
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.exceptions import StorageInternalError

from mmbench.store.schema import Configuration, Stage, Training, Unit
from mmbench.tuning.space import RangeWithAtoms, Space

#: Finished trainings of a cell.
Done = Mapping[Unit, Training]
#: Stages whose trials are added to a study, in the order in which they run.
STAGES = (Stage.TRIAL, Stage.PROPOSAL)
#: Ends the name of Optuna's parameter that says which atom a coordinate is, or that it lies in its range.
PLACE, IN_RANGE = ":place", "range"


class SlotSampler(optuna.samplers.BaseSampler):
    """Answers Optuna with the configuration of the trial's slot, so that all conditions are asked the same.

    Args:
        slots: configuration of each slot; a trial carries its slot as a user attribute.
    """

    def __init__(self, slots: Sequence[Configuration]) -> None:
        self.slots = slots

    def infer_relative_search_space(
        self, study: optuna.Study, trial: optuna.trial.FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Nothing is drawn jointly: a slot is one draw of all coordinates."""
        return {}

    def sample_relative(
        self, study: optuna.Study, trial: optuna.trial.FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Nothing is drawn jointly."""
        return {}

    def sample_independent(
        self,
        study: optuna.Study,
        trial: optuna.trial.FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """The value of ``param_name`` in the trial's slot."""
        slot = self.slots[trial.user_attrs["slot"]]
        if param_name in slot:
            return slot[param_name]
        assert isinstance(param_distribution, CategoricalDistribution)
        value = slot[param_name.removesuffix(PLACE)]
        return value if value in param_distribution.choices else IN_RANGE


def _as_optuna_has_it(space: Space, configuration: Configuration) -> tuple[Configuration, dict[str, BaseDistribution]]:
    """A configuration as Optuna's parameters, and their distributions.

    A coordinate with atoms is two parameters: the place, and the value where the place is the range.
    """
    params, distributions = dict(configuration), dict(space)
    for path, distribution in space.items():
        if isinstance(distribution, RangeWithAtoms):
            params[path + PLACE], distributions[path + PLACE] = IN_RANGE, _place(distribution)
            distributions[path] = distribution.inside
            if configuration[path] in distribution.values:
                params[path + PLACE] = params.pop(path)
                del distributions[path]
    return params, distributions


def _asked(study: optuna.Study, space: Space) -> Configuration:
    """The configuration that a study proposes next."""
    with_atoms = {path: d for path, d in space.items() if isinstance(d, RangeWithAtoms)}
    plain = {path: d for path, d in space.items() if path not in with_atoms}
    trial = study.ask({**plain, **{path + PLACE: _place(d) for path, d in with_atoms.items()}})
    values = dict(trial.params)
    for path, distribution in with_atoms.items():
        place, inside = values.pop(path + PLACE), distribution.inside
        in_range = place == IN_RANGE
        values[path] = trial.suggest_float(path, inside.low, inside.high, log=inside.log) if in_range else place
    return {path: values[path] for path in space}


def _place(distribution: RangeWithAtoms) -> CategoricalDistribution:
    return CategoricalDistribution([IN_RANGE, *distribution.values])


def rebuilt_study(
    space: Space,
    done: Done,
    *,
    sampler: optuna.samplers.BaseSampler | None = None,
    waiting: Sequence[int] = (),
    storage: optuna.storages.BaseStorage | None = None,
    name: str | None = None,
) -> optuna.Study:
    """An Optuna study with the finished trials of the records added and the waiting slots queued.

    Args:
        space: search space.
        done: every finished training.
        sampler: sampler of the study.
        waiting: slots to queue.
        storage: where the study is kept; in memory by default.
        name: its name.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize", sampler=sampler, storage=storage, study_name=name)
    finished = [training for unit, training in done.items() if unit.stage in STAGES]
    for training in sorted(finished, key=lambda training: (STAGES.index(training.stage), training.index)):
        params, distributions = _as_optuna_has_it(space, training.configuration)
        study.add_trial(
            optuna.trial.create_trial(
                state=optuna.trial.TrialState.COMPLETE if training.succeeded else optuna.trial.TrialState.FAIL,
                value=training.score,
                params=params,
                distributions=distributions,
                user_attrs={"stage": training.stage.value, "slot": training.index},
            )
        )
    for slot in waiting:
        study.enqueue_trial({}, user_attrs={"stage": Stage.TRIAL.value, "slot": slot})
    return study


def ask_slot(space: Space, slots: Sequence[Configuration], done: Done, slot: int) -> Configuration:
    """The configuration of a slot, by asking a study whose sampler holds the slots.

    Args:
        space: search space.
        slots: configuration of each slot, at least up to ``slot``.
        done: every finished training.
        slot: the slot.
    """
    study = rebuilt_study(space, done, sampler=SlotSampler(slots), waiting=[slot])
    return _asked(study, space)


def ask_tpe(space: Space, done: Done, place: int, key: str) -> Configuration:
    """The proposal of the tree-structured Parzen estimator after the trials so far (Bergstra et al. 2011).

    Args:
        space: search space.
        done: every finished training; proposals from ``place`` on are ignored.
        place: place among the proposals, from 0.
        key: what the randomness of the proposal depends on.
    """
    known = {
        unit: training
        for unit, training in done.items()
        if unit.stage == Stage.TRIAL or (unit.stage == Stage.PROPOSAL and unit.number < place)
    }
    seed = int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "big")
    # Optuna 5 changed both defaults; explicit values give the same proposal under either version.
    sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=0, multivariate=True, constant_liar=False)
    study = rebuilt_study(space, known, sampler=sampler)
    return _asked(study, space)


def thresholds(rungs: Sequence[int], pilots: Sequence[Training]) -> tuple[tuple[int, float], ...]:
    """The score to reach at each rung: the median over the pilots of their best score up to it.

    A rule that compares with whatever has finished by then would depend on the order in which workers are done; this
    one gives every trial of a condition the same bar.

    Args:
        rungs: steps, ascending.
        pilots: records of the trials that are never cut short; failed ones are passed over.

    Returns:
        Epoch and score per rung; empty without a pilot that trained.
    """
    courses = [pilot.course for pilot in pilots if pilot.course is not None]
    if not courses:
        return ()
    epochs = [courses[0].epoch_of(rung) for rung in rungs]
    return tuple((epoch, median(max(course.history[:epoch]) for course in courses)) for epoch in epochs)


def keep_studies(studies: Mapping[str, tuple[Space, Done]], file: Path) -> None:
    """Write rebuilt studies into an SQLite file, which optuna-dashboard opens.

    Args:
        studies: search space and records of each study, by its name.
        file: the file.

    Raises:
        OSError: if it cannot be written.
    """
    from sqlalchemy.exc import DBAPIError  # no worker needs it

    try:
        storage = optuna.storages.RDBStorage(f"sqlite:///{file.resolve()}")
        for name, (space, done) in studies.items():
            rebuilt_study(space, done, storage=storage, name=name)
    except (DBAPIError, StorageInternalError) as error:
        found = error if isinstance(error, DBAPIError) else error.__cause__
        said = found.orig if isinstance(found, DBAPIError) else found
        if getattr(said, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error
        raise OSError(errno.EIO, str(said)) from error
    storage.engine.dispose()  # the file is complete before it gets its name
