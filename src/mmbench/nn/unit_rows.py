"""Rows of features at length one, whatever their scale: float32 has no squares of its own extremes."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

#: Largest numbers of rows whose squares need no care: far within the range of float32, however wide the rows are.
LEAST, MOST = 2.0**-30, 2.0**40


def moderate(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Rows times powers of two that bring the largest number of each between :data:`LEAST` and twice :data:`MOST`.

    Ordinary rows have the factor one; powers of two change no digit of the others. Neither does a row of zeros change.

    Args:
        rows: ``(n, d)``.

    Returns:
        The rows, not to be changed, and their factors ``(n, 1)``.
    """
    if not rows.shape[1]:
        return rows, rows.new_ones(len(rows), 1)
    largest = torch.linalg.vector_norm(rows, math.inf, dim=1, keepdim=True)
    power = torch.where(largest > 0, largest / (2 * torch.frexp(largest).mantissa), 1.0)
    factor = power.clamp(LEAST, MOST) / power
    return (rows if bool((factor == 1).all()) else rows * factor), factor


def unit_rows(rows: Tensor) -> Tensor:
    """Rows ``(n, d)`` at length one; a row of zeros stays one."""
    return functional.normalize(moderate(rows)[0], dim=1, eps=1e-12)
