"""From ID vectors to the vectors of all users and items: the steps that most graph models share."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from mmbench.nn.kernels import DirectedProduct, MeanOfLayers, RowsOfMean


def halves(nodes: Tensor, n_users: int) -> tuple[Tensor, Tensor]:
    """Users ``(n_users, d)`` and items ``(n_items, d)`` of all nodes, users first."""
    return nodes[:n_users], nodes[n_users:]


def propagate(adjacency: Tensor, x: Tensor) -> Tensor:
    """One step ``A x`` over a symmetric constant graph: ``(n, n)`` times ``(n, d)``."""
    return DirectedProduct.apply(adjacency, adjacency, x)


def mean_of_layers(adjacency: Tensor, x: Tensor, n_layers: int) -> Tensor:
    r"""Mean of the propagated layers, :math:`\frac{1}{L+1}\sum_{l=0}^{L} A^l X` (He et al. 2020, eq. 8).

    Args:
        adjacency: symmetric and constant, ``(n, n)``.
        x: ego vectors, ``(n, d)``.
        n_layers: L.
    """
    return MeanOfLayers.apply(adjacency, n_layers, x)[0]


def sum_of_layers(adjacency: Tensor, x: Tensor, n_layers: int) -> Tensor:
    r"""Sum of the propagated layers, :math:`\sum_{l=0}^{L} A^l X`; arguments as for :func:`mean_of_layers`."""
    return (n_layers + 1) * mean_of_layers(adjacency, x, n_layers)


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
    return MeanOfLayers.apply(adjacency, n_layers, users, items)


def rows_of_mean(
    adjacency: Tensor,
    users: Tensor,
    items: Tensor,
    n_layers: int,
    nodes: Tensor | None = None,
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
        nodes: rows, users first, ``(m,)``; a row may be asked for several times. All of them in order where None.
        transposed: the graph turned round, where it is not symmetric.
    """
    if nodes is None:
        nodes = torch.arange(len(users) + len(items), device=users.device)
    return RowsOfMean.apply(adjacency, adjacency if transposed is None else transposed, n_layers, nodes, users, items)


def refined_layers(adjacency: Tensor, ego: Tensor, n_layers: int) -> list[Tensor]:
    r"""Layers weighed by their cosine with the ego layer, row by row (LayerGCN, Zhou et al. 2023).

    :math:`X^l = \cos(H^l, X^0) \odot H^l` with :math:`H^l = A X^{l-1}`; gradients go to both sides of the cosine, which
    is 0 for a node without edges.

    Args:
        adjacency: symmetric and constant, ``(n, n)``.
        ego: :math:`X^0`, ``(n, d)``, or ``(n, blocks, d)`` where every block of channels has a cosine of its own.
        n_layers: L.

    Returns:
        :math:`X^1` to :math:`X^L`, each of the shape of ``ego``.
    """
    x, layers = ego, []
    for _ in range(n_layers):
        h = propagate(adjacency, x.flatten(1)).view_as(ego)
        x = functional.cosine_similarity(h, ego, dim=-1, eps=1e-8).unsqueeze(-1) * h
        layers.append(x)
    return layers


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
    r"""Item vectors plus those smoothed over an item graph, :math:`v + G^L x`; without a graph v.

    Args:
        items: v, ``(n_items, d)``.
        x: what the graph smooths, ``(n_items, d)``.
        step: one step over the graph, or None.
        n_layers: L.
    """
    return items if step is None else items + repeated(step, x, n_layers)
