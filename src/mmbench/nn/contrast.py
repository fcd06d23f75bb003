"""Contrastive losses between two views of the same users or items."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional


class _LogSumExp(torch.autograd.Function):
    """Logarithm of weighted sums of exponentials of inner products; keeps one ``(B, n)`` array for all operations."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, log_weights: Tensor | None) -> Tensor:
        shares = a @ b.T
        if log_weights is not None:
            shares += log_weights
        largest = shares.amax(1, keepdim=True)
        sums = shares.sub_(largest).exp_().sum(1, keepdim=True)
        ctx.save_for_backward(a, b, shares.div_(sums))
        return (sums.log() + largest).squeeze(1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        a, b, shares = ctx.saved_tensors
        grad = grads[0].unsqueeze(1)
        return grad * (shares @ b), shares.T @ (grad * a), None


def nce_of_rows(
    anchors: Tensor, positives: Tensor, candidates: Tensor, temperature: float, weights: Tensor | None = None
) -> Tensor:
    r"""Noise-contrastive loss of each anchor, rows scaled to length one.

    .. math:: \ell_k = -\hat a_k \cdot \hat b_k / \tau + \log\sum_l w_l \exp(\hat a_k \cdot \hat c_l / \tau)

    The positive should be among the candidates; only anchors look for their positives, not the other way round.

    Args:
        anchors: ``(B, d)``.
        positives: ``(B, d)``.
        candidates: ``(n, d)``.
        temperature: of the softmax.
        weights: how often each candidate counts, ``(n,)``; once where None.

    Returns:
        ``(B,)``.
    """
    a = functional.normalize(anchors, dim=1, eps=1e-12) / temperature
    b = functional.normalize(positives, dim=1, eps=1e-12)
    c = b if candidates is positives else functional.normalize(candidates, dim=1, eps=1e-12)
    return _LogSumExp.apply(a, c, None if weights is None else weights.log()) - (a * b).sum(1)


def nce_with_all(anchors: Tensor, others: Tensor, rows: Tensor, temperature: float) -> Tensor:
    """Sum over chosen rows of :func:`nce_of_rows`, with all rows of the other view as candidates (SPEC B §4).

    A row given twice counts twice and is computed once.

    Args:
        anchors: one view, ``(n, d)``.
        others: the other view, ``(n, d)``.
        rows: the chosen rows, ``(B,)``.
        temperature: of the softmax.
    """
    chosen, counts = torch.unique(rows, return_counts=True)
    return (counts * nce_of_rows(anchors[chosen], others[chosen], others, temperature)).sum()


def nce_in_batch(anchors: Tensor, others: Tensor, rows: Tensor, temperature: float) -> Tensor:
    """:func:`nce` of the chosen rows of two views: a row given twice counts twice everywhere and is computed once.

    Args:
        anchors: one view, ``(n, d)``.
        others: the other view, ``(n, d)``.
        rows: the chosen rows, ``(B,)``.
        temperature: of the softmax.
    """
    chosen, counts = torch.unique(rows, return_counts=True)
    weights, candidates = counts.to(others.dtype), others[chosen]
    return (weights * nce_of_rows(anchors[chosen], candidates, candidates, temperature, weights)).sum() / len(rows)


def nce(anchors: Tensor, positives: Tensor, temperature: float) -> Tensor:
    """Mean of :func:`nce_of_rows` within a batch (SPEC B §0, NCE); a row given twice is its own negative too.

    Args:
        anchors: ``(B, d)``.
        positives: ``(B, d)``, also the candidates.
        temperature: of the softmax.
    """
    return nce_of_rows(anchors, positives, positives, temperature).mean()


def nce_of_pairs(
    anchors: Tensor, others: Tensor, pairs: tuple[Tensor, Tensor], temperature: float, *, unit_norm: bool = True
) -> Tensor:
    r"""Mean over pairs of :func:`nce_of_rows`, with the other ends of all pairs as candidates.

    .. math:: \frac{1}{B} \sum_k \left(-a_{r_k} \cdot b_{s_k} / \tau + \log\sum_l \exp(a_{r_k} b_{s_l} / \tau)\right)

    A row that occurs in several pairs counts as often everywhere and is computed once.

    Args:
        anchors: ``(n, d)``.
        others: ``(m, d)``.
        pairs: rows r of the anchors and s of the others, each ``(B,)``.
        temperature: of the softmax.
        unit_norm: scale rows to length one; otherwise they keep their length.
    """
    rows, place = torch.unique(pairs[0], return_inverse=True)
    candidates, other_place, counts = torch.unique(pairs[1], return_inverse=True, return_counts=True)
    a, b = anchors[rows], others[candidates]
    if unit_norm:
        a, b = functional.normalize(a, dim=1, eps=1e-12), functional.normalize(b, dim=1, eps=1e-12)
    a = a / temperature
    total = _LogSumExp.apply(a, b, counts.to(b.dtype).log())
    return (total[place] - (a[place] * b[other_place]).sum(1)).mean()


def cosine_distance(online: Tensor, target: Tensor) -> Tensor:
    r"""Mean over rows of :math:`1 - \cos(a_b, t_b)` (SPEC B §1); no gradient reaches ``target``.

    Args:
        online: ``(B, d)``.
        target: ``(B, d)``.
    """
    return 1.0 - functional.cosine_similarity(online, target.detach(), dim=1, eps=1e-8).mean()
