"""FREEDOM: Zhou & Shen, "A Tale of Two Graphs: Freezing and Denoising Graph Structures ...", ACM Multimedia 2023."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from mmbench.data.recdata import RecData
from mmbench.nn.content_features import on_unique_rows, projected_content
from mmbench.nn.content_weights import weighed
from mmbench.nn.hyperparameters import at_least, nonnegative, rate
from mmbench.nn.initialisation import table, xavier_uniform
from mmbench.nn.item_graphs import fused_item_graph
from mmbench.nn.kernels import ChosenRows
from mmbench.nn.losses import vector_bpr
from mmbench.nn.propagation import halves, repeated, rows_of_mean
from mmbench.nn.recommender import FactorModel, Triplets, UnseenItems
from mmbench.nn.sampled_graph import SampledGraph


class FREEDOM(FactorModel):
    r"""LightGCN on a pruned graph plus items smoothed over a frozen item graph, :math:`z_i = \bar e_i + c\,(G^L Q)_i`.

    :math:`G = \sum_m s_m \mathrm{kNN}(f^m)` from raw features. Each epoch trains on a sample of the edges that prefers
    those between nodes of low degree; scores use all edges. A second BPR term per modality, of weight
    :math:`c\,\lambda`, ranks the projected features. Items without content have no edges in the graph of that modality;
    without any modality the model is LightGCN on the pruned graph.

    By default raw features are frozen and only their projections are trained. ``as_reference`` trains them too, keeps
    the other terms of a modality whose share of the graph is 0, and lets items without an interaction be neighbours in
    the item graph like any other.

    Args:
        data: training data.
        embedding_dim: size of the user and item vectors and of the projected features.
        n_ui_layers: propagation layers over users and items.
        n_layers: propagation layers over the item graph, L.
        k: neighbours per item, itself included.
        dropout: fraction of the edges left out of each epoch.
        reg_weight: weight of the modality terms, :math:`\lambda`; 0 leaves them out.
        content_weight: weight of content, c; 0 leaves it out.
        first_modality_weight: share of the first of two modalities in name order (image before text); 0 or 1 leaves one
            of them out.
        modality_weights: relative weights of more than two modalities by name, 1 where none is given; 0 leaves one out.
        trainable_features: whether the raw features are parameters.
        as_reference: reproduce the numbers of the reference implementation.
    """

    content_ignored_by: ClassVar[str] = "content_weight"
    read_by_content: ClassVar[frozenset[str]] = frozenset({"k", "reg_weight"})
    unseen_items_by: ClassVar[UnseenItems] = UnseenItems.NEIGHBOURS

    def __init__(
        self,
        data: RecData,
        *,
        embedding_dim: int = 64,
        n_ui_layers: int = 2,
        n_layers: int = 1,
        k: int = 10,
        dropout: float = 0.8,
        reg_weight: float = 1e-3,
        content_weight: float = 1.0,
        first_modality_weight: float = 0.1,
        modality_weights: Mapping[str, float] | None = None,
        trainable_features: bool = False,
        as_reference: bool = False,
    ) -> None:
        super().__init__()
        at_least(1, embedding_dim=embedding_dim)
        at_least(0, n_ui_layers=n_ui_layers, n_layers=n_layers, k=k)
        nonnegative(reg_weight=reg_weight)
        # Deviations of the reference: raw features are trained too, and nothing of a modality is left out.
        trainable_features |= as_reference
        data, _ = weighed(
            data, first_modality_weight, modality_weights, content_weight=content_weight, leave_out=not as_reference
        )
        self.n_ui_layers, self.n_layers, self.reg_weight = n_ui_layers, n_layers, reg_weight
        self.content_weight = content_weight
        self.user_embedding = table(data.n_users, embedding_dim, xavier_uniform)
        self.item_embedding = table(data.n_items, embedding_dim, xavier_uniform)
        self.content = projected_content(data, embedding_dim, trainable=trainable_features)
        self.graph = SampledGraph(data.edge_index, data.n_users, data.n_items, keep=1.0 - rate("dropout", dropout))
        self.item_graph = fused_item_graph(data, k, first_modality_weight, modality_weights, unseen_too=as_reference)

    def begin_epoch(self) -> None:
        """Draw the edges of this epoch."""
        self.graph.draw()

    def forward(self) -> tuple[Tensor, Tensor]:
        """User vectors, and item vectors plus their smoothed counterparts."""
        tables = (self.user_embedding, self.item_embedding)
        return self._final(*(torch.arange(len(table), device=table.device) for table in tables))

    def loss(self, batch: Triplets) -> dict[str, Tensor]:
        """BPR on the final vectors and, per modality, on the projected features."""
        user, items = self._final(batch.users, torch.cat([batch.positives, batch.negatives]))
        terms = {"bpr": vector_bpr(user, *items.chunk(2))}
        if self.reg_weight > 0:
            for name, tower in self.content.items():
                projected = on_unique_rows(tower, batch.positives, batch.negatives, whole=len(self.item_embedding))
                terms[f"bpr_{name}"] = self.content_weight * self.reg_weight * vector_bpr(user, *projected)
        return terms

    def _final(self, users: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
        """Vectors of chosen users, and of chosen items plus their smoothed counterparts."""
        nodes = torch.cat([users, len(self.user_embedding) + items])
        chosen, _ = rows_of_mean(self.graph(), self.user_embedding, self.item_embedding, self.n_ui_layers, nodes)
        of_users, of_items = halves(chosen, len(users))
        if self.item_graph is not None:
            smoothed = repeated(self.item_graph, self.item_embedding, self.n_layers)
            of_items = of_items + self.content_weight * ChosenRows.apply(items, smoothed)
        return of_users, of_items
