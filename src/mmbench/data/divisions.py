"""Divisions of a catalogue into slices of items: where a gain is looked for, and which items keep their content.

A slice is named ``<division>:<label>``, for example ``popularity:6-20`` or ``category:Lamps``. It is known from the
training interactions and ``items.parquet`` alone, never from what is tested.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmbench.data.readers.columns import text_columns
from mmbench.data.readers.lines import NOT_PARSED, literal
from mmbench.messages import Message, Refusal, Template, listed

#: Names of the divisions, and how the slices of each are called in ``contribution.md``.
POPULARITY, CATEGORY, LENGTH = "popularity", "category", "text_length"
DIVISIONS: Mapping[str, str] = {
    POPULARITY: Message("item's training interactions"),
    CATEGORY: Message("category"),
    LENGTH: Message("text length"),
}
#: Label of the items that nobody has bought yet, and their slice.
COLD = Message(Template("cold", context="slice"))
NEW_ITEMS = f"{POPULARITY}:{COLD}"
#: First count of each slice after the first one.
POPULARITY_EDGES = (1, 6, 21, 101)
#: Columns of items.parquet that may hold a category, the first that is there counts.
CATEGORY_COLUMNS = ("category", "categories", "genre", "genres")
#: Labels that an error names.
MOST_NAMED = 12


@dataclass(frozen=True)
class Slicing:
    """A division of the test pairs into slices.

    Args:
        labels: slice of each pair, ``(n_pairs,)``, an index into ``names``; -1 is in none.
        names: what the slices are called, in the order of tables.
    """

    labels: NDArray[np.int64]
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(self.labels) and self.labels.max() >= len(self.names):
            raise ValueError(f"label {self.labels.max()} has no name; names are {', '.join(self.names)}")


def by_count(counts: NDArray[np.int64], edges: Sequence[int], zero: str = "") -> Slicing:
    """Slices of counts, for example ``0``, ``1-5``, ``6-20``.

    Args:
        counts: count of each pair's item or user, ``(n_pairs,)``.
        edges: first count of each slice after the first.
        zero: name of the first slice where it holds nothing but zeros, for example ``cold``.
    """
    starts = [0, *edges]
    names = [_span(a, b - 1) for a, b in itertools.pairwise(starts)] + [Message("{n} and more", n=starts[-1])]
    if zero and edges[0] == 1:
        names[0] = zero
    return Slicing(np.searchsorted(edges, counts, side="right"), tuple(names))


def _span(first: int, last: int) -> str:
    return str(first) if first == last else f"{first}-{last}"


def by_popularity(items: NDArray[np.int64], train_counts: NDArray[np.int64]) -> Slicing:
    """Slices by how often a pair's item ``(n_pairs,)`` occurs in train, ``train_counts`` ``(n_items,)``."""
    return by_count(train_counts[items], POPULARITY_EDGES, COLD)


def by_category(items: NDArray[np.int64], categories: Sequence[str | None], most: int = 10) -> Slicing:
    """The ``most`` frequent categories among the pairs, and all others as one slice.

    Args:
        items: item of each pair, ``(n_pairs,)``.
        categories: category of each item, ``(n_items,)``; None is in no slice.
        most: categories shown by name.
    """
    named = np.array(["" if c is None else str(c) for c in categories], dtype=object)[items]
    names, counts = np.unique(named[named != ""].astype(str), return_counts=True)
    order = sorted(range(len(names)), key=lambda i: (-counts[i], names[i]))
    shown = [str(names[i]) for i in order[:most]]
    place = {name: i for i, name in enumerate(shown)}
    rest = len(shown)
    labels = np.array([-1 if name == "" else place.get(name, rest) for name in named], dtype=np.int64)
    return Slicing(labels, (*shown, Message("other categories")) if len(names) > rest else tuple(shown))


def by_length(items: NDArray[np.int64], lengths: NDArray[np.int64]) -> Slicing:
    """Thirds of the catalogue by the length of an item's text, ``lengths`` ``(n_items,)``; no text is its own slice.

    The catalogue sets the borders, so that a slice holds the same items whichever pairs ``items`` are those of.
    """
    some = lengths[lengths > 0]
    low, high = np.quantile(some, [1 / 3, 2 / 3]) if len(some) else (0.0, 0.0)
    of_pairs = lengths[items]
    labels = np.where(of_pairs == 0, 0, 1 + (of_pairs > low).astype(np.int64) + (of_pairs > high))
    return Slicing(labels, (Message("no text"), Message("short text"), Message("medium text"), Message("long text")))


def categories(items: pd.DataFrame) -> list[list[str]] | None:
    """Names in the category column of the items, see :func:`names_in`; None where no item has any."""
    column = next((name for name in CATEGORY_COLUMNS if name in items), None)
    names = [] if column is None else [names_in(value) for value in items[column]]
    return names if any(names) else None


def names_in(cell: object) -> list[str]:
    """Names of categories in a cell: those of a list, of its lists too, those of a text, split at commas, or a number.

    A text that is a list of JSON or Python is one (``[["Clothing, Shoes & Jewelry", "Women"]]``). Names in a list may
    hold commas.
    """
    if isinstance(cell, str):
        listed = _list_in(cell)
        if listed is None:
            return [name.strip() for name in cell.split(",") if name.strip()]
        cell = listed
    if isinstance(cell, int | float | np.integer | np.floating) and math.isfinite(cell):
        return [f"{cell:.0f}" if cell == int(cell) else str(cell)]
    if not isinstance(cell, list | tuple | np.ndarray):
        return []
    names, left = [], [*cell][::-1]
    while left:
        part = left.pop()
        if isinstance(part, list | tuple | np.ndarray):
            left += [*part][::-1]
        elif part is not None and part == part and str(part).strip():
            names.append(str(part).strip())
    return names


def _list_in(text: str) -> list[object] | None:
    """The list that a text is, as JSON or Python writes it; no code is run."""
    text = text.strip()
    if not (text.startswith("[") and text.endswith("]")):
        return None
    for parse in (json.loads, literal):
        with contextlib.suppress(*NOT_PARSED):
            return list(parse(text))
    return None


def first_of(names: Sequence[Sequence[str]]) -> tuple[str | None, ...]:
    """The first category of each item; None for an item without one."""
    return tuple(some[0] if some else None for some in names)


def text_lengths(items: pd.DataFrame, named: Sequence[str] = ()) -> NDArray[np.int64] | None:
    """Characters of an item's text, ``(n_items,)``: of all of its columns together; None without such a column.

    Args:
        items: rows of items.parquet in the order of the catalogue.
        named: columns that ``prepare`` made the texts of; those with usual names where none of them is there.
    """
    columns = text_columns(map(str, items), named)
    if not columns:
        return None
    texts = items[columns].astype(object).fillna("").astype(str)
    return np.asarray(sum(texts[name].str.strip().str.len() for name in columns), dtype=np.int64)


def members_of(
    name: str, train_counts: NDArray[np.int64], items: pd.DataFrame, named: Sequence[str] = ()
) -> NDArray[np.bool_]:
    """Items of a slice, ``(n_items,)``.

    Args:
        name: the slice, ``<division>:<label>``.
        train_counts: training interactions of each item, ``(n_items,)``.
        items: rows of items.parquet in the order of the catalogue.
        named: columns that ``prepare`` made the texts of, see :func:`text_lengths`.

    Raises:
        Refusal: for a division that the data do not allow, or a label that no item has.
    """
    division, _, label = name.partition(":")
    everything = np.arange(len(train_counts))
    if division == POPULARITY:
        slicing = by_popularity(everything, train_counts)
    elif division == CATEGORY and (of_items := categories(items)) is not None:
        slicing = by_category(everything, first_of(of_items), most=len(everything))
    elif division == LENGTH and (lengths := text_lengths(items, named)) is not None:
        slicing = by_length(everything, lengths)
    elif division == CATEGORY:
        raise Refusal(
            "modality.missing_slice={slice}: items.parquet has none of the columns {columns}",
            slice=name,
            columns=", ".join(CATEGORY_COLUMNS),
        )
    else:
        raise Refusal(
            "modality.missing_slice={slice}: no column of items.parquet looks like a text; columns are {columns}",
            slice=name,
            columns=listed(items),
        )
    held = [known for place, known in enumerate(slicing.names) if (slicing.labels == place).any()]
    if label not in held:
        raise Refusal(
            "modality.missing_slice={slice}: no item is in {label}; {division} has {held}",
            slice=name,
            label=repr(label),
            division=division,
            held=listed(held if len(held) <= MOST_NAMED else [*held[:MOST_NAMED], "..."]),
        )
    return slicing.labels == slicing.names.index(label)
