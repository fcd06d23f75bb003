"""Embedding tables with the initial distributions that the papers state."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

#: Fills a tensor with random numbers in place and returns it.
Law = Callable[[Tensor], Tensor]

xavier_uniform: Law = nn.init.xavier_uniform_
xavier_normal: Law = nn.init.xavier_normal_


def table(rows: int, columns: int, law: Law) -> nn.Parameter:
    """A trainable table ``(rows, columns)``; Xavier's laws take rows and columns for the fans."""
    return nn.Parameter(law(torch.empty(rows, columns)))


def set_table(owner: nn.Module, name: str, values: Tensor, *, trained: bool = True) -> None:
    """Give a module a table: a parameter, or a constant that is stored with the state but never trained."""
    if trained:
        owner.register_parameter(name, nn.Parameter(values))
    else:
        owner.register_buffer(name, values)
