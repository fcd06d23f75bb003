"""Is a trial worth it? M4 and M5 together, before any recommender is trained."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from mmbench.data.features import ItemFeature
from mmbench.data.interactions import Interactions
from mmbench.inference.contribution import signal
from mmbench.inference.contribution.geometry import NeighbourOverlap, debiased_linear_cka, neighbour_overlap
from mmbench.inference.contribution.signal import NeighbourRecall, NewItemReach, Signal
from mmbench.messages import Refusal

#: Share of the variance of item factors below which a signal is not worth a trial, where all items have content; see
#: docs/decision.md.
EPSILON = 0.01
#: With fewer frequent items the pre-test says nothing.
MIN_ITEMS = 50


class Light(StrEnum):
    """Whether a trial of a modality is worth its cost."""

    GREEN = "yes"
    AMBER = "only without the others"
    RED = "no"


@dataclass(frozen=True)
class Pretest:
    """What content tells about a data set, from its training interactions alone.

    Args:
        n_items: items of the catalogue.
        n_frequent: items with enough training interactions to be used.
        coverage: share of those with content, by modality.
        signal: M4, prediction of collaborative item factors.
        recall: M4, co-purchase neighbours among content neighbours.
        overlap: M5, common neighbours of two modalities, by their names.
        cka: M5, debiased linear CKA of two modalities, by their names; NaN where one does not vary.
        reach: what content finds of items that nobody has taken; None where it was not asked for, and
            where nobody took an item of each of two folds.
    """

    n_items: int
    n_frequent: int
    coverage: Mapping[str, float]
    signal: Signal
    recall: NeighbourRecall
    overlap: Mapping[tuple[str, str], NeighbourOverlap]
    cka: Mapping[tuple[str, str], float]
    reach: NewItemReach | None = None

    @property
    def lights(self) -> dict[str, Light]:
        """The light of every modality."""
        return {name: light(self.signal, name, share) for name, share in self.coverage.items()}


def light(measured: Signal, name: str, coverage: float = 1.0) -> Light:
    """The light of one modality.

    Green: what only it predicts exceeds chance by :data:`EPSILON`, and with its whole interval the luckiest shuffle.
    Amber: not that, but by itself it predicts more than chance, so it mostly repeats the others. Red: neither.

    Args:
        measured: what was predicted of all items.
        name: of the modality.
        coverage: share of the items that have it, the only ones of which it can tell anything.
    """
    unique, null, least = measured.unique[name], measured.null_unique[name], EPSILON * coverage
    if unique.mean > float(null.mean()) + least and unique.lo > float(null.max()):
        return Light.GREEN
    if len(measured.unique) == 1:
        return Light.RED
    alone = measured.r2[frozenset({name})]
    return Light.AMBER if alone > float(measured.null_alone[name].mean()) + least else Light.RED


def pretest(
    train: Interactions, features: Mapping[str, ItemFeature], seed: int = 0, *, new_items: bool = False
) -> Pretest:
    """Run M4 and M5 on the items with enough training interactions.

    Args:
        train: training interactions; nothing else of a split is needed.
        features: features by modality, rows in item order.
        seed: seed of folds, permutations and bootstrap.
        new_items: whether to say what content finds of new items too.

    Raises:
        ValueError: without a modality or with too few items.
    """
    if not features:
        raise Refusal("the data set has no modality, so there is no signal to look for")
    rows = signal.frequent_items(train)
    if len(rows) < MIN_ITEMS:
        raise Refusal(
            "{items} items have {least} training interactions or more; the pre-test needs at least {needed}",
            items=len(rows),
            least=signal.MIN_INTERACTIONS,
            needed=MIN_ITEMS,
        )
    values = {name: features[name].values[rows].astype(np.float64) for name in sorted(features)}
    present = {name: features[name].present[rows] for name in values}
    overlap, cka = {}, {}
    for a, b in itertools.combinations(values, 2):
        both = present[a] & present[b]
        if both.sum() > signal.NEIGHBOURS + 1:
            overlap[a, b] = neighbour_overlap(values[a][both], values[b][both], signal.NEIGHBOURS)
            cka[a, b] = debiased_linear_cka(values[a][both], values[b][both])
    return Pretest(
        train.n_items,
        len(rows),
        {name: float(mask.mean()) for name, mask in present.items()},
        signal.embedding_signal(values, signal.item_factors(train)[rows], seed=seed),
        signal.neighbour_recall(values, present, restricted(train, rows)),
        overlap,
        cka,
        signal.new_item_reach(values, present, restricted(train, rows), seed=seed) if new_items else None,
    )


def restricted(train: Interactions, rows: np.ndarray) -> Interactions:
    """The interactions with some of the items, which are numbered anew in the order of ``rows``."""
    place = np.full(train.n_items, -1, np.int64)
    place[rows] = np.arange(len(rows))
    kept = place[train.items] >= 0
    return Interactions(train.users[kept], place[train.items[kept]], train.n_users, len(rows))
