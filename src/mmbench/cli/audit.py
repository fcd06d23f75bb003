"""``python -m mmbench audit DIR``: were the trainings of a sweep what its records say?"""

from __future__ import annotations

import argparse
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mmbench.cli.errors import printable
from mmbench.cli.words import Number, Parser, add_allow, take_language, tell_loading
from mmbench.messages import Message, Refusal, Translator
from mmbench.messages.refused import reading

if TYPE_CHECKING:
    from mmbench.audit.levels import Asked


def main(argv: Sequence[str]) -> None:
    """Audit a sweep; exit code 1 if something is not what it should be."""
    translator, words = take_language(argv)
    parser = Parser(
        prog="python -m mmbench audit",
        description=translator(
            Message("Check the records of a sweep, rank its stored models again, and train some of them again.")
        ),
    )
    parser.add_argument("sweep", type=Path, help=translator(Message("folder of the sweep, for example multirun/first")))
    parser.add_argument(
        "--plan-hash", default="", metavar="H", help=translator(Message("hash of the plan that you kept"))
    )
    parser.add_argument(
        "--root", default="", metavar="H", help=translator(Message("root of the records that you kept"))
    )
    add_allow(parser, translator)
    add_audit(parser, translator)
    asked = parser.parse_args(words)
    tell_loading(translator)
    how = how_far(asked)
    from mmbench.audit.levels import audit, check_kept_elsewhere, refuse_short
    from mmbench.audit.recorded import Sources
    from mmbench.report.reading import check_sweep
    from mmbench.scheduling.trust import Trust

    for kept, name in ((asked.plan_hash, "--plan-hash"), (asked.root, "--root")):
        refuse_short(kept, name)
    sources = Sources(Trust.of(asked.allow), asked.data)
    with reading(asked.sweep):
        check_sweep(asked.sweep, sources.trust)
        found = check_kept_elsewhere(asked.sweep, asked.plan_hash, asked.root)
        held = audit(asked.sweep, how, sources, printer(translator))
    for finding in [*found, *held.findings]:
        print(printable(f"{finding.file}: {finding.field}: {translator(finding.reason)}"))
    print(translator(held.words))
    if found or held.findings:
        raise SystemExit(1)


def add_audit(parser: argparse.ArgumentParser, translator: Translator) -> None:
    """Let a command say how far it audits, and with which data."""
    parser.add_argument(
        "--retrain",
        action=Number,
        least=0,
        default=0,
        metavar="K",
        help=translator(Message("trainings to run again from their seeds")),
    )
    parser.add_argument(
        "--seed",
        action=Number,
        help=translator(Message("your own number, which they are drawn with; fresh by default")),
    )
    parser.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        help=translator(Message("folder with the data sets, where they lie elsewhere")),
    )
    parser.add_argument(
        "--workers",
        action=Number,
        least=1,
        help=translator(Message("processes, by default one per core, as far as the memory goes")),
    )


def how_far(asked: argparse.Namespace) -> Asked:
    """What :func:`add_audit` was told.

    Raises:
        ValueError: naming the option.
    """
    if asked.data is not None and not asked.data.is_dir():
        raise Refusal("--data {folder} is no folder", folder=asked.data)
    if asked.seed is not None and not asked.retrain:
        raise Refusal("--seed goes with --retrain: nothing else is drawn")
    from mmbench.audit.levels import Asked

    return Asked(asked.retrain, secrets.randbelow(10**9) if asked.seed is None else asked.seed, asked.workers)


def printer(translator: Translator) -> Callable[[Message], None]:
    """Tells on the terminal what is under way."""
    return lambda said: print(printable(translator(said)), flush=True)
