from __future__ import annotations

import ctypes
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
