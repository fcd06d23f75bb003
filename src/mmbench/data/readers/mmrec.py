"""Folders of the MMRec toolbox: a log with split labels, feature matrices by item number, tables of raw ids.

``<name>.inter`` is a table with tabs and the columns ``userID``, ``itemID``, optionally ``rating`` and ``timestamp``
(seconds, or milliseconds and finer where they are too large for seconds), and ``x_label`` (0 train, 1 validation, 2
test). Row ``k`` of ``<modality>_feat.npy`` belongs to item ``k``: the format itself proves the order of rows.
``i_id_mapping.csv`` and ``u_id_mapping.csv`` (tabs, despite their name) give raw ids back. ``missed_img_itemIDs.csv``
lists the items without an image; ``missed_<modality>_itemIDs.csv`` does the same for another modality.
``meta-<name>.csv`` tells of the items, ``*_url.csv`` where their images are.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmbench.data import splits
from mmbench.data.dataset import Dataset
from mmbench.data.features import ItemFeature, nonzero_rows
from mmbench.data.interactions import MOST_SECONDS
from mmbench.data.readers.delimited import Dialect, read_delimited
from mmbench.data.readers.journal import Journal
from mmbench.data.readers.numbered import (
    catalogue_size,
    feature_of,
    missed_file,
    read_matrices,
    whole_numbers,
    with_tables,
)
from mmbench.data.readers.text_table import Table
from mmbench.data.readers.times import UNITS, unix_seconds
from mmbench.data.regular_file import visible_in
from mmbench.data.sources import FEATURE_SUFFIX, Source
from mmbench.data.spreadsheet import csv_text, unquoted
from mmbench.messages import Message, Refusal, listed

INTER_SUFFIX = ".inter"
USER, ITEM, LABEL = "userID", "itemID", "x_label"
CODES: Mapping[str, int] = {"train": 0, "valid": 1, "test": 2}
_TABS = Dialect("\t", quoted=False)
_RAW = {USER: "user_id", ITEM: "asin"}
_MAPPINGS = {USER: "u_id_mapping.csv", ITEM: "i_id_mapping.csv"}

Numbers = NDArray[np.int64]


def read_mmrec(folder: Path, journal: Journal | None = None) -> Source:
    """Read a folder, or a ``.inter`` file alone.

    The catalogue has as many items as ``i_id_mapping.csv`` lists, else as many as the feature matrices have rows, else
    ``max(itemID) + 1``. Pickled files such as ``user_graph_dict.npy`` are not read.

    Returns:
        A source with raw ids where the mapping files are there, otherwise the numbers as text, and a column ``split``.

    Raises:
        ValueError: naming the file, and the line where there is one.
    """
    journal = journal or Journal()
    table = _inter(folder, journal)
    numbers = {column: whole_numbers(table, column) for column in (USER, ITEM)}
    alone = not folder.is_dir()
    raw_users, raw_items = (None if alone else _raw_ids(folder, column, journal) for column in (USER, ITEM))
    matrices = {} if alone else read_matrices(folder, journal)
    n_items = catalogue_size(table, ITEM, numbers[ITEM], raw_items, matrices, journal)
    items = pd.Index(np.arange(n_items).astype(str)) if raw_items is None else raw_items
    log = pd.DataFrame({"user_id": _named(table, USER, numbers[USER], raw_users), "item_id": items[numbers[ITEM]]})
    if "rating" in table.frame:
        log["rating"] = table.numbers("rating")
    if "timestamp" in table.frame:
        times = table.numbers("timestamp")
        table.require(
            np.abs(times) < 2.0**63, "timestamp", Message("every row needs seconds since 1970")
        )  # NaN is refused too
        if np.median(np.abs(times)) < MOST_SECONDS:  # published examples count from zero, so that none is too small
            mixed = Message("most rows are in {unit}, and units must not be mixed", unit=UNITS[-1][2])
            table.require(np.abs(times) < MOST_SECONDS, "timestamp", mixed)
            log["timestamp"] = times.astype(np.int64)
        else:
            log["timestamp"] = unix_seconds(table, "timestamp", journal)
    log["split"] = _labels(table)
    features = {
        path.name.removesuffix(FEATURE_SUFFIX): feature_of(path, values, journal) for path, values in matrices.items()
    }
    catalogue = pd.DataFrame({"item_id": items})
    catalogue, texts = (catalogue, ()) if alone else with_tables(catalogue, folder, journal)
    return Source(log, catalogue, features, notices=tuple(journal.lines), texts=texts)


def write_mmrec(source: Source, parts: pd.Series, folder: Path, name: str | None = None) -> int:
    """Write a source as an MMRec folder that :func:`read_mmrec` reads back unchanged.

    Items keep their order. Missing items hold the mean of the others, because MMRec divides by norms, and are listed in
    ``missed_*_itemIDs.csv``.

    Args:
        source: log, items and features.
        parts: train, valid or test, one per row of the log.
        folder: where to write.
        name: stem of the ``.inter`` file; the folder's name by default.

    Returns:
        How many of the last items have no interaction: MMRec counts max(itemID) + 1 items, and features will not fit.

    Raises:
        ValueError: for an item that is not listed or an id that no line of a table can hold.
    """
    log, items = source.log, pd.Index(source.items["item_id"])
    users = _in_order(pd.Index(log["user_id"].unique()))
    if not log["item_id"].isin(items).all():
        stray = log["item_id"][~log["item_id"].isin(items)].iloc[0]
        raise Refusal("item {item} of the log is not listed, so it has no number", item=repr(stray))
    folder.mkdir(parents=True, exist_ok=True)
    numbers = items.get_indexer(pd.Index(log["item_id"]))
    table = pd.DataFrame({USER: users.get_indexer(pd.Index(log["user_id"])), ITEM: numbers})
    for column in ("rating", "timestamp"):
        if column in log:
            table[column] = log[column].to_numpy()
    words = splits.given(pd.DataFrame({LABEL: parts.to_numpy()}), LABEL)
    table[LABEL] = words.map(CODES)
    _write_table(table, folder / f"{name or folder.name}{INTER_SUFFIX}")
    for column, ids in ((USER, users), (ITEM, items)):
        _check_writable(ids, column)
        _write_table(pd.DataFrame({_RAW[column]: ids, column: np.arange(len(ids))}), folder / _MAPPINGS[column])
    for modality, feature in source.features.items():
        _write_feature(feature, folder, modality)
    return len(items) - 1 - int(numbers.max())


def _write_feature(feature: ItemFeature, folder: Path, modality: str) -> None:
    """The matrix, and the items that miss it where there are some or a row of zeros could be taken for one."""
    np.save(folder / f"{modality}{FEATURE_SUFFIX}", feature.values.astype(np.float32))
    if not (feature.present & nonzero_rows(feature.values)).all():
        missed = "".join(f"{number}\n" for number in np.flatnonzero(~feature.present))
        missed_file(folder, modality).write_text(missed, encoding="utf-8")


def kept_by(dataset: Dataset, log: pd.DataFrame) -> tuple[Source, pd.Series]:
    """What a dataset keeps of a log, as a source with its catalogue and features, and the part of each row.

    Args:
        dataset: a split dataset.
        log: the log it was made of, each pair of user and item once.
    """
    pairs = []
    for part in splits.PARTS:
        rows = getattr(dataset.split, part)
        ids = {"user_id": dataset.user_ids[rows.users], "item_id": dataset.item_ids[rows.items]}
        pairs.append(pd.DataFrame(ids).assign(part=part))
    columns = [name for name in ("user_id", "item_id", "rating", "timestamp") if name in log]
    kept = log[columns].merge(pd.concat(pairs), on=["user_id", "item_id"])
    items = pd.DataFrame({"item_id": dataset.item_ids})
    return Source(kept[columns], items, dataset.features), kept["part"]


def _inter(folder: Path, journal: Journal) -> Table:
    """The one log of a folder."""
    if folder.is_file():
        logs = [folder]
    elif not folder.is_dir():
        raise Refusal("{path} is not a folder", path=folder)
    else:
        named = folder / f"{folder.resolve().name}{INTER_SUFFIX}"
        logs = [named] if named.is_file() else visible_in(folder, f"*{INTER_SUFFIX}")
        if len(logs) != 1:
            names = listed(path.name for path in logs)
            raise Refusal(
                "{path} must hold {named} or one single .inter file; found: {found}",
                path=folder,
                named=named.name,
                found=names,
            )
    table = read_delimited(journal.read(logs[0]), _TABS)
    table.check_columns((USER, ITEM, LABEL))
    return table


def _labels(table: Table) -> NDArray[np.object_]:
    words = table.frame[LABEL].str.strip().str.lower().map(splits.LABELS)
    table.require(words.notna().to_numpy(bool), LABEL, Message("it must be 0 (train), 1 (validation) or 2 (test)"))
    return np.asarray(words.to_numpy(object))


def _raw_ids(folder: Path, column: str, journal: Journal) -> pd.Index | None:
    """Raw ids by number from a mapping file, or None without one."""
    name = _MAPPINGS[column]
    mappings = [path for path in visible_in(folder, f"*{name}") if path.name == name or path.name.endswith(f"_{name}")]
    if not mappings:
        return None
    if len(mappings) > 1:
        raise Refusal(
            "{path} must hold one {name}; found: {found}",
            path=folder,
            name=name,
            found=", ".join(path.name for path in mappings),
        )
    table = read_delimited(journal.read(mappings[0]), _TABS)
    if len(table.names) == 1:
        table = read_delimited(mappings[0])
    raw = _RAW[column] if _RAW[column] in table.frame else next((n for n in table.names if n != column), "")
    if column not in table.frame or not raw:
        raise Refusal(
            "{path} must have the columns {raw} and {number}; columns are {columns}",
            path=mappings[0],
            raw=_RAW[column],
            number=column,
            columns=table.names_in_short,
        )
    numbers = whole_numbers(table, column)
    repeated = table.frame.duplicated(column) | table.frame.duplicated(raw)
    table.require(~repeated.to_numpy(bool), raw, Message("every id and every number must stand once"))
    table.require((table.frame[raw].str.strip() != "").to_numpy(bool), raw, Message("an id must not be empty"))
    table.require(
        numbers < len(numbers), column, Message("the {size} numbers must run from 0 without a gap", size=len(numbers))
    )
    return pd.Index(table.frame[raw].map(unquoted).to_numpy()[np.argsort(numbers)])


def _named(table: Table, column: str, numbers: Numbers, raw: pd.Index | None) -> pd.Index:
    if raw is None:
        return pd.Index(numbers.astype(str))
    table.require(numbers < len(raw), column, Message("the mapping file knows {size} of them, from 0", size=len(raw)))
    return raw[numbers]


def _in_order(ids: pd.Index) -> pd.Index:
    """Sorted by length, then alphabet: numbers keep their order."""
    table = pd.DataFrame({"length": ids.str.len(), "id": ids}).sort_values(["length", "id"])
    return pd.Index(table["id"])


def _check_writable(ids: pd.Index, column: str) -> None:
    bad = ids[ids.str.contains(r"[\t\r\n]") | (ids.str.strip() == "")]
    if len(bad):
        raise Refusal(
            "{column} {value} is empty or holds a tab or a line end, which MMRec's tables cannot",
            column=_RAW[column],
            value=repr(bad[0]),
        )


def _write_table(table: pd.DataFrame, path: Path) -> None:
    path.write_text(csv_text(table, "\t", csv.QUOTE_NONE), encoding="utf-8")
