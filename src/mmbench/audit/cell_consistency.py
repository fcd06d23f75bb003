"""First level of an audit, one cell: its record, trainings, choice, seal and ranks against each other and the plan."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from mmbench import fingerprint, paths
from mmbench.audit.condition_names import effect, meant_by
from mmbench.audit.findings import (
    CLOCKS_APART,
    OF_THE_MACHINE,
    Doubt,
    Said,
    hash_holds,
    moment,
    read_aside,
    same,
)
from mmbench.audit.opened import CellInSweep, missed_seals, without_result
from mmbench.data.conditions import ModalityCondition
from mmbench.data.dataset import DatasetConfig
from mmbench.data.held_out import CANDIDATES, target_in_name
from mmbench.data.interactions import Interactions
from mmbench.data.splits import PROTOCOLS, Split, sealed_fingerprint
from mmbench.messages import Message, Template
from mmbench.scheduling.cell_key import default_of, key_of, with_values
from mmbench.store import bounds, records
from mmbench.store.records import Look, table_fingerprint
from mmbench.store.schema import (
    CLOSED_FORM,
    ID_ONLY,
    TRAININGS,
    Cell,
    CellFailure,
    Choice,
    Configuration,
    Course,
    DataPrint,
    Effort,
    LedgerRow,
    Revision,
    Seal,
    Stage,
    Training,
    Unit,
    fixed,
    training_rule,
    unscored,
)
from mmbench.training.stopping import SELECTION_METRIC, StoppingRule
from mmbench.tuning import sampler
from mmbench.tuning.budget import PILOTS
from mmbench.tuning.cell import SEEDS_PER_DRAW, CellFailed, slots_of, versions_hash
from mmbench.tuning.choice import choose
from mmbench.tuning.space import configuration_hash, read_space

#: What is said of a final run of an earlier look that was lost, and is another one since it was repeated.
REPEATED = Template("final run {number} was repeated and is not the one that was sealed then")


class CellAudit:
    """The records of one cell.

    Args:
        in_sweep: the cell as it was planned, and what the sweep holds of it.

    Raises:
        ValueError: if its record cannot be read.
    """

    def __init__(self, in_sweep: CellInSweep) -> None:
        self.in_sweep = in_sweep
        self.folder, self.manifest, self.planned = in_sweep.folder, in_sweep.manifest, in_sweep.planned
        self.rows, self.set_aside = in_sweep.rows, in_sweep.set_aside
        self.file = paths.cell_file(self.folder)
        self.ledger_file = paths.ledger_file(in_sweep.sweep_dir)
        self.manifest_file = paths.manifest_file(in_sweep.sweep_dir)
        self.cell = records.read(self.file, Cell)
        self.budget = self.cell.config["budget"]
        self.space = read_space(self.cell.config["search"])
        #: Users and items of the last ranks that were read, and their fingerprint: most files of a cell have the same.
        self._pairs: tuple[tuple[NDArray[np.int64], NDArray[np.int64]] | None, str] = None, ""

    def findings(self) -> Said:
        """Everything that is wrong."""
        yield from self._cell()
        by_unit: dict[Unit, Training] = {}
        for stage in Stage:
            for file in paths.training_records(self.folder, stage):
                training = records.read(file, TRAININGS[stage])
                if training.cell_key != self.cell.key:
                    yield file, "cell_key", Message("it belongs to another cell")
                elif file != self._record(training.unit):
                    yield file, "index", Message("its file has the name of another training")
                else:
                    by_unit[training.unit] = training
        yield from self._states(by_unit)
        for training in by_unit.values():
            yield from self._training(training, by_unit, self.folder)
        for aside, final in self._aside():
            yield from self._training(final, by_unit, aside)
        yield from self._numbers(by_unit)
        yield from self._ledger(by_unit)
        yield from self._failure(by_unit)
        yield from without_result(self.in_sweep, failed_at_test=self._failed_at_test(by_unit))
        yield from missed_seals(self.in_sweep)
        if not paths.choice_file(self.folder).exists():
            return
        choice = records.read(paths.choice_file(self.folder), Choice)
        yield from self._choice(paths.choice_file(self.folder), choice, by_unit)
        for number in range(1, paths.looks_kept(self.folder) + 1):
            kept = paths.look_dir(self.folder, number)
            yield from self._choice(paths.choice_file(kept), records.read(paths.choice_file(kept), Choice), by_unit)
        yield from self._looks(by_unit)

    def _looks(self, by_unit: Mapping[Unit, Training]) -> Said:
        """Every opening of the test split, the last one too, against its choice, its final runs and its files."""
        for look in records.read_looks(self.folder):
            kept = paths.look_dir(self.folder, look.number)
            last = look.number > paths.looks_kept(self.folder)
            file = paths.seal_file(self.folder if last else kept)
            now = last and not self._outgrown
            of_look = {
                **{unit: training for unit, training in by_unit.items() if _took_part(unit, look.trials)},
                **{
                    final.unit: final
                    for final in records.read_trainings(look.folder, Stage.FINAL, self.cell.key)
                    if now or final.index in look.seal.finals
                },
            }
            yield from self._seal(file, look, of_look, now=now)
            yield from self._files(file, look, of_look, now=now)

    def _failure(self, by_unit: Mapping[Unit, Training]) -> Said:
        """A cell that failed has no result, and a reason among its trainings or when test is ranked."""
        file = paths.failure_file(self.folder)
        if file.exists():
            failure = records.read(file, CellFailure)
            yield from same(file, "key", failure.key, self.cell.key)
            if paths.seal_file(self.folder).exists() and not self._outgrown:
                yield file, "file", Message("there is a result and a failure")
                return
            failed = self._failed(by_unit)
            if failed is None:
                why = Message("no training failed that it would follow from, and some are missing; it is not confirmed")
                yield file, "reason", Doubt(why)
                return
            reasons = [training.failure.reason for training in failed if training.failure is not None]
            if all(reason.startswith(OF_THE_MACHINE) for reason in reasons or [failure.reason]):
                # It may hide a result, and as a rule does not: what other conditions came to is not in doubt.
                why = Message("it follows from want of memory or crashes of workers alone; it is not confirmed")
                yield file, "reason", Doubt(why, touches_verdicts=False)

    def _failed_at_test(self, by_unit: Mapping[Unit, Training]) -> bool:
        """Whether the cell failed when only test was left: ranking its final runs shows whether that follows."""
        return paths.failure_file(self.folder).exists() and self._failed(by_unit) == []

    def _failed(self, by_unit: Mapping[Unit, Training]) -> list[Training] | None:
        """Trainings from which a failure follows: all that were tried, or final runs; None where one is missing."""
        effort = self.cell.effort
        units = [
            *(Unit(Stage.TRIAL, number) for number in range(effort.trials)),
            *(Unit(Stage.PROPOSAL, number) for number in range(effort.proposals)),
        ]
        tried = [by_unit[unit] for unit in units if unit in by_unit]
        if len(tried) < len(units):
            return None
        if not any(training.succeeded for training in tried):
            return tried
        if not paths.choice_file(self.folder).exists():
            return None
        choice = records.read(paths.choice_file(self.folder), Choice)
        finals = [training for unit, training in by_unit.items() if unit.stage == Stage.FINAL]
        failed = [one for one in finals if not one.succeeded and one.configuration == choice.configuration]
        return failed if failed or len(finals) >= effort.seeds else None

    def _states(self, by_unit: Mapping[Unit, Training]) -> Said:
        """No two trainings end in the same state, for each has a seed of its own."""
        first: dict[str, Unit] = {}
        for unit, training in by_unit.items():
            if training.state_hash and first.setdefault(training.state_hash, unit) != unit:
                other = self._record(first[training.state_hash]).name
                yield self._record(unit), "state_hash", Message("it is the state of {other} too", other=other)

    @property
    def _print(self) -> DataPrint | None:
        return self.manifest.data.get(self.cell.dataset)

    def _cell(self) -> Said:
        """Its record against the plan."""
        cell, planned, file = self.cell, self.planned, self.file
        yield from hash_holds(file, cell)
        yield from same(file, "name", cell.name, planned.name)
        yield from same(file, "key", cell.key, planned.key)
        yield from same(file, "key", cell.key, key_of(cell))
        yield from same(file, "draw", cell.draw, planned.draw)
        statistics = cell.config["statistics"]
        yield from same(file, "config.statistics", statistics, self.manifest.statistics)
        plan = fixed(self.manifest.delta, self.manifest.contrasts, self.manifest.primary, self.manifest.statistics)
        yield from same(file, "plan", cell.plan, plan)
        rule = fingerprint.of_json(training_rule(self.budget))
        yield from same(self.manifest_file, "rule", planned.rule, rule)
        states = {name: self._condition.state(name) for name in sorted(cell.features)}
        yield from same(file, "states", cell.states, states)
        meant = None if cell.modality == ID_ONLY else meant_by(cell.modality, self._condition)
        if meant is not None:
            said, named = (effect(condition, cell.features) for condition in (self._condition, meant))
            yield from same(file, "config.modality", said, named)
        if self._print is None:
            yield (
                self.manifest_file,
                "data",
                Message("{dataset} is not in it", dataset=cell.dataset),
            )
        else:
            yield from same(file, "split_hash", cell.split_hash, self._print.split_hash)
            if self._print.new_items or self._print.target:  # a plan of earlier versions names neither
                yield from same(file, "config.tuning", cell.target, self._print.target)
            users = None if cell.sample is None else cell.sample.users
            yield from same(file, "config.evaluation", users, self._print.validation_users)
            known = self._print.features if cell.modality != ID_ONLY else {}
            yield from same(file, "features", *(self._seen(features) for features in (cell.features, known)))
        if not cell.config["model"].get("recommendations"):
            yield from same(file, "external", cell.external, None)
        dataset = DatasetConfig(**{name: value for name, value in cell.config["dataset"].items() if name != "lr"})
        drawn = f"-draw{cell.draw}" if cell.draw else ""
        target = target_in_name(dataset.protocol, cell.target)
        yield from same(file, "config.dataset", f"{dataset.cell_name}{target}{drawn}", cell.dataset)
        versions = [
            r.versions[str(cell.name)] for r in self.manifest.revisions if r.cells.get(str(cell.name)) == cell.key
        ]
        own = versions_hash(cell.versions)  # a later revision has others where the cell was begun afresh
        yield from same(file, "versions", own, own if own in versions else next(iter(versions), None))
        expected = self._effort(planned.trials, planned.seeds)
        if self.unclaimed:
            why = Message("more trials or final runs are planned than it has; run the command of the sweep again")
            yield file, "effort", Doubt(why)
        else:
            yield from same(file, "effort", *(msgspec.to_builtins(effort) for effort in (cell.effort, expected)))
        yield from same(self.manifest_file, "trainings", planned.trainings, expected.trainings)

    def _seen(self, features: Mapping[str, str]) -> dict[str, str]:
        """Fingerprints of the modalities that the condition keeps; another one may have come later to the data."""
        return {name: features[name] for name in self._condition.kept(features)}

    @functools.cached_property
    def _slots(self) -> list[Configuration]:
        """The configuration of each random slot of the plan."""
        default = default_of(self.cell.config, self.space)
        return slots_of(self.cell.name, self.space, default, self.planned.trials, self.cell.given)

    def _effort(self, trials: int, seeds: int) -> Effort:
        """How often the cell is trained under a plan of so many trials, no more than those of now, and final runs."""
        return Effort(trials=len(self._slots[: max(trials, 1)]), proposals=self.budget.get("tpe", 0), seeds=seeds)

    @functools.cached_property
    def _revisions(self) -> list[Revision]:
        """Those that planned the cell under its key."""
        return [r for r in self.manifest.revisions if r.cells.get(str(self.cell.name)) == self.cell.key]

    @functools.cached_property
    def unclaimed(self) -> bool:
        """Whether effort was raised in the plan and not yet in the record, as a kill between both leaves it."""
        efforts = [self._effort(revision.trials, revision.seeds) for revision in self._revisions]
        now = self._effort(self.planned.trials, self.planned.seeds)
        return self.cell.effort in efforts[:-1] and self.cell.effort != now == efforts[-1]

    @functools.cached_property
    def _outgrown(self) -> bool:
        """Whether more final runs were planned since the last seal, as a revision notes it: it is an earlier look."""
        file, held = paths.seal_file(self.folder), set(self.manifest.seals_of(self.cell.name, self.cell.key).values())
        if not held or not file.exists():
            return False
        seal = records.read(file, Seal)
        looks = (paths.look_dir(self.folder, number) for number in range(1, paths.looks_kept(self.folder) + 1))
        kept = {records.read(paths.seal_file(look), Seal).hash for look in looks}
        return len(seal.finals) < self.cell.effort.seeds and seal.hash in held - kept

    def _training(self, training: Training, others: Mapping[Unit, Training], folder: Path) -> Said:
        """One training against what its place in the plan gives, and against its own arrays."""
        unit = training.unit
        file = paths.training_file(folder, *unit, paths.RECORD)
        yield from hash_holds(file, training)
        expected = {
            **self._shared,
            "precision": self._configured(training)["training"]["precision"],
            "seed": unit.seed + SEEDS_PER_DRAW * self.cell.draw,
            "configuration_hash": configuration_hash(training.configuration),
        }
        for field, value in expected.items():
            yield from same(file, field, getattr(training, field), value)
        yield from same(file, "controls", {name: c.state for name, c in training.controls.items()}, self._controlled)
        configuration = self._configuration(training, others)
        if configuration is not None:
            yield from same(file, "configuration", training.configuration, configuration)
        if training.course is None:
            if training.failure is None:
                yield file, "course", Message("there is neither a result nor a failure")
            yield from same(file, "validation_hash", training.validation_hash + training.state_hash, "")
            return
        if training.failure is not None:
            yield file, "failure", Message("there is a result and a failure")
        yield from self._course(file, training, training.course, others)
        yield from self._validation(paths.training_file(folder, *unit, paths.VALIDATION), training, training.course)
        if training.state_hash and not paths.training_file(folder, *unit, paths.STATE).exists():
            yield file, "state_hash", Message("its state is missing")

    @functools.cached_property
    def _condition(self) -> ModalityCondition:
        return ModalityCondition(**self.cell.config["modality"])

    @functools.cached_property
    def _shared(self) -> dict[str, str]:
        """Fields that all trainings of the cell have in common."""
        cell, condition = self.cell, self._condition
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
        states = {name: self._condition.state(name) for name in self._condition.kept(self.cell.features)}
        return {name: state for name, state in states.items() if state != "real"}

    def _configuration(self, training: Training, others: Mapping[Unit, Training]) -> Configuration | None:
        """What a training has to try; None where the choice or another place says it."""
        if training.stage == Stage.TRIAL:
            return self._slots[training.index] if training.index < len(self._slots) else {}
        if training.stage == Stage.PROPOSAL:
            key = f"{self.cell.dataset}|{self.cell.model}|tpe|{training.index}"
            return sampler.ask_tpe(self.space, others, training.index, key)
        return None

    def _configured(self, training: Training) -> Mapping[str, Any]:
        """The configuration of the cell with the values that a training tried."""
        return with_values(
            self.cell.config, {path: value for path, value in training.configuration.items() if path in self.space}
        )

    def _course(self, file: Path, training: Training, course: Course, others: Mapping[Unit, Training]) -> Said:
        """The stopping rule on its own history."""
        if course.stop_reason == CLOSED_FORM:
            yield from same(file, "course", (course.epochs, course.best_epoch, course.losses), (1, 1, []))
            yield from same(file, "state_hash", training.state_hash, "")
            return
        config = self._configured(training)
        if self._print is not None:
            steps = -(-self._print.n_train // config["training"]["batch_size"])
            steps = min(steps, config["budget"].get("batches_per_epoch") or steps)
            yield from same(file, "course.steps_per_epoch", course.steps_per_epoch, steps)
        if len(course.losses) != course.epochs or course.steps_per_epoch < 1 or not course.epochs:
            yield file, "course", Message("history and losses do not go together")
            return
        rule = StoppingRule(**{field.name: config["budget"][field.name] for field in fields(StoppingRule)})
        pilots = [others[unit] for slot in range(PILOTS) if (unit := Unit(Stage.TRIAL, slot)) in others]
        cut = training.stage == Stage.PROPOSAL or (training.stage == Stage.TRIAL and training.index >= PILOTS)
        rungs = dict(sampler.thresholds(self.budget.get("rungs") or (), pilots)) if cut else {}
        ended = _replayed(course.history, rule, course.steps_per_epoch, rungs)
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
        most = 2.0 if self.cell.target == "harmonic" else 1.0
        if not (np.isfinite(scores).all() and scores.min() >= 0.0 and scores.max() <= most):
            yield file, SELECTION_METRIC, Message("a score lies outside 0 to 1")
        if self._print is not None:
            users = fingerprint.of_arrays(columns["user"].astype(np.int64))
            yield from same(file, "user", users, self._print.valid_users)
            if self._print.validation_users is not None:
                yield from same(file, "users", len(scores), self._print.validation_users)

    def _numbers(self, by_unit: Mapping[Unit, Training]) -> Said:
        """No training beyond the plan."""
        most = {Stage.TRIAL: self.cell.effort.trials, Stage.PROPOSAL: self.cell.effort.proposals}
        for unit in by_unit:
            if unit.stage in most and not 0 <= unit.number < most[unit.stage]:
                yield self._record(unit), "index", Message("the plan has no such training")

    def _record(self, unit: Unit) -> Path:
        return paths.training_file(self.folder, *unit, paths.RECORD)

    def _ledger(self, by_unit: Mapping[Unit, Training]) -> Said:
        """Every training has a row that says what its record says, and every row a record."""
        rows: dict[str, tuple[int, LedgerRow]] = {}
        for place, row in self.rows:
            rows.setdefault(row.hash, (place, row))
        unlisted = [training.unit for training in by_unit.values() if training.hash not in rows]
        planned_at = min((moment(r.planned_at) for r in self.manifest.revisions), default=None)
        before_the_plan: list[str] = []
        for training in by_unit.values():
            name = self._record(training.unit).relative_to(self.ledger_file.parent).as_posix()
            if training.hash not in rows:
                why = Message("it has no row with the hash of this record")
                between = unlisted == [training.unit] and self._is_last(training.unit)
                yield self.ledger_file, name, Doubt(why) if between else why
                continue
            place, row = rows[training.hash]
            said = LedgerRow.of(
                self.cell.name,
                training,
                row.cost,
                budget=row.budget,
                searched=len(self.space),
                finished_at=row.finished_at,
            )
            for field in LedgerRow.__struct_fields__ if row != said else ():
                yield from same(self.ledger_file, f"{name}: {field}", getattr(row, field), getattr(said, field))
            if planned_at is not None and moment(row.finished_at) < planned_at - CLOCKS_APART:
                before_the_plan.append(f"{name}: finished_at")
        for field in before_the_plan[:1]:
            why = Message("it was finished before it was planned")
            yield self.ledger_file, field, Doubt(why, touches_verdicts=False)
        known = (
            {training.hash for training in by_unit.values()} | {t.hash for _, t in self._aside()} | {*self.set_aside}
        )
        for value, (_, row) in rows.items():
            if value not in known and not self._was_lost(row.unit, value):
                yield (
                    self.ledger_file,
                    f"{self.cell.name} {row.stage} {row.index}",
                    Message("a training is listed whose record is not there"),
                )
        # What was raised before a look was kept, and what was repeated because its record was lost, comes later.
        planned = min((revision.trials for revision in self._revisions), default=self.cell.effort.trials)
        listed = [
            (place, row.unit)
            for value, (place, row) in rows.items()
            if value not in self.set_aside and (row.stage != Stage.TRIAL or row.index < planned)
        ]
        finals = [place for place, unit in listed if unit.stage == Stage.FINAL]
        early = [unit for place, unit in listed if unit.stage != Stage.FINAL and place > min(finals, default=place)]
        if paths.looks_kept(self.folder) == 0 and not all(map(self._was_lost, early)):
            yield (
                self.ledger_file,
                f"{self.cell.name}: order",
                Message("a final run was finished before the last trial"),
            )

    def _is_last(self, unit: Unit) -> bool:
        """Whether a record is newer than the ledger: its row comes next, or a kill came between."""
        record = self._record(unit)
        return not self.ledger_file.exists() or record.stat().st_mtime_ns >= self.ledger_file.stat().st_mtime_ns

    def _was_lost(self, unit: Unit, *hashes: str) -> bool:
        """Whether a record of a training lies among the damaged files, so that it was run once more.

        Args:
            unit: the training.
            hashes: that of its record, where it must be a certain one; of one that cannot be read nobody knows it.
        """
        for file in paths.damaged_records(self.manifest_file.parent, self.folder, *unit):
            try:
                record = records.read(file, TRAININGS[unit.stage])
            except ValueError:
                return True
            if (record.cell_key, record.unit) == (self.cell.key, unit) and record.hash in (hashes or [record.hash]):
                return True
        return False

    def _aside(self) -> list[tuple[Path, Training]]:
        return read_aside(self.folder, self.cell.key)

    def _choice(self, file: Path, choice: Choice, by_unit: Mapping[Unit, Training]) -> Said:
        """Chosen again."""
        yield from hash_holds(file, choice)
        trials = choice.n_trials - self.cell.effort.proposals
        numbers = {Stage.TRIAL: range(trials), Stage.PROPOSAL: range(self.cell.effort.proposals)}
        among = []
        for unit in (Unit(stage, number) for stage, of_stage in numbers.items() for number in of_stage):
            if unit not in by_unit:
                yield self._record(unit), "record", Message("it is missing, and the choice was made among it")
                return
            among.append(by_unit[unit])
        try:
            again = choose(among, self.cell.plan)
        except CellFailed as error:
            yield file, "record", Message("it cannot be read: {error}", error=error)
            return
        for field in Choice.__struct_fields__:
            yield from same(file, field, getattr(choice, field), getattr(again, field))

    def _seal(self, file: Path, look: Look, by_unit: Mapping[Unit, Training], *, now: bool) -> Said:
        """The seal of a look against choice, finals and plan; of an earlier one, with S and the data of then."""
        seal, choice = look.seal, look.choice
        yield from hash_holds(file, seal)
        yield from same(file, "cell_key", seal.cell_key, self.cell.key)
        yield from same(file, "choice_hash", seal.choice_hash, choice.hash)
        planned = {revision.seeds for revision in self._revisions}
        seeds = self.cell.effort.seeds if now or look.seeds not in planned else look.seeds
        seeds = min(seeds, len(seal.finals) + 1)  # a list as long as a record says is not made for it
        yield from same(file, "seal.finals", seal.finals, list(range(1, seeds + 1)))
        finals = [by_unit.get(Unit(Stage.FINAL, number)) for number in seal.finals]
        runs = [None if final is None else final.hash for final in finals]
        lost = set() if now else self._lost(seal)
        for place, (number, old) in enumerate(zip(seal.finals, seal.runs, strict=False)):
            if number in lost and runs[place] != old:  # what was repeated since may have come out otherwise
                if runs[place] is not None:
                    yield file, "runs", Doubt(Message(REPEATED, number=number))
                runs[place] = old
        yield from same(file, "runs", seal.runs, runs)
        for final in finals:
            if final is not None:
                record = paths.training_file(look.folder, *final.unit, paths.RECORD)
                yield from same(record, "configuration", final.configuration, choice.configuration)
        asked = self.cell.config["dataset"]["protocol"]
        if asked != PROTOCOLS[0] or seal.protocol not in PROTOCOLS[1:]:  # auto stands for the one that the log allows
            yield from same(file, "protocol", seal.protocol, asked)
        empty = Interactions(np.empty(0, np.int64), np.empty(0, np.int64), 0, 0)
        masked = Split(empty, empty, empty, seal.protocol).masks_valid_at_test
        yield from same(file, "valid_masked", seal.valid_masked, masked)
        contents = {r.data[self.cell.dataset] for r in self.manifest.revisions if self.cell.dataset in r.data}
        if self._print is not None and (now or len(contents) == 1):
            yield from same(file, "test_hash", seal.test_hash, self._print.test_hash)

    def _files(self, sealed_in: Path, look: Look, by_unit: Mapping[Unit, Training], *, now: bool) -> Said:
        """Files of test ranks: those that were sealed, ranks of the whole test split, of nothing else."""
        seal, tested = look.seal, self._print is not None and look.seal.test_hash == self._print.test_hash
        if not (now or tested):
            return  # ranks of other data were there, and have been replaced
        without = self._without_ranks(seal, by_unit)
        said = {reason.partition(":")[0] for reason in seal.unscored}
        yield from same(sealed_in, "unscored", sorted(said - without.keys()), [])
        place = {stage: look.folder if stage == Stage.FINAL else self.folder for stage in Stage}
        expected = set()
        for unit, training in by_unit.items():
            if training.succeeded and unit not in without.values():
                endings = (paths.RANKS, paths.LISTS) if unit.stage == Stage.FINAL else (paths.RANKS,)
                expected |= {paths.training_file(place[unit.stage], *unit, ending) for ending in endings}
        held = look.files()
        sealed = set(held)
        finals = {unit.number for unit, training in by_unit.items() if unit.stage == Stage.FINAL and training.succeeded}
        among = {
            paths.final_file(look.folder, number, paths.ranks_among(candidates))
            for number in finals
            for candidates in CANDIDATES
        }
        expected |= sealed & among
        shuffled = {file for file in sealed - expected if ".shuffled_" in file.name}
        for file in sorted((sealed ^ expected) - shuffled):
            yield file, "file", Message("the seal and the trainings do not name the same files")
        if now:
            there = {
                file
                for stage in Stage
                for ending in (paths.RANKS, paths.LISTS)
                for file in paths.training_file(self.folder, stage, 1, ending).parent.glob(f"*.{ending}")
            }
            for file in sorted(there - sealed - expected):
                yield file, "file", Message("the seal does not name it")
        read: dict[Path, dict[str, NDArray[Any]]] = {}  # ranks that were read with their lists
        lost = set() if now else self._lost(seal)
        repeated = {paths.final_file(look.folder, number, "").name: number for number in lost}
        for file in sorted(sealed & (expected | shuffled)):
            stays = look.folder != self.folder and look.folder in file.parents
            if not (now or stays):
                continue  # it was written again when the test split was opened once more, whose seal has it
            number = next((number for name, number in repeated.items() if file.name.startswith(name)), None)
            if not file.exists():
                if number is None:
                    yield file, "file", Message("it is missing")
                continue
            columns = read.pop(file, None) or bounds.read_table(file)
            if number is None:
                yield from same(file, "file", table_fingerprint(columns), held[file])
            elif table_fingerprint(columns) != held[file]:
                yield file, "file", Doubt(Message(REPEATED, number=number))
            if file.name.endswith(paths.RANKS):
                yield from self._ranks(file, columns, "" if file in among else seal.test_hash)
            else:
                ranked = file.with_name(file.name.removesuffix(paths.LISTS) + paths.RANKS)
                read[ranked] = bounds.read_table(ranked)
                yield from _lists(file, columns, read[ranked])

    def _lost(self, seal: Seal) -> set[int]:
        """Final runs of an earlier look whose record was lost."""
        runs = zip(seal.finals, seal.runs, strict=False)
        return {number for number, run in runs if self._was_lost(Unit(Stage.FINAL, number), run)}

    def _without_ranks(self, seal: Seal, by_unit: Mapping[Unit, Training]) -> dict[str, Unit]:
        """Trials and proposals that rank nothing of test, by what the seal calls them."""
        tried = {unit: t for unit, t in by_unit.items() if t.succeeded and unit.stage != Stage.FINAL}
        named = {unscored(training): unit for unit, training in tried.items()}
        found = {}
        for name in {reason.partition(":")[0] for reason in seal.unscored}:
            unit = named.get(name)
            if unit is None or paths.training_file(Path(), *unit, paths.RANKS).as_posix() in seal.files:
                # An earlier version called a proposal a trial, too.
                unit = named.get(name.replace("trial", "proposal"), unit)
            if unit is not None:
                found[name] = unit
        return found

    def _ranks(self, file: Path, frame: Mapping[str, NDArray[Any]], test_hash: str) -> Said:
        """Ranks of the whole test split, or, without its hash, of what other candidates rank of it."""
        if self._print is None:
            return
        ranks = frame["rank"]
        if len(ranks) and not (ranks.min() >= 1 and ranks.max() <= self._print.n_items):
            yield file, "rank", Message("a rank lies outside 1 to the number of items")
        users, items = (frame[name].astype(np.int64) for name in ("user", "item"))
        known, test = self._pairs
        if not (known and np.array_equal(users, known[0]) and np.array_equal(items, known[1])):
            try:
                test = Interactions(users, items, self._print.n_users, self._print.n_items).fingerprint()
            except ValueError as error:
                yield file, "user", Message("it cannot be read: {error}", error=error)
                return
            self._pairs = (users, items), test
        if test_hash:
            yield from same(file, "user", sealed_fingerprint(test, self._print.new_items), test_hash)


def _took_part(unit: Unit, trials: int) -> bool:
    """Whether a training was among those that a look with so many random trials chose from."""
    return unit.stage == Stage.PROPOSAL or (unit.stage == Stage.TRIAL and unit.number < trials)


def _lists(file: Path, columns: Mapping[str, NDArray[Any]], ranks: Mapping[str, NDArray[Any]]) -> Said:
    """The ranks of a run against its lists: an item of rank r is the r-th of its user's list."""
    users, lists, rank = columns["user"], columns["items"], ranks["rank"]
    order = np.argsort(users, kind="stable")
    places = np.searchsorted(users, ranks["user"], sorter=order)
    rows = order[np.minimum(places, len(users) - 1)]
    listed = (rank >= 1) & (rank <= lists.shape[1])
    wrong = lists[rows[listed], rank[listed] - 1] != ranks["item"][listed]
    if wrong.any() or (users[rows] != ranks["user"]).any() or len(np.unique(users)) < len(users):
        yield file, "items", Message("they are not those that the ranks say")


def _replayed(
    history: Sequence[float], rule: StoppingRule, steps: int, rungs: Mapping[int, float]
) -> tuple[int, int, str]:
    """When a training with these validation scores ends: epochs, best epoch and why."""
    best = 1
    for epoch, score in enumerate(history, 1):
        best = epoch if score > history[best - 1] else best
        if epoch == rule.most_epochs(steps):
            return epoch, best, "max_steps"
        if rule.is_out_of_patience(epoch, best, steps):
            return epoch, best, "patience"
        if epoch in rungs and history[best - 1] < rungs[epoch]:
            return epoch, best, "rung"
    return len(history) + 1, best, "goes on"
