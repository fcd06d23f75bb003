"""Ducho and Elliot: tables without header and one feature file per item.

``reviews.tsv``, or ``train.tsv``, ``val.tsv`` and ``test.tsv``, hold user, item, rating and optionally time;
``meta.tsv`` or ``final_meta.tsv`` hold ``asin``, ``description`` and ``imUrl``; features lie one file per item in
``visual_embeddings/<backend>/<model>/<layer>`` and ``textual_embeddings/...``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from mmbench.data.features import ItemFeature, with_missing_filled
from mmbench.data.readers.delimited import Dialect, read_delimited
from mmbench.data.readers.feature_files import image_paths, read_item_feature
from mmbench.data.readers.journal import Journal
from mmbench.data.readers.lines import numbered_lines
from mmbench.data.readers.log_and_items import first_of_each, log_of, with_ids, with_unlisted
from mmbench.data.regular_file import visible_in
from mmbench.data.sources import Source
from mmbench.messages import Refusal

NAMES = ("user", "item", "rating", "timestamp")
_HEADLESS = Dialect("\t", quoted=False, header=False)
_PARTS: Mapping[str, tuple[str, ...]] = {
    "train": ("train.tsv", "train_indexed.tsv"),
    "valid": ("val.tsv", "val_indexed.tsv", "valid.tsv", "validation.tsv"),
    "test": ("test.tsv", "test_indexed.tsv"),
}
_MODALITIES = {"image": "visual", "text": "textual", "audio": "audio"}


def read_ducho(folder: Path, journal: Journal) -> Source:
    """Read a folder.

    Raises:
        ValueError: naming the file and what is wrong with it, or if a modality has several extractors.
    """
    log = _log(folder, journal)
    items, texts = _items(folder, log, journal)
    ids = items["item_id"].tolist()
    paths = image_paths(folder / "images", ids)
    if any(paths):
        items["image_path"] = paths
    features = {}
    for modality, word in _MODALITIES.items():
        place = _extractor(folder / f"{word}_embeddings", modality)
        if place is not None:
            feature = read_item_feature(place, ids, journal)
            features[modality] = _without(feature, folder / f"missing_{word}.tsv", ids, journal)
    return Source(log, items, features, notices=tuple(journal.lines), texts=texts)


def _log(folder: Path, journal: Journal) -> pd.DataFrame:
    held = {part: next((folder / n for n in names if (folder / n).is_file()), None) for part, names in _PARTS.items()}
    if held["train"] is None:
        return _rows(folder / "reviews.tsv", journal)
    logs = [_rows(path, journal).assign(split=part) for part, path in held.items() if path is not None]
    return pd.concat(logs, ignore_index=True)


def _rows(path: Path, journal: Journal) -> pd.DataFrame:
    table = read_delimited(journal.read(path), _HEADLESS, names=NAMES)
    names = {name: name for name in NAMES if name in table.frame}
    if "item" not in names:
        raise Refusal(
            "{path} has too few columns; it must hold {expected}, apart by tabs and without a header",
            path=path,
            expected=", ".join(NAMES),
        )
    return log_of(table, names, journal)


def _items(folder: Path, log: pd.DataFrame, journal: Journal) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """The catalogue, and its text columns."""
    path = next((folder / name for name in ("final_meta.tsv", "meta.tsv") if (folder / name).is_file()), None)
    if path is None:
        return pd.DataFrame({"item_id": np.sort(log["item_id"].unique())}), ()
    table = read_delimited(journal.read(path), Dialect("\t", quoted=False))
    table.check_column("asin", "asin")
    names = {"title": "title", "description": "description", "imUrl": "image_url"}
    kept = [name for name in names if name in table.frame]
    table = with_ids(table, {"item_id": "asin"}, "items", journal)
    listed = first_of_each(table.frame[["item_id", *kept]].rename(columns=names), journal)
    return with_unlisted(log, listed, path, journal), tuple(names[name] for name in kept if name != "imUrl")


def _extractor(root: Path, modality: str) -> Path | None:
    """The one folder below ``root`` that holds feature files."""
    extractors = sorted({path.parent for path in visible_in(root, "**/*.npy")}) if root.is_dir() else []
    if len(extractors) > 1:
        names = ", ".join(str(path.relative_to(root)) for path in extractors)
        raise Refusal(
            "{path} holds features of several extractors for {modality} ({found}); keep one, or name a folder with "
            "--features {modality}=FOLDER",
            path=root,
            modality=modality,
            found=names,
        )
    return extractors[0] if extractors else None


def _without(feature: ItemFeature, path: Path, ids: list[str], journal: Journal) -> ItemFeature:
    """The feature with the items that a list calls missing taken out."""
    if not path.is_file():
        return feature
    missing = {line.split("\t")[0].strip() for _, line in numbered_lines(journal.read(path))}
    return with_missing_filled(feature.values, feature.present & ~pd.Index(ids).isin(list(missing)))
