"""Sweeps with the tuning drawn anew: configurations, training seeds and users, handed to the estimator of the product.

A regime is a population: how the true metric of a configuration depends on its tunables in each condition, how far it
moves with the training seed, and how users differ. Its truth is the tuned gain of that population. docs/calibration.md
describes the model; its constants are those below.
"""

from __future__ import annotations

import functools
import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mmbench.inference.best_of_n import SeedNoise, TunedCell, Tuning
from mmbench.inference.gains import Estimated
from mmbench.inference.tuned_gain import estimate

Array = NDArray[np.float64]
#: Metric of a configuration at the optimum of the surface.
LEVEL = 0.1
#: Tunables that every condition has.
SHARED = 3
#: Share of the variance by the seed that validation and test have in common: the run is better, not only luckier.
COMMON_SEED = 0.5
#: How far users' tastes move the metric, relative to their mean: of a condition, of a configuration in all conditions
#: alike, of a configuration in one condition; and what neither tastes nor validation share.
CONDITION_TASTE, CONFIGURATION_TASTE, OWN_TASTE, RESIDUAL = 0.1, 0.06, 0.06, 0.2
#: Sigma of the logarithm of heavy-tailed users, whose standard deviation is 4.1 times their mean; light: 1.4 times.
HEAVY = 1.7
#: Gain of the rare good region.
REGION_GAIN = 0.25
#: Replicas that share a stream of random numbers.
CHUNK = 250
#: Conditions of :func:`disposal` with their number of modalities; the last two shuffle the image.
CONDITIONS = {"none": 0, "text": 1, "image": 1, "fused": 2, "image_shuffled": 1, "text_shuffled_image": 2}


@dataclass(frozen=True)
class Surface:
    """Logarithm of the true metric of a configuration, from tunables that are uniform in [0, 1].

    Args:
        curvature: loss at distance one from the optimum, for each shared tunable.
        optimum: where the loss is zero.
        weighted: has a content weight as well, zero in a quarter of the configurations, and a tunable of its own that
            matters only where the weight is not zero.
        region: share of the space that is a good region which no other tunable tells of.
    """

    curvature: tuple[float, ...] = (0.8, 0.25, 0.15)
    optimum: tuple[float, ...] = (0.6, 0.4, 0.5)
    weighted: bool = False
    region: float = 0.0

    def __call__(self, tunables: Array) -> Array:
        """Of configurations ``(..., SHARED + 3)``."""
        shared, (weight, own, place) = tunables[..., :SHARED], np.moveaxis(tunables[..., SHARED:], -1, 0)
        value = -((shared - self.optimum) ** 2 @ np.array(self.curvature))
        if self.weighted:
            weight = np.maximum(weight - 0.25, 0.0) / 0.75
            value += weight * (0.2 - 0.3 * weight) - 0.15 * weight * (own - 0.5) ** 2
        if self.region:
            value += np.where(place < self.region, math.log1p(REGION_GAIN), 0.0)
        return np.asarray(value)


PLAIN = Surface()


@dataclass(frozen=True)
class Regime:
    """A population of sweeps.

    Args:
        name: its name in tables.
        surfaces: one per condition of a model.
        trials: T; the tuned gain is that of a third of them.
        finals: S.
        users: N.
        idiosyncratic: sd of what a configuration adds in one condition alone.
        seed: relative sd of the metric by the training seed.
        heavy: whether few users carry most of the metric.
        default: quantile of the true metric of random configurations that the default configuration has.
        models: number of models, alike.
    """

    name: str
    surfaces: tuple[Surface, ...] = (PLAIN, PLAIN)
    trials: int = 30
    finals: int = 5
    users: int = 800
    idiosyncratic: float = 0.013
    seed: float = 0.01
    heavy: bool = False
    default: float = 0.8
    models: int = 1

    @property
    def n(self) -> int:
        """Number of trials that the gain speaks of."""
        return max(math.ceil(self.trials / 3), 2)

    @property
    def exchangeable(self) -> bool:
        """Whether nothing tells the conditions apart, so that no gain is true."""
        return len(set(self.surfaces)) == 1


def disposal(name: str, **changes: float) -> Regime:
    """A regime of free disposal: text and images are useless in all conditions."""
    return Regime(name, surfaces=(PLAIN,) * len(CONDITIONS), **changes)  # type: ignore[arg-type]


class Runs(NamedTuple):
    """Trainings of one model, slot 0 being the default: arrays ``(..., n_conditions, n_slots)``.

    Attributes:
        quality: true metric, of which the seed has moved what validation sees too.
        test: true metric on test.
        validation: true metric on validation.
        tastes: how the tastes of users move the metric, ``(..., n_conditions, n_slots, n_tastes)``.
    """

    quality: Array
    test: Array
    validation: Array
    tastes: NDArray[np.float32]


@functools.cache
def default_level(surface: Surface, idiosyncratic: float, quantile: float) -> float:
    """Logarithm of the true metric of the default configuration."""
    rng = np.random.default_rng(0)
    level = surface(rng.random((200_000, SHARED + 3))) + idiosyncratic * rng.standard_normal(200_000)
    return float(np.quantile(level, quantile))


def draw_runs(regime: Regime, rng: np.random.Generator, replicas: int, slots: int) -> Runs:
    """The default and ``slots - 1`` random configurations in all conditions of a model, for several sweeps."""
    shape = (replicas, len(regime.surfaces), slots)
    tunables = rng.random((replicas, slots, SHARED + 3))
    level = np.stack([surface(tunables) for surface in regime.surfaces], axis=1)
    level += regime.idiosyncratic * rng.standard_normal(shape)
    level[..., 0] = [default_level(surface, regime.idiosyncratic, regime.default) for surface in regime.surfaces]
    quality = LEVEL * np.exp(level)
    common = math.sqrt(COMMON_SEED) * rng.standard_normal(shape)
    own_test, own_validation = math.sqrt(1 - COMMON_SEED) * rng.standard_normal((2, *shape))
    n_tastes = len(regime.surfaces)
    scale = np.float32(1 / math.sqrt(n_tastes))
    tastes = rng.standard_normal((*shape, n_tastes), np.float32) * (OWN_TASTE * scale)
    tastes += rng.standard_normal((replicas, 1, slots, n_tastes), np.float32) * (CONFIGURATION_TASTE * scale)
    tastes += CONDITION_TASTE * np.eye(n_tastes, dtype=np.float32)[:, None]
    return Runs(
        quality * (1 + regime.seed * common),
        quality * (1 + regime.seed * (common + own_test)),
        quality * (1 + regime.seed * (common + own_validation)),
        tastes,
    )


@dataclass(frozen=True)
class Users:
    """Test users of one sweep.

    Args:
        level: what each user adds to the metric of any training, mean one, ``(N,)``.
        tastes: independent, of mean zero and sd one, ``(n_tastes, N)``.
    """

    level: NDArray[np.float32]
    tastes: NDArray[np.float32]
    weighted: NDArray[np.float32] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "weighted", self.tastes * self.level)

    @staticmethod
    def drawn(regime: Regime, rng: np.random.Generator) -> Users:
        normal = rng.standard_normal(regime.users, np.float32)
        level = np.exp(HEAVY * normal - HEAVY**2 / 2) if regime.heavy else normal**2
        return Users(level, rng.standard_normal((len(regime.surfaces), regime.users), np.float32))

    @property
    def mean_taste(self) -> Array:
        """How far the mean of the metric moves with each taste, ``(n_tastes,)``."""
        return np.asarray(self.weighted.mean(axis=1, dtype=np.float64) / self.level.mean(dtype=np.float64))

    @property
    def residual_sd(self) -> float:
        """Relative sd of the mean over users by what is neither level nor taste."""
        squares = float((self.level**2).mean(dtype=np.float64))
        return RESIDUAL * math.sqrt(squares / len(self.level)) / float(self.level.mean(dtype=np.float64))

    def metric(self, rng: np.random.Generator, means: Array, tastes: NDArray[np.float32]) -> NDArray[np.float32]:
        """Metric of every training and user, ``(n_runs, N)``: the residual of a user is one of two numbers."""
        shape = len(means), len(self.level)
        signs = np.unpackbits(np.frombuffer(rng.bytes(-(-math.prod(shape) // 8)), np.uint8))[: math.prod(shape)]
        metric = signs.reshape(shape) * (2 * RESIDUAL * self.level)
        metric += (1 - RESIDUAL) * self.level
        metric += tastes @ self.weighted
        metric *= means[:, None].astype(np.float32)
        return metric


def tunings(regime: Regime, rng: np.random.Generator, replicas: int) -> Iterator[list[list[Tuning]]]:
    """Sweeps: for each, the trials of every model and condition."""
    trials = [draw_runs(regime, rng, replicas, regime.trials) for _ in range(regime.models)]
    names, slots = np.arange(regime.users), [str(slot) for slot in range(regime.trials)]
    for replica in range(replicas):
        users = Users.drawn(regime, rng)
        sweep = []
        for runs in trials:
            test, validation, tastes = (runs_of[replica] for runs_of in runs[1:])
            noise = users.residual_sd * rng.standard_normal(validation.shape)
            validation = validation * (1 + tastes @ users.mean_taste + noise)
            metric = users.metric(rng, test.ravel(), tastes.reshape(-1, tastes.shape[-1])).reshape(*test.shape, -1)
            # Final runs of one configuration differ by the seed and by residuals alone.
            finals = 1 + np.hypot(regime.seed, users.residual_sd) * rng.standard_normal((len(test), regime.finals))
            noises = [SeedNoise.of_finals(final) for final in finals]
            of_condition = zip(validation, metric, noises, strict=True)
            sweep.append([Tuning(score, by_user, names, slots, noise) for score, by_user, noise in of_condition])
        yield sweep


def stream(regime: Regime, chunk: int) -> np.random.Generator:
    """The random numbers of a chunk of replicas."""
    return np.random.Generator(np.random.SFC64([zlib.crc32(regime.name.encode()), chunk]))


def estimates(regime: Regime, chunk: int, replicas: int = CHUNK) -> Iterator[Estimated]:
    """Condition A against B in each sweep of a chunk."""
    for (models,) in tunings(regime, stream(regime, chunk), replicas):
        a, b = (TunedCell("model", name, 0, tuning, name) for name, tuning in zip("ab", models, strict=True))
        yield estimate([a], [b])


def disposals(regime: Regime, chunk: int, replicas: int = CHUNK) -> Iterator[tuple[Estimated, Estimated]]:
    """Best of the real cells against the best of their controls, and against the best of those without images.

    The second has words here as if it were not refused for its unequal search.
    """
    for sweep in tunings(regime, stream(regime, chunk), replicas):
        cells: dict[str, list[TunedCell]] = {condition: [] for condition in CONDITIONS}
        for model, found in enumerate(sweep):
            for (condition, modalities), tuning in zip(CONDITIONS.items(), found, strict=True):
                runs = f"{model}/{condition}"
                cells[condition].append(TunedCell(f"model {model}", condition, modalities, tuning, runs))
        without = [*cells["none"], *cells["text"]]
        real = [*without, *cells["image"], *cells["fused"]]
        control = [*without, *cells["image_shuffled"], *cells["text_shuffled_image"]]
        plain = estimate(real, without)
        yield estimate(real, control), replace(plain, refusal=plain.estimate.no_word(plain.level))


class Truth(NamedTuple):
    """L of a population, and the standard error of its computation."""

    log_ratio: float
    se: float


def truth(regime: Regime, draws: int = 1_000_000, batch: int = 20_000) -> Truth:
    """The tuned gain of a population for users to come, from independent sweeps of n trials, the default among them.

    Nothing is left to chance where the conditions are exchangeable. Means over users are drawn as such, as normal ones.
    """
    if regime.exchangeable:
        return Truth(0.0, 0.0)
    rng = np.random.Generator(np.random.SFC64([zlib.crc32(regime.name.encode()), 1 << 31]))
    squares = math.exp(HEAVY**2) if regime.heavy else 3.0  # mean of the squared levels of users
    sd = math.sqrt(squares / regime.users)
    chosen = []
    for _ in range(draws // batch):
        runs = draw_runs(regime, rng, batch, regime.n)
        mean_taste = sd * rng.standard_normal((batch, 1, 1, runs.tastes.shape[-1]))
        noise = (runs.tastes * mean_taste).sum(axis=-1) + RESIDUAL * sd * rng.standard_normal(runs.quality.shape)
        best = (runs.validation * (1 + noise)).argmax(axis=-1)
        chosen.append(np.take_along_axis(runs.quality, best[..., None], axis=-1)[..., 0])
    metric = np.concatenate(chosen)
    mean = metric.mean(axis=0)
    relative = metric / mean
    se = float((relative[:, 0] - relative[:, 1]).std() / math.sqrt(len(metric)))
    return Truth(math.log(mean[0] / mean[1]), se)
