"""``python -m mmbench prepare``: its command line, explained in the language it is asked in."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmbench.cli.words import Number, Parser, take_language
from mmbench.data.readers.known import AUTO, known_formats
from mmbench.messages import Message, Translator

if TYPE_CHECKING:
    from mmbench.cli.prepare_folder import Prepared

ROLES = ("user", "item", "rating", "timestamp", "split", "order", "quantity")
EXPORT, PLANTED = "export-mmrec", "planted"
#: First words that name a command; any other first word is a source.
COMMANDS = ("import", "csv", "mmrec", PLANTED, EXPORT, "-h", "--help")


def main(argv: Sequence[str]) -> Prepared:
    """Prepare a dataset and say what it holds and how to go on; ``lang=ja`` says it in Japanese.

    Raises:
        ValueError: for a mistake in the command line or in the files.
    """
    translator, words = take_language(argv)
    if words and words[0] not in COMMANDS:
        words = ["import", *words]
    given = _parser(translator).parse_args(words)
    from mmbench.cli.prepare_folder import prepare_folder  # --help does without pandas

    return prepare_folder(given, translator)


def _parser(translator: Translator) -> Parser:
    prog = "python -m mmbench prepare"
    parser = Parser(
        prog=prog,
        usage=translator(
            Message(
                "{prog} SOURCE --out DIR [options] | planted [KEY=VALUE ...] --out DIR | "
                "export-mmrec DIR --out DIR [options]",
                prog=prog,
            )
        ),
        description=translator(Message("Make a dataset folder of your own data. lang=ja speaks Japanese.")),
    )
    commands = parser.add_subparsers(dest="command", required=True, prog=parser.prog)

    source = _command(
        commands,
        "import",
        translator(Message("a file, folder or .zip of any known format; the word may be left out")),
        translator,
    )
    source.add_argument("source", type=Path, metavar="SOURCE", help=translator(Message("file, folder or .zip")))
    source.add_argument(
        "--format",
        metavar="NAME",
        help=translator(
            Message(
                "{names}, or the dotted name of an importer of your own (default: found out)",
                names=", ".join(known_formats()),
            )
        ),
    )
    add_table_options(source, translator)

    table = _command(commands, "csv", translator(Message("the same for a table, as --interactions")), translator)
    table.add_argument(
        "--interactions", type=Path, required=True, dest="source", help=translator(Message("log: a table"))
    )
    table.set_defaults(format="table")
    add_table_options(table, translator)

    mmrec = _command(commands, "mmrec", translator(Message("the same for a folder of the MMRec toolbox")), translator)
    mmrec.add_argument("source", type=Path, metavar="FOLDER", help=translator(Message("folder with a .inter file")))
    mmrec.set_defaults(format="mmrec")
    add_table_options(mmrec, translator)

    planted = _command(
        commands, PLANTED, translator(Message("write a planted world as a dataset folder, with its truth")), translator
    )
    planted.add_argument(
        "words",
        nargs="*",
        metavar="KEY=VALUE",
        help=translator(Message("words of the configuration, for example dataset.world=text_only")),
    )

    export = _command(commands, EXPORT, translator(Message("write a dataset folder as an MMRec folder")), translator)
    export.add_argument("folder", type=Path, help=translator(Message("canonical folder")))
    export.add_argument(
        "--protocol",
        default="given",
        help=translator(Message("how to split, as dataset.protocol (default: %(default)s)")),
    )
    export.add_argument(
        "--split-column", default="split", help=translator(Message("column of protocol given (default: %(default)s)"))
    )
    export.add_argument(
        "--split-seed",
        action=Number,
        least=0,
        default=0,
        help=translator(Message("seed of a random protocol (default: %(default)s)")),
    )
    export.add_argument(
        "--k-core",
        action=Number,
        least=0,
        default=0,
        help=translator(Message("as dataset.k_core (default: %(default)s)")),
    )
    export.add_argument("--min-rating", action=Number, kind=float, help=translator(Message("as dataset.min_rating")))
    export.add_argument(
        "--trust-row-order", action="store_true", help=translator(Message("as dataset.trust_row_order=true"))
    )
    return parser


def _command(commands: Any, name: str, text: str, translator: Translator) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
    command.add_argument("--out", type=Path, required=True, help=translator(Message("folder to write")))
    command.add_argument(
        "--overwrite", action="store_true", help=translator(Message("replace what an earlier call wrote to --out"))
    )
    return command


def table_words(given: argparse.Namespace) -> list[str]:
    """The options of :func:`add_table_options` that were given, as words of a command line."""
    words: list[str] = []
    plain = argparse.ArgumentParser(add_help=False)
    add_table_options(plain, Translator())
    defaults = vars(plain.parse_args([]))
    for name, default in defaults.items():
        value, option = getattr(given, name), f"--{name.replace('_', '-')}"
        if isinstance(default, bool):
            words += [option] if value else []
        elif value != default:
            words += [word for one in (value if isinstance(value, list) else [value]) for word in (option, str(one))]
    return words


def add_table_options(command: argparse.ArgumentParser, translator: Translator) -> None:
    """Add the options of a table: its columns, its list of items, and what becomes of both."""
    command.add_argument(
        "--map",
        metavar="ROLE=COL,...",
        help=translator(Message("columns of a log, by role: {roles}", roles=", ".join(ROLES))),
    )
    for role in ROLES:
        command.add_argument(
            f"--{role}",
            metavar="COL",
            help=translator(Message("the same for the {role} alone (default: guessed)", role=role)),
        )
    command.add_argument("--items", type=Path, help=translator(Message("table of items, or metadata of Amazon")))
    command.add_argument(
        "--item-column", metavar="COL", help=translator(Message("item id in --items (default: guessed)"))
    )
    command.add_argument(
        "--text",
        metavar="COL,COL",
        help=translator(Message("columns joined to the item's text; none: no text features")),
    )
    command.add_argument(
        "--text-dim",
        action=Number,
        least=1,
        default=256,
        help=translator(Message("width of the text features (default: %(default)s)")),
    )
    command.add_argument(
        "--features",
        metavar="MODALITY=PATH",
        action="append",
        default=[],
        help=translator(Message("features by item id")),
    )
    command.add_argument(
        "--encoding", default=AUTO, help=translator(Message("of text tables, for example cp932 (default: found out)"))
    )
    command.add_argument(
        "--items-encoding", metavar="NAME", help=translator(Message("of the table --items (default: as --encoding)"))
    )
    command.add_argument(
        "--encode",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help=translator(
            Message("a word of python -m mmbench encode for the written folder, for example text=NAME; may be repeated")
        ),
    )
    command.add_argument(
        "--sheet", metavar="NAME", help=translator(Message("sheet of a workbook (default: the first)"))
    )
    command.add_argument(
        "--items-sheet", metavar="NAME", help=translator(Message("sheet of the workbook --items (default: the first)"))
    )
    command.add_argument(
        "--cancel-returns",
        action="store_true",
        help=translator(Message("order lines with a negative quantity cancel the purchase (default: left out)")),
    )
    command.add_argument(
        "--restore-zeros",
        action="store_true",
        help=translator(Message("give ids of items the leading zeros that the log or the list of items has lost")),
    )
    command.add_argument(
        "--leave-out",
        metavar="COL=VALUE",
        action="append",
        default=[],
        help=translator(Message("rows of a log that do not count, such as cancelled orders; may be repeated")),
    )
