"""A pool of worker processes on this machine."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from multiprocessing.context import SpawnProcess
from multiprocessing.sharedctypes import RawArray
from types import FrameType

from mmbench.scheduling import worker
from mmbench.scheduling.exits import Exits
from mmbench.scheduling.job import Job
from mmbench.scheduling.progress import Progress
from mmbench.store.leases import is_stopped

#: Dead workers are replaced up to this number of times.
MAX_REPLACEMENTS = 20


class Pool:
    """Worker processes on this machine, one thread each.

    Args:
        jobs: unfinished cells.
        workers: number of processes, None for one per core and process of a training.
        progress: updated from the ledger while the workers run.
    """

    def __init__(self, jobs: Sequence[Job], workers: int | None, progress: Progress) -> None:
        self.jobs = jobs
        self.size = workers or max(1, len(os.sched_getaffinity(0)) // jobs[0].config.plain["training"]["devices"])
        self.progress = progress
        self.processes: list[SpawnProcess] = []
        self.stopped = 0
        self.over = False
        self.exits = Exits(jobs[0].sweep_dir)
        self.states: dict[SpawnProcess, ctypes.Array[ctypes.c_char]] = {}

    def run(self) -> int:
        """Run until the workers have nothing left to start.

        Returns:
            0, the exit code of a worker that could not go on, or 128 plus the signal that stopped the sweep.
        """
        if threading.current_thread() is threading.main_thread():  # a Ray task runs in another thread, and Ray stops it
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, self._stop)
        try:
            return self._run()
        finally:
            self.progress.stop()

    def _run(self) -> int:
        self.processes = [self._start() for _ in range(self.size)]
        replacements = 0
        while self.processes:
            time.sleep(self.progress.interval if all(p.is_alive() for p in self.processes) else 0.0)
            self.progress.update()
            self.exits.look()
            for process in [p for p in self.processes if not p.is_alive()]:
                self.processes.remove(process)
                self._judge(process)
                if self.over and process.exitcode == -signal.SIGKILL:
                    continue
                if process.exitcode is not None and process.exitcode < 0 and not self.stopped:
                    replacements += 1
                    if replacements > MAX_REPLACEMENTS:
                        return 3
                    self.processes.append(self._start())
                elif process.exitcode and not self.stopped:
                    self.stopped = process.exitcode  # it printed its error; the others would fail alike
                    self._terminate()
        return self.stopped

    def _start(self) -> SpawnProcess:
        context = multiprocessing.get_context("spawn")  # forking a process that holds torch threads can hang
        state = RawArray(ctypes.c_char, worker.STATE_SIZE)
        process = context.Process(target=worker.start, args=(self.jobs, os.getpid(), state))
        process.start()
        self.states[process] = state
        return process

    def _judge(self, process: SpawnProcess) -> None:
        """Note a crash with the training, and print once why a worker cannot go on.

        A worker that ends with 0 has found nothing left to do. What a stopped one holds was taken over long ago, so it
        is ended then.
        """
        code, state = process.exitcode or 0, self.states.pop(process).value.decode(errors="replace")
        self.exits.note(code, state)
        if code == worker.EXIT_REFUSED and not self.stopped:
            print(f"error: {state}", file=sys.stderr)
        self.over = self.over or code == 0
        for other in self.processes if self.over else ():
            if other.pid is not None and is_stopped(other.pid):
                other.kill()

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self.stopped = 128 + number
        self._terminate()

    def _terminate(self) -> None:
        for process in self.processes:
            process.terminate()
            if process.pid is not None and is_stopped(process.pid):
                os.kill(process.pid, signal.SIGCONT)
