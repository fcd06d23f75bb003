"""DRAGON: Zhou et al., "Enhancing Dyadic Relations with Homogeneous Graphs for Multimodal Recommendation" (2023)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor

from mmbench.data.recdata import RecData
from mmbench.nn.content_weights import weighed
from mmbench.nn.hyperparameters import at_least, nonnegative
from mmbench.nn.item_graphs import fused_item_graph
from mmbench.nn.losses import bit_terms
from mmbench.nn.propagation import with_neighbours
from mmbench.nn.recommender import FactorModel, Triplets, UnseenItems
from mmbench.nn.towers import Towers, hidden_layer
from mmbench.nn.user_graph import UserGraph, free_weights
from mmbench.nn.user_item_graph import set_adjacency

N_HOPS = 2


class DRAGON(FactorModel):
    r"""Towers of all modalities side by side, smoothed over a graph of users and a graph of items.

    .. math:: O^m = \sum_{l=0}^{2} \hat A^l\, \mathrm{norm}([q^m; g_m(f^m)]),\quad
        z_u = (I + S)\,[w_{u1} O^1_u; w_{u2} O^2_u; \dots],\quad z_i = (I + G^L)\,[O^1_i; O^2_i; \dots]

    S weighs the k users with the most common training items by the softmax of their counts, G is the frozen item graph
    of the raw features, :math:`\sum_m s_m \mathrm{kNN}(f^m)`. One modality has no weights w. Items without content
    have no edges in the graph of that modality; without any modality there is one tower whose items start from a
    learned table, and no item graph.

    ``as_reference`` differs from the default in four ways: items without an interaction are neighbours in the item
    graph like any other, lists of users shorter than k are filled up by random repetition in every epoch of training,
    two weights per user are penalised even if one modality leaves them unused, and a modality whose share of the item
    graph is 0 keeps its tower.

    Args:
        data: training data.
        embedding_dim: size of the vectors of each modality.
        hidden_dim: width of the hidden layer of g.
        k_users: neighbours per user, k.
        k: neighbours per item, itself included.
        n_layers: propagation layers over the item graph, L.
        first_modality_weight: share of the first of two modalities in name order (image before text); 0 or 1 leaves one
            of them out.
        modality_weights: relative weights of more than two modalities by name, 1 where none is given; 0 leaves one out.
        reg_weight: weight of the mean squares of the batch rows of q and of w.
        as_reference: reproduce the numbers of the reference implementation.
    """

    content_needed_because: ClassVar[str] = "without any modality a learned item table takes the place of the features"
    unseen_items_by: ClassVar[UnseenItems] = UnseenItems.CONTENT_VECTORS
    adjacency: Tensor

    def __init__(
        self,
        data: RecData,
        *,
        embedding_dim: int = 64,
        hidden_dim: int = 256,
        k_users: int = 40,
        k: int = 10,
        n_layers: int = 1,
        first_modality_weight: float = 0.1,
        modality_weights: Mapping[str, float] | None = None,
        reg_weight: float = 1e-3,
        as_reference: bool = False,
    ) -> None:
        super().__init__()
        at_least(1, embedding_dim=embedding_dim, hidden_dim=hidden_dim)
        at_least(0, k_users=k_users, k=k, n_layers=n_layers)
        nonnegative(reg_weight=reg_weight)
        data, _ = weighed(data, first_modality_weight, modality_weights, leave_out=not as_reference)
        self.n_users, self.n_layers, self.reg_weight = data.n_users, n_layers, reg_weight
        self.towers = Towers(data, embedding_dim, hidden_layer(hidden_dim, embedding_dim))
        set_adjacency(self, data)
        # Further deviations of the reference: a weight that one modality leaves unused, and padded lists of users.
        self.user_weights = free_weights(data.n_users, len(self.towers), pair=as_reference)
        self.user_graph = UserGraph(data.edge_index, data.n_users, data.n_items, k_users, pad=as_reference)
        self.item_graph = fused_item_graph(data, k, first_modality_weight, modality_weights, unseen_too=as_reference)

    def begin_epoch(self) -> None:
        """Draw the padding of the user graph, where there is any."""
        self.user_graph.begin_epoch()

    def forward(self) -> tuple[Tensor, Tensor]:
        """Users with their like-minded users, and items with their smoothed counterparts."""
        outputs = self.towers.sum_of_hops(self.adjacency, N_HOPS)
        users, items = outputs[: self.n_users], outputs[self.n_users :].flatten(1)
        if self.user_weights is not None and len(self.towers) > 1:
            users = self.user_weights.unsqueeze(2) * users
        return self.user_graph(users.flatten(1)), with_neighbours(items, items, self.item_graph, self.n_layers)

    def loss(self, batch: Triplets) -> dict[str, Tensor]:
        """BPR in bits, and mean squares of q and of the weights."""
        penalised = [*self.towers.preferences(batch.users), self.user_weights]
        return bit_terms(*batch.rows(*self()), self.reg_weight, penalised)
