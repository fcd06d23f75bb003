"""Grants further trials to all conditions of a model while the last trials still moved a contrast.

The rule looks at validation scores only. Test scores would make the number of trials, and with it the choice, depend on
the test split.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from mmbench import fingerprint, paths
from mmbench.inference import tuning_luck
from mmbench.inference.tuning_luck import Trials
from mmbench.store import records, schema
from mmbench.store.records import CellStore
from mmbench.store.schema import Stage, Training, Unit
from mmbench.training.loop import SELECTION_METRIC
from mmbench.tuning.cell import CellTask


class Grant(NamedTuple):
    """How many random trials each condition of a model gets, and whether that number can still grow."""

    trials: int
    settled: bool


@dataclass(frozen=True)
class Extension:
    """The trials of the conditions of one (dataset, model).

    Args:
        members: task and records of every condition of a sweep that is tuned together.
        contrasts: the planned contrasts, condition against reference.
        delta: margin that a contrast has to move by.
    """

    members: Sequence[tuple[CellTask, CellStore]]
    contrasts: Sequence[tuple[str, str]]
    delta: float

    @property
    def file(self) -> Path:
        """File of the decision."""
        (task, store), *_ = self.members
        return paths.extension_file(store.sweep_dir, task.cell.dataset, task.cell.model)

    def grant(self) -> Grant:
        """Read the granted trials; without a decision they are those of the budget."""
        budget = self.members[0][0].budget
        if not budget.extend:
            return Grant(budget.trials, settled=True)
        decided = self._read()
        return Grant(decided.trials, decided.settled) if decided else Grant(budget.trials, settled=False)

    def decide(self) -> None:
        """Grant further trials or settle, once every member has run what it was granted; otherwise do nothing.

        Failed cells are ignored. All workers come to the same decision, so it does not matter which
        of them writes it.
        """
        trials, settled = self.grant()
        if settled:
            return
        alive = [(task, store) for task, store in self.members if store.failure() is None]
        finished = [(task, store.finished_trainings(), store) for task, store in alive]
        if any(
            Unit(Stage.TRIAL, slot) not in done for task, done, _ in finished for slot in range(len(task.slots(trials)))
        ):
            return
        by_condition = {task.cell.modality: _validation(task, done, store, trials) for task, done, store in finished}
        shifts = contrast_shifts(by_condition, self.contrasts, self.delta)
        before = self._read()
        granted = trials
        if any(shift.more for shift in shifts):
            granted = self.members[0][0].budget.extended(trials)
        rounds = [*(before.rounds if before else []), schema.Round(trials=trials, contrasts=shifts)]
        decision = schema.Extension(effort=self._effort, trials=granted, settled=granted == trials, rounds=rounds)
        records.write(self.file, decision)

    @property
    def _effort(self) -> str:
        """Hash of split, slots and budget, which all members share; a decision under another hash is ignored."""
        task = self.members[0][0]
        shared = {"split": task.split_fingerprint, "slots": task.slots(), "budget": repr(task.budget)}
        return fingerprint.of_json(shared)

    def _read(self) -> schema.Extension | None:
        if not self.file.exists():
            return None
        decided = records.read(self.file, schema.Extension)
        return decided if decided.effort == self._effort else None


def _validation(task: CellTask, done: Mapping[Unit, Training], store: CellStore, trials: int) -> Trials:
    """Validation of each slot: the score ``(n_trials,)`` and the metric per user ``(n_trials, n_users)``."""
    n_users = len(np.unique(task.valid.users))
    scores, per_user = [], []
    for slot in range(len(task.slots(trials))):
        unit = Unit(Stage.TRIAL, slot)
        score = done[unit].score
        scores.append(-np.inf if score is None else score)
        file = store.training_file(unit, paths.VALIDATION)
        failed = np.full(n_users, np.nan)
        per_user.append(failed if score is None else pd.read_parquet(file)[SELECTION_METRIC].to_numpy())
    return Trials(np.array(scores, np.float64), np.array(per_user, np.float64))


def contrast_shifts(
    by_condition: Mapping[str, Trials], contrasts: Sequence[tuple[str, str]], delta: float
) -> list[schema.Shift]:
    """How far each planned contrast moved in the second half of the trials, and whether that asks for more of them.

    Args:
        by_condition: trials of each condition, paired.
        contrasts: the planned contrasts; a contrast is skipped unless both of its conditions have trials.
        delta: margin that a contrast has to move by.
    """
    shifts = []
    for a, b in contrasts:
        if a not in by_condition or b not in by_condition or not _usable(by_condition[a], by_condition[b]):
            continue
        shift = tuning_luck.budget_shift(by_condition[a], by_condition[b], default_first=True)
        more = tuning_luck.needs_more_trials(shift, delta)
        shifts.append(schema.Shift(a=a, b=b, shift=shift.mean, lo=shift.lo, hi=shift.hi, more=more))
    return shifts


def _usable(a: Trials, b: Trials) -> bool:
    """Whether both conditions have a trial that finished and scored something."""
    return all(np.isfinite(side.validation).any() and np.nansum(side.test) > 0 for side in (a, b))
