"""Files that can be read to their end: a pipe, a socket or a device may give nothing, or give for ever."""

from __future__ import annotations

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
