"""The training log and the items behind a sweep, read again and proved to be the same by their fingerprints.

Records hold ranks and lists; popularity, history and categories are facts about the data.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmbench import paths
from mmbench.data import divisions
from mmbench.data.dataset import Dataset, DatasetConfig, load_dataset
from mmbench.messages import Message, Template
from mmbench.report.table import CellResult, SweepTable
from mmbench.scheduling.trust import Trust
from mmbench.store import records
from mmbench.store.schema import Cell

#: Columns of which one would do.
OR = Template("{first} or {rest}", context="columns")


@dataclass(frozen=True)
class Catalogue:
    """What slices and list measures need of a data set.

    Args:
        dataset: the data set, with the very split of the sweep.
        categories: category of each item, ``(n_items,)``, the first one named; None without such a column.
        members: categories of each item, ``(n_items, n_categories)``, all that are named; None as before.
        lengths: characters of each item's text, ``(n_items,)``; None without such a column.
        unknown: what is not known, in words.
        items: rows of items.parquet in the order of the catalogue; no columns where there is no such file.
        folder: folder of the data set; None for a planted world.
    """

    dataset: Dataset
    categories: tuple[str | None, ...] | None
    members: NDArray[np.bool_] | None
    lengths: NDArray[np.int64] | None
    unknown: tuple[str, ...]
    items: pd.DataFrame
    folder: Path | None

    @property
    def item_counts(self) -> NDArray[np.int64]:
        """Training interactions of each item, ``(n_items,)``."""
        return np.bincount(self.dataset.split.train.items, minlength=self.dataset.n_items)

    @property
    def user_counts(self) -> NDArray[np.int64]:
        """Training interactions of each user, ``(n_users,)``."""
        return np.bincount(self.dataset.split.train.users, minlength=self.dataset.n_users)


def read_catalogue(cell: CellResult, trust: Trust) -> Catalogue | str:
    """The catalogue of a finished cell, or why there is none.

    Args:
        cell: the cell, whose record names the data set.
        trust: what may be read because a record names it.
    """
    record = records.read(paths.cell_file(cell.folder), Cell)
    options = _options(record)
    try:
        config = DatasetConfig(**options)
        if (why := trust.objection(config)) is not None:
            return why
        dataset = load_dataset(config)
        named = dataset.texts
        if record.target:
            dataset = replace(dataset, split=dataset.split.towards(record.target))
    except (ValueError, OSError, TypeError):
        return Message("the data set cannot be read where the sweep's configuration says")
    split = dataset.split
    if (split.tuning_fingerprint, split.test_fingerprint) != (record.split_hash, cell.test_hash):
        return Message("the data set is no longer the one that the sweep ran on")
    items = dataset.items
    categories = divisions.categories(items)
    lengths = divisions.text_lengths(items, named)
    unknown = []
    if categories is None:
        columns = functools.reduce(lambda first, rest: Message(OR, first=first, rest=rest), divisions.CATEGORY_COLUMNS)
        unknown.append(Message("categories: items.parquet has none in a column {columns}", columns=columns))
    if lengths is None:
        unknown.append(Message("text length: no column of items.parquet looks like a text"))
    first = None if categories is None else divisions.first_of(categories)
    members = None if categories is None else _members(categories)
    folder = None if options.get("world") is not None else _folder(options)
    return Catalogue(dataset, first, members, lengths, tuple(unknown), items, folder)


def unread(table: SweepTable) -> list[str]:
    """Why data sets of a sweep are not even looked for, one line each."""
    found: dict[str, str | None] = {}
    for (dataset, _, _), cell in table.cells.items():
        if dataset not in found and cell.status == "done" and not cell.parts:
            with contextlib.suppress(ValueError, TypeError):  # of a data set that cannot be read anyway
                config = DatasetConfig(**_options(records.read(paths.cell_file(cell.folder), Cell)))
                found[dataset] = table.trust.objection(config)
    return [Message("{name}: {reason}", name=name, reason=why) for name, why in found.items() if why is not None]


def _options(record: Cell) -> dict[str, Any]:
    return {name: value for name, value in record.located_config["dataset"].items() if name != "lr"}


def _folder(options: Mapping[str, Any]) -> Path:
    return Path(options.get("path") or options["name"])


def _members(categories: list[list[str]]) -> NDArray[np.bool_]:
    names = sorted({name for row in categories for name in row})
    place = {name: i for i, name in enumerate(names)}
    members = np.zeros((len(categories), len(names)), bool)
    for item, row in enumerate(categories):
        members[item, [place[name] for name in row]] = True
    return members
