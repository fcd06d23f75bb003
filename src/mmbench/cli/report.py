"""``python -m mmbench report SWEEP [--explain NAME] [--optuna FILE] [--tuned [FOLDER] [--replace]] [lang=ja] ...``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mmbench.cli.errors import printable
from mmbench.cli.words import Parser, add_allow, take_language, take_tracking
from mmbench.messages import Message, Refusal, Translator
from mmbench.messages.hints import did_you_mean
from mmbench.messages.refused import reading
from mmbench.paths import tuned_dir

if TYPE_CHECKING:
    from mmbench.scheduling.trust import Trust


def main(argv: Sequence[str]) -> None:
    """Write the reports of a sweep and print its tables, or explain one verdict."""
    translator, argv = take_language(argv)
    tracking, words = take_tracking(argv)
    options = _parser(translator).parse_args(words)
    if options.replace and options.tuned is None:
        raise Refusal("--replace goes with --tuned: nothing else that is written here is of another sweep")
    from mmbench.scheduling.trust import Trust

    trust = Trust.of(options.allow)
    with reading(options.sweep):
        _report(options, trust, tracking, translator)


def _report(options: argparse.Namespace, trust: Trust, tracking: Sequence[str], translator: Translator) -> None:
    from mmbench.cli.folders import check_writable
    from mmbench.report.explain import explainable
    from mmbench.report.reading import read_sweep
    from mmbench.report.studies import check_new, write_studies
    from mmbench.report.tuned import write_tuned

    if options.explain is not None:
        known = explainable(options.sweep, trust)
        if options.explain not in known:
            near = did_you_mean(options.explain, known)
            raise Refusal("{name} is no contrast or cell of this sweep; {near}", name=options.explain, near=near)
        print(printable(known[options.explain]()), end="")
    elif options.tuned is not None:
        check_writable(options.tuned, "--tuned FOLDER")
        tuned = write_tuned(read_sweep(options.sweep, trust), options.tuned, replace=options.replace)
        print(translator(Message("written to {folder}: {n} configurations", folder=options.tuned, n=len(tuned))))
    elif options.optuna is not None:
        check_writable(options.optuna.parent, "--optuna FILE")
        check_new(options.optuna)
        names = write_studies(read_sweep(options.sweep, trust), options.sweep, options.optuna)
        told = Message(
            "cells in {file}: {n}; optuna-dashboard sqlite:///{file} shows them", file=options.optuna, n=len(names)
        )
        print(translator(told))
    else:
        _write(options, trust, tracking, translator)


def _parser(say: Translator) -> argparse.ArgumentParser:
    parser = Parser(prog="python -m mmbench report", description=say(Message("The tables of a sweep.")))
    parser.epilog = say(
        Message(
            "lang=ja prints Japanese and writes Japanese pages under the plain names. tracking=wandb, or any other "
            "tracking word of a sweep, shows the report there."
        )
    )
    parser.add_argument("sweep", type=Path, help=say(Message("folder of the sweep, for example multirun/first")))
    parser.add_argument(
        "--explain",
        metavar="NAME",
        help=say(
            Message(
                "print where every number of a verdict or cell comes from, in English, and write nothing: "
                "ml100k/vbpr/fused_vs_text for a contrast, ml100k/vbpr/fused for a cell"
            )
        ),
    )
    parser.add_argument(
        "--paper",
        type=Path,
        metavar="CSV",
        help=say(
            Message("the published tables of the source study; they are written again with ours beside every number")
        ),
    )
    parser.add_argument(
        "--optuna",
        type=Path,
        metavar="FILE",
        help=say(
            Message(
                "rebuild the Optuna study of every cell in this new SQLite file and write nothing else; "
                "optuna-dashboard sqlite:///FILE shows it"
            )
        ),
    )
    parser.add_argument(
        "--tuned",
        type=Path,
        nargs="?",
        const=tuned_dir(Path("conf")),
        metavar="FOLDER",
        help=say(
            Message(
                "write the chosen configuration of every cell into FOLDER/<dataset>/<model>/<condition>.yaml, by "
                "default below conf/tuned, and nothing else; tuned=<dataset> runs them without tuning"
            )
        ),
    )
    parser.add_argument(
        "--replace",
        action="store_true",
        help=say(Message("let --tuned replace configurations that come from other records")),
    )
    parser.add_argument(
        "--every-chart",
        action="store_true",
        help=say(
            Message(
                "draw all charts of the fairness page and all figures; without it those of more than 12 models, and "
                "figures of more than 60 rows, are left out"
            )
        ),
    )
    add_allow(parser, say)
    return parser


def _write(options: argparse.Namespace, trust: Trust, tracking: Sequence[str], translator: Translator) -> None:
    """Write every report, show it to the trackers that are asked for, and say what was written."""
    from mmbench.cli import compose
    from mmbench.cli.folders import check_writable
    from mmbench.decision.mirror import mirror
    from mmbench.paths import report_dir
    from mmbench.report.catalogue import unread
    from mmbench.report.reading import check_sweep
    from mmbench.report.write import write_report

    sweep, lang = options.sweep, translator.lang
    tracker = compose.tracker(tracking, sweep)  # refuses wrong words before anything is written
    for lacking in tracker.lacking:
        print(printable(translator(lacking)), file=sys.stderr)
    check_sweep(sweep, trust)
    check_writable(report_dir(sweep))
    table = write_report(sweep, options.paper, trust, every_chart=options.every_chart, lang=lang)
    print(printable(table.text), end="")
    for line in unread(table):
        print(printable(translator(line)))
    files = "report.html, table.{md,csv,tex,txt}, benchmark.{md,csv,tex}, verdicts.{md,csv,tex}, "
    files += "contribution.{md,csv}, fairness.{md,html}, submission.{md,tex}"
    if options.paper is not None:
        files += ", paper.{md,csv,tex}"
    written = Message(
        "written to {folder}: {files}; forest-<contrast>, conditions and gains as .svg and .png; beside each page and "
        "text the same in {language}",
        folder=report_dir(sweep),
        files=files,
        language=Message("Japanese") if lang == "en" else Message("English"),
    )
    print(translator(written))
    mirror(table, tracker)
