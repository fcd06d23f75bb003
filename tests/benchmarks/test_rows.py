"""What a run of benchmarks keeps, and what a later run leaves out."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.benchmarks import conftest, rows


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(rows, "FOLDER", tmp_path / "bench")


def test_rows_are_kept_in_the_order_in_which_they_were_timed() -> None:
    assert rows.all_kept() == []
    rows.keep("b", 2.0, {"model": "bpr"})
    rows.keep("a", 1.0, {})
    assert rows.kept("b") == (2.0, {"model": "bpr"})
    assert rows.kept("c") is None
    assert rows.all_kept() == [(2.0, {"model": "bpr"}), (1.0, {})]


def test_rows_of_other_code_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    rows.keep("a", 1.0, {})
    monkeypatch.setattr(rows, "code", lambda: "another")
    assert rows.kept("a") is None
    assert rows.all_kept() == []


def timed(name: str) -> Any:
    """A test that measures something."""
    stats = SimpleNamespace(stats=SimpleNamespace(median=0.5))
    said = SimpleNamespace(stats=stats, extra_info={"model": name})
    return SimpleNamespace(nodeid=name, fixturenames=["benchmark"], funcargs={"benchmark": said})


def reported(item: Any, outcome: str) -> None:
    """Let a test end."""
    steps = conftest.pytest_runtest_makereport(item, SimpleNamespace())  # type: ignore[arg-type]
    next(steps)
    with pytest.raises(StopIteration):
        steps.send(SimpleNamespace(when="call", passed=outcome == "passed"))  # type: ignore[attr-defined]


def test_a_run_that_was_broken_off_times_what_is_missing() -> None:
    done, failed, plain = timed("done"), timed("failed"), SimpleNamespace(nodeid="plain", fixturenames=[])
    reported(done, "passed")
    reported(failed, "failed")
    left_out: list[Any] = []
    hook = SimpleNamespace(pytest_deselected=lambda items: left_out.extend(items))
    items = [done, failed, plain]
    conftest.pytest_collection_modifyitems(SimpleNamespace(hook=hook), items)  # type: ignore[arg-type]
    assert items == [failed, plain]
    assert left_out == [done]
    assert rows.all_kept() == [(0.5, {"model": "done"})]
