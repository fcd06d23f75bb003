"""M1: what each modality adds to the metric, alone, on top of the others, and together (Shapley 1953).

A game gives every subset of the modalities the value the metric has with it. Each measure is a weighted sum of values,
so that the same sum of the tables over users and final runs has its crossed interval, and the redundancy share, a ratio
of two of them, that of a relative gain.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from mmbench.inference.intervals import UNCHANGED, Interval, Matrix, bounded_gain, bounded_interval, crossed_interval
from mmbench.messages import Refusal

Coalition = frozenset[str]
#: Weight of each subset's value in a measure.
Weights = Mapping[Coalition, float]

EMPTY: Coalition = frozenset()


def coalitions(modalities: Coalition) -> Iterator[Coalition]:
    """All subsets, the empty one first."""
    names = sorted(modalities)
    for size in range(len(names) + 1):
        yield from map(frozenset, itertools.combinations(names, size))


def modalities_of(game: Mapping[Coalition, object]) -> Coalition:
    """The modalities of a game.

    Raises:
        ValueError: if a subset has no value.
    """
    everyone = frozenset().union(*game)
    if not everyone:
        raise Refusal("a game needs at least one modality")
    if missing := [subset for subset in coalitions(everyone) if subset not in game]:
        raise Refusal(
            "no value for {conditions}; every subset of {modalities} needs one",
            conditions=", ".join("+".join(sorted(subset)) or "none" for subset in missing),
            modalities=", ".join(sorted(everyone)),
        )
    return everyone


def shapley_weights(everyone: Coalition, name: str) -> Weights:
    r"""Shapley value of a modality, :math:`\sum_{S \not\ni m} \frac{|S|!\,(n-|S|-1)!}{n!} [v(S \cup m) - v(S)]`.

    The values of all modalities add up to :math:`v(\text{all}) - v(\emptyset)` (Shapley 1953). Each of two modalities
    that repeat each other gets half of what they tell, so a decision about one rests on what it adds to the rest.
    """
    n = len(everyone)
    weights: dict[Coalition, float] = {}
    for s in coalitions(everyone - {name}):
        weight = math.factorial(len(s)) * math.factorial(n - len(s) - 1) / math.factorial(n)
        weights |= {s | {name}: weight, s: -weight}
    return weights


def interaction_weights(everyone: Coalition, a: str, b: str) -> Weights:
    r"""Interaction of a pair: negative for substitutes, positive for synergy (Grabisch & Roubens 1999).

    :math:`\sum_{S \not\ni a,b} \frac{|S|!\,(n-|S|-2)!}{(n-1)!} [v(S{+}a{+}b) - v(S{+}a) - v(S{+}b) + v(S)]`.
    """
    n = len(everyone)
    weights: dict[Coalition, float] = {}
    for s in coalitions(everyone - {a, b}):
        weight = math.factorial(len(s)) * math.factorial(n - len(s) - 2) / math.factorial(n - 1)
        weights |= {s | {a, b}: weight, s | {a}: -weight, s | {b}: -weight, s: weight}
    return weights


def alone_weights(everyone: Coalition, name: str) -> Weights:
    r"""What a modality adds to nothing, :math:`v(m) - v(\emptyset)`."""
    return {frozenset({name}): 1.0, EMPTY: -1.0}


def given_rest_weights(everyone: Coalition, name: str) -> Weights:
    r"""What a modality adds to all the others, :math:`v(\text{all}) - v(\text{all} \setminus m)`."""
    return {everyone: 1.0, everyone - {name}: -1.0}


def combined(weights: Weights, game: Mapping[Coalition, float]) -> float:
    """The weighted sum of a game's values."""
    return math.fsum(weight * game[subset] for subset, weight in weights.items())


def interaction(game: Mapping[Coalition, float], a: str, b: str) -> float:
    """Interaction of two modalities; see :func:`interaction_weights`."""
    return combined(interaction_weights(modalities_of(game), a, b), game)


@dataclass(frozen=True)
class ModalityValue:
    """What one modality is worth, in units of the metric.

    Args:
        shapley: its Shapley value.
        alone: what it adds to nothing.
        given_rest: what it adds to all others; decisions rest on this.
        redundancy: share of what it adds alone that the others tell too, ``1 - given_rest / alone``; None unless the
            interval of ``alone`` lies above zero, for of what takes away there is no share.
    """

    shapley: Interval
    alone: Interval
    given_rest: Interval
    redundancy: Interval | None


@dataclass(frozen=True)
class PairValue:
    """How two modalities work together.

    Args:
        interaction: negative where they repeat each other, positive where they help each other.
        log_agrees: whether it has the same sign on the logarithm of the metric, where effects are relative; near a
            ceiling or floor of the metric the two can differ. None where a value is zero and has no logarithm.
    """

    interaction: Interval
    log_agrees: bool | None


@dataclass(frozen=True)
class Contributions:
    """M1 of one dataset and model.

    Args:
        base: metric without any modality.
        full: metric with all of them.
        modalities: by name.
        pairs: by the two names in name order.
    """

    base: Interval
    full: Interval
    modalities: Mapping[str, ModalityValue]
    pairs: Mapping[tuple[str, str], PairValue]


def contributions(tables: Mapping[Coalition, Matrix], *, level: float = 0.95) -> Contributions:
    """Shapley values, marginals, redundancy and interactions with crossed intervals over users and seeds.

    Bounds are infinite where no user tells how uncertain a value is, see :func:`bounded_interval`.

    Args:
        tables: metric of every user and seed, ``(n_users, n_seeds)``, users and seeds paired, for every subset of the
            modalities.
        level: coverage.

    Raises:
        ValueError: if a subset is missing or the tables differ in shape.
    """
    everyone = modalities_of(tables)
    shapes = {table.shape for table in tables.values()}
    if len(shapes) != 1:
        raise ValueError(f"tables of shapes {', '.join(map(str, sorted(shapes)))} are not paired")
    game = _Game(everyone, tables, level)
    return Contributions(
        game.measured({EMPTY: 1.0}),
        game.measured({everyone: 1.0}),
        {name: game.modality(name) for name in sorted(everyone)},
        {names: game.pair(*names) for names in itertools.combinations(sorted(everyone), 2)},
    )


@dataclass(frozen=True)
class _Game:
    """A game's values by user and seed, ``(n_users, n_seeds)``."""

    everyone: Coalition
    tables: Mapping[Coalition, Matrix]
    level: float

    def table(self, weights: Weights) -> Matrix:
        """A weighted sum of the tables; what equal numbers leave by rounding is zero."""
        total = np.zeros_like(self.tables[EMPTY])
        for subset, weight in weights.items():
            total = total + weight * self.tables[subset]
        return np.where(np.abs(total) <= UNCHANGED, 0.0, total)

    def measured(self, weights: Weights) -> Interval:
        """A weighted sum of values with its interval, whose bounds are infinite as those of a relative gain are."""
        table = self.table(weights)
        return bounded_interval(crossed_interval(table, self.level), len(table))

    def modality(self, name: str) -> ModalityValue:
        """What one modality is worth."""
        first, last = alone_weights(self.everyone, name), given_rest_weights(self.everyone, name)
        on_nothing = self.measured(first)
        redundancy = None
        if on_nothing.lo > 0:
            kept = bounded_gain(self.table(last), self.table(first), self.level)
            redundancy = Interval(-kept.mean, -kept.hi, -kept.lo, self.level)
        return ModalityValue(
            self.measured(shapley_weights(self.everyone, name)), on_nothing, self.measured(last), redundancy
        )

    def pair(self, a: str, b: str) -> PairValue:
        """How two modalities work together."""
        interaction = self.measured(interaction_weights(self.everyone, a, b))
        means = {subset: float(table.mean()) for subset, table in self.tables.items()}
        return PairValue(interaction, _log_agrees(means, a, b, interaction.mean))


def _log_agrees(means: Mapping[Coalition, float], a: str, b: str, value: float) -> bool | None:
    if not all(mean > 0 for mean in means.values()):
        return None
    logs = {subset: math.log(mean) for subset, mean in means.items()}
    return bool(np.sign(interaction(logs, a, b)) == np.sign(value))
