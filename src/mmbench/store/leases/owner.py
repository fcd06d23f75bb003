"""Who holds a lease."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path


def process_start(pid: int) -> str | None:
    """When a process of this machine started, as the kernel counts; None if there is no such process.

    With it a process number that was given to another program does not pass for the old owner.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        if Path("/proc/self/stat").exists():
            return None
        try:  # without /proc only the existence of the process is known
            os.kill(pid, 0)
        except ProcessLookupError:
            return None
        except PermissionError:
            pass
        return "unknown"
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] == "Z" else fields[19]


@dataclass(frozen=True)
class Owner:
    """A process that holds leases."""

    host: str
    pid: int
    started: str | None

    @staticmethod
    def me() -> Owner:
        """This process."""
        return Owner(socket.gethostname(), os.getpid(), process_start(os.getpid()))

    def is_dead(self) -> bool | None:
        """Whether the process is gone; None if it runs on another machine and only silence can tell."""
        if self.host != socket.gethostname():
            return None
        return process_start(self.pid) != self.started
