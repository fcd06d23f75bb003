"""Findings in the log of interactions: repetitions, times, and single users or items that outweigh the rest."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import numpy as np
import pandas as pd

from mmbench.checks import Finding, blocking, graded, warning
from mmbench.checks.ids import respelled, shown
from mmbench.data import splits
from mmbench.data.interactions import FIRST_TIME, MOST_SECONDS, seconds
from mmbench.messages import Template

DAY = 86_400
#: Share of rows in the future from which a split by time means nothing.
FUTURE_LIMIT = 0.01
#: Share of rows before 1990 from which the times are something else.
PAST_LIMIT = 0.01
#: Share of the log from which one user, or one item, outweighs the rest; it must also be so many equal shares.
USER_SHARE, ITEM_SHARE, TIMES_EQUAL = 0.05, 0.2, 10.0
#: Share of the test users with later training rows, below which a given split may go by days.
LATER_LIMIT = 0.01
#: Share of the users, or of the items, that are a further spelling of another one.
SPELLINGS_LIMIT = 0.01
_USER_SPELLINGS = Template(
    "{n} user of the log ({share}) differs from another one only by zeros, spaces, case, width or invisible characters "
    "({one} and {other}). If they are one, its history is torn apart: write ids alike.",
    "{n} users of the log ({share}) differ from another one only by zeros, spaces, case, width or invisible characters "
    "(for example {one} and {other}). If they are one, their histories are torn apart: write ids alike.",
)
_ITEM_SPELLINGS = Template(
    "{n} item of the log ({share}) differs from another one only by zeros, spaces, case, width or invisible characters "
    "({one} and {other}). If they are one, its purchases are torn apart: write ids alike.",
    "{n} items of the log ({share}) differ from another one only by zeros, spaces, case, width or invisible characters "
    "(for example {one} and {other}). If they are one, their purchases are torn apart: write ids alike.",
)
_USER_DOMINANCE = Template(
    "User {example} alone has {n} row, {share} of the log. Is that a till or a robot? Leave it out.",
    "User {example} alone has {n} rows, {share} of the log. Is that a till or a robot? Leave it out.",
)
_ITEM_DOMINANCE = Template(
    "Item {example} alone has {n} row, {share} of the log. Is that a bag or a shipping fee? Leave it out.",
    "Item {example} alone has {n} rows, {share} of the log. Is that a bag or a shipping fee? Leave it out.",
)


def findings(log: pd.DataFrame, now: datetime, split_column: str = "split") -> Iterator[Finding]:
    """What is wrong with a log.

    Args:
        log: ``user_id``, ``item_id`` and optionally ``timestamp``.
        now: what counts as the present.
        split_column: column with the part of each row; where it is there, the split is settled.
    """
    yield from _repeated(log)
    yield from _spellings(log["user_id"], "user_spellings", _USER_SPELLINGS)
    yield from _spellings(log["item_id"], "item_spellings", _ITEM_SPELLINGS)
    given = split_column in log
    if "timestamp" in log:
        yield from _times(log, now, given=given)
    elif not given:
        yield warning(
            "no_time_column",
            Template(
                "The log has no column 'timestamp', so it can only be split at random: what was bought later helps to "
                "predict what was bought earlier. Does the source have a date? Name its column with prepare "
                "--timestamp."
            ),
        )
    if given and "timestamp" in log:
        yield from _trained_on_later(log, split_column)
    yield from _dominance(log, "user_id", "user_dominance", _USER_DOMINANCE, USER_SHARE)
    yield from _dominance(log, "item_id", "item_dominance", _ITEM_DOMINANCE, ITEM_SHARE)


def _repeated(log: pd.DataFrame) -> Iterator[Finding]:
    again = log.duplicated(["user_id", "item_id"])
    if again.any():
        first = log[again].iloc[0]
        yield warning(
            "repeated",
            Template(
                "{n} of {total} rows repeats a user and an item (for example user {user}, item {item}). Only the "
                "earliest counts.",
                "{n} of {total} rows repeat a user and an item (for example user {user}, item {item}). Only the "
                "earliest of each counts.",
            ),
            int(again.sum()),
            total=len(log),
            user=first["user_id"],
            item=first["item_id"],
        )


def _spellings(ids: pd.Series, name: str, template: Template) -> Iterator[Finding]:
    known = pd.Series(ids.unique()).astype(str)
    bare = known.map(respelled)
    again = bare.duplicated()
    if again.any():
        other = known[again].iloc[0]
        yield graded(
            float(again.mean()),
            SPELLINGS_LIMIT,
            name,
            template,
            int(again.sum()),
            share=float(again.mean()),
            one=shown(known[bare == respelled(other)].iloc[0]),
            other=shown(other),
        )


def _times(log: pd.DataFrame, now: datetime, *, given: bool) -> Iterator[Finding]:
    times = seconds(log["timestamp"])
    unreadable = ~np.isfinite(times)
    if unreadable.any():
        example = str(log["timestamp"].iloc[int(unreadable.argmax())])
        yield blocking(
            "no_time",
            Template(
                "{n} of {total} rows has no readable time (for example {example!r}). Write seconds since 1970.",
                "{n} of {total} rows have no readable time (for example {example!r}). Write seconds since 1970.",
            ),
            int(unreadable.sum()),
            total=len(log),
            example=example,
        )
        return
    fine = times >= MOST_SECONDS
    if fine.any():
        yield blocking(
            "milliseconds",
            Template(
                "{n} of {total} times is too large for seconds (for example {example}): it counts milliseconds or "
                "less. Divide by 1,000.",
                "{n} of {total} times are too large for seconds (for example {example}): they count milliseconds or "
                "less. Divide by 1,000.",
            ),
            int(fine.sum()),
            total=len(log),
            example=f"{times[fine][0]:.0f}",
        )
        return
    future = times > now.timestamp() + DAY
    if future.any():
        example = f"{datetime.fromtimestamp(times[future].max(), UTC):%Y-%m-%d}"
        yield graded(
            float(future.mean()),
            FUTURE_LIMIT,
            "future",
            Template(
                "{n} of {total} times lies in the future (up to {example}). A split by time would test on it.",
                "{n} of {total} times lie in the future (up to {example}). A split by time would test on them.",
            ),
            int(future.sum()),
            total=len(log),
            example=example,
        )
    past = times < FIRST_TIME
    if past.any():
        first = times[past][0]
        yield graded(
            float(past.mean()),
            PAST_LIMIT,
            "past",
            Template(
                "{n} of {total} times lies before 1990 ({example} is {day}): is it a day of a spreadsheet, a year, the "
                "number of an order, or a zero for a time that nobody knows? Write seconds since 1970.",
                "{n} of {total} times lie before 1990 (for example {example}, which is {day}): are they days of a "
                "spreadsheet, years, numbers of orders, or zeros for times that nobody knows? Write seconds since "
                "1970.",
            ),
            int(past.sum()),
            total=len(log),
            example=f"{first:.0f}",
            day=str(np.datetime64(int(first), "s"))[:10],
        )
    if len(times) > 1 and times.min() == times.max() and not given:
        yield warning(
            "one_time",
            Template(
                "Every interaction has the same time ({example}), so a split by time means nothing: use "
                "dataset.protocol=paper."
            ),
            example=f"{times[0]:.0f}",
        )


def _trained_on_later(log: pd.DataFrame, split_column: str) -> Iterator[Finding]:
    try:
        parts = splits.given(log, split_column)
    except ValueError:  # which a sweep would refuse
        return
    times = pd.Series(seconds(log["timestamp"]), log.index)
    first = times[parts == "test"].groupby(log["user_id"]).min()
    last = times[parts == "train"].groupby(log["user_id"]).max().reindex(first.index)
    later = last > first
    if later.sum() > LATER_LIMIT * len(first):
        yield warning(
            "later_train",
            Template(
                "{n} user of the test part ({share}, {user}) has later interactions in the training part: the given "
                "split trains on the future. dataset.protocol=time or last_out does not.",
                "{n} users of the test part ({share}, for example {user}) have later interactions in the training "
                "part: the given split trains on the future. dataset.protocol=time or last_out does not.",
            ),
            int(later.sum()),
            share=float(later.mean()),
            user=str(later.idxmax()),
        )


def _dominance(log: pd.DataFrame, column: str, name: str, template: Template, limit: float) -> Iterator[Finding]:
    counts = log[column].value_counts()
    share = float(counts.iloc[0] / len(log))
    if share > limit and share * len(counts) > TIMES_EQUAL:
        yield warning(name, template, int(counts.iloc[0]), share=share, example=str(counts.index[0]))
