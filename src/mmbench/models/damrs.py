"""DA-MRS: Xv et al., "Improving Multi-modal Recommender Systems by Denoising and Aligning ...", KDD 2024."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from mmbench.data.recdata import RecData
from mmbench.nn.content_weights import weighed
from mmbench.nn.distinct import average, distinct_once
from mmbench.nn.hyperparameters import at_least, nonnegative
from mmbench.nn.initialisation import table, xavier_uniform
from mmbench.nn.item_graphs import ItemGraph, row_sum_normalised
from mmbench.nn.nearest import RING_SEED, best_of, nearest
from mmbench.nn.propagation import propagated, repeated
from mmbench.nn.recommender import FactorModel, Triplets, UnseenItems
from mmbench.nn.sparse import BLOCK_ENTRIES, DirectedGraph, common_neighbours, interaction_matrix
from mmbench.nn.user_item_graph import set_adjacency

#: Of the softmax of neighbour discrimination; the authors do not tune it.
TEMPERATURE = 0.2
#: Below every cosine: marks a pair that some modality calls unlike.
UNLIKE = -2.0
#: Common users that a pair of items needs to count as going together.
MIN_COMMON = 2


class DAMRS(FactorModel):
    r"""LightGCN plus items smoothed over denoised graphs, :math:`z_i = \bar e_i + \sum_v w_v (G_v^L Q)_i`.

    Each modality is a view whose graph joins an item to its nearest neighbours, but only where the cosines of every
    modality are at least their mean; one more view joins items with many common users. The weights of the views add up
    to one: :math:`w_m \propto c\,a_m`, and 1 for common users. The loss is

    .. math:: -\frac{1}{B}\sum_b \left[w^+ \log\sigma(x) + w^- \log\sigma(-x)\right] + \lambda_n \mathrm{ND}
              + \lambda_k \mathrm{KL}, \quad x = \bar u^\top (z_i - z_j)

    The weight :math:`w^+` is large where the views agree that the positive is liked. :math:`w^-` is not zero where they
    like it on average less than the negatives of the batch are liked, and then large where one view likes it much more
    than that; the pair's own negative is not looked at. Means and variances over views have the weights w, and so has
    ND (:func:`neighbour_discrimination`), which pulls an item to its neighbours in all views and in each. KL
    (:func:`bernoulli_divergence`) aligns the preferences of users by :math:`\bar e` and by the views.
    An absent modality drops out of the masks, means and products; the variance of one view is 0. Without any modality
    the only view is that of common users. Where every item has an interaction the model has the numbers of the
    reference without any option; an item without one is nobody's neighbour here, in ND either, and takes no part in the
    mean cosines. The reference itself crashes with one modality.

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
        content_weight: weight of content, c; 0 leaves it out.
        first_modality_weight: share of the first of two modalities in name order (image before text); 0 or 1 leaves one
            of them out.
        modality_weights: relative weights of more than two modalities by name, 1 where none is given; 0 leaves one out.
    """

    content_ignored_by: ClassVar[str] = "content_weight"
    read_by_content: ClassVar[frozenset[str]] = frozenset({"k"})
    unseen_items_by: ClassVar[UnseenItems] = UnseenItems.NEIGHBOURS
    adjacency: Tensor
    seen: Tensor
    view_weights: Tensor

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
        content_weight: float = 1.0,
        first_modality_weight: float = 0.5,
        modality_weights: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__()
        at_least(1, embedding_dim=embedding_dim)
        at_least(0, n_ui_layers=n_ui_layers, n_layers=n_layers, k=k, n_companions=n_companions, n_positives=n_positives)
        nonnegative(kl_weight=kl_weight, neighbor_weight=neighbor_weight)
        data, weights = weighed(data, first_modality_weight, modality_weights, content_weight=content_weight)
        relative = torch.tensor([*(content_weight * weight for weight in weights.values()), 1.0])  # common users last
        self.register_buffer("view_weights", relative / relative.sum(), persistent=False)
        self.n_ui_layers, self.n_layers = n_ui_layers, n_layers
        self.kl_weight, self.neighbor_weight = kl_weight, neighbor_weight
        self.n_positives = min(n_positives, int(data.warm.sum()) // 2)
        self.register_buffer("seen", torch.nonzero(data.warm).squeeze(1), persistent=False)
        self.user_embedding = table(data.n_users, embedding_dim, xavier_uniform)
        self.item_embedding = table(data.n_items, embedding_dim, xavier_uniform)
        set_adjacency(self, data, eps=1e-7)
        consistent = consistent_graphs(data.features, data.present, data.warm, k)
        graphs = {f"content_{name}": graph for name, graph in consistent.items()}
        graphs["companions"] = companion_graph(data.edge_index, data.n_users, data.n_items, n_companions)
        self.item_graphs = nn.ModuleDict(
            {name: DirectedGraph(graph.edge_index, graph.weights, data.n_items) for name, graph in graphs.items()}
        )

    def forward(self) -> tuple[Tensor, Tensor]:
        """Propagated users, and items plus the weighed views."""
        users, items, smoothed, _ = self._parts()
        return users, items + smoothed

    def loss(self, batch: Triplets) -> dict[str, Tensor]:
        """Weighted BPR, neighbour discrimination of each view, and alignment."""
        users, items, smoothed, views = self._parts()
        final = items + smoothed
        units = {name: functional.normalize(view, dim=1, eps=1e-12) for name, view in views.items()}
        liked, disliked = self._confidence(users, list(units.values()), batch)
        x = (users[batch.users] * (final[batch.positives] - final[batch.negatives])).sum(1)
        terms = {"bpr": -(liked * functional.logsigmoid(x) + disliked * functional.logsigmoid(-x)).mean()}

        rows, of_rows = distinct_once(torch.cat([batch.positives, batch.negatives]))
        # Nothing says that an unseen item is unlike the others.
        seen, place = {name: unit[self.seen] for name, unit in units.items()}, torch.searchsorted(self.seen, rows)
        lists = positives_of(list(seen.values()), place, self.n_positives)
        for (name, unit), (shared, own), weight in zip(seen.items(), lists, self.view_weights, strict=True):
            value = neighbour_discrimination(unit, place, shared, own, TEMPERATURE, of_rows)
            terms[f"neighbours_{name}"] = self.neighbor_weight * weight * value

        anchors, of_anchors = distinct_once(batch.users)
        user = users[anchors]
        by_behaviour, by_views = (
            user @ functional.normalize(vectors[rows], dim=1, eps=1e-12).T for vectors in (items, smoothed)
        )
        terms["kl"] = self.kl_weight * average(bernoulli_divergence(by_behaviour, by_views), of_anchors, of_rows)
        return terms

    def _parts(self) -> tuple[Tensor, Tensor, Tensor, dict[str, Tensor]]:
        """Users, items before smoothing, the sum of the weighed views, and the items of each view: each ``(n, d)``."""
        users, items = propagated(self.adjacency, self.user_embedding, self.item_embedding, self.n_ui_layers)
        views = {name: repeated(graph, self.item_embedding, self.n_layers) for name, graph in self.item_graphs.items()}
        smoothed = (self.view_weights.view(-1, 1, 1) * torch.stack(list(views.values()))).sum(0)
        return users, items, smoothed, views

    @torch.no_grad()
    def _confidence(self, users: Tensor, units: list[Tensor], batch: Triplets) -> tuple[Tensor, Tensor]:
        """Weights of the pairs as they are, and of the pairs turned round, each ``(B,)``."""
        user = users[batch.users]
        of_positive = torch.stack([torch.sigmoid((user * unit[batch.positives]).sum(1)) for unit in units])
        of_negative = torch.stack([torch.sigmoid((user * unit[batch.negatives]).sum(1)) for unit in units])
        weights = self.view_weights.unsqueeze(1)
        mean, largest = (weights * of_positive).sum(0), of_positive.amax(0)
        threshold = (weights * of_negative).sum(0).mean()
        variance = len(units) / max(1, len(units) - 1) * (weights * (of_positive - mean).square()).sum(0)
        liked = (mean * torch.exp(-2.0 * variance)).clamp(0.0, 1.0)
        return liked, ((largest - threshold) * (mean < threshold)).clamp(0.0, 1.0)


def binary_graph(rows: Tensor, columns: Tensor, n_items: int) -> ItemGraph:
    """Edges of weight one over the square roots of the row sums of both ends."""
    weights = torch.ones(len(rows), dtype=torch.get_default_dtype(), device=rows.device)
    return row_sum_normalised(ItemGraph(torch.stack([rows, columns]), weights, n_items))


def consistent_graphs(
    features: Mapping[str, Tensor], present: Mapping[str, Tensor], warm: Tensor, k: int
) -> dict[str, ItemGraph]:
    r"""For each modality the k nearest seen items, among those that every modality calls similar.

    Modality m calls two items similar if their cosine is not below its mean over all pairs of seen items,
    :math:`\frac{1}{n^2}\sum_{ij} \langle \hat f_i, \hat f_j\rangle = \|\frac{1}{n}\sum_i \hat f_i\|^2`; differences
    that rounding explains do not count. It says nothing about an item without content or with features of zero, which
    has no edges in its graph. Rows may have fewer than k neighbours; a seen item is always one of its own. No
    ``(n, n)`` array is made.

    Args:
        features: ``(n_items, d)`` by modality.
        present: whether an item has content, ``(n_items,)`` by modality.
        warm: whether an item has a training interaction, ``(n_items,)``; no other item is a neighbour or in a mean.
        k: neighbours per item at most, itself included.
    """
    dtype = torch.get_default_dtype()
    tolerance = 16 * torch.finfo(dtype).eps
    units, known, means = {}, {}, {}
    for name, values in features.items():
        norms = torch.linalg.vector_norm(values.double(), dim=1, keepdim=True)
        known[name] = present[name] & (norms.squeeze(1) > 0)
        unit = torch.where(known[name].unsqueeze(1), values.double() / norms.clamp_min(1e-300), 0.0)
        seen = known[name] & warm
        means[name] = float((unit[seen].sum(0) / seen.sum().clamp_min(1)).square().sum())
        units[name] = unit.to(dtype)

    def similarity(name: str, rows: Tensor, columns: Tensor) -> Tensor:
        block = units[name][rows] @ units[name][columns].T
        unlike = torch.zeros_like(block, dtype=torch.bool)
        for other, unit in units.items():
            cosines = block if other == name else unit[rows] @ unit[columns].T
            informed = known[other][rows].unsqueeze(1) & known[other][columns]
            unlike |= informed & (cosines < means[other] - tolerance)
        return block.masked_fill(unlike, UNLIKE)

    def graph(name: str) -> ItemGraph:
        items, unseen = (torch.nonzero(known[name] & mask).squeeze(1) for mask in (warm, ~warm))
        indices, values = nearest(lambda begin, end: similarity(name, items[begin:end], items), len(items), k)
        place, rank = torch.nonzero(values > UNLIKE / 2).T
        rows, columns = [items[place]], [items[indices[place, rank]]]
        for some in unseen.split(max(1, BLOCK_ENTRIES // max(len(items), 1))):
            block = similarity(name, some, items)
            best = best_of(block, some, items.expand(len(some), -1), min(k, len(items)), len(warm))
            place, rank = torch.nonzero(block.gather(1, best) > UNLIKE / 2).T
            rows.append(some[place])
            columns.append(items[best[place, rank]])
        return binary_graph(torch.cat(rows), torch.cat(columns), len(warm))

    return {name: graph(name) for name in features}


def companion_graph(edge_index: Tensor, n_users: int, n_items: int, k: int) -> ItemGraph:
    """Each item with itself and the ``k`` items that it has most users in common with, two at least.

    Of equally frequent companions the one with fewer users comes first, since it owes more of them to this item; users
    count with fixed random weights there, so that few ties remain.

    Args:
        edge_index: training interactions, ``(2, n_edges)``.
        n_users: number of users.
        n_items: number of items.
        k: companions per item at most.
    """
    of_items = interaction_matrix(edge_index.flip(0), n_items, n_users).double()
    weights = 1.0 + torch.rand(n_users, generator=torch.Generator().manual_seed(RING_SEED), dtype=torch.float64)
    handicap = of_items @ weights / (weights.sum() + 1.0)

    common = common_neighbours(of_items)
    indices, counts = nearest(
        lambda begin, end: common(begin, end) - handicap, n_items, k, include_self=False, width=n_users
    )
    place, rank = torch.nonzero(counts > MIN_COMMON - 1).T
    items = torch.arange(n_items)
    return binary_graph(torch.cat([items, place]), torch.cat([items, indices[place, rank]]), n_items)


def _blocks(rows: Tensor, n: int) -> Sequence[Tensor]:
    return rows.split(max(1, BLOCK_ENTRIES // n))


@torch.no_grad()
def positives_of(views: Sequence[Tensor], rows: Tensor, n_positives: int) -> list[tuple[Tensor, Tensor]]:
    r"""For each view the nearest items by all views, and among the others the nearest by the view alone.

    With :math:`P_v = \mathrm{softmax}(\hat H_v[J] \hat H_v^\top)` by rows, the first are the largest entries of
    :math:`\sum_w P_w + P_v`, in which the own view counts twice. Computed in blocks of rows.

    Args:
        views: vectors of length one of all items, each ``(n, d)``.
        rows: the items J, ``(B,)``.
        n_positives: items of each kind, at most half of all.

    Returns:
        Two index tensors ``(B, n_positives)`` per view.
    """
    by_view: list[list[tuple[Tensor, Tensor]]] = [[] for _ in views]
    for block in _blocks(rows, len(views[0])):
        shares = [torch.softmax(view[block] @ view.T, dim=1) for view in views]
        total = torch.stack(shares).sum(0)
        for lists, share in zip(by_view, shares, strict=True):
            shared = (total + share).topk(n_positives, dim=1).indices
            lists.append((shared, share.scatter(1, shared, -1.0).topk(n_positives, dim=1).indices))
    return [(torch.cat([a for a, _ in lists]), torch.cat([b for _, b in lists])) for lists in by_view]


def neighbour_discrimination(
    view: Tensor, rows: Tensor, shared: Tensor, own: Tensor, temperature: float, weights: Tensor | None = None
) -> Tensor:
    r"""Contrast of two kinds of positives with all seen items.

    .. math:: \frac{1}{|J|}\sum_j \left[-\log\left(\frac{a_j}{t_j} + 10^{-9}\right)
              - \log\left(\frac{b_j}{t_j - a_j} + 10^{-9}\right)\right]

    :math:`a, b, t` sum :math:`\exp(\hat h_j^\top \hat h_l / \tau)` over the shared positives, the own ones and all
    items. Blocks of rows are computed again for the backward pass, which bounds the memory.

    Args:
        view: vectors of length one of all items, ``(n, d)``.
        rows: the items J, ``(B,)``.
        shared: ``(B, p)``.
        own: ``(B, p)``, disjoint from ``shared`` row by row.
        temperature: :math:`\tau`.
        weights: how much each item of J counts, ``(B,)``; all alike where None.
    """

    def of_block(view: Tensor, rows: Tensor, shared: Tensor, own: Tensor, weights: Tensor | None = None) -> Tensor:
        affinity = torch.exp(view[rows] @ view.T / temperature)
        a, b = affinity.gather(1, shared).sum(1), affinity.gather(1, own).sum(1)
        rest = affinity.scatter(1, shared, 0.0).sum(1)
        each = torch.log(a / (a + rest) + 1e-9) + torch.log(b / rest + 1e-9)
        return -(each if weights is None else weights * each).sum()

    total = view.new_zeros(())
    given = (rows, shared, own) if weights is None else (rows, shared, own, weights)
    parts = (_blocks(tensor, len(view)) for tensor in given)
    for block in zip(*parts, strict=True):
        total = total + checkpoint(of_block, view, *block, use_reentrant=False, preserve_rng_state=False)
    return total / (len(rows) if weights is None else weights.sum())


def bernoulli_divergence(x: Tensor, y: Tensor) -> Tensor:
    r"""Entry by entry :math:`\mathrm{KL}(\sigma(x) \| \sigma(y)) + \mathrm{KL}(\sigma(y) \| \sigma(x))`.

    The logarithms cancel: the sum of both is :math:`(\sigma(x) - \sigma(y))(x - y)`.
    """
    return (torch.sigmoid(x) - torch.sigmoid(y)) * (x - y)
