"""Ids as tables are read: one code that programs and people write in several ways is one user or item."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

T = TypeVar("T")
#: Full-width letters, digits and hyphens, and their plain forms: one code must not be two items.
_WIDE = {code: code - 0xFEE0 for code in (*range(0xFF10, 0xFF1A), *range(0xFF21, 0xFF3B), *range(0xFF41, 0xFF5B))}
_WIDE |= {0xFF0D: 0x2D, 0xFF3F: 0x5F}


def plain_id(identifier: str) -> str:
    """An id as the log and the catalogue of one's own hold it, however a file or its name writes it."""
    return bare(composed(narrow(identifier)))


def narrow(identifier: str) -> str:
    """An id with plain letters, digits and hyphens for full-width ones."""
    return identifier.translate(_WIDE)


def composed(identifier: str) -> str:
    """An id in Unicode's composed form: a Mac writes ガ as two characters in the name of a file, a table has one."""
    return unicodedata.normalize("NFC", identifier)


def bare(identifier: str) -> str:
    """An id without white space, byte order marks, zero-width spaces and the like around it.

    Within an id such a character may belong to a word of its script, so it stays.
    """
    return identifier.strip("".join(filter(_is_unseen, identifier)))


def _is_unseen(letter: str) -> bool:
    return letter.isspace() or unicodedata.category(letter) == "Cf"


def places_of(ids: Sequence[str], held: Sequence[str]) -> NDArray[np.int64]:
    """Where ids ``(n,)`` stand among others, ``(n,)``; -1 for one that does not.

    An id that does not stand there as it is written is looked for by its :func:`plain_id` among those that are none of
    ``ids``; the first counts.

    Args:
        ids: those that are looked for.
        held: where they are looked for, each once.
    """
    places = pd.Index(held).get_indexer(pd.Index(ids)).astype(np.int64)
    missing = np.flatnonzero(places < 0)
    if len(missing):
        first: dict[str, int] = {}
        for place in np.setdiff1d(np.arange(len(held)), places).tolist():
            first.setdefault(plain_id(held[place]), place)
        places[missing] = [first.get(plain_id(ids[row]), -1) for row in missing.tolist()]
    return places


def of_each(ids: Sequence[str], held: Mapping[str, T]) -> list[T | None]:
    """What is held of each id, found as by :func:`places_of`; None of one that nothing is held of."""
    values = list(held.values())
    return [values[place] if place >= 0 else None for place in places_of(ids, list(held)).tolist()]
