"""Text tables of others (CSV, TSV), read strictly: every cell as text, no row mended, no type guessed."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
from numpy.typing import NDArray

SEPARATORS = (",", "\t", ";")
#: What stands for a missing cell in exports of databases and of pandas.
MISSING_WORDS = ("", "NULL", "null", "None", "NaN", "nan", "\\N")
_BLOCK_BYTES = 1 << 26


@dataclass(frozen=True)
class Dialect:
    """How a text table is written.

    Args:
        separator: character between two cells.
        quoted: whether double quotes enclose cells that hold separators or line ends.
        encoding: a byte order mark is skipped.
    """

    separator: str = ","
    quoted: bool = True
    encoding: str = "utf-8"


@dataclass(frozen=True)
class Table:
    """Cells as text and where they came from.

    Args:
        path: file.
        frame: one column of text per column of the file, indexed by record; an empty cell is the empty text.
        dialect: how the file is written, or None for a file without lines.
    """

    path: Path
    frame: pd.DataFrame
    dialect: Dialect | None = None

    def where(self, row: int) -> str:
        """The place in its file of the row at position ``row``, as a person looks for it."""
        record = int(self.frame.index[row]) + 1
        line = None if self.dialect is None else line_of(self.path, record, self.dialect)
        return f"{self.path}, row {record}" if line is None else f"{self.path}, line {line}"

    def with_frame(self, frame: pd.DataFrame) -> Table:
        """The same file with other columns or fewer rows."""
        return dataclasses.replace(self, frame=frame)

    def check_column(self, column: str, option: str) -> None:
        """Refuse a column that is not there.

        Raises:
            ValueError: naming the columns that are.
        """
        if column not in self.frame:
            raise ValueError(
                f"{self.path}: column {column!r} ({option}) is not there; columns are {', '.join(self.names)}"
            )

    @property
    def names(self) -> list[str]:
        """Names of the columns."""
        return [str(name) for name in self.frame]

    def require(self, good: NDArray[np.bool_], column: str, rule: str) -> None:
        """Refuse the table if ``good`` ``(n,)`` is false anywhere.

        Raises:
            ValueError: naming the first bad line, its value and the rule.
        """
        if not good.all():
            row = int(np.argmin(good))
            rest = f" ({int((~good).sum())} such rows)" if (~good).sum() > 1 else ""
            raise ValueError(f"{self.where(row)}: {column} is {self.frame[column].iloc[row]!r}; {rule}{rest}")

    def numbers(self, column: str) -> NDArray[np.float64]:
        """A column as numbers; a missing one is NaN.

        Raises:
            ValueError: for a cell that is no finite number, with its line.
        """
        text = self.frame[column].str.strip()
        empty = text.isin(MISSING_WORDS).to_numpy(bool)
        parsed = pd.to_numeric(text.where(~empty, "0"), errors="coerce").to_numpy(np.float64)
        self.require(np.isfinite(parsed), column, "it must be a number")
        exact = text.where(~empty, "nan").to_numpy(object).astype(np.float64)  # to_numeric is off by a last digit
        return np.asarray(exact)


def read_delimited(path: Path, dialect: Dialect | None = None, encoding: str = "utf-8") -> Table:
    """Read a table whose first line names its columns.

    Args:
        path: file.
        dialect: how it is written; by default sniffed from its name and first line.
        encoding: used where ``dialect`` is sniffed.

    Raises:
        ValueError: for an empty file, another encoding, a repeated column, a row that is too short or too long, or a
            quote that is never closed.
    """
    if not path.is_file():
        raise ValueError(f"{path} is missing")
    try:
        dialect = dialect or _sniffed(path, encoding)
        return Table(path, _named(path, _cells(path, dialect), dialect), dialect)
    except (UnicodeError, LookupError) as error:
        used = dialect.encoding if dialect else encoding
        raise ValueError(
            f"{path} is not {used} text ({error}); save it as UTF-8 or name its encoding (often cp932 in Japan)"
        ) from error
    except (pa.ArrowInvalid, csv.Error) as error:
        raise ValueError(f"{path} cannot be read: {error}") from error


def line_of(path: Path, record: int, dialect: Dialect) -> int | None:
    """Line on which a record begins, the header being record 0; None if the file has no such record.

    Reads record by record, which is slow: for error messages only.
    """
    begins = 1
    with path.open(encoding=dialect.encoding, newline="") as file:
        reader = _reader(file, dialect)
        with contextlib.suppress(csv.Error):
            for cells in reader:
                if cells and record == 0:
                    return begins
                record -= bool(cells)
                begins = reader.line_num + 1
    return None


def _reader(file: TextIO, dialect: Dialect) -> Any:
    if dialect.quoted:
        return csv.reader(file, delimiter=dialect.separator)
    return csv.reader(file, delimiter=dialect.separator, quoting=csv.QUOTE_NONE)


def _width(path: Path, dialect: Dialect) -> int:
    """Number of cells of the header; 0 for a file without text."""
    with path.open(encoding=dialect.encoding, newline="") as file:
        return next((len(cells) for cells in _reader(file, dialect) if cells), 0)


def _sniffed(path: Path, encoding: str) -> Dialect:
    separators = "\t" if path.suffix.lower() in (".tsv", ".tab") else SEPARATORS
    dialects = [Dialect(separator, encoding=encoding) for separator in separators]
    return max(dialects, key=lambda dialect: _width(path, dialect))


def _cells(path: Path, dialect: Dialect) -> pd.DataFrame:
    """All rows, the header included, as text."""
    width = _width(path, dialect)
    if not width:
        raise ValueError(f"{path} is empty; its first line must name the columns")
    ragged: list[Any] = []

    def refuse(row: Any) -> str:
        ragged.append(row)
        return "error"

    # Columns without names are text by their place, the header too: nothing is taken for a number.
    reading = pa.csv.ReadOptions(
        use_threads=False, block_size=_BLOCK_BYTES, autogenerate_column_names=True, encoding=dialect.encoding
    )
    parsing = pa.csv.ParseOptions(
        delimiter=dialect.separator,
        quote_char='"' if dialect.quoted else False,
        newlines_in_values=dialect.quoted,
        invalid_row_handler=refuse,
    )
    as_text = pa.csv.ConvertOptions(
        column_types={f"f{i}": pa.string() for i in range(width)}, strings_can_be_null=False
    )
    try:
        cells: pd.DataFrame = pa.csv.read_csv(path, reading, parsing, as_text).to_pandas()
    except pa.ArrowInvalid as error:
        if ragged:
            raise ValueError(_ragged(path, ragged[0], dialect)) from error
        if "UTF8" in str(error):
            raise UnicodeError("a byte that UTF-8 does not know") from error
        raise
    return cells


def _named(path: Path, cells: pd.DataFrame, dialect: Dialect) -> pd.DataFrame:
    """Take the first row as names."""
    names = [str(cell).strip() for cell in cells.iloc[0]]
    repeated = {name for name in names if name and names.count(name) > 1}
    if repeated:
        raise ValueError(f"{path}: column {min(repeated)!r} occurs more than once in the header")
    frame = cells.iloc[1:].reset_index(drop=True).set_axis(names, axis=1)
    if frame.empty:
        raise ValueError(f"{path} has a header but no rows")
    if dialect.quoted and frame.iloc[-1].str.contains("\n").any() and _odd_quotes(path, dialect):
        begins = line_of(path, len(frame), dialect)
        raise ValueError(f"{path}, line {begins}: a quote is opened and never closed")
    return frame


def _odd_quotes(path: Path, dialect: Dialect) -> bool:
    return path.read_text(encoding=dialect.encoding).count('"') % 2 == 1


def _ragged(path: Path, row: Any, dialect: Dialect) -> str:
    line = None if row.number is None else line_of(path, row.number - 1, dialect)
    place = f"{path}, row {row.number}" if line is None else f"{path}, line {line}"
    text = row.text if len(row.text) <= 60 else f"{row.text[:60]}..."
    return f"{place}: {row.actual_columns} cells where the header has {row.expected_columns}: {text!r}"
