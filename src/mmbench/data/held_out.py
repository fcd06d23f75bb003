"""A held-out part in which some items are new, and what tuning may aim at there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mmbench.data.interactions import Interactions
from mmbench.messages import Message

#: Who competes in a list: new items alone, items of the training log alone, or both.
CANDIDATES = ("cold", "warm", "all")
#: What tuning may aim at where there are new items, and the candidates that are ranked for it.
TARGETS: Mapping[str, str] = {"cold": "cold", "warm": "warm", "harmonic": "all"}
#: Targets whose score is one of new items: what varies there is which items are new, not which users were tested.
OF_NEW_ITEMS = ("cold", "harmonic")
#: What tuning aims at, in words.
AIMS: Mapping[str, Message] = {
    "cold": Message("new items among themselves"),
    "warm": Message("items of the training log among themselves"),
    "harmonic": Message("new and other items in common lists, harmonic mean"),
    "": Message("all items"),
}


@dataclass(frozen=True)
class HeldOut:
    """A held-out part of a split in which some items are new.

    Args:
        rows: all of its interactions with items of the training log or of its pool.
        pool: the new items that the part ranks, ``(n_items,)``; those of validation and of test are disjoint.
        warm: items of the training log, ``(n_items,)``.
    """

    rows: Interactions
    pool: NDArray[np.bool_]
    warm: NDArray[np.bool_]

    def among(self, candidates: str) -> Interactions:
        """What is relevant among ``cold``, ``warm`` or ``all`` candidates; among all, of users who have both kinds."""
        if candidates == "all":
            cold, warm = (np.isin(self.rows.users, self.among(kind).users) for kind in ("cold", "warm"))
            return self.rows.select(cold & warm)
        return self.rows.select(self.allowed(candidates)[self.rows.items])

    def allowed(self, candidates: str) -> NDArray[np.bool_]:
        """Items that are ranked among ``cold``, ``warm`` or ``all`` candidates, ``(n_items,)``."""
        return {"cold": self.pool, "warm": self.warm, "all": self.pool | self.warm}[candidates]


def target_of(protocol: str, asked: str | None) -> str:
    """What tuning aims at: what was asked for, by default ``cold`` under the protocol of that name.

    Args:
        protocol: protocol of the data set.
        asked: a name of :data:`TARGETS`, or None for the default.

    Returns:
        The target, empty where all held-out interactions are ranked among all items.
    """
    return asked or ("cold" if protocol == "cold" else "")


def target_in_name(protocol: str, target: str) -> str:
    """What the name of a data set says of the target: nothing of the default of its protocol."""
    return "" if target == target_of(protocol, None) else f"-{target}"


def target_line(dataset: str, target: str) -> Message:
    """What the tuning of a data set aims at, as a sentence.

    Args:
        dataset: its name in paths and tables.
        target: a key of :data:`AIMS`.
    """
    return Message("{dataset}: tuned for and judged on {aim}.", dataset=dataset, aim=AIMS[target])
