"""Lists of the nearest items of every item, those by content, and the cache that models share."""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from mmbench.nn.memo import KEPT_BYTES, Memo, content_key
from mmbench.nn.nearest import Progress, best_of, nearest
from mmbench.nn.sparse import BLOCK_ENTRIES
from mmbench.nn.unit_rows import moderate

#: Width of features whose products are as fast in small blocks.
NARROW = 128
#: Neighbours kept per item at least, so that one computation serves every k of a search space.
STORED = 64
#: Neighbour lists kept in memory: those of seen and of unseen items of each modality of a few data sets.
CACHED_LISTS = 16


@dataclass(frozen=True)
class Neighbours:
    """The most similar items of each item, best first.

    Args:
        n_items: number of items.
        items: items that have neighbours, ascending, ``(m,)``; the others are isolated.
        indices: their neighbours, ``(m, k)``.
        values: similarities, ``(m, k)``.
        recall: share of the exact neighbours among approximate ones, on a sample; None where the lists are exact.
    """

    n_items: int
    items: Tensor
    indices: Tensor
    values: Tensor
    recall: float | None = None

    @property
    def k(self) -> int:
        """Neighbours per item."""
        return self.indices.shape[1]

    def top(self, k: int) -> Neighbours:
        """The best ``k`` of the list."""
        return replace(self, indices=self.indices[:, :k], values=self.values[:, :k])

    @property
    def work(self) -> Tensor:
        """What :meth:`listing` of an item costs at most in entries, ``(n_items,)``."""
        parts = self.indices.split(max(1, BLOCK_ENTRIES // max(self.k, 1)))
        counted = [torch.bincount(indices.flatten(), minlength=self.n_items) for indices in parts]
        return torch.stack(counted).sum(0)

    @property
    def size(self) -> int:
        """Entries of all lists together, at most."""
        return self.indices.numel()

    @property
    def nbytes(self) -> int:
        """Bytes that it takes."""
        return sum(part.nbytes for part in (self.items, self.indices, self.values))

    @property
    def dtype(self) -> torch.dtype:
        """Type of the similarities."""
        return self.values.dtype

    def listing(self, begin: int, end: int) -> tuple[Tensor, Tensor, Tensor]:
        """In which lists the items from ``begin`` to ``end`` are; a similarity of zero is none.

        Returns:
            The items, those whose lists they are in, and similarities, ``(n_pairs,)`` each.
        """
        within = (self.indices >= begin) & (self.indices < end) & (self.values != 0)
        place, rank = torch.nonzero(within, as_tuple=True)
        return self.indices[place, rank], self.items[place], self.values[place, rank]


def directions(features: Tensor, present: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Items that have a direction ``(m,)``, their rows at length one ``(m, d)``, and their lengths ``(m,)``."""
    scaled, factor = moderate(features)
    norms = torch.linalg.vector_norm(scaled, dim=1)
    items = torch.nonzero(present & (norms > 0)).squeeze(1)
    return items, scaled[items] / norms[items].unsqueeze(1), norms[items] / factor[items].squeeze(1)


def knn(
    features: Tensor, present: Tensor, k: int, *, shrink: float = 0.0, progress: Progress | None = None
) -> Neighbours:
    r"""Exact nearest items by cosine, the item itself among them.

    .. math:: s_{ij} = \frac{\langle f_i, f_j\rangle}{\|f_i\| \|f_j\| + \text{shrink}}

    An item without content, or whose features are all zero and so have no direction, is isolated: no edge leaves or
    reaches it.

    Args:
        features: ``(n_items, d)``.
        present: whether an item has content, ``(n_items,)``.
        k: neighbours per item, itself included.
        shrink: added to the product of norms; damps similarities of items with small features.
        progress: called with the number of items that are done.
    """
    items, chosen, norm = directions(features, present)
    if shrink != 0:
        chosen = features[items]

    def similarity(begin: int, end: int) -> Tensor:
        products = chosen[begin:end] @ chosen.T
        return products if shrink == 0 else products / (norm[begin:end].unsqueeze(1) * norm + shrink)

    indices, values = nearest(similarity, len(items), k, progress=progress, narrow=features.shape[1] <= NARROW)
    return Neighbours(len(features), items, items[indices], values)


def common_knn(parts: Sequence[Tensor], present: Sequence[Tensor], k: int, *, shrink: float = 0.0) -> Neighbours:
    r"""Exact nearest items by the cosine of what both have, the item itself among them.

    .. math:: s_{ij} = \frac{\sum_{m \in M_{ij}} \langle f_i^m, f_j^m\rangle}
        {\sqrt{\sum_{m \in M_{ij}} \|f_i^m\|^2} \sqrt{\sum_{m \in M_{ij}} \|f_j^m\|^2} + w_{ij}\, \text{shrink}}

    :math:`M_{ij}` are the modalities that both items have; items without one in common are no neighbours. As features
    of fewer modalities are shorter, the shrinkage has the weight :math:`w_{ij} = \sum_{m \in M_{ij}} q_m / \sum_m q_m`,
    :math:`q_m` the mean square length of modality m. Where every item has every modality this is :func:`knn` of the
    parts side by side. Lists are kept in memory.

    Args:
        parts: features of each modality, ``(n_items, d_m)``.
        present: whether an item has content, ``(n_items,)`` each.
        k: neighbours per item, itself included.
        shrink: as for :func:`knn`.
    """
    key = content_key("common", shrink, *parts, *present)
    return _lists.get(
        key,
        lambda: _common_knn(parts, present, max(k, STORED), shrink),
        lambda kept: kept.k >= min(k, len(kept.items)),
    ).top(k)


@dataclass(frozen=True)
class _Contents:
    """Items by the modalities that they have.

    Args:
        joined: features side by side, zeros where an item lacks a modality, ``(n, d)``.
        squares: squared length of the features of each modality, ``(n, n_modalities)``.
    """

    joined: Tensor
    squares: Tensor

    @classmethod
    def of(cls, parts: Sequence[Tensor], present: Sequence[Tensor]) -> _Contents:
        """Arguments as in :func:`common_knn`."""
        given = list(zip(parts, present, strict=True))
        joined = torch.cat([part * mask.unsqueeze(1) for part, mask in given], dim=1)
        return cls(joined, torch.stack([part.square().sum(1) * mask for part, mask in given], dim=1))

    def __getitem__(self, rows: Tensor | slice) -> _Contents:
        return _Contents(self.joined[rows], self.squares[rows])

    @property
    def has(self) -> Tensor:
        """One where an item has a modality, else zero, ``(n, n_modalities)``."""
        return (self.squares > 0).to(self.squares.dtype)

    def similarity(self, shrink: float) -> Callable[[_Contents], Tensor]:
        """Gives the similarities of :func:`common_knn` of other items to these, whose lengths weigh the shrinkage.

        Items without a modality in common have :func:`_apart`. The result has a row for each other item.
        """
        has = self.has
        weights = self.squares.sum(0) / has.sum(0).clamp_min(1)
        weights = weights / weights.sum().clamp_min(torch.finfo(weights.dtype).tiny)

        def of(others: _Contents) -> Tensor:
            theirs = others.has
            norms = (others.squares @ has.T).sqrt() * (theirs @ self.squares.T).sqrt()
            shrinkage = shrink * ((weights * theirs) @ has.T)
            products = others.joined @ self.joined.T
            return torch.where(norms > 0, products / (norms + shrinkage), _apart(products.dtype))

        return of


def _apart(dtype: torch.dtype) -> float:
    """Below every similarity: that of items without a modality in common."""
    return torch.finfo(dtype).min / 2


def _listed(values: Tensor) -> Tensor:
    """Similarities of neighbours, zero for those that have nothing in common and only fill a list."""
    return torch.where(values > _apart(values.dtype) / 2, values, 0.0)


def _common_knn(parts: Sequence[Tensor], present: Sequence[Tensor], k: int, shrink: float) -> Neighbours:
    contents = _Contents.of(parts, present)
    items = torch.nonzero(contents.squares.any(1)).squeeze(1)
    contents = contents[items]
    similarity = contents.similarity(shrink)
    narrow = contents.joined.shape[1] <= NARROW
    indices, values = nearest(lambda begin, end: similarity(contents[begin:end]), len(items), k, narrow=narrow)
    return Neighbours(len(parts[0]), items, items[indices], _listed(values))


def unseen_common_knn(
    parts: Sequence[Tensor], present: Sequence[Tensor], warm: Tensor, k: int, *, shrink: float = 0.0
) -> Neighbours:
    """Exact nearest seen items of every unseen item by what both have; similarity as in :func:`common_knn`.

    Args:
        parts: features of each modality, ``(n_items, d_m)``.
        present: whether an item has content, ``(n_items,)`` each.
        warm: whether an item has a training interaction, ``(n_items,)``.
        k: neighbours per item.
        shrink: as for :func:`common_knn`.
    """
    contents = _Contents.of(parts, present)
    seen, unseen = (torch.nonzero(contents.squares.any(1) & mask).squeeze(1) for mask in (warm, ~warm))
    unseen = unseen if len(seen) else unseen[:0]
    similarity, k = contents[seen].similarity(shrink), min(k, len(seen))
    indices, values = unseen.new_empty(len(unseen), k), contents.joined.new_empty(len(unseen), k)
    for place in torch.arange(len(unseen)).split(max(1, BLOCK_ENTRIES // max(len(seen), 1))):
        rows = unseen[place]
        of_rows = similarity(contents[rows])
        best = best_of(of_rows, rows, seen.expand(len(rows), -1), k, len(warm))
        indices[place], values[place] = seen[best], _listed(of_rows.gather(1, best))
    return Neighbours(len(warm), unseen, indices, values)


class Search(Protocol):
    """A way to find nearest items."""

    @property
    def name(self) -> str:
        """Name of the way; lists found in one way are never served in place of those of another."""

    def is_exact(self, present: Tensor) -> bool:
        """Whether lists of these items are exact, so that a longer one serves every smaller k."""

    def find(self, key: str, features: Tensor, present: Tensor, k: int, shrink: float) -> Neighbours:
        """Lists of at least ``k`` neighbours; arguments as in :func:`knn`, ``key`` is their hash."""

    def used(self, lists: Neighbours) -> None:
        """Called with all lists that are handed out."""


class Exact:
    """Exact lists, computed in this process."""

    name = "exact"

    def is_exact(self, present: Tensor) -> bool:
        """They are."""
        return True

    def find(self, key: str, features: Tensor, present: Tensor, k: int, shrink: float) -> Neighbours:
        """:func:`knn`."""
        return knn(features, present, k, shrink=shrink)

    def used(self, lists: Neighbours) -> None:
        """Nothing is noted."""


_search: contextvars.ContextVar[Search | None] = contextvars.ContextVar("search", default=None)


@contextlib.contextmanager
def found_by(search: Search) -> Iterator[None]:
    """Let :func:`cached_knn` find lists by ``search`` until the end of the block."""
    token = _search.set(search)
    try:
        yield
    finally:
        _search.reset(token)


_lists = Memo[Neighbours](CACHED_LISTS, KEPT_BYTES, lambda lists: lists.nbytes)


def cached_knn(features: Tensor, present: Tensor, k: int, *, shrink: float = 0.0) -> Neighbours:
    """:func:`knn` of constant features, kept in memory under the hash of its arguments.

    A stored list serves every smaller ``k`` if it is exact.
    """
    search = _search.get() or Exact()
    features = features.to(torch.get_default_dtype())
    length, given = max(k, STORED), (shrink, features, present)
    if search.is_exact(present):
        key = content_key(search.name, *given)
    else:
        # What an approximate search finds depends on how many it looks for. So k alone decides that number, and not
        # what was asked for before; powers of two, because every other one would be searched again.
        length = max(STORED, 1 << (k - 1).bit_length())
        key = content_key(search.name, length, *given)
    lists = _lists.get(
        key,
        lambda: search.find(key, features, present, length, shrink),
        lambda kept: kept.k >= min(k, len(kept.items)),
    )
    search.used(lists)
    return lists.top(k)


def unseen_knn(features: Tensor, present: Tensor, warm: Tensor, k: int, *, shrink: float = 0.0) -> Neighbours:
    """Exact nearest seen items of every unseen item; similarity as in :func:`knn`.

    Args:
        features: ``(n_items, d)``.
        present: whether an item has content, ``(n_items,)``.
        warm: whether an item has a training interaction, ``(n_items,)``.
        k: neighbours per item.
        shrink: damps similarities of items with small features.
    """
    seen, of_seen, lengths = directions(features, present & warm)
    unseen, of_unseen, own = directions(features, present & ~warm)
    if not len(seen):
        unseen, of_unseen, own = unseen[:0], of_unseen[:0], own[:0]
    k, n = min(k, len(seen)), len(features)
    indices = unseen.new_empty(len(unseen), k)
    values = features.new_empty(len(unseen), k)
    for rows in torch.arange(len(unseen), device=features.device).split(max(1, BLOCK_ENTRIES // max(len(seen), 1))):
        cosines = of_unseen[rows] @ of_seen.T
        if shrink != 0:
            product = own[rows].unsqueeze(1) * lengths
            cosines = cosines * (product / (product + shrink))
        place = best_of(cosines, unseen[rows], seen.expand(len(rows), -1), k, n)
        indices[rows], values[rows] = seen[place], cosines.gather(1, place)
    return Neighbours(n, unseen, indices, values)


def seen_and_unseen(
    features: Tensor, present: Tensor, warm: Tensor, k: int, *, shrink: float = 0.0
) -> tuple[Neighbours, Neighbours]:
    """Lists of the seen items among themselves, and of every unseen item among the seen ones, both from the cache.

    No list holds an unseen item: its row of a table was never trained, so that a seen item would be mixed with noise.
    Arguments as in :func:`unseen_knn`, and as in :func:`knn` for the seen items, which are neighbours of themselves.
    """
    seen = cached_knn(features, present & warm, k, shrink=shrink)
    features = features.to(torch.get_default_dtype())
    if not (present & ~warm).any():
        return seen, unseen_knn(features, present, warm, k)
    key = content_key("unseen", shrink, features, present, warm)
    unseen = _lists.get(
        key,
        lambda: unseen_knn(features, present, warm, max(k, STORED), shrink=shrink),
        lambda kept: kept.k >= min(k, len(seen.items)),
    )
    return seen, unseen.top(k)


def joined(seen: Neighbours, unseen: Neighbours) -> Neighbours:
    """The lists of seen and of unseen items together, as long as the shorter ones; no item may be in both."""
    if not len(unseen.items):
        return seen
    k = min(seen.k, unseen.k)
    parts = (seen.top(k), unseen.top(k))
    items, order = torch.cat([part.items for part in parts]).sort()
    indices = torch.cat([part.indices for part in parts])[order]
    return replace(seen, items=items, indices=indices, values=torch.cat([part.values for part in parts])[order])


def content_neighbours(features: Tensor, present: Tensor, warm: Tensor, k: int) -> Neighbours:
    r"""Nearest seen items by content around its mean, :math:`c_{ij} = \max(\cos(f_i - \bar f, f_j - \bar f), 0)`.

    Embeddings of one encoder all point in much the same direction; around their mean they differ. The item itself is
    left out, and an item whose features are the mean has no direction left and is isolated.

    Args:
        features: ``(n_items, d)``.
        present: whether an item has content, ``(n_items,)``.
        warm: whether an item has a training interaction, ``(n_items,)``.
        k: neighbours per item.
    """
    mean = features[present].double().mean(0)  # of equal rows it is that row to the last bit, which leaves zero
    seen, unseen = seen_and_unseen(features - mean.to(features.dtype), present, warm, k + 1)
    seen = replace(seen, indices=seen.indices[:, 1:], values=seen.values[:, 1:])
    lists = joined(seen, unseen.top(k))
    return replace(lists, values=lists.values.clamp_min(0.0))
