"""The tuning effort that every condition of a comparison gets."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from mmbench.messages import Refusal
from mmbench.store.schema import MOST_TRAININGS
from mmbench.training.stopping import StoppingRule

#: Trials that are never cut short; the other trials have to reach the median of their scores at a rung.
PILOTS = 5


@dataclass(frozen=True)
class Budget:
    """Tuning effort of a cell.

    Args:
        name: name of the budget.
        trials: configurations tried, T.
        seeds: final runs of the chosen one, S.
        patience_steps: optimizer steps without a better validation score before a training stops.
        min_steps: steps before which patience ends nothing.
        max_steps: steps of a training at most.
        least_epochs: epochs that ``max_steps`` never cuts short.
        batches_per_epoch: steps per epoch at most, or None for all.
        tpe: trials that TPE proposes after the random ones.
        rungs: steps after which a trial stops that is below the median of the first :data:`PILOTS`; ascending.
    """

    name: str
    trials: int
    seeds: int
    patience_steps: int
    min_steps: int
    max_steps: int
    least_epochs: int
    batches_per_epoch: int | None = None
    tpe: int = 0
    rungs: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for field in ("trials", "seeds", "batches_per_epoch"):
            value = getattr(self, field)
            if value is not None and (not _is_whole(value) or value < 1):
                raise Refusal("{key}={value} must be a whole number of at least 1", key=f"budget.{field}", value=value)
        if not _is_whole(self.tpe) or self.tpe < 0:
            raise Refusal("{key}={value} must be a whole number of at least 0", key="budget.tpe", value=self.tpe)
        for field in ("trials", "seeds", "tpe"):
            if (value := getattr(self, field)) > MOST_TRAININGS:
                raise Refusal(
                    "{key}={value} is too many; a cell has at most {most}",
                    key=f"budget.{field}",
                    value=value,
                    most=MOST_TRAININGS,
                )
        _ = self.stopping  # refuses what is no rule
        object.__setattr__(self, "rungs", tuple(self.rungs or ()))
        steps = [0, *self.rungs, self.max_steps]
        if not all(map(_is_whole, steps)) or any(a >= b for a, b in itertools.pairwise(steps)):
            raise Refusal(
                "budget.rungs={rungs} must be ascending steps from 1 to below max_steps={max_steps}",
                rungs=list(self.rungs),
                max_steps=self.max_steps,
            )

    @property
    def stopping(self) -> StoppingRule:
        """When a training ends."""
        return StoppingRule(self.patience_steps, self.min_steps, self.max_steps, self.least_epochs)


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
