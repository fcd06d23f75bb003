"""Times as others write them, as seconds since 1970."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmbench.data.readers.journal import Journal
from mmbench.data.readers.text_table import MISSING_WORDS, Table, plain_digits
from mmbench.messages import Message

#: Least magnitude of a number that counts nano-, micro-, milliseconds or seconds: each is March 1973. A number below is
#: a day of a spreadsheet, a month, a year or the number of an order; 1e11 seconds are the year 5138.
UNITS = (
    (1e17, 1_000_000_000, Message("nanoseconds")),
    (1e14, 1_000_000, Message("microseconds")),
    (1e11, 1_000, Message("milliseconds")),
    (1e8, 1, Message("seconds")),
)
#: Days of a spreadsheet from 1954 to 2119, and the one that is 1970-01-01.
_FIRST_DAY, _LAST_DAY, _DAY_OF_1970 = 20_000, 80_000, 25_569
_NO_TIME = Message(
    "no time is so small a number. Write seconds since 1970 (1704412800), 2024-01-05, 2024/1/5, 20240105, 202401051230 "
    "or 20240105123000; for the number of an order or a year, leave the column out"
)
_DATE = (
    r"^(?P<year>[12]\d{3})[-/.年]\s*(?P<month>\d{1,2})[-/.月]\s*(?P<day>\d{1,2})日?(?:\s*\([月火水木金土日]\))?"
    r"(?:(?:T|\s|(?<=日)|(?<=\)))\s*(?P<hour>[01]?\d|2[0-3])"
    r"(?::(?P<minute>[0-5]\d)(?::(?P<second>[0-5]\d)(?:[.,]\d+)?)?"
    r"|時(?:\s*(?P<minutes>[0-5]?\d)分(?:\s*(?P<seconds>[0-5]?\d)秒)?)?))?"
    r"\s*(?P<zone>Z|UTC|(?P<sign>[+-])(?P<zone_hour>\d{2}):?(?P<zone_minute>[0-5]\d)?)?$"
)
#: Seconds by which no zone is further from UTC: 18:00-20:00 is a range of hours.
_FARTHEST_ZONE = 14 * 3600
#: Moments as a Parquet file or a program writes them, read eight times as fast as by their parts.
_PLAIN = r"[12]\d{3}-\d\d-\d\d[T ]\d\d:\d\d:\d\d"
#: A year of a Japanese era, 令和5年 or R5., and the year before the first of each era.
_ERA = r"^(?P<era>令和|平成|昭和|[RHSrhs])\s*\.?(?P<year>元|\d{1,2})\s*(?=[-/.年])"
_BEFORE_ERA = {"令和": 2018, "平成": 1988, "昭和": 1925, "R": 2018, "H": 1988, "S": 1925}
_NUMBER = r"[-+]?[0-9]+(?:\.[0-9]*)?(?:[eE][-+]?[0-9]+)?"
#: Nothing larger is a time in any unit.
MAX_NUMBER = 1e19
_PACKED_DATES = ((8, "%Y%m%d"), (12, "%Y%m%d%H%M"), (14, "%Y%m%d%H%M%S"))
_CHUNK_ROWS = 1 << 15


def unix_seconds(table: Table, column: str, journal: Journal) -> NDArray[np.int64]:
    """Read a column of times as seconds since 1970.

    Numbers are seconds, or milliseconds and finer where they are too large for seconds; eight, twelve or fourteen
    digits that are a date (20240105, 202401051230, 20240105123000) are read as one, numbers from 20,000 to 80,000
    as days of a spreadsheet (45296 is 2024-01-05). Others are dates with the year first: 2024-01-05, 2024/1/5,
    2024年1月5日, 令和6年1月5日, R6.1.5, with or without a weekday, a time of day (12:30, 12時30分) and a zone, at most
    14 hours from UTC; without one they count as UTC.

    Raises:
        ValueError: for an empty cell, another way to write dates, mixed units or numbers that are no times, with the
            line.
    """
    text = plain_digits(table.frame[column]).str.strip()
    table = table.with_frame(table.frame.assign(**{column: text}))
    table.require(
        ~text.isin(MISSING_WORDS).to_numpy(bool), column, Message("every row needs a time, or leave the column out")
    )
    for digits, form in _PACKED_DATES:
        alike = text.str.fullmatch(rf"[12][0-9]{{{digits - 1}}}")
        if alike.mean() < 0.5:
            continue
        dates = pd.to_datetime(text.where(alike), format=form, errors="coerce")
        good = dates.dt.year.between(1900, 2100).to_numpy(bool)
        if good.mean() >= 0.5:
            table.require(
                good, column, Message("most rows are dates of {digits} digits, and all must be", digits=digits)
            )
            journal.tell(
                Message("{column}: numbers of {digits} digits are read as dates", column=column, digits=digits)
            )
            return _seconds(dates)
    if text.str.fullmatch(_NUMBER).mean() >= 0.5:
        return _from_numbers(table, column, journal)
    return _from_dates(table, column, journal)


def share_of_dates(texts: pd.Series) -> float:
    """Share of the cells that are dates, among those that are not empty; 0 where all are."""
    texts = plain_digits(texts).str.strip()
    texts = texts[~texts.isin(MISSING_WORDS)].reset_index(drop=True)
    if texts.empty:
        return 0.0
    return float((~np.isnan(_of_dates(texts))).mean())


def seconds_of_each(texts: pd.Series) -> NDArray[np.float64]:
    """Seconds since 1970 of each cell, in any of the ways that :func:`unix_seconds` reads, ``(n,)``; NaN for no time.

    Example:
        >>> seconds_of_each(pd.Series(["2024/1/5", "20240105", "1704412800000", "45296", "soon"])).tolist()
        [1704412800.0, 1704412800.0, 1704412800.0, 1704412800.0, nan]
    """
    texts = plain_digits(texts).str.strip().reset_index(drop=True)
    numbers = pd.to_numeric(texts.where(texts.str.fullmatch(_NUMBER)), errors="coerce").to_numpy(np.float64)
    size = np.abs(numbers)
    ways = [(size >= MAX_NUMBER, np.full(len(texts), np.nan))]
    ways += [(size >= least, np.floor(numbers / factor)) for least, factor, _ in UNITS]
    ways += [((numbers >= _FIRST_DAY) & (numbers <= _LAST_DAY), _of_days(numbers))]
    of_numbers = np.select([alike for alike, _ in ways], [seconds for _, seconds in ways], np.nan)
    dates = _of_dates(texts)
    return np.where(np.isnan(dates), of_numbers, dates)


def _of_dates(texts: pd.Series) -> NDArray[np.float64]:
    """Seconds since 1970 of the cells that are dates, digits without a sign between them included; NaN for others."""
    good, moments, _ = _from_texts(texts)
    seconds = np.where(good, moments, np.nan)
    for digits, form in _PACKED_DATES:
        packed = texts.where(texts.str.fullmatch(rf"(?:19|20)[0-9]{{{digits - 2}}}"))
        dates = pd.to_datetime(packed, format=form, errors="coerce")
        seconds = np.where(dates.notna(), _seconds(dates), seconds)
    return seconds


def _from_numbers(table: Table, column: str, journal: Journal) -> NDArray[np.int64]:
    numbers = table.numbers(column)
    middle = np.median(np.abs(numbers))
    if _FIRST_DAY <= middle <= _LAST_DAY:
        return _from_days(table, column, numbers, journal)
    if middle < UNITS[-1][0]:
        table.require(np.abs(numbers) >= UNITS[-1][0], column, _NO_TIME)
    least, factor, unit = next(entry for entry in UNITS if middle >= entry[0])
    above = next((entry[0] for entry in reversed(UNITS) if entry[0] > least), MAX_NUMBER)
    alike = (np.abs(numbers) >= least) & (np.abs(numbers) < above)
    table.require(alike, column, Message("most rows are in {unit}, and units must not be mixed", unit=unit))
    if factor > 1:
        journal.tell(
            Message("{column}: taken as {unit} and divided by {factor}", column=column, unit=unit, factor=factor)
        )
    return np.asarray(np.floor(numbers / factor).astype(np.int64))


def _from_days(table: Table, column: str, numbers: NDArray[np.float64], journal: Journal) -> NDArray[np.int64]:
    table.require((numbers >= _FIRST_DAY) & (numbers <= _LAST_DAY), column, _NO_TIME)
    seconds = _of_days(numbers).astype(np.int64)
    journal.tell(
        Message(
            "{column}: numbers are read as days of a spreadsheet ({example} as {moment}); if they are none, leave the "
            "column out",
            column=column,
            example=table.frame[column].iloc[0],
            moment=str(seconds[:1].astype("datetime64[s]")[0]).replace("T", " "),
        )
    )
    return np.asarray(seconds)


def _of_days(numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    """Seconds since 1970 of days of a spreadsheet."""
    return np.asarray(np.rint((numbers - _DAY_OF_1970) * 86_400))


def _from_dates(table: Table, column: str, journal: Journal) -> NDArray[np.int64]:
    texts = table.frame[column]
    if (of_era := texts.str.contains(_ERA.replace("?P<era>", "?:").replace("?P<year>", "?:"))).any():
        journal.tell(
            Message.counted(
                "{column}: 1 date of a Japanese era is read as one of our calendar ({example})",
                "{column}: {n} dates of a Japanese era are read as those of our calendar (first: {example})",
                int(of_era.sum()),
                column=column,
                example=texts[of_era].iloc[0],
            )
        )
    good, seconds, zoned = (np.empty(len(texts), kind) for kind in (bool, np.int64, bool))
    for start in range(0, len(texts), _CHUNK_ROWS):
        # Where dates are days, many rows have one; each is read once in a chunk.
        rows = slice(start, start + _CHUNK_ROWS)
        codes, moments = pd.factorize(texts.iloc[rows])
        read, moment, with_zone = _from_texts(pd.Series(moments))
        good[rows], seconds[rows], zoned[rows] = read[codes], moment[codes], with_zone[codes]
    table.require(good, column, Message("write times as seconds, 2024-01-05, 2024/1/5 or 2024-01-05T12:30:00"))
    if zoned.any() and not zoned.all():
        journal.tell(
            Message.counted(
                "{column}: 1 of {rows} times has a time zone ({example}), and those without one are read as UTC",
                "{column}: {n} of {rows} times have a time zone (first: {example}), and those without one are read as "
                "UTC",
                int(zoned.sum()),
                rows=len(texts),
                column=column,
                example=texts[zoned].iloc[0],
            )
        )
    return seconds


def _from_texts(texts: pd.Series) -> tuple[NDArray[np.bool_], NDArray[np.int64], NDArray[np.bool_]]:
    """Whether each text is a date, its second, and whether it has a zone."""
    if texts.str.fullmatch(_PLAIN).all():
        plain = pd.to_datetime(texts, format="ISO8601", errors="coerce")
        if plain.notna().all():
            return np.ones(len(texts), bool), _seconds(plain), np.zeros(len(texts), bool)
    parts = texts.str.replace(_ERA, _common_year, regex=True).str.extract(_DATE).fillna("")
    for unit in ("minute", "second"):
        parts[unit] += parts.pop(f"{unit}s")
    whole = parts.drop(columns=["zone", "sign"]).replace("", "0").apply(pd.to_numeric).astype(np.int64)
    dates = pd.to_datetime(whole[["year", "month", "day", "hour", "minute", "second"]], errors="coerce")
    zone = (3600 * whole["zone_hour"] + 60 * whole["zone_minute"]).to_numpy(np.int64)
    good = dates.notna().to_numpy(bool) & (zone <= _FARTHEST_ZONE)
    seconds = _seconds(dates.fillna(pd.Timestamp(0))) - np.where(parts["sign"] == "-", -zone, zone)
    return good, seconds, (parts["zone"] != "").to_numpy(bool)


def _common_year(found: re.Match[str]) -> str:
    """The year of our calendar of a year of an era."""
    return str(_BEFORE_ERA[found["era"].upper()] + (1 if found["year"] == "元" else int(found["year"])))


def _seconds(dates: pd.Series) -> NDArray[np.int64]:
    return np.asarray(dates.to_numpy("datetime64[s]").astype(np.int64))
