"""Memory of trainings: how the C library hands it out, what it looks like when there is none left, giving it back."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import gc
import mmap
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import torch

from mmbench.store.schema import SHORT_OF_MEMORY

#: Names of ``malloc.h`` and their values.
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
TRIM_BYTES = 1 << 30
#: Resident bytes from which a process gives freed memory back: it takes some milliseconds, as long as a tiny training.
LARGE_BYTES = 1 << 30
#: What torch says where its allocators or those of its libraries have no memory left; not all have their own exception.
OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "DefaultCPUAllocator", "ALLOC_FAILED")


def keep_freed_memory() -> bool:
    """Keep freed buffers of this process for its next ones, until :func:`release`.

    By default glibc maps every large buffer afresh, and a training step that makes and drops tables of several
    megabytes spends much of its time on page faults. The size from which it does so can be raised to 32 MiB at most,
    the table of 130,000 users, so mapping is turned off altogether. Numbers do not depend on it.

    Returns:
        Whether the C library took both settings; false where it has none, and then nothing changes.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    return bool(mallopt(M_MMAP_MAX, 0)) and bool(mallopt(M_TRIM_THRESHOLD, TRIM_BYTES))


def settle() -> None:
    """Leave what is imported by now out of every later collection, so that one takes milliseconds and not a second.

    It also spares the pages that a process shares with the one it was forked from.
    """
    gc.collect()
    gc.freeze()


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory is used up, on processors or on a GPU, or was raised because of one."""
    return _of_memory(error) is not None


def _of_memory(error: BaseException | None) -> BaseException | None:
    """The exception of Python, numpy, torch or the system: the error, or what readers of files have put in words."""
    while error is not None:
        if isinstance(error, MemoryError | torch.OutOfMemoryError):
            return error
        if isinstance(error, OSError) and error.errno == errno.ENOMEM:  # a file that cannot be mapped
            return error
        if isinstance(error, RuntimeError) and any(words in str(error) for words in OUT_OF_MEMORY):
            return error
        error = error.__cause__
    return None


def reason(error: BaseException) -> str:
    """Why a training failed: the exception and what it says, want of memory in plain words before it.

    >>> reason(MemoryError("Unable to allocate 8.00 GiB"))
    'out of memory: MemoryError: Unable to allocate 8.00 GiB'
    """
    wanting = _of_memory(error)
    if wanting is None:
        return f"{type(error).__name__}: {error}"
    # What follows counts the bytes of other processes; it stays in the traceback, which no hash covers.
    return f"{SHORT_OF_MEMORY}{type(wanting).__name__}: {str(wanting).partition(' GPU ')[0]}"


def release() -> None:
    """Give back what a training that ended has left behind, on the GPU too.

    The trainer, the model and its optimizer refer to each other in circles, so that their tensors live on until the
    next collection. Python puts that off until a quarter of all objects are new, which in a worker means dozens of
    trainings. What the allocator of the GPU keeps for this process no other worker of that card could use.
    """
    with _signals_afterwards():
        gc.collect()
    # What keep_freed_memory has kept goes back to the system: the next training may be a small one.
    with contextlib.suppress(AttributeError, OSError, TypeError):
        if int(Path("/proc/self/statm").read_text().split()[1]) * mmap.PAGESIZE > LARGE_BYTES:
            ctypes.CDLL(None).malloc_trim(0)
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        with contextlib.suppress(RuntimeError):  # of a GPU that is lost, which is for the next training to find
            torch.cuda.empty_cache()


def is_lost(device: torch.device) -> bool:
    """Whether a GPU fails every call of this process: after some errors it does so until the process ends.

    One that was not used yet is asked to begin, which fails where the driver has lost the card.

    Args:
        device: without a number it stands for all GPUs that this process sees.
    """
    if device.type != "cuda":
        return False
    if not torch.cuda.is_available():
        return True
    numbers = range(torch.cuda.device_count()) if device.index is None else [device.index]
    try:
        for number in numbers:
            torch.cuda.synchronize(torch.device("cuda", number))
    except RuntimeError as error:
        return not is_out_of_memory(error)
    return False


@contextlib.contextmanager
def _signals_afterwards() -> Iterator[None]:
    """Let signals that end a worker take effect at the end of the block.

    What a handler raises while a collection runs the ``__del__`` of an object is printed and dropped, and the worker
    would go on as if nobody had told it to stop.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    handlers = {number: signal.getsignal(number) for number in (signal.SIGALRM, signal.SIGTERM, signal.SIGINT)}
    for number, handler in handlers.items():
        if callable(handler):  # neither ignored, nor left to the system, nor set by a library
            signal.signal(number, lambda number, frame: came.append(number))
    try:
        yield
    finally:
        for number, handler in handlers.items():
            if callable(handler):
                signal.signal(number, handler)
        for one in dict.fromkeys(came):
            signal.raise_signal(one)
