"""Tables in every kind of file, and the files of a shop."""

from __future__ import annotations

import datetime
import gzip
import re
import sys
import zipfile
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmbench.data.readers.columns import Columns, mapped
from mmbench.data.readers.delimited import detected_encoding
from mmbench.data.readers.journal import Journal
from mmbench.data.readers.own_tables import read_histories, read_tabular
from mmbench.data.readers.table_files import TableFile, cell_text, sheets_of
from tests.data.readers.files import write
from tests.parts import require_modules

ORDERS = """受注番号,顧客コード,JANコード,数量,受注日
0001,C-01,０４９０１２３４５６７８９４,１,2024/1/5
0001,C-01,4901234567900,2,2024/1/5
0002,C-02,0490123456789,-1,２０２４／１／６
0003,C-02,04901234567894,3,2024年1月7日
"""


def workbook(path: Path, sheets: dict[str, list[list[Any]]], formats: dict[str, str] | None = None) -> Path:
    require_modules("openpyxl")
    import openpyxl

    book = openpyxl.Workbook()
    book.remove(book.active)
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(row)
        for cell, number_format in (formats or {}).items():
            sheet[cell].number_format = number_format
    book.save(path)
    return path


def test_order_lines_of_a_shop(tmp_path: Path) -> None:
    journal = Journal()
    path = write(tmp_path / "orders.csv", ORDERS.encode("cp932"))
    source = read_tabular(path, encoding="auto", journal=journal)
    assert source.log.to_dict("list") == {
        "user_id": ["C-01", "C-01", "C-02"],
        "item_id": ["04901234567894", "4901234567900", "04901234567894"],
        "timestamp": [1704412800, 1704412800, 1704585600],
        "order_id": ["0001", "0001", "0003"],
        "quantity": [1.0, 2.0, 3.0],
    }
    assert journal.lines == [
        "orders.csv is read as cp932",
        "columns of the log: user=顧客コード, item=JANコード, timestamp=受注日, order=受注番号, quantity=数量",
        "JANコード: 1 id in full-width characters is read as the plain one (０４９０１２３４５６７８９４)",
        f"log: 1 row with a 数量 of zero or less (a return) is left out ({path}, line 4); with --cancel-returns the "
        "purchase that it gives back is left out too",
    ]


def test_the_same_order_lines_as_a_workbook(tmp_path: Path) -> None:
    day = datetime.datetime(2024, 1, 5)
    rows = [
        [],
        ["受注番号", "顧客コード", "JANコード", "数量", "受注日", None],
        ["0001", "C-01", 4901234567894, 1, day],
    ]
    rows += [[], ["0001", "C-01", 12, 2, day], ["0003", "C-02", "0012", 3, "2024/1/7"]]
    path = workbook(tmp_path / "orders.xlsx", {"説明": [["x"]], "受注": rows}, {"C5": "0000"})
    source = read_tabular(path, sheet="受注")
    assert source.log["item_id"].tolist() == ["4901234567894", "0012", "0012"]
    assert source.log["timestamp"].tolist() == [1704412800, 1704412800, 1704585600]
    with pytest.raises(ValueError, match=r"has no sheet 'x'; sheets are 説明, 受注"):
        read_tabular(path, sheet="x")
    with pytest.raises(ValueError, match=r"no column looks like the user"):
        read_tabular(path)


@pytest.mark.parametrize(
    ("number_format", "value", "shown"),
    [
        ("0000", 12, "0012"),
        ("0000_ ", 12, "0012"),
        ("0000;-0000", 12, "0012"),
        ("0000;-0000", -12, "-0012"),
        ("0000_);(0000)", 12, "0012"),
        ("0000_);[Red]\\(0000\\)", 12, "0012"),
        ("[$-411]0000;@", 12.0, "0012"),
        ("0000\\ ", 123456, "123456"),
        ("000\\-0000", 123456, "012-3456"),
        ("000-0000", 12345678, "1234-5678"),
        ('"SKU"0000', 12, "SKU0012"),
        ('00"個"', 3, "03個"),
        ("0000年", 2024, "2024年"),
        ('"00"0', 12, "12"),  # one digit is not padded
        ("0", 12, "12"),
        ("General", 12, "12"),
        ("#,##0", 1234, "1234"),
        ("00.00", 12, "12"),
        ("00%", 1, "1"),
        ("00E+00", 12, "12"),
        ("0000", 12.5, "12.5"),
        ('00"', 12, "12"),
    ],
)
def test_a_number_is_read_as_its_format_pads_it(number_format: str, value: float, shown: str, tmp_path: Path) -> None:
    rows = [["user", "item", "note"], ["u", value, "x"]]
    path = workbook(tmp_path / "a.xlsx", {"a": rows}, {"B2": number_format})
    assert read_tabular(path).log["item_id"].tolist() == [shown]


def test_a_chart_is_no_sheet_of_a_table(tmp_path: Path) -> None:
    path = workbook(tmp_path / "orders.xlsx", {"受注": [["user", "item"], ["u", "i"]]})
    import openpyxl
    from openpyxl.chart import BarChart, Reference

    book = openpyxl.load_workbook(path)
    chart = BarChart()
    chart.add_data(Reference(book["受注"], min_col=1, min_row=1, max_row=2))
    book.create_chartsheet("グラフ1", 0).add_chart(chart)
    book.save(path)
    assert sheets_of(path) == ["受注"]
    assert read_tabular(path).log["item_id"].tolist() == ["i"]
    with pytest.raises(ValueError, match=r"orders.xlsx has no sheet 'グラフ1'; sheets are 受注$"):
        read_tabular(path, sheet="グラフ1")
    book.remove(book["受注"])
    book.save(path)
    assert sheets_of(path) == []
    for sheet in (None, "グラフ1"):
        with pytest.raises(ValueError, match=r"orders.xlsx has no sheet with cells$"):
            read_tabular(path, sheet=sheet)


def test_faults_of_a_workbook_have_their_line(tmp_path: Path) -> None:
    rows = [["user", "item", "rating"], ["u", "i", 1.5], [], ["u", "j", "good"]]
    path = workbook(tmp_path / "a.xlsx", {"a": rows})
    with pytest.raises(ValueError, match=r"a.xlsx, line 4: rating is 'good'; it must be a number"):
        read_tabular(path)
    with pytest.raises(ValueError, match=r"a.xlsx is not a readable workbook"):
        read_tabular(write(path, "user,item\n"))
    with pytest.raises(ValueError, match=r"a.xlsx is empty"):
        read_tabular(workbook(path, {"a": []}))
    with pytest.raises(ValueError, match=r"a.xlsx has a header but no rows"):
        read_tabular(workbook(path, {"a": rows[:1]}))
    with pytest.raises(ValueError, match=r"column 'a' occurs more than once"):
        read_tabular(workbook(path, {"a": [["a", "a"], [1, 2]]}))
    # Codes of more digits than a spreadsheet keeps; as text they are what they are.
    for code in (49012345678901234567.0, 1234567890123450, 1234567890123456.0):
        with pytest.raises(
            ValueError, match=r"line 2: item is '\d\.\d{14}E\+\d\d'; a spreadsheet has rounded this code"
        ):
            read_tabular(workbook(path, {"a": [["user", "item"], ["u", code]]}))
    codes = [999999999999999, "1234567890123456"]
    source = read_tabular(workbook(path, {"a": [["user", "item"], *(["u", code] for code in codes)]}))
    assert source.log["item_id"].tolist() == list(map(str, codes))


def test_formulas_without_values_are_named_with_their_column(tmp_path: Path) -> None:
    rows = [["customer_id", "product_id", "price"], ["=C2", "=C2", 5], ["=C3", "=C3", 6]]
    hint = (
        "; if there are formulas, open the workbook in a spreadsheet program and save it, so that it holds their values"
    )
    with pytest.raises(ValueError, match=rf"a.xlsx: every row lacks customer_id\+product_id{hint}$"):
        read_tabular(workbook(tmp_path / "a.xlsx", {"a": rows}))
    rows[1][1] = "p1"
    with pytest.raises(ValueError, match=rf"a.xlsx: every row lacks customer_id{hint}$"):
        read_tabular(workbook(tmp_path / "a.xlsx", {"a": rows}))
    with pytest.raises(ValueError, match=r"a.csv: every row lacks product_id$"):
        read_tabular(write(tmp_path / "a.csv", "customer_id,product_id\nu,\n,\n"))


def test_a_row_that_no_sheet_has_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mmbench.data.readers.table_files._MOST_SHEET_ROWS", 3)
    path = workbook(tmp_path / "a.xlsx", {"a": [["user", "item"], ["u", "i"], ["u", "j"]]})
    assert len(read_tabular(path).log) == 2
    with zipfile.ZipFile(path) as made:
        parts = {name: made.read(name) for name in made.namelist()}
    with zipfile.ZipFile(path, "w") as changed:
        for name, content in parts.items():
            changed.writestr(name, content.replace(b'r="3"', b'r="3000000000"'))
    with pytest.raises(ValueError, match=r"^\S*a.xlsx: a sheet has at most 3 rows, and this one has more$"):
        read_tabular(path)


@pytest.mark.parametrize(("damage", "reason"), [("sum", "Bad CRC-32 for file"), ("text", "list index out of range")])
def test_a_damaged_sheet_is_refused(tmp_path: Path, damage: str, reason: str) -> None:
    """A workbook opens with the first rows of its sheets; the faults of others show while they are read."""
    path = workbook(tmp_path / "a.xlsx", {"a": [["user", "item"], *([f"u{n}", f"i{n}"] for n in range(1000))]})
    with zipfile.ZipFile(path) as book:
        parts = {name: book.read(name) for name in book.namelist()}
    (sheet,) = (name for name in parts if "worksheets" in name)
    if damage == "text":  # the number of a text that the workbook lacks
        parts[sheet] = parts[sheet].replace(b't="inlineStr"><is><t>i999</t></is>', b't="s"><v>99</v>')
    with zipfile.ZipFile(path, "w") as book:
        for name, content in parts.items():
            book.writestr(name, content)
        book.getinfo(sheet).CRC ^= damage == "sum"
    with pytest.raises(ValueError, match=rf"a\.xlsx is not a readable workbook: {reason}") as caught:
        read_tabular(path)
    assert "\n" not in str(caught.value)


def test_a_fault_without_words_is_told_by_its_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*given: object, **named: object) -> None:
        raise EOFError

    path = workbook(tmp_path / "a.xlsx", {"a": [["user", "item"], ["u", "i"]]})
    pd.DataFrame({"user": ["u"], "item": ["i"]}).to_parquet(tmp_path / "a.parquet")
    monkeypatch.setattr("openpyxl.load_workbook", fail)
    monkeypatch.setattr(pq, "ParquetFile", fail)
    with pytest.raises(ValueError, match=r"a\.xlsx is not a readable workbook: EOFError$"):
        read_tabular(path)
    with pytest.raises(ValueError, match=r"a\.parquet is not a readable parquet file: EOFError$"):
        read_tabular(tmp_path / "a.parquet")


def test_rows_of_blanks_in_a_workbook_are_empty(tmp_path: Path) -> None:
    rows = [[" ", "  "], ["user", "item", " "], [" ", " "], ["u", "i"]]
    source = read_tabular(workbook(tmp_path / "a.xlsx", {"a": rows}))
    assert source.log.to_dict("list") == {"user_id": ["u"], "item_id": ["i"]}
    with pytest.raises(ValueError, match=r"a.xlsx is empty; its first line must name the columns"):
        read_tabular(workbook(tmp_path / "a.xlsx", {"a": rows[:1]}))


def test_a_workbook_without_openpyxl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(ValueError, match=r"workbooks need openpyxl; pip install 'mmbench\[excel\]', or save"):
        read_tabular(write(tmp_path / "a.xlsx", ""))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp932", "utf-16"])
def test_encodings_are_found_out(tmp_path: Path, encoding: str) -> None:
    path = write(tmp_path / "a.csv", "顧客コード,商品コード,商品名\n1,2,カフェ・オレ①\n".encode(encoding))
    assert read_tabular(path, encoding="auto").log.to_dict("list") == {"user_id": ["1"], "item_id": ["2"]}
    packed = write(tmp_path / "a.csv.gz", gzip.compress(path.read_bytes()))
    assert detected_encoding(packed) == detected_encoding(path)
    assert len(read_tabular(packed, encoding="auto").log) == 1


@pytest.mark.parametrize("text", ["détente,été", "don’t,“naïve”", "Straße,Fuß", "ÀÉÎ,ÖÜ", "5 €,£3 ½", "l’été — «ça»"])
def test_western_bytes_are_not_taken_for_japanese(tmp_path: Path, text: str) -> None:
    path = write(tmp_path / "a.csv", f"user,item\n{text}\n".encode("cp1252"))
    assert detected_encoding(path) == "utf-8"


@pytest.mark.parametrize("day", ["2024/1/5", "令和6年1月5日", "2024年1月5日"])
def test_kanji_without_kana_are_found_out(day: str, tmp_path: Path) -> None:
    content = "注文番号,顧客番号,品番,数量,注文日\n" + f"1,10,007,1個,{day}\n1,11,007,2,{day}\n" * 99
    log = read_tabular(write(tmp_path / "a.csv", content.encode("cp932")), encoding="auto").log
    assert set(log["item_id"]) == {"007"}
    assert set(log["order_id"]) == {"1"}


def test_the_encoding_of_each_file_is_its_own(tmp_path: Path) -> None:
    log = write(tmp_path / "受注.csv", "顧客番号,品番\n山田,007\n".encode("cp932"))
    marked = write(tmp_path / "商品.csv", "品番,商品名\n007,赤い靴\n".encode("utf-8-sig"))
    for encoding in ("auto", "cp932"):  # a byte order mark outranks what is asked for
        journal = Journal()
        source = read_tabular(log, items=marked, encoding=encoding, journal=journal)
        assert source.log["user_id"].tolist() == ["山田"]
        assert source.items["商品名"].tolist() == ["赤い靴"]
        assert journal.lines[0] == "受注.csv is read as cp932"
        assert not any(line.startswith("商品.csv") for line in journal.lines)
    plain = write(tmp_path / "items.csv", "品番,商品名\n007,赤い靴\n")
    source = read_tabular(log, items=plain, encoding="cp932", items_encoding="utf-8")
    assert source.items["商品名"].tolist() == ["赤い靴"]
    with pytest.raises(ValueError, match=r"受注.csv is not utf-8 text .*--encoding or, for the table of items, "):
        read_tabular(log)


TITLES = ["受注一覧\n2024年度\n\n", "受注一覧,,,,\n", "受注一覧,,,出力日,2024/4/1\n", '"題名\n二行目"\n']


@pytest.mark.parametrize("title", TITLES)
def test_a_title_above_the_header(tmp_path: Path, title: str) -> None:
    table = "注文番号,顧客番号,品番,数量,注文日\n1,10,007,1,2024/1/5\n\n2,11,08,one,2024/1/6\n"
    path = write(tmp_path / "a.csv", title + table)
    journal = Journal()
    log = read_tabular(path, Columns(quantity="none"), encoding="auto", journal=journal).log
    assert log["item_id"].tolist() == ["007", "08"]
    (told,) = (line for line in journal.lines if "title" in line)
    assert told.startswith("a.csv: ")
    assert title.strip('"')[:2] in told
    line = title.count("\n") + 4
    with pytest.raises(ValueError, match=rf"a.csv, line {line}: 数量 is 'one'; it must be a number"):
        read_tabular(path, encoding="auto")
    ragged = write(tmp_path / "b.csv", title + table.replace("08,one", "08"))
    with pytest.raises(ValueError, match=rf"b.csv, line {line}: 4 cells where the header has 5"):
        read_tabular(ragged, encoding="auto")


def test_a_title_above_columns_without_usual_names(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "all sales\nwho,what,how\nu,i,x\n")
    assert read_tabular(path, Columns(user="who", item="what")).log["user_id"].tolist() == ["u"]
    one = write(tmp_path / "b.csv", "user\nu\n")
    assert TableFile(one).header().names == ["user"]
    numbers = write(tmp_path / "c.csv", "total\n1,2\n")
    with pytest.raises(ValueError, match=r"c.csv, line 2: 2 cells where the header has 1"):
        TableFile(numbers).read(["total"])


def test_a_title_in_a_workbook(tmp_path: Path) -> None:
    rows = [["受注一覧"], [], ["顧客番号", "品番", "備考"], ["10", "007", "x"], ["11", "08", None]]
    path = workbook(tmp_path / "a.xlsx", {"受注": rows, "商品": [["品番", "商品名"], ["007", "靴"], ["08", "帽子"]]})
    journal = Journal()
    source = read_tabular(path, items=path, items_sheet="商品", journal=journal)
    assert source.log["item_id"].tolist() == ["007", "08"]
    assert source.items["商品名"].tolist() == ["靴", "帽子"]
    assert journal.lines[0] == "a.xlsx: 1 row above the names of the columns is a title and left out (受注一覧)"
    assert sheets_of(path) == ["受注", "商品"]
    assert sheets_of(tmp_path / "a.csv") == []


def test_sheets_that_are_not_read_are_named(tmp_path: Path) -> None:
    sheets: dict[str, list[list[Any]]] = {month: [["user", "item"], ["u", "007"]] for month in ("1月", "2月", "3月")}
    sheets |= {"Sheet4": [], "商品": [["品番", "商品名"], ["007", "靴"]]}
    path = workbook(tmp_path / "a.xlsx", sheets)
    told = "a.xlsx: sheets that are not read: 2月, 3月{}; without {} the first one is"
    assert told.format(", 商品", "--sheet") in read_tabular(path).notices
    assert not [line for line in read_tabular(path, sheet="2月").notices if "not read" in line]
    notices = read_tabular(path, items=path, items_sheet="商品").notices
    assert [line for line in notices if "not read" in line] == [told.format("", "--sheet")]
    items = workbook(tmp_path / "b.xlsx", {"商品": sheets["商品"], "メモ": [["x"]], "空": [[" "]]})
    notices = read_tabular(path, items=items, sheet="1月").notices
    assert "b.xlsx: sheets that are not read: メモ; without --items-sheet the first one is" in notices
    journal = Journal()
    read_histories(path, journal)
    assert journal.lines == ["a.xlsx: sheets that are not read: 2月, 3月, 商品"]


def test_a_damaged_sheet_beside_the_one_that_is_read_is_no_fault(tmp_path: Path) -> None:
    path = workbook(tmp_path / "a.xlsx", {"受注": [["user", "item"], ["u", "i"]], "控え": [["x"]]})
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content[:200] if name.endswith("sheet2.xml") else content)
    assert "a.xlsx: sheets that are not read: 控え; without --sheet the first one is" in read_tabular(path).notices


def test_an_encoding_is_found_where_the_sample_cuts_a_character(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "user,item\n" + "ア" * (1 << 19))
    assert detected_encoding(path) == "utf-8"


def test_json_lines_as_a_table(tmp_path: Path) -> None:
    rows = '{"user": 7, "item": "007", "rating": 5.0}\n\n{"user": 8.0, "item": 12345678901234567890, "time": null}\n'
    rows += '{"user": null, "item": "x"}\n{"user": NaN, "item": "x"}\n{"user": "\\ud800a", "item": "y"}\n'
    path = write(tmp_path / "log.jsonl", rows)
    source = read_tabular(path, Columns(timestamp="none"))
    assert source.log["user_id"].tolist() == ["7", "8", "?a"]
    assert source.log["item_id"].tolist() == ["007", "12345678901234567890", "y"]
    assert source.notices[1] == f"log: 2 rows without user+item are left out (first: {path}, line 4)"
    items = write(tmp_path / "items.jsonl", '{"id": "007", "title": "a", "description": ["b", "c"]}\n')
    listed = read_tabular(path, Columns(timestamp="none"), items=items)
    assert listed.items["description"].tolist() == ["b c", "", ""]
    assert (listed.texts, listed.features) == (("title", "description"), {})


def test_columns_of_json_lines_are_the_keys_of_all_lines(tmp_path: Path) -> None:
    purchases, listed = '{"user": "u", "item": "a"}\n' * 10_001, '{"item": "a"}\n' * 1_001
    log = write(tmp_path / "log.jsonl", purchases + '{"item": "a", "user": "v", "memo": 1}\n')
    items = write(tmp_path / "items.jsonl", listed + '{"item": "a", "title": "shoe"}\n')
    header = TableFile(log).header(2)
    assert (header.names, len(header.frame)) == (["user", "item", "memo"], 2)
    source = read_tabular(log, items=items)
    assert "columns of the log that are not used: memo" in source.notices
    assert source.items["title"].tolist() == ["shoe"]


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, ""), ("a", "a"), (5.0, "5"), (5.5, "5.5"), (1e300, "1e+300"), (float("nan"), ""), (True, "True"),
     ([1, None, ["a"]], "1 a"), ({"a": 1}, "{'a': 1}")],
)  # fmt: skip
def test_cells_of_json(value: Any, text: str) -> None:
    assert cell_text(value) == text


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
@pytest.mark.parametrize(("value", "said"), [({"id": "x"}, "{'id': 'x'}"), ([7, 8], "[7")])
def test_lists_and_objects_are_no_ids(value: Any, said: str, kind: str, tmp_path: Path) -> None:
    def table(name: str, **columns: list[Any]) -> Path:
        path, frame = tmp_path / f"{name}.{kind}", pd.DataFrame(columns)
        frame.to_parquet(path) if kind == "parquet" else frame.to_json(path, orient="records", lines=True)
        return path

    place = "row 2" if kind == "parquet" else "line 2"
    rule = r".*; an id is a text or a number, no list and no object; write the id alone into the column"
    log = table("log", user=["u", "v"], item=["a", "b"])
    for column in ("user", "item"):
        wrong = table("wrong", **{"user": ["u", "v"], "item": ["a", "b"], column: [None, value]})
        with pytest.raises(ValueError, match=rf"wrong.{kind}, {place}: {column} is .{re.escape(said)}{rule}"):
            read_tabular(wrong)
    items = table("items", item=[None, value], title=["x", "y"])
    with pytest.raises(ValueError, match=rf"items.{kind}, {place}: item is .{re.escape(said)}{rule}"):
        read_tabular(log, items=items)


def test_unneeded_columns_are_not_read_and_still_checked(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "user,comment,item\nu,x,i\nv,y\n")
    assert TableFile(path).header().names == ["user", "comment", "item"]
    with pytest.raises(ValueError, match="line 3: 2 cells where the header has 3"):
        read_tabular(path)
    frame = pd.DataFrame({"user": ["u"], "item": ["i"], "comment": ["x"]})
    frame.to_parquet(tmp_path / "a.parquet")
    assert list(TableFile(tmp_path / "a.parquet").read(["item"]).frame) == ["item"]


def test_bytes_of_parquet_that_are_no_text_have_their_column(tmp_path: Path) -> None:
    path, binary = tmp_path / "a.parquet", pa.array(["ア".encode("cp932"), b"x"], pa.binary())
    as_text = pa.Array.from_buffers(pa.string(), 2, binary.buffers())
    for column in (binary, as_text):
        pq.write_table(pa.table({"user": ["u", "v"], "item": column}), path)
        message = r"a.parquet: column 'item' holds bytes that are not UTF-8; write its texts as UTF-8"
        with pytest.raises(ValueError, match=message):
            TableFile(path).header(2)
        with pytest.raises(ValueError, match=message):
            TableFile(path).read(["user", "item"])


@pytest.mark.parametrize("unit", ["s", "ns"])
@pytest.mark.parametrize("zone", [None, "Asia/Tokyo"])
def test_moments_near_1970_are_moments(unit: str, zone: str | None, tmp_path: Path) -> None:
    seconds = [-90_000_000, -1, 0, 86_400, 45_000, 90_000_000, 1_704_412_800]
    moments = pd.Series(pd.to_datetime(seconds, unit="s", utc=True).tz_convert(zone)).dt.as_unit(unit)
    path = tmp_path / "log.parquet"
    pd.DataFrame({"user": "u", "item": list("abcdefg"), "time": moments}).to_parquet(path)
    assert read_tabular(path).log["timestamp"].tolist() == seconds
    early = pd.DataFrame({"user": "u", "item": list("ab"), "time": moments[2:4]})  # the numbers of days, too
    early.to_parquet(path)
    assert read_tabular(path).log["timestamp"].tolist() == [0, 86_400]
    pd.DataFrame({"user": "u", "item": list("ab"), "time": [moments[3], None]}).to_parquet(path)
    with pytest.raises(ValueError, match=r"log.parquet, row 2: time is ''; every row needs a time"):
        read_tabular(path)


@pytest.mark.parametrize(
    "other", ["2024-01-05 12:30:00", "2024-01-05T12:30:00", "2024-01-05T12:30:00.5Z", "令和6年1月5日"]
)
def test_moments_of_one_form_are_read_as_those_of_others(other: str, tmp_path: Path) -> None:
    rows = ["user,item,time", "u,a,2024-01-05T12:30:00", "u,b,1969-12-31 23:59:59", f"u,c,{other}"]
    noon = 1704412800 + (0 if "令和" in other else 45_000)
    path = write(tmp_path / "log.csv", "\n".join(rows))
    assert read_tabular(path).log["timestamp"].tolist() == [1704457800, -1, noon]
    bad = write(tmp_path / "bad.csv", "\n".join([*rows, "u,d,2024-02-30T00:00:00"]))
    with pytest.raises(ValueError, match=r"bad.csv, line 5: time is '2024-02-30T00:00:00'; write times as seconds"):
        read_tabular(bad)


def test_a_column_may_be_called_line(tmp_path: Path) -> None:
    rows = [["user", "item", "line"], ["u", "i", "x"]]
    json_lines = write(tmp_path / "a.jsonl", '{"user": "u", "item": "i", "line": "x"}\n')
    for path in (workbook(tmp_path / "a.xlsx", {"a": rows}), json_lines):
        table = TableFile(path).read(rows[0])
        assert table.frame.to_numpy().tolist() == rows[1:]
        assert table.where(0) == f"{path}, line {2 if path.suffix == '.xlsx' else 1}"


def test_images_of_the_items_are_kept(tmp_path: Path) -> None:
    log = write(tmp_path / "log.csv", "user,item\nu,a\nu,b\n")
    items = write(tmp_path / "items.csv", "item,title,画像URL\na,x,http://a\nb,y,NULL\n")
    source = read_tabular(log, items=items)
    assert source.items["image_url"].tolist() == ["http://a", ""]


def test_a_mapping_of_roles() -> None:
    assert mapped("user=顧客, item = JAN,コード ,rating=none") == Columns(user="顧客", item="JAN,コード", rating="none")
    for wrong in ("who=x", "user", "user=", "user=a,user=b", ""):
        with pytest.raises(ValueError, match="write role=column,role=column with the roles user, item, rating"):
            mapped(wrong)
