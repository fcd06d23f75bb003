"""Items that were found only thanks to images, with their titles and small pictures, as proof for the eye."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from PIL import Image

from mmbench.data import encoded
from mmbench.data.readers.columns import guessed
from mmbench.data.sources import named_texts
from mmbench.decision.gates import IMAGE, finished
from mmbench.encoders.contents import item_images
from mmbench.inference.contribution import hits
from mmbench.messages import Message, Refusal, Translator
from mmbench.report.catalogue import Catalogue
from mmbench.report.contribution_facts import coalitions
from mmbench.report.facts import K
from mmbench.report.table import CellResult, SweepTable
from mmbench.scheduling.trust import Trust

SHOWN = 6
#: Pixels of the longer side, and formats that are opened at all.
SIDE, FORMATS = 160, ("JPEG", "PNG", "WEBP", "GIF")
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


def read_examples(cells: list[CellResult], data: Catalogue, modality: str, trust: Trust) -> list[Example]:
    """Items whose held-out purchase is among the best :data:`~mmbench.report.facts.K` thanks to one modality only.

    They were found so in most final runs; where there is only one, none is named.

    Args:
        cells: finished conditions of one model.
        data: its data set.
        modality: the modality in question.
        trust: what may be read because the data set names it.
    """
    game = coalitions(cells)
    names = sorted(frozenset().union(*game))
    if len(names) != 2 or len(game) != 4 or modality not in names:
        return []
    hit = {subset: hits.hits(cell.rankings, K) for subset, cell in game.items()}
    singles = {name: hit[frozenset({name})] for name in names}
    if any(len(cell.rankings) < 2 for cell in game.values()):
        return []  # what one run finds another one may not
    share = hits.found_only_with(hit[frozenset()], singles, hit[frozenset(names)], modality)
    items = game[frozenset()].tested[0].items
    best = pd.Series(share).groupby(items).max().sort_index()
    chosen = best[best > 0.5].sort_values(ascending=False, kind="stable").head(SHOWN)
    shown, pictures = titles(data), Pictures.of(data, trust)
    return [Example(shown[int(item)], pictures.small(int(item)), float(s)) for item, s in chosen.items()]  # type: ignore[call-overload]


def examples_of(table: SweepTable, cell: CellResult, data: Catalogue | str) -> list[Example]:
    """Examples for the model of a cell; none where the data set cannot be read."""
    if isinstance(data, str):
        return []
    return read_examples(finished(table, cell), data, IMAGE, table.trust)


def numbered(examples: Sequence[Example], lang: str) -> list[Example]:
    """The same items for a page that is passed on: numbers instead of titles, and no pictures."""
    translator = Translator(lang)
    return [
        Example(str(translator(Message("item {n}", n=number))), "", example.share)
        for number, example in enumerate(examples, 1)
    ]


def titles(data: Catalogue) -> list[str]:
    """The title of every item, or its id where it has none.

    It stands in the first column that ``prepare`` made the texts of, else in one with a usual name.
    """
    named = () if data.folder is None else named_texts(data.folder)
    columns = [*named, *guessed(map(str, data.items), "text"), "text"]
    shown = [str(name) for name in data.dataset.item_ids]
    for column in reversed([name for name in dict.fromkeys(columns) if name in data.items]):
        for item, value in enumerate(data.items[column]):
            if isinstance(value, str) and value.strip():
                text = " ".join(value.split())
                shown[item] = text if len(text) <= MOST_CHARACTERS else f"{text[:MOST_CHARACTERS]}…"
    return shown


@dataclass(frozen=True)
class Pictures:
    """The image files of a data set, where its encoder found them.

    Args:
        files: file of each item, None without one.
        places: folders that a file must lie in to be opened, links followed.
        objection: why a folder of pictures that the data set names is not read; None where it is.
    """

    files: Sequence[Path | None]
    places: tuple[Path, ...] = ()
    objection: Message | None = None

    @staticmethod
    def of(data: Catalogue, trust: Trust) -> Pictures:
        """Where ``encode`` says that it took them from, else where it would look for them."""
        nothing: list[Path | None] = [None] * data.dataset.n_items
        if data.folder is None:
            return Pictures(nothing)
        source = _source(data)
        outside_of = Path(source) if source is not None and source not in data.items else None
        if outside_of is not None and not trust.may_read(outside_of):
            objection = Message(
                "pictures are not shown: they lie in {place}, outside the folders that this command reads, and a "
                "record is no reason to read them; add --allow {place} to show them",
                place=outside_of,
            )
            return Pictures(nothing, objection=objection)
        try:
            items = data.items.assign(item_id=data.items.index)
            files = item_images(items, data.folder, source).files
        except Refusal:  # no such column, and no such folder
            return Pictures(nothing)
        return Pictures(files, tuple(place.resolve() for place in (data.folder, outside_of) if place is not None))

    def small(self, item: int) -> str:
        """A small picture of an item as a data address; empty where there is none that can be read."""
        file = self.files[item]
        if file is None or not os.path.isfile(file):  # a Path would raise for what cannot be a name
            return ""
        inside = file.resolve()
        if not any(map(inside.is_relative_to, self.places)):
            return ""
        if inside.stat().st_size > MOST_BYTES:
            return ""
        try:
            with Image.open(inside, formats=FORMATS) as picture:
                picture.thumbnail((SIDE, SIDE))
                out = io.BytesIO()
                picture.convert("RGB").save(out, "JPEG", quality=70)
        except (OSError, ValueError, Image.DecompressionBombError):
            return ""
        return f"data:image/jpeg;base64,{base64.b64encode(out.getvalue()).decode()}"


def _source(data: Catalogue) -> str | None:
    """The column or the folder that the sidecar of the image features names; None where it names none."""
    assert data.folder is not None
    config = data.dataset.config
    by_label = encoded.encoders_in(data.folder).get(IMAGE, {})
    label = encoded.DEFAULT if config is None else config.encoder.get(IMAGE, encoded.DEFAULT)
    for matrix in dict.fromkeys([*([by_label[label]] if label in by_label else []), *by_label.values()]):
        sidecar = encoded.read_sidecar(matrix) or {}
        for key in ("image_folder", "made_from"):
            name = sidecar.get(key)
            if isinstance(name, str) and (key == "image_folder" or name in data.items):
                return name
    return None
