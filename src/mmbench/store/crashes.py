"""Crashes of workers, by the training that each of them held.

The pool that sees a worker end notes it (:mod:`mmbench.scheduling.exits`); whoever takes the training next reads it.
The notes lie in the folder of the sweep whatever keeps the leases.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mmbench import paths
from mmbench.store.schema import SHORT_OF_MEMORY

#: A training that crashed so many workers counts as failed instead of crashing workers for ever; so does a cell whose
#: ranking of the test split did.
MAX_CRASHES = 3


#: Begins the reason of a training or a cell that was given up.
CRASHED = "its worker crashed "
#: Begins the reason of a failure that another machine, or the same one an hour later, need not have.
OF_THE_MACHINE = (SHORT_OF_MEMORY, CRASHED)


def why(crashed: Sequence[str]) -> str:
    """The reason of a training or a cell that was given up, from those of its crashes."""
    return f"{CRASHED}{len(crashed)} times: {', '.join(crashed)}"


def note(sweep_dir: Path, training: str, reason: str) -> None:
    """Add a crash.

    Args:
        sweep_dir: folder of the sweep.
        training: name of the lease that the worker held.
        reason: one line.
    """
    file = paths.crash_file(sweep_dir, training)
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a", encoding="utf-8") as lines:
        lines.write(f"{reason}\n")


def read(sweep_dir: Path, training: str) -> list[str]:
    """The reasons of all crashes in a training; what a power cut left of a line speaks against no training."""
    try:
        lines = paths.crash_file(sweep_dir, training).read_text(encoding="utf-8", errors="replace").split("\n")
    except FileNotFoundError:
        return []
    return [line for line in lines if line and line.isascii() and line.isprintable()]


def forget(sweep_dir: Path, cell: str) -> None:
    """Remove the crashes of all trainings of a cell, whose leases begin with its name."""
    file = paths.crash_file(sweep_dir, f"{cell}.*")
    for found in file.parent.glob(file.name):
        found.unlink(missing_ok=True)
