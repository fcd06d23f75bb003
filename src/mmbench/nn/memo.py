"""Results that follow from data alone, kept in memory for the next training of this process."""

from __future__ import annotations

import hashlib
import math
import weakref
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, ClassVar, Generic, TypeVar

from torch import Tensor

T = TypeVar("T")

#: Bytes that the results of one memo may take together where their number alone does not bound them.
KEPT_BYTES = 1 << 30


def content_key(*parts: object) -> str:
    """SHA-256 of values by their ``repr`` and of tensors by type, shape and bytes, whatever their device."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, Tensor):
            digest.update(repr((part.dtype, tuple(part.shape))).encode())
            digest.update(part.cpu().contiguous().numpy().data)
        else:
            digest.update(repr(part).encode())
        digest.update(b"\0")
    return digest.hexdigest()


class Memo(Generic[T]):
    """The results that were used last, by key. A caller must not change what it gets.

    Args:
        capacity: number of results that are kept.
        room: what they may take together by ``size``, where that is limited; the newest one is kept in any case.
        size: what a result takes, for example in bytes.
    """

    _all: ClassVar[weakref.WeakSet[Memo[Any]]] = weakref.WeakSet()

    def __init__(self, capacity: int, room: float = math.inf, size: Callable[[T], float] = lambda kept: 0.0) -> None:
        self.capacity, self.room, self.size = capacity, room, size
        self._kept: OrderedDict[str, T] = OrderedDict()
        self._all.add(self)

    @classmethod
    def empty_all(cls) -> None:
        """Let go of what every memo of this process keeps, because memory is short; it is computed anew when asked."""
        for memo in cls._all:
            memo._kept.clear()

    def get(self, key: str, make: Callable[[], T], serves: Callable[[T], bool] = lambda kept: True) -> T:
        """The result under ``key``.

        Args:
            key: says everything that the result depends on.
            make: computes it, where none is kept or the one that is kept does not serve.
            serves: whether a kept result will do.
        """
        result = self._kept.pop(key, None)
        if result is None or not serves(result):
            result = make()
        self._kept[key] = result  # the newest place
        while len(self._kept) > self.capacity or (len(self._kept) > 1 and self._taken() > self.room):
            self._kept.popitem(last=False)
        return result

    def _taken(self) -> float:
        return sum(map(self.size, self._kept.values()))
