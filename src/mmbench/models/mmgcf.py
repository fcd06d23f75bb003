"""MMGCF: Spillo et al., "MMGCF: Multimodal Graph Collaborative Filtering for Recommendation ...", UMAP 2026."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from mmbench.data.recdata import RecData
from mmbench.nn.content_features import on_unique_rows, projected_content
from mmbench.nn.content_weights import weighed
from mmbench.nn.hyperparameters import at_least, nonnegative, one_of, rate
from mmbench.nn.initialisation import linear, table, xavier_uniform
from mmbench.nn.losses import half_squares, vector_bpr
from mmbench.nn.propagation import propagated
from mmbench.nn.recommender import FactorModel, Triplets, UnseenItems
from mmbench.nn.sampled_graph import SampledGraph

FUSIONS = ("mean", "sum", "concat")
WEIGHTINGS = ("equal", "alpha", "normalized")


class MMGCF(FactorModel):
    r"""LightGCN on a pruned graph whose item vectors are fused with projected features, :math:`z_i = F(\bar e_i, f_i)`.

    With the fusion F (weighted mean, weighted sum, or a linear map of the weighted concatenation) and k modalities
    :math:`f^m` of rows of length one:

    - ``equal``: :math:`F(\bar e, F(f^1, \dots, f^k))`
    - ``alpha``: :math:`F(\sigma(a)\,\bar e, (1 - \sigma(a))\,f^1, \dots, (1 - \sigma(a))\,f^k)` with a learned number a
    - ``normalized``: :math:`F(k\,\hat e, \hat f^1, \dots, \hat f^k)`, vectors of length one

    Beside ID vectors of weight 1, :math:`f^m` weighs :math:`c\,a_m`; in ``equal`` it weighs :math:`a_m` among the
    modalities, and what they come to weighs c.

    Each epoch trains on a sample of the edges that prefers those between nodes of low degree; scores use all edges.
    Without any modality there is nothing to fuse and the model is LightGCN on the pruned graph. The reference projects
    features as they are; ``as_reference`` does. It has layers that the chosen weighting does not use.

    Args:
        data: training data.
        embedding_dim: size of the user and item vectors and of the projected features.
        n_layers: propagation layers over users and items.
        fusion: ``mean``, ``sum`` or ``concat``.
        weighting: ``equal``, ``alpha`` or ``normalized``.
        dropout: fraction of the edges left out of each epoch.
        reg_weight: weight of the squared norms of the ego rows.
        content_weight: weight of content, c; 0 leaves it out.
        first_modality_weight: share of the first of two modalities in name order (image before text); 0 or 1 leaves one
            of them out.
        modality_weights: relative weights of more than two modalities by name, 1 where none is given; 0 leaves one out.
        as_reference: reproduce the numbers of the reference implementation.
    """

    content_ignored_by: ClassVar[str] = "content_weight"
    read_by_content: ClassVar[frozenset[str]] = frozenset({"fusion", "weighting"})
    unseen_items_by: ClassVar[UnseenItems] = UnseenItems.CONTENT_PART

    def __init__(
        self,
        data: RecData,
        *,
        embedding_dim: int = 64,
        n_layers: int = 2,
        fusion: str = "mean",
        weighting: str = "equal",
        dropout: float = 0.5,
        reg_weight: float = 1e-3,
        content_weight: float = 1.0,
        first_modality_weight: float = 0.5,
        modality_weights: Mapping[str, float] | None = None,
        as_reference: bool = False,
    ) -> None:
        super().__init__()
        at_least(1, embedding_dim=embedding_dim)
        at_least(0, n_layers=n_layers)
        nonnegative(reg_weight=reg_weight)
        data, weights = weighed(data, first_modality_weight, modality_weights, content_weight=content_weight)
        self.weights, self.content_weight = list(weights.values()), content_weight
        self.weighting = one_of("weighting", weighting, WEIGHTINGS)
        self.n_layers, self.reg_weight = n_layers, reg_weight
        self.user_embedding = table(data.n_users, embedding_dim, xavier_uniform)
        self.item_embedding = table(data.n_items, embedding_dim, xavier_uniform)
        self.graph = SampledGraph(data.edge_index, data.n_users, data.n_items, 1.0 - rate("dropout", dropout))
        self.content = projected_content(data, embedding_dim, unit=not as_reference)
        n_modalities = len(self.content)
        self.alpha = nn.Parameter(torch.zeros(())) if self.content and weighting == "alpha" else None
        self.fuse_content = Combine(fusion, n_modalities if weighting == "equal" else 1, embedding_dim)
        n_vectors = 1 + (min(n_modalities, 1) if weighting == "equal" else n_modalities)
        self.fuse = Combine(fusion, n_vectors, embedding_dim)

    def begin_epoch(self) -> None:
        """Draw the edges of this epoch."""
        self.graph.draw()

    def forward(self) -> tuple[Tensor, Tensor]:
        """Propagated users and fused items."""
        users, items = self._propagated()
        return users, self._fused(items, slice(None))

    def loss(self, batch: Triplets) -> dict[str, Tensor]:
        """BPR on fused rows, and squared norms of the ego rows; only items of the batch are fused."""
        users, items = self._propagated()
        positive, negative = on_unique_rows(lambda rows: self._fused(items, rows), batch.positives, batch.negatives)
        ego = batch.rows(self.user_embedding, self.item_embedding)
        return {
            "bpr": vector_bpr(users[batch.users], positive, negative),
            "reg": self.reg_weight * half_squares(*ego) / len(batch.users),
        }

    def _propagated(self) -> tuple[Tensor, Tensor]:
        """LightGCN's vectors, ``(n_users, d)`` and ``(n_items, d)``."""
        return propagated(self.graph(), self.user_embedding, self.item_embedding, self.n_layers)

    def _fused(self, items: Tensor, rows: Tensor | slice) -> Tensor:
        """Final vectors of the chosen items from all propagated ones: ``(n_rows, d)``."""
        ids, content = items[rows], [tower(rows) for tower in self.content.values()]
        if not content:
            return ids
        if self.weighting == "equal":
            return self.fuse([ids, self.fuse_content(content, self.weights)], [1.0, self.content_weight])
        weights = [1.0, *(self.content_weight * weight for weight in self.weights)]
        if self.alpha is not None:
            share = torch.sigmoid(self.alpha)
            return self.fuse([share * ids, *((1.0 - share) * vectors for vectors in content)], weights)
        ids, *content = (functional.normalize(vectors, dim=1, eps=1e-12) for vectors in (ids, *content))
        return self.fuse([len(content) * ids, *content], weights)


class Combine(nn.Module):
    """Mean, sum, or a linear map of the concatenation of weighed vectors; one vector alone stays as it is.

    Args:
        mode: ``mean``, ``sum`` or ``concat``.
        n_inputs: number of vectors.
        dim: their size, and the size of the result.
    """

    def __init__(self, mode: str, n_inputs: int, dim: int) -> None:
        super().__init__()
        self.mode = one_of("fusion", mode, FUSIONS)
        self.layer = linear(n_inputs * dim, dim) if mode == "concat" and n_inputs > 1 else None

    def forward(self, inputs: Sequence[Tensor], weights: Sequence[float] | None = None) -> Tensor:
        """``n_inputs`` tensors ``(n, dim)``, each with its weight, 1 where None, to one ``(n, dim)``."""
        if len(inputs) == 1:
            return inputs[0]
        weights = weights or [1.0] * len(inputs)
        weighed_inputs = [weight * vectors for vectors, weight in zip(inputs, weights, strict=True)]
        if self.layer is not None:
            return self.layer(torch.cat(weighed_inputs, dim=1))
        total = torch.stack(weighed_inputs).sum(0)
        return total / sum(weights) if self.mode == "mean" else total
