"""Loss terms shared by models."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn import functional


def bpr(positive: Tensor, negative: Tensor) -> Tensor:
    r"""Bayesian personalised ranking, :math:`-\frac{1}{B}\sum \log\sigma(x^+ - x^-)` (Rendle et al. 2009).

    The reference writes :math:`\log(10^{-10} + \sigma)`; the stable log-sigmoid agrees to 1e-9 and has a gradient
    everywhere.

    Args:
        positive: scores of positives, ``(B,)``.
        negative: scores of negatives, ``(B,)``.
    """
    return -functional.logsigmoid(positive - negative).mean()


def norm_penalty(*rows: Tensor) -> Tensor:
    r"""Sum of un-squared Frobenius norms over the batch size, :math:`\sum_k \|E_k\|_F / B` (SPEC A §0, NormReg).

    Args:
        rows: gathered batch rows, each ``(B, d)``.
    """
    return torch.stack([torch.linalg.vector_norm(r) for r in rows]).sum() / len(rows[-1])


def bpr_terms(
    user: Tensor, positive: Tensor, negative: Tensor, reg_weight: float, *, penalised: tuple[Tensor, ...] = ()
) -> dict[str, Tensor]:
    """BPR on inner products and the weighted norm penalty: the loss of BPR, LightGCN, VBPR and Fusion.

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


def vector_bpr(user: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
    """:func:`bpr` of the inner products of batch rows, each ``(B, d)``."""
    return bpr((user * positive).sum(1), (user * negative).sum(1))


def half_squares(*rows: Tensor) -> Tensor:
    r"""Half the sum of squares, :math:`\frac{1}{2}\sum_k \|E_k\|_F^2`, not divided by the batch (SPEC A §0, HalfSq).

    Args:
        rows: gathered batch rows, each ``(B, d)``.
    """
    return 0.5 * torch.stack([r.square().sum() for r in rows]).sum()


def bpr_bits(user: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
    """:func:`vector_bpr` with the logarithm to base 2, as DualGNN, DRAGON and MVGAE have it."""
    return vector_bpr(user, positive, negative) / math.log(2.0)


def mean_squares(*rows: Tensor) -> Tensor:
    r"""Sum of the mean squares of tensors, :math:`\sum_k \|E_k\|_F^2 / |E_k|` with the number of entries |E|.

    Args:
        rows: tensors of any shape, such as gathered batch rows ``(B, d)``.
    """
    return sum((r.square().mean() for r in rows), torch.zeros(()))


def bit_terms(
    user: Tensor, positive: Tensor, negative: Tensor, reg_weight: float, penalised: Iterable[Tensor | None]
) -> dict[str, Tensor]:
    """:func:`bpr_bits` and the weighted :func:`mean_squares` of what is penalised: the loss of DualGNN and DRAGON.

    Args:
        user: user vectors of the batch, ``(B, d)``.
        positive: item vectors of the positives, ``(B, d)``.
        negative: item vectors of the negatives, ``(B, d)``.
        reg_weight: weight of the penalty.
        penalised: tensors of any shape; None stands for what the model does not have.
    """
    squares = mean_squares(*(tensor for tensor in penalised if tensor is not None))
    return {"bpr": bpr_bits(user, positive, negative), "reg": reg_weight * squares}


def triplet_mean_squares(user: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
    """Mean squares of batch rows ``(B, d)``, the two items together as much as the user (SPEC A §7 and §8)."""
    return mean_squares(user) + 0.5 * mean_squares(positive, negative)
