"""Steps of a model whose propagation is message passing by gather and scatter, the way the field's code has it."""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Callable, Iterator
from unittest import mock

import torch
from torch import Tensor
from torch_geometric.utils import scatter

from mmbench.models.base import FactorModel, Triplets
from mmbench.nn import edges, graph, smoothing

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


@contextlib.contextmanager
def scattered() -> Iterator[None]:
    """Let every sparse product gather one message per edge and scatter them to the receivers."""
    receivers = Receivers()

    def product(matrix: Tensor, x: Tensor) -> Tensor:
        with torch.no_grad():
            messages = x.index_select(0, matrix.col_indices()) * matrix.values().unsqueeze(1)
            return scatter(messages, receivers.of(matrix.crow_indices()), dim=0, dim_size=len(matrix), reduce="sum")

    def of_ends(self: edges.UserItemEdges, a: Tensor, b: Tensor) -> Tensor:
        return (a.index_select(0, self.rows) * b.index_select(0, self.columns)).sum(1)

    with contextlib.ExitStack() as stack:
        for module in (graph, smoothing, edges):
            stack.enter_context(mock.patch.object(module, "product", product))
        stack.enter_context(mock.patch.object(edges.UserItemEdges, "of_ends", of_ends))
        yield


def gradients(model: FactorModel, batch: Triplets) -> Tensor:
    """Loss and gradients of one step; the optimiser is the same either way."""
    model.zero_grad()
    loss = torch.stack([term.reshape(()) for term in model.loss(batch).values()]).sum()
    loss.backward()
    return loss.detach()


def seconds(run: Callable[[], object]) -> float:
    """Processor time of one call."""
    began = now()
    run()
    return now() - began


def compared(model: FactorModel, batch: Triplets, rounds: int = ROUNDS) -> dict[str, float]:
    """Medians of loss and gradients by sparse products and by gather and scatter, in turns after one of each."""
    pairs = []
    model.train()
    for _ in range(rounds + 1):
        ours = seconds(lambda: gradients(model, batch))
        with scattered():
            pairs.append((ours, seconds(lambda: gradients(model, batch))))
    ours, theirs = (statistics.median(times) for times in zip(*pairs[1:], strict=True))
    return {"sparse_step": ours, "scatter_step": theirs}
