"""The command line, as for the tests of the command line itself, and what it trains."""

from __future__ import annotations

from typing import Any

import pytest

from mmbench.tuning import study
from tests.cli.conftest import command

__all__ = ["command"]


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Note every training from here on."""
    noted: list[Any] = []
    original = study.fit

    def noting(*args: Any, **named: Any) -> Any:
        noted.append(args)
        return original(*args, **named)

    monkeypatch.setattr(study, "fit", noting)
    return noted
