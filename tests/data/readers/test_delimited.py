from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmbench.data.readers import delimited
from mmbench.data.readers.delimited import Dialect, line_of, read_delimited
from tests.data.readers.files import write

TABS = Dialect("\t", quoted=False)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "id,words\n007,x y\n08,z\n"),
        ("a.csv", "id;words\n007;x y\n08;z\n"),
        ("a.csv", "id\twords\r\n007\tx y\r\n\r\n08\tz"),
        ("a.tsv", "id\twords\n007\tx y\n08\tz\n"),
        ("a.txt", 'id,"words"\n007,"x y"\n\n"08",z\n'),
        ("a.csv", b"\xef\xbb\xbfid,words\n007,x y\n08,z\n"),
    ],
)
def test_separators_line_ends_and_byte_order_marks(tmp_path: Path, name: str, content: str | bytes) -> None:
    table = read_delimited(write(tmp_path / name, content))
    assert table.names == ["id", "words"]
    assert table.frame.to_numpy().tolist() == [["007", "x y"], ["08", "z"]]


def test_quotes(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", 'id,words\n1,"a, ""b""\nc"\n2,d\n')
    table = read_delimited(path)
    assert table.frame["words"].tolist() == ['a, "b"\nc', "d"]
    assert table.where(0) == f"{path}, line 2"
    assert table.where(1) == f"{path}, line 4"
    raw = read_delimited(write(tmp_path / "a.inter", 'id\twords\n1\t"a\n2\tb"\n'), TABS)
    assert raw.frame["words"].tolist() == ['"a', 'b"']


def test_a_byte_order_mark_outranks_the_encoding_asked_for(tmp_path: Path) -> None:
    for encoding in ("utf-16", "utf-8-sig"):
        path = write(tmp_path / "a.csv", "商品,名称\n01,赤い靴\n".encode(encoding))
        for asked in ("utf-8", "cp932"):
            assert read_delimited(path, encoding=asked).frame.to_numpy().tolist() == [["01", "赤い靴"]]


@pytest.mark.parametrize("encoding", ["cp932", "utf-16-le", "euc_jp"])
def test_other_encodings(tmp_path: Path, encoding: str) -> None:
    path = write(tmp_path / "a.csv", "商品,名称\n01,赤い靴\n".encode(encoding))
    assert read_delimited(path, encoding=encoding).frame.to_numpy().tolist() == [["01", "赤い靴"]]
    with pytest.raises(ValueError, match=r"a.csv is not utf-8 text .*save it as UTF-8 or name its encoding"):
        read_delimited(path)


def test_a_bad_byte_far_from_the_header(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", b"a,b\n" + b"1,2\n" * 100_000 + b"\x83,1\n")
    with pytest.raises(ValueError, match=r"a.csv is not utf-8 text"):
        read_delimited(path)


def test_an_unknown_encoding(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a.csv is not klingon text \(unknown encoding: klingon\)"):
        read_delimited(write(tmp_path / "a.csv", "a,b\n1,2\n"), encoding="klingon")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty; its first line must name the columns"),
        ("\n\n", "is empty"),
        ("a,b\n", "has a header but no rows"),
        ("a,b,a\n1,2,3\n", "column 'a' occurs more than once in the header"),
        ("a,b\n1,2\n\n3\n", "line 4: 1 cells where the header has 2: '3'"),
        ("a,b\n1,2\n3,4,5\n6,7\n", "line 3: 3 cells where the header has 2: '3,4,5'"),
        ('a,b\n1,"x\ny"\n3\n', "line 4: 1 cells"),
        ('a,b\n1,2\n3,"x\n4,5\n', "line 3: a quote is opened and never closed"),
        ("a,b\n1,2\n" + "9" * 80 + "\n", "line 3: 1 cells .*'9{60}...'"),
    ],
)
def test_faults_are_told_with_their_line(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(ValueError, match=rf"a.csv.*{message}"):
        read_delimited(write(tmp_path / "a.csv", content))


def rows_of(path: Path, separator: str, titles: dict[int, str], suffix: str = "") -> Path:
    """Ten rows with a year each, and titles as they are told."""
    cells = [["id", "title", "year"], *([str(n), titles.get(n, f"Title {n}"), str(2000 + n)] for n in range(1, 11))]
    return write(path, "".join(separator.join(row) + "\n" for row in cells) + suffix)


STRAY = [
    {4: '"Unclosed title', 7: '"Another unclosed'},
    {4: '"Unclosed title', 7: '"A whole one"'},
    {4: '"Unclosed title', 7: 'A screen of 5" or so'},
    {4: '"Unclosed title', 7: 'A screen of 5"', 8: 'A screen of 7"'},
    {1: '"Weird Al" Yankovic', 4: '"Unclosed title', 7: '"Another unclosed'},
    {10: '"Unclosed title'},
]


@pytest.mark.parametrize("titles", [*STRAY, {n: f'"Title {n}" of {n}' for n in range(1, 11)}, {3: 'A "word" or two'}])
@pytest.mark.parametrize("name", ["a.tsv", "a.csv", "a.txt"])
def test_quotes_are_letters_of_a_table_with_tabs_that_does_not_quote(
    name: str, titles: dict[int, str], tmp_path: Path
) -> None:
    frame = read_delimited(rows_of(tmp_path / name, "\t", titles)).frame
    assert frame["id"].tolist() == [str(n) for n in range(1, 11)]
    assert frame["title"].tolist() == [titles.get(n, f"Title {n}") for n in range(1, 11)]
    assert frame["year"].tolist() == [str(2000 + n) for n in range(1, 11)]


@pytest.mark.parametrize("titles", STRAY[:3])
@pytest.mark.parametrize("separator", [",", ";"])
def test_a_stray_quote_is_refused_where_cells_may_be_quoted(
    separator: str, titles: dict[int, str], tmp_path: Path
) -> None:
    message = (
        r"a.csv, line 5: a quote is opened and ends within a cell of line 8, as if the lines between were one cell"
    )
    with pytest.raises(ValueError, match=message):
        read_delimited(rows_of(tmp_path / "a.csv", separator, titles))
    quoted = {n: f'"Title, {n}; or ""so"""' for n in (1, 2, 3, 8, 9, 10)}
    with pytest.raises(ValueError, match=message):  # also of a column that is not kept
        read_delimited(rows_of(tmp_path / "a.csv", separator, quoted | titles), columns=["id"])
    with pytest.raises(ValueError, match=message):  # and where quotes enclose most cells of a table with tabs
        read_delimited(rows_of(tmp_path / "a.csv", "\t", quoted | titles))


def test_a_stray_quote_far_below_has_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks end anywhere: within a cell, between the signs of a line end, before and behind a quote."""
    lines = [
        "report",
        "id,title,year",
        *(f'{n},"a ""b"", \n{n}",{n}' for n in range(50)),
        '50,"x,1',
        "",
        '51,"y,2',
        "52,z,3",
    ]
    path = write(tmp_path / "a.csv", "\r\n".join(line.replace("\n", "\r\n") for line in lines))
    for size in (1, 2, 3, 7, 64, 1 << 20):
        monkeypatch.setattr(delimited, "_BLOCK_CHARACTERS", size)
        with pytest.raises(ValueError, match=r"a.csv, line 103: a quote is opened and ends within a cell of line 105"):
            read_delimited(path)


CELLS = st.lists(st.sampled_from([*'ab ,;\t\n"', "\r\n", '""']), max_size=6).map("".join)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    rows=st.lists(st.tuples(*[CELLS] * 3), min_size=1, max_size=6),
    separator=st.sampled_from(",;\t"),
    line_end=st.sampled_from(["\n", "\r\n"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    block=st.integers(1, 40),
)
def test_a_proper_table_is_never_refused(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[str, str, str]],
    separator: str,
    line_end: str,
    quoting: Literal[0, 1],
    block: int,
) -> None:
    """What a program writes that keeps to RFC 4180 is read as it was, whatever its cells hold."""
    text = io.StringIO()
    writer = csv.writer(text, delimiter=separator, lineterminator=line_end, quoting=quoting)
    writer.writerows([("user", "item", "title"), *rows])
    path = write(tmp_path_factory.mktemp("csv") / "a.tsv", text.getvalue())
    dialect = None if separator == "\t" else Dialect(separator)  # only with tabs quotes may be letters
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(delimited, "_BLOCK_CHARACTERS", block)
        assert read_delimited(path, dialect).frame.to_numpy().tolist() == [list(row) for row in rows]


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"none.csv is missing"):
        read_delimited(tmp_path / "none.csv")


def test_a_cell_too_long_for_the_header(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a.csv cannot be read: field larger than field limit"):
        read_delimited(write(tmp_path / "a.csv", "a" * 200_000 + ",b\n1,2\n"))


def test_a_line_that_cannot_be_counted_is_a_row(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", f"a,b\n{'x' * 200_000},1\n2\n")
    assert line_of(path, 2, Dialect()) is None
    with pytest.raises(ValueError, match="row 3: 1 cells where the header has 2"):
        read_delimited(path)
    assert line_of(path, 9, TABS) is None


def test_numbers(tmp_path: Path) -> None:
    table = read_delimited(write(tmp_path / "a.csv", "n,t\n 5 ,x\n,x\nNULL,x\n-1e-3,x\n0.1,x\n"))
    np.testing.assert_array_equal(table.numbers("n"), [5, np.nan, np.nan, -0.001, 0.1])
    with pytest.raises(ValueError, match=r"line 2: t is 'x'; it must be a number \(5 such rows\)"):
        table.numbers("t")


def test_rows_keep_their_line_when_others_are_dropped(tmp_path: Path) -> None:
    table = read_delimited(write(tmp_path / "a.csv", "n\n1\n2\nx\n"))
    with pytest.raises(ValueError, match=r"line 4: n is 'x'; it must be a number$"):
        table.with_frame(table.frame[1:]).numbers("n")


def test_a_column_that_is_not_there(tmp_path: Path) -> None:
    table = read_delimited(write(tmp_path / "a.csv", "n,m\n1,2\n"))
    with pytest.raises(ValueError, match=r"column 'k' \(--user\) is not there; columns are n, m"):
        table.check_column("k", "--user")
