"""The append-only ledger of a sweep: one line per finished training, which makes the training count."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import msgspec

from mmbench import faults, paths
from mmbench.store import bounds
from mmbench.store.files import locking, make_folder, naming, sync
from mmbench.store.schema import SCHEMA_VERSION, AnyRecord, LedgerRow, Unit

#: Seconds for which a row waits for the lock: a row takes milliseconds, so whoever holds it for longer is stopped.
PATIENCE = 60.0
#: Seconds between two tries, at first and at most: many workers may wait, and a file server answers each of them.
SOON, LATER = 0.005, 0.5


def append(sweep_dir: Path, row: LedgerRow) -> None:
    """Append one training as one line in one write, and bring it to the disk; a torn last line is closed first."""
    path = paths.ledger_file(sweep_dir)
    make_folder(sweep_dir)
    new = not path.exists()
    line = json.dumps(msgspec.to_builtins(row), ensure_ascii=False, allow_nan=False) + "\n"
    handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        with locking(path):
            _lock(handle)
        faults.reach("locked")
        size = os.fstat(handle).st_size
        torn = size > 0 and os.pread(handle, 1, size - 1) != b"\n"
        data = (("\n" if torn else "") + line).encode()
        with naming(path):
            if os.write(handle, data) != len(data):
                raise OSError(errno.ENOSPC, "only part of a ledger row could be written")
            os.fsync(handle)
    finally:
        os.close(handle)
    if new:
        sync([sweep_dir])


def _lock(handle: int) -> None:
    """Lock the ledger, because appending is not atomic on network file systems; the lock dies with its process.

    One that is stopped keeps it, and must not stop all others. So they go on without it in the end: rows get mixed only
    if two machines write in the same moment, and a row that is lost is written again from its record.
    """
    last, pause = time.monotonic() + PATIENCE, SOON
    while True:
        try:
            fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EAGAIN):
                raise
            if time.monotonic() > last:
                return
            time.sleep(pause)
            pause = min(2 * pause, LATER)
        else:
            return


def check(sweep_dir: Path) -> None:
    """Refuse a ledger that is no file, or larger than any; a sweep may have none.

    Raises:
        ValueError: for such a ledger.
    """
    path = paths.ledger_file(sweep_dir)
    if path.exists():
        bounds.check_size(path, bounds.MOST_LEDGER)


def read(sweep_dir: Path) -> Iterator[LedgerRow]:
    """Rows of the ledger in order; a line that a kill left torn, or that is no row of this schema, is passed over."""
    check(sweep_dir)
    path = paths.ledger_file(sweep_dir)
    if not path.exists():
        return
    with path.open("rb") as lines:
        yield from _rows(lines)


def _rows(lines: Iterable[bytes]) -> Iterator[LedgerRow]:
    for line in lines:
        try:
            plain = msgspec.json.decode(line)
            if isinstance(plain, dict) and plain.get("schema_version") == SCHEMA_VERSION:
                row = msgspec.convert(plain, AnyRecord)
                if isinstance(row, LedgerRow):
                    yield row
        except (ValueError, RecursionError):  # also a letter that was cut
            continue


class Position(NamedTuple):
    """How far a ledger was read.

    Attributes:
        file: its inode; 0 for one that does not exist.
        at: bytes of whole lines.
    """

    file: int
    at: int


@dataclass
class Reader:
    """Reads a ledger that grows: every line once, however often and by how many cells it is asked.

    Args:
        sweep_dir: folder of the sweep.
    """

    sweep_dir: Path
    _at: int = 0
    _file: int = 0
    _listed: dict[str, dict[tuple[Unit, str], set[str]]] = field(default_factory=lambda: defaultdict(dict))

    def new(self) -> list[LedgerRow]:
        """Rows that were added since the last call; a line that is not complete yet waits for its end."""
        file = paths.ledger_file(self.sweep_dir)
        try:
            # Opened at every look: a network file system answers stat() from what it remembers.
            with file.open("rb") as lines:
                stat = os.fstat(lines.fileno())
                if (stat.st_ino, stat.st_size) == (self._file, self._at):  # nothing was added
                    return []
                if stat.st_ino != self._file or stat.st_size < self._at:  # another file took its place
                    self._file, self._at = stat.st_ino, 0
                    self._listed.clear()
                lines.seek(self._at)
                whole, newline, _ = lines.read().rpartition(b"\n")
        except FileNotFoundError:
            self._file = self._at = 0
            self._listed.clear()
            return []
        self._at += len(whole) + len(newline)
        rows = list(_rows(whole.split(b"\n")))
        for row in rows:
            self._listed[row.cell_key].setdefault((row.unit, row.configuration_hash), set()).add(row.hash)
        return rows

    def position(self) -> Position:
        """How far the ledger goes by now."""
        self.new()
        return Position(self._file, self._at)

    def trainings(self, cell_key: str) -> list[tuple[Unit, str]]:
        """Every training of a cell that the ledger lists by now, in order, with the hash of its configuration."""
        return list(self.hashes(cell_key))

    def hashes(self, cell_key: str) -> Mapping[tuple[Unit, str], set[str]]:
        """The same with the hashes of the records that the rows are those of."""
        self.new()
        return self._listed.get(cell_key, {})


def unreadable(sweep_dir: Path) -> int:
    """Number of lines that are no JSON: cut, or overwritten."""
    check(sweep_dir)
    path, found = paths.ledger_file(sweep_dir), 0
    if path.exists():
        with path.open("rb") as lines:
            for line in filter(bytes.strip, lines):
                try:
                    msgspec.json.decode(line)
                except (ValueError, RecursionError):  # also a letter that was cut
                    found += 1
    return found


def now() -> str:
    """The time of day in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
