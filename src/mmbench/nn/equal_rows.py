"""Vectors that are equal, and the scores that are therefore equal too."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class EqualRows(NamedTuple):
    """Items whose vectors are those of another one.

    A matrix product may sum its last columns, or those of a single row, in another order than the others, depending on
    the processor. Equal vectors then get scores that differ by rounding, and rounding would order items that nothing
    tells apart.

    Attributes:
        copies: items, ``(n,)``.
        originals: for each of them the first item with the same vector, ``(n,)``.
    """

    copies: Tensor
    originals: Tensor

    @staticmethod
    def of(vectors: Tensor, among: Tensor) -> EqualRows:
        """Find them.

        Args:
            vectors: of all items, ``(n_items, d)``.
            among: items to look at, ``(m,)``, ascending. Zeros are left out: their products are exactly zero.
        """
        among = among.to(vectors.device)
        rows = vectors.detach()[among]
        known = rows.any(1)
        among, rows = among[known], rows[known]
        if len(among) < 2:
            return EqualRows(among[:0], among[:0])
        if bool((rows == rows[0]).all()):
            return EqualRows(among[1:], among[:1].expand(len(among) - 1))
        _, group = torch.unique(rows, dim=0, return_inverse=True)
        place = torch.arange(len(among), device=among.device)
        first = torch.full_like(place, len(among)).scatter_reduce(0, group, place, "amin")[group]
        moved = first != place
        return EqualRows(among[moved], among[first[moved]])

    def even(self, scores: Tensor) -> Tensor:
        """Give copies the scores of their originals, in place.

        Args:
            scores: of all items, ``(B, n_items)``.
        """
        if len(self.copies):
            scores[:, self.copies] = scores[:, self.originals]
        return scores
