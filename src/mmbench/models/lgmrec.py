"""LGMRec: Guo et al., "LGMRec: Local and Global Graph Learning for Multimodal Recommendation", AAAI 2024."""

from __future__ import annotations

from functools import partial
from itertools import combinations

import torch
from torch import Tensor, nn
from torch.nn import functional

from mmbench.data.recdata import RecData
from mmbench.messages import Refusal
from mmbench.models.base import FactorModel, Triplets
from mmbench.nn.checks import one_of
from mmbench.nn.contrast import nce_with_all
from mmbench.nn.graph import ItemsToUsers, propagate
from mmbench.nn.hypergraph import memberships, through_hyperedges
from mmbench.nn.init import table, xavier_uniform
from mmbench.nn.interactions import interaction_matrix
from mmbench.nn.losses import norm_penalty, vector_bpr
from mmbench.nn.noise import Noise
from mmbench.nn.smoothing import halves, propagated_nodes, repeated, set_adjacency

TEMPERATURE = 0.2
BACKBONES = ("lightgcn", "mf")
Pair = tuple[Tensor, Tensor]


class LGMRec(FactorModel):
    r"""Local vectors from behaviour and modalities plus global ones through learned hyperedges.

    .. math:: z = e + \sum_m \hat f_m + \alpha\,\widehat{\sum_m y_m}

    :math:`e` are the vectors of the backbone, :math:`f_m = S^L [D^{-1} R\,x_m; x_m]` the projected content
    :math:`x_m = X_m T_m` of items and of a user's items after L propagations, hats scale rows to length one. An item
    belongs to the hyperedges of modality m by :math:`\mathrm{softmax}((X_m V_m + g) / 0.2)` with Gumbel noise g, a user
    by the sum over the items of the same logits; :math:`y_m` is what the hyperedges pass on of e. The global vectors of
    every two modalities are contrasted; with one modality there is nothing to contrast, and without any the model is
    its backbone. Raw features are frozen.

    ``as_reference`` differs from the default in one way: it draws Gumbel noise in evaluation too, so that its scores
    are random.

    Args:
        data: training data.
        embedding_dim: size of all vectors.
        backbone: ``lightgcn`` or ``mf``.
        n_ui_layers: propagation layers over users and items.
        n_content_layers: propagation layers of content, L.
        n_hyper_layers: layers over hyperedges, at least one.
        n_hyperedges: hyperedges per modality.
        keep_rate: share of memberships that dropout keeps in training.
        alpha: weight of the global vectors.
        cl_weight: weight of the contrast, a sum over the batch.
        reg_weight: weight of the un-squared norms of the final batch rows.
        as_reference: reproduce the numbers of the reference implementation.
    """

    adjacency: Tensor
    inverse_degree: Tensor

    def __init__(
        self,
        data: RecData,
        *,
        embedding_dim: int = 64,
        backbone: str = "lightgcn",
        n_ui_layers: int = 2,
        n_content_layers: int = 2,
        n_hyper_layers: int = 1,
        n_hyperedges: int = 4,
        keep_rate: float = 0.5,
        alpha: float = 0.3,
        cl_weight: float = 1e-4,
        reg_weight: float = 1e-6,
        as_reference: bool = False,
    ) -> None:
        super().__init__()
        if not 0.0 < keep_rate <= 1.0:
            raise Refusal("keep_rate={keep_rate} must be more than 0 and at most 1", keep_rate=keep_rate)
        if n_hyper_layers < 1:
            raise Refusal("{name}={value} must be at least 1", name="n_hyper_layers", value=n_hyper_layers)
        self.n_users = data.n_users
        self.n_ui_layers = n_ui_layers if one_of("backbone", backbone, BACKBONES) == "lightgcn" else 0
        self.n_content_layers, self.n_hyper_layers, self.dropout = n_content_layers, n_hyper_layers, 1.0 - keep_rate
        self.alpha, self.cl_weight, self.reg_weight, self.as_reference = alpha, cl_weight, reg_weight, as_reference
        self.user_embedding = table(data.n_users, embedding_dim, xavier_uniform)
        self.item_embedding = table(data.n_items, embedding_dim, xavier_uniform)
        self.projection, self.hyperedges = nn.ParameterDict(), nn.ParameterDict()
        for name, features in data.features.items():
            self.register_buffer(f"content_{name}", features.to(torch.get_default_dtype()), persistent=False)
            self.projection[name] = table(features.shape[1], embedding_dim, xavier_uniform)
            self.hyperedges[name] = table(features.shape[1], n_hyperedges, xavier_uniform)
        draws = [f"{draw}_{kind}" for draw in ("gumbel", "drop") for kind in ("item", "user")]
        self.noise = Noise(*(f"{draw}_{name}" for name in data.features for draw in draws))
        set_adjacency(self, data, eps=1e-7)
        history = interaction_matrix(data.edge_index, data.n_users, data.n_items)
        self.histories = ItemsToUsers(history, interaction_matrix(data.edge_index.flip(0), data.n_items, data.n_users))
        degree = torch.bincount(data.edge_index[0], minlength=data.n_users).to(self.adjacency.dtype)
        self.register_buffer("inverse_degree", (degree + 1e-7).reciprocal().unsqueeze(1), persistent=False)

    def _local(self, name: str) -> Tensor:
        """Content of a modality on all nodes after propagation, ``(n_users + n_items, d)``."""
        items = self.get_buffer(f"content_{name}") @ self.projection[name]
        nodes = torch.cat([self.inverse_degree * self.histories(items), items])
        return repeated(partial(propagate, self.adjacency), nodes, self.n_content_layers)

    def _global(self, name: str, items: Tensor) -> Pair:
        """Users and items through the hyperedges of a modality."""
        of_items = self.get_buffer(f"content_{name}") @ self.hyperedges[name]
        logits = {"item": of_items, "user": self.histories(of_items)}
        parts = {}
        for kind, logit in logits.items():
            if self.training or self.as_reference:
                logit = self.noise.add_gumbel(f"gumbel_{kind}_{name}", logit)
            parts[kind] = self.noise.drop(f"drop_{kind}_{name}", memberships(logit, TEMPERATURE), self.dropout)
        return through_hyperedges(parts["user"], parts["item"], items, self.n_hyper_layers)

    def _parts(self) -> tuple[Tensor, dict[str, Pair]]:
        """Final vectors of all nodes, and the global users and items of each modality."""
        nodes = propagated_nodes(self.adjacency, self.user_embedding, self.item_embedding, self.n_ui_layers)
        through = {name: self._global(name, nodes[self.n_users :]) for name in self.projection}
        for name in self.projection:
            nodes = nodes + functional.normalize(self._local(name), dim=1, eps=1e-12)
        if through:
            total = torch.stack([torch.cat(pair) for pair in through.values()]).sum(0)
            nodes = nodes + self.alpha * functional.normalize(total, dim=1, eps=1e-12)
        return nodes, through

    def forward(self) -> Pair:
        """Final vectors of users and of items."""
        nodes, _ = self._parts()
        return halves(nodes, self.n_users)

    def loss(self, batch: Triplets) -> dict[str, Tensor]:
        """BPR, norms and the contrast between modalities (SPEC B §4)."""
        nodes, through = self._parts()
        rows = batch.rows(*halves(nodes, self.n_users))
        terms = {"bpr": vector_bpr(*rows), "reg": self.reg_weight * norm_penalty(*rows)}
        for first, second in combinations(through, 2):
            for kind, row in enumerate((batch.users, batch.positives)):
                anchors, others = through[first][kind], through[second][kind]
                contrast = nce_with_all(anchors, others, row, TEMPERATURE)
                terms[f"contrast_{('users', 'items')[kind]}_{first}_{second}"] = self.cl_weight * contrast
        return terms
