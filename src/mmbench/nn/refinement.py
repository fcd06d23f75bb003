"""Propagation whose layers are re-weighted by how much they still resemble the ego vectors."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from mmbench.messages import Refusal
from mmbench.nn.graph import propagate


def sum_of_refined_layers(adjacency: Tensor, ego: Tensor, n_layers: int) -> Tensor:
    r"""Refined propagation (Zhou et al. 2023; SPEC A §3), the ego layer left out of the sum.

    .. math:: \sum_{l=1}^{L} X^l, \quad X^l = \cos(H^l, X^0) \odot H^l, \quad H^l = A X^{l-1}

    The cosine is taken row by row and carries gradients to both sides; of a node without edges it is 0.

    Args:
        adjacency: symmetric, ``(n, n)``.
        ego: ``(n, d)``.
        n_layers: L, at least one.
    """
    if n_layers < 1:
        raise Refusal(
            "n_layers={n_layers} must be at least 1, as the ego layer is not part of the sum", n_layers=n_layers
        )
    x, layers = ego, []
    for _ in range(n_layers):
        h = propagate(adjacency, x)
        x = functional.cosine_similarity(h, ego, dim=1, eps=1e-8).unsqueeze(1) * h
        layers.append(x)
    return sum(layers[1:], layers[0])
