"""PGL: Yu et al., "Mind Individual Information! Principal Graph Learning for Multimedia Recommendation", AAAI 2025."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from mmbench.data.recdata import RecData
from mmbench.models.base import FactorModel, Triplets
from mmbench.nn.checks import one_of, rate
from mmbench.nn.content import fused_item_graph, projected_content
from mmbench.nn.contrast import nce
from mmbench.nn.init import table, xavier_uniform
from mmbench.nn.losses import vector_bpr
from mmbench.nn.noise import Noise
from mmbench.nn.smoothing import propagated, with_neighbours
from mmbench.nn.subgraph import SampledGraph, principal_graph

TEMPERATURE = 0.2
MODES = ("local", "global")
ID_ONLY = "id"


class PGL(FactorModel):
    r"""LightGCN on content alone that trains on a principal sub-graph and ranks on the full graph.

    .. math:: z = \bar x + G^L x, \quad x = [\widehat{W_1 f^1 + b_1}, \dots], \quad G = \sum_m w_m \mathrm{kNN}(f^m)

    Items have no ID vectors: :math:`x` are the projected features of all present modalities side by side, each of
    length one, and users have one table per modality. :math:`\bar x` comes from LightGCN on the sub-graph, which is a
    new sample of the edges every epoch (``local``) or the leading part of the spectrum (``global``). Two dropouts of
    the same final vectors are contrasted. With one modality the vectors are those of that modality alone; without any
    a learned item table of the same width, scaled to length one too, takes their place and there is no item graph.
    Items without content have no edges in the graph of that modality.

    By default raw features are frozen and only their projections are trained. ``as_reference`` trains them too, which
    is all it changes.

    Args:
        data: training data.
        embedding_dim: size of the vectors of each modality, and number of singular values for ``global``.
        mode: ``local`` or ``global``.
        keep: fraction of the edges in a ``local`` sample.
        n_ui_layers: propagation layers over users and items.
        n_layers: propagation layers over the item graph, L.
        k: neighbours per item, itself included.
        first_modality_weight: weight of the first of two modalities in name order (image before text), the other has
            the rest; one modality weighs 1, more than two weigh the same.
        dropout: dropout of the contrasted views.
        reg_weight: weight of the contrast; 0 leaves it out.
        trainable_features: whether the raw features are parameters.
        as_reference: reproduce the numbers of the reference implementation.
    """

    def __init__(
        self,
        data: RecData,
        *,
        embedding_dim: int = 64,
        mode: str = "local",
        keep: float = 0.3,
        n_ui_layers: int = 2,
        n_layers: int = 1,
        k: int = 10,
        first_modality_weight: float = 0.1,
        dropout: float = 0.2,
        reg_weight: float = 0.05,
        trainable_features: bool = False,
        as_reference: bool = False,
    ) -> None:
        super().__init__()
        self.mode, self.n_ui_layers, self.n_layers = one_of("mode", mode, MODES), n_ui_layers, n_layers
        self.dropout, self.reg_weight = rate("dropout", dropout), reg_weight
        self.users = nn.ParameterDict(
            {name: table(data.n_users, embedding_dim, xavier_uniform) for name in data.features or [ID_ONLY]}
        )
        self.content = projected_content(data, embedding_dim, trainable=trainable_features or as_reference)
        self.item_embedding = None if data.features else table(data.n_items, embedding_dim, xavier_uniform)
        self.noise = Noise("user_1", "user_2", "positive_1", "positive_2")
        self.graph = SampledGraph(data.edge_index, data.n_users, data.n_items, keep)
        if mode == "global":
            self.graph.sampled = principal_graph(self.graph.full, data.n_users, embedding_dim)
        self.item_graph = fused_item_graph(data, k, first_modality_weight)

    def begin_epoch(self) -> None:
        """Draw the edges of this epoch."""
        if self.mode == "local":
            self.graph.draw()

    def forward(self) -> tuple[Tensor, Tensor]:
        """User vectors, and item vectors plus their smoothed counterparts, one block of columns per modality."""
        towers = [tower() for tower in self.content.values()] if self.item_embedding is None else [self.item_embedding]
        x = torch.cat([functional.normalize(tower, dim=1, eps=1e-12) for tower in towers], dim=1)
        users, items = propagated(self.graph(), torch.cat(list(self.users.values()), dim=1), x, self.n_ui_layers)
        return users, with_neighbours(items, x, self.item_graph, self.n_layers)

    def loss(self, batch: Triplets) -> dict[str, Tensor]:
        """BPR and the contrast of two dropouts (SPEC B §8)."""
        user, positive, negative = batch.rows(*self())
        terms = {"bpr": vector_bpr(user, positive, negative)}
        if self.reg_weight > 0:
            for name, rows in (("user", user), ("positive", positive)):
                first, second = (self.noise.drop(f"{name}_{view}", rows, self.dropout) for view in (1, 2))
                terms[f"contrast_{name}"] = 0.5 * self.reg_weight * nce(first, second, TEMPERATURE)
        return terms
