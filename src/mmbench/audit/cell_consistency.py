"""First level of an audit, one cell: its record, trainings, ledger and looks against each other and the plan."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

import msgspec

from mmbench import fingerprint, paths
from mmbench.audit.audited_cell import AuditedCell
from mmbench.audit.condition_names import effect, meant_by
from mmbench.audit.findings import CLOCKS_APART, Doubt, Said, hash_holds, moment, same
from mmbench.audit.look_consistency import LookAudit
from mmbench.audit.opened import missed_seals, without_result
from mmbench.audit.training_consistency import TrainingAudit
from mmbench.data.dataset import DatasetConfig
from mmbench.data.held_out import target_in_name
from mmbench.data.planted import is_made_up
from mmbench.messages import Message, Refusal
from mmbench.scheduling.cell_key import key_of
from mmbench.store import records
from mmbench.store.crashes import OF_THE_MACHINE
from mmbench.store.schema import (
    ID_ONLY,
    TRAININGS,
    CellFailure,
    Choice,
    LedgerRow,
    Seal,
    Stage,
    Training,
    Unit,
    fixed,
    training_rule,
)
from mmbench.tuning.cell import versions_hash

#: What is said of a training whose file is not named after it.
MISNAMED = Message("its file has the name of another training")


def findings(audited: AuditedCell) -> Said:
    """Everything that is wrong."""
    yield from _record(audited)
    by_unit: dict[Unit, Training] = {}
    for stage in Stage:
        for file in paths.training_records(audited.folder, stage):
            training = records.read(file, TRAININGS[stage])
            if training.cell_key != audited.cell.key:
                yield file, "cell_key", Message("it belongs to another cell")
            elif file != audited.record_of(training.unit):
                yield file, "index", MISNAMED
            else:
                by_unit[training.unit] = training
    yield from _misnamed(audited, by_unit)
    yield from TrainingAudit(audited, by_unit).findings()
    yield from _ledger(audited, by_unit)
    yield from _failure(audited, by_unit)
    yield from without_result(audited.in_sweep, failed_at_test=_failed_at_test(audited, by_unit))
    yield from missed_seals(audited.in_sweep)
    yield from LookAudit(audited, by_unit).findings()


def _misnamed(audited: AuditedCell, by_unit: Mapping[Unit, Training]) -> Said:
    """Trainings that are kept where nothing reads them; a note is none, and a second copy of a record hides nothing."""
    for stage in Stage:
        for file in paths.misnamed_records(audited.folder, stage):
            with contextlib.suppress(Refusal):
                training = records.read(file, TRAININGS[stage])
                if training != by_unit.get(training.unit):
                    yield file, "index", MISNAMED


def _record(audited: AuditedCell) -> Said:
    """Its record against the plan."""
    cell, planned, file = audited.cell, audited.planned, audited.file
    yield from hash_holds(file, cell)
    yield from same(file, "name", cell.name, planned.name)
    yield from same(file, "key", cell.key, planned.key)
    yield from same(file, "key", cell.key, key_of(cell))
    yield from same(file, "draw", cell.draw, planned.draw)
    statistics = cell.config["statistics"]
    yield from same(file, "config.statistics", statistics, audited.manifest.statistics)
    plan = fixed(
        audited.manifest.delta, audited.manifest.contrasts, audited.manifest.primary, audited.manifest.statistics
    )
    yield from same(file, "plan", cell.plan, plan)
    rule = fingerprint.of_json(training_rule(audited.budget))
    yield from same(audited.manifest_file, "rule", planned.rule, rule)
    states = {name: audited.condition.state(name) for name in sorted(cell.features)}
    yield from same(file, "states", cell.states, states)
    meant = None if cell.modality == ID_ONLY else meant_by(cell.modality, audited.condition)
    if meant is not None:
        said, named = (effect(condition, cell.features) for condition in (audited.condition, meant))
        yield from same(file, "config.modality", said, named)
    if audited.data_print is None:
        yield audited.manifest_file, "data", Message("{dataset} is not in it", dataset=cell.dataset)
    else:
        yield from same(file, "split_hash", cell.split_hash, audited.data_print.split_hash)
        if audited.data_print.new_items or audited.data_print.target:  # a plan of earlier versions names neither
            yield from same(file, "config.tuning", cell.target, audited.data_print.target)
        users = None if cell.sample is None else cell.sample.users
        yield from same(file, "config.evaluation", users, audited.data_print.validation_users)
        known = audited.data_print.features if cell.modality != ID_ONLY else {}
        yield from same(file, "features", *(_seen(audited, features) for features in (cell.features, known)))
    if not cell.config["model"].get("recommendations"):
        yield from same(file, "external", cell.external, None)
    yield from same(file, "config.lists", cell.config.get("lists"), cell.lists if cell.is_external else None)
    dataset = DatasetConfig(**{name: value for name, value in cell.config["dataset"].items() if name != "lr"})
    drawn = f"-draw{cell.draw}" if cell.draw else ""
    target = target_in_name(dataset.protocol, cell.target)
    yield from same(file, "config.dataset", f"{dataset.cell_name}{target}{drawn}", cell.dataset)
    if dataset.world is not None and not is_made_up(dataset.name):
        yield file, "config.dataset", Message("a planted world, whose data are made up, has the name of other data")
    versions = [
        r.versions[str(cell.name)] for r in audited.manifest.revisions if r.cells.get(str(cell.name)) == cell.key
    ]
    own = versions_hash(cell.versions)  # a later revision has others where the cell was begun afresh
    yield from same(file, "versions", own, own if own in versions else next(iter(versions), None))
    expected = audited.effort_of(planned.trials, planned.seeds)
    if audited.unclaimed:
        why = Message("more trials or final runs are planned than it has; run the command of the sweep again")
        yield file, "effort", Doubt(why)
    else:
        yield from same(file, "effort", *(msgspec.to_builtins(effort) for effort in (cell.effort, expected)))
    yield from same(audited.manifest_file, "trainings", planned.trainings, expected.trainings)


def _seen(audited: AuditedCell, features: Mapping[str, str]) -> dict[str, str]:
    """Fingerprints of the modalities that the condition keeps; another one may have come later to the data."""
    return {name: features[name] for name in audited.condition.kept(features)}


def _ledger(audited: AuditedCell, by_unit: Mapping[Unit, Training]) -> Said:
    """Every training has a row that says what its record says, and every row a record."""
    rows: dict[str, tuple[int, LedgerRow]] = {}
    for place, row in audited.in_sweep.rows:
        rows.setdefault(row.hash, (place, row))
    unlisted = [training.unit for training in by_unit.values() if training.hash not in rows]
    planned_at = min((moment(r.planned_at) for r in audited.manifest.revisions), default=None)
    before_the_plan: list[str] = []
    for training in by_unit.values():
        name = audited.record_of(training.unit).relative_to(audited.ledger_file.parent).as_posix()
        if training.hash not in rows:
            why = Message("it has no row with the hash of this record")
            between = unlisted == [training.unit] and _comes_next(audited, training)
            yield audited.ledger_file, name, Doubt(why) if between else why
            continue
        place, row = rows[training.hash]
        cost, budget, finished_at = row.cost, row.budget, row.finished_at
        said = LedgerRow.of(
            audited.cell.name, training, cost, budget=budget, searched=len(audited.space), finished_at=finished_at
        )
        for field in LedgerRow.__struct_fields__ if row != said else ():
            yield from same(audited.ledger_file, f"{name}: {field}", getattr(row, field), getattr(said, field))
        if planned_at is not None and moment(row.finished_at) < planned_at - CLOCKS_APART:
            before_the_plan.append(f"{name}: finished_at")
    for field in before_the_plan[:1]:
        why = Message("it was finished before it was planned")
        yield audited.ledger_file, field, Doubt(why, touches_verdicts=False)
    known = (
        {training.hash for training in by_unit.values()}
        | {t.hash for _, t in audited.aside()}
        | {*audited.in_sweep.set_aside}
    )
    for value, (_, row) in rows.items():
        if value not in known and not audited.was_lost(row.unit, value):
            why = Message("a training is listed whose record is not there")
            yield audited.ledger_file, f"{audited.cell.name} {row.stage} {row.index}", why
    # What was raised before a look was kept, and what was repeated because its record was lost, comes later.
    planned = min((revision.trials for revision in audited.revisions), default=audited.cell.effort.trials)
    listed = [
        (place, row.unit)
        for value, (place, row) in rows.items()
        if value not in audited.in_sweep.set_aside and (row.stage != Stage.TRIAL or row.index < planned)
    ]
    finals = [place for place, unit in listed if unit.stage == Stage.FINAL]
    early = [unit for place, unit in listed if unit.stage != Stage.FINAL and place > min(finals, default=place)]
    if paths.looks_kept(audited.folder) == 0 and not all(map(audited.was_lost, early)):
        why = Message("a final run was finished before the last trial")
        yield audited.ledger_file, f"{audited.cell.name}: order", why


def _comes_next(audited: AuditedCell, training: Training) -> bool:
    """Whether the row of a training comes next, or a kill came between: nothing rests on it yet.

    Other trainings say nothing of it: several workers end in any order. Nor do times of files: a copy, an archive and a
    file system give other ones.
    """
    if audited.was_lost(training.unit):  # it was run once more when others had followed
        return True
    if paths.failure_file(audited.folder).exists():
        return False
    choice, seal = paths.choice_file(audited.folder), paths.seal_file(audited.folder)
    chosen = records.read(choice, Choice).trials if choice.exists() else []
    sealed = records.read(seal, Seal).runs if seal.exists() else []
    return training.hash not in (*chosen, *sealed)


def _failure(audited: AuditedCell, by_unit: Mapping[Unit, Training]) -> Said:
    """A cell that failed has no result, and a reason among its trainings or when test is ranked."""
    file = paths.failure_file(audited.folder)
    if file.exists():
        failure = records.read(file, CellFailure)
        yield from same(file, "key", failure.key, audited.cell.key)
        if paths.seal_file(audited.folder).exists() and not audited.outgrown:
            yield file, "file", Message("there is a result and a failure")
            return
        failed = _failed(audited, by_unit)
        if failed is None:
            why = Message("no training failed that it would follow from, and some are missing; it is not confirmed")
            yield file, "reason", Doubt(why)
            return
        reasons = [training.failure.reason for training in failed if training.failure is not None]
        if all(reason.startswith(OF_THE_MACHINE) for reason in reasons or [failure.reason]):
            # It may hide a result, and as a rule does not: what other conditions came to is not in doubt.
            why = Message("it follows from want of memory or crashes of workers alone; it is not confirmed")
            yield file, "reason", Doubt(why, touches_verdicts=False)


def _failed_at_test(audited: AuditedCell, by_unit: Mapping[Unit, Training]) -> bool:
    """Whether the cell failed when only test was left: ranking its final runs shows whether that follows."""
    return paths.failure_file(audited.folder).exists() and _failed(audited, by_unit) == []


def _failed(audited: AuditedCell, by_unit: Mapping[Unit, Training]) -> list[Training] | None:
    """Trainings from which a failure follows: all that were tried, or final runs; None where one is missing."""
    effort = audited.cell.effort
    units = [
        *(Unit(Stage.TRIAL, number) for number in range(effort.trials)),
        *(Unit(Stage.PROPOSAL, number) for number in range(effort.proposals)),
    ]
    tried = [by_unit[unit] for unit in units if unit in by_unit]
    if len(tried) < len(units):
        return None
    if not any(training.succeeded for training in tried):
        return tried
    if not paths.choice_file(audited.folder).exists():
        return None
    choice = records.read(paths.choice_file(audited.folder), Choice)
    finals = [training for unit, training in by_unit.items() if unit.stage == Stage.FINAL]
    failed = [one for one in finals if not one.succeeded and one.configuration == choice.configuration]
    return failed if failed or len(finals) >= effort.seeds else None
