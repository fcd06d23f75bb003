"""Modality conditions: the only place where the conditions of a comparison differ (docs/protocol.md).

A condition gives every modality a state. Controls keep as much of the real features as they can, so that what they
destroy is the only difference: ``shuffle`` is the strictest, ``gaussian_cov`` loses clusters too, ``gaussian_diag``
correlations, ``mean`` all variation between items. ``ones``, ``zeros`` and ``noise`` are there to reproduce the source
study only.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from mmbench import extensions
from mmbench.data.divisions import DIVISIONS
from mmbench.data.features import ItemFeature, with_missing_filled
from mmbench.messages import Message, Refusal, listed

#: Where a user writes the name of a state.
SETTING = "modality.states"
Maker = Callable[[ItemFeature, np.random.Generator], ItemFeature | None]


def real(feature: ItemFeature, rng: np.random.Generator) -> ItemFeature:
    """The features as they are."""
    return feature


def drop(feature: ItemFeature, rng: np.random.Generator) -> None:
    """No features: towers, loss terms and graphs of the modality vanish, as if it had never been bought."""
    return


def shuffle(feature: ItemFeature, rng: np.random.Generator) -> ItemFeature:
    """One permutation of the item rows: same marginal distribution and capacity, no alignment with items."""
    order = rng.permutation(len(feature.values))
    return ItemFeature(feature.values[order], feature.present[order])


def gaussian_cov(feature: ItemFeature, rng: np.random.Generator) -> ItemFeature:
    r"""Normal rows of the same mean and full covariance, :math:`m + Z S^{1/2} V^\top`: no clusters, no alignment."""
    rows = feature.values[feature.present].astype(np.float64)
    mean = rows.mean(axis=0)
    # The last bits of a decomposition depend on how many threads share it.
    with _threads().limit(limits=1, user_api="blas"):
        _, scales, directions = np.linalg.svd(rows - mean, full_matrices=False)
        z = rng.standard_normal((len(feature.values), len(scales)))
        return _drawn(mean + (z * (scales / np.sqrt(max(len(rows) - 1, 1)))) @ directions, feature)


@functools.cache  # to look for them takes ten milliseconds
def _threads() -> ThreadpoolController:
    """The threads of the libraries that numpy computes with."""
    return ThreadpoolController()


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


def is_state(name: object) -> bool:
    """Whether a name is that of a state: of one here, of one that an installed package offers, or a dotted name."""
    if name in STATES:
        return True
    return isinstance(name, str) and (extensions.is_dotted(name) or name in extensions.offered(extensions.STATES))


def maker_of(name: str) -> Maker:
    """The function that makes a state; one that is not of this package is imported, and its result is checked.

    Raises:
        ValueError: if it cannot be imported or is no function.
    """
    if name in STATES:
        return STATES[name]
    own = extensions.function(extensions.STATES, name, SETTING)

    def made(feature: ItemFeature, rng: np.random.Generator) -> ItemFeature | None:
        result = own(_locked(feature), rng)
        if result is not None and not _fits(result, feature):
            raise Refusal(
                "state {state} must return None, or an ItemFeature with finite float32 values of a row and a truth "
                "value for each of the {n} items",
                state=name,
                n=len(feature.values),
            )
        if result is None or (result.values.flags.writeable and result.present.flags.writeable):
            return result
        return ItemFeature(result.values.copy(), result.present.copy())

    return made


def _locked(feature: ItemFeature) -> ItemFeature:
    """The features for a function of somebody else's: whoever writes into them would change those of every training."""
    values, present = feature.values.view(), feature.present.view()
    values.flags.writeable = present.flags.writeable = False
    return ItemFeature(values, present)


def _fits(result: object, feature: ItemFeature) -> bool:
    """Whether what a function of somebody else's returns are features of the same items."""
    if not isinstance(result, ItemFeature):
        return False
    values, present, n = np.asarray(result.values), np.asarray(result.present), len(feature.values)
    shapes = values.ndim == 2 and len(values) == n and present.shape == (n,)
    return bool(shapes and values.dtype == np.float32 and present.dtype == np.bool_ and np.isfinite(values).all())


#: Which items lose their content first under a missing rate.
RANDOM, TAIL, SLICE = MISSING_RULES = ("random", "tail", "slice")


class UnchangedControl(Refusal):
    """A control that leaves the real features as they are: all rows are equal, or one alone has content."""


@dataclass(frozen=True)
class ModalityCondition:
    """State of each modality.

    Args:
        default: state of a modality that ``states`` does not name.
        states: state by modality name.
        missing: share of the items with content that lose it, by modality name; under ``slice`` of those outside it.
        missing_rule: ``random``; ``tail``: the items with the fewest training interactions lose theirs first;
            ``slice``: those outside ``missing_slice`` lose theirs, and the state is that of the items that keep it.
        missing_slice: the slice that keeps its content, ``<division>:<label>``, see :mod:`mmbench.data.divisions`.
        missing_items: fingerprint of the items of that slice; a record has it, no configuration.
        seed: added to the run's seed where a state draws random numbers.
    """

    default: str = "real"
    states: Mapping[str, str] = field(default_factory=dict)
    missing: Mapping[str, float] = field(default_factory=dict)
    missing_rule: str = RANDOM
    missing_slice: str = ""
    missing_items: str = ""
    seed: int = 0

    def __post_init__(self) -> None:
        for setting in ("states", "missing"):
            if not isinstance(getattr(self, setting), Mapping):
                raise Refusal(
                    "{setting}={value} must be set by modality, as in {setting}.image=...",
                    setting=f"modality.{setting}",
                    value=getattr(self, setting),
                )
        if type(self.seed) is not int or self.seed < 0:
            raise Refusal(
                "{setting}={value} must be a whole number of at least 0", setting="modality.seed", value=self.seed
            )
        for where, state in [("default", self.default), *((f"states.{m}", s) for m, s in self.states.items())]:
            if not is_state(state):
                raise Refusal(
                    "modality.{where}={state} is not a state; states are {states}",
                    where=where,
                    state=state,
                    states=", ".join([*STATES, *extensions.offered(extensions.STATES)]),
                )
        if self.missing_rule not in MISSING_RULES:
            first, second, third = MISSING_RULES
            raise Refusal(
                "modality.missing_rule={rule} is unknown; it is {first}, {second} or {third}",
                rule=self.missing_rule,
                first=first,
                second=second,
                third=third,
            )
        for name, rate in self.missing.items():
            number = isinstance(rate, int | float) and not isinstance(rate, bool)
            if self.missing_rule == SLICE and not (number and 0 <= rate <= 1):
                raise Refusal(
                    "modality.missing.{modality}={rate} must be from 0 to 1, the share of the items outside the slice "
                    "that lose theirs",
                    modality=name,
                    rate=rate,
                )
            if self.missing_rule != SLICE and not (number and 0 <= rate < 1):
                raise Refusal(
                    "modality.missing.{modality}={rate} must be at least 0 and below 1; use drop for all",
                    modality=name,
                    rate=rate,
                )
        self._check_slice()

    def _check_slice(self) -> None:
        """Refuse a slice without its rule, a rule without its slice, and what is no slice of items."""
        if self.missing_rule != SLICE:
            if self.missing_slice:
                raise Refusal(
                    "modality.missing_slice={slice} needs modality.missing_rule=slice", slice=self.missing_slice
                )
            return
        division, colon, label = str(self.missing_slice).partition(":")
        if not colon or not label or division not in DIVISIONS:
            raise Refusal(
                "modality.missing_slice={slice} must be <division>:<label>, as in popularity:6-20; divisions are "
                "{divisions}",
                slice=self.missing_slice,
                divisions=", ".join(DIVISIONS),
            )
        if not self.thinned:
            raise Refusal(
                "modality.missing_rule=slice takes content from the items outside {slice}; say of which modality, as "
                "in modality.missing.image=1",
                slice=self.missing_slice,
            )

    @property
    def thinned(self) -> bool:
        """Whether items lose content that they have."""
        return any(self.missing.values())

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
        self,
        features: Mapping[str, ItemFeature],
        seed: int,
        train_counts: NDArray[np.int64] | None = None,
        inside: NDArray[np.bool_] | None = None,
    ) -> dict[str, ItemFeature]:
        """Apply the condition, in name order; each modality draws from its own seeded streams.

        Args:
            features: real features by modality.
            seed: the run's seed.
            train_counts: training interactions of each item, ``(n_items,)``; needed for ``missing_rule=tail``.
            inside: items of the slice, ``(n_items,)``; needed for ``missing_rule=slice``.

        Raises:
            UnchangedControl: if a control comes out equal to the real features.
        """
        result: dict[str, ItemFeature] = {}
        for name in sorted(features):
            state = self.state(name)
            partial = self._with_missing(name, features[name], seed, train_counts, inside)
            rng = _stream(self.seed, seed, name)
            if self.missing_rule == SLICE and self.missing.get(name):
                made = _among_present(maker_of(state), partial, rng)
            else:
                made = maker_of(state)(partial, rng)
            if made is None:
                continue
            if state != "real" and made.fingerprint() == partial.fingerprint():
                raise UnchangedControl(
                    Message(
                        "modality {modality}: state {state} left the features unchanged, so it controls nothing",
                        modality=name,
                        state=repr(state),
                    )
                )
            result[name] = made
        return result

    def _with_missing(
        self,
        name: str,
        feature: ItemFeature,
        seed: int,
        train_counts: NDArray[np.int64] | None,
        inside: NDArray[np.bool_] | None,
    ) -> ItemFeature:
        """Take content away from some items; an item without content at one rate has none at any higher rate."""
        rate, losing = self.missing.get(name, 0.0), feature.present
        if self.missing_rule == SLICE and rate:
            if inside is None:
                raise Refusal("modality.missing_rule=slice needs the items of the slice")
            losing = feature.present & ~inside
            if not (feature.present & inside).any():
                raise Refusal(
                    "modality.missing_slice={slice}: no item of it has {modality}",
                    slice=self.missing_slice,
                    modality=name,
                )
        having = np.flatnonzero(losing)
        n_lost = round(rate * len(having))
        if n_lost == 0:
            return feature
        order = _stream(self.seed, seed, f"{name}|missing").permutation(having)
        if self.missing_rule == TAIL:
            if train_counts is None:
                raise Refusal("modality.missing_rule=tail needs the training interactions of each item")
            order = order[np.argsort(train_counts[order], kind="stable")]
        present = feature.present.copy()
        present[order[:n_lost]] = False
        return with_missing_filled(feature.values, present)


def _among_present(maker: Maker, feature: ItemFeature, rng: np.random.Generator) -> ItemFeature | None:
    """A state of the items that have content, the others left without.

    Which items have content is known of a slice without any image, so a control must not change it: else a model would
    learn from real rows who belongs to the slice, and that would count as a gain by images.
    """
    having = feature.present
    made = maker(ItemFeature(feature.values[having], having[having]), rng)
    if made is None:
        return None
    values = feature.values.copy()
    values[having] = made.values
    return with_missing_filled(values, having, in_place=True)


class ControlStatistics(NamedTuple):
    """Does a control differ from the real features? Mean and standard deviation of the cosine over pairs of rows."""

    differs_from_real: bool
    cosine_mean: float
    cosine_sd: float


def control_statistics(made: ItemFeature, real_feature: ItemFeature, sample: int = 500) -> ControlStatistics:
    """What a record says of a control: is it different, and how alike are its rows?

    Args:
        made: features after the condition.
        real_feature: features before it.
        sample: present rows whose pairwise cosine is taken, evenly spaced.
    """
    rows = made.values[made.present].astype(np.float64)
    rows = rows[np.unique(np.linspace(0, len(rows) - 1, min(sample, len(rows))).astype(int))] if len(rows) else rows
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    unit = rows / np.maximum(norms, np.finfo(np.float64).tiny)
    cosine = (unit @ unit.T)[np.triu_indices(len(rows), 1)] if len(rows) > 1 else np.zeros(1)
    differs = made.fingerprint() != real_feature.fingerprint()
    return ControlStatistics(differs, float(cosine.mean()), float(cosine.std()))


def _stream(condition_seed: int, run_seed: int, purpose: str) -> np.random.Generator:
    word = int.from_bytes(hashlib.sha256(purpose.encode()).digest()[:8], "big")
    return np.random.default_rng([condition_seed, run_seed, word])
