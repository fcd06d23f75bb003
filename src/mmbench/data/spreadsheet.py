"""Tables as CSV that is safe to open: a spreadsheet takes a cell for a formula that begins like one."""

from __future__ import annotations

import csv
import re
from typing import Literal

import pandas as pd

#: How a formula begins, in full-width signs too, or a cell that was quoted already; a sign alone and a number are none.
_FORMULA = re.compile(r"'*[=+@\t\r\n\0\uff1d\uff0b\uff20\uff0d-]")


def csv_text(frame: pd.DataFrame, separator: str = ",", quoting: Literal[0, 1, 2, 3] = csv.QUOTE_MINIMAL) -> str:
    """The table with a header, the same on every machine; texts and names that begin like a formula are quoted."""
    safe = frame.copy(deep=False)
    for name in frame.select_dtypes(exclude=["number", "bool"]):
        safe[name] = [quoted(cell) if isinstance(cell, str) else cell for cell in frame[name]]
    safe = safe.rename(columns=lambda name: quoted(name) if isinstance(name, str) else name)
    return str(safe.to_csv(index=False, lineterminator="\n", sep=separator, quoting=quoting))


def quoted(text: str) -> str:
    """Text for a cell: an apostrophe before what a spreadsheet would take for a formula.

    Example:
        >>> quoted("=1+1"), quoted("-1.3"), quoted("-"), quoted("A=B")
        ("'=1+1", '-1.3', '-', 'A=B')
    """
    return f"'{text}" if len(text) > 1 and _FORMULA.match(text) and not _is_numbers(text) else text


def unquoted(text: str) -> str:
    """What :func:`quoted` was given.

    Example:
        >>> unquoted(quoted("@item")), unquoted("'sloane")
        ('@item', "'sloane")
    """
    return text[1:] if text.startswith("'") and quoted(text[1:]) == text else text


def _is_numbers(text: str) -> bool:
    try:
        return bool([float(word) for word in text.split()])
    except ValueError:
        return False
