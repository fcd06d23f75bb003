"""Leases: who runs which training, so that any number of workers on any number of machines share a sweep.

A lease is a claim that dies with its owner. The ledger says what is finished; leases only keep two workers from doing
the same training at the same time, so losing one costs a repetition and never a result. A worker whose lease was taken
over while it was silent learns of it before it writes, see :func:`holding`.
"""

from __future__ import annotations

import contextlib
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from mmbench import paths
from mmbench.messages import Refusal
from mmbench.store.leases.files import FileLeases
from mmbench.store.leases.owner import Owner, is_stopped, process_start
from mmbench.store.leases.postgres import PostgresLeases

__all__ = [
    "BEAT",
    "FileLeases",
    "Hold",
    "LeaseLost",
    "Leases",
    "Owner",
    "PostgresLeases",
    "holding",
    "is_stopped",
    "keeping",
    "make_leases",
    "present",
    "process_start",
]

#: Seconds between two signs of life, at most; under a short timeout there are four before it ends.
BEAT = 5.0


class LeaseLost(Exception):
    """Another worker took the lease over, because this one was silent for too long."""


class Leases(Protocol):
    """A lease server."""

    timeout: float

    def claim(self, name: str) -> bool:
        """Take a lease if it is free, or if its owner is gone or silent."""

    def beat(self, name: str) -> bool:
        """Give a sign of life for a lease that is held; return whether it still is."""

    def release(self, name: str) -> None:
        """Give a lease back."""

    def living(self) -> list[str]:
        """Names of all leases that somebody holds."""


#: Keeps a claimed lease, see :func:`keeping`.
Hold = Callable[[str], contextlib.AbstractContextManager[Callable[[], None]]]


@contextlib.contextmanager
def keeping(leases: Leases) -> Iterator[Hold]:
    """Give signs of life for claimed leases in one background thread, however many are held one after the other.

    Yields:
        A function that keeps a lease as :func:`holding` does.
    """
    held: set[str] = set()
    ended = threading.Event()

    def keep() -> None:
        while not ended.wait(min(BEAT, leases.timeout / 4)):
            for name in tuple(held):  # one that is given back meanwhile has no owner, and its beat does nothing
                with contextlib.suppress(OSError):  # a full disk must not end the training that is nearly done
                    leases.beat(name)

    @contextlib.contextmanager
    def hold(name: str) -> Iterator[Callable[[], None]]:
        def confirm() -> None:
            if not leases.beat(name):
                raise LeaseLost(name)

        held.add(name)
        try:
            yield confirm
        finally:
            held.discard(name)
            leases.release(name)

    thread = threading.Thread(target=keep, name="signs of life", daemon=True)
    thread.start()
    try:
        yield hold
    finally:
        ended.set()
        thread.join()


@contextlib.contextmanager
def holding(leases: Leases, name: str) -> Iterator[Callable[[], None]]:
    """Keep a claimed lease alive in a background thread and give it back at the end, whatever the end is.

    Yields:
        A function to call before a result is put in its place; it raises :class:`LeaseLost` if the lease is lost.
    """
    with keeping(leases) as hold, hold(name) as confirm:
        yield confirm


@contextlib.contextmanager
def present(leases: Leases) -> Iterator[None]:
    """Show that a command is at work on a sweep, also while none of its workers holds a training."""
    name = f"command-{uuid.uuid4().hex}"
    leases.claim(name)
    with holding(leases, name):
        yield


def make_leases(storage: str, sweep_dir: Path, timeout: float) -> Leases:
    """The lease server that ``study.storage`` names.

    Raises:
        ValueError: for an unknown storage.
    """
    if storage == "files":
        return FileLeases(paths.lease_dir(sweep_dir), timeout)
    if storage.startswith("postgresql"):
        return PostgresLeases(storage, str(sweep_dir.name), timeout)
    raise Refusal(
        "study.storage={storage} is unknown; write files or postgresql+psycopg://user@host/database", storage=storage
    )
