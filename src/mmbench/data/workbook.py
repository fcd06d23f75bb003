"""Excel workbooks, row by row, cells as a person sees them: a code shown as 0012 keeps its zeros."""

from __future__ import annotations

import contextlib
import datetime
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmbench.messages import Refusal

#: A number format of zeros alone pads with zeros.
_PADDED = re.compile(r"0{2,}")


@contextlib.contextmanager
def rows_of(path: Path, sheet: str | None = None) -> Iterator[Iterator[tuple[int, list[str]]]]:
    """Number and cells of each row of a sheet, the first one by default; empty rows are passed over.

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
        yield _rows(path, book.worksheets[0] if sheet is None else book[sheet])
    finally:
        book.close()


def _rows(path: Path, sheet: Any) -> Iterator[tuple[int, list[str]]]:
    sheet.reset_dimensions()  # what a file says of its size is often wrong
    try:
        for number, row in enumerate(sheet.iter_rows(), start=1):
            cells = [_text(cell) for cell in row]
            if any(cells):
                yield number, cells
    except (ValueError, KeyError, SyntaxError, OSError) as error:
        raise Refusal(
            "{path} is not a readable workbook: {error}", path=path, error=str(error).splitlines()[0]
        ) from error


def _text(cell: Any) -> str:
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
