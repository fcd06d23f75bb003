"""Command lines of the form ``FOLDER key=value ...``."""

from __future__ import annotations

import typing
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

from mmbench.cli.errors import did_you_mean
from mmbench.messages import Words

T = TypeVar("T")
_TRUTH = {"true": True, "false": False}


def folder_and_pairs(argv: Sequence[str], command: str) -> tuple[Path, list[tuple[str, str]]]:
    """The folder and the ``key=value`` words of a command line, a ``debug=true`` left out.

    Raises:
        ValueError: for no folder, or a second one.
    """
    words = [word for word in argv if word != "debug=true"]
    plain = [word for word in words if "=" not in word]
    if len(plain) != 1 or plain[0].startswith("-"):
        found = f", not {' '.join(plain)}" if plain else ""
        raise ValueError(f"python -m mmbench.{command} takes one folder and words key=value{found}; --help explains")
    return Path(plain[0]), [(key, value) for key, _, value in (word.partition("=") for word in words if "=" in word)]


def spoken(domain: str, argv: Sequence[str]) -> tuple[Words, list[str]]:
    """The messages that ``lang=ja`` asks for, English without it, and the other words of the command line."""
    languages = [word.partition("=")[2] for word in argv if word.startswith("lang=")]
    return Words(domain, *languages[-1:]), [word for word in argv if not word.startswith("lang=")]


def settings(pairs: Sequence[tuple[str, str]], kind: type[T]) -> T:
    """Make a dataclass of settings from ``key=value`` words.

    Raises:
        ValueError: for a key it lacks or a value of another type.
    """
    hints = typing.get_type_hints(kind)
    allowed = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    values: dict[str, Any] = {}
    for key, value in pairs:
        if key not in allowed:
            raise ValueError(f"{key}={value}: there is no setting {key!r}; {did_you_mean(key, allowed)}")
        values[key] = _converted(key, value, hints[key])
    return kind(**values)


def _converted(key: str, value: str, hint: Any) -> Any:
    if hint is bool:
        if value not in _TRUTH:
            raise ValueError(f"{key}={value} must be true or false")
        return _TRUTH[value]
    if hint in (int, float):
        try:
            return hint(value)
        except ValueError:
            raise ValueError(f"{key}={value} must be a {'whole ' if hint is int else ''}number") from None
    return value
