"""Rows of ``make bench``, a file each: what the code as it is was timed for, and nothing that other code was."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmbench import fingerprint
from mmbench.store import files

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "build" / "bench"

#: Seconds, and what is said of them.
Row = tuple[float, Mapping[str, Any]]


def code() -> str:
    """Fingerprint of what is timed and of what times it."""
    return fingerprint.of_source(ROOT / "src" / "mmbench", ROOT / "tests" / "benchmarks")


def file_of(name: str) -> Path:
    """Where the row of a test is kept."""
    return FOLDER / f"{hashlib.sha256(name.encode()).hexdigest()[:16]}.json"


def keep(name: str, seconds: float, said: Mapping[str, Any]) -> None:
    """Write a row.

    Args:
        name: of its test.
        seconds: median.
        said: what is known besides.
    """
    FOLDER.mkdir(parents=True, exist_ok=True)
    files.write_document(file_of(name), {"name": name, "code": code(), "seconds": seconds, "said": dict(said)})


def kept(name: str) -> Row | None:
    """The row of a test, if this code was timed."""
    return _row(file_of(name))


def all_kept() -> list[Row]:
    """Every row of this code, in the order in which they were timed."""
    found = (_row(file) for file in sorted(FOLDER.glob("*.json"), key=lambda file: file.stat().st_mtime_ns))
    return [row for row in found if row is not None]


def _row(file: Path) -> Row | None:
    if not file.exists():
        return None
    document = files.read_document(file)
    return (document["seconds"], document["said"]) if document["code"] == code() else None
