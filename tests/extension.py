"""A package of somebody else's that adds to mmbench what can be added, installed as pip leaves a package behind."""

from __future__ import annotations

from pathlib import Path

CODE = '''
"""Everything that a package can add, as small as it can be."""

import numpy as np
import pandas as pd
from mmbench.data.features import ItemFeature
from mmbench.data.sources import Source
from mmbench.models.hybridknn import HybridKNN


class Mine(HybridKNN):
    """A model."""


def first_hit(pairs, k):
    """A metric: whether the best place is within k."""
    first = np.full(pairs.n_users, np.inf)
    np.minimum.at(first, pairs.users, pairs.ranks)
    return (first <= k).astype(float)


def halved(feature, rng):
    """A state: every second column alone."""
    return ItemFeature(np.ascontiguousarray(feature.values[:, ::2]), feature.present)


def read_pairs(path):
    """A reader of tables: one pair a line."""
    rows = [line.split("~") for line in path.read_text(encoding="utf-8").splitlines()]
    return pd.DataFrame(rows[1:], columns=rows[0])


def import_baskets(path, options, journal):
    """An importer: one basket a line."""
    rows = [(user, item) for line in path.read_text().splitlines() for user, *items in [line.split()] for item in items]
    log = pd.DataFrame(rows, columns=["user_id", "item_id"])
    return Source(log, log[["item_id"]].drop_duplicates(), {})
'''
ENTRY_POINTS = """[mmbench.models]
mine = shop_extension:Mine

[mmbench.metrics]
first = shop_extension:first_hit

[mmbench.states]
halved = shop_extension:halved

[mmbench.readers]
pairs = shop_extension:read_pairs

[mmbench.importers]
baskets = shop_extension:import_baskets

[mmbench.conf]
shop = shop_extension.conf
"""
MODEL = """# @package _global_
model: {_target_: shop_extension.Mine, k: 20, shrink: 10.0, content_weight: 0.5, first_modality_weight: 0.5}
search: {model: {k: {low: 5, high: 40}}}
"""
CONDITION = "default: drop\nstates: {text: real, image: halved}\n"


def install(folder: Path) -> Path:
    """Lay the package out in a folder that is to be put on the search path of Python."""
    package, installed = folder / "shop_extension", folder / "shop_extension-1.0.dist-info"
    for place, name, text in (
        (package, "__init__.py", CODE),
        (package / "conf", "__init__.py", ""),
        (package / "conf" / "model", "mine.yaml", MODEL),
        (package / "conf" / "modality", "halved.yaml", CONDITION),
        (installed, "METADATA", "Metadata-Version: 2.1\nName: shop-extension\nVersion: 1.0\n"),
        (installed, "entry_points.txt", ENTRY_POINTS),
    ):
        place.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(text, encoding="utf-8")
    return folder
