"""Ids without what programs and people add to them or take away."""

from __future__ import annotations

import re
import unicodedata


def respelled(identifier: str) -> str:
    """An id without leading zeros, a decimal point, case, spaces, full width and characters that nobody sees."""
    folded = unicodedata.normalize("NFKC", identifier).casefold()
    if not folded.isascii():
        folded = "".join(letter for letter in folded if unicodedata.category(letter) != "Cf")
    return re.sub(r"\s", "", folded.strip().removesuffix(".0")).lstrip("0")


def plain(identifier: str) -> str:
    """As :func:`respelled`, and without hyphens: what two tables may write for one id.

    Within one table ``1-11`` and ``11-1`` are two ids.
    """
    return re.sub("[_-]", "", respelled(identifier)).lstrip("0")


def respelt_alike(identifier: str, other: str) -> bool:
    """Whether two ids with the same :func:`plain` form may be one in a single table.

    They are where hyphens stand at the same places, or where one of them has none: ``1-11`` and ``11-1`` are two.
    """
    one, two = respelled(identifier), respelled(other)
    return one == two or not all(re.search("[_-]", text) for text in (one, two))


def shown(identifier: str) -> str:
    """An id for a sentence: as Python writes it where a reader would not see all of it."""
    visible = identifier.isprintable() and identifier == identifier.strip()
    return identifier if visible else repr(identifier)
