from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmbench.data.dataset import DatasetConfig, load_dataset
from mmbench.data.divisions import categories
from mmbench.data.features import ItemFeature, with_missing_filled
from mmbench.data.interactions import deduplicated
from mmbench.data.readers.mmrec import kept_by, read_mmrec, write_mmrec
from mmbench.data.sources import Source, read_folder, write_folder

INTER = "userID\titemID\trating\ttimestamp\tx_label\n0\t2\t5.0\t30\t0\n0\t0\t4.5\t10\t1\n1\t1\t3.0\t20\t2\n"


@pytest.fixture(scope="session")
def fixtures(shared_data: Path) -> Path:
    folder = shared_data / "fixtures" / "mmrec_inter"
    if not folder.is_dir():
        pytest.skip(f"no files of others: {folder} is missing")
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two users and three items, of which item 1 has no image."""
    made = tmp_path / "shop"
    made.mkdir()
    (made / "shop.inter").write_text(INTER)
    image = np.arange(12, dtype=np.float64).reshape(3, 4) + 1
    image[1] = 0
    np.save(made / "image_feat.npy", image)
    np.save(made / "text_feat.npy", np.eye(3, 2, dtype=np.float16) + 1)
    return made


def same(a: Source, b: Source) -> None:
    pd.testing.assert_frame_equal(a.log, b.log)
    pd.testing.assert_frame_equal(a.items, b.items)
    assert list(a.features) == list(b.features)
    assert all(a.features[name].fingerprint() == b.features[name].fingerprint() for name in a.features)


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("tiktok", (68_722, 9_308, 6_710)),
        ("sports", (296_337, 35_598, 18_357)),
        ("clothing", (278_677, 39_387, 23_033)),
    ],
)
def test_published_files_without_ratings(
    fixtures: Path, tmp_path: Path, name: str, sizes: tuple[int, int, int]
) -> None:
    made = tmp_path / name
    made.mkdir()
    shutil.copy(fixtures / f"{name}.inter", made)
    source = read_mmrec(made)
    assert (len(source.log), source.log["user_id"].nunique(), len(source.items)) == sizes
    assert list(source.log) == ["user_id", "item_id", "split"]
    assert set(source.log["split"]) == {"train", "valid", "test"}
    assert source.notices == ()
    write_mmrec(source, source.log["split"], tmp_path / "again" / name)
    same(read_mmrec(tmp_path / "again" / name), source)
    written = (tmp_path / "again" / name / f"{name}.inter").read_bytes()
    assert written == (made / f"{name}.inter").read_bytes().replace(b"\r\n", b"\n")


def test_published_file_with_ratings_and_mapping_files(fixtures: Path, tmp_path: Path) -> None:
    made = tmp_path / "baby"
    made.mkdir()
    for name in ("baby_head.inter", "baby_i_id_mapping.csv", "baby_u_id_mapping.csv", "baby_baby_url.csv"):
        shutil.copy(fixtures / name, made)
    source = read_mmrec(made)
    assert (len(source.log), len(source.items)) == (75, 7_050)
    assert source.log["user_id"].unique()[0] == "A1HK2FQW6KXQB2"
    assert source.log["user_id"].nunique() == 10
    assert source.items["item_id"].iloc[[0, 7049]].tolist() == ["097293751X", "B00L13XFIE"]
    numbers = pd.read_csv(made / "baby_head.inter", sep="\t")
    assert source.log["item_id"].iloc[0] == source.items["item_id"].iloc[numbers["itemID"].iloc[0]]
    assert source.log["timestamp"].tolist() == numbers["timestamp"].tolist()
    assert source.log["rating"].tolist() == numbers["rating"].tolist()
    assert source.log["split"].map({"train": 0, "valid": 1, "test": 2}).tolist() == numbers["x_label"].tolist()
    users = pd.read_csv(made / "baby_u_id_mapping.csv", sep="\t")
    assert (len(users), set(source.log["user_id"]) <= set(users["user_id"])) == (19_445, True)
    assert source.notices == ("items: the mapping file lists 7,050 items; 6,985 of them have no interaction",)
    listed = pd.read_csv(made / "baby_baby_url.csv", dtype=str, keep_default_na=False)
    assert source.items["item_id"].tolist() == listed["asin"].tolist()
    assert source.items["image_url"].tolist() == listed["imUrl"].tolist()
    write_mmrec(source, source.log["split"], tmp_path / "again" / "baby")
    again = read_mmrec(tmp_path / "again" / "baby")
    pd.testing.assert_frame_equal(again.log, source.log)
    assert again.items["item_id"].tolist() == source.items["item_id"].tolist()


def test_several_logs_are_refused(fixtures: Path) -> None:
    message = r"must hold mmrec_inter.inter or one single .inter file; found: baby_head.inter, clothing.inter"
    with pytest.raises(ValueError, match=message):
        read_mmrec(fixtures)


def test_a_folder(folder: Path) -> None:
    (folder / "user_graph_dict.npy").write_bytes(b"\x80\x04 pickled, never read")
    source = read_mmrec(folder)
    assert source.log.to_dict("list") == {
        "user_id": ["0", "0", "1"],
        "item_id": ["2", "0", "1"],
        "rating": [5.0, 4.5, 3.0],
        "timestamp": [30, 10, 20],
        "split": ["train", "valid", "test"],
    }
    assert source.items["item_id"].tolist() == ["0", "1", "2"]
    assert source.features["image"].present.tolist() == [True, False, True]
    assert source.features["image"].values.tolist() == [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12]]
    assert source.features["text"].values.dtype == np.float32
    assert source.notices == ("image: 1 all-zero row counts as missing (no missed_img_itemIDs.csv)",)


def test_tables_of_the_items(folder: Path) -> None:
    (folder / "meta-shop.csv").write_text(
        "itemID,title,price,description,brand,categories\n2,Two,1,\"soft,\nred\",B,[['a']]\n0,None?,2,,,\n"
    )
    (folder / "shop_url.csv").write_text("itemID,asin,imUrl\n1,x,http://1\n")
    source = read_mmrec(folder)
    assert source.texts == ("title", "brand", "categories", "description")
    assert source.items.to_dict("list") == {
        "item_id": ["0", "1", "2"], "title": ["None?", "", "Two"], "brand": ["", "", "B"],
        "categories": ["", "", "[['a']]"], "description": ["", "", "soft,\nred"], "image_url": ["", "http://1", ""],
    }  # fmt: skip
    assert categories(source.items) == [[], [], ["a"]]
    (folder / "meta-shop.csv").write_text("itemID,title\n3,Three\n")
    with pytest.raises(ValueError, match=r"meta-shop.csv, line 2: itemID is '3'; there are 3 items, numbered from 0"):
        read_mmrec(folder)
    (folder / "meta-shop.csv").write_text("asin,title\n3,Three\n")
    with pytest.raises(ValueError, match=r"column 'itemID' \(meta-shop.csv\) is not there; columns are asin, title"):
        read_mmrec(folder)


def test_the_log_named_like_the_folder_wins(folder: Path) -> None:
    (folder / "old.inter").write_text("userID\titemID\tx_label\n5\t0\t0\n")
    assert len(read_mmrec(folder).log) == 3
    (folder / "shop.inter").rename(folder / "shop-indexed-v4.inter")
    (folder / "old.inter").unlink()
    assert len(read_mmrec(folder).log) == 3


def test_words_and_extra_columns_are_read_too(folder: Path) -> None:
    (folder / "shop.inter").write_text("x_label\tnote\titemID\tuserID\nTrain\ta\t2\t0\nval\tb\t1\t0\n test\tc\t0\t1\n")
    assert read_mmrec(folder).log["split"].tolist() == ["train", "valid", "test"]


def test_listed_missing_items_count_instead_of_zero_rows(folder: Path) -> None:
    (folder / "missed_img_itemIDs.csv").write_text("2\n")
    (folder / "missed_text_itemIDs.csv").write_text("")
    source = read_mmrec(folder)
    assert source.features["image"].present.tolist() == [True, True, False]
    assert source.features["text"].present.all()
    assert source.notices == ()
    (folder / "missed_img_itemIDs.csv").write_text("2\n", encoding="utf-8-sig")  # as spreadsheets save it
    assert read_mmrec(folder).features["image"].present.tolist() == [True, True, False]
    (folder / "missed_img_itemIDs.csv").write_text("2\n", encoding="utf-16")
    with pytest.raises(ValueError, match=r"missed_img_itemIDs\.csv, line 1: a byte that is not utf-8"):
        read_mmrec(folder)
    for wrong in ("3\n", "one\n"):
        (folder / "missed_img_itemIDs.csv").write_text(wrong)
        with pytest.raises(ValueError, match=r"missed_img_itemIDs.csv must hold item numbers below 3, one per line"):
            read_mmrec(folder)


def test_features_may_tell_of_items_without_interactions(folder: Path) -> None:
    for name in ("image", "text"):
        np.save(folder / f"{name}_feat.npy", np.ones((5, 2)) * np.arange(1, 6)[:, None])
    source = read_mmrec(folder)
    assert source.items["item_id"].tolist() == ["0", "1", "2", "3", "4"]
    assert source.notices == ("items: image_feat.npy has rows for 5 items; 2 of them have no interaction",)


@pytest.mark.parametrize("separator", ["\t", ","])
def test_mapping_files(folder: Path, separator: str) -> None:
    lines = [("asin", "itemID"), ("00B", "1"), ("0A", "0"), ("NA", "2")]
    (folder / "shop_i_id_mapping.csv").write_text("".join(f"{separator.join(line)}\n" for line in lines))
    (folder / "u_id_mapping.csv").write_text('user_id\tuserID\nu one\t0\n"u2\t1\nu3\t2\n')
    source = read_mmrec(folder)
    assert source.items["item_id"].tolist() == ["0A", "00B", "NA"]
    assert source.log["item_id"].tolist() == ["NA", "0A", "00B"]
    assert source.log["user_id"].tolist() == ["u one", "u one", '"u2']


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", r"shop.inter is empty"),
        ("userID\titemID\tx_label\n", r"has a header but no rows"),
        ("userID\titemID\trating\n0\t0\t1\n", r"columns x_label are missing; columns are userID, itemID, rating"),
        (
            "user_id:token\titem_id:token\n0\t0\n",
            r"columns userID, itemID, x_label are missing; columns are user_id:token",
        ),
        ("userID\titemID\titemID\tx_label\n0\t0\t0\t0\n", r"column 'itemID' occurs more than once"),
        ("userID\titemID\tx_label\n0\t0\t0\n0\t1\n", r"line 3: 2 cells where the header has 3"),
        ("userID\titemID\tx_label\n0\t0\t0\t\n", r"line 2: 4 cells where the header has 3"),
        ("userID\titemID\tx_label\n0\t0\t0\n\nu1\t1\t0\n", r"line 4: userID is 'u1'; ids must be whole numbers"),
        ("userID\titemID\tx_label\n0\t1.0\t0\n", r"line 2: itemID is '1.0'; ids must be whole numbers, zero or larger"),
        ("userID\titemID\tx_label\n0\t-1\t0\n", r"line 2: itemID is '-1'; ids must be whole numbers, zero or larger"),
        ("userID\titemID\tx_label\n0\t\t0\n", r"line 2: itemID is ''"),
        ("userID\titemID\tx_label\n0\t0\t3\n", r"line 2: x_label is '3'; it must be 0 \(train\), 1 \(validation\)"),
        ("userID\titemID\trating\tx_label\n0\t0\tgood\t0\n", r"line 2: rating is 'good'; it must be a number"),
        ("userID\titemID\ttimestamp\tx_label\n0\t0\t\t0\n", r"line 2: timestamp is ''; every row needs seconds"),
        ("userID\titemID\ttimestamp\tx_label\n0\t0\t1e300\t0\n", r"line 2: timestamp is '1e300'; every row needs sec"),
        (
            "userID\titemID\ttimestamp\tx_label\n0\t0\t1\t0\n0\t1\t1704067200000\t1\n0\t2\t3\t2\n",
            r"line 3: timestamp is '1704067200000'; most rows are in seconds, and units must not be mixed",
        ),
        ("userID\titemID\tx_label\n0\t3\t0\n", r"line 2: itemID is '3'; image_feat.npy has rows for 3 items"),
    ],
)
def test_faults_of_the_log(folder: Path, content: str, message: str) -> None:
    (folder / "shop.inter").write_text(content)
    with pytest.raises(ValueError, match=message) as error:
        read_mmrec(folder)
    assert "\n" not in str(error.value)


def test_times_in_milliseconds_become_seconds_that_a_sweep_can_read(folder: Path) -> None:
    rows = "".join(f"0\t{item}\t{1_704_067_200_000 + item}\t{item}\n" for item in range(3))
    (folder / "shop.inter").write_text("userID\titemID\ttimestamp\tx_label\n" + rows)
    source = read_mmrec(folder)
    assert source.log["timestamp"].tolist() == [1_704_067_200] * 3
    assert "timestamp: taken as milliseconds and divided by 1000" in source.notices
    write_folder(source, folder / "canonical", {})
    assert read_folder(folder / "canonical").log["timestamp"].tolist() == [1_704_067_200] * 3


def test_item_numbers_with_large_gaps_are_refused(folder: Path) -> None:
    for name in ("image", "text"):
        (folder / f"{name}_feat.npy").unlink()
    (folder / "shop.inter").write_text("userID\titemID\tx_label\n0\t0\t0\n0\t999999999999\t0\n")
    with pytest.raises(
        ValueError, match="line 3: itemID is '999999999999'; item numbers must run from 0 without large"
    ):
        read_mmrec(folder)


def test_features_of_another_size_are_refused(folder: Path) -> None:
    np.save(folder / "text_feat.npy", np.ones((4, 2)))
    with pytest.raises(ValueError, match=r"text_feat.npy has 4 rows, but image_feat.npy has rows for 3 items; row k"):
        read_mmrec(folder)
    (folder / "i_id_mapping.csv").write_text("asin\titemID\na\t0\nb\t1\nc\t2\n")
    with pytest.raises(ValueError, match=r"text_feat.npy has 4 rows, but the mapping file lists 3 items"):
        read_mmrec(folder)


def test_faults_of_features(folder: Path) -> None:
    np.save(folder / "text_feat.npy", np.array([{"a": 1}], object), allow_pickle=True)
    with pytest.raises(ValueError, match=r"text_feat.npy holds pickled objects, which are never loaded"):
        read_mmrec(folder)
    (folder / "text_feat.npy").rename(folder / "_feat.npy")
    with pytest.raises(ValueError, match=r"_feat.npy names no modality"):
        read_mmrec(folder)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("asin\tnumber\na\t0\n", r"must have the columns asin and itemID; columns are asin, number"),
        ("itemID\n0\n", r"must have the columns asin and itemID; columns are itemID"),
        ("asin\titemID\na\t0\nb\tx\n", r"line 3: itemID is 'x'; ids must be whole numbers"),
        ("asin\titemID\na\t0\nb\t0\nc\t2\n", r"line 3: asin is 'b'; every id and every number must stand once"),
        ("asin\titemID\na\t0\na\t1\nc\t2\n", r"line 3: asin is 'a'; every id and every number must stand once"),
        ("asin\titemID\na\t0\nb\t1\nc\t3\n", r"line 4: itemID is '3'; the 3 numbers must run from 0 without a gap"),
        ("asin\titemID\na\t0\n\t1\nc\t2\n", r"line 3: asin is ''; an id must not be empty"),
        ("asin\titemID\na\t0\nb\t1\n", r"line 2: itemID is '2'; the mapping file lists 2 items"),
    ],
)
def test_faults_of_a_mapping_file(folder: Path, content: str, message: str) -> None:
    for name in ("image", "text"):
        (folder / f"{name}_feat.npy").unlink()
    (folder / "i_id_mapping.csv").write_text(content)
    with pytest.raises(ValueError, match=message):
        read_mmrec(folder)


def test_a_user_or_a_folder_that_is_not_there(folder: Path, tmp_path: Path) -> None:
    (folder / "u_id_mapping.csv").write_text("user_id\tuserID\na\t0\n")
    with pytest.raises(ValueError, match=r"line 4: userID is '1'; the mapping file knows 1 of them, from 0"):
        read_mmrec(folder)
    (folder / "b_u_id_mapping.csv").write_text("user_id\tuserID\na\t0\n")
    with pytest.raises(
        ValueError, match=r"must hold one u_id_mapping.csv; found: b_u_id_mapping.csv, u_id_mapping.csv"
    ):
        read_mmrec(folder)
    with pytest.raises(ValueError, match="none is not a folder"):
        read_mmrec(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"must hold empty.inter or one single .inter file; found: none"):
        read_mmrec(tmp_path / "empty")


def test_what_is_written(folder: Path, tmp_path: Path) -> None:
    source = read_mmrec(folder)
    out = tmp_path / "out"
    assert write_mmrec(source, source.log["split"], out, name="shop") == 0
    files = sorted(path.name for path in out.iterdir())
    expected = ["i_id_mapping.csv", "image_feat.npy", "missed_img_itemIDs.csv", "shop.inter", "text_feat.npy"]
    assert files == [*expected, "u_id_mapping.csv"]
    assert (out / "shop.inter").read_text() == INTER
    assert (out / "i_id_mapping.csv").read_text() == "asin\titemID\n0\t0\n1\t1\n2\t2\n"
    assert (out / "u_id_mapping.csv").read_text() == "user_id\tuserID\n0\t0\n1\t1\n"
    assert (out / "missed_img_itemIDs.csv").read_text() == "1\n"
    image = np.load(out / "image_feat.npy")
    assert image.dtype == np.float32
    assert image[1].tolist() == [5, 6, 7, 8], "MMRec divides by the norm of a row"


def test_what_cannot_be_written(folder: Path, tmp_path: Path) -> None:
    source = read_mmrec(folder)
    with pytest.raises(ValueError, match="item '2' of the log is not listed, so it has no number"):
        write_mmrec(Source(source.log, source.items[:2], {}), source.log["split"], tmp_path / "out")
    log = source.log.replace({"user_id": {"1": "a\tb"}})
    with pytest.raises(ValueError, match=r"user_id 'a\\tb' is empty or holds a tab or a line end"):
        write_mmrec(Source(log, source.items, {}), log["split"], tmp_path / "out")
    items = pd.DataFrame({"item_id": ["0", "1", "2", "idle"]})
    assert write_mmrec(Source(source.log, items, {}), source.log["split"], tmp_path / "out") == 1


IDS = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\t\r\n"), min_size=1, max_size=6)


@st.composite
def sources(draw: st.DrawFn) -> Source:
    """Any log over a catalogue with features of any presence."""
    items = draw(st.lists(IDS.filter(str.strip), min_size=1, max_size=8, unique=True))
    users = draw(st.lists(IDS.filter(str.strip), min_size=1, max_size=6, unique=True))
    n = draw(st.integers(1, 20))
    draw_all = {
        "user_id": st.sampled_from(users),
        "item_id": st.sampled_from(items),
        "rating": st.none() | st.floats(-1e9, 1e9, allow_nan=False),
        "timestamp": st.integers(0, 10**11 - 1),
        "split": st.sampled_from(["train", "valid", "test"]),
    }
    log = pd.DataFrame({name: draw(st.lists(value, min_size=n, max_size=n)) for name, value in draw_all.items()})
    log["rating"] = log["rating"].astype(float)
    features: dict[str, ItemFeature] = {}
    for name in draw(st.sets(st.sampled_from(["audio", "image", "text"]))):
        values = draw(st.lists(st.tuples(*[st.floats(-9, 9, width=32)] * 2), min_size=len(items), max_size=len(items)))
        present = draw(st.lists(st.booleans(), min_size=len(items), max_size=len(items)))
        features[name] = with_missing_filled(np.array(values, np.float32), np.array(present))
    features = {name: features[name] for name in sorted(features)}
    left_out = draw(st.sets(st.sampled_from(["rating", "timestamp"])))
    return Source(log.drop(columns=list(left_out)), pd.DataFrame({"item_id": items}), features)


@pytest.mark.thorough
@settings(max_examples=60, deadline=None)
@given(sources())
def test_round_trip(tmp_path_factory: pytest.TempPathFactory, source: Source) -> None:
    out = tmp_path_factory.mktemp("round") / "name"
    write_mmrec(source, source.log["split"], out)
    same(read_mmrec(out), source)


def test_what_a_dataset_keeps_is_exported(tmp_path: Path) -> None:
    """A 2-core, a repeated pair, a user without training rows: the export is what mmbench ranks."""
    rows = [("a", "x", 1, "train"), ("a", "y", 2, "valid"), ("a", "z", 3, "test"), ("a", "x", 4, "test")]
    rows += [("b", "z", 1, "train"), ("b", "y", 2, "test"), ("b", "x", 3, "train"), ("c", "x", 1, "test")]
    rows += [("c", "y", 1, "test"), ("d", "w", 1, "train")]
    log = pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp", "split"])
    items = pd.DataFrame({"item_id": ["w", "x", "y", "z"]})
    text = with_missing_filled(np.eye(4, 3, dtype=np.float32), np.array([True, True, True, False]))
    write_folder(Source(log, items, {"text": text}), tmp_path / "shop", {})
    dataset = load_dataset(DatasetConfig("shop", str(tmp_path / "shop"), protocol="given", k_core=2))
    source, parts = kept_by(dataset, deduplicated(log))
    assert source.log.to_dict("list") == {
        "user_id": ["a", "a", "a", "b", "b", "b"],
        "item_id": ["x", "y", "z", "z", "y", "x"],
        "timestamp": [1, 2, 3, 1, 2, 3],
    }
    assert parts.tolist() == ["train", "valid", "test", "train", "test", "train"]
    write_mmrec(source, parts, tmp_path / "mmrec")
    back = read_mmrec(tmp_path / "mmrec")
    assert back.items["item_id"].tolist() == ["x", "y", "z"]
    assert back.log["split"].tolist() == parts.tolist()
    assert back.features["text"].fingerprint() == dataset.features["text"].fingerprint()
