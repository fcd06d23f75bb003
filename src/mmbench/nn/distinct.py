"""Distinct rows of a table among those that are asked for, each to be computed once.

Only the device that holds the values knows how many are distinct, and the host would have to wait for it in every step
of a training. So values are taken together on processors alone. Elsewhere a row that is given again stays where it is,
but no place leads to it: it occurs 0 times and counts for nothing.
"""

from __future__ import annotations

import torch
from torch import Tensor

#: A table with more rows than this per value is sorted and not marked.
ROWS_PER_VALUE = 16


def distinct(values: Tensor, among: int | None = None) -> tuple[Tensor, Tensor]:
    """The distinct ones of some row indices, sorted, and the place of each value among them: ``torch.unique``.

    Rows of a table are marked and numbered where the values are many against the largest of them, which sorts nothing.
    On other devices than a processor the rows are all values as they are given, or all rows of the table if those are
    fewer; equal values still have one place.

    Args:
        values: row indices, none negative, of any shape.
        among: rows of the table.

    Returns:
        Distinct values ``(m,)``, and places of the shape of ``values``.

    >>> rows, place = distinct(torch.tensor([4, 1, 1, 7]))
    >>> print(*rows.tolist(), "and", *place.tolist())
    1 4 7 and 1 0 0 2
    """
    return all_distinct(values) if values.device.type == "cpu" else _first_places(values, among)


def all_distinct(values: Tensor) -> tuple[Tensor, Tensor]:
    """:func:`distinct` with each row once on every device, which the host waits for: no work for a step."""
    n = int(values.max()) + 1 if values.numel() else 0
    if n > ROWS_PER_VALUE * values.numel():
        return torch.unique(values, return_inverse=True)
    flat = values.flatten()
    rows = torch.zeros(n, dtype=torch.bool, device=values.device).index_fill_(0, flat, True).nonzero().squeeze(1)
    number = torch.empty(n, dtype=torch.long, device=values.device)
    number[rows] = torch.arange(len(rows), device=values.device)
    return rows, number.index_select(0, flat).view_as(values)


def _first_places(values: Tensor, among: int | None) -> tuple[Tensor, Tensor]:
    """:func:`distinct` with rows whose number does not depend on the values."""
    if among is not None and among <= values.numel():
        return torch.arange(among, device=values.device), values
    flat = values.flatten()
    ordered, order = torch.sort(flat, stable=True)
    begins = torch.cat([torch.ones_like(ordered[:1], dtype=torch.bool), ordered[1:] != ordered[:-1]])
    number = torch.arange(len(flat), device=values.device)
    first = order.index_select(0, torch.where(begins, number, 0).cummax(0).values)
    return flat, torch.empty_like(order).index_copy_(0, order, first).view_as(values)


def occurrences(place: Tensor, n: int) -> Tensor:
    """How often each of n rows is asked for, ``(n,)``.

    Args:
        place: places among the rows, of any shape.
        n: number of rows.
    """
    flat = place.flatten()
    return torch.zeros(n, dtype=torch.long, device=place.device).index_add_(0, flat, torch.ones_like(flat))


def distinct_once(values: Tensor) -> tuple[Tensor, Tensor | None]:
    """The rows of :func:`distinct`, and how much each counts in a sum over distinct ones.

    Args:
        values: row indices, none negative, of any shape.

    Returns:
        Rows ``(m,)``, and weights ``(m,)`` of the default type: 1, and 0 for a row given again; None where all count.
    """
    rows, place = distinct(values)
    if values.device.type == "cpu":
        return rows, None
    return rows, (occurrences(place, len(rows)) > 0).to(torch.get_default_dtype())


def average(values: Tensor, *weights: Tensor | None) -> Tensor:
    """Mean of all entries, each with the product of the weights along its axes.

    Args:
        values: any shape.
        weights: the weights along each axis, ``(n,)``; none of them is given where the first is None.
    """
    if weights[0] is None:
        return values.mean()
    of_entries = weights[0]
    for weight in weights[1:]:
        assert weight is not None
        of_entries = of_entries.unsqueeze(-1) * weight
    return (of_entries * values).sum() / of_entries.sum()
