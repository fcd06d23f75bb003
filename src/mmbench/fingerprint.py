"""SHA-256 fingerprints: what decides whether two runs saw the same thing."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def of_arrays(*arrays: NDArray[Any]) -> str:
    """Fingerprint arrays by dtype, shape and content, independent of their memory layout."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).view(np.uint8).data)
    return digest.hexdigest()


def of_named_arrays(arrays: Mapping[str, NDArray[Any]]) -> str:
    """Fingerprint arrays with their names, independent of the order of names: columns of a table, a model's state."""
    return of_json({name: of_arrays(array) for name, array in arrays.items()})


@functools.cache
def of_source(*places: Path) -> str:
    """Fingerprint Python source: single files, and folders with everything below them. Read once per process."""
    files = {
        str(file.relative_to(place.parent)): of_file(file)
        for place in places
        for file in ([place] if place.is_file() else place.rglob("*.py"))
    }
    return of_json(files)


def of_file(path: Path) -> str:
    """Fingerprint the bytes of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def of_json(value: Any) -> str:
    """Fingerprint a JSON-like value, independent of the order of keys."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def of_strings(values: list[str]) -> str:
    """Fingerprint a list of strings, order included."""
    return of_json(values)


def canonical_json(value: Any) -> str:
    """The one spelling of a JSON-like value that fingerprints are taken from."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
