"""The planted world ``cold_text`` under its own protocol: ``python -m tests.studies.cold_text`` runs what is missing.

It is the mirror of ``cold_image`` in :mod:`tests.studies.planted`: all items have text, and the 15 % of them that are
new have no image. So what is asked is whether text adds to images, and what its free use is worth. What may be said
stands in :data:`ALLOWED` and was written before these sweeps ran.
"""

from __future__ import annotations

from tests.benchmarks.performance import table
from tests.studies.planted import HELPS, MAX_STEPS, Results, place_of, told
from tests.studies.sweeps import Study, run_into_page

WORLD = "cold_text"
CONDITIONS = "none,text,image,fused,image_shuffled_text"
CONTRASTS = ("text_vs_none", "image_vs_none", "fused_vs_image", "fused_vs_image_shuffled_text")
#: What the table of the page shows; text helps new items alone, so that *undecided* is no error.
SHOWN = (*CONTRASTS[:3], "free_disposal_of_text")
ALLOWED = HELPS.words

STUDIES = [
    Study(
        f"planted_{WORLD}_{seed}",
        (
            f"dataset.world={WORLD}",
            f"dataset.world_options.seed={seed}",
            "dataset.protocol=given",
            "model=addease,fusion,vbpr",
            f"modality={CONDITIONS}",
            "budget=small",
            f"budget.max_steps={MAX_STEPS}",
            f"statistics.contrasts=[{','.join(CONTRASTS)}]",
        ),
    )
    for seed in (0, 1)
]


def rows(results: Results) -> str:
    """The table of docs/results.md: what was said of each seed, model by model."""
    lines = []
    for name, result in results.items():
        _, seed = place_of(name)
        judged = {one["name"].split("/", 1)[1]: one for one in (*result["contrasts"], *result["disposals"])}
        for model in dict.fromkeys(said.split("/")[0] for said in judged if said.endswith(CONTRASTS[2])):
            lines.append([str(seed), model, *(told(judged.get(f"{model}/{asked}")) for asked in SHOWN)])
    return table(["seed", "model", *(asked.replace("_", " ") for asked in SHOWN)], lines)


def main() -> None:
    """Run what is missing, and write the table of what has run."""
    run_into_page(STUDIES, "cold text", rows)


if __name__ == "__main__":
    main()
