"""What tuning a cell needs, and nothing of the test split."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mmbench import fingerprint
from mmbench.data.conditions import ModalityCondition
from mmbench.data.features import ItemFeature
from mmbench.data.held_out import TARGETS, HeldOut
from mmbench.data.interactions import Interactions
from mmbench.store.schema import CellName, Configuration, Effort, Stage, Unit
from mmbench.tuning.budget import Budget
from mmbench.tuning.space import Space, configurations

if TYPE_CHECKING:  # an audit reads what was planned for a cell, and trains nothing
    from mmbench.training.fit import ModelFactory
    from mmbench.training.settings import TrainingSettings

#: Added to the seeds of draw 0 for every further draw of the tuning.
SEEDS_PER_DRAW = 100_000


@dataclass(frozen=True)
class CellTask:
    """Everything that tuning a cell needs, and nothing of the test split.

    Args:
        cell: which cell.
        train: training interactions.
        valid: validation interactions.
        features: real features by modality, before the condition.
        condition: the modality condition.
        space: search space.
        default: default configuration, slot 0.
        budget: tuning effort.
        recipe: makes a model factory and training settings from a configuration.
        split_fingerprint: SHA-256 of train and validation.
        draw: number of the draw of slots, seeds and shuffles; the name of the cell tells draws other than 0 apart.
        versions: versions and source of what decides numbers.
        new_valid: the whole of validation with its new items; None where there are none.
        target: what tuning aims at, one of :data:`mmbench.data.held_out.TARGETS`; empty where validation is ranked
            among all items.
        inside: items that keep their content under ``missing_rule=slice``, ``(n_items,)``; None for any other rule.
        given: a configuration that another sweep has tuned, the only one that is tried; None where the cell is tuned.
    """

    cell: CellName
    train: Interactions
    valid: Interactions
    features: Mapping[str, ItemFeature]
    condition: ModalityCondition
    space: Space
    default: Configuration
    budget: Budget
    recipe: Callable[[Configuration], tuple[ModelFactory, TrainingSettings]]
    split_fingerprint: str
    draw: int = 0
    versions: Mapping[str, str | None] = field(default_factory=dict)
    new_valid: HeldOut | None = None
    target: str = ""
    inside: NDArray[np.bool_] | None = None
    given: Configuration | None = None

    @property
    def versions_hash(self) -> str:
        """Fingerprint of the versions, see :func:`versions_hash`."""
        return versions_hash(self.versions)

    @functools.cached_property
    def effort(self) -> Effort:
        """How often the cell is to be trained."""
        return Effort(trials=len(self.slots()), proposals=self.budget.tpe, seeds=self.budget.seeds)

    def raised(self, effort: Effort) -> CellTask:
        """The task with at least so many trials and final runs."""
        budget = self.budget
        if effort.trials <= budget.trials and effort.seeds <= budget.seeds:
            return self
        raised = replace(budget, trials=max(budget.trials, effort.trials), seeds=max(budget.seeds, effort.seeds))
        return replace(self, budget=raised)

    def seed(self, unit: Unit) -> int:
        """Seed of a training: the same for all conditions, and another one in every draw."""
        return unit.seed + SEEDS_PER_DRAW * self.draw

    @property
    def informed(self) -> bool:
        """Whether its condition leaves any content with the items that it is of."""
        return any(self.condition.state(name) == "real" for name in self.features)

    def lists_new_items(self, stage: Stage) -> bool:
        """Whether a training ranks lists that hold new items and others, whose offset validation chooses.

        A final run does; any other one only where tuning aims at such lists, because it is tested for the target alone.
        """
        return stage == Stage.FINAL or TARGETS.get(self.target) == "all"

    def slots(self, trials: int | None = None) -> list[Configuration]:
        """The configuration of each slot; the draws depend on dataset, model and the number of the draw only.

        Args:
            trials: how many, by default those of the budget; fewer are the beginning of more.
        """
        return slots_of(self.cell, self.space, self.default, trials or self.budget.trials, self.given)

    def inputs(self, seed: int, condition: ModalityCondition | None = None) -> dict[str, ItemFeature]:
        """Features of a run after the condition (or after another one); ``seed`` drives the random states."""
        counts = np.bincount(self.train.items, minlength=self.train.n_items)
        return (condition or self.condition).apply(self.features, seed, counts, self.inside)


def slots_of(
    cell: CellName, space: Space, default: Configuration, trials: int, given: Configuration | None = None
) -> list[Configuration]:
    """The configuration of each slot; the draws depend on dataset and model only, the dataset's name on the draw.

    Args:
        cell: the cell.
        space: its search space.
        default: its default configuration, slot 0.
        trials: how many; fewer come back when the space holds fewer.
        given: the only configuration, where another sweep has tuned it.
    """
    if given is not None:
        return [given]
    return configurations(space, default, trials, f"{cell.dataset}|{cell.model}|space")


def versions_hash(versions: Mapping[str, str | None]) -> str:
    """Fingerprint of what decides numbers; the commit is left out, for it changes with what decides none."""
    return fingerprint.of_json({name: version for name, version in versions.items() if name != "commit"})


class CellFailed(RuntimeError):
    """The cell has no result; the message says why."""
