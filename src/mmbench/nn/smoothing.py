"""From ID vectors to the vectors of all users and items: the steps that most graph models share."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from mmbench.data.recdata import RecData
from mmbench.nn.graph import mean_of_layers, symmetric_normalised


def set_adjacency(owner: nn.Module, data: RecData, eps: float = 0.0) -> None:
    """Give a module the buffer ``adjacency``, the graph of :func:`symmetric_normalised`; no state stores it."""
    adjacency = symmetric_normalised(data.edge_index, data.n_users, data.n_items, eps)
    owner.register_buffer("adjacency", adjacency, persistent=False)


def halves(nodes: Tensor, n_users: int) -> tuple[Tensor, Tensor]:
    """Users ``(n_users, d)`` and items ``(n_items, d)`` of all nodes, users first."""
    return nodes[:n_users], nodes[n_users:]


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
    return halves(propagated_nodes(adjacency, users, items, n_layers), len(users))


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
