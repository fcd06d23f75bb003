"""The trials of a sweep as Optuna studies, one per cell, for optuna-dashboard."""

from __future__ import annotations

from pathlib import Path

from mmbench import proposals, records, search
from mmbench.messages import Refusal
from mmbench.records import CellStore
from mmbench.report.table import SweepTable


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
    if file.exists():
        raise Refusal("{file} exists; studies are written to a new file", file=file)
    studies = {}
    for cell in table.cells.values():
        description = cell.folder / "cell.json"
        if not description.exists():
            continue
        described = records.read_json(description)
        done = CellStore(sweep_dir, cell.folder, described["key"]).finished_trainings()
        if done:
            name = f"{cell.dataset}/{cell.model}/{cell.modality}"
            studies[name] = (search.read_space(described["config"]["search"]), done)
    if not studies:
        raise Refusal("{sweep_dir} has no finished trial", sweep_dir=sweep_dir)
    records.write_atomic(file, lambda temporary: proposals.keep_studies(studies, temporary))
    return sorted(studies)
