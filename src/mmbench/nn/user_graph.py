"""The graph that joins users with common items, and each user's own weights of modalities: DualGNN and DRAGON."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mmbench.nn.initialisation import started, xavier_normal
from mmbench.nn.memo import Memo, content_key
from mmbench.nn.nearest import nearest
from mmbench.nn.sparse import DirectedGraph, common_neighbours, interaction_matrix
from mmbench.nn.streams import RandomPart


def free_weights(n: int, n_modalities: int, *, pair: bool = False) -> nn.Parameter | None:
    """Free weights of modalities per user or item, initially positive and of sum one.

    Args:
        n: number of users or items.
        n_modalities: number of modalities.
        pair: whether to make at least two weights, which one modality leaves unused.

    Returns:
        ``(n, n_modalities)``; None where one modality would have one weight.
    """
    n_weights = max(2, n_modalities) if pair else n_modalities
    return started(nn.Parameter(torch.empty(n, n_weights)), _positive_shares) if n_weights > 1 else None


@torch.no_grad()
def _positive_shares(tensor: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
    return tensor.copy_(torch.softmax(xavier_normal(tensor, generator=generator), dim=1))


#: Lists of users kept in memory, of a few data sets.
_lists = Memo[tuple[Tensor, Tensor]](4)


def cached_common_items(edge_index: Tensor, n_users: int, n_items: int, k: int) -> tuple[Tensor, Tensor]:
    """:func:`common_items`, kept in memory by content; a stored list serves every smaller ``k``."""
    users, counts = _lists.get(
        content_key(torch.get_default_dtype(), edge_index.device, n_users, n_items, edge_index),
        lambda: common_items(edge_index, n_users, n_items, k),
        lambda kept: kept[0].shape[1] >= min(k, n_users - 1),
    )
    return users[:, :k], counts[:, :k]


def common_items(edge_index: Tensor, n_users: int, n_items: int, k: int) -> tuple[Tensor, Tensor]:
    """The ``k`` users with the most common training items of every user, in blocks of rows.

    Returns:
        Users and counts, each ``(n_users, k)``, most first; a shorter list ends in entries of count zero.
    """
    matrix = interaction_matrix(edge_index, n_users, n_items)
    return nearest(common_neighbours(matrix), n_users, k, include_self=False, width=n_items)


def padded(indices: Tensor, counts: Tensor, k: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Fill lists shorter than ``k`` by repeating random entries of the growing list.

    Args:
        indices: ``(n, at most k)``.
        counts: as many; entries of count zero are to be filled. A list without any entry stays empty.
        k: length of the result.
        generator: source of randomness, on the CPU.

    Returns:
        Indices and counts, each ``(n, k)``.
    """
    missing = k - indices.shape[1]
    indices, counts = (nn.functional.pad(lists, (0, missing)) for lists in (indices, counts))
    length = (counts > 0).sum(1)
    for place in range(1, k):
        rows = torch.nonzero((length > 0) & (length <= place)).squeeze(1)
        chosen = (torch.rand(len(rows), generator=generator, dtype=torch.float64) * place).long()
        indices[rows, place], counts[rows, place] = indices[rows, chosen], counts[rows, chosen]
    return indices, counts


def softmax_graph(indices: Tensor, counts: Tensor) -> DirectedGraph:
    r"""The graph with weights :math:`w_{ub} = e^{c_{ub}} / \sum_{b'} e^{c_{ub'}}` of counts above zero.

    Args:
        indices: neighbours of each user, ``(n_users, k)``; one that is listed twice weighs twice.
        counts: common items, ``(n_users, k)``.
    """
    listed = counts > 0
    weights = torch.softmax(counts.masked_fill(~listed, torch.finfo(counts.dtype).min), dim=1)
    kept = listed & (weights > 0)
    rows = torch.nonzero(kept)[:, 0]
    return DirectedGraph(torch.stack([rows, indices[kept]]), weights[kept], len(indices))


class UserGraph(RandomPart):
    r"""Adds to every user the k users with the most common items, :math:`u + \sum_b w_{ub} u_b` (Wang et al. 2021).

    By default a user who shares items with fewer than k users has a shorter list. With ``pad`` short lists are filled
    up at random at the start of every epoch, which gives some of the users more weight; scores never use such a draw.

    Args:
        edge_index: training interactions, ``(2, n_edges)``.
        n_users: number of users.
        n_items: number of items.
        k: neighbours per user.
        pad: whether training fills up short lists.
    """

    def __init__(self, edge_index: Tensor, n_users: int, n_items: int, k: int, *, pad: bool = False) -> None:
        super().__init__()
        self.k, self.pad = k, pad
        self.lists = cached_common_items(edge_index, n_users, n_items, k)
        self.graph = softmax_graph(*self.lists)
        self.training_graph = self.graph

    def begin_epoch(self) -> None:
        """Draw the padding of this epoch, if there is any."""
        if self.pad:
            self.use(*padded(*self.lists, self.k, self.stream("padding", torch.device("cpu"))))

    def use(self, indices: Tensor, counts: Tensor) -> None:
        """Train on these users and counts, each ``(n_users, k)``."""
        self.training_graph = softmax_graph(indices, counts).to(self.graph.matrix.device)

    def forward(self, users: Tensor) -> Tensor:
        """``(n_users, d)`` to the same."""
        graph = self.training_graph if self.training else self.graph
        return users + graph(users)
