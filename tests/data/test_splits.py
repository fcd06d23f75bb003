from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmbench.data import splits
from mmbench.data.interactions import Interactions
from mmbench.data.splits import Split

SIZES = {1: (1, 0, 0), 2: (2, 0, 0), 3: (1, 1, 1), 5: (3, 1, 1), 9: (7, 1, 1), 10: (8, 1, 1), 14: (12, 1, 1)}
SIZES |= {15: (12, 2, 1), 20: (16, 2, 2), 24: (20, 2, 2), 25: (20, 3, 2), 100: (80, 10, 10), 104: (84, 10, 10)}


@pytest.fixture(scope="module")
def log() -> pd.DataFrame:
    """One user for each size, rows of the users mixed, an index with gaps as filters leave it."""
    rows = [(f"u{n}", f"i{i}") for n in SIZES for i in range(n)]
    table = pd.DataFrame(rows, columns=["user_id", "item_id"]).sample(frac=1, random_state=0)
    return table.set_index(np.arange(len(table)) * 3 + 7)


def counts(log: pd.DataFrame, parts: pd.Series) -> dict[int, tuple[int, ...]]:
    table = pd.crosstab(log["user_id"], parts).reindex(columns=splits.PARTS)
    return {int(str(user)[1:]): tuple(row) for user, row in zip(table.index, table.to_numpy().tolist(), strict=True)}


def test_paper_holds_out_a_tenth_each(log: pd.DataFrame) -> None:
    """Fewer than three: all train; fewer than ten: one each; else a fifth, halved, the odd one to validation."""
    assert counts(log, splits.paper(log, 0)) == SIZES


def test_paper_is_decided_by_its_seed(log: pd.DataFrame) -> None:
    first = splits.paper(log, 0)
    assert first.index.equals(log.index)
    pd.testing.assert_series_equal(first, splits.paper(log, 0))
    other = splits.paper(log, 1)
    assert (first != other).any()
    assert counts(log, other) == SIZES


def test_paper_draws_uniformly(log: pd.DataFrame) -> None:
    """Over 300 seeds every row of a user with 100 rows is in test about 30 times."""
    own = log[log["user_id"] == "u100"]
    hits = sum((splits.paper(own, seed) == "test").to_numpy().astype(int) for seed in range(300))
    assert hits.sum() == 3000
    assert abs(hits - 30).max() < 5 * np.sqrt(300 * 0.1 * 0.9)
    assert np.square(hits - 30).sum() / (300 * 0.1 * 0.9) < 99 + 4 * np.sqrt(2 * 99)  # chi-square, 99 degrees


@pytest.mark.parametrize(
    "words",
    [
        ["train", "valid", "test"],
        ["train", "val", "test"],
        ["Train", " VALIDATION ", "TEST"],
        ["0", "1", "2"],
        [0, 1, 2],
    ],
)
def test_given_knows_the_words_in_use(words: list[object]) -> None:
    log = pd.DataFrame({"user_id": ["a"] * 3, "item_id": ["x", "y", "z"], "x_label": words})
    assert splits.given(log, "x_label").tolist() == ["train", "valid", "test"]


def test_given_refuses_other_words() -> None:
    log = pd.DataFrame({"user_id": ["a"] * 3, "item_id": ["x", "y", "z"], "split": ["train", "holdout", "3"]})
    with pytest.raises(ValueError, match=r"column 'split' holds '3', 'holdout'; allowed are train, 0, valid, val"):
        splits.given(log, "split")


def test_given_refuses_an_empty_cell() -> None:
    log = pd.DataFrame({"user_id": ["a"] * 2, "item_id": ["x", "y"], "split": ["train", None]})
    with pytest.raises(ValueError, match="allowed are train"):
        splits.given(log, "split")


def test_given_refuses_empty_cells_beside_other_words() -> None:
    with pytest.raises(ValueError, match=r"column 'split' holds 'holdout', 'nan'; allowed are"):
        splits.given(pd.DataFrame({"split": ["train", None, "holdout"]}), "split")


def test_given_needs_its_column() -> None:
    log = pd.DataFrame({"user_id": ["a"], "item_id": ["x"]})
    message = r"dataset.split_column='fold' is not a column; columns are user_id, item_id"
    with pytest.raises(ValueError, match=message):
        splits.given(log, "fold")


def timed(users: list[int], times: list[int] | list[float]) -> pd.DataFrame:
    ids = {"user_id": [f"u{u}" for u in users], "item_id": [f"i{i}" for i in range(len(users))]}
    return pd.DataFrame({**ids, "timestamp": times}, index=np.arange(len(users)) * 2 + 5)


timed_rows = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 12)), min_size=1, max_size=40)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(timed_rows)
def test_last_out_against_slow(rows: list[tuple[int, int]]) -> None:
    """The last row of a user to test, the one before to validation; of equal times the later row is the later one."""
    users, times = map(list, zip(*rows, strict=True))
    expected = ["train"] * len(rows)
    for user in set(users):
        own = sorted((times[row], row) for row in range(len(rows)) if users[row] == user)
        if len(own) >= 3:
            expected[own[-1][1]], expected[own[-2][1]] = "test", "valid"
    log = timed(users, times)
    parts = splits.last_out(log)
    assert parts.tolist() == expected
    assert parts.index.equals(log.index)


def test_parts_of_a_second_order_rows() -> None:
    log = timed([0] * 4, [1e9 + part for part in (0.9, 0.1, 0.5, 0.3)])
    assert splits.last_out(log).tolist() == ["test", "train", "valid", "train"]
    log = timed([0] * 10, [1e9 + part / 16 for part in (9, 1, 5, 3, 0, 2, 7, 8, 4, 6)])
    assert splits.time(log).tolist() == ["test", *["train"] * 6, "valid", *["train"] * 2]


def test_time_splits_at_the_quantiles() -> None:
    times = np.random.default_rng(0).permutation(100)
    parts = splits.time(timed([0] * 100, times.tolist()))
    expected = np.where(times <= 79, "train", np.where(times <= 89, "valid", "test"))
    assert parts.tolist() == expected.tolist()


@settings(max_examples=60, deadline=None, derandomize=True)
@given(timed_rows)
def test_no_later_row_trains_for_an_earlier_one(rows: list[tuple[int, int]]) -> None:
    """Rows of one second are never parted."""
    users, times = map(list, zip(*rows, strict=True))
    parts = splits.time(timed(users, times)).map({"train": 0, "valid": 1, "test": 2}).tolist()
    order = sorted(range(len(rows)), key=times.__getitem__)
    assert [parts[row] for row in order] == sorted(parts)
    assert len({(time, part) for time, part in zip(times, parts, strict=True)}) == len(set(times))


@pytest.mark.parametrize("protocol", ["time", "last_out"])
def test_protocols_by_time_need_times(log: pd.DataFrame, protocol: str) -> None:
    message = rf"dataset.protocol={protocol} needs a column 'timestamp'; columns are user_id, item_id"
    with pytest.raises(ValueError, match=message):
        splits.split_rows(log, protocol, column="split", seed=0)


def test_automatic_protocol(log: pd.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    """A split column, else time with enough test users, else the last interactions, else random."""
    assert splits.automatic(log.assign(fold="train"), "fold")[0] == "given"
    protocol, why = splits.automatic(log, "fold")
    assert protocol == "paper"
    assert "can leak the future" in why

    # Twenty rows each at times 0..19: the last tenth is two rows of every user; two more users come only then.
    users, times = np.repeat(np.arange(7), 20).tolist(), np.tile(np.arange(20), 7).tolist()
    with_times = timed([*users, 98, 99], [*times, 19, 19])
    assert splits.automatic(with_times, "fold") == (
        "last_out",
        "protocol last_out: a split by time would leave 7 test users, fewer than 500",
    )
    _, why = splits.automatic(timed([0, 0, 0, 1], [0, 1, 19, 18]), "fold")
    assert why == "protocol last_out: a split by time would leave 1 test user, fewer than 500"
    assert splits.automatic(timed([0, 0, 0, 1, 1], [5, 5, 5, 7, 7]), "fold") == (
        "paper",
        "protocol paper (random per user, can leak the future): no user has interactions at two different times",
    )
    protocol, why = splits.automatic(timed([0, 0, 0, 0, 1, 1, 1], [1, 2, 2, 2, 1, 2, 3]), "fold")
    assert protocol == "last_out"
    assert why.endswith(
        "for 1 of 2 users the last interaction has the time of another one, so that the order of the log decides"
    )
    # One of three users is more than a twentieth of them, and less than a twentieth of the rows.
    tied = timed([*[0] * 4, *[1] * 10, *[2] * 10], [1, 2, 2, 2, *range(10), *range(10)])
    _, why = splits.automatic(tied, "fold")
    assert "for 1 of 3 users the last interaction has the time of another one" in why
    # Whether it or the one that is held out for validation came last, the order of the log decides as well.
    _, why = splits.automatic(timed([0, 0, 0, 1, 1, 1], [1, 2, 2, 1, 2, 3]), "fold")
    assert "for 1 of 2 users the last interaction has the time of another one" in why
    monkeypatch.setattr(splits, "MIN_TEST_USERS", 7)
    assert splits.automatic(with_times, "fold")[0] == "time"
    monkeypatch.setattr(splits, "MIN_TEST_USERS", 8)
    assert splits.automatic(with_times, "fold")[0] == "last_out"


def test_automatic_protocol_leaves_somebody_to_validate(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both quantiles may fall on one time, and what lies between them may be of new users alone."""
    monkeypatch.setattr(splits, "MIN_TEST_USERS", 1)
    users = np.repeat(np.arange(10), 10)
    moved = timed(users.tolist(), np.tile([*range(5), 5, 5, 5, 5, 9], 10).tolist())
    assert "valid" not in set(splits.time(moved))
    why = "a split by time would leave no interaction of an earlier user for validation"
    assert splits.automatic(moved, "fold") == ("last_out", f"protocol last_out: {why}")
    strangers = timed([0] * 8 + [1, 0], list(range(10)))
    assert splits.time(strangers).tolist() == ["train"] * 8 + ["valid", "test"]
    assert splits.automatic(strangers, "fold")[0] == "last_out"


@pytest.mark.parametrize("protocol", ["given", "paper", "time", "last_out"])
def test_every_protocol_names_every_row(protocol: str) -> None:
    log = timed([0, 0, 0, 1, 1, 1], [1, 2, 3, 4, 5, 6]).assign(split=["train", "valid", "test"] * 2)
    parts = splits.split_rows(log, protocol, column="split", seed=0)
    assert parts.index.equals(log.index)
    assert set(parts) <= set(splits.PARTS)


def interactions(*pairs: tuple[int, int]) -> Interactions:
    users, items = np.array(pairs).T
    return Interactions(users, items, 5, 5)


@pytest.fixture
def split() -> Split:
    return Split(interactions((0, 0), (1, 1)), interactions((0, 2)), interactions((1, 3), (0, 4)), "paper")


def test_test_part_does_not_reach_the_tuning_fingerprint(split: Split) -> None:
    other = Split(split.train, split.valid, interactions((0, 3)), "paper")
    assert other.tuning_fingerprint == split.tuning_fingerprint
    assert other.test_fingerprint != split.test_fingerprint


def test_train_valid_and_protocol_reach_the_tuning_fingerprint(split: Split) -> None:
    others = [
        Split(interactions((0, 0), (1, 0)), split.valid, split.test, "paper"),
        Split(split.train, interactions((0, 3)), split.test, "paper"),
        Split(split.valid, split.train, split.test, "paper"),
        Split(split.train, split.valid, split.test, "given"),
    ]
    assert len({split.tuning_fingerprint, *(other.tuning_fingerprint for other in others)}) == 5


def test_only_the_protocol_of_the_source_study_ranks_validation_items_at_test(split: Split) -> None:
    assert not split.masks_valid_at_test
    assert Split(split.train, split.valid, split.test, "given").masks_valid_at_test


def a_log(n_users: int = 60, n_items: int = 97, each: int = 14) -> pd.DataFrame:
    rng = np.random.default_rng(2)
    rows = [(f"u{u}", f"i{i}") for u in range(n_users) for i in rng.permutation(n_items)[:each]]
    return pd.DataFrame(rows, columns=["user_id", "item_id"])


def test_folds_share_out_all_items() -> None:
    """Every item is new at test in exactly one fold, and at validation in exactly one other."""
    log = a_log()
    folds = [splits.cold_pools(log, 0, fold) for fold in range(splits.FOLDS)]
    items = sorted(log["item_id"].unique())
    assert sorted(np.concatenate([pools["test"] for pools in folds])) == items
    assert all(not set(pools["test"]) & set(pools["valid"]) for pools in folds)
    in_validation = np.concatenate([pools["valid"] for pools in folds])
    assert len(set(in_validation)) == len(in_validation)
    assert [len(pools["test"]) for pools in folds] == [20, 20, 20, 19, 18]


def test_cold_holds_out_whole_items_and_a_tenth_of_the_others() -> None:
    log = a_log()
    parts, pools = splits.cold(log, 0, 2), splits.cold_pools(log, 0, 2)
    for part, pool in pools.items():
        assert set(parts[log["item_id"].isin(pool)]) == {part}
    warm = log[~log["item_id"].isin([*pools["test"], *pools["valid"]])]
    pd.testing.assert_series_equal(parts[warm.index], splits.paper(warm, 0), check_names=False)


def test_cold_is_decided_by_seed_and_items_not_by_the_order_of_rows() -> None:
    log = a_log()
    mixed = log.sample(frac=1, random_state=3)
    for part in ("test", "valid"):
        assert splits.cold_pools(mixed, 0, 1)[part].equals(splits.cold_pools(log, 0, 1)[part])
        assert set(splits.cold_pools(log, 1, 1)[part]) != set(splits.cold_pools(log, 0, 1)[part])


def test_late_pools_are_the_items_of_each_part_that_first_occur_there() -> None:
    log = pd.DataFrame(
        {"user_id": "u", "item_id": list("abacbddeca")},
    )
    parts = pd.Series(["train"] * 3 + ["valid"] * 3 + ["test"] * 4)
    pools = splits.late_pools(log, parts)
    assert {part: pool.tolist() for part, pool in pools.items()} == {"valid": ["c", "d"], "test": ["e"]}
