"""Planted worlds under the protocol of new items: ``python -m tests.studies.new_items`` runs what is missing.

In ``cold_image`` images are a noisy function of the text, and 15 % of the items have no text; in ``cold_text`` it is
the other way round. Both have a split of their own (``given``), in which those 15 % are the new items; here any item
may be new, in five folds, so that 85 % of a pool have both. The models that are computed say what each modality adds.

Before any of it ran it was expected that the modality which all items have adds to the other one (better, better but
small or undecided, see :data:`EXPECTED`). That does not hold, be it because a model weighs a modality for all items
alike or because a larger space is searched with few trials; a test holds the expectation and is known to fail. What
remains true of every model is that shuffled content is no better than real content.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mmbench.inference.verdicts import Verdict
from tests.benchmarks.performance import table
from tests.studies.planted import told
from tests.studies.sweeps import Study, run_into_page, summary

CONTRASTS = ("text_vs_none", "image_vs_none", "fused_vs_text", "fused_vs_image", "fused_vs_shuffled")
#: The contrast that asks for the modality that all items have, by world.
ADDS: Mapping[str, str] = {"cold_image": "fused_vs_text", "cold_text": "fused_vs_image"}
#: Words of that contrast that were expected.
EXPECTED = frozenset({Verdict.BETTER, Verdict.BETTER_SMALL, Verdict.UNDECIDED})


@dataclass(frozen=True)
class FoldedStudy(Study):
    """A sweep over folds of new items."""

    def said(self) -> dict[str, Any]:
        """What the finished sweep says; a pre-test of each fold is no part of it."""
        return summary(self.folder)


def study(world: str, seed: int) -> FoldedStudy:
    """The sweep of one world."""
    words = (
        f"dataset.world={world}",
        f"dataset.world_options.seed={seed}",
        "dataset.protocol=cold",
        "dataset.cold_fold=0,1,2,3,4",
        "model=popularity,contentpopularity,contentknn,hybridknn,addease,attributemap",
        "modality=none,text,image,fused,shuffled,text_shuffled_image,image_shuffled_text",
        "budget=small",
        f"statistics.contrasts=[{','.join(CONTRASTS)}]",
    )
    return FoldedStudy(f"new_items_{world}_{seed}", words)


STUDIES = [study(world, seed) for seed in (0, 1) for world in ADDS]


def over_folds(result: Mapping[str, Any], part: str = "contrasts") -> list[Mapping[str, Any]]:
    """The contrasts over all folds, or the ``disposals``."""
    return [judged for judged in result[part] if judged["name"].partition("/")[0].endswith("over 5 cold folds")]


def rows(results: Mapping[str, Mapping[str, Any]]) -> str:
    """The table of docs/results.md: gains among new items over folds, model by model."""
    lines = []
    for name, result in results.items():
        world, _, seed = name.removeprefix("new_items_").rpartition("_")
        by_model: dict[str, dict[str, Mapping[str, Any]]] = {}
        for judged in over_folds(result):
            _, model, contrast = judged["name"].split("/")
            by_model.setdefault(model, {})[contrast] = judged
        for model, of_model in by_model.items():
            lines.append([world, seed, model, *(told(of_model.get(contrast)) for contrast in CONTRASTS)])
    return table(["world", "seed", "model", *(contrast.replace("_", " ") for contrast in CONTRASTS)], lines)


def main() -> None:
    """Run what is missing, and write the table of what has run."""
    run_into_page(STUDIES, "new items", rows)


if __name__ == "__main__":
    main()
