"""Parts of a machine that some tests need: programs and optional libraries."""

from __future__ import annotations

import importlib.util
import os
import shutil
from typing import NoReturn

import pytest

#: Set to 1 where every part is installed, as in ``.ci/run``: what is a skip elsewhere is a failure there.
REQUIRED = "MMBENCH_REQUIRE_PARTS"


def require_modules(*names: str) -> None:
    """Skip the running test, or fail it where parts are required, unless every module can be imported."""
    lacking = [name for name in names if importlib.util.find_spec(name) is None]
    if lacking:
        _lacks(f"not installed: {', '.join(lacking)}")


def require_program(name: str, *, path: str | None = None) -> str:
    """Return the path of a program; skip the running test, or fail it where parts are required, if there is none."""
    program = shutil.which(name, path=path)
    if program is None:
        _lacks(f"no program {name} on this machine")
    return program


def _lacks(reason: str) -> NoReturn:
    if os.environ.get(REQUIRED) == "1":
        pytest.fail(f"{reason}, and {REQUIRED}=1 requires it")
    pytest.skip(reason)
