"""Which trial is the best on validation among n of those that were run, over all ways to draw the n.

The default configuration, slot 0, is always among them; the other n - 1 are drawn without replacement from the random
slots, the same ones for all cells of a model and independently between models (Bajgar et al. 2018; Dodge et al. 2019;
Tang et al. 2020). A failed trial has the validation score minus infinity: it can be drawn, and is never chosen. See
``docs/protocol.md``, Tuned gain.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mmbench.inference.intervals import Matrix, Vector

Levels = NDArray[np.int64]
#: As many numbers as an array over trials, levels and deleted slots has at once, unless one number of trials has more.
BLOCK = 1 << 21


class SeedNoise(NamedTuple):
    """How far the test metric of one configuration moves with the training seed.

    Attributes:
        relative_sd: standard deviation over the mean.
        df: degrees of freedom of the standard deviation.
    """

    relative_sd: float
    df: float

    @staticmethod
    def of_finals(metric: Sequence[float] | Vector) -> SeedNoise | None:
        """From the test metric of the successful final runs ``(n_seeds,)``; None where they do not tell it.

        >>> SeedNoise.of_finals([1.0, 2.0, 3.0])
        SeedNoise(relative_sd=0.5, df=2.0)
        """
        runs = np.asarray(metric, np.float64)
        if len(runs) < 2 or not runs.mean() > 0:
            return None
        return SeedNoise(float(runs.std(ddof=1) / runs.mean()), len(runs) - 1.0)


#: A closed form has no seed.
NO_SEED_NOISE = SeedNoise(0.0, 1.0)


@dataclass(frozen=True, eq=False)
class Tuning:
    """The random trials of one condition, slot 0 being the default configuration.

    Trials that a sampler proposed after looking at others are no part of it.

    Args:
        validation: validation score of each slot, ``(n_trials,)``; what is not finite is a failed trial.
        test: test metric of each slot and user, ``(n_trials, n_users)``; NaN in the rows of failed trials.
        users: the test users, ``(n_users,)``.
        configurations: hash of the configuration in each slot, ``(n_trials,)``.
        seed_noise: of the default configuration; None where it is unknown.
        exhausted: the space holds no further configuration, so the number of trials limits no other condition.

    Raises:
        ValueError: if the sizes differ, or a trial with a validation score lacks the test metric of a user.
    """

    validation: Vector
    test: Matrix
    users: NDArray[Any]
    configurations: Sequence[str]
    seed_noise: SeedNoise | None
    exhausted: bool = False

    def __post_init__(self) -> None:
        trials = len(self.validation)
        if not trials or self.test.shape != (trials, len(self.users)) or len(self.configurations) != trials:
            raise ValueError(
                f"{trials} validation scores, {len(self.configurations)} configurations and {len(self.users)} users "
                f"do not belong to a test metric of shape {self.test.shape}"
            )
        unmeasured = np.flatnonzero(np.isfinite(self.scores) & ~np.isfinite(self.means))
        if len(unmeasured):
            raise ValueError(f"the trials {unmeasured.tolist()} have a validation score and no test metric of a user")

    @functools.cached_property
    def scores(self) -> Vector:
        """Validation score of each slot, minus infinity for a failed trial, ``(n_trials,)``."""
        return np.where(np.isfinite(self.validation), self.validation, -np.inf)

    @functools.cached_property
    def means(self) -> Vector:
        """Mean test metric of each slot, ``(n_trials,)``."""
        return np.asarray(self.test.mean(axis=1, dtype=np.float64))


@dataclass(frozen=True, eq=False)
class TunedCell:
    """One condition of one model, with its trials.

    Args:
        model: model; all its cells share their slots.
        condition: modality condition.
        n_modalities: number of modalities that it uses; of equal scores the cell with fewer wins, then by name.
        tuning: its trials.
        runs: key of the trainings; two cells with the same key are the same trainings.
    """

    model: str
    condition: str
    n_modalities: int
    tuning: Tuning
    runs: str

    @property
    def name(self) -> str:
        """Its name in tables."""
        return f"{self.model}/{self.condition}"


@functools.lru_cache(maxsize=4096)
def all_among(m: int, d: int) -> Vector:
    r"""Chance that all of d draws from m are among c given ones, :math:`\binom{c}{d}/\binom{m}{d}`, ``(m + 1,)``.

    NaN where d draws are more than there are.
    """
    if d > m:
        return np.full(m + 1, np.nan)
    chances, whole, ways = np.zeros(m + 1), math.comb(m, d), 1
    for c in range(d, m + 1):
        chances[c] = ways / whole
        ways = ways * (c + 1) // (c + 1 - d)  # whole numbers, so that nothing is lost
    return chances


class RandomSlots:
    """The random slots of one model on one side, each with the cell in which it scores best.

    Attributes:
        cell: index of that cell, ``(m,)``.
        score: validation score there, ``(m,)``.
        test: mean test metric there, ``(m,)``; NaN where the slot failed in all cells.
        level: place of the score among the side's levels, ``(m,)``; 0 where the slot is never chosen.
        rank: the same with the lower slot first among equal ones, ``(m,)``.
        count: slots at or below each level, ``(K + 1,)``.
    """

    count: Levels

    def __init__(self, cells: Mapping[int, TunedCell], trials: int) -> None:
        scores = np.stack([cell.tuning.scores[1:trials] for cell in cells.values()])
        means = np.stack([cell.tuning.means[1:trials] for cell in cells.values()])
        best, slots = scores.argmax(axis=0), np.arange(trials - 1)
        self.cell = np.array(list(cells))[best]
        self.score, self.test = scores[best, slots], means[best, slots]
        self.level, self.rank = np.zeros(trials - 1, np.int64), np.zeros(trials - 1, np.int64)


class Side:
    """What can be chosen on one side, in levels: level 0 is the default, the others are random slots that beat it.

    A level holds the random slots of one cell with one validation score. Levels ascend; of equal scores the earlier
    cell stands higher.
    """

    def __init__(self, cells: Sequence[TunedCell], trials: Mapping[str, int]) -> None:
        self.cells, self.trials = cells, trials
        defaults = [cell.tuning.scores[0] for cell in cells]
        self.first = int(np.argmax(defaults))
        self.default = cells[self.first]
        default_score = float(defaults[self.first])
        self.default_succeeded = math.isfinite(default_score)
        by_model: dict[str, dict[int, TunedCell]] = {}
        for index, cell in enumerate(cells):
            by_model.setdefault(cell.model, {})[index] = cell
        self.random = {model: RandomSlots(own, trials[model]) for model, own in by_model.items()}
        # What beats the default, ascending: by score, then later cells and later slots first.
        beating = sorted(
            (float(score), -int(cell), -slot, model)
            for model, random in self.random.items()
            for slot, (score, cell) in enumerate(zip(random.score, random.cell, strict=True))
            if score > default_score
        )
        levels = sorted({(score, later) for score, later, _, _ in beating})
        level_of = {level: place for place, level in enumerate(levels, start=1)}
        default_test = float(self.default.tuning.means[0]) if self.default_succeeded else 0.0
        self.ranked_test = np.full(len(beating) + 1, default_test)
        for rank, (score, later, last, model) in enumerate(beating, start=1):
            random = self.random[model]
            random.level[-last], random.rank[-last] = level_of[score, later], rank
            self.ranked_test[rank] = random.test[-last]
        self.size, total = np.ones(len(levels) + 1), np.full(len(levels) + 1, default_test)
        self.size[1:], total[1:] = 0.0, 0.0
        for random in self.random.values():
            beats = random.level > 0
            np.add.at(self.size, random.level[beats], 1.0)
            np.add.at(total, random.level[beats], random.test[beats])
            random.count = np.bincount(random.level, minlength=len(levels) + 1).cumsum()
        self.test = total / self.size
        self.validation = np.array([default_score if self.default_succeeded else 0.0, *(score for score, _ in levels)])

    def _below(self, model: str, numbers: Sequence[int]) -> Matrix:
        """Chance that all draws of a model are at or below each level, ``(len(numbers), K + 1)``."""
        random = self.random[model]
        m = len(random.level)
        return np.stack([all_among(m, min(n - 1, m))[random.count] for n in numbers])

    def _chances(self, below: Matrix) -> Matrix:
        """Chance of each level to hold the chosen trial, from the chance that all draws are at or below it."""
        steps = np.diff(below, axis=-1, prepend=0.0)
        if not self.default_succeeded:
            steps[..., 0] = 0.0
        total = steps.sum(axis=-1, keepdims=True)
        return np.divide(steps, total, out=np.full_like(steps, np.nan), where=total != 0)

    def chances(self, numbers: Sequence[int]) -> Matrix:
        """Chance of each level to hold the chosen trial, ``(len(numbers), K + 1)``."""
        below = [self._below(model, numbers) for model in self.random]
        return self._chances(functools.reduce(np.multiply, below))

    def log_without(self, model: str, numbers: Sequence[int], *, test: bool) -> Matrix:
        """Logarithm of the expected metric with each random slot of a model deleted, ``(len(numbers), m)``."""
        random, k = self.random[model], np.arange(len(self.size))
        m, slots = len(random.level), np.arange(len(random.level))
        count = random.count - (random.level[:, None] <= k)
        values = np.tile(self.test if test else self.validation, (m, 1))
        if test:
            # The rest of the slot's level; where the slot is alone there, the level has lost its chance.
            rest = self.size[random.level] - 1
            remaining = self.size[random.level] * self.test[random.level] - np.where(random.level > 0, random.test, 0.0)
            shared = (random.level > 0) & (rest > 0)
            values[slots[shared], random.level[shared]] = remaining[shared] / rest[shared]
        found = np.empty((len(numbers), m))
        each = max(1, BLOCK // max(values.size, 1))
        for first in range(0, len(numbers), each):
            some = numbers[first : first + each]
            below = np.stack([all_among(m - 1, min(n - 1, m))[count] for n in some])
            for other in self.random:
                if other != model:
                    below *= self._below(other, some)[:, None, :]
            found[first : first + each] = log_of_positive((self._chances(below) * values).sum(axis=-1))
        return found

    def slot_weights(self, model: str, chances: Matrix) -> Matrix:
        """Weights of the random slots of a model, cells of the side added, ``(len(numbers), m)``."""
        level = self.random[model].level
        return np.where(level > 0, chances[:, level] / self.size[level], 0.0)

    def weights(self, chances: Matrix) -> list[Matrix]:
        """Weights of all slots, for each cell ``(len(numbers), n_trials)``."""
        found = []
        for index, cell in enumerate(self.cells):
            own = np.zeros((len(chances), self.trials[cell.model]))
            own[:, 1:] = np.where(self.random[cell.model].cell == index, self.slot_weights(cell.model, chances), 0.0)
            if index == self.first:
                own[:, 0] = chances[:, 0]
            found.append(own)
        return found

    def by_user(self, weights: Sequence[Matrix]) -> Matrix:
        """Expected metric of every user, ``(len(numbers), n_users)``."""
        total = np.zeros((len(weights[0]), len(self.default.tuning.users)))
        for cell, own in zip(self.cells, weights, strict=True):
            used = np.flatnonzero((own > 0).any(axis=0))  # what is never chosen may have no metric
            if len(used):
                rows = cell.tuning.test[: own.shape[1]]
                total += own[:, used] @ (rows if len(used) == len(rows) else rows[used])
        return total


def log_of_positive(x: Matrix) -> Matrix:
    """Logarithm, NaN of what is not positive."""
    return np.log(x, out=np.full_like(x, np.nan), where=x > 0)


def a_beats_b(a: Side, b: Side, n: int) -> float:
    """Probability that the trial chosen on A has the higher test metric, when both sides share the draw."""
    below = np.ones((len(a.ranked_test), len(b.ranked_test)))
    for model in {**a.random, **b.random}:
        ranks = [side.random[model].rank if model in side.random else None for side in (a, b)]
        m = len(next(rank for rank in ranks if rank is not None))
        rows, columns = (np.zeros(m, np.int64) if rank is None else rank for rank in ranks)
        count = np.zeros(below.shape, np.int64)
        np.add.at(count, (rows, columns), 1)
        below *= all_among(m, min(n - 1, m))[count.cumsum(axis=0).cumsum(axis=1)]
    chance = np.diff(np.diff(below, axis=0, prepend=0.0), axis=1, prepend=0.0)
    if not a.default_succeeded:
        chance[0] = 0.0
    if not b.default_succeeded:
        chance[:, 0] = 0.0
    total = float(chance.sum())
    if total == 0.0:
        return math.nan
    return float((chance * (0.5 + 0.5 * np.sign(a.ranked_test[:, None] - b.ranked_test))).sum()) / total
