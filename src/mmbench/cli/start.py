"""``python -m mmbench start FILE...``: the whole way from files to a decision, one command after the other."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from mmbench.cli.prepare import add_table_options
from mmbench.cli.words import Parser, take_language
from mmbench.messages import Message, Refusal, Translator


def main(argv: Sequence[str]) -> None:
    """Walk from files to a decision; each step is a command that is printed before it runs.

    Raises:
        ValueError: for a mistake in the command line or in the files.
    """
    translator, words = take_language(argv)
    given = _parser(translator).parse_intermixed_args(words)
    overrides = [word for word in given.files if _is_override(word)]
    given.files = [Path(word) for word in given.files if word not in overrides]
    if not given.files:
        raise Refusal("no file is named; write the file of your order lines first, --help explains")
    from mmbench.cli.guide import Guide  # --help does without pandas

    Guide(given, overrides, translator).walk()


def _is_override(word: str) -> bool:
    key = r"(hydra/)?[a-z][\w.@]*"
    # Not Path.exists, which fails on a word that is longer than the name of any file.
    return re.match(rf"[+~]{{0,2}}{key}=|~{key}$", word) is not None and not os.path.exists(word)


def _parser(translator: Translator) -> Parser:
    parser = Parser(
        prog="python -m mmbench start",
        usage="python -m mmbench start FILE ... [--images DIR] [--yes] [lang=ja] [KEY=VALUE ...]",
        description=translator(
            Message(
                "From files to a decision about images: prepare, check, signal, plan, a first sweep, decide. Every "
                "command is printed before it runs, and only what cannot be found out is asked. A walk that was "
                "stopped goes on with the same command."
            )
        ),
    )
    parser.add_argument(
        "files",
        nargs="+",
        metavar="FILE",
        help=translator(Message("order lines and, beside them, the list of items; or any source that prepare reads")),
    )
    parser.add_argument(
        "--images", type=Path, metavar="DIR", help=translator(Message("pictures called after the items"))
    )
    parser.add_argument(
        "--yes", action="store_true", help=translator(Message("ask nothing: take the likely answer of every question"))
    )
    parser.add_argument("--out", type=Path, help=translator(Message("dataset folder to write (default: data/NAME)")))
    parser.add_argument(
        "--overwrite", action="store_true", help=translator(Message("replace what an earlier call wrote to --out"))
    )
    parser.add_argument(
        "--budget", default="small", help=translator(Message("effort of the first sweep (default: %(default)s)"))
    )
    parser.add_argument(
        "--economics", help=translator(Message("file of your own sums; without it, a file to be edited is written"))
    )
    add_table_options(parser, translator)
    return parser
