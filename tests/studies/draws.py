"""Six independent tunings on MovieLens 100K: ``python -m tests.studies.draws`` runs what is missing.

Every draw enters slots, seeds and shuffles. The users are the same, so how far the tuned gains of the draws lie apart
is what trials and seeds contribute: at most 1.6 times what the interval says they do, and less than the gains of the
chosen configurations. Images are shuffled against text: hardly any draw may call them better.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tests.benchmarks.performance import table
from tests.studies.sweeps import Study, run_into_page

CONDITIONS = "none,text,image,fused,text_shuffled_image"
CONTRASTS = ("text_vs_none", "image_vs_none", "fused_vs_text", "text_shuffled_image_vs_text")
DRAWS = range(6)
#: Largest ratio of the spread of the draws to what trials and seeds explain of the interval.
SPREAD = 1.6
STUDIES = [
    Study(
        f"ml100k_draw_{draw}",
        (
            "dataset=ml100k",
            "model=fusion,vbpr",
            f"modality={CONDITIONS}",
            "budget=small",
            f"study.draw={draw}",
            f"statistics.contrasts=[{','.join(CONTRASTS)}]",
        ),
    )
    for draw in DRAWS
]


def spreads(results: Mapping[str, Mapping[str, Any]], contrast: str) -> dict[str, float]:
    """Standard deviations over draws, of one contrast of one model (``fusion/text_vs_none``).

    Returns:
        ``tuned``: of L; ``expected``: mean of the standard error that trials and seeds explain; ``configurations``: of
        the logarithm of the ratio of the chosen configurations.
    """
    name = f"/{contrast}"
    judged = [next(c for c in result["contrasts"] if c["name"].endswith(name)) for result in results.values()]
    explained = [np.sqrt(c["variance"]["trials"] + c["variance"]["seed"]) for c in judged]
    return {
        "tuned": float(np.std([c["log_ratio"] for c in judged], ddof=1)),
        "expected": float(np.mean(explained)),
        "configurations": float(np.std(np.log1p([c["configuration"][0] for c in judged]), ddof=1)),
    }


def rows(results: Mapping[str, Mapping[str, Any]]) -> str:
    """The table of docs/results.md: the gains of the draws, how far they lie apart, and how far was expected."""
    lines = []
    # The name of the data set tells the draws apart.
    names = dict.fromkeys(c["name"].partition("/")[2] for result in results.values() for c in result["contrasts"])
    for name in names if len(results) > 1 else ():
        model, contrast = name.split("/")
        found = [c for result in results.values() for c in result["contrasts"] if c["name"].endswith(f"/{name}")]
        sd = spreads(results, name)
        apart = [f"{100 * sd[kind]:.1f}" for kind in ("tuned", "expected", "configurations")]
        gains = ", ".join(f"{100 * c['gain']:+.1f} *{c['word'] or 'no word'}*" for c in found)
        lines.append([model, contrast, gains, *apart])
    header = [
        "model",
        "contrast",
        "tuned gain % of the draws",
        "sd of L %",
        "expected sd %",
        "sd of the configurations %",
    ]
    return table(header, lines)


def levels(results: Mapping[str, Mapping[str, Any]]) -> str:
    """NDCG@20 of the chosen configurations by model and condition, mean and standard deviation over draws."""
    values: dict[str, dict[str, list[float]]] = {}
    for result in results.values():
        for name, mean in result["means"].items():
            _, model, condition = name.split("/")
            values.setdefault(model, {}).setdefault(condition, []).append(mean)
    conditions = CONDITIONS.split(",")
    lines = [
        [model, *(f"{np.mean(found[c]):.4f} ± {np.std(found[c], ddof=1):.4f}" for c in conditions)]
        for model, found in values.items()
    ]
    return table(["model", *conditions], lines if len(results) > 1 else [])


def tables(results: Mapping[str, Mapping[str, Any]]) -> str:
    """Both tables of docs/results.md."""
    return f"{rows(results)}\n\n{levels(results)}"


def main() -> None:
    """Run what is missing, and write the tables of what has run."""
    run_into_page(STUDIES, "draws", tables)


if __name__ == "__main__":
    main()
