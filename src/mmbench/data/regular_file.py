"""Files that can be read to their end, and names that can be kept.

A pipe, a socket or a device may give nothing, or give for ever.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from mmbench.messages import Refusal


def regular_file(path: Path) -> Path:
    """Return the path of a regular file, or of a link to one.

    Raises:
        ValueError: for a path where there is nothing, and for a folder, a pipe, a socket or a device.
    """
    if path.is_file():
        return path
    if path.exists():
        raise Refusal("{path} is no file but a folder, a pipe, a socket or a device", path=path)
    raise Refusal("{path} is missing", path=path)


def visible_in(folder: Path, pattern: str = "*") -> list[Path]:
    """Files and folders in a folder, sorted, without those whose names begin with a dot.

    A Mac writes ``._log.csv`` beside ``log.csv`` where a disk or an archive has no place for what it knows of a file.
    """
    return sorted(path for path in folder.glob(pattern) if not path.name.startswith("."))


def stamps_of(files: Iterable[Path]) -> dict[Path, tuple[int, ...]]:
    """File number, size and times of each file: what changes when somebody replaces it or writes into it."""
    stats = {file: file.stat() for file in files}
    return {file: (stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns) for file, stat in stats.items()}


def storable(path: Path) -> Path:
    """Return a path whose name is text: neither ``dataset.json`` nor pandas and Arrow can take the bytes of others.

    Raises:
        ValueError: for a name that is not UTF-8, as older systems in Japan write them.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        shown = os.fsencode(path).decode(errors="backslashreplace")
        raise Refusal("{path}: this name is not UTF-8 text; rename the file or folder", path=shown) from error
    return path
