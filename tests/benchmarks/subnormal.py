"""Numbers near zero as they are and as zeros: ``MMBENCH_DATA=FOLDER python -m tests.benchmarks.subnormal``.

Each model is trained on MovieLens 100K with text and images and its default configuration for 400 steps, as the code
does it and with subnormal numbers left as they are, in turn. The table has medians of three trainings of either, with
their validation, in processor seconds of one thread. Scores are compared too.
"""

from __future__ import annotations

import os
import statistics
import sys
from collections.abc import Callable
from unittest import mock

import torch
from torch import Tensor

from mmbench.cli.compose import compose
from mmbench.data.recdata import make_recdata
from mmbench.training import allocation
from mmbench.training.fit import fit
from tests.benchmarks.performance import PAGE, table, with_section
from tests.benchmarks.simple_models import now

MODELS = ("lightgcn", "vbpr", "fusion", "freedom", "bm3", "mgcn", "lattice", "dropoutnet")
WORDS = ("dataset=ml100k", "modality=fused", "budget.max_steps=400", "tracking=none", "training.accelerator=cpu")
ROUNDS = 3


def timed(model: str) -> tuple[list[float], list[float], float]:
    """Seconds with subnormal numbers as they are, seconds with zeros, and the largest difference of scores."""
    task = compose([f"model={model}", *WORDS]).job().task()
    build, settings = task.recipe(task.default)
    data = make_recdata(task.train, task.inputs(0))

    def once() -> tuple[float, Tensor]:
        began = now()
        fitted = fit(build, data, task.train, task.valid, settings, 0)
        return now() - began, fitted.model.score(torch.arange(data.n_users)).detach()

    def as_they_are() -> tuple[float, Tensor]:
        left: Callable[[bool], bool] = lambda mode: False  # noqa: E731 - it stands in for a function of torch
        with mock.patch.object(torch, "set_flush_denormal", left):
            return once()

    once()  # graphs and caches
    pairs = [(as_they_are(), once()) for _ in range(ROUNDS)]
    difference = max(float((before[1] - after[1]).abs().max()) for before, after in pairs)
    return [before[0] for before, _ in pairs], [after[0] for _, after in pairs], difference


def row(model: str) -> list[str]:
    """A row of the table."""
    *sides, difference = timed(model)
    before, after = map(statistics.median, sides)
    return [model, f"{before:.2f}", f"{after:.2f}", f"{after / before:.2f}", f"{difference:.0e}" if difference else "0"]


def main() -> None:
    """Time the models that are named, or all of them, and then write the page."""
    torch.set_num_threads(1)
    allocation.keep_freed_memory()
    if "MMBENCH_DATA" not in os.environ:
        raise SystemExit("set MMBENCH_DATA to the folder that holds ml100k/; nothing was measured")
    header = ["model", "as they are s", "zeros s", "ratio", "largest difference of scores"]
    text = table(header, [row(model) for model in sys.argv[1:] or MODELS])
    if not sys.argv[1:]:
        PAGE.write_text(with_section(PAGE.read_text(encoding="utf-8"), "subnormal", text), encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
