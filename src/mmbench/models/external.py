"""External: recommendations of any other system as an untuned row of the table."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from mmbench.data.recdata import RecData
from mmbench.nn.recommender import ClosedForm, UnseenItems


class External(ClosedForm):
    """Scores read from a file; nothing is trained or tuned.

    The system behind the file must have learned from the same training interactions, or its row means nothing; mmbench
    cannot check that. Items of one score, or of one rank, share a place and are ordered by the seeded hash that breaks
    every tie, not by their order in the file, and lists in which everything is equal fail as any constant scores do.
    Items that a list does not name rank below all it names, in random order.

    Args:
        data: training data; only its sizes are used.
        recommendations: rows ``(user index, item index, score)``, ``(n, 3)``; the command line reads them from the file
            that ``model.recommendations`` names.
    """

    uses_content: ClassVar[bool] = False
    unseen_items_by: ClassVar[UnseenItems] = UnseenItems.EXTERNAL
    listed: Tensor

    def __init__(self, data: RecData, *, recommendations: Tensor) -> None:
        super().__init__()
        self.n_items = data.n_items
        self.register_buffer("listed", recommendations, persistent=False)

    def fit(self, data: RecData) -> None:
        """Replace scores by places in the user's list, best first, so that any scale of scores works.

        Equal scores have one place: the order of the rows in a file says nothing.
        """
        by_score = torch.argsort(self.listed[:, 2], descending=True, stable=True)
        by_user = torch.argsort(self.listed[by_score, 0], stable=True)
        rows = self.listed[by_score[by_user]]
        users, scores = rows[:, 0].long(), rows[:, 2]
        counts = torch.bincount(users, minlength=data.n_users)
        self.starts = torch.cat([torch.zeros(1, dtype=torch.int64), torch.cumsum(counts, 0)])
        lower = torch.zeros(len(rows), dtype=torch.int64)  # 1 where a score is below the one before it in the list
        lower[1:] = (users[1:] == users[:-1]) & (scores[1:] != scores[:-1])
        steps = torch.cumsum(lower, 0)
        rows[:, 2] = (self.n_items - (steps - steps[self.starts[users]])).to(rows.dtype)
        self.listed = rows

    def score(self, users: Tensor) -> Tensor:
        """Place counted from ``n_items`` down for listed items, 0 for the others: ``(B, n_items)``."""
        scores = torch.zeros(len(users), self.n_items, device=self.listed.device)
        starts = self.starts.to(users.device)
        lengths = starts[users + 1] - starts[users]
        row = torch.repeat_interleave(torch.arange(len(users), device=users.device), lengths)
        offset = torch.arange(len(row), device=users.device) - (torch.cumsum(lengths, 0) - lengths)[row]
        entries = self.listed[starts[users][row] + offset]
        scores[row, entries[:, 1].long()] = entries[:, 2].to(scores.dtype)
        return scores
