"""Interactions between users and items, and the filters that come before a split."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmbench import fingerprint
from mmbench.messages import Refusal

Index = NDArray[np.int64]
#: Times from here on count milliseconds or less: in seconds this is the year 5138.
MOST_SECONDS = 1e11
#: 1990-01-01, before which no shop or site kept a log.
FIRST_TIME = 631_152_000
#: What pandas calls columns of moments.
_MOMENTS = ("datetime64", "datetime", "date")


@dataclass(frozen=True)
class Interactions:
    """Implicit feedback as index pairs.

    Args:
        users: user of each interaction, ``(n,)``, in ``[0, n_users)``.
        items: item of each interaction, ``(n,)``, in ``[0, n_items)``.
        n_users: number of users, including those without an interaction.
        n_items: number of items, including those without an interaction.
        times: seconds since 1970 of each interaction, ``(n,)``, or None.
    """

    users: Index
    items: Index
    n_users: int
    n_items: int
    times: Index | None = None

    def __post_init__(self) -> None:
        if self.users.shape != self.items.shape or self.users.ndim != 1:
            raise ValueError(f"users {self.users.shape} and items {self.items.shape} must be vectors of one length")
        for name, index, size in (("user", self.users, self.n_users), ("item", self.items, self.n_items)):
            if len(index) and not (index.min() >= 0 and index.max() < size):
                bad = index.min() if index.min() < 0 else index.max()
                raise ValueError(f"{name} index {bad} is outside [0, {size})")

    def __len__(self) -> int:
        return len(self.users)

    def select(self, rows: NDArray[np.bool_]) -> Interactions:
        """The rows where ``rows`` ``(n,)`` is true, with the same numbers of users and items."""
        times = None if self.times is None else self.times[rows]
        return Interactions(self.users[rows], self.items[rows], self.n_users, self.n_items, times)

    def of_users(self, users: Index) -> Interactions:
        """The rows of some users ``(m,)``, with the same numbers of users and items."""
        chosen = np.zeros(self.n_users, bool)
        chosen[users] = True
        return self.select(chosen[self.users])

    @property
    def active_users(self) -> Index:
        """Users with an interaction, ascending, ``(m,)``."""
        return np.flatnonzero(np.bincount(self.users, minlength=self.n_users))

    def fingerprint(self) -> str:
        """SHA-256 of the set of pairs, independent of their order; computed once."""
        return self._fingerprint

    @functools.cached_property
    def _fingerprint(self) -> str:
        order = np.lexsort((self.items, self.users))
        size = np.array([self.n_users, self.n_items])
        return fingerprint.of_arrays(self.users[order], self.items[order], size)


def seconds(times: pd.Series) -> NDArray[np.float64]:
    """Seconds since 1970 of times that are numbers, texts of numbers, dates or moments, ``(n,)``.

    What is none of them is NaN. A moment without a zone counts as UTC.
    """
    if pd.api.types.infer_dtype(times, skipna=True) in _MOMENTS:
        since = pd.to_datetime(times, errors="coerce", utc=True) - pd.Timestamp("1970-01-01", tz="UTC")
        return np.asarray(since / pd.Timedelta(seconds=1), np.float64)
    return np.asarray(pd.to_numeric(times, errors="coerce").to_numpy(np.float64, na_value=np.nan))


def rating_at_least(log: pd.DataFrame, threshold: float | None) -> pd.DataFrame:
    """Keep the rows with ``rating >= threshold``.

    Raises:
        ValueError: if there is a threshold but no column ``rating``, or one that holds something else than numbers.
    """
    if threshold is None:
        return log
    if "rating" not in log:
        raise Refusal(
            "dataset.min_rating={threshold} needs a column 'rating'; columns are {columns}",
            threshold=threshold,
            columns=", ".join(map(str, log.columns)),
        )
    ratings = pd.to_numeric(log["rating"], errors="coerce")
    unreadable = (ratings.isna() & log["rating"].notna()).to_numpy()
    if unreadable.any():
        raise Refusal(
            "dataset.min_rating={threshold} needs numbers in column 'rating', and {example} is none",
            threshold=threshold,
            example=repr(log["rating"].iloc[int(unreadable.argmax())]),
        )
    return log[(ratings >= threshold).to_numpy(bool, na_value=False)]


def deduplicated(log: pd.DataFrame) -> pd.DataFrame:
    """Keep the earliest row of each (user, item) pair; without timestamps the first row."""
    if "timestamp" in log:
        log = log.sort_values("timestamp", kind="stable")
    return log.drop_duplicates(["user_id", "item_id"]).sort_index()


def k_core(log: pd.DataFrame, k: int) -> pd.DataFrame:
    """Drop users and items with fewer than ``k`` rows until all have at least ``k``; ``k <= 1`` keeps all rows."""
    while k > 1:
        counts = (log.groupby(column)["item_id"].transform("size") for column in ("user_id", "item_id"))
        keep = np.logical_and.reduce([count >= k for count in counts])
        if keep.all():
            break
        log = log[keep]
    return log
