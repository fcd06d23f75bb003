"""Every timed model in a process of its own, for ``make bench``; with ``--full`` larger catalogues too."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.benchmarks.counts import COUNTS, SIMPLE_COUNTS
from tests.benchmarks.simple_models import data_folder, in_own_process
from tests.benchmarks.subjects import BABY_ITEMS

#: Models that are timed on 25,000 items too.
GROWN = ("lightgcn", "vbpr", "freedom")
FULL = [(model, n) for n in (25_000, 50_000) for model in ("bpr", "lightgcn", "vbpr", "freedom", "lattice")]
CASES = [*((model, BABY_ITEMS) for model in COUNTS), *((model, 25_000) for model in GROWN)]


def run_trial(benchmark: Any, model: str, n_items: int) -> None:
    """Measure one model in a fresh process; the times that count are those that it reports."""

    def run() -> None:
        command = [sys.executable, "-m", "tests.benchmarks.trial", model, str(n_items)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{model}, {n_items} items: {done.stderr.strip().splitlines()[-1]}")
        benchmark.extra_info.update({"model": model, "items": n_items, **json.loads(done.stdout)})

    benchmark.pedantic(run, rounds=1)


@pytest.mark.parametrize("model, n_items", CASES)
def test_model(benchmark: Any, model: str, n_items: int) -> None:
    run_trial(benchmark, model, n_items)
    assert benchmark.extra_info["sizes"]["items"] == n_items


@pytest.mark.skipif(data_folder() is None, reason="MMBENCH_DATA has no folder baby")
@pytest.mark.parametrize("model", SIMPLE_COUNTS)
def test_simple_model(benchmark: Any, model: str) -> None:
    benchmark.pedantic(lambda: benchmark.extra_info.update(in_own_process(model)), rounds=1)
    assert benchmark.extra_info["sizes"]["items"] == BABY_ITEMS


@pytest.mark.full
@pytest.mark.parametrize("model, n_items", [case for case in FULL if case not in CASES])
def test_large_catalogue(benchmark: Any, model: str, n_items: int) -> None:
    run_trial(benchmark, model, n_items)
    info = benchmark.extra_info
    assert info["peak_mb"] < 3000 + info["features_mb"], "set-up and evaluation stay under 3 GB above the features"
