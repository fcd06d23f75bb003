"""Protocol ``cold`` from a log to its parts: what the parts are, and what cannot leak from one to another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mmbench.data import splits
from mmbench.data.dataset import DataChanged, Dataset, DatasetConfig, load_dataset
from mmbench.data.features import with_missing_filled
from mmbench.data.held_out import TARGETS, HeldOut
from mmbench.data.sources import Source, write_folder
from mmbench.data.splits import FOLDS
from mmbench.messages import Refusal

N_ITEMS = 60
Load = Callable[..., Dataset]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Forty users with fifteen of sixty items each, in time; the first one has items of the pools of fold 0 alone."""
    rng = np.random.default_rng(0)
    rows = [(f"u{u:02}", f"i{i:02}") for u in range(40) for i in rng.permutation(N_ITEMS)[:15]]
    log = pd.DataFrame(rows, columns=["user_id", "item_id"])
    log["timestamp"] = rng.permutation(len(log)) + 1000
    ids = pd.DataFrame({"item_id": [f"i{i:02}" for i in range(N_ITEMS)]})
    features = {
        "text": with_missing_filled(rng.standard_normal((N_ITEMS, 4)).astype(np.float32), np.ones(N_ITEMS, bool))
    }

    def make(more: pd.DataFrame | None = None, **options: object) -> Dataset:
        whole = log if more is None else pd.concat([log, more], ignore_index=True)
        write_folder(Source(whole, ids, features), tmp_path, {})
        settings = {"protocol": "cold", "cold_fold": 0, **options}
        return load_dataset(DatasetConfig("shop", str(tmp_path), **settings))  # type: ignore[arg-type]

    return make


def parts_of(dataset: Dataset) -> tuple[HeldOut, HeldOut]:
    valid, test = dataset.split.new_valid, dataset.split.new_test
    assert valid is not None
    assert test is not None
    return valid, test


@pytest.mark.parametrize("fold", range(FOLDS))
def test_sets_of_items_are_disjoint_and_new_ones_are_not_in_train(load: Load, fold: int) -> None:
    split = load(cold_fold=fold).split
    valid, test = split.new_valid, split.new_test
    assert valid is not None
    assert test is not None
    counts = np.bincount(split.train.items, minlength=N_ITEMS)
    assert not (valid.pool & test.pool).any()
    assert not counts[valid.pool | test.pool].any()
    assert np.array_equal(valid.warm, counts > 0)
    assert np.array_equal(test.warm, counts > 0)
    # A user's validation positives would be wrong at test otherwise: no pool holds those of the other part.
    assert not test.pool[valid.rows.items].any()
    assert not valid.pool[test.rows.items].any()
    assert (test.pool.sum(), valid.pool.sum()) == (12, 6)


def test_every_item_is_new_at_test_in_one_fold(load: Load) -> None:
    pools = [parts_of(load(cold_fold=fold))[1].pool for fold in range(FOLDS)]
    assert np.array_equal(np.sum(pools, axis=0), np.ones(N_ITEMS))


def test_fewer_items_than_tenths_are_refused() -> None:
    """Some fold would have no new items at test, and its targets none to rank."""
    log = pd.DataFrame({"user_id": ["u"] * 9, "item_id": list("abcdefghi")})
    with pytest.raises(ValueError, match=r"^dataset.protocol=cold needs at least 10 items, and the log has 9$"):
        splits.cold_pools(log, 0, 0)
    log = pd.concat([log, log.assign(item_id="j").head(1)])
    assert all(len(pool) for fold in range(FOLDS) for pool in splits.cold_pools(log, 0, fold).values())


def test_the_names_of_folds_differ(load: Load) -> None:
    config = load(cold_fold=3).config
    assert config is not None
    assert config.cell_name == "shop-fold3"


def test_what_tuning_sees_does_not_depend_on_the_new_items_of_test(load: Load) -> None:
    """Who took which of them may change: train, validation and their fingerprint stay, for every target."""
    first = load()
    pool = first.item_ids[parts_of(first)[1].pool]
    log = pd.read_parquet(Path(str(first.config.path)) / "interactions.parquet")  # type: ignore[union-attr]
    cold, rng = log["item_id"].isin(pool), np.random.default_rng(1)
    before = log["item_id"][cold].value_counts().reindex(pool)
    log.loc[cold, "user_id"] = rng.permutation(log["user_id"][cold])
    # Each new item once, so that it stays in the log, and then mostly those that were rare.
    rarest_first = before.sort_values().index.to_numpy()
    drawn = rarest_first[(len(pool) * rng.random(int(cold.sum()) - len(pool)) ** 3).astype(int)]
    log.loc[cold, "item_id"] = [*pool, *drawn]
    log = log.drop_duplicates(["user_id", "item_id"])
    dropped = np.flatnonzero(log["item_id"].isin(pool))[len(pool) :: 5]
    log = log.drop(index=log.index[dropped])
    after = log["item_id"].value_counts().reindex(pool)
    assert after.sum() < before.sum()
    assert np.corrcoef(before, after)[0, 1] < 0
    log.to_parquet(Path(str(first.config.path)) / "interactions.parquet")  # type: ignore[union-attr]
    second = load_dataset(first.config)  # type: ignore[arg-type]
    assert second.split.new_test.rows.fingerprint() != first.split.new_test.rows.fingerprint()  # type: ignore[union-attr]
    for target in ("cold", "warm", "harmonic"):
        assert second.split.towards(target).tuning_fingerprint == first.split.towards(target).tuning_fingerprint


def test_targets_rank_their_own_interactions(load: Load) -> None:
    split = load().split
    valid, test = split.new_valid, split.new_test
    assert valid is not None
    assert test is not None
    cold, warm, both = (split.towards(target) for target in ("cold", "warm", "harmonic"))
    assert test.pool[cold.test.items].all()
    assert valid.pool[cold.valid.items].all()
    assert test.warm[warm.test.items].all()
    assert valid.warm[warm.valid.items].all()
    users = set(cold.test.users) & set(warm.test.users)
    assert set(both.test.users) == users
    assert (
        len({s.tuning_fingerprint for s in (cold, warm, both)})
        == len({s.test_fingerprint for s in (cold, warm, both)})
        == 3
    )
    assert split.masks_valid_at_test


def with_another_item(part: HeldOut) -> HeldOut:
    """The part with an item in its pool that was neither new nor known."""
    larger = part.pool.copy()
    larger[np.flatnonzero(~part.pool & ~part.warm)[0]] = True
    return replace(part, pool=larger)


@pytest.mark.parametrize("target", ["cold", "warm", "harmonic"])
def test_the_fingerprint_of_test_sees_all_rows_and_the_pool(load: Load, target: str) -> None:
    """Final runs are ranked among new, other and all items whatever the target, and floors depend on the pool."""
    split = load().split
    test = split.new_test
    assert test is not None
    warm, new = (np.flatnonzero(kind[test.rows.items]) for kind in (test.warm, test.pool))
    fewer = [np.setdiff1d(np.arange(len(test.rows)), places[::2]) for places in (warm, new)]
    others = [replace(test, rows=test.rows.select(kept)) for kept in fewer] + [with_another_item(test)]
    found = [replace(split, new_test=part).towards(target) for part in (test, *others)]
    assert len({one.test_fingerprint for one in found}) == 4
    assert len({one.tuning_fingerprint for one in found}) == 1


@pytest.mark.parametrize("target", ["cold", "warm", "harmonic"])
def test_the_fingerprint_of_tuning_sees_the_pool_of_validation(load: Load, target: str) -> None:
    """Rows of validation are ranked among its pool."""
    dataset = load()
    valid, _ = parts_of(dataset)
    one, other = (replace(dataset.split, new_valid=part).towards(target) for part in (valid, with_another_item(valid)))
    assert one.tuning_fingerprint != other.tuning_fingerprint
    assert one.test_fingerprint == other.test_fingerprint


def test_without_new_items_the_fingerprint_of_test_is_that_of_its_interactions(load: Load) -> None:
    split = load(protocol="last_out", cold_fold=None).split
    assert split.test_fingerprint == split.test.fingerprint()
    assert split.new_items_fingerprint == ""


def test_a_file_that_is_touched_is_the_same_data_for_every_target(load: Load) -> None:
    dataset = load()
    for target in ("", "cold", "warm", "harmonic"):
        aimed = replace(dataset, split=dataset.split.towards(target)) if target else dataset
        aimed.watch._stamps = {}
        aimed.watch.check()
    log = Path(str(dataset.config.path)) / "interactions.parquet"  # type: ignore[union-attr]
    pd.read_parquet(log).iloc[:-1].to_parquet(log)
    with pytest.raises(DataChanged):
        replace(dataset, split=dataset.split.towards("cold")).watch.check()


@pytest.mark.thorough
def test_an_item_that_lost_all_its_training_rows_is_in_no_list(load: Load) -> None:
    """It is neither new nor known, and a notice counts it; how often it was taken does not matter."""
    more = pd.DataFrame({"user_id": ["u00", "u01"], "item_id": ["rare", "rare"], "timestamp": [1, 2]})
    for seed in range(200):
        dataset = load(more, split_seed=seed)
        rare = int(np.flatnonzero(dataset.item_ids == "rare")[0])
        valid, test = parts_of(dataset)
        if not (valid.pool | test.pool | test.warm)[rare]:
            break
    else:
        pytest.fail("no seed holds out both rows")
    assert rare not in np.r_[valid.rows.items, test.rows.items]
    assert "1 item that is not new was held out with all its interactions and is in none of these lists" in (
        dataset.notices
    )
    assert not any("is in none of these lists" in notice for notice in load().notices)


def test_users_without_training_interactions_leave_and_their_new_items_stay(load: Load) -> None:
    dataset = load()
    pool = dataset.item_ids[parts_of(dataset)[1].pool]
    more = pd.DataFrame({"user_id": "late", "item_id": pool[:4], "timestamp": 5})
    again = load(more)
    assert "late" not in again.user_ids
    assert set(again.item_ids[parts_of(again)[1].pool]) == set(pool)


def test_a_split_by_time_has_new_items_of_its_own(load: Load) -> None:
    late = pd.DataFrame(
        {
            "user_id": ["u00", "u01", "u02", "u03"],
            "item_id": ["n1", "n1", "n2", "n1"],
            "timestamp": [1541, 1545, 1598, 1599],
        }
    )
    dataset = load(late, protocol="time", cold_fold=None)
    valid, test = parts_of(dataset)
    assert dataset.item_ids[valid.pool].tolist() == ["n1"]
    assert dataset.item_ids[test.pool].tolist() == ["n2"]
    # n1 is no longer new at test and not in train either: it is in no list there.
    assert "n1" not in dataset.item_ids[test.rows.items]
    assert len(dataset.split.test) == len(test.rows) + 2, "the ordinary evaluation keeps it"
    assert any("new items: 1 in validation, 1 in test" in notice for notice in dataset.notices)


def test_the_whole_log_is_what_it_was_whatever_a_target_ranks(load: Load) -> None:
    """Also what no list holds: items that were new in validation, and such as lost all of their training rows."""
    late = pd.DataFrame({"user_id": ["u00", "u01", "u03"], "item_id": "n1", "timestamp": [1541, 1545, 1599]})
    more = pd.DataFrame({"user_id": ["u02", "u03"], "item_id": "n2", "timestamp": [1590, 1598]})
    cold = load(pd.concat([late, more, late.assign(user_id=["u05", "u06", "u07"])]), protocol="time", cold_fold=None)
    for split in (cold.split, load().split):
        for target in TARGETS:
            aimed = split.towards(target)
            assert aimed.whole == (split.train, split.valid, split.test)
            assert len(aimed.valid) < len(split.valid) or len(aimed.test) < len(split.test) or target == "harmonic"


def test_new_items_of_test_are_evaluated_without_such_of_validation(load: Load) -> None:
    late = pd.DataFrame({"user_id": ["u01", "u02"], "item_id": "n2", "timestamp": [1598, 1599]})
    dataset = load(late, protocol="time", cold_fold=None)
    valid, test = parts_of(dataset)
    assert not valid.pool.any()
    assert dataset.item_ids[test.pool].tolist() == ["n2"]
    assert len(test.among("cold")) == 2
    assert "new items: 0 in validation, 1 in test, beside 60 items of the training log" in dataset.notices
    with pytest.raises(Refusal, match=r"tuning\.target=cold: nothing in the valid part is left to rank"):
        dataset.split.towards("cold")
    assert len(dataset.split.towards("warm").valid) == len(valid.rows)


def test_new_items_of_validation_alone_are_counted_and_not_evaluated(load: Load) -> None:
    late = pd.DataFrame({"user_id": ["u01", "u02"], "item_id": "n1", "timestamp": [1500, 1510]})
    dataset = load(late, protocol="time", cold_fold=None)
    assert dataset.split.new_test is None
    assert dataset.split.test_fingerprint == dataset.split.test.fingerprint()
    assert "new items: 1 in validation, 0 in test, beside 60 items of the training log" in dataset.notices
    with pytest.raises(Refusal, match=r"needs items that are new, and none first occurs in the test part"):
        dataset.split.towards("cold")


def test_a_split_without_new_items_says_so(load: Load) -> None:
    split = load(protocol="last_out", cold_fold=None).split
    assert split.new_test is None
    with pytest.raises(Refusal, match=r"tuning\.target=cold needs items that are new: dataset\.protocol is last_out"):
        split.towards("cold")


@pytest.mark.parametrize(
    "options, message",
    [
        ({"cold_fold": None}, r"dataset\.protocol=cold and dataset\.cold_fold belong together.*0,1,2,3,4"),
        ({"protocol": "paper"}, r"belong together, and here they are paper and 0"),
        ({"cold_fold": 5}, r"dataset\.cold_fold=5 must be a whole number from 0 to 4"),
        ({"cold_fold": True}, r"dataset\.cold_fold=True must be a whole number"),
    ],
)
def test_errors(load: Load, options: dict[str, object], message: str) -> None:
    with pytest.raises(Refusal, match=message):
        load(**options)
