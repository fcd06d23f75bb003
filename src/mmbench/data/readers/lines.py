"""Files of lines, plain or gzip, read one line at a time: a file of any size needs the memory of a line."""

from __future__ import annotations

import ast
import contextlib
import gzip
import io
import json
import warnings
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, cast

import pandas as pd
import pyarrow as pa

from mmbench.data.readers.text_table import shortened
from mmbench.data.regular_file import regular_file, storable
from mmbench.messages import Refusal, Template

#: A longer line is no line of a log: most likely the whole file is one JSON array.
MAX_LINE_BYTES = 1 << 24
HEAD_BYTES = 1000
PICKLE_SUFFIXES = (".pkl", ".pickle", ".p", ".joblib", ".dill", ".pt", ".pth")
_GZIP = b"\x1f\x8b"
_MARK = b"\xef\xbb\xbf"
_PICKLE = tuple(bytes([0x80, protocol]) for protocol in range(2, 6))
_CHUNK_ROWS = 1 << 16
#: What reading a damaged gzip file raises.
GZIP_FAULTS = (EOFError, zlib.error, gzip.BadGzipFile)

#: What parsing a value of JSON or Python raises where a text is none.
NOT_PARSED = (ValueError, SyntaxError, TypeError, RecursionError, MemoryError)

Parse = Callable[[str], Any]

PICKLE = Template(
    "{path} is a pickle, which can run code when it is loaded, and is never read; where it was made, save "
    'interactions as train.json, test.json ({{"user": [items]}}) or a CSV file, and features with numpy.save as plain '
    "float arrays"
)
#: A gzip file that ends too early, and where.
DAMAGED = Template("{path} is cut off or damaged: its gzip data do not end as they should; fetch it again")
_DAMAGED_AFTER = Template(
    "{path} is cut off or damaged after line {line}: its gzip data do not end as they should; fetch it again"
)
_NOT_JSON = Template("{path}, line {line}: not JSON: {text}")
_NOT_LITERAL = Template("{path}, line {line}: neither JSON nor a plain Python value; code is never run: {text}")


def refuse_pickle(path: Path) -> None:
    """Refuse a file that loads by running what it says, by its name or its first bytes.

    Raises:
        ValueError: naming the safe alternative, and for what is no file.
    """
    with regular_file(path).open("rb") as file:
        head = file.read(2)
    if path.suffix.lower() in PICKLE_SUFFIXES or head in _PICKLE:
        raise Refusal(PICKLE, path=path)


def is_gzip(path: Path) -> bool:
    """Whether a file is compressed, whatever its name."""
    with path.open("rb") as file:
        return file.read(2) == _GZIP


def open_bytes(path: Path) -> BinaryIO:
    """Open a plain or gzip file.

    Raises:
        ValueError: for what is no file, for a pickle, and for a name that a data set cannot keep.
    """
    refuse_pickle(storable(path))
    # A GzipFile is a BinaryIO in all that is used of it.
    return cast(BinaryIO, gzip.open(path)) if is_gzip(path) else path.open("rb")


def open_text(path: Path, encoding: str = "utf-8") -> io.TextIOWrapper:
    """Open a plain or gzip text file with its line ends as they are; a byte order mark is skipped."""
    return io.TextIOWrapper(open_bytes(path), "utf-8-sig" if encoding == "utf-8" else encoding, newline="")


def first_cells(path: Path) -> list[str]:
    """Cells of the first line of a table with commas, as far as :data:`HEAD_BYTES` of it tell them."""
    head = b""
    with open_bytes(path) as file, contextlib.suppress(*GZIP_FAULTS):  # the reader tells of a damaged file
        head = file.readline(HEAD_BYTES)
    return head.removeprefix(_MARK).decode("latin-1").strip().split(",")


def numbered_lines(path: Path, encoding: str = "utf-8") -> Iterator[tuple[int, str]]:
    """Lines with their number from one, without line ends; blank ones are skipped.

    Raises:
        ValueError: for a truncated or damaged gzip file, a byte that is not ``encoding``, a NUL, or a line of more than
            :data:`MAX_LINE_BYTES`, with its number.
    """
    with open_bytes(path) as file:
        number = 0
        while True:
            try:
                raw = file.readline(MAX_LINE_BYTES + 1)
            except GZIP_FAULTS as error:
                raise Refusal(_DAMAGED_AFTER, path=path, line=number + 1) from error
            if not raw:
                return
            number += 1
            if len(raw) > MAX_LINE_BYTES:
                raise Refusal(
                    "{path}, line {line}: longer than {limit} MB; the file must have one record per line",
                    path=path,
                    line=number,
                    limit=MAX_LINE_BYTES >> 20,
                )
            if number == 1:
                raw = raw.removeprefix(_MARK)
            try:
                line = raw.decode(encoding).rstrip("\r\n")
            except UnicodeDecodeError as error:
                raise Refusal(
                    "{path}, line {line}: a byte that is not {encoding}; save the file as UTF-8",
                    path=path,
                    line=number,
                    encoding=encoding,
                ) from error
            if "\0" in line:
                raise Refusal(
                    "{path}, line {line}: a NUL character; the file is binary or damaged", path=path, line=number
                )
            if line.strip():
                yield number, line


def json_lines(path: Path, *, literals: bool = False) -> Iterator[tuple[int, dict[str, Any]]]:
    """Objects of a file with one JSON object per line, and the line of each.

    Args:
        path: file, plain or gzip.
        literals: whether a file whose first line is a Python literal (single quotes) is read as such, by
            :func:`ast.literal_eval`, which knows values and no code.

    Raises:
        ValueError: as :func:`numbered_lines`, and for a line that is no object.
    """
    parse: Parse | None = None
    for number, line in numbered_lines(path):
        if parse is None:
            if line.lstrip().startswith("["):
                raise Refusal("{path} is one JSON array; write one object per line (jq -c '.[]' does)", path=path)
            parse = literal if literals and not _is_json(line) else json.loads
        try:
            value = parse(line)
        except NOT_PARSED as error:
            raise Refusal(
                _NOT_LITERAL if parse is literal else _NOT_JSON, path=path, line=number, text=shortened(line)
            ) from error
        if not isinstance(value, dict):
            raise Refusal(
                "{path}, line {line}: must be an object with fields: {text}",
                path=path,
                line=number,
                text=shortened(line),
            )
        yield number, value


def read_json(path: Path) -> Any:
    """One JSON document.

    Raises:
        ValueError: for a file that is none.
    """
    with open_bytes(path) as file:
        try:
            return json.loads(file.read().decode("utf-8-sig"))
        except GZIP_FAULTS as error:
            raise Refusal(_DAMAGED_AFTER, path=path, line=1) from error
        except (ValueError, RecursionError) as error:
            raise Refusal("{path} is not valid JSON: {error}", path=path, error=str(error)) from error


class Gathered:
    """Rows gathered into Arrow columns chunk by chunk, so that few Python objects live at a time.

    Args:
        types: Arrow type of each column by name.
    """

    def __init__(self, types: Mapping[str, pa.DataType]) -> None:
        self._schema = pa.schema(list(types.items()))
        self._rows: list[tuple[Any, ...]] = []
        self._batches: list[pa.RecordBatch] = []

    def add(self, *values: Any) -> None:
        """Add a row, values in the order of the columns; None is a missing cell."""
        self._rows.append(values)
        if len(self._rows) >= _CHUNK_ROWS:
            self._flush()

    def frame(self) -> pd.DataFrame:
        """All rows."""
        self._flush()
        frame: pd.DataFrame = pa.Table.from_batches(self._batches, self._schema).to_pandas(self_destruct=True)
        self._batches = []
        return frame

    def _flush(self) -> None:
        if self._rows:
            columns = zip(*self._rows, strict=True)
            arrays = [_array(column, kind) for column, kind in zip(columns, self._schema.types, strict=True)]
            self._batches.append(pa.record_batch(arrays, schema=self._schema))
            self._rows = []


TEXT = pa.large_string()


def _array(values: tuple[Any, ...], kind: pa.DataType) -> pa.Array:
    try:
        return pa.array(values, kind)
    except UnicodeEncodeError:  # JSON can escape half of a surrogate pair
        return pa.array([value and value.encode("utf-8", "replace").decode() for value in values], kind)


def literal(line: str) -> Any:
    """The value that a Python literal is; it is never run.

    Raises:
        NOT_PARSED: for anything else.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)  # published metadata escape slashes
        return ast.literal_eval(line)


def _is_json(line: str) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True
