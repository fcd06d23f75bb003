"""Atomic files of RecBole: tables with tabs whose header cells are ``name:type``.

The log is ``<name>.inter``, or ``<name>.train.inter`` and its like for a split of one's own; ``<name>.item`` holds the
catalogue. Words (``token_seq``) and titles become texts; a column of numbers (``float_seq``) becomes the modality of
its name.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from mmbench.data import encoded
from mmbench.data.features import ItemFeature, nonzero_rows, with_missing_filled
from mmbench.data.readers.columns import Columns
from mmbench.data.readers.delimited import Dialect, read_delimited
from mmbench.data.readers.journal import Journal
from mmbench.data.readers.log_and_items import first_of_each, log_of, with_ids, with_unlisted
from mmbench.data.readers.text_table import Table
from mmbench.data.regular_file import regular_file, visible_in
from mmbench.data.sources import Source
from mmbench.data.splits import LABELS, PARTS
from mmbench.messages import Refusal

TYPES = ("token", "token_seq", "float", "float_seq")
_TABS = Dialect("\t", quoted=False)


def is_atomic(path: Path) -> bool:
    """Whether the first line of a table names a type in every column."""
    with regular_file(path).open("rb") as file:
        cells = file.readline(1 << 16).decode("utf-8-sig", "replace").rstrip("\r\n").split("\t")
    return all(cell.rpartition(":")[2] in TYPES and ":" in cell for cell in cells)


def read_recbole(folder: Path, journal: Journal) -> Source:
    """Read a folder of atomic files, or the one of an ``.inter`` file.

    Raises:
        ValueError: naming the file and what is wrong with it.
    """
    logs, stem, home = _logs(folder)
    parts = [_log(path, journal).assign(**({"split": part} if part else {})) for part, path in logs.items()]
    log = pd.concat(parts, ignore_index=True)
    path = home / f"{stem}.item"
    if not path.is_file():
        items = pd.DataFrame({"item_id": np.sort(log["item_id"].unique())})
        return Source(log, items, {}, notices=tuple(journal.lines))
    table, types = _typed(journal.read(path))
    table.check_column("item_id", "item_id:token")
    table = with_ids(table, {"item_id": "item_id"}, "items", journal)
    listed = first_of_each(table.frame, journal)
    catalogue = with_unlisted(log, listed, path, journal)
    numbers = [name for name, kind in types.items() if kind == "float_seq"]
    for name in numbers:
        encoded.check_modality(name, path)
    features = {name: _vectors(table.with_frame(catalogue), name) for name in numbers}
    texts = tuple(name for name, kind in types.items() if kind == "token_seq" or ("title" in name and kind == "token"))
    return Source(log, catalogue.drop(columns=numbers), features, notices=tuple(journal.lines), texts=texts)


def _logs(folder: Path) -> tuple[Mapping[str, Path], str, Path]:
    """The logs by part (no part: the empty word), the stem of the other files and their folder."""
    if folder.is_file():
        return {"": folder}, folder.stem, folder.parent
    logs = visible_in(folder, "*.inter")
    whole = [path for path in logs if path.stem.rpartition(".")[2] not in LABELS]
    if len(whole) == 1:
        return {"": whole[0]}, whole[0].stem, folder
    split = {LABELS[path.stem.rpartition(".")[2]]: path for path in logs if path not in whole}
    stems = {path.stem.rpartition(".")[0] for path in split.values()}
    if whole or "train" not in split or len(stems) != 1:
        raise Refusal(
            "{path} must hold one file {pattern}; found: {found}",
            path=folder,
            pattern="*.inter",
            found=", ".join(p.name for p in logs) or "-",
        )
    return {part: split[part] for part in PARTS if part in split}, stems.pop(), folder


def _log(path: Path, journal: Journal) -> pd.DataFrame:
    table, _ = _typed(journal.read(path))
    return log_of(table, Columns().chosen(table), journal)


def _typed(path: Path) -> tuple[Table, dict[str, str]]:
    """A table with plain names, and the type of each column."""
    if path.is_file() and not is_atomic(path):
        raise Refusal(
            "{path}: the first line of an atomic file names every column as name:type with a type of {types}",
            path=path,
            types=", ".join(TYPES),
        )
    table = read_delimited(path, _TABS)
    types = dict(name.rsplit(":", 1) for name in table.names)
    return table.with_frame(table.frame.set_axis(list(types), axis=1)), types


def _vectors(table: Table, name: str) -> ItemFeature:
    """A column of numbers apart by spaces as features; an item is missing whose cell is empty or holds zeros alone."""
    cells = table.frame[name].str.strip()
    present = (cells != "").to_numpy(bool)
    lists = pc.utf8_split_whitespace(pa.array(cells[present], pa.large_string()))
    widths = np.unique(pc.list_value_length(lists).to_numpy(zero_copy_only=False))
    uneven = Refusal(
        "{path}: {column} must hold equally many numbers apart by spaces in every row that has some",
        path=table.path,
        column=name,
    )
    try:
        flat = pc.cast(lists.flatten(), pa.float32()).to_numpy(zero_copy_only=False)
    except pa.ArrowInvalid as error:
        raise uneven from error
    if len(widths) != 1 or not np.isfinite(flat).all():
        raise uneven
    values = np.zeros((len(cells), int(widths[0])), np.float32)
    values[present] = flat.reshape(-1, int(widths[0]))
    return with_missing_filled(values, nonzero_rows(values))
