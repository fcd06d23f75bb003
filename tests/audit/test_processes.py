"""The processes of an audit end with it, however it ends, and nothing but its own line is said."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

#: Five pieces of work on two processes; each would take ten minutes, and holds a lock while its process lives.
PROGRAM = """
import sys, time
from pathlib import Path
from mmbench.audit import levels
from mmbench.cli.errors import one_line_errors
from mmbench.cli.stops import stoppable
from mmbench.store import files

def work(number):
    place = Path(sys.argv[1])
    with files.locked(place / f"{number}.lock"):
        (place / f"{number}.begun").touch()
        time.sleep(600)

if __name__ == "__main__":
    with stoppable(), one_line_errors([], goes_on=False):
        levels._spread(work, range(5), 2)
"""


def heard() -> None:
    """Hear Ctrl-C, which what begins in the background of a shell ignores."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def is_over(lock: Path) -> bool:
    """Whether the process that held a lock has ended."""
    with lock.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def until(come: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not come():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "send", "code", "said"),
    [
        (signal.SIGINT, os.killpg, 130, "stopped; the same command begins anew\n"),  # as a terminal does
        (signal.SIGTERM, os.kill, 143, ""),
        (signal.SIGKILL, os.kill, -signal.SIGKILL, None),  # what watches semaphores warns
    ],
)
def test_no_process_outlives_its_audit(
    number: signal.Signals, send: Callable[[int, int], None], code: int, said: str | None, tmp_path: Path
) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    begun = [tmp_path / f"{piece}.begun" for piece in range(2)]
    with subprocess.Popen(
        [sys.executable, str(program), str(tmp_path)],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=heard,
    ) as audit:
        try:
            until(lambda: all(file.exists() for file in begun), 180)
            send(audit.pid, number)
            assert audit.wait(20) == code
            until(lambda: all(is_over(file.with_suffix(".lock")) for file in begun), 20)
            assert audit.stderr is not None
            assert said in (None, audit.stderr.read())
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(audit.pid, signal.SIGKILL)
    assert len(list(tmp_path.glob("*.begun"))) == 2
