"""Command lines: of the form ``FOLDER key=value ...``, and a parser for the others."""

from __future__ import annotations

import argparse
import contextlib
import typing
from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from mmbench.messages import Refusal, Words, catalogue
from mmbench.messages.hints import did_you_mean

T = TypeVar("T")
_TRUTH = {"true": True, "false": False}


class Parser(argparse.ArgumentParser):
    """A parser whose mistakes are errors like all others: one line, exit code 2."""

    def error(self, message: str) -> NoReturn:
        """Refuse a command line."""
        raise Refusal("command", "bad_command", message=message, prog=self.prog)


@contextlib.contextmanager
def speaking(lang: str) -> Iterator[None]:
    """Within it, :mod:`argparse` speaks a language of the catalogues.

    It looks its sentences up by gettext, which follows the machine's settings and compiled files; here the words of the
    command line decide.
    """
    known = catalogue("argparse", lang)

    def plural(one: str, other: str, n: int) -> object:
        return known.get(one if n == 1 else other, one if n == 1 else other)

    ours = {"_": lambda text: known.get(text, text), "ngettext": plural}
    theirs = {name: getattr(argparse, name) for name in ours}
    vars(argparse).update(ours)
    try:
        yield
    finally:
        vars(argparse).update(theirs)


def folder_and_pairs(argv: Sequence[str], command: str) -> tuple[Path, list[tuple[str, str]]]:
    """The folder and the ``key=value`` words of a command line, a ``debug=true`` left out.

    Raises:
        ValueError: for no folder, or a second one.
    """
    words = [word for word in argv if word != "debug=true"]
    plain = [word for word in words if "=" not in word]
    if len(plain) != 1 or plain[0].startswith("-"):
        if plain:
            raise Refusal("command", "one_folder_not", command=command, found=" ".join(plain))
        raise Refusal("command", "one_folder", command=command)
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
            hint = did_you_mean(key, allowed)
            raise Refusal("command", "no_setting", key=key, value=value, quoted=repr(key), hint=hint)
        values[key] = _converted(key, value, hints[key])
    return kind(**values)


def _converted(key: str, value: str, hint: Any) -> Any:
    if hint is bool:
        if value not in _TRUTH:
            raise Refusal("command", "true_or_false", key=key, value=value)
        return _TRUTH[value]
    if hint in (int, float):
        try:
            return hint(value)
        except ValueError:
            raise Refusal("command", "whole_number" if hint is int else "number", key=key, value=value) from None
    return value
