"""Items that were found only thanks to images, with their titles and small pictures, as proof for the eye."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from PIL import Image

from mmbench.decision.gates import IMAGE, finished
from mmbench.inference.contribution import hits
from mmbench.report.catalogue import Catalogue
from mmbench.report.contribution_facts import coalitions
from mmbench.report.facts import K
from mmbench.report.table import CellResult, SweepTable

SHOWN = 6
#: Pixels of the longer side, and formats that are opened at all.
SIDE, FORMATS = 160, ("JPEG", "PNG", "WEBP", "GIF")
ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".gif")
#: A larger file is no thumbnail; and a longer title no title.
MOST_BYTES, MOST_CHARACTERS = 20_000_000, 90


@dataclass(frozen=True)
class Example:
    """One item.

    Args:
        title: its title, or its id.
        image: a small JPEG as a data address; empty without a picture.
        share: share of the seeds in which its buyer's purchase was found only thanks to images.
    """

    title: str
    image: str
    share: float


def read_examples(cells: list[CellResult], data: Catalogue, modality: str) -> list[Example]:
    """Items whose held-out purchase is among the best :data:`~mmbench.report.facts.K` thanks to one modality only.

    Args:
        cells: finished conditions of one model.
        data: its data set.
        modality: the modality in question.
    """
    game = coalitions(cells)
    names = sorted(frozenset().union(*game))
    if len(names) != 2 or len(game) != 4 or modality not in names:
        return []
    hit = {subset: hits.hits(cell.rankings, K) for subset, cell in game.items()}
    singles = {name: hit[frozenset({name})] for name in names}
    share = hits.found_only_with(hit[frozenset()], singles, hit[frozenset(names)], modality)
    items = game[frozenset()].tested[0].items
    best = pd.Series(share).groupby(items).max().sort_index()
    chosen = best[best >= 0.5].sort_values(ascending=False, kind="stable").head(SHOWN)
    return [Example(title(data, int(item)), thumbnail(data, int(item)), float(s)) for item, s in chosen.items()]  # type: ignore[call-overload]


def examples_of(table: SweepTable, cell: CellResult, data: Catalogue | str) -> list[Example]:
    """Examples for the model of a cell; none where the data set cannot be read."""
    if isinstance(data, str):
        return []
    return read_examples(finished(table, cell), data, IMAGE)


def title(data: Catalogue, item: int) -> str:
    """The title of an item, or the id where there is none."""
    for column in ("title", "name", "text"):
        value = data.items[column].iloc[item] if column in data.items else None
        if isinstance(value, str) and value.strip():
            text = " ".join(value.split())
            return text if len(text) <= MOST_CHARACTERS else f"{text[:MOST_CHARACTERS]}…"
    return str(data.dataset.item_ids[item])


def thumbnail(data: Catalogue, item: int) -> str:
    """A small picture of an item as a data address; empty where the folder holds none that can be read."""
    if data.folder is None:
        return ""
    root = data.folder.resolve()
    for file in _places(data, root, item):
        inside = file.resolve()
        if inside.is_relative_to(root) and inside.is_file() and inside.stat().st_size <= MOST_BYTES:
            try:
                with Image.open(inside, formats=FORMATS) as picture:
                    picture.thumbnail((SIDE, SIDE))
                    out = io.BytesIO()
                    picture.convert("RGB").save(out, "JPEG", quality=70)
            except (OSError, ValueError, Image.DecompressionBombError):
                continue
            return f"data:image/jpeg;base64,{base64.b64encode(out.getvalue()).decode()}"
    return ""


def _places(data: Catalogue, root: Path, item: int) -> list[Path]:
    """Where the picture may lie: what items.parquet says, else ``images/<item id>``."""
    path = data.items["image_path"].iloc[item] if "image_path" in data.items else None
    places = [root / path] if isinstance(path, str) and path else []
    name = str(data.dataset.item_ids[item])
    if name and not set(name) & set("/\\\0"):
        places += [root / "images" / f"{name}{ending}" for ending in ENDINGS]
    return places
