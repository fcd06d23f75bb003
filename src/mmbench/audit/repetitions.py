"""Which repetition of a data set a cell is of: by what the plan holds of it, so that no other record parts the two.

A report judges the repetitions of a data set together, and an audit compares what else their records say they are.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from mmbench.data.held_out import OF_NEW_ITEMS
from mmbench.inference.repetitions import Repeated
from mmbench.store.schema import Cell

#: Setting of a data set that tells its repetitions apart, and the word before its number in the data set's name.
SETTINGS = {Repeated.FOLD: ("cold_fold", "fold"), Repeated.SPLIT: ("split_seed", "split")}


class Shared(NamedTuple):
    """What all repetitions of a data set have in common.

    Attributes:
        kind: what differs between them.
        data: their name without it; it says encoders too.
        draw: number of the draw of slots, seeds and shuffles.
        target: what tuning aims at.
        users: how many users rank validation, where that is a sample.
    """

    kind: Repeated
    data: str
    draw: int
    target: str
    users: int | None


def repetition_of(cell: Cell) -> tuple[Shared, int]:
    """What the data set of a cell repeats, and as which number."""
    settings = cell.config["dataset"]
    of_new = settings.get(SETTINGS[Repeated.FOLD][0]) is not None or cell.target in OF_NEW_ITEMS
    kind = Repeated.FOLD if of_new else Repeated.SPLIT
    number = int(settings.get(SETTINGS[kind][0]) or 0)
    users = None if cell.sample is None else cell.sample.users
    return Shared(kind, without_number(cell.dataset, kind, number), cell.draw, cell.target, users), number


def without_number(dataset: str, kind: Repeated, number: int) -> str:
    """The name of a data set without the number of its repetition."""
    return re.sub(rf"-{SETTINGS[kind][1]}{number}(?![^-])", "", dataset, count=1)
