"""Command line. Nothing here loads torch until a command needs it (``--help`` and ``--cfg job`` never do)."""

from __future__ import annotations

import sys
from collections.abc import Callable

from mmbench.cli.errors import one_line_errors


def main() -> None:
    """``mmbench`` and ``python -m mmbench``: a sub-command by its name; anything else is passed to ``run``."""
    commands: dict[str, Callable[[], None]] = {
        "run": run_command,
        "plan": plan_command,
        "report": report_command,
        "prepare": prepare_command,
        "signal": signal_command,
        "encode": encode_command,
        "check": check_command,
        "decide": decide_command,
        "bundle": bundle_command,
        "verify": verify_command,
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


def encode_command() -> None:
    """``python -m mmbench.encode DIR text=ENCODER image=ENCODER``: vectors for the texts and images of a folder."""
    from mmbench.cli.encode import main as command

    with one_line_errors(sys.argv[1:]):
        command(sys.argv[1:])


def decide_command() -> None:
    """``python -m mmbench.decide SWEEP economics=my.yaml lang=en``: should images be added?"""
    from mmbench.cli.decide import main as command

    with one_line_errors(sys.argv[1:]):
        command(sys.argv[1:])


def check_command() -> None:
    """``python -m mmbench.check DIR``: what would spoil a study on this folder."""
    from mmbench.cli.check import main as command

    with one_line_errors(sys.argv[1:]):
        command(sys.argv[1:])


def bundle_command() -> None:
    """``python -m mmbench.bundle SWEEP``: records, environment, hashes and commands in one archive."""
    from mmbench.cli.bundle import bundle as command

    with one_line_errors(sys.argv[1:]):
        command(sys.argv[1:])


def verify_command() -> None:
    """``python -m mmbench.verify ARCHIVE``: compute every table of an archive again."""
    from mmbench.cli.bundle import verify as command

    with one_line_errors(sys.argv[1:]):
        command(sys.argv[1:])
