"""What the end of a worker says about the training it held.

A crash speaks against the training: a fault of its code, more memory than there is, or an end with exit code 0, which
no worker comes to while it holds one. Any other signal was sent by somebody who wanted the worker gone, for reasons
that have nothing to do with the training.
"""

from __future__ import annotations

import signal
import time
from pathlib import Path

from mmbench.scheduling import memory
from mmbench.store import crashes
from mmbench.training.control_groups import groups

#: Signals that a process brings on itself.
FAULTS = (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS)
#: Seconds that a process with much memory may take to end after the kernel has counted its kill.
ENDING = 10.0


class Exits:
    """Notes the crashes among the worker processes of this machine that ended.

    Args:
        sweep_dir: folder of the sweep.
    """

    def __init__(self, sweep_dir: Path) -> None:
        self.sweep_dir = sweep_dir
        self._oom_kills = oom_kills()
        self._last_rise = -ENDING

    def look(self) -> None:
        """Look whether the kernel killed for memory; to be called every few seconds, and before :meth:`note`."""
        kills = oom_kills()
        if kills is not None and self._oom_kills is not None and kills > self._oom_kills:
            self._last_rise = time.monotonic()
        self._oom_kills = kills

    def note(self, code: int, training: str) -> None:
        """Note the end of a process if it was a crash.

        Args:
            code: its exit code, negative for a signal.
            training: name of the lease it held; empty for none.
        """
        if not training:
            return
        if -code in FAULTS:
            crashes.note(self.sweep_dir, training, signal.Signals(-code).name)
        elif code == 0:
            crashes.note(self.sweep_dir, training, "exit code 0")
        elif -code == signal.SIGKILL and time.monotonic() - self._last_rise < ENDING:
            crashes.note(self.sweep_dir, training, "SIGKILL for want of memory (oom_kill of its cgroup rose)")


def oom_kills(root: Path = Path("/")) -> int | None:
    """Processes of this process's cgroup that the kernel killed for memory; None where it does not count them.

    Args:
        root: where ``proc`` and ``sys`` are mounted.
    """
    for group in groups("memory", root):
        try:
            counts = dict(row.split() for row in group.text(memory.VERSIONS[group.version].kills).splitlines())
            return int(counts["oom_kill"])
        except (KeyError, ValueError):
            continue
    return None
