"""The sweep on a shop that the pages are made of."""

from __future__ import annotations

from tests.report.conftest import _records_are_taken_as_they_are, shop_sweep

__all__ = ["_records_are_taken_as_they_are", "shop_sweep"]
