"""Item features on their way into a model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from mmbench.data.recdata import RecData


def concatenated(data: RecData) -> Tensor:
    """Features of all present modalities side by side, in name order: ``(n_items, sum of d)``; not to be changed.

    Without features the result has no column; of one modality it is the features themselves, not a copy.
    """
    if len(data.features) == 1:
        return next(iter(data.features.values())).to(torch.get_default_dtype())
    parts = [torch.empty(data.n_items, 0), *data.features.values()]
    return torch.cat([part.to(torch.get_default_dtype()) for part in parts], dim=1)


def balanced(data: RecData) -> Tensor:
    r"""Features of all present modalities side by side, none louder than another: ``(n_items, sum of d)``.

    Rows have length one in each modality, so that a wide one does not drown the others. Where item :math:`i` has no
    content its row is zero, and the :math:`M_i` modalities that it has are scaled by :math:`M / M_i`, as dropout
    scales what it keeps: a new item with an image and no text yet is told by its image as much as others by both.
    """
    if not data.features:
        return concatenated(data)
    present = torch.stack([data.present[name] for name in data.features]).to(torch.get_default_dtype())
    weights = len(present) * present / present.sum(dim=0).clamp(min=1)
    rows = {
        name: weight[:, None] * functional.normalize(part, dim=1, eps=1e-12)
        for (name, part), weight in zip(data.features.items(), weights, strict=True)
    }
    return concatenated(replace(data, features=rows))


def on_unique_rows(compute: Callable[[Tensor], Tensor], *indices: Tensor) -> tuple[Tensor, ...]:
    """Evaluate a row-wise function once per distinct row and gather: exact, and cheaper than once per occurrence.

    On a GPU every occurrence is computed, as counting the distinct ones would make the host wait in every step.

    Args:
        compute: maps row indices ``(n,)`` to vectors ``(n, d)``.
        indices: row indices, each ``(B,)``.

    Returns:
        One ``(B, d)`` tensor per entry of ``indices``.
    """
    wanted, sizes = torch.cat(indices), [len(index) for index in indices]
    if wanted.is_cuda:
        return compute(wanted).split(sizes)
    rows, place = torch.unique(wanted, return_inverse=True)
    return functional.embedding(place, compute(rows)).split(sizes)


#: Numbers of gathered rows at once: small enough to stay in a cache between gathering and the product.
GATHERED_ENTRIES = 1 << 21


class _ProjectedRows(torch.autograd.Function):
    """Gathers rows again in the backward pass, which is cheaper than keeping a copy of them in memory."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, rows: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(table, rows)
        ctx.step, ctx.dtype = max(1, GATHERED_ENTRIES // table.shape[1]), weight.dtype
        parts = rows.split(ctx.step)
        return torch.cat([functional.linear(table.index_select(0, part), weight, bias) for part in parts])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[None, None, Tensor, Tensor]:
        table, rows = ctx.saved_tensors
        (grad,) = grads
        of_weight = grad.new_zeros(grad.shape[1], table.shape[1])
        for part, of_part in zip(rows.split(ctx.step), grad.split(ctx.step), strict=True):
            of_weight = torch.addmm(of_weight, of_part.T, table.index_select(0, part).to(grad.dtype))
        return None, None, of_weight.to(ctx.dtype), grad.sum(0).to(ctx.dtype)


def projected_rows(table: Tensor, rows: Tensor | slice, layer: nn.Linear) -> Tensor:
    """A linear map of chosen rows, ``W x + b``: ``(n_rows, d_out)``.

    Rows of a constant table are gathered block by block, so that no copy of all of them is made.

    Args:
        table: ``(n, d_in)``.
        rows: row indices ``(n_rows,)`` or a slice.
        layer: the map, with a bias.
    """
    if isinstance(rows, slice) or table.requires_grad:
        return layer(table[rows])
    return _ProjectedRows.apply(table, rows, layer.weight, layer.bias)
