"""Every format that can be imported: how it is recognised and which reader knows it."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mmbench import extensions
from mmbench.data.readers import amazon, recbole
from mmbench.data.readers.amazon_benchmark import is_benchmark, read_benchmark, tables_in
from mmbench.data.readers.columns import Columns
from mmbench.data.readers.ducho import read_ducho
from mmbench.data.readers.journal import Journal
from mmbench.data.readers.known import AUTO, known_formats
from mmbench.data.readers.lines import PICKLE, PICKLE_SUFFIXES, first_cells, json_lines, refuse_pickle
from mmbench.data.readers.lists import homes, read_lists
from mmbench.data.readers.microlens import read_microlens
from mmbench.data.readers.mmrec import read_mmrec
from mmbench.data.readers.movielens import is_latest, read_movielens
from mmbench.data.readers.own_tables import read_tabular
from mmbench.data.readers.table_files import DELIMITED, JSON_LINES, is_table, suffix_of
from mmbench.data.regular_file import regular_file, visible_in
from mmbench.data.sources import Source, check_source
from mmbench.messages import Refusal


@dataclass(frozen=True)
class Options:
    """What a user says beside the source.

    Args:
        columns: of a log that is a table.
        items: table of items, or metadata of Amazon.
        item_column: item id in ``items``.
        text: columns of the items that make up their text; empty where they are guessed, None where there need be none.
        encoding: of text tables; ``auto`` finds it out.
        sheet: of a workbook.
        items_encoding: of ``items``; as ``encoding`` by default.
        items_sheet: of ``items``, if it is a workbook.
        cancel_returns: whether order lines with a negative quantity cancel purchases; else they are left out.
        restore_zeros: whether ids of items take the leading zeros that the log or ``items`` has lost.
        leave_out: ``column=value`` of rows of a log that do not count.
    """

    columns: Columns = field(default_factory=Columns)
    items: Path | None = None
    item_column: str | None = None
    text: tuple[str, ...] | None = ()
    encoding: str = AUTO
    sheet: str | None = None
    items_encoding: str | None = None
    items_sheet: str | None = None
    cancel_returns: bool = False
    restore_zeros: bool = False
    leave_out: tuple[str, ...] = ()


Reader = Callable[[Path, Options, Journal], Source]


def _table(path: Path, options: Options, journal: Journal) -> Source:
    return read_tabular(
        _single_table(path) if path.is_dir() else path,
        options.columns,
        items=options.items,
        item_column=options.item_column,
        text=options.text,
        encoding=options.encoding,
        sheet=options.sheet,
        items_encoding=options.items_encoding,
        items_sheet=options.items_sheet,
        cancel_returns=options.cancel_returns,
        restore_zeros=options.restore_zeros,
        leave_out=options.leave_out,
        journal=journal,
    )


def _amazon(release: str, path: Path, options: Options, journal: Journal) -> Source:
    return amazon.read_amazon(path, journal, release, options.items)


READERS: Mapping[str, Reader] = {
    "mmrec": lambda path, _, journal: read_mmrec(path, journal),
    "recbole": lambda path, _, journal: recbole.read_recbole(path, journal),
    "lattice": lambda path, _, journal: read_lists(path, journal),
    "lists": lambda path, _, journal: read_lists(path, journal, ".txt"),
    "lightgt": lambda path, _, journal: read_lists(path, journal, ".npy"),
    "ducho": lambda path, _, journal: read_ducho(path, journal),
    "microlens": lambda path, _, journal: read_microlens(path, journal),
    "movielens": lambda path, _, journal: read_movielens(path, journal),
    **{release: functools.partial(_amazon, release) for release in amazon.RELEASES},
    "amazon-2023-benchmark": lambda path, options, journal: read_benchmark(path, journal, options.items),
    "table": _table,
}
#: Formats whose source is a folder.
FOLDERS = ("lattice", "lists", "lightgt", "ducho", "microlens")
#: Formats that take ``items``.
WITH_ITEMS = ("table", *amazon.RELEASES, "amazon-2023-benchmark")


def read_source(path: Path, name: str | None, options: Options, journal: Journal) -> tuple[str, Source]:
    """Read a source.

    Args:
        path: file or folder.
        name: of :data:`READERS`, or None to find it out.
        options: what the user says beside it.
        journal: where to tell.

    Returns:
        The format and what was read.

    Raises:
        ValueError: for an unknown format, options that it does not take, or a fault of the files.
    """
    if not path.exists():
        raise Refusal("{path} is not there; SOURCE is a file, a folder or a .zip", path=path)
    if not path.is_dir():
        regular_file(path)
    name = name or detected(path)
    if name not in READERS:
        return name, _imported(name, path, options, journal)
    if name in FOLDERS and not path.is_dir():
        raise Refusal("the format {name} is a folder of files; {path} is a file", name=name, path=path)
    of_tables = {
        "--map": options.columns != Columns(),
        "--leave-out": options.leave_out,
        "--cancel-returns": options.cancel_returns,
        "--restore-zeros": options.restore_zeros,
        "--item-column": options.item_column,
    }
    foreign = [option for option, given in of_tables.items() if given and name != "table"]
    if options.items and name not in WITH_ITEMS:
        foreign.append("--items")
    if foreign:
        raise Refusal("{option} is for tables and does not go with the format {name}", option=foreign[0], name=name)
    if name == "table" and options.items is None and (options.text or options.item_column):
        raise Refusal("--text and --item-column describe the table --items, which is not given")
    return name, READERS[name](path, options, journal)


def _imported(name: str, path: Path, options: Options, journal: Journal) -> Source:
    """Read a source by an importer that is no part of the package, and check what it gives.

    Raises:
        ValueError: for an unknown name, and for a result that is no source.
    """
    if not (extensions.is_dotted(name) or name in extensions.offered(extensions.IMPORTERS)):
        raise Refusal("--format {name} is unknown; formats are {names}", name=name, names=", ".join(known_formats()))
    source = extensions.function(extensions.IMPORTERS, name, "--format")(path, options, journal)
    if not isinstance(source, Source):
        raise Refusal(
            "--format {name} gave {given} and no mmbench.data.sources.Source", name=name, given=type(source).__name__
        )
    return check_source(source, name)


def detected(path: Path) -> str:
    """Name of the format of a file or folder.

    Raises:
        ValueError: for a pickle, a folder that is prepared already, or nothing that is known.
    """
    return _of_folder(path) if path.is_dir() else _of_file(path)


def _of_file(path: Path) -> str:
    refuse_pickle(path)
    kind = suffix_of(path)
    if path.suffix == ".inter":
        return "recbole" if recbole.is_atomic(path) else "mmrec"
    if path.name == "u.data":
        return "movielens"
    if kind in JSON_LINES:
        row = next((row for _, row in itertools.islice(json_lines(path, literals=True), 1)), {})
        return amazon.release_of(row) or "table"
    if kind in DELIMITED and amazon.is_ratings(first_cells(path)):
        return "amazon-2014"
    if kind in DELIMITED and is_benchmark(first_cells(path)):
        return "amazon-2023-benchmark"
    if is_table(path):
        return "table"
    raise Refusal(
        "{path} is of no known format; name it with --format, one of {names}",
        path=path,
        names=", ".join(known_formats()),
    )


def _of_folder(folder: Path) -> str:
    held = {path.name for path in visible_in(folder)}
    logs = visible_in(folder, "*.inter")
    if logs:
        return "recbole" if recbole.is_atomic(logs[0]) else "mmrec"
    if any((place / "train.json").is_file() for place in homes(folder)):
        return "lattice"
    if "u.data" in held or is_latest(folder):
        return "movielens"
    if any(name.endswith(("_pairs.csv", "_pairs.tsv")) for name in held):
        return "microlens"
    if held & {"reviews.tsv", "train.tsv", "train_indexed.tsv"}:
        return "ducho"
    if "train.txt" in held:
        return "lists"
    if "train.npy" in held:
        return "lightgt"
    if "interactions.parquet" in held and "dataset.json" in held:
        raise Refusal(
            "{path} is a prepared folder already; use it with dataset=folder dataset.path={path}", path=folder
        )
    if amazon.review_files(folder) or amazon.rating_files(folder):
        return _of_file(amazon.reviews_in(folder))
    tables = [path for parts in tables_in(folder).values() for path in parts.values()]
    if tables and all(is_benchmark(first_cells(path)) for path in tables):
        return "amazon-2023-benchmark"
    pickles = sorted(name for name in held if name.lower().endswith(PICKLE_SUFFIXES))
    if pickles:
        raise Refusal(PICKLE, path=folder / pickles[0])
    _single_table(folder)
    return "table"


def _single_table(folder: Path) -> Path:
    """The one table of a folder."""
    tables = [path for path in visible_in(folder) if is_table(path) and path.is_file()]
    if len(tables) == 1:
        return tables[0]
    names = ", ".join(path.name for path in tables[:5]) or "-"
    raise Refusal(
        "{path} is of no known format and holds no single table (found: {found}); name a file, or --format, one of "
        "{names}",
        path=folder,
        found=names,
        names=", ".join(known_formats()),
    )
