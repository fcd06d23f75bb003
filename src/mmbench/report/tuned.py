"""The configurations that a sweep has chosen, as files that ``tuned=NAME`` takes."""

from __future__ import annotations

from pathlib import Path

import yaml

from mmbench import paths
from mmbench.messages import Refusal
from mmbench.report.table import SweepTable
from mmbench.store import files, records
from mmbench.store.schema import Choice

#: What stands above each configuration.
HEAD = """\
# Chosen by validation among the trials of a sweep, written by python -m mmbench report SWEEP --tuned. tuned=NAME takes
# it without tuning, and every page says so. root is that of the records it comes from.
"""


def write_tuned(table: SweepTable, folder: Path) -> list[Path]:
    """Write the chosen configuration of every finished cell that was tuned in this sweep.

    Args:
        table: the sweep.
        folder: where a folder per data set is written, as ``conf/tuned``.

    Returns:
        The files; one that was there is replaced.

    Raises:
        ValueError: where no cell was tuned and finished.
    """
    written = []
    for cell in table.cells.values():
        if cell.status != "done" or cell.parts or cell.given:
            continue
        choice = records.read(paths.choice_file(cell.folder), Choice)
        content = {
            "dataset": cell.dataset,
            "model": cell.model,
            "modality": cell.modality,
            "root": table.standing.root,
            "trials": choice.n_trials,
            "configuration": choice.configuration,
        }
        file = paths.tuned_file(folder / paths.slug([cell.dataset]), cell.model, cell.modality)
        files.write_text(file, HEAD + yaml.safe_dump(content, sort_keys=False, allow_unicode=True))
        written.append(file)
    if not written:
        raise Refusal("{folder} has no finished cell that was tuned in it", folder=table.folder)
    return written
