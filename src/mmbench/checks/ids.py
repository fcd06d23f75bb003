"""Ids without what programs and people add to them or take away."""

from __future__ import annotations

import re
import unicodedata


def plain(identifier: str) -> str:
    """An id without leading zeros, a decimal point, case, spaces, hyphens, full width and characters nobody sees."""
    folded = unicodedata.normalize("NFKC", identifier).casefold()
    if not folded.isascii():
        folded = "".join(letter for letter in folded if unicodedata.category(letter) != "Cf")
    return re.sub(r"[\s_-]", "", folded.strip().removesuffix(".0")).lstrip("0")


def shown(identifier: str) -> str:
    """An id for a sentence: as Python writes it where a reader would not see all of it."""
    visible = identifier.isprintable() and identifier == identifier.strip()
    return identifier if visible else repr(identifier)
