"""``python -m mmbench.report SWEEP``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path


def main(argv: Sequence[str]) -> None:
    """Write the report of a sweep and print its table."""
    parser = argparse.ArgumentParser(prog="python -m mmbench.report", description="The table of a sweep.")
    parser.add_argument("sweep", type=Path, help="folder of the sweep, for example multirun/first")
    sweep = parser.parse_args([word for word in argv if word != "debug=true"]).sweep
    from mmbench.paths import report_dir
    from mmbench.report import write_report

    print(write_report(sweep).text, end="")
    print(f"written to {report_dir(sweep)}: table.{{md,csv,tex,txt}}, verdicts.{{md,csv,tex}}, fairness.{{md,html}}")
