"""First level of an audit: what the records say of each other, and everything in them that can be computed again.

It needs neither the data nor a model, takes seconds, and runs with every report. ``docs/audit.md`` says what it proves.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from mmbench import fingerprint, paths
from mmbench.audit import cell_consistency
from mmbench.audit.audited_cell import AuditedCell
from mmbench.audit.findings import (
    CLOCKS_APART,
    Doubt,
    Finding,
    Said,
    findings,
    folder_of,
    hash_holds,
    moment,
    same,
    set_aside_trainings,
)
from mmbench.audit.opened import CellInSweep, without_record
from mmbench.audit.repetitions import SETTINGS, Shared, repetition_of
from mmbench.data.dataset import DatasetConfig
from mmbench.messages import Message
from mmbench.scheduling.cell_key import shared_settings
from mmbench.store import ledger, records
from mmbench.store.schema import (
    Cell,
    CellName,
    DataPrint,
    LedgerRow,
    Manifest,
    Revision,
    fixed,
    training_rule,
)
from mmbench.tuning.cell import versions_hash

#: Settings of a data set that its name says, so that those of its repetitions are compared by that.
NAMED = ("name", "encoder")
#: How often a cell is read while workers write what it is judged by.
READINGS = 3


def check(sweep_dir: Path) -> list[Finding]:
    """Check the records of a sweep.

    Raises:
        ValueError: if the folder has no manifest that can be read.
    """
    manifest = records.read(paths.manifest_file(sweep_dir), Manifest)
    listed, rows = _state([paths.ledger_file(sweep_dir)]), _rows(sweep_dir)
    set_aside = set_aside_trainings(sweep_dir)
    found = findings(sweep_dir, None, _plan(sweep_dir, manifest))
    found += findings(sweep_dir, None, _times(paths.ledger_file(sweep_dir), rows.values()))
    cells: dict[tuple[str, str], list[tuple[Path, Cell]]] = {}
    for planned in manifest.cells:
        for _ in range(READINGS):
            cell = CellInSweep(sweep_dir, manifest, planned, rows.get(planned.key, []), set_aside)
            before, claimed = _state(_decisive(cell)), list[Cell]()
            said = findings(sweep_dir, planned.name, _audited(cell, claimed))
            now = _state([paths.ledger_file(sweep_dir)])
            if not said or (listed, before) == (now, _state(_decisive(cell))):
                break
            listed, rows = now, _rows(sweep_dir)
        found += said
        for record in claimed:
            cells.setdefault((planned.dataset, planned.model), []).append((cell.folder, record))
    repeated: dict[tuple[Shared, str], Cell] = {}
    for (dataset, model), family in cells.items():
        found += findings(sweep_dir, CellName(dataset, model, ""), _family(family))
        found += findings(sweep_dir, CellName(dataset, model, ""), _repetition(*family[0], repeated))
    return found


def _rows(sweep_dir: Path) -> dict[str, list[tuple[int, LedgerRow]]]:
    """Rows of the ledger with their places in it, by the key of their cell."""
    rows: dict[str, list[tuple[int, LedgerRow]]] = {}
    for place, row in enumerate(ledger.read(sweep_dir)):
        rows.setdefault(row.cell_key, []).append((place, row))
    return rows


def _decisive(cell: CellInSweep) -> list[Path]:
    """Files of a cell that are written when its trainings have ended, or when it is claimed."""
    named = (paths.cell_file, paths.choice_file, paths.seal_file, paths.failure_file)
    return [name(cell.folder) for name in named]


def _state(files: Iterable[Path]) -> list[tuple[int, int] | None]:
    """When some files were written, and how large they are; None for one that is not there."""
    found: list[tuple[int, int] | None] = []
    for file in files:
        try:
            stat = file.stat()
        except FileNotFoundError:
            found.append(None)
        else:
            found.append((stat.st_mtime_ns, stat.st_size))
    return found


def _audited(cell: CellInSweep, claimed: list[Cell]) -> Said:
    """What is wrong with a cell; its record is added to ``claimed`` if it has the effort that is planned for it."""
    if not paths.cell_file(cell.folder).exists():
        yield from without_record(cell)
        return
    audited = AuditedCell(cell)
    if not audited.unclaimed:
        claimed.append(audited.cell)
    yield from cell_consistency.findings(audited)


def _plan(sweep_dir: Path, manifest: Manifest) -> Said:
    """The chain of revisions, and the plan against them."""
    file = paths.manifest_file(sweep_dir)
    yield from hash_holds(file, manifest)
    previous = fixed(manifest.delta, manifest.contrasts, manifest.primary, manifest.statistics)
    planned: dict[str, tuple[str, int, int]] = {}
    last = {name: number for number, revision in enumerate(manifest.revisions, 1) for name in revision.data}
    opened: set[str] | None = None
    for number, revision in enumerate(manifest.revisions, 1):
        place = f"revisions[{number}]"
        yield from same(file, f"{place}.previous", revision.previous, previous)
        yield from hash_holds(file, revision, f"{place}.hash")
        yield from _data(file, f"{place}.data", revision, [n for n in last if last[n] == number], manifest.data)
        yield from same(file, f"{place}.versions", sorted(revision.versions), sorted(revision.cells))
        yield from same(file, f"{place}.seals", sorted(set(revision.seals) - set(revision.cells)), [])
        previous = revision.hash
        planned |= {name: (key, revision.trials, revision.seeds) for name, key in revision.cells.items()}
        if revision.opened is not None:
            opened = (opened or set()) | set(revision.opened)
            yield from same(file, f"{place}.opened", sorted(opened - planned.keys()), [])
            yield from same(file, f"{place}.opened", sorted(set(revision.seals) - opened), [])
        elif opened is not None:
            yield file, f"{place}.opened", Message("it is missing, and an earlier revision has one")
    cells = {str(cell.name): (cell.key, cell.trials, cell.seeds) for cell in manifest.cells}
    yield from same(file, "cells", cells, planned)
    for name, n in Counter(str(cell.name) for cell in manifest.cells).items():
        if n > 1:
            yield file, f"cells[{name}]", Message("the plan lists it {n} times", n=n)
    yield from _last_command(file, manifest)
    for cell in manifest.cells:
        folder = folder_of(sweep_dir, cell)
        yield from same(file, f"cells[{cell.name}].folder", cell.folder, folder.relative_to(sweep_dir).as_posix())
    yield from same(file, "delta", manifest.delta, manifest.statistics.get("delta"))
    yield from same(file, "contrasts", manifest.contrasts, list(manifest.statistics.get("contrasts", [])))


def _last_command(file: Path, manifest: Manifest) -> Said:
    """Whatever the last command asked for, its cells are planned with it; the name of its budget alone may be any."""
    named = {str(cell.name) for cell in manifest.cells}
    if manifest.named is not msgspec.UNSET:
        yield from same(file, "named", sorted(set(manifest.named) - named), [])
        named = set(manifest.named)
    elif any(revision.opened is not None for revision in manifest.revisions):  # written since both are
        yield file, "named", Message("it is missing")
    budget = manifest.budget
    asked = fingerprint.of_json(training_rule(budget)), budget.get("trials"), budget.get("seeds")
    if asked not in {(cell.rule, cell.trials, cell.seeds) for cell in manifest.cells if str(cell.name) in named}:
        yield file, "budget", Message("no cell is planned with its trials, final seeds and training rule")


def _times(file: Path, cells: Iterable[Sequence[tuple[int, LedgerRow]]]) -> Said:
    """Rows are appended as trainings end, so that times go forward, but for the clocks of several machines."""
    rows = sorted((row for cell in cells for row in cell), key=lambda row: row[0])
    latest = datetime(1970, 1, 2, tzinfo=UTC)
    for place, row in rows:
        finished = moment(row.finished_at)
        if finished < latest - CLOCKS_APART:
            why = Message("it is before that of an earlier row")
            yield file, f"[{place + 1}].finished_at", Doubt(why, touches_verdicts=False)
            return
        latest = max(latest, finished)


def _data(file: Path, field: str, revision: Revision, last: Iterable[str], data: Mapping[str, DataPrint]) -> Said:
    """The data sets of its cells; those that it was the ``last`` to plan are what they are now."""
    yield from same(file, field, sorted(revision.data), sorted({cell.partition("/")[0] for cell in revision.cells}))
    now = {name: fingerprint.of_json(msgspec.to_builtins(data[name])) for name in last if name in data}
    yield from same(file, field, {name: revision.data[name] for name in last}, now)


def _family(cells: Sequence[tuple[Path, Cell]]) -> Said:
    """Conditions of one (dataset, model): the same settings, trained by the same code but for that of their states."""

    def shared(cell: Cell) -> str:
        return versions_hash({name: version for name, version in cell.versions.items() if name != records.STATES})

    (_, first), *others = cells
    settings = shared_settings(first)
    for folder, cell in others:
        file = paths.cell_file(folder)
        for section, own in shared_settings(cell).items():
            yield from same(file, f"config.{section}", own, settings[section])
        yield from same(file, "config.evaluation", cell.sample, first.sample)
        rules = [training_rule(c.config["budget"]) for c in (cell, first)]
        yield from same(file, "config.budget", *rules)
        yield from same(file, "versions", shared(cell), shared(first))
        yield from same(file, "effort", cell.effort, first.effort)


def _repetition(folder: Path, cell: Cell, repeated: dict[tuple[Shared, str], Cell]) -> Said:
    """Repetitions of a data set, of which ``repeated`` keeps the first by model: the same settings but for one."""
    shared, _ = repetition_of(cell)
    # A record of an earlier version lacks what is a list in every other one. The protocol, which conditions need not
    # share because their split is the same, is compared: repetitions have splits of their own.
    both = [
        {"items_with": [], "protocol": one.config["dataset"]["protocol"], **shared_settings(one)["dataset"]}
        for one in (cell, repeated.setdefault((shared, cell.model), cell))
    ]
    own, first = (DatasetConfig(**{name: value for name, value in plain.items() if name != "lr"}) for plain in both)
    file = paths.cell_file(folder)
    for name in (field.name for field in fields(DatasetConfig)):
        if name not in (SETTINGS[shared.kind][0], *NAMED):
            yield from same(file, f"config.dataset.{name}", getattr(own, name), getattr(first, name))
    yield from same(file, "config.dataset.lr", *(plain.get("lr") for plain in both))
