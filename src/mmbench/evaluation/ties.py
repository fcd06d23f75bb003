"""The order of equal scores: pseudo-random, and the same wherever and in whatever blocks they are ranked."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:  # a report orders ties too, and loads no torch
    from torch import Tensor

#: Whole numbers of 64 bits.
Numbers = TypeVar("Numbers", "Tensor", NDArray[np.int64])

TIE_SEED = 0x5EED


def tie_key(users: Numbers, items: Numbers, seed: int = TIE_SEED) -> Numbers:
    """Pseudo-random 64-bit key of (user, item) by the SplitMix64 finaliser; the lower key goes first.

    Args:
        users: user indices.
        items: item indices, of a shape that broadcasts with that of ``users``.
        seed: of the keys.
    """
    # Additions wrap round, so that their order does not matter; in place, because a block has many keys.
    key = (users * 0x9E3779B97F4A7C1 + seed) + items * 0xD1B54A32D192ED0
    for shift, factor in ((30, -0x40A7B892E31B1A47), (27, -0x6B2FB644ECCEEE15)):
        key ^= _shifted(key, shift)
        key *= factor
    key ^= _shifted(key, 31)
    return key


def _shifted(key: Numbers, bits: int) -> Numbers:
    """Logical right shift of signed 64-bit numbers."""
    if isinstance(key, np.ndarray | np.generic):
        return (key.view(np.uint64) >> np.uint64(bits)).view(np.int64)
    shifted = key >> bits
    shifted &= (1 << (64 - bits)) - 1
    return shifted
