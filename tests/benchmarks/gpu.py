"""Times every timed model on a GPU: ``python -m tests.benchmarks.gpu`` writes ``results-gpu.json`` and its table.

A cell is that of ``make bench`` but on the device, whose work a look at the clock would have to wait for. So the clock
waits where an epoch and a validation begin and end, and nowhere else; a step is its share of an epoch. Seconds are
those on the wall. The model is trained twice for two epochs, and the last epoch counts. Each model has a process of its
own, so that the largest allocation is its own.
"""

from __future__ import annotations

import json
import math
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from mmbench.store import files
from mmbench.training import allocation
from mmbench.tuning.study import choose_if_due, run_unit, waiting
from tests.benchmarks.apart import apart
from tests.benchmarks.counts import COUNTS
from tests.benchmarks.performance import PAGE, table, with_section
from tests.benchmarks.subjects import baby_words, opened
from tests.benchmarks.trial import Clock

RESULTS = Path(__file__).with_name("results-gpu.json")
NO_GPU = "error: torch finds no GPU here; timings of one are made where one is"


def now() -> float:
    """Seconds on the wall when the device has done what it was given."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def on(words: Sequence[str], accelerator: str) -> list[str]:
    """The words of a cell of ``make bench`` with whole epochs on a device."""
    keys = ("training.accelerator", "budget.batches_per_epoch")
    return [*(word for word in words if word.partition("=")[0] not in keys), f"training.accelerator={accelerator}"]


def measured(words: Sequence[str]) -> dict[str, float]:
    """Seconds of an epoch, of a step and of ranking validation, and the largest allocation on the device in MB."""
    clock = Clock(now)
    clock.install()
    with tempfile.TemporaryDirectory() as folder:
        task, store = opened(words, Path(folder))
        _, settings = task.recipe(task.default)
        for _ in range(2):  # the second training finds everything that is cached
            clock.epochs.clear()
            choose_if_due(task, store)  # the second one is a final run
            training = run_unit(task, store, waiting(task, store)[0])
            if training.failure is not None:
                raise RuntimeError(f"{task.cell}: {training.failure.reason}")
    last = clock.epochs[-1]
    epoch = last.validated[0] - last.began
    peak = torch.cuda.max_memory_allocated() / 1e6 if torch.cuda.is_available() else 0.0
    steps = math.ceil(len(task.train) / settings.batch_size)
    return {"epoch": epoch, "step": epoch / steps, "evaluation": last.validated[1] - last.validated[0], "peak_mb": peak}


def section(results: Mapping[str, Any]) -> str:
    """The card and a row for each model."""
    rows = [
        [name, f"not measured: {m['failed']}", *[""] * 3]
        if "failed" in m
        else [name, f"{1e3 * m['step']:.2f}", f"{m['epoch']:.3f}", f"{m['evaluation']:.3f}", f"{m['peak_mb']:,.0f}"]
        for name, m in results["models"].items()
    ]
    said = f"{results['card']}; torch {results['torch']}; one training at a time."
    return f"{said}\n\n{table(['model', 'step ms', 'epoch s', 'evaluation s', 'peak memory MB'], rows)}"


def main() -> None:
    """Measure every timed model, or with ``--one MODEL`` that one in this process.

    Raises:
        SystemExit: without a GPU, with code 2.
    """
    if not torch.cuda.is_available():
        print(NO_GPU, file=sys.stderr)
        raise SystemExit(2)
    if sys.argv[1:2] == ["--one"]:
        allocation.keep_freed_memory()
        print(json.dumps(measured(on(baby_words(sys.argv[2]), "gpu"))))
        return
    models: dict[str, dict[str, Any]] = {}
    for model in COUNTS:
        models[model] = apart("tests.benchmarks.gpu", model)
        print(model, models[model], flush=True)
        results = {"card": torch.cuda.get_device_name(), "torch": torch.__version__, "models": models}
        files.write_text(RESULTS, json.dumps(results, indent=1) + "\n")
        files.write_text(PAGE, with_section(PAGE.read_text(encoding="utf-8"), "gpu", section(results)))


if __name__ == "__main__":
    main()
