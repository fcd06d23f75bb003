"""A process of a pilot that the system kills; nothing heavy is imported, so that it starts at once."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from pathlib import Path
from threading import BrokenBarrierError


def beside(folder: Path, epochs: int, barrier: Barrier, sends: Connection) -> None:
    """One of two waits for the other, which dies without a word, and says so if it waited to the end."""
    try:
        (folder / "first").touch(exist_ok=False)
    except FileExistsError:
        os.kill(os.getpid(), signal.SIGKILL)
    try:
        barrier.wait(60)
    except BrokenBarrierError:
        (folder / "waited in vain").touch()


def alone(jobs: Sequence[str], sends: Connection) -> None:
    """Jobs that come to their own names, but for one that is killed and one that fails."""
    sends.send((f"card of {jobs[0]}", len(jobs)))
    for job in jobs:
        if job == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if job == "failed":
            return
        sends.send(job)
