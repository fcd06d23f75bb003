"""Signals in tests, which may themselves run where Ctrl-C or the end of the terminal is ignored."""

from __future__ import annotations

import signal


def heard() -> None:
    """Hear Ctrl-C, which what begins in the background of a shell ignores, and SIGHUP, which nohup lets nobody hear.

    All processes that they start inherit that.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
