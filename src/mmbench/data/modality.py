"""Modality conditions: the only place where the conditions of a comparison differ (METHOD §2, RULINGS 13)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from mmbench.data.features import ItemFeature

Maker = Callable[[ItemFeature, np.random.Generator], ItemFeature | None]


def real(feature: ItemFeature, rng: np.random.Generator) -> ItemFeature:
    """The features as they are."""
    return feature


def drop(feature: ItemFeature, rng: np.random.Generator) -> None:
    """No features: towers, loss terms and graphs of the modality vanish. The business counterfactual."""
    return


def shuffle(feature: ItemFeature, rng: np.random.Generator) -> ItemFeature:
    """One permutation of the item rows: same marginal distribution and capacity, no alignment with items."""
    order = rng.permutation(len(feature.values))
    return ItemFeature(feature.values[order], feature.present[order])


STATES: Mapping[str, Maker] = {"real": real, "drop": drop, "shuffle": shuffle}


@dataclass(frozen=True)
class ModalityCondition:
    """State of each modality.

    Args:
        default: state of a modality that ``states`` does not name.
        states: state by modality name.
        seed: added to the run's seed where a state draws random numbers.
    """

    default: str = "real"
    states: Mapping[str, str] = field(default_factory=dict)
    seed: int = 0

    def __post_init__(self) -> None:
        for where, state in [("default", self.default), *((f"states.{m}", s) for m, s in self.states.items())]:
            if state not in STATES:
                raise ValueError(f"modality.{where}={state} is not a state; states are {', '.join(STATES)}")

    def state(self, modality: str) -> str:
        """The state of one modality."""
        return self.states.get(modality, self.default)

    def check(self, modalities: Iterable[str], dataset: str) -> None:
        """Refuse a condition that names a modality the dataset lacks.

        Raises:
            ValueError: naming the modality and those the dataset has.
        """
        known = sorted(modalities)
        for name, state in self.states.items():
            if name not in known and state != "drop":
                has = ", ".join(known) or "none"
                raise ValueError(f"dataset {dataset} has no modality {name!r} (asked as {state}); it has: {has}")

    def kept(self, modalities: Iterable[str]) -> list[str]:
        """Names of the modalities that are not dropped, in name order."""
        return [name for name in sorted(modalities) if self.state(name) != "drop"]

    def apply(self, features: Mapping[str, ItemFeature], seed: int) -> dict[str, ItemFeature]:
        """Apply the condition, in name order; each modality draws from its own seeded stream.

        Raises:
            ValueError: if a control comes out equal to the real features.
        """
        result: dict[str, ItemFeature] = {}
        for name in sorted(features):
            state = self.state(name)
            made = STATES[state](features[name], _stream(self.seed, seed, name))
            if made is None:
                continue
            if state != "real" and made.fingerprint() == features[name].fingerprint():
                raise ValueError(
                    f"modality {name}: state {state!r} left the features unchanged, so it controls nothing"
                )
            result[name] = made
        return result


def _stream(condition_seed: int, run_seed: int, modality: str) -> np.random.Generator:
    word = int.from_bytes(hashlib.sha256(modality.encode()).digest()[:8], "big")
    return np.random.default_rng([condition_seed, run_seed, word])
