"""``python -m mmbench.prepare``: from files of others to a canonical folder, and back to MMRec."""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, NoReturn

from mmbench.cli.encode import encode
from mmbench.cli.folders import new_folder
from mmbench.data.archives import unpacked
from mmbench.data.dataset import DatasetConfig, load_dataset
from mmbench.data.delimited import AUTO
from mmbench.data.describe import coded, coverage, statistics
from mmbench.data.formats import READERS, Options, read_source
from mmbench.data.interactions import deduplicated, rating_at_least
from mmbench.data.item_features import read_item_feature
from mmbench.data.journal import Journal, refusal
from mmbench.data.mmrec import kept_by, write_mmrec
from mmbench.data.roles import NONE, Columns, mapped
from mmbench.data.sources import Source, modalities_in, read_folder, write_folder
from mmbench.data.splits import PARTS, automatic
from mmbench.data.text import with_text
from mmbench.messages import LANGUAGES, Refusal, Words
from mmbench.paths import slug

#: What a prepared folder may hold; a folder with anything else is never overwritten.
CANONICAL_FILES = ("interactions.parquet", "items.parquet", "dataset.json", "truth.npz", "*_feat*.npy", "*_feat*.json")
MMREC_FILES = ("*.inter", "*_feat.npy", "i_id_mapping.csv", "u_id_mapping.csv", "missed_*_itemIDs.csv")
ROLES = ("user", "item", "rating", "timestamp", "split", "order", "quantity")
#: First words that name a command; any other first word is a source.
COMMANDS = ("import", "csv", "mmrec", "export-mmrec", "-h", "--help")


class Parser(argparse.ArgumentParser):
    """A parser whose mistakes are errors like all others: one line, exit code 2."""

    def error(self, message: str) -> NoReturn:
        """Refuse a command line."""
        raise refusal("bad_command", message=message, prog=self.prog)


def main(argv: Sequence[str]) -> None:
    """Prepare a dataset and say what it holds and how to go on; ``lang=ja`` says it in Japanese.

    Raises:
        ValueError: for a mistake in the command line or in the files.
    """
    settings = dict(word.split("=", 1) for word in argv if re.match(r"(debug|lang)=", word))
    lang = settings.get("lang", "en")
    if lang not in LANGUAGES:
        raise refusal("unknown_language", lang=lang, languages=", ".join(LANGUAGES))
    words = [word for word in argv if not re.match(r"(debug|lang)=", word)]
    if words and words[0] not in COMMANDS:
        words = ["import", *words]
    try:
        arguments = _parser().parse_args(words)
        arguments.run(arguments, Journal(lang))
    except Refusal as error:
        raise ValueError(error.told(lang)) from error


def _parser() -> Parser:
    parser = Parser(
        prog="python -m mmbench.prepare",
        usage="python -m mmbench.prepare SOURCE --out DIR [options] | export-mmrec DIR --out DIR [options]",
        description="Make a dataset folder of your own data. lang=ja speaks Japanese.",
    )
    commands = parser.add_subparsers(dest="command", required=True, prog=parser.prog)

    source = _command(
        commands, "import", _import, "a file, folder or .zip of any known format; the word may be left out"
    )
    source.add_argument("source", type=Path, metavar="SOURCE", help="file, folder or .zip")
    source.add_argument("--format", metavar="NAME", help=f"{', '.join(READERS)} (default: found out)")
    _table_options(source)

    table = _command(commands, "csv", _import, "the same for a table, as --interactions")
    table.add_argument("--interactions", type=Path, required=True, dest="source", help="log: a table")
    table.set_defaults(format="table")
    _table_options(table)

    mmrec = _command(commands, "mmrec", _import, "the same for a folder of the MMRec toolbox")
    mmrec.add_argument("source", type=Path, metavar="FOLDER", help="folder with a .inter file")
    mmrec.set_defaults(format="mmrec")
    _table_options(mmrec)

    export = _command(commands, "export-mmrec", _to_mmrec, "write a dataset folder as an MMRec folder")
    export.add_argument("folder", type=Path, help="canonical folder")
    export.add_argument("--protocol", default="given", help="how to split, as dataset.protocol (default: %(default)s)")
    export.add_argument("--split-column", default="split", help="column of protocol given (default: %(default)s)")
    export.add_argument("--split-seed", type=int, default=0, help="seed of a random protocol (default: %(default)s)")
    export.add_argument("--k-core", type=int, default=0, help="as dataset.k_core (default: %(default)s)")
    export.add_argument("--min-rating", type=float, help="as dataset.min_rating")
    export.add_argument("--trust-row-order", action="store_true", help="as dataset.trust_row_order=true")
    return parser


def _command(commands: Any, name: str, run: Any, text: str) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
    command.add_argument("--out", type=Path, required=True, help="folder to write")
    command.add_argument("--overwrite", action="store_true", help="replace what an earlier call wrote to --out")
    command.set_defaults(run=run)
    return command


def _table_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--map", metavar="ROLE=COL,...", help=f"columns of a log, by role: {', '.join(ROLES)}")
    for role in ROLES:
        command.add_argument(f"--{role}", metavar="COL", help=f"the same for the {role} alone (default: guessed)")
    command.add_argument("--items", type=Path, help="table of items, or metadata of Amazon")
    command.add_argument("--item-column", metavar="COL", help="item id in --items (default: guessed)")
    command.add_argument("--text", metavar="COL,COL", help="columns joined to the item's text; none: no text features")
    command.add_argument("--text-dim", type=int, default=256, help="width of the text features (default: %(default)s)")
    command.add_argument("--features", metavar="MODALITY=PATH", action="append", default=[], help="features by item id")
    command.add_argument("--encoding", default=AUTO, help="of text tables, for example cp932 (default: found out)")
    command.add_argument(
        "--encode",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a word of python -m mmbench.encode for the written folder, for example text=NAME; may be repeated",
    )
    command.add_argument("--sheet", metavar="NAME", help="sheet of a workbook (default: the first)")


def _import(given: argparse.Namespace, journal: Journal) -> None:
    options = _options(given)
    with new_folder(given.out, CANONICAL_FILES, given.overwrite) as folder, _opened(given.source) as path:
        name, source = read_source(path, given.format, options, journal)
        source = _with_features(source, given, journal)
        if path != given.source and "image_path" in source.items:
            source = replace(source, items=source.items.drop(columns="image_path"))
            journal.tell("zip_images")
        source, encoder = _with_texts(source, given, journal)
        digests = _digests(path, journal.files) | ({} if path == given.source else _digests(path, [given.source]))
        provenance = {
            "format": name,
            "mmbench": version("mmbench"),
            "files": digests,
            "options": _told_options(given, options),
            **encoder,
        }
        told = {"statistics": statistics(source), "coverage": coverage(source), "texts": list(source.texts)}
        write_folder(source, folder, provenance, told)
    _encode(given, journal)
    print("\n".join(_summary(given.out, name, source, told, journal)))


def _encode(given: argparse.Namespace, journal: Journal) -> None:
    """Run the encoders that were asked for on the folder that is now in place; what was imported there gives way."""
    if given.encode:
        pairs = [(key, value) for key, _, value in (word.partition("=") for word in given.encode)]
        encode(given.out, [("overwrite", "true"), ("lang", journal.words.lang), *pairs])


def _options(given: argparse.Namespace) -> Options:
    columns = mapped(given.map) if given.map else Columns()
    columns = replace(columns, **{role: getattr(given, role) for role in ROLES if getattr(given, role)})
    if given.format == "table" and given.items is None and (given.text not in (None, NONE) or given.item_column):
        raise refusal("text_without_items")
    return Options(columns, given.items, given.item_column, _text(given), given.encoding, given.sheet)


def _text(given: argparse.Namespace) -> tuple[str, ...]:
    """The text columns asked for; none where they are guessed or unwanted."""
    return () if given.text in (None, NONE) else tuple(name.strip() for name in given.text.split(","))


@contextlib.contextmanager
def _opened(source: Path) -> Iterator[Path]:
    """The source, unpacked where it is a zip archive."""
    if source.suffix.lower() == ".zip" and source.is_file():
        with unpacked(source) as folder:
            yield folder
    else:
        yield source


def _with_features(source: Source, given: argparse.Namespace, journal: Journal) -> Source:
    features = dict(source.features)
    for word in given.features:
        modality, is_pair, path = word.partition("=")
        if not is_pair or not re.fullmatch(r"[a-z][a-z0-9_]*(@[\w.-]+)?", modality):
            raise refusal("bad_features", word=repr(word))
        features[modality] = read_item_feature(Path(path), source.items["item_id"].tolist(), journal)
    return replace(source, features=dict(sorted(features.items())))


def _with_texts(source: Source, given: argparse.Namespace, journal: Journal) -> tuple[Source, dict[str, Any]]:
    """The source with text features, where it has texts and no such features yet, and what made them."""
    columns = _text(given) or source.texts
    for name in columns:
        if name not in source.items:
            known = ", ".join(map(str, source.items))
            raise refusal("no_column", path=given.source, column=repr(name), option="--text", columns=known)
    source = replace(source, texts=columns)
    if given.text == NONE or not columns or "text" in source.features:
        return source, {}
    if given.format != "table" and not (source.items[list(columns)] != "").to_numpy().any():
        journal.tell("no_texts", columns=", ".join(columns))
        return source, {}
    encoder = {"text": {"encoder": "character n-grams, TF-IDF, SVD", "columns": list(columns), "dim": given.text_dim}}
    return with_text(source, columns, given.text_dim), encoder


def _told_options(given: argparse.Namespace, options: Options) -> dict[str, Any]:
    """The options that say something, as dataset.json keeps them; of files the name."""
    told = {**asdict(options), "columns": {k: v for k, v in asdict(options.columns).items() if v}}
    told |= {"features": [re.sub("=.*[/\\\\]", "=", word) for word in given.features]}
    return {key: value.name if isinstance(value, Path) else value for key, value in told.items() if value}


def _digests(root: Path, files: Sequence[Path]) -> dict[str, str]:
    """SHA-256 of input files by their path below ``root``; a folder counts as one, by all that it holds."""
    found: dict[str, str] = {}
    for path in files:
        digest = hashlib.sha256()
        inner = sorted(part for part in path.rglob("*") if part.is_file()) if path.is_dir() else [path]
        for part in inner:
            with part.open("rb") as file:
                one = hashlib.file_digest(file, "sha256")
            digest = one if path.is_file() else digest
            if path.is_dir():
                digest.update(f"{part.name}\0{one.hexdigest()}\n".encode())
        below = root.is_dir() and path.is_relative_to(root)
        found[str(path.relative_to(root)) if below else path.name] = digest.hexdigest()
    return found


def _summary(out: Path, name: str, source: Source, told: Mapping[str, Any], journal: Journal) -> list[str]:
    """What was written and the command that uses it."""
    words, numbers = journal.words, told["statistics"]
    count = words.number
    sizes = {key: count(numbers[key]) for key in ("users", "items", "rows")}
    lines = [words("written", path=out, format=name), words("sizes", **sizes)]
    spread = {key: count(value) for key, value in numbers["per_user"].items()}
    lines.append(words("density", density=words.percent(numbers["density"], 2), **spread))
    if "timestamp" in numbers:
        days = {key: words.date(_day(value)) for key, value in numbers["timestamp"].items()}
        lines.append(words("period", first=days["min"], last=days["max"]))
    for part, counts in told["coverage"].items():
        values = {key: count(value) for key, value in counts.items()}
        if part.startswith("items."):
            lines.append(words("content", column=part.removeprefix("items."), items=sizes["items"], **values))
        else:
            lines.append(words("coverage", modality=part, **values))
    log = coded(source.log)
    lacking = [part for part in PARTS if "split" in log and not (log["split"] == part).any()]
    if lacking:
        journal.tell("incomplete_split", parts=", ".join(lacking))
        log = log.drop(columns="split")
    protocol, why = automatic(deduplicated(log), "split", words.lang)
    call = ["dataset=folder", _override("dataset.name", _name(out)), _override("dataset.path", str(out))]
    call += [f"dataset.protocol={protocol}", *([] if modalities_in(out) else ["modality=none"])]
    return [*lines, *journal.lines, why, "", words("next", command=f"python -m mmbench {shlex.join(call)}")]


def _day(seconds: int) -> Any:
    # The year is clipped to what a calendar can say: a time that is wrong is no reason to fail.
    return datetime.fromtimestamp(min(max(seconds, 0), 253_402_300_799), UTC).date()


def _to_mmrec(given: argparse.Namespace, journal: Journal) -> None:
    with new_folder(given.out, MMREC_FILES, given.overwrite) as folder:
        log = read_folder(given.folder, trust_row_order=given.trust_row_order).log
        if given.protocol == "given" and given.split_column not in log:
            raise refusal("no_split_column", path=given.folder, column=repr(given.split_column))
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
        idle = write_mmrec(source, parts, folder, given.out.resolve().name)
    words: Words = journal.words
    notices = [words("export_idle", idle)] if idle else []
    print("\n".join([words("exported", path=given.out), *dataset.summary(), *notices]))


def _name(folder: Path) -> str:
    return slug([folder.resolve().name])


def _override(key: str, value: str) -> str:
    """An override as Hydra's grammar wants it: plain where it can be, otherwise in double quotes."""
    words = ("true", "false", "null", "nan", "inf")
    if re.fullmatch(r"[A-Za-z/.][A-Za-z0-9/._-]*", value) and value.lower() not in words:
        return f"{key}={value}"
    escaped = re.sub(r'(\\*)("|$)', lambda found: found[1] * 2 + (found[2] and '\\"'), value)
    return f'{key}="{escaped}"'
