"""Each format is recognised and read: the real files of others, and small ones made from their documentation."""

from __future__ import annotations

import gzip
import json
import shutil
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mmbench.data.divisions import categories
from mmbench.data.readers.feature_files import read_item_feature
from mmbench.data.readers.formats import READERS, Options, detected, read_source
from mmbench.data.readers.journal import Journal
from mmbench.data.readers.known import FORMATS
from mmbench.data.readers.lists import read_lists
from mmbench.data.readers.mmrec import read_mmrec, write_mmrec
from mmbench.data.sources import Source, read_folder, write_folder
from tests.data.readers.files import write


@pytest.fixture(scope="session")
def fixtures(shared_data: Path) -> Path:
    folder = shared_data / "fixtures"
    if not folder.is_dir():
        pytest.skip(f"no files of others: {folder} is missing")
    return folder


def read(path: Path, expected: str, **options: Any) -> Source:
    """What the format found out reads."""
    name, source = read_source(path, None, Options(**options), Journal())
    assert name == expected
    return source


def sizes(source: Source) -> tuple[int, int, int]:
    return len(source.log), source.log["user_id"].nunique(), len(source.items)


def json_lines(*rows: Any) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def there_and_back(source: Source, folder: Path) -> None:
    """Canonical folder, MMRec export, import, and export again: nothing changes."""
    write_folder(source, folder / "canonical", {})
    again = read_folder(folder / "canonical")
    pd.testing.assert_frame_equal(again.log, source.log, check_dtype=False)
    parts = source.log["split"] if "split" in source.log else pd.Series(["train"] * len(source.log))
    write_mmrec(again, parts, folder / "a" / "x")
    back = read_mmrec(folder / "a" / "x")
    columns = [name for name in ("user_id", "item_id", "rating", "timestamp") if name in source.log]
    pd.testing.assert_frame_equal(back.log[columns], source.log[columns], check_dtype=False)
    assert back.log["split"].tolist() == parts.tolist()
    assert back.items["item_id"].tolist() == source.items["item_id"].tolist()
    assert {n: f.fingerprint() for n, f in back.features.items()} == {
        n: f.fingerprint() for n, f in again.features.items()
    }
    write_mmrec(back, back.log["split"], folder / "b" / "x")
    first, second = (sorted((folder / side / "x").iterdir()) for side in "ab")
    assert [path.name for path in first] == [path.name for path in second]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


# Files written by others.


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("tiktok", (68_722, 9_308, 6_710)),
        ("sports", (296_337, 35_598, 18_357)),
        ("clothing", (278_677, 39_387, 23_033)),
    ],
)
def test_real_mmrec_logs(fixtures: Path, tmp_path: Path, name: str, expected: tuple[int, int, int]) -> None:
    source = read(fixtures / "mmrec_inter" / f"{name}.inter", "mmrec")
    assert sizes(source) == expected
    there_and_back(source, tmp_path)


def test_real_mmrec_features_of_half_precision(fixtures: Path, shared_data: Path, tmp_path: Path) -> None:
    shutil.copy(fixtures / "mmrec_inter" / "tiktok.inter", tmp_path)
    for modality in ("image", "audio"):
        shutil.copy(fixtures / "diffmm_pkl" / f"tiktok_{modality}_feat.npy", tmp_path / f"{modality}_feat.npy")
    source = read(tmp_path, "mmrec")
    for modality in ("image", "audio"):
        assert source.features[modality].values.dtype == np.float32
        published = np.load(shared_data / "tiktok" / f"{modality}_feat.npy")
        np.testing.assert_array_equal(
            source.features[modality].values[published.any(axis=1)], published[published.any(axis=1)]
        )
    there_and_back(source, tmp_path / "out")


@pytest.mark.thorough
def test_real_lattice_lists(fixtures: Path, shared_data: Path, tmp_path: Path) -> None:
    source = read(fixtures / "lattice_json", "lattice")
    assert sizes(source) == (160_792, 19_445, 7_050)
    assert source.log["split"].value_counts().to_dict() == {"train": 119_674, "valid": 20_559, "test": 20_559}
    known = pd.read_parquet(shared_data / "baby" / "interactions.parquet")
    mine = set(zip(source.log["user_id"], source.log["item_id"], source.log["split"], strict=True))
    words = known["split_bm3_seed42"].replace({"val": "valid"})
    assert mine == set(zip(known["user_id"], known["item_id"], words, strict=True))
    there_and_back(source, tmp_path)


def test_real_recbole_files(fixtures: Path, tmp_path: Path) -> None:
    source = read(fixtures / "recbole" / "recbole" / "dataset_example" / "ml-100k", "recbole")
    assert sizes(source) == (100_000, 943, 1_682)
    assert source.texts == ("movie_title", "class")
    assert source.items["movie_title"].iloc[0] == "Toy Story"
    assert source.log.iloc[0].to_dict() == {
        "user_id": "196", "item_id": "242", "rating": 3.0, "timestamp": 881250949
    }  # fmt: skip
    there_and_back(source, tmp_path)


def test_real_text_lists_with_images(fixtures: Path, tmp_path: Path) -> None:
    source = read(fixtures / "vbpr_sample" / "src" / "datasets" / "sample", "lists")
    assert sizes(source) == (38, 11, 11)
    assert source.items["image_url"].str.startswith("https://").all()
    assert all(Path(path).is_file() for path in source.items["image_path"])
    assert set(source.log["split"]) == {"train", "test"}
    there_and_back(source, tmp_path)


def test_real_ratings_of_movielens_as_their_own_files(shared_data: Path, tmp_path: Path) -> None:
    """The tables of GroupLens, written again from the same ratings."""
    log = pd.read_parquet(shared_data / "ml100k" / "interactions.parquet")
    log[["user_id", "item_id", "rating", "timestamp"]].astype(int).to_csv(
        tmp_path / "u.data", sep="\t", header=False, index=False
    )
    source = read(tmp_path, "movielens")
    assert sizes(source) == (100_000, 943, 1_682)
    assert source.log["timestamp"].tolist() == log["timestamp"].tolist()


# Files made from the documentation.


def test_movielens_100k(tmp_path: Path) -> None:
    write(tmp_path / "u.data", "196\t2\t3\t881250949\n186\t1\t4\t891717742\n")
    genres = ["0"] * 19
    rows = [("1", "Café (1995)", [3, 5]), ("2", "Ed's", [0])]
    content = ""
    for item, title, of in rows:
        flags = ["1" if k in of else "0" for k in range(len(genres))]
        content += "|".join([item, title, "01-Jan-1995", "", "http://x", *flags]) + "\n"
    write(tmp_path / "u.item", content.encode("latin-1"))
    source = read(tmp_path, "movielens")
    assert source.items.to_dict("list") == {
        "item_id": ["1", "2"], "title": ["Café (1995)", "Ed's"], "genres": ["Animation, Comedy", "unknown"]
    }  # fmt: skip
    assert source.texts == ("title", "genres")
    there_and_back(source, tmp_path / "out")


def test_movielens_latest(tmp_path: Path) -> None:
    write(tmp_path / "ratings.csv", "userId,movieId,rating,timestamp\n1,10,4.5,964982703\n2,11,3,964982704\n")
    write(tmp_path / "movies.csv", 'movieId,title,genres\n10,"A, B (1999)",Drama|War\n11,C,(no genres listed)\n')
    source = read(tmp_path, "movielens")
    assert source.items["title"].tolist() == ["A, B (1999)", "C"]
    assert source.items["genres"].tolist() == ["Drama, War", ""]
    assert source.log["rating"].tolist() == [4.5, 3.0]


def test_ratings_and_movies_of_others_are_no_movielens(tmp_path: Path) -> None:
    write(tmp_path / "ratings.csv", "user_id,movie_id,rating\n1,10,4.5\n2,11,3\n")
    write(tmp_path / "movies.csv", "movie_id,title,genres\n10,A,Drama\n11,C,\n")
    with pytest.raises(ValueError, match=r"holds no single table \(found: movies.csv, ratings.csv\); name a file"):
        detected(tmp_path)
    with pytest.raises(
        ValueError,
        match=r"ratings.csv: columns userId, movieId, timestamp are missing; columns are user_id, ",
    ):
        read_source(tmp_path, "movielens", Options(), Journal())
    write(tmp_path / "ratings.csv", '"userId","movieId","rating"\n1,10,4.5\n')
    assert detected(tmp_path) == "movielens"
    with pytest.raises(ValueError, match=r"ratings.csv: columns timestamp are missing; columns are userId, movieId, r"):
        read_source(tmp_path, None, Options(), Journal())


def test_recbole_parts_and_vectors(tmp_path: Path) -> None:
    for part, user in (("train", "a"), ("valid", "b"), ("test", "a")):
        write(tmp_path / f"s.{part}.inter", f"user_id:token\titem_id:token\n{user}\ti{part}\n")
    items = (
        "item_id:token\ttitle:token_seq\timage:float_seq\nitrain\tx y\t0.5 1\nitest\tz\t2 3\nivalid\t\t\nizero\t\t0 0\n"
    )
    write(tmp_path / "s.item", items)
    source = read(tmp_path, "recbole")
    assert source.log["split"].tolist() == ["train", "valid", "test"]
    assert source.features["image"].present.tolist() == [True, True, False, False]
    assert source.features["image"].values.tolist() == [[0.5, 1], [2, 3], [1.25, 2], [1.25, 2]]
    assert list(source.items) == ["item_id", "title"]


def test_lattice_folder_with_features_and_lists_of_ids(tmp_path: Path) -> None:
    for part, lists in (("train", {"0": [0, 1], "1": [2]}), ("val", {"0": [2], "1": []}), ("test", {"1": [0]})):
        write(tmp_path / "5-core" / f"{part}.json", json.dumps(lists))
    write(tmp_path / "user_list.txt", "raw id\nA 0\nB 1\n")
    write(tmp_path / "item_list.txt", "x\t0\ny\t2\nz\t1\n")
    np.save(tmp_path / "image_feat.npy", np.eye(3) + 1)
    source = read(tmp_path, "lattice")
    assert source.log.to_dict("list") == {
        "user_id": ["A", "A", "B", "A", "B"],
        "item_id": ["x", "z", "y", "y", "x"],
        "split": ["train", "train", "train", "valid", "test"],
    }
    assert source.features["image"].values[1].tolist() == [1, 2, 1]
    there_and_back(source, tmp_path / "out")


def test_ducho(tmp_path: Path) -> None:
    write(tmp_path / "reviews.tsv", "u1\ta\t5.0\nu1\tb\t4\nu2\tc\t1\n")
    write(tmp_path / "final_meta.tsv", 'asin\tdescription\timUrl\nb\ta "nice" one\thttp://b\na\t\thttp://a\n')
    for item, row in (("a", [[1, 2]]), ("b", [[3, 4]]), ("c", [[5, 6]]), ("other", [[7, 8]])):
        place = tmp_path / "visual_embeddings" / "torch" / "ResNet50" / "avgpool"
        place.mkdir(parents=True, exist_ok=True)
        np.save(place / f"{item}.npy", np.array(row, np.float32))
    write(tmp_path / "missing_visual.tsv", "c\n")
    write(tmp_path / "images" / "a.jpg", b"")
    source = read(tmp_path, "ducho")
    assert source.items["item_id"].tolist() == ["b", "a", "c"]
    assert source.items["description"].tolist() == ['a "nice" one', "", ""]
    assert source.items["image_path"].tolist() == ["", str((tmp_path / "images" / "a.jpg").resolve()), ""]
    assert source.features["image"].present.tolist() == [True, True, False]
    assert source.features["image"].values[:2].tolist() == [[3, 4], [1, 2]]


def test_ducho_with_parts(tmp_path: Path) -> None:
    for name, row in (
        ("train", "1\t2\t5\t1390000100"),
        ("val", "1\t3\t5\t1390000200"),
        ("test", "1\t4\t5\t1390000300"),
    ):
        write(tmp_path / f"{name}_indexed.tsv", row + "\n")
    source = read(tmp_path, "ducho")
    assert source.log["split"].tolist() == ["train", "valid", "test"]
    assert source.log["timestamp"].tolist() == [1390000100, 1390000200, 1390000300]


def test_microlens(tmp_path: Path) -> None:
    write(tmp_path / "M_pairs.csv", "user,item,timestamp\n1,3,1583378629552\n1,1,1583378629553\n2,2,1583378700000\n")
    write(tmp_path / "M_title_en.csv", "1,One, two\n2,\n3,Three\n")
    features = tmp_path / "extracted_modality_features"
    features.mkdir()
    np.save(features / "M_title_en_text_features_BgeM3.npy", np.eye(3, dtype=np.float32))
    np.save(features / "M_video_features_VideoMAE.npy", np.ones((3, 2), np.float32))
    write(tmp_path / "M_likes_and_views.txt", "1\t5\t90\n3\t7\t80\n")
    write(tmp_path / "M_covers" / "2.jpg", b"\xff\xd8")
    source = read(tmp_path, "microlens")
    assert source.log["timestamp"].tolist() == [1583378629, 1583378629, 1583378700]
    assert source.items[["item_id", "title"]].to_dict("list") == {
        "item_id": ["1", "2", "3"], "title": ["One, two", "", "Three"]
    }  # fmt: skip
    assert source.items["likes"].fillna(-1).tolist() == [5, -1, 7]
    assert source.items["views"].fillna(-1).tolist() == [90, -1, 80]
    assert source.items["image_path"].tolist() == ["", str((tmp_path / "M_covers" / "2.jpg").resolve()), ""]
    assert source.features["text"].values[2].tolist() == [0, 0, 1]
    assert sorted(source.features) == ["text", "video"]
    (tmp_path / "M_covers_small").mkdir()
    several = read(tmp_path, "microlens")
    assert "image_path" not in several.items
    assert several.notices[-1] == (
        "covers are not read, because there are several folders of them: M_covers, M_covers_small; leave one of them "
        "here"
    )


def test_microlens_in_time_order(tmp_path: Path) -> None:
    write(tmp_path / "M_pairs.tsv", "7\t1 4 2 3\n8\t1 2\n")
    source = read(tmp_path, "microlens")
    assert source.log["split"].tolist() == ["train", "train", "valid", "test", "train", "train"]
    assert len(source.items) == 4
    assert not any("no interaction" in line for line in source.notices)


OLD = {"reviewerID": "A1", "asin": "B1", "reviewerName": "n", "helpful": [0, 1], "reviewText": "t", "overall": 4.0,
       "summary": "s", "unixReviewTime": 1390176000, "reviewTime": "01 20, 2014"}  # fmt: skip


def records(*items: tuple[str, float]) -> bytes:
    """A ``.b`` file."""
    return b"".join(asin.encode() + np.full(4096, value, "<f4").tobytes() for asin, value in items)


def test_amazon_2014(tmp_path: Path) -> None:
    first, second = "B000000001", "B000000002"
    rows = json_lines({**OLD, "asin": first}, {**OLD, "asin": second, "reviewerID": "A2"})
    write(tmp_path / "reviews_Baby_5.json.gz", gzip.compress(rows.encode()))
    meta = [
        {"asin": "unseen", "title": "no"},
        {
            "asin": second,
            "title": "It's \\/ two",
            "categories": [["Baby, Kids", "Toys"], ["Gifts"]],
            "imUrl": "http://2",
        },
        {"asin": second, "title": "again"},
    ]
    write(tmp_path / "meta_Baby.json.gz", gzip.compress("".join(f"{row!r}\n" for row in meta).encode()))
    write(tmp_path / "image_features_Baby.b", records((second, 2), ("B000000009", 9)))
    source = read(tmp_path, "amazon-2014")
    assert source.log["timestamp"].tolist() == [1390176000] * 2
    assert source.items["item_id"].tolist() == [second, first]
    assert source.items["categories"].tolist() == ["Baby, Kids Toys Gifts", ""]
    assert categories(source.items) == [["Baby, Kids", "Toys", "Gifts"], []]
    assert source.items["image_url"].tolist() == ["http://2", ""]
    assert source.features["image"].present.tolist() == [True, False]
    assert source.features["image"].values[0, :2].tolist() == [2, 2]
    assert source.notices[0] == f"items: 1 repeated item, the first row counts ('{second}')"
    write(tmp_path / "image_features_Shoes.b", records((second, 3)))
    assert read(tmp_path, "amazon-2014").features["image"].values[0, 0] == 2
    (tmp_path / "image_features_Baby.b").rename(tmp_path / "image_features_Toys.b")
    several = read(tmp_path, "amazon-2014")
    assert several.features == {}
    assert several.notices[-1] == (
        "image features are not read, because there are several: image_features_Shoes.b, image_features_Toys.b; name "
        "those of this log with --features image=FILE"
    )


def test_amazon_2018(tmp_path: Path) -> None:
    row = {name: value for name, value in OLD.items() if name != "helpful"}
    path = write(tmp_path / "Toys_5.json", json_lines({**row, "verified": True, "style": {}}))
    meta = {"asin": "B1", "title": "t", "description": ["a", "b"], "brand": "X", "category": ["c", "d"],
            "imageURLHighRes": ["http://1", "http://2"]}  # fmt: skip
    write(tmp_path / "meta_Toys.json", json_lines(meta))
    source = read(path, "amazon-2018")
    assert source.items.iloc[0].to_dict() == {
        "item_id": "B1", "title": "t", "brand": "X", "categories": "c d", "description": "a b", "image_url": "http://1",
        "category": '["c", "d"]',
    }  # fmt: skip


def test_amazon_2023(tmp_path: Path) -> None:
    review = {"rating": 5.0, "title": "t", "text": "x", "images": [], "asin": "B9", "parent_asin": "B1",
              "user_id": "AFK", "timestamp": 1602133857705, "verified_purchase": True, "helpful_vote": 0}  # fmt: skip
    write(tmp_path / "raw" / "review_categories" / "Toys.jsonl", json_lines(review, {**review, "user_id": "AFL"}))
    meta = {"parent_asin": "B1", "title": "t", "store": "S", "categories": [], "description": [], "price": None,
            "images": [{"hi_res": None, "large": "http://l", "thumb": "http://t"}], "details": {}}  # fmt: skip
    write(tmp_path / "raw" / "meta_categories" / "meta_Toys.jsonl", json_lines(meta))
    source = read(tmp_path, "amazon-2023")
    assert source.log["item_id"].tolist() == ["B1", "B1"]
    assert source.log["timestamp"].tolist() == [1602133857] * 2
    assert source.items.iloc[0][["brand", "image_url"]].tolist() == ["S", "http://l"]


@pytest.mark.parametrize(
    "row", ["A1HK2FQW6KXQB2,B000000001,5.0,1373932800", "B000000001,A1HK2FQW6KXQB2,5.0,1373932800"]
)
def test_amazon_ratings_in_either_order(tmp_path: Path, row: str) -> None:
    packed = gzip.compress(f"{row}\n".encode())
    for path, content in (("a/ratings_Baby.csv", row + "\n"), ("b/ratings_Baby.csv.gz", packed)):
        file = write(tmp_path / path, content)
        write(file.with_name("meta_Baby.json"), json_lines({"asin": "B000000001", "title": "t"}))
        for place in (file, file.parent):
            assert detected(place) == "amazon-2014"
            source = read(place, "amazon-2014")
            assert source.log.iloc[0].to_dict() == {
                "user_id": "A1HK2FQW6KXQB2", "item_id": "B000000001", "rating": 5.0, "timestamp": 1373932800
            }  # fmt: skip
            assert source.items["title"].tolist() == ["t"]


BENCHMARK = "user_id,parent_asin,rating,timestamp"
ROW = "AFKZENTNBQ7A7V7UXW5JJI6UGRYQ,B00YQ6X8EO,5.0,1602133857705"


def test_amazon_benchmark_parts(tmp_path: Path) -> None:
    folder = tmp_path / "benchmark" / "5core" / "last_out_w_his"
    for part, user in (("train", "A"), ("valid", "B"), ("test", "C")):
        write(folder / f"Toys.{part}.csv", f"{BENCHMARK},history\n{ROW.replace('AF', user)},B00YQ6X8EO B000000001\n")
    meta = {"parent_asin": "B00YQ6X8EO", "title": "t", "images": []}
    write(tmp_path / "raw" / "meta_categories" / "meta_Toys.jsonl", json_lines(meta))
    source = read(folder, "amazon-2023-benchmark")
    assert source.log["split"].tolist() == ["train", "valid", "test"]
    assert source.log["timestamp"].tolist() == [1602133857] * 3
    assert list(source.log) == ["user_id", "item_id", "rating", "timestamp", "split"]
    assert source.items[["item_id", "title"]].to_numpy().tolist() == [["B00YQ6X8EO", "t"]]
    assert source.texts == ("title", "brand", "categories", "description")
    alone = read(folder / "Toys.train.csv", "amazon-2023-benchmark")
    pd.testing.assert_frame_equal(alone.log, source.log)
    there_and_back(source, tmp_path / "out")


@pytest.mark.parametrize("header", [f"{BENCHMARK}\n", ""])
def test_amazon_benchmark_whole_with_and_without_header(tmp_path: Path, header: str) -> None:
    path = write(tmp_path / "rating_only" / "Toys.csv.gz", gzip.compress(f"{header}{ROW}\n".encode()))
    for place in (path, path.parent):
        source = read(place, "amazon-2023-benchmark")
        assert source.log.to_dict("list") == {
            "user_id": ["AFKZENTNBQ7A7V7UXW5JJI6UGRYQ"], "item_id": ["B00YQ6X8EO"], "rating": [5.0],
            "timestamp": [1602133857],
        }  # fmt: skip
    write(path.with_name("Books.csv"), f"{ROW}\n")
    assert len(read(path, "amazon-2023-benchmark").log) == 1
    with pytest.raises(ValueError, match=r"must hold one file <category>\[.*found: Books.csv, Toys.csv.gz"):
        read(path.parent, "amazon-2023-benchmark")


def test_lattice_cores_and_raw_texts(tmp_path: Path) -> None:
    """The 0-core splits the items of the 5-core anew, so ids, texts and features are those of the 5-core."""
    write(tmp_path / "5-core" / "train.json", json.dumps({"0": [0, 1], "1": [2]}))
    write(tmp_path / "5-core" / "item_list.txt", "x\t0\ny\t1\nz\t2\n")
    write(tmp_path / "5-core" / "user_list.txt", "A\t0\nB\t1\n")
    write(tmp_path / "5-core" / "raw_text.txt", " Baby Toys  bear \n\nball\n")
    write(tmp_path / "0-core" / "train.json", json.dumps({"0": [0, 1], "1": []}))
    write(tmp_path / "0-core" / "test.json", json.dumps({"0": [], "1": [2]}))
    np.save(tmp_path / "text_feat.npy", np.eye(3) + 1)
    whole, new = read(tmp_path, "lattice"), read(tmp_path / "0-core", "lattice")
    assert whole.log["split"].tolist() == ["train"] * 3
    assert new.log.to_dict("list") == {
        "user_id": ["A", "A", "B"], "item_id": ["x", "y", "z"], "split": ["train", "train", "test"]
    }  # fmt: skip
    for source in (whole, new):
        assert source.items.to_dict("list") == {"item_id": ["x", "y", "z"], "text": ["Baby Toys  bear", "", "ball"]}
        assert source.texts == ("text",)
        assert source.features["text"].values[2].tolist() == [1, 1, 2]
    there_and_back(new, tmp_path / "out")


@pytest.mark.parametrize("offset", [0, 2])
def test_lightgt_arrays_with_and_without_offset(tmp_path: Path, offset: int) -> None:
    for part, pairs in (("train", [[0, 0], [1, 2]]), ("val", [[0, 1]]), ("test", [[1, 0]])):
        np.save(tmp_path / f"{part}.npy", np.add(pairs, [0, offset]))
    np.save(tmp_path / "image_feat.npy", np.eye(3, dtype=np.float32))
    source = read(tmp_path, "lightgt")
    assert source.log.to_dict("list") == {
        "user_id": ["0", "1", "0", "1"], "item_id": ["0", "2", "1", "0"], "split": ["train", "train", "valid", "test"]
    }  # fmt: skip
    assert len(source.items) == 3
    told = ("items: their numbers begin behind the 2 users, so 2 is taken off each",)
    assert source.notices == (told if offset else ())
    there_and_back(source, tmp_path / "out")


def test_a_folder_without_lists_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=rf"^{tmp_path} must hold train\.npy, or 5-core/train\.npy$"):
        read_lists(tmp_path, Journal(), ".npy")


def test_any_other_columns_are_a_table(tmp_path: Path) -> None:
    path = write(tmp_path / "Toys.csv", "user_id,parent_asin,stars\nA,B,5.0\n")
    assert read(path, "table").log.to_dict("list") == {"user_id": ["A"], "item_id": ["B"], "rating": [5.0]}


def test_every_format_is_recognised_by_some_test() -> None:
    text = Path(__file__).read_text(encoding="utf-8")
    assert all(f'"{name}"' in text for name in READERS)
    assert tuple(READERS) == FORMATS  # which a help names without them


def test_what_is_nothing_is_not_guessed(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"is of no known format and holds no single table \(found: -\)"):
        detected(tmp_path)
    with pytest.raises(ValueError, match="--leave-out is for tables and does not go with the format mmrec"):
        read_source(tmp_path, "mmrec", Options(leave_out=("a=b",)), Journal())
    with pytest.raises(ValueError, match="--items is for tables and does not go with the format mmrec"):
        read_source(
            write(tmp_path / "a.inter", "userID\titemID\tx_label\n0\t0\t0\n"), None, Options(items=tmp_path), Journal()
        )


@pytest.mark.parametrize(
    ("options", "option"),
    [
        (Options(cancel_returns=True), "--cancel-returns"),
        (Options(restore_zeros=True), "--restore-zeros"),
        (Options(item_column="asin"), "--item-column"),
        (Options(items=Path("meta.jsonl"), item_column="asin"), "--item-column"),
    ],
)
@pytest.mark.parametrize("name", ["mmrec", "amazon-2014"])
def test_options_of_tables_are_not_ignored_elsewhere(options: Options, option: str, name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"^{option} is for tables and does not go with the format {name}$"):
        read_source(tmp_path, name, options, Journal())


@pytest.mark.parametrize("name", ["table", None])
@pytest.mark.parametrize("options", [Options(item_column="sku"), Options(text=("title",))])
def test_options_of_the_items_need_them(name: str | None, options: Options, tmp_path: Path) -> None:
    log = write(tmp_path / "log.csv", "user,item\nu,i\n")
    with pytest.raises(ValueError, match=r"^--text and --item-column describe the table --items, which is not given$"):
        read_source(log, name, options, Journal())


@pytest.mark.parametrize("name", ["log.csv", "shop.inter"])
def test_what_a_mac_writes_beside_a_file_is_none_of_a_source(name: str, tmp_path: Path) -> None:
    mmrec = "userID\titemID\tx_label\n0\t0\t0\n0\t1\t1\n"
    write(tmp_path / name, "user,item\nu,i\nu,j\n" if name == "log.csv" else mmrec)
    np.save(tmp_path / "image_feat.npy", np.eye(2, dtype=np.float32))
    for path in list(tmp_path.iterdir()):
        path.with_name(f"._{path.name}").write_bytes(b"\0\5\x16\7Mac OS X")
    (tmp_path / ".DS_Store").write_bytes(b"\0")
    _, source = read_source(tmp_path, None, Options(), Journal())
    assert len(source.log) == 2
    assert list(source.features) == ([] if name == "log.csv" else ["image"])


def test_vectors_that_a_mac_named_after_items_are_found(tmp_path: Path) -> None:
    """It takes a letter and its mark apart in the name of a file."""
    for item in ("ガラス", "pâté"):
        np.save(tmp_path / f"{unicodedata.normalize('NFD', item)}.npy", np.ones(2, np.float32))
    assert read_item_feature(tmp_path, ["ガラス", "pâté", "x"], Journal()).present.tolist() == [True, True, False]
