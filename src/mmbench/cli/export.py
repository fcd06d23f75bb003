"""``python -m mmbench export SWEEP --cell NAME --out FOLDER``: vectors, neighbours and a card of the winner."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mmbench.cli.words import Number, Parser, add_winner, take_language, tell_loading, winner_of
from mmbench.messages import Message
from mmbench.messages.refused import reading


def main(argv: Sequence[str]) -> None:
    """Write what a vector index or a serving system needs."""
    translator, words = take_language(argv)
    parser = Parser(
        prog="python -m mmbench export",
        description=translator(
            Message("Vectors of items and users, neighbours of items and a card of the chosen configuration of a cell.")
        ),
    )
    add_winner(parser, translator)
    parser.add_argument("--seed", action=Number, default=1, metavar="N", help=translator(Message("final run")))
    parser.add_argument(
        "--with-ids",
        action="store_true",
        help=translator(Message("write raw ids and titles too; without it rows have numbers")),
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FOLDER", help=translator(Message("folder to write"))
    )
    parser.add_argument(
        "--overwrite", action="store_true", help=translator(Message("replace what an earlier call wrote to --out"))
    )
    asked = parser.parse_args(words)
    tell_loading(translator)
    from mmbench.cli.folders import new_folder
    from mmbench.scheduling.trust import Trust
    from mmbench.winner.exported import PRODUCTS, export

    with new_folder(asked.out, lambda _: PRODUCTS, asked.overwrite) as folder, reading(asked.sweep):
        names = export(winner_of(asked), asked.seed, folder, with_ids=asked.with_ids, trust=Trust.of(asked.allow))
    print(translator(Message("written to {folder}: {names}", folder=asked.out, names=", ".join(names))))
