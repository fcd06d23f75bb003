"""COHESION: Xu et al., "COHESION: Composite Graph Convolutional Network with Dual-Stage Fusion ...", SIGIR 2025."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, cast

import torch
from torch import Tensor, nn

from mmbench.data.recdata import RecData
from mmbench.nn.content_weights import weighed
from mmbench.nn.hyperparameters import at_least, nonnegative, rate
from mmbench.nn.initialisation import table, xavier_normal
from mmbench.nn.item_graphs import fused_item_graph
from mmbench.nn.losses import bit_terms
from mmbench.nn.propagation import refined_layers, with_neighbours
from mmbench.nn.recommender import FactorModel, Triplets, UnseenItems
from mmbench.nn.sampled_graph import SampledGraph
from mmbench.nn.towers import MappedFeatures, Tower, hidden_layer
from mmbench.nn.user_graph import UserGraph, free_weights


class COHESION(FactorModel):
    r"""Towers whose item content is first mixed with an ID table, side by side with a tower of that table itself.

    .. math::
        x^r = \mathrm{norm}([q^r; \sqrt{(F^2 + g_r(f^r)^2) / 2 + 10^{-8}}\,]),\quad
        Q^r = \sum_{l=0}^{L} x^{r,l},\quad x^{r,l} = \cos(h, x^r) \odot h,\quad h = \hat A x^{r,l-1}

    .. math::
        z_u = (I + S)\,[Q^{id}_u; c\,Q^1_u; \dots],\quad z_i = (I + G^K)\,[Q^{id}_i; Q^1_i; \dots]

    F is the ID table of items, which is also the content :math:`f^{id}` of the first tower; squares and root are taken
    channel by channel. S weighs the k users with the most common training items by the softmax of their counts, G is
    the frozen item graph of the raw features, :math:`\sum_m s_m \mathrm{kNN}(f^m)`. BPR ranks pairs by
    :math:`\sum_r \beta_r \langle z^r_u, z^r_i\rangle` with :math:`\beta = 1 - \mathrm{softmax}_r(\langle z^r_u,
    z^r_i - z^r_j\rangle)`, which has no gradient: the tower that ranks a pair worst counts most. Scores are plain inner
    products. Items without content have no edges in the graph of that modality. Without any modality the tower of the
    ID table is alone: :math:`\beta = 1`, its q are penalised, and there is no item graph.

    ``as_reference`` differs from the default in five ways: items without an interaction are neighbours in G like any
    other; the tower of the ID table is not trained, so that F is trained through the others alone; weights of
    modalities, which nothing else reads, are penalised; lists of users shorter than k are filled up by random
    repetition in every epoch of training; and a modality whose share of the item graph is 0 keeps its tower.

    Args:
        data: training data.
        embedding_dim: size of the vectors of each tower.
        hidden_dim: width of the hidden layer of g.
        n_ui_layers: propagation layers over users and items, L.
        dropout: fraction of the interactions left out of each epoch.
        k_users: neighbours per user, k.
        k: neighbours per item, itself included.
        n_layers: propagation layers over the item graph, K.
        content_weight: weight of content, c; 0 leaves it out.
        first_modality_weight: share of the first of two modalities in name order (image before text); 0 or 1 leaves one
            of them out.
        modality_weights: relative weights of more than two modalities by name, 1 where none is given; 0 leaves one out.
        reg_weight: weight of the mean squares of the batch rows of q of the modalities.
        as_reference: reproduce the numbers of the reference implementation.
    """

    content_ignored_by: ClassVar[str] = "content_weight"
    unseen_items_by: ClassVar[UnseenItems] = UnseenItems.CONTENT_AND_IDS
    block_weights: Tensor

    def __init__(
        self,
        data: RecData,
        *,
        embedding_dim: int = 64,
        hidden_dim: int = 256,
        n_ui_layers: int = 2,
        dropout: float = 0.0,
        k_users: int = 40,
        k: int = 10,
        n_layers: int = 1,
        content_weight: float = 1.0,
        first_modality_weight: float = 0.1,
        modality_weights: Mapping[str, float] | None = None,
        reg_weight: float = 1e-3,
        as_reference: bool = False,
    ) -> None:
        super().__init__()
        at_least(1, embedding_dim=embedding_dim, hidden_dim=hidden_dim)
        at_least(0, n_ui_layers=n_ui_layers, n_layers=n_layers, k_users=k_users, k=k)
        nonnegative(reg_weight=reg_weight)
        content = {"content_weight": content_weight}
        data, _ = weighed(data, first_modality_weight, modality_weights, leave_out=not as_reference, **content)
        self.n_users, self.n_ui_layers, self.n_layers = data.n_users, n_ui_layers, n_layers
        self.reg_weight, self.embedding_dim = reg_weight, embedding_dim
        layers = hidden_layer(hidden_dim, embedding_dim)
        self.item_embedding = table(data.n_items, embedding_dim, xavier_normal)
        self.identifiers = Tower(data.n_users, MixedIdentifiers(layers(embedding_dim)), embedding_dim)
        maps = {m: MappedFeatures(features, layers(features.shape[1])) for m, features in data.features.items()}
        self.towers = nn.ModuleDict(
            {name: Tower(data.n_users, MixedContent(content), embedding_dim) for name, content in maps.items()}
        )
        blocks = torch.tensor([1.0] + [content_weight] * len(maps))
        self.register_buffer("block_weights", blocks.repeat_interleave(embedding_dim), persistent=False)
        self.graph = SampledGraph(data.edge_index, data.n_users, data.n_items, 1.0 - rate("dropout", dropout))
        # Deviations of the reference: an untrained tower, weights that nothing reads, and padded lists of users.
        self.detached = as_reference and bool(maps)
        self.user_weights = free_weights(data.n_users, len(maps), pair=True) if self.detached else None
        self.user_graph = UserGraph(data.edge_index, data.n_users, data.n_items, k_users, pad=as_reference)
        self.item_graph = fused_item_graph(data, k, first_modality_weight, modality_weights, unseen_too=as_reference)

    def begin_epoch(self) -> None:
        """Draw the interactions of this epoch, and the padding of the user graph where there is any."""
        self.graph.draw()
        self.user_graph.begin_epoch()

    def forward(self) -> tuple[Tensor, Tensor]:
        """Users with their like-minded users, and items with their smoothed counterparts."""
        ego = torch.stack([tower(self.item_embedding) for tower in (self.identifiers, *self.towers.values())], dim=1)
        outputs = torch.stack([ego, *refined_layers(self.graph(), ego, self.n_ui_layers)]).sum(0)
        if self.detached:
            outputs = torch.cat([outputs[:, :1].detach(), outputs[:, 1:]], dim=1)
        users, items = outputs.flatten(1).tensor_split([self.n_users])
        smoothed = with_neighbours(items, items, self.item_graph, self.n_layers)
        return self.user_graph(self.block_weights * users), smoothed

    def loss(self, batch: Triplets) -> dict[str, Tensor]:
        """BPR in bits over weighed towers, and mean squares of q and, in the reference, of weights."""
        user, positive, negative = batch.rows(*self())
        if self.towers:
            margins = (user * (positive - negative)).detach().view(len(user), -1, self.embedding_dim).sum(2)
            user = (1.0 - torch.softmax(margins, dim=1)).repeat_interleave(self.embedding_dim, dim=1) * user
        towers = [cast(Tower, tower) for tower in self.towers.values()] or [self.identifiers]
        penalised = [tower.preference[batch.users] for tower in towers]
        return bit_terms(user, positive, negative, self.reg_weight, [*penalised, self.user_weights])


def mixed(ids: Tensor, content: Tensor) -> Tensor:
    r"""Quadratic mean of two tables, channel by channel, :math:`\sqrt{(a^2 + b^2) / 2 + 10^{-8}}`: ``(n, d)``."""
    return ((ids.square() + content.square()) / 2 + 1e-8).sqrt()


class MixedContent(nn.Module):
    """Mapped features of items, mixed with the ID table that it is called with."""

    def __init__(self, content: MappedFeatures) -> None:
        super().__init__()
        self.content = content

    def forward(self, ids: Tensor) -> Tensor:
        """``(n_items, d)`` to the same."""
        return mixed(ids, self.content())


class MixedIdentifiers(nn.Module):
    """The ID table that it is called with, mixed with its own image under layers."""

    def __init__(self, layers: nn.Module) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, ids: Tensor) -> Tensor:
        """``(n_items, d)`` to the same."""
        return mixed(ids, self.layers(ids))
