"""The tool finds what it is to find, and two minutes of it find nothing."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from mmbench import paths
from mmbench.store import ledger
from tests.chaos.run import Arena, Log, run_seed


@pytest.mark.thorough
def test_what_goes_wrong_is_found(tmp_path: Path) -> None:
    log = Log(0)
    arena = Arena(tmp_path, random.Random(0), log)
    arena.play(0)
    assert (log.problems, log.sweeps, log.repeated) == ([], 1, 0)
    row = next(ledger.read(arena.sweep))
    ledger.append(arena.sweep, row)
    (cell,) = arena.sweep.glob("*/bpr/-")
    paths.choice_file(cell).write_text("{}")
    with arena.said.open("a") as said:
        said.write("Traceback (most recent call last):")
    arena.check()
    differ, printed, twice = log.problems
    assert differ == "1 files differ: ['planted-complementary/bpr/-/choice.json']"
    assert printed == "a command printed a traceback"
    assert twice.endswith("was finished and trained 2 times")


@pytest.mark.slow
@pytest.mark.parametrize("parts", [("commands",), ("workers",)], ids="".join)
def test_a_minute_of_disasters_changes_nothing(parts: tuple[str, ...]) -> None:
    signals = 40 if parts == ("commands",) else 0
    log = run_seed(1000, signals, time.monotonic() + 60, parts)
    assert log.problems == []
    assert log.signals.total() > 0
