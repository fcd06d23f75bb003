"""Kernels and ceilings on one thread, for ``make bench``: see ``docs/performance.md``."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch_geometric.nn import LGConv

from mmbench.data.interactions import Interactions
from mmbench.evaluation.ranking import Evaluator
from mmbench.nn.item_neighbours import knn
from mmbench.nn.negatives import NegativeSampler
from mmbench.nn.propagation import propagate
from mmbench.nn.user_item_graph import symmetric_normalised
from mmbench.training import allocation
from tests.benchmarks import work
from tests.benchmarks.ceilings import CEILINGS, DIM
from tests.benchmarks.overhead import seconds_per_step
from tests.benchmarks.subjects import baby_log
from tests.benchmarks.work import Work

ROUNDS = 15


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Threads and memory as in a worker of a sweep."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    allocation.keep_freed_memory()
    torch.manual_seed(0)
    yield
    torch.set_num_threads(before)


def timed(benchmark: Any, run: Callable[[], object], rounds: int = ROUNDS, **said: Any) -> None:
    """Time ``run`` and keep what is said of it beside the times."""
    benchmark.extra_info.update(said)
    benchmark.pedantic(run, rounds=rounds, warmup_rounds=2 if rounds >= ROUNDS else 0)


@pytest.mark.parametrize("name", CEILINGS)
def test_ceiling(benchmark: Any, name: str) -> None:
    ceiling = CEILINGS[name]()
    timed(benchmark, ceiling.run, 25, ceiling=name, amount=ceiling.amount, unit=ceiling.unit)


class Log:
    """Training part of the planted log."""

    def __init__(self) -> None:
        self.log = baby_log()
        self.train = self.log.train
        self.edges = torch.stack([torch.from_numpy(self.train.users), torch.from_numpy(self.train.items)])


@pytest.fixture(scope="module")
def log() -> Log:
    return Log()


def forward_and_backward(step: Callable[[Tensor], Tensor], x: Tensor, gradient: Tensor) -> Callable[[], object]:
    return lambda: torch.autograd.grad(step(x), x, gradient)


def spmm_subject(log: Log) -> tuple[Tensor, Tensor, Tensor, Work]:
    adjacency = symmetric_normalised(log.edges, log.train.n_users, log.train.n_items)
    x = torch.randn(len(adjacency), DIM, requires_grad=True)
    counted = work.both_ways(adjacency.values().numel(), len(adjacency), DIM)
    return adjacency, x, torch.randn(len(adjacency), DIM), counted


def test_sparse_product(benchmark: Any, log: Log) -> None:
    adjacency, x, gradient, counted = spmm_subject(log)
    run = forward_and_backward(lambda value: propagate(adjacency, value), x, gradient)
    timed(benchmark, run, kernel="sparse product, both ways", work=vars(counted))


def test_gather_and_scatter(benchmark: Any, log: Log) -> None:
    """The same product by PyG's message passing, the way the field's code has it."""
    adjacency, x, gradient, counted = spmm_subject(log)
    users, items = log.edges[0], log.edges[1] + log.train.n_users
    both = torch.stack([torch.cat([users, items]), torch.cat([items, users])])
    degree = torch.bincount(both[0], minlength=len(adjacency)).double()
    weights = (degree[both[0]] * degree[both[1]]).rsqrt().float()
    layer = LGConv(normalize=False)
    torch.testing.assert_close(layer(x, both, weights), propagate(adjacency, x), rtol=1e-4, atol=1e-5)
    run = forward_and_backward(lambda value: layer(value, both, weights), x, gradient)
    timed(benchmark, run, kernel="the same by gather and scatter", work=vars(counted))


def test_sampling(benchmark: Any, log: Log) -> None:
    """Exact negatives of an epoch, batch by batch."""
    sampler = NegativeSampler(log.edges, log.train.n_users, log.train.n_items)
    generator = torch.Generator().manual_seed(0)
    batches = log.edges[0].split(2048)
    timed(benchmark, lambda: [sampler.sample(users, generator) for users in batches], kernel="negatives of an epoch")


@pytest.mark.parametrize("width", [384, 4096])
def test_neighbours(benchmark: Any, log: Log, width: int) -> None:
    n = log.train.n_items
    features, present = torch.randn(n, width), torch.ones(n, dtype=torch.bool)
    counted = work.similarities(n, width)
    name = f"nearest neighbours, {n:,} items of {width:,} numbers"
    timed(
        benchmark,
        lambda: knn(features, present, 64),
        3 if width < 1000 else 1,
        kernel=name,
        work=vars(counted),
    )


class Vectors:
    """Scores of fixed vectors, items as columns, as a model has them."""

    def __init__(self, n_users: int, n_items: int) -> None:
        self.users, self.items = torch.randn(n_users, DIM), torch.randn(n_items, DIM).T.contiguous()

    def score(self, users: Tensor) -> Tensor:
        return self.users[users] @ self.items


@pytest.mark.parametrize("n_items", [7_050, 25_000])
def test_rank_counting(benchmark: Any, log: Log, n_items: int) -> None:
    train, valid = (Interactions(part.users, part.items, part.n_users, n_items) for part in (log.train, log.log.valid))
    evaluator, model = Evaluator(valid, train), Vectors(train.n_users, n_items)
    users = len(np.unique(valid.users))
    counted = Work(score_flops=2.0 * users * n_items * DIM, traffic=work.FLOAT * len(valid) * n_items)
    name = f"ranking of a split, {n_items:,} items"
    timed(benchmark, lambda: evaluator.rank(model), 3, kernel=name, work=vars(counted), goal=1.4)


def test_lightning(benchmark: Any) -> None:
    """What a step costs beyond loss, gradients and Adam: the same steps by the trainer and by a loop."""
    by_trainer, by_loop = seconds_per_step()
    timed(benchmark, lambda: time.sleep(0), 1, overhead={"trainer": by_trainer, "loop": by_loop})
