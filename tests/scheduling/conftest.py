"""Whole sweeps are started by the command line, inside the test's own process."""

from __future__ import annotations

from tests.cli.conftest import command

__all__ = ["command"]
