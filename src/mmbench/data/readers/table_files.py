"""Tables in any of the usual files, read as text: CSV, TSV, Parquet, JSON lines, Excel workbooks."""

from __future__ import annotations

import contextlib
import datetime
import itertools
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet

from mmbench.data.readers.delimited import read_delimited, read_header
from mmbench.data.readers.lines import TEXT, Gathered, json_lines, refuse_pickle
from mmbench.data.readers.text_table import Table
from mmbench.messages import Refusal

DELIMITED, PARQUET, EXCEL = (".csv", ".tsv", ".tab", ".txt"), (".parquet", ".pq"), (".xlsx", ".xlsm")
JSON_LINES = (".jsonl", ".ndjson", ".json")
TABLES = (*DELIMITED, *PARQUET, *EXCEL, *JSON_LINES)
#: Objects of a JSON lines file whose keys are its columns.
_SAMPLE_ROWS = 1000
#: A number format of zeros alone pads with zeros.
_PADDED = re.compile(r"0{2,}")


@dataclass(frozen=True)
class TableFile:
    """A file that holds a table.

    Args:
        path: ``.csv``, ``.tsv``, ``.txt``, ``.jsonl`` and ``.json`` (each also ``.gz``), ``.parquet`` or ``.xlsx``.
        encoding: of text tables; ``auto`` finds it out.
        sheet: of a workbook; the first one by default.
    """

    path: Path
    encoding: str = "utf-8"
    sheet: str | None = None

    def header(self) -> Table:
        """The names of the columns, without rows.

        Raises:
            ValueError: for a file that is no table, naming it.
        """
        kind = self._kind()
        if kind in DELIMITED:
            return read_header(self.path, self.encoding)
        if kind in PARQUET:
            names = [str(name) for name in _schema(self.path).names]
        elif kind in EXCEL:
            names = self._sheet_header()
        else:
            sample = [row for _, row in itertools.islice(json_lines(self.path), _SAMPLE_ROWS)]
            names = list(dict.fromkeys(key for row in sample for key in row))
        return Table(self.path, pd.DataFrame(columns=pd.Index(names, dtype=object)))

    def read(self, columns: Sequence[str]) -> Table:
        """Some columns of all rows.

        Raises:
            ValueError: for a fault of the file, with its line.
        """
        kind = self._kind()
        if kind in DELIMITED:
            return read_delimited(self.path, encoding=self.encoding, columns=columns)
        if kind in PARQUET:
            return self._from_parquet(columns)
        return self._from_sheet(columns) if kind in EXCEL else self._from_json(columns)

    def _kind(self) -> str:
        kind = suffix_of(self.path)
        if kind not in TABLES:
            raise Refusal(
                "{path} must end in .csv, .tsv, .txt, .jsonl, .json (each also .gz), .parquet or .xlsx", path=self.path
            )
        refuse_pickle(self.path)
        return kind

    def _from_parquet(self, columns: Sequence[str]) -> Table:
        _schema(self.path)
        try:
            frame = pd.read_parquet(self.path, columns=list(columns)).reset_index(drop=True)
        except Exception as error:  # pyarrow raises many kinds, all meaning the same to a user
            raise Refusal(
                "{path} is not a readable parquet file: {error}", path=self.path, error=str(error).splitlines()[0]
            ) from error
        if frame.empty:
            raise Refusal("{path} has no rows", path=self.path)
        return Table(self.path, pd.DataFrame({name: _as_text(frame[name]) for name in columns}))

    def _from_json(self, columns: Sequence[str]) -> Table:
        rows = Gathered({**dict.fromkeys(columns, TEXT), "line": pa.int64()})
        for line, row in json_lines(self.path):
            rows.add(*(cell_text(row.get(name)) for name in columns), line)
        frame = rows.frame()
        if frame.empty:
            raise Refusal("{path} has no rows", path=self.path)
        lines = frame.pop("line").to_numpy()
        return Table(self.path, frame, lambda place: int(lines[place]))

    def _sheet_header(self) -> list[str]:
        with _sheet_rows(self.path, self.sheet) as rows:
            first = next((row for _, row in rows), None)
        if first is None:
            raise Refusal("{path} is empty; its first line must name the columns", path=self.path)
        names = [name.strip() for name in first]
        while not names[-1]:
            names.pop()
        repeated = {name for name in names if name and names.count(name) > 1}
        if repeated:
            raise Refusal(
                "{path}: column {column} occurs more than once in the header",
                path=self.path,
                column=repr(min(repeated)),
            )
        return names

    def _from_sheet(self, columns: Sequence[str]) -> Table:
        places = [self._sheet_header().index(name) for name in columns]
        table = Gathered({**dict.fromkeys(columns, TEXT), "line": pa.int64()})
        with _sheet_rows(self.path, self.sheet) as rows:
            for number, row in itertools.islice(rows, 1, None):
                table.add(*(row[place] if place < len(row) else "" for place in places), number)
        frame = table.frame()
        if frame.empty:
            raise Refusal("{path} has a header but no rows", path=self.path)
        lines = frame.pop("line").to_numpy()
        return Table(self.path, frame, lambda place: int(lines[place]))


def suffix_of(path: Path) -> str:
    """The suffix that tells the kind of a file, that of compression left aside."""
    return Path(path.name.lower().removesuffix(".gz")).suffix


def cell_text(value: Any) -> str:
    """A value of JSON as it would stand in a CSV file; lists are joined by spaces."""
    if value is None:
        return ""
    if isinstance(value, float):
        if value.is_integer() and abs(value) < 2**53:
            return str(int(value))
        return "" if np.isnan(value) else repr(value)
    if isinstance(value, list):
        return " ".join(filter(None, map(cell_text, value)))
    return str(value)


def _as_text(values: pd.Series) -> pd.Series:
    """Cells as they would stand in a CSV file: no decimal point in whole numbers, times as seconds."""
    empty = values.isna()
    if pd.api.types.is_datetime64_any_dtype(values):
        moments = pd.to_datetime(values, utc=True).dt.tz_localize(None).dt.as_unit("s")
        text = moments.fillna(pd.Timestamp(0)).astype(np.int64).astype(str)
    elif pd.api.types.is_float_dtype(values) and (values.dropna() % 1 == 0).all() and values.abs().max() < 2**53:
        text = values.fillna(0).astype(np.int64).astype(str)
    else:
        text = values.astype(str)
    return text.where(~empty, "")


def _schema(path: Path) -> Any:
    try:
        return pa.parquet.read_schema(path)
    except Exception as error:  # pyarrow raises many kinds, all meaning the same to a user
        raise Refusal(
            "{path} is not a readable parquet file: {error}", path=path, error=str(error).splitlines()[0]
        ) from error


@contextlib.contextmanager
def _sheet_rows(path: Path, sheet: str | None = None) -> Iterator[Iterator[tuple[int, list[str]]]]:
    """Number and cells of each row of a sheet, by default the first one, without empty rows.

    Raises:
        ValueError: if openpyxl is not installed, the file is no workbook, or the sheet is not there.
    """
    try:
        import openpyxl
    except ImportError as error:
        raise Refusal(
            "{path}: workbooks need openpyxl; pip install 'mmbench[excel]', or save the sheet as CSV", path=path
        ) from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about styles and validation, which are not read
            book = openpyxl.load_workbook(path, read_only=True, data_only=True)
    except Exception as error:  # openpyxl, zipfile and the XML parser raise many kinds, all meaning the same
        raise Refusal(
            "{path} is not a readable workbook: {error}", path=path, error=str(error).splitlines()[0]
        ) from error
    try:
        if sheet is not None and sheet not in book.sheetnames:
            raise Refusal(
                "{path} has no sheet {sheet}; sheets are {sheets}",
                path=path,
                sheet=repr(sheet),
                sheets=", ".join(book.sheetnames),
            )
        yield _numbered_rows(path, book.worksheets[0] if sheet is None else book[sheet])
    finally:
        book.close()


def _numbered_rows(path: Path, sheet: Any) -> Iterator[tuple[int, list[str]]]:
    sheet.reset_dimensions()  # what a file says of its size is often wrong
    try:
        for number, row in enumerate(sheet.iter_rows(), start=1):
            cells = [_shown(cell) for cell in row]
            if any(cells):
                yield number, cells
    except (ValueError, KeyError, SyntaxError, OSError) as error:
        raise Refusal(
            "{path} is not a readable workbook: {error}", path=path, error=str(error).splitlines()[0]
        ) from error


def _shown(cell: Any) -> str:
    """A cell as a person sees it: a code shown as 0012 keeps its zeros, an error is empty."""
    value = cell.value
    if value is None or cell.data_type == "e":
        return ""
    if isinstance(value, datetime.datetime | datetime.date):
        return value.isoformat()
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        value = int(value)  # beyond 15 digits Excel has rounded already
    if isinstance(value, int) and not isinstance(value, bool) and _PADDED.fullmatch(cell.number_format or ""):
        return str(value).zfill(len(cell.number_format))
    return str(value)
