"""What a trial tries, asked from Optuna, and what it has to reach to go on.

The records are the truth; an Optuna study is rebuilt from them whenever one is needed (RULINGS 18).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import optuna

from mmbench.tuning.space import Configuration, SlotSampler, Space

Record = Mapping[str, Any]
Done = Mapping[tuple[str, int], Record]
#: Stages whose trials Optuna is told.
STAGES = ("tune", "extended")


def rebuilt_study(
    space: Space,
    done: Done,
    *,
    sampler: optuna.samplers.BaseSampler | None = None,
    waiting: Sequence[int] = (),
    storage: optuna.storages.BaseStorage | None = None,
    name: str | None = None,
) -> optuna.Study:
    """An Optuna study with the finished trials of the records told and the waiting slots queued.

    Args:
        space: search space.
        done: record of every finished training by (stage, number).
        sampler: answers what the study is asked.
        waiting: slots to queue.
        storage: where the study is kept; in memory by default.
        name: its name.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize", sampler=sampler, storage=storage, study_name=name)
    for stage, number in sorted((key for key in done if key[0] in STAGES), key=lambda key: (STAGES.index(key[0]), key)):
        record = done[stage, number]
        failed = record["status"] != "ok"
        study.add_trial(
            optuna.trial.create_trial(
                state=optuna.trial.TrialState.FAIL if failed else optuna.trial.TrialState.COMPLETE,
                value=None if failed else record["score"],
                params=record["configuration"],
                distributions=dict(space),
                user_attrs={"stage": stage, "slot": number},
            )
        )
    for slot in waiting:
        study.enqueue_trial({}, user_attrs={"stage": "tune", "slot": slot})
    return study


def ask_slot(space: Space, slots: Sequence[Configuration], done: Done, slot: int) -> Configuration:
    """The configuration of a slot, by asking a study whose sampler holds the slots.

    Args:
        space: search space.
        slots: configuration of each slot, at least up to ``slot``.
        done: record of every finished training.
        slot: the slot.
    """
    study = rebuilt_study(space, done, sampler=SlotSampler(slots), waiting=[slot])
    return dict(study.ask(dict(space)).params)


def ask_tpe(space: Space, done: Done, place: int, key: str) -> Configuration:
    """What the tree-structured Parzen estimator proposes after the trials so far (Bergstra et al. 2011).

    Args:
        space: search space.
        done: record of every finished training; proposals from ``place`` on are not looked at.
        place: place among the proposals, from 0.
        key: what the randomness of the proposal depends on.
    """
    known = {unit: record for unit, record in done.items() if unit[0] == "tune" or unit < ("extended", place)}
    seed = int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "big")
    # Optuna 5 changed both defaults; said here, a proposal is the same under either version.
    sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=0, multivariate=True, constant_liar=False)
    study = rebuilt_study(space, known, sampler=sampler)
    return dict(study.ask(dict(space)).params)


def thresholds(rungs: Sequence[int], pilots: Sequence[Record]) -> tuple[tuple[int, float], ...]:
    """The score to reach at each rung: the median over the pilots of their best score up to it.

    A rule that compares with whatever has finished by then would depend on the order in which workers are done; this
    one gives every trial of a condition the same bar.

    Args:
        rungs: epochs, ascending.
        pilots: records of the trials that are never cut short; failed ones are passed over.

    Returns:
        Epoch and score per rung; empty without a pilot that trained.
    """
    histories = [pilot["history"] for pilot in pilots if pilot["status"] == "ok"]
    return tuple((rung, median(max(h[:rung]) for h in histories)) for rung in rungs) if histories else ()


def keep_studies(studies: Mapping[str, tuple[Space, Done]], file: Path) -> None:
    """Write rebuilt studies into an SQLite file, which optuna-dashboard opens.

    Args:
        studies: search space and records of each study, by its name.
        file: the file.
    """
    storage = optuna.storages.RDBStorage(f"sqlite:///{file.resolve()}")
    for name, (space, done) in studies.items():
        rebuilt_study(space, done, storage=storage, name=name)
    storage.engine.dispose()  # the file is complete before it gets its name
