"""``python -m mmbench recommend SWEEP --cell NAME --users FILE --out FILE``: lists of the winner in raw ids."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mmbench.cli.words import Number, Parser, add_winner, take_language, tell_loading, winner_of
from mmbench.messages import Message, Refusal
from mmbench.messages.refused import reading

if TYPE_CHECKING:
    from mmbench.data.dataset import LeftOut

#: Final runs whose places of items are averaged.
MEAN = "mean"


def main(argv: Sequence[str]) -> None:
    """Write the best items of each user."""
    translator, words = take_language(argv)
    parser = Parser(
        prog="python -m mmbench recommend",
        description=translator(Message("The best items of users, by the chosen configuration of a cell.")),
    )
    add_winner(parser, translator)
    of_users = Message("raw ids of users, one a line; by default all who have a training interaction")
    parser.add_argument("--users", type=Path, metavar="FILE", help=translator(of_users))
    parser.add_argument(
        "--new-users",
        type=Path,
        metavar="FILE",
        help=translator(Message("table with columns user and item: users that the model has not seen, by their items")),
    )
    parser.add_argument(
        "--top", action=Number, least=1, default=20, metavar="K", help=translator(Message("items of a list"))
    )
    of_seed = Message("final run, or mean for the mean rank over all of them")
    parser.add_argument("--seed", default="1", metavar="N", help=translator(of_seed))
    parser.add_argument(
        "--as-tested",
        action="store_true",
        help=translator(Message("leave test items in, as the records do; by default all that a user has is left out")),
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FILE", help=translator(Message("where to write: .parquet or .csv"))
    )
    asked = parser.parse_args(words)
    if asked.out.suffix not in (".parquet", ".csv"):
        raise Refusal("--out {file} must end in .parquet or .csv", file=asked.out)
    if asked.users is not None and asked.new_users is not None:
        raise Refusal("--users and --new-users exclude each other")
    if asked.seed != MEAN and not asked.seed.isdecimal():  # of isdigit, ² is one too, and no number
        raise Refusal("--seed {seed} must be the number of a final run, or mean", seed=asked.seed)
    seed = None if asked.seed == MEAN else int(asked.seed)
    tell_loading(translator)
    from mmbench.cli.folders import check_file
    from mmbench.data.readers.journal import Journal
    from mmbench.data.readers.own_tables import read_histories, read_users
    from mmbench.data.spreadsheet import csv_text
    from mmbench.store import files
    from mmbench.winner.recommended import Asked, recommend, recommend_to_new

    check_file(asked.out, "--out FILE")
    journal = Journal()
    # The files of the user are read outside: an error of theirs is not one of the sweep.
    users = histories = None
    if asked.users is not None:
        users = read_users(asked.users, journal)
    if asked.new_users is not None:
        histories = read_histories(asked.new_users, journal)
    with reading(asked.sweep):
        winner = winner_of(asked)
        seeds = sorted(winner.finals) if seed is None else [seed]
        lists = Asked(asked.top, seeds, asked.as_tested)
        if histories is not None:
            frame = recommend_to_new(winner, histories, lists, journal)
        elif users is not None:
            frame = recommend(winner, users, lists, journal)
        else:
            frame = recommend(winner, winner.dataset.user_ids.tolist(), lists, journal)
            if len(winner.dataset.left_out.users):
                journal.tell(_unserved(winner.dataset.left_out))
    if asked.out.suffix == ".csv":
        files.write_text(asked.out, csv_text(frame))
    else:
        files.write_parquet(asked.out, frame)
    for line in journal.lines:
        print(translator(line))
    print(
        translator(
            Message.counted(
                "{n} list, from final run {seeds}, written to {file}",
                "{n} lists, from final run {seeds}, written to {file}",
                frame["user"].nunique(),
                seeds=", ".join(map(str, seeds)),
                file=asked.out,
            )
        )
    )


def _unserved(left_out: LeftOut) -> Message:
    """How many users of the data get no list, and why."""
    return Message.counted(
        "1 user of the data gets no list, because it has no training interaction under {settings} ({example}); a model "
        "that serves new users takes it by its items with --new-users",
        "{n} users of the data get no list, because they have no training interaction under {settings}, such as "
        "{example}; a model that serves new users takes them by their items with --new-users",
        len(left_out.users),
        settings=left_out.words,
        example=left_out.users[0],
    )
