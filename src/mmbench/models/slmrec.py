"""SLMRec: Tao et al., "Self-supervised Learning for Multimedia Recommendation", IEEE TMM 2022."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from mmbench.data.recdata import RecData
from mmbench.nn.content_weights import weighed
from mmbench.nn.distinct import distinct, occurrences
from mmbench.nn.hyperparameters import at_least, nonnegative, positive
from mmbench.nn.initialisation import linear, table, xavier_uniform
from mmbench.nn.kernels import LogSumExp
from mmbench.nn.propagation import propagated
from mmbench.nn.recommender import FactorModel, Triplets, UnseenItems
from mmbench.nn.towers import MappedFeatures
from mmbench.nn.unit_rows import unit_rows
from mmbench.nn.user_item_graph import set_adjacency


class SLMRec(FactorModel):
    r"""A view of the graph per modality, fused by a linear map, :math:`z = F\,[E^{id}; c a_1 E^1; \dots] + b`.

    :math:`E^m` is the mean of the propagated layers of the users' ID vectors and the projected features, scaled to
    length one. Users are contrasted with the items of the batch. A chain aligns the views of the positives: from
    :math:`x_0 = E^{id}`, :math:`x_m = A_m x_{m-1}` is contrasted with :math:`c a_m B_m E^m` with the weight
    :math:`\lambda\,c\,a_m`, modality after modality in name order; the last of several steps has half the width.
    Without any modality the chain vanishes and the ID view is mapped alone. Only the task that aligns features (FAC) is
    built. A bias of B would cancel in the contrast, and is left out.

    ``as_reference`` differs from the default in three ways: the last step of two has a second linear map in
    :math:`A_2`, from the modality that the reference lacks between image and text; B has its bias; and scores pass
    through a sigmoid, which makes large ones equal in single precision.

    Args:
        data: training data.
        embedding_dim: size of the ID vectors, of each view and of the fused vectors.
        n_layers: propagation layers.
        temperature: of the contrast of users with items, whose rows have length one.
        alignment_weight: weight of the chain, :math:`\lambda`; 0 leaves it out.
        alignment_temperature: of the contrasts in the chain, whose rows keep their length.
        content_weight: weight of content, c; 0 leaves it out.
        first_modality_weight: share of the first of two modalities in name order (image before text); 0 or 1 leaves one
            of them out.
        modality_weights: relative weights of more than two modalities by name, 1 where none is given; 0 leaves one out.
        as_reference: reproduce the numbers of the reference implementation.
    """

    content_ignored_by: ClassVar[str] = "content_weight"
    read_by_content: ClassVar[frozenset[str]] = frozenset({"alignment_weight", "alignment_temperature"})
    unseen_items_by: ClassVar[UnseenItems] = UnseenItems.CONTENT_PART
    adjacency: Tensor

    def __init__(
        self,
        data: RecData,
        *,
        embedding_dim: int = 64,
        n_layers: int = 3,
        temperature: float = 0.2,
        alignment_weight: float = 0.1,
        alignment_temperature: float = 0.5,
        content_weight: float = 1.0,
        first_modality_weight: float = 0.5,
        modality_weights: Mapping[str, float] | None = None,
        as_reference: bool = False,
    ) -> None:
        super().__init__()
        at_least(1, embedding_dim=embedding_dim)
        at_least(0, n_layers=n_layers)
        nonnegative(alignment_weight=alignment_weight)
        data, weights = weighed(data, first_modality_weight, modality_weights, content_weight=content_weight)
        self.weights = {name: content_weight * weight for name, weight in weights.items()}
        self.n_layers, self.temperature = n_layers, positive("temperature", temperature)
        self.alignment_weight = alignment_weight
        self.alignment_temperature = positive("alignment_temperature", alignment_temperature)
        # Deviations of the reference: a further map in the last step of two, a bias of B, and scores through a sigmoid.
        detour = bias_of_views = self.squashed = as_reference
        self.user_embedding = table(data.n_users, embedding_dim, xavier_uniform)
        self.item_embedding = table(data.n_items, embedding_dim, xavier_uniform)
        content, chain, views = dict[str, nn.Module](), dict[str, nn.Module](), dict[str, nn.Module]()
        for place, (name, features) in enumerate(data.features.items(), start=1):
            unit = unit_rows(features.to(torch.get_default_dtype()))
            content[name] = MappedFeatures(unit, linear(features.shape[1], embedding_dim, xavier_uniform))
            last = 1 < place == len(data.features)
            first = [linear(embedding_dim, embedding_dim, xavier_uniform)] if detour and last and place == 2 else []
            width = embedding_dim // 2 if last else embedding_dim
            if alignment_weight > 0:
                chain[name] = nn.Sequential(*first, linear(embedding_dim, width, xavier_uniform))
                views[name] = linear(embedding_dim, width, xavier_uniform, bias=bias_of_views)
        self.content, self.chain, self.views = nn.ModuleDict(content), nn.ModuleDict(chain), nn.ModuleDict(views)
        fused = embedding_dim * (1 + len(content))
        self.fuse_users = linear(fused, embedding_dim, xavier_uniform)
        self.fuse_items = linear(fused, embedding_dim, xavier_uniform)
        set_adjacency(self, data, eps=1e-8)

    def forward(self) -> tuple[Tensor, Tensor]:
        """The views fused."""
        users, items = self._views()
        return self.fuse_users(users), self.fuse_items(items)

    def score(self, users: Tensor) -> Tensor:
        """Inner products ``(B, n_items)``; the reference takes their sigmoid."""
        scores = super().score(users)
        return scores.sigmoid() if self.squashed else scores

    def loss(self, batch: Triplets) -> dict[str, Tensor]:
        """Contrast of users and positives in the batch, and of the views of the positives."""
        users, items = self._views()
        anchors, of_user = distinct(batch.users)
        positives, of_item = distinct(batch.positives)
        users, items = users[anchors], items[positives]
        fused = self.fuse_users(users), self.fuse_items(items)
        terms = {"contrast": nce_of_pairs(*fused, (of_user, of_item), self.temperature)}
        x, *views = items.chunk(1 + len(self.content), dim=1)
        for (name, step), view in zip(self.chain.items(), views, strict=False):
            x, same = step(x), (of_item, of_item)
            alignment = nce_of_pairs(x, self.views[name](view), same, self.alignment_temperature, unit_norm=False)
            terms[f"align_{name}"] = self.alignment_weight * self.weights[name] * alignment
        return terms

    def _views(self) -> tuple[Tensor, Tensor]:
        """ID view and views of modalities side by side, of all users and of all items: ``(n, (1 + M) d)``."""
        views = [self.weights[name] * content() for name, content in self.content.items()]
        items = torch.cat([self.item_embedding, *views], dim=1)
        # The same in every view, and as loud as its items.
        users = torch.cat([weight * self.user_embedding for weight in (1.0, *self.weights.values())], dim=1)
        return propagated(self.adjacency, users, items, self.n_layers)


def nce_of_pairs(
    anchors: Tensor, others: Tensor, pairs: tuple[Tensor, Tensor], temperature: float, *, unit_norm: bool = True
) -> Tensor:
    r"""Noise-contrastive loss, mean over pairs, with the other ends of all pairs as candidates.

    .. math:: \frac{1}{B} \sum_k \left(-a_{r_k} \cdot b_{s_k} / \tau + \log\sum_l \exp(a_{r_k} b_{s_l} / \tau)\right)

    A row that occurs in several pairs counts as often, as anchor and as candidate, and is computed once.

    Args:
        anchors: ``(n, d)``.
        others: ``(m, d)``.
        pairs: rows r of the anchors and s of the others, each ``(B,)``.
        temperature: of the softmax.
        unit_norm: scale rows to length one; otherwise they keep their length.
    """
    rows, place = distinct(pairs[0])
    candidates, other_place = distinct(pairs[1])
    a, b = anchors[rows], others[candidates]
    if unit_norm:
        a, b = functional.normalize(a, dim=1, eps=1e-12), functional.normalize(b, dim=1, eps=1e-12)
    a = a / temperature
    total = LogSumExp.apply(a, b, occurrences(other_place, len(candidates)).to(b.dtype).log())
    return (total[place] - (a[place] * b[other_place]).sum(1)).mean()
