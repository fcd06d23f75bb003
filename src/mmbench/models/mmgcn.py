"""MMGCN: Wei et al., "MMGCN: Multi-modal Graph Convolution Network for Personalized ...", ACM Multimedia 2019."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from mmbench.data.recdata import RecData
from mmbench.nn.content_weights import weighed
from mmbench.nn.hyperparameters import at_least, nonnegative
from mmbench.nn.initialisation import linear, set_table, started, table, xavier_normal
from mmbench.nn.losses import mean_squares, triplet_mean_squares, vector_bpr
from mmbench.nn.propagation import halves
from mmbench.nn.recommender import FactorModel, Triplets, UnseenItems
from mmbench.nn.towers import FreeItems, MappedFeatures, Tower
from mmbench.nn.user_item_graph import NeighbourMean


class MMGCN(FactorModel):
    r"""One graph network per modality, averaged, :math:`Z = \sum_m s_m\,\mathrm{GNN}_m([q^m; P_m f^m], e)`.

    Each branch starts from free user vectors q and projected features and passes means over neighbours; the ID vectors
    e of users and items enter every layer of every branch. Without any modality there is one branch whose items start
    from a learned table of the same width.

    By default q and e are trained, every modality is projected and the penalty covers all q. With ``as_reference`` q
    and e keep their random initial values, so that the penalty has no effect on training; only the modality named
    ``image`` is projected and penalised, the others enter in their raw width.

    Args:
        data: training data.
        embedding_dim: size of the ID vectors and of every layer's output.
        content_dim: width of the projected features and of q; by default that of the ID vectors, 256 in the reference.
        n_layers: layers of each branch.
        reg_weight: weight of the mean squares of the ID vectors of the batch and of q.
        first_modality_weight: share of the first of two modalities in name order (image before text); 0 or 1 leaves one
            of them out.
        modality_weights: relative weights of more than two modalities by name, 1 where none is given; 0 leaves one out.
        as_reference: reproduce the numbers of the reference implementation.
    """

    content_needed_because: ClassVar[str] = "without any modality a learned item table takes the place of the features"
    unseen_items_by: ClassVar[UnseenItems] = UnseenItems.CONTENT_VECTORS
    id_embedding: Tensor
    weights: Tensor

    def __init__(
        self,
        data: RecData,
        *,
        embedding_dim: int = 64,
        content_dim: int | None = None,
        n_layers: int = 3,
        reg_weight: float = 1e-3,
        first_modality_weight: float = 0.5,
        modality_weights: Mapping[str, float] | None = None,
        as_reference: bool = False,
    ) -> None:
        super().__init__()
        at_least(1, embedding_dim=embedding_dim, n_layers=n_layers)
        nonnegative(reg_weight=reg_weight)
        data, weights = weighed(data, first_modality_weight, modality_weights)
        self.register_buffer("weights", torch.tensor(list(weights.values()) or [1.0]).view(-1, 1, 1), persistent=False)
        self.n_users, self.reg_weight = data.n_users, reg_weight
        # Deviations of the reference: its width, constant tables, and only images are projected and penalised.
        content_dim = (256 if as_reference else embedding_dim) if content_dim is None else content_dim
        at_least(1, content_dim=content_dim)
        trained, projected = not as_reference, {"image"} if as_reference else set(data.features)
        ids = started(torch.empty(data.n_users + data.n_items, embedding_dim), xavier_normal)
        set_table(self, "id_embedding", ids, trained=trained)
        branches, self.penalised = dict[str, Branch](), list[Tower]()
        for name, features in data.features.items():
            width = content_dim if name in projected else features.shape[1]
            layer = linear(features.shape[1], content_dim) if name in projected else nn.Identity()
            tower = Tower(data.n_users, MappedFeatures(features, layer), width, trained=trained)
            branches[name] = Branch(tower, [width] + [embedding_dim] * n_layers)
            self.penalised += [tower] if name in projected else []
        if not data.features:
            tower = Tower(data.n_users, FreeItems(data.n_items, content_dim), content_dim, trained=trained)
            branches["free"] = Branch(tower, [content_dim] + [embedding_dim] * n_layers)
            self.penalised += [tower]
        self.branches = nn.ModuleDict(branches)
        self.mean = NeighbourMean(data.edge_index, data.n_users, data.n_items)

    def item_tables(self) -> list[Tensor]:
        """The ID vectors of items, whose table begins with the users, and a learned table in place of features."""
        return [self.id_embedding[self.n_users :], *super().item_tables()]

    def forward(self) -> tuple[Tensor, Tensor]:
        """Weighed mean of the branches, split into users and items."""
        outputs = [branch(self.id_embedding, self.mean) for branch in self.branches.values()]
        z = (self.weights * torch.stack(outputs)).mean(0)
        return halves(z, self.n_users)

    def loss(self, batch: Triplets) -> dict[str, Tensor]:
        """BPR, and mean squares of the ID vectors of the batch and of all users' content vectors."""
        final = batch.rows(*self())
        ids = triplet_mean_squares(*(self.id_embedding[rows] for rows in batch.nodes(self.n_users)))
        preferences = mean_squares(*(tower.preference for tower in self.penalised))
        return {"bpr": vector_bpr(*final), "reg": self.reg_weight * (ids + preferences)}


class MessageLayer(nn.Module):
    r"""Message from the neighbours beside the node itself, :math:`x' = \phi(G [\phi(M x K); \phi(W x) + e] + c)`.

    :math:`\phi` is the leaky ReLU, M the mean over neighbours and e the ID vectors that all branches share.
    """

    def __init__(self, width: int, dim: int, *, first: bool) -> None:
        super().__init__()
        self.message = table(width, width, xavier_normal)
        self.own = linear(width, dim, xavier_normal)
        self.combine = linear(width + dim, dim, xavier_normal if first else None)

    def forward(self, x: Tensor, ids: Tensor, mean: NeighbourMean) -> Tensor:
        """``(n, width)`` to ``(n, dim)``."""
        message = functional.leaky_relu(mean(x @ self.message))
        own = functional.leaky_relu(self.own(x)) + ids
        return functional.leaky_relu(self.combine(torch.cat([message, own], dim=1)))


class Branch(nn.Module):
    """The tower of one modality and its layers."""

    def __init__(self, tower: Tower, widths: list[int]) -> None:
        super().__init__()
        self.tower = tower
        self.layers = nn.ModuleList(MessageLayer(*w, first=not layer) for layer, w in enumerate(pairwise(widths)))

    def forward(self, ids: Tensor, mean: NeighbourMean) -> Tensor:
        """Users and items after the last layer, ``(n_users + n_items, dim)``."""
        x = self.tower()
        for layer in self.layers:
            x = layer(x, ids, mean)
        return x
