"""Cross-validated ridge regression from subsets of modalities, with one penalty for each."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import linalg
from torch import Tensor

from mmbench.inference.contribution.bootstrap import Matrix, Vector
from mmbench.inference.contribution.shapley import Coalition

#: Wider features are projected onto this many principal components first.
MAX_DIM = 256
#: Ridge penalties in units of the mean variance of a modality's dimensions.
PENALTIES = 10.0 ** np.arange(-2.0, 4.5, 0.5)


def principal_components(features: Matrix, width: int = MAX_DIM) -> Matrix:
    """Centred features ``(n, d)`` in their ``width`` main directions, ``(n, min(d, width))``."""
    centred = features - features.mean(axis=0)
    d = centred.shape[1]
    if d <= width:
        return centred
    _, directions = linalg.eigh(centred.T @ centred, subset_by_index=[d - width, d - 1])
    projected: Matrix = centred @ directions
    return projected


@dataclass(frozen=True)
class _Moments:
    """Sums over the items of one or more folds that ridge regression needs.

    Tensors, because thousands of small products and factorisations follow: torch runs them on as many threads as it is
    told to, while numpy's would fight with every other process over the cores.
    """

    n: int
    x: Tensor
    y: Tensor
    xx: Tensor
    xy: Tensor
    yy: float

    @staticmethod
    def of(x: Tensor, y: Tensor) -> _Moments:
        return _Moments(len(x), x.sum(0), y.sum(0), x.T @ x, x.T @ y, float((y**2).sum()))

    def __add__(self, other: _Moments) -> _Moments:
        return _Moments(
            self.n + other.n,
            self.x + other.x,
            self.y + other.y,
            self.xx + other.xx,
            self.xy + other.xy,
            self.yy + other.yy,
        )

    def columns(self, kept: Tensor) -> _Moments:
        """The same with some of the features only."""
        return _Moments(self.n, self.x[kept], self.y, self.xx[kept][:, kept], self.xy[kept], self.yy)


@dataclass(frozen=True)
class _Ridge:
    """Coefficients ``(d, r)`` and intercept ``(r,)``."""

    slope: Tensor
    level: Tensor

    @staticmethod
    def fit(m: _Moments, blocks: Sequence[slice], penalties: Sequence[float]) -> _Ridge:
        """Ridge regression with one penalty per block of features, relative to the block's mean variance."""
        mean, target = m.x / m.n, m.y / m.n
        system = m.xx / m.n - torch.outer(mean, mean)
        variances = system.diagonal().clone()
        for block, weight in zip(blocks, penalties, strict=True):
            system.diagonal()[block] += weight * variances[block].mean() + 1e-12
        slope = torch.cholesky_solve(m.xy / m.n - torch.outer(mean, target), torch.linalg.cholesky(system))
        return _Ridge(slope, target - mean @ slope)

    def loss(self, m: _Moments) -> float:
        """Sum of squared errors on items given by their moments."""
        quadratic = (self.slope * (m.xx @ self.slope - 2 * m.xy)).sum()
        linear = self.level @ (2 * m.x @ self.slope - 2 * m.y + m.n * self.level)
        return m.yy + float(quadratic + linear)


def _best_penalties(train: _Moments, valid: _Moments, blocks: Sequence[slice]) -> list[float]:
    """One penalty per block: the best common one, then each block's in turn."""

    def loss(penalties: Sequence[float]) -> float:
        return _Ridge.fit(train, blocks, penalties).loss(valid)

    best = min(([float(p)] * len(blocks) for p in PENALTIES), key=loss)
    for place in range(len(blocks) if len(blocks) > 1 else 0):
        best = min(([*best[:place], float(p), *best[place + 1 :]] for p in PENALTIES), key=loss)
    return best


class FoldedRidge:
    """Ridge regression of targets of the items of each fold from items of the other folds.

    Penalties are chosen on the next fold; the final fit uses all other folds.

    Args:
        features: ``(n, d)`` by modality.
        targets: ``(n, r)``; those of the fold that is predicted are not looked at.
        folds: fold of each item, ``(n,)``, numbered from zero.
    """

    def __init__(self, features: Mapping[str, Matrix], targets: Matrix, folds: NDArray[np.int64]) -> None:
        names = sorted(features)
        self._x, y = torch.from_numpy(np.hstack([features[name] for name in names])), torch.from_numpy(targets)
        widths = [features[name].shape[1] for name in names]
        self._columns = dict(zip(names, torch.arange(self._x.shape[1]).split(widths), strict=True))
        self.n_folds = int(folds.max()) + 1
        self.rows = [np.flatnonzero(folds == k) for k in range(self.n_folds)]
        self._moments = [_Moments.of(self._x[row], y[row]) for row in self.rows]

    def predicted(self, fold: int, subset: Coalition) -> Matrix:
        """Targets of the items of a fold from a subset of the modalities; the empty one predicts the mean."""
        inner, row = (fold + 1) % self.n_folds, self.rows[fold]
        others = [m for i, m in enumerate(self._moments) if i not in (fold, inner)]
        fitted, valid = functools.reduce(_Moments.__add__, others), self._moments[inner]
        if not subset:
            mean = (fitted.y + valid.y) / (fitted.n + valid.n)
            return mean.expand(len(row), -1).numpy()
        kept = torch.cat([self._columns[name] for name in sorted(subset)])
        blocks = _blocks([len(self._columns[name]) for name in sorted(subset)])
        train, valid = fitted.columns(kept), valid.columns(kept)
        model = _Ridge.fit(train + valid, blocks, _best_penalties(train, valid, blocks))
        predicted: Matrix = (self._x[row][:, kept] @ model.slope + model.level).numpy()
        return predicted


def squared_errors(
    features: Mapping[str, Matrix], targets: Matrix, subsets: Sequence[Coalition], folds: NDArray[np.int64]
) -> dict[Coalition, Vector]:
    """Squared error of each item, predicted by :class:`FoldedRidge` from items of the other folds.

    Args:
        features: ``(n, d)`` by modality.
        targets: ``(n, r)``.
        subsets: subsets of the modalities to predict from; the empty one predicts the mean.
        folds: fold of each item, ``(n,)``, numbered from zero.

    Returns:
        ``(n,)`` by subset.
    """
    ridge = FoldedRidge(features, targets, folds)
    errors = {subset: np.empty(len(targets)) for subset in subsets}
    for fold, row in enumerate(ridge.rows):
        for subset in subsets:
            errors[subset][row] = ((targets[row] - ridge.predicted(fold, subset)) ** 2).sum(axis=1)
    return errors


def _blocks(widths: Sequence[int]) -> list[slice]:
    ends = np.cumsum(widths)
    return [slice(int(end) - width, int(end)) for end, width in zip(ends, widths, strict=True)]
