"""Cells small enough to be tuned in a tenth of a second, the engine that works on them, and the bytes they leave."""

from __future__ import annotations

import functools
import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from mmbench.cli.compose import Composed, composer
from mmbench.data.recdata import RecData
from mmbench.data.splits import Split
from mmbench.nn.recommender import ClosedForm, FactorModel, Triplets
from mmbench.scheduling.job import Job
from mmbench.scheduling.worker import OpenCell, work_on
from mmbench.store.leases import make_leases
from mmbench.store.records import CellStore
from mmbench.tuning.cell import CellTask

#: Eighty items, so that a list of fifty does not hold them all.
WORLD = (
    "dataset.world_options.n_users=60",
    "dataset.world_options.n_items=80",
    "dataset.world_options.per_user=10",
)
TINY = (*WORLD, "budget=touch", "tracking=none", "training.accelerator=cpu")


#: A configuration folder with ``model=broken``.
BROKEN = Path(__file__).parent / "broken"


_composer = functools.cache(composer)


def composed(words: Sequence[str], *config_dirs: Path) -> Composed:
    """What a command line composes to, as a cell of a sweep: files are read and merged once for all tests.

    ``tests/cli/test_compose.py`` shows that each job comes out as Hydra composes it alone, which takes longer than to
    train most of the tiny cells.

    Args:
        words: the command line.
        config_dirs: folders whose files no test changes.
    """
    return _composer(config_dirs).compose(words)


def make_job(sweep_dir: Path, *words: str) -> Job:
    """The job that the command line ``words`` asks for, on a tiny planted world."""
    return replace(composed([*TINY, *words]).job(), sweep_dir=sweep_dir)


def opened(job: Job) -> tuple[CellTask, CellStore]:
    """The task of a job and its claimed folder."""
    task = job.task()
    store = job.store(task)
    store.open(job.record(task))
    return task, store


def worked(task: CellTask, store: CellStore, split: Split) -> CellStore:
    """Let the engine of a worker tune, choose, run the final seeds and seal; the cell's records."""
    work_on([OpenCell(task, store, split)], make_leases("files", store.sweep_dir, timeout=60.0))
    return store


def sealed(job: Job) -> CellStore:
    """The records of a job after its work."""
    return worked(*opened(job), job.dataset().split)


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file under a folder by relative path; second copies and locks are left out."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix not in (".copy", ".lock"))
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


class Broken(ClosedForm):
    """Fails on the first look at the data, with a message of two lines."""

    def fit(self, data: RecData) -> None:
        raise RuntimeError(f"no use for\n{data.n_items} items of 50 % {{x}}")

    def score(self, users: Tensor) -> Tensor:
        raise AssertionError("never fitted")

    def __init__(self, data: RecData) -> None:
        super().__init__()


class Steady(FactorModel):
    """Popularity, weighed by one number whose gradient is the same at every step: every seed ends in the same state."""

    uses_content = False

    def __init__(self, data: RecData) -> None:
        super().__init__()
        self.n_users = data.n_users
        counts = torch.bincount(data.edge_index[1], minlength=data.n_items).float()
        self.register_buffer("counts", counts.unsqueeze(1), persistent=False)
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self) -> tuple[Tensor, Tensor]:
        return torch.ones(self.n_users, 1), (self.weight + 1) * self.counts

    def loss(self, batch: Triplets) -> dict[str, Tensor]:
        users, positives, negatives = batch.rows(*self())
        return {
            "bpr": -logsigmoid((users * (positives - negatives)).sum(-1)).mean().detach(),
            "falls": self.weight.sum(),
        }


class Hungry(ClosedForm):
    """Wants more memory than a process may have: ``size`` bytes of torch or of numpy, by ``of``.

    It wants them when it is built or when it is computed, by ``at``.
    """

    uses_content = False

    def __init__(self, data: RecData, of: str = "torch", size: int = 1 << 40, at: str = "fit") -> None:
        super().__init__()
        self.of, self.size = of, size
        if at == "build":
            self.fit(data)

    def fit(self, data: RecData) -> None:
        kept = torch.zeros(1 << 20)  # what a training has made before it fails
        self.kept = torch.empty(self.size, dtype=torch.int8) if self.of == "torch" else np.empty(self.size, np.int8)
        self.kept[0] = kept[0]

    def score(self, users: Tensor) -> Tensor:
        raise AssertionError("never fitted")


def write_hungry_model(folder: Path, of: str = "torch", at: str = "fit") -> None:
    """Write a configuration folder with ``model=hungry``."""
    (folder / "model").mkdir(parents=True)
    (folder / "model" / "hungry.yaml").write_text(
        f"# @package _global_\nmodel: {{_target_: tests.tiny.Hungry, of: {of}, at: {at}}}\nsearch: {{}}\n"
    )


def write_broken_model(folder: Path) -> None:
    """Write a configuration folder with ``model=broken``."""
    shutil.copytree(BROKEN, folder)
