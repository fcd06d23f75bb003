"""Energy is measured where a meter works; where it does not, no training knows of it."""

from __future__ import annotations

import importlib.machinery
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from mmbench.store import ledger
from mmbench.training.energy import metered
from tests.tiny import make_job, sealed


class Tracker:
    """Stands in for codecarbon's; fails where it is told to."""

    fails = ""
    consumed: float = 0.25

    def __init__(self, **options: Any) -> None:
        self._reach("made")
        self.final_emissions_data = types.SimpleNamespace(energy_consumed=self.consumed)

    def _reach(self, here: str) -> None:
        if here == self.fails:
            raise PermissionError(13, "Permission denied", "/sys/class/powercap/intel-rapl:0/energy_uj")

    def start(self) -> None:
        self._reach("started")

    def stop(self) -> None:
        self._reach("stopped")


@pytest.fixture
def tracker(monkeypatch: pytest.MonkeyPatch) -> type[Tracker]:
    """The class that codecarbon gives in the test."""
    module: Any = types.ModuleType("codecarbon")
    module.__spec__ = importlib.machinery.ModuleSpec("codecarbon", None)
    module.OfflineEmissionsTracker = type("Own", (Tracker,), {})
    monkeypatch.setitem(sys.modules, "codecarbon", module)
    return module.OfflineEmissionsTracker  # type: ignore[no-any-return]


def test_what_the_block_took_is_measured(tracker: type[Tracker]) -> None:
    with metered() as meter:
        assert meter.kwh is None
    assert meter.kwh == 0.25


def test_no_number_is_no_energy(tracker: type[Tracker]) -> None:
    tracker.consumed = float("nan")
    with metered() as meter:
        pass
    assert meter.kwh is None


@pytest.mark.parametrize("point", ["made", "started", "stopped"])
def test_a_meter_that_fails_takes_no_training(point: str, tracker: type[Tracker], tmp_path: Path) -> None:
    tracker.fails = point
    store = sealed(make_job(tmp_path, "model=bpr", "budget.trials=1"))
    assert store.seal() is not None
    rows = list(ledger.read(tmp_path))
    assert [row.cost.energy_kwh for row in rows] == [None] * len(rows)
    assert {row.status for row in rows} == {"ok"}


def test_the_error_of_the_block_is_its_own(tracker: type[Tracker]) -> None:
    tracker.fails = "stopped"
    with pytest.raises(ZeroDivisionError), metered():
        raise ZeroDivisionError
