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
from mmbench.store import bounds
from mmbench.store.schema import SCHEMA_VERSION, AnyRecord, LedgerRow


def append(sweep_dir: Path, row: LedgerRow) -> None:
    """Append one training as one line in one write; a torn last line of a killed writer is closed first."""
    path = paths.ledger_file(sweep_dir)
    path.parent.mkdir(parents=True, exist_ok=True)
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
    finally:
        os.close(handle)


def read(sweep_dir: Path) -> Iterator[LedgerRow]:
    """Rows of the ledger in order; a line that a kill left torn, or that is no row of this schema, is passed over."""
    path = paths.ledger_file(sweep_dir)
    if not path.exists():
        return
    bounds.check_size(path, bounds.MOST_LEDGER)
    with path.open("rb") as lines:
        for line in lines:
            try:
                plain = msgspec.json.decode(line)
                if isinstance(plain, dict) and plain.get("schema_version") == SCHEMA_VERSION:
                    row = msgspec.convert(plain, AnyRecord)
                    if isinstance(row, LedgerRow):
                        yield row
            except (msgspec.MsgspecError, RecursionError):
                continue


def now() -> str:
    """The time of day in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
