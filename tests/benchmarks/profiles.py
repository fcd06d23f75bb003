"""Where the time of one training step goes, by kind of work."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch.profiler import ProfilerActivity, profile

from mmbench.nn.recommender import FactorModel, Triplets

#: Kinds of work by the beginning of the operation's name; the first that fits counts.
KINDS: Mapping[str, tuple[str, ...]] = {
    "dense products": ("aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm"),
    "sparse products": ("aten::_embedding_bag", "aten::sparse_sampled_addmm", "aten::_sparse"),
    "rows": (
        "aten::index",
        "aten::_index_put",
        "aten::gather",
        "aten::scatter",
        "aten::embedding_dense_backward",
        "aten::cat",
    ),
    "Adam": ("aten::_fused_adam", "Optimizer."),
}
REST = "rest"


def kind_of(operation: str) -> str:
    """Kind of work of an operation."""
    return next((kind for kind, names in KINDS.items() if operation.startswith(names)), REST)


def shares(times: Iterable[tuple[str, float]]) -> dict[str, float]:
    """Share of every kind in the time of operations, given by name with their own time."""
    found = dict.fromkeys((*KINDS, REST), 0.0)
    for operation, seconds in times:
        found[kind_of(operation)] += seconds
    total = sum(found.values())
    return {kind: seconds / total for kind, seconds in found.items()}


def profiled(model: FactorModel, batches: Iterable[Triplets]) -> dict[str, float]:
    """Shares of the time of training steps on batches; the first step only warms up."""
    model.train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)

    def step(batch: Triplets) -> None:
        optimizer.zero_grad()
        torch.stack([term.reshape(()) for term in model.loss(batch).values()]).sum().backward()
        optimizer.step()

    first, *others = batches
    step(first)
    with profile(activities=[ProfilerActivity.CPU]) as record:
        for batch in others:
            step(batch)
    return shares((event.key, event.self_cpu_time_total) for event in record.key_averages())
