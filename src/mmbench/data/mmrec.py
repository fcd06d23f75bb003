"""Folders of the MMRec toolbox: a log with split labels, feature matrices by item number, tables of raw ids.

``<name>.inter`` is a table with tabs and the columns ``userID``, ``itemID``, optionally ``rating`` and ``timestamp``
(seconds), and ``x_label`` (0 train, 1 validation, 2 test). Row ``k`` of ``<modality>_feat.npy`` belongs to item ``k``:
the format itself proves the order of rows. ``i_id_mapping.csv`` and ``u_id_mapping.csv`` (tabs, despite their name)
give raw ids back. ``missed_img_itemIDs.csv`` lists the items without an image; ``missed_<modality>_itemIDs.csv`` does
the same for another modality.
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
from mmbench.data.delimited import Dialect, Table, read_delimited
from mmbench.data.features import ItemFeature, read_matrix, with_missing_filled
from mmbench.data.sources import FEATURE_SUFFIX, Source

INTER_SUFFIX = ".inter"
USER, ITEM, LABEL = "userID", "itemID", "x_label"
CODES: Mapping[str, int] = {"train": 0, "valid": 1, "test": 2}
#: Without a mapping file or features only the largest itemID tells the number of items; a larger one is an error.
MAX_ITEMS_PER_ROW = 1000
_TABS = Dialect("\t", quoted=False)
_RAW = {USER: "user_id", ITEM: "asin"}
_MAPPINGS = {USER: "u_id_mapping.csv", ITEM: "i_id_mapping.csv"}

Numbers = NDArray[np.int64]
Matrices = Mapping[str, NDArray[np.float32]]


def read_mmrec(folder: Path) -> Source:
    """Read a folder.

    The catalogue has as many items as ``i_id_mapping.csv`` lists, else as many as the feature matrices have rows, else
    ``max(itemID) + 1``. Pickled files such as ``user_graph_dict.npy`` are not read.

    Returns:
        A source with raw ids where the mapping files are there, otherwise the numbers as text, and a column ``split``.

    Raises:
        ValueError: naming the file, and the line where there is one.
    """
    table = _inter(folder)
    notices: list[str] = []
    numbers = {column: _whole(table, column) for column in (USER, ITEM)}
    raw_users, raw_items = _raw_ids(folder, USER), _raw_ids(folder, ITEM)
    matrices = {_modality(path): read_matrix(path) for path in sorted(folder.glob(f"*{FEATURE_SUFFIX}"))}
    n_items = _catalogue_size(folder, table, numbers[ITEM], raw_items, matrices, notices)
    items = pd.Index(np.arange(n_items).astype(str)) if raw_items is None else raw_items
    log = pd.DataFrame({"user_id": _named(table, USER, numbers[USER], raw_users), "item_id": items[numbers[ITEM]]})
    if "rating" in table.frame:
        log["rating"] = table.numbers("rating")
    if "timestamp" in table.frame:
        times = table.numbers("timestamp")
        table.require(np.isfinite(times), "timestamp", "every row needs seconds since 1970")
        log["timestamp"] = times.astype(np.int64)
    log["split"] = _labels(table)
    features = {name: _feature(folder, name, values, notices) for name, values in matrices.items()}
    return Source(log, pd.DataFrame({"item_id": items}), features, notices=tuple(notices))


def write_mmrec(source: Source, parts: pd.Series, folder: Path, name: str | None = None) -> list[str]:
    """Write a source as an MMRec folder that :func:`read_mmrec` reads back unchanged.

    Items keep their order. Missing items hold the mean of the others, because MMRec divides by norms, and are listed in
    ``missed_*_itemIDs.csv``.

    Args:
        source: log, items and features.
        parts: train, valid or test, one per row of the log.
        folder: where to write.
        name: stem of the ``.inter`` file; the folder's name by default.

    Returns:
        What MMRec may trip over, one line each.

    Raises:
        ValueError: for an item that is not listed or an id that no line of a table can hold.
    """
    log, items = source.log, pd.Index(source.items["item_id"])
    users = _in_order(pd.Index(log["user_id"].unique()))
    if not log["item_id"].isin(items).all():
        stray = log["item_id"][~log["item_id"].isin(items)].iloc[0]
        raise ValueError(f"item {stray!r} of the log is not listed, so it has no number")
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
        np.save(folder / f"{modality}{FEATURE_SUFFIX}", feature.values.astype(np.float32))
        if not (feature.present & feature.values.any(axis=1)).all():
            missed = "".join(f"{number}\n" for number in np.flatnonzero(~feature.present))
            _missed_file(folder, modality).write_text(missed, encoding="utf-8")
    trailing = len(items) - 1 - int(numbers.max())
    if trailing:
        return [f"the last {trailing} items have no interaction; MMRec counts max(itemID) + 1 items and will not fit"]
    return []


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


def _inter(folder: Path) -> Table:
    """The one log of a folder."""
    if not folder.is_dir():
        raise ValueError(f"{folder} is not a folder")
    named = folder / f"{folder.resolve().name}{INTER_SUFFIX}"
    found = [named] if named.is_file() else sorted(folder.glob(f"*{INTER_SUFFIX}"))
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise ValueError(f"{folder} must hold {named.name} or one single {INTER_SUFFIX} file; found: {names}")
    table = read_delimited(found[0], _TABS)
    missing = [column for column in (USER, ITEM, LABEL) if column not in table.frame]
    if missing:
        hint = " (a file of RecBole?)" if any(":" in name for name in table.names) else ""
        raise ValueError(
            f"{found[0]}: columns {', '.join(missing)} are missing{hint}; columns are {', '.join(table.names)}"
        )
    return table


def _whole(table: Table, column: str) -> Numbers:
    text = table.frame[column].str.strip()
    table.require(
        text.str.fullmatch(r"[0-9]{1,18}").to_numpy(bool), column, "ids must be whole numbers, zero or larger"
    )
    return np.asarray(text.astype(np.int64).to_numpy())


def _labels(table: Table) -> NDArray[np.object_]:
    words = table.frame[LABEL].str.strip().str.lower().map(splits.LABELS)
    table.require(words.notna().to_numpy(bool), LABEL, "it must be 0 (train), 1 (validation) or 2 (test)")
    return np.asarray(words.to_numpy(object))


def _raw_ids(folder: Path, column: str) -> pd.Index | None:
    """Raw ids by number from a mapping file, or None without one."""
    name = _MAPPINGS[column]
    found = sorted(path for path in folder.glob(f"*{name}") if path.name == name or path.name.endswith(f"_{name}"))
    if not found:
        return None
    if len(found) > 1:
        raise ValueError(f"{folder} must hold one {name}; found: {', '.join(path.name for path in found)}")
    table = read_delimited(found[0], _TABS)
    if len(table.names) == 1:
        table = read_delimited(found[0])
    raw = _RAW[column] if _RAW[column] in table.frame else next((n for n in table.names if n != column), "")
    if column not in table.frame or not raw:
        raise ValueError(
            f"{found[0]} must have the columns {_RAW[column]} and {column}; columns are {', '.join(table.names)}"
        )
    numbers = _whole(table, column)
    repeated = table.frame.duplicated(column) | table.frame.duplicated(raw)
    table.require(~repeated.to_numpy(bool), raw, "every id and every number must stand once")
    table.require((table.frame[raw].str.strip() != "").to_numpy(bool), raw, "an id must not be empty")
    table.require(numbers < len(numbers), column, f"the {len(numbers)} numbers must run from 0 without a gap")
    return pd.Index(table.frame[raw].to_numpy()[np.argsort(numbers)])


def _named(table: Table, column: str, numbers: Numbers, raw: pd.Index | None) -> pd.Index:
    if raw is None:
        return pd.Index(numbers.astype(str))
    table.require(numbers < len(raw), column, f"the mapping file knows {len(raw)} of them, from 0")
    return raw[numbers]


def _modality(path: Path) -> str:
    name = path.name.removesuffix(FEATURE_SUFFIX)
    if not name:
        raise ValueError(f"{path} names no modality; features are called <modality>{FEATURE_SUFFIX}")
    return name


def _catalogue_size(
    folder: Path, table: Table, numbers: Numbers, raw: pd.Index | None, matrices: Matrices, notices: list[str]
) -> int:
    """Number of items, and the check that everything agrees with it."""
    if raw is not None:
        n_items, why = len(raw), "the mapping file lists"
    elif matrices:
        first = next(iter(matrices))
        n_items, why = len(matrices[first]), f"{first}{FEATURE_SUFFIX} has rows for"
    else:
        n_items, why = int(numbers.max()) + 1, "the largest itemID makes"
        table.require(
            numbers < MAX_ITEMS_PER_ROW * len(numbers), ITEM, "item numbers must run from 0 without large gaps"
        )
    for name, values in matrices.items():
        if len(values) != n_items:
            raise ValueError(
                f"{folder / (name + FEATURE_SUFFIX)} has {len(values)} rows, but {why} {n_items} items; row k belongs "
                "to itemID k, so they must match"
            )
    table.require(numbers < n_items, ITEM, f"{why} {n_items} items, numbered from 0")
    idle = n_items - len(np.unique(numbers))
    if idle:
        notices.append(f"items: {why} {n_items} items; {idle} of them have no interaction")
    return n_items


def _missed_file(folder: Path, modality: str) -> Path:
    return folder / f"missed_{'img' if modality == 'image' else modality}_itemIDs.csv"


def _feature(folder: Path, name: str, values: NDArray[np.float32], notices: list[str]) -> ItemFeature:
    """A modality whose missing items are those listed as missed, or without a list those with an all-zero row."""
    missed = _missed_file(folder, name)
    present = np.abs(values).max(axis=1) > 0
    if missed.is_file():
        words = pd.Series(missed.read_text(encoding="utf-8").split(), dtype=object)
        known = words.str.fullmatch("[0-9]{1,18}").astype(bool)
        numbers = words[known].astype(np.int64).to_numpy()
        if not known.all() or (numbers >= len(values)).any():
            raise ValueError(f"{missed} must hold item numbers below {len(values)}, one per line")
        present = np.ones(len(values), bool)
        present[numbers] = False
    elif not present.all():
        notices.append(f"{name}: {int((~present).sum())} all-zero rows count as missing (no {missed.name})")
    return with_missing_filled(values, present)


def _in_order(ids: pd.Index) -> pd.Index:
    """Sorted by length, then alphabet: numbers keep their order."""
    table = pd.DataFrame({"length": ids.str.len(), "id": ids}).sort_values(["length", "id"])
    return pd.Index(table["id"])


def _check_writable(ids: pd.Index, column: str) -> None:
    bad = ids[ids.str.contains(r"[\t\r\n]") | (ids.str.strip() == "")]
    if len(bad):
        raise ValueError(
            f"{_RAW[column]} {bad[0]!r} is empty or holds a tab or a line end, which MMRec's tables cannot"
        )


def _write_table(table: pd.DataFrame, path: Path) -> None:
    table.to_csv(path, sep="\t", index=False, lineterminator="\n", quoting=csv.QUOTE_NONE, encoding="utf-8")
