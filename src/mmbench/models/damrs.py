"""DA-MRS: Xv et al., "Improving Multi-modal Recommender Systems by Denoising and Aligning ...", KDD 2024."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from mmbench.data.recdata import RecData
from mmbench.models.base import FactorModel, Triplets
from mmbench.nn.denoised import companion_graph, consistent_graphs
from mmbench.nn.discrimination import bernoulli_divergence, neighbour_discrimination, positives_of
from mmbench.nn.graph import DirectedGraph
from mmbench.nn.init import table, xavier_uniform
from mmbench.nn.smoothing import propagated, repeated, set_adjacency

#: Of the softmax of neighbour discrimination; the authors do not tune it.
TEMPERATURE = 0.2


class DAMRS(FactorModel):
    r"""LightGCN plus items smoothed over denoised graphs, :math:`z_i = \bar e_i + \frac{1}{V}\sum_v (G_v^L Q)_i`.

    Each modality is a view whose graph joins an item to its nearest neighbours, but only where the cosines of every
    modality are at least their mean; one more view joins items with many common users. The loss is

    .. math:: -\frac{1}{B}\sum_b \left[w^+ \log\sigma(x) + w^- \log\sigma(-x)\right] + \lambda_n \mathrm{ND}
              + \lambda_k \mathrm{KL}, \quad x = \bar u^\top (z_i - z_j)

    :math:`w^\pm` say how far the views agree that the positive is liked and the negative perhaps too. ND pulls an item
    to its neighbours of all views and of each, KL aligns what :math:`\bar e` and the views say of users. An absent
    modality drops out of the masks, means and products; the variance of one view is 0. Without any modality the only
    view is that of common users. It reproduces the numbers of the reference, which crashes with one modality, as it is.

    Args:
        data: training data.
        embedding_dim: size of the user and item vectors.
        n_ui_layers: propagation layers over users and items.
        n_layers: propagation layers over each item graph, L.
        k: neighbours per item at most, itself included.
        n_companions: items with the most common users that an item is joined to.
        n_positives: neighbours of each kind in ND; at most half of all items are taken.
        kl_weight: weight of the alignment.
        neighbor_weight: weight of neighbour discrimination.
    """

    adjacency: Tensor

    def __init__(
        self,
        data: RecData,
        *,
        embedding_dim: int = 64,
        n_ui_layers: int = 2,
        n_layers: int = 1,
        k: int = 10,
        n_companions: int = 2,
        n_positives: int = 10,
        kl_weight: float = 1.0,
        neighbor_weight: float = 1e-3,
    ) -> None:
        super().__init__()
        self.n_ui_layers, self.n_layers = n_ui_layers, n_layers
        self.kl_weight, self.neighbor_weight = kl_weight, neighbor_weight
        self.n_positives = min(n_positives, data.n_items // 2)
        self.user_embedding = table(data.n_users, embedding_dim, xavier_uniform)
        self.item_embedding = table(data.n_items, embedding_dim, xavier_uniform)
        set_adjacency(self, data, eps=1e-7)
        consistent = consistent_graphs(data.features, data.present, k)
        graphs = {f"content_{name}": graph for name, graph in consistent.items()}
        graphs["companions"] = companion_graph(data.edge_index, data.n_users, data.n_items, n_companions)
        self.item_graphs = nn.ModuleDict(
            {name: DirectedGraph(graph.edge_index, graph.weights, data.n_items) for name, graph in graphs.items()}
        )

    def _propagated(self) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Users ``(n_users, d)``, items ``(n_items, d)`` and the items of each view ``(n_items, d)``."""
        users, items = propagated(self.adjacency, self.user_embedding, self.item_embedding, self.n_ui_layers)
        graphs = self.item_graphs.items()
        return users, items, {name: repeated(graph, self.item_embedding, self.n_layers) for name, graph in graphs}

    def forward(self) -> tuple[Tensor, Tensor]:
        """Propagated users, and items plus the mean of the views."""
        users, items, views = self._propagated()
        return users, items + torch.stack(list(views.values())).mean(0)

    @torch.no_grad()
    def _confidence(self, users: Tensor, units: list[Tensor], batch: Triplets) -> tuple[Tensor, Tensor]:
        """Weights of the positives as liked and of the negatives as liked after all, each ``(B,)``."""
        user = users[batch.users]
        of_positive = torch.stack([torch.sigmoid((user * unit[batch.positives]).sum(1)) for unit in units])
        of_negative = torch.stack([torch.sigmoid((user * unit[batch.negatives]).sum(1)) for unit in units])
        mean, largest, threshold = of_positive.mean(0), of_positive.amax(0), of_negative.mean()
        variance = (of_positive - mean).square().sum(0) / max(1, len(units) - 1)
        liked = (mean * torch.exp(-2.0 * variance)).clamp(0.0, 1.0)
        return liked, ((largest - threshold) * (mean < threshold)).clamp(0.0, 1.0)

    def loss(self, batch: Triplets) -> dict[str, Tensor]:
        """Weighted BPR, neighbour discrimination of each view, and alignment (SPEC B §6)."""
        users, items, views = self._propagated()
        smoothed = torch.stack(list(views.values())).mean(0)
        final = items + smoothed
        units = {name: functional.normalize(view, dim=1, eps=1e-12) for name, view in views.items()}
        liked, disliked = self._confidence(users, list(units.values()), batch)
        x = (users[batch.users] * (final[batch.positives] - final[batch.negatives])).sum(1)
        terms = {"bpr": -(liked * functional.logsigmoid(x) + disliked * functional.logsigmoid(-x)).mean()}

        rows = torch.unique(torch.cat([batch.positives, batch.negatives]))
        lists = positives_of(list(units.values()), rows, self.n_positives)
        for (name, unit), (shared, own) in zip(units.items(), lists, strict=True):
            value = neighbour_discrimination(unit, rows, shared, own, TEMPERATURE)
            terms[f"neighbours_{name}"] = self.neighbor_weight / len(units) * value

        user = users[torch.unique(batch.users)]
        said = [user @ functional.normalize(table[rows], dim=1, eps=1e-12).T for table in (items, smoothed)]
        terms["kl"] = self.kl_weight * bernoulli_divergence(*said)
        return terms
