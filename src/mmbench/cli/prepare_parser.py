"""The command line of ``python -m mmbench.prepare``, explained in the language it is asked in."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmbench.cli.words import Parser, speaking
from mmbench.data.readers.delimited import AUTO
from mmbench.data.readers.formats import READERS
from mmbench.messages import LANGUAGES, Refusal, Words

ROLES = ("user", "item", "rating", "timestamp", "split", "order", "quantity")
EXPORT = "export-mmrec"
#: First words that name a command; any other first word is a source.
COMMANDS = ("import", "csv", "mmrec", EXPORT, "-h", "--help")


def parsed(argv: Sequence[str]) -> tuple[argparse.Namespace, str]:
    """The options of a command line, and the language it asks for.

    Raises:
        ValueError: for a mistake in the command line.
    """
    settings = dict(word.split("=", 1) for word in argv if re.match(r"(debug|lang)=", word))
    lang = settings.get("lang", LANGUAGES[0])
    if lang not in LANGUAGES:
        raise Refusal("command", "unknown_language", lang=lang, languages=", ".join(LANGUAGES))
    words = [word for word in argv if not re.match(r"(debug|lang)=", word)]
    if words and words[0] not in COMMANDS:
        words = ["import", *words]
    with speaking(lang):
        return _parser(Words("usage", lang)).parse_args(words), lang


def _parser(words: Words) -> Parser:
    prog = "python -m mmbench.prepare"
    parser = Parser(prog=prog, usage=words("usage", prog=prog), description=words("description"))
    commands = parser.add_subparsers(dest="command", required=True, prog=parser.prog)

    source = _command(commands, "import", words("import"), words)
    source.add_argument("source", type=Path, metavar="SOURCE", help=words("source"))
    source.add_argument("--format", metavar="NAME", help=words("format", names=", ".join(READERS)))
    _table_options(source, words)

    table = _command(commands, "csv", words("csv"), words)
    table.add_argument("--interactions", type=Path, required=True, dest="source", help=words("interactions"))
    table.set_defaults(format="table")
    _table_options(table, words)

    mmrec = _command(commands, "mmrec", words("mmrec"), words)
    mmrec.add_argument("source", type=Path, metavar="FOLDER", help=words("mmrec_folder"))
    mmrec.set_defaults(format="mmrec")
    _table_options(mmrec, words)

    export = _command(commands, EXPORT, words("export"), words)
    export.add_argument("folder", type=Path, help=words("canonical"))
    export.add_argument("--protocol", default="given", help=words("protocol"))
    export.add_argument("--split-column", default="split", help=words("split_column"))
    export.add_argument("--split-seed", type=int, default=0, help=words("split_seed"))
    export.add_argument("--k-core", type=int, default=0, help=words("k_core"))
    export.add_argument("--min-rating", type=float, help=words("min_rating"))
    export.add_argument("--trust-row-order", action="store_true", help=words("trust_row_order"))
    return parser


def _command(commands: Any, name: str, text: str, words: Words) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
    command.add_argument("--out", type=Path, required=True, help=words("out"))
    command.add_argument("--overwrite", action="store_true", help=words("overwrite"))
    return command


def _table_options(command: argparse.ArgumentParser, words: Words) -> None:
    command.add_argument("--map", metavar="ROLE=COL,...", help=words("map", roles=", ".join(ROLES)))
    for role in ROLES:
        command.add_argument(f"--{role}", metavar="COL", help=words("role", role=role))
    command.add_argument("--items", type=Path, help=words("items"))
    command.add_argument("--item-column", metavar="COL", help=words("item_column"))
    command.add_argument("--text", metavar="COL,COL", help=words("text"))
    command.add_argument("--text-dim", type=int, default=256, help=words("text_dim"))
    command.add_argument("--features", metavar="MODALITY=PATH", action="append", default=[], help=words("features"))
    command.add_argument("--encoding", default=AUTO, help=words("encoding"))
    command.add_argument("--encode", action="append", default=[], metavar="KEY=VALUE", help=words("encode"))
    command.add_argument("--sheet", metavar="NAME", help=words("sheet"))
