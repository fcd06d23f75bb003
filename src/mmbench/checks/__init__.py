"""What would spoil a study on a data set, found before anything is trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from mmbench.messages import Template


class Severity(StrEnum):
    """Whether a study may go on."""

    BLOCKING = "blocking"
    WARNING = "warning"


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    Args:
        name: of the kind of finding.
        template: its sentence.
        severity: whether it blocks.
        count: how many cases; picks the form of the sentence.
        values: what fills the places of the sentence; a float is a share, an int a number, a string stands as it is.
    """

    name: str
    template: Template
    severity: Severity
    count: int | None = None
    values: Mapping[str, Any] = field(default_factory=dict)


def blocking(name: str, template: Template, count: int | None = None, /, **values: Any) -> Finding:
    """A finding that blocks."""
    return Finding(name, template, Severity.BLOCKING, count, values)


def warning(name: str, template: Template, count: int | None = None, /, **values: Any) -> Finding:
    """A finding that does not block."""
    return Finding(name, template, Severity.WARNING, count, values)


def graded(
    share: float, limit: float, name: str, template: Template, count: int | None = None, /, **values: Any
) -> Finding:
    """A finding that blocks from a share above ``limit``."""
    return (blocking if share > limit else warning)(name, template, count, **values)
