"""The configurations that a sweep has chosen, as files that ``tuned=NAME`` takes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import yaml

from mmbench import paths
from mmbench.messages import Refusal
from mmbench.report.table import CellResult, SweepTable
from mmbench.scheduling.cell_key import unsearched
from mmbench.store import files, records
from mmbench.store.schema import Cell, Choice

#: What stands above each configuration.
HEAD = """\
# Chosen by validation among the trials of a sweep, written by python -m mmbench report SWEEP --tuned. tuned=NAME takes
# it without tuning, and every page says so. root is that of the records it comes from. settings is what the sweep set
# beside its search; tuned=NAME does not set it, and says where the new sweep has another value.
"""


#: The line of a file that says which records its configuration comes from.
ROOT_LINE = re.compile(r"^root: *(\S+)$", re.MULTILINE)


def write_tuned(table: SweepTable, folder: Path, *, replace: bool = False) -> list[Path]:
    """Write the chosen configuration of every finished cell that was tuned in this sweep.

    Args:
        table: the sweep.
        folder: where a folder per data set is written, as ``conf/tuned``.
        replace: whether to replace files of another root.

    Returns:
        The files; one of the same root that was there is replaced.

    Raises:
        ValueError: where no cell was tuned and finished, or a file of another root is there that is not to be replaced.
            Nothing is written then.
    """
    tuned = dict(_tuned(table, folder))
    if not tuned:
        raise Refusal("{folder} has no finished cell that was tuned in it", folder=table.folder)
    if not replace:
        refuse_others(table, folder)
    for file, cell in tuned.items():
        choice = records.read(paths.choice_file(cell.folder), Choice)
        config = records.read(paths.cell_file(cell.folder), Cell).config
        content = {
            "dataset": cell.dataset,
            "model": cell.model,
            "modality": cell.modality,
            "root": table.standing.root,
            "trials": choice.n_trials,
            "configuration": choice.configuration,
            "settings": unsearched(config, choice.configuration),
        }
        files.write_text(file, HEAD + yaml.safe_dump(content, sort_keys=False, allow_unicode=True))
    return list(tuned)


def refuse_others(table: SweepTable, folder: Path) -> None:
    """Refuse to write the configurations of a sweep where those of another root would be replaced.

    Args:
        table: the sweep.
        folder: where a folder per data set would be written.

    Raises:
        ValueError: naming the first of these files and its root.
    """
    standing = {file: _root(file) for file, _ in _tuned(table, folder) if file.exists()}
    others = {file: root for file, root in standing.items() if root != table.standing.root}
    if others:
        file, root = next(iter(others.items()))
        raise Refusal.counted(
            "{file} holds a configuration of root {root}, and this sweep has root {own}; --replace replaces it, "
            "--tuned FOLDER writes elsewhere",
            "{file} holds a configuration of root {root}, and this sweep has root {own} ({n} such files); --replace "
            "replaces them, --tuned FOLDER writes elsewhere",
            len(others),
            file=file,
            root=root or "-",
            own=table.standing.root,
        )


def _tuned(table: SweepTable, folder: Path) -> Iterator[tuple[Path, CellResult]]:
    """Every finished cell that was tuned in a sweep, with the file of its configuration."""
    for cell in table.cells.values():
        if cell.status == "done" and not cell.parts and not cell.given:
            yield paths.tuned_file(folder / paths.slug([cell.dataset]), cell.model, cell.modality), cell


def _root(file: Path) -> str:
    """The root that a file of a tuned configuration names; empty where it names none."""
    found = ROOT_LINE.search(file.read_text(encoding="utf-8", errors="replace"))
    return found[1] if found else ""
