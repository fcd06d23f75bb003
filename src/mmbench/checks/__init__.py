"""What would spoil a study on a data set, found before anything is trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Severity(StrEnum):
    """Whether a study may go on."""

    BLOCKING = "blocking"
    WARNING = "warning"


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    Args:
        name: of its message in the catalogue ``check``.
        severity: whether it blocks.
        count: how many cases; picks the form of the message.
        values: what the message has filled in; a float is a share, an int a number, a string stands as it is.
    """

    name: str
    severity: Severity
    count: int | None = None
    values: Mapping[str, Any] = field(default_factory=dict)


def blocking(name: str, count: int | None = None, /, **values: Any) -> Finding:
    """A finding that blocks."""
    return Finding(name, Severity.BLOCKING, count, values)


def warning(name: str, count: int | None = None, /, **values: Any) -> Finding:
    """A finding that does not block."""
    return Finding(name, Severity.WARNING, count, values)


def graded(share: float, limit: float, name: str, count: int | None = None, /, **values: Any) -> Finding:
    """A finding that blocks from a share above ``limit``."""
    return (blocking if share > limit else warning)(name, count, **values)
