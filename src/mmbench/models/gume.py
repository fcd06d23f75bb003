"""GUME: Lin et al., "GUME: Graphs and User Modalities Enhancement for Long-Tail ... Recommendation", CIKM 2024."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import ClassVar

import torch
from torch import Tensor, nn

from mmbench.data.recdata import RecData
from mmbench.nn.content_features import projected_content
from mmbench.nn.content_weights import weighed
from mmbench.nn.distinct import distinct
from mmbench.nn.hyperparameters import at_least, nonnegative, positive
from mmbench.nn.initialisation import linear, table, xavier_uniform
from mmbench.nn.item_graphs import ItemGraph, content_graphs, content_lists, row_sum_normalised
from mmbench.nn.item_neighbours import Neighbours
from mmbench.nn.losses import gap, half_squares, moments
from mmbench.nn.noise import Noise
from mmbench.nn.propagation import halves, rows_of_mean
from mmbench.nn.recommender import FactorModel, Triplets, UnseenItems
from mmbench.nn.sparse import ConstantMap, DirectedGraph, sparse_matrix
from mmbench.nn.user_item_graph import both_directions
from mmbench.nn.views import (
    PurifiedView,
    chosen_by_behaviour,
    common_query,
    nce_in_batch,
    side_losses,
    with_side,
)

#: Places of the neighbour lists that the reference cuts off at once, however long a list is.
CHUNK = 10


class GUME(FactorModel):
    r"""MGCN's sum of behaviour e and side information s over a graph that also links alike items, z = e + c s.

    .. math::
        s = \frac{1}{M + 1} \Big(\sum_m a_m\, \sigma(P_m e) \odot (v_m - k) + k\Big), \quad
        D = \frac{1}{M} \sum_m a_m \frac{1}{L + 1} \sum_{l=0}^{L} \hat A^l [E_m; v_{m,i}]

    :math:`v_m` is the view of modality m: ID vectors gated by content, smoothed over its item graph and summed over
    the items of a user; k weighs what the views have in common
    (:func:`~mmbench.nn.views.chosen_by_behaviour`). The graph :math:`A = [0, R; R^\top, c\,W]` has an edge from each
    item to those that are among its k nearest in every modality; both ends are divided by the roots of row sums, so
    that it is not symmetric. D are extended views: those of the items with learned users E. The loss is

    .. math::
        L = \mathrm{BPR} + \lambda\,\frac{\|z_u\|^2 + \|z_i\|^2 + \|z_j\|^2}{2 B}
        + c\,\Big[\lambda_D \frac{\|D_i\|^2}{2 B} + \lambda_a \sum_{m < n} a_m a_n\,\mathrm{gap}(v_m, v_n)
        + \lambda_c\,[\mathrm{NCE}(s_u, e_u) + \mathrm{NCE}(s_i, e_i)]

    .. math::
        + \lambda_u\,[\mathrm{NCE}(D_u, s_u) + \mathrm{NCE}(s'_u, s''_u) + \mathrm{NCE}(D'_u, D''_u)]\Big]

    with the gap of mean and variance (:func:`~mmbench.nn.losses.gap`) and two perturbations of a row each
    (:meth:`~mmbench.nn.noise.Noise.perturb`). With one modality :math:`k = v_m`, hence :math:`s = v_m / 2`, an item has
    edges to all its neighbours, and neither P nor the attention exists; without any the model is LightGCN. Items
    without content are isolated in the graph of that modality and have no edges to other items; those without an
    interaction take no part in training.

    ``as_reference`` differs from the default in four ways: items without an interaction do take part; the raw features
    are trained too; squared norms are divided by the nominal ``train_batch_size`` instead of the length of the batch;
    and the lists of neighbours of all items, one after the other, are cut into chunks of ten, which are lists of items
    for k = 10 alone (:func:`links_by_chunks`).

    Args:
        data: training data.
        embedding_dim: size of all vectors.
        n_ui_layers: propagation layers over users and items, L.
        n_layers: propagation layers over item graphs.
        k: neighbours per item, itself included.
        reg_weight: weight of the squared norms of the final batch rows, :math:`\lambda`.
        extended_reg_weight: weight of the squared norms of extended views, :math:`\lambda_D`.
        alignment_weight: weight of the gaps, :math:`\lambda_a`.
        cl_weight: weight of the contrast of side information with behaviour, :math:`\lambda_c`.
        temperature: of that contrast.
        user_cl_weight: weight of the contrasts of users' views, :math:`\lambda_u`.
        user_temperature: of those contrasts.
        content_weight: weight of content, c; 0 leaves it out.
        first_modality_weight: share of the first of two modalities in name order (image before text); 0 or 1 leaves one
            of them out.
        modality_weights: relative weights of more than two modalities by name, 1 where none is given; 0 leaves one out.
        trainable_features: whether the raw features are parameters.
        as_reference: reproduce the numbers of the reference implementation.
        train_batch_size: nominal batch size, read with ``as_reference`` only.
    """

    content_ignored_by: ClassVar[str] = "content_weight"
    read_by_content: ClassVar[frozenset[str]] = frozenset(
        {"n_layers", "alignment_weight", "temperature", "user_cl_weight", "user_temperature"}
    )
    unseen_items_by: ClassVar[UnseenItems] = UnseenItems.NEIGHBOURS
    weights: Tensor
    taught: Tensor

    def __init__(
        self,
        data: RecData,
        *,
        embedding_dim: int = 64,
        n_ui_layers: int = 3,
        n_layers: int = 1,
        k: int = 10,
        reg_weight: float = 1e-5,
        extended_reg_weight: float = 0.1,
        alignment_weight: float = 1e-2,
        cl_weight: float = 1e-2,
        temperature: float = 0.2,
        user_cl_weight: float = 1e-2,
        user_temperature: float = 0.1,
        content_weight: float = 1.0,
        first_modality_weight: float = 0.5,
        modality_weights: Mapping[str, float] | None = None,
        trainable_features: bool = False,
        as_reference: bool = False,
        train_batch_size: int = 2048,
    ) -> None:
        super().__init__()
        at_least(1, embedding_dim=embedding_dim, train_batch_size=train_batch_size)
        at_least(0, n_ui_layers=n_ui_layers, n_layers=n_layers, k=k)
        nonnegative(
            reg_weight=reg_weight,
            extended_reg_weight=extended_reg_weight,
            alignment_weight=alignment_weight,
            cl_weight=cl_weight,
            user_cl_weight=user_cl_weight,
        )
        # Deviations of the reference: trained features, the nominal divisor, and items linked by chunks of their lists.
        trainable_features |= as_reference
        self.divisor = train_batch_size if as_reference else None
        links_of = links_by_chunks if as_reference else links_in_every_list
        data, weights = weighed(data, first_modality_weight, modality_weights, content_weight=content_weight)
        self.register_buffer("weights", torch.tensor(list(weights.values())).view(-1, 1, 1), persistent=False)
        self.n_users, self.n_ui_layers, self.content_weight = data.n_users, n_ui_layers, content_weight
        self.reg_weight, self.extended_reg_weight = reg_weight, extended_reg_weight
        self.alignment_weight, self.cl_weight = alignment_weight, cl_weight
        self.temperature, self.user_cl_weight = positive("temperature", temperature), user_cl_weight
        self.user_temperature = positive("user_temperature", user_temperature)
        self.user_embedding = table(data.n_users, embedding_dim, xavier_uniform)
        self.item_embedding = table(data.n_items, embedding_dim, xavier_uniform)
        self.extended_users = nn.ParameterDict(
            {name: table(data.n_users, embedding_dim, xavier_uniform) for name in data.features}
        )
        self.content = projected_content(data, embedding_dim, trainable=trainable_features)
        lists = [content_lists(data, name, k, unseen_too=as_reference) for name in data.features]
        self.graph, self.to_users = linked_graph(data, links_of(lists), content_weight)
        graphs = content_graphs(data, lambda name: k, unseen_too=as_reference)
        self.views = nn.ModuleDict({m: PurifiedView(graph, embedding_dim, n_layers) for m, graph in graphs.items()})
        several = data.features if len(data.features) > 1 else {}
        self.preference = nn.ModuleDict({name: linear(embedding_dim, embedding_dim) for name in several})
        self.query = common_query(embedding_dim) if several else None
        taught = torch.ones_like(data.warm) if as_reference else data.warm
        nodes = torch.cat([torch.arange(data.n_users), data.n_users + torch.nonzero(taught).squeeze(1)])
        self.register_buffer("taught", nodes, persistent=False)
        self.noise = Noise("side_1", "side_2", "extended_1", "extended_2")

    def forward(self) -> tuple[Tensor, Tensor]:
        """Behaviour plus side information of users and of items."""
        behaviour = self._propagated(self.user_embedding, self.item_embedding)
        side = self._side(behaviour, self._views())
        return halves(with_side(behaviour, None if side is None else self.content_weight * side), self.n_users)

    def loss(self, batch: Triplets) -> dict[str, Tensor]:
        """BPR, squared norms, gaps of moments, and contrasts of behaviour, side information and extended views."""
        c, nodes, views = self.content_weight, batch.nodes(self.n_users), self._views()
        users = torch.cat([self.user_embedding, *self.extended_users.values()], dim=1)
        items = torch.cat([self.item_embedding, *(view[self.n_users :] for view in views)], dim=1)
        behaviour, *parts = self._propagated(users, items).chunk(1 + len(self.views), dim=1)
        side = self._side(behaviour, views)
        weighed_side = None if side is None else c * side
        weights = self.reg_weight, c * self.cl_weight
        terms = side_losses(behaviour, weighed_side, nodes, *weights, self.divisor, self.temperature)
        if side is None:
            return terms
        extended = (self.weights * torch.stack(parts)).mean(0)
        positives, divisor = extended[nodes[1]], self.divisor or len(batch.users)
        terms["extended_reg"] = c * self.extended_reg_weight * half_squares(positives) / divisor
        if len(views) > 1:
            known = zip(self.weights.flatten(), (moments(view[self.taught]) for view in views), strict=True)
            gaps = [a * b * gap(one, other) for (a, one), (b, other) in combinations(known, 2)]
            terms["align"] = c * self.alignment_weight * torch.stack(gaps).sum()
        between = nce_in_batch(extended, side, batch.users, self.user_temperature)
        terms["between"] = c * self.user_cl_weight * between
        chosen, place = distinct(batch.users)
        for name, x in (("side", side[chosen]), ("extended", extended[chosen])):
            one, other = (self.noise.perturb(f"{name}_{number}", x) for number in (1, 2))
            terms[f"noise_{name}"] = c * self.user_cl_weight * nce_in_batch(one, other, place, self.user_temperature)
        return terms

    def _propagated(self, users: Tensor, items: Tensor) -> Tensor:
        """Mean of the layers over the graph of users and items, ``(n_users + n_items, d)``."""
        graph = self.graph
        return rows_of_mean(graph.matrix, users, items, self.n_ui_layers, transposed=graph.transposed)[0]

    def _views(self) -> list[Tensor]:
        """The view of each modality of users and items, ``(n_users + n_items, d)`` each."""
        ids = self.item_embedding
        return [view(ids, self.content[name](), self.to_users) for name, view in self.views.items()]

    def _side(self, behaviour: Tensor, views: Sequence[Tensor]) -> Tensor | None:
        """Side information s, ``(n_users + n_items, d)``; None without content."""
        if not views:
            return None
        return chosen_by_behaviour(behaviour, torch.stack(list(views)), self.weights, self.preference, self.query)


def links_in_every_list(lists: Sequence[Neighbours]) -> Tensor:
    """Items and those that are among their neighbours in all lists, themselves left out.

    Args:
        lists: nearest items by each modality.

    Returns:
        ``(2, n_links)``, sorted; without any list there are none.
    """
    pairs = [torch.stack([list_.items.repeat_interleave(list_.k), list_.indices.flatten()]) for list_ in lists]
    if not pairs:
        return torch.empty(2, 0, dtype=torch.int64)
    edges, counts = torch.unique(torch.cat(pairs, dim=1), dim=1, return_counts=True)
    return edges[:, (counts == len(lists)) & (edges[0] != edges[1])]


def links_by_chunks(lists: Sequence[Neighbours]) -> Tensor:
    r"""The reference's :func:`links_in_every_list`, which is the same for lists of ten neighbours of every item.

    All lists of a modality, one after the other, are cut into chunks of ten places. Chunk c of every modality gives the
    links of one item, :math:`\lfloor (10 c + 9) / k \rfloor`, to what all have in common; a later chunk of the same
    item replaces an earlier one, and a remainder is lost.

    Args:
        lists: nearest items by each modality; a place is empty where an item has no list, or one that is shorter
            than others.

    Returns:
        ``(2, n_links)``, sorted.
    """
    if not lists:
        return links_in_every_list(lists)
    k = max(list_.k for list_ in lists)  # a modality that few items have has shorter lists
    owners = torch.arange(lists[0].n_items * k)[CHUNK - 1 :: CHUNK] // k
    last = torch.ones(len(owners), dtype=torch.bool)
    last[:-1] = owners[1:] != owners[:-1]
    chunks = []
    for list_ in lists:
        places = torch.full((list_.n_items, k), -1)
        places[list_.items, : list_.k] = list_.indices
        chunks.append(places.flatten()[: len(owners) * CHUNK].view(-1, CHUNK)[last])
    first, *others = chunks
    common = first >= 0
    for other in others:
        common &= (first.unsqueeze(2) == other.unsqueeze(1)).any(2)
    edges = torch.stack([owners[last].unsqueeze(1).expand_as(first)[common], first[common]])
    return torch.unique(edges[:, edges[0] != edges[1]], dim=1)


def linked_graph(data: RecData, links: Tensor, weight: float) -> tuple[DirectedGraph, ConstantMap]:
    """Users and items with their interactions and links between items, over the roots of the row sums of both ends.

    Args:
        data: training data.
        links: item and linked item, ``(2, n_links)``.
        weight: of a link; an interaction has 1.

    Returns:
        The graph, ``(n_users + n_items, n_users + n_items)``, and its block from items to users.
    """
    edges = torch.stack(both_directions(data.edge_index, data.n_users))
    weights = torch.ones(edges.shape[1] + links.shape[1], dtype=torch.float64)
    weights[edges.shape[1] :] = weight
    n, n_edges = data.n_users + data.n_items, data.edge_index.shape[1]
    whole = row_sum_normalised(ItemGraph(torch.cat([edges, data.n_users + links], dim=1), weights, n))
    values = whole.weights.to(torch.get_default_dtype())  # computed in float64 and rounded once
    users, items = data.edge_index
    shape, of_users = (data.n_users, data.n_items), values[:n_edges]
    to_users = ConstantMap(
        sparse_matrix(users, items, of_users, shape), sparse_matrix(items, users, of_users, shape[::-1])
    )
    return DirectedGraph(whole.edge_index, values, n), to_users
