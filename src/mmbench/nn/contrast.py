"""Contrastive losses between two views of the same users or items."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from mmbench.nn.features import on_unique_rows


def nce_of_rows(anchors: Tensor, positives: Tensor, candidates: Tensor, temperature: float) -> Tensor:
    r"""Noise-contrastive loss of each anchor, rows scaled to length one.

    .. math:: \ell_k = -\hat a_k \cdot \hat b_k / \tau + \log\sum_l \exp(\hat a_k \cdot \hat c_l / \tau)

    The positive should be among the candidates; only anchors look for their positives, not the other way round.

    Args:
        anchors: ``(B, d)``.
        positives: ``(B, d)``.
        candidates: ``(n, d)``.
        temperature: of the softmax.

    Returns:
        ``(B,)``.
    """
    a = functional.normalize(anchors, dim=1, eps=1e-12)
    b = functional.normalize(positives, dim=1, eps=1e-12)
    c = b if candidates is positives else functional.normalize(candidates, dim=1, eps=1e-12)
    return torch.logsumexp(a @ c.T / temperature, dim=1) - (a * b).sum(1) / temperature


def nce_with_all(anchors: Tensor, others: Tensor, rows: Tensor, temperature: float) -> Tensor:
    """:func:`nce_of_rows` of chosen rows of one view, with all rows of another view as candidates: ``(B,)``.

    Args:
        anchors: ``(n, d)``.
        others: ``(n, d)``.
        rows: the chosen rows, ``(B,)``.
        temperature: of the softmax.
    """

    def losses(chosen: Tensor) -> Tensor:
        return nce_of_rows(anchors[chosen], others[chosen], others, temperature)

    return on_unique_rows(losses, rows)[0]


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
