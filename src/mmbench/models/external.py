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
    cannot check that. Items that a list does not name rank below all it names, in random order.

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
        """Replace scores by places in the user's list, best first, so that any scale of scores works."""
        by_score = torch.argsort(self.listed[:, 2], descending=True, stable=True)
        by_user = torch.argsort(self.listed[by_score, 0], stable=True)
        rows = self.listed[by_score[by_user]]
        users = rows[:, 0].long()
        counts = torch.bincount(users, minlength=data.n_users)
        place = torch.arange(len(rows)) - (torch.cumsum(counts, 0) - counts)[users]
        rows[:, 2] = self.n_items - place
        self.starts = torch.cat([torch.zeros(1, dtype=torch.int64), torch.cumsum(counts, 0)])
        self.listed = rows

    def score(self, users: Tensor) -> Tensor:
        """Place counted from the end for listed items, 0 for the others: ``(B, n_items)``."""
        scores = torch.zeros(len(users), self.n_items, device=self.listed.device)
        starts = self.starts.to(users.device)
        lengths = starts[users + 1] - starts[users]
        row = torch.repeat_interleave(torch.arange(len(users), device=users.device), lengths)
        offset = torch.arange(len(row), device=users.device) - (torch.cumsum(lengths, 0) - lengths)[row]
        entries = self.listed[starts[users][row] + offset]
        scores[row, entries[:, 1].long()] = entries[:, 2].to(scores.dtype)
        return scores
