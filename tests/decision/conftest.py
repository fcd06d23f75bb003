"""The sweep on a shop that the pages are made of."""

from __future__ import annotations

from tests.report.conftest import shop_sweep

__all__ = ["shop_sweep"]
