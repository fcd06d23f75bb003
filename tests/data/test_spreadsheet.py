"""Cells that a spreadsheet would run are text; numbers, signs and everything else stay as they are."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest

from mmbench.data.readers.recommendations import read_recommendations
from mmbench.data.spreadsheet import csv_text, quoted, unquoted

FORMULAS = [
    "=1+1",
    '=HYPERLINK("http://x","y")',
    "+cmd|' /C calc'!A0",
    "-2+3",
    "@SUM(1)",
    "\t=1",
    "\r=1",
    "'=1",
    "''@x",
    "\n=1",
    "\0=1",
    "＝1+1",
    "＋1+1",
    "－2+3",
    "＠SUM(1)",
]
PLAIN = ["", "-", "+", "=", "-1.3", "+5", "1e3", "-0.5 0.25", "A=B", "a-b", "'sloane", "''", "山田", "−1.2", "-inf"]


@pytest.mark.parametrize("text", FORMULAS)
def test_a_formula_is_quoted_and_read_back(text: str) -> None:
    assert quoted(text) == f"'{text}"
    assert unquoted(quoted(text)) == text


@pytest.mark.parametrize("text", PLAIN)
def test_other_text_stays_and_is_read_back(text: str) -> None:
    assert quoted(text) == text
    assert unquoted(text) == text


def test_only_texts_of_a_table_are_quoted() -> None:
    frame = pd.DataFrame(
        {"name": ["=1", "a,b", None], "value": [-1.3, np.nan, 2.0], "whole": [-1, 0, 1], 5: [True] * 3}
    )
    frame["mixed"] = ["-x", -2, None]
    text = csv_text(frame)
    assert text == "name,value,whole,5,mixed\n'=1,-1.3,-1,True,'-x\n\"a,b\",,0,True,-2\n,2.0,1,True,\n"
    read = pd.read_csv(io.StringIO(text))
    assert read["value"].tolist()[0] == -1.3


def test_names_of_columns_are_quoted_too() -> None:
    assert csv_text(pd.DataFrame({"=a": ["=b"], "-1": [2]})) == "'=a,-1\n'=b,2\n"


def test_exported_lists_find_their_ids_again(tmp_path: object) -> None:
    users, items = np.array(["@u", "v"], object), np.array(["=i", "-5", "'=j"], object)
    frame = pd.DataFrame({"user": ["@u", "@u", "v"], "item": ["=i", "-5", "'=j"], "rank": [1, 2, 1]})
    path = tmp_path / "lists.csv"  # type: ignore[operator]
    path.write_text(csv_text(frame))
    assert path.read_text().splitlines()[1] == "'@u,'=i,1"
    rows, _ = read_recommendations(path, users, items)
    assert rows.tolist() == [[0, 0, -1], [0, 1, -2], [1, 2, -1]]
