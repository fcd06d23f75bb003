"""The truth of a planted world: what text and images are worth to the best scorer, whatever a trained model reaches.

The scorer knows every user's tastes (:mod:`mmbench.evaluation.best_scorer`), under all conditions alike. Of an item it
knows popularity and, in one reading, its content alone; in the other, content and training log. The first says how much
the modalities tell of the items; the second what they add to behaviour, which is what a recommender can gain.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mmbench.data.dataset import DatasetConfig, load_dataset
from mmbench.data.encoded import DEFAULT
from mmbench.data.planted import WORLDS, numbers_of
from mmbench.evaluation.best_scorer import BestScorer, Choices, certain, told_by_content, told_by_log
from mmbench.evaluation.metrics import Ranking, per_user
from mmbench.evaluation.ranking import Evaluator
from mmbench.messages import Refusal

#: Modalities that the scorer sees, by condition.
CONDITIONS: Mapping[str, tuple[str, ...]] = {
    "none": (),
    "text": ("text",),
    "image": ("image",),
    "fused": ("image", "text"),
}
CONTRASTS = ("text_vs_none", "image_vs_none", "fused_vs_text", "fused_vs_none")
#: What is known of an item: its content, or its content and the training log.
CONTENT, CONTENT_AND_LOG = "content", "content_and_log"
METRIC = "ndcg@20"


@dataclass(frozen=True)
class PlantedTruth:
    """What the best scorer reaches on the test split of a planted world.

    Args:
        rankings: ranks of the test pairs, by what is known of an item and by condition.
        factors_known: ranks of the test pairs where all factors are known; no model is better but by chance.
        protocol: how the data were split.
    """

    rankings: Mapping[str, Mapping[str, Ranking]]
    factors_known: Ranking
    protocol: str

    def value(self, knowledge: str, condition: str) -> float:
        """NDCG@20 on the test split, mean over users."""
        return _value(self.rankings[knowledge][condition])

    def gain(self, knowledge: str, contrast: str) -> float:
        """Relative gain of a contrast ``<condition>_vs_<condition>``: 0.05 is five per cent."""
        condition, _, reference = contrast.partition("_vs_")
        return self.value(knowledge, condition) / self.value(knowledge, reference) - 1.0

    def as_record(self) -> dict[str, Any]:
        """Means and relative gains, as ``dataset.json`` keeps them in its entry ``truth``."""
        readings = {
            knowledge: {
                METRIC: {condition: self.value(knowledge, condition) for condition in CONDITIONS},
                "gains": {contrast: self.gain(knowledge, contrast) for contrast in CONTRASTS},
            }
            for knowledge in (CONTENT, CONTENT_AND_LOG)
        }
        return {"protocol": self.protocol, **readings, "factors_known": {METRIC: _value(self.factors_known)}}


def _value(ranking: Ranking) -> float:
    return float(per_user(ranking.pairs, METRIC).mean())


def planted_truth(config: DatasetConfig) -> PlantedTruth:
    """Compute the truth of a planted world: some ten seconds for one of the default size.

    Args:
        config: a data set with a ``world``.

    Raises:
        ValueError: if the configuration leaves out items or interactions, splits a world with new items otherwise than
            its generator does, or leaves nothing that tells items apart without content.
    """
    if config.world is None:
        raise ValueError(f"{config.name} is no planted world")
    if config.filters_items:
        raise Refusal(
            "the truth of a planted world is known only without dataset.k_core, dataset.min_rating and "
            "dataset.items_with"
        )
    dataset = load_dataset(config)
    spec, truth, split = WORLDS[config.world], dataset.truth, dataset.split
    assert truth is not None
    if spec.new_items and split.protocol != "given":
        raise Refusal("the truth of {world} is known only with dataset.protocol=given", world=config.world)
    if spec.derived == "text" and config.encoder.get("image", DEFAULT) != DEFAULT:
        raise Refusal(
            "the truth of {world} is known only with dataset.encoder.image=default, which its text is made of",
            world=config.world,
        )
    if not truth["popularity"].any():
        raise Refusal("the truth of a planted world is known only with dataset.world_options.popularity_sd above 0")
    truth = {**truth, "tastes": truth["tastes"][numbers_of(dataset.user_ids)]}
    choices = Choices.of(truth, split)
    evaluator = Evaluator(split.test, *split.seen_at_test)
    readings: dict[str, dict[str, Ranking]] = {CONTENT: {}, CONTENT_AND_LOG: {}}
    for condition, kept in CONDITIONS.items():
        content = told_by_content(truth, dataset.features, kept, derived=spec.derived)
        both = told_by_log(choices, split.train, content)
        readings[CONTENT][condition] = evaluator.rank(BestScorer(choices, content, knows_log=False))
        readings[CONTENT_AND_LOG][condition] = evaluator.rank(BestScorer(choices, both, knows_log=True))
    known = evaluator.rank(BestScorer(choices, certain(truth), knows_log=False))
    return PlantedTruth(readings, known, split.protocol)
