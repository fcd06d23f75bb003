"""Shows the progress of a sweep from its ledger: a bar on a terminal, lines in a log."""

from __future__ import annotations

import errno
import os
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from mmbench.messages import Message, Template, Translator, duration
from mmbench.store import ledger
from mmbench.store.schema import CellName, LedgerRow, Stage, Unit

#: What a training is called.
STAGES = {
    Stage.TRIAL: Template("trial {number}"),
    Stage.PROPOSAL: Template("proposal {number}"),
    Stage.FINAL: Template("final seed {number}"),
}
#: Seconds that stand for those of a training that nobody timed, so that one among others counts for nothing.
UNTIMED = 1e-9


class _Console(Console):
    """A console whose reader may go away; rich would end the process then, with the code of a cell that failed."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


class _Pace:
    """Trainings that are left, and the seconds that they take by what those that ended took.

    A kind is data set, model and condition. Sums are kept by data set and model, for a sum over all kinds at every row
    would grow with the square of the sweep.
    """

    def __init__(self) -> None:
        self.planned: Counter[tuple[str, ...]] = Counter()
        # Trainings that ended, and what they took, by kind and by data set and model.
        self.ended: Counter[tuple[str, ...]] = Counter()
        self.seconds: defaultdict[tuple[str, ...], float] = defaultdict(float)
        # By data set and model: seconds left of kinds that were timed, and trainings left of the others.
        self.timed: defaultdict[tuple[str, ...], float] = defaultdict(float)
        self.untimed: Counter[tuple[str, ...]] = Counter()

    def plan(self, kind: tuple[str, ...], trainings: int) -> None:
        """Add trainings that are left, or take them out."""
        self._sum(kind, -1)
        self.planned[kind] += trainings
        self._sum(kind, 1)

    def time(self, kind: tuple[str, ...], seconds: float) -> None:
        """Take note of what a training took."""
        self._sum(kind, -1)
        for near in (kind, kind[:2]):
            self.ended[near] += 1
            self.seconds[near] += seconds
        self._sum(kind, 1)

    def left(self) -> tuple[float, int]:
        """Seconds left, and how many trainings they leave out because none of their data set and model has ended."""
        unknown = {model: n for model, n in self.untimed.items() if not self.ended[model]}
        others = sum(n * self._each(model) for model, n in self.untimed.items() if model not in unknown)
        return max(sum(self.timed.values()) + others, 0.0), sum(unknown.values())

    def _sum(self, kind: tuple[str, ...], sign: int) -> None:
        if self.ended[kind]:
            self.timed[kind[:2]] += sign * self.planned[kind] * self._each(kind)
        else:
            self.untimed[kind[:2]] += sign * self.planned[kind]

    def _each(self, kind: tuple[str, ...]) -> float:
        return self.seconds[kind] / self.ended[kind]


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
        has_failed: whether a cell is over without all of its trainings; asked whenever a line is due.
        data: name of the data set by what cells call it with its split seed, its fold and the like; where one is
            missing, what cells call it.
        translator: language of what is shown; English by default.
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
        has_failed: Callable[[str], bool] = lambda key: False,
        data: Mapping[str, str] | None = None,
        translator: Translator | None = None,
    ) -> None:
        self.planned = planned
        self.console = _Console(file=out or sys.stdout, highlight=False, markup=False, soft_wrap=True)
        text = TextColumn("{task.description}", markup=False)
        self.bar = Bar(
            BarColumn(20), TimeElapsedColumn(), text, console=self.console, disable=not self.console.is_terminal
        )
        self.task = self.bar.add_task("", total=None)
        self.say = translator or Translator()
        self.interval = interval
        self.line_every = line_every
        self.has_record, self.has_failed = has_record, has_failed
        self.ledger = ledger.Reader(sweep_dir)
        self.done: dict[str, dict[Unit, str]] = {key: {} for key in planned}
        self.skipped: dict[str, int] = dict.fromkeys(planned, 0)
        self.best: dict[str, float] = {}
        self.peak_bytes = 0
        self.began = self.last_line = self.last_asked = 0.0
        self.before = 0
        # Cells whose trainings take about as long: of one data set, model and condition, whatever the split.
        self.kinds = {key: ((data or {}).get(cell.dataset, cell.dataset), *cell[1:]) for key, cell in planned.items()}
        self.pace = _Pace()
        self.seconds_since = 0.0
        self.sizes = dict(trainings)
        self.again: dict[str, int] = dict.fromkeys(planned, 0)
        # Counted as rows come, for a sum over all cells at every row would grow with the square of the sweep.
        self.n_done = self.total = self.n_whole = 0
        for key in planned:
            self._tally(key, 1)

    def start(self, finished: Sequence[str]) -> None:
        """Read the existing rows of the ledger and print how many trainings are left.

        Args:
            finished: keys of the cells that are complete.
        """
        self.began = time.monotonic()
        for _ in self._read(self.has_record):
            pass
        self.seconds_since = 0.0
        for key in finished:
            self._tally(key, -1)
            self.skipped[key] = self.sizes[key] - len(self.done[key])
            self._tally(key, 1)
        self.before = self.n_done
        left = self.total - self.before
        self._print(
            self.say(
                Message(
                    "{cells} cells, {n} trainings planned; {before} done before, {left} to go",
                    cells=len(self.planned),
                    n=self.total,
                    before=self.before,
                    left=left,
                )
            )
        )
        self.bar.start()

    def update(self) -> None:
        """Show the trainings that ended since the last call."""
        if time.monotonic() - self.last_asked >= self.line_every:  # it looks at a file for every cell
            self.last_asked = time.monotonic()
            for key in filter(self.has_failed, self.planned):
                self._end(key)
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

    def _tally(self, key: str, sign: int) -> None:
        """Take a cell out of the counts of trainings done, trainings planned and whole cells, or add it to them."""
        done, size = self._n_done(key), self.sizes[key]
        self.n_done += sign * done
        self.total += sign * size
        self.n_whole += sign * (done >= size)
        self.pace.plan(self.kinds[key], sign * (size - done))

    def _end(self, key: str) -> None:
        """Plan no more trainings of a cell than have ended."""
        self._tally(key, -1)
        self.sizes[key] = self._n_done(key)
        self._tally(key, 1)

    def _n_done(self, key: str) -> int:
        return len(self.done[key]) + self.again[key] + self.skipped[key]

    def line(self, row: LedgerRow) -> str:
        """One line with the progress of the sweep, the time left and the score of the last training."""
        key = row.cell_key
        score = Message("failed") if row.score is None else f"{row.score:.4f}"
        best = Message("best {score}", score=f"{self.best[key]:.4f}") if key in self.best else Message("no score yet")
        return self.say(
            Message(
                "[{cells} cells, {trainings} trainings, {time} left] {cell} {training}: {score} ({best})",
                cells=f"{self.n_whole}/{len(self.planned)}",
                trainings=f"{self.n_done}/{self.total}",
                time=self.time_left(),
                cell=self.planned[key],
                training=Message(STAGES[row.stage], number=row.index),
                score=score,
                best=best,
            )
        )

    def time_left(self) -> Message:
        """Time left, as text: each training takes what those of its kind took so far, as many at a time as so far.

        Where none of its kind has ended, it takes what others of its data set and model took. What a model takes of
        which no training has ended is not known, and comes on top. Nothing is known before a training has ended that
        was timed: one that is only listed again tells no pace.
        """
        seconds, untimed = self.pace.left()
        left = self.total - self.n_done
        if not self.seconds_since or (left and left == untimed):
            return Message("unknown time")
        time_left = duration(seconds / self.seconds_since * (time.monotonic() - self.began))
        return Message("more than {time}", time=time_left) if untimed else time_left

    def _read(self, has_record: Callable[[str, Unit], bool] | None = None) -> Iterator[LedgerRow]:
        """Yield the rows added since the last read; each is counted before it is yielded."""
        for row in self.ledger.new():
            key = row.cell_key
            known = self.done.get(key, {}).get(row.unit)
            if key not in self.done or known == row.configuration_hash:
                continue
            if has_record is not None and not has_record(key, row.unit):
                continue
            self._tally(key, -1)
            if has_record is None and known is not None:  # the final run of another choice, after trials were raised
                self.again[key] += 1
            self.done[key][row.unit] = row.configuration_hash
            self.pace.time(self.kinds[key], row.cost.spent or UNTIMED)
            self.seconds_since += row.cost.spent or 0.0
            self.peak_bytes = max(self.peak_bytes, int(2**20 * (row.cost.peak_rss_mb or 0.0)))
            self.sizes[key] = max(self.sizes[key], self._n_done(key))
            self._tally(key, 1)
            if row.score is not None and row.stage != Stage.FINAL:
                self.best[key] = max(self.best.get(key, row.score), row.score)
            yield row

    def _print(self, line: str) -> None:
        self.last_line = time.monotonic()
        self.console.print(line)
        self.console.file.flush()
