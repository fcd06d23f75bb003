"""What the scheduler itself costs, per training: ``python -m tests.benchmarks.scheduler [CELLS ...]``.

One worker goes through whole sweeps of 17 trials and three final runs per cell, with trainings that are drawn and not
trained, as those of :mod:`tests.benchmarks.thousand_cells`. The scheduler is everything but the steps themselves: what
decides which step is next, leases, and opening cells. What trains, writes records and gives memory back belongs to the
steps. Then the progress of the pool is shown the ledger row by row, as if it looked after every training. Processor
seconds; waiting for the disk is left out.
"""

from __future__ import annotations

import contextlib
import functools
import io
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from mmbench.nn.recommender import ClosedForm
from mmbench.scheduling import worker
from mmbench.scheduling.progress import Progress
from mmbench.scheduling.sweep import Sweep
from mmbench.sealing import score_test
from mmbench.store import ledger
from mmbench.store.schema import LedgerRow
from mmbench.training import allocation
from mmbench.tuning import study
from tests.benchmarks.thousand_cells import _drawn, _ranked, planned

#: Numbers of cells that are measured.
CELLS = (100, 300, 1000)


def of_worker(sweep: Sweep) -> tuple[float, int]:
    """Milliseconds per training that a worker spends outside of its steps, and the number of trainings."""
    inside = [0.0]
    run, rng = worker._run, np.random.default_rng(0)

    def timed(cell: worker.OpenCell, *given: Any) -> None:
        began = time.process_time()
        closed = issubclass(models[cell.store.key], ClosedForm)
        with (
            mock.patch.object(study, "fit", functools.partial(_drawn, rng, closed)),
            mock.patch.object(score_test, "stored_rankings", functools.partial(_ranked, rng, cell.split.test, closed)),
        ):
            run(cell, *given)
        inside[0] += time.process_time() - began

    models = {plan.store.key: plan.job.model_class for plan in sweep.planned}
    allocation.settle()  # as a worker does once it has its jobs
    with mock.patch.object(worker, "_run", timed), mock.patch("os.fsync"):
        began = time.process_time()
        worker.work(sweep.waiting)
        outside = time.process_time() - began - inside[0]
    n = sum(1 for _ in ledger.read(sweep.folder))
    return 1e3 * outside / n, n


class OneByOne:
    """A ledger that has one more row at every look."""

    def __init__(self, rows: Sequence[LedgerRow]) -> None:
        self.rows: Iterator[LedgerRow] = iter(rows)

    def new(self) -> list[LedgerRow]:
        """The next row."""
        return [row for row in [next(self.rows, None)] if row is not None]


def of_pool(sweep: Sweep) -> float:
    """Milliseconds per training that the pool spends on following the ledger."""
    rows = list(ledger.read(sweep.folder))
    names = {plan.store.key: plan.task.cell for plan in sweep.planned}
    trainings = {plan.store.key: plan.trainings for plan in sweep.planned}
    shown = Progress(sweep.folder, names, trainings, out=io.StringIO())
    shown.ledger = OneByOne([])  # type: ignore[assignment]
    shown.start(finished=[])
    shown.ledger = OneByOne(rows)  # type: ignore[assignment]
    began = time.process_time()
    for number in range(len(rows)):
        shown.update()
        assert shown.n_done == number + 1
    return 1e3 * (time.process_time() - began) / len(rows)


def main(argv: Sequence[str]) -> None:
    """Measure sweeps of some sizes."""
    for cells in map(int, argv or map(str, CELLS)):
        with tempfile.TemporaryDirectory() as folder:
            with contextlib.redirect_stdout(sys.stderr):
                sweep = planned(Path(folder), cells)
                sweep.open()
                worked, n = of_worker(sweep)
            followed = of_pool(sweep)
        print(
            f"{cells:,} cells, {n:,} trainings: {worked:.2f} ms of a worker, {followed:.3f} ms of the pool", flush=True
        )


if __name__ == "__main__":
    main(sys.argv[1:])
