from __future__ import annotations

import ctypes
import signal
import subprocess
import sys

import pytest
import torch

from mmbench.training import allocation

#: Buffers of 128 MiB below a small one that stays, in a process of its own: resident MiB and page faults.
BUFFERS = """
import resource
from pathlib import Path
import numpy as np
from mmbench.training import allocation

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() >> 20

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

allocation.LARGE_BYTES = 1 << 27
assert allocation.keep_freed_memory()
before, began = resident(), faults()
large, small = np.ones(1 << 24), np.ones(1 << 10)
first, began = faults() - began, faults()
del large
kept = resident() - before
large = np.ones(1 << 24)
again = faults() - began
del large
allocation.release()
print(first, again, kept, resident() - before)
"""


@pytest.mark.thorough
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="mallopt is the GNU C library's")
def test_freed_memory_is_kept_for_the_next_buffer_and_given_back_at_the_end() -> None:
    if not hasattr(ctypes.CDLL(None), "mallopt"):
        pytest.skip("a C library without mallopt")
    done = subprocess.run([sys.executable, "-c", BUFFERS], capture_output=True, text=True, check=True)
    first, again, kept, left = map(int, done.stdout.split())
    assert again * 10 < first
    assert kept >= 120  # of 128 MB; a busy machine takes some pages
    assert left < 64


def test_without_mallopt_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allocation.ctypes, "CDLL", lambda name: object())
    assert allocation.keep_freed_memory() is False


class RaisesASignal:
    """Refers to itself, so that only a collection ends it."""

    def __init__(self, number: int) -> None:
        self.number, self.itself = number, self

    def __del__(self) -> None:
        signal.raise_signal(self.number)


@pytest.mark.parametrize("number", [signal.SIGALRM, signal.SIGTERM, signal.SIGINT])
def test_a_signal_during_a_collection_is_not_lost(number: int) -> None:
    """In a ``__del__`` Python drops what a handler raises."""

    def stop(number: int, frame: object) -> None:
        raise InterruptedError(number)

    before = signal.signal(number, stop)
    try:
        RaisesASignal(number)
        with pytest.raises(InterruptedError):
            allocation.release()
        assert signal.getsignal(number) is stop
    finally:
        signal.signal(number, before)


def lose(monkeypatch: pytest.MonkeyPatch, said: str) -> list[str]:
    """Pretend that every call of a GPU fails; what it says is in the list as often as it was called."""
    calls: list[str] = []

    def fails(*given: object) -> None:
        calls.append(said)
        raise RuntimeError(said)

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "empty_cache", fails)
    monkeypatch.setattr(torch.cuda, "synchronize", fails)
    return calls


def test_a_lost_gpu_does_not_end_who_gives_memory_back(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = lose(monkeypatch, "CUDA error: device-side assert triggered")
    allocation.release()
    assert len(calls) == 1


def test_a_gpu_is_lost_if_it_fails_every_call(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = torch.device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert allocation.is_lost(gpu)  # the driver has none for this process
    lose(monkeypatch, "CUDA error: device-side assert triggered")
    assert allocation.is_lost(gpu)
    assert not allocation.is_lost(torch.device("cpu"))
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: None)
    assert not allocation.is_lost(gpu)
    lose(monkeypatch, "CUDA error: out of memory")
    assert not allocation.is_lost(gpu)


def test_one_of_several_gpus_of_a_training_may_be_the_lost_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def second_fails(device: torch.device) -> None:
        if device.index == 1:
            raise RuntimeError("CUDA error: uncorrectable ECC error encountered")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)  # the training was in processes of its own
    monkeypatch.setattr(torch.cuda, "synchronize", second_fails)
    assert allocation.is_lost(torch.device("cuda"))
    assert not allocation.is_lost(torch.device("cuda", 0))
