"""What Ctrl-C and SIGTERM do to a command until it says so itself, as a sweep does while its pool runs."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from types import FrameType, MappingProxyType

from mmbench.scheduling.signals import ENDING, heard

#: Where Python's own code for imports says it stands.
_IMPORTING = "<frozen importlib._bootstrap>"
#: Nothing to be said, whatever the signal.
_NOTHING: Mapping[int, str] = MappingProxyType({})


@contextlib.contextmanager
def stoppable(while_loading: Mapping[int, str] = _NOTHING) -> Iterator[None]:
    """End a command by Ctrl-C with 130 and by SIGTERM with 143, as a shell counts them; only the main thread may.

    A signal that is ignored, as under ``nohup``, stays ignored.

    Args:
        while_loading: the line for standard error by signal, should it come while a library loads, where the command
            ends without a line of its own.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        _stop(number, frame, while_loading.get(number, ""))

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    earlier = {number: signal.signal(number, stop) for number in heard()}
    try:
        yield
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)


def ignore() -> None:
    """Let no signal end this process any more; only the main thread may."""
    for number in ENDING:
        signal.signal(number, signal.SIG_IGN)


def _stop(number: int, frame: FrameType | None, while_loading: str) -> None:
    """Unwind what is open; while a library loads, end at once.

    A library may catch whatever is raised while it loads, as mpmath does, and the command would go on.

    Raises:
        KeyboardInterrupt: for Ctrl-C.
        SystemExit: for SIGTERM.
    """
    code = 128 + number
    while frame is not None:
        if frame.f_code.co_filename == _IMPORTING:
            with contextlib.suppress(OSError, ValueError):  # nobody reads it any more
                sys.stdout.flush()
            if while_loading:
                with contextlib.suppress(OSError, AttributeError):  # nor this; or there is no standard error
                    os.write(2, f"{while_loading}\n".encode(sys.stderr.encoding, "backslashreplace"))
            os._exit(code)
        frame = frame.f_back
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise SystemExit(code)
