"""Random samples of the user-item graph, on which several models train in place of the full graph."""

from __future__ import annotations

import torch
from torch import Tensor

from mmbench.messages import Refusal
from mmbench.nn.streams import RandomPart
from mmbench.nn.user_item_graph import symmetric_normalised


def degree_weights(edge_index: Tensor, n_users: int, n_items: int) -> Tensor:
    r"""Sampling weight of each edge, :math:`1/\sqrt{(d_u + \epsilon)(d_i + \epsilon)}`, small between busy nodes.

    Returns:
        ``(n_edges,)`` in float64.
    """
    users, items = edge_index
    user_degree = torch.bincount(users, minlength=n_users).double() + 1e-7
    item_degree = torch.bincount(items, minlength=n_items).double() + 1e-7
    return (user_degree[users] * item_degree[items]).rsqrt()


def sample_edges(edge_index: Tensor, weights: Tensor, keep: float, generator: torch.Generator) -> Tensor:
    r"""Draw a fraction of the edges without replacement, each draw proportional to its weight.

    The edges with the smallest :math:`E_e / w_e`, :math:`E_e` standard exponential, are such a sample (Efraimidis &
    Spirakis 2006); unlike ``torch.multinomial`` this has no limit of 2^24 edges.

    Args:
        edge_index: ``(2, n_edges)``.
        weights: positive, ``(n_edges,)``.
        keep: fraction to keep; at least one edge stays.
        generator: source of randomness, on the device of ``weights``.

    Returns:
        The kept edges in their old order, ``(2, n_kept)``.
    """
    n_edges = edge_index.shape[1]
    n_kept = max(1, int(n_edges * keep + 1e-6))
    arrival = torch.empty_like(weights).exponential_(generator=generator) / weights
    kept, _ = arrival.topk(n_kept, largest=False, sorted=False).indices.sort()
    return edge_index[:, kept]


class SampledGraph(RandomPart):
    """The full graph while ranking, a sample of its edges while training (Zhou & Shen 2023, section 3.2).

    A sample prefers edges between nodes of low degree and is normalised by the degrees that remain in it.

    Args:
        edge_index: training interactions, ``(2, n_edges)``.
        n_users: number of users.
        n_items: number of items.
        keep: fraction of the edges in a sample; 1 trains on all.
    """

    full: Tensor
    sampled: Tensor

    def __init__(self, edge_index: Tensor, n_users: int, n_items: int, keep: float) -> None:
        super().__init__()
        if not 0.0 < keep <= 1.0:
            raise Refusal("the fraction of edges to keep is {keep}; it must be more than 0 and at most 1", keep=keep)
        self.n_users, self.n_items, self.keep, self.edges = n_users, n_items, keep, edge_index
        self.weights = degree_weights(edge_index, n_users, n_items)
        self.register_buffer("full", symmetric_normalised(edge_index, n_users, n_items, eps=1e-7), persistent=False)
        self.register_buffer("sampled", self.full, persistent=False)

    def draw(self, *, by_degree: bool = True) -> None:
        """Draw the edges to train on, once per epoch; all of them with the same chance unless ``by_degree``."""
        if self.keep < 1.0:
            weights = self.weights if by_degree else torch.ones_like(self.weights)
            self.use_edges(sample_edges(self.edges, weights, self.keep, self.stream("edges", weights.device)))

    def use_edges(self, edge_index: Tensor) -> None:
        """Train on these edges ``(2, n_kept)``."""
        graph = symmetric_normalised(edge_index, self.n_users, self.n_items, eps=1e-7)
        self.sampled = graph.to(self.full.device, self.full.dtype)

    def forward(self) -> Tensor:
        """The graph of the current mode, sparse ``(n_users + n_items, n_users + n_items)``."""
        return self.sampled if self.training else self.full
