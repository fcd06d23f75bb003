"""The machine's own ceilings on one thread: what counted work is held against."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch.nn import functional

from tests.benchmarks.work import FLOAT

#: A table of the size that the models have on Amazon Baby: users and items, 64 numbers each.
ROWS, DIM = 26_495, 64
#: Tables that take turns, so that none waits in a cache for its next turn; together as much as a training step touches.
TABLES = 8
#: Distinct items of a batch and the width of both features: the product that content models wait for.
BATCH_ITEMS, WIDTH, HIDDEN = 2_937, 4_480, 256
BLOCK_USERS, ITEMS = 64, 7_050
DEGREE = 9


class Ceiling(NamedTuple):
    """One ceiling.

    Args:
        run: does the work once.
        amount: of work, in units.
        unit: what the rate counts per second.
    """

    run: Callable[[], object]
    amount: float
    unit: str


def gemm(columns: int = DIM) -> Ceiling:
    """A projection of features forward and its gradient of the weights."""
    features, gradient = torch.randn(BATCH_ITEMS, WIDTH), torch.randn(BATCH_ITEMS, columns)
    weight, projected = torch.randn(columns, WIDTH), torch.empty(BATCH_ITEMS, columns)
    of_weight = torch.empty(columns, WIDTH)

    def run() -> None:
        torch.mm(features, weight.T, out=projected)
        torch.mm(gradient.T, features, out=of_weight)

    return Ceiling(run, 4.0 * BATCH_ITEMS * WIDTH * columns, "flop")


def hidden() -> Ceiling:
    """The same to a hidden layer."""
    return gemm(HIDDEN)


def scores() -> Ceiling:
    """The scores of a block of users."""
    users, items, block = torch.randn(BLOCK_USERS, DIM), torch.randn(ITEMS, DIM), torch.empty(BLOCK_USERS, ITEMS)
    return Ceiling(lambda: torch.mm(users, items.T, out=block), 2.0 * BLOCK_USERS * ITEMS * DIM, "flop")


def copy() -> Ceiling:
    """Copies between tables that take turns; bytes read and bytes written."""
    tables = [torch.randn(ROWS, DIM) for _ in range(TABLES)]

    def run() -> None:
        for target, source in itertools.pairwise(tables):
            target.copy_(source)

    return Ceiling(run, (TABLES - 1) * 2.0 * FLOAT * ROWS * DIM, "byte")


def gather() -> Ceiling:
    """Rows of one table in random order, summed nine at a time: what a sparse product reads; bytes of those rows."""
    table = torch.randn(ROWS, DIM)
    rows = torch.randint(ROWS, (ROWS * DEGREE,), generator=torch.Generator().manual_seed(0))
    starts = torch.arange(0, len(rows), DEGREE)

    def run() -> None:
        with torch.no_grad():
            functional.embedding_bag(rows, table, starts, mode="sum")

    return Ceiling(run, len(rows) * FLOAT * DIM, "byte")


def adam() -> Ceiling:
    """Fused Adam over two tables that take turns."""
    tables = [torch.nn.Parameter(torch.randn(ROWS, DIM)) for _ in range(2)]
    for table in tables:
        table.grad = torch.randn(ROWS, DIM)
    optimizer = torch.optim.Adam(tables, lr=1e-6, fused=True)
    return Ceiling(optimizer.step, 2.0 * ROWS * DIM, "parameter")


CEILINGS: Mapping[str, Callable[[], Ceiling]] = {f.__name__: f for f in (gemm, hidden, scores, copy, gather, adam)}
