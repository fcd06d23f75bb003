"""Hypergraphs whose edges are learned groups that users and items belong to in part."""

from __future__ import annotations

import torch
from torch import Tensor


def memberships(logits: Tensor, temperature: float) -> Tensor:
    """How far each row belongs to each hyperedge, rows of one: ``(n, n_edges)`` to the same."""
    return torch.softmax(logits / temperature, dim=1)


def through_hyperedges(of_users: Tensor, of_items: Tensor, items: Tensor, n_layers: int) -> tuple[Tensor, Tensor]:
    r"""Hypergraph convolution from items to items and users (SPEC B §4).

    .. math:: x^{l+1} = H_i H_i^\top x^l, \quad y^{l+1} = H_u H_i^\top x^l

    Args:
        of_users: memberships :math:`H_u`, ``(n_users, n_edges)``.
        of_items: memberships :math:`H_i`, ``(n_items, n_edges)``.
        items: :math:`x^0`, ``(n_items, d)``.
        n_layers: at least one.

    Returns:
        Users ``(n_users, d)`` and items ``(n_items, d)`` of the last layer.
    """
    for _ in range(n_layers):
        edges = of_items.T @ items
        items = of_items @ edges
    return of_users @ edges, items
