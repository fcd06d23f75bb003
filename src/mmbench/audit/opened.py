"""What shows that the test split of a cell was opened; where something does, a result has to be there."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from mmbench import paths
from mmbench.audit.findings import Doubt, Said, folder_of
from mmbench.messages import Message, Template
from mmbench.store import records
from mmbench.store.schema import LedgerRow, Manifest, PlannedCell

#: What is said of a cell that shows its test split opened, and no result.
RESULT_GONE = Template("its test split was opened, and the result is not there; run the command of the sweep again")


@dataclass(frozen=True)
class CellInSweep:
    """A planned cell, and what a sweep holds of it outside of its folder.

    Args:
        sweep_dir: folder of the sweep.
        manifest: plan of the sweep.
        planned: the cell in that plan.
        rows: its rows of the ledger with their places in it.
        set_aside: hashes of trainings in folders that were set aside.
    """

    sweep_dir: Path
    manifest: Manifest
    planned: PlannedCell
    rows: Sequence[tuple[int, LedgerRow]]
    set_aside: Collection[str]

    @property
    def folder(self) -> Path:
        """Its folder."""
        return folder_of(self.sweep_dir, self.planned)


def without_record(cell: CellInSweep) -> Said:
    """A planned cell without a record has not run, which the table says, unless something shows that it has.

    Otherwise a condition that went wrong could be taken away whole.
    """
    yield from missed_seals(cell)
    folder, planned = cell.folder, cell.planned
    places = [folder, *(aside for aside in paths.set_aside_dirs(folder) if _is_of(aside, planned.key))]
    sealed = any(place in seal.parents for place in places for seal in paths.seals_of(folder))
    if str(planned.name) in cell.manifest.noted() or sealed or any(map(_ranked_test, places)):
        yield paths.cell_file(folder), "file", Doubt(Message(RESULT_GONE))
        return
    known = {*cell.set_aside, *(training.hash for training in records.trainings_of_stale(folder))}
    for _, row in cell.rows:
        if row.hash not in known and not paths.damaged_records(cell.sweep_dir, folder, *row.unit):
            why = Message("a training is listed whose record is not there")
            yield paths.ledger_file(cell.sweep_dir), f"{planned.name} {row.stage} {row.index}", Doubt(why)
            return  # so are all others where somebody took a folder away to run it again


def _is_of(folder: Path, key: str) -> bool:
    """Whether the folder of a cell holds records of a key."""
    try:
        return records.key_of(folder) == key
    except ValueError:  # of another version
        return False


def without_result(cell: CellInSweep, *, failed_at_test: bool) -> Said:
    """A test split that was opened has a result; without it a contrast that went wrong could be kept back.

    A seal leaves a copy where it will be kept as an earlier look, ranks are written before it, and the next revision of
    the plan notes it. A sweep that was stopped in between, or lost files, has its seal once the command is run again.

    Args:
        cell: the cell.
        failed_at_test: whether it failed when test was ranked, which leaves ranks and no seal.
    """
    folder = cell.folder
    sealed, chosen = paths.seal_file(folder), paths.choice_file(folder)
    if sealed.exists():
        if not chosen.exists():
            yield chosen, "file", Doubt(Message(RESULT_GONE))
        return
    of_looks = {name for look in records.read_looks(folder) for name in look.seal.files}
    seals = (*paths.seals_of(folder), *paths.damaged_seals(cell.sweep_dir, folder))
    noted = str(cell.planned.name) in cell.manifest.noted() and not seals
    ranked = not failed_at_test and _ranked_test(folder) - of_looks
    kept = not chosen.exists() and of_looks
    if noted or kept or ranked or paths.seal_copy(folder).exists():
        yield sealed, "file", Doubt(Message(RESULT_GONE))


def missed_seals(cell: CellInSweep) -> Said:
    """What had been looked at when effort was raised, a cell begun afresh or a lost plan written anew, and is gone."""
    key = cell.planned.key
    held = cell.manifest.seals_of(cell.planned.name, key)
    files = [*paths.seals_of(cell.folder), *paths.damaged_seals(cell.sweep_dir, cell.folder)]
    seals = records.read_seals(files, key) if held else {}
    place = paths.manifest_file(cell.sweep_dir)
    for number, seal in held.items():
        if seal not in seals:
            yield place, f"revisions[{number}].seals", Message("no look has the seal of then")


def _ranked_test(folder: Path) -> set[str]:
    """Files of test ranks of the trainings of a cell, by their path in it."""
    return {file.relative_to(folder).as_posix() for file in paths.tables_of_trainings(folder, paths.RANKS)}
