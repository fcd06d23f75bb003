"""Shows the progress of a sweep from its ledger: a bar on a terminal, lines in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from mmbench.store import ledger
from mmbench.store.schema import CellName, LedgerRow, Stage, Unit


class Progress:
    """Follows the ledger of a sweep.

    Args:
        sweep_dir: folder of the sweep.
        planned: cell by cell key.
        trainings: number of trainings by the key of their cell. Final runs of another choice than before come on top,
            and what a later command raises while this one runs.
        out: where to write; standard output by default.
        interval: seconds between two reads of the ledger.
        has_record: whether a ledger row of an earlier start still has its record, because a cell can be deleted.
        line_every: seconds between two lines if the output is no terminal; a finished cell always gets a line.
    """

    def __init__(
        self,
        sweep_dir: Path,
        planned: Mapping[str, CellName],
        trainings: Mapping[str, int],
        out: TextIO | None = None,
        interval: float = 1.0,
        line_every: float = 15.0,
        has_record: Callable[[str, Unit], bool] = lambda key, unit: True,
    ) -> None:
        self.sweep_dir = sweep_dir
        self.planned = planned
        self.console = Console(file=out or sys.stdout, highlight=False, markup=False, soft_wrap=True)
        text = TextColumn("{task.description}", markup=False)
        self.bar = Bar(
            BarColumn(20), TimeElapsedColumn(), text, console=self.console, disable=not self.console.is_terminal
        )
        self.task = self.bar.add_task("", total=None)
        self.interval = interval
        self.line_every = line_every
        self.has_record = has_record
        self.ledger = ledger.Reader(sweep_dir)
        self.done: dict[str, dict[Unit, str]] = {key: {} for key in planned}
        self.skipped: dict[str, int] = dict.fromkeys(planned, 0)
        self.best: dict[str, float] = {}
        self.peak_bytes = 0
        self.began = self.last_line = 0.0
        self.before = 0
        self.sizes = dict(trainings)
        self.again: dict[str, int] = dict.fromkeys(planned, 0)

    def start(self, finished: Sequence[str]) -> None:
        """Read the existing rows of the ledger and print how many trainings are left.

        Args:
            finished: keys of the cells that are complete.
        """
        self.began = time.monotonic()
        for _ in self._read(self.has_record):
            pass
        for key in finished:
            self.skipped[key] = self.sizes[key] - len(self.done[key])
        self.before = self.n_done
        left = self.total - self.before
        self._print(
            f"{len(self.planned)} cells, {self.total} trainings planned; {self.before} done before, {left} to go"
        )
        self.bar.start()

    def update(self) -> None:
        """Show the trainings that ended since the last call."""
        for row in self._read():
            line = self.line(row)
            self.bar.update(self.task, completed=self.n_done, total=self.total, description=line)
            whole = self._n_done(row.cell_key) >= self.sizes[row.cell_key]
            quiet = self.console.is_terminal or time.monotonic() - self.last_line < self.line_every
            if whole or not quiet:
                self._print(line)

    def stop(self) -> None:
        """Show the last trainings and leave the terminal as it was."""
        self.update()
        self.bar.stop()

    @property
    def total(self) -> int:
        """Trainings that are planned so far."""
        return sum(self.sizes.values())

    @property
    def n_done(self) -> int:
        """Trainings that are done."""
        return sum(map(self._n_done, self.planned))

    def _n_done(self, key: str) -> int:
        return len(self.done[key]) + self.again[key] + self.skipped[key]

    def line(self, row: LedgerRow) -> str:
        """One line with the progress of the sweep, the time left and the score of the last training."""
        key = row.cell_key
        cells = sum(self._n_done(k) >= trainings for k, trainings in self.sizes.items())
        what = {Stage.TRIAL: "trial", Stage.PROPOSAL: "proposal", Stage.FINAL: "final seed"}[row.stage]
        score = "failed" if row.score is None else f"{row.score:.4f}"
        best = f"best {self.best[key]:.4f}" if key in self.best else "no score yet"
        return (
            f"[{cells}/{len(self.planned)} cells, {self.n_done}/{self.total} trainings, {self.time_left()} left] "
            f"{self.planned[key]} {what} {row.index}: {score} ({best})"
        )

    def time_left(self) -> str:
        """Time left at the pace so far, as text."""
        ran = self.n_done - self.before
        if not ran:
            return "unknown time"
        seconds = (time.monotonic() - self.began) / ran * (self.total - self.n_done)
        if seconds < 90:
            return f"{seconds:.0f} s"
        return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"

    def _read(self, has_record: Callable[[str, Unit], bool] | None = None) -> Iterator[LedgerRow]:
        """Yield the rows added since the last read; each is counted before it is yielded."""
        for row in self.ledger.new():
            key = row.cell_key
            known = self.done.get(key, {}).get(row.unit)
            if key not in self.done or known == row.configuration_hash:
                continue
            if has_record is not None and not has_record(key, row.unit):
                continue
            if has_record is None and known is not None:  # the final run of another choice, after trials were raised
                self.again[key] += 1
            self.done[key][row.unit] = row.configuration_hash
            self.peak_bytes = max(self.peak_bytes, int(2**20 * (row.cost.peak_rss_mb or 0.0)))
            self.sizes[key] = max(self.sizes[key], self._n_done(key))
            if row.score is not None and row.stage != Stage.FINAL:
                self.best[key] = max(self.best.get(key, row.score), row.score)
            yield row

    def _print(self, line: str) -> None:
        self.last_line = time.monotonic()
        self.console.print(line)
        self.console.file.flush()
