"""Modality conditions: the only place where the conditions of a comparison differ (METHOD §2, RULINGS 13).

A condition gives every modality a state. Controls keep as much of the real features as they can, so that what they
destroy is the only difference: ``shuffle`` is the strictest, ``gaussian_cov`` loses clusters too, ``gaussian_diag``
correlations, ``mean`` all variation between items. ``ones``, ``zeros`` and ``noise`` are there to reproduce the source
study only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mmbench.data.features import ItemFeature, with_missing_filled
from mmbench.messages import Message, Refusal, listed

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


def gaussian_cov(feature: ItemFeature, rng: np.random.Generator) -> ItemFeature:
    r"""Normal rows of the same mean and full covariance, :math:`m + Z S^{1/2} V^\top`: no clusters, no alignment."""
    rows = feature.values[feature.present].astype(np.float64)
    mean = rows.mean(axis=0)
    _, scales, directions = np.linalg.svd(rows - mean, full_matrices=False)
    z = rng.standard_normal((len(feature.values), len(scales)))
    return _drawn(mean + (z * (scales / np.sqrt(max(len(rows) - 1, 1)))) @ directions, feature)


def gaussian_diag(feature: ItemFeature, rng: np.random.Generator) -> ItemFeature:
    """Normal rows with the mean and standard deviation of each dimension: no correlations, no alignment."""
    rows = feature.values[feature.present].astype(np.float64)
    return _drawn(rng.normal(rows.mean(axis=0), rows.std(axis=0), feature.values.shape), feature)


def mean(feature: ItemFeature, rng: np.random.Generator) -> ItemFeature:
    """Every row the column mean: scale and location, no difference between items."""
    rows = feature.values[feature.present]
    return _drawn(np.broadcast_to(rows.mean(axis=0, dtype=np.float64), feature.values.shape), feature)


def ones(feature: ItemFeature, rng: np.random.Generator) -> ItemFeature:
    """Every entry one (legacy: a control of the source study)."""
    return _drawn(np.ones(feature.values.shape), feature)


def zeros(feature: ItemFeature, rng: np.random.Generator) -> ItemFeature:
    """Every entry zero (legacy: breaks models that divide by a norm without a guard)."""
    return _drawn(np.zeros(feature.values.shape), feature)


def noise(feature: ItemFeature, rng: np.random.Generator) -> ItemFeature:
    """Entries from N(1, 0.1), the source study's control: rows are nearly parallel, practically a constant."""
    return _drawn(rng.normal(1.0, 0.1, feature.values.shape), feature)


def _drawn(values: NDArray[np.float64], feature: ItemFeature) -> ItemFeature:
    return with_missing_filled(values.astype(np.float32), feature.present)


STATES: Mapping[str, Maker] = {
    maker.__name__: maker for maker in (real, drop, shuffle, gaussian_cov, gaussian_diag, mean, ones, zeros, noise)
}
#: Which items lose their content first under a missing rate.
MISSING_RULES = ("random", "tail")


@dataclass(frozen=True)
class ModalityCondition:
    """State of each modality.

    Args:
        default: state of a modality that ``states`` does not name.
        states: state by modality name.
        missing: share of the items with content that lose it, by modality name (METHOD §2 rule 4).
        missing_rule: ``random``, or ``tail``: the items with the fewest training interactions lose theirs first.
        seed: added to the run's seed where a state draws random numbers.
    """

    default: str = "real"
    states: Mapping[str, str] = field(default_factory=dict)
    missing: Mapping[str, float] = field(default_factory=dict)
    missing_rule: str = "random"
    seed: int = 0

    def __post_init__(self) -> None:
        for where, state in [("default", self.default), *((f"states.{m}", s) for m, s in self.states.items())]:
            if state not in STATES:
                raise Refusal(
                    "modality.{where}={state} is not a state; states are {states}",
                    where=where,
                    state=state,
                    states=", ".join(STATES),
                )
        if self.missing_rule not in MISSING_RULES:
            first, second = MISSING_RULES
            raise Refusal(
                "modality.missing_rule={rule} is unknown; it is {first} or {second}",
                rule=self.missing_rule,
                first=first,
                second=second,
            )
        for name, rate in self.missing.items():
            if not (isinstance(rate, int | float) and 0 <= rate < 1):
                raise Refusal(
                    "modality.missing.{modality}={rate} must be at least 0 and below 1; use drop for all",
                    modality=name,
                    rate=rate,
                )

    def state(self, modality: str) -> str:
        """The state of one modality."""
        return self.states.get(modality, self.default)

    def check(self, modalities: Iterable[str], dataset: str) -> None:
        """Refuse a condition that names a modality the dataset lacks.

        Raises:
            ValueError: naming the modality and those the dataset has.
        """
        known = sorted(modalities)
        asked = {n: Message("asked as {state}", state=s) for n, s in self.states.items() if s != "drop"}
        asked |= {n: Message("asked to miss {rate}", rate=rate) for n, rate in self.missing.items() if rate}
        for name, how in asked.items():
            if name not in known:
                raise Refusal(
                    "dataset {name} has no modality {modality} ({how}); it has: {held}",
                    name=dataset,
                    modality=repr(name),
                    how=how,
                    held=listed(known),
                )

    def kept(self, modalities: Iterable[str]) -> list[str]:
        """Names of the modalities that are not dropped, in name order."""
        return [name for name in sorted(modalities) if self.state(name) != "drop"]

    def apply(
        self, features: Mapping[str, ItemFeature], seed: int, train_counts: NDArray[np.int64] | None = None
    ) -> dict[str, ItemFeature]:
        """Apply the condition, in name order; each modality draws from its own seeded streams.

        Args:
            features: real features by modality.
            seed: the run's seed.
            train_counts: training interactions of each item, ``(n_items,)``; needed for ``missing_rule=tail``.

        Raises:
            ValueError: if a control comes out equal to the real features.
        """
        result: dict[str, ItemFeature] = {}
        for name in sorted(features):
            state = self.state(name)
            partial = self._with_missing(name, features[name], seed, train_counts)
            made = STATES[state](partial, _stream(self.seed, seed, name))
            if made is None:
                continue
            if state != "real" and made.fingerprint() == partial.fingerprint():
                raise Refusal(
                    "modality {modality}: state {state} left the features unchanged, so it controls nothing",
                    modality=name,
                    state=repr(state),
                )
            result[name] = made
        return result

    def _with_missing(
        self, name: str, feature: ItemFeature, seed: int, train_counts: NDArray[np.int64] | None
    ) -> ItemFeature:
        """Take away content; the items that miss at a rate also miss at every higher one."""
        having = np.flatnonzero(feature.present)
        n_lost = round(self.missing.get(name, 0.0) * len(having))
        if n_lost == 0:
            return feature
        order = _stream(self.seed, seed, f"{name}|missing").permutation(having)
        if self.missing_rule == "tail":
            if train_counts is None:
                raise Refusal("modality.missing_rule=tail needs the training interactions of each item")
            order = order[np.argsort(train_counts[order], kind="stable")]
        present = feature.present.copy()
        present[order[:n_lost]] = False
        return with_missing_filled(feature.values, present)


def control_statistics(made: ItemFeature, real_feature: ItemFeature, sample: int = 500) -> dict[str, float | bool]:
    """What a record says of a control: is it different, and how alike are its rows (METHOD §2 rule 6)?

    Args:
        made: features after the condition.
        real_feature: features before it.
        sample: rows of the pairwise cosine, evenly spaced.

    Returns:
        ``differs_from_real``, and mean and standard deviation of the cosine over pairs of present rows.
    """
    rows = made.values[made.present].astype(np.float64)
    rows = rows[np.unique(np.linspace(0, len(rows) - 1, min(sample, len(rows))).astype(int))] if len(rows) else rows
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    unit = rows / np.maximum(norms, 1e-12)
    cosine = (unit @ unit.T)[np.triu_indices(len(rows), 1)] if len(rows) > 1 else np.zeros(1)
    return {
        "differs_from_real": made.fingerprint() != real_feature.fingerprint(),
        "cosine_mean": float(cosine.mean()),
        "cosine_sd": float(cosine.std()),
    }


def _stream(condition_seed: int, run_seed: int, purpose: str) -> np.random.Generator:
    word = int.from_bytes(hashlib.sha256(purpose.encode()).digest()[:8], "big")
    return np.random.default_rng([condition_seed, run_seed, word])
