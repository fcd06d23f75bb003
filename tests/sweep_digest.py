"""A hash over what a sweep found: configurations, scores, choices, test ranks and lists of every cell.

``python -m tests.sweep_digest multirun/NAME`` prints a line per cell and one for the whole sweep. A change of structure
keeps them; seconds, keys and the layout of files are left out.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import pandas as pd

from mmbench import fingerprint, paths
from mmbench.store import records
from mmbench.store.schema import Cell, Choice, Manifest, Stage


def digest_of_cell(folder: Path) -> str:
    """Hash of one cell."""
    if not paths.choice_file(folder).exists():
        return "no choice"
    key = records.read(paths.cell_file(folder), Cell).key
    choice = records.read(paths.choice_file(folder), Choice)
    content: list[object] = [choice.stage.value, choice.slot, choice.configuration, choice.score.hex()]
    for stage in Stage:
        for training in records.read_trainings(folder, stage, key):
            score = None if training.score is None else training.score.hex()
            content.append([stage.value, training.index, training.seed, training.configuration, score])
            for ending in (paths.RANKS, paths.LISTS):
                file = paths.training_file(folder, stage, training.index, ending)
                content.append(_table(file) if file.exists() else None)
    return fingerprint.of_json(content)[:16]


def _table(file: Path) -> str:
    return hashlib.sha256(pd.read_parquet(file).to_json(orient="split").encode()).hexdigest()


def main(sweep_dir: Path) -> None:
    """Print the hashes of a sweep."""
    cells = records.read(paths.manifest_file(sweep_dir), Manifest).cells
    digests = {str(cell.name): digest_of_cell(sweep_dir / cell.folder) for cell in cells}
    for name, digest in sorted(digests.items()):
        print(digest, name)
    print(fingerprint.of_json(digests)[:16], f"all {len(digests)} cells of {sweep_dir.name}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
