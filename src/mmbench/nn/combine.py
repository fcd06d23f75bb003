"""Several vectors of the same things into one: the operators of late fusion."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mmbench.nn.checks import one_of

MODES = ("mean", "sum", "concat")


class Combine(nn.Module):
    """Mean, sum, or a linear map of the concatenation of vectors; one vector alone stays as it is.

    Args:
        mode: ``mean``, ``sum`` or ``concat``.
        n_inputs: number of vectors.
        dim: their size, and the size of the result.
    """

    def __init__(self, mode: str, n_inputs: int, dim: int) -> None:
        super().__init__()
        self.mode = one_of("fusion", mode, MODES)
        self.layer = nn.Linear(n_inputs * dim, dim) if mode == "concat" and n_inputs > 1 else None

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Combine tensors ``(n, dim)``, as many as announced, to ``(n, dim)``."""
        if len(inputs) == 1:
            return inputs[0]
        if self.layer is not None:
            return self.layer(torch.cat(list(inputs), dim=1))
        total = torch.stack(list(inputs)).sum(0)
        return total / len(inputs) if self.mode == "mean" else total
