"""A report of many cells: what is read, how often, what is left out, and what it must not load."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from mmbench import paths
from mmbench.report import fairness, figures
from mmbench.report.write import write_report
from mmbench.store import bounds
from tests.report.constructed import Made, hit_users, write_sweep

SEEDS = 2


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    """Three models with two conditions each."""
    finals = np.stack([hit_users(20, range(seed, 12)) for seed in range(SEEDS)])
    better = np.stack([hit_users(20, range(seed, 15)) for seed in range(SEEDS)])
    cells = {}
    for model in ("a", "b", "c"):
        cells |= {("data", model, "none"): Made(finals), ("data", model, "text"): Made(better)}
    return write_sweep(tmp_path / "s", cells)


def page(sweep: Path) -> str:
    return (paths.report_dir(sweep) / f"{paths.FAIRNESS}.html").read_text()


def drawn(sweep: Path) -> set[str]:
    return {file.stem for file in paths.report_dir(sweep).glob("*.svg")}


@pytest.mark.slow
def test_charts_of_many_models_are_drawn_on_request(sweep: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_report(sweep)
    whole = page(sweep)
    assert "<svg" in whole
    assert "were not drawn" not in whole
    monkeypatch.setattr(fairness, "MOST_CHARTED", 2)
    write_report(sweep)
    assert "<svg" not in page(sweep)
    command = "python -m mmbench report FOLDER --every-chart (FOLDER: the folder of this sweep)"
    assert f"The charts of 3 models were not drawn; {command} draws them." in page(sweep)
    write_report(sweep, every_chart=True)
    assert page(sweep) == whole


@pytest.mark.slow
def test_a_figure_of_many_rows_is_drawn_on_request(sweep: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_report(sweep)
    all_of_them = drawn(sweep)
    assert all_of_them >= {"forest-text_vs_none", "conditions", "gains"}
    monkeypatch.setattr(figures, "MOST_ROWS", 2)
    write_report(sweep)
    assert drawn(sweep) == set()  # those of the earlier report are gone
    write_report(sweep, every_chart=True)
    assert drawn(sweep) == all_of_them


def test_every_file_of_ranks_is_read_by_the_table_and_by_the_tuning_once(
    sweep: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noted: Counter[str] = Counter()
    original = bounds.read_columns

    def noting(path: Path, *names: Sequence[str]) -> dict[str, np.ndarray]:
        noted[str(path)] += 1
        return original(path, *names)

    monkeypatch.setattr(bounds, "read_columns", noting)
    write_report(sweep)
    trials = {path: times for path, times in noted.items() if "/trials/" in path}
    finals = {path: times for path, times in noted.items() if "/finals/" in path}
    assert len(trials) == 6 * 8
    assert len(finals) == 6 * SEEDS
    assert set(trials.values()) == {1}
    assert set(finals.values()) == {2}


@pytest.mark.thorough
def test_a_report_loads_no_training() -> None:
    """What trains takes five seconds and 300 MB to import."""
    program = "import sys, mmbench.report.write; print([n for n in ('torch', 'pytorch_lightning') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
