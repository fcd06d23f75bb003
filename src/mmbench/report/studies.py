"""The trials of a sweep as Optuna studies, one per cell, for optuna-dashboard."""

from __future__ import annotations

from pathlib import Path

from mmbench import paths
from mmbench.messages import Refusal
from mmbench.report.table import SweepTable
from mmbench.store import files, records
from mmbench.store.records import CellStore
from mmbench.store.schema import Cell
from mmbench.tuning import sampler
from mmbench.tuning.space import of_one, read_space


def check_new(file: Path) -> None:
    """Refuse a place where something lies.

    Raises:
        ValueError: naming it.
    """
    if file.exists():
        raise Refusal("{file} exists; studies are written to a new file", file=file)


def write_studies(table: SweepTable, sweep_dir: Path, file: Path) -> list[str]:
    """Rebuild the Optuna study of every cell from its records and keep them in an SQLite file.

    The file is a view: nothing reads it back.

    Args:
        table: the sweep.
        sweep_dir: folder of the sweep.
        file: SQLite file to write; it must not exist.

    Returns:
        Names of the studies, ``dataset/model/modality``.

    Raises:
        ValueError: if the file exists or no cell has a finished trial.
    """
    check_new(file)
    studies = {}
    for cell in table.cells.values():
        file_of_cell = paths.cell_file(cell.folder)
        if not file_of_cell.exists():
            continue
        record = records.read(file_of_cell, Cell)
        done = CellStore(sweep_dir, cell.folder, record.key).finished_trainings()
        if done:
            space = read_space(record.config["search"]) if record.given is None else of_one(record.given)
            studies[str(record.name)] = (space, done)
    if not studies:
        raise Refusal("{sweep_dir} has no finished trial", sweep_dir=sweep_dir)
    files.write_atomic(file, lambda temporary: sampler.keep_studies(studies, temporary))
    return sorted(studies)
