"""Readers that look at the size of a file and at its header before they allocate what it asks for.

Whoever sends a sweep folder decides what its files say; what they may cost is decided here.
"""

from __future__ import annotations

import contextlib
import errno
import json
import math
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from mmbench.data.readers.text_table import shortened
from mmbench.data.regular_file import regular_file
from mmbench.messages import Message, Refusal

#: Largest JSON file of a sweep and largest ledger, in bytes; 1,000 cells make a manifest of less than 1 MiB, and 20,000
#: trainings a ledger of less than 20.
MOST_JSON, MOST_LEDGER = 16 << 20, 128 << 20
#: Deepest nesting of the free parts of a record: the configurations.
MOST_DEPTH = 16
#: What compressed data may unpack to: so many times their size, or so many bytes where that is less.
RATIO, LEAST_UNPACKED = 100, 8 << 20
#: Largest number of a user, an item or a rank.
MOST_ID = 1 << 24
#: Columns of a table of records, at most.
MOST_COLUMNS = 64
#: The one key that begins with an underscore: it names the class of a model.
TARGET = ("model", "_target_")


class Damaged(Refusal):
    """A file that is empty, cut or overwritten, or that is gone; what reads it may treat it as never written.

    A file that somebody wrote as it is, but that is no record, is refused by another error.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        sentence = Message(
            "{path} is missing, empty, cut or overwritten; the command that wrote it sets it aside and repeats what is "
            "missing",
            path=path,
        )
        super().__init__(sentence)

    def __reduce__(self) -> tuple[object, ...]:
        return Damaged, (self.path,)


def read_json(path: Path, most: int = MOST_JSON) -> Any:
    """Read a JSON file; NaN and infinity are errors.

    Args:
        path: the file.
        most: its largest size in bytes.

    Raises:
        ValueError: if it is larger, or no JSON.
    """
    check_size(path, most)
    content = path.read_bytes()
    with contextlib.suppress(msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return msgspec.json.decode(content)  # many times as fast; what it refuses is named below
    try:
        return json.loads(content, parse_constant=_refuse_constant)
    except RecursionError as error:
        raise Refusal("{path} is not a record: it is nested too deeply", path=path) from error
    except ValueError as error:
        raise Refusal("{path} is not a record: {error}", path=path, error=error) from error


def check_size(path: Path, most: int) -> None:
    """Refuse a file of more than so many bytes, and what is no file."""
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        regular_file(path)
    if (size := found.st_size) > most:
        raise Refusal("{path} has {size} bytes; a file of its kind has at most {most}", path=path, size=size, most=most)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number")


def check_finite(section: Mapping[str, Any]) -> None:
    """Refuse a configuration with a number that JSON cannot hold.

    Raises:
        ValueError: naming the key.
    """
    for path, value in _walk(section):
        if isinstance(value, float) and not math.isfinite(value):
            raise Refusal("{key}={value} must be a finite number", key=".".join(map(str, path)), value=value)


def check_plain(where: object, section: Mapping[str, Any]) -> None:
    """Refuse a configuration that is more than plain values: what would name a thing to call, or nests without end.

    Args:
        where: its file or its name, for the message.
        section: numbers, texts, truth values, lists and mappings, as JSON has them.

    Raises:
        ValueError: naming the key.
    """
    for path, value in _walk(section):
        name = str(path[-1])
        if (name.startswith("_") or "._" in name) and path != TARGET:
            raise Refusal(
                "{where}: the key {key} begins with an underscore; values of a configuration are plain, and only "
                "model._target_ names a class",
                where=where,
                key=".".join(map(str, path)),
            )
        if len(path) > MOST_DEPTH:
            raise Refusal(
                "{where}: {key} is nested more than {most} deep",
                where=where,
                key=".".join(map(str, path[:2])),
                most=MOST_DEPTH,
            )
        if not isinstance(value, Mapping | list | tuple | str | int | float | None):
            raise Refusal(
                "{where}: {key} is no number, text, truth value, list or mapping",
                where=where,
                key=".".join(map(str, path)),
            )


def check_type(key: str, value: Any, kind: Any) -> None:
    """Refuse a value of another type.

    Raises:
        ValueError: naming the key.
    """
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        if kind is str:
            raise Refusal(
                "{setting}={value} must be a text; put a number in double quotes",
                setting=key,
                value=shortened(f"{value}"),
            ) from error
        raise Refusal("{key}={value}: {error}", key=key, value=shortened(f"{value}"), error=error) from error


def check_list(key: str, value: Any, example: str) -> None:
    """Refuse what is no list of texts; a text alone would be taken letter by letter.

    Args:
        key: key of the value.
        value: the value.
        example: what the list may hold.

    Raises:
        ValueError: naming the key.
    """
    if not isinstance(value, list):
        raise Refusal(
            "{key}={value} must be a list, as in '{key}=[{example}]'",
            key=key,
            value=shortened(f"{value}"),
            example=example,
        )
    check_type(key, value, list[str])


def _walk(section: Mapping[str, Any]) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Every value below a section with its path; without recursion, for the nesting is somebody else's."""
    waiting: list[tuple[tuple[Any, ...], Any]] = [((), section)]
    while waiting:
        path, value = waiting.pop()
        if path:
            yield path, value
        if isinstance(value, Mapping):
            waiting += [((*path, key), inner) for key, inner in reversed(list(value.items()))]
        elif isinstance(value, list | tuple):
            waiting += [((*path, place), inner) for place, inner in enumerate(value)]


def read_columns(path: Path, names: Sequence[str], optional: Sequence[str] = ()) -> dict[str, NDArray[np.int64]]:
    """Read columns of whole numbers from parquet by name, each ``(n,)``, and those of the ``optional`` that are there.

    Raises:
        Damaged: if the file is missing, cut or overwritten.
        ValueError: if the file is no such table, or its header promises more than its bytes can hold.
    """
    table = _read_parquet(path, names, optional)
    return {name: _numbers(path, table.column(name).combine_chunks()) for name in table.column_names}


def read_lists(path: Path, key: str, name: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Read a column of whole numbers ``(n,)`` and a column of lists of one length ``(n, k)`` from parquet.

    Raises:
        ValueError: as :func:`read_columns`, or if the lists differ in length.
    """
    table = _read_parquet(path, (key, name))
    lists = table.column(name).combine_chunks()
    if not pa.types.is_list(lists.type) or lists.null_count:
        raise Refusal("{path} is no table of records: {column} holds no lists", path=path, column=name)
    lengths = pc.unique(pc.list_value_length(lists))
    if len(lengths) > 1:
        raise Refusal("{path} is no table of records: lists of {column} differ in length", path=path, column=name)
    keys = _numbers(path, table.column(key).combine_chunks())
    return keys, _numbers(path, lists.flatten(), least=-1).reshape(len(keys), -1)


def read_table(path: Path) -> dict[str, NDArray[Any]]:
    """Read a table of records as it is stored: columns ``(n,)`` by name, lists of one length as ``(n, k)``.

    Raises:
        ValueError: as :func:`read_columns`, or if a column holds anything but numbers and lists of numbers.
    """
    table = _read_parquet(path)
    columns = {}
    for name in table.column_names:
        column = table.column(name).combine_chunks()
        values = column.flatten() if pa.types.is_list(column.type) else column
        if column.null_count or values.null_count or not (_is_number(values.type)):
            raise Refusal("{path} is no table of records: {column} holds more than numbers", path=path, column=name)
        array = values.to_numpy(zero_copy_only=False)
        columns[name] = array if values is column else array.reshape(len(column), -1) if len(column) else array
    return columns


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _read_parquet(path: Path, asked_for: Sequence[str] | None = None, optional: Sequence[str] = ()) -> pa.Table:
    try:
        # Not by pandas, whose own metadata in the file may ask for other types.
        with pa.OSFile(str(path)) as source, pq.ParquetFile(source, page_checksum_verification=True) as file:
            there = file.schema_arrow.names[:MOST_COLUMNS]
            names = there if asked_for is None else [*asked_for, *(name for name in optional if name in there)]
            groups = [file.metadata.row_group(place) for place in range(file.metadata.num_row_groups)]
            columns = [group.column(place) for group in groups for place in range(group.num_columns)]
            asked = max(
                8 * sum(column.num_values for column in columns),
                8 * file.metadata.num_rows * len(names),
                sum(column.total_uncompressed_size for column in columns),
            )
            check_unpacked(path, path.stat().st_size, asked)
            # Threads would cost more than they save: the tables of a sweep are small, and there are tens of thousands.
            table = file.read(columns=names, use_threads=False)
            _ = [table.column(name) for name in names]  # a missing one is an error here alone
            return table
    except OSError as error:
        if error.errno not in (None, errno.ENOENT):  # pyarrow's own have no number
            raise
        raise Damaged(path) from error
    except pa.ArrowException as error:
        raise Damaged(path) from error
    except KeyError as error:
        raise Refusal("{path} is no table of records: {error}", path=path, error=error) from error


def _numbers(path: Path, column: pa.Array, least: int = 0) -> NDArray[np.int64]:
    if not pa.types.is_integer(column.type) or column.null_count:
        raise Refusal("{path} is no table of records: a column holds more than whole numbers", path=path)
    numbers = column.to_numpy(zero_copy_only=False).astype(np.int64)
    if len(numbers) and not least <= numbers.min() <= numbers.max() <= MOST_ID:
        raise Refusal(
            "{path} is no table of records: a number is below {least} or above {most}",
            path=path,
            least=least,
            most=MOST_ID,
        )
    return numbers


def check_unpacked(path: object, packed: int, unpacked: int, least: int = LEAST_UNPACKED) -> None:
    """Refuse what would unpack to more than :data:`RATIO` times its size and more than ``least`` bytes."""
    if unpacked > max(RATIO * packed, least):
        raise Refusal(
            "{path} would unpack to {unpacked} bytes, more than {ratio} times its size",
            path=path,
            unpacked=unpacked,
            ratio=RATIO,
        )


#: What zipfile and numpy raise for a broken archive: many kinds, all meaning the same.
_BROKEN = (zipfile.BadZipFile, zlib.error, struct.error, ValueError, NotImplementedError, RuntimeError, EOFError)


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Read the arrays of an ``.npz`` file by their names; never unpickles, nor allocates more than the file holds.

    Raises:
        Damaged: if the file is missing, cut or overwritten.
        ValueError: as :func:`check_arrays`, or if an array would have to be unpickled.
    """
    pickled = check_arrays(path)
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except _BROKEN as error:
        if pickled:
            raise
        raise Damaged(path) from error


def check_arrays(path: Path) -> bool:
    """Refuse an ``.npz`` file whose arrays are not as large as their headers say.

    Returns:
        Whether an array would have to be unpickled.

    Raises:
        Damaged: if the file is missing, cut or overwritten.
        ValueError: naming the array, if somebody wrote it so: the check sums agree.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members, pickled = archive.infolist(), False
            check_unpacked(path, path.stat().st_size, sum(member.file_size for member in members))
            for member in members:
                with archive.open(member) as file:
                    version = np.lib.format.read_magic(file)
                    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else None
                    shape, _, dtype = (read or np.lib.format.read_array_header_2_0)(file)
                    if dtype.hasobject:  # numpy refuses these before it reads on
                        pickled = True
                        continue
                    if math.prod(shape) * dtype.itemsize != member.file_size - file.tell():
                        if archive.testzip() is not None:
                            raise Damaged(path)
                        raise Refusal(
                            "{path}: the array {name} is not what its header says", path=path, name=member.filename
                        )
            return pickled
    except Refusal:
        raise
    except (FileNotFoundError, *_BROKEN) as error:
        raise Damaged(path) from error
