"""DualGNN: Wang et al., "DualGNN: Dual Graph Neural Network for Multimedia Recommendation", IEEE TMM 2021."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from mmbench.data.recdata import RecData
from mmbench.nn.content_weights import weighed
from mmbench.nn.hyperparameters import at_least, nonnegative
from mmbench.nn.losses import bit_terms
from mmbench.nn.recommender import FactorModel, Triplets, UnseenItems
from mmbench.nn.towers import Towers, hidden_layer
from mmbench.nn.user_graph import UserGraph, free_weights
from mmbench.nn.user_item_graph import set_adjacency

N_HOPS = 2


class DualGNN(FactorModel):
    r"""A tower per modality over users and items, user-specific weights of modalities, and a graph over users.

    .. math:: O^m = \sum_{l=0}^{2} \hat A^l\, \mathrm{norm}([q^m; g_m(f^m)]),\quad a_u = \sum_m w_{um} a_m O^m_u,\quad
        z_u = a_u + \sum_b s_{ub} a_b,\quad z_i = \sum_m a_m O^m_i

    b runs over the k users with the most training items in common with u, s is the softmax of those counts. One
    modality has no weights w. Without any modality there is one tower whose items start from a learned table.

    ``as_reference`` differs from the default in three ways: the sum of the towers takes the place of the first one in
    :math:`a_u`; lists of users shorter than k are filled up by random repetition in every epoch of training; and two
    weights per user and per item are penalised, whether they are used or not.

    Args:
        data: training data.
        embedding_dim: size of all vectors.
        hidden_dim: width of the hidden layer of g.
        k_users: neighbours per user, k.
        reg_weight: weight of the mean squares of the batch rows of q and of w.
        first_modality_weight: share of the first of two modalities in name order (image before text); 0 or 1 leaves one
            of them out.
        modality_weights: relative weights of more than two modalities by name, 1 where none is given; 0 leaves one out.
        as_reference: reproduce the numbers of the reference implementation.
    """

    content_needed_because: ClassVar[str] = "without any modality a learned item table takes the place of the features"
    unseen_items_by: ClassVar[UnseenItems] = UnseenItems.CONTENT_VECTORS
    adjacency: Tensor
    weights: Tensor

    def __init__(
        self,
        data: RecData,
        *,
        embedding_dim: int = 64,
        hidden_dim: int = 256,
        k_users: int = 40,
        reg_weight: float = 1e-3,
        first_modality_weight: float = 0.5,
        modality_weights: Mapping[str, float] | None = None,
        as_reference: bool = False,
    ) -> None:
        super().__init__()
        at_least(1, embedding_dim=embedding_dim, hidden_dim=hidden_dim)
        at_least(0, k_users=k_users)
        nonnegative(reg_weight=reg_weight)
        data, weights = weighed(data, first_modality_weight, modality_weights)
        self.register_buffer("weights", torch.tensor(list(weights.values()) or [1.0]).view(-1, 1), persistent=False)
        self.n_users, self.reg_weight = data.n_users, reg_weight
        self.towers = Towers(data, embedding_dim, hidden_layer(hidden_dim, embedding_dim))
        set_adjacency(self, data)
        # Deviations of the reference: weights that nothing uses, a sum in place of a tower, and padded lists of users.
        self.user_weights = free_weights(data.n_users, len(self.towers), pair=as_reference)
        self.item_weights = free_weights(data.n_items, len(self.towers), pair=True) if as_reference else None
        self.sum_comes_first = as_reference
        self.user_graph = UserGraph(data.edge_index, data.n_users, data.n_items, k_users, pad=as_reference)

    def begin_epoch(self) -> None:
        """Draw the padding of the user graph, where there is any."""
        self.user_graph.begin_epoch()

    def forward(self) -> tuple[Tensor, Tensor]:
        """Users with their like-minded users, and the sum of the towers of items."""
        outputs = self.weights * self.towers.sum_of_hops(self.adjacency, N_HOPS)
        users = self.user_graph(self._blended(outputs[: self.n_users]))
        return users, outputs[self.n_users :].sum(1)

    def loss(self, batch: Triplets) -> dict[str, Tensor]:
        """BPR in bits, and mean squares of q and of the weights."""
        penalised = [*self.towers.preferences(batch.users), self.user_weights, self.item_weights]
        return bit_terms(*batch.rows(*self()), self.reg_weight, penalised)

    def _blended(self, towers_of_users: Tensor) -> Tensor:
        """Sum of the users' modalities ``(n_users, n_modalities, d)``, each user with weights of its own."""
        if self.user_weights is None or towers_of_users.shape[1] == 1:
            return towers_of_users.sum(1)
        if self.sum_comes_first:
            total = towers_of_users.sum(1, keepdim=True)
            towers_of_users = torch.cat([total, towers_of_users[:, 1:]], dim=1)
        return (self.user_weights.unsqueeze(2) * towers_of_users).sum(1)
