"""Neighbour discrimination: an item is closer to its neighbours of several views than to all other items."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from mmbench.nn.graph import BLOCK_ENTRIES


def _blocks(rows: Tensor, n: int) -> Sequence[Tensor]:
    return rows.split(max(1, BLOCK_ENTRIES // n))


@torch.no_grad()
def positives_of(views: Sequence[Tensor], rows: Tensor, n_positives: int) -> list[tuple[Tensor, Tensor]]:
    r"""For each view the nearest items by all views, and among the others the nearest by the view alone.

    With :math:`P_v = \mathrm{softmax}(\hat H_v[J] \hat H_v^\top)` by rows, the first are the largest entries of
    :math:`\sum_w P_w + P_v`, in which the own view counts twice (SPEC B §6). In blocks of rows.

    Args:
        views: vectors of length one of all items, each ``(n, d)``.
        rows: the items J, ``(B,)``.
        n_positives: items of each kind, at most half of all.

    Returns:
        Two index tensors ``(B, n_positives)`` per view.
    """
    found: list[list[tuple[Tensor, Tensor]]] = [[] for _ in views]
    for block in _blocks(rows, len(views[0])):
        shares = [torch.softmax(view[block] @ view.T, dim=1) for view in views]
        total = torch.stack(shares).sum(0)
        for lists, share in zip(found, shares, strict=True):
            shared = (total + share).topk(n_positives, dim=1).indices
            lists.append((shared, share.scatter(1, shared, -1.0).topk(n_positives, dim=1).indices))
    return [(torch.cat([a for a, _ in lists]), torch.cat([b for _, b in lists])) for lists in found]


def neighbour_discrimination(view: Tensor, rows: Tensor, shared: Tensor, own: Tensor, temperature: float) -> Tensor:
    r"""Contrast of two kinds of positives with all items (SPEC B §6).

    .. math:: \frac{1}{|J|}\sum_j \left[-\log\left(\frac{a_j}{t_j} + 10^{-9}\right)
              - \log\left(\frac{b_j}{t_j - a_j} + 10^{-9}\right)\right]

    :math:`a, b, t` sum :math:`\exp(\hat h_j^\top \hat h_l / \tau)` over the shared positives, the own ones and all
    items. Blocks of rows are computed again for the backward pass, which bounds the memory.

    Args:
        view: vectors of length one of all items, ``(n, d)``.
        rows: the items J, ``(B,)``.
        shared: ``(B, p)``.
        own: ``(B, p)``, disjoint from ``shared`` row by row.
        temperature: :math:`\tau`.
    """

    def of_block(view: Tensor, rows: Tensor, shared: Tensor, own: Tensor) -> Tensor:
        affinity = torch.exp(view[rows] @ view.T / temperature)
        a, b = affinity.gather(1, shared).sum(1), affinity.gather(1, own).sum(1)
        rest = affinity.scatter(1, shared, 0.0).sum(1)
        return -(torch.log(a / (a + rest) + 1e-9) + torch.log(b / rest + 1e-9)).sum()

    total = view.new_zeros(())
    parts = (_blocks(tensor, len(view)) for tensor in (rows, shared, own))
    for block in zip(*parts, strict=True):
        total = total + checkpoint(of_block, view, *block, use_reentrant=False, preserve_rng_state=False)
    return total / len(rows)


def bernoulli_divergence(x: Tensor, y: Tensor) -> Tensor:
    r"""Mean of :math:`\mathrm{KL}(\sigma(x) \| \sigma(y)) + \mathrm{KL}(\sigma(y) \| \sigma(x))`.

    The logarithms cancel: the sum of both is :math:`(\sigma(x) - \sigma(y))(x - y)`.
    """
    return ((torch.sigmoid(x) - torch.sigmoid(y)) * (x - y)).mean()
