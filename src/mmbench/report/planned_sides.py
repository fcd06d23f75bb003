"""Which planned cells may stand on a side of a free disposal, and what it waits for until they have run."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from mmbench import paths
from mmbench.audit.condition_names import meaning
from mmbench.data.conditions import ModalityCondition
from mmbench.messages import Message, clauses
from mmbench.report.comparisons import PENDING
from mmbench.report.control_conditions import States, by_name, control_states, is_real, part_of
from mmbench.report.table import CellResult, SweepTable
from mmbench.store import records
from mmbench.store.schema import ID_ONLY, Cell, CellName, Manifest


class Planned(NamedTuple):
    """A cell of the plan and the states of its modalities."""

    cell: CellResult
    states: Mapping[str, str]


def planned_cells(table: SweepTable, modality: str = "", part: str = "") -> Mapping[str, Sequence[Planned]]:
    """The cells of each data set that may stand on a side, whether or not they have run.

    Args:
        table: the sweep.
        modality: the modality that the items of a slice alone have; empty without one.
        part: the slice.
    """
    manifest = records.read(paths.manifest_file(table.folder), Manifest)
    modalities = {name: tuple(data.features) for name, data in manifest.data.items()}
    found: dict[str, list[Planned]] = {dataset: [] for dataset in table.datasets}
    for cell in table.cells.values():
        states = _states_of(cell, modalities.get(cell.dataset, ()), modality, part)
        if states is not None:
            found[cell.dataset].append(Planned(cell, states))
    return {dataset: _standing(table, cells) for dataset, cells in found.items()}


def _standing(table: SweepTable, planned: Sequence[Planned]) -> list[Planned]:
    """Of planned cells with the same states the one that counts: what failed gives way to what was planned after it."""
    first: dict[tuple[str, States], Planned] = {}
    for one in sorted(planned, key=lambda one: (one.cell.status == "failed", table.planned(_name(one.cell)))):
        first.setdefault((one.cell.model, by_name(one.states)), one)
    return [one for one in planned if first[one.cell.model, by_name(one.states)] is one]


def _name(cell: CellResult) -> CellName:
    return CellName(cell.dataset, cell.model, cell.modality)


def why_pending(modality: str, planned: Sequence[Planned], *, compared: bool = False) -> str:
    """What a free disposal waits for; nothing where the plan has no two sides for it.

    A real condition whose control is not planned is on neither side, unless no control is.

    Args:
        modality: the modality.
        planned: cells of the plan.
        compared: whether others can be compared: then a control that failed leaves both sides with its condition, and
            is told. One that waits is awaited all the same, as its condition is: who stopped before it would choose
            between what is said without and with it.
    """
    own: dict[tuple[str, States], tuple[str, States] | None] = {}
    for one in planned:
        if is_real(one.states):
            key = control_states(one.states, modality)
            own[one.cell.model, by_name(one.states)] = None if key is None else (one.cell.model, key)
    wanted = {key for key in own.values() if key is not None}
    controls = wanted & {(one.cell.model, by_name(one.states)) for one in planned}
    if not wanted or not (controls or None in own.values()):
        return ""
    sides = controls | {cell for cell, key in own.items() if key is None or key in controls or not controls}
    reasons = []
    for cell, states in planned:
        if (cell.model, by_name(states)) not in sides:
            continue
        if cell.status in PENDING:
            name = f"{cell.dataset}/{cell.model}/{cell.modality}"
            reasons.append(Message(PENDING[cell.status], condition=name))
        elif cell.status == "failed" and (is_real(states) or not compared):
            reasons.append(failure_of(cell))
    return clauses(reasons) if reasons else ""


def would_grow(table: SweepTable, dataset: str, modality: str, model: str | None, cells: Iterable[Cell]) -> bool:
    """Whether more conditions would be chosen from in a free disposal of one data set if cells were planned besides.

    Args:
        table: the sweep.
        dataset: the data set.
        modality: the modality that is disposed of.
        model: the model; None over all models.
        cells: records of the cells.
    """
    own = [cell for cell in cells if cell.dataset == dataset and model in (None, cell.model)]
    if not own:
        return False
    before = {(one.cell.model, by_name(one.states)) for one in planned_cells(table).get(dataset, ())}
    after = before | {(cell.model, by_name(cell.states)) for cell in own if may_stand(cell, "", "")}

    def chosen_from(planned: Collection[tuple[str, States]]) -> set[tuple[str, States]]:
        keys = {(m, states): control_states(dict(states), modality) for m, states in planned}
        real = [(m, states) for m, states in keys if is_real(dict(states))]
        return {(m, states) for m, states in real if keys[m, states] is None or (m, keys[m, states]) in planned}

    return chosen_from(after) != chosen_from(before)


def _states_of(cell: CellResult, modalities: Collection[str], modality: str, part: str) -> Mapping[str, str] | None:
    """States of a planned cell: as its record has them, or as its name says; None of what is on no side.

    No name says a slice, whose label no name can hold.

    Args:
        cell: the cell.
        modalities: those of its data set.
        modality: the modality that the items of a slice alone have; empty without one.
        part: the slice.
    """
    if cell.parts:
        return None
    if cell.status != "stale" and paths.cell_file(cell.folder).exists():
        record = records.read(paths.cell_file(cell.folder), Cell)
        return record.states if may_stand(record, modality, part) else None
    if cell.modality == ID_ONLY:
        return {}
    condition = meaning(cell.modality, ModalityCondition())
    if condition is None or condition.thinned or (part and condition.state(modality) != "drop"):
        return None
    return {name: condition.state(name) for name in modalities}


def failure_of(cell: CellResult) -> Message:
    """That a cell failed, and why."""
    name = f"{cell.dataset}/{cell.model}/{cell.modality}"
    return Message("{condition} failed: {reason}", condition=name, reason=" ".join(cell.reason.split()))


def may_stand(cell: Cell, modality: str, part: str) -> bool:
    """Whether a cell may stand on a side: neither one whose items lost content nor an external one.

    Args:
        cell: its record.
        modality: a cell that uses it counts only where its items have it in the slice alone; empty without a slice.
        part: the slice.
    """
    used = bool(part) and cell.states.get(modality, "drop") != "drop"
    return (part_of(cell, modality) == part if used else not cell.thinned) and not cell.is_external
