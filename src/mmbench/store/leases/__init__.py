"""Leases: who runs which training, so that any number of workers on any number of machines share a sweep.

A lease is a claim that dies with its owner. The ledger says what is finished; leases only keep two workers from doing
the same training at the same time, so losing one costs a repetition and never a result. A worker whose lease was taken
over while it was silent learns of it before it writes, see :func:`holding`.
"""

from __future__ import annotations

import contextlib
import hashlib
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from mmbench import paths
from mmbench.messages import Refusal
from mmbench.store.files import locked, write_text
from mmbench.store.leases.files import FileLeases
from mmbench.store.leases.owner import Owner, is_stopped, process_start
from mmbench.store.leases.postgres import PostgresLeases, check_address

__all__ = [
    "BEAT",
    "FileLeases",
    "Hold",
    "LeaseLost",
    "Leases",
    "Owner",
    "PostgresLeases",
    "at_work",
    "check_storage",
    "holding",
    "identity",
    "is_stopped",
    "keeping",
    "make_leases",
    "present",
    "process_start",
]

#: Seconds between two signs of life, at most; under a short timeout there are four before it ends.
BEAT = 5.0
#: The storage that needs no server.
FILES = "files"
#: What the names of leases begin with by which commands show that they are at work.
COMMAND = "command"
#: Of the identity of a sweep.
LETTERS = 32


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

    def close(self) -> None:
        """Let go of what is open; no lease is asked for after it."""


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
def present(storage: str, sweep_dir: Path, timeout: float) -> Iterator[None]:
    """Show that a command is at work on a sweep, also while none of its workers holds a training.

    The sign lies in the folder of the sweep wherever the leases are, so that a command with another storage sees it:
    the two would share no lease, and do every training twice.

    Args:
        storage: where the leases of the command are, as in ``study.storage``.
        sweep_dir: folder of the sweep.
        timeout: seconds of silence after which the command counts as gone.

    Raises:
        ValueError: if a command with another storage is at work on the sweep.
    """
    signs = FileLeases(paths.lease_dir(sweep_dir), timeout)
    mine = f"{COMMAND}-{hashlib.sha256(storage.encode()).hexdigest()[:16]}-"
    name = f"{mine}{uuid.uuid4().hex}"
    with locked(paths.lock_file(sweep_dir, "commands")):
        # Signs of earlier versions do not say which storage it is, and have one part less.
        commands = [sign for sign in signs.living() if sign.startswith(f"{COMMAND}-") and sign.count("-") == 2]
        if not all(sign.startswith(mine) for sign in commands):
            raise Refusal(
                "study.storage={storage}: another command is at work on this sweep and has another study.storage, so "
                "both would do the same trainings; give this one the same, or wait until the other has ended",
                storage=storage,
            )
        signs.claim(name)
    with holding(signs, name):
        yield


def at_work(leases: Leases, sweep_dir: Path) -> bool:
    """Whether a command is at work on a sweep, or somebody holds one of its trainings."""
    return bool(leases.living() or FileLeases(paths.lease_dir(sweep_dir), leases.timeout).living())


def check_storage(storage: str) -> None:
    """Refuse a storage that is unknown or cannot be used here, before anything is written.

    Raises:
        ValueError: naming what is accepted, the password or what is missing.
    """
    if storage == FILES:
        return
    if not storage.startswith("postgresql"):
        raise Refusal(
            "study.storage={storage} is unknown; write files or postgresql+psycopg://user@host/database",
            storage=storage,
        )
    check_address(storage)


def make_leases(storage: str, sweep_dir: Path, timeout: float) -> Leases:
    """The lease server that ``study.storage`` names.

    Raises:
        ValueError: as :func:`check_storage`, and for a server that cannot be reached.
        OSError: where leases lie elsewhere and the folder of the sweep is not there.
    """
    check_storage(storage)
    if storage == FILES:
        return FileLeases(paths.lease_dir(sweep_dir), timeout)
    return PostgresLeases(storage, identity(sweep_dir), timeout)


def identity(sweep_dir: Path) -> str:
    """What the sweep is called among others; its name is not enough, and machines may have its folder at other places.

    Whoever needs it first writes it: the command that opens the sweep, also one that an earlier version began.

    Raises:
        FileNotFoundError: if there is no folder of the sweep.
    """
    file = paths.identity_file(sweep_dir)
    sweep_dir.stat()  # a worker must not make the folder of a sweep again that was removed
    with locked(paths.lock_file(sweep_dir, "identity")):
        if not file.exists() or not file.stat().st_size:
            write_text(file, uuid.uuid4().hex)
        with file.open(encoding="ascii", errors="replace") as opened:
            return opened.read(LETTERS)
