"""Splits into train, validation and test; one frozen split serves every condition of a dataset."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmbench import fingerprint
from mmbench.data.held_out import TARGETS, HeldOut
from mmbench.data.interactions import Interactions, k_core
from mmbench.messages import Message, Refusal

PARTS = ("train", "valid", "test")
PROTOCOLS = ("auto", "given", "paper", "time", "last_out", "cold")
#: Those of them that draw a split from a seed.
DRAWN = ("paper", "cold")
#: A split by time needs at least this many users who have both a training and a test interaction.
MIN_TEST_USERS = 500
#: Share of the users whose last interaction is no later than another of theirs, from which it is said.
TIED_LIMIT = 0.05
LABELS: Mapping[str, str] = {
    "train": "train", "0": "train",
    "valid": "valid", "val": "valid", "validation": "valid", "1": "valid",
    "test": "test", "2": "test",
}  # fmt: skip
#: Equal parts of the items of protocol ``cold``, and its folds: each takes two of them for test and the next one for
#: validation, so that every item is new at test in exactly one fold.
TENTHS, FOLDS = 10, 5
#: Seed of the sample of users whose validation is ranked, beside the fingerprint of the split.
SAMPLE_SEED = 29


@dataclass(frozen=True)
class Split:
    """Train, validation and test interactions of one protocol.

    There are two fingerprints, because tuning may depend on train and validation only.

    Args:
        train: interactions that models learn from.
        valid: interactions that choose an epoch and a configuration.
        test: interactions that only the sealed test reads.
        protocol: name of the rule that made the parts.
        new_valid: the whole of validation with its new items; None where the protocol knows of none.
        new_test: the same of test.
        target: what tuning aims at, one of :data:`mmbench.data.held_out.TARGETS`; ``valid`` and ``test`` are what it
            ranks. Empty where all of them is ranked among all items.
        held_out: validation and test as they were before a target; None without one.
        ranked: users whose validation is ranked, ascending, where that is a sample; None where it is everybody.
    """

    train: Interactions
    valid: Interactions
    test: Interactions
    protocol: str
    new_valid: HeldOut | None = None
    new_test: HeldOut | None = None
    target: str = ""
    held_out: tuple[Interactions, Interactions] | None = None
    ranked: NDArray[np.int64] | None = None

    def sampled(self, n: int | None) -> Split:
        """The split with a sample of the users whose validation is ranked; its test part is what it was.

        The draw depends on training and validation interactions alone, so that every condition and model of a data
        set, in every process, gets the same users. A smaller sample is part of a larger one.

        Args:
            n: how many users; None, or as many as there are, is all of them.
        """
        everyone = self.valid.active_users
        if n is None or n >= len(everyone):
            return self
        rng = np.random.default_rng([SAMPLE_SEED, int(self.tuning_fingerprint, 16)])
        return replace(self, ranked=np.sort(rng.permutation(everyone)[:n]))

    @functools.cached_property
    def ranked_valid(self) -> Interactions:
        """Validation interactions of the users whose validation is ranked."""
        return self.valid if self.ranked is None else self.valid.of_users(self.ranked)

    @functools.cached_property
    def ranked_new_valid(self) -> HeldOut | None:
        """The whole of validation with its new items, of the users whose validation is ranked."""
        if self.new_valid is None or self.ranked is None:
            return self.new_valid
        return replace(self.new_valid, rows=self.new_valid.rows.of_users(self.ranked))

    def towards(self, target: str) -> Split:
        """The split with those held-out interactions that a target of :data:`mmbench.data.held_out.TARGETS` ranks.

        Raises:
            ValueError: if no item is new, or if nothing is left to rank.
        """
        if self.new_valid is None or self.new_test is None:
            if self.protocol == "time":
                raise Refusal(
                    "tuning.target={target} needs items that are new, and none first occurs in the test part",
                    target=target,
                )
            raise Refusal(
                "tuning.target={target} needs items that are new: dataset.protocol is {protocol}, and cold or time "
                "have such",
                target=target,
                protocol=self.protocol,
            )
        valid, test = (part.among(TARGETS[target]) for part in (self.new_valid, self.new_test))
        for name, part in (("valid", valid), ("test", test)):
            if len(part) == 0:
                raise Refusal(
                    "tuning.target={target}: nothing in the {part} part is left to rank", target=target, part=name
                )
        return replace(self, valid=valid, test=test, target=target, held_out=self.whole[1:], ranked=None)

    @functools.cached_property
    def tuning_fingerprint(self) -> str:
        """SHA-256 of what tuning may see: train and validation, with its pool where that is ranked."""
        parts = [self.protocol, self.train.fingerprint(), self.valid.fingerprint()]
        if self.target and self.new_valid is not None:
            parts += [self.target, self.new_valid.rows.fingerprint(), fingerprint.of_arrays(self.new_valid.pool)]
        return fingerprint.of_json(parts)

    @functools.cached_property
    def test_fingerprint(self) -> str:
        """SHA-256 of the sealed part: of what is ranked for the target, and of all of it where some items are new."""
        return sealed_fingerprint(self.test.fingerprint(), self.new_items_fingerprint)

    @functools.cached_property
    def new_items_fingerprint(self) -> str:
        """SHA-256 of the whole test part with its pool of new items, empty where there are none to evaluate.

        Final runs are ranked among new, other and all items whatever their target is, and floors depend on the pool.
        """
        part = self.new_test
        return "" if part is None else fingerprint.of_json([part.rows.fingerprint(), fingerprint.of_arrays(part.pool)])

    @property
    def masks_valid_at_test(self) -> bool:
        """Whether validation items are hidden when test is ranked; the source study hid train only."""
        return self.protocol != "paper"

    @property
    def whole(self) -> tuple[Interactions, Interactions, Interactions]:
        """All interactions of train, validation and test, whatever a target ranks of them."""
        return self.train, *(self.held_out or (self.valid, self.test))

    @property
    def seen_at_test(self) -> tuple[Interactions, ...]:
        """Parts whose items are no candidates when test is ranked."""
        return self.whole[:2] if self.masks_valid_at_test else self.whole[:1]


def sealed_fingerprint(test: str, new_items: str) -> str:
    """:attr:`Split.test_fingerprint` from that of the ranked interactions and that of the new items."""
    return fingerprint.of_json([test, new_items]) if new_items else test


def given(log: pd.DataFrame, column: str) -> pd.Series:
    """Read the part of each row from ``column``; ``val``, ``valid``, ``validation`` and ``1`` mean the same.

    Raises:
        ValueError: if the column is missing or holds another word.
    """
    if column not in log:
        raise Refusal(
            "dataset.split_column={column} is not a column; columns are {columns}",
            column=repr(column),
            columns=", ".join(map(str, log.columns)),
        )
    words = log[column].astype(str).str.strip().str.lower()
    parts = words.map(LABELS)
    if parts.isna().any():
        bad = sorted(map(str, words[parts.isna()].unique()))[:3]
        raise Refusal(
            "column {column} holds {bad}; allowed are {allowed}",
            column=repr(column),
            bad=", ".join(map(repr, bad)),
            allowed=", ".join(LABELS),
        )
    return parts


def paper(log: pd.DataFrame, seed: int) -> pd.Series:
    """Split the interactions of each user at random, as the source study does (docs/protocol.md, "Data").

    A user with ``n < 10`` interactions gives one to validation and one to test; any other user gives ``floor(n / 5)``,
    halved, the odd one to validation. A user with fewer than three keeps all of them in train.
    """
    users = log["user_id"].to_numpy()
    keys = np.random.default_rng(seed).random(len(log))
    place = _place_within(users, keys)
    n = log.groupby("user_id")["item_id"].transform("size").to_numpy()
    held = np.where(n < 3, 0, np.where(n < 10, 2, n // 5))
    parts = np.where(place < held // 2, "test", np.where(place < held, "valid", "train"))
    return pd.Series(parts, index=log.index)


def time(log: pd.DataFrame) -> pd.Series:
    """Split at two moments: train up to the 80 % quantile of time, validation up to the 90 % quantile, then test.

    Items that first occur after train stay in the catalogue as the cold slice. Users who first occur after train have
    no interaction to learn from; they are dropped later, for every condition alike.

    Raises:
        ValueError: without a column ``timestamp``.
    """
    times = _timestamps(log, "time")
    first, second = np.quantile(times, [0.8, 0.9], method="lower")
    parts = np.where(times <= first, "train", np.where(times > second, "test", "valid"))
    return pd.Series(parts, index=log.index)


def last_out(log: pd.DataFrame) -> pd.Series:
    """Hold out the last interaction of each user for test and the one before it for validation.

    Rows with the same timestamp keep the order of the log. A user with fewer than three keeps all of them in train.

    Raises:
        ValueError: without a column ``timestamp``.
    """
    times = _timestamps(log, "last_out")
    place = _place_within(log["user_id"].to_numpy(), -np.argsort(np.argsort(times, kind="stable"), kind="stable"))
    n = log.groupby("user_id")["item_id"].transform("size").to_numpy()
    parts = np.where((place == 0) & (n >= 3), "test", np.where((place == 1) & (n >= 3), "valid", "train"))
    return pd.Series(parts, index=log.index)


def cold(log: pd.DataFrame, seed: int, fold: int) -> pd.Series:
    """Hold out whole items: what a model knows of them is their content, as on the first day in a shop.

    Items that occur in the log are permuted with the seed and cut into :data:`TENTHS`. Fold f takes the tenths 2f and
    2f + 1 for test and the next one for validation (:func:`cold_pools`); all of their rows leave train. The rows of the
    other items are split per user as by :func:`paper`.
    """
    parts = pd.Series("", index=log.index)
    pools = cold_pools(log, seed, fold)
    for part, items in pools.items():
        parts[log["item_id"].isin(items)] = part
    warm = parts == ""
    parts[warm] = paper(log[warm], seed)
    return parts


def cold_pools(log: pd.DataFrame, seed: int, fold: int) -> dict[str, pd.Index]:
    """Items that are new in validation and in test, by the name of the part, in one fold of protocol ``cold``.

    Raises:
        ValueError: for a log of so few items that a fold would have no new ones.
    """
    items = pd.Index(np.sort(log["item_id"].unique()))
    if 0 < len(items) < TENTHS:  # of an empty log its data set says more
        raise Refusal(
            "dataset.protocol=cold needs at least {least} items, and the log has {n}", least=TENTHS, n=len(items)
        )
    tenths = np.array_split(np.random.default_rng(seed).permutation(len(items)), TENTHS)
    return {
        "test": items[np.r_[tenths[2 * fold], tenths[2 * fold + 1]]],
        "valid": items[tenths[(2 * fold + 2) % TENTHS]],
    }


def late_pools(log: pd.DataFrame, parts: pd.Series) -> dict[str, pd.Index]:
    """Items that first occur in validation and in test, by the name of the part: the new items of a split by time."""
    old = log["item_id"][parts == "train"].unique()
    pools = {}
    for part in ("valid", "test"):
        first = pd.Index(np.sort(log["item_id"][parts == part].unique())).difference(old)
        pools[part], old = first, np.r_[old, first]
    return pools


def time_in_core(log: pd.DataFrame, core: int) -> tuple[pd.DataFrame, pd.Series, dict[str, pd.Index]]:
    """Split by time, within a k-core of train: one of the whole log would depend on the future.

    Items that first occur after train stay as the cold slice, and so do users who first occur then.

    Args:
        log: each pair of user and item once.
        core: what is fitted on train; 0 keeps all.

    Returns:
        The log, the part of each row, and the items that are new in validation and in test, whoever takes them first.

    Raises:
        ValueError: without a column ``timestamp``.
    """
    parts = time(log)
    train = log[parts == "train"]
    kept = k_core(train, core)
    dropped_items = set(train["item_id"]) - set(kept["item_id"])
    of_core = ~log["item_id"].isin(dropped_items)
    pools = late_pools(log[of_core], parts[of_core])
    dropped_users = set(train["user_id"]) - set(kept["user_id"])
    keep = of_core & ~log["user_id"].isin(dropped_users)
    return log[keep], parts[keep], pools


def automatic(log: pd.DataFrame, column: str, core: int = 0) -> tuple[str, Message]:
    """Choose a protocol for a log that comes without one.

    A log with a split column is split as given. A log with timestamps is split by time if at least
    :data:`MIN_TEST_USERS` users can be tested and somebody can be validated, otherwise the last interactions are held
    out. Any other log, and one whose users have one time each, is split at random per user. What counts is what the
    k-core leaves.

    Args:
        log: each pair of user and item once.
        column: column with the part of each row.
        core: the k-core that is taken from the log, under ``time`` from its train part; 0 keeps all.

    Returns:
        The protocol and one line that says why.
    """
    if column in log:
        return "given", Message("protocol given: the log has a column {column}", column=repr(column))
    if "timestamp" not in log:
        return "paper", Message(
            "protocol paper (random per user, can leak the future): the log has no column 'timestamp'"
        )
    kept, parts, _ = time_in_core(log, core)
    known = kept["user_id"].isin(kept["user_id"][parts == "train"].unique())
    n = int(kept["user_id"][known & (parts == "test")].nunique())
    # Where many rows have one time, as after a move of a shop's data, both quantiles may fall on it.
    validates = bool((known & (parts == "valid")).any())
    if n >= MIN_TEST_USERS and validates:
        return "time", Message("protocol time: {n} users of the last tenth also have earlier interactions", n)
    log = k_core(log, core)
    if (log.groupby("user_id")["timestamp"].nunique() < 2).all():
        return "paper", Message(
            "protocol paper (random per user, can leak the future): no user has interactions at two different times"
        )
    if n >= MIN_TEST_USERS:
        why = Message("a split by time would leave no interaction of an earlier user for validation")
    else:
        why = Message.counted(
            "a split by time would leave {n} test user, fewer than {least}",
            "a split by time would leave {n} test users, fewer than {least}",
            n,
            least=MIN_TEST_USERS,
        )
    tested = last_out(log) == "test"
    last, others = (log["timestamp"][rows].groupby(log["user_id"]).max() for rows in (tested, ~tested))
    tied = int((last == others.reindex(last.index)).sum())
    if tied > TIED_LIMIT * len(last):
        return "last_out", Message(
            "protocol last_out: {why}; for {tied} of {tested} users the last interaction has the time of another one, "
            "so that the order of the log decides",
            why=why,
            tied=tied,
            tested=len(last),
        )
    return "last_out", Message("protocol last_out: {why}", why=why)


def _timestamps(log: pd.DataFrame, protocol: str) -> NDArray[np.float64]:
    """Seconds since 1970 of each row; a log of a folder may count parts of one, by which rows come in order too."""
    if "timestamp" not in log:
        raise Refusal(
            "dataset.protocol={protocol} needs a column 'timestamp'; columns are {columns}",
            protocol=protocol,
            columns=", ".join(map(str, log.columns)),
        )
    return log["timestamp"].to_numpy(np.float64)


def _place_within(groups: NDArray[np.object_], keys: NDArray[Any]) -> NDArray[np.int64]:
    """Rank of each row within its group by ascending key, from zero, ``(n,)``."""
    codes, _ = pd.factorize(groups)
    order = np.lexsort((keys, codes))
    starts = np.r_[0, np.flatnonzero(np.diff(codes[order])) + 1]
    sizes = np.diff(np.r_[starts, len(order)])
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order)) - np.repeat(starts, sizes)
    return place


def split_rows(log: pd.DataFrame, protocol: str, *, column: str, seed: int, fold: int | None = None) -> pd.Series:
    """The part of each row of ``log`` under a protocol of :data:`PROTOCOLS` other than ``auto``."""
    if protocol == "given":
        return given(log, column)
    if protocol == "cold":
        assert fold is not None
        return cold(log, seed, fold)
    if protocol == "paper":
        return paper(log, seed)
    return {"time": time, "last_out": last_out}[protocol](log)
