r"""Weights between items in closed form: regressions of items on items, by common users and by content.

A system over items is :math:`A = D^\top D` of rows D that have a number for every item: users with their interactions,
or dimensions of features. The models on it (EASE and its relatives) hold arrays of items x items and say how many.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from mmbench.data.recdata import RecData
from mmbench.messages import Message, Refusal
from mmbench.nn.kernels import product
from mmbench.nn.memo import KEPT_BYTES, Memo, content_key
from mmbench.nn.recommender import ClosedForm
from mmbench.nn.sparse import interaction_matrix, select_rows

#: Content solutions kept in memory.
KEPT_SOLUTIONS = 64
#: Copies of features that are held at a time: around their mean, of length one, of warm items.
FEATURE_COPIES = 3
#: Columns of weights that are multiplied at a time where histories have so many items on average that users near each
#: other share many: few enough columns that the rows of these items stay in a cache from user to user.
STRIP, LONG_HISTORY = 256, 30


class ItemWeightModel(ClosedForm):
    r"""A computed model that scores a history by weights between items, :math:`\hat y_u = r_u B`.

    Args:
        data: training data.
        n_arrays: arrays of items x items in float64 that the computation holds at a time, results kept for the next
            training included.
        max_memory_gb: memory that the computation may take.
        names: modalities whose features it reads.

    Raises:
        ValueError: if it would need more.
    """

    serves_new_users: ClassVar[bool] = True
    strips: Tensor

    def __init__(self, data: RecData, *, n_arrays: int, max_memory_gb: float, names: Collection[str] = ()) -> None:
        super().__init__()
        check_memory(type(self).__name__, data, n_arrays, max_memory_gb, names)
        self.register_buffer("history", torch.empty(0), persistent=False)
        self.register_buffer("strips", torch.empty(0), persistent=False)

    def fit(self, data: RecData) -> None:
        """Compute the weights and part their columns into strips, ``(n_strips, n_items, width)``."""
        self.history = interaction_matrix(data.edge_index, data.n_users, data.n_items)
        weights = self.item_weights(data)
        width = STRIP if data.edge_index.shape[1] > LONG_HISTORY * data.n_users else data.n_items
        self.strips = torch.zeros(-(-data.n_items // width), data.n_items, width)
        for strip, columns in zip(self.strips, weights.split(width, dim=1), strict=True):
            strip[:, : columns.shape[1]] = columns

    @property
    def weights(self) -> Tensor:
        """What an item of a history adds to the score of each item, ``(n_items, n_items)``; a copy for readers."""
        return self.strips.transpose(0, 1).flatten(1)[:, : self.strips.shape[1]]

    @abstractmethod
    def item_weights(self, data: RecData) -> Tensor:
        """What an item of a history adds to the score of each item, ``(n_items, n_items)`` in float64."""

    def score(self, users: Tensor) -> Tensor:
        """Histories times weights: ``(B, n_items)``."""
        chosen = select_rows(self.history, users)
        return torch.cat([product(chosen, strip) for strip in self.strips], dim=1)[:, : self.strips.shape[1]]


class TooLarge(Refusal):
    """That a computed model needs more memory than it may take.

    Args:
        model: its name.
        need: what it needs, in gigabytes of 10^9 bytes.
        n_items: items of the catalogue.
        max_memory_gb: what it may take.
    """

    def __init__(self, model: str, need: float, n_items: int, max_memory_gb: float) -> None:
        super().__init__(
            Message(
                "{model} needs {need:.1f} GB for {n_items:,} items, more than max_memory_gb={max_memory_gb:g}",
                model=model,
                need=need,
                n_items=n_items,
                max_memory_gb=max_memory_gb,
            )
        )
        self.need = need


def check_memory(model: str, data: RecData, n_arrays: int, max_memory_gb: float, names: Collection[str] = ()) -> None:
    """Refuse arrays of items x items in float64 that need more memory than allowed, before they are allocated.

    Features are counted too, :data:`FEATURE_COPIES` times in float64.

    Args:
        model: name of the model in the message.
        data: training data.
        n_arrays: arrays that are held at a time.
        max_memory_gb: memory that they may take, in gigabytes of 10^9 bytes.
        names: modalities whose features are read.

    Raises:
        TooLarge: if they need more.
    """
    width = FEATURE_COPIES * sum(data.features[name].shape[1] for name in names)
    need = 8 * data.n_items * (n_arrays * data.n_items + width) / 1e9
    if need > max_memory_gb:
        raise TooLarge(model, need, data.n_items, max_memory_gb)


def regularised_inverse(gram: Tensor, penalty: float, more: Tensor | None = None) -> Tensor:
    r""":math:`P = (A + M M^\top + \lambda 1)^{-1}`, ``(n_items, n_items)`` in float64, with its entries in rows.

    Args:
        gram: A, ``(n_items, n_items)``; it stays as it is.
        penalty: lambda.
        more: M, further rows of the regression as columns, ``(n_items, d)`` in float64.
    """
    system = gram.to(torch.float64, copy=True)
    if more is not None:
        system.addmm_(more, more.T)
    system.diagonal().add_(penalty)
    factor = torch.linalg.cholesky(system)
    del system
    # Lapack writes columns. The inverse is symmetric to the last bit, so that its transpose is the same matrix.
    return torch.cholesky_inverse(factor).mT


def regressions_on_others(inverse: Tensor) -> Tensor:
    r"""Ridge regression of every item on all others, :math:`B_{ij} = -P_{ij}/P_{jj}`, 0 on the diagonal.

    Steck, WWW 2019, eq. 8.

    Args:
        inverse: P of :func:`regularised_inverse`; it becomes the result.
    """
    return inverse.div_(-inverse.diagonal().clone()).fill_diagonal_(0.0)


@dataclass(frozen=True)
class ContentSolution:
    r"""Weights between items by which the content of known items predicts that of every item.

    .. math:: C = L\,R - \operatorname{diag}(c)

    Column j is the ridge regression of the features of item j on those of all known items but j, one row of the
    regression per dimension. Rows of other items are zero. Few dimensions leave the product of two narrow matrices;
    with many, R is left out and L is the matrix itself.

    Args:
        left: L, ``(n_items, d)`` or ``(n_items, n_items)``.
        right: R, ``(d, n_items)``, or None.
        diagonal: c, ``(n_items,)``, what the product has on its diagonal.
    """

    left: Tensor
    right: Tensor | None
    diagonal: Tensor

    def add_to(self, total: Tensor, weight: float, after: Tensor | None = None) -> None:
        r"""Add :math:`w\,C`, or :math:`w\,T C` with a matrix T = ``after``, to a matrix ``(n_items, n_items)``."""
        if after is None:
            if self.right is None:
                total.add_(self.left, alpha=weight)
            else:
                total.addmm_(self.left, self.right, alpha=weight)
            total.diagonal().sub_(weight * self.diagonal)
        else:
            if self.right is None:
                total.addmm_(after, self.left, alpha=weight)
            else:
                total.addmm_(after @ self.left, self.right, alpha=weight)
            total.addcmul_(after, self.diagonal, value=-weight)

    def of_unknown(self, unknown: Tensor) -> Tensor:
        """Columns of the items that a mask ``(n_items,)`` marks, none of them known: ``(n_items, n)``."""
        return self.left[:, unknown] if self.right is None else self.left @ self.right[:, unknown]

    @property
    def nbytes(self) -> int:
        """Bytes that it takes."""
        return sum(part.nbytes for part in (self.left, self.right, self.diagonal) if part is not None)


def is_narrow(width: int, n_items: int) -> bool:
    """Whether regressions on content are solved over the dimensions of the features and not over the items."""
    return 2 * width < n_items


def content_solution(features: Tensor, known: Tensor, penalty: float) -> ContentSolution:
    r"""The weights between items that predict content.

    With the rows X of all items, :math:`X_W` of the known ones (else zero) and :math:`H = X_W (X_W^\top X_W +
    \lambda 1)^{-1} X^\top = (X_W X_W^\top + \lambda 1)^{-1} X_W X^\top`, column j is :math:`H_{\cdot j} / (1 - H_{jj})`
    for a known item, without its diagonal, because :math:`(X_W X_W^\top + \lambda 1)^{-1} = (1 - H)/\lambda` there (see
    :func:`regressions_on_others`), and :math:`H_{\cdot j}` for another item.

    Args:
        features: X, ``(n_items, d)`` in float64.
        known: items that predict, ``(n_items,)``.
        penalty: lambda.
    """
    rows = features * known.unsqueeze(1)
    if is_narrow(features.shape[1], len(features)):
        right = torch.cholesky_solve(features.T, _regularised_factor(rows.T @ rows, penalty))
        hat = torch.linalg.vecdot(rows, right.T)
        return ContentSolution(rows, right.div_(1.0 - hat), hat / (1.0 - hat))
    factor = _regularised_factor(rows @ rows.T, penalty)
    inverse = torch.cholesky_inverse(factor).mT
    of_others = inverse @ (rows @ features[~known].T)
    solution = regressions_on_others(inverse)
    solution[:, ~known] = of_others
    return ContentSolution(solution, None, features.new_zeros(len(features)))


_solutions = Memo[ContentSolution](KEPT_SOLUTIONS, KEPT_BYTES, lambda solution: solution.nbytes)


def cached_content_solution(features: Tensor, known: Tensor, penalty: float) -> ContentSolution:
    """:func:`content_solution`, kept in memory under the hash of its arguments; not to be changed."""
    key = content_key(features, known, penalty)
    return _solutions.get(key, lambda: content_solution(features, known, penalty))


def content_predictions(features: Tensor, known: Tensor, targets: Tensor, penalty: float) -> Tensor:
    r"""Ridge regression of targets on features, :math:`X (X_W^\top X_W + \lambda 1)^{-1} X_W^\top Y_W`, no intercept.

    Args:
        features: X, ``(n_items, d)`` in float64.
        known: W, the items whose targets are known, ``(n_items,)``.
        targets: Y, ``(n_items, t)`` in float64; rows of other items are not read.
        penalty: lambda.

    Returns:
        Predictions for every item, ``(n_items, t)``.
    """
    rows, known_targets = features[known], targets[known]
    if is_narrow(features.shape[1], len(features)):
        return features @ torch.cholesky_solve(rows.T @ known_targets, _regularised_factor(rows.T @ rows, penalty))
    return features @ (rows.T @ torch.cholesky_solve(known_targets, _regularised_factor(rows @ rows.T, penalty)))


def _regularised_factor(gram: Tensor, penalty: float) -> Tensor:
    """Cholesky factor of a matrix plus lambda on its diagonal; the matrix is changed."""
    gram.diagonal().add_(penalty)
    return torch.linalg.cholesky(gram)
