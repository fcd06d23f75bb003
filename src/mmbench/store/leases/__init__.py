"""Leases: who runs which training, so that any number of workers on any number of machines share a sweep.

A lease is a claim that dies with its owner. The ledger says what is finished; leases only keep two workers from doing
the same training at the same time, so losing one costs a repetition and never a result.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from mmbench import paths
from mmbench.messages import Refusal
from mmbench.store.leases.files import FileLeases
from mmbench.store.leases.owner import Owner, process_start
from mmbench.store.leases.postgres import PostgresLeases

__all__ = [
    "BEAT",
    "MAX_DEATHS",
    "FileLeases",
    "Leases",
    "Owner",
    "PostgresLeases",
    "holding",
    "make_leases",
    "process_start",
]

#: Seconds between two signs of life.
BEAT = 5.0
#: A training whose worker died this often is counted as failed instead of killing workers for ever.
MAX_DEATHS = 5


class Leases(Protocol):
    """A lease server."""

    def claim(self, name: str) -> bool:
        """Take a lease if it is free or its owner is dead."""

    def beat(self, name: str) -> None:
        """Give a sign of life for a lease that is held."""

    def release(self, name: str) -> None:
        """Give a lease back."""

    def deaths(self, name: str) -> int:
        """How many owners of this lease died holding it."""


@contextlib.contextmanager
def holding(leases: Leases, name: str) -> Iterator[None]:
    """Keep a claimed lease alive in a background thread and give it back at the end, whatever the end is."""
    ended = threading.Event()

    def keep() -> None:
        while not ended.wait(BEAT):
            with contextlib.suppress(OSError):  # a full disk must not end the training that is nearly done
                leases.beat(name)

    thread = threading.Thread(target=keep, name=f"lease {name}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        leases.release(name)


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
