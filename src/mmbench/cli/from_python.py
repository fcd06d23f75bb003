"""``mmbench.sweep``: the command ``python -m mmbench`` of this interpreter, for a program or a notebook.

The command is a process of its own. So a script needs no guard around its main part, an application that uses Hydra
keeps its own configuration, and data or models that have changed since the last call are read again.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from mmbench.cli.errors import language_in
from mmbench.cli.run import CONFIG_DIR_FLAGS, asked, own_trust, separated
from mmbench.messages import Message, Refusal, Translator
from mmbench.messages.refused import FOREIGN
from mmbench.report.frames import Results
from mmbench.scheduling.signals import heard

MULTIRUN = ("-m", "--multirun")
#: The results have them as DataFrames.
PRINT_NO_TABLES = "report.printed=false"
#: What a notebook sets so that programs take its output for a terminal.
FORCES_A_TERMINAL = ("FORCE_COLOR", "CLICOLOR_FORCE", "TTY_COMPATIBLE", "TTY_INTERACTIVE")
#: Exit code of a command that was stopped by Ctrl-C.
INTERRUPTED = 128 + signal.SIGINT


def run_sweep(words: Iterable[str], *, progress: bool = True) -> Results:
    """Run the command of a sweep and read what it has written.

    Args:
        words: words of the command line: ``key=value``, and ``--config-dir`` with its folder.
        progress: whether what the command prints is printed here.

    Raises:
        Refusal: with the line in which the command ends.
        KeyboardInterrupt: after the command was interrupted; finished trainings stay.
    """
    flags, overrides = separated([str(word) for word in words])
    flags = [flag for flag in flags if flag not in MULTIRUN]
    _check(flags)
    named, composed = asked(flags, [PRINT_NO_TABLES, *overrides], multirun=True)
    job = composed.job()
    command = [sys.executable, "-m", "mmbench", *MULTIRUN[:1], *flags, *named]
    code, last = 0, ""
    with _started(command, _environment()) as process:
        for line in process.stdout or ():
            last = line.strip() or last
            if progress:
                print(line, end="", flush=True)
        code = process.wait()
    if code == INTERRUPTED:
        raise KeyboardInterrupt
    if code not in (0, 1):  # 1: a cell failed, which its row of the table tells
        raise Refusal(_told(last, Translator(language_in(named)), code))
    return Results(job.sweep_dir, own_trust([job]))


def _check(flags: Sequence[str]) -> None:
    """Refuse a flag that only a terminal has a use for."""
    for before, flag in zip(["", *flags], flags, strict=False):
        if flag.split("=")[0] not in CONFIG_DIR_FLAGS and before not in CONFIG_DIR_FLAGS:
            raise Refusal(
                "mmbench.sweep takes words key=value and --config-dir, not {flag}; that is for the command line",
                flag=flag,
            )


def _environment() -> dict[str, str]:
    """That of this program, in which the command finds its modules and writes lines, not a bar that moves."""
    kept = {name: value for name, value in os.environ.items() if name not in FORCES_A_TERMINAL}
    places = os.pathsep.join(dict.fromkeys(os.path.abspath(place or ".") for place in sys.path))
    return {**kept, "PYTHONPATH": places, "PYTHONIOENCODING": "utf-8"}


@contextmanager
def _started(command: Sequence[str], environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """A command whose two outputs are one; when this program is interrupted it gives back what it is at."""
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        env=environment,
        encoding="utf-8",
        errors="replace",
    )
    assert process.stdout is not None
    with process.stdout as printed:
        try:
            yield process
        except BaseException:
            # What is ignored here is ignored there too, and would be lost.
            process.send_signal(signal.SIGINT if signal.SIGINT in heard() else signal.SIGTERM)
            for _ in printed:  # a full pipe would keep it from ending
                pass
            process.wait()
            raise


def _told(line: str, say: Translator, code: int) -> Message:
    """The error in the last line of a command."""
    before, _, after = say(Message("error: {message}", message="\0")).partition("\0")
    if line.startswith(before):
        return Message(FOREIGN, error=line.removeprefix(before).removesuffix(after))
    return Message("the command ended with code {code}: {line}", code=code, line=line or "-")
