"""Leases: who runs which training, so that any number of workers on any number of machines share a sweep.

A lease is a claim that dies with its owner. The ledger says what is finished; leases only keep two workers from doing
the same training at the same time, so losing one costs a repetition and never a result (RULINGS 18).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

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


def process_start(pid: int) -> str | None:
    """When a process of this machine started, as the kernel counts; None if there is no such process.

    With it a process number that was given to another program does not pass for the old owner.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        if Path("/proc/self/stat").exists():
            return None
        try:  # no /proc on this system: only existence can be told
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


@dataclass
class FileLeases:
    """Leases as files made with ``O_EXCL`` in a shared folder.

    Args:
        folder: where the files lie.
        timeout: seconds of silence after which an owner on another machine counts as dead.
    """

    folder: Path
    timeout: float = 120.0
    owner: Owner = field(default_factory=Owner.me)

    def claim(self, name: str) -> bool:
        """Take a lease if it is free or its owner is dead."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return self._take(self._file(name), self._file(name).with_suffix(".deaths"))

    def _take(self, file: Path, deaths: Path | None = None) -> bool:
        """Make ``file`` or take it over from a dead owner; ``deaths`` notes the death.

        Several workers may see the same dead owner, and a slow one may see it when another has long taken over. So who
        takes over holds the grave of exactly that claim, which is a lease itself, and looks again.
        """
        if self._create(file):
            return True
        claim = self._content(file)
        if claim is None or not self._is_dead(file):
            return False
        grave = file.with_name(f"{hashlib.sha256(file.name.encode() + claim).hexdigest()}.dead")
        if not self._take(grave):
            return False
        try:
            if self._content(file) != claim:
                return False
            if deaths is not None:
                with deaths.open("a", encoding="utf-8") as noted:
                    noted.write("x")
            mine = file.with_name(f"{file.name}.{uuid.uuid4().hex}.tmp")
            mine.write_bytes(self._claim())
            os.replace(mine, file)
            return True
        finally:
            grave.unlink(missing_ok=True)

    def beat(self, name: str) -> None:
        """Touch the file."""
        os.utime(self._file(name))

    def release(self, name: str) -> None:
        """Remove the file if it is still ours."""
        file = self._file(name)
        if self._read(file) == self.owner:
            file.unlink(missing_ok=True)

    def deaths(self, name: str) -> int:
        """How many owners of this lease died holding it."""
        try:
            return self._file(name).with_suffix(".deaths").stat().st_size
        except FileNotFoundError:
            return 0

    def _file(self, name: str) -> Path:
        return self.folder / f"{name}.lease"

    def _create(self, file: Path) -> bool:
        try:
            handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        except FileExistsError:
            return False
        try:
            os.write(handle, self._claim())
        finally:
            os.close(handle)
        return True

    def _claim(self) -> bytes:
        return json.dumps(vars(self.owner)).encode()

    def _content(self, file: Path) -> bytes | None:
        try:
            return file.read_bytes()
        except OSError:
            return None

    def _read(self, file: Path) -> Owner | None:
        try:
            return Owner(**json.loads(self._content(file) or b""))
        except (ValueError, TypeError):
            return None  # gone, or its maker has not written it yet

    def _is_dead(self, file: Path) -> bool:
        owner = self._read(file)
        dead = None if owner is None else owner.is_dead()
        if dead is not None:
            return dead
        try:
            return time.time() - file.stat().st_mtime > self.timeout
        except FileNotFoundError:
            return False


@dataclass
class PostgresLeases:
    """Leases as rows of a PostgreSQL table, for many workers or a file system without atomic creation.

    Args:
        url: ``postgresql+psycopg://user:password@host/database``.
        sweep: namespace of the leases.
        timeout: seconds of silence after which an owner counts as dead.

    Raises:
        ValueError: if psycopg is missing or the server cannot be reached.
    """

    url: str
    sweep: str
    timeout: float = 120.0
    owner: Owner = field(default_factory=Owner.me)

    def __post_init__(self) -> None:
        try:
            import psycopg
        except ImportError as error:
            raise ValueError(
                "study.storage names PostgreSQL but psycopg is missing: pip install mmbench[postgres]"
            ) from error
        try:
            self._connection = psycopg.connect(self.url.replace("postgresql+psycopg:", "postgresql:"), autocommit=True)
            self._connection.execute(
                "CREATE TABLE IF NOT EXISTS mmbench_leases (sweep text, name text, owner text, beat timestamptz, "
                "deaths int NOT NULL DEFAULT 0, PRIMARY KEY (sweep, name))"
            )
        except psycopg.errors.UniqueViolation:
            pass  # another worker created the table in the same moment
        except psycopg.Error as error:
            raise ValueError(f"study.storage: PostgreSQL does not answer: {str(error).splitlines()[0]}") from error
        self._lock = threading.Lock()

    def claim(self, name: str) -> bool:
        """Take a lease if it is free or its owner is dead."""
        mine = json.dumps(vars(self.owner))
        with self._lock:
            taken = self._connection.execute(
                "INSERT INTO mmbench_leases AS l (sweep, name, owner, beat) VALUES (%s, %s, %s, now()) "
                "ON CONFLICT (sweep, name) DO UPDATE SET owner = excluded.owner, beat = now() "
                "WHERE l.owner IS NULL RETURNING 1",
                (self.sweep, name, mine),
            ).fetchone()
            if taken:
                return True
            row = self._connection.execute(
                "SELECT owner, beat < now() - make_interval(secs => %s) FROM mmbench_leases "
                "WHERE sweep = %s AND name = %s",
                (self.timeout, self.sweep, name),
            ).fetchone()
            if row is None or row[0] is None:
                return False
            dead = Owner(**json.loads(row[0])).is_dead()
            if not (row[1] if dead is None else dead):
                return False
            stolen = self._connection.execute(
                "UPDATE mmbench_leases SET owner = %s, beat = now(), deaths = deaths + 1 "
                "WHERE sweep = %s AND name = %s AND owner = %s RETURNING 1",
                (mine, self.sweep, name, row[0]),
            ).fetchone()
            return stolen is not None

    def beat(self, name: str) -> None:
        """Set the time of the last sign of life."""
        with self._lock:
            self._connection.execute(
                "UPDATE mmbench_leases SET beat = now() WHERE sweep = %s AND name = %s AND owner = %s",
                (self.sweep, name, json.dumps(vars(self.owner))),
            )

    def release(self, name: str) -> None:
        """Free the row if it is still ours; the count of deaths stays."""
        with self._lock:
            self._connection.execute(
                "UPDATE mmbench_leases SET owner = NULL WHERE sweep = %s AND name = %s AND owner = %s",
                (self.sweep, name, json.dumps(vars(self.owner))),
            )

    def deaths(self, name: str) -> int:
        """How many owners of this lease died holding it."""
        with self._lock:
            row = self._connection.execute(
                "SELECT deaths FROM mmbench_leases WHERE sweep = %s AND name = %s", (self.sweep, name)
            ).fetchone()
        return 0 if row is None else int(row[0])


def make_leases(storage: str, sweep_dir: Path, timeout: float) -> Leases:
    """The lease server that ``study.storage`` names.

    Raises:
        ValueError: for an unknown storage.
    """
    if storage == "files":
        return FileLeases(sweep_dir / "leases", timeout)
    if storage.startswith("postgresql"):
        return PostgresLeases(storage, str(sweep_dir.name), timeout)
    raise ValueError(f"study.storage={storage} is unknown; write files or postgresql+psycopg://user@host/database")
