"""Starts processes that see the devices they are pinned to and no others.

CUDA reads ``CUDA_VISIBLE_DEVICES`` once, so it has to be set before torch is imported. Nothing here imports torch, and
what a process is to call arrives as bytes that are unpickled, which imports torch, after the variable is set.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import signal
import threading
from collections.abc import Callable, Iterator
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext, ForkServerProcess
from multiprocessing.process import BaseProcess
from typing import Any

#: The variable that CUDA reads.
VISIBLE = "CUDA_VISIBLE_DEVICES"
#: Signals that end a command.
ENDING = (signal.SIGINT, signal.SIGTERM)


def server(preload: str) -> ForkServerContext:
    """Start the process that others are forked from, unless this process has one already.

    A signal to the whole process group must not end it under its children: what is ignored when it starts stays ignored
    in it, and in its children until they set handlers of their own.

    Args:
        preload: module that it imports once for all of its children.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([preload])
    with _ignored():
        forkserver.ensure_running()
    return context


@contextlib.contextmanager
def _ignored() -> Iterator[None]:
    """Ignore :data:`ENDING` for a moment; only the main thread may."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    earlier = {number: signal.signal(number, signal.SIG_IGN) for number in ENDING}
    try:
        yield
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)


def process(
    context: ForkServerContext, devices: str, call: Callable[..., object], *given: Any, shared: tuple[Any, ...]
) -> ForkServerProcess:
    """A process that calls something once it is started.

    Args:
        context: from :func:`server`.
        devices: what it sees, as :data:`VISIBLE` names it; empty for processors only.
        call: what it calls.
        given: first arguments, pickled here and unpickled there.
        shared: further arguments, such as memory and pipes, which only a starting process can hand over.
    """
    return context.Process(target=_call, args=(devices, pickle.dumps((call, given)), *shared))


def end_with_parent() -> None:
    """Let this process have SIGALRM when its parent ends, however that ends."""
    if (parent := multiprocessing.parent_process()) is not None:
        threading.Thread(target=_alarm_after, args=(parent,), daemon=True).start()


def _alarm_after(parent: BaseProcess) -> None:
    parent.join()
    os.kill(os.getpid(), signal.SIGALRM)


def _call(devices: str, pickled: bytes, *shared: Any) -> None:
    os.environ[VISIBLE] = devices
    call, given = pickle.loads(pickled)
    call(*given, *shared)
