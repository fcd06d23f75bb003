"""Item features: one matrix per modality, and which items really have one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmbench import fingerprint
from mmbench.data.journal import refusal


@dataclass(frozen=True)
class ItemFeature:
    """Features of one modality.

    Args:
        values: ``(n_items, d)`` float32; a missing item holds the mean of the present ones.
        present: ``(n_items,)``, false where the item has no content of this modality.
    """

    values: NDArray[np.float32]
    present: NDArray[np.bool_]

    def fingerprint(self) -> str:
        """SHA-256 of values and presence."""
        return fingerprint.of_arrays(self.values, self.present)

    def take(self, rows: NDArray[np.int64]) -> ItemFeature:
        """The items ``rows`` in that order, with missing items filled from the mean of those that stay."""
        return with_missing_filled(self.values[rows], self.present[rows])

    def counts(self) -> dict[str, int]:
        """How many items have content, how many of their rows are constant, how many repeat another."""
        rows = self.values[self.present]
        constant = int((np.ptp(rows, axis=1) == 0).sum()) if rows.size else 0
        as_bytes = np.ascontiguousarray(rows).view(np.dtype((np.void, rows.dtype.itemsize * rows.shape[1])))
        duplicates = len(rows) - len(np.unique(as_bytes))
        return {"present": len(rows), "items": len(self.values), "constant": constant, "duplicates": duplicates}

    def coverage(self, name: str) -> str:
        """The counts in one line."""
        n = self.counts()
        return f"{name} {n['present']}/{n['items']} items, {n['constant']} constant, {n['duplicates']} duplicate rows"


def with_missing_filled(values: NDArray[np.float32], present: NDArray[np.bool_]) -> ItemFeature:
    """Give every missing item the column mean of the present ones (zeros where none is present).

    Where nothing is missing the matrix is taken as it is, without a copy.
    """
    if present.all():
        return ItemFeature(values, present)
    filled = values.copy()
    filled[~present] = values[present].mean(axis=0, dtype=np.float64) if present.any() else 0.0
    return ItemFeature(filled, present)


def read_matrix(path: Path, n_rows: int | None = None) -> NDArray[np.float32]:
    """Read a feature matrix ``(n_rows, d)`` of any float type from ``.npy``, never unpickling.

    Raises:
        ValueError: for a pickled, non-float, wrongly shaped or non-finite array.
    """
    try:
        array: Any = np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        if "pickle" in str(error).lower():
            raise refusal("pickled_matrix", path=path) from error
        raise refusal("bad_matrix", path=path, error=error) from error
    if not isinstance(array, np.ndarray):
        raise refusal("bad_matrix", path=path, error="an archive of arrays")
    if array.dtype.kind != "f":
        raise refusal("matrix_type", path=path, dtype=array.dtype)
    if array.ndim != 2 or array.shape[1] == 0:
        raise refusal("matrix_shape", path=path, shape=array.shape)
    if n_rows is not None and len(array) != n_rows:
        raise refusal("matrix_rows", path=path, rows=len(array), items=n_rows)
    bad = ~np.isfinite(array).all(axis=1)
    if bad.any():
        raise refusal("matrix_not_finite", int(bad.sum()), path=path, first=int(bad.argmax()))
    return array.astype(np.float32)
