"""A log of one's own, and optionally a table of items with texts, in any of the usual files with any column names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from mmbench.data.readers.columns import Columns, guessed, nothing_like, pairs
from mmbench.data.readers.journal import Journal
from mmbench.data.readers.log_and_items import first_of_each, log_of, with_ids, with_unlisted
from mmbench.data.readers.table_files import TableFile
from mmbench.data.readers.text_table import MISSING_WORDS
from mmbench.data.sources import Source
from mmbench.messages import Message, Refusal, Template


def read_tabular(
    interactions: Path,
    columns: Columns | None = None,
    *,
    items: Path | None = None,
    item_column: str | None = None,
    text: Sequence[str] = (),
    encoding: str = "utf-8",
    sheet: str | None = None,
    journal: Journal | None = None,
) -> Source:
    """Read a log and optionally a table of items.

    Ids stay as they are written, leading zeros included; only full-width letters and digits become plain ones. The
    catalogue is the table of items in its order, followed by items that only the log knows.

    Args:
        interactions: the log, see :class:`mmbench.data.readers.table_files.TableFile`.
        columns: columns of the log.
        items: table of items.
        item_column: column of ``items`` with the item id; guessed by default.
        text: columns of ``items`` that are joined to one text; guessed by default.
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
    return Source(log, catalogue, {}, notices=tuple(journal.lines), texts=tuple(texts))


def _items(
    source: TableFile, item_column: str | None, text: Sequence[str], journal: Journal
) -> tuple[pd.DataFrame, list[str]]:
    """Listed items with texts, images and category, each item once, and the names of the text columns."""
    header = source.header()
    if item_column is None:
        alike = guessed(header.names, "listed item")
        if not alike:
            raise nothing_like(
                header,
                Template("{path}: no column looks like the item; name it with --item-column; columns are {columns}"),
            )
        item_column = alike[0]
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
    roles = (role for role in ("image_url", "image_path", "category") if role not in texts)
    kept = {alike[0]: role for role in roles if (alike := guessed(free, role))}
    named = {"item": item_column, "text": "+".join(texts), **{role: name for name, role in kept.items()}}
    journal.tell(Message("columns of the items: {pairs}", pairs=pairs(named)))
    table = source.read([item_column, *texts, *kept])
    frame = with_ids(table, {"item_id": item_column}, "items", journal).frame[["item_id", *texts, *kept]]
    frame = first_of_each(frame, journal)
    cleaned = {name: frame[name].where(~frame[name].isin(MISSING_WORDS), "") for name in [*texts, *kept]}
    return frame.assign(**cleaned).rename(columns=kept), texts
