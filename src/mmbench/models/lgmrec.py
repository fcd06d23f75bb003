"""LGMRec: Guo et al., "LGMRec: Local and Global Graph Learning for Multimodal Recommendation", AAAI 2024."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from itertools import combinations
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from mmbench.data.recdata import RecData
from mmbench.messages import Refusal
from mmbench.nn.content_weights import weighed
from mmbench.nn.distinct import distinct, occurrences
from mmbench.nn.hyperparameters import at_least, nonnegative, one_of
from mmbench.nn.initialisation import table, xavier_uniform
from mmbench.nn.losses import nce_of_rows, norm_penalty, vector_bpr
from mmbench.nn.noise import Noise
from mmbench.nn.propagation import halves, propagate, propagated_nodes, repeated
from mmbench.nn.recommender import FactorModel, Triplets, UnseenItems
from mmbench.nn.sparse import ConstantMap, interaction_matrix
from mmbench.nn.user_item_graph import set_adjacency

#: Of the memberships and of the contrast.
TEMPERATURE = 0.2
BACKBONES = ("lightgcn", "mf")
Pair = tuple[Tensor, Tensor]


class LGMRec(FactorModel):
    r"""Local vectors from behaviour and modalities plus global ones through learned hyperedges.

    .. math:: z = e + c\,\Big(\sum_m a_m \hat f_m + \alpha\,\widehat{\sum_m a_m y_m}\Big)

    :math:`e` are the vectors of the backbone, :math:`f_m = S^L [D^{-1} R\,x_m; x_m]` the projected content
    :math:`x_m = X_m T_m` of items and of a user's items after L propagations (an item without an interaction keeps
    :math:`x_m`), hats scale rows to length one. An item belongs to the hyperedges of modality m by
    :math:`\mathrm{softmax}((X_m V_m + g) / 0.2)` with Gumbel noise g, a user by the sum over the items of the same
    logits; :math:`y_m` is what the hyperedges pass on from e, see :func:`through_hyperedges`. The global vectors of
    every two modalities are contrasted with the weight :math:`\lambda_c\,c\,a_m a_n`; with one modality there is
    nothing to contrast, and without any the model is its backbone. Raw features are frozen.

    ``as_reference`` differs from the default in three ways: it draws Gumbel noise in evaluation too, so that its scores
    are random; items without an interaction send over hyperedges like any other; and they have no content left once it
    is propagated.

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
        cl_weight: weight of the contrast, a sum over the batch, :math:`\lambda_c`.
        reg_weight: weight of the un-squared norms of the final batch rows.
        content_weight: weight of content, c; 0 leaves it out.
        first_modality_weight: share of the first of two modalities in name order (image before text); 0 or 1 leaves one
            of them out.
        modality_weights: relative weights of more than two modalities by name, 1 where none is given; 0 leaves one out.
        as_reference: reproduce the numbers of the reference implementation.
    """

    content_ignored_by: ClassVar[str] = "content_weight"
    read_by_content: ClassVar[frozenset[str]] = frozenset({"n_hyper_layers", "n_hyperedges", "keep_rate", "alpha"})
    unseen_items_by: ClassVar[UnseenItems] = UnseenItems.CONTENT_AND_IDS
    adjacency: Tensor
    seen: Tensor
    unseen_nodes: Tensor
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
        content_weight: float = 1.0,
        first_modality_weight: float = 0.5,
        modality_weights: Mapping[str, float] | None = None,
        as_reference: bool = False,
    ) -> None:
        super().__init__()
        at_least(1, embedding_dim=embedding_dim, n_hyper_layers=n_hyper_layers)
        at_least(0, n_ui_layers=n_ui_layers, n_content_layers=n_content_layers, n_hyperedges=n_hyperedges)
        nonnegative(alpha=alpha, cl_weight=cl_weight, reg_weight=reg_weight)
        if not 0.0 < keep_rate <= 1.0:
            raise Refusal("keep_rate={keep_rate} must be more than 0 and at most 1", keep_rate=keep_rate)
        data, self.weights = weighed(data, first_modality_weight, modality_weights, content_weight=content_weight)
        self.content_weight = content_weight
        self.n_users = data.n_users
        self.n_ui_layers = n_ui_layers if one_of("backbone", backbone, BACKBONES) == "lightgcn" else 0
        self.n_content_layers, self.n_hyper_layers, self.dropout = n_content_layers, n_hyper_layers, 1.0 - keep_rate
        self.alpha, self.cl_weight, self.reg_weight = alpha, cl_weight, reg_weight
        # The deviations of the reference: noise in evaluation, and unseen items that send and have no content left.
        self.ranks_with_noise, seen = as_reference, torch.ones_like(data.warm) if as_reference else data.warm
        self.user_embedding = table(data.n_users, embedding_dim, xavier_uniform)
        self.item_embedding = table(data.n_items, embedding_dim, xavier_uniform)
        widths = {name: features.shape[1] for name, features in data.features.items()}
        self.projection, self.hyperedges = (
            nn.ParameterDict({name: table(width, columns, xavier_uniform) for name, width in widths.items()})
            for columns in (embedding_dim, n_hyperedges)
        )
        for name, features in data.features.items():
            self.register_buffer(f"content_{name}", features.to(torch.get_default_dtype()), persistent=False)
        draws = [f"{draw}_{kind}" for draw in ("gumbel", "drop") for kind in ("item", "user")]
        self.noise = Noise(*(f"{draw}_{name}" for name in data.features for draw in draws))
        set_adjacency(self, data, eps=1e-7)
        history = interaction_matrix(data.edge_index, data.n_users, data.n_items)
        self.histories = ConstantMap(history, interaction_matrix(data.edge_index.flip(0), data.n_items, data.n_users))
        self.register_buffer("seen", torch.nonzero(seen).squeeze(1), persistent=False)
        unseen_nodes = data.n_users + torch.nonzero(~seen).squeeze(1)
        self.register_buffer("unseen_nodes", unseen_nodes, persistent=False)
        degree = torch.bincount(data.edge_index[0], minlength=data.n_users).to(self.adjacency.dtype)
        self.register_buffer("inverse_degree", (degree + 1e-7).reciprocal().unsqueeze(1), persistent=False)

    def forward(self) -> Pair:
        """Final vectors of users and of items."""
        nodes, _ = self._parts()
        return halves(nodes, self.n_users)

    def loss(self, batch: Triplets) -> dict[str, Tensor]:
        """BPR, norms and the contrast between modalities."""
        nodes, through = self._parts()
        rows = batch.rows(*halves(nodes, self.n_users))
        terms = {"bpr": vector_bpr(*rows), "reg": self.reg_weight * norm_penalty(*rows)}
        for first, second in combinations(through, 2):
            weight = self.cl_weight * self.content_weight * self.weights[first] * self.weights[second]
            for kind, row in enumerate((batch.users, batch.positives)):
                anchors, others = through[first][kind], through[second][kind]
                candidates = others[self.seen] if kind else others  # nothing says that an unseen item is another one
                contrast = contrast_with_all(anchors, others, row, candidates)
                terms[f"contrast_{('users', 'items')[kind]}_{first}_{second}"] = weight * contrast
        return terms

    def _parts(self) -> tuple[Tensor, dict[str, Pair]]:
        """Final vectors of all nodes, and the global users and items of each modality."""
        nodes = propagated_nodes(self.adjacency, self.user_embedding, self.item_embedding, self.n_ui_layers)
        through = {name: self._global(name, nodes[self.n_users :]) for name in self.projection}
        for name in self.projection:
            weight = self.content_weight * self.weights[name]
            nodes = nodes + weight * functional.normalize(self._local(name), dim=1, eps=1e-12)
        if through:
            total = torch.stack([self.weights[name] * torch.cat(pair) for name, pair in through.items()]).sum(0)
            nodes = nodes + self.content_weight * self.alpha * functional.normalize(total, dim=1, eps=1e-12)
        return nodes, through

    def _local(self, name: str) -> Tensor:
        """Content of a modality on all nodes after propagation, ``(n_users + n_items, d)``."""
        items = self.get_buffer(f"content_{name}") @ self.projection[name]
        nodes = torch.cat([self.inverse_degree * self.histories(items), items])
        local = repeated(partial(propagate, self.adjacency), nodes, self.n_content_layers)
        return local.index_copy(0, self.unseen_nodes, nodes[self.unseen_nodes])

    def _global(self, name: str, items: Tensor) -> Pair:
        """Users and items through the hyperedges of a modality."""
        of_items = self.get_buffer(f"content_{name}") @ self.hyperedges[name]
        logits = {"item": of_items, "user": self.histories(of_items)}
        parts = {}
        for kind, logit in logits.items():
            if self.training or self.ranks_with_noise:
                logit = self.noise.add_gumbel(f"gumbel_{kind}_{name}", logit)
            parts[kind] = self.noise.drop(
                f"drop_{kind}_{name}", torch.softmax(logit / TEMPERATURE, dim=1), self.dropout
            )
        return through_hyperedges(parts["user"], parts["item"], items, self.seen, self.n_hyper_layers)


def through_hyperedges(of_users: Tensor, of_items: Tensor, items: Tensor, seen: Tensor, n_layers: int) -> Pair:
    r"""Hypergraph convolution from seen items to items and users.

    .. math:: x^{l+1} = H_i \bar H_i^\top x^l, \quad y^{l+1} = H_u \bar H_i^\top x^l

    with the rows of seen items alone in :math:`\bar H_i`: an unseen one listens to the hyperedges and says nothing.

    Args:
        of_users: memberships :math:`H_u`, ``(n_users, n_edges)``.
        of_items: memberships :math:`H_i`, ``(n_items, n_edges)``.
        items: :math:`x^0`, ``(n_items, d)``.
        seen: items with a training interaction, ``(n_seen,)``.
        n_layers: at least one.

    Returns:
        Users ``(n_users, d)`` and items ``(n_items, d)`` of the last layer.
    """
    senders = of_items if len(seen) == len(items) else of_items[seen]
    for _ in range(n_layers):
        edges = senders.T @ (items if senders is of_items else items[seen])
        items = of_items @ edges
    return of_users @ edges, items


def contrast_with_all(anchors: Tensor, others: Tensor, rows: Tensor, candidates: Tensor) -> Tensor:
    """Sum over chosen rows of :func:`~mmbench.nn.losses.nce_of_rows`.

    A row that is given twice counts twice and is computed once.

    Args:
        anchors: one view, ``(n, d)``.
        others: the other view, ``(n, d)``.
        rows: the chosen rows, ``(B,)``.
        candidates: rows of the other view to tell them from, ``(n_candidates, d)``.
    """
    chosen, place = distinct(rows)
    times = occurrences(place, len(chosen))
    return (times * nce_of_rows(anchors[chosen], others[chosen], candidates, TEMPERATURE)).sum()
