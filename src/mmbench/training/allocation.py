"""How the C library hands out memory: large buffers are kept for reuse in place of being mapped afresh."""

from __future__ import annotations

import ctypes

#: Names of ``malloc.h`` and their values; the largest mapping threshold that glibc accepts is 32 MiB.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
MMAP_BYTES = 32 << 20
TRIM_BYTES = 1 << 30


def keep_freed_memory() -> bool:
    """Keep freed buffers of this process for its next ones.

    By default glibc maps every large buffer afresh, and a training step that makes and drops tables of several
    megabytes spends much of its time on page faults. Numbers do not depend on it.

    Returns:
        Whether the C library took both thresholds; false where it has none, and then nothing changes.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    return bool(mallopt(M_MMAP_THRESHOLD, MMAP_BYTES)) and bool(mallopt(M_TRIM_THRESHOLD, TRIM_BYTES))
