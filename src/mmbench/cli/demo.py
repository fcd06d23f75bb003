"""``python -m mmbench demo``: real order lines to a table, by the commands that one types for data of one's own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mmbench import paths
from mmbench.cli.words import Parser, take_language, tell_loading
from mmbench.messages import Message, Refusal
from mmbench.messages.commands import command_line

EXPERIMENT = "experiment=demo"
DATASET = "dataset=online_retail"


def main(argv: Sequence[str]) -> None:
    """Prepare the order lines of the package, where that was not done before, and sweep over them.

    Raises:
        ValueError: for a mistake in the command line.
    """
    from mmbench.cli import compose, habits, run_command

    translator, words = take_language(argv)
    parser = Parser(
        prog="python -m mmbench demo",
        usage="python -m mmbench demo [KEY=VALUE ...] [lang=ja]",
        description=translator(
            Message(
                "Do product names help to recommend the products of a shop? Prepares the order lines of 1,000 "
                "customers of UCI Online Retail and runs experiment=demo on them, about a minute on two cores. Every "
                "command is printed before it runs."
            )
        ),
    )
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="KEY=VALUE",
        help=translator(Message("of the sweep; paths.data=DIR moves the data")),
    )
    overrides = parser.parse_args(words).overrides
    for word in overrides:
        if word.lstrip("+").startswith("dataset=") and word.lstrip("+") != DATASET:
            raise Refusal(
                "demo prepares its own order lines, {dataset}; the same sweep on other data is {run}",
                dataset=DATASET,
                run=command_line([EXPERIMENT, word]),
            )
    manner = [word for word in argv if word not in words]  # the language, and whether a traceback is shown
    asked = habits.ours([EXPERIMENT, *overrides], multirun=False)  # as run takes them
    composed = compose.first(asked)
    tell_loading(translator)
    composed.job()  # what the run would refuse is refused before anything is written
    folder = Path(composed.config["dataset"]["path"])
    source = paths.demo_dir()
    print(
        translator(
            Message(
                "Order lines of UCI Online Retail (Chen, Sain and Guo 2012, CC BY 4.0, "
                "https://doi.org/10.24432/C5BW33), a part of them: {folder}",
                folder=source,
            )
        )
    )
    lines, products = source / "order_lines.csv", source / "products.csv"
    prepare = ["prepare", str(lines), "--items", str(products), "--out", str(folder), *manner]
    run = [EXPERIMENT, *overrides, *manner]
    if not (folder / "dataset.json").exists():
        print(f"\n$ {command_line(prepare)}", flush=True)
        run_command(prepare)
    print(f"\n$ {command_line(run)}", flush=True)
    run_command(["run", *run])
