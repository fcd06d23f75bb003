"""Named points at which tests kill or stop the process, to prove that no finished training is lost."""

from __future__ import annotations

import os
import signal

#: Names a point; the process that reaches it dies as if by ``kill -9``, or after ``stop:`` is stopped as if by
#: ``kill -STOP``. Read only, and unset outside of tests.
VARIABLE = "MMBENCH_FAULT"
POINTS = ("asked", "epoch", "fitted", "record", "ledger", "locked", "chosen", "sealing")
#: The same where a sweep gets more trials or final runs: they are planned, an earlier look is kept, and final runs of
#: the earlier choice are set aside.
RAISING = ("planned", "look", "aside")
#: The same in an encoding: a batch of vectors is on disk.
ENCODED = "encoded"


def reach(point: str) -> None:
    """Die or stop here if :data:`VARIABLE` names this point."""
    fault = os.environ.get(VARIABLE)
    if fault == point:
        os.kill(os.getpid(), signal.SIGKILL)
    elif fault == f"stop:{point}":
        os.kill(os.getpid(), signal.SIGSTOP)
