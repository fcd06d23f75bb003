"""Contrastive losses between two views of the same users or items."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional


class _LogSumExp(torch.autograd.Function):
    """Logarithm of weighted sums of exponentials of inner products; keeps one ``(B, n)`` array, not one per operation."""

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


def inner_product_nce(anchors: Tensor, positives: Tensor, temperature: float) -> Tensor:
    """:func:`nce` of rows that keep their length: inner products take the place of cosines.

    Args:
        anchors: ``(B, d)``.
        positives: ``(B, d)``, also the candidates.
        temperature: of the softmax.
    """
    logits = anchors @ positives.T / temperature
    return functional.cross_entropy(logits, torch.arange(len(logits), device=logits.device))


def cosine_distance(online: Tensor, target: Tensor) -> Tensor:
    r"""Mean over rows of :math:`1 - \cos(a_b, t_b)` (SPEC B §1); no gradient reaches ``target``.

    Args:
        online: ``(B, d)``.
        target: ``(B, d)``.
    """
    return 1.0 - functional.cosine_similarity(online, target.detach(), dim=1, eps=1e-8).mean()
