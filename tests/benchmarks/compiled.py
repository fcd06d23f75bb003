"""What ``training.compile=true`` buys: ``python -m tests.benchmarks.compiled`` writes its table into the page.

The steps of a model are run as they are and compiled, an epoch of each in turn. On processors seconds are those that
this process and its compilers have used, on a GPU those on the wall once the device has done what it was given. The
kernels that torch keeps on the disk are kept in a folder of their own, which is empty at first: the first compilation
finds nothing, and the second, of another model of the same settings, everything but what depends on the process.
"""

from __future__ import annotations

import math
import os
import platform
import resource
import statistics
import sys
import tempfile
from collections.abc import Sequence
from typing import NamedTuple

import torch

from mmbench.cli.compose import compose
from mmbench.data.recdata import RecData
from mmbench.nn.recommender import FactorModel
from mmbench.training import compilation
from mmbench.training.batches import TripletLoader
from tests.benchmarks import gpu
from tests.benchmarks.performance import PAGE, table, with_section
from tests.benchmarks.subjects import STEPS, baby_words, made

MODELS = ("bpr", "lightgcn", "vbpr", "fusion")
COLUMNS = ["model", "data", "step ms", "compiled ms", "ratio", "compiling s, first / again", "repaid after steps"]


class Measured(NamedTuple):
    """Seconds of a step as it is and compiled, and of compiling with an empty folder of kernels and a full one."""

    plain: float
    compiled: float
    first: float
    again: float

    def row(self, model: str, data: str) -> list[str]:
        """A row of the table; compiling is repaid by the steps that are faster."""
        saved = self.plain - self.compiled
        repaid = f"{math.ceil(self.first / saved):,}" if saved > 0 else "never"
        times = [f"{1e3 * self.plain:.2f}", f"{1e3 * self.compiled:.2f}", f"{self.compiled / self.plain:.2f}"]
        return [model, data, *times, f"{self.first:.1f} / {self.again:.1f}", repaid]


class Steps:
    """Training steps of the default model of a cell.

    Args:
        words: the cell.
        compiled: whether its loss is compiled.
    """

    def __init__(self, words: Sequence[str], *, compiled: bool) -> None:
        task = compose(words).job().task()
        settings = task.recipe(task.default)[1]
        model, data = made(task)
        assert isinstance(model, FactorModel)
        self.model = model.to(settings.device)
        self.loss = compilation.compiled(model.loss) if compiled else model.loss
        self.optimizer = torch.optim.Adam(self.model.parameters(), settings.lr, fused=True)
        edges = RecData(data.n_users, data.n_items, data.edge_index.to(settings.device))
        self.loader = TripletLoader(edges, settings.batch_size, 0)

    def epoch(self) -> list[float]:
        """Seconds of each step of an epoch."""
        seconds = []
        self.model.begin_epoch()
        for batch in self.loader:
            began = now()
            self.optimizer.zero_grad()
            torch.stack([term.reshape(()) for term in self.loss(batch).values()]).sum().backward()
            self.optimizer.step()
            seconds.append(now() - began)
        return seconds


def now() -> float:
    """Seconds that a measurement counts."""
    if torch.cuda.is_available():
        return gpu.now()
    used = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(each.ru_utime + each.ru_stime for each in used)


def measured(words: Sequence[str]) -> Measured:
    """Times of a cell; the first two epochs of either are warm-up."""
    with tempfile.TemporaryDirectory() as kernels:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = kernels
        both = [Steps(words, compiled=compiled) for compiled in (False, True)]
        starts = [sum(map(sum, (steps.epoch(), steps.epoch()))) for steps in both]
        taken: list[list[float]] = [[], []]
        while len(taken[0]) < STEPS:
            for steps, seconds in zip(both, taken, strict=True):
                seconds += steps.epoch()
        compilation.forget()
        once_more = Steps(words, compiled=True)
        starts.append(sum(map(sum, (once_more.epoch(), once_more.epoch()))))
        compilation.forget()
    plain, compiled = map(statistics.median, taken)
    usual = 2 * len(both[1].loader) * compiled
    return Measured(plain, compiled, starts[1] - usual, starts[2] - usual)


def subjects(model: str) -> dict[str, list[str]]:
    """The cells of a model by the name of their data."""
    planted = [f"model={model}", "dataset=planted", "modality=fused", "tracking=none"]
    return {"planted": planted, "planted_baby": gpu.on(baby_words(model), "auto")}


def main() -> None:
    """Measure every model on both data sets."""
    torch.set_num_threads(1)
    rows = []
    for model in sys.argv[1:] or MODELS:
        for data, words in subjects(model).items():
            rows.append(measured(words).row(model, data))
            print(*rows[-1], sep=" | ", flush=True)
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "one thread of the processor"
    said = f"On {device}; torch {torch.__version__}, {compilation.compiler()}, Python {platform.python_version()}."
    section = f"{said}\n\n{table(COLUMNS, rows)}"
    PAGE.write_text(with_section(PAGE.read_text(encoding="utf-8"), "compiled", section), encoding="utf-8")


if __name__ == "__main__":
    main()
