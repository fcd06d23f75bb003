"""Contrastive losses between two views of the same users or items."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def nce_of_rows(anchors: Tensor, positives: Tensor, candidates: Tensor, temperature: float) -> Tensor:
    r"""Noise-contrastive loss of each anchor, :math:`-\hat a_k \hat b_k / \tau + \log\sum_l \exp(\hat a_k \hat c_l / \tau)`.

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


def nce(anchors: Tensor, positives: Tensor, temperature: float) -> Tensor:
    """Mean of :func:`nce_of_rows` within a batch (SPEC B §0, NCE); a row given twice is its own negative too.

    Args:
        anchors: ``(B, d)``.
        positives: ``(B, d)``, also the candidates.
        temperature: of the softmax.
    """
    return nce_of_rows(anchors, positives, positives, temperature).mean()


def cosine_distance(online: Tensor, target: Tensor) -> Tensor:
    r"""Mean over rows of :math:`1 - \cos(a_b, t_b)` (SPEC B §1); no gradient reaches ``target``.

    Args:
        online: ``(B, d)``.
        target: ``(B, d)``.
    """
    return 1.0 - functional.cosine_similarity(online, target.detach(), dim=1, eps=1e-8).mean()
