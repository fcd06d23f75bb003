"""Raw features of items on their way into a model: side by side, row by row, projected."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from mmbench.data.recdata import RecData
from mmbench.nn.distinct import distinct
from mmbench.nn.initialisation import Law, linear
from mmbench.nn.kernels import ChosenRows, ProjectedRows
from mmbench.nn.unit_rows import unit_rows

#: Maps row indices ``(n,)`` to vectors ``(n, d)``; a slice too, where all rows are wanted.
RowWise = Callable[[Any], Tensor]
#: Share of a table from which on it is mapped as it lies: gathering a raw row takes a fifth of the time of its map.
NEARLY_ALL = 0.8
#: Bytes of joined features that are scaled at a time.
BLOCK_BYTES = 1 << 26


def concatenated(
    data: RecData,
    weights: Mapping[str, float] | None = None,
    *,
    unit: bool = False,
    scales: Mapping[str, Tensor] | None = None,
) -> Tensor:
    """Features of modalities side by side, in name order: ``(n_items, sum of d)``; not to be changed.

    Without features the result has no column; of one modality that nothing scales it is the features themselves. Else
    the result is filled block by block, so that of features of gigabytes no second copy is made on the way.

    Args:
        data: training data.
        weights: the modalities to join, in name order, and the factor of each; all of them times 1 where None.
        unit: whether each row of a modality has length one before the factors, so that a weight is one whatever an
            encoder's units. The image vectors of a common encoder are twenty times as long as its text vectors: weighed
            as they are, images would drown the text in all but the last twentieth of a range of shares.
        scales: one more factor of each row, ``(n_items,)`` by modality.
    """
    weights = dict.fromkeys(data.features, 1.0) if weights is None else weights
    dtype = torch.get_default_dtype()
    parts = [data.features[name] for name in weights]
    if not unit and scales is None and list(weights.values()) == [1.0]:
        return parts[0].to(dtype)
    joined = torch.empty(data.n_items, sum(part.shape[1] for part in parts), dtype=dtype)
    columns = joined.split([part.shape[1] for part in parts], dim=1)
    n_blocks = max(1, math.ceil(joined.nbytes / BLOCK_BYTES))
    for name, part, column in zip(weights, parts, columns, strict=True):
        scale = None if scales is None else scales[name].unsqueeze(1).tensor_split(n_blocks)
        blocks = zip(part.tensor_split(n_blocks), column.tensor_split(n_blocks), strict=True)
        for number, (rows, filled) in enumerate(blocks):
            values = unit_rows(rows.to(dtype)) if unit else rows.to(dtype)
            values = values if scale is None else scale[number] * values
            filled.copy_(values if weights[name] == 1.0 else weights[name] * values)
    return joined


def centred_directions(features: Tensor, present: Tensor) -> Tensor:
    """Features around their mean, every row of length one: ``(n_items, d)`` in float64.

    Embeddings of one encoder all point in much the same direction; around their mean they differ. The mean is that of
    all items with content, also of those that nobody has bought. An item without content, or whose features are the
    mean, has a row of zeros.

    Args:
        features: ``(n_items, d)``.
        present: whether an item has content, ``(n_items,)``.
    """
    rows = features.double()
    rows = rows - rows[present].mean(0)  # of equal rows it is that row to the last bit, which leaves zero
    lengths = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    # A row that equals the mean keeps an error of rounding, which is in proportion to the features.
    least = 1e-12 * torch.linalg.vector_norm(features, math.inf).double().clamp(torch.finfo(torch.float32).tiny, 1.0)
    return torch.where(present.unsqueeze(1), rows / lengths.clamp_min(least), 0.0)


def kernel_rows(data: RecData, weights: Mapping[str, float], *, raw: bool = False) -> Tensor:
    r"""Rows of items whose inner products are :math:`\sum_m w_m \langle x^m_i, x^m_j\rangle`: ``(n_items, sum of d)``.

    Args:
        data: training data.
        weights: the modalities that count, in name order, and w of each.
        raw: whether x are the raw features; else those of :func:`centred_directions`.

    Returns:
        The rows in float64; without any modality they have no column.
    """
    parts = [torch.empty(data.n_items, 0, dtype=torch.float64)]
    for name, weight in weights.items():
        features = data.features[name]
        rows = features.double() if raw else centred_directions(features, data.present[name])
        parts.append(math.sqrt(weight) * rows)
    return torch.cat(parts, dim=1)


def on_unique_rows(compute: RowWise, *indices: Tensor, whole: int = 0) -> tuple[Tensor, ...]:
    """Evaluate a row-wise function once per distinct row and gather: exact, and cheaper than once per occurrence.

    On other devices than a processor every occurrence is computed, because the host would have to wait in every step to
    know how many rows are distinct.

    Args:
        compute: maps row indices ``(n,)`` to vectors ``(n, d)``.
        indices: row indices, each ``(B,)``.
        whole: rows of the table, if ``compute`` takes a slice too: where a batch asks for most of a small catalogue,
            all of it is computed as it lies, which is cheaper than to gather raw features first.

    Returns:
        One ``(B, d)`` tensor per entry of ``indices``.
    """
    wanted, sizes = torch.cat(indices), [len(index) for index in indices]
    if wanted.device.type != "cpu":
        return compute(wanted).split(sizes)
    rows, place = distinct(wanted)
    if whole and len(rows) > NEARLY_ALL * whole:
        return ChosenRows.apply(wanted, compute(slice(None))).split(sizes)
    return ChosenRows.apply(place, compute(rows)).split(sizes)


def projected_rows(table: Tensor, rows: Tensor | slice, layer: nn.Linear) -> Tensor:
    """A linear map of chosen rows, ``W x + b``: ``(n_rows, d_out)``.

    Rows of a constant table are taken block by block, so that no copy of all of them is made.

    Args:
        table: ``(n, d_in)``.
        rows: row indices ``(n_rows,)`` or a slice.
        layer: the map, with a bias.
    """
    if table.requires_grad or (isinstance(rows, slice) and table.device.type != "cpu"):  # there is no cache to stay in
        return layer(table[rows])
    if isinstance(rows, slice):
        return ProjectedRows.apply(table[rows], None, layer.weight, layer.bias)
    return ProjectedRows.apply(table, rows, layer.weight, layer.bias)


class ProjectedContent(nn.Module):
    """A linear map of raw features, ``W x + b``.

    Args:
        features: raw features, ``(n_items, d_raw)``.
        dim: width of the projection.
        trainable: whether the features themselves are parameters. Frozen features keep what a condition put into them;
            a trainable matrix turns into a table of item vectors, whatever it held at first.
        law: law of W at the start, see :func:`mmbench.nn.initialisation.linear`.
    """

    table: Tensor

    def __init__(self, features: Tensor, dim: int, *, trainable: bool = False, law: Law | None = None) -> None:
        super().__init__()
        values = features.to(torch.get_default_dtype())
        if trainable:
            self.table = nn.Parameter(values.clone())  # the caller's features must not be trained along
        else:
            self.register_buffer("table", values, persistent=False)
        self.projection = linear(features.shape[1], dim, law)

    def forward(self, rows: Tensor | slice = slice(None)) -> Tensor:
        """Project the chosen rows, all of them by default: ``(n_rows, dim)``."""
        return projected_rows(self.table, rows, self.projection)


def projected_content(
    data: RecData, dim: int, *, unit: bool = False, trainable: bool = False, law: Law | None = None
) -> nn.ModuleDict:
    """A :class:`ProjectedContent` for every modality, in name order, of rows of length one where ``unit``."""
    features = {name: concatenated(data, {name: 1.0}, unit=unit) for name in data.features}
    return nn.ModuleDict(
        {name: ProjectedContent(values, dim, trainable=trainable, law=law) for name, values in features.items()}
    )
