"""Parquet files of others: their columns by name and their rows by position, whatever index a DataFrame had."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mmbench.data.regular_file import regular_file
from mmbench.messages import Refusal, Template
from mmbench.messages.refused import first_line

NOT_UTF8 = Template("{path}: column {column} holds bytes that are not UTF-8; write its texts as UTF-8")
#: Integers that a float cannot always hold, and what holds them beside a gap.
_WIDE = {pa.int64(): "Int64", pa.uint64(): "UInt64"}
#: Column in which pandas keeps an index without a name.
_UNNAMED = re.compile(r"__index_level_\d+__")


def read_parquet(path: Path, columns: Sequence[str] | None = None, rows: int | None = None) -> pd.DataFrame:
    """Read a table, rows numbered from zero.

    A named level of the index that was saved (of ``set_index("user_id")``) is a column; an index without a name, as
    filters and ``pd.concat`` leave it, is dropped.

    Args:
        path: file.
        columns: those to keep; all by default.
        rows: how many of the first rows; all by default.

    Raises:
        ValueError: for what is no file, for one that is no Parquet, and for texts that are not UTF-8.
    """
    regular_file(path)
    try:
        with pq.ParquetFile(path) as file:
            if rows is None:
                table = file.read() if columns is None else file.read(list(columns))
            else:
                table = pa.Table.from_batches(itertools.islice(file.iter_batches(max(rows, 1)), 1), file.schema_arrow)
                table = table.slice(0, rows)
        _check_texts(table, path)
        return _by_position(table)
    except Refusal:
        raise
    except Exception as error:  # pyarrow raises many kinds, all meaning the same to a user
        raise Refusal("{path} is not a readable parquet file: {error}", path=path, error=first_line(error)) from error


def _check_texts(table: pa.Table, path: Path) -> None:
    """Arrow takes the bytes of a column of texts as they are, and fails much later, without its name."""
    for name, column in zip(table.column_names, table.columns, strict=True):
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            try:
                column.validate(full=True)
            except pa.ArrowInvalid as error:
                raise Refusal(NOT_UTF8, path=path, column=repr(name)) from error


def _by_position(table: pa.Table) -> pd.DataFrame:
    """The table with the levels of its index as columns, as far as they have a name."""
    metadata = table.schema.metadata or {}
    described = table.schema.pandas_metadata or {}
    for level in described.get("index_columns", []):
        # A RangeIndex is no column of the file; its description is all that there is of it.
        if isinstance(level, dict) and level.get("name") is not None and level["name"] not in table.column_names:
            places = level["start"] + level["step"] * np.arange(len(table))
            table = table.append_column(str(level["name"]), pa.array(places))
    table = table.select([name for name in table.column_names if not _UNNAMED.fullmatch(name)])
    without_index = {b"pandas": json.dumps({**described, "index_columns": []}).encode()} if described else {}
    frame = table.replace_schema_metadata({**metadata, **without_index}).to_pandas()
    frame = frame.set_axis(table.column_names, axis=1)
    for place, column in enumerate(table.columns):
        # pandas makes floats of integers beside a gap, and rounds those that a float cannot hold: ids of 64 bits.
        if column.null_count and column.type in _WIDE and not _fits_a_float(column):
            frame.isetitem(place, column.to_pandas(integer_object_nulls=True).astype(_WIDE[column.type]))
    return frame


def _fits_a_float(column: pa.ChunkedArray) -> bool:
    """Whether every integer of a column is one that a float of 64 bits holds exactly."""
    ends = pc.min_max(column).as_py()
    return ends["min"] is None or -(2**53) <= ends["min"] <= ends["max"] <= 2**53
