"""MENTOR: Xu et al., "MENTOR: Multi-level Self-supervised Learning for Multimodal Recommendation", AAAI 2025."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from itertools import combinations
from typing import ClassVar, cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mmbench.data.recdata import RecData
from mmbench.nn.content_weights import weighed
from mmbench.nn.distinct import average, distinct_once
from mmbench.nn.hyperparameters import at_least, nonnegative, positive, rate
from mmbench.nn.initialisation import linear, table, xavier_normal
from mmbench.nn.item_graphs import fused_item_graph
from mmbench.nn.losses import bit_terms, cosine_distance, gap, moments, nce_of_rows
from mmbench.nn.noise import Noise
from mmbench.nn.propagation import halves, propagate, sum_of_layers, with_neighbours
from mmbench.nn.recommender import FactorModel, Triplets, UnseenItems
from mmbench.nn.towers import ItemTable, Tower, Towers, hidden_layer
from mmbench.nn.user_graph import free_weights
from mmbench.nn.user_item_graph import set_adjacency

N_HOPS = 2
#: Rows that :func:`nce_in_blocks` compares with all others at once.
BLOCK_ROWS = 4096


class MENTOR(FactorModel):
    r"""Towers of all modalities side by side, taught by a tower of identifiers and by perturbed views of themselves.

    .. math::
        Q^m = \sum_{l=0}^{2} \hat A^l\, \mathrm{norm}([q^m; g_m(f^m)]),\quad
        z_u = [w_{u1} Q^1_u; w_{u2} Q^2_u; \dots],\quad z_i = (I + G^L)\,[Q^1_i; Q^2_i; \dots]

    .. math::
        L = \mathrm{BPR} + \lambda\,(\textstyle\sum_m \overline{(q^m_u)^2} + \overline{w^2})
        + \lambda_a \sum_{r < s} \mathrm{gap}(Y_r, Y_s)
        + \lambda_c\,[\mathrm{NCE}(z'_u, z''_u) + \mathrm{NCE}(z'_i, z''_i)]
        + \lambda_f\,[C(h(z_u), \tilde z_u) + C(h(z_i), \tilde z_i)]

    G is the frozen item graph of the raw features, :math:`\sum_m s_m \mathrm{kNN}(f^m)`. The gaps are those of mean
    and variance (:func:`~mmbench.nn.losses.gap`) between each two of: z, each :math:`Q^m` without weights, and a tower
    of identifiers, whose f is a learned table and which is no part of z; items are smoothed by :math:`I + G^L` in each.
    :math:`z', z''` are z with both hops of the towers perturbed (:meth:`~mmbench.nn.noise.Noise.perturb`), the second
    hop from the perturbed first one, and are contrasted over the distinct users and items of the batch. C is the cosine
    distance of a linear map h of z to z after dropout, and no gradient goes through its target.

    One modality has no weights w. Items without content have no edges in the graph of that modality. Without any
    modality the tower of identifiers takes the place of z, without item graph and gaps. Items without an interaction
    take no part in training.

    ``as_reference`` differs from the default in five ways: items without an interaction do take part; perturbed views
    come from towers of their own, which nothing else reads, so that the contrast reaches the scores through w alone;
    the contrast runs over all users and all items; the last bracket is a constant, so that h is never trained; and a
    modality whose share of the item graph is 0 keeps its tower.

    Args:
        data: training data.
        embedding_dim: size of the vectors of each modality.
        hidden_dim: width of the hidden layer of g.
        k: neighbours per item, itself included.
        n_layers: propagation layers over the item graph, L.
        first_modality_weight: share of the first of two modalities in name order (image before text); 0 or 1 leaves one
            of them out.
        modality_weights: relative weights of more than two modalities by name, 1 where none is given; 0 leaves one out.
        reg_weight: weight of the mean squares of the batch rows of q and of w, :math:`\lambda`.
        alignment_weight: weight of the gaps, :math:`\lambda_a`; 0 leaves them and the tower of identifiers out.
        cl_weight: weight of the contrast, :math:`\lambda_c`; 0 leaves it out.
        temperature: of the contrast.
        mask_weight: weight of the distances to what dropout leaves, :math:`\lambda_f`; 0 leaves them out.
        dropout: rate of that dropout.
        as_reference: reproduce the numbers of the reference implementation.
    """

    content_needed_because: ClassVar[str] = (
        "without any modality the tower of identifiers, otherwise no part of the scores, takes the place of content"
    )
    read_by_content: ClassVar[frozenset[str]] = frozenset({"alignment_weight"})
    unseen_items_by: ClassVar[UnseenItems] = UnseenItems.CONTENT_VECTORS
    adjacency: Tensor
    seen: Tensor

    def __init__(
        self,
        data: RecData,
        *,
        embedding_dim: int = 64,
        hidden_dim: int = 256,
        k: int = 10,
        n_layers: int = 1,
        first_modality_weight: float = 0.1,
        modality_weights: Mapping[str, float] | None = None,
        reg_weight: float = 1e-3,
        alignment_weight: float = 0.1,
        cl_weight: float = 1e-3,
        temperature: float = 0.4,
        mask_weight: float = 1.5,
        dropout: float = 0.5,
        as_reference: bool = False,
    ) -> None:
        super().__init__()
        at_least(1, embedding_dim=embedding_dim, hidden_dim=hidden_dim)
        at_least(0, k=k, n_layers=n_layers)
        nonnegative(
            reg_weight=reg_weight, alignment_weight=alignment_weight, cl_weight=cl_weight, mask_weight=mask_weight
        )
        data, _ = weighed(data, first_modality_weight, modality_weights, leave_out=not as_reference)
        self.n_users, self.n_layers, self.reg_weight = data.n_users, n_layers, reg_weight
        self.alignment_weight, self.cl_weight = alignment_weight, cl_weight
        self.temperature = positive("temperature", temperature)
        self.mask_weight, self.dropout, self.as_reference = mask_weight, rate("dropout", dropout), as_reference
        layers = hidden_layer(hidden_dim, embedding_dim)
        identifiers = partial(MappedIdentifiers, data.n_items, embedding_dim, layers)
        towers = partial(Towers, data, embedding_dim, layers, identifiers)
        self.towers = towers()
        # Deviations of the reference: perturbed views have towers of their own, and all parts are there at any weight.
        self.copies = nn.ModuleList([towers(), towers()] if as_reference else [])
        guided = data.features and (alignment_weight > 0 or as_reference)
        self.guide = Tower(data.n_users, identifiers(), embedding_dim) if guided else None
        width = embedding_dim * len(self.towers)
        self.predictor = linear(width, width) if mask_weight > 0 or as_reference else None
        self.user_weights = free_weights(data.n_users, len(self.towers))
        self.item_graph = fused_item_graph(data, k, first_modality_weight, modality_weights, unseen_too=as_reference)
        hops = [f"{name}_view{view}_hop{hop}" for name in self.towers for view in (1, 2) for hop in (1, 2)]
        self.noise = Noise("user", "item", *hops)
        taught = torch.ones_like(data.warm) if as_reference else data.warm
        self.register_buffer("seen", torch.nonzero(taught).squeeze(1), persistent=False)
        set_adjacency(self, data)

    def forward(self) -> tuple[Tensor, Tensor]:
        """Weighed users and smoothed items."""
        return self._fused(sum_of_layers(self.adjacency, self.towers.ego(), N_HOPS))

    def loss(self, batch: Triplets) -> dict[str, Tensor]:
        """BPR in bits, mean squares, gaps of moments, contrast of perturbed views and distances to dropped-out rows."""
        ego = self.towers.ego()
        towers = sum_of_layers(self.adjacency, ego, N_HOPS)
        users, items = self._fused(towers)
        penalised = [*self.towers.preferences(batch.users), self.user_weights]
        terms = bit_terms(*batch.rows(users, items), self.reg_weight, penalised)
        if self.guide is not None:
            terms["align"] = self.alignment_weight * self._gaps(self.guide, towers, users, items)
        if self.cl_weight > 0 or self.as_reference:
            egos = [cast(Towers, copy).ego() for copy in self.copies] or [ego, ego]
            views = zip(*(self._perturbed(view, x) for view, x in enumerate(egos, start=1)), strict=True)
            of_batch = batch.users, torch.cat([batch.positives, batch.negatives])
            for name, (one, other), rows in zip(("users", "items"), views, of_batch, strict=True):
                chosen, weights = (slice(None), None) if self.as_reference else distinct_once(rows)
                contrast = nce_in_blocks(one[chosen], other[chosen], self.temperature, weights)
                terms[f"contrast_{name}"] = self.cl_weight * contrast
        if self.predictor is not None:
            for name, x in (("user", users), ("item", items[self.seen])):
                target = self.noise.drop(name, x.detach(), self.dropout)
                distance = cosine_distance(self.predictor(x), target)
                terms[f"mask_{name}"] = self.mask_weight * (distance.detach() if self.as_reference else distance)
        return terms

    def _fused(self, towers: Tensor) -> tuple[Tensor, Tensor]:
        """Users and items from the outputs of all towers side by side, ``(n_users + n_items, n_towers * width)``."""
        users, items = halves(towers, self.n_users)
        if self.user_weights is not None:
            users = (self.user_weights.unsqueeze(2) * users.view(*self.user_weights.shape, -1)).flatten(1)
        return users, self._smoothed(items)

    def _smoothed(self, items: Tensor) -> Tensor:
        return with_neighbours(items, items, self.item_graph, self.n_layers)

    def _gaps(self, guide: Tower, towers: Tensor, users: Tensor, items: Tensor) -> Tensor:
        """Gaps between fused vectors, each tower and the tower of identifiers."""
        n_towers = len(self.towers)
        of_guide = halves(sum_of_layers(self.adjacency, guide(), N_HOPS), self.n_users)
        items = items[self.seen]
        views = [(of_guide[0], self._smoothed(of_guide[1])[self.seen])]
        views += zip(towers[: self.n_users].chunk(n_towers, 1), items.chunk(n_towers, 1), strict=True)
        # The views of one tower stand side by side as often as there are towers, so that all have the same width.
        known = [moments(torch.cat([users, items])), *(moments(torch.cat(view), n_towers) for view in views)]
        return torch.stack([gap(one, other) for one, other in combinations(known, 2)]).sum()

    def _perturbed(self, view: int, ego: Tensor) -> tuple[Tensor, Tensor]:
        """Users and items of one perturbed view."""
        total = x = ego
        for hop in range(1, N_HOPS + 1):
            parts = propagate(self.adjacency, x).chunk(len(self.towers), 1)
            names = (f"{name}_view{view}_hop{hop}" for name in self.towers)
            x = torch.cat([self.noise.perturb(name, part) for name, part in zip(names, parts, strict=True)], 1)
            total = total + x
        return self._fused(total)


class MappedIdentifiers(ItemTable):
    """A learned item table through layers: ``(n_items, width)``."""

    def __init__(self, n_items: int, width: int, layers: Callable[[int], nn.Module]) -> None:
        super().__init__()
        self.table = table(n_items, width, xavier_normal)
        self.layers = layers(width)

    def forward(self) -> Tensor:
        """Map all items."""
        return self.layers(self.table)


def nce_in_blocks(anchors: Tensor, others: Tensor, temperature: float, weights: Tensor | None = None) -> Tensor:
    """Mean of :func:`~mmbench.nn.losses.nce_of_rows` over all rows, without an array ``(n, n)``.

    Many rows are worked on in blocks, whose logits are computed again in the backward pass.

    Args:
        anchors: one view, ``(n, d)``.
        others: the other view, ``(n, d)``.
        temperature: of the softmax.
        weights: how much each row counts, as anchor and as candidate, ``(n,)``; all alike where None.
    """
    if len(anchors) <= BLOCK_ROWS:
        return average(nce_of_rows(anchors, others, others, temperature, weights), weights)
    blocks = zip(anchors.split(BLOCK_ROWS), others.split(BLOCK_ROWS), strict=True)
    again = partial(checkpoint, nce_of_rows, use_reentrant=False, preserve_rng_state=False)
    return average(torch.cat([again(a, b, others, temperature, weights) for a, b in blocks]), weights)
