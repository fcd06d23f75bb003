"""Trained models on MovieLens 100K at the small budget: ``python -m tests.studies.trained`` runs what is missing.

VBPR and Fusion are in :mod:`tests.studies.draws`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.benchmarks.performance import table
from tests.studies.planted import told
from tests.studies.sweeps import Study, run_into_page

MODELS = ("freedom", "dropoutnet", "clcrec")
CONDITIONS = ("none", "text", "image", "fused", "text_shuffled_image")
CONTRASTS = ("text_vs_none", "image_vs_none", "fused_vs_text", "free_disposal_of_image")
DATA = "ml100k"

STUDIES = [
    Study(
        f"{DATA}_{model}",
        (f"dataset={DATA}", f"model={model}", f"modality={','.join(CONDITIONS)}", "budget=small"),
    )
    for model in MODELS
]


def rows(results: Mapping[str, Mapping[str, Any]]) -> str:
    """The table of docs/results.md: test NDCG@20 of the chosen configurations by condition, and tuned gains."""
    lines = []
    for name, result in results.items():
        model = name.removeprefix(f"{DATA}_")
        judged = {one["name"]: one for one in (*result["contrasts"], *result["disposals"])}
        lines.append(
            [model]
            + [f"{result['means'][f'{DATA}/{model}/{condition}']:.4f}" for condition in CONDITIONS]
            + [told(judged.get(f"{DATA}/{model}/{contrast}")) for contrast in CONTRASTS]
            + [f"{result['training_seconds'] / 3600:.1f}"]
        )
    gains = [f"{contrast.replace('_', ' ')} %" for contrast in CONTRASTS]
    return table(["model", *CONDITIONS, *gains, "hours of one worker"], lines)


def main() -> None:
    """Run what is missing, and write the table of what has run."""
    run_into_page(STUDIES, "trained", rows)


if __name__ == "__main__":
    main()
