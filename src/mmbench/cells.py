"""The unit of tuning and of a table: one dataset, one model, one condition, and what tuning it needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from mmbench import search
from mmbench.budget import Budget
from mmbench.data.conditions import ModalityCondition
from mmbench.data.features import ItemFeature
from mmbench.data.interactions import Interactions
from mmbench.search import Configuration, Space
from mmbench.training import ModelFactory, TrainingSettings

#: Added to a trial's number to give its seed, by stage; final seeds are 1..S, so no two stages meet.
SEEDS = {"tune": 10_000, "extended": 20_000, "final": 0}

Recipe = Callable[[Configuration], tuple[ModelFactory, TrainingSettings]]


class Cell(NamedTuple):
    """The unit of tuning and of a table; modality ``-`` for a model that ignores content."""

    dataset: str
    model: str
    modality: str

    def __str__(self) -> str:
        return "/".join(self)


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

    cell: Cell
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
        return search.configurations(self.space, self.default, trials or self.budget.trials, key)

    def inputs(self, seed: int, condition: ModalityCondition | None = None) -> dict[str, ItemFeature]:
        """Features of a run after the condition (or after another one); ``seed`` drives the random states."""
        counts = np.bincount(self.train.items, minlength=self.train.n_items)
        return (condition or self.condition).apply(self.features, seed, counts)


class CellFailed(RuntimeError):
    """The cell has no result; the message says why."""


class Unit(NamedTuple):
    """One training of a cell.

    A random trial (``tune``, its slot), one that TPE proposes (``extended``, its place) or a final run (``final``, its
    seed).
    """

    stage: str
    number: int

    @property
    def seed(self) -> int:
        """Seed of the training: the same for all conditions."""
        return SEEDS[self.stage] + self.number
