"""Item features on their way into a model."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from mmbench.data.recdata import RecData


def concatenated(data: RecData, *, unit_norm: bool = False) -> Tensor:
    """Features of all present modalities side by side, in name order: ``(n_items, sum of d)``.

    Args:
        data: training data; without features the result has no column.
        unit_norm: scale each modality's rows to length one first, so that a wide modality does not drown the others.
    """
    parts = [torch.empty(data.n_items, 0), *data.features.values()]
    if unit_norm:
        parts = [functional.normalize(part, dim=1, eps=1e-12) for part in parts]
    return torch.cat([part.to(torch.get_default_dtype()) for part in parts], dim=1)


def on_unique_rows(compute: Callable[[Tensor], Tensor], *indices: Tensor) -> tuple[Tensor, ...]:
    """Evaluate a row-wise function once per distinct row and gather: exact, and cheaper than once per occurrence.

    Args:
        compute: maps row indices ``(n,)`` to vectors ``(n, d)``.
        indices: row indices, each ``(B,)``.

    Returns:
        One ``(B, d)`` tensor per entry of ``indices``.
    """
    rows, place = torch.unique(torch.cat(indices), return_inverse=True)
    return compute(rows)[place].split([len(index) for index in indices])
