"""``python -m mmbench report SWEEP [--explain NAME] [--paper CSV] [--optuna FILE] [--every-chart]``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from mmbench.messages import Refusal
from mmbench.messages.hints import did_you_mean


def main(argv: Sequence[str]) -> None:
    """Write the reports of a sweep and print its tables, or explain one verdict."""
    options = _parser().parse_args([word for word in argv if word != "debug=true"])
    from mmbench.report.explain import explainable
    from mmbench.report.reading import read_sweep
    from mmbench.report.studies import write_studies

    if options.explain is not None:
        known = explainable(options.sweep)
        if options.explain not in known:
            near = did_you_mean(options.explain, known)
            raise Refusal("{name} is no contrast or cell of this sweep; {near}", name=options.explain, near=near)
        print(known[options.explain](), end="")
    elif options.optuna is not None:
        names = write_studies(read_sweep(options.sweep), options.sweep, options.optuna)
        print(f"cells in {options.optuna}: {len(names)}; optuna-dashboard sqlite:///{options.optuna} shows them")
    else:
        _write(options.sweep, options.paper, options.every_chart)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m mmbench report", description="The tables of a sweep.")
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
    return parser


def _write(sweep: Path, paper: Path | None, every_chart: bool) -> None:
    """Write every report, show it in W&B where the sweep is tracked, and say what was written."""
    from mmbench.decision.mirror import mirror
    from mmbench.paths import report_dir
    from mmbench.report.write import write_report

    table = write_report(sweep, paper, every_chart=every_chart)
    print(table.text, end="")
    files = "report.html, table.{md,csv,tex,txt}, benchmark and verdicts.{md,csv,tex}, contribution.{md,csv}, "
    files += "fairness.{md,html}, submission.{md,tex}"
    figures = "forest-<contrast>, conditions and gains as .svg and .png"
    if paper is not None:
        files += ", paper.{md,csv,tex}"
    print(f"written to {report_dir(sweep)}: {files}; {figures}")
    mirror(table)
