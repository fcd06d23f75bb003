"""Lists of other systems, whatever their ids look like."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mmbench.data.readers.recommendations import read_recommendations
from tests.data.readers.files import write

USERS, ITEMS = np.array(["NA", "7"], object), np.array(["null", "nan", "12"], object)


@pytest.mark.parametrize("name, separator", [("a.csv", ","), ("a.tsv", "\t")])
def test_ids_that_look_like_missing_values(name: str, separator: str, tmp_path: Path) -> None:
    lines = ["user,item,score", "NA,null,0.5", "NA,nan,0.25", "7,12,1e-3"]
    path = write(tmp_path / name, "\n".join(lines).replace(",", separator))
    rows, coverage = read_recommendations(path, USERS, ITEMS)
    assert rows.tolist() == [[0, 0, 0.5], [0, 1, 0.25], [1, 2, 0.001]]
    assert coverage.words == "3 of 3 rows known, lists for 2 of 2 users"


def test_ids_are_read_as_those_of_a_log(tmp_path: Path) -> None:
    users, items = np.array(["u1", "u2"], object), np.array(["A-1", "\u30ac\u30e0", "か\u3099"], object)
    lines = ["user,item,score", "u1,Ａ－１,3", "u1,カ\u3099ム,2", "\u3000ｕ2, A-1 ,1", "u2,が,4", "u2,B,5"]
    path = write(tmp_path / "a.csv", "\n".join(lines))
    rows, coverage = read_recommendations(path, users, items)
    assert rows.tolist() == [[0, 0, 3], [0, 1, 2], [1, 0, 1], [1, 2, 4]]
    assert coverage == (4, 5, 2, 2)
    write(path, 'user,item,score\nu1,A-1,1\nu1,"A-1 ",2\n')
    with pytest.raises(ValueError, match=r"a.csv: 1 row repeats an item in the list of a user \(row 1: user u1, item"):
        read_recommendations(path, users, items)


def test_ids_that_differ_in_the_data_stay_apart(tmp_path: Path) -> None:
    items = np.array(["A", "Ａ"], object)  # a folder that somebody else wrote
    rows, _ = read_recommendations(write(tmp_path / "a.csv", "user,item,score\n7,A,2\n7,Ａ,1\n"), USERS, items)
    assert rows.tolist() == [[1, 0, 2], [1, 1, 1]]


def test_whole_numbers_as_ids_have_no_decimal_point(tmp_path: Path) -> None:
    frame = pd.DataFrame({"user": [7.0, 7.0], "item": pd.array([12, 13], "Int64"), "rank": [1, 2]})
    frame.to_parquet(tmp_path / "a.parquet")
    rows, _ = read_recommendations(tmp_path / "a.parquet", USERS, ITEMS)
    assert rows.tolist() == [[1, 2, -1]]
    as_they_are, _ = read_recommendations(tmp_path / "a.parquet", np.array(["u", "7.0"], object), ITEMS)
    assert as_they_are.tolist() == [[1, 2, -1]]


@pytest.mark.parametrize("column", ["user", "item"])
def test_a_row_without_an_id_is_refused(column: str, tmp_path: Path) -> None:
    frame = pd.DataFrame({"user": ["7", "7"], "item": ["12", "nan"], "score": [1.0, 2.0]})
    frame.loc[1, column] = None
    frame.to_parquet(tmp_path / "a.parquet")
    frame.to_csv(tmp_path / "a.csv", index=False)
    for name in ("a.parquet", "a.csv"):
        with pytest.raises(ValueError, match=rf"{name}: row 1 has no {column}$"):
            read_recommendations(tmp_path / name, USERS, ITEMS)


@pytest.mark.parametrize("cell", ["NA", "", "inf", "x"])
def test_a_score_that_is_none_is_refused(cell: str, tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", f"user,item,score\n7,12,1\n7,nan,{cell}\n")
    with pytest.raises(ValueError, match=r"a.csv: column score is no finite number in row 1"):
        read_recommendations(path, USERS, ITEMS)


def test_a_missing_score_of_a_nullable_column_is_refused(tmp_path: Path) -> None:
    frame = pd.DataFrame({"user": ["7", "7"], "item": ["12", "nan"], "rank": pd.array([1, None], "Int64")})
    frame.to_parquet(tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=r"a.parquet: column rank is no finite number in row 1"):
        read_recommendations(tmp_path / "a.parquet", USERS, ITEMS)


@pytest.mark.parametrize("header", ["user,item", "user,score", "item,rank"])
def test_a_table_without_one_of_the_columns_is_refused(header: str, tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", f"{header}\n7,12\n")
    columns = header.replace(",", ", ")
    with pytest.raises(ValueError, match=rf"a.csv needs columns user, item and score or rank; it has {columns}$"):
        read_recommendations(path, USERS, ITEMS)


@pytest.mark.parametrize("name", ["a.tsv", "a"])
def test_a_file_that_is_no_table_is_one_line(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=rf"^\S*{name} is empty; its first line must name the columns$"):
        read_recommendations(write(tmp_path / name, ""), USERS, ITEMS)


@pytest.mark.parametrize(
    "name, encoding", [("a", "utf-8"), ("a.csv", "cp932"), ("a.txt", "utf-16"), ("a.tsv.gz", "utf-8")]
)
def test_text_tables_are_read_as_those_of_a_log(name: str, encoding: str, tmp_path: Path) -> None:
    lines = ["user\titem\trank", "山田\tガラス\t1", "佐藤\tガラス\t1"]
    content = "\n".join(lines).replace("\t", "," if name == "a" else "\t").encode(encoding)
    path = write(tmp_path / name, gzip.compress(content) if name.endswith(".gz") else content)
    rows, _ = read_recommendations(path, np.array(["佐藤", "山田"], object), np.array(["ガラス"], object))
    assert rows.tolist() == [[1, 0, -1], [0, 0, -1]]


def test_a_quote_that_swallows_rows_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", 'user,item,score\n7,"12,1\n7,nan,2\nNA,"null",3\n')
    with pytest.raises(ValueError, match=r"a.csv.* line 2"):
        read_recommendations(path, USERS, ITEMS)


def test_an_item_stands_in_a_list_once(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "user,item,score\n7,12,3\nx,12,3\n7,nan,2\nx,12,1\n7,12,1\n")
    message = r"a.csv: 1 row repeats an item in the list of a user \(row 4: user 7, item 12\)"
    with pytest.raises(ValueError, match=message):
        read_recommendations(path, USERS, ITEMS)


def test_a_broken_parquet_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^\S*a.parquet is not a readable parquet file: [^\n]*$"):
        read_recommendations(write(tmp_path / "a.parquet", b"PAR1"), USERS, ITEMS)
