"""Steps of a model whose propagation is message passing by gather and scatter, the way the field's code has it."""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch_geometric.utils import scatter

from mmbench.nn import kernels
from mmbench.nn.recommender import FactorModel, Triplets

ROUNDS = 5
#: Models whose steps are timed both ways.
SCATTERED = ("bm3", "mgcn", "mmgcn", "grcn", "dualgnn", "dragon")

now = time.process_time


class Receivers:
    """Receiver of every edge of a graph, kept as message passing keeps it."""

    def __init__(self) -> None:
        self.known: dict[tuple[int, int], tuple[Tensor, Tensor]] = {}

    def of(self, starts: Tensor) -> Tensor:
        """Row of each entry of a CSR matrix whose rows begin at ``starts``."""
        key = (starts.data_ptr(), len(starts))  # a block of a graph shares memory with the whole
        if key not in self.known:
            rows = torch.arange(len(starts) - 1).repeat_interleave(starts.diff())
            self.known[key] = (starts, rows)  # the tensor is kept, so that no other one gets its address
        return self.known[key][1]


class Watch:
    """Adds up the processor time of calls."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self, call: Callable[..., Tensor]) -> Callable[..., Tensor]:
        """The same function, timed."""

        def timed(*given: Any) -> Tensor:
            began = now()
            try:
                return call(*given)
            finally:
                self.seconds += now() - began

        return timed


@contextlib.contextmanager
def propagation(product: Callable[..., Tensor], of_ends: Callable[..., Tensor]) -> Iterator[Watch]:
    """Let every sparse product and every product of ends be these; yields their time."""
    watch = Watch()
    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.object(kernels, "product", watch(product)))
        stack.enter_context(mock.patch.object(kernels, "products_of_ends", watch(of_ends)))
        yield watch


def sparse() -> contextlib.AbstractContextManager[Watch]:
    """Propagation as it is."""
    return propagation(kernels.product, kernels.products_of_ends)


def scattered() -> contextlib.AbstractContextManager[Watch]:
    """Let every sparse product gather one message per edge and scatter them to the receivers."""
    receivers = Receivers()

    def product(matrix: Tensor, x: Tensor) -> Tensor:
        with torch.no_grad():
            messages = x.index_select(0, matrix.col_indices()) * matrix.values().unsqueeze(1)
            return scatter(messages, receivers.of(matrix.crow_indices()), dim=0, dim_size=len(matrix), reduce="sum")

    def of_ends(pattern: Tensor, a: Tensor, b: Tensor) -> Tensor:
        rows, columns = receivers.of(pattern.crow_indices()), pattern.col_indices()
        return (a.index_select(0, rows) * b.index_select(0, columns)).sum(1)

    return propagation(product, of_ends)


def gradients(model: FactorModel, batch: Triplets) -> Tensor:
    """Loss and gradients of one step; the optimiser is the same either way."""
    model.zero_grad()
    loss = torch.stack([term.reshape(()) for term in model.loss(batch).values()]).sum()
    loss.backward()
    return loss.detach()


def seconds(model: FactorModel, batch: Triplets, way: contextlib.AbstractContextManager[Watch]) -> tuple[float, float]:
    """Processor time of loss and gradients one way, and that of the propagation in it."""
    with way as watch:
        began = now()
        gradients(model, batch)
        return now() - began, watch.seconds


def compared(model: FactorModel, batch: Triplets, rounds: int = ROUNDS) -> dict[str, float]:
    """Medians of loss and gradients, and of the propagation in them, both ways in turns after one of each."""
    model.train()
    both = [(*seconds(model, batch, sparse()), *seconds(model, batch, scattered())) for _ in range(rounds + 1)]
    names = ("sparse_step", "sparse_propagation", "scatter_step", "scatter_propagation")
    return {name: statistics.median(times) for name, times in zip(names, zip(*both[1:], strict=True), strict=True)}
