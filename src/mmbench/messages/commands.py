"""Commands that sentences name: one way to write them, whichever part of the package says the sentence."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable

from mmbench.messages import Message, Refusal


def command_line(words: Iterable[str]) -> str:
    """A command as a person types it into a POSIX shell; letters of any language need no quotes.

    >>> command_line(["check", "data/店", "dataset.name=a b"])
    "python -m mmbench check data/店 'dataset.name=a b'"
    """
    plain = [word if re.fullmatch(r"[\w@%+=:,./-]+", word) else shlex.quote(word) for word in words]
    return " ".join(["python -m mmbench", *plain])


def of_this_sweep(command: str, *words: str) -> Message:
    """A command about the sweep of a page.

    It names no place: the same records give the same page wherever they lie, letter by letter.

    Args:
        command: its name.
        words: what follows the folder of the sweep.
    """
    line = command_line([command, "FOLDER", *words])
    return Message("{command} (FOLDER: the folder of this sweep)", command=line)


def several_sweeps(word: str) -> Refusal:
    """That a word gives several values to what all jobs of a sweep share."""
    return Refusal("{word} would be several sweeps; give one value", word=word)


def override(key: str, value: str) -> str:
    """An override as Hydra's grammar wants it: plain where it can be, otherwise in double quotes."""
    words = ("true", "false", "null", "nan", "inf")
    if re.fullmatch(r"[A-Za-z/.][A-Za-z0-9/._-]*", value) and value.lower() not in words:
        return f"{key}={value}"
    return f"{key}={quoted(value)}"


def quoted(value: str) -> str:
    """A value in double quotes as Hydra reads it, to which a backslash is one but before a quote and at the end."""
    escaped = re.sub(r'(\\*)("|$)', lambda match: match[1] * 2 + (match[2] and '\\"'), value)
    return f'"{escaped}"'
