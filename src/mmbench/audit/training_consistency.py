"""First level of an audit, the trainings of a cell: against the plan, the training rule and their own arrays."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from mmbench import fingerprint, paths
from mmbench.audit.audited_cell import AuditedCell
from mmbench.audit.findings import Said, hash_holds, same
from mmbench.messages import Message
from mmbench.scheduling.cell_key import with_values
from mmbench.store import bounds
from mmbench.store.records import table_fingerprint
from mmbench.store.schema import CLOSED_FORM, Configuration, Course, Stage, Training, Unit
from mmbench.training.stopping import SELECTION_METRIC, StoppingRule
from mmbench.tuning import sampler
from mmbench.tuning.budget import PILOTS
from mmbench.tuning.cell import SEEDS_PER_DRAW, versions_hash
from mmbench.tuning.space import configuration_hash


class TrainingAudit:
    """Trainings of one cell.

    Args:
        audited: the cell.
        by_unit: all its trainings.
    """

    def __init__(self, audited: AuditedCell, by_unit: Mapping[Unit, Training]) -> None:
        self.audited, self.by_unit = audited, by_unit

    def findings(self) -> Said:
        """Everything that is wrong with them, those that were set aside too."""
        yield from self._states()
        for training in self.by_unit.values():
            yield from self._training(training, self.audited.folder)
        for aside, final in self.audited.aside():
            yield from self._training(final, aside)
        yield from self._numbers()

    def _states(self) -> Said:
        """No two trainings end in the same state after the same losses, for each has a seed of its own.

        A model of a few parameters may end in the same state, as it is rounded, under several seeds.
        """
        first: dict[tuple[str, str], Unit] = {}
        for unit, training in self.by_unit.items():
            if training.course is None:
                continue
            reached = training.state_hash, fingerprint.canonical_json(training.course.losses)
            if training.state_hash and first.setdefault(reached, unit) != unit:
                other = self.audited.record_of(first[reached]).name
                yield self.audited.record_of(unit), "state_hash", Message("it is the state of {other} too", other=other)

    def _training(self, training: Training, folder: Path) -> Said:
        """One training against what its place in the plan gives, and against its own arrays."""
        unit = training.unit
        file = paths.training_file(folder, *unit, paths.RECORD)
        yield from hash_holds(file, training)
        expected = {
            **self._shared,
            "precision": self._configured(training)["training"]["precision"],
            "seed": unit.seed + SEEDS_PER_DRAW * self.audited.cell.draw,
            "configuration_hash": configuration_hash(training.configuration),
        }
        for field, value in expected.items():
            yield from same(file, field, getattr(training, field), value)
        yield from same(file, "controls", {name: c.state for name, c in training.controls.items()}, self._controlled)
        configuration = self._configuration(training)
        if configuration is not None:
            yield from same(file, "configuration", training.configuration, configuration)
        if training.course is None:
            if training.failure is None:
                yield file, "course", Message("there is neither a result nor a failure")
            yield from same(file, "validation_hash", training.validation_hash + training.state_hash, "")
            return
        if training.failure is not None:
            yield file, "failure", Message("there is a result and a failure")
        yield from self._course(file, training, training.course)
        yield from self._validation(paths.training_file(folder, *unit, paths.VALIDATION), training, training.course)
        if training.state_hash and not paths.training_file(folder, *unit, paths.STATE).exists():
            yield file, "state_hash", Message("its state is missing")

    @functools.cached_property
    def _shared(self) -> dict[str, str]:
        """Fields that all trainings of the cell have in common."""
        cell, condition = self.audited.cell, self.audited.condition
        fields = {
            "split_hash": cell.split_hash,
            "metric": SELECTION_METRIC,
            "versions_hash": versions_hash(cell.versions),
        }
        kept = condition.kept(cell.features)
        if all(condition.state(name) == "real" and not condition.missing.get(name) for name in kept):
            fields["feature_hash"] = fingerprint.of_json({name: cell.features[name] for name in kept})
        return fields

    @functools.cached_property
    def _controlled(self) -> dict[str, str]:
        """State of each modality that is not what it was read as."""
        states = {
            name: self.audited.condition.state(name) for name in self.audited.condition.kept(self.audited.cell.features)
        }
        return {name: state for name, state in states.items() if state != "real"}

    def _configuration(self, training: Training) -> Configuration | None:
        """What a training has to try; None where the choice or another place says it."""
        if training.stage == Stage.TRIAL:
            return self.audited.slots[training.index] if training.index < len(self.audited.slots) else {}
        if training.stage == Stage.PROPOSAL:
            key = f"{self.audited.cell.dataset}|{self.audited.cell.model}|tpe|{training.index}"
            return sampler.ask_tpe(self.audited.space, self.by_unit, training.index, key)
        return None

    def _configured(self, training: Training) -> Mapping[str, Any]:
        """The configuration of the cell with the values that a training tried."""
        return with_values(
            self.audited.cell.config,
            {path: value for path, value in training.configuration.items() if path in self.audited.space},
        )

    def _course(self, file: Path, training: Training, course: Course) -> Said:
        """The stopping rule on its own history."""
        if course.stop_reason == CLOSED_FORM:
            yield from same(file, "course", (course.epochs, course.best_epoch, course.losses), (1, 1, []))
            yield from same(file, "state_hash", training.state_hash, "")
            return
        config = self._configured(training)
        if self.audited.data_print is not None:
            steps = -(-self.audited.data_print.n_train // config["training"]["batch_size"])
            steps = min(steps, config["budget"].get("batches_per_epoch") or steps)
            yield from same(file, "course.steps_per_epoch", course.steps_per_epoch, steps)
        if len(course.losses) != course.epochs or course.steps_per_epoch < 1 or not course.epochs:
            yield file, "course", Message("history and losses do not go together")
            return
        rule = StoppingRule(**{field.name: config["budget"][field.name] for field in fields(StoppingRule)})
        pilots = [self.by_unit[unit] for slot in range(PILOTS) if (unit := Unit(Stage.TRIAL, slot)) in self.by_unit]
        cut = training.stage == Stage.PROPOSAL or (training.stage == Stage.TRIAL and training.index >= PILOTS)
        rungs = dict(sampler.thresholds(self.audited.budget.get("rungs") or (), pilots)) if cut else {}
        last = self.audited.cell.keeps_last_of_equals
        ended = _replayed(course.history, rule, course.steps_per_epoch, rungs, last_of_equals=last)
        yield from same(file, "course", (course.epochs, course.best_epoch, course.stop_reason), ended)
        if not training.state_hash:
            yield file, "state_hash", Message("a trained model has a state")

    def _validation(self, file: Path, training: Training, course: Course) -> Said:
        """The vector of validation scores: whose, and what of it."""
        if not file.exists():
            yield file, "file", Message("it is missing")
            return
        columns = bounds.read_table(file)
        yield from same(file, "validation_hash", table_fingerprint(columns), training.validation_hash)
        if list(columns) != ["user", SELECTION_METRIC] or not len(columns["user"]):
            yield file, "columns", Message("they are not those of validation scores")
            return
        scores = columns[SELECTION_METRIC].astype(np.float64)
        yield from same(file, "course.validated", course.validated, float(scores.mean()))
        # A user's share of a harmonic mean is a weighed sum, with weights of at most 2 together.
        most = 2.0 if self.audited.cell.target == "harmonic" else 1.0
        if not (np.isfinite(scores).all() and scores.min() >= 0.0 and scores.max() <= most):
            yield file, SELECTION_METRIC, Message("a score lies outside 0 to 1")
        if self.audited.data_print is not None:
            users = fingerprint.of_arrays(columns["user"].astype(np.int64))
            yield from same(file, "user", users, self.audited.data_print.valid_users)
            if self.audited.data_print.validation_users is not None:
                yield from same(file, "users", len(scores), self.audited.data_print.validation_users)

    def _numbers(self) -> Said:
        """No training beyond the plan."""
        most = {Stage.TRIAL: self.audited.cell.effort.trials, Stage.PROPOSAL: self.audited.cell.effort.proposals}
        for unit in self.by_unit:
            if unit.stage in most and not 0 <= unit.number < most[unit.stage]:
                yield self.audited.record_of(unit), "index", Message("the plan has no such training")


def _replayed(
    history: Sequence[float], rule: StoppingRule, steps: int, rungs: Mapping[int, float], *, last_of_equals: bool
) -> tuple[int, int, str]:
    """When a training with these validation scores ends: epochs, best epoch and why."""
    best = risen_at = 1
    for epoch, score in enumerate(history, 1):
        if score > history[best - 1]:
            best = risen_at = epoch
        elif last_of_equals and score == history[best - 1]:
            best = epoch
        if epoch == rule.most_epochs(steps):
            return epoch, best, "max_steps"
        if rule.is_out_of_patience(epoch, risen_at, steps):
            return epoch, best, "patience"
        if epoch in rungs and history[best - 1] < rungs[epoch]:
            return epoch, best, "rung"
    return len(history) + 1, best, "goes on"
