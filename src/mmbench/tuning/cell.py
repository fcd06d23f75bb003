"""What tuning a cell needs, and nothing of the test split."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from mmbench.data.conditions import ModalityCondition
from mmbench.data.features import ItemFeature
from mmbench.data.interactions import Interactions
from mmbench.store.schema import CellName, Configuration
from mmbench.training.fit import ModelFactory
from mmbench.training.settings import TrainingSettings
from mmbench.tuning.budget import Budget
from mmbench.tuning.space import Space, configurations

Recipe = Callable[[Configuration], tuple[ModelFactory, TrainingSettings]]


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
    """

    cell: CellName
    train: Interactions
    valid: Interactions
    features: Mapping[str, ItemFeature]
    condition: ModalityCondition
    space: Space
    default: Configuration
    budget: Budget
    recipe: Recipe
    split_fingerprint: str

    def slots(self, trials: int | None = None) -> list[Configuration]:
        """The configuration of each slot; the draws depend on dataset and model only.

        Args:
            trials: how many, by default those of the budget; fewer are the beginning of more.
        """
        key = f"{self.cell.dataset}|{self.cell.model}|space"
        return configurations(self.space, self.default, trials or self.budget.trials, key)

    def inputs(self, seed: int, condition: ModalityCondition | None = None) -> dict[str, ItemFeature]:
        """Features of a run after the condition (or after another one); ``seed`` drives the random states."""
        counts = np.bincount(self.train.items, minlength=self.train.n_items)
        return (condition or self.condition).apply(self.features, seed, counts)


class CellFailed(RuntimeError):
    """The cell has no result; the message says why."""
