"""Recommendations of any other system, and ours in the same form."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmbench.data.parquet import read_parquet
from mmbench.data.readers.delimited import read_delimited
from mmbench.data.readers.ids import places_of, plain_id
from mmbench.data.readers.known import AUTO
from mmbench.data.readers.table_files import PARQUET, TableFile, as_text, is_table, suffix_of
from mmbench.data.spreadsheet import unquoted
from mmbench.messages import Message, Refusal

COLUMNS = ("user", "item")


class Coverage(NamedTuple):
    """How much of a file of lists belongs to a dataset.

    Attributes:
        known: its rows whose user and item the dataset has.
        rows: its rows.
        listed: users of the dataset with a known row.
        users: users of the dataset.
    """

    known: int
    rows: int
    listed: int
    users: int

    @property
    def words(self) -> Message:
        """It as a sentence."""
        counts = {name: f"{n:,}" for name, n in self._asdict().items()}
        return Message("{known} of {rows} rows known, lists for {listed} of {users} users", **counts)


def read_recommendations(
    path: Path, user_ids: NDArray[np.object_], item_ids: NDArray[np.object_]
) -> tuple[NDArray[np.float64], Coverage]:
    """Read lists from a table with columns ``user``, ``item`` and ``score`` or ``rank``.

    Args:
        path: any table that ``prepare`` reads; a text table may have any ending.
        user_ids: raw id of each user of the dataset.
        item_ids: raw id of each item of the dataset.

    Returns:
        Rows ``(user index, item index, score)``, ``(n, 3)``; larger scores are better (a rank is negated). And how
        much of the file belongs to the dataset.

    Raises:
        ValueError: naming the file and what is wrong with it.
    """
    if not path.is_file():
        raise Refusal(
            "{path} is missing; model.recommendations must name a file with columns user, item, score|rank", path=path
        )
    frame = _read(path)
    missing = [name for name in COLUMNS if name not in frame]
    value = next((name for name in ("score", "rank") if name in frame), None)
    if missing or value is None:
        raise Refusal(
            "{path} needs columns user, item and score or rank; it has {columns}",
            path=path,
            columns=", ".join(map(str, frame.columns)),
        )
    scores = pd.to_numeric(frame[value], errors="coerce").to_numpy(np.float64, na_value=np.nan)
    if not np.isfinite(scores).all():
        row = int((~np.isfinite(scores)).argmax())
        raise Refusal("{path}: column {column} is no finite number in row {row}", path=path, column=value, row=row)
    users, items = (
        _places(path, frame, name, pd.Index(ids)) for name, ids in zip(COLUMNS, (user_ids, item_ids), strict=True)
    )
    known = (users >= 0) & (items >= 0)
    if not known.any():
        raise Refusal(
            "{path}: none of its (user, item) pairs belongs to the dataset; are the ids the raw ones?", path=path
        )
    again = known & frame.assign(user=users, item=items).duplicated(list(COLUMNS)).to_numpy()
    if again.any():
        row = int(again.argmax())
        raise Refusal.counted(
            "{path}: {n} row repeats an item in the list of a user (row {row}: user {user}, item {item})",
            "{path}: {n} rows repeat an item in the list of a user (first: row {row}: user {user}, item {item})",
            int(again.sum()),
            path=path,
            row=row,
            user=frame["user"].iloc[row],
            item=frame["item"].iloc[row],
        )
    rows = np.column_stack([users, items, scores if value == "score" else -scores])[known]
    return rows, Coverage(len(rows), len(frame), len(np.unique(users[known])), len(user_ids))


def _read(path: Path) -> pd.DataFrame:
    if suffix_of(path) in PARQUET:
        return read_parquet(path)  # ids as they are: 7.0 may be the id 7.0
    if not is_table(path):
        return read_delimited(path, encoding=AUTO).frame
    table = TableFile(path, AUTO)
    return table.read(table.header().names).frame


def _places(path: Path, frame: pd.DataFrame, column: str, known: pd.Index) -> NDArray[np.int64]:
    """Where the ids of a column stand among those of the dataset, -1 for one that does not.

    They are text, without what keeps a spreadsheet from taking them for formulas. A whole number is written without a
    decimal point, or with one where the dataset has it so. One that the dataset has neither way is read as the ids of a
    log are, so that whatever is one user or item there is one here.
    """
    ids = as_text(frame[column])
    missing = (ids == "").to_numpy(bool)
    if missing.any():
        raise Refusal("{path}: row {row} has no {column}", path=path, row=int(missing.argmax()), column=column)
    plain, written = (pd.Index(text.map(unquoted)) for text in (ids, frame[column].astype(str)))
    places = known.get_indexer(plain)
    places = np.where(places >= 0, places, known.get_indexer(written))
    if (lacking := places < 0).any():
        codes, names = pd.factorize(plain[lacking])
        places[lacking] = places_of([plain_id(name) for name in names], known.tolist())[codes]
    return places


def recommendations_frame(
    lists: pd.DataFrame, k: int, user_ids: NDArray[np.object_], item_ids: NDArray[np.object_]
) -> pd.DataFrame:
    """The best ``k`` of stored lists with raw ids: columns ``user, item, rank``.

    Args:
        lists: columns ``user`` (index) and ``items`` (item indices, best first, -1 where candidates ran out).
        k: length of the lists.
        user_ids: raw id of each user.
        item_ids: raw id of each item.
    """
    items = np.array(lists["items"].tolist(), np.int64)[:, :k]
    users = np.repeat(lists["user"].to_numpy(), items.shape[1])
    ranks = np.tile(np.arange(1, items.shape[1] + 1), len(items))
    flat = items.ravel()
    real = flat >= 0
    return pd.DataFrame({"user": user_ids[users[real]], "item": item_ids[flat[real]], "rank": ranks[real]})
