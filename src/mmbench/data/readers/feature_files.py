"""Feature files of others whose rows are found by item id: a matrix with a list of ids, one file per item, ``.b``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmbench.data.features import (
    LARGEST,
    NPY_FAULTS,
    ItemFeature,
    narrowed,
    nonzero_rows,
    read_matrix,
    with_missing_filled,
)
from mmbench.data.readers.ids import composed, of_each
from mmbench.data.readers.journal import Journal
from mmbench.data.readers.lines import DAMAGED, GZIP_FAULTS, open_bytes, refuse_pickle
from mmbench.data.regular_file import regular_file
from mmbench.data.sources import rows_by_id
from mmbench.messages import Refusal, Template
from mmbench.messages.refused import first_line

#: A record of a ``.b`` file of Amazon 2014: the asin, then 4096 numbers.
RECORD = np.dtype([("asin", "S10"), ("values", "<f4", 4096)])
_RECORDS_AT_ONCE = 512
_BAD_VECTOR = Template("{path} must be a plain float array of one item, (d,) or (1, d), all finite: {error}")
#: Endings of a picture, in small letters.
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif")


def read_item_feature(path: Path, ids: Sequence[str], journal: Journal) -> ItemFeature:
    """Features of the items ``ids``, in their order; an item that the file lacks is missing.

    Args:
        path: a ``.npy`` matrix beside a ``<name>.ids.txt`` with one item id per line, a ``.b`` file, or a folder with
            one ``<item>.npy`` of shape ``(d,)`` or ``(1, d)`` per item.
        ids: item ids of the catalogue.
        journal: remembers the files.

    Raises:
        ValueError: for a file of another kind, a truncated one, or one that knows none of the items.
    """
    if path.is_dir():
        return _from_folder(path, ids, journal)
    regular_file(path)
    if path.name.removesuffix(".gz").endswith(".b"):
        return _from_records(path, ids, journal)
    refuse_pickle(path)
    sidecar = path.with_name(f"{path.stem}.ids.txt")
    if path.suffix != ".npy" or not sidecar.is_file():
        raise Refusal(
            "{path} must be a folder with <item>.npy files, a .b file, or a .npy file beside {sidecar} with one item "
            "id per line",
            path=path,
            sidecar=sidecar.name,
        )
    values, present = rows_by_id(read_matrix(journal.read(path)), journal.read(sidecar), list(ids))
    return with_missing_filled(values, present & nonzero_rows(values))


def image_paths(folder: Path, ids: Sequence[str]) -> list[str]:
    """Path of each item's image file, the item and one of :data:`IMAGE_SUFFIXES`; empty where there is none."""
    found = files_of_items(folder, ids) if folder.is_dir() else [[] for _ in ids]
    return [str(files[0].resolve()) if files and is_picture(files[0]) else "" for files in found]


def files_of_items(folder: Path, ids: Sequence[str]) -> list[list[Path]]:
    """The files that are called after each item, the one that counts first.

    That is a picture, else a file without an ending, else any other; the first by name of several. Names are found as
    by :func:`mmbench.data.readers.ids.places_of`.
    """
    held: dict[str, list[Path]] = {}
    files = (path for path in folder.iterdir() if path.is_file())
    for path in sorted(files, key=lambda path: (not is_picture(path), path.suffix != "", path)):
        held.setdefault(composed(path.stem), []).append(path)
    return [found or [] for found in of_each([composed(item) for item in ids], held)]


def is_picture(path: Path) -> bool:
    """Whether a file has the ending of a picture."""
    return path.suffix.lower() in IMAGE_SUFFIXES


def _from_folder(folder: Path, ids: Sequence[str], journal: Journal) -> ItemFeature:
    held = {composed(path.stem): path for path in sorted(folder.iterdir()) if path.suffix == ".npy"}
    files = of_each([composed(item) for item in ids], held)
    found = [(row, path) for row, path in enumerate(files) if path is not None]
    if not found:
        raise Refusal(
            "{path}: no item of the log occurs in it ({in_log} against {listed})",
            path=folder,
            in_log=repr(ids[0]),
            listed=repr(min(held, default="-")),
        )
    journal.read(folder)
    first = _vector(found[0][1])
    values, present = np.zeros((len(ids), len(first)), np.float32), np.zeros(len(ids), bool)
    for row, path in found:
        vector = _vector(path)
        if len(vector) != len(first):
            raise Refusal(
                "{path} has {width} numbers where others have {expected}",
                path=path,
                width=len(vector),
                expected=len(first),
            )
        values[row], present[row] = vector, vector.any()
    return with_missing_filled(values, present)


def _vector(path: Path) -> NDArray[np.float32]:
    """The features of one item ``(d,)``."""
    regular_file(path)
    try:
        array = np.load(path, allow_pickle=False)
    except NPY_FAULTS as error:
        raise Refusal(_BAD_VECTOR, path=path, error=first_line(error)) from error
    if array.dtype.kind != "f" or array.size == 0 or array.shape not in ((array.size,), (1, array.size)):
        raise Refusal(_BAD_VECTOR, path=path, error=f"{array.dtype} {array.shape}")
    if not np.isfinite(array).all():
        raise Refusal(_BAD_VECTOR, path=path, error="NaN, inf")
    if np.abs(array).max() > np.float64(LARGEST):
        raise Refusal(_BAD_VECTOR, path=path, error=f"> {LARGEST:g}")
    return narrowed(array.reshape(-1))


def _block(file: BinaryIO, path: Path) -> bytes:
    try:
        return file.read(RECORD.itemsize * _RECORDS_AT_ONCE)
    except GZIP_FAULTS as error:
        raise Refusal(DAMAGED, path=path) from error


def _from_records(path: Path, ids: Sequence[str], journal: Journal) -> ItemFeature:
    """Rows of a ``.b`` file, of which only those of ``ids`` are kept."""
    known = pd.Index(ids)
    values, present = np.zeros((len(ids), 4096), np.float32), np.zeros(len(ids), bool)
    example = ""
    with open_bytes(journal.read(path)) as file:
        done = 0
        while block := _block(file, path):
            if len(block) % RECORD.itemsize:
                raise Refusal(
                    "{path} is cut off after {records} records; every record has 10 bytes of asin and 4096 numbers "
                    "of 4 bytes",
                    path=path,
                    records=done + len(block) // RECORD.itemsize,
                )
            records = np.frombuffer(block, RECORD)
            asins = [asin.decode("latin-1") for asin in records["asin"].tolist()]
            example = example or asins[0]
            where = known.get_indexer(pd.Index(asins))
            kept = np.flatnonzero(where >= 0)
            values[where[kept]] = records["values"][kept]
            present[where[kept]] = True
            done += len(records)
    if not present.any():
        raise Refusal(
            "{path}: no item of the log occurs in it ({in_log} against {listed})",
            path=path,
            in_log=repr(ids[0]),
            listed=repr(example),
        )
    bad = ~np.isfinite(values).all(axis=1)
    if bad.any():
        raise Refusal.counted(
            "{path} has NaN or infinite values for the item {item}",
            "{path} has NaN or infinite values for {n} items (first: {item})",
            int(bad.sum()),
            path=path,
            item=repr(ids[int(bad.argmax())]),
        )
    return with_missing_filled(values, present & nonzero_rows(values))
