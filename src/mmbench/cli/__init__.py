"""Command line. Nothing here loads torch until a command needs it (``--help`` and ``--cfg job`` never do)."""

from __future__ import annotations

import importlib
import io
import os
import re
import sys
from collections.abc import Callable, Sequence

from mmbench.cli.stops import ignore, stoppable

#: Sub-commands of ``python -m mmbench`` with the module of this package and the function that runs each.
COMMANDS = {
    "demo": ("demo", "main"),  # real order lines to a table: prepare and run, in about a minute
    "start": ("start", "main"),  # from files to a decision: the commands below, one after the other
    "run": ("run", "main"),  # tune and test one cell, or with -m all cells of a sweep; the name may be left out
    "plan": ("plan", "main"),  # what a sweep would cost
    "report": ("report", "main"),  # the tables of a sweep
    "decide": ("decide", "main"),  # should images be added?
    "signal": ("signal", "main"),  # is a trial of a modality worth it?
    "prepare": ("prepare", "main"),  # a dataset folder from files of others, or an MMRec folder of one
    "encode": ("encode", "main"),  # vectors for the texts and images of a folder
    "check": ("check", "main"),  # what would spoil a study on a folder
    "audit": ("audit", "main"),  # were the trainings what the records say?
    "recommend": ("recommend", "main"),  # the best items of users by the winner of a cell
    "export": ("export", "main"),  # vectors, neighbours and a card of the winner
    "bundle": ("bundle", "bundle"),  # records, environment, hashes and commands in one archive
    "verify": ("bundle", "verify"),  # compute every table of an archive again
}
#: Those that go on from where they were stopped; the others begin anew.
RESUMED = ("demo", "start", "run", "encode", "audit")


def main() -> None:
    """``mmbench`` and ``python -m mmbench``: a sub-command by its name; anything else is what ``run`` takes."""
    with stoppable():
        from mmbench.cli.errors import one_line_errors  # Ctrl-C is heard before the first library loads
        from mmbench.messages import Refusal
        from mmbench.messages.hints import did_you_mean

        if isinstance(sys.stdout, io.TextIOWrapper):  # a letter that a terminal cannot show is shown as on stderr
            sys.stdout.reconfigure(errors="backslashreplace")
        words = sys.argv[1:]
        first = words[0] if words else ""
        name = words.pop(0) if first in COMMANDS else "run"
        with one_line_errors(words, goes_on=name in RESUMED):
            try:
                os.getcwd()
            except FileNotFoundError:
                raise Refusal(
                    "the folder in which this command runs is not there any more; go to another one"
                ) from None
            if first not in COMMANDS and re.fullmatch(r"\w+", first):  # a setting holds a sign, a flag begins with one
                raise Refusal(
                    "{word} is no command of mmbench; {hint}; settings are written key=value",
                    word=first,
                    hint=did_you_mean(first, COMMANDS),
                )
            run_command([name, *words])


def program() -> None:
    """:func:`main` as all that a process does: what has ended by itself stays so, whatever comes while Python ends.

    That takes seconds, in which a signal would end in a traceback, or in its code for work that is done and told. Where
    a signal has ended the command, a second one is heard.
    """
    try:
        main()
    except SystemExit as end:
        if not (isinstance(end.code, int) and end.code > 128):  # 128 and the number of a signal
            ignore()
        raise
    ignore()


def run_command(words: Sequence[str]) -> object:
    """Run a sub-command by its name and words, as the command line does; what its function returns."""
    name, *rest = words
    before = sys.argv
    sys.argv = [before[0], *rest]  # Hydra reads the command line by itself
    try:
        return function_of(name)(rest)
    finally:
        sys.argv = before


def function_of(name: str) -> Callable[[Sequence[str]], object]:
    """The function that runs a sub-command with its words."""
    module, function = COMMANDS[name]
    command: Callable[[Sequence[str]], object] = getattr(importlib.import_module(f"mmbench.cli.{module}"), function)
    return command
