"""Who holds a lease."""

from __future__ import annotations

import contextlib
import os
import socket
from dataclasses import dataclass
from pathlib import Path

#: Start of a process that exists and of which this one may see no more.
UNKNOWN = "unknown"


def process_start(pid: int) -> str | None:
    """When a process started, as the kernel counts; None if there is no such process, or only its exit code is left.

    With it a process number that was given to another program does not pass for the old owner.
    """
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return None
    except PermissionError:
        pass  # a process of another user
    state, start = _stat(pid)
    return None if state == "Z" else start


def is_stopped(pid: int) -> bool:
    """Whether a process is stopped by SIGSTOP or a debugger and will not go on by itself."""
    return _stat(pid)[0] in ("T", "t")


def _stat(pid: int) -> tuple[str, str]:
    """State and start of a process; :data:`UNKNOWN` where it cannot be seen."""
    mine = pid == os.getpid()
    try:
        # A container may see the processes of another namespace in /proc, under other numbers than its own.
        if not mine and os.readlink("/proc/self") != str(os.getpid()):
            return UNKNOWN, UNKNOWN
        stat = Path(f"/proc/{'self' if mine else pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return UNKNOWN, UNKNOWN
    fields = stat.rpartition(")")[2].split()
    return fields[0], fields[19]


@dataclass(frozen=True)
class Owner:
    """A process that holds leases.

    Args:
        host: name of its machine; containers may share one.
        pid: its number in its namespace.
        started: when it started, as the kernel counts, see :func:`process_start`.
        boot: the kernel's identity since its last start; None where it has none.
        namespace: within which ``pid`` is unique; None where there are no such namespaces.
    """

    host: str
    pid: int
    started: str | None
    boot: str | None = None
    namespace: str | None = None

    @staticmethod
    def me() -> Owner:
        """This process."""
        boot = namespace = None
        with contextlib.suppress(OSError):
            boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
            namespace = os.readlink("/proc/self/ns/pid")
        pid = os.getpid()
        return Owner(socket.gethostname(), pid, process_start(pid), boot, namespace)

    def is_gone(self) -> bool:
        """Whether the process has certainly ended: this one would see it, and does not.

        False says nothing about a process of another machine or container: only its silence can tell.
        """
        here = Owner.me()
        if (self.host, self.boot, self.namespace) != (here.host, here.boot, here.namespace):
            return False
        started = process_start(self.pid)
        return started is None or (UNKNOWN not in (started, self.started) and started != self.started)
