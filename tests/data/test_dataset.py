from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mmbench.data import splits
from mmbench.data.dataset import Dataset, DatasetConfig, load_dataset
from mmbench.data.features import with_missing_filled
from mmbench.data.planted import make_world
from mmbench.data.sources import Source, write_folder

Write = Callable[..., DatasetConfig]

ROWS = [
    ("bob", "i2", "train"),
    ("bob", "i1", "valid"),
    ("bob", "i3", "test"),
    ("amy", "i3", "train"),
    ("amy", "i0", "train"),
    ("amy", "i2", "val"),
    ("cid", "i1", "test"),
]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a folder of four items (i4 is in nobody's log) and return its configuration."""

    def make(rows: list[tuple[str, str, str]], *, items: str = "i4 i3 i2 i1 i0", **options: object) -> DatasetConfig:
        ids = items.split()
        log = pd.DataFrame(rows, columns=["user_id", "item_id", "split"])
        log["timestamp"] = np.arange(len(log)) + 1000
        values = np.array([[float(i[1:] or ord(i)) + 1, 1.0] for i in ids], np.float32)
        features = {"text": with_missing_filled(values, np.array([i != "i0" for i in ids]))}
        write_folder(Source(log, pd.DataFrame({"item_id": ids}), features), tmp_path, {})
        return DatasetConfig("shop", str(tmp_path), **options)  # type: ignore[arg-type]

    return make


def pairs(dataset: Dataset, part: str) -> set[tuple[str, str]]:
    """Pairs of one part by their ids."""
    log = getattr(dataset.split, part)
    return set(zip(dataset.user_ids[log.users], dataset.item_ids[log.items], strict=True))


def test_ids_are_indexed_and_parts_kept(write: Write) -> None:
    dataset = load_dataset(write(ROWS[:6]))
    assert dataset.user_ids.tolist() == ["amy", "bob"]
    assert dataset.item_ids.tolist() == ["i4", "i3", "i2", "i1", "i0"]
    assert (dataset.n_users, dataset.n_items) == (2, 5)
    assert pairs(dataset, "train") == {("bob", "i2"), ("amy", "i3"), ("amy", "i0")}
    assert pairs(dataset, "valid") == {("bob", "i1"), ("amy", "i2")}
    assert pairs(dataset, "test") == {("bob", "i3")}
    assert dataset.notices == ()
    assert dataset.truth is None


def test_times_follow_their_rows(write: Write) -> None:
    train = load_dataset(write(ROWS[:6])).split.train
    assert train.times is not None
    assert sorted(zip(train.items.tolist(), train.times.tolist(), strict=True)) == [(1, 1003), (2, 1000), (4, 1004)]


def test_features_follow_their_items(write: Write) -> None:
    """A missing item holds the mean of the present ones."""
    text = load_dataset(write(ROWS[:6])).features["text"]
    assert text.values[:, 0].tolist() == [5.0, 4.0, 3.0, 2.0, 3.5]
    assert text.present.tolist() == [True, True, True, True, False]


def test_users_without_train_are_left_out_and_counted(write: Write) -> None:
    dataset = load_dataset(write(ROWS))
    assert dataset.user_ids.tolist() == ["amy", "bob"]
    assert dataset.notices == ("1 user has no training interaction and is left out of every condition",)
    assert pairs(dataset, "test") == {("bob", "i3")}


def test_unlisted_items_come_last_without_content(write: Write) -> None:
    dataset = load_dataset(write(ROWS[:6], items="i4 i2 i1 i0"))
    assert dataset.item_ids.tolist() == ["i4", "i2", "i1", "i0", "i3"]
    text = dataset.features["text"]
    assert text.present.tolist() == [True, True, True, False, False]
    np.testing.assert_allclose(text.values[3:], np.tile(text.values[:3].mean(0), (2, 1)), rtol=1e-6)
    assert dataset.notices == ("1 item of the log is not in items.parquet and counts as missing every modality",)
    assert pairs(dataset, "test") == {("bob", "i3")}


def test_unlisted_items_lack_every_modality(write: Write) -> None:
    rows = [("amy", "i1", "train"), ("bob", "i2", "train"), ("bob", "i1", "valid"), ("amy", "i2", "test")]
    config = write([*rows, ("amy", "i3", "train"), ("bob", "i4", "train"), ("amy", "i4", "valid")], items="i2 i1 i0")
    dataset = load_dataset(dataclasses.replace(config, items_with=["text"]))
    assert dataset.item_ids.tolist() == ["i2", "i1"]
    assert dataset.notices == (
        "2 items of the log are not in items.parquet and count as missing every modality",
        "left out because they lack text: 3 of 5 items with 3 of 7 interactions",
    )


def test_a_modality_without_any_content_is_refused(write: Write) -> None:
    config = write(ROWS[:6], items="i0")
    message = r"modality text: no item of the catalogue has content; remove text_feat.npy or mend it"
    with pytest.raises(ValueError, match=message):
        load_dataset(config)


def block(n_users: int, n_items: int, part: str = "train") -> list[tuple[str, str, str]]:
    return [(f"u{u}", f"i{i}", part) for u in range(n_users) for i in range(n_items)]


def test_k_core_drops_users_items_and_their_features(write: Write) -> None:
    """A full block of 4 x 4 with a held-out column each, plus a user and an item that hang on by one row."""
    rows = [(u, i, {"i2": "valid", "i3": "test"}.get(i, "train")) for u, i, _ in block(4, 4)]
    dataset = load_dataset(write([*rows, ("u9", "i1", "train"), ("u0", "i4", "train")], k_core=2))
    assert dataset.user_ids.tolist() == ["u0", "u1", "u2", "u3"]
    assert dataset.item_ids.tolist() == ["i3", "i2", "i1", "i0"]
    text = dataset.features["text"]
    assert text.values[:, 0].tolist() == [4.0, 3.0, 2.0, 3.0], "the mean is that of the items that stay"
    assert text.present.tolist() == [True, True, True, False]


def test_without_a_core_items_of_nobody_stay(write: Write) -> None:
    assert "i4" in load_dataset(write(ROWS[:6])).item_ids


def test_items_without_content_leave_the_log_before_the_core(write: Write) -> None:
    """Without i0, u0 has one item left and leaves the 2-core as well."""
    rows = [(u, i, {"i2": "valid", "i3": "test"}.get(i, "train")) for u, i, _ in block(4, 4)]
    config = write([*rows, ("u9", "i0", "train"), ("u9", "i1", "train")], k_core=2, items_with=["text"])
    dataset = load_dataset(config)
    assert dataset.item_ids.tolist() == ["i3", "i2", "i1"]
    assert dataset.user_ids.tolist() == ["u0", "u1", "u2", "u3"]
    assert dataset.features["text"].present.all()
    assert dataset.features["text"].values[:, 0].tolist() == [4.0, 3.0, 2.0]
    assert "left out because they lack text: 1 of 5 items with 5 of 18 interactions" in dataset.notices
    assert config.cell_name == "shop"


def test_the_titled_part_of_baby_is_the_published_one(shared_data: Path) -> None:
    """Its folder holds the 5-core of the products with a title as a file of its own."""
    config = DatasetConfig("b", str(shared_data / "baby"), protocol="paper", k_core=5, items_with=["text"],
                           trust_row_order=True)  # fmt: skip
    dataset = load_dataset(config)
    known = pd.read_parquet(shared_data / "baby" / "interactions_titled_5core.parquet")
    assert set().union(*(pairs(dataset, part) for part in ("train", "valid", "test"))) == set(
        zip(known["user_id"].astype(str), known["item_id"].astype(str), strict=True)
    )
    assert set(dataset.item_ids) == set(known["item_id"].astype(str))


def test_a_modality_that_is_not_there_is_refused(write: Write) -> None:
    message = r"dataset\.items_with=\[text,image\]: there is no image; the modalities are text"
    with pytest.raises(ValueError, match=message):
        load_dataset(write(ROWS[:6], items_with=["text", "image"]))


def test_repeated_pairs_count_once(write: Write) -> None:
    """The earliest row decides the part."""
    dataset = load_dataset(write([*ROWS[:6], ("bob", "i2", "test")]))
    assert pairs(dataset, "train") == {("bob", "i2"), ("amy", "i3"), ("amy", "i0")}
    assert pairs(dataset, "test") == {("bob", "i3")}


@pytest.mark.parametrize("part", ["valid", "test"])
def test_an_empty_part_is_refused(write: Write, part: str) -> None:
    rows = [(u, i, p) for u, i, p in ROWS[:6] if p[:3] != part[:3]]
    message = f"dataset shop: the {part} part of protocol given is empty; others that the log allows: dataset.protocol"
    with pytest.raises(ValueError, match=f"{message}=time, dataset.protocol=last_out, dataset.protocol=paper$"):
        load_dataset(write(rows))


def test_a_core_that_nothing_survives_is_refused(write: Write) -> None:
    message = r"dataset shop: no interaction is left after items_with, min_rating and k_core=9"
    with pytest.raises(ValueError, match=message):
        load_dataset(write(ROWS[:6], k_core=9))


@pytest.mark.parametrize("protocol", ["auto", "time", "last_out", "paper", "given"])
def test_a_rating_that_nothing_reaches_is_refused(protocol: str, write: Write) -> None:
    config = write(ROWS[:6], protocol=protocol, min_rating=9.0)
    file = Path(str(config.path)) / "interactions.parquet"
    pd.read_parquet(file).drop(columns="split" if protocol == "auto" else []).assign(rating=5).to_parquet(file)
    message = r"dataset shop: no interaction is left after items_with, min_rating and k_core=0"
    with pytest.raises(ValueError, match=message):
        load_dataset(config)


@pytest.mark.parametrize(
    ("setting", "value", "message"),
    [
        ("protocol", "tmie", "is unknown; protocols are .*given, paper"),
        ("name", 2024, "must be a text; put a number in double quotes"),
        ("k_core", "five", "must be a whole number of at least 0"),
        ("k_core", -1, "must be a whole number of at least 0"),
        ("split_seed", True, "must be a whole number of at least 0"),
        ("min_rating", "good", "must be a number, or null for none"),
        ("trust_row_order", "maybe", "must be true or false"),
        ("items_with", "text", r"must be a list of modalities, as in 'dataset.items_with=\[text\]'"),
        ("items_with", 1, "must be a list of modalities"),
        ("encoder", "clip", "must be set by modality, as in dataset.encoder.image="),
    ],
)
def test_settings_out_of_range_are_refused(setting: str, value: object, message: str) -> None:
    with pytest.raises(ValueError, match=rf"dataset.{setting}={value} {message}"):
        DatasetConfig(**{"name": "shop", setting: value})  # type: ignore[arg-type]


def test_rows_below_a_rating_are_counted_and_remembered(write: Write) -> None:
    config = write([*ROWS[:6], ("bob", "i0", "train"), ("eve", "i0", "train"), ("bob", "i9", "train")], min_rating=3.0)
    file = Path(str(config.path)) / "interactions.parquet"
    pd.read_parquet(file).assign(rating=[5, 3, 3, 4, 5, 3, 2, 1, None]).to_parquet(file)
    dataset = load_dataset(config)
    assert dataset.notices == (
        "dataset.min_rating=3 leaves out 2 of 9 rows, whose ratings are lower, and 1 without a rating",
    )
    (below,) = dataset.rated_below
    assert (dataset.user_ids[below.users].tolist(), dataset.item_ids[below.items].tolist()) == (["bob"], ["i0"])
    assert load_dataset(dataclasses.replace(config, min_rating=None)).rated_below == ()


def test_what_has_no_place_is_told_from_what_nobody_has(write: Write) -> None:
    """Users and items that the core, a rating or the split left out, and those of a world."""
    rows = [(u, i, {"i2": "valid", "i3": "test"}.get(i, "train")) for u, i, _ in block(4, 4)]
    rows += [("u9", "i1", "train"), ("u8", "i2", "valid"), ("u8", "i3", "test"), ("u0", "i8", "train")]
    config = write(rows, k_core=2, min_rating=2.0, items_with=["text"])
    file = Path(str(config.path)) / "interactions.parquet"
    pd.read_parquet(file).assign(rating=3).to_parquet(file)
    left_out = load_dataset(config).left_out
    assert (left_out.users.tolist(), left_out.items.tolist()) == (["u8", "u9"], ["i0", "i4", "i8"])
    words = "dataset.protocol=given, dataset.k_core=2, dataset.min_rating=2, dataset.items_with=[text]"
    assert left_out.words == words
    (file.parent / "text_feat.npy").unlink()
    (file.parent / "items.parquet").unlink()
    without = load_dataset(dataclasses.replace(config, k_core=0, items_with=[])).left_out
    assert (without.users.tolist(), without.items.tolist()) == (["u8"], [])
    world = DatasetConfig("planted-w", world="complementary", world_options={"n_users": 60, "n_items": 80}, k_core=6)
    dataset = load_dataset(world)
    assert 0 < len(dataset.left_out.items) == 80 - dataset.n_items
    assert dataset.left_out.users.tolist() == []


def test_the_seed_decides_a_random_split(write: Write) -> None:
    config = write(block(3, 5), protocol="paper")
    first, again = load_dataset(config), load_dataset(config)
    other = load_dataset(dataclasses.replace(config, split_seed=1))
    assert first.split.tuning_fingerprint == again.split.tuning_fingerprint
    assert first.split.test_fingerprint == again.split.test_fingerprint
    assert first.split.tuning_fingerprint != other.split.tuning_fingerprint
    assert [len(part) for part in (first.split.train, first.split.valid, first.split.test)] == [9, 3, 3]


def test_a_core_by_time_is_fitted_on_train(write: Write) -> None:
    """Item i4 has one row in train and two later, so it goes; i0 is new after train, so it stays.

    A core over the whole log would keep the one and drop the other: it would know the future.
    """
    trained = [(f"u{u}", f"i{i}", "") for u in range(5) for i in (1, 2, 3)]
    later = [("u0", "i0", ""), ("u1", "i4", ""), ("u2", "i0", ""), ("u3", "i4", "")]
    dataset = load_dataset(write([*trained, ("u0", "i4", ""), *later], protocol="time", k_core=3))
    assert dataset.split.protocol == "time"
    assert pairs(dataset, "train") == {(u, i) for u, i, _ in trained}
    assert pairs(dataset, "valid") == {("u0", "i0")}
    assert pairs(dataset, "test") == {("u2", "i0")}
    assert sorted(dataset.item_ids) == ["i0", "i1", "i2", "i3"]


def test_whoever_takes_an_item_first_says_in_which_part_it_is_new(write: Write) -> None:
    """Also a user without a training interaction, for whom nothing is ranked: x is no new item of test."""
    trained = [(f"u{u}", f"i{i}", "") for u in range(8) for i in (1, 2, 3)]
    valid = [("late", "x", ""), ("u0", "v", ""), ("late", "i0", "")]
    test = [("u1", "x", ""), ("late", "w", ""), ("u2", "z", "")]
    dataset = load_dataset(write([*trained, *valid, *test], protocol="time", items="x v w z i3 i2 i1 i0"))
    assert "1 user has no training interaction and is left out of every condition" in dataset.notices
    split = dataset.split
    assert split.new_valid is not None
    assert split.new_test is not None
    names = np.array(["x", "v", "w", "z", "i3", "i2", "i1", "i0"])
    assert set(names[split.new_valid.pool]) == {"x", "v", "i0"}
    assert set(names[split.new_test.pool]) == {"w", "z"}
    assert [names[item] for item in split.new_test.rows.items] == ["z"]  # x is a candidate of validation alone


def test_an_automatic_protocol_is_named(write: Write) -> None:
    dataset = load_dataset(write(ROWS[:6], protocol="auto"))
    assert dataset.split.protocol == "given"
    assert dataset.notices == ("protocol given: the log has a column 'split'",)


def test_an_automatic_protocol_counts_what_the_core_leaves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of users with three early rows each, a core of four leaves none to a split by time, and all to the others."""
    monkeypatch.setattr(splits, "MIN_TEST_USERS", 5)
    times = (0, 0, 0, 820, 950)
    light = [(f"u{user}", f"i{item}", time + user) for user in range(12) for item, time in enumerate(times)]
    heavy = [(f"v{user}", f"i{item}", 20 * item if item < 30 else 950) for user in range(4) for item in range(31)]
    log = pd.DataFrame(light + heavy, columns=["user_id", "item_id", "timestamp"])
    log.to_parquet(tmp_path / "interactions.parquet")
    config = DatasetConfig("shop", str(tmp_path), protocol="auto")
    whole = load_dataset(config)
    assert whole.split.protocol == "time"
    tested = len(whole.split.test.active_users)
    assert f"protocol time: {tested} users of the last tenth also have earlier interactions" in whole.notices
    core = load_dataset(dataclasses.replace(config, k_core=4))
    assert core.split.protocol == "last_out"
    assert len(core.split.test.active_users) == 16
    assert "protocol last_out: a split by time would leave 4 test users, fewer than 5" in core.notices


def test_summary_says_what_was_read(write: Write) -> None:
    assert load_dataset(write(ROWS)).summary() == [
        "shop: 2 users, 5 items, train / valid / test 3 / 2 / 1 (given)",
        "text 4/5 items, 0 constant, 0 duplicate rows",
        "1 user has no training interaction and is left out of every condition",
    ]


def test_the_summary_of_a_planted_world_says_so() -> None:
    options = {"n_users": 60, "n_items": 80, "per_user": 10}
    planted = load_dataset(DatasetConfig("planted-w", world="redundant", world_options=options, protocol="paper"))
    assert planted.summary()[1] == "PLANTED WORLD, MADE-UP DATA"


def test_a_planted_world_in_a_folder_says_so_under_any_name(tmp_path: Path) -> None:
    source = make_world("complementary", n_users=60, n_items=80, per_user=10)
    write_folder(source, tmp_path, {"format": "planted"})
    shop = DatasetConfig("shop", str(tmp_path), protocol="paper")

    def said() -> bool:
        dataset = load_dataset(shop)
        assert dataset.made_up is ("PLANTED WORLD, MADE-UP DATA" in dataset.summary())
        return dataset.made_up

    assert said()
    (tmp_path / "truth.npz").rename(tmp_path / "elsewhere")
    assert said()
    write_folder(dataclasses.replace(source, truth={}), tmp_path, {"format": "table"})
    assert not said()
    (tmp_path / "elsewhere").rename(tmp_path / "truth.npz")
    assert said()
    (tmp_path / "truth.npz").unlink()
    for matrix in tmp_path.glob("*_feat.npy"):
        matrix.unlink()
    (tmp_path / "dataset.json").write_text("[")  # nothing reads it where there are no features
    assert not said()


def test_features_of_the_whole_catalogue_stay_mapped(tmp_path: Path) -> None:
    """Workers share one copy of them, also where some items have no content."""
    source = make_world("complementary", n_users=60, n_items=80, per_user=10)
    text = source.features["text"]
    half = with_missing_filled(text.values, np.arange(80) % 2 == 0)
    write_folder(dataclasses.replace(source, features={"image": source.features["image"], "text": half}), tmp_path, {})
    dataset = load_dataset(DatasetConfig("shop", str(tmp_path), protocol="paper"))
    for name, feature in {"image": source.features["image"], "text": half}.items():
        assert dataset.features[name].fingerprint() == feature.fingerprint()
        assert isinstance(dataset.features[name].values.base, np.memmap)


def test_a_planted_world_carries_its_truth() -> None:
    options = {"n_users": 40, "n_items": 30, "per_user": 10}
    dataset = load_dataset(DatasetConfig("w", world="two_views", world_options=options, protocol="paper"))
    assert dataset.truth is not None
    assert dataset.truth["utility"].shape == (40, 30)
    assert dataset.item_ids.tolist() == make_world("two_views", **options).items["item_id"].tolist()
    assert [len(getattr(dataset.split, part)) for part in ("train", "valid", "test")] == [320, 40, 40]


def test_ml100k(shared_data: Path) -> None:
    """MovieLens 100K, all ratings, 5-core: 943 users, 1,349 items, 99,287 ratings."""
    path = shared_data / "ml100k"
    if not path.is_dir():
        pytest.skip(f"no ml100k in {shared_data.name}")
    config = DatasetConfig("ml100k", str(path), protocol="paper", k_core=5, trust_row_order=True)
    dataset = load_dataset(config)
    assert (dataset.n_users, dataset.n_items) == (943, 1349)
    parts = [dataset.split.train, dataset.split.valid, dataset.split.test]
    assert sum(len(part) for part in parts) == 99_287
    assert all(len(np.unique(part.users)) == 943 for part in parts)
    assert {name: f.values.shape for name, f in dataset.features.items()} == {
        "image": (1349, 1280),
        "text": (1349, 384),
    }
    assert dataset.features["text"].present.all()
    assert any(line.startswith("image: 19 all-zero rows count as missing") for line in dataset.notices)
    core = pd.concat([pd.DataFrame({"u": part.users, "i": part.items}) for part in parts])
    assert core.groupby("u").size().min() >= 5
    assert core.groupby("i").size().min() >= 5
    assert not core.duplicated().any()
