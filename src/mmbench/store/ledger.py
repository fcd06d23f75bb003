"""The append-only ledger of a sweep: one line per finished training, which makes the training count."""

from __future__ import annotations

import errno
import fcntl
import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from mmbench import faults, paths
from mmbench.store.files import make_folder, sync
from mmbench.store.schema import SCHEMA_VERSION, AnyRecord, LedgerRow


def append(sweep_dir: Path, row: LedgerRow) -> None:
    """Append one training as one line in one write, and bring it to the disk; a torn last line is closed first."""
    path = paths.ledger_file(sweep_dir)
    make_folder(sweep_dir)
    new = not path.exists()
    line = json.dumps(msgspec.to_builtins(row), ensure_ascii=False, allow_nan=False) + "\n"
    handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        fcntl.lockf(handle, fcntl.LOCK_EX)  # appending is not atomic on network file systems; dies with the process
        faults.reach("locked")
        size = os.fstat(handle).st_size
        torn = size > 0 and os.pread(handle, 1, size - 1) != b"\n"
        data = (("\n" if torn else "") + line).encode()
        if os.write(handle, data) != len(data):
            raise OSError(errno.ENOSPC, "only part of a ledger row could be written", str(path))
        os.fsync(handle)
    finally:
        os.close(handle)
    if new:
        sync([sweep_dir])


def read(sweep_dir: Path) -> Iterator[LedgerRow]:
    """Rows of the ledger in order; a line that a kill left torn, or that is no row of this schema, is passed over."""
    path = paths.ledger_file(sweep_dir)
    if not path.exists():
        return
    with path.open("rb") as lines:
        for line in lines:
            try:
                plain = msgspec.json.decode(line)
                if isinstance(plain, dict) and plain.get("schema_version") == SCHEMA_VERSION:
                    row = msgspec.convert(plain, AnyRecord)
                    if isinstance(row, LedgerRow):
                        yield row
            except ValueError:  # also a letter that was cut
                continue


def unreadable(sweep_dir: Path) -> int:
    """Number of lines that are no JSON: cut, or overwritten."""
    path, found = paths.ledger_file(sweep_dir), 0
    if path.exists():
        with path.open("rb") as lines:
            for line in filter(bytes.strip, lines):
                try:
                    msgspec.json.decode(line)
                except ValueError:  # also a letter that was cut
                    found += 1
    return found


def now() -> str:
    """The time of day in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
