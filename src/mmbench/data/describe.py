"""What a source holds, in numbers: the part of ``dataset.json`` that people read first."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from mmbench.data.readers.columns import IMAGE_COLUMNS
from mmbench.data.sources import Source


def coded(log: pd.DataFrame) -> pd.DataFrame:
    """The log with ids as numbers: what counting and splitting need, in a fraction of the memory."""
    ids = {name: pd.factorize(log[name])[0].astype(np.int32) for name in ("user_id", "item_id")}
    return pd.DataFrame({**ids, **{name: log[name] for name in ("timestamp", "split") if name in log}})


def statistics(source: Source, ids: pd.DataFrame | None = None) -> dict[str, Any]:
    """Sizes, density, interactions per user and item, and the range of times and ratings.

    ``pairs`` are the different pairs of user and item, ``density`` is their share of all, and times are seconds since
    1970.

    Args:
        source: what to describe.
        ids: its log as :func:`coded` gives it, where that was done already.
    """
    log, n_items = source.log, len(source.items)
    ids = coded(log) if ids is None else ids
    users, items = (ids[name].to_numpy(np.int64) for name in ("user_id", "item_id"))
    per_user, per_item = np.bincount(users), np.bincount(items)
    keys = users * len(per_item) + items
    keys.sort()  # numpy's unique would hash them, in many times their memory
    pairs = 1 + int((keys[1:] != keys[:-1]).sum())
    numbers: dict[str, Any] = {
        "users": len(per_user),
        "items": n_items,
        "items_with_interactions": len(per_item),
        "rows": len(log),
        "pairs": pairs,
        "density": pairs / (len(per_user) * n_items),
        "per_user": _spread(per_user),
        "per_item": _spread(per_item),
    }
    for column in ("timestamp", "rating", "quantity"):
        if column in log and log[column].notna().any():
            numbers[column] = {"min": log[column].min().item(), "max": log[column].max().item()}
    return numbers


def coverage(source: Source) -> dict[str, dict[str, int]]:
    """Items with content by modality, and with a text or an image to encode."""
    counts = {name: feature.counts() for name, feature in sorted(source.features.items())}
    for column in (*source.texts, *IMAGE_COLUMNS):
        if column in source.items:
            counts[f"items.{column}"] = {
                "present": int((source.items[column].dropna().astype(str).str.strip() != "").sum())
            }
    return counts


def _spread(counts: Any) -> dict[str, float]:
    return {"min": int(counts.min()), "median": float(np.median(counts)), "max": int(counts.max())}
