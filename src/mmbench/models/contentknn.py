"""ContentKNN: the content baseline of Ferrari Dacrema et al., "Are We Really Making Much Progress?", RecSys 2019."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from mmbench.data.recdata import RecData
from mmbench.nn.content_features import concatenated
from mmbench.nn.content_weights import weighed
from mmbench.nn.history_sums import HistorySums
from mmbench.nn.hyperparameters import at_least, nonnegative
from mmbench.nn.item_graphs import transposed, weighted, weighted_sum
from mmbench.nn.item_neighbours import common_knn, seen_and_unseen, unseen_common_knn
from mmbench.nn.recommender import UnseenItems


class ContentKNN(HistorySums):
    r"""Similarity of content to a user's history, :math:`\hat y_{uj} = \sum_{i \in R_u : j \in N_k(i)} s_{ij}`.

    :math:`s_{ij} = \langle f_i, f_j\rangle / (\|f_i\|\|f_j\| + \text{shrink})`; :math:`f_i` joins the features of all
    present modalities in name order, each of length :math:`a_m`; :math:`N_k(i)` are the k items most similar to i,
    itself included. Two items are compared by the modalities that both have
    (:func:`~mmbench.nn.item_neighbours.common_knn`). Interactions do not shape the similarity, so that this model shows
    what content alone is worth. Lists hold items of the training log alone. An unseen item j would be in few lists of
    the whole catalogue: it is scored through its own, :math:`i \in N_k(j)`. An item without any content has no
    neighbours. Without any modality, or with ``content_weight`` 0, there is nothing to compare, and the score is the
    popularity of the item. The reference takes features as they are, which ``as_reference`` does, and lists all items.

    Args:
        data: training data.
        k: neighbours per item, itself included.
        shrink: damps similarities of items with short rows of features, with ``as_reference`` alone: rows of length one
            give all pairs the same factor.
        content_weight: 0 leaves content out; any other weight of the only thing that scores gives the same ranking.
        first_modality_weight: share of the first of two modalities in name order (image before text); 0 or 1 leaves one
            of them out.
        modality_weights: relative weights of more than two modalities by name, 1 where none is given; 0 leaves one out.
        as_reference: reproduce the numbers of the reference implementation.
    """

    content_ignored_by: ClassVar[str] = "content_weight"
    read_by_content: ClassVar[frozenset[str]] = frozenset({"k"})
    unseen_items_by: ClassVar[UnseenItems] = UnseenItems.HISTORY
    counts: Tensor

    def __init__(
        self,
        data: RecData,
        *,
        k: int = 10,
        shrink: float = 10.0,
        content_weight: float = 1.0,
        first_modality_weight: float = 0.5,
        modality_weights: Mapping[str, float] | None = None,
        as_reference: bool = False,
    ) -> None:
        super().__init__()
        at_least(1, k=k)
        nonnegative(shrink=shrink)
        self.k, self.shrink, self.as_reference = k, shrink, as_reference
        _, self.weights = weighed(data, first_modality_weight, modality_weights, content_weight=content_weight)
        self.register_buffer("counts", torch.empty(0), persistent=False)

    def fit(self, data: RecData) -> None:
        """Find the k most similar items of each item, or count its interactions without content."""
        if self.weights:
            super().fit(data)
        else:
            self.counts = torch.bincount(data.edge_index[1], minlength=data.n_items).to(self.counts.dtype)

    def item_weights(self, data: RecData) -> Tensor:
        """The k most similar items of each item, and the items that unseen ones are most similar to."""
        unit = not self.as_reference
        present = [data.present[name] for name in self.weights]
        warm = torch.ones_like(data.warm) if self.as_reference else data.warm
        if all(torch.equal(mask, present[0]) for mask in present):
            features = concatenated(data, self.weights, unit=unit)
            seen, unseen = seen_and_unseen(features, present[0], warm, self.k, shrink=self.shrink)
        else:
            parts = [concatenated(data, {name: weight}, unit=unit) for name, weight in self.weights.items()]
            seen = common_knn(parts, [mask & warm for mask in present], self.k, shrink=self.shrink)
            unseen = unseen_common_knn(parts, present, warm, self.k, shrink=self.shrink)
        return weighted_sum([weighted(seen), transposed(weighted(unseen))], [1.0, 1.0]).matrix()

    def score(self, users: Tensor) -> Tensor:
        """Sums of similarities to the history, or counts without content: ``(B, n_items)``."""
        if not self.weights:
            return self.counts.expand(len(users), -1)
        return super().score(users)
