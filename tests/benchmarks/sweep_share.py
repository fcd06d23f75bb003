"""Share of a sweep's time that is training and ranking: ``python -m tests.benchmarks.sweep_share FOLDER SECONDS``.

FOLDER is a finished sweep, SECONDS its time on the wall. The ledger says of every training how long it took and how
long its set-up; the rest of it is training steps and the ranking of validation. The ranking of the test split is in
no ledger and counts as overhead here, so the share is a lower bound. Without SECONDS the sweep is run first::

    python -m tests.benchmarks.sweep_share              # LightGCN, VBPR: 4 conditions, T=10, 30 epochs, Baby size
    python -m tests.benchmarks.sweep_share --short      # T=2, 3 epochs
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

from mmbench.store import ledger
from mmbench.store.schema import LedgerRow

GOAL = 0.8


def sweep_words(folder: Path, trials: int, epochs: int) -> list[str]:
    """The command line of the sweep."""
    return [
        "-m",
        "model=lightgcn,vbpr",
        "modality=none,text,image,fused",
        "dataset=planted_baby",
        f"budget.trials={trials}",
        "budget.seeds=1",
        "budget.max_steps=1",
        f"budget.least_epochs={epochs}",
        "tracking=none",
        "training.accelerator=cpu",
        f"paths.multirun={folder}",
        "sweep.name=share",
    ]


def shares(rows: Iterable[LedgerRow], wall: float, workers: int) -> dict[str, float]:
    """Parts of the time of all workers, from the rows of a ledger.

    Args:
        rows: one per training.
        wall: time of the sweep on the wall, in seconds.
        workers: processes that worked on it.

    Returns:
        ``training and ranking``, ``set-up``, ``records`` (writing them, hashing the features) and ``rest``: imports,
        reading data, the test split, the report, and waiting for the last training.
    """
    total = wall * workers
    costs = [(row.cost, row.cost.seconds) for row in rows]
    done = [(cost, seconds) for cost, seconds in costs if seconds is not None]
    setup = sum(cost.setup_seconds for cost, _ in done)
    steps = sum(seconds for _, seconds in done) - setup
    written = sum((cost.total_seconds or seconds) - seconds for cost, seconds in done)
    parts = {
        "training and ranking": steps,
        "set-up": setup,
        "records": written,
        "rest": total - steps - setup - written,
    }
    return {name: seconds / total for name, seconds in parts.items()}


def run(trials: int, epochs: int, folder: Path) -> float:
    """Run the sweep in a process of its own and return its time on the wall."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-m", "mmbench", *sweep_words(folder, trials, epochs)], check=True)
    return time.perf_counter() - began


def main() -> None:
    """Run or read the sweep and print the shares."""
    workers = len(os.sched_getaffinity(0))
    arguments = [word for word in sys.argv[1:] if word != "--short"]
    with tempfile.TemporaryDirectory() as made:
        if arguments:
            folder, wall = Path(arguments[0]), float(arguments[1])
        else:
            folder, wall = Path(made) / "share", run(*((2, 3) if "--short" in sys.argv else (10, 30)), Path(made))
        rows = list(ledger.read(folder))
    found = shares(rows, wall, workers)
    mark = "" if found["training and ranking"] >= GOAL else f" (goal: {GOAL:.0%})"
    hourly = 3600 * sum(row.cost.seconds is not None for row in rows) / wall
    print(f"{wall:.0f} s on the wall, {workers} workers, {hourly:.0f} trainings per hour{mark}")
    print("\n".join(f"{name}: {share:.1%}" for name, share in found.items()))


if __name__ == "__main__":
    main()
