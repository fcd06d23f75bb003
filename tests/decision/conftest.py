"""Sweeps made by hand are taken as they are, as for the tests of reports."""

from __future__ import annotations

from tests.report.conftest import _records_are_taken_as_they_are

__all__ = ["_records_are_taken_as_they_are"]
