"""Slices of a catalogue, as conditions and reports name them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from mmbench.data.divisions import NEW_ITEMS, categories, first_of, members_of, names_in, text_lengths
from mmbench.encoders.contents import item_texts

COUNTS = np.array([0, 3, 8, 20, 21, 400])
ITEMS = pd.DataFrame({
    "genres": ["Lamps, Cups", None, "Cups", ["Lamps"], "Chairs & more", "x:y"],
    "title": ["a", "", "bbb", "bbbb", "cc", None],
})  # fmt: skip


@pytest.mark.parametrize(
    ("name", "members"),
    [
        (NEW_ITEMS, [0]),
        ("popularity:1-5", [1]),
        ("popularity:6-20", [2, 3]),
        ("popularity:101 and more", [5]),
        ("category:Lamps", [0, 3]),  # the first category counts
        ("category:Cups", [2]),
        ("category:Chairs & more", [4]),
        ("category:x:y", [5]),
        ("text_length:no text", [1, 5]),
        ("text_length:short text", [0, 4]),
        ("text_length:medium text", [2]),
        ("text_length:long text", [3]),
    ],
)
def test_members(name: str, members: list[int]) -> None:
    assert np.flatnonzero(members_of(name, COUNTS, ITEMS)).tolist() == members


SHOES = ["Clothing, Shoes & Jewelry", "Women", "Sports & Outdoors"]


@pytest.mark.parametrize(
    ("cell", "names"),
    [
        ("Action, Children's , ,Comedy", ["Action", "Children's", "Comedy"]),
        ('[["Clothing, Shoes & Jewelry", "Women"], ["Sports & Outdoors"]]', SHOES),
        ("[['Clothing, Shoes & Jewelry', 'Women'], ['Sports & Outdoors']]", SHOES),
        (r"""['Children\'s', "Men's", None]""", ["Children's", "Men's"]),
        ('["a", null, " ", ["b", 3]]', ["a", "b", "3"]),
        (np.array([np.array(SHOES[:2]), np.array(SHOES[2:])], object), SHOES),
        (np.array(SHOES), SHOES),
        ([*SHOES[:1], None, SHOES[1:]], SHOES),
        ("[]", []),
        ("[Live], Rock", ["[Live]", "Rock"]),
        ("[Live]", ["[Live]"]),
        ("[__import__('os').getcwd()]", ["[__import__('os').getcwd()]"]),
        ("[" * 5000 + "]" * 5000, ["[" * 5000 + "]" * 5000]),
        (None, []),
        (float("nan"), []),
        (3, ["3"]),
        (np.int64(-1), ["-1"]),
        (3.0, ["3"]),  # a column of whole numbers with gaps
        (2.5, ["2.5"]),
    ],
)
def test_names_in_a_cell(cell: object, names: list[str]) -> None:
    """Names in a list may hold commas, and no list is code."""
    assert names_in(cell) == names
    assert categories(pd.DataFrame({"category": pd.Series([cell, "x"], dtype=object)})) == [names, ["x"]]


def test_a_column_in_which_no_item_has_a_category_is_none() -> None:
    """And whole numbers are names, a text column of kinds with gaps has lengths."""
    assert categories(pd.DataFrame({"category": ["", " ", None]})) is None
    assert categories(pd.DataFrame({"category": [7, 8]})) == [["7"], ["8"]]
    titles = pd.Series(["lamp", None, "cup"], dtype="category")
    lengths = text_lengths(pd.DataFrame({"title": titles}))
    assert lengths is not None
    assert lengths.tolist() == [4, 0, 3]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("popularity:2-3", "no item is in '2-3'; popularity has cold, 1-5, 6-20, 21-100, 101 and more"),
        ("popularity:", "no item is in ''"),
        ("category:lamps", "no item is in 'lamps'; category has "),
    ],
)
def test_a_label_that_no_item_has_is_refused(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"modality.missing_slice={name}: {message}"):
        members_of(name, COUNTS, ITEMS)


def test_a_division_that_the_data_do_not_allow_is_refused() -> None:
    bare = ITEMS[[]]
    with pytest.raises(ValueError, match=r"none of the columns category, categories, genre, genres$"):
        members_of("category:Lamps", COUNTS, bare)
    with pytest.raises(ValueError, match=r"no column of items\.parquet looks like a text; columns are none$"):
        members_of("text_length:no text", COUNTS, bare)
    assert (categories(bare), text_lengths(bare)) == (None, None)
    assert members_of("popularity:cold", COUNTS, bare).sum() == 1


@pytest.mark.parametrize(
    ("columns", "named", "lengths"),
    [
        ({"商品名": ["机", "", None], "商品説明": ["木の机", "", "丸い"]}, (), [4, 0, 2]),
        ({"Product Name": ["desk", " ", "x"], "price": ["1", "2", "3"]}, (), [4, 0, 1]),
        ({"title": ["ab", "", "a"], "description": ["c", None, "de"]}, (), [3, 0, 3]),
        ({"text": ["ab", "", "a"], "title": ["c", "d", "e"]}, (), [2, 0, 1]),
        ({"text": ["ab", "", "a"], "notes": ["c", "", "efg"]}, ("notes", "gone"), [1, 0, 3]),
        ({"price": ["1", "2", "3"]}, (), None),
        ({"price": ["1", "", "3"]}, ("price",), [1, 0, 1]),
    ],
)
def test_the_text_that_is_measured_is_the_one_that_is_encoded(
    columns: dict[str, list[str | None]], named: tuple[str, ...], lengths: list[int] | None
) -> None:
    items = pd.DataFrame({"item_id": ["a", "b", "c"], **columns})
    measured = text_lengths(items, named)
    assert (None if measured is None else measured.tolist()) == lengths
    if lengths is None:
        with pytest.raises(ValueError, match="looks like a text"):
            item_texts(items)
    else:
        texts, template = item_texts(items, named=named)
        joined = template.count("{") - 1  # by a blank where an item has all of them
        for text, length in zip(texts, lengths, strict=True):
            assert length <= len(text) <= length + joined
        empty = members_of("text_length:no text", np.zeros(3, np.int64), items, named)
        assert empty.tolist() == [n == 0 for n in lengths]


def test_a_slice_does_not_depend_on_what_is_tested() -> None:
    """Thirds are those of the catalogue."""
    lengths = text_lengths(ITEMS.assign(text=["w" * n for n in (1, 2, 3, 4, 5, 6)]))
    assert lengths is not None
    assert lengths.tolist() == [1, 2, 3, 4, 5, 6]
    assert first_of([["a", "b"], []]) == ("a", None)
