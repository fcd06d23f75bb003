"""Computed models on MovieLens 100K at the small budget: ``python -m tests.studies.computed`` runs what is missing."""

from __future__ import annotations

from tests.studies.sweeps import Study, run_into_page
from tests.studies.trained import DATA, rows

MODELS = "popularity,itemknn,ease,ials,contentknn,hybridknn,cease,addease,l3ae,mmgf,attributemap"

STUDIES = [
    Study(
        f"{DATA}_computed",
        (
            f"dataset={DATA}",
            f"model={MODELS}",
            "modality=none,text,image,fused,shuffled,shuffled_image,text_shuffled_image",
            "budget=small",
        ),
    )
]


def main() -> None:
    """Run what is missing, and write the table of what has run."""
    run_into_page(STUDIES, "computed", rows)


if __name__ == "__main__":
    main()
