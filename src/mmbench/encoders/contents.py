"""Where the texts and image files of a canonical folder's items are."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

import numpy as np
import pandas as pd

from mmbench.data.readers.columns import guessed
from mmbench.data.readers.table_files import cell_text
from mmbench.messages import Refusal

#: Column that is the text where a folder has it.
TEXT_COLUMN = "text"
#: Columns with the path or the address of an item's image, the first one that is there.
IMAGE_COLUMNS = ("image_path", "image", "image_url")
IMAGE_FOLDER = "images"
_PLACE = re.compile(r"\{([^{}]+)\}")
_OPTIONAL = re.compile(r"\[([^\[\]]*\{[^\[\]]*)\]")


def item_texts(items: pd.DataFrame, template: str | None = None) -> tuple[list[str], str]:
    """The text of every item, empty where all of its columns are blank.

    Args:
        items: the catalogue.
        template: ``{title}.[ Genres: {genres}.]``, with columns of ``items`` in braces; a part in brackets is left out
            where one of its columns is blank. By default the column ``text``, else the columns with usual names, joined
            by spaces.

    Returns:
        The texts and the template they were made with.

    Raises:
        ValueError: for a column that is not there, or no column that looks like a text.
    """
    template = template or _usual_template(items)
    columns = _PLACE.findall(template)
    for column in columns:
        if column not in items:
            raise Refusal(
                "template={template}: items.parquet has no column {column}; columns are {columns}",
                template=repr(template),
                column=repr(column),
                columns=_held(items),
            )
    if not columns:
        raise Refusal(
            "template={template} names no column; write them in braces, for example {{title}}", template=repr(template)
        )
    cells = {column: [_text(value) for value in items[column]] for column in columns}
    texts = []
    for place in range(len(items)):
        own = {column: values[place] for column, values in cells.items()}
        texts.append(_filled(template, own).strip() if any(own.values()) else "")
    return texts, template


def _filled(template: str, cells: dict[str, str]) -> str:
    def optional(match: re.Match[str]) -> str:
        return match[1] if all(cells[column] for column in _PLACE.findall(match[1])) else ""

    return _PLACE.sub(lambda match: cells[match[1]], _OPTIONAL.sub(optional, template))


def _usual_template(items: pd.DataFrame) -> str:
    columns = [TEXT_COLUMN] if TEXT_COLUMN in items else guessed(map(str, items), "text")
    if not columns:
        raise Refusal(
            "no column of items.parquet looks like a text; say how it is made, for example template='{{title}}'; "
            "columns are {columns}",
            columns=_held(items),
        )
    return " ".join(f"{{{column}}}" for column in columns)


def _held(items: pd.DataFrame) -> str:
    return ", ".join(map(str, items))


def _text(value: object) -> str:
    if isinstance(value, np.ndarray):
        return cell_text(value)
    return "" if value is None or value is pd.NA or value != value else str(value).strip()


def item_images(items: pd.DataFrame, folder: Path, images: str | None = None) -> tuple[list[Path | None], str]:
    """The image file of every item, None where it has none.

    Args:
        items: the catalogue.
        folder: the canonical folder.
        images: a column of ``items`` with paths below ``folder`` or with addresses whose files lie in ``images/``, or a
            folder of files called after the item ids; by default the first of :data:`IMAGE_COLUMNS`, else ``images/``.

    Returns:
        The files and the column or the name of the folder they were found by.

    Raises:
        ValueError: if there is neither.
    """
    column = (
        images if images in items else next((name for name in IMAGE_COLUMNS if images is None and name in items), None)
    )
    if column is not None:
        return [_file_of(_text(value), folder) for value in items[column]], column
    where = Path(images) if images is not None else folder / IMAGE_FOLDER
    if not where.is_dir():
        raise Refusal(
            "no images: {path} is not a folder; images=FOLDER has files called after the item ids, images=COLUMN "
            "names a column of items.parquet with their paths",
            path=where,
        )
    files: dict[str, Path] = {}
    for path in sorted(where.iterdir()):
        files.setdefault(path.stem, path)
    return [files.get(item) for item in items["item_id"]], where.resolve().name


def _file_of(cell: str, folder: Path) -> Path | None:
    if not cell:
        return None
    if "://" in cell:
        name = PurePosixPath(unquote(urlsplit(cell).path)).name
        return folder / IMAGE_FOLDER / name if name else None
    return folder / cell
