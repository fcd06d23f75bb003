"""Command line. Nothing here loads torch until a command needs it (``--help`` and ``--cfg job`` never do)."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable

from mmbench.cli.errors import one_line_errors


def _command(module: str, function: str = "main") -> Callable[[], None]:
    """A command that hands the words of the command line to a function of ``mmbench.cli.<module>``."""

    def command() -> None:
        run = getattr(importlib.import_module(f"mmbench.cli.{module}"), function)
        with one_line_errors(sys.argv[1:]):
            run(sys.argv[1:])

    return command


#: ``python -m mmbench``: tune and test one cell, or with ``-m`` all cells of a sweep.
run_command = _command("run")
#: ``python -m mmbench.plan <overrides>``: what a sweep would cost.
plan_command = _command("plan")
#: ``python -m mmbench.report SWEEP``: write the tables of a sweep.
report_command = _command("report")
#: ``python -m mmbench.prepare SOURCE --out DIR``: make a dataset folder, or an MMRec folder of one.
prepare_command = _command("prepare")
#: ``python -m mmbench.signal dataset=NAME``: is a trial of a modality worth it?
signal_command = _command("signal")
#: ``python -m mmbench.encode DIR text=ENCODER image=ENCODER``: vectors for the texts and images of a folder.
encode_command = _command("encode")
#: ``python -m mmbench.check DIR``: what would spoil a study on this folder.
check_command = _command("check")
#: ``python -m mmbench.decide SWEEP economics=my.yaml lang=en``: should images be added?
decide_command = _command("decide")
#: ``python -m mmbench.bundle SWEEP``: records, environment, hashes and commands in one archive.
bundle_command = _command("bundle", "bundle")
#: ``python -m mmbench.verify ARCHIVE``: compute every table of an archive again.
verify_command = _command("bundle", "verify")


def main() -> None:
    """``mmbench`` and ``python -m mmbench``: a sub-command by its name; anything else is passed to ``run``."""
    commands = {
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
