"""Tables in any of the usual files, read as text: CSV, TSV, Parquet, JSON lines, Excel workbooks."""

from __future__ import annotations

import array
import contextlib
import datetime
import functools
import itertools
import json
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from mmbench import extensions
from mmbench.data.divisions import names_in
from mmbench.data.parquet import NOT_UTF8, read_parquet
from mmbench.data.readers.columns import header_at
from mmbench.data.readers.delimited import TITLE_ROWS, encoding_of, read_delimited, read_header
from mmbench.data.readers.lines import TEXT, Gathered, json_lines, refuse_pickle
from mmbench.data.readers.text_table import NESTED, Table
from mmbench.data.regular_file import storable
from mmbench.messages import Refusal
from mmbench.messages.refused import first_line

DELIMITED, PARQUET, EXCEL = (".csv", ".tsv", ".tab", ".txt"), (".parquet", ".pq"), (".xlsx", ".xlsm")
JSON_LINES = (".jsonl", ".ndjson", ".json")
TABLES = (*DELIMITED, *PARQUET, *EXCEL, *JSON_LINES)
#: Rows of a sheet. A cell that claims a place far below makes openpyxl count up to it.
_MOST_SHEET_ROWS = 1 << 20
#: Parts of a number format: a zero, what is shown as it stands, and what shows nothing (countries, colours, the width
#: of a letter, filling).
_FORMAT_PART = re.compile(
    r"""(?P<zero>0)|\\(?P<escaped>.)|"(?P<quoted>[^"]*)"|(?P<plain>[ $()+-]|[^\x00-\x7f])|\[[^\]]*\]|[_*].""", re.DOTALL
)


@dataclass(frozen=True)
class TableFile:
    """A file that holds a table.

    Args:
        path: ``.csv``, ``.tsv``, ``.txt``, ``.jsonl`` and ``.json`` (each also ``.gz``), ``.parquet`` or ``.xlsx``,
            or a kind that an installed package reads.
        encoding: of text tables; ``auto`` finds it out.
        sheet: of a workbook; the first one by default.
    """

    path: Path
    encoding: str = "utf-8"
    sheet: str | None = None

    def header(self, rows: int = 0) -> Table:
        """The names of the columns and at most ``rows`` of the first rows, which nobody has checked.

        Columns of JSON lines are the keys of all lines, in the order in which they first occur.

        Raises:
            ValueError: for a file that is no table, naming it.
        """
        kind = self._kind()
        if kind in DELIMITED:
            return read_header(self.path, self.encoding, rows)
        if kind in EXCEL:
            return self._sheet_header(rows)
        if kind not in TABLES:
            names = [str(name) for name in self._own_frame]
            frame = self._own_frame.head(rows)
        elif kind in PARQUET:
            frame = _as_texts(read_parquet(self.path, rows=rows), self.path)
            names = [str(name) for name in frame]
        else:
            keys: dict[str, None] = {}
            sample: list[dict[str, Any]] = []
            for _, row in json_lines(self.path):  # to its end: a key that is rare may first stand in a late line
                keys.update(dict.fromkeys(row))
                if len(sample) < rows:
                    sample.append(row)
            names = list(keys)
            gathered = Gathered(dict.fromkeys(names, TEXT))
            for row in sample:
                gathered.add(*(cell_text(row.get(name)) for name in names))
            frame = gathered.frame()
        return Table(self.path, frame[names] if rows else pd.DataFrame(columns=pd.Index(names, dtype=object)))

    def text_encoding(self) -> str | None:
        """The encoding in which a text table is read; None for other files."""
        return encoding_of(self.path, self.encoding) if self._kind() in DELIMITED else None

    def read(self, columns: Sequence[str], *, names: Sequence[str] = (), ids: Sequence[str] = ()) -> Table:
        """Some columns of all rows.

        Args:
            columns: which; lists in their cells are joined by spaces.
            names: those of ``columns`` that hold names of categories, see :func:`names_text`.
            ids: those of ``columns`` that hold ids, which are no lists or objects.

        Raises:
            ValueError: for a fault of the file, with its line.
        """
        kind = self._kind()
        if kind in DELIMITED:
            return read_delimited(self.path, encoding=self.encoding, columns=columns)
        if kind in PARQUET:
            return self._from_parquet(columns, names, ids)
        if kind not in TABLES:
            return Table(self.path, self._own_frame[list(columns)])
        return self._from_sheet(columns) if kind in EXCEL else self._from_json(columns, names, ids)

    def _kind(self) -> str:
        if not is_table(self.path):
            raise Refusal(
                "{path} must end in .csv, .tsv, .txt, .jsonl, .json (each also .gz), .parquet or .xlsx", path=self.path
            )
        refuse_pickle(storable(self.path))
        return suffix_of(self.path)

    @functools.cached_property
    def _own_frame(self) -> pd.DataFrame:
        """The table as the reader of an installed package gives it, cells as text."""
        kind = suffix_of(self.path).removeprefix(".")
        given = extensions.function(extensions.READERS, kind, extensions.READERS)(self.path)
        if not isinstance(given, pd.DataFrame):
            raise Refusal(
                "the reader of {kind} files gave {given} and no pandas.DataFrame", kind=kind, given=type(given).__name__
            )
        if given.empty:
            raise Refusal("{path} has no rows", path=self.path)
        return _as_texts(given.reset_index(drop=True), self.path)

    def _from_parquet(self, columns: Sequence[str], names: Sequence[str], ids: Sequence[str]) -> Table:
        frame = read_parquet(self.path, columns)
        if frame.empty:
            raise Refusal("{path} has no rows", path=self.path)
        for name in ids:
            Table(self.path, frame).require_ids(name)
        lists = {name: frame[name].map(names_text) for name in names if _holds_lists(frame[name])}
        return Table(self.path, _as_texts(frame[list(columns)].assign(**lists), self.path))

    def _from_json(self, columns: Sequence[str], names: Sequence[str], ids: Sequence[str]) -> Table:
        rows, lines = Gathered(dict.fromkeys(columns, TEXT)), array.array("q")
        for line, row in json_lines(self.path):
            for name in ids:
                if isinstance(row.get(name), NESTED):
                    nested = pd.DataFrame({name: [row[name]]}, index=[line - 1])
                    Table(self.path, nested, lambda place: place + 1).require_ids(name)
            rows.add(*((names_text if name in names else cell_text)(row.get(name)) for name in columns))
            lines.append(line)
        frame = rows.frame()
        if frame.empty:
            raise Refusal("{path} has no rows", path=self.path)
        return Table(self.path, frame, lambda place: lines[place])

    def _sheet_header(self, rows: int = 0) -> Table:
        with _sheet_rows(self.path, self.sheet) as numbered:
            head = [row for _, row in itertools.islice(numbered, TITLE_ROWS + rows)]
        if not head:
            raise Refusal("{path} is empty; its first line must name the columns", path=self.path)
        place = header_at(head[:TITLE_ROWS])
        names = [name.strip() for name in head[place]]
        while not names[-1]:
            names.pop()
        repeated = {name for name in names if name and names.count(name) > 1}
        if repeated:
            raise Refusal(
                "{path}: column {column} occurs more than once in the header",
                path=self.path,
                column=repr(min(repeated)),
            )
        cells = [[*row[: len(names)], *[""] * (len(names) - len(row))] for row in head[place + 1 : place + 1 + rows]]
        above = tuple(" ".join(filter(None, row)) for row in head[:place])
        return Table(self.path, pd.DataFrame(cells, columns=pd.Index(names, dtype=object)), above=above)

    def _from_sheet(self, columns: Sequence[str]) -> Table:
        header = self._sheet_header()
        places = [header.names.index(name) for name in columns]
        table, lines = Gathered(dict.fromkeys(columns, TEXT)), array.array("q")
        with _sheet_rows(self.path, self.sheet) as rows:
            for number, row in itertools.islice(rows, len(header.above) + 1, None):
                table.add(*(row[place] if place < len(row) else "" for place in places))
                lines.append(number)
        frame = table.frame()
        if frame.empty:
            raise Refusal("{path} has a header but no rows", path=self.path)
        return Table(self.path, frame, lambda place: lines[place])


def sheets_of(path: Path) -> list[str]:
    """Names of the sheets of a workbook that hold cells and no chart, none for another file.

    Raises:
        ValueError: as :meth:`TableFile.header`.
    """
    if suffix_of(path) not in EXCEL:
        return []
    with _workbook(path) as book:
        return [str(held.title) for held in book.worksheets]


def sheets_beside(path: Path, read: Sequence[str | None]) -> list[str]:
    """Names of the sheets of a workbook that hold a filled cell and are none of ``read``, in which None is the first.

    Raises:
        ValueError: as :meth:`TableFile.header`.
    """
    if suffix_of(path) not in EXCEL:
        return []
    with _workbook(path) as book:
        sheets = {str(held.title): held for held in book.worksheets}
        taken = {next(iter(sheets), None) if name is None else name for name in read}
        return [name for name, held in sheets.items() if name not in taken and _is_filled(path, held)]


def is_table(path: Path) -> bool:
    """Whether a file is a table by its name: of a kind that is read here, or by an installed package."""
    kind = suffix_of(path)
    return kind in TABLES or kind.removeprefix(".") in extensions.offered(extensions.READERS)


def suffix_of(path: Path) -> str:
    """The suffix that tells the kind of a file, that of compression left aside."""
    return Path(path.name.lower().removesuffix(".gz")).suffix


def cell_text(value: Any) -> str:
    """A value of JSON or Parquet as it would stand in a CSV file; lists are joined by spaces."""
    if value is None:
        return ""
    if isinstance(value, float):
        if value.is_integer() and abs(value) < 2**53:
            return str(int(value))
        return "" if np.isnan(value) else repr(value)
    if isinstance(value, list | np.ndarray):
        return " ".join(filter(None, map(cell_text, value)))
    return str(value)


def names_text(value: Any) -> str:
    """A value that names categories as text: a list as one of JSON, in which names stay apart, else as a cell."""
    if not isinstance(value, list | np.ndarray):
        return cell_text(value)
    names = names_in(value)
    return json.dumps(names, ensure_ascii=False) if names else ""


def _as_texts(frame: pd.DataFrame, path: Path) -> pd.DataFrame:
    texts: dict[str, pd.Series] = {}
    for name in frame:
        try:
            texts[str(name)] = as_text(frame[name])
        except UnicodeDecodeError as error:
            raise Refusal(NOT_UTF8, path=path, column=repr(str(name))) from error
    return pd.DataFrame(texts)


def as_text(values: pd.Series) -> pd.Series:
    """Cells as they would stand in a CSV file: no decimal point in whole numbers, moments as whole seconds of UTC."""
    empty = values.isna()
    if pd.api.types.is_datetime64_any_dtype(values):
        # As numbers, those near 1970 would be too small for seconds.
        moments = pd.to_datetime(values, utc=True).dt.tz_localize(None).to_numpy("datetime64[s]")
        text = pd.Series(pa.array(moments).cast(pa.string()), values.index, dtype=str)
    elif pd.api.types.is_float_dtype(values) and (values.dropna() % 1 == 0).all() and values.abs().max() < 2**53:
        text = values.fillna(0).astype(np.int64).astype(str)
    elif _holds_lists(values):
        text = values.map(cell_text)
    else:
        text = values.astype(str)
    return text.where(~empty, "")


def _holds_lists(values: pd.Series) -> bool:
    """Whether a column is one of lists, as its first cell tells that is not missing."""
    filled = values[values.notna()] if values.dtype == object else values[:0]
    return len(filled) > 0 and isinstance(filled.iloc[0], list | np.ndarray)


@contextlib.contextmanager
def _sheet_rows(path: Path, sheet: str | None = None) -> Iterator[Iterator[tuple[int, list[str]]]]:
    """Number and cells of each row of a sheet, by default the first one, without empty rows.

    Raises:
        ValueError: as :func:`_workbook`, or if the sheet is not there.
    """
    with _workbook(path) as book:
        sheets = {str(held.title): held for held in book.worksheets}  # the other names are those of charts
        if not sheets:
            raise Refusal("{path} has no sheet with cells", path=path)
        if sheet is not None and sheet not in sheets:
            raise Refusal(
                "{path} has no sheet {sheet}; sheets are {sheets}",
                path=path,
                sheet=repr(sheet),
                sheets=", ".join(sheets),
            )
        yield _numbered_rows(path, next(iter(sheets.values())) if sheet is None else sheets[sheet])


@contextlib.contextmanager
def _workbook(path: Path) -> Iterator[Any]:
    """An open workbook.

    Raises:
        ValueError: if openpyxl is not installed or the file is no workbook.
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
        raise Refusal("{path} is not a readable workbook: {error}", path=path, error=first_line(error)) from error
    try:
        yield book
    finally:
        book.close()


def _numbered_rows(path: Path, sheet: Any) -> Iterator[tuple[int, list[str]]]:
    sheet.reset_dimensions()  # what a file says of its size is often wrong
    try:
        for number, row in enumerate(sheet.iter_rows(), start=1):
            if number > _MOST_SHEET_ROWS:
                raise Refusal(
                    "{path}: a sheet has at most {most} rows, and this one has more", path=path, most=_MOST_SHEET_ROWS
                )
            cells = [_shown(cell) for cell in row]
            if any(cell.strip() for cell in cells):
                yield number, cells
    except Refusal:
        raise
    except Exception as error:  # a sheet is unpacked and parsed while it is read, so the same kinds come here
        raise Refusal("{path} is not a readable workbook: {error}", path=path, error=first_line(error)) from error


def _is_filled(path: Path, sheet: Any) -> bool:
    try:
        return next(_numbered_rows(path, sheet), None) is not None
    except Refusal:  # a damaged sheet that nobody asked for is no fault, and whatever it holds is not read
        return True


def _shown(cell: Any) -> str:
    """A cell as a person sees it: a code shown as 0012 or 012-3456 is read so, an error is empty."""
    value = cell.value
    if value is None or cell.data_type == "e":
        return ""
    if isinstance(value, datetime.datetime | datetime.date):
        return value.isoformat()
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, int | float) and abs(value) >= 1e15:
        return f"{value:.14E}"  # beyond 15 digits Excel has rounded already
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    form = _padded_form(cell.number_format or "") if isinstance(value, int) else None
    return str(value) if form is None else _padded(value, form)


@functools.lru_cache
def _padded_form(number_format: str) -> tuple[str | None, ...] | None:
    """What a number format shows of a whole number, with None for a digit; None where it does not pad with zeros."""
    form: list[str | None] = []
    place = 0
    while place < len(number_format) and number_format[place] != ";":  # further sections are not for positive numbers
        part = _FORMAT_PART.match(number_format, place)
        if part is None:
            return None
        form.append(None if part["zero"] else part["escaped"] or part["quoted"] or part["plain"] or "")
        place = part.end()
    return tuple(form) if form.count(None) > 1 else None


def _padded(value: int, form: Sequence[str | None]) -> str:
    """A whole number in its form; digits that are too many for it stand at the place of the first."""
    zeros = form.count(None)
    digits = str(abs(value)).zfill(zeros)
    many = len(digits) - zeros + 1
    left = iter([digits[:many], *digits[many:]])
    text = "".join(next(left) if part is None else part for part in form)
    return f"{'-' if value < 0 else ''}{text.strip()}"
