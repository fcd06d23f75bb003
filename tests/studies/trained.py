"""Trained models on MovieLens 100K at the small budget: ``python -m tests.studies.trained`` runs what is missing.

VBPR and Fusion are the first draw of :mod:`tests.studies.draws`, which is what a sweep without ``study.draw`` does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.benchmarks.performance import table
from tests.studies import draws
from tests.studies.planted import told
from tests.studies.sweeps import Study, run_into_page

MODELS = ("freedom", "dropoutnet", "clcrec")
CONDITIONS = ("none", "text", "image", "fused", "text_shuffled_image")
#: The control of everything, in a sweep of its own, because it was run later.
SHUFFLED = "shuffled"
CONTRASTS = ("text_vs_none", "image_vs_none", "fused_vs_text", "free_disposal_of_image")
DATA = "ml100k"

STUDIES = [
    Study(
        f"{DATA}_{model}",
        (f"dataset={DATA}", f"model={model}", f"modality={','.join(CONDITIONS)}", "budget=small"),
    )
    for model in MODELS
]
#: Those of VBPR and Fusion.
DRAWN = draws.STUDIES[:1]
CONTROLS = [
    Study(f"{DATA}_{model}_{SHUFFLED}", (f"dataset={DATA}", f"model={model}", f"modality={SHUFFLED}", "budget=small"))
    for model in (*MODELS, "vbpr", "fusion")
]
ALL = [*STUDIES, *DRAWN, *CONTROLS]


def rows(results: Mapping[str, Mapping[str, Any]]) -> str:
    """A table of docs/results.md: test NDCG@20 of the chosen configurations by condition, and tuned gains.

    A model that reads no content has one score for all conditions (``=``). What is gained over all models stands there
    where they ran in one sweep.

    Args:
        results: finished studies of :data:`ALL` by name, or of computed models.
    """
    means = {name: mean for result in results.values() for name, mean in result["means"].items()}
    judged = {one["name"]: one for result in results.values() for one in (*result["contrasts"], *result["disposals"])}
    conditions = (*CONDITIONS, SHUFFLED)
    lines = []
    for model in dict.fromkeys(name.split("/")[1] for name in means):
        found = (means.get(f"{DATA}/{model}/{condition}") for condition in conditions)
        scores = ["-" if mean is None else f"{mean:.4f}" for mean in found]
        if (reads_none := means.get(f"{DATA}/{model}/-")) is not None:
            scores = [f"{reads_none:.4f}", *["="] * (len(conditions) - 1)]
        lines.append([model, *scores, *(told(judged.get(f"{DATA}/{model}/{contrast}")) for contrast in CONTRASTS)])
    if len(results) == 1 and (free := judged.get(f"{DATA}/all models/{CONTRASTS[-1]}")):
        lines.append(["all models", *[""] * (len(conditions) + len(CONTRASTS) - 1), told(free)])
    gains = [f"{contrast.replace('_', ' ')} %" for contrast in CONTRASTS]
    return table(["model", *conditions, *gains], lines)


def main() -> None:
    """Run what is missing, and write the table of what has run."""
    run_into_page(ALL, "trained", rows)


if __name__ == "__main__":
    main()
