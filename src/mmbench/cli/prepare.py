"""``python -m mmbench.prepare``: from files of others to a canonical folder, and back to MMRec."""

from __future__ import annotations

import argparse
import contextlib
import fnmatch
import hashlib
import os
import re
import shlex
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

from mmbench.cli.encode import encode
from mmbench.data.dataset import DatasetConfig, load_dataset
from mmbench.data.interactions import deduplicated, rating_at_least
from mmbench.data.mmrec import kept_by, read_mmrec, write_mmrec
from mmbench.data.sources import Source, modalities_in, read_folder, write_folder
from mmbench.data.splits import automatic
from mmbench.data.tabular import Columns, read_tabular
from mmbench.paths import slug

#: What a prepared folder may hold; a folder with anything else is never overwritten.
CANONICAL_FILES = ("interactions.parquet", "items.parquet", "dataset.json", "truth.npz", "*_feat*.npy", "*_feat*.json")
MMREC_FILES = ("*.inter", "*_feat.npy", "i_id_mapping.csv", "u_id_mapping.csv", "missed_*_itemIDs.csv")


class Parser(argparse.ArgumentParser):
    """A parser whose mistakes are errors like all others: one line, exit code 2."""

    def error(self, message: str) -> NoReturn:
        """Refuse a command line."""
        raise ValueError(f"{message}; {self.prog} --help explains")


def main(argv: Sequence[str]) -> None:
    """Prepare a dataset and say what it holds and how to go on.

    Raises:
        ValueError: for a mistake in the command line or in the files.
    """
    arguments = _parser().parse_args([word for word in argv if word != "debug=true"])
    arguments.run(arguments)


def _parser() -> Parser:
    parser = Parser(prog="python -m mmbench.prepare", description="Make a dataset folder of your own data.")
    commands = parser.add_subparsers(dest="command", required=True)

    table = _command(commands, "csv", _from_table, "a log of interactions, and a table of items with texts")
    table.add_argument("--interactions", type=Path, required=True, help="log: .csv, .tsv, .txt or .parquet")
    for role in ("user", "item"):
        table.add_argument(f"--{role}", metavar="COL", help=f"column of the {role} (default: guessed)")
    for role in ("rating", "timestamp", "split"):
        table.add_argument(f"--{role}", metavar="COL", help=f"column of the {role} (default: guessed; none: left out)")
    table.add_argument("--items", type=Path, help="table of items")
    table.add_argument("--item-column", metavar="COL", help="item id in --items (default: guessed)")
    table.add_argument("--text", metavar="COL,COL", help="columns joined to the item's text (default: guessed)")
    table.add_argument("--text-dim", type=int, default=256, help="width of the text features (default: %(default)s)")
    table.add_argument("--encoding", default="utf-8", help="of text tables, for example cp932 (default: %(default)s)")

    _add_encode(table)

    mmrec = _command(commands, "mmrec", _from_mmrec, "a folder of the MMRec toolbox")
    mmrec.add_argument("folder", type=Path, help="folder with a .inter file")
    _add_encode(mmrec)

    export = _command(commands, "export-mmrec", _to_mmrec, "write a dataset folder as an MMRec folder")
    export.add_argument("folder", type=Path, help="canonical folder")
    export.add_argument("--protocol", default="given", help="how to split, as dataset.protocol (default: %(default)s)")
    export.add_argument("--split-column", default="split", help="column of protocol given (default: %(default)s)")
    export.add_argument("--split-seed", type=int, default=0, help="seed of a random protocol (default: %(default)s)")
    export.add_argument("--k-core", type=int, default=0, help="as dataset.k_core (default: %(default)s)")
    export.add_argument("--min-rating", type=float, help="as dataset.min_rating")
    export.add_argument("--trust-row-order", action="store_true", help="as dataset.trust_row_order=true")
    return parser


def _command(commands: Any, name: str, run: Callable[[argparse.Namespace], None], text: str) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
    command.add_argument("--out", type=Path, required=True, help="folder to write")
    command.add_argument("--overwrite", action="store_true", help="replace what an earlier call wrote to --out")
    command.set_defaults(run=run)
    return command


def _add_encode(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--encode",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a word of python -m mmbench.encode for the written folder, for example text=NAME; may be repeated",
    )


def _encode(given: argparse.Namespace) -> None:
    """Run the encoders that were asked for on the folder that is now in place; what was imported there gives way."""
    if given.encode:
        pairs = [(key, value) for key, _, value in (word.partition("=") for word in given.encode)]
        encode(given.out, [("overwrite", "true"), *pairs])


def _from_table(arguments: argparse.Namespace) -> None:
    given = arguments
    if given.items is None and (given.text or given.item_column):
        raise ValueError("--text and --item-column describe the table --items, which is not given")
    columns = Columns(given.user, given.item, given.rating, given.timestamp, given.split)
    text = [name.strip() for name in given.text.split(",")] if given.text else []
    with _new_folder(given.out, CANONICAL_FILES, given.overwrite) as folder:
        source = read_tabular(
            given.interactions,
            columns,
            items=given.items,
            item_column=given.item_column,
            text=text,
            text_dim=given.text_dim,
            encoding=given.encoding,
        )
        provenance = {"format": "table", "files": _digests([given.interactions, given.items])}
        if source.features:
            provenance["text"] = {"encoder": "character n-grams, TF-IDF, SVD", "dim": given.text_dim}
        lines = _write(source, folder, provenance)
    _encode(given)
    _tell(given.out, lines, source)


def _from_mmrec(arguments: argparse.Namespace) -> None:
    with _new_folder(arguments.out, CANONICAL_FILES, arguments.overwrite) as folder:
        source = read_mmrec(arguments.folder)
        read = sorted(path for kind in (*MMREC_FILES, "*_?_id_mapping.csv") for path in arguments.folder.glob(kind))
        lines = _write(source, folder, {"format": "MMRec", "files": _digests(read)})
    _encode(arguments)
    _tell(arguments.out, lines, source)


def _to_mmrec(arguments: argparse.Namespace) -> None:
    given = arguments
    with _new_folder(given.out, MMREC_FILES, given.overwrite) as folder:
        log = read_folder(given.folder, trust_row_order=given.trust_row_order).log
        if given.protocol == "given" and given.split_column not in log:
            raise ValueError(
                f"{given.folder} has no column {given.split_column!r} with the part of each row; name it with "
                "--split-column, or split with --protocol auto, time, last_out or paper"
            )
        config = DatasetConfig(
            name=_name(given.folder),
            path=str(given.folder),
            protocol=given.protocol,
            split_column=given.split_column,
            split_seed=given.split_seed,
            k_core=given.k_core,
            min_rating=given.min_rating,
            trust_row_order=given.trust_row_order,
        )
        dataset = load_dataset(config)
        source, parts = kept_by(dataset, deduplicated(rating_at_least(log, given.min_rating)))
        notices = write_mmrec(source, parts, folder, given.out.resolve().name)
    print("\n".join([f"written to {given.out}", *dataset.summary(), *notices]))


@contextlib.contextmanager
def _new_folder(out: Path, products: Sequence[str], overwrite: bool) -> Iterator[Path]:
    """A folder beside ``out`` that takes its place at the end; an error leaves ``out`` as it was.

    Raises:
        ValueError: if ``out`` holds something and must not, or should not, be replaced.
    """
    out = out.resolve()
    _check_replaceable(out, products, overwrite)
    out.parent.mkdir(parents=True, exist_ok=True)
    made, old = (out.with_name(f".{out.name}.{word}-{os.getpid()}") for word in ("new", "old"))
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir()
    try:
        yield made
        if out.exists():
            out.rename(old)
        made.rename(out)
    finally:
        if old.exists() and not out.exists():
            old.rename(out)
        shutil.rmtree(made, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def _check_replaceable(out: Path, products: Sequence[str], overwrite: bool) -> None:
    if out.exists() and not out.is_dir():
        raise ValueError(f"--out {out} is a file; name a folder")
    held = sorted(path.name for path in out.iterdir()) if out.exists() else []
    if held and not overwrite:
        raise ValueError(f"--out {out} is not empty; name another folder or add --overwrite")
    strange = [name for name in held if not any(fnmatch.fnmatchcase(name, product) for product in products)]
    if strange:
        raise ValueError(f"--out {out} holds {strange[0]!r}, which this command did not write; it is not overwritten")


def _write(source: Source, folder: Path, provenance: dict[str, Any]) -> list[str]:
    """Write a source and say what it holds."""
    write_folder(source, folder, provenance)
    users, items = source.log["user_id"].nunique(), len(source.items)
    lines = [f"{users} users, {items} items, {len(source.log)} rows"]
    lines += [feature.coverage(name) for name, feature in sorted(source.features.items())]
    return lines + list(source.notices)


def _tell(out: Path, lines: Sequence[str], source: Source) -> None:
    """Print what was written and the command that uses it."""
    protocol, why = automatic(deduplicated(source.log), "split")
    words = ["dataset=folder", _override("dataset.name", _name(out)), _override("dataset.path", str(out))]
    words.append(f"dataset.protocol={protocol}")
    if not modalities_in(out):
        words.append("modality=none")
    print("\n".join([f"written to {out}", *lines, why, "", f"next: python -m mmbench {shlex.join(words)}"]))


def _name(folder: Path) -> str:
    return slug([folder.resolve().name])


def _override(key: str, value: str) -> str:
    """An override as Hydra's grammar wants it: plain where it can be, otherwise in double quotes."""
    words = ("true", "false", "null", "nan", "inf")
    if re.fullmatch(r"[A-Za-z/.][A-Za-z0-9/._-]*", value) and value.lower() not in words:
        return f"{key}={value}"
    escaped = re.sub(r'(\\*)("|$)', lambda found: found[1] * 2 + (found[2] and '\\"'), value)
    return f'{key}="{escaped}"'


def _digests(paths: Sequence[Path | None]) -> dict[str, str]:
    """SHA-256 of input files by name."""
    found: dict[str, str] = {}
    for path in paths:
        if path is not None:
            with path.open("rb") as file:
                found[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    return found
