"""A measurement in a process of its own, so that its peak memory is its own and its end is nobody else's."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any


def apart(module: str, *words: str) -> dict[str, Any]:
    """What ``python -m module --one words`` prints as its last line.

    Args:
        module: a benchmark that measures one thing where its first word is ``--one``.
        words: which.

    Returns:
        The result, or under ``failed`` the last line that the process said of why it has none.
    """
    command = [sys.executable, "-m", module, "--one", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = done.stderr.strip().splitlines()
        return {"failed": said[-1][:120] if said else f"ended with {done.returncode}"}
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found
