"""M5: how alike two modalities see the items."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from mmbench.inference.contribution.bootstrap import Matrix
from mmbench.nn.item_neighbours import content_neighbours


@dataclass(frozen=True)
class NeighbourOverlap:
    """Share of neighbours that two modalities have in common.

    Args:
        share: mean over items.
        chance: the same for independent modalities, k / (n - 1).
        n_items: items it rests on.
    """

    share: float
    chance: float
    n_items: int


def neighbour_overlap(x: Matrix, y: Matrix, k: int = 10) -> NeighbourOverlap:
    r"""Overlap of the k nearest items, :math:`\frac{1}{n} \sum_i |N_x(i) \cap N_y(i)| / k` (cosine around the mean).

    Args:
        x: one modality, ``(n, d)``.
        y: the other, ``(n, d')``, rows paired; only items that have both.
        k: neighbours.

    Raises:
        ValueError: if rows are not paired or fewer than ``k + 2``.
    """
    n = _paired(x, y, k + 2)
    common = np.intersect1d(_edges(x, k, n), _edges(y, k, n), assume_unique=True)
    return NeighbourOverlap(len(common) / (n * k), k / (n - 1), n)


def _edges(features: Matrix, k: int, n: int) -> NDArray[np.int64]:
    everywhere = torch.ones(n, dtype=torch.bool)
    lists = content_neighbours(torch.from_numpy(np.ascontiguousarray(features)), everywhere, everywhere, k)
    edges: NDArray[np.int64] = (lists.items.unsqueeze(1) * n + lists.indices).flatten().numpy()
    return edges


def debiased_linear_cka(x: Matrix, y: Matrix) -> float:
    r"""Linear centred kernel alignment with the unbiased estimate of HSIC (Kornblith 2019; Song et al. 2012).

    :math:`HSIC_1(K, L) = \frac{1}{n(n-3)} \left[ tr(\tilde K \tilde L) + \frac{1^\top \tilde K 1\, 1^\top \tilde L 1}
    {(n-1)(n-2)} - \frac{2}{n-2} 1^\top \tilde K \tilde L 1 \right]` with :math:`K = X X^\top`, tildes for a zero
    diagonal; :math:`CKA = HSIC(K, L) / \sqrt{HSIC(K, K)\, HSIC(L, L)}`. No ``(n, n)`` array is built. Near zero for
    independent modalities whatever their width, where the usual estimate is near one.

    Args:
        x: one modality, ``(n, d)``.
        y: the other, ``(n, d')``, rows paired.

    Returns:
        At most about one; NaN where a modality does not vary.

    Raises:
        ValueError: if rows are not paired or fewer than four.
    """
    _paired(x, y, 4)
    x, y = (side - side.mean(axis=0) for side in (np.asarray(x, np.float64), np.asarray(y, np.float64)))
    own = _hsic(x, x) * _hsic(y, y)
    return float(_hsic(x, y) / np.sqrt(own)) if own > 0 else float("nan")


def _hsic(x: Matrix, y: Matrix) -> float:
    n = len(x)
    norms = [(side**2).sum(axis=1) for side in (x, y)]
    rows = [side @ side.sum(axis=0) - norm for side, norm in zip((x, y), norms, strict=True)]
    trace = ((x.T @ y) ** 2).sum() - norms[0] @ norms[1]
    total = rows[0].sum() * rows[1].sum() / ((n - 1) * (n - 2))
    return float((trace + total - 2.0 / (n - 2) * rows[0] @ rows[1]) / (n * (n - 3)))


def _paired(x: Matrix, y: Matrix, least: int) -> int:
    if len(x) != len(y) or len(x) < least:
        raise ValueError(f"{len(x)} and {len(y)} rows: they must be paired and at least {least}")
    return len(x)
