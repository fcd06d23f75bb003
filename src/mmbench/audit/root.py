"""One hash for everything that a sweep found, and one for when and where it was computed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from mmbench import fingerprint, paths
from mmbench.audit.consistency import read_aside
from mmbench.store import ledger, records
from mmbench.store.schema import Cell, CellFailure, Choice, Manifest, Seal, Stage


def root_of(sweep_dir: Path) -> str:
    """Hash of the deterministic records of a sweep: the same plan trained again anywhere has the same root.

    It covers the hash of the plan and, of every planned cell, those of its record, of every training, choice and seal,
    earlier ones included. They cover validation vectors, states, and files of test ranks. Times, machines and energy
    are not part of it.

    Raises:
        ValueError: if the folder has no manifest, or a record that cannot be read.
    """
    manifest = records.read(paths.manifest_file(sweep_dir), Manifest)
    cells = {str(cell.name): list(_hashes(sweep_dir / cell.folder)) for cell in manifest.cells}
    # The commands in the plan and the order in which cells were planned are part of how, not of what was found.
    return fingerprint.of_json({"plan": manifest.plan_hash if manifest.revisions else "", "cells": cells})


def _hashes(folder: Path) -> Iterator[Any]:
    """Hashes of the records of a cell, in a fixed order; nothing for a cell without records."""
    file = paths.cell_file(folder)
    if not file.exists():
        return
    cell = records.read(file, Cell)
    yield cell.hash
    if paths.failure_file(folder).exists():
        yield records.read(paths.failure_file(folder), CellFailure).reason
    trainings = [t for stage in Stage for t in records.read_trainings(folder, stage, cell.key)]
    yield [t.hash for t in trainings] + [t.hash for _, t in read_aside(folder, cell.key)]
    for place in [*(paths.look_dir(folder, k + 1) for k in range(paths.looks_kept(folder))), folder]:
        if paths.choice_file(place).exists():
            yield records.read(paths.choice_file(place), Choice).hash
        if paths.seal_file(place).exists():
            yield records.read(paths.seal_file(place), Seal).hash


def journal_of(sweep_dir: Path) -> str:
    """Hash of what differs from run to run: the ledger with its times and machines, and when what was planned."""
    manifest = records.read(paths.manifest_file(sweep_dir), Manifest)
    rows = [msgspec.to_builtins(row) for row in ledger.read(sweep_dir)]
    return fingerprint.of_json([rows, [revision.planned_at for revision in manifest.revisions]])
