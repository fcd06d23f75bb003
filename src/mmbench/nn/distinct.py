"""Distinct rows of a table among those that are asked for, each to be computed once."""

from __future__ import annotations

import torch
from torch import Tensor

#: A table with more rows than this per value is sorted and not marked.
ROWS_PER_VALUE = 16


def distinct(values: Tensor) -> tuple[Tensor, Tensor]:
    """The distinct ones of some row indices, sorted, and the place of each value among them: ``torch.unique``.

    Rows of a table are marked and numbered where the values are many against the largest of them, which sorts nothing.

    Args:
        values: row indices, none negative, of any shape.

    Returns:
        Distinct values ``(m,)``, and places of the shape of ``values``.

    >>> rows, place = distinct(torch.tensor([4, 1, 1, 7]))
    >>> print(*rows.tolist(), "and", *place.tolist())
    1 4 7 and 1 0 0 2
    """
    n = int(values.max()) + 1 if values.numel() else 0
    if n > ROWS_PER_VALUE * values.numel():
        return torch.unique(values, return_inverse=True)
    flat = values.flatten()
    rows = torch.zeros(n, dtype=torch.bool, device=values.device).index_fill_(0, flat, True).nonzero().squeeze(1)
    number = torch.empty(n, dtype=torch.long, device=values.device)
    number[rows] = torch.arange(len(rows), device=values.device)
    return rows, number.index_select(0, flat).view_as(values)
