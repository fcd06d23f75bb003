"""The command line, as for the tests of the command line itself."""

from __future__ import annotations

from tests.cli.conftest import command

__all__ = ["command"]
