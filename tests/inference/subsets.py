"""The definition of the tuned gain, counted: every set of trials that could have been drawn, one after the other."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from mmbench.inference.best_of_n import TunedCell

Draw = Mapping[str, tuple[int, ...]]
#: Nothing is deleted.
NOTHING = ("", 0)


def slots_of(cells: Sequence[TunedCell]) -> dict[str, int]:
    """Slots by model."""
    return {cell.model: len(cell.tuning.scores) for cell in cells}


def draws(slots: Mapping[str, int], n: int, deleted: tuple[str, int] = NOTHING) -> Iterator[Draw]:
    """All sets of n - 1 random slots per model, without one slot of one model."""
    sets = []
    for model, trials in slots.items():
        left = [slot for slot in range(1, trials) if (model, slot) != deleted]
        sets.append([(model, drawn) for drawn in itertools.combinations(left, n - 1)])
    for drawn in itertools.product(*sets):
        yield dict(drawn)


def best(cells: Sequence[TunedCell], draw: Draw) -> list[tuple[int, int]]:
    """Cell and slot of the best on validation, several where random slots of one cell are equal, none if all failed."""
    candidates = [
        (cell.tuning.scores[slot], slot == 0, -index, slot)
        for index, cell in enumerate(cells)
        for slot in (0, *draw[cell.model])
        if math.isfinite(cell.tuning.scores[slot])
    ]
    if not candidates:
        return []
    top = max(candidate[:3] for candidate in candidates)
    return [(-top[2], candidate[3]) for candidate in candidates if candidate[:3] == top]


def weights(
    cells: Sequence[TunedCell], n: int, slots: Mapping[str, int], deleted: tuple[str, int] = NOTHING
) -> list[np.ndarray]:
    """Share of the sets in which each slot is chosen, for each cell; cells in their order."""
    found = [np.zeros(slots[cell.model]) for cell in cells]
    for draw in draws(slots, n, deleted):
        chosen = best(cells, draw)
        for index, slot in chosen:
            found[index][slot] += 1.0 / len(chosen)
    total = sum(own.sum() for own in found)
    return [own / total if total else np.full_like(own, np.nan) for own in found]


def by_user(cells: Sequence[TunedCell], given: Sequence[np.ndarray]) -> np.ndarray:
    """Expected metric of every user."""
    total = np.zeros(len(cells[0].tuning.users))
    for cell, own in zip(cells, given, strict=True):
        for slot, weight in enumerate(own):
            if weight != 0:
                total += weight * cell.tuning.test[slot]
    return total


def promised(cells: Sequence[TunedCell], given: Sequence[np.ndarray]) -> float:
    """Expected validation score."""
    pairs = zip(cells, given, strict=True)
    return sum(w * cell.tuning.scores[slot] for cell, own in pairs for slot, w in enumerate(own) if w != 0)


def log_ratio(
    sides: Sequence[Sequence[TunedCell]], n: int, slots: Mapping[str, int], deleted: tuple[str, int] = NOTHING
) -> float:
    a, b = (by_user(side, weights(side, n, slots, deleted)).mean() for side in sides)
    return math.log(a) - math.log(b)


def a_beats_b(sides: Sequence[Sequence[TunedCell]], n: int, slots: Mapping[str, int]) -> float:
    """Share of the sets in which A's choice has the higher test metric; a tie on validation goes to the lower slot."""
    wins = []
    for draw in draws(slots, n):
        chosen = [best(side, draw) for side in sides]
        if all(chosen):
            a, b = (
                side[picked[0][0]].tuning.means[min(slot for _, slot in picked)]
                for side, picked in zip(sides, chosen, strict=True)
            )
            wins.append(1.0 if a > b else 0.5 if a == b else 0.0)
    return float(np.mean(wins)) if wins else math.nan


def jackknife(values: Sequence[float]) -> float:
    """Variance by deleting one in turn."""
    array = np.array(values)
    return float((len(array) - 1) / len(array) * ((array - array.mean()) ** 2).sum())
