"""Every field of every record type, and the ways in which one is edited."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from mmbench import paths
from mmbench.store import schema
from tests.audit.forger import DROPPED, Forger, Pointer

#: How a field is edited.
CHANGED, DROPPED_, SIBLING, REHASHED = "changed", "dropped", "from a sibling", "changed, all hashes recomputed"
WAYS = (CHANGED, DROPPED_, SIBLING, REHASHED)


class Place(NamedTuple):
    """A record inside a file, and another one of its kind."""

    file: Path
    pointer: Pointer
    sibling: Path
    sibling_pointer: Pointer


def places(forger: Forger) -> dict[type[Any], Place]:
    """Where one record of each type stands."""
    fused, text, control = (forger.cell(name) for name in ("fused", "text", "text_shuffled_image"))
    broken, other = forger.cell("none", "broken"), forger.cell("text", "broken")
    trial, next_trial = forger.trials(fused)[:2]
    row, next_row = forger.row_of(trial), forger.row_of(next_trial)
    manifest, earlier = forger.manifest, forger.folder.parent / "earlier.json"

    def whole(file: Path, sibling: Path, *inside: str | int) -> Place:
        return Place(file, inside, sibling, inside)

    return {
        schema.Training: whole(trial, next_trial),
        schema.Course: whole(trial, next_trial, "course"),
        schema.Control: whole(*forger.trials(control)[:2], "controls", "image"),
        schema.Failure: whole(forger.trials(broken)[0], forger.trials(other)[0], "failure"),
        schema.Choice: whole(paths.choice_file(fused), paths.choice_file(text)),
        schema.Seal: whole(paths.seal_file(fused), paths.seal_file(text)),
        schema.Cell: whole(paths.cell_file(fused), paths.cell_file(text)),
        schema.Effort: whole(paths.cell_file(fused), paths.cell_file(broken), "effort"),
        schema.CellFailure: whole(paths.failure_file(broken), paths.failure_file(other)),
        schema.Manifest: whole(manifest, earlier),
        schema.PlannedCell: Place(manifest, ("cells", 3), manifest, ("cells", 2)),
        schema.Revision: Place(manifest, ("revisions", 1), manifest, ("revisions", 0)),
        schema.DataPrint: Place(manifest, ("data", "planted-complementary"), manifest, ("data", "planted-no_signal")),
        schema.LedgerRow: Place(forger.ledger, (row,), forger.ledger, (next_row,)),
        schema.Cost: Place(forger.ledger, (row, "cost"), forger.ledger, (next_row, "cost")),
    }


def names(kind: type[Any]) -> list[str]:
    """Fields of a record as they stand in its file."""
    fields = [field.name for field in msgspec.structs.fields(kind)]
    return ["kind", *fields] if issubclass(kind, schema.Record) else fields


#: What takes the place of a value where a change by its type would be no value of the field, or none that lies.
CHANGES: dict[tuple[type[Any], str], Callable[[Any], Any]] = {
    (schema.Training, "stage"): lambda _: "extended",
    (schema.LedgerRow, "stage"): lambda _: "extended",
    (schema.Choice, "stage"): lambda _: "extended",
    (schema.Training, "kind"): lambda _: "final",
    (schema.Training, "course"): lambda _: None,
    (schema.Training, "controls"): lambda _: {
        "image": {"state": "shuffle", "differs_from_real": True, "cosine_mean": 0.1, "cosine_sd": 0.1}
    },
    (schema.Training, "failure"): lambda _: {"reason": "ValueError: why", "traceback": ""},
    (schema.Training, "approximations"): lambda _: [
        {"items": 80, "k": 10, "recall": 0.99, "sample": 40, "library": "faiss 1.8"}
    ],
    (schema.Course, "history"): lambda scores: [score * 0.999 for score in scores],
    (schema.Course, "losses"): lambda terms: [{name: 0.999 * value for name, value in t.items()} for t in terms],
    (schema.Course, "stop_reason"): lambda _: "patience",
    (schema.Course, "offset"): lambda _: 0.5,
    (schema.Cell, "config"): lambda config: {**config, "optimizer": {**config["optimizer"], "weight_decay": 0.01}},
    (schema.Cell, "external"): lambda _: "0" * 64,
    (schema.Cell, "data_folder"): lambda _: "elsewhere",
    (schema.Manifest, "budget"): lambda budget: {**budget, "name": "paper"},
    (schema.Manifest, "statistics"): lambda statistics: {**statistics, "delta": 0.3},
    (schema.Manifest, "delta"): lambda _: 0.3,
    (schema.Manifest, "device_sharing"): lambda _: {
        "a card": {"card": "a card", "workers": 8, "cores": 16, "models": ["planted-complementary/vbpr"]}
    },
    (schema.DataPrint, "new_items"): lambda _: "0" * 64,
    (schema.DataPrint, "target"): lambda _: "warm",
    (schema.Revision, "planned_at"): lambda _: "2026-01-01T00:00:00+00:00",
    (schema.LedgerRow, "late_rise"): lambda _: 0.5,
    (schema.LedgerRow, "status"): lambda _: "failed",
    (schema.LedgerRow, "finished_at"): lambda time: f"{time[:17]}00{time[19:]}",
    (schema.Cost, "energy_kwh"): lambda _: 0.5,
}


def changed(kind: type[Any], name: str) -> Callable[[Any], Any]:
    """Another value for a field."""
    return CHANGES.get((kind, name), _another)


def _another(value: Any) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1 if isinstance(value, int) else value * 0.999
    if isinstance(value, str):
        return ("1" if value[0] == "0" else "0") + value[1:] if value else "0" * 64
    if isinstance(value, list):
        return value[:-1] if value else ["more"]
    if isinstance(value, dict):
        first = next(iter(value))
        return {**value, first: _another(value[first])}
    raise AssertionError(f"what would be another value than {value}?")


def edit(forger: Forger, kind: type[Any], name: str, way: str) -> None:
    """Edit one field in one way."""
    place = places(forger)[kind]
    new: Callable[[Any], Any] = changed(kind, name)
    if way == DROPPED_:
        new = lambda _: DROPPED  # noqa: E731
    elif way == SIBLING:
        other: Any = forger.rows() if place.sibling == forger.ledger else forger.read(place.sibling)
        for part in place.sibling_pointer:
            other = other[part]
        other = other.get(name, DROPPED)
        new = lambda _: other  # noqa: E731
    forger.change(place.file, (*place.pointer, name), new, keep=way == REHASHED)
    if way == REHASHED:
        forger.rehash()


def all_fields() -> Iterator[tuple[type[Any], str]]:
    """Every field of every record type that is edited."""
    kinds = (
        schema.Training, schema.Course, schema.Control, schema.Failure, schema.Choice, schema.Seal, schema.Cell,
        schema.Effort, schema.CellFailure, schema.Manifest, schema.PlannedCell, schema.Revision, schema.DataPrint,
        schema.LedgerRow, schema.Cost,
    )  # fmt: skip
    for kind in kinds:
        for name in names(kind):
            yield kind, name
