"""Vectors by content: what was encoded once is never encoded again, whatever killed the process that did it."""

from __future__ import annotations

import fcntl
import os
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmbench import faults, fingerprint, paths
from mmbench.messages import Refusal
from mmbench.store.files import locking

KEY_BYTES = 32
#: Version of the layout of a record.
LAYOUT = 2


class VectorCache:
    """One append-only file per encoder: records of a content hash and its vector.

    A process that dies while it appends leaves a torn last record, which the next one cuts off. A record that a power
    cut left without its vector is told by its check sum, and encoded again. The file is locked while it is open.

    Args:
        folder: where caches lie.
        name: of the encoder, for the file's name.
        identity: everything that decides a vector, part of the file's name as a hash.
        dim: width of a vector.
    """

    def __init__(self, folder: Path, name: str, identity: Mapping[str, Any], dim: int) -> None:
        key = fingerprint.of_json({"identity": dict(identity), "dim": dim, "layout": LAYOUT})
        self.path = folder / f"{paths.slug([name], 40)}-{key[:16]}.vectors"
        self.record = np.dtype([("key", f"V{KEY_BYTES}"), ("vector", "<f4", (dim,)), ("sum", "<u4")])
        self.n_rows = 0
        self.row_of: dict[bytes, int] = {}

    def __enter__(self) -> VectorCache:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.file = self.path.open("ab")
        try:
            with locking(self.path):
                fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self.file.close()
            if not isinstance(error, BlockingIOError):
                raise
            raise Refusal(
                "{path} is in use by another process that encodes with the same encoder; wait for it", path=self.path
            ) from None
        self.file.truncate(self.file.tell() // self.record.itemsize * self.record.itemsize)
        records = self._records()
        self.n_rows = len(records)
        self.row_of = {bytes(one["key"]): row for row, one in enumerate(records) if one["sum"] == _sum(one)}
        return self

    def __exit__(self, *error: object) -> None:
        self.file.close()

    def __contains__(self, key: bytes) -> bool:
        return key in self.row_of

    def __len__(self) -> int:
        return len(self.row_of)

    def append(self, keys: Sequence[bytes], vectors: NDArray[np.float32]) -> None:
        """Add the vectors ``(b, dim)`` of ``b`` contents; they are on disk when this returns."""
        records = np.empty(len(keys), self.record)
        records["key"] = np.frombuffer(b"".join(keys), f"V{KEY_BYTES}")
        records["vector"] = vectors
        records["sum"] = [_sum(one) for one in records]
        self.file.write(records.tobytes())
        self.file.flush()
        os.fsync(self.file.fileno())
        self.row_of.update({key: self.n_rows + place for place, key in enumerate(keys)})
        self.n_rows += len(keys)
        faults.reach(faults.ENCODED)

    def vectors(self, keys: Sequence[bytes]) -> NDArray[np.float32]:
        """The vectors of contents that are in the cache, ``(n, dim)``."""
        rows = np.array([self.row_of[key] for key in keys], np.int64)
        return np.array(self._records()["vector"][rows], np.float32)

    def _records(self) -> NDArray[Any]:
        if self.path.stat().st_size == 0:
            return np.empty(0, self.record)
        return np.memmap(self.path, self.record, mode="r")


def _sum(record: np.void) -> int:
    """Check sum of key and vector, which the last four bytes of a record hold."""
    return zlib.crc32(record.tobytes()[:-4])
