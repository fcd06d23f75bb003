"""From ID vectors to the vectors of all users and items: the steps that most graph models share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from mmbench.data.recdata import RecData
from mmbench.nn.graph import product, symmetric_normalised
from mmbench.nn.memo import Memo, content_key

#: Graphs kept in memory, of a few data sets and models.
_graphs = Memo[Tensor](4)


def set_adjacency(owner: nn.Module, data: RecData, eps: float = 0.0) -> None:
    """Give a module the buffer ``adjacency``, the graph of :func:`symmetric_normalised`; no state stores it.

    Trainings on the same interactions share it.
    """
    edges = data.edge_index
    adjacency = _graphs.get(
        content_key(torch.get_default_dtype(), edges.device, data.n_users, data.n_items, eps, edges),
        lambda: symmetric_normalised(edges, data.n_users, data.n_items, eps),
    )
    owner.register_buffer("adjacency", adjacency, persistent=False)


def halves(nodes: Tensor, n_users: int) -> tuple[Tensor, Tensor]:
    """Users ``(n_users, d)`` and items ``(n_items, d)`` of all nodes, users first."""
    return nodes[:n_users], nodes[n_users:]


class _MeanOfLayers(torch.autograd.Function):
    """:func:`mean_of_layers` of stacked parts; either way it sums up in one buffer and keeps no layer."""

    @staticmethod
    def forward(ctx: Any, adjacency: Tensor, n_layers: int, *parts: Tensor) -> tuple[Tensor, ...]:
        ctx.save_for_backward(adjacency)
        ctx.n_layers, ctx.lengths = n_layers, [len(part) for part in parts]
        layer = parts[0] if len(parts) == 1 else torch.cat(parts)
        return _summed(adjacency, layer, n_layers).div_(n_layers + 1).split(ctx.lengths)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (adjacency,) = ctx.saved_tensors
        scaled = (grads[0] if len(grads) == 1 else torch.cat(grads)) / (ctx.n_layers + 1)
        grad = scaled
        for _ in range(ctx.n_layers):  # a symmetric graph: (I + A + A A) g = g + A (g + A g)
            grad = product(adjacency, grad).add_(scaled)
        return None, None, *grad.split(ctx.lengths)


def _summed(adjacency: Tensor, layer: Tensor, n_layers: int) -> Tensor:
    """Sum of a layer and those propagated from it, in a fresh buffer."""
    total = layer.clone()
    for _ in range(n_layers):
        layer = product(adjacency, layer)
        total += layer
    return total


def mean_of_layers(adjacency: Tensor, x: Tensor, n_layers: int) -> Tensor:
    r"""Mean of the propagated layers, :math:`\frac{1}{L+1}\sum_{l=0}^{L} A^l X` (He et al. 2020, eq. 8).

    Args:
        adjacency: symmetric and constant, ``(n, n)``.
        x: ego embeddings, ``(n, d)``.
        n_layers: L.
    """
    return _MeanOfLayers.apply(adjacency, n_layers, x)[0]


def propagated_nodes(adjacency: Tensor, users: Tensor, items: Tensor, n_layers: int) -> Tensor:
    """LightGCN: :func:`mean_of_layers` of ID vectors, ``(n_users + n_items, d)``.

    Args:
        adjacency: symmetric, ``(n_users + n_items, n_users + n_items)``.
        users: ``(n_users, d)``.
        items: ``(n_items, d)``.
        n_layers: number of propagation layers.
    """
    return mean_of_layers(adjacency, torch.cat([users, items]), n_layers)


def propagated(adjacency: Tensor, users: Tensor, items: Tensor, n_layers: int) -> tuple[Tensor, Tensor]:
    """:func:`propagated_nodes`, split into users and items again."""
    return _MeanOfLayers.apply(adjacency, n_layers, users, items)


class _RowsOfMean(torch.autograd.Function):
    """:func:`rows_of_mean`: whatever a step does beside the sparse products it does to the rows of the batch alone."""

    @staticmethod
    def forward(
        ctx: Any, adjacency: Tensor, transposed: Tensor, n_layers: int, nodes: Tensor, *parts: Tensor
    ) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(transposed, nodes)
        ctx.n_layers, ctx.lengths = n_layers, [len(part) for part in parts]
        layer = torch.cat(parts)
        ego = layer.index_select(0, nodes)
        total = ego.clone()
        for _ in range(n_layers):
            layer = product(adjacency, layer)
            total += layer.index_select(0, nodes)
        return total.div_(n_layers + 1), ego

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        transposed, nodes = ctx.saved_tensors
        of_total, of_ego = grads[0] / (ctx.n_layers + 1), grads[1]
        grad = add_rows(of_total.new_zeros(len(transposed), of_total.shape[1]), nodes, of_total)
        for _ in range(ctx.n_layers):  # with B the transposed graph: (I + B + B B) g = g + B (g + B g)
            grad = add_rows(product(transposed, grad), nodes, of_total)
        return None, None, None, None, *add_rows(grad, nodes, of_ego).split(ctx.lengths)


def add_rows(target: Tensor, rows: Tensor, values: Tensor) -> Tensor:
    """Add ``values`` ``(m, d)`` to the rows ``(m,)`` of ``target`` ``(n, d)``, which is changed and returned.

    The order of additions is fixed on every device; the quicker way is not elsewhere than on a CPU.
    """
    if target.device.type == "cpu":
        return target.index_add_(0, rows, values)
    return target.index_put_((rows,), values, accumulate=True)


def rows_of_mean(
    adjacency: Tensor,
    users: Tensor,
    items: Tensor,
    n_layers: int,
    nodes: Tensor,
    *,
    transposed: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Chosen rows of :func:`propagated_nodes` and of the ID vectors themselves, each ``(m, d)``.

    The same numbers and gradients, without a sum, a mean or a gradient of them over all nodes.

    Args:
        adjacency: constant, ``(n_users + n_items, n_users + n_items)``.
        users: ``(n_users, d)``.
        items: ``(n_items, d)``.
        n_layers: number of propagation layers.
        nodes: rows, users first, ``(m,)``; a row may be asked for several times.
        transposed: the graph turned round, where it is not symmetric.
    """
    return _RowsOfMean.apply(adjacency, adjacency if transposed is None else transposed, n_layers, nodes, users, items)


def repeated(step: Callable[[Tensor], Tensor], x: Tensor, n_layers: int) -> Tensor:
    r"""The last layer of a propagation, :math:`G^L x`, ``(n, d)`` to the same.

    Args:
        step: one step over the graph.
        x: ``(n, d)``.
        n_layers: L.
    """
    for _ in range(n_layers):
        x = step(x)
    return x


def with_neighbours(items: Tensor, x: Tensor, step: Callable[[Tensor], Tensor] | None, n_layers: int) -> Tensor:
    r"""Items and what an item graph says of them, :math:`v + G^L x`; without a graph v.

    Args:
        items: v, ``(n_items, d)``.
        x: what the graph smooths, ``(n_items, d)``.
        step: one step over the graph, or None.
        n_layers: L.
    """
    return items if step is None else items + repeated(step, x, n_layers)
