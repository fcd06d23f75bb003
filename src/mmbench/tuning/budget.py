"""The tuning effort that every condition of a comparison gets."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from mmbench.messages import Refusal

#: Trials that are never cut short; the other trials have to reach the median of their scores at a rung.
PILOTS = 5


@dataclass(frozen=True)
class Budget:
    """Tuning effort of a cell.

    Args:
        name: name of the budget.
        trials: configurations tried, T.
        seeds: final runs of the chosen one, S.
        max_epochs: epochs of a training at most.
        patience: epochs without a better validation score before a training stops.
        batches_per_epoch: steps per epoch at most, or None for all.
        tpe: trials that TPE proposes after the random ones.
        rungs: epochs after which a trial stops that is below the median of the first :data:`PILOTS`; ascending.
    """

    name: str
    trials: int
    seeds: int
    max_epochs: int
    patience: int
    batches_per_epoch: int | None = None
    tpe: int = 0
    rungs: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for field in ("trials", "seeds", "max_epochs", "patience", "batches_per_epoch"):
            value = getattr(self, field)
            if value is not None and (not _is_whole(value) or value < 1):
                raise Refusal("{key}={value} must be a whole number of at least 1", key=f"budget.{field}", value=value)
        if not _is_whole(self.tpe) or self.tpe < 0:
            raise Refusal("{key}={value} must be a whole number of at least 0", key="budget.tpe", value=self.tpe)
        object.__setattr__(self, "rungs", tuple(self.rungs or ()))
        epochs = [0, *self.rungs, self.max_epochs]
        if not all(map(_is_whole, epochs)) or any(a >= b for a, b in itertools.pairwise(epochs)):
            raise Refusal(
                "budget.rungs={rungs} must be ascending epochs from 1 to below max_epochs={max_epochs}",
                rungs=list(self.rungs),
                max_epochs=self.max_epochs,
            )


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
