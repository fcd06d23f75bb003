from __future__ import annotations

import unicodedata
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mmbench.data.readers.feature_files import image_paths
from mmbench.encoders.contents import ItemImages, item_images, item_texts, looked_for
from mmbench.encoders.encoding import image_content
from mmbench.encoders.image_files import Problem


@pytest.fixture
def items() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "item_id": ["1", "a/b", "3"],
            "title": ["Shoe", None, " "],
            "genres": ["red", "", float("nan")],
            "商品名": ["靴", "傘", ""],
        }
    )


@pytest.mark.parametrize(
    ("template", "texts"),
    [
        ("{title}", ["Shoe", "", ""]),
        ("{title}: {genres}", ["Shoe: red", "", ""]),
        ("{title}[, {genres}]", ["Shoe, red", "", ""]),
        ("[{title}, ]{商品名}", ["Shoe, 靴", "傘", ""]),
        ("[sic] {商品名}", ["[sic] 靴", "[sic] 傘", ""]),
    ],
)
def test_a_template_is_filled_and_its_optional_parts_vanish(
    items: pd.DataFrame, template: str, texts: list[str]
) -> None:
    assert item_texts(items, template) == (texts, template)


def test_without_a_template_the_text_is_guessed(items: pd.DataFrame) -> None:
    assert item_texts(items) == (["Shoe 靴", "傘", ""], "{title} {商品名}")
    assert item_texts(items.assign(text=["x", "y", ""])) == (["x", "y", ""], "{text}")


def test_without_a_template_the_text_is_the_columns_that_were_named(items: pd.DataFrame) -> None:
    texts = ["Shoe red", "", ""]
    assert item_texts(items, named=["title", "genres", "gone"]) == (texts, "{title} {genres}")
    assert item_texts(items.assign(text="x"), named=["title", "genres"]) == (texts, "{title} {genres}")
    assert item_texts(items, named=["gone"]) == item_texts(items)
    assert item_texts(items, "{商品名}", ["title"]) == (["靴", "傘", ""], "{商品名}")
    odd = items.rename(columns={"genres": "{genres}"})
    assert item_texts(odd, named=["{genres}"]) == (["red", "", ""], "{{genres}}")


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{titel}", r"items.parquet has no column 'titel'; columns are item_id, title, genres, 商品名"),
        ("title", r"template='title' names no column; write them in braces"),
        ("{title.__class__}", r"no column 'title.__class__'"),
    ],
)
def test_a_template_that_cannot_be_filled_is_refused(items: pd.DataFrame, template: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        item_texts(items, template)


def test_lists_in_cells_are_joined(items: pd.DataFrame) -> None:
    lists = [np.array(["Action", "Sci-Fi, new"], object), *[None] * (len(items) - 1)]
    texts, _ = item_texts(items.assign(genres=pd.Series(lists, items.index)), "{genres}")
    assert texts == ["Action Sci-Fi, new", *[""] * (len(items) - 1)]


def test_no_text_at_all_is_refused(items: pd.DataFrame) -> None:
    with pytest.raises(ValueError, match=r"no column of items.parquet looks like a text; say how it is made"):
        item_texts(items[["item_id", "genres"]])


def test_files_are_found_by_item_id(items: pd.DataFrame, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for name in ("1.jpg", "3.PNG", "3.txt.png", "b.jpg"):
        (tmp_path / "images" / name).write_text("x")
    found = [tmp_path / "images" / "1.jpg", None, tmp_path / "images" / "3.PNG"]
    assert item_images(items, tmp_path) == ItemImages(found, "images", (), tmp_path / "images")
    (tmp_path / "images").rename(tmp_path / "elsewhere")
    moved = item_images(items, tmp_path, str(tmp_path / "elsewhere"))
    assert (moved.files[0], moved.source) == (tmp_path / "elsewhere" / "1.jpg", "elsewhere")


def test_a_picture_counts_before_other_files_of_its_item(tmp_path: Path) -> None:
    items = pd.DataFrame({"item_id": ["1", "2", "3", "4"]})
    (tmp_path / "images" / "1").mkdir(parents=True)
    for name in ("1.json", "1.png", "2.txt", "2", "3.JPG", "3.jpeg", "3.aaa", "4.html"):
        (tmp_path / "images" / name).write_text("x")
    found = item_images(items, tmp_path)
    assert [path and path.name for path in found.files] == ["1.png", "2", "3.JPG", "4.html"]
    assert found.several == (2,)


def test_a_name_that_a_mac_wrote_is_that_of_its_item(tmp_path: Path) -> None:
    composed, decomposed = (unicodedata.normalize(form, "ガラス瓶") for form in ("NFC", "NFD"))
    assert composed != decomposed
    for of_item, of_file in ((composed, decomposed), (decomposed, composed)):
        folder = tmp_path / of_file
        folder.mkdir()
        (folder / f"{of_file}.png").write_text("x")
        found = item_images(pd.DataFrame({"item_id": [of_item]}), tmp_path, str(folder))
        assert found.files == [folder / f"{of_file}.png"]
        assert image_paths(folder, [of_item, "other"]) == [str(folder / f"{of_file}.png"), ""]  # of a format's images/


def test_files_are_found_by_a_column(items: pd.DataFrame, tmp_path: Path) -> None:
    table = items.assign(cover=["pics/1.jpg", None, "https://shop.example/i/a%20b.jpg?size=2"])
    found = [tmp_path / "pics" / "1.jpg", None, tmp_path / "images" / "a b.jpg"]
    assert item_images(table, tmp_path, "cover") == ItemImages(found, "cover")
    assert item_images(table.rename(columns={"cover": "image_path"}), tmp_path) == ItemImages(found, "image_path")


def test_the_first_of_several_pictures_counts(tmp_path: Path) -> None:
    cells = [
        np.array(["http://s/1.jpg", "http://s/2.jpg"], object),
        '["pics/a, b.jpg", "pics/2.jpg"]',
        "http://s/1.jpg http://s/2.jpg",
        "http://s/1 2.jpg",
        "pics/1 2.jpg",
        "[]",
        np.array([], object),
    ]
    items = pd.DataFrame({"item_id": list("abcdefg"), "image": pd.Series(cells, dtype=object)})
    found = [path and str(path.relative_to(tmp_path)) for path in item_images(items, tmp_path).files]
    assert found == ["images/1.jpg", "pics/a, b.jpg", "images/1.jpg", "images/1 2.jpg", "pics/1 2.jpg", None, None]


@pytest.mark.parametrize(
    ("cell", "name"),
    [
        ("http://s/1.jpg,http://s/2.jpg", "1.jpg"),
        ("http://s/1.jpg;https://s/2.jpg;https://s/3.jpg", "1.jpg"),
        ("http://s/1.jpg | http://s/2.jpg", "1.jpg"),
        ("http://s/a,b;c.jpg, http://s/2.jpg", "a,b;c.jpg"),
        (",http://s/1.jpg,http://s/2.jpg,", "1.jpg"),
        ("http://s/f_auto,q_80/a, b;c|d.jpg", "a, b;c|d.jpg"),
        ("https://s/fetch/w_9,h_9/https://t/1.jpg", "1.jpg"),
    ],
)
def test_addresses_in_a_cell_are_told_apart_and_their_own_signs_kept(cell: str, name: str, tmp_path: Path) -> None:
    items = pd.DataFrame({"item_id": ["a"], "image_url": [cell]})
    assert item_images(items, tmp_path).files == [tmp_path / "images" / name]


def test_different_addresses_with_one_file_name_give_no_picture(tmp_path: Path) -> None:
    cells = [
        "https://s.example/p/1001/main.jpg",
        "https://s.example/p/1002/main.jpg",
        "https://s.example/img.php?id=3",
        "https://s.example/img.php?id=4",
        "https://s.example/own.jpg",
        "http://s.example/own.jpg#top",
        "images/main.jpg",
    ]
    items = pd.DataFrame({"item_id": list("abcdefg"), "image_url": cells})
    found = item_images(items, tmp_path)
    assert [path and path.name for path in found.files] == [None, None, None, None, "own.jpg", "own.jpg", "main.jpg"]
    assert found.shared == (0, 1, 2, 3)
    told = "names 'https://s.example/p/1001/main.jpg' for item 'a', and another address ends in the same file name; "
    assert told in looked_for(found, items)


def test_a_cell_that_names_no_file_is_an_item_without_one(tmp_path: Path) -> None:
    cells = ["http://[x/a.jpg", "data:image/png;base64," + "A" * 5000, "http://s/%00.jpg", "a.jpg"]
    items = pd.DataFrame({"item_id": list("abcd"), "image": cells})
    images = item_images(items, tmp_path)
    contents = [image_content(path, max_megapixels=1, convert=False) for path in images.files]
    assert contents == [Problem.MISSING] * 4
    assert "names 'http://[x/a.jpg' for item 'a'" in looked_for(images, items)


def test_no_images_at_all_are_refused(items: pd.DataFrame, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"has none of the columns image_path, image, image_url, and there is no fold"):
        item_images(items, tmp_path)
    with pytest.raises(ValueError, match=r"/photos is not a folder; images=FOLDER has files called after the item ids"):
        item_images(items, tmp_path, str(tmp_path / "photos"))
