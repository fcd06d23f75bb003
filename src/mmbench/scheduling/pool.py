"""A pool of worker processes on this machine."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import connection
from multiprocessing.context import ForkServerProcess
from multiprocessing.sharedctypes import RawArray
from types import FrameType

from mmbench.messages import Message, Translator
from mmbench.scheduling import memory, pinned, worker
from mmbench.scheduling.devices import Layout, listed
from mmbench.scheduling.exits import Exits
from mmbench.scheduling.job import Job
from mmbench.scheduling.progress import Progress
from mmbench.scheduling.signals import heard
from mmbench.store.leases import is_stopped

#: Dead workers are replaced up to this number of times while no training ends.
MAX_REPLACEMENTS = 20
#: A seat is given up once so many workers in a row could not use its GPUs.
MAX_MISSES = 3
#: Bytes that a worker is expected to need until a training of the sweep has ended and told.
UNMEASURED = 4 * 2**30
#: Seconds after the end of the grace period at which a worker that cannot be interrupted is killed.
PATIENCE = 5.0
#: Exit code of a pool whose workers died too often, could use no GPU, or could not be started any more.
EXIT_INCOMPLETE = 3
#: Exit code that multiprocessing gives a worker whose end nobody tells it, because the server of :mod:`pinned` is gone.
UNTOLD = 255


class Pool:
    """Worker processes on this machine, one thread each.

    Workers are forked from a server process. On processors it has imported everything, so they start at once and share
    what was imported; a worker that is pinned to GPUs imports for itself once it is pinned. Unless their number is
    given there are no more than the free memory allows: before the first training has ended one for every
    :data:`UNMEASURED` bytes, and then one for every part as large as the most that a worker has needed.

    Args:
        jobs: unfinished cells.
        layout: how many workers there are, and what each of them sees.
        progress: updated from the ledger while the workers run.
    """

    def __init__(self, jobs: Sequence[Job], layout: Layout, progress: Progress) -> None:
        self.jobs = jobs
        self.layout = layout
        self.progress = progress
        self.processes: list[ForkServerProcess] = []
        self.pins: dict[ForkServerProcess, str] = {}
        self.stopped = 0
        self.finished = False
        self.kill_at = float("inf")
        self.replacements = 0
        self.misses: Counter[str] = Counter()
        self.largest = 0
        self.exits = Exits(jobs[0].sweep_dir)
        self.states: dict[ForkServerProcess, ctypes.Array[ctypes.c_char]] = {}

    def run(self) -> int:
        """Run until the workers have nothing left to start.

        Returns:
            0, the exit code of a worker that could not go on, 128 plus the signal that stopped the sweep, or 3 if
            workers died too often or can use no GPU any more, or if what they are forked from died.
        """
        with self._signals():
            try:
                return self._watch()
            except BaseException:  # an allocation that is taken away, a full disk: no worker may outlive its pool
                self._stop(signal.SIGTERM)
                for process in self.processes:
                    process.join(max(0.0, self.kill_at - time.monotonic()))
                    process.kill()
                raise
            finally:
                self.progress.stop()

    def _watch(self) -> int:
        self._start(self.room())
        while self.processes:
            connection.wait([process.sentinel for process in self.processes], timeout=self.progress.interval)
            done = self.progress.n_done
            self.progress.update()
            self.exits.look()
            if self.progress.n_done > done:
                self.replacements = 0
            dead = [process for process in self.processes if not process.is_alive()]
            for process in dead:
                self.processes.remove(process)
                self._judge(process)
            if not self.stopped and not self.finished and self.replacements <= MAX_REPLACEMENTS:
                self._start(self.room())
            if time.monotonic() > self.kill_at:
                for process in self.processes:
                    process.kill()
        return self.stopped or (0 if self.finished else EXIT_INCOMPLETE)

    def _judge(self, process: ForkServerProcess) -> None:
        """Draw the conclusion from the end of a worker.

        A crash is noted with the training that it held. Once one has seen that every cell is over, what a stopped one
        holds was taken over long ago, so it is ended then.
        """
        code, state = process.exitcode or 0, self.states.pop(process).value.decode(errors="replace")
        devices = self.pins.pop(process)
        over = state == worker.OVER
        self.exits.note(code, "" if over else state)
        say = Translator(self.jobs[0].config.plain["lang"])
        if code == worker.EXIT_REFUSED and not self.stopped:
            print(say(Message("error: {message}", message=state)), file=sys.stderr)
        if code == UNTOLD and not self.stopped:
            code = EXIT_INCOMPLETE
            killed = Message(
                "error: the process that workers are started from was killed, as the system does for want of memory"
            )
            print(say(killed), file=sys.stderr)
        if code == worker.EXIT_NO_GPU:
            self._miss(devices)
            return
        self.misses.pop(devices, None)
        if code == 0 and over:
            self.finished = True
        elif code <= 0 or code == worker.EXIT_STOPPED:  # killed, stopped by somebody else or left: the others go on
            self.replacements += 1
        elif not self.stopped:
            self.stopped = code  # it told its error; the others would fail alike
            self.kill_at = time.monotonic() + PATIENCE
            self._send(signal.SIGALRM)
        for other in self.processes if self.finished else ():
            if other.pid is not None and is_stopped(other.pid):
                other.kill()

    def _miss(self, devices: str) -> None:
        """Count a worker that could not use its GPUs, which says nothing of any training; give up a seat that is lost.

        A card that fails comes back to the next process, or to none before somebody resets it.
        """
        self.misses[devices] += 1
        if self.misses[devices] < MAX_MISSES or self.stopped:
            return
        self.layout = self.layout.without(devices)
        if devices in self.layout.seats:  # others are on it, or yet to try
            return
        if self.layout.seats:
            given_up = Message(
                "GPU {devices}: {n} workers in a row could not use it, so this command goes on without it",
                devices=listed([devices]),
                n=self.misses[devices],
            )
        else:
            given_up = Message(
                "error: GPU {devices}: {n} workers in a row could not use it, and this command has no other",
                devices=listed([devices]),
                n=self.misses[devices],
            )
        print(Translator(self.jobs[0].config.plain["lang"])(given_up), file=sys.stderr, flush=True)

    def room(self) -> int:
        """How many workers may be started now."""
        free = self.layout.size - len(self.processes)
        if self.layout.fixed or free <= 0:
            return free
        left = memory.available()
        if left is None:
            return free
        taken = [memory.resident(process.pid or 0) for process in self.processes]
        self.largest = max([self.largest, *(most for _, most in taken)])
        need = max(self.largest, self.progress.peak_bytes or UNMEASURED)
        promised = sum(max(0, need - now) for now, _ in taken)  # to workers that have not taken it yet
        fit = (left - promised) // need
        return max(min(free, fit), 0 if self.processes else 1)

    def _start(self, number: int) -> None:
        for _ in range(number):
            state = RawArray(ctypes.c_char, worker.STATE_SIZE)
            devices = self.layout.free(list(self.pins.values()))
            process = self._process(devices, state)
            process.start()
            self.states[process] = state
            self.pins[process] = devices
            self.processes.append(process)
            if self.stopped:  # by a signal that came before the process was on the list
                self._send(signal.SIGTERM)

    def _process(self, devices: str, state: ctypes.Array[ctypes.c_char]) -> ForkServerProcess:
        """A worker that sees these devices, not started yet."""
        return pinned.process(self.context, devices, worker.start, self.jobs, shared=(state,))

    def _serve(self) -> None:
        """Start the process that workers are forked from; it imports while the first of them is waited for."""
        self.context = pinned.server((pinned if self.layout.on_devices else worker).__name__)

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Take Ctrl-C and SIGTERM while the pool runs, where that is possible; one that is ignored stays ignored.

        A Ray task runs in another thread than the main one, and Ray stops it.
        """
        if threading.current_thread() is not threading.main_thread():
            self._serve()
            yield
            return
        earlier = {number: signal.getsignal(number) for number in heard()}
        try:
            self._serve()
            for number in earlier:
                signal.signal(number, self._stop)
            yield
        finally:
            for number, handler in earlier.items():
                signal.signal(number, handler)

    def _stop(self, number: int, frame: FrameType | None = None) -> None:
        """Let trainings end within the grace period after SIGTERM, and at once after Ctrl-C or a second signal."""
        wait = number == signal.SIGTERM and not self.stopped
        self.stopped = 128 + number
        grace = self.jobs[0].config.sweep.grace if wait else 0.0
        self.kill_at = time.monotonic() + grace + PATIENCE
        self._send(signal.SIGTERM if wait else signal.SIGALRM)

    def _send(self, number: int) -> None:
        for process in self.processes:
            if process.pid is not None and process.is_alive():
                os.kill(process.pid, number)
                if is_stopped(process.pid):
                    os.kill(process.pid, signal.SIGCONT)
