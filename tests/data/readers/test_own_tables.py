from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmbench.data import splits
from mmbench.data.describe import coverage
from mmbench.data.divisions import categories
from mmbench.data.readers.columns import Columns
from mmbench.data.readers.journal import Journal
from mmbench.data.readers.own_tables import read_tabular
from mmbench.data.readers.text_table import Table
from mmbench.data.readers.times import unix_seconds
from mmbench.data.sources import Source
from tests.data.readers.files import write

LOG = "user_id,item_id,rating,timestamp\nu1,007,5,1700000030\nu1,08,,1700000010\nu2,007,4.5,1700000020\n"
ITEMS = "item_id,title,description\n007,赤い靴,革の靴\n08,青い帽子,\n9,Lamp,LED lamp\n"


def times(values: list[str]) -> tuple[list[int], list[str]]:
    journal = Journal()
    table = Table(Path("log.csv"), pd.DataFrame({"t": values}))
    return unix_seconds(table, "t", journal).tolist(), journal.lines


def test_a_log_and_its_items(tmp_path: Path) -> None:
    source = read_tabular(write(tmp_path / "log.csv", LOG), items=write(tmp_path / "items.csv", ITEMS))
    assert source.log["user_id"].tolist() == ["u1", "u1", "u2"]
    assert source.log["item_id"].tolist() == ["007", "08", "007"]
    np.testing.assert_array_equal(source.log["rating"], [5, np.nan, 4.5])
    assert source.log["timestamp"].tolist() == [1700000030, 1700000010, 1700000020]
    assert source.items["item_id"].tolist() == ["007", "08", "9"]
    assert source.items["title"].tolist() == ["赤い靴", "青い帽子", "Lamp"]
    assert source.texts == ("title", "description")
    assert source.features == {}
    assert source.notices == (
        "columns of the log: user=user_id, item=item_id, rating=rating, timestamp=timestamp",
        "columns of the items: item=item_id, text=title+description",
        "items: 1 listed item has no interaction",
    )


@pytest.mark.parametrize("name", ["category", "Genres", "商品分類", "カテゴリー", "大分類名"])
def test_a_category_is_kept_under_the_name_that_reports_look_for(tmp_path: Path, name: str) -> None:
    items = write(tmp_path / "items.csv", f"商品コード,商品名,{name}\n007,赤い靴,靴\n08,青い帽子,NULL\n9,Lamp,照明\n")
    source = read_tabular(write(tmp_path / "log.csv", LOG), items=items)
    assert source.items["category"].tolist() == ["靴", "", "照明"]
    assert list(source.items) == ["item_id", "商品名", "category"]
    assert f"columns of the items: item=商品コード, text=商品名, category={name}" in source.notices
    as_text = read_tabular(tmp_path / "log.csv", items=items, text=[name])
    assert as_text.texts == (name,)
    assert list(as_text.items) == ["item_id", name]


def test_a_log_alone(tmp_path: Path) -> None:
    source = read_tabular(write(tmp_path / "log.tsv", "uid\tsku\nb\t2\na\t10\n"))
    assert list(source.log) == ["user_id", "item_id"]
    assert source.items["item_id"].tolist() == ["10", "2"]
    assert source.features == {}


@pytest.mark.parametrize(
    ("header", "columns"),
    [
        ("customer,product,date", Columns()),
        ("userId;itemId;time", Columns()),
        ("User ID,Product-ID,Timestamp", Columns()),
        ("会員ID,商品コード,購入日", Columns()),
        ("user_id,parent_asin,unixReviewTime", Columns()),
        ("who,what,when", Columns(user="who", item="what", timestamp="when")),
        ("item,user,when", Columns(user="item", item="user", timestamp="when")),
    ],
)
def test_columns_are_guessed_or_named(tmp_path: Path, header: str, columns: Columns) -> None:
    separator = ";" if ";" in header else ","
    path = write(tmp_path / "log.csv", f"{header}\n{separator.join(['u', 'i', '1700000005'])}\n")
    log = read_tabular(path, columns).log
    assert log.to_dict("list") == {"user_id": ["u"], "item_id": ["i"], "timestamp": [1700000005]}


def test_optional_columns_can_be_left_out_and_parts_are_read(tmp_path: Path) -> None:
    path = write(tmp_path / "log.csv", "user,item,rating,time,split\nu,i,good,noon,0\nu,j,bad,night,Validation\n")
    log = read_tabular(path, Columns(rating="none", timestamp="none")).log
    assert log.to_dict("list") == {"user_id": ["u", "u"], "item_id": ["i", "j"], "split": ["train", "valid"]}
    assert list(read_tabular(path, Columns(rating="none", timestamp="none", split="none")).log) == [
        "user_id",
        "item_id",
    ]
    with pytest.raises(ValueError, match=r"line 2: rating is 'good'; it must be a number \(2 such rows\)"):
        read_tabular(path)
    with pytest.raises(ValueError, match="column 'rating' holds 'bad', 'good'; allowed are train"):
        read_tabular(path, Columns(rating="none", timestamp="none", split="rating"))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (Columns(), r"no column looks like the item; name it with --item; columns are user, thing, score"),
        (Columns(item="object"), r"column 'object' \(--item\) is not there; columns are user, thing, score"),
        (
            Columns(item="thing", rating="thing"),
            r"one column cannot be two things: user=user, item=thing, rating=thing",
        ),
        (Columns(item="none"), r"column 'none' \(--item\) is not there"),
    ],
)
def test_columns_that_are_not_there(tmp_path: Path, columns: Columns, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_tabular(write(tmp_path / "log.csv", "user,thing,score\nu,i,1\n"), columns)


def test_rows_without_an_id_are_dropped_and_counted(tmp_path: Path) -> None:
    content = "user,item,time\n u1 ,a,2024/1/1\n,b,x\nu2,NULL,2024/1/1\nu2, b,2024/1/2\nNA,b,2024/1/3\n"
    path = write(tmp_path / "log.csv", content)
    source = read_tabular(path)
    assert source.log.to_dict("list") == {
        "user_id": ["u1", "u2", "NA"],
        "item_id": ["a", "b", "b"],
        "timestamp": [1704067200, 1704153600, 1704240000],
    }
    assert source.notices[1] == f"log: 2 rows without user+item are left out (first: {path}, line 3)"
    with pytest.raises(ValueError, match=r"every row lacks user\+item"):
        read_tabular(write(tmp_path / "log.csv", "user,item\n,a\nu,\n"))


def test_invisible_characters_around_ids_are_taken_away_and_counted(tmp_path: Path) -> None:
    rows = "u1,a\nu1\u200b,\ufeffa\n\u200e u2,b\u00ad\n\u2060,b\nu2,靴\u200d箱\n"
    log = write(tmp_path / "log.csv", "user,item\n" + rows)
    items = write(tmp_path / "items.csv", "item,title\na\u200b,shoe\nb,hat\n")
    source = read_tabular(log, items=items)
    assert source.log.to_dict("list") == {"user_id": ["u1", "u1", "u2", "u2"], "item_id": ["a", "a", "b", "靴\u200d箱"]}
    assert source.items["item_id"].tolist() == ["a", "b", "靴\u200d箱"]
    assert source.notices[1:4] == (
        r"user: 3 ids are read without the invisible characters around them (first: 'u1\u200b')",
        r"item: 2 ids are read without the invisible characters around them (first: '\ufeffa')",
        f"log: 1 row without user+item is left out (first: {log}, line 5)",
    )
    assert r"item: 1 id is read without the invisible characters around it ('a\u200b')" in source.notices


@pytest.mark.parametrize("error", ["#N/A", "#REF!", "#VALUE!", "#NAME?", "#DIV/0!", "#NUM!", "#NULL!"])
def test_errors_of_a_spreadsheet_are_missing_cells(error: str, tmp_path: Path) -> None:
    rows = f"user,item,rating,order,on\nu,a,{error},{error},{error}\nu,{error},1,,\n"
    log = write(tmp_path / "log.csv", f"{rows}{error},a,1,,\nv,b,2,7,2024/1/5\n")
    items = write(tmp_path / "items.csv", f"item,title,category\na,{error},shoes\n{error},lamp,home\nb,hat,{error}\n")
    source = read_tabular(log, items=items)
    assert source.log["user_id"].tolist() == ["u", "v"]
    np.testing.assert_array_equal(source.log["rating"], [np.nan, 2])
    assert source.log["order_id"].tolist() == ["", "7"]
    assert any(line.startswith("on holds dates (first: 2024/1/5)") for line in source.notices)
    assert source.items.to_dict("list") == {"item_id": ["a", "b"], "title": ["", "hat"], "category": ["shoes", ""]}
    assert f"log: 2 rows without user+item are left out (first: {log}, line 3)" in source.notices
    assert f"items: 1 row without item is left out (first: {items}, line 3)" in source.notices
    with pytest.raises(ValueError, match=r"line 3: time is '.*'; every row needs a time"):
        read_tabular(write(tmp_path / "times.csv", f"user,item,time\nu,a,2024/1/5\nu,b,{error}\n"))


def test_items_are_cleaned_and_completed(tmp_path: Path) -> None:
    log = write(tmp_path / "log.csv", "user,item\nu,a\nu,z\nu,y\n")
    items = write(tmp_path / "items.tsv", "id\tname\n b \tlamp\n\tlost\na\tshoe\nb\tagain\na\tagain\n")
    source = read_tabular(log, items=items)
    assert source.items.to_dict("list") == {"item_id": ["b", "a", "y", "z"], "name": ["lamp", "shoe", "", ""]}
    assert source.notices[2:] == (
        f"items: 1 row without id is left out (first: {items}, line 3)",
        "items: 2 repeated items, the first row of each counts (first: 'b')",
        "items: 2 items of the log are not listed and have no text",
        "items: 1 listed item has no interaction",
    )


def test_a_blank_cell_takes_what_a_later_row_of_the_item_has(tmp_path: Path) -> None:
    log = write(tmp_path / "log.csv", "user,item\nu,a\nu,b\nu,c\n")
    rows = "a, ,NULL\nb,hat,head\na,,shoes\na,red shoe,boots\nb,cap,home\nc, ,NULL\nc,,\n"
    items = write(tmp_path / "items.csv", "item,title,category\n" + rows)
    source = read_tabular(log, items=items)
    assert source.items.to_dict("list") == {
        "item_id": ["a", "b", "c"],
        "title": ["red shoe", "hat", ""],
        "category": ["shoes", "head", ""],
    }
    assert source.notices[2:] == (
        "items: 3 repeated items, the first row of each counts (first: 'a')",
        "items: 2 cells that are blank in the first rows of their items are taken from later rows (first: title of "
        "'a')",
    )
    assert coverage(source) == {"items.title": {"present": 2}}


def test_an_item_of_many_rows_is_one_repeated_item(tmp_path: Path) -> None:
    items = write(tmp_path / "items.csv", "item,title\n" + "a,shoe\n" * 10)
    source = read_tabular(write(tmp_path / "log.csv", "user,item\nu,a\n"), items=items)
    assert source.notices[2:] == ("items: 1 repeated item, the first row counts ('a')",)


def test_a_cell_of_spaces_is_no_content() -> None:
    items = pd.DataFrame({"item_id": ["a", "b", "c"], "title": [" ", "\u3000", "hat"], "image_url": ["", " ", "x"]})
    source = Source(pd.DataFrame({"user_id": ["u"], "item_id": ["a"]}), items, {}, texts=("title",))
    assert coverage(source) == {"items.title": {"present": 1}, "items.image_url": {"present": 1}}


def test_every_column_of_images_that_is_encoded_is_counted() -> None:
    items = pd.DataFrame({"item_id": ["a", "b"], "image": ["a.jpg", None], "image_path": ["", "b.jpg"]})
    source = Source(pd.DataFrame({"user_id": ["u"], "item_id": ["a"]}), items, {})
    assert coverage(source) == {"items.image": {"present": 1}, "items.image_path": {"present": 1}}


def test_texts_are_joined_in_the_order_asked(tmp_path: Path) -> None:
    log = write(tmp_path / "log.csv", "user,item\nu,a\nu,b\n")
    items = write(tmp_path / "items.csv", "sku,one,two\na,x NULL,y\nb,NULL,x y\n")
    source = read_tabular(log, items=items, text=["two", "one"])
    assert list(source.items) == ["item_id", "two", "one"]
    assert source.items["one"].tolist() == ["x NULL", ""]
    assert source.texts == ("two", "one")


@pytest.mark.parametrize(
    ("items", "options", "message"),
    [
        ("code,title\na,x\n", {}, "no column looks like the item; name it with --item-column; columns are code, title"),
        ("item,color\na,x\n", {}, "no column looks like a text; name it with --text, or add --text none; columns are "),
        ("item,color\na,x\n", {"text": ["title"]}, r"column 'title' \(--text\) is not there; columns are item, color"),
        ("item,color\na,x\n", {"text": ["item"]}, r"column 'item' \(--text\) is the item id or stands twice"),
        (
            "item,color\na,x\n",
            {"text": ["color", "color"]},
            r"column 'color' \(--text\) is the item id or stands twice",
        ),
        ("item,title\nb,x\n", {}, r"no item of the log occurs in it \('a' against 'b'\)"),
    ],
)
def test_faults_of_the_items(tmp_path: Path, items: str, options: dict[str, list[str]], message: str) -> None:
    log = write(tmp_path / "log.csv", "user,item\nu,a\n")
    with pytest.raises(ValueError, match=message):
        read_tabular(log, items=write(tmp_path / "items.csv", items), **options)


def test_encodings(tmp_path: Path) -> None:
    log = write(tmp_path / "log.csv", "ユーザー,商品\n山田,靴\n".encode("cp932"))
    assert read_tabular(log, encoding="cp932").log.to_dict("list") == {"user_id": ["山田"], "item_id": ["靴"]}
    with pytest.raises(ValueError, match="is not utf-8 text"):
        read_tabular(log)


def test_parquet(tmp_path: Path) -> None:
    zone = datetime.timezone(datetime.timedelta(hours=9))
    frame = pd.DataFrame(
        {
            "user": [1, 2, 3],
            "item": pd.array([10, None, 12], dtype="Int64"),
            "code": [1.0, 2.0, np.nan],
            "rating": [1.5, np.nan, 2.5],
            "time": pd.to_datetime(["2024-01-05", "2024-01-06", "2024-01-07"]),
            "local": pd.Series([datetime.datetime(2024, 1, 5, 9, tzinfo=zone)] * 3),
            "day": [datetime.date(2024, 1, 5)] * 3,
        }
    )
    path = tmp_path / "log.parquet"
    frame.to_parquet(path)
    source = read_tabular(path)
    assert source.log["user_id"].tolist() == ["1", "3"]
    assert source.log["item_id"].tolist() == ["10", "12"]
    assert source.log["rating"].tolist() == [1.5, 2.5]
    assert source.log["timestamp"].tolist() == [1704412800, 1704585600]
    assert source.notices[1] == f"log: 1 row without user+item is left out (first: {path}, row 2)"
    codes = read_tabular(path, Columns(item="code", timestamp="local")).log
    assert codes["item_id"].tolist() == ["1", "2"]
    assert codes["timestamp"].tolist() == [1704412800] * 2
    assert read_tabular(path, Columns(timestamp="day")).log["timestamp"].tolist() == [1704412800] * 2


@pytest.mark.parametrize("name", ["items.parquet", "items.jsonl"])
def test_lists_in_cells(name: str, tmp_path: Path) -> None:
    """Words of texts are joined; names of categories stay apart."""
    log = write(tmp_path / "log.csv", "user,item\nu,a\nu,b\nu,c\n")
    many = [f"word {n}" for n in range(2000)]
    frame = pd.DataFrame({
        "item": ["a", "b", "c"],
        "title": [["Red", "shoe"], many, None],
        "categories": [["Clothing, Shoes & Jewelry", "Women"], [], None],
    })  # fmt: skip
    items = tmp_path / name
    frame.to_parquet(items) if name.endswith("parquet") else frame.to_json(items, orient="records", lines=True)
    source = read_tabular(log, items=items)
    assert source.items["title"].tolist() == ["Red shoe", " ".join(many), ""]
    assert source.items["category"].tolist() == ['["Clothing, Shoes & Jewelry", "Women"]', "", ""]
    assert categories(source.items) == [["Clothing, Shoes & Jewelry", "Women"], [], []]
    joined = read_tabular(log, items=items, text=["title", "categories"])
    assert joined.items["categories"].tolist() == ["Clothing, Shoes & Jewelry Women", "", ""]


def test_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"log.doc must end in .csv, .tsv, .txt, .jsonl, .json \(each"):
        read_tabular(tmp_path / "log.doc")
    with pytest.raises(ValueError, match=r"log.parquet is missing"):
        read_tabular(tmp_path / "log.parquet")
    with pytest.raises(ValueError, match=r"log.parquet is not a readable parquet file"):
        read_tabular(write(tmp_path / "log.parquet", "no parquet"))
    pd.DataFrame({"user": [], "item": []}).to_parquet(tmp_path / "log.parquet")
    with pytest.raises(ValueError, match=r"log.parquet has no rows"):
        read_tabular(tmp_path / "log.parquet")


@pytest.mark.parametrize(
    ("value", "second"),
    [
        ("2024-01-05", 1704412800),
        ("2024/1/5", 1704412800),
        ("2024.1.5", 1704412800),
        ("2024年1月5日", 1704412800),
        ("2024年 1月 5日", 1704412800),
        ("2024/1/5(金)", 1704412800),
        ("2024年1月5日(金) 9:30", 1704447000),
        ("2024年1月5日9時30分", 1704447000),
        ("2024年1月5日 9時30分15秒", 1704447015),
        ("2024年1月5日 9時", 1704445200),
        ("令和6年1月5日", 1704412800),
        ("㋿6年1月5日", 1704412800),
        ("令和６年１月５日９時３０分", 1704447000),
        ("R6.1.5", 1704412800),
        ("r6/1/5 09:30", 1704447000),
        ("R06-01-05", 1704412800),
        ("平成元年1月8日", 600220800),
        ("H31.4.30", 1556582400),
        ("令和元年5月1日", 1556668800),
        ("S64.1.7", 600134400),
        ("２０２４／０１／０５", 1704412800),
        ("2024-01-05 09:30", 1704447000),
        ("2024/1/5 9:30:15", 1704447015),
        ("2024-01-05T09:30:15.999Z", 1704447015),
        ("2024-01-05T09:30:15+09:00", 1704447015 - 9 * 3600),
        ("2024-01-05T09:30:15-0130", 1704447015 + 90 * 60),
        ("2024-01-05T09:30:15+14", 1704447015 - 14 * 3600),
        ("2024-01-05 09:30:15 UTC", 1704447015),
        ("1969-12-31T23:59:59Z", -1),
        ("20240105", 1704412800),
        ("20240105093015", 1704447015),
        ("1704412800", 1704412800),
        ("1704412800.75", 1704412800),
        ("1704412800999", 1704412800),
        ("1704412800999999", 1704412800),
        ("1704412800500000000", 1704412800),
        ("1.7044128e9", 1704412800),
        ("202401050930", 1704447000),
        ("45296", 1704412800),
        ("45296.395833333336", 1704447000),
        ("45314.52", 1706012928),
    ],
)
def test_times(value: str, second: int) -> None:
    assert times([value, value])[0] == [second, second]


def test_units_are_told() -> None:
    assert times(["1704412800000", "1704412801000"])[1] == ["t: taken as milliseconds and divided by 1000"]
    assert times(["20240105", "20240106"])[1] == ["t: numbers of 8 digits are read as dates"]
    assert times(["202401050930", "202401050931"])[1] == ["t: numbers of 12 digits are read as dates"]
    assert times(["45296.5", "45297"])[1] == [
        "t: numbers are read as days of a spreadsheet (45296.5 as 2024-01-05 12:00:00); if they are none, leave the "
        "column out"
    ]
    assert times(["789652009", "1704412800"]) == ([789652009, 1704412800], [])
    assert times(["令和6年1月5日", "2024-01-05", "R6.1.5"])[1] == [
        "t: 2 dates of a Japanese era are read as those of our calendar (first: 令和6年1月5日)"
    ]
    assert times(["2024-01-05T12:00+09:00", "2024-01-05T03:00Z"]) == ([1704423600, 1704423600], [])
    assert times(["2024-01-05 12:00", "2024-01-05T12:00+09:00", "2024-01-05 03:00"])[1] == [
        "t: 1 of 3 times has a time zone (2024-01-05T12:00+09:00), and those without one are read as UTC"
    ]
    assert times(["2024-01-05T12:00Z", "2024-01-05T12:00+09:00", "2024-01-05"])[1] == [
        "t: 2 of 3 times have a time zone (first: 2024-01-05T12:00Z), and those without one are read as UTC"
    ]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["1704412800000", "1704412800000", "1704412800"], "row 3: t is '1704412800'; most rows are in milliseconds"),
        (["1704412800", "1704412801", "1704412800000"], "row 3: t is '1704412800000'; most rows are in seconds, and"),
        (["1704412800", "0", "1704412801"], "row 2: t is '0'; most rows are in seconds, and units must not be mixed"),
        (["1704412800", "2024", "1704412801"], "row 2: t is '2024'; most rows are in seconds"),
        (["0", "0"], r"row 1: t is '0'; no time is so small a number. Write seconds since 1970 .* \(2 such rows\)"),
        (["2024", "2023"], "row 1: t is '2024'; no time is so small a number"),
        (["202401", "202402"], "row 1: t is '202401'; no time is so small a number"),
        (["240105", "240106"], "row 1: t is '240105'; no time is so small a number"),
        ([str(number) for number in range(1, 100_000)], "row 1: t is '1'; no time is so small .* order"),
        (["45296", "0", "45297"], "row 2: t is '0'; no time is so small a number"),
        (["20240105", "20249905"], "row 2: t is '20249905'; most rows are dates of 8 digits, and all must be"),
        (["202401051230", "202401059930"], "row 2: t is '202401059930'; most rows are dates of 12 digits"),
        (["20240105", "0"], "row 2: t is '0'; most rows are dates of 8 digits"),
        (["1", "2", "soon"], "row 3: t is 'soon'; it must be a number"),
        (["1", ""], "row 2: t is ''; every row needs a time, or leave the column out"),
        (["2024-01-05", "NaN"], "row 2: t is 'NaN'; every row needs a time"),
        (["2024-01-05", "05/01/2024"], "row 2: t is '05/01/2024'; write times as seconds, 2024-01-05, 2024/1/5 or"),
        (["2024-01-05", "2024-02-30"], "row 2: t is '2024-02-30'; write times"),
        (["2024-01-05 25:00"], "row 1: t is '2024-01-05 25:00'; write times"),
        (["2024-01-05 10:60"], "row 1"),
        (["2024-13-05"], "row 1"),
        (["2024/1/5 18:00", "2024/1/5 18:00-20:00"], "row 2: t is '2024/1/5 18:00-20:00'; write times as seconds"),
        (["2024-01-05T18:00+14:01"], "row 1"),
        (["2024-01-05T18:00-09:60"], "row 1"),
        (["X5.4.1"], "row 1: t is 'X5.4.1'; write times"),
        (["令和6年13月1日"], "row 1: t is '令和6年13月1日'; write times"),
        (["2024年1月5日9時61分"], "row 1"),
        (["6.1.5"], "row 1"),
        (["0000-01-05"], "row 1"),
    ],
)
def test_faults_of_times(values: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        times(values)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.datetimes(datetime.datetime(1900, 1, 1), datetime.datetime(2100, 1, 1)), min_size=1, max_size=5),
    st.integers(-14 * 60, 14 * 60),
)
def test_iso_times_are_read_as_python_reads_them(moments: list[datetime.datetime], offset: int) -> None:
    zone = datetime.timezone(datetime.timedelta(minutes=offset))
    aware = [moment.replace(tzinfo=zone, microsecond=0) for moment in moments]
    assert times([moment.isoformat() for moment in aware])[0] == [int(moment.timestamp()) for moment in aware]


ORDERS = "注文番号,会員番号,品番,数量,注文日\n"


def quantities(tmp_path: Path, cells: list[str]) -> tuple[list[float], list[str]]:
    rows = "".join(f'{n},u{n},i,"{cell}",2024/1/5\n' for n, cell in enumerate(cells))
    source = read_tabular(write(tmp_path / "log.csv", ORDERS + rows))
    return source.log["quantity"].tolist(), list(source.notices)


def test_counts_as_shops_write_them(tmp_path: Path) -> None:
    cells = ["1", "2個", "３点", "1,200", "4 pcs", "+5", "0.5", "▲1", "△2個", "−1", "-3", ""]
    kept, notices = quantities(tmp_path, cells)
    np.testing.assert_array_equal(kept, [1, 2, 3, 1200, 4, 5, 0.5, np.nan])
    assert "数量: 8 cells are read as numbers (first: 2個 as 2)" in notices
    assert any(line.startswith("log: 4 rows with a 数量 of zero or less (returns) are left out") for line in notices)
    assert not any("are read as numbers" in line for line in quantities(tmp_path, ["1", "2.5", "-1"])[1])


def test_rows_without_a_quantity_are_counted(tmp_path: Path) -> None:
    kept, notices = quantities(tmp_path, ["1", "", " ", "NULL", "-1"])
    np.testing.assert_array_equal(kept, [1, np.nan, np.nan, np.nan])
    assert f"log: 3 rows without a 数量 count as purchases (first: {tmp_path / 'log.csv'}, line 3)" in notices
    assert not any("without a" in line for line in quantities(tmp_path, ["1", "-1"])[1])


@pytest.mark.parametrize("cell", ["1個2", "約3", "1,20", "二個", "1,200,3", "3ダースくらい"])
def test_what_is_no_count_is_refused(tmp_path: Path, cell: str) -> None:
    with pytest.raises(ValueError, match=rf"line 3: 数量 is '{cell}'; it must be a number"):
        quantities(tmp_path, ["1", cell])


def test_returns_cancel_their_purchase(tmp_path: Path) -> None:
    rows = """1,a,x,1,2024/1/5
2,a,x,-1,2024/1/9
3,a,x,2,2024/1/7
4,a,y,3,2024/1/1
5,a,y,-1,2024/1/2
6,b,x,-1,2024/1/1
7,b,x,1,2024/1/3
8,c,x,▲1,2024/1/3
9,c,x,1個,2024/1/3
10,d,x,1,2024/1/1
11,d,x,1,2024/1/2
12,d,x,-2,2024/1/3
13,e,x,0,2024/1/3
14,f,x,,2024/1/3
15,f,x,-1,2024/1/4
"""
    path = write(tmp_path / "log.csv", ORDERS + rows)
    source = read_tabular(path, cancel_returns=True)
    log = source.log
    assert log["order_id"].tolist() == ["1", "3", "4", "7"]
    assert log["quantity"].tolist() == [1, 1, 2, 1]  # a return takes units of the latest earlier purchase
    assert source.notices[1:] == (
        "数量: 2 cells are read as numbers (first: ▲1 as -1)",
        f"log: 1 row without a 数量 counts as a purchase ({path}, line 15)",
        f"log: 1 row with a 数量 of zero is left out ({path}, line 14)",
        "log: 6 returns; purchases that they cancel and that are left out: 4, purchases with fewer units: 2, returns "
        "without an earlier purchase: 1",
    )
    kept = read_tabular(path).log
    assert kept["order_id"].tolist() == ["1", "3", "4", "7", "9", "10", "11", "14"]
    only = write(tmp_path / "only.csv", ORDERS + "1,a,x,1,2024/1/5\n2,a,x,-1,2024/1/6\n")
    with pytest.raises(ValueError, match="every purchase of the log was returned; without --cancel-returns they are"):
        read_tabular(only, cancel_returns=True)


def test_what_an_option_needs_and_does_not_have_is_said(tmp_path: Path) -> None:
    path = write(tmp_path / "log.csv", "user,item,amount\na,x,1\na,x,-1\n")
    needs = r"log.csv: --cancel-returns needs the quantity of each row, and no column is known to be it; name it with "
    with pytest.raises(ValueError, match=needs + "--quantity; columns are user, item, amount$"):
        read_tabular(path, cancel_returns=True)
    quantity = write(tmp_path / "log.csv", "user,item,quantity\na,x,1\na,x,-1\n")
    with pytest.raises(ValueError, match=needs):
        read_tabular(quantity, Columns(quantity="none"), cancel_returns=True)
    with pytest.raises(ValueError, match=r"^--restore-zeros compares the codes of the log with the table --items, whi"):
        read_tabular(quantity, restore_zeros=True)


def test_without_times_a_return_cancels_what_stands_above(tmp_path: Path) -> None:
    path = write(tmp_path / "log.csv", "user,item,quantity\na,x,-1\na,x,1\na,y,1\na,y,-1\n")
    assert read_tabular(path, cancel_returns=True).log["item_id"].tolist() == ["x"]


def asked(path: Path, columns: Columns | None = None) -> tuple[list[str], list[tuple[str, ...]]]:
    journal = Journal()
    read_tabular(path, columns, journal=journal)
    return list(journal.lines), [question.words for question in journal.questions]


def test_a_column_without_a_name_is_seen_in_a_list_of_names(tmp_path: Path) -> None:
    log = write(tmp_path / "log.csv", "user,item,,備考\nu1,a,1,x\nu2,b,2,y\n")
    lines, _ = asked(log)
    assert lines[1] == "columns of the log that are not used: '', 備考"
    journal = Journal()
    read_tabular(log, items=write(tmp_path / "items.csv", "item,title,\na,shoe,1\nb,hat,2\n"), journal=journal)
    assert "columns of the items that are not used: ''" in journal.lines
    with pytest.raises(ValueError, match=r"name it with --user; columns are ''$"):
        asked(write(tmp_path / "blank.csv", " \n \n"))


def test_columns_without_a_name_are_asked_nothing_about(tmp_path: Path) -> None:
    """No option could name them, and several of them have one name."""
    log = write(tmp_path / "log.csv", "user,item,date,,\nu1,a,2024-01-05,-1,返品\nu2,b,2024-01-06,2,\n")
    lines, words = asked(log)
    assert lines[1:] == ["columns of the log that are not used: '', ''"]
    assert words == []


def test_of_a_day_and_a_moment_the_moment_is_the_time(tmp_path: Path) -> None:
    """An export with the newest order first: by the day alone, the order of the log would make the first the last."""
    rows = "".join(f"u,{item},2024/1/5,2024/1/5 {hour}:00\n" for item, hour in (("c", 18), ("b", 12), ("a", 9)))
    log = read_tabular(write(tmp_path / "log.csv", "会員番号,品番,注文日,注文日時\n" + rows)).log
    parts = splits.last_out(log)
    assert log["item_id"][parts == "test"].tolist() == ["c"]


def test_a_comma_stands_before_decimals_where_semicolons_stand_between_cells(tmp_path: Path) -> None:
    rows = "u;a;4,5;1,50\nu;b;3;1.000,25\nu;c;;2,0個\nu;d;5;3\n"
    journal = Journal()
    log = read_tabular(write(tmp_path / "log.csv", "user;item;rating;quantity\n" + rows), journal=journal).log
    assert log["quantity"].tolist() == [1.5, 1000.25, 2, 3]
    np.testing.assert_array_equal(log["rating"], [4.5, 3, np.nan, 5])
    assert journal.lines[1:3] == [
        "rating: 1 comma is read as a decimal point, as in tables with semicolons (4,5 as 4.5)",
        "quantity: 3 commas are read as decimal points, as in tables with semicolons (first: 1,50 as 1.50)",
    ]
    grouped = write(tmp_path / "log.csv", "user;item;quantity\nu;a;1,000\nu;b;1,000,000\n")
    assert read_tabular(grouped).log["quantity"].tolist() == [1000, 1_000_000]
    path = write(tmp_path / "log.csv", 'user,item,rating\nu,a,"4,5"\n')
    with pytest.raises(ValueError, match=r"rating is '4,5'; it must be a number, with a point before decimals$"):
        read_tabular(path)


@pytest.mark.parametrize(
    ("table", "told"),
    [
        (
            "会員番号,品番,注文日,受注日\nu,a,2024/1/5,2024/1/6\n",
            "the time is that of 注文日; 受注日 holds times too (first: 2024/1/6): if they are those of the purchases, "
            "add --timestamp '受注日'",
        ),
        (
            "user,item,date,paid at\nu,a,2024-01-05,2024-01-05 09:00\nu,b,2024-01-05,2024-01-05 10:00\n",
            "the time is that of date; paid at holds times too (first: 2024-01-05 09:00): if they are those of the "
            "purchases, add --timestamp 'paid at'",
        ),
        (
            "user,item,date,time\nu,a,2024-01-05T00:00:00,10:00\n",
            "time holds times of day (first: 10:00) and is not used, so that rows of one day count in the order of the "
            "log; write both into one column, such as 2024-01-05 10:00",
        ),
        ("user,item,date,clock,born\nu,a,2024-01-05 10:00,10:00,1990-01-01\nu,b,2024-01-05 10:01,10:01,\n", None),
    ],
)
def test_a_second_column_of_times_is_named(table: str, told: str | None, tmp_path: Path) -> None:
    path = write(tmp_path / "log.csv", table)
    lines, words = asked(path)
    assert lines[2:] == ([] if told is None else [told])
    assert words == []
    named = table.split(",")[2]
    assert asked(path, Columns(timestamp=named))[0][2:] == []


def test_columns_that_are_not_used_are_listed_and_asked_about(tmp_path: Path) -> None:
    rows = "u1,a,▲100,令和6年1月5日,x,20240105\nu2,b,200,R6.1.6,,20240106\nu3,a,300,2024/1/7,z,20240107\n"
    path = write(tmp_path / "log.csv", "顧客ID,品番,金額 税込,出荷した日,備考,key\n" + rows)
    lines, words = asked(path)
    assert lines[1:] == [
        "columns of the log that are not used: 金額 税込, 出荷した日, 備考, key",
        "金額 税込 is negative in 1 of the first 3 rows (▲100): is that row a return? If so, add --quantity "
        "'金額 税込', and it is left out",
        "出荷した日 holds dates (first: 令和6年1月5日) and the log has no time: is it when the purchase was made? If "
        "so, add --timestamp '出荷した日'",
        "key holds dates (first: 20240105) and the log has no time: is it when the purchase was made? If so, add "
        "--timestamp key",
    ]
    assert words == [("--quantity", "金額 税込"), ("--timestamp", "出荷した日"), ("--timestamp", "key")]
    assert asked(path, Columns(timestamp="none", quantity="none"))[1] == []
    _, words = asked(path, Columns(timestamp="key", quantity="金額 税込"))
    assert words == [("--cancel-returns",)]


def test_negative_sums_of_lines_with_a_quantity_are_asked_about(tmp_path: Path) -> None:
    path = write(tmp_path / "log.csv", "user,item,qty,amount\nu,a,1,-5\nu,b,2,10\nu,c,-1,-3\n")
    assert asked(path)[1] == [("--cancel-returns",), ("--quantity", "amount")]
    sign = write(tmp_path / "log.csv", "user,item,qty,amount\nu,a,1,5\nu,b,2,10\nu,c,-1,-3\n")
    assert asked(sign)[1] == [("--cancel-returns",)]


@pytest.mark.parametrize(
    ("columns", "rows", "likely"),
    [
        ("user,item,amount", ["u,a,¥5", "u,b,-5", "u,c,7"], True),
        ("user,item,qty,amount", ["u,a,1,5", "u,b,1,-5", "u,c,1,7"], False),  # something else counts already
        ("user,item,粗利", ["u,a,5", "u,b,-5", "u,c,7"], False),  # sold at a loss
        ("user,item,value", ["u,a,-5", "u,b,-5", "u,c,0"], False),  # hardly anything would be left
    ],
)
def test_a_negative_number_is_likely_a_return_where_it_may_count(
    columns: str, rows: Sequence[str], likely: bool, tmp_path: Path
) -> None:
    journal = Journal()
    path = write(tmp_path / "log.csv", "\n".join([columns, *rows, ""]))
    read_tabular(path, journal=journal)
    (question,) = journal.questions
    assert (question.words[0], question.likely) == ("--quantity", likely)
    named = asked(write(tmp_path / "named.csv", f"{columns},sold\n" + "".join(f"{row},1\n" for row in rows)))
    assert ("--quantity", columns.split(",")[-1]) in named[1]
    counted = Columns(quantity="sold")
    assert asked(tmp_path / "named.csv", counted)[1] == []  # who has named the quantity is not asked for another one


@pytest.mark.parametrize(
    ("columns", "user", "item"),
    [
        ("customer,customer_id,product,product_id", "customer_id", "product_id"),
        ("会員,会員番号,商品,商品コード", "会員番号", "商品コード"),
        ("item_id,item,member,member_no,uid", "uid", "item_id"),
        ("user,item,note", "user", "item"),
    ],
)
def test_a_number_or_a_code_goes_before_a_name(columns: str, user: str, item: str, tmp_path: Path) -> None:
    """Customers of one name are not one customer."""
    cells = ",".join("1" for _ in columns.split(","))
    lines, _ = asked(write(tmp_path / "log.csv", f"{columns}\n{cells}\n"))
    assert lines[0].startswith(f"columns of the log: user={user}, item={item}")


STATES = "user,item,state,note\nu,a,shipped,\nu,b, Cancelled ,x\nv,a,返品済,\nv,b,shipped,\nw,c,Cancelled,\n"


def test_states_of_cancelled_orders_are_asked_about(tmp_path: Path) -> None:
    path = write(tmp_path / "log.csv", STATES)
    lines, words = asked(path)
    assert lines[1:] == [
        "columns of the log that are not used: state, note",
        "state is Cancelled, 返品済 in 3 of the first 5 rows: were these purchases cancelled or given back? If so, add "
        "--leave-out state=Cancelled --leave-out 'state=返品済', and they are left out",
    ]
    assert words == [("--leave-out", "state=Cancelled", "--leave-out", "state=返品済")]
    journal = Journal()
    log = read_tabular(path, leave_out=words[0][1::2], journal=journal).log
    assert log.to_dict("list") == {"user_id": ["u", "v"], "item_id": ["a", "b"]}
    assert journal.lines[:3] == [
        f"log: 2 rows with state=Cancelled are left out (first: {path}, line 3)",
        f"log: 1 row with state=返品済 is left out ({path}, line 4)",
        "columns of the log: user=user, item=item",
    ]
    assert journal.questions == []
    many = "".join(f"u,i{n},return number {n}\n" for n in range(21))
    assert asked(write(tmp_path / "many.csv", f"user,item,note\n{many}"))[1] == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["status=x"],
            r"--leave-out 'status=x': write COLUMN=VALUE with a column of .*; columns are user, item, state",
        ),
        (["state"], "--leave-out 'state': write COLUMN=VALUE"),
        (["state=cancelled"], r"log.csv: no row has 'cancelled' in the column 'state' \(--leave-out\)"),
        (["user=u", "user=v", "user=w"], r"log.csv: --leave-out leaves no row"),
    ],
)
def test_rows_that_cannot_be_left_out(tmp_path: Path, words: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_tabular(write(tmp_path / "log.csv", STATES), leave_out=words)


def test_leading_zeros_that_the_list_lost_are_found(tmp_path: Path) -> None:
    log = write(tmp_path / "log.csv", "user,item\nu,007\nu,08\nu,9\n")
    items = write(tmp_path / "items.csv", "item,title\n7,red shoe\n08,hat\n9,lamp\n")
    journal = Journal()
    source = read_tabular(log, items=items, journal=journal)
    assert source.items["item_id"].tolist() == ["7", "08", "9", "007"]
    assert (
        "1 item of the log is found in the list of items only without leading zeros (007 in the log, 7 in the list): "
        "did a spreadsheet take them away? Save the list with its codes as text, or add --restore-zeros"
    ) in journal.lines
    assert [question.words for question in journal.questions] == [("--restore-zeros",)]
    restored = read_tabular(log, items=items, restore_zeros=True)
    assert restored.items["item_id"].tolist() == ["007", "08", "9"]
    assert "items: 1 item takes the zeros that its id has in the log (7 becomes 007)" in restored.notices
    none = write(tmp_path / "none.csv", "item,title\n7,red shoe\n8,hat\n")
    with pytest.raises(ValueError, match=r"none.csv: no item of the log occurs in it. 2 items of the log are found"):
        read_tabular(write(tmp_path / "two.csv", "user,item\nu,007\nu,08\n"), items=none)


def test_leading_zeros_that_the_log_lost_are_found(tmp_path: Path) -> None:
    log = write(tmp_path / "log.csv", "user,item\nu,7\nv,7\nu,8\nu,9\nu,0010\n")
    items = write(tmp_path / "items.csv", "item,title\n00007,red shoe\n00008,hat\n9,lamp\n10,cap\n")
    journal = Journal()
    read_tabular(log, items=items, journal=journal)
    assert (
        "2 items of the log are found in the list of items only with leading zeros (first: 7 in the log, 00007 in the "
        "list): did a spreadsheet take them away? Save the log with its codes as text, or add --restore-zeros"
    ) in journal.lines
    assert any("1 item of the log is found in the list of items only without" in line for line in journal.lines)
    assert [question.words for question in journal.questions] == [("--restore-zeros",)]
    restored = read_tabular(log, items=items, restore_zeros=True)
    assert restored.log["item_id"].tolist() == ["00007", "00007", "00008", "9", "0010"]
    assert restored.items["item_id"].tolist() == ["00007", "00008", "9", "0010"]
    assert "log: 2 items take the zeros that their ids have in the list (first: 7 becomes 00007)" in restored.notices
    assert "items: 1 item takes the zeros that its id has in the log (10 becomes 0010)" in restored.notices
    with pytest.raises(
        ValueError, match=r"no item of the log occurs in it. 1 item .* only with leading .* Save the log"
    ):
        read_tabular(write(tmp_path / "one.csv", "user,item\nu,7\n"), items=items)


def test_an_item_that_was_bought_under_its_own_id_keeps_it(tmp_path: Path) -> None:
    log = write(tmp_path / "log.csv", "user,item\nu,7\nu,007\nu,0012\nu,12\n")
    items = write(tmp_path / "items.csv", "item,title\n7,red shoe\n0012,hat\n")
    source = read_tabular(log, items=items, restore_zeros=True)
    assert source.items["item_id"].tolist() == ["7", "0012", "007"]
    assert source.log["item_id"].tolist() == ["7", "007", "0012", "0012"]


def test_zeros_that_fit_two_items_are_not_restored(tmp_path: Path) -> None:
    log = write(tmp_path / "log.csv", "user,item\nu,007\nu,07\nu,9\nu,0012\n")
    items = write(tmp_path / "items.csv", "item,title\n7,red shoe\n9,lamp\n12,hat\n012,cap\n")
    source = read_tabular(log, items=items, restore_zeros=True)
    assert source.items["item_id"].tolist() == ["7", "9", "12", "012", "0012", "007", "07"]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(*[st.text("0123456789abAB靴 ", min_size=1, max_size=5).filter(str.strip)] * 2), min_size=1))
def test_ids_stay_as_they_are_written(tmp_path_factory: pytest.TempPathFactory, pairs: list[tuple[str, str]]) -> None:
    path = tmp_path_factory.mktemp("ids") / "log.csv"
    pd.DataFrame(pairs, columns=["user", "item"]).to_csv(path, index=False)
    log = read_tabular(path).log
    assert list(log.itertuples(index=False, name=None)) == [(user.strip(), item.strip()) for user, item in pairs]
