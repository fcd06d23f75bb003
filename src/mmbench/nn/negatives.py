"""Negatives drawn uniformly from the items that a user does not have, without rejection and without loops."""

from __future__ import annotations

import torch
from torch import Tensor


class NegativeSampler:
    r"""Draw, for a user, an item uniformly from the training items that the user does not have.

    With the sorted positives :math:`p_0 < p_1 < \dots` of a user, the :math:`r`-th item that is not positive is
    :math:`r + |\{j : p_j - j \le r\}|`; one binary search over all users' :math:`p_j - j` finds it exactly.

    Args:
        edge_index: training interactions ``(2, n_edges)``, each pair once.
        n_users: number of users.
        n_items: number of items. Items without a training interaction are never drawn: nothing says they are disliked.
    """

    def __init__(self, edge_index: Tensor, n_users: int, n_items: int) -> None:
        users, items = edge_index
        self.items = torch.unique(items)
        self.stride = len(self.items) + 1
        compact = torch.searchsorted(self.items, items)
        keys, _ = torch.sort(users * self.stride + compact)
        counts = torch.bincount(users, minlength=n_users)
        self.starts = torch.cumsum(counts, 0) - counts
        self.free = len(self.items) - counts
        owner = keys // self.stride
        # p_j - j stays non-decreasing within a user, so the keys stay sorted.
        self.keys = keys - (torch.arange(len(keys), device=keys.device) - self.starts[owner])

    def sample(self, users: Tensor, generator: torch.Generator) -> Tensor:
        """Draw one negative per entry of ``users`` ``(B,)``; every user must lack at least one training item."""
        uniform = torch.rand(len(users), generator=generator, device=users.device, dtype=torch.float64)
        draw = (uniform * self.free[users]).long()
        positives_before = torch.searchsorted(self.keys, users * self.stride + draw, right=True) - self.starts[users]
        return self.items[draw + positives_before]
