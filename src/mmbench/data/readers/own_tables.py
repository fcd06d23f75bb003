"""A log of one's own, and optionally a table of items with texts, in any of the usual files with any column names."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from mmbench.data.readers.columns import NONE, Columns, guessed, nothing_like, pairs
from mmbench.data.readers.journal import Journal
from mmbench.data.readers.known import AUTO
from mmbench.data.readers.lines import numbered_lines
from mmbench.data.readers.log_and_items import (
    first_of_each,
    log_of,
    with_ids,
    with_unlisted,
    with_zeros_restored,
)
from mmbench.data.readers.table_files import TableFile, sheets_beside
from mmbench.data.readers.text_table import MISSING_WORDS, Table, named_or_empty, plain_digits, shortened
from mmbench.data.readers.times import share_of_dates
from mmbench.data.sources import Source
from mmbench.messages import Message, Refusal, Template

#: Rows at the top of a log in which columns that nobody named are looked at.
_LOOKED_AT = 10_000
#: Share of the cells from which a column is one of dates.
_MOST = 0.9
#: What a workbook adds to a day, and a time of day without its day.
_MIDNIGHT = r"[T ]00:00(?::00)?$"
_TIME_OF_DAY = r"(?:[01]?\d|2[0-3])(?::[0-5]\d(?::[0-5]\d)?|時(?:[0-5]?\d分)?(?:[0-5]?\d秒)?)"
#: A negative number, also as accountants write it or with a currency.
_MINUS = r"^\s*[-\u2212▲△▼]"
_NEGATIVE = r"[-\u2212▲△▼]\s*[¥\\$€]?\s*\d[\d,]*(?:\.\d+)?\s*\w{0,4}"
#: What shops call a purchase that came to nothing, and how many values a column of such words has at most.
_UNDONE = r"(?i)cancel|refund|return|void|キャンセル|取消|取り消|返品|返金"
_MOST_VALUES = 20
#: Names of columns that are negative for other reasons than a return.
_NO_COUNT = r"(?i)profit|margin|discount|coupon|balance|points?$|利益|粗利|損益|値引|割引|クーポン|残高|ポイント"


def read_tabular(
    interactions: Path,
    columns: Columns | None = None,
    *,
    items: Path | None = None,
    item_column: str | None = None,
    text: Sequence[str] | None = (),
    encoding: str = "utf-8",
    sheet: str | None = None,
    items_encoding: str | None = None,
    items_sheet: str | None = None,
    cancel_returns: bool = False,
    restore_zeros: bool = False,
    leave_out: Sequence[str] = (),
    journal: Journal | None = None,
) -> Source:
    """Read a log and optionally a table of items.

    Ids stay as they are written, leading zeros included; only what
    :func:`mmbench.data.readers.ids.plain_id` makes plain is another one. The catalogue is the table of items in its
    order, followed by items that only the log knows.

    Args:
        interactions: the log, see :class:`mmbench.data.readers.table_files.TableFile`.
        columns: columns of the log.
        items: table of items.
        item_column: column of ``items`` with the item id; guessed by default.
        text: columns of ``items`` that are joined to one text; guessed by default, and so with
            None, where there need be none.
        encoding: of text tables; a byte order mark outranks it.
        sheet: of a workbook with the log.
        items_encoding: of the table of items; ``encoding`` by default.
        items_sheet: of a workbook with the items.
        cancel_returns: see :func:`mmbench.data.readers.log_and_items.log_of`; needs a quantity.
        restore_zeros: give ids of items the leading zeros that the log or ``items`` has lost; needs ``items``.
        leave_out: ``column=value`` of rows of the log that do not count.
        journal: where to tell; a new one by default.

    Raises:
        ValueError: naming the file, line or column and what is allowed.
    """
    if restore_zeros and items is None:
        raise Refusal("--restore-zeros compares the codes of the log with the table --items, which is not given")
    journal = journal or Journal()
    columns = columns or Columns()
    source = TableFile(journal.read(interactions), encoding, sheet)
    header = source.header(_LOOKED_AT)
    names = columns.chosen(header)
    if cancel_returns and "quantity" not in names:
        raise nothing_like(
            header,
            Template(
                "{path}: --cancel-returns needs the quantity of each row, and no column is known to be it; name it "
                "with --quantity; columns are {columns}"
            ),
        )
    _tell_of_file(source, header, journal)
    list_source = None if items is None else TableFile(items, items_encoding or encoding, items_sheet)
    _tell_of_sheets(source, list_source, "--sheet", journal)
    unwanted = [_unwanted(word, header) for word in leave_out]
    kept = list(dict.fromkeys([*names.values(), *(name for name, _ in unwanted)]))
    table = _without(source.read(kept, ids=[names["user"], names["item"]]), unwanted, journal)
    log = log_of(table, names, journal, cancel_returns=cancel_returns)
    unused = [name for name in header.names if name not in kept]
    if unused:
        listed_names = ", ".join(map(named_or_empty, unused))
        journal.tell(Message("columns of the log that are not used: {columns}", columns=listed_names))
        nameable = [name for name in unused if name.strip()]  # no option can mean a column without a name
        _ask_about(header, nameable, names, columns, journal)
    if list_source is None:
        catalogue = pd.DataFrame({"item_id": np.sort(log["item_id"].unique())})
        return Source(log, catalogue, {}, notices=tuple(journal.lines))
    journal.read(list_source.path)
    listed, texts = _items(list_source, item_column, text, journal)
    _tell_of_sheets(list_source, source, "--items-sheet", journal)
    if restore_zeros:
        log, listed = with_zeros_restored(log, listed, journal)
    catalogue = with_unlisted(log, listed, list_source.path, journal)
    return Source(log, catalogue, {}, notices=tuple(journal.lines), texts=tuple(texts))


def read_histories(path: Path, journal: Journal) -> pd.DataFrame:
    """What new users have: the columns ``user`` and ``item`` of a table, with ids as :func:`read_tabular` reads them.

    Args:
        path: the table, see :class:`mmbench.data.readers.table_files.TableFile`.
        journal: told how the file was understood.

    Raises:
        ValueError: for a file that is no table, a column that it lacks, and an id that cannot be right.
    """
    source = TableFile(path, AUTO)
    header = source.header()
    if missing := {"user", "item"} - {*header.frame}:
        raise Refusal("{file} has no column {column}; it needs user and item", file=path, column=min(missing))
    _tell_of_file(source, header, journal)
    _tell_of_sheets(source, None, None, journal)
    table = source.read(["user", "item"], ids=["user", "item"])
    return with_ids(table, {"user": "user", "item": "item"}, "users", journal).frame


def read_users(path: Path, journal: Journal) -> list[str]:
    """Ids of users, one a line, as :func:`read_tabular` reads them; none of a file without any line.

    Args:
        path: text file.
        journal: told which lines are left out or read as another id.

    Raises:
        ValueError: for a file that is no text in UTF-8, and for an id that cannot be right.
    """
    lines, ids = [], []
    for line, text in numbered_lines(path):
        lines.append(line)
        ids.append(text)
    if not ids:
        return []
    table = Table(path, pd.DataFrame({"user": ids}), lambda place: lines[place])
    return with_ids(table, {"user": "user"}, "users", journal).frame["user"].tolist()


def _unwanted(word: str, header: Table) -> tuple[str, str]:
    """Column and value of ``column=value``; both may hold the sign."""
    column = max((name for name in header.names if word.startswith(f"{name}=")), key=len, default=None)
    if column is None:
        raise Refusal(
            "--leave-out {word}: write COLUMN=VALUE with a column of {path}; columns are {columns}",
            word=repr(word),
            path=header.path,
            columns=header.names_in_short,
        )
    return column, word.removeprefix(f"{column}=").strip()


def _without(table: Table, unwanted: Sequence[tuple[str, str]], journal: Journal) -> Table:
    """The rows of a log that have none of the values that are not wanted."""
    gone = np.zeros(len(table.frame), bool)
    for column, value in unwanted:
        rows = (table.frame[column].str.strip() == value).to_numpy(bool)
        if not rows.any():
            raise Refusal(
                "{path}: no row has {value} in the column {column} (--leave-out)",
                path=table.path,
                value=repr(value),
                column=repr(column),
            )
        journal.tell(
            Message.counted(
                "log: 1 row with {column}={value} is left out ({where})",
                "log: {n} rows with {column}={value} are left out (first: {where})",
                int(rows.sum()),
                column=column,
                value=value,
                where=table.where(int(rows.argmax())),
            )
        )
        gone |= rows
    if gone.all():
        raise Refusal("{path}: --leave-out leaves no row", path=table.path)
    return table.with_frame(table.frame[~gone]) if gone.any() else table


def _tell_of_file(source: TableFile, header: Table, journal: Journal) -> None:
    """Say how a file was understood, where that is not the usual way."""
    if (encoding := source.text_encoding()) not in (None, "utf-8"):
        journal.tell(Message("{file} is read as {encoding}", file=source.path.name, encoding=encoding))
    if header.above:
        journal.tell(
            Message.counted(
                "{file}: 1 row above the names of the columns is a title and left out ({text})",
                "{file}: {n} rows above the names of the columns are a title and left out (first: {text})",
                len(header.above),
                file=source.path.name,
                text=shortened(header.above[0]),
            )
        )


def _tell_of_sheets(source: TableFile, other: TableFile | None, option: str | None, journal: Journal) -> None:
    """Name the sheets of a workbook that are not read, unless the one that is was named.

    Args:
        source: the table in question.
        other: the second table that is read, maybe of the same workbook.
        option: what names another sheet; None where nothing does.
        journal: where to tell.
    """
    if source.sheet is not None:
        return
    place = source.path.resolve()
    read = [table.sheet for table in (source, other) if table is not None and table.path.resolve() == place]
    unread = sheets_beside(source.path, read)
    if not unread:
        return
    names = {"file": source.path.name, "sheets": ", ".join(map(shortened, unread))}
    if option is None:
        journal.tell(Message("{file}: sheets that are not read: {sheets}", **names))
    else:
        journal.tell(
            Message(
                "{file}: sheets that are not read: {sheets}; without {option} the first one is", **names, option=option
            )
        )


def _ask_about(
    header: Table, unused: Sequence[str], names: Mapping[str, str], columns: Columns, journal: Journal
) -> None:
    """Ask about columns that were not taken and whose cells look like times, returns or cancelled orders."""
    if "timestamp" in names and columns.timestamp is None:
        _tell_of_times(header, unused, names["timestamp"], journal)
    bought = header.frame[names["quantity"]] if "quantity" in names else None
    sold = np.ones(len(header.frame), bool) if bought is None else ~bought.str.contains(_MINUS).to_numpy(bool)
    for name in unused:
        cells = header.frame[name]
        negative = plain_digits(cells).str.strip().str.fullmatch(_NEGATIVE).to_numpy(bool) & sold
        if share_of_dates(cells) >= _MOST:
            if "timestamp" not in names and columns.timestamp != NONE:
                journal.ask(
                    Message(
                        "{column} holds dates (first: {example}) and the log has no time: is it when the purchase was "
                        "made? If so, add --timestamp {word}",
                        column=name,
                        example=shortened(cells[~cells.str.strip().isin(MISSING_WORDS)].iloc[0]),
                        word=shlex.quote(name),
                    ),
                    "--timestamp",
                    name,
                )
        elif negative.any() and columns.quantity is None:
            journal.ask(
                Message.counted(
                    "{column} is negative in 1 of the first {rows} rows ({example}): is that row a return? If so, add "
                    "--quantity {word}, and it is left out",
                    "{column} is negative in {n} of the first {rows} rows (first: {example}): are these rows returns? "
                    "If so, add --quantity {word}, and they are left out",
                    int(negative.sum()),
                    rows=len(cells),
                    column=name,
                    example=cells[negative].iloc[0],
                    word=shlex.quote(name),
                ),
                "--quantity",
                name,
                likely="quantity" not in names and _may_count(name, cells),
            )
        elif (written := cells.str.strip()).nunique() <= _MOST_VALUES:
            undone = plain_digits(written).str.contains(_UNDONE).to_numpy(bool)
            values = written[undone].unique().tolist()
            words = [word for value in values for word in ("--leave-out", f"{name}={value}")]
            if values:
                journal.ask(
                    Message.counted(
                        "{column} is {values} in 1 of the first {rows} rows: was that purchase cancelled or given "
                        "back? If so, add {words}, and it is left out",
                        "{column} is {values} in {n} of the first {rows} rows: were these purchases cancelled or given "
                        "back? If so, add {words}, and they are left out",
                        int(undone.sum()),
                        rows=len(cells),
                        column=name,
                        values=", ".join(map(shortened, values)),
                        words=" ".join(map(shlex.quote, words)),
                    ),
                    *words,
                    likely=False,
                )


def _tell_of_times(header: Table, unused: Sequence[str], used: str, journal: Journal) -> None:
    """Name columns that tell more of the time than the one that was guessed, or may be the right one in its place."""
    days = header.frame[used].str.replace(_MIDNIGHT, "", regex=True)
    of_days = share_of_dates(days) >= _MOST and not days.str.contains("[:：時]").any()
    usual = guessed(unused, "timestamp")
    for name in unused:
        cells = header.frame[name].str.strip()
        written = cells[~cells.isin(MISSING_WORDS)]
        if written.empty:
            continue
        if plain_digits(written).str.fullmatch(_TIME_OF_DAY).mean() >= _MOST:
            if of_days:
                journal.tell(
                    Message(
                        "{column} holds times of day (first: {example}) and is not used, so that rows of one day count "
                        "in the order of the log; write both into one column, such as {used} {example}",
                        column=name,
                        example=written.iloc[0],
                        used=days.loc[written.index[0]].strip(),
                    )
                )
        elif name in usual or (share_of_dates(cells) >= _MOST and cells.nunique() > header.frame[used].nunique()):
            journal.tell(
                Message(
                    "the time is that of {used}; {column} holds times too (first: {example}): if they are those of the "
                    "purchases, add --timestamp {word}",
                    used=used,
                    column=name,
                    example=shortened(written.iloc[0]),
                    word=shlex.quote(name),
                )
            )


def _may_count(name: str, cells: pd.Series) -> bool:
    """Whether a negative number may mean a return: most others are above zero, and it is no profit and no discount."""
    positive = ~cells.str.contains(_MINUS) & plain_digits(cells).str.contains("[1-9]")
    return bool(positive.mean() > 0.5) and not re.search(_NO_COUNT, name)


def _items(
    source: TableFile, item_column: str | None, text: Sequence[str] | None, journal: Journal
) -> tuple[pd.DataFrame, list[str]]:
    """Listed items with texts, images and category, each item once, and the names of the text columns."""
    header = source.header()
    _tell_of_file(source, header, journal)
    if item_column is None:
        alike = guessed(header.names, "listed item")
        if not alike:
            raise nothing_like(
                header,
                Template("{path}: no column looks like the item; name it with --item-column; columns are {columns}"),
            )
        item_column = alike[0]
    header.check_column(item_column, "--item-column")
    texts = list(text or ()) or guessed([name for name in header.names if name != item_column], "text")
    if not texts and text is not None:
        raise nothing_like(
            header,
            Template(
                "{path}: no column looks like a text; name it with --text, or add --text none; columns are {columns}"
            ),
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
    named = {"item": item_column, **({"text": "+".join(texts)} if texts else {})}
    named |= {role: name for name, role in kept.items()}
    journal.tell(Message("columns of the items: {pairs}", pairs=pairs(named)))
    unused = [name for name in free if name not in kept]
    if unused:
        listed_names = ", ".join(map(named_or_empty, unused))
        journal.tell(Message("columns of the items that are not used: {columns}", columns=listed_names))
    names = [name for name, role in kept.items() if role == "category"]
    table = source.read([item_column, *texts, *kept], names=names, ids=[item_column])
    frame = with_ids(table, {"item_id": item_column}, "items", journal).frame[["item_id", *texts, *kept]]
    frame = first_of_each(frame, journal)
    cleaned = {name: frame[name].where(~frame[name].str.strip().isin(MISSING_WORDS), "") for name in [*texts, *kept]}
    return frame.assign(**cleaned).rename(columns=kept), texts
