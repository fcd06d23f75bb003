"""Negatives drawn uniformly from the items that a user does not have, without rejection and without loops."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mmbench.nn.distinct import all_distinct

#: Entries of a table by user and item up to which it is held: negatives are then looked up and not searched.
TABLE_ENTRIES = 1 << 22
#: Entries of a table by draw and item up to which drawn items are marked in it and not compared with each other.
MARKED_ENTRIES = 1 << 24


class NegativeSampler(nn.Module):
    r"""Draw, for a user, items uniformly from the training items that the user does not have.

    With the sorted positives :math:`p_0 < p_1 < \dots` of a user, the :math:`r`-th item that is not positive is
    :math:`r + |\{j : p_j - j \le r\}|`; one binary search over all users' :math:`p_j - j` finds it exactly. Of few
    users and items all that may be drawn is listed instead, and looked up. As a part of a model it moves to the model's
    device and adds nothing to its state.

    Args:
        edge_index: training interactions ``(2, n_edges)``, each pair once.
        n_users: number of users.
        n_items: number of items. Items without a training interaction are never drawn: nothing says they are disliked.
    """

    items: Tensor
    keys: Tensor
    starts: Tensor
    free: Tensor
    listed: Tensor
    first: Tensor

    def __init__(self, edge_index: Tensor, n_users: int, n_items: int) -> None:
        super().__init__()
        users, items = edge_index
        # The host waits here, once for a training: an item that is kept twice would be drawn twice as often.
        known, compact = all_distinct(items)
        self.stride = len(known) + 1
        keys, _ = torch.sort(users * self.stride + compact)
        counts = torch.bincount(users, minlength=n_users)
        starts = torch.cumsum(counts, 0) - counts
        owner = keys // self.stride
        # p_j - j stays non-decreasing within a user, so the keys stay sorted.
        keys = keys - (torch.arange(len(keys), device=keys.device) - starts[owner])
        free = len(known) - counts
        lacked = torch.ones(0, 0, dtype=torch.bool, device=keys.device)
        if n_users * len(known) <= TABLE_ENTRIES:
            lacked = lacked.new_ones(n_users, len(known)).index_put_((users, compact), lacked.new_zeros(()))
        listed = known[lacked.nonzero()[:, 1]].int()  # narrow, so that more of it stays in a cache
        tables = {"items": known, "keys": keys, "starts": starts, "free": free}
        tables |= {"listed": listed, "first": torch.cumsum(free, 0) - free}
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
        number = torch.arange(n, device=users.device)
        last = (free - wanted + number.unsqueeze(1)).minimum(free - 1)  # beyond what is wanted nothing counts
        draws = (uniform * (last + 1)).long()
        if draws.shape[1] * self.stride > MARKED_ENTRIES:
            _replace_compared(draws, last)
        else:  # a processor marks no more than it has to; another device would have to be waited for
            _replace_marked(draws, last, int(last.max()) + 1 if last.device.type == "cpu" else self.stride)
        counts = number < wanted.unsqueeze(1)
        return self._nth(users.unsqueeze(1), draws.T.where(counts, 0)), counts

    def _nth(self, users: Tensor, draw: Tensor) -> Tensor:
        """The training item at place ``draw`` among those that the user does not have, of one shape."""
        if len(self.listed):
            place = self.first[users] + draw
            return self.listed.index_select(0, place.flatten()).view_as(place).long()
        positives_before = torch.searchsorted(self.keys, users * self.stride + draw, right=True) - self.starts[users]
        return self.items[draw + positives_before]


def _replace_marked(draws: Tensor, last: Tensor, width: int) -> None:
    """Put the last candidate where a draw repeats one before it, by marking what is taken.

    Args:
        draws: drawn places ``(n, B)``, which are changed.
        last: the last candidate of every draw, ``(n, B)``; no draw before it can be it.
        width: more than every candidate.
    """
    begin = torch.arange(draws.shape[1], device=draws.device) * width
    taken = torch.zeros(draws.shape[1] * width, dtype=torch.bool, device=draws.device)
    draws += begin
    for draw, other in zip(draws, last + begin, strict=True):
        torch.where(taken.index_select(0, draw), other, draw, out=draw)
        taken.index_fill_(0, draw, True)
    draws -= begin


def _replace_compared(draws: Tensor, last: Tensor) -> None:
    """:func:`_replace_marked` by comparisons with all draws before, whatever the number of items."""
    for k in range(1, len(draws)):
        draws[k] = torch.where((draws[:k] == draws[k]).any(0), last[k], draws[k])
