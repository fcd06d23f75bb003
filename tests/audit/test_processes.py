"""The processes of an audit end with it, however it ends, and nothing but its own line is said."""

from __future__ import annotations

import contextlib
import fcntl
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mmbench.audit import processes
from mmbench.audit.processes import Pace, spread
from tests.signals import heard

#: Five pieces of work on two processes; each would take ten minutes, and holds a lock while its process lives.
PROGRAM = """
import sys, time
from pathlib import Path
from mmbench.audit.processes import spread
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
        spread(work, range(5), 2, print)
"""


class Clock:
    """Tells the same time until it is moved on."""

    now = 100.0

    def monotonic(self) -> float:
        return self.now


def test_an_audit_says_how_far_it_is_once_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, said = Clock(), list[str]()
    monkeypatch.setattr(processes, "time", clock)
    pace = Pace(lambda message: said.append(str(message)), [40, 20, 10, 5, 5])

    def work(seconds: float) -> float:
        clock.now += seconds
        return -seconds

    def ended(piece: int, _: float) -> None:
        pace(piece, before=False)

    assert spread(work, [240.0, 30.0, 30.0, 10.0, 80.0], 1, ended) == [-240.0, -30.0, -30.0, -10.0, -80.0]
    # 240 s for 40 trainings: another 40 to go; 300 s for 70: 10 to go; nothing at the end.
    assert said == ["[40/80 trainings, 4 min left]", "[70/80 trainings, 43 s left]"]


def test_what_an_audit_that_was_stopped_has_shown_says_nothing_of_the_time_that_is_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock, said = Clock(), list[str]()
    monkeypatch.setattr(processes, "time", clock)
    pace = Pace(lambda message: said.append(str(message)), [40, 20, 10, 10])
    clock.now += 61
    pace(0, before=True)  # nothing has been computed yet, and no pace is known
    assert not said
    clock.now += 19
    pace(1, before=False)
    assert said == ["[60/80 trainings, 80 s left]"]


@pytest.mark.thorough
def test_results_come_in_order_whatever_ends_first() -> None:
    ended: list[tuple[int, float]] = []
    assert spread(math.sqrt, [4.0, 9.0, 16.0], 2, lambda *piece: ended.append(piece)) == [2.0, 3.0, 4.0]
    assert sorted(ended) == [(0, 2.0), (1, 3.0), (2, 4.0)]


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
