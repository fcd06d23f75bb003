"""The signals that end a command. Nothing here loads a library, so that they are heard before the first one loads."""

from __future__ import annotations

import signal

#: Ctrl-C, and what a system or a cluster sends.
ENDING = (signal.SIGINT, signal.SIGTERM)


def heard() -> list[signal.Signals]:
    """Those of :data:`ENDING` that this process does not ignore, as it may in the background of a shell."""
    return [number for number in ENDING if signal.getsignal(number) is not signal.SIG_IGN]
