"""Catalogues that number their items: row ``k`` of every feature matrix belongs to item ``k``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmbench.data.features import ItemFeature, nonzero_rows, read_matrix, with_missing_filled
from mmbench.data.readers.delimited import read_delimited, read_header
from mmbench.data.readers.journal import Journal
from mmbench.data.readers.lines import numbered_lines
from mmbench.data.readers.log_and_items import first_of_each
from mmbench.data.readers.text_table import Table
from mmbench.data.regular_file import visible_in
from mmbench.data.sources import FEATURE_SUFFIX
from mmbench.messages import Message, Refusal, Template

#: Without a mapping file or features only the largest number tells how many items there are; a larger one is an error.
MAX_ITEMS_PER_ROW = 1000

#: Columns of the tables of items, and what they become; those that keep their name are texts.
TABLE_COLUMNS: Mapping[str, str] = {
    **{name: name for name in ("title", "brand", "categories", "description")},
    "imUrl": "image_url",
}

Matrices = Mapping[Path, NDArray[np.float32]]


class _Size(NamedTuple):
    """What is said of a catalogue whose size is known from somewhere.

    Args:
        beyond: an item number is too large.
        idle: some items have no interaction.
    """

    beyond: Template
    idle: Template


_BY_MAPPING = _Size(
    Template("the mapping file lists {size} items, numbered from 0"),
    Template(
        "items: the mapping file lists {size} items; 1 of them has no interaction",
        "items: the mapping file lists {size} items; {n} of them have no interaction",
    ),
)
_BY_MATRIX = _Size(
    Template("{matrix} has rows for {size} items, numbered from 0"),
    Template(
        "items: {matrix} has rows for {size} items; 1 of them has no interaction",
        "items: {matrix} has rows for {size} items; {n} of them have no interaction",
    ),
)
_BY_LARGEST = _Size(
    Template("there are {size} items, numbered from 0"),
    Template(
        "items: the largest item number makes {size} items; 1 of them has no interaction",
        "items: the largest item number makes {size} items; {n} of them have no interaction",
    ),
)


def read_matrices(folder: Path, journal: Journal) -> dict[Path, NDArray[np.float32]]:
    """Every ``<modality>_feat.npy`` of a folder.

    Raises:
        ValueError: for a file that is no feature matrix or names no modality.
    """
    paths = visible_in(folder, f"*{FEATURE_SUFFIX}")
    for path in paths:
        if path.name == FEATURE_SUFFIX:
            raise Refusal(
                "{path} names no modality; features are called <modality>{suffix}", path=path, suffix=FEATURE_SUFFIX
            )
    return {path: read_matrix(journal.read(path)) for path in paths}


def catalogue_size(
    table: Table,
    column: str,
    numbers: NDArray[np.int64],
    raw: pd.Index | None,
    matrices: Matrices,
    journal: Journal,
) -> int:
    """Number of items: from the mapping file, else from the matrices, else from the largest number.

    Args:
        table: where ``numbers`` come from.
        column: its column of item numbers.
        numbers: item of each row ``(n,)``.
        raw: raw ids by number, or None without a mapping file.
        matrices: features by file.
        journal: told of items without interaction.

    Raises:
        ValueError: where these do not agree.
    """
    first = next(iter(matrices), None)
    if raw is not None:
        n_items, size = len(raw), _BY_MAPPING
    elif first is not None:
        n_items, size = len(matrices[first]), _BY_MATRIX
    else:
        n_items, size = int(numbers.max()) + 1, _BY_LARGEST
        table.require(
            numbers < MAX_ITEMS_PER_ROW * len(numbers),
            column,
            Message("item numbers must run from 0 without large gaps"),
        )
    matrix = first.name if first is not None else ""
    for path, values in matrices.items():
        if len(values) != n_items:
            if raw is not None:
                raise Refusal(
                    "{path} has {rows} rows, but the mapping file lists {size} items; row k belongs to item k, so they "
                    "must match",
                    path=path,
                    rows=len(values),
                    size=n_items,
                )
            raise Refusal(
                "{path} has {rows} rows, but {matrix} has rows for {size} items; row k belongs to item k, so they "
                "must match",
                path=path,
                rows=len(values),
                matrix=matrix,
                size=n_items,
            )
    table.require(numbers < n_items, column, Message(size.beyond, size=n_items, matrix=matrix))
    idle = n_items - len(np.unique(numbers))
    if idle:
        journal.tell(Message(size.idle, idle, size=f"{n_items:,}", matrix=matrix))
    return n_items


def with_tables(
    items: pd.DataFrame, folder: Path, journal: Journal, number: str = "itemID"
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """The catalogue with what ``meta-*.csv`` and ``*_url.csv`` tell of its items, and the text columns among it.

    Raises:
        ValueError: for a table without the column ``number`` or with an item that is not numbered.
    """
    for path in (*visible_in(folder, "meta-*.csv"), *visible_in(folder, "*_url.csv")):
        header = read_header(path)
        header.check_column(number, path.name)
        known = [name for name in TABLE_COLUMNS if name in header.frame and TABLE_COLUMNS[name] not in items]
        table = read_delimited(journal.read(path), columns=[number, *known])
        rows = whole_numbers(table, number)
        table.require(rows < len(items), number, Message("there are {size} items, numbered from 0", size=len(items)))
        listed = first_of_each(table.frame[known].assign(item_id=items["item_id"].to_numpy()[rows]), journal)
        cells = listed.set_index("item_id").reindex(items["item_id"]).fillna("")
        items = items.assign(**{TABLE_COLUMNS[name]: cells[name].to_numpy() for name in known})
    return items, tuple(name for name in TABLE_COLUMNS if name in items)


def whole_numbers(table: Table, column: str) -> NDArray[np.int64]:
    """A column of whole numbers, zero or larger.

    Raises:
        ValueError: for another cell, with its line.
    """
    text = table.frame[column].str.strip()
    table.require(
        text.str.fullmatch(r"[0-9]{1,18}").to_numpy(bool), column, Message("ids must be whole numbers, zero or larger")
    )
    return np.asarray(text.astype(np.int64).to_numpy())


def missed_file(folder: Path, modality: str) -> Path:
    """The list of items without content of a modality, as MMRec names it."""
    return folder / f"missed_{'img' if modality == 'image' else modality}_itemIDs.csv"


def feature_of(path: Path, values: NDArray[np.float32], journal: Journal) -> ItemFeature:
    """A modality whose missing items are those listed as missed, or without a list those with an all-zero row.

    Raises:
        ValueError: for a list that does not hold item numbers.
    """
    name = path.name.removesuffix(FEATURE_SUFFIX)
    missed = missed_file(path.parent, name)
    present = nonzero_rows(values)
    if missed.is_file():
        lines = numbered_lines(journal.read(missed))
        words = pd.Series([word for _, line in lines for word in line.split()], dtype=object)
        known = words.str.fullmatch("[0-9]{1,18}").astype(bool)
        numbers = words[known].astype(np.int64).to_numpy()
        if not known.all() or (numbers >= len(values)).any():
            raise Refusal("{path} must hold item numbers below {size}, one per line", path=missed, size=len(values))
        present = np.ones(len(values), bool)
        present[numbers] = False
    elif not present.all():
        journal.tell(
            Message.counted(
                "{modality}: 1 all-zero row counts as missing (no {list})",
                "{modality}: {n} all-zero rows count as missing (no {list})",
                int((~present).sum()),
                modality=name,
                list=missed.name,
            )
        )
    return with_missing_filled(values, present)
