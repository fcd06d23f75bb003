"""Readers and the writer of the canonical folder.

A canonical folder holds ``interactions.parquet`` (``user_id, item_id`` and optionally ``rating``, ``timestamp`` in
seconds since 1970 or as moments, and a split column), ``items.parquet`` (``item_id`` and optionally ``title``,
``has_<modality>`` and more), one ``<modality>_feat.npy`` per modality, further encoders beside it
(:mod:`mmbench.data.encoded`) and ``dataset.json``. The order of feature rows is proved by the hashes in the encoder's
sidecar, else by a list ``<modality>_feat.ids.txt`` with one item id per line, else by the hashes in ``dataset.json``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmbench import fingerprint
from mmbench.data import encoded
from mmbench.data.features import ItemFeature, narrowed, nonzero_rows, read_matrix, with_missing_filled
from mmbench.data.interactions import MOST_SECONDS, seconds
from mmbench.data.parquet import read_parquet
from mmbench.data.readers.ids import places_of
from mmbench.data.readers.text_table import Table, shortened
from mmbench.data.regular_file import regular_file
from mmbench.data.splits import given
from mmbench.messages import Message, Refusal, Template

FEATURE_SUFFIX = "_feat.npy"
SCHEMA = 1
_UNPROVED = Template(
    "{path}: nothing proves that its rows are in the order of items.parquet, and a wrong order looks like useless "
    "content; add {sidecar} (one item id per line) or set dataset.trust_row_order=true"
)
#: How tables write whether an item has content.
_FLAGS: Mapping[str, bool] = {
    **dict.fromkeys(("true", "1", "1.0"), True),
    **dict.fromkeys(("false", "0", "0.0", ""), False),
}


@dataclass(frozen=True)
class Source:
    """What a source gives: a log, a catalogue and features in the row order of the catalogue.

    Args:
        log: one row per interaction, ``user_id`` and ``item_id`` as strings.
        items: one row per item, ``item_id`` as string, unique.
        features: one :class:`ItemFeature` per modality, rows as ``items``.
        truth: the planted truth of a synthetic world, arrays by name.
        notices: remarks of the reader, one line each.
        texts: columns of ``items`` that make up an item's text.
    """

    log: pd.DataFrame
    items: pd.DataFrame
    features: Mapping[str, ItemFeature]
    truth: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    notices: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()


def read_folder(path: Path, *, trust_row_order: bool = False, encoder: Mapping[str, str] | None = None) -> Source:
    """Read a canonical folder.

    Args:
        path: the folder.
        trust_row_order: accept feature files whose row order nothing proves.
        encoder: label of the encoder by modality, see :func:`mmbench.data.encoded.chosen`.

    Raises:
        ValueError: naming the file and what is wrong with it.
    """
    log = _with_times(read_log(path), path / "interactions.parquet")
    items_file = path / "items.parquet"
    matrices = encoded.chosen(path, encoder or {})
    if items_file.exists():
        items = read_items(path)
    elif matrices:
        raise Refusal(
            "{path} has {first} but no items.parquet, so nobody knows which row is which item",
            path=path,
            first=next(iter(matrices.values())).name,
        )
    else:
        items = pd.DataFrame({"item_id": np.sort(log["item_id"].unique())})
    _check_ids(log, items, items_file)
    notices: list[str] = []
    features = {
        name: read_feature(matrix, name, items, trust=trust_row_order, notices=notices)
        for name, matrix in matrices.items()
    }
    return Source(log, items, features, notices=tuple(notices))


def modalities_in(path: Path) -> list[str]:
    """Names of the modalities of a canonical folder, without reading them."""
    return list(encoded.encoders_in(path))


def read_log(path: Path) -> pd.DataFrame:
    """The interactions of a canonical folder, ids as strings.

    Raises:
        ValueError: naming the file and what is wrong with it.
    """
    file = path / "interactions.parquet"
    log = _with_text_ids(_read_table(file), ["user_id", "item_id"], file)
    if log.empty:
        raise Refusal("{path} has no rows", path=file)
    return log


def read_items(path: Path) -> pd.DataFrame:
    """The catalogue of a canonical folder, ids as strings; they may repeat.

    Raises:
        ValueError: naming the file and what is wrong with it.
    """
    file = path / "items.parquet"
    return _with_text_ids(_read_table(file), ["item_id"], file)


def write_folder(
    source: Source, path: Path, provenance: Mapping[str, Any], entries: Mapping[str, Any] | None = None
) -> None:
    """Write ``source`` as a canonical folder; ``dataset.json`` comes last and proves the row order.

    Args:
        source: what to write.
        path: the folder.
        provenance: where it comes from.
        entries: further entries of ``dataset.json``.

    Raises:
        ValueError: for a modality that cannot be part of a file name.
    """
    for name in source.features:
        encoded.check_modality(name, f"{name}{FEATURE_SUFFIX}")
    path.mkdir(parents=True, exist_ok=True)
    items = source.items.copy()
    row_ids = fingerprint.of_strings(items["item_id"].tolist())
    described: dict[str, Any] = {}
    for name, feature in source.features.items():
        _save(path / f"{name}{FEATURE_SUFFIX}", np.where(feature.present[:, None], feature.values, np.float32(0)))
        items[f"has_{name}"] = feature.present
        read = with_missing_filled(narrowed(feature.values), feature.present)
        described[name] = {"row_ids_sha256": row_ids, "sha256": read.fingerprint(), "d": feature.values.shape[1]}
    source.log.to_parquet(path / "interactions.parquet", index=False)
    items.to_parquet(path / "items.parquet", index=False)
    if source.truth:
        np.savez_compressed(path / "truth.npz", **dict(source.truth))  # type: ignore[arg-type]
    meta = {"schema": SCHEMA, "provenance": dict(provenance), "features": described, **dict(entries or {})}
    _write_meta(path, meta)


def _write_meta(folder: Path, meta: Mapping[str, Any]) -> None:
    (folder / "dataset.json").write_text(json.dumps(meta, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _save(path: Path, values: NDArray[np.float32]) -> None:
    """Put a new file in the place of an old one, which a running sweep may have mapped."""
    partial = path.with_name(f".{path.name}.tmp")
    with partial.open("wb") as file:
        np.save(file, values, allow_pickle=False)
    os.replace(partial, path)


def _read_table(path: Path) -> pd.DataFrame:
    if not path.parent.is_dir():
        raise Refusal("{path} is not a folder; point dataset.path or $MMBENCH_DATA at the data", path=path.parent)
    if not path.exists():
        raise Refusal("{path} is missing; a dataset folder needs interactions.parquet", path=path)
    return read_parquet(path)


def _with_text_ids(table: pd.DataFrame, columns: list[str], path: Path) -> pd.DataFrame:
    texts: dict[str, pd.Series] = {}
    for column in columns:
        if column not in table:
            raise Refusal(
                "{path}: column {column} is missing; columns are {columns}",
                path=path,
                column=repr(column),
                columns=", ".join(map(str, table)),
            )
        texts[column] = table[column].astype(str)
        missing = (table[column].isna() | (texts[column].str.strip() == "")).to_numpy(bool)
        if missing.any():
            rows, first = int(missing.sum()), int(missing.argmax())
            raise Refusal.counted(
                "{path}: {n} row has no {column} (row {first})",
                "{path}: {n} rows have no {column} (first: row {first})",
                rows,
                path=path,
                column=column,
                first=first,
            )
        Table(path, table).require_ids(column)
    return table.assign(**texts)


def _with_times(log: pd.DataFrame, path: Path) -> pd.DataFrame:
    """The log with its times, where it has such, as numbers of seconds.

    A column of numbers stays as it is; moments, texts and nullable numbers become integers where all are whole.

    Raises:
        ValueError: for a time that is missing, cannot be read or counts milliseconds.
    """
    if "timestamp" not in log:
        return log
    times = seconds(log["timestamp"])
    unreadable, fine = ~np.isfinite(times), times >= MOST_SECONDS
    if unreadable.any():
        first = int(unreadable.argmax())
        raise Refusal.counted(
            "{path}: {n} row has no readable timestamp (row {first}: {example}); write seconds since 1970",
            "{path}: {n} rows have no readable timestamp (first: row {first}: {example}); write seconds since 1970",
            int(unreadable.sum()),
            path=path,
            first=first,
            example=repr(shortened(str(log["timestamp"].iloc[first]))),
        )
    if fine.any():
        first = int(fine.argmax())
        raise Refusal.counted(
            "{path}: {n} timestamp is too large for seconds (row {first}: {example}): it counts milliseconds or less; "
            "divide by 1,000",
            "{path}: {n} timestamps are too large for seconds (first: row {first}: {example}): they count "
            "milliseconds or less; divide by 1,000",
            int(fine.sum()),
            path=path,
            first=first,
            example=f"{times[first]:.0f}",
        )
    as_they_are = isinstance(log["timestamp"].dtype, np.dtype) and log["timestamp"].dtype.kind in "iuf"
    if as_they_are:
        return log
    return log.assign(timestamp=times.astype(np.int64) if (times % 1 == 0).all() else times)


def _with_numbers(log: pd.DataFrame, columns: list[str], path: Path) -> pd.DataFrame:
    """The log with columns, as far as it has them, as numbers; a missing one is NaN.

    Raises:
        ValueError: for a cell that is no number, with its row.
    """
    for column in columns:
        if column in log and not (isinstance(log[column].dtype, np.dtype) and log[column].dtype.kind in "biuf"):
            texts = log[column].astype(object).where(log[column].notna(), "").map(str)
            log = log.assign(**{column: Table(path, texts.to_frame()).numbers(column)})
    return log


def _check_ids(log: pd.DataFrame, items: pd.DataFrame, items_file: Path) -> None:
    repeated = items["item_id"][items["item_id"].duplicated()]
    if len(repeated):
        raise Refusal("{path}: item_id {item} occurs more than once", path=items_file, item=repr(repeated.iloc[0]))
    if not log["item_id"].isin(items["item_id"]).any():
        in_log, in_items = (repr(table["item_id"].iloc[0]) for table in (log, items))
        raise Refusal(
            "{path}: no item_id of interactions.parquet occurs in it ({in_log} against {listed})",
            path=items_file,
            in_log=in_log,
            listed=in_items,
        )


def check_source(source: Source, place: str) -> Source:
    """What an importer of somebody else's gives, ids as text.

    Args:
        source: log, catalogue and features.
        place: the importer, for errors.

    Raises:
        ValueError: naming what is wrong with it.
    """
    for part, kind in (("log", pd.DataFrame), ("items", pd.DataFrame), ("features", Mapping)):
        _check_kind(f"{place}: {part}", getattr(source, part), kind)
    log, items = (table.reset_index(drop=True) for table in (source.log, source.items))  # errors tell rows by number
    log = _with_times(_with_text_ids(log, ["user_id", "item_id"], Path(place)), Path(place))
    log = _with_numbers(log, ["rating", "quantity"], Path(place))
    if "split" in log:
        log = log.assign(split=given(log, "split"))
    items = _with_text_ids(items, ["item_id"], Path(place))
    if log.empty:
        raise Refusal("{path} has no rows", path=place)
    _check_ids(log, items, Path(place))
    for name, feature in source.features.items():
        encoded.check_modality(name, place)
        _check_kind(f"{place}: features[{name!r}]", feature, ItemFeature)
        _check_kind(f"{place}: features[{name!r}].values", feature.values, np.ndarray)
        _check_kind(f"{place}: features[{name!r}].present", feature.present, np.ndarray)
        if feature.values.shape[:1] != feature.present.shape or len(feature.values) != len(items):
            raise Refusal(
                "{place}: modality {modality} has {rows} rows for {items} items",
                place=place,
                modality=repr(name),
                rows=len(feature.values),
                items=len(items),
            )
        if not _holds_numbers(feature):
            raise Refusal(
                "{place}: modality {modality} must have numbers in two dimensions, all finite where an item has "
                "content, and which items have it as truth values",
                place=place,
                modality=repr(name),
            )
    return replace(source, log=log, items=items)


def _check_kind(part: str, given: object, kind: type) -> None:
    if not isinstance(given, kind):
        raise Refusal("{part} is {given} and no {kind}", part=part, given=type(given).__name__, kind=kind.__name__)


def _holds_numbers(feature: ItemFeature) -> bool:
    """Whether features that somebody else's code made are of the type and shape that everything after expects."""
    values, present = feature.values, feature.present
    if values.ndim != 2 or not values.shape[1] or values.dtype.kind not in "fiu" or present.dtype != np.bool_:
        return False
    return bool(np.isfinite(values[present]).all())


def read_meta(folder: Path) -> dict[str, Any]:
    """What ``dataset.json`` says, empty without one.

    Raises:
        ValueError: if it is not what mmbench writes.
    """
    path = folder / "dataset.json"
    if not path.exists():
        return {}
    try:
        meta = json.loads(regular_file(path).read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refusal("{path} is not valid JSON: {error}", path=path, error=error) from error
    described = meta.get("features", {}) if isinstance(meta, dict) else None
    if not isinstance(described, dict) or not all(isinstance(entry, dict) for entry in described.values()):
        raise Refusal('{path} must hold an object with "features" by modality, as mmbench writes it', path=path)
    return dict(meta)


def named_texts(folder: Path) -> tuple[str, ...]:
    """Columns that ``prepare`` made the texts of, as ``dataset.json`` says; none where it says nothing.

    Raises:
        ValueError: as :func:`read_meta`.
    """
    named = read_meta(folder).get("texts")
    return tuple(name for name in named if isinstance(name, str)) if isinstance(named, list) else ()


def was_prepared(folder: Path) -> bool:
    """Whether ``dataset.json`` says that ``prepare`` wrote the folder; a published one says where it comes from."""
    try:
        provenance = read_meta(folder).get("provenance")
    except ValueError:
        return False
    return isinstance(provenance, dict) and "mmbench" in provenance


def text_is_grams(folder: Path) -> bool:
    """Whether ``dataset.json`` says that ``prepare`` made these text features of character n-grams."""
    try:
        if not str(read_meta(folder)["provenance"]["text"]["encoder"]).startswith("character n-grams"):
            return False
        return _is_unchanged(folder, "text")
    except (ValueError, KeyError, TypeError, AttributeError):
        return False


def note_encoded(folder: Path, digests: Mapping[str, str]) -> None:
    """Add to ``dataset.json`` the feature files that ``prepare`` had encoders make, by name with their SHA-256."""
    _write_meta(folder, {**read_meta(folder), "encoded": dict(digests)})


def prepared_features(folder: Path) -> list[Path]:
    """Feature files that ``prepare`` wrote, as ``dataset.json`` says, and nobody has changed; and their sidecars."""
    found: list[Path] = []
    try:
        meta = read_meta(folder)
        noted = meta.get("encoded")
        digests = noted if isinstance(noted, dict) else {}
        for modality, files in encoded.encoders_in(folder).items():
            for label, path in files.items():
                if path.name in digests and digests[path.name] == fingerprint.of_file(path):
                    found += [path, encoded.sidecar_file(path)]
                elif label == encoded.DEFAULT and modality in meta.get("features", {}):
                    found += [path] if _is_unchanged(folder, modality) else []
    except ValueError:  # a file that cannot be read is not what prepare wrote
        pass
    return found


def _is_unchanged(folder: Path, name: str) -> bool:
    """Whether the default features of a modality are those that ``dataset.json`` describes."""
    path = encoded.feature_file(folder, name)
    feature = read_feature(path, name, read_items(folder), trust=True, notices=[])
    return _is_described(path, feature, _described(path, name))


def _described(path: Path, name: str) -> dict[str, Any]:
    """What ``dataset.json`` says of the default features of a modality; of a file with a label it says nothing."""
    if path != encoded.feature_file(path.parent, name):
        return {}
    return dict(read_meta(path.parent).get("features", {}).get(name, {}))


def _is_described(path: Path, feature: ItemFeature, described: Mapping[str, Any]) -> bool:
    """Whether features are those that ``dataset.json`` describes.

    ``has_<modality>`` may have been changed since; then the zero rows tell which items were missing.
    """
    wanted = described.get("sha256")
    if wanted is None or wanted == feature.fingerprint():
        return True
    values = read_matrix(path)
    return bool(wanted == with_missing_filled(values, nonzero_rows(values), in_place=True).fingerprint())


def read_feature(path: Path, name: str, items: pd.DataFrame, *, trust: bool, notices: list[str]) -> ItemFeature:
    """Read one feature file in the order of ``items``.

    Args:
        path: the matrix.
        name: its modality.
        items: catalogue of the folder.
        trust: accept a row order that nothing proves.
        notices: list that remarks are added to.

    Raises:
        ValueError: naming the file and what is wrong with it.
    """
    ids = items["item_id"].tolist()
    sidecar = path.with_name(f"{path.stem}.ids.txt")
    flag = f"has_{name}"
    described: Mapping[str, Any] = {}
    if encoded.proved_sidecar(path, ids) is not None:
        # It is about this very matrix; a list of ids and has_<modality> may be about an earlier one. Its zero rows are
        # the items without content.
        values = read_matrix(path, len(ids))
        return with_missing_filled(values, nonzero_rows(values), in_place=True)
    if sidecar.exists():
        values, present = rows_by_id(read_matrix(path), sidecar, ids)
    else:
        described = _described(path, name)
        proof = described.get("row_ids_sha256")
        if proof is not None and proof != fingerprint.of_strings(ids):
            raise Refusal(
                "{path}: dataset.json was written for another items.parquet (ids or their order differ)", path=path
            )
        if proof is None and not trust:
            raise Refusal(_UNPROVED, path=path, sidecar=sidecar.name)
        values = read_matrix(path, len(ids))
        present = np.ones(len(ids), bool)
    # The column tells of the default matrix; one with a label says by its zero rows what it lacks.
    default = path == encoded.feature_file(path.parent, name)
    if default and flag in items:
        present &= _flags(items[flag], path.with_name("items.parquet"))
    else:
        zero = present & ~nonzero_rows(values)
        if zero.any() and default:
            notices.append(
                Message.counted(
                    "{modality}: {n} all-zero row counts as missing (no column {flag})",
                    "{modality}: {n} all-zero rows count as missing (no column {flag})",
                    int(zero.sum()),
                    modality=name,
                    flag=flag,
                )
            )
        elif zero.any():
            notices.append(
                Message.counted(
                    "{modality}: {n} all-zero row of {file} counts as missing",
                    "{modality}: {n} all-zero rows of {file} count as missing",
                    int(zero.sum()),
                    modality=name,
                    file=path.name,
                )
            )
        present &= ~zero
    feature = with_missing_filled(values, present, in_place=True)
    if not trust and not _is_described(path, feature, described):
        raise Refusal(_UNPROVED, path=path, sidecar=sidecar.name)
    return feature


def _flags(values: pd.Series, file: Path) -> NDArray[np.bool_]:
    """A column that says which items have content, ``(n,)``; where it says nothing, the item has none.

    Raises:
        ValueError: for a value other than true and false, 1 and 0.
    """
    words = values.astype(object).where(values.notna(), False).map(str).str.strip().str.lower()
    flags = words.map(_FLAGS)
    unknown = flags.isna().to_numpy(bool)
    if unknown.any():
        raise Refusal(
            "{path}: column {column} holds {value}; allowed are true and false, 1 and 0",
            path=file,
            column=repr(values.name),
            value=repr(shortened(str(values[unknown].iloc[0]))),
        )
    return flags.to_numpy(bool)


def rows_by_id(
    matrix: NDArray[np.float32], sidecar: Path, ids: list[str]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Rows of ``matrix`` ``(n, d)`` in the order of ``ids``, zeros for an id that is not listed, and which are.

    Args:
        matrix: features in the order of the sidecar.
        sidecar: file with one item id per line; a byte order mark and blanks around an id say nothing, and an id that
            ``ids`` lacks is found as by :func:`mmbench.data.readers.ids.places_of`.
        ids: items wanted.

    Raises:
        ValueError: for a sidecar of another length, with a repeated id, or with none of ``ids``.
    """
    try:
        rows = pd.Index([line.strip() for line in regular_file(sidecar).read_text(encoding="utf-8-sig").splitlines()])
    except UnicodeDecodeError as error:
        raise Refusal("{path} is not UTF-8 text: {error}", path=sidecar, error=error) from error
    if len(rows) != len(matrix):
        raise Refusal(
            "{path} has {ids} ids but the matrix has {rows} rows; they must match",
            path=sidecar,
            ids=len(rows),
            rows=len(matrix),
        )
    if rows.has_duplicates:
        raise Refusal("{path}: id {id} occurs more than once", path=sidecar, id=repr(rows[rows.duplicated()][0]))
    where = places_of([name.strip() for name in ids], rows.tolist())
    if (where < 0).all():
        raise Refusal(
            "{path}: none of its ids occurs in items.parquet ({first} against {listed})",
            path=sidecar,
            first=repr(rows[0]),
            listed=repr(ids[0]),
        )
    if np.array_equal(where, np.arange(len(matrix))):
        return matrix, where >= 0  # in order already, so a mapped file stays mapped
    values = matrix[np.maximum(where, 0)]
    values[where < 0] = 0
    return values, where >= 0
