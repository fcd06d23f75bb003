"""MicroLens (Ni et al., 2023): pairs with milliseconds or in time order, titles, features by item number from one."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmbench.data.features import nonzero_rows, read_matrix, with_missing_filled
from mmbench.data.readers.columns import Columns
from mmbench.data.readers.delimited import Dialect, read_delimited
from mmbench.data.readers.feature_files import image_paths
from mmbench.data.readers.journal import Journal
from mmbench.data.readers.lines import numbered_lines
from mmbench.data.readers.log_and_items import log_of
from mmbench.data.readers.numbered import MAX_ITEMS_PER_ROW
from mmbench.data.readers.table_files import TableFile
from mmbench.data.readers.text_table import Table
from mmbench.data.regular_file import visible_in
from mmbench.data.sources import Source
from mmbench.messages import Message, Refusal

_FEATURES = re.compile(r".*_(?P<modality>text|image|video|audio)_features_.*\.npy")
_LIKED = Dialect("\t", quoted=False, header=False)
_COLUMNS = Columns(user="user", item="item", timestamp="timestamp")


def read_microlens(folder: Path, journal: Journal) -> Source:
    """Read a folder with ``*_pairs.csv`` or ``*_pairs.tsv``, and what else there is.

    That is ``*_title*.csv``, ``*_likes_and_views.txt``, feature matrices, and covers ``<item>.jpg`` in a folder
    with ``cover`` in its name.

    Without times the last item of each user is the test part and the one before validation, the standard protocol.

    Raises:
        ValueError: naming the file and what is wrong with it.
    """
    tables = visible_in(folder, "*_pairs.csv") or visible_in(folder, "*_pairs.tsv")
    if len(tables) != 1:
        raise Refusal(
            "{path} must hold one file {pattern}; found: {found}",
            path=folder,
            pattern="*_pairs.csv",
            found=_names(tables),
        )
    path = journal.read(tables[0])
    if path.suffix == ".csv":
        source = TableFile(path)
        names = _COLUMNS.chosen(source.header())
        log = log_of(source.read(list(names.values())), names, journal)
    else:
        log = _ordered(path)
    matrices = _matrices(folder, journal)
    most = len(next(iter(matrices.values()))) if matrices else MAX_ITEMS_PER_ROW * len(log)
    rule = (
        Message("there are {size} items, numbered from 1", size=most)
        if matrices
        else Message("item numbers must run from 1 without large gaps")
    )
    bought = np.unique(_numbers(Table(path, log), "item_id", most, rule))
    titles = _titles(folder, most, rule, journal)
    size = most if matrices else max(int(bought[-1]), *map(int, titles), 0)
    ids = [str(number) for number in range(1, size + 1)]
    if idle := size - len(bought):
        journal.tell(
            Message.counted(
                "items: 1 listed item has no interaction", "items: {n} listed items have no interaction", idle
            )
        )
    items = pd.DataFrame({"item_id": ids})
    if titles:
        items["title"] = [titles.get(item, "") for item in ids]
    items = items.assign(**_liked(folder, ids, journal))
    covers = [place for place in visible_in(folder, "*cover*") if place.is_dir()]
    if len(covers) > 1:
        journal.tell(
            Message(
                "covers are not read, because there are several folders of them: {folders}; leave one of them here",
                folders=_names(covers),
            )
        )
    paths = image_paths(covers[0], ids) if len(covers) == 1 else []
    if any(paths):
        items["image_path"] = paths
    features = {name: with_missing_filled(m, nonzero_rows(m)) for name, m in matrices.items()}
    return Source(log, items, features, notices=tuple(journal.lines), texts=("title",) if titles else ())


def _ordered(path: Path) -> pd.DataFrame:
    """Rows of ``user<tab>item item ...`` in time order, with the parts of leave-one-out."""
    users, items, parts = [], [], []
    for number, line in numbered_lines(path):
        user, tab, listed = line.partition("\t")
        chosen = listed.split()
        if not tab or not user.strip() or not chosen:
            raise Refusal(
                "{where}: a user and its items must be whole numbers, zero or larger",
                where=Message("{path}, line {line}", path=path, line=number),
            )
        users += [user.strip()] * len(chosen)
        items += chosen
        held = ["valid", "test"] if len(chosen) > 2 else []
        parts += ["train"] * (len(chosen) - len(held)) + held
    if not users:
        raise Refusal("{path} has no rows", path=path)
    return pd.DataFrame({"user_id": users, "item_id": items, "split": parts})


def _numbers(table: Table, column: str, most: int, rule: Message) -> NDArray[np.int64]:
    """A column of item numbers from 1.

    Raises:
        ValueError: for another cell and, by ``rule``, for a number above ``most``, with its line.
    """
    text = table.frame[column]
    table.require(
        text.str.fullmatch("[1-9][0-9]{0,9}").to_numpy(bool), column, Message("items must be whole numbers from 1")
    )
    numbers = text.astype(np.int64).to_numpy()
    table.require(numbers <= most, column, rule)
    return np.asarray(numbers)


def _titles(folder: Path, most: int, rule: Message, journal: Journal) -> dict[str, str]:
    """Title by item; a line is split at its first comma, because titles are not quoted."""
    tables = visible_in(folder, "*_title_en.csv") or visible_in(folder, "*_title*.csv")
    if not tables:
        return {}
    path, lines, cells = journal.read(tables[0]), [], []
    for number, line in numbered_lines(path):
        item, comma, title = line.partition(",")
        if not re.fullmatch("[0-9]+", item.strip()):
            if number == 1:
                continue  # some copies have a header
            raise Refusal("{path}, line {line}: must be item number, comma, title", path=path, line=number)
        if comma:
            lines.append(number)
            cells.append((item.strip(), title.strip()))
    table = Table(path, pd.DataFrame(cells, columns=["item", "title"], dtype=str), lambda place: lines[place])
    _numbers(table, "item", most, rule)
    return dict(cells)


def _liked(folder: Path, ids: list[str], journal: Journal) -> dict[str, NDArray[np.float64]]:
    """Likes and views of each item; NaN where the table lacks it, nothing without a table."""
    tables = visible_in(folder, "*_likes_and_views.txt")
    if not tables:
        return {}
    table = read_delimited(journal.read(tables[0]), _LIKED, names=("item", "likes", "views"))
    if "views" not in table.frame:
        raise Refusal(
            "{path} has too few columns; it must hold {expected}, apart by tabs and without a header",
            path=tables[0],
            expected="item, likes, views",
        )
    if not table.frame["likes"].iloc[0].strip().isdigit():
        table = table.with_frame(table.frame.iloc[1:])  # some copies have a header
    numbers = pd.DataFrame({name: table.numbers(name) for name in ("likes", "views")})
    rows = numbers.groupby(table.frame["item"].str.strip().to_numpy()).first().reindex(ids)
    return {name: rows[name].to_numpy(np.float64) for name in ("likes", "views")}


def _matrices(folder: Path, journal: Journal) -> dict[str, NDArray[np.float32]]:
    """One matrix per modality, from the folder or its ``extracted_modality_features``."""
    paths = [path for path in visible_in(folder, "**/*.npy") if _FEATURES.fullmatch(path.name)]
    matrices: dict[str, NDArray[np.float32]] = {}
    for path in paths:
        match = _FEATURES.fullmatch(path.name)
        modality = match["modality"] if match else ""
        if modality in matrices:
            raise Refusal(
                "{path} must hold one file {pattern}; found: {found}",
                path=folder,
                pattern=f"*_{modality}_features_*.npy",
                found=_names(paths),
            )
        matrices[modality] = read_matrix(journal.read(path))
    sizes = {len(matrix) for matrix in matrices.values()}
    if len(sizes) > 1:
        raise Refusal(
            "{path}: feature matrices have different numbers of rows ({sizes}); row k belongs to item k + 1",
            path=folder,
            sizes=", ".join(map(str, sorted(sizes))),
        )
    return matrices


def _names(paths: list[Path]) -> str:
    return ", ".join(path.name for path in paths) or "-"
