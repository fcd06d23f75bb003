"""A log of one's own, and optionally a table of items with texts, in any of the usual files with any column names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from mmbench.data import splits
from mmbench.data.journal import Journal
from mmbench.data.roles import Columns, guessed, nothing_like, pairs
from mmbench.data.sources import Source
from mmbench.data.table import MISSING_WORDS, Table
from mmbench.data.tables import TableFile
from mmbench.data.text import with_text
from mmbench.data.times import unix_seconds
from mmbench.messages import Message, Refusal, Template

#: Full-width letters, digits and hyphens, and their plain forms: one code must not be two items.
_WIDE = {code: code - 0xFEE0 for code in (*range(0xFF10, 0xFF1A), *range(0xFF21, 0xFF3B), *range(0xFF41, 0xFF5B))}
_WIDE |= {0xFF0D: 0x2D, 0xFF3F: 0x5F}
_WIDE_PATTERN = "[\uff10-\uff19\uff21-\uff3a\uff41-\uff5a\uff0d\uff3f]"
#: What a spreadsheet makes of a long code: 4.90123E+12.
_ROUNDED = r"\d(?:\.\d+)?[eE]\+\d+"
_CONTROL = r"[\x00-\x08\x0a-\x1f\x7f]"
_WITHOUT_IDS = {
    "log": Template(
        "log: 1 row without {columns} is left out (first: {where})",
        "log: {n} rows without {columns} are left out (first: {where})",
    ),
    "items": Template(
        "items: 1 row without {columns} is left out (first: {where})",
        "items: {n} rows without {columns} are left out (first: {where})",
    ),
}


def read_tabular(
    interactions: Path,
    columns: Columns | None = None,
    *,
    items: Path | None = None,
    item_column: str | None = None,
    text: Sequence[str] = (),
    text_dim: int = 256,
    encoding: str = "utf-8",
    sheet: str | None = None,
    journal: Journal | None = None,
) -> Source:
    """Read a log and optionally a table of items, whose texts become the modality ``text``.

    Ids stay as they are written, leading zeros included; only full-width letters and digits become plain ones. The
    catalogue is the table of items in its order, followed by items that only the log knows.

    Args:
        interactions: the log, see :class:`mmbench.data.tables.TableFile`.
        columns: columns of the log.
        items: table of items.
        item_column: column of ``items`` with the item id; guessed by default.
        text: columns of ``items`` that are joined to one text; guessed by default.
        text_dim: width of the text features, see :func:`mmbench.data.text.encode_texts`; 0 leaves texts as they are.
        encoding: of text tables.
        sheet: of a workbook with the log.
        journal: where to tell; a new one by default.

    Raises:
        ValueError: naming the file, line or column and what is allowed.
    """
    journal = journal or Journal()
    source = TableFile(journal.read(interactions), encoding, sheet)
    names = (columns or Columns()).chosen(source.header())
    log = log_of(source.read(list(names.values())), names, journal)
    if items is None:
        catalogue = pd.DataFrame({"item_id": np.sort(log["item_id"].unique())})
        return Source(log, catalogue, {}, notices=tuple(journal.lines))
    listed, texts = _items(TableFile(journal.read(items), encoding), item_column, text, journal)
    catalogue = with_unlisted(log, listed, items, journal)
    made = Source(log, catalogue, {}, notices=tuple(journal.lines), texts=tuple(texts))
    return with_text(made, texts, text_dim) if text_dim else made


def log_of(table: Table, names: Mapping[str, str], journal: Journal) -> pd.DataFrame:
    """The log in a table whose columns play the roles ``names``.

    Raises:
        ValueError: for a bad cell, with its line.
    """
    journal.tell(Message("columns of the log: {pairs}", pairs=pairs(names)))
    table = with_ids(table, {"user_id": names["user"], "item_id": names["item"]}, "log", journal)
    others = (name for role, name in names.items() if role not in ("user", "item"))
    kept = list(dict.fromkeys(["user_id", "item_id", *others]))
    table = table.with_frame(table.frame[kept])  # the ids as they were written take half as much as the log
    if "quantity" in names:
        table = _bought(table, names["quantity"], journal)
    log = table.frame[["user_id", "item_id"]].copy()
    if "rating" in names:
        log["rating"] = table.numbers(names["rating"])
    if "timestamp" in names:
        log["timestamp"] = unix_seconds(table, names["timestamp"], journal)
    if "split" in names:
        log["split"] = splits.given(table.frame, names["split"])
    if "order" in names:
        log["order_id"] = table.frame[names["order"]].str.strip()
    if "quantity" in names:
        log["quantity"] = table.numbers(names["quantity"])
    return log.reset_index(drop=True)


def _bought(table: Table, column: str, journal: Journal) -> Table:
    """The rows that are no returns: with a quantity above zero, or an unknown one."""
    returned = table.numbers(column) <= 0
    if returned.all():
        raise Refusal("{path}: no row has a {column} above zero", path=table.path, column=column)
    if returned.any():
        journal.tell(
            Message.counted(
                "log: 1 row with a {column} of zero or less (a return) is left out ({where})",
                "log: {n} rows with a {column} of zero or less (returns) are left out (first: {where})",
                int(returned.sum()),
                column=column,
                where=table.where(int(returned.argmax())),
            )
        )
    return table.with_frame(table.frame[~returned])


def with_ids(table: Table, names: Mapping[str, str], what: str, journal: Journal) -> Table:
    """Add the ids as columns, without white space around them, and drop rows that lack one.

    Args:
        table: cells.
        names: column by name of the id.
        what: ``log`` or ``items``.
        journal: told what was dropped or read as another id.

    Raises:
        ValueError: if no row has its ids, or an id is a rounded number or holds a control character.
    """
    ids = {target: table.frame[name].str.strip() for target, name in names.items()}
    missing = np.logical_or.reduce([column.isin(MISSING_WORDS).to_numpy(bool) for column in ids.values()])
    columns = "+".join(names.values())
    if missing.all():
        raise Refusal("{path}: every row lacks {columns}", path=table.path, columns=columns)
    for target, column in ids.items():
        if not column.str.isascii().all():
            ids[target] = _plain_ids(column, names[target], journal)
    table = table.with_frame(table.frame.assign(**ids))
    if missing.any():
        first = table.where(int(missing.argmax()))
        journal.tell(Message(_WITHOUT_IDS[what], int(missing.sum()), columns=columns, where=first))
        table = table.with_frame(table.frame[~missing])
    for target, name in names.items():
        column = table.frame[target]
        table.require(
            ~column.str.fullmatch(_ROUNDED).to_numpy(bool),
            name,
            Message("a spreadsheet has rounded this code; format its column as text and save again"),
        )
        table.require(
            ~column.str.contains(_CONTROL).to_numpy(bool), name, Message("an id must not hold control characters")
        )
    return table


def _plain_ids(column: pd.Series, name: str, journal: Journal) -> pd.Series:
    wide = column.str.contains(_WIDE_PATTERN)
    if wide.any():
        journal.tell(
            Message.counted(
                "{column}: 1 id in full-width characters is read as the plain one ({example})",
                "{column}: {n} ids in full-width characters are read as the plain ones (first: {example})",
                int(wide.sum()),
                column=name,
                example=column[wide].iloc[0],
            )
        )
        column = column.str.translate(_WIDE)
    return column


def _items(
    source: TableFile, item_column: str | None, text: Sequence[str], journal: Journal
) -> tuple[pd.DataFrame, list[str]]:
    """Listed items with their texts and images, each item once, and the names of the text columns."""
    header = source.header()
    if item_column is None:
        found = guessed(header.names, "listed item")
        if not found:
            raise nothing_like(
                header,
                Template("{path}: no column looks like the item; name it with --item-column; columns are {columns}"),
            )
        item_column = found[0]
    header.check_column(item_column, "--item-column")
    texts = list(text) or guessed([name for name in header.names if name != item_column], "text")
    if not texts:
        raise nothing_like(
            header, Template("{path}: no column looks like a text; name it with --text; columns are {columns}")
        )
    for name in texts:
        header.check_column(name, "--text")
        if name in ("item_id", item_column) or texts.count(name) > 1:
            raise Refusal(
                "{path}: column {column} (--text) is the item id or stands twice", path=source.path, column=repr(name)
            )
    free = [name for name in header.names if name not in (item_column, *texts)]
    images = {found[0]: role for role in ("image_url", "image_path") if (found := guessed(free, role))}
    journal.tell(Message("columns of the items: {pairs}", pairs=pairs({"item": item_column, "text": "+".join(texts)})))
    table = source.read([item_column, *texts, *images])
    frame = with_ids(table, {"item_id": item_column}, "items", journal).frame[["item_id", *texts, *images]]
    frame = first_of_each(frame, journal)
    cleaned = {name: frame[name].where(~frame[name].isin(MISSING_WORDS), "") for name in [*texts, *images]}
    return frame.assign(**cleaned).rename(columns=images), texts


def first_of_each(items: pd.DataFrame, journal: Journal) -> pd.DataFrame:
    """The first row of each item."""
    repeated = items["item_id"].duplicated().to_numpy(bool)
    if repeated.any():
        first = items["item_id"][repeated].iloc[0]
        journal.tell(
            Message.counted(
                "items: 1 repeated item, the first row counts ({example})",
                "items: {n} repeated items, the first row of each counts (first: {example})",
                int(repeated.sum()),
                example=repr(first),
            )
        )
    return items[~repeated].reset_index(drop=True)


def with_unlisted(log: pd.DataFrame, listed: pd.DataFrame, path: Path, journal: Journal) -> pd.DataFrame:
    """The catalogue: listed items, then those that only the log knows, with empty cells.

    Raises:
        ValueError: if log and list have no item in common.
    """
    in_log = pd.Index(log["item_id"].unique())
    unlisted = in_log.difference(pd.Index(listed["item_id"]))
    if len(unlisted) == len(in_log):
        listed_id = repr(listed["item_id"].iloc[0]) if len(listed) else "-"
        raise Refusal(
            "{path}: no item of the log occurs in it ({in_log} against {listed})",
            path=path,
            in_log=repr(in_log[0]),
            listed=listed_id,
        )
    if len(unlisted):
        journal.tell(
            Message.counted(
                "items: 1 item of the log is not listed and has no text",
                "items: {n} items of the log are not listed and have no text",
                len(unlisted),
            )
        )
    idle = len(listed) - (len(in_log) - len(unlisted))
    if idle:
        journal.tell(
            Message.counted(
                "items: 1 listed item has no interaction", "items: {n} listed items have no interaction", idle
            )
        )
    return pd.concat([listed, pd.DataFrame({"item_id": unlisted})], ignore_index=True).fillna("")
