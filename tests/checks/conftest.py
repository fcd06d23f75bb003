"""A folder without a fault, to be spoilt."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mmbench import fingerprint
from mmbench.data import encoded
from mmbench.encoders.encode_folder import encode_folder, parse_choice
from mmbench.store import files

N_USERS, N_ITEMS, PER_USER = 60, 40, 8
DAY = 86_400
#: Words that make forty different titles.
COLOURS = ["red", "blue", "green", "white", "black", "grey", "pink", "gold"]
THINGS = ["shoe", "lamp", "plate", "scarf", "kettle"]


def write_feature(folder: Path, name: str, values: np.ndarray, **about: object) -> None:
    """A feature file with a sidecar that fits it, but for what ``about`` says otherwise."""
    path = folder / f"{name}.npy"
    np.save(path, values.astype(np.float32))
    ids = pd.read_parquet(folder / "items.parquet")["item_id"].astype(str).tolist()
    said = {
        "modality": name.split("_")[0],
        "encoder": "toy",
        "d": values.shape[1],
        "sha256": fingerprint.of_file(path),
        "row_ids_sha256": fingerprint.of_strings(ids),
    }
    files.write_document(encoded.sidecar_file(path), {**said, **about})


def unit(values: np.ndarray) -> np.ndarray:
    return values / np.linalg.norm(values, axis=1, keepdims=True)


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """Sixty users, forty items with texts and images, a year of purchases."""
    folder = tmp_path / "shop"
    folder.mkdir()
    rng = np.random.default_rng(0)
    items = np.hstack([rng.permutation(N_ITEMS)[:PER_USER] for _ in range(N_USERS)])
    log = pd.DataFrame({"user_id": np.repeat([f"u{u}" for u in range(N_USERS)], PER_USER)})
    log["item_id"] = [f"i{i}" for i in items]
    log["timestamp"] = 1_700_000_000 + DAY * rng.integers(0, 365, len(log))
    log.to_parquet(folder / "interactions.parquet")
    titles = [f"{colour} {thing}" for colour in COLOURS for thing in THINGS]
    ids = [f"i{i}" for i in range(N_ITEMS)]
    pd.DataFrame({"item_id": ids, "title": titles}).to_parquet(folder / "items.parquet")
    encode_folder(folder, [parse_choice("text", "ngram")])
    write_feature(folder, "image_feat", unit(rng.standard_normal((N_ITEMS, 16))))
    return folder
