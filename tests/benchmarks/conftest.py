"""What ``make bench`` times is kept as soon as it is timed, so that a run that was broken off goes on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.benchmarks import rows


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what this code has been timed for."""
    timed = [item for item in items if is_timed(item) and rows.kept(item.nodeid) is not None]
    if timed:
        config.hook.pytest_deselected(items=timed)
        items[:] = [item for item in items if item not in timed]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[Any]:
    """Keep what a passed test has timed."""
    report = yield
    if report.when == "call" and report.passed and is_timed(item):
        benchmark = item.funcargs["benchmark"]  # type: ignore[attr-defined]
        rows.keep(item.nodeid, benchmark.stats.stats.median, benchmark.extra_info)
    return report


def is_timed(item: pytest.Item) -> bool:
    """Whether a test measures something."""
    return "benchmark" in getattr(item, "fixturenames", ())
