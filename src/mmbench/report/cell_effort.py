"""What the records of a sweep say of its tuning, condition by condition."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray

from mmbench import paths
from mmbench.evaluation import metrics
from mmbench.inference import tuning_curves
from mmbench.inference.tuning_luck import Trials
from mmbench.report.table import PRIMARY
from mmbench.store import records
from mmbench.store.records import Look
from mmbench.store.schema import Cell, Choice, LedgerRow, Seal, Stage, Training
from mmbench.tuning.space import NumericRange, numeric_ranges, read_space


@dataclass(frozen=True)
class CellEffort:
    """What the records of one condition say of its tuning.

    Args:
        modality: the condition.
        cell: its record.
        choice: its choice.
        seal: its seal.
        trials: records of the random trials in slot order.
        proposals: records of the trials that TPE proposed; they are no part of any curve over trials.
        finals: final records in seed order.
        ledger: its rows of the ledger.
        folder: where the records lie.
        looks: every opening of its test split, in order.
    """

    modality: str
    cell: Cell
    choice: Choice
    seal: Seal
    trials: Sequence[Training]
    proposals: Sequence[Training]
    finals: Sequence[Training]
    ledger: Sequence[LedgerRow]
    folder: Path
    looks: Sequence[Look] = ()

    @functools.cached_property
    def validation(self) -> NDArray[np.float64]:
        """Validation score by slot, minus infinity for a failed trial, ``(n_trials,)``."""
        return np.array([-np.inf if t.score is None else t.score for t in self.trials], np.float64)

    @functools.cached_property
    def test(self) -> NDArray[np.float64]:
        """Test metric by slot and user, NaN for a failed trial, ``(n_trials, n_users)``."""
        files = [paths.training_file(self.folder, t.stage, t.index, paths.RANKS) for t in self.trials]
        by_slot = [metrics.per_user(records.read_ranking(f), PRIMARY) if f.exists() else None for f in files]
        n_users = max((len(row) for row in by_slot if row is not None), default=0)
        return np.array([np.full(n_users, np.nan) if row is None else row for row in by_slot])

    @property
    def ranges(self) -> dict[str, NumericRange]:
        """The numeric ranges of its search space by path."""
        return numeric_ranges(read_space(self.cell.config["search"]))

    @property
    def failed_share(self) -> float:
        """Share of the trials that failed."""
        return sum(not t.succeeded for t in self.trials) / max(len(self.trials), 1)

    @property
    def under_trained_share(self) -> float:
        """Share of the trainings that ended at the last epoch."""
        courses = [t.course for t in (*self.trials, *self.finals) if t.course is not None]
        ended = sum(c.stop_reason == "max_steps" and c.best_epoch == c.epochs for c in courses)
        return ended / max(len(courses), 1)

    @property
    def seconds(self) -> float:
        """Seconds of all trainings, failed ones included where they were timed."""
        return float(sum(row.cost.seconds or 0.0 for row in self.ledger))

    @property
    def energy_kwh(self) -> float | None:
        """Energy of all trainings; None unless every one was measured."""
        measured = [row.cost.energy_kwh for row in self.ledger if row.cost.energy_kwh is not None]
        return float(sum(measured)) if measured and len(measured) == len(self.ledger) else None

    @property
    def epochs(self) -> float:
        """Median number of epochs of a trial."""
        return float(median([t.course.epochs for t in self.trials if t.course is not None] or [0]))

    def trial_seconds(self) -> NDArray[np.float64]:
        """Wall time by slot, ``(n_trials,)``."""
        by_slot = {row.index: row.cost.seconds or 0.0 for row in self.ledger if row.stage == Stage.TRIAL}
        return np.array([by_slot.get(t.index, 0.0) for t in self.trials])


def read_cell(modality: str, folder: Path, rows: Mapping[str, list[LedgerRow]]) -> CellEffort:
    """Read one sealed cell; ``rows`` are those of the ledger by the key of their cell."""
    cell = records.read(paths.cell_file(folder), Cell)
    choice = records.read(paths.choice_file(folder), Choice)
    seal = records.read(paths.seal_file(folder), Seal)
    trials, proposals, finals = (records.read_trainings(folder, stage, cell.key) for stage in Stage)
    listed, looks = rows.get(cell.key, []), records.read_looks(folder)
    return CellEffort(modality, cell, choice, seal, trials, proposals, finals, listed, folder, looks)


def edges(cell: CellEffort) -> dict[str, float]:
    """Share of the best trials near a bound, by path, for every numeric range of a cell."""
    shares = {}
    for path, searched in cell.ranges.items():
        if searched.low < searched.high:
            values = [t.configuration[path] for t in cell.trials]
            shares[path] = tuning_curves.edge_share(
                values, cell.validation, searched.low, searched.high, log=searched.log, atoms=searched.atoms
            )
    return shares


def paired_trials(cells: Sequence[CellEffort], a: str, b: str) -> tuple[Trials, Trials] | None:
    """Trials of two conditions; None where one of them is not there, they are not the same ones or B finds nothing."""
    by_name = {c.modality: Trials(c.validation, c.test) for c in cells if c.modality in (a, b)}
    if len(by_name) < 2:
        return None
    trials = by_name[a], by_name[b]
    if trials[0].test.shape != trials[1].test.shape or not all(np.nansum(t.test) > 0 for t in trials):
        return None
    return trials
