"""What follows from data alone, kept in memory for the next training of this process."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

from torch import Tensor

T = TypeVar("T")


def content_key(*parts: object) -> str:
    """SHA-256 of values by what they print and of tensors by type, shape and bytes, wherever they live."""
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
    """The results used last, by key. Whoever gets one must not change it.

    Args:
        capacity: how many are kept.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._kept: OrderedDict[str, T] = OrderedDict()

    def get(self, key: str, make: Callable[[], T], serves: Callable[[T], bool] = lambda kept: True) -> T:
        """What is kept under ``key``, made first where nothing is or what is kept does not serve."""
        found = self._kept.pop(key, None)
        if found is None or not serves(found):
            found = make()
        self._kept[key] = found
        while len(self._kept) > self.capacity:
            self._kept.popitem(last=False)
        return found

    def __len__(self) -> int:
        return len(self._kept)

    def clear(self) -> None:
        """Forget everything."""
        self._kept.clear()
