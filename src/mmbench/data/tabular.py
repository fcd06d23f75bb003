"""A log of one's own, and optionally a table of items with texts: CSV, TSV or Parquet with any column names."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmbench.data import splits
from mmbench.data.delimited import MISSING_WORDS, Table, read_delimited
from mmbench.data.sources import Source
from mmbench.data.text import text_feature

#: Leaves an optional column out that would be guessed otherwise.
NONE = "none"
_ITEM = (
    "item", "itemid", "iid", "product", "productid", "productcode", "parentasin", "asin", "sku", "movieid",
    "articleid", "商品", "商品id", "商品コード", "商品番号", "アイテム", "アイテムid",
)  # fmt: skip
#: Usual names by role, compared without case, spaces, hyphens and underscores; the first that is there counts.
USUAL: Mapping[str, tuple[str, ...]] = {
    "user": (
        "user", "userid", "uid", "customer", "customerid", "reviewerid", "visitorid", "member", "memberid", "account",
        "accountid", "ユーザー", "ユーザーid", "ユーザid", "顧客", "顧客id", "顧客コード", "会員", "会員id", "会員番号",
    ),
    "item": _ITEM,
    "rating": ("rating", "ratings", "score", "stars", "overall", "評価", "評点"),
    "timestamp": (
        "timestamp", "datetime", "date", "time", "unixreviewtime", "createdat", "purchasedat", "purchasedate",
        "orderdate", "eventtime", "日時", "日付", "購入日", "購入日時", "購買日", "注文日", "注文日時",
    ),
    "split": ("split", "xlabel"),
    "listed item": (*_ITEM, "id"),
    "text": (
        "title", "name", "productname", "itemname", "producttitle", "description", "productdescription", "タイトル",
        "商品名", "商品名称", "説明", "商品説明", "説明文",
    ),
}  # fmt: skip
OPTIONAL = ("rating", "timestamp", "split")
#: Least magnitude of a number that counts milliseconds, micro- or nanoseconds; 1e11 seconds are the year 5138.
UNITS = (
    (1e17, 1_000_000_000, "nanoseconds"),
    (1e14, 1_000_000, "microseconds"),
    (1e11, 1_000, "milliseconds"),
    (0.0, 1, "seconds"),
)
_DATE = (
    r"^(?P<year>[12]\d{3})[-/.年](?P<month>\d{1,2})[-/.月](?P<day>\d{1,2})日?"
    r"(?:[T ]\s*(?P<hour>[01]?\d|2[0-3]):(?P<minute>[0-5]\d)(?::(?P<second>[0-5]\d)(?:[.,]\d+)?)?)?"
    r"\s*(?:Z|UTC|(?P<sign>[+-])(?P<zone_hour>\d{2}):?(?P<zone_minute>\d{2})?)?$"
)
_NUMBER = r"[-+]?[0-9]+(?:\.[0-9]*)?(?:[eE][-+]?[0-9]+)?"
_PACKED_DATES = ((8, "%Y%m%d"), (14, "%Y%m%d%H%M%S"))


@dataclass(frozen=True)
class Columns:
    """Which column of a log plays which role; None is guessed from usual names, ``none`` leaves an optional one out.

    Args:
        user: who.
        item: what.
        rating: optional number.
        timestamp: optional time, see :func:`unix_seconds`.
        split: optional part of each row, see :func:`mmbench.data.splits.given`.
    """

    user: str | None = None
    item: str | None = None
    rating: str | None = None
    timestamp: str | None = None
    split: str | None = None


def read_tabular(
    interactions: Path,
    columns: Columns | None = None,
    *,
    items: Path | None = None,
    item_column: str | None = None,
    text: Sequence[str] = (),
    text_dim: int = 256,
    encoding: str = "utf-8",
) -> Source:
    """Read a log and optionally a table of items, whose texts become the modality ``text``.

    Ids stay as they are written, leading zeros included. The catalogue is the table of items in its order, followed by
    items that only the log knows.

    Args:
        interactions: ``.csv``, ``.tsv``, ``.txt`` or ``.parquet``.
        columns: columns of the log.
        items: table of items.
        item_column: column of ``items`` with the item id; guessed by default.
        text: columns of ``items`` that are joined to one text; guessed by default.
        text_dim: width of the text features, see :func:`mmbench.data.text.encode_texts`.
        encoding: of text tables.

    Raises:
        ValueError: naming the file, line or column and what is allowed.
    """
    notices: list[str] = []
    log = _log(_read(interactions, encoding), columns or Columns(), notices)
    if items is None:
        catalogue = pd.DataFrame({"item_id": np.sort(log["item_id"].unique())})
        return Source(log, catalogue, {}, notices=tuple(notices))
    listed, texts = _items(_read(items, encoding), item_column, text, notices)
    catalogue = _with_unlisted(log, listed, items, notices)
    joined = catalogue[texts[0]]
    for name in texts[1:]:
        joined = joined + " " + catalogue[name]
    features = {"text": text_feature(joined.tolist(), dim=text_dim)}
    return Source(log, catalogue, features, notices=tuple(notices))


def unix_seconds(table: Table, column: str, notices: list[str]) -> NDArray[np.int64]:
    """Read a column of times as seconds since 1970.

    Numbers are seconds, or milliseconds and finer where they are too large for seconds; eight or fourteen digits that
    are a date (20240105, 20240105123000) are read as one. Other times are dates with the year first: 2024-01-05,
    2024/1/5, 2024年1月5日, with or without a time of day and a zone; without a zone they count as UTC.

    Raises:
        ValueError: for an empty cell, another way to write dates or mixed units, with the line.
    """
    text = table.frame[column].str.normalize("NFKC").str.strip()
    table = table.with_frame(table.frame.assign(**{column: text}))
    table.require(~text.isin(MISSING_WORDS).to_numpy(bool), column, "every row needs a time, or leave the column out")
    for digits, form in _PACKED_DATES:
        if text.str.fullmatch(rf"[12][0-9]{{{digits - 1}}}").all():
            dates = pd.to_datetime(text, format=form, errors="coerce")
            if dates.dt.year.between(1900, 2100).all():
                notices.append(f"{column}: numbers of {digits} digits are read as dates")
                return _seconds(dates)
    if text.str.fullmatch(_NUMBER).mean() >= 0.5:
        return _from_numbers(table, column, notices)
    return _from_dates(table, column)


def _from_numbers(table: Table, column: str, notices: list[str]) -> NDArray[np.int64]:
    numbers = table.numbers(column)
    least, factor, unit = next(entry for entry in UNITS if np.median(np.abs(numbers)) >= entry[0])
    above = next((entry[0] for entry in reversed(UNITS) if entry[0] > least), np.inf)
    alike = (np.abs(numbers) >= least) & (np.abs(numbers) < above)
    table.require(alike, column, f"most rows are in {unit}, and units must not be mixed")
    if factor > 1:
        notices.append(f"{column}: taken as {unit} and divided by {factor}")
    return np.asarray(np.floor(numbers / factor).astype(np.int64))


def _from_dates(table: Table, column: str) -> NDArray[np.int64]:
    parts = table.frame[column].str.extract(_DATE).fillna("")
    whole = parts.drop(columns="sign").replace("", "0").apply(pd.to_numeric).astype(np.int64)
    dates = pd.to_datetime(whole[["year", "month", "day", "hour", "minute", "second"]], errors="coerce")
    rule = "write times as seconds, 2024-01-05, 2024/1/5 or 2024-01-05T12:30:00"
    table.require(dates.notna().to_numpy(bool), column, rule)
    zone = (3600 * whole["zone_hour"] + 60 * whole["zone_minute"]).to_numpy(np.int64)
    return _seconds(dates) - np.where(parts["sign"] == "-", -zone, zone)


def _seconds(dates: pd.Series) -> NDArray[np.int64]:
    return np.asarray(dates.to_numpy("datetime64[s]").astype(np.int64))


def _read(path: Path, encoding: str) -> Table:
    kind = path.suffix.lower()
    if kind in (".csv", ".tsv", ".tab", ".txt"):
        return read_delimited(path, encoding=encoding)
    if kind not in (".parquet", ".pq"):
        raise ValueError(f"{path} must end in .csv, .tsv, .txt or .parquet")
    if not path.is_file():
        raise ValueError(f"{path} is missing")
    try:
        frame = pd.read_parquet(path)
    except Exception as error:  # pyarrow raises many kinds, all meaning the same to a user
        raise ValueError(f"{path} is not a readable parquet file: {str(error).splitlines()[0]}") from error
    if frame.empty:
        raise ValueError(f"{path} has no rows")
    frame = frame.reset_index(drop=True)
    return Table(path, pd.DataFrame({str(name): _as_text(frame[name]) for name in frame}))


def _as_text(values: pd.Series) -> pd.Series:
    """Cells as they would stand in a CSV file: no decimal point in whole numbers, times as seconds."""
    empty = values.isna()
    if pd.api.types.is_datetime64_any_dtype(values):
        moments = pd.to_datetime(values, utc=True).dt.tz_localize(None).dt.as_unit("s")
        text = moments.fillna(pd.Timestamp(0)).astype(np.int64).astype(str)
    elif pd.api.types.is_float_dtype(values) and (values.dropna() % 1 == 0).all() and values.abs().max() < 2**53:
        text = values.fillna(0).astype(np.int64).astype(str)
    else:
        text = values.astype(str)
    return text.where(~empty, "")


def _log(table: Table, columns: Columns, notices: list[str]) -> pd.DataFrame:
    names = _chosen(table, columns)
    notices.append(f"columns of the log: {_pairs(names)}")
    table = _with_ids(table, {"user_id": names["user"], "item_id": names["item"]}, "log", notices)
    log = table.frame[["user_id", "item_id"]].copy()
    if "rating" in names:
        log["rating"] = table.numbers(names["rating"])
    if "timestamp" in names:
        log["timestamp"] = unix_seconds(table, names["timestamp"], notices)
    if "split" in names:
        log["split"] = splits.given(table.frame, names["split"])
    return log.reset_index(drop=True)


def _chosen(table: Table, columns: Columns) -> dict[str, str]:
    """The column of each role that has one."""
    asked = {field.name: getattr(columns, field.name) for field in fields(columns)}
    left_out = {role for role in OPTIONAL if asked[role] == NONE}
    named = {role: name for role, name in asked.items() if name is not None and role not in left_out}
    for role, name in named.items():
        table.check_column(name, f"--{role}")
    free = [name for name in table.names if name not in named.values()]
    for role in [role for role in asked if role not in {*named, *left_out}]:
        found = guessed(free, role)
        if found:
            named[role] = found[0]
        elif role not in OPTIONAL:
            raise _nothing_like(table, f"the {role}", f"--{role}")
    chosen = {role: named[role] for role in asked if role in named}
    if len(set(chosen.values())) < len(chosen):
        raise ValueError(f"{table.path}: one column cannot be two things: {_pairs(chosen)}")
    return chosen


def _nothing_like(table: Table, role: str, option: str) -> ValueError:
    columns = ", ".join(table.names)
    return ValueError(f"{table.path}: no column looks like {role}; name it with {option}; columns are {columns}")


def _pairs(named: Mapping[str, str]) -> str:
    return ", ".join(f"{role}={name}" for role, name in named.items())


def guessed(names: Iterable[str], role: str) -> list[str]:
    """Columns with a usual name, the most usual first."""
    plain: dict[str, str] = {}
    for name in names:
        plain.setdefault(re.sub(r"[\s_\-./]", "", unicodedata.normalize("NFKC", name).casefold()), name)
    return [plain[usual] for usual in USUAL[role] if usual in plain]


def _with_ids(table: Table, names: Mapping[str, str], what: str, notices: list[str]) -> Table:
    """Add the ids as columns, without white space around them, and drop rows that lack one."""
    ids = {target: table.frame[name].str.strip() for target, name in names.items()}
    missing = np.logical_or.reduce([column.isin(MISSING_WORDS) for column in ids.values()])
    told = " or ".join(names.values())
    if missing.all():
        raise ValueError(f"{table.path}: every row lacks {told}")
    if missing.any():
        first = table.where(int(missing.argmax()))
        notices.append(f"{what}: {int(missing.sum())} rows without {told} are left out (first: {first})")
    return table.with_frame(table.frame.assign(**ids)[~missing])


def _items(
    table: Table, item_column: str | None, text: Sequence[str], notices: list[str]
) -> tuple[pd.DataFrame, list[str]]:
    """Listed items with their texts, each item once, and the names of the text columns."""
    if item_column is None:
        found = guessed(table.names, "listed item")
        if not found:
            raise _nothing_like(table, "the item", "--item-column")
        item_column = found[0]
    table.check_column(item_column, "--item-column")
    texts = list(text) or guessed([name for name in table.names if name != item_column], "text")
    if not texts:
        raise _nothing_like(table, "a text", "--text")
    for name in texts:
        table.check_column(name, "--text")
        if name in ("item_id", item_column) or texts.count(name) > 1:
            raise ValueError(f"{table.path}: column {name!r} (--text) is the item id or stands twice")
    notices.append(f"columns of the items: item={item_column}, text={'+'.join(texts)}")
    frame = _with_ids(table, {"item_id": item_column}, "items", notices).frame[["item_id", *texts]]
    repeated = frame["item_id"].duplicated().to_numpy(bool)
    if repeated.any():
        first = frame["item_id"][repeated].iloc[0]
        notices.append(f"items: {int(repeated.sum())} repeated items, the first row of each counts (first: {first!r})")
    frame = frame[~repeated].reset_index(drop=True)
    cleaned = {name: frame[name].where(~frame[name].isin(MISSING_WORDS), "") for name in texts}
    return frame.assign(**cleaned), texts


def _with_unlisted(log: pd.DataFrame, listed: pd.DataFrame, path: Path, notices: list[str]) -> pd.DataFrame:
    """The catalogue: listed items, then those that only the log knows, without text."""
    in_log = pd.Index(log["item_id"].unique())
    unlisted = in_log.difference(pd.Index(listed["item_id"]))
    if len(unlisted) == len(in_log):
        examples = f"{in_log[0]!r} against {listed['item_id'].iloc[0]!r}"
        raise ValueError(f"{path}: no item of the log occurs in it ({examples})")
    if len(unlisted):
        notices.append(f"items: {len(unlisted)} items of the log are not listed and have no text")
    idle = len(listed) - (len(in_log) - len(unlisted))
    if idle:
        notices.append(f"items: {idle} listed items have no interaction")
    return pd.concat([listed, pd.DataFrame({"item_id": unlisted})], ignore_index=True).fillna("")
