"""Negatives drawn uniformly from the items that a user does not have, without rejection and without loops."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class NegativeSampler(nn.Module):
    r"""Draw, for a user, items uniformly from the training items that the user does not have.

    With the sorted positives :math:`p_0 < p_1 < \dots` of a user, the :math:`r`-th item that is not positive is
    :math:`r + |\{j : p_j - j \le r\}|`; one binary search over all users' :math:`p_j - j` finds it exactly. As a part
    of a model it moves to the model's device and adds nothing to its state.

    Args:
        edge_index: training interactions ``(2, n_edges)``, each pair once.
        n_users: number of users.
        n_items: number of items. Items without a training interaction are never drawn: nothing says they are disliked.
    """

    items: Tensor
    keys: Tensor
    starts: Tensor
    free: Tensor

    def __init__(self, edge_index: Tensor, n_users: int, n_items: int) -> None:
        super().__init__()
        users, items = edge_index
        known = torch.unique(items)
        self.stride = len(known) + 1
        compact = torch.searchsorted(known, items)
        keys, _ = torch.sort(users * self.stride + compact)
        counts = torch.bincount(users, minlength=n_users)
        starts = torch.cumsum(counts, 0) - counts
        owner = keys // self.stride
        # p_j - j stays non-decreasing within a user, so the keys stay sorted.
        keys = keys - (torch.arange(len(keys), device=keys.device) - starts[owner])
        tables = {"items": known, "keys": keys, "starts": starts, "free": len(known) - counts}
        for name, values in tables.items():
            self.register_buffer(name, values, persistent=False)

    def sample(self, users: Tensor, generator: torch.Generator) -> Tensor:
        """Draw one negative per entry of ``users`` ``(B,)``; every user must lack at least one training item."""
        uniform = torch.rand(len(users), generator=generator, device=users.device, dtype=torch.float64)
        return self._nth(users, (uniform * self.free[users]).long())

    def sample_distinct(self, users: Tensor, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw n negatives per entry of ``users``, without replacement.

        Every set of n of the user's negatives is equally likely (Robert Floyd's algorithm, in Bentley, Communications
        of the ACM 30, 1987); their order is not random. A user who lacks fewer training items gets all of those.

        Args:
            users: ``(B,)``; each must lack at least one training item.
            n: negatives per entry.
            generator: source of the draws.

        Returns:
            Items ``(B, n)``, and which of them count, ``(B, n)``: the others only fill the row.
        """
        uniform = torch.rand(n, len(users), generator=generator, device=users.device, dtype=torch.float64)
        free = self.free[users]
        wanted = free.clamp_max(n)
        draws = torch.full_like(uniform, -1, dtype=torch.long)
        for k in range(n):
            last = free - wanted + k
            draw = (uniform[k] * (last + 1)).long()
            draws[k] = torch.where((draws[:k] == draw).any(0), last, draw)
        counts = torch.arange(n, device=users.device) < wanted.unsqueeze(1)
        return self._nth(users.unsqueeze(1), draws.T.where(counts, 0)), counts

    def _nth(self, users: Tensor, draw: Tensor) -> Tensor:
        """The training item at place ``draw`` among those that the user does not have, of one shape."""
        positives_before = torch.searchsorted(self.keys, users * self.stride + draw, right=True) - self.starts[users]
        return self.items[draw + positives_before]
