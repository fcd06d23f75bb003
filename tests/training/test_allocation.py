from __future__ import annotations

import ctypes
import signal
import sys

import pytest

from mmbench.training import allocation


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="mallopt is the GNU C library's")
def test_the_c_library_takes_the_thresholds() -> None:
    if not hasattr(ctypes.CDLL(None), "mallopt"):
        pytest.skip("a C library without mallopt")
    assert allocation.keep_freed_memory()


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
