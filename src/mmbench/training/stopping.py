"""When a training ends: the same rule for every condition."""

from __future__ import annotations

import math
from dataclasses import dataclass

from mmbench.messages import Refusal

#: Metric on validation that stops a training and chooses among trials.
SELECTION_METRIC = "ndcg@20"
#: Patience never ends a training before validation was ranked this often without a better score.
LEAST_RANKINGS = 5


@dataclass(frozen=True)
class StoppingRule:
    """When a training ends, in optimizer steps: an epoch is a few of them on one data set and hundreds on another.

    Validation is ranked after every epoch. ``docs/protocol.md`` tells how the values were chosen.

    Args:
        patience_steps: steps without a better validation score after which a training stops.
        min_steps: steps before which patience ends nothing.
        max_steps: steps at most.
        least_epochs: epochs that ``max_steps`` never cuts short.
    """

    patience_steps: int
    min_steps: int
    max_steps: int
    least_epochs: int = 1

    def __post_init__(self) -> None:
        for name in ("patience_steps", "min_steps", "max_steps", "least_epochs"):
            value, least = getattr(self, name), 0 if name == "min_steps" else 1
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise Refusal(
                    "{key}={value} must be a whole number of at least {least}",
                    key=f"budget.{name}",
                    value=value,
                    least=least,
                )

    def most_epochs(self, steps_per_epoch: int) -> int:
        """Epochs at most."""
        return max(math.ceil(self.max_steps / steps_per_epoch), self.least_epochs)

    def fewest_epochs(self, steps_per_epoch: int) -> int:
        """Epochs of a training that is best after its first one."""
        patience = max(math.ceil(self.patience_steps / steps_per_epoch), LEAST_RANKINGS)
        fewest = max(1 + patience, math.ceil(self.min_steps / steps_per_epoch))
        return min(fewest, self.most_epochs(steps_per_epoch))

    def is_out_of_patience(self, epoch: int, risen_at: int, steps_per_epoch: int) -> bool:
        """Whether patience ends a training after ``epoch``.

        Args:
            epoch: the epoch that has ended, from 1.
            risen_at: the first epoch that reached the best score, from 1.
            steps_per_epoch: optimizer steps of an epoch.
        """
        waited = epoch - risen_at
        return (
            waited >= LEAST_RANKINGS
            and waited * steps_per_epoch >= self.patience_steps
            and epoch * steps_per_epoch >= self.min_steps
        )
