"""Nearest items by constant content: found once, whoever asks, in the way that was asked for."""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Iterator
from dataclasses import replace
from typing import Protocol

import torch
from torch import Tensor

from mmbench.nn.knn import Neighbours, knn
from mmbench.nn.memo import Memo, content_key

#: Neighbours kept per item at least, so that one computation serves every k of a search space.
STORED = 64
#: Neighbour lists kept in memory: one per modality of a few data sets.
CACHED_LISTS = 8


class Search(Protocol):
    """A way to find nearest items."""

    @property
    def name(self) -> str:
        """What its lists are; those of ways with another name are never served in their place."""

    def find(self, key: str, features: Tensor, present: Tensor, k: int, shrink: float) -> Neighbours:
        """Lists of at least ``k`` neighbours, arguments as :func:`mmbench.nn.knn.knn`; ``key`` is their hash."""

    def used(self, lists: Neighbours) -> None:
        """Told of all lists that are handed out."""


class Exact:
    """Exact lists, computed on the spot."""

    name = "exact"

    def find(self, key: str, features: Tensor, present: Tensor, k: int, shrink: float) -> Neighbours:
        """:func:`mmbench.nn.knn.knn`."""
        return knn(features, present, k, shrink=shrink)

    def used(self, lists: Neighbours) -> None:
        """Nothing is kept."""


_search: contextvars.ContextVar[Search | None] = contextvars.ContextVar("search", default=None)


@contextlib.contextmanager
def found_by(search: Search) -> Iterator[None]:
    """Let :func:`cached_knn` find lists by ``search`` until the end of the block."""
    token = _search.set(search)
    try:
        yield
    finally:
        _search.reset(token)


_lists = Memo[Neighbours](CACHED_LISTS)


def cached_knn(features: Tensor, present: Tensor, k: int, *, shrink: float = 0.0) -> Neighbours:
    """:func:`knn` of constant features, kept in memory by content: other features can never be served by mistake.

    A stored list serves every smaller ``k``.
    """
    search = _search.get() or Exact()
    features = features.to(torch.get_default_dtype())
    key = content_key(search.name, shrink, features, present)
    found = _lists.get(
        key,
        lambda: search.find(key, features, present, max(k, STORED), shrink),
        lambda kept: kept.k >= min(k, len(kept.items)),
    )
    search.used(found)
    return found.top(k)


def content_neighbours(features: Tensor, present: Tensor, k: int) -> Neighbours:
    r"""Nearest items by content around its mean, :math:`c_{ij} = \max(\cos(f_i - \bar f, f_j - \bar f), 0)`.

    Embeddings of one encoder all point much the same way; around their mean they differ. The item itself is left out,
    and an item whose features are the mean has no direction left and is isolated.

    Args:
        features: ``(n_items, d)``.
        present: whether an item has content, ``(n_items,)``.
        k: neighbours per item.
    """
    mean = features[present].double().mean(0)  # of equal rows it is that row to the last bit, which leaves zero
    lists = cached_knn(features - mean.to(features.dtype), present, k + 1)
    return replace(lists, indices=lists.indices[:, 1:], values=lists.values[:, 1:].clamp_min(0.0))
