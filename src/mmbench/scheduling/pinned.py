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
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from multiprocessing import forkserver, resource_tracker
from multiprocessing.context import ForkServerContext, ForkServerProcess
from multiprocessing.process import BaseProcess
from typing import Any

from mmbench.messages import Refusal
from mmbench.scheduling.signals import ENDING

#: The variable that CUDA reads.
VISIBLE = "CUDA_VISIBLE_DEVICES"
#: Bytes that the path of a socket has at most, and what multiprocessing adds to the folder for temporary files.
SOCKET, ADDED = 107, "/pymp-12345678/listener-12345678"


def check_sockets() -> None:
    """Refuse a folder for temporary files whose path is too long for the socket of :func:`server` in it.

    Raises:
        ValueError: for such a folder.
    """
    folder = os.fsencode(tempfile.gettempdir())
    most = SOCKET - len(ADDED)
    if len(folder) > most:
        raise Refusal(
            "TMPDIR={folder} has {n} bytes, and a path of at most {most} leaves room for the sockets of the workers; "
            "name a shorter one",
            folder=os.fsdecode(folder),
            n=len(folder),
            most=most,
        )


def server(preload: str) -> ForkServerContext:
    """Start the process that others are forked from, unless this process has one already.

    A signal to the whole process group must not end it under its children, so :data:`ENDING` is blocked in it and in
    its children, until :func:`_call` lets a child hear them.

    Args:
        preload: module that it imports once for all of its children.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([preload])
    with deaf(ENDING):
        forkserver.ensure_running()
    return context


@contextlib.contextmanager
def deaf(numbers: Iterable[signal.Signals]) -> Iterator[None]:
    """Block signals in the processes that are started meanwhile; this process hears what comes afterwards."""
    resource_tracker.ensure_running()  # its start lets the signals through
    earlier = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, earlier)


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
    for number in ENDING:  # until it has handlers of its own
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
    os.environ[VISIBLE] = devices
    call, given = pickle.loads(pickled)
    call(*given, *shared)
