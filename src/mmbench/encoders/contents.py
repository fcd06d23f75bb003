"""Where the texts and image files of a canonical folder's items are."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

import numpy as np
import pandas as pd

from mmbench.data.divisions import names_in
from mmbench.data.readers.columns import IMAGE_COLUMNS, text_columns
from mmbench.data.readers.feature_files import files_of_items, is_picture
from mmbench.data.readers.table_files import cell_text
from mmbench.data.regular_file import visible_in
from mmbench.messages import Message, Refusal

IMAGE_FOLDER = "images"
_PLACE = re.compile(r"\{([^{}]+)\}")
#: What stands between two addresses; commas, semicolons and bars inside of one are its own.
_NEXT_ADDRESS = re.compile(r"(?<=[^\s,;|])[\s,;|]+(?=\w+://)")
_OPTIONAL = re.compile(r"\[([^\[\]]*\{[^\[\]]*)\]")


def item_texts(items: pd.DataFrame, template: str | None = None, named: Sequence[str] = ()) -> tuple[list[str], str]:
    """The text of every item, empty where all of its columns are blank.

    Args:
        items: the catalogue.
        template: ``{title}.[ Genres: {genres}.]``, with columns of ``items`` in braces; a part in brackets is left out
            where one of its columns is blank. By default the columns ``named``, else the column ``text``, else those
            with usual names, joined by spaces.
        named: columns that ``prepare`` made the texts of, see :func:`mmbench.data.sources.named_texts`.

    Returns:
        The texts and the template they were made with.

    Raises:
        ValueError: for a column that is not there, or no column that looks like a text.
    """
    columns = _PLACE.findall(template) if template else _usual_columns(items, named)
    for column in columns:
        if column not in items:
            raise Refusal(
                "template={template}: items.parquet has no column {column}; columns are {columns}",
                template=repr(template),
                column=repr(column),
                columns=_held(items),
            )
    if template and not columns:
        raise Refusal(
            "template={template} names no column; write them in braces, for example {{title}}", template=repr(template)
        )
    cells = {column: [_text(value) for value in items[column]] for column in columns}
    texts = []
    for place in range(len(items)):
        own = {column: values[place] for column, values in cells.items()}
        # A name with a brace in it cannot stand in a template, so none is read where nobody wrote one.
        text = _filled(template, own) if template else " ".join(own.values())
        texts.append(text.strip() if any(own.values()) else "")
    return texts, template or " ".join(f"{{{column}}}" for column in columns)


def _filled(template: str, cells: dict[str, str]) -> str:
    def optional(match: re.Match[str]) -> str:
        return match[1] if all(cells[column] for column in _PLACE.findall(match[1])) else ""

    return _PLACE.sub(lambda match: cells[match[1]], _OPTIONAL.sub(optional, template))


def _usual_columns(items: pd.DataFrame, named: Sequence[str]) -> list[str]:
    columns = text_columns(map(str, items), named)
    if not columns:
        raise Refusal(
            "no column of items.parquet looks like a text; say how it is made, for example template='{{title}}'; "
            "columns are {columns}",
            columns=_held(items),
        )
    return columns


def _held(items: pd.DataFrame) -> str:
    return ", ".join(map(str, items))


def _text(value: object) -> str:
    if isinstance(value, np.ndarray):
        return cell_text(value)
    return "" if value is None or value is pd.NA or value != value else str(value).strip()


@dataclass(frozen=True)
class ItemImages:
    """Where the images of a catalogue are.

    Args:
        files: file of each item, None without one; one that a column names need not be there.
        source: the column or the name of the folder they were found by.
        several: rows of the items after which several pictures are called.
        folder: whose files are called after the items; None where a column names them.
        shared: rows of the items whose addresses end in the file name of another address, so that nobody knows whose
            picture a file of that name is; they have none.
    """

    files: list[Path | None]
    source: str
    several: tuple[int, ...] = ()
    folder: Path | None = None
    shared: tuple[int, ...] = ()


def item_images(items: pd.DataFrame, folder: Path, images: str | None = None) -> ItemImages:
    """The image file of every item.

    Args:
        items: the catalogue.
        folder: the canonical folder.
        images: a column of ``items`` with paths below ``folder`` or with addresses whose files lie in ``images/``
            under the last part of the address, or a folder of files called after the item ids; by default the first of
            :data:`mmbench.data.readers.columns.IMAGE_COLUMNS`, else ``images/``.

    Raises:
        ValueError: if there is neither.
    """
    column = (
        images if images in items else next((name for name in IMAGE_COLUMNS if images is None and name in items), None)
    )
    if column is not None:
        cells = [_first_picture(value) for value in items[column]]
        files = [_file_of(cell, folder) for cell in cells]
        shared = _rows_that_share(cells, files)
        for row in shared:
            files[row] = None
        return ItemImages(files, column, shared=shared)
    where = Path(images) if images is not None else folder / IMAGE_FOLDER
    if images is None and not where.is_dir():
        # prepare encodes in a folder that has its name only afterwards, so none is named.
        raise Refusal(
            "no images: items.parquet has none of the columns {columns}, and there is no folder {name} beside it; "
            "images=FOLDER has files called after the item ids, images=COLUMN names a column of items.parquet with "
            "their paths",
            columns=", ".join(IMAGE_COLUMNS),
            name=IMAGE_FOLDER,
        )
    if not where.is_dir():
        raise Refusal(
            "no images: {path} is not a folder; images=FOLDER has files called after the item ids, images=COLUMN "
            "names a column of items.parquet with their paths",
            path=where,
        )
    found = files_of_items(where, items["item_id"].tolist())
    several = tuple(row for row, files in enumerate(found) if sum(map(is_picture, files)) > 1)
    return ItemImages([next(iter(files), None) for files in found], where.resolve().name, several, where)


def looked_for(images: ItemImages, items: pd.DataFrame) -> Message:
    """Which file the first item without an image would have, and what there is instead."""
    row, item = next((n, item) for n, item in enumerate(items["item_id"]) if not _is_file(images.files[n]))
    if images.folder is None:
        cell = _first_picture(items[images.source].iloc[row])
        if not cell:
            return Message("the column {column} is empty for item {item}", column=images.source, item=repr(item))
        if row in images.shared:
            return Message(
                "the column {column} names {cell} for item {item}, and another address ends in the same file name; "
                "images=FOLDER has files called after the item ids",
                column=images.source,
                cell=repr(cell),
                item=repr(item),
            )
        return Message(
            "the column {column} names {cell} for item {item}, and no such file is there; paths are below the data set "
            "folder, and files of addresses in its folder images",
            column=images.source,
            cell=repr(cell),
            item=repr(item),
        )
    inside = visible_in(images.folder)
    files = [path.name for path in inside if path.is_file()]
    folders = [path.name for path in inside if path.is_dir()]
    if files:
        holds = Message.counted(
            "{folder} holds {n} file, {example}",
            "{folder} holds {n} files, for example {example}",
            len(files),
            folder=images.folder,
            example=repr(files[0]),
        )
    elif folders:
        holds = Message.counted(
            "{folder} holds no file but {n} folder, {example}, which is not looked into",
            "{folder} holds no file but {n} folders, for example {example}, which are not looked into",
            len(folders),
            folder=images.folder,
            example=repr(folders[0]),
        )
    else:
        holds = Message("{folder} is empty", folder=images.folder)
    return Message(
        "item {item} needs a file {name}.jpg, or with another ending of a picture; {holds}",
        item=repr(item),
        name=item,
        holds=holds,
    )


def _is_file(path: Path | None) -> bool:
    # A cell may be no name at all, such as a picture itself; a Path would raise for one that is too long.
    return path is not None and os.path.isfile(path)


def _first_picture(value: object) -> str:
    """The cell of a picture; of a list of them, also one of JSON or of addresses one after another, the first."""
    cell = _text(value)
    if isinstance(value, list | np.ndarray) or cell.startswith("["):
        cell = next(iter(names_in(value)), "")
    return _NEXT_ADDRESS.split(cell)[0]


def _rows_that_share(cells: Sequence[str], files: Sequence[Path | None]) -> tuple[int, ...]:
    """Rows with an address whose file another one has too; http and https, and parts of a page, make no other one."""
    addresses: dict[Path, set[str]] = {}
    named: list[tuple[int, Path]] = []
    for row, (cell, file) in enumerate(zip(cells, files, strict=True)):
        _, is_address, rest = cell.partition("://")
        if file is not None and is_address:
            named.append((row, file))
            addresses.setdefault(file, set()).add(rest.partition("#")[0])
    return tuple(row for row, file in named if len(addresses[file]) > 1)


def _file_of(cell: str, folder: Path) -> Path | None:
    if not cell:
        return None
    if "://" in cell:
        try:
            name = PurePosixPath(unquote(urlsplit(cell).path)).name
        except ValueError:  # no address
            return None
        return folder / IMAGE_FOLDER / name if name else None
    return folder / cell
