"""The command as a user types it, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def mmbench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """``python -m mmbench`` in an empty folder, where ``multirun`` comes to lie."""
    monkeypatch.delenv("MMBENCH_DATA", raising=False)  # the data of the command lie in that folder too

    def run(*words: str, timeout: float = 300.0) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        # Python looks for a user's own model in the folder it starts in.
        command = [sys.executable, "-m", "mmbench", *words]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=timeout)

    return run
