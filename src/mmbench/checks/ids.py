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
    """As :func:`respelled`, and without hyphens; ids with one such form may be one, see :func:`respelt_alike`."""
    return re.sub("[_-]", "", respelled(identifier)).lstrip("0")


def respelt_alike(identifier: str, other: str) -> bool:
    """Whether two ids with the same :func:`plain` form may be one.

    They are where hyphens stand at the same places, or where one of them has none: ``1-11`` and ``11-1`` are two.
    """
    one, two = (respelled(text).replace("_", "-") for text in (identifier, other))
    return one == two or not ("-" in one and "-" in two)


def shown(identifier: str) -> str:
    """An id for a sentence: as Python writes it where a reader would not see all of it."""
    visible = identifier.isprintable() and identifier == identifier.strip()
    return identifier if visible else repr(identifier)
