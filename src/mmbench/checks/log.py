"""Findings in the log of interactions: repetitions, times, and single users or items that outweigh the rest."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import numpy as np
import pandas as pd

from mmbench.checks import Finding, blocking, graded, warning

#: Seconds since 1970 reach this in the year 5138; larger numbers count milliseconds or less.
MOST_SECONDS = 1e11
DAY = 86_400
#: Share of rows in the future from which a split by time means nothing.
FUTURE_LIMIT = 0.01
#: Share of the log from which one user, or one item, outweighs the rest; it must also be so many equal shares.
USER_SHARE, ITEM_SHARE, TIMES_EQUAL = 0.05, 0.2, 10.0


def findings(log: pd.DataFrame, now: datetime) -> Iterator[Finding]:
    """What is wrong with a log, ``user_id``, ``item_id`` and optionally ``timestamp``."""
    yield from _repeated(log)
    if "timestamp" in log:
        yield from _times(log, now)
    yield from _dominance(log, "user_id", "user_dominance", USER_SHARE)
    yield from _dominance(log, "item_id", "item_dominance", ITEM_SHARE)


def _repeated(log: pd.DataFrame) -> Iterator[Finding]:
    again = log.duplicated(["user_id", "item_id"])
    if again.any():
        first = log[again].iloc[0]
        yield warning("repeated", int(again.sum()), total=len(log), user=first["user_id"], item=first["item_id"])


def _times(log: pd.DataFrame, now: datetime) -> Iterator[Finding]:
    times = pd.to_numeric(log["timestamp"], errors="coerce").to_numpy(np.float64)
    unreadable = ~np.isfinite(times)
    if unreadable.any():
        example = str(log["timestamp"].iloc[int(unreadable.argmax())])
        yield blocking("no_time", int(unreadable.sum()), total=len(log), example=example)
        return
    fine = times >= MOST_SECONDS
    if fine.any():
        yield blocking("milliseconds", int(fine.sum()), total=len(log), example=f"{times[fine][0]:.0f}")
        return
    future = times > now.timestamp() + DAY
    if future.any():
        example = f"{datetime.fromtimestamp(times[future].max(), UTC):%Y-%m-%d}"
        yield graded(float(future.mean()), FUTURE_LIMIT, "future", int(future.sum()), total=len(log), example=example)
    if len(times) > 1 and times.min() == times.max():
        yield warning("one_time", example=f"{times[0]:.0f}")


def _dominance(log: pd.DataFrame, column: str, name: str, limit: float) -> Iterator[Finding]:
    counts = log[column].value_counts()
    share = float(counts.iloc[0] / len(log))
    if share > limit and share * len(counts) > TIMES_EQUAL:
        yield warning(name, int(counts.iloc[0]), share=share, example=str(counts.index[0]))
