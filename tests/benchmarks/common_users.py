"""Common users of all pairs of items by sparse and by dense products: ``python -m tests.benchmarks.common_users``.

Both ways give the same counts. Which takes less time hangs on the operations of the dense product for each addition of
the sparse one; :data:`mmbench.nn.sparse.DENSE_OPERATIONS` is the number up to which the dense one is taken. Data sets
lie under ``$MMBENCH_DATA``. Each round runs both ways in turn; it writes medians of processor seconds of one thread
into docs/performance.md.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from unittest import mock

import torch
from torch import Tensor

from mmbench.cli.compose import compose
from mmbench.data.recdata import make_recdata
from mmbench.nn import sparse
from tests.benchmarks.performance import PAGE, table, with_section

DATA = ("ml100k", "lfm2k", "uci_retail", "hm_sample", "baby")
HEADER = ("data", "items", "users", "operations an addition", "sparse s", "dense s", "taken", "even at")


def timed(matrix: Tensor, most: float) -> tuple[float, Tensor]:
    """Seconds of the counts with another number of dense operations, and the counts."""
    with mock.patch.object(sparse, "DENSE_OPERATIONS", most):
        began = time.process_time()
        counts = sparse.gram_matrix(matrix)
        return time.process_time() - began, counts


def measured(dataset: str, rounds: int) -> list[str]:
    """A row of the table."""
    words = [f"dataset={dataset}", "model=ease", "modality=none", "tracking=none", "training.accelerator=cpu"]
    task = compose(words).job().task()
    data = make_recdata(task.train, task.inputs(0))
    matrix = sparse.interaction_matrix(data.edge_index.flip(0), data.n_items, data.n_users)
    additions = int(torch.bincount(data.edge_index[0], minlength=data.n_users).square().sum())
    an_addition = 2.0 * data.n_users * data.n_items**2 / additions
    ways: dict[float, list[float]] = {0.0: [], math.inf: []}
    for _ in range(rounds):
        counts = []
        for most, seconds in ways.items():
            took, counted = timed(matrix, most)
            seconds.append(took)
            counts.append(counted)
        assert torch.equal(*counts)
    by_sparse, by_dense = map(statistics.median, ways.values())
    taken = "dense" if an_addition <= sparse.DENSE_OPERATIONS else "sparse"
    numbers = f"{by_sparse:.2f}", f"{by_dense:.2f}", taken, f"{an_addition * by_sparse / by_dense:,.0f}"
    return [dataset, f"{data.n_items:,}", f"{data.n_users:,}", f"{an_addition:,.0f}", *numbers]


def main() -> None:
    """Write and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", nargs="*", default=list(DATA))
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    text = table(HEADER, [measured(name, asked.rounds) for name in asked.data])
    if asked.data == list(DATA):
        PAGE.write_text(with_section(PAGE.read_text(encoding="utf-8"), "common users", text), encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
