"""GRCN: Wei et al., "Graph-Refined Convolutional Network for Multimedia Recommendation ...", ACM Multimedia 2020."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, cast

import torch
from torch import Tensor, nn

from mmbench.data.recdata import RecData
from mmbench.nn.content_weights import weighed
from mmbench.nn.hyperparameters import at_least, nonnegative
from mmbench.nn.initialisation import linear, table, xavier_normal
from mmbench.nn.kernels import ChosenRows, UnitRows
from mmbench.nn.losses import mean_squares, triplet_mean_squares, vector_bpr
from mmbench.nn.propagation import halves
from mmbench.nn.recommender import FactorModel, Triplets, UnseenItems
from mmbench.nn.towers import Tower, Towers
from mmbench.nn.user_item_graph import UserItemEdges


class GRCN(FactorModel):
    r"""ID vectors propagated over edges that content trusts, :math:`Z = [x + W x + W^2 x;\ \mathrm{rep}^m \dots]`.

    Per modality, users q and mapped items :math:`\varphi` of length one give every edge an attention
    :math:`\alpha^m = \mathrm{softmax}\langle q_u, \varphi_i\rangle` over the neighbours of its receiver, and
    :math:`\mathrm{rep}^m` adds the attended neighbours, times :math:`a_m`. The weight of an edge is
    :math:`\mathrm{relu}(\max_m a_m \alpha^m C_{s m})` with the confidence C of its sender s. Before that, q moves
    towards the attended items ``n_routings`` times. Without any modality the one attention compares q with a learned
    item table of the same width.

    ``as_reference`` differs from the default in two ways: its routing is without effect, because no message reaches a
    user, and the user vectors of the modality named ``image`` are penalised a second time, over all users.

    Args:
        data: training data.
        embedding_dim: size of the ID vectors.
        content_dim: width of the content vectors of each modality.
        n_routings: times that q moves towards the items it attends to.
        reg_weight: weight of the mean squares of the batch rows of the ID vectors and of q.
        first_modality_weight: share of the first of two modalities in name order (image before text); 0 or 1 leaves one
            of them out.
        modality_weights: relative weights of more than two modalities by name, 1 where none is given; 0 leaves one out.
        as_reference: reproduce the numbers of the reference implementation.
    """

    content_needed_because: ClassVar[str] = "without any modality its attention reads a learned item table instead"
    unseen_items_by: ClassVar[UnseenItems] = UnseenItems.CONTENT_PART
    weights: Tensor

    def __init__(
        self,
        data: RecData,
        *,
        embedding_dim: int = 64,
        content_dim: int = 64,
        n_routings: int = 3,
        reg_weight: float = 1e-3,
        first_modality_weight: float = 0.5,
        modality_weights: Mapping[str, float] | None = None,
        as_reference: bool = False,
    ) -> None:
        super().__init__()
        at_least(1, embedding_dim=embedding_dim, content_dim=content_dim)
        at_least(0, n_routings=n_routings)
        nonnegative(reg_weight=reg_weight)
        data, weights = weighed(data, first_modality_weight, modality_weights)
        self.register_buffer("weights", torch.tensor(list(weights.values()) or [1.0]), persistent=False)
        self.n_users, self.reg_weight = data.n_users, reg_weight
        n = data.n_users + data.n_items
        self.id_embedding = table(n, embedding_dim, xavier_normal)
        self.towers = Towers(data, content_dim, lambda raw: _projection(raw, content_dim))
        self.confidence = table(n, len(self.towers), xavier_normal)
        self.edges = UserItemEdges(data.edge_index, data.n_users, data.n_items)
        # Deviations of the reference: no routing, and users' vectors of images are penalised a second time.
        self.n_routings = 0 if as_reference else n_routings
        self.penalised_twice = [name for name in self.towers if name == "image" and as_reference]

    def item_tables(self) -> list[Tensor]:
        """The ID vectors of items, whose table begins with the users, and a learned table in place of features."""
        return [self.id_embedding[self.n_users :], *super().item_tables()]

    def forward(self) -> tuple[Tensor, Tensor]:
        """ID vectors after two steps over the refined graph beside the content vectors of each modality."""
        return halves(self._rows(torch.arange(len(self.id_embedding), device=self.id_embedding.device)), self.n_users)

    def loss(self, batch: Triplets) -> dict[str, Tensor]:
        """BPR, and mean squares of the batch rows of the ID vectors and of q."""
        nodes = torch.cat(batch.nodes(self.n_users))
        final = self._rows(nodes).tensor_split(3)
        ids = triplet_mean_squares(*ChosenRows.apply(nodes, self.id_embedding).tensor_split(3))
        preferences = self.towers.preferences(batch.users)
        preferences += self.towers.preferences(slice(None), self.penalised_twice)
        penalty = ids + mean_squares(*preferences)
        return {"bpr": vector_bpr(*final), "reg": self.reg_weight * penalty}

    def _rows(self, nodes: Tensor) -> Tensor:
        """Final vectors of chosen nodes, users first: ``(m, d + n_modalities * c)``."""
        contents, attentions = [], []
        for tower, weight in zip(self.towers.values(), self.weights, strict=True):
            users, items = self._routed(*cast(Tower, tower).sides())
            attentions.append(self.edges.attention(self.edges.both_ways(self.edges.products(users, items))))
            contents.append(weight * self.edges.rows_of_sum(attentions[-1], torch.cat([users, items]), 1, nodes))
        trusted = torch.stack(attentions, dim=1) * ChosenRows.apply(self.edges.columns, self.confidence)
        weights = (self.weights * trusted).amax(1).relu()
        return torch.cat([self.edges.rows_of_sum(weights, UnitRows.apply(self.id_embedding), 2, nodes), *contents], 1)

    def _routed(self, users: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
        """Content vectors of users ``(n_users, c)`` after routing; those of items ``(n_items, c)`` stay."""
        for _ in range(self.n_routings):
            attention = self.edges.attention_of_users(self.edges.products(users, items))
            users = UnitRows.apply(users + self.edges.propagate_to_users(attention, items))
        return users, items


def _projection(raw: int, width: int) -> nn.Module:
    return nn.Sequential(linear(raw, width, xavier_normal), nn.LeakyReLU())
