"""Command line. Nothing here loads torch until a command needs it (``--help`` and ``--cfg job`` never do)."""

from __future__ import annotations

import sys
from collections.abc import Callable

from mmbench.cli.errors import one_line_errors


def main() -> None:
    """The console script ``mmbench``: a sub-command by its name; anything else is passed to ``run``."""
    commands: dict[str, Callable[[], None]] = {
        "run": run_command,
        "plan": plan_command,
        "report": report_command,
        "prepare": prepare_command,
        "signal": signal_command,
    }
    if len(sys.argv) > 1 and sys.argv[1] in commands:
        commands[sys.argv.pop(1)]()
    else:
        run_command()


def run_command() -> None:
    """``python -m mmbench``: tune and test one cell, or with ``-m`` all cells of a sweep."""
    from mmbench.cli.run import main as command

    with one_line_errors(sys.argv[1:]):
        command(sys.argv[1:])


def plan_command() -> None:
    """``python -m mmbench.plan <overrides>``: what a sweep would cost."""
    from mmbench.cli.plan import main as command

    with one_line_errors(sys.argv[1:]):
        command(sys.argv[1:])


def report_command() -> None:
    """``python -m mmbench.report SWEEP``: write the table of a sweep."""
    from mmbench.cli.report import main as command

    with one_line_errors(sys.argv[1:]):
        command(sys.argv[1:])


def prepare_command() -> None:
    """``python -m mmbench.prepare SOURCE --out DIR``: make a dataset folder, or an MMRec folder of one."""
    from mmbench.cli.prepare import main as command

    with one_line_errors(sys.argv[1:]):
        command(sys.argv[1:])


def signal_command() -> None:
    """``python -m mmbench.signal dataset=NAME``: is a trial of a modality worth it?"""
    from mmbench.cli.signal import main as command

    with one_line_errors(sys.argv[1:]):
        command(sys.argv[1:])
