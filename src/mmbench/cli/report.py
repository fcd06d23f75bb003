"""``python -m mmbench report SWEEP [--explain NAME] [--paper CSV] [--optuna FILE] [--every-chart] [--allow WORD]``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mmbench.cli.errors import printable, reading
from mmbench.cli.words import Parser, add_allow, take_tracking
from mmbench.messages import Refusal
from mmbench.messages.hints import did_you_mean

if TYPE_CHECKING:
    from mmbench.scheduling.trust import Trust


def main(argv: Sequence[str]) -> None:
    """Write the reports of a sweep and print its tables, or explain one verdict."""
    tracking, words = take_tracking(argv)
    options = _parser().parse_args([word for word in words if word != "debug=true"])
    from mmbench.scheduling.trust import Trust

    trust = Trust.of(options.allow)
    with reading(options.sweep):
        _report(options, trust, tracking)


def _report(options: argparse.Namespace, trust: Trust, tracking: Sequence[str]) -> None:
    from mmbench.report.explain import explainable
    from mmbench.report.reading import read_sweep
    from mmbench.report.studies import write_studies

    if options.explain is not None:
        known = explainable(options.sweep, trust)
        if options.explain not in known:
            near = did_you_mean(options.explain, known)
            raise Refusal("{name} is no contrast or cell of this sweep; {near}", name=options.explain, near=near)
        print(printable(known[options.explain]()), end="")
    elif options.optuna is not None:
        names = write_studies(read_sweep(options.sweep, trust), options.sweep, options.optuna)
        print(f"cells in {options.optuna}: {len(names)}; optuna-dashboard sqlite:///{options.optuna} shows them")
    else:
        _write(options.sweep, options.paper, trust, tracking, options.every_chart)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="python -m mmbench report", description="The tables of a sweep.")
    parser.epilog = "tracking=wandb, and tracking.entity=NAME and so on as for a sweep, shows the report in W&B."
    parser.add_argument("sweep", type=Path, help="folder of the sweep, for example multirun/first")
    parser.add_argument(
        "--explain",
        metavar="NAME",
        help="print where every number of a verdict or cell comes from, and write nothing: "
        "ml100k/vbpr/fused_vs_text for a contrast, ml100k/vbpr/fused for a cell",
    )
    parser.add_argument(
        "--paper",
        type=Path,
        metavar="CSV",
        help="the published tables of the source study; they are written again with ours beside every number",
    )
    parser.add_argument(
        "--optuna",
        type=Path,
        metavar="FILE",
        help="rebuild the Optuna study of every cell in this new SQLite file and write nothing else; "
        "optuna-dashboard sqlite:///FILE shows it",
    )
    parser.add_argument(
        "--every-chart",
        action="store_true",
        help="draw all charts of the fairness page and all figures; without it those of more than 12 models, and "
        "figures of more than 60 rows, are left out",
    )
    add_allow(parser)
    return parser


def _write(sweep: Path, paper: Path | None, trust: Trust, tracking: Sequence[str], every_chart: bool) -> None:
    """Write every report, show it in W&B where that is asked for, and say what was written."""
    from mmbench.cli import compose
    from mmbench.decision.mirror import mirror
    from mmbench.paths import report_dir
    from mmbench.report.catalogue import unread
    from mmbench.report.write import write_report

    tracker = compose.tracker(tracking, sweep)  # refuses wrong words before anything is written
    table = write_report(sweep, paper, trust, every_chart=every_chart)
    print(printable(table.text), end="")
    for line in unread(table):
        print(printable(line))
    files = "report.html, table.{md,csv,tex,txt}, benchmark and verdicts.{md,csv,tex}, contribution.{md,csv}, "
    files += "fairness.{md,html}, submission.{md,tex}"
    figures = "forest-<contrast>, conditions and gains as .svg and .png"
    if paper is not None:
        files += ", paper.{md,csv,tex}"
    print(f"written to {report_dir(sweep)}: {files}; {figures}")
    mirror(table, tracker)
