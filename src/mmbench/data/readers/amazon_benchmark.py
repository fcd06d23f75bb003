"""The benchmark tables of Amazon Reviews 2023: user, item, rating and milliseconds, whole or in train, valid and test.

``<category>.csv`` (``rating_only``), or ``<category>.train.csv`` and its like (``last_out``, ``timestamp``). The column
``history`` of the ``_w_his`` tables repeats earlier rows and is left out. Older revisions have no header.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from mmbench.data.readers.amazon import catalogue_of, metadata_of
from mmbench.data.readers.delimited import Dialect, read_delimited, read_header
from mmbench.data.readers.journal import Journal
from mmbench.data.readers.lines import first_cells
from mmbench.data.readers.log_and_items import log_of
from mmbench.data.regular_file import visible_in
from mmbench.data.sources import Source
from mmbench.data.splits import PARTS
from mmbench.messages import Refusal

_ROLES = {"user": "user_id", "item": "parent_asin", "rating": "rating", "timestamp": "timestamp"}
_COLUMNS = tuple(_ROLES.values())
_FILE = re.compile(rf"(?P<category>.+?)(?:\.(?P<part>{'|'.join(PARTS)}))?\.csv(?:\.gz)?")
_ROW = (r"A[A-Z0-9]{9,39}", r"[A-Z0-9]{10}", r"[0-9]+(?:\.[0-9]+)?", r"[0-9]{12,13}")
#: Folders of the repository above a table, up to ``benchmark/<core>/<split>/``.
_ABOVE = 4


def is_benchmark(cells: Sequence[str]) -> bool:
    """Whether the first line of a table is that of a benchmark table, with or without header."""
    return tuple(cells[:4]) == _COLUMNS or _is_row(cells)


def tables_in(folder: Path) -> dict[str, dict[str, Path]]:
    """Files that are named like benchmark tables, by category and part; a whole one has the empty word as its part."""
    tables: dict[str, dict[str, Path]] = {}
    for path in visible_in(folder):
        if (match := _FILE.fullmatch(path.name)) and path.is_file():
            tables.setdefault(match["category"], {})[match["part"] or ""] = path
    return tables


def read_benchmark(path: Path, journal: Journal, items: Path | None = None) -> Source:
    """Read the tables of a category and the metadata that lie in the repository around them.

    Args:
        path: a table, or the folder of one category; the three parts of a split belong together.
        journal: where to tell.
        items: metadata; by default ``meta_<category>`` beside the tables, or in ``raw/meta_categories`` above them.

    Returns:
        A source, with a column ``split`` where the tables are parts of one.

    Raises:
        ValueError: naming the file and what is wrong with it.
    """
    folder = path if path.is_dir() else path.parent
    category, files = _files(path, folder)
    logs = [_log(file, journal).assign(**({"split": part} if part else {})) for part, file in files.items()]
    log = pd.concat(logs, ignore_index=True)
    above = [folder, *list(folder.resolve().parents)[:_ABOVE]]
    places = [place / below for place in above for below in ("", "meta_categories", "raw/meta_categories")]
    catalogue, texts = catalogue_of(log, items or metadata_of(category, places), "parent_asin", journal)
    return Source(log, catalogue, {}, notices=tuple(journal.lines), texts=texts)


def _files(path: Path, folder: Path) -> tuple[str, dict[str, Path]]:
    """The category, and its tables by part; a whole one has the empty word as its part."""
    tables = tables_in(folder)
    match = None if path.is_dir() else _FILE.fullmatch(path.name)
    if match and not match["part"]:
        return match["category"], {"": path}
    wanted = {match["category"]} if match else set(tables)
    parts = {part: tables[name][part] for name in wanted for part in PARTS if part in tables[name]}
    whole = [tables[name][""] for name in wanted if "" in tables[name] and not match]
    if len(wanted) != 1 or bool(parts) == bool(whole):
        names = ", ".join(file.name for files in tables.values() for file in files.values()) or "-"
        raise Refusal(
            "{path} must hold one file {pattern}; found: {found}",
            path=folder,
            pattern="<category>[.train|.valid|.test].csv",
            found=names,
        )
    return wanted.pop(), parts or {"": whole[0]}


def _log(path: Path, journal: Journal) -> pd.DataFrame:
    if _is_row(first_cells(path)):
        table = read_delimited(journal.read(path), Dialect(header=False), columns=_COLUMNS, names=_COLUMNS)
        return log_of(table, _ROLES, journal)
    read_header(path).check_columns(_COLUMNS)
    return log_of(read_delimited(journal.read(path), columns=_COLUMNS), _ROLES, journal)


def _is_row(cells: Sequence[str]) -> bool:
    return len(cells) in (4, 5) and all(re.fullmatch(*pair) for pair in zip(_ROW, cells, strict=False))
