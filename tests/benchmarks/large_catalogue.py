"""Exact item neighbours of a large catalogue: ``python -m tests.benchmarks.large_catalogue [ITEMS]``.

Fits and scores the neighbourhood models on random interactions and features of 200,000 items, each in a process of its
own, and prints processor seconds and the memory above the data: the goal is 3 GB. All pairs in single precision would
be 160 GB. ItemKNN and HybridKNN take 200 neighbours per item and similarity, ContentKNN and the item graph 10.
The features are narrow, because products of wider ones take longer in proportion and no other memory.
"""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import torch
from torch import Tensor

from mmbench.data.recdata import RecData
from mmbench.models.contentknn import ContentKNN
from mmbench.models.hybridknn import HybridKNN
from mmbench.models.itemknn import ItemKNN
from mmbench.nn.item_graphs import fused_item_graph
from mmbench.nn.recommender import ClosedForm

N_ITEMS, N_USERS, PER_USER, WIDTH = 200_000, 100_000, 20, 32
SCORED = 2_000
GOAL_GB = 3.0
MODELS: dict[str, type[ClosedForm]] = {"itemknn": ItemKNN, "hybridknn": HybridKNN, "contentknn": ContentKNN}
SUBJECTS = (*MODELS, "item graph")


def shop(n_items: int) -> RecData:
    """Interactions whose popularity is skewed, and features of two modalities; a hundredth of the items lacks one."""
    generator = torch.Generator().manual_seed(0)
    users = torch.arange(N_USERS).repeat_interleave(PER_USER)
    ranks = torch.rand(len(users), generator=generator, dtype=torch.float64) ** 2 * n_items
    edges = torch.unique(torch.stack([users, torch.randperm(n_items, generator=generator)[ranks.long()]]), dim=1)
    features = {name: torch.randn(n_items, WIDTH, generator=generator) for name in ("image", "text")}
    present = {name: torch.arange(n_items) % 100 != place for place, name in enumerate(features)}
    return RecData(N_USERS, n_items, edges, features, present)


def memory(line: str) -> float:
    """A line of this process's status in gigabytes of 10^9 bytes."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(re.search(rf"^{line}:\s*(\d+) kB", status, re.MULTILINE)[1]) * 1024e-9  # type: ignore[index]


def measured(subject: str, n_items: int) -> tuple[float, float, float]:
    """Processor seconds of fit and of scores of 2,000 users, and gigabytes above the data."""
    torch.set_num_threads(1)
    data = shop(n_items)
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
    before, began = memory("VmRSS"), time.process_time()
    score: Callable[[Tensor], object] = lambda users: None  # noqa: E731
    if subject in MODELS:
        model = MODELS[subject](data)
        model.fit(data)
        score = model.score
    else:
        graph = fused_item_graph(data, 10, 0.5)
        assert graph is not None
    fitted = time.process_time()
    for users in torch.arange(SCORED).split(64):
        score(users)
    return fitted - began, time.process_time() - fitted, memory("VmHWM") - before


def main() -> None:
    """Print one line per subject."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("items", nargs="?", type=int, default=N_ITEMS)
    parser.add_argument("--only", choices=SUBJECTS, nargs="*", default=SUBJECTS)
    asked = parser.parse_args()
    for subject in asked.only:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            fit, scores, gigabytes = pool.submit(measured, subject, asked.items).result()
        missed = "" if gigabytes < GOAL_GB else f", more than {GOAL_GB:g}"
        print(
            f"{subject}: {asked.items:,} items, fit {fit:.0f} s, scores of {SCORED:,} users {scores:.1f} s, "
            f"{gigabytes:.2f} GB above the data{missed}",
            flush=True,
        )


if __name__ == "__main__":
    main()
