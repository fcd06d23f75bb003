"""Work of an audit on several processes, and how far it is."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

import torch

from mmbench.messages import Message, Refusal, duration
from mmbench.scheduling import memory, pinned
from mmbench.scheduling.pool import UNMEASURED
from mmbench.store import ledger
from mmbench.training import allocation
from mmbench.training.settings import cores_here

T = TypeVar("T")
R = TypeVar("R")
Say = Callable[[Message], None]
#: Seconds between two lines about how far an audit is.
LINE_EVERY = 60.0


class Pace:
    """Tells how much of some work is done and how long the rest takes at that pace.

    Args:
        say: is told.
        sizes: number of trainings of each piece of work.
    """

    def __init__(self, say: Say, sizes: Sequence[int]) -> None:
        self.say, self.sizes = say, sizes
        self.done, self.before, self.began = 0, 0, time.monotonic()
        self.last_line = self.began

    def __call__(self, piece: int, *, before: bool) -> None:
        """Take note of a piece that is done, here or, in no time, ``before``."""
        self.done += self.sizes[piece]
        self.before += self.sizes[piece] * before
        now, total = time.monotonic(), sum(self.sizes)
        if self.done in (total, self.before) or now - self.last_line < LINE_EVERY:
            return
        self.last_line = now
        left = duration((now - self.began) / (self.done - self.before) * (total - self.done))
        self.say(Message("[{done}/{total} trainings, {time} left]", done=self.done, total=total, time=left))


def spread(work: Callable[[T], R], over: Sequence[T], workers: int, ended: Callable[[int, R], None]) -> list[R]:
    """The results of some work on several processes, in order.

    The processes do not hear Ctrl-C, which is for this one to handle, and end at once however this one ends.

    Args:
        work: what is done with each piece.
        over: the pieces.
        workers: number of processes; with one, all is done in this one.
        ended: called with the place of each piece that has been done, and its result.

    Raises:
        ValueError: if a process was killed.
    """
    workers = min(workers, len(over))
    results: dict[int, R] = {}
    if workers < 2:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # as the sweep was trained: sums are then added in the same order
        try:
            for place, one in enumerate(over):
                results[place] = work(one)
                ended(place, results[place])
            return list(results.values())
        finally:
            torch.set_num_threads(threads)
    try:
        with ProcessPoolExecutor(workers, get_context("spawn"), _begin) as pool:
            try:
                with pinned.deaf([signal.SIGINT]):
                    # By hand, for map cancels what is left, and a process that ends then breaks what watches over it.
                    futures = {pool.submit(work, one): place for place, one in enumerate(over)}
                for future in as_completed(futures):
                    place = futures[future]
                    results[place] = future.result()
                    ended(place, results[place])
                return [results[place] for place in range(len(over))]
            except BaseException:
                for process in pool._processes.values():  # leaving waits for what is under way, hours of training
                    process.kill()
                raise
    except BrokenProcessPool as error:  # which says nothing of the records
        raise Refusal(
            "one of the {n} processes of the audit was killed, as the system does for want of memory; name fewer with "
            "--workers",
            n=workers,
        ) from error


def workers_here(sweep_dir: Path) -> int:
    """Processes for an audit of a sweep: one for every processor, as far as the free memory goes.

    Each of them is reckoned with the most that a training of the sweep has needed, as the ledger has it.
    """
    each = max((2**20 * (row.cost.peak_rss_mb or 0.0) for row in ledger.read(sweep_dir)), default=0.0) or UNMEASURED
    left, cores = memory.available(), cores_here()
    return cores if left is None else int(max(1, min(cores, left // each)))


def _begin() -> None:
    """As a worker of a sweep begins."""
    pinned.end_with_parent()
    torch.set_num_threads(1)
    allocation.keep_freed_memory()
