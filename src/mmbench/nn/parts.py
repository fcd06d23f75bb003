"""Parts of a batch on several processes, and the whole of what they compute from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, distributed


@dataclass(frozen=True)
class Part:
    """The rows of a batch that one process works on.

    Args:
        begin: the first row.
        end: one after the last row; parts of a batch differ by one row at most and may be empty.
        size: rows of the batch, B.
    """

    begin: int
    end: int
    size: int

    @staticmethod
    def of(size: int, rank: int, n_ranks: int) -> Part:
        """The part of process ``rank`` among ``n_ranks``."""
        return Part(size * rank // n_ranks, size * (rank + 1) // n_ranks, size)

    @property
    def place(self) -> slice:
        """The rows as a slice."""
        return slice(self.begin, self.end)

    def gathered(self, rows: Tensor) -> Tensor:
        """Rows of the whole batch ``(B, d)`` from the rows ``(end - begin, d)`` of every process."""
        return _Gathered.apply(self, rows)


class _Gathered(torch.autograd.Function):
    r"""Rows of all processes; every process then computes the same loss :math:`L` from them.

    The gradient of the parameters is :math:`\sum_r J_r^\top \partial L/\partial E_r` over the processes r. Averaging
    gradients, as data-parallel training does, divides that sum by their number, which is multiplied in here.
    """

    @staticmethod
    def forward(ctx: Any, part: Part, rows: Tensor) -> Tensor:
        ctx.part = part
        whole = rows.new_zeros(part.size, *rows.shape[1:])
        whole[part.place] = rows
        distributed.all_reduce(whole)  # each row is one process's and zero elsewhere, so the sum is exact
        return whole

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[None, Tensor]:
        return None, grads[0][ctx.part.place] * distributed.get_world_size()
