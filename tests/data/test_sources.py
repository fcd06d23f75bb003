from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mmbench.data.describe import statistics
from mmbench.data.features import ItemFeature, with_missing_filled
from mmbench.data.readers.ids import places_of
from mmbench.data.sources import Source, check_source, modalities_in, read_folder, read_log, text_is_grams, write_folder

IDS = ["i3", "i1", "i2", "i0"]


@pytest.fixture
def source() -> Source:
    """Four items in no particular order; the text of one is missing."""
    log = pd.DataFrame({"user_id": ["u0", "u0", "u1"], "item_id": ["i1", "i3", "i0"], "rating": [5.0, 3.0, 4.0]})
    items = pd.DataFrame({"item_id": IDS, "title": ["c", "a", "b", "ü"]})
    rng = np.random.default_rng(0)
    present = {"text": np.array([True, False, True, True]), "image": np.ones(4, bool)}
    widths = {"text": 3, "image": 2}
    features = {
        name: with_missing_filled(rng.standard_normal((4, widths[name])).astype(np.float32), present[name])
        for name in widths
    }
    return Source(log, items, features, {"factor": np.arange(4.0)})


@pytest.fixture
def folder(source: Source, tmp_path: Path) -> Path:
    write_folder(source, tmp_path / "shop", {"origin": "test"})
    return tmp_path / "shop"


def foreign(folder: Path) -> Path:
    """The same folder as if it came from elsewhere: no dataset.json, no presence columns."""
    (folder / "dataset.json").unlink()
    items = pd.read_parquet(folder / "items.parquet")
    items.drop(columns=["has_text", "has_image"]).to_parquet(folder / "items.parquet", index=False)
    return folder


def same(a: ItemFeature, b: ItemFeature) -> bool:
    return a.fingerprint() == b.fingerprint()


def test_round_trip(source: Source, folder: Path) -> None:
    read = read_folder(folder)
    pd.testing.assert_frame_equal(read.log, source.log, check_dtype=False)
    assert read.items["item_id"].tolist() == IDS
    assert read.items["title"].tolist() == ["c", "a", "b", "ü"]
    assert list(read.features) == ["image", "text"]
    assert all(same(read.features[name], source.features[name]) for name in source.features)
    assert read.notices == ()
    with np.load(folder / "truth.npz") as truth:
        assert truth["factor"].tolist() == [0.0, 1.0, 2.0, 3.0]


def test_written_folder_says_where_it_comes_from(source: Source, folder: Path) -> None:
    meta = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
    assert meta["schema"] == 1
    assert meta["provenance"] == {"origin": "test"}
    assert meta["features"]["text"]["d"] == 3
    assert meta["features"]["text"]["sha256"] == source.features["text"].fingerprint()


@pytest.mark.parametrize("name", ["../image", "image/emb", "image@clip", ".image", "", "a\\b", "a\nb"])
def test_a_modality_that_cannot_name_a_file_is_refused(source: Source, tmp_path: Path, name: str) -> None:
    bad = replace(source, features={name: source.features["image"]})
    message = re.escape(f"{name!r} cannot name a modality, which becomes part of a file name; it must not be empty")
    with pytest.raises(ValueError, match=message):
        write_folder(bad, tmp_path / "shop", {})
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match=f"^a.shop: {message}"):
        check_source(bad, "a.shop")


def test_modalities_are_known_without_reading(folder: Path) -> None:
    np.save(folder / "audio_feat.npy", np.ones((4, 1)))
    assert modalities_in(folder) == ["audio", "image", "text"]


def test_what_a_mac_writes_beside_a_file_is_no_modality(source: Source, folder: Path) -> None:
    for path in list(folder.iterdir()):
        path.with_name(f"._{path.name}").write_bytes(b"\0\5\x16\7Mac OS X")
    assert modalities_in(folder) == ["image", "text"]
    assert sorted(read_folder(folder).features) == ["image", "text"]


def test_numeric_ids_become_text(folder: Path) -> None:
    for modality in ("text", "image"):
        (folder / f"{modality}_feat.npy").unlink()
    pd.DataFrame({"user_id": [7, 8], "item_id": [1, 10]}).to_parquet(folder / "interactions.parquet")
    pd.DataFrame({"item_id": [10, 1]}).to_parquet(folder / "items.parquet")
    read = read_folder(folder)
    assert read.log["user_id"].tolist() == ["7", "8"]
    assert read.items["item_id"].tolist() == ["10", "1"]


def test_items_file_is_optional_without_features(folder: Path) -> None:
    for name in ("items.parquet", "text_feat.npy", "image_feat.npy"):
        (folder / name).unlink()
    read = read_folder(folder)
    assert read.items["item_id"].tolist() == ["i0", "i1", "i3"]
    assert read.features == {}


def test_an_unproved_row_order_is_refused(folder: Path) -> None:
    foreign(folder)
    message = (
        r"nothing proves that its rows are in the order of items.parquet, and a wrong order looks like useless "
        r"content; add image_feat.ids.txt \(one item id per line\) or set dataset.trust_row_order=true"
    )
    with pytest.raises(ValueError, match=message):
        read_folder(folder)


def test_a_description_proves_no_order_of_a_file_that_it_never_saw(source: Source, folder: Path) -> None:
    unproved = "nothing proves that its rows are in the order of items.parquet"
    backwards = source.features["image"].values[::-1].copy()
    np.save(folder / "image_feat@clip.npy", backwards)
    assert all(same(read_folder(folder).features[name], source.features[name]) for name in source.features)
    with pytest.raises(ValueError, match=f"image_feat@clip.npy: {unproved}"):
        read_folder(folder, encoder={"image": "clip"})
    np.save(folder / "image_feat.npy", backwards)
    with pytest.raises(ValueError, match=f"image_feat.npy: {unproved}"):
        read_folder(folder)
    trusted = read_folder(folder, trust_row_order=True).features["image"]
    assert np.array_equal(trusted.values, backwards)


def test_a_description_without_a_hash_of_the_features_proves_the_order(source: Source, folder: Path) -> None:
    meta = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
    for entry in meta["features"].values():
        del entry["sha256"]
    (folder / "dataset.json").write_text(json.dumps(meta))
    assert same(read_folder(folder).features["image"], source.features["image"])


def test_features_that_fill_gaps_in_their_own_way_are_read_again(source: Source, tmp_path: Path) -> None:
    text = source.features["text"]
    wide = ItemFeature(np.where(text.present[:, None], text.values, 7).astype(np.float64), text.present)  # type: ignore[arg-type]
    write_folder(replace(source, features={"text": wide}), tmp_path / "shop", {})
    assert same(read_folder(tmp_path / "shop").features["text"], text)


def test_only_the_features_that_prepare_made_are_grams(folder: Path) -> None:
    meta = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
    meta["provenance"] = {"text": {"encoder": "character n-grams, TF-IDF, SVD"}}
    (folder / "dataset.json").write_text(json.dumps(meta))
    assert text_is_grams(folder)
    np.save(folder / "text_feat.npy", np.ones((4, 3), np.float32))
    assert not text_is_grams(folder)


def test_a_trusted_row_order_is_accepted_and_zero_rows_are_counted(source: Source, folder: Path) -> None:
    read = read_folder(foreign(folder), trust_row_order=True)
    assert all(same(read.features[name], source.features[name]) for name in source.features)
    assert read.notices == ("text: 1 all-zero row counts as missing (no column has_text)",)


def test_a_sidecar_puts_rows_in_order(source: Source, folder: Path) -> None:
    """The file holds other items too, lacks one, and is in another order."""
    foreign(folder)
    values = source.features["text"].values
    np.save(folder / "text_feat.npy", np.vstack([values[3], values[0], np.full(3, 9.0), values[2]]))
    (folder / "text_feat.ids.txt").write_text("i0\ni3\nunknown\ni2\n", encoding="utf-8")
    (folder / "image_feat.ids.txt").write_text("\n".join(IDS), encoding="utf-8")
    read = read_folder(folder)
    assert all(same(read.features[name], source.features[name]) for name in source.features)
    assert read.features["text"].present.tolist() == [True, False, True, True]
    assert read.notices == ()


@pytest.mark.parametrize("text", ["\ufeffi3\ni1\ni2\ni0", "i3 \n\ti1\ni2  \ni0\n", "\ufeffi3 \r\ni1 \r\ni2\r\ni0\r\n"])
def test_marks_and_blanks_of_a_sidecar_lose_no_item(source: Source, folder: Path, text: str) -> None:
    foreign(folder)
    for modality in ("text", "image"):
        (folder / f"{modality}_feat.ids.txt").write_bytes(text.encode())
    image = read_folder(folder).features["image"]
    assert image.present.all()
    assert same(image, source.features["image"])


def test_blanks_of_a_catalogue_are_left_aside(source: Source, folder: Path) -> None:
    items = pd.read_parquet(foreign(folder) / "items.parquet").assign(item_id=["i3", "i1 ", "i2", "i0"])
    items.to_parquet(folder / "items.parquet", index=False)
    for modality in ("text", "image"):
        (folder / f"{modality}_feat.ids.txt").write_text("i3\ni1 \ni2\ni0")
    assert same(read_folder(folder).features["image"], source.features["image"])


def test_a_presence_column_wins_over_zero_rows(source: Source, folder: Path) -> None:
    """A zero row of an item that has content is content; content of an item that has none is not."""
    items = pd.read_parquet(folder / "items.parquet").assign(has_text=[True, True, False, True])
    items.to_parquet(folder / "items.parquet", index=False)
    text = read_folder(folder).features["text"]
    assert text.present.tolist() == [True, True, False, True]
    assert text.values[1].tolist() == [0.0, 0.0, 0.0]
    np.testing.assert_allclose(text.values[2], text.values[[0, 1, 3]].mean(0), rtol=1e-6)


@pytest.mark.parametrize("has_image", [[True, False, False, True], None])
def test_a_presence_column_is_that_of_the_file_without_a_label(folder: Path, has_image: list[bool] | None) -> None:
    items = pd.read_parquet(folder / "items.parquet").drop(columns="has_image")
    items = items if has_image is None else items.assign(has_image=has_image)
    items.to_parquet(folder / "items.parquet", index=False)
    np.save(folder / "image_feat@clip.npy", np.array([[0, 0], [1, 2], [3, 4], [5, 6]], np.float32))
    (folder / "image_feat@clip.ids.txt").write_text("\n".join(IDS), encoding="utf-8")
    read = read_folder(folder, encoder={"image": "clip"})
    assert read.features["image"].present.tolist() == [False, True, True, True]
    assert read.features["image"].values[1:].tolist() == [[1, 2], [3, 4], [5, 6]]
    assert read.notices == ("image: 1 all-zero row of image_feat@clip.npy counts as missing",)


@pytest.mark.parametrize(
    "column",
    [
        [1, 0, 1, 0],
        [1.0, None, 1.0, 0.0],
        ["True", "False", " true", "FALSE"],
        ["1", "", "1", None],
        pd.array([True, None, True, False], "boolean"),
        pd.array([1, None, 1, 0], "Int64"),
        pd.Categorical(["true", "false", "true", None]),
    ],
)
def test_a_presence_column_in_other_words(folder: Path, column: object) -> None:
    items = pd.read_parquet(folder / "items.parquet").assign(has_image=pd.Series(column))
    items.to_parquet(folder / "items.parquet", index=False)
    assert read_folder(folder).features["image"].present.tolist() == [True, False, True, False]


@pytest.mark.parametrize("column, value", [([1, 0, 2, 1], "2"), (["yes", "no", "", "no"], "yes"), ([0.5] * 4, "0.5")])
def test_a_presence_column_that_says_something_else_is_refused(folder: Path, column: list[object], value: str) -> None:
    items = pd.read_parquet(folder / "items.parquet").assign(has_image=column)
    items.to_parquet(folder / "items.parquet", index=False)
    message = rf"items.parquet: column 'has_image' holds '{value}'; allowed are true and false, 1 and 0"
    with pytest.raises(ValueError, match=message):
        read_folder(folder)


@pytest.mark.parametrize("new_ids", [["i3", "i2", "i1", "i0"], ["i3", "i1", "i2", "i9"]])
def test_a_description_of_another_catalogue_is_refused(folder: Path, new_ids: list[str]) -> None:
    items = pd.read_parquet(folder / "items.parquet").assign(item_id=new_ids)
    items.to_parquet(folder / "items.parquet", index=False)
    message = r"image_feat.npy: dataset.json was written for another items.parquet \(ids or their order differ\)"
    with pytest.raises(ValueError, match=message):
        read_folder(folder)
    with pytest.raises(ValueError, match=message):
        read_folder(folder, trust_row_order=True)


@pytest.mark.parametrize("content", ["{", '{"features": ', "\ufeffnull,"])
def test_a_broken_description_is_refused(folder: Path, content: str) -> None:
    (folder / "dataset.json").write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=r"dataset.json is not valid JSON"):
        read_folder(folder)


@pytest.mark.parametrize("content", ["[]", "null", '"text"', '{"features": []}', '{"features": {"image": 3}}'])
def test_a_description_of_the_wrong_shape_is_refused(folder: Path, content: str) -> None:
    (folder / "dataset.json").write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=r"dataset.json"):
        read_folder(folder)


@pytest.mark.parametrize(
    "text, message",
    [
        ("i3\ni1\ni2", r"text_feat.ids.txt has 3 ids but the matrix has 4 rows; they must match"),
        ("i3\ni1\ni2\ni1", r"text_feat.ids.txt: id 'i1' occurs more than once"),
        ("a\nb\nc\nd", r"text_feat.ids.txt: none of its ids occurs in items.parquet \('a' against 'i3'\)"),
    ],
)
def test_an_unusable_sidecar_is_refused(folder: Path, text: str, message: str) -> None:
    (folder / "text_feat.ids.txt").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        read_folder(folder)


def test_a_folder_that_is_not_there() -> None:
    with pytest.raises(ValueError, match=r"nowhere is not a folder; point dataset.path or \$MMBENCH_DATA at the data"):
        read_folder(Path("nowhere"))


def test_missing_interactions(folder: Path) -> None:
    (folder / "interactions.parquet").unlink()
    with pytest.raises(ValueError, match=r"interactions.parquet is missing; a dataset folder needs interactions"):
        read_folder(folder)


def test_features_without_a_catalogue(folder: Path) -> None:
    (folder / "items.parquet").unlink()
    message = r"has image_feat.npy but no items.parquet, so nobody knows which row is which item"
    with pytest.raises(ValueError, match=message):
        read_folder(folder)


def test_ids_that_match_nothing(folder: Path) -> None:
    items = pd.read_parquet(folder / "items.parquet").assign(item_id=["a", "b", "c", "d"])
    items.to_parquet(folder / "items.parquet", index=False)
    message = r"items.parquet: no item_id of interactions.parquet occurs in it \('i1' against 'a'\)"
    with pytest.raises(ValueError, match=message):
        read_folder(folder)


def test_an_item_listed_twice(folder: Path) -> None:
    items = pd.read_parquet(folder / "items.parquet").assign(item_id=["i3", "i1", "i3", "i0"])
    items.to_parquet(folder / "items.parquet", index=False)
    with pytest.raises(ValueError, match=r"items.parquet: item_id 'i3' occurs more than once"):
        read_folder(folder)


@pytest.mark.parametrize("file", ["interactions.parquet", "items.parquet"])
def test_a_broken_table(folder: Path, file: str) -> None:
    (folder / file).write_bytes(b"PAR1 and then nothing")
    with pytest.raises(ValueError, match=rf"{file} is not a readable parquet file: ") as error:
        read_folder(folder)
    assert "\n" not in str(error.value)


def test_a_log_without_rows(folder: Path) -> None:
    log = pd.read_parquet(folder / "interactions.parquet")
    log.iloc[:0].to_parquet(folder / "interactions.parquet")
    with pytest.raises(ValueError, match=r"interactions.parquet has no rows"):
        read_folder(folder)


def test_a_missing_column_is_named(folder: Path) -> None:
    log = pd.read_parquet(folder / "interactions.parquet").rename(columns={"user_id": "user"})
    log.to_parquet(folder / "interactions.parquet")
    with pytest.raises(ValueError, match=r"column 'user_id' is missing; columns are user, item_id, rating"):
        read_folder(folder)


@pytest.mark.parametrize("file, column", [("interactions.parquet", "user_id"), ("items.parquet", "item_id")])
@pytest.mark.parametrize("cell", [None, "", " \u3000"])
def test_a_row_without_an_id_is_named(folder: Path, file: str, column: str, cell: str | None) -> None:
    table = pd.read_parquet(folder / file)
    table.loc[2, column] = cell
    table.to_parquet(folder / file)
    with pytest.raises(ValueError, match=rf"1 row has no {column} \(row 2\)"):
        read_folder(folder)


def test_wrong_number_of_rows(folder: Path) -> None:
    np.save(folder / "text_feat.npy", np.ones((5, 3)))
    with pytest.raises(ValueError, match=r"text_feat.npy has 5 rows but items.parquet has 4"):
        read_folder(folder)


TOKYO = pd.to_datetime(["2024-01-05 09:00:00.0", "2024-01-05 09:00:01.5", "2024-01-06 00:00:00.0"]).tz_localize(
    "Asia/Tokyo"
)


def with_times(folder: Path, times: object) -> Path:
    log = pd.read_parquet(folder / "interactions.parquet")
    log.assign(timestamp=times).to_parquet(folder / "interactions.parquet", index=False)
    return folder


@pytest.mark.parametrize(
    "times, expected",
    [
        (TOKYO.floor("s"), [1704412800, 1704412801, 1704466800]),
        (TOKYO.floor("s").tz_localize(None), [1704445200, 1704445201, 1704499200]),
        ([datetime(1969, 12, 31, 23, 59, 59), datetime(1970, 1, 1), datetime(1970, 1, 2)], [-1, 0, 86400]),
        ([date(2024, 1, 5), date(2024, 1, 6), date(2024, 1, 5)], [1704412800, 1704499200, 1704412800]),
        (["1704412800", " 7.0", "8e0"], [1704412800, 7, 8]),
        (pd.array([3, 1, 2], "Int64"), [3, 1, 2]),
        (pd.Categorical(["3", "1", "2"]), [3, 1, 2]),
    ],
)
def test_times_become_seconds(folder: Path, times: object, expected: list[int]) -> None:
    read = read_folder(with_times(folder, times)).log["timestamp"]
    assert (read.tolist(), read.dtype) == (expected, np.int64)


@pytest.mark.parametrize(
    "times",
    [
        TOKYO,
        [f"{second}.5" for second in (1704412800, 1704412801, 1704466800)],
        pd.array([1704412800.25, 1704412801.5, 1704466800], "Float64"),
    ],
)
def test_parts_of_a_second_are_kept_in_every_kind_of_column(folder: Path, times: object) -> None:
    """Cut, rows of one second would come in the order of the log, and a column of floats would be split otherwise."""
    read = read_folder(with_times(folder, times)).log["timestamp"]
    expected = [1704412800.0, 1704412801.5, 1704466800.0] if times is TOKYO else np.asarray(times, np.float64).tolist()
    assert (read.tolist(), read.dtype) == (expected, np.float64)


@pytest.mark.parametrize("dtype", ["int64", "int32", "uint32", "float64", "float32"])
def test_times_that_are_numbers_stay_as_they_are(folder: Path, dtype: str) -> None:
    times = np.array([3, 1, 2.5]).astype(dtype)
    read = read_folder(with_times(folder, times)).log["timestamp"]
    assert (read.tolist(), read.dtype) == (times.tolist(), np.dtype(dtype))


@pytest.mark.parametrize(
    "times, message",
    [
        ([1.0, None, 2.0], "1 row has no readable timestamp (row 1: 'nan'); write seconds since 1970"),
        ([1.0, np.inf, -np.inf], "2 rows have no readable timestamp (first: row 1: 'inf')"),
        (pd.array([1, None, 2], "Int64"), "1 row has no readable timestamp (row 1: '<NA>')"),
        (TOKYO.where([True, True, False]), "1 row has no readable timestamp (row 2: 'NaT')"),
        (["1", "2024-01-05", "soon"], "2 rows have no readable timestamp (first: row 1: '2024-01-05')"),
        ([[1], [2], [3]], "3 rows have no readable timestamp (first: row 0: '[1]')"),
        ([1, 2, 100_000_000_000], "1 timestamp is too large for seconds (row 2: 100000000000): it counts milliseconds"),
        (["1704412800000"] * 3, "3 timestamps are too large for seconds (first: row 0: 1704412800000): they count "),
    ],
)
def test_times_that_are_none_are_refused(source: Source, folder: Path, times: object, message: str) -> None:
    """A missing time would be the earliest of all, and its row always in train."""
    with pytest.raises(ValueError, match=re.escape(f"interactions.parquet: {message}")):
        read_folder(with_times(folder, times))
    assert len(read_log(folder)) == 3  # which check reads, to tell of all that is wrong
    with pytest.raises(ValueError, match=re.escape(f"a.shop: {message}")):
        check_source(replace(source, log=pd.read_parquet(folder / "interactions.parquet")), "a.shop")


@pytest.mark.parametrize("column", ["rating", "quantity"])
@pytest.mark.parametrize(
    "cells",
    [["5", " 3.0", ""], [Decimal(5), 3, None], pd.array([5, 3, None], "Int64"), pd.Categorical(["5", "3", None])],
)
def test_numbers_of_an_importer_in_other_words(source: Source, column: str, cells: object) -> None:
    log = source.log.drop(columns="rating").assign(**{column: cells}).set_index(pd.Index(["a", "b", "c"]))
    read = check_source(replace(source, log=log), "a.shop")
    np.testing.assert_array_equal(read.log[column].to_numpy(np.float64), [5, 3, np.nan])
    assert statistics(read)[column] == {"min": 3.0, "max": 5.0}


def test_what_is_no_number_of_an_importer_is_refused(source: Source) -> None:
    log = source.log.assign(rating=["5", "good", "bad"]).set_index(pd.Index(["a", "b", "c"]))
    message = r"^a.shop, row 2: rating is 'good'; it must be a number \(2 such rows\)$"
    with pytest.raises(ValueError, match=message):
        check_source(replace(source, log=log), "a.shop")


@pytest.mark.parametrize("words", [["train", "val", "test"], [" Train", "validation", "TEST"], [0, 1, 2]])
def test_parts_of_an_importer_in_other_words(source: Source, words: list[object]) -> None:
    read = check_source(replace(source, log=source.log.assign(split=words)), "a.shop")
    assert read.log["split"].tolist() == ["train", "valid", "test"]
    with pytest.raises(ValueError, match=r"column 'split' holds 'dev'; allowed are train, 0, valid, val, validation"):
        check_source(replace(source, log=source.log.assign(split=[*words[:2], "dev"])), "a.shop")


def test_ids_of_a_sidecar_are_taken_as_they_are_before_they_are_made_plain() -> None:
    """A folder may hold ids that no table would: each finds its own row, and another spelling only a row of nobody."""
    assert places_of(["A1", "Ａ1", "b"], ["Ａ1", "b\u200b", "A1", "B"]).tolist() == [2, 0, 1]
    assert places_of(["A1", "Ａ1"], ["A1"]).tolist() == [0, -1]
    assert places_of(["A1"], []).tolist() == [-1]
    assert places_of([], ["A1"]).tolist() == []
