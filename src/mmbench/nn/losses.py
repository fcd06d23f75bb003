"""Terms of losses that models share: pairwise ranking, penalties, contrast between two views."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn import functional

from mmbench.nn.kernels import LogSumExp, Norm, RowCosines, ScoreDifferences


def bpr(positive: Tensor, negative: Tensor) -> Tensor:
    r"""Bayesian personalised ranking, :math:`-\frac{1}{B}\sum \log\sigma(x^+ - x^-)` (Rendle et al. 2009, section 4.1).

    Reference implementations write :math:`\log(10^{-10} + \sigma)`; the stable log-sigmoid agrees to 1e-9 and has a
    gradient everywhere.

    Args:
        positive: scores of positives, ``(B,)``.
        negative: scores of negatives, ``(B,)``.
    """
    return _bpr_of_differences(positive - negative)


def _bpr_of_differences(differences: Tensor) -> Tensor:
    return -functional.logsigmoid(differences).mean()


def vector_bpr(user: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
    """:func:`bpr` of the inner products of batch rows, each ``(B, d)``."""
    return _bpr_of_differences(ScoreDifferences.apply(user, positive, negative))


def bpr_bits(user: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
    """:func:`vector_bpr` with the logarithm to base 2, as in DualGNN, DRAGON and MVGAE."""
    return vector_bpr(user, positive, negative) / math.log(2.0)


def norm_penalty(*rows: Tensor) -> Tensor:
    r"""Sum of un-squared Frobenius norms over the batch size, :math:`\sum_k \|E_k\|_F / B`.

    Args:
        rows: gathered batch rows, each ``(B, d)``.
    """
    return torch.stack([Norm.apply(r) for r in rows]).sum() / len(rows[-1])


def half_squares(*rows: Tensor) -> Tensor:
    r"""Half the sum of squares, :math:`\frac{1}{2}\sum_k \|E_k\|_F^2`, not divided by the batch size.

    Args:
        rows: gathered batch rows, each ``(B, d)``.
    """
    return 0.5 * torch.stack([r.square().sum() for r in rows]).sum()


def mean_squares(*rows: Tensor) -> Tensor:
    r"""Sum of the mean squares of tensors, :math:`\sum_k \|E_k\|_F^2 / |E_k|` with the number of entries |E|.

    Args:
        rows: tensors of any shape, such as gathered batch rows ``(B, d)``.
    """
    return sum((r.square().mean() for r in rows), torch.zeros(()))


def triplet_mean_squares(user: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
    """Mean squares of batch rows ``(B, d)``, in which both items together weigh as much as the user."""
    return mean_squares(user) + 0.5 * mean_squares(positive, negative)


def bpr_terms(
    user: Tensor, positive: Tensor, negative: Tensor, reg_weight: float, *, penalised: tuple[Tensor, ...] = ()
) -> dict[str, Tensor]:
    """BPR on inner products and the weighted :func:`norm_penalty`: the loss of BPR, LightGCN, VBPR and Fusion.

    Args:
        user: user vectors of the batch, ``(B, d)``.
        positive: item vectors of the positives, ``(B, d)``.
        negative: item vectors of the negatives, ``(B, d)``.
        reg_weight: weight of the penalty.
        penalised: rows whose norms are penalised; the three above where empty.
    """
    return {
        "bpr": vector_bpr(user, positive, negative),
        "reg": reg_weight * norm_penalty(*(penalised or (user, positive, negative))),
    }


def bit_terms(
    user: Tensor, positive: Tensor, negative: Tensor, reg_weight: float, penalised: Iterable[Tensor | None]
) -> dict[str, Tensor]:
    """:func:`bpr_bits` and the weighted :func:`mean_squares` of what is penalised: the loss of DualGNN and DRAGON.

    Args:
        user: user vectors of the batch, ``(B, d)``.
        positive: item vectors of the positives, ``(B, d)``.
        negative: item vectors of the negatives, ``(B, d)``.
        reg_weight: weight of the penalty.
        penalised: tensors of any shape; None stands for a tensor that the model does not have.
    """
    squares = mean_squares(*(tensor for tensor in penalised if tensor is not None))
    return {"bpr": bpr_bits(user, positive, negative), "reg": reg_weight * squares}


def moments(table: Tensor, times: int = 1) -> tuple[Tensor, Tensor]:
    r"""Variance and mean of all entries of a table together.

    The variance has the divisor of a sample, :math:`n - 1`. For a table that stands several times side by side, n is
    the number of all entries; that is all in which it differs from the table itself.

    Args:
        table: ``(n, d)``.
        times: how often it stands side by side.
    """
    mean = table.mean()
    return times * (table - mean).square().sum() / (times * table.numel() - 1), mean


def gap(one: tuple[Tensor, Tensor], other: tuple[Tensor, Tensor]) -> Tensor:
    r"""How far :func:`moments` of two tables are apart, :math:`|v - v'| + |\mu - \mu'|`."""
    return (one[0] - other[0]).abs() + (one[1] - other[1]).abs()


def cosine_distance(online: Tensor, target: Tensor) -> Tensor:
    r"""Mean over rows of :math:`1 - \cos(a_b, t_b)`; no gradient reaches ``target``.

    Args:
        online: ``(B, d)``.
        target: ``(B, d)``.
    """
    return 1.0 - RowCosines.apply(online, target.detach()).mean()


def nce_of_rows(
    anchors: Tensor, positives: Tensor, candidates: Tensor, temperature: float, weights: Tensor | None = None
) -> Tensor:
    r"""Noise-contrastive loss of each anchor, with rows scaled to length one.

    .. math:: \ell_k = -\hat a_k \cdot \hat b_k / \tau + \log\sum_l w_l \exp(\hat a_k \cdot \hat c_l / \tau)

    The positive should be among the candidates. The loss is one-sided: anchors look for their positives, positives do
    not look for their anchors.

    Args:
        anchors: a, ``(B, d)``.
        positives: b, ``(B, d)``.
        candidates: c, ``(n, d)``.
        temperature: of the softmax, :math:`\tau`.
        weights: how often each candidate counts, ``(n,)``; once where None.

    Returns:
        ``(B,)``.
    """
    a = functional.normalize(anchors, dim=1, eps=1e-12) / temperature
    b = functional.normalize(positives, dim=1, eps=1e-12)
    c = b if candidates is positives else functional.normalize(candidates, dim=1, eps=1e-12)
    return LogSumExp.apply(a, c, None if weights is None else weights.log()) - (a * b).sum(1)
