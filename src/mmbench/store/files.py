"""Files that appear whole or not at all: text, JSON, parquet tables and states of models, by atomic rename."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow
from numpy.typing import NDArray
from pyarrow import parquet

from mmbench import faults
from mmbench.messages import Refusal

State = Mapping[str, NDArray[Any]]
#: Version in JSON files that are no records of a sweep: decisions, pre-tests, notes beside encoded features.
DOCUMENT_VERSION = 1


def write_atomic(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` fill a temporary file beside ``path``, then rename it: a reader sees all or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write(temporary)
        faults.reach("record")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text by atomic rename."""
    write_atomic(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON object; NaN and infinity are errors."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def write_document(path: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON file that is no record of a sweep, with its version."""
    write_json(path, {"schema_version": DOCUMENT_VERSION, **value})


def read_document(path: Path) -> dict[str, Any]:
    """Read what :func:`write_document` wrote.

    Raises:
        ValueError: if the file is no JSON object or of another version.
    """
    try:
        value: Any = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise Refusal("{path} is not a record: {error}", path=path, error=error) from error
    if not isinstance(value, dict):
        raise Refusal("{path} is not a record: it holds {kind}", path=path, kind=type(value).__name__)
    version = value.get("schema_version")
    if version != DOCUMENT_VERSION:
        raise Refusal(
            "{path} is a document of version {version}; this mmbench reads version {known}",
            path=path,
            version=version,
            known=DOCUMENT_VERSION,
        )
    return dict(value)


def write_parquet(path: Path, frame: pd.DataFrame) -> None:
    """Write a table by atomic rename."""
    write_atomic(path, lambda temporary: frame.to_parquet(temporary, index=False))


def read_columns(path: Path) -> dict[str, NDArray[Any]]:
    """Columns of a table, ``(rows,)`` or where every value is a list of k numbers ``(rows, k)``.

    A tenth of the time of reading a frame, for small files that a report reads by the ten thousand.
    """
    table = parquet.ParquetFile(path).read(use_threads=False).combine_chunks()
    found: dict[str, NDArray[Any]] = {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        values = column.combine_chunks()
        of_lists = isinstance(values, pyarrow.ListArray)
        numbers = (values.flatten() if of_lists else values).to_numpy(zero_copy_only=False)
        found[name] = numbers.reshape(table.num_rows, -1) if of_lists and table.num_rows else numbers
    return found


def write_state(path: Path, state: State) -> None:
    """Write a model's parameters as float16; a tensor beyond its range keeps its own type."""
    compact = {name: _compact(np.asarray(value)) for name, value in state.items()}

    def save(temporary: Path) -> None:
        with temporary.open("wb") as handle:
            np.savez(handle, **compact)  # type: ignore[arg-type]

    write_atomic(path, save)


def _compact(value: NDArray[Any]) -> NDArray[Any]:
    if value.dtype.kind != "f" or (value.size and np.abs(value).max() > np.finfo(np.float16).max):
        return value
    return value.astype(np.float16)


def read_state(path: Path) -> dict[str, NDArray[Any]]:
    """Read a model's parameters; never unpickles."""
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}
