"""Signals in tests, which may themselves run where Ctrl-C is ignored."""

from __future__ import annotations

import signal


def heard() -> None:
    """Hear Ctrl-C: what begins in the background of a shell ignores it, and so do all processes that it starts."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
