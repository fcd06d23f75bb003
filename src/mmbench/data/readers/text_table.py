"""A table of others as text: cells as they are written, and where in its file each row stands."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmbench.messages import Message, Refusal

#: What stands for a missing cell in exports of databases, of pandas and of spreadsheets.
MISSING_WORDS = (
    "", "NULL", "null", "None", "NaN", "nan", "\\N",
    "#N/A", "#REF!", "#VALUE!", "#NAME?", "#DIV/0!", "#NUM!", "#NULL!",
)  # fmt: skip
#: What JSON and Parquet call lists and objects.
NESTED = (dict, list, np.ndarray)
_CHUNK_ROWS = 1 << 18
_SHOWN_NAMES = 30


@dataclass(frozen=True)
class Table:
    """Cells as text and where they came from.

    Args:
        path: file.
        frame: one column of text per column of the file, indexed by record; an empty cell is the empty text.
        line_of: line of the row with an index, or None where nobody knows; a file without lines has none.
        above: what stands above the names of the columns, a text per row.
        decimal_comma: whether a comma stands before decimals, as where semicolons stand between cells.
    """

    path: Path
    frame: pd.DataFrame
    line_of: Callable[[int], int | None] | None = None
    above: tuple[str, ...] = ()
    decimal_comma: bool = False

    def where(self, row: int) -> Message:
        """The place in its file of the row at position ``row``, as a person looks for it."""
        place = int(self.frame.index[row])
        line = self.line_of(place) if self.line_of else None
        return place_of(self.path, line, place + 1)

    def with_frame(self, frame: pd.DataFrame) -> Table:
        """The same file with other columns or fewer rows."""
        return dataclasses.replace(self, frame=frame)

    def check_column(self, column: str, option: str) -> None:
        """Refuse a column that is not there.

        Raises:
            ValueError: naming the columns that are.
        """
        if column not in self.frame:
            raise Refusal(
                "{path}: column {column} ({option}) is not there; columns are {columns}",
                path=self.path,
                column=repr(column),
                option=option,
                columns=self.names_in_short,
            )

    def check_columns(self, columns: Iterable[str]) -> None:
        """Refuse a table of a known format that lacks some of its columns.

        Raises:
            ValueError: naming those that are missing and those that are there.
        """
        missing = [column for column in columns if column not in self.frame]
        if missing:
            raise Refusal(
                "{path}: columns {missing} are missing; columns are {columns}",
                path=self.path,
                missing=", ".join(missing),
                columns=self.names_in_short,
            )

    @property
    def names(self) -> list[str]:
        """Names of the columns."""
        return [str(name) for name in self.frame]

    @property
    def names_in_short(self) -> str:
        """Names of the columns for a message: the first ones, shortened."""
        named = map(named_or_empty, self.names[:_SHOWN_NAMES])
        shown = [name if len(name) <= 40 else f"{name[:40]}..." for name in named]
        return ", ".join(shown + ["..."] * (len(self.names) > _SHOWN_NAMES))

    def require(self, good: NDArray[np.bool_], column: str, rule: Message) -> None:
        """Refuse the table if ``good`` ``(n,)`` is false anywhere.

        Args:
            good: whether each row is as it must be.
            column: where to look.
            rule: how it must be; ends the sentence of the error.

        Raises:
            ValueError: naming the first bad line, its value and the rule.
        """
        if not good.all():
            row, n = int(np.argmin(good)), int((~good).sum())
            value = repr(shortened(str(self.frame[column].iloc[row])))
            cell = {"where": self.where(row), "column": column, "value": value, "rule": rule}
            if n == 1:
                raise Refusal("{where}: {column} is {value}; {rule}", **cell)
            raise Refusal("{where}: {column} is {value}; {rule} ({n} such rows)", n, **cell)

    def require_ids(self, column: str) -> None:
        """Refuse a list or an object where an id has to stand.

        Raises:
            ValueError: naming the first row, its value and the rule.
        """
        if self.frame[column].dtype == object:
            nested = self.frame[column].map(lambda cell: isinstance(cell, NESTED)).to_numpy(bool)
            rule = Message("an id is a text or a number, no list and no object; write the id alone into the column")
            self.require(~nested, column, rule)

    def numbers(self, column: str) -> NDArray[np.float64]:
        """A column as numbers; a missing one is NaN.

        Raises:
            ValueError: for a cell that is no finite number, with its line.
        """
        text = self.frame[column]
        numbers, good = np.empty(len(text)), np.empty(len(text), bool)
        for start in range(0, len(text), _CHUNK_ROWS):
            rows = slice(start, start + _CHUNK_ROWS)
            numbers[rows], good[rows] = _numbers(text.iloc[rows])
        comma = not good.all() and re.fullmatch(r"\D*\d+,\d+\D*", text.iloc[int(np.argmin(good))]) is not None
        rule = Message("it must be a number, with a point before decimals") if comma else Message("it must be a number")
        self.require(good, column, rule)
        return numbers


def _numbers(text: pd.Series) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Cells as numbers, and whether each is missing or finite."""
    text = plain_digits(text.str.strip())
    empty = text.isin(MISSING_WORDS).to_numpy(bool)
    good = np.isfinite(pd.to_numeric(text.where(~empty, "0"), errors="coerce").to_numpy(np.float64))
    # to_numeric is off by a last digit; Python's own reading goes through objects, which is why few are read at a time.
    return text.where(~empty & good, "nan").to_numpy(object).astype(np.float64), good


def place_of(path: Path, line: int | None, row: int) -> Message:
    """The line of a file, or the row of one whose lines nobody knows."""
    if line is None:
        return Message("{path}, row {row}", path=path, row=row)
    return Message("{path}, line {line}", path=path, line=line)


def plain_digits(text: pd.Series) -> pd.Series:
    """Full-width digits, letters and signs as plain ones."""
    return text if text.str.isascii().all() else text.str.normalize("NFKC")


def named_or_empty(name: str) -> str:
    """The name of a column for a list of names, in which one of blanks would not be seen."""
    return name if name.strip() else repr(name)


def shortened(text: str) -> str:
    """The head of a long text, for a message."""
    return text if len(text) <= 60 else f"{text[:60]}..."
