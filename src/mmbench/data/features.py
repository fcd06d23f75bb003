"""Item features: one matrix per modality, and which items really have one."""

from __future__ import annotations

import functools
import hashlib
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmbench import fingerprint
from mmbench.data.regular_file import regular_file
from mmbench.messages import Message, Refusal, Template

#: What reading a damaged ``.npy`` file raises: numpy tokenizes the header and allocates whatever shape it states.
NPY_FAULTS = (ValueError, EOFError, SyntaxError, tokenize.TokenError, MemoryError, OverflowError)

#: The largest number that a feature may have. Encoders give none so large, marks for missing values are beyond it, and
#: the squares of larger ones leave the range of float32.
LARGEST = 1e18
#: Numbers checked at once, so that a matrix larger than the free memory can be read.
BLOCK_NUMBERS = 1 << 22
PICKLED = Template("{path} holds pickled objects, which are never loaded; save a plain float array with numpy.save")


@dataclass(frozen=True)
class ItemFeature:
    """Features of one modality. They never change, so fingerprint and counts are computed once.

    Args:
        values: ``(n_items, d)`` float32; a missing item holds the mean of the present ones.
        present: ``(n_items,)``, false where the item has no content of this modality.
    """

    values: NDArray[np.float32]
    present: NDArray[np.bool_]

    def fingerprint(self) -> str:
        """SHA-256 of values and presence."""
        return self._fingerprint

    @functools.cached_property
    def _fingerprint(self) -> str:
        return fingerprint.of_arrays(self.values, self.present)

    def counts(self) -> dict[str, int]:
        """Numbers of items with content, of all items, of constant rows and of rows that repeat another one."""
        return dict(self._counts)

    @functools.cached_property
    def _counts(self) -> dict[str, int]:
        constant = 0
        seen: set[bytes] = set()
        for block in row_blocks(self.values):
            rows = np.ascontiguousarray(self.values[block][self.present[block]])
            constant += int((np.ptp(rows, axis=1) == 0).sum()) if rows.size else 0
            seen.update(hashlib.blake2b(row.data, digest_size=16).digest() for row in rows)
        n_present = int(self.present.sum())
        counts = {"present": n_present, "items": len(self.values), "constant": constant}
        return {**counts, "duplicates": n_present - len(seen)}

    def coverage(self, name: str) -> str:
        """The counts in one line."""
        return Message(
            "{modality} {present}/{items} items, {constant} constant, {duplicates} duplicate rows",
            modality=name,
            **self.counts(),
        )


def row_blocks(values: NDArray[Any]) -> Iterator[slice]:
    """Slices of the rows of a matrix ``(n, d)``, each of at most :data:`BLOCK_NUMBERS` numbers."""
    step = max(1, BLOCK_NUMBERS // max(1, values.shape[1]))
    return (slice(begin, begin + step) for begin in range(0, len(values), step))


def with_missing_filled(
    values: NDArray[np.float32], present: NDArray[np.bool_], *, in_place: bool = False
) -> ItemFeature:
    """Give every missing item the column mean of the present ones (zeros where none is present).

    Args:
        values: ``(n_items, d)``; the caller must not change them afterwards.
        present: ``(n_items,)``.
        in_place: write into ``values``; for a mapped file only this process sees the change.
    """
    if present.all():
        return ItemFeature(values, present)
    filled = values if in_place else values.copy()
    filled[~present] = _mean_of_rows(values, present) if present.any() else 0.0
    return ItemFeature(filled, present)


def _mean_of_rows(values: NDArray[np.float32], chosen: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Column mean ``(d,)`` of the chosen rows, of which there are some.

    Each block is added behind the sum of those before it, row after row, so that the mean is that of all rows at once
    to the last bit.
    """
    total = np.empty((0, values.shape[1]))
    for block in row_blocks(values):
        rows = values[block][chosen[block]]
        if len(rows):
            total = np.concatenate([total, rows], dtype=np.float64).sum(axis=0, keepdims=True)
    return np.asarray(total[0] / np.count_nonzero(chosen))


def nonzero_rows(values: NDArray[np.floating[Any]]) -> NDArray[np.bool_]:
    """Which rows of ``(n, d)`` are not all zero, ``(n,)``."""
    return np.concatenate([np.zeros(0, bool), *(values[block].any(axis=1) for block in row_blocks(values))])


def read_array(path: Path, pickled: Template = PICKLED, *, mapped: bool = False) -> NDArray[Any]:
    """Read a ``.npy`` file, never unpickling.

    Args:
        path: the file.
        pickled: the error for one that would need it.
        mapped: map the file copy-on-write, so that processes share its pages.

    Raises:
        ValueError: for a pickled array, an archive, a damaged file or what is no file.
    """
    regular_file(path)
    try:
        array: Any = np.load(path, mmap_mode="c" if mapped else None, allow_pickle=False)
    except NPY_FAULTS as error:
        if "pickle" in str(error).lower() or "python object" in str(error).lower():
            raise Refusal(pickled, path=path) from error
        raise Refusal("{path} is not a readable .npy file: {error}", path=path, error=error) from error
    if not isinstance(array, np.ndarray):
        raise Refusal("{path} is not a readable .npy file: {error}", path=path, error=Message("an archive of arrays"))
    return array


def read_matrix(path: Path, n_rows: int | None = None) -> NDArray[np.float32]:
    """Read a feature matrix ``(n_rows, d)`` of any float type from ``.npy``, never unpickling.

    A float32 file is mapped into memory copy-on-write: the processes of a machine share its pages, and no write reaches
    the file. Other types are copied.

    Raises:
        ValueError: for a pickled, non-float or wrongly shaped array, and for numbers that are not finite or beyond
            :data:`LARGEST`.
    """
    array = read_array(path, mapped=True)
    if array.dtype.kind != "f":
        raise Refusal(
            "{path} holds {dtype}; features must be float16, float32 or float64", path=path, dtype=array.dtype
        )
    if array.ndim != 2 or array.shape[1] == 0:
        raise Refusal("{path} has shape {shape}; features must be (n_items, d)", path=path, shape=array.shape)
    if n_rows is not None and len(array) != n_rows:
        raise Refusal(
            "{path} has {rows} rows but items.parquet has {items}; they must match",
            path=path,
            rows=len(array),
            items=n_rows,
        )
    largest = np.concatenate([np.zeros(0, array.dtype), *(_largest(array[block]) for block in row_blocks(array))])
    bad = ~np.isfinite(largest)
    if bad.any():
        raise Refusal.counted(
            "{path} has NaN or infinite values in 1 row (row {first}); mark missing items with an all-zero row or a "
            "column has_<modality> in items.parquet",
            "{path} has NaN or infinite values in {n} rows (first: row {first}); mark missing items with an all-zero "
            "row or a column has_<modality> in items.parquet",
            int(bad.sum()),
            path=path,
            first=int(bad.argmax()),
        )
    beyond = largest > np.float64(LARGEST)
    if beyond.any():
        first = int(beyond.argmax())
        raise Refusal.counted(
            "{path} has a number beyond {most} in 1 row (row {first}: {value}): is it a mark for a missing value? Mark "
            "missing items with an all-zero row or a column has_<modality> in items.parquet",
            "{path} has numbers beyond {most} in {n} rows (first: row {first}: {value}): are they marks for missing "
            "values? Mark missing items with an all-zero row or a column has_<modality> in items.parquet",
            int(beyond.sum()),
            path=path,
            most=f"{LARGEST:g}",
            first=first,
            value=f"{array[first, np.abs(array[first]).argmax()]:.6g}",
        )
    return narrowed(array)


def _largest(rows: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """The largest absolute number of every row of ``(n, d)``, ``(n,)``; NaN where a row has one."""
    return np.abs(rows).max(axis=1)


def row_lengths(values: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Length of every row of ``(n, d)``, ``(n,)``, whatever its scale: float32 has no squares of its own extremes."""
    blocks = (np.asarray(values[block], np.float64) for block in row_blocks(values))
    return np.concatenate([np.zeros(0), *(np.linalg.norm(rows, axis=1) for rows in blocks)])


def narrowed(array: NDArray[Any]) -> NDArray[np.float32]:
    """The numbers as float32, the same array where they are; those beyond its range become infinite."""
    with np.errstate(over="ignore"):
        return np.asarray(array).astype(np.float32, copy=False)
