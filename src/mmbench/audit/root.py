"""One hash for everything that a sweep found."""

from __future__ import annotations

from pathlib import Path

from mmbench import fingerprint, paths
from mmbench.audit.findings import folder_of
from mmbench.messages import Refusal
from mmbench.store import records
from mmbench.store.schema import TRAININGS, Cell, CellFailure, Choice, FinalRun, Manifest, Record, Seal, Stage


def root_of(sweep_dir: Path) -> str:
    """Hash of the deterministic records of a sweep: the same plan trained again by the same versions has the same root.

    The folder that the data lie in is no part of it, except where the command names it, which the plan holds, and in
    records of earlier versions.

    It covers the hash of the plan and, of every planned cell, those of its record, of every training, choice and seal,
    earlier ones included. They cover validation vectors, states, and files of test ranks. Times, machines and energy
    are not part of it.

    Raises:
        ValueError: if the folder has no manifest that can be read.
    """
    manifest = records.read(paths.manifest_file(sweep_dir), Manifest)
    cells = {str(cell.name): _hashes(folder_of(sweep_dir, cell)) for cell in manifest.cells}
    # The commands in the plan and the order in which cells were planned are part of how, not of what was found.
    return fingerprint.of_json({"plan": manifest.plan_hash if manifest.revisions else "", "cells": cells})


def _hashes(folder: Path) -> list[str]:
    """Hashes of the records of a cell, in a fixed order; nothing for a cell without records."""
    if not paths.cell_file(folder).exists():
        return []
    looks = [paths.look_dir(folder, number + 1) for number in range(paths.looks_kept(folder))]
    return [
        _hash(paths.cell_file(folder), Cell),
        *(_hash(file, TRAININGS[stage]) for stage in Stage for file in paths.training_records(folder, stage)),
        *(
            _hash(file, FinalRun)
            for aside in paths.aside_dirs(folder)
            for file in paths.training_records(aside, Stage.FINAL)
        ),
        *(_hash(paths.choice_file(place), Choice) for place in (*looks, folder)),
        *(_hash(paths.seal_file(place), Seal) for place in (*looks, folder)),
        _hash(paths.failure_file(folder), CellFailure),
    ]


def _hash(file: Path, kind: type[Record]) -> str:
    """The hash that a record carries; that of its file where there is none, and nothing for no file."""
    if not file.exists():
        return ""
    try:
        record = records.read(file, kind)
    except Refusal:
        return fingerprint.of_file(file)
    return record.reason if isinstance(record, CellFailure) else str(getattr(record, "hash", ""))
