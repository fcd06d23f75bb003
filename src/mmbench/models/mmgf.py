"""MMGF: Roh et al., "Training-Free Multimodal Recommendation by Graph Filtering", arXiv 2503.04406 (MM-GF)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from mmbench.data.recdata import RecData
from mmbench.messages import Refusal
from mmbench.nn.content_weights import content_shares
from mmbench.nn.hyperparameters import positive
from mmbench.nn.item_regressions import ItemWeightModel
from mmbench.nn.recommender import UnseenItems
from mmbench.nn.sparse import gram_matrix, sparse_matrix

#: Numbers that torch takes quantiles of at once.
QUANTILE_ENTRIES = 1 << 22
#: Entries of a graph that are filtered at once: what a polynomial makes on the way takes no array of its own.
FILTERED_ENTRIES = 1 << 20


class MMGF(ItemWeightModel):
    r"""One product with an item graph of interactions plus item graphs of features; nothing is trained.

    .. math:: \hat y_u = r_u \Big(f(P) + \sum_m a_m f(Q^m)\Big),\quad
              P = (\tilde R^\top \tilde R)^{\circ p},\quad Q^m = (\tilde F^m \tilde F^{m\top})^{\circ p}

    with powers by element, :math:`\tilde A_{ij} = A_{ij} r_i^{-\alpha} c_j^{\alpha - 1}` for the row sums r and column
    sums c, and features that were scaled by median and quartiles and shifted to a minimum of 0. f is a polynomial with
    products by element: :math:`f_1(x) = x`, :math:`f_2(x) = 2x - x^2`, :math:`f_3(x) = x + (-x^3 + 10 x^2 - 29 x)/10`.
    Scaled and shifted, :math:`Q^m` is almost constant, and a constant adds the same number to all scores of a user, so
    its weight is told in standard deviations: :math:`a_m = w_m\,\mathrm{sd}(P) / \mathrm{sd}(Q^m)` with
    ``content_weight`` times the share of m as :math:`w_m`. An item without interactions has no edge in P, and content
    alone ranks it. Without any modality, or with ``content_weight`` 0, P alone scores.

    An item without content has no edge in :math:`Q^m`, which is not neutral here: every other item gets almost the same
    from :math:`Q^m`, and that one nothing. Where items lack m they lose places as its weight grows, and most of the
    deviation of :math:`Q^m` is that difference, so that the same ``content_weight`` is less of what content tells.

    Three arrays of items x items in float64 are held at a time, 24 bytes per pair of items, and features
    three times.

    ``as_reference`` differs from the default in one way: :math:`a_m = w_m`.

    Args:
        data: training data.
        alpha: exponent of row sums; that of column sums is ``1 - alpha``.
        power: exponent of the entries of the graphs, p.
        order: which polynomial f is, 1, 2 or 3.
        content_weight: weight of content in standard deviations of P; 0 leaves content out.
        first_modality_weight: share of the first of two modalities in name order (image before text); 0 or 1 leaves one
            of them out.
        modality_weights: relative weights of more than two modalities by name, 1 where none is given; 0 leaves one out.
        max_memory_gb: memory that the computation may take.
        as_reference: reproduce the numbers of the reference implementation.

    Raises:
        ValueError: if it would need more memory.
    """

    content_ignored_by: ClassVar[str] = "content_weight"
    unseen_items_by: ClassVar[UnseenItems] = UnseenItems.HISTORY

    def __init__(
        self,
        data: RecData,
        *,
        alpha: float = 0.5,
        power: float = 1.0,
        order: int = 1,
        content_weight: float = 0.03,
        first_modality_weight: float = 0.2,
        modality_weights: Mapping[str, float] | None = None,
        max_memory_gb: float = 8.0,
        as_reference: bool = False,
    ) -> None:
        shares = content_shares(data, content_weight, first_modality_weight, modality_weights)
        super().__init__(data, n_arrays=3, max_memory_gb=max_memory_gb, names=shares)
        if not 0.0 <= alpha <= 1.0:
            raise Refusal("alpha={alpha} must lie between 0 and 1", alpha=alpha)
        if order not in (1, 2, 3):
            raise Refusal("order={order} must be 1, 2 or 3", order=order)
        self.alpha, self.power, self.order = alpha, positive("power", power), order
        self.shares, self.as_reference = shares, as_reference

    def item_weights(self, data: RecData) -> Tensor:
        """Add up the filtered graphs."""
        users, items = data.edge_index
        of_user = torch.bincount(users, minlength=data.n_users).double().clamp_min(1.0) ** -self.alpha
        of_item = torch.bincount(items, minlength=data.n_items).double().clamp_min(1.0) ** (self.alpha - 1.0)
        normalised = sparse_matrix(items, users, of_user[users] * of_item[items], (data.n_items, data.n_users))
        graph = gram_matrix(normalised).pow_(self.power)
        deviation = float(graph.std(correction=0))
        weights = filtered(graph, self.order)
        for name, share in self.shares.items():
            rows = normalised_content(data.features[name], data.present[name], self.alpha)
            graph = (rows @ rows.T).pow_(self.power)
            if not self.as_reference:
                of_content = float(graph.std(correction=0))
                share *= deviation / of_content if of_content > 0.0 else 0.0
            weights.add_(filtered(graph, self.order), alpha=share)
        return weights


def normalised_content(features: Tensor, present: Tensor, alpha: float) -> Tensor:
    """Features scaled by column, shifted as a whole and normalised by row and column: ``(n_items, d)`` in float64.

    Args:
        features: ``(n_items, d)``.
        present: whether an item has content, ``(n_items,)``; the row of another one is zero.
        alpha: exponent of row sums.
    """
    rows = features[present].double()
    if not len(rows):
        return torch.zeros_like(features, dtype=torch.float64)
    at_once = max(1, QUANTILE_ENTRIES // max(1, len(rows)))
    quartiles = [part.quantile(part.new_tensor([0.25, 0.5, 0.75]), dim=0) for part in rows.split(at_once, dim=1)]
    low, median, high = torch.cat(quartiles, dim=1)
    scaled = (rows - median) / torch.where(high > low, high - low, 1.0)
    scaled -= scaled.min()
    sums = [torch.where(total > 0, total, 1.0) for total in (scaled.sum(1, keepdim=True), scaled.sum(0))]
    result = torch.zeros_like(features, dtype=torch.float64)
    result[present] = scaled * sums[0] ** -alpha * sums[1] ** (alpha - 1.0)
    return result


def filtered(graph: Tensor, order: int) -> Tensor:
    """The polynomial of a graph ``(n, n)``, by element and in place; of first order it is the graph itself."""
    if order > 1:
        for rows in graph.split(max(1, FILTERED_ENTRIES // len(graph))):
            rows.copy_(2.0 * rows - rows**2 if order == 2 else rows + 0.1 * (-(rows**3) + 10.0 * rows**2 - 29.0 * rows))
    return graph
