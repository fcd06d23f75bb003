"""The users that items have in common: how many for every pair, and the nearest items of every item by them."""

from __future__ import annotations

import torch
from torch import Tensor

from mmbench.nn.item_neighbours import Neighbours
from mmbench.nn.memo import Memo, content_key
from mmbench.nn.nearest import Similarity, nearest, order_keys, tie_ring
from mmbench.nn.sparse import common_neighbours, gram_matrix, interaction_matrix, parts_of, select_rows

#: Operations of a dense product that take as long as one addition of a sparse one and the sorting that follows it.
DENSE_OPERATIONS = 4000
#: Bytes that the numbers of all pairs of items may take to be kept by models that need only blocks of them.
KEPT_BYTES = 1 << 28

_common = Memo[Tensor](1)


def cached_common_users(edge_index: Tensor, n_users: int, n_items: int) -> Tensor:
    r"""Common users of every pair of items, :math:`c_{ij} = |U_i \cap U_j|`; not to be changed.

    The matrix of the last data set is kept for the next training of any model.

    Args:
        edge_index: training interactions, ``(2, n_edges)``.
        n_users: number of users.
        n_items: number of items.

    Returns:
        ``(n_items, n_items)``; whole numbers, exact in single precision up to 16.7 million.
    """
    key = content_key(torch.get_default_dtype(), edge_index.device, n_users, n_items, edge_index)
    return _common.get(key, lambda: gram_matrix(interaction_matrix(edge_index.flip(0), n_items, n_users)))


class CommonUsers:
    r"""The nearest items of every item by their common users, without the item itself (Deshpande & Karypis 2004).

    .. math:: s_{ij} = \frac{c_{ij}}{\sqrt{c_{ii} c_{jj}} + \text{shrink}},\quad c_{ij} = |U_i \cap U_j|

    Only items that share a user can be neighbours, so that a list may be shorter than k. Ties are decided as by
    :func:`~mmbench.nn.nearest.nearest`. Similarities are computed anew for each block of rows and never held together,
    dense or sparse.

    Args:
        edge_index: training interactions, ``(2, n_edges)``.
        n_users: number of users.
        n_items: number of items.
        k: neighbours per item at most.
        shrink: added to the denominator; damps similarities that rest on few users.
    """

    def __init__(self, edge_index: Tensor, n_users: int, n_items: int, k: int, *, shrink: float = 0.0) -> None:
        by_user = interaction_matrix(edge_index, n_users, n_items)
        self.n_items, self.k, self.shrink = n_items, k, shrink
        self._by_user = by_user.to_sparse_coo()
        self._of_items = interaction_matrix(edge_index.flip(0), n_items, n_users)
        self._root = torch.bincount(edge_index[1], minlength=n_items).to(by_user.dtype).sqrt()
        self._ring = tie_ring(n_items).to(edge_index.device)
        products = by_user.crow_indices().diff()[edge_index[0]]
        #: What :meth:`listing` of an item costs at most in entries, ``(n_items,)``.
        self.work = torch.zeros_like(self._ring).index_add_(0, edge_index[1], products)
        self._least, self.lengths = self._ends_of_lists()

    @property
    def size(self) -> int:
        """Entries of all lists together."""
        return int(self.lengths.sum())

    @property
    def dtype(self) -> torch.dtype:
        """Type of the similarities."""
        return self._root.dtype

    def _similar(self, begin: int, end: int) -> tuple[Tensor, Tensor, Tensor]:
        """Pairs of different items with common users, the first from ``begin`` to ``end``, and their similarities."""
        rows = select_rows(self._of_items, torch.arange(begin, end, device=self._of_items.device))
        common = torch.sparse.mm(rows.to_sparse_coo(), self._by_user).coalesce()
        one, other = common.indices()
        different = one + begin != other
        one, other = one[different] + begin, other[different]
        return one, other, common.values()[different] / (self._root[one] * self._root[other] + self.shrink)

    def _ends_of_lists(self) -> tuple[Tensor, Tensor]:
        """The key of the last item of each full list, lowest for others, and lengths of all lists, ``(n_items,)``."""
        least = torch.full((self.n_items,), -torch.inf, dtype=torch.float64, device=self._ring.device)
        lengths = torch.zeros_like(self._ring)
        for part in parts_of(self.work.cumsum(0)):
            rows, columns, similarities = self._similar(part.start, part.stop)
            many = torch.bincount(rows - part.start, minlength=part.stop - part.start)
            lengths[part] = many.clamp_max(self.k)
            full = many > self.k
            longer = full[rows - part.start]
            rows, columns = rows[longer], columns[longer]
            keys = order_keys(similarities[longer], rows, columns, self._ring).sort(descending=True)
            by_row = keys.values[rows[keys.indices].sort(stable=True).indices]
            starts = many[full].cumsum(0) - many[full]
            least[part][full] = by_row[starts + self.k - 1]
        return least, lengths

    def listing(self, begin: int, end: int) -> tuple[Tensor, Tensor, Tensor]:
        """In which lists the items from ``begin`` to ``end`` are.

        Similarities are the same both ways, and the last place of a list decides who is in it.

        Returns:
            The items, those whose lists they are in, and similarities, ``(n_pairs,)`` each, in the order of a matrix.
        """
        items, owners, similarities = self._similar(begin, end)
        listed = order_keys(similarities, owners, items, self._ring) >= self._least[owners]
        return items[listed], owners[listed], similarities[listed]


def common_user_lists(
    edge_index: Tensor, n_users: int, n_items: int, k: int, *, shrink: float = 0.0
) -> CommonUsers | Neighbours:
    """The lists of :class:`CommonUsers`, by all pairs of items where histories are so long that this takes less time.

    Such lists may end in items of similarity zero, which :meth:`Neighbours.listing` passes over. Arguments are
    those of :class:`CommonUsers`.
    """
    additions = int(torch.bincount(edge_index[0], minlength=n_users).square().sum())
    if 2.0 * n_users * n_items**2 > DENSE_OPERATIONS * additions:
        return CommonUsers(edge_index, n_users, n_items, k, shrink=shrink)
    root = torch.bincount(edge_index[1], minlength=n_items).to(torch.get_default_dtype()).sqrt()
    tiny = torch.finfo(root.dtype).tiny
    if root.element_size() * n_items**2 <= KEPT_BYTES:
        kept = cached_common_users(edge_index, n_users, n_items)
        common: Similarity = lambda begin, end: kept[begin:end]  # noqa: E731
    else:
        common = common_neighbours(interaction_matrix(edge_index.flip(0), n_items, n_users))

    def similarity(begin: int, end: int) -> Tensor:
        # An item that nobody has bought has no one in common with any, which is zero without a shrinkage too.
        return common(begin, end) / (root[begin:end].unsqueeze(1) * root + shrink).clamp_min(tiny)

    indices, values = nearest(similarity, n_items, k, include_self=False)
    return Neighbours(n_items, torch.arange(n_items, device=edge_index.device), indices, values)
