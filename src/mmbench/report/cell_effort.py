"""What the records of a sweep say of its tuning, condition by condition."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmbench import paths
from mmbench.evaluation import metrics
from mmbench.inference import tuning_curves
from mmbench.inference.tuning_luck import Trials
from mmbench.report.table import PRIMARY
from mmbench.store import records


@dataclass(frozen=True)
class CellEffort:
    """What the records of one condition say of its tuning.

    Args:
        modality: the condition.
        cell: its ``cell.json``.
        choice: its ``choice.json``.
        seal: its ``sealed.json``.
        trials: records of the random trials in slot order.
        proposals: records of the trials that TPE proposed; they are no part of any curve over trials.
        finals: final records in seed order.
        ledger: its rows of the ledger.
        folder: where the records lie.
    """

    modality: str
    cell: Mapping[str, Any]
    choice: Mapping[str, Any]
    seal: Mapping[str, Any]
    trials: Sequence[Mapping[str, Any]]
    proposals: Sequence[Mapping[str, Any]]
    finals: Sequence[Mapping[str, Any]]
    ledger: Sequence[Mapping[str, Any]]
    folder: Path

    @functools.cached_property
    def validation(self) -> NDArray[np.float64]:
        """Validation score by slot, minus infinity for a failed trial, ``(n_trials,)``."""
        return np.array([-np.inf if t["score"] is None else t["score"] for t in self.trials], np.float64)

    @functools.cached_property
    def test(self) -> NDArray[np.float64]:
        """Test metric by slot and user, NaN for a failed trial, ``(n_trials, n_users)``."""
        files = [paths.trial_file(self.folder, t["index"], "test.parquet") for t in self.trials]
        found = [metrics.per_user(records.read_ranking(f), PRIMARY) if f.exists() else None for f in files]
        n_users = max((len(row) for row in found if row is not None), default=0)
        return np.array([np.full(n_users, np.nan) if row is None else row for row in found])

    @property
    def failed_share(self) -> float:
        """Share of the trials that failed."""
        return sum(t["status"] != "ok" for t in self.trials) / max(len(self.trials), 1)

    @property
    def under_trained_share(self) -> float:
        """Share of the trainings that ended at the last epoch."""
        trained = [r for r in (*self.trials, *self.finals) if r["status"] == "ok"]
        ended = sum(r["stop_reason"] == "max_epochs" and r["best_epoch"] == r["epochs"] for r in trained)
        return ended / max(len(trained), 1)

    @property
    def seconds(self) -> float:
        """Seconds of all trainings, failed ones included where they were timed."""
        return float(sum(row.get("wall_s") or 0.0 for row in self.ledger))

    @property
    def energy_kwh(self) -> float | None:
        """Energy of all trainings; None unless every one was measured."""
        measured = [row["energy_kwh"] for row in self.ledger if row.get("energy_kwh") is not None]
        return float(sum(measured)) if measured and len(measured) == len(self.ledger) else None

    @property
    def epochs(self) -> float:
        """Median number of epochs of a trial."""
        return float(median([t["epochs"] for t in self.trials if t["status"] == "ok"] or [0]))

    def trial_seconds(self) -> NDArray[np.float64]:
        """Wall time by slot, ``(n_trials,)``."""
        by_slot = {row["index"]: row.get("wall_s") or 0.0 for row in self.ledger if row["stage"] == "tune"}
        return np.array([by_slot.get(t["index"], 0.0) for t in self.trials])


def read_cell(modality: str, folder: Path, rows: Mapping[str, list[dict[str, Any]]]) -> CellEffort:
    """Read one sealed cell; ``rows`` are those of the ledger by the key of their cell."""
    cell = records.read_json(folder / "cell.json")
    key = cell["key"]

    def trainings(kind: str) -> list[dict[str, Any]]:
        found = [records.read_json(path) for path in sorted((folder / kind).glob("*.json"))]
        return sorted((r for r in found if r.get("cell_key") == key), key=lambda r: r["index"])

    choice, seal = records.read_json(folder / "choice.json"), records.read_json(folder / "sealed.json")
    trials, proposals, finals = map(trainings, ("trials", "proposals", "finals"))
    return CellEffort(modality, cell, choice, seal, trials, proposals, finals, rows.get(key, []), folder)


def edges(cell: CellEffort) -> dict[str, float]:
    """Share of the best trials near a bound, by path, for every numeric range of a cell."""
    found = {}
    for path, leaf in _leaves(cell.cell["config"]["search"]):
        if "low" in leaf:
            values = [t["configuration"][path] for t in cell.trials]
            log = bool(leaf.get("log", False))
            found[path] = tuning_curves.edge_share(values, cell.validation, leaf["low"], leaf["high"], log=log)
    return found


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Mapping[str, Any]]]:
    found: list[tuple[str, Mapping[str, Any]]] = []
    for name, node in tree.items():
        is_leaf = "low" in node or "choices" in node
        found += [(f"{prefix}{name}", node)] if is_leaf else _leaves(node, f"{prefix}{name}.")
    return sorted(found)


def paired_trials(cells: Sequence[CellEffort], a: str, b: str) -> tuple[Trials, Trials] | None:
    """Trials of two conditions; None where one of them is not there, they are not the same ones or B finds nothing."""
    by_name = {c.modality: Trials(c.validation, c.test) for c in cells if c.modality in (a, b)}
    if len(by_name) < 2:
        return None
    trials = by_name[a], by_name[b]
    if trials[0].test.shape != trials[1].test.shape or not all(np.nansum(t.test) > 0 for t in trials):
        return None
    return trials
