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
from mmbench.report.fairness_checks import read_groups
from mmbench.report.new_items import NDCG, ORACLE, RECALL, Row, read_rows
from mmbench.report.reading import read_sweep
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
    """A sweep over folds of new items, or of one of them."""

    def said(self) -> dict[str, Any]:
        """What the finished sweep says, and what every condition finds of new items, over the folds.

        A pre-test of each fold is no part of it.
        """
        read = read_sweep(self.folder)
        every = read_rows(read, read_groups(read, self.folder))
        found_by = [row for row in every if len(row.folds) == max(len(one.folds) for one in every)]
        pools = [fold.pool for fold in found_by[0].folds]
        return {**summary(self.folder), "pools": pools, "new_items": list(map(found, found_by))}


def found(row: Row) -> dict[str, Any]:
    """What a condition finds, means over the folds, and its gain over content popularity with its bounds."""
    values = {name: over[0] for name in row.folds[0].values if (over := row.over(name)) is not None}
    gain, law = row.beyond or (None, None)
    bounds = None if law is None else [law.at(0.95).lo, law.at(0.95).hi]
    return {"model": str(row.model), "condition": row.condition, **values, "beyond": gain, "bounds": bounds}


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


def floors(result: Mapping[str, Any]) -> str:
    """Pools, floors and what an oracle of popularity reaches, means over the folds."""
    first = result["new_items"][0]
    oracle = next(one for one in result["new_items"] if one["model"] == str(ORACLE))
    pools, others = ", ".join(map(str, result["pools"])), first[f"others floor of {NDCG}"]
    return (
        f"Pools of {pools} new items. Floors: NDCG@20 {first[f'new floor of {NDCG}']:.4f}, Recall@20 "
        f"{first[f'new floor of {RECALL}']:.4f}, AUC .5; of other items NDCG@20 {others:.4f}. "
        f"The list of an oracle that knows the popularity of new items reaches {oracle[f'new {NDCG}']:.4f}."
    )


def rows(results: Mapping[str, Mapping[str, Any]]) -> str:
    """The part of docs/results.md: floors of every world, and gains among new items over folds, model by model."""
    lines, beside = [], []
    for name, result in results.items():
        world, _, seed = name.removeprefix("new_items_").rpartition("_")
        beside.append(f"- {world}, seed {seed}. {floors(result)}")
        by_model: dict[str, dict[str, Mapping[str, Any]]] = {}
        for judged in over_folds(result):
            _, model, contrast = judged["name"].split("/")
            by_model.setdefault(model, {})[contrast] = judged
        for model, of_model in by_model.items():
            lines.append([world, seed, model, *(told(of_model.get(contrast)) for contrast in CONTRASTS)])
    gains = table(["world", "seed", "model", *(contrast.replace("_", " ") for contrast in CONTRASTS)], lines)
    return "\n".join(beside) + f"\n\n{gains}"


def main() -> None:
    """Run what is missing, and write the table of what has run."""
    run_into_page(STUDIES, "new items", rows)


if __name__ == "__main__":
    main()
