"""New items of real data in five folds: ``python -m tests.studies.folds`` runs what is missing.

On the H&M sample with the models that are computed, but for HybridKNN, which takes several times as long as any other
model there; that was decided before it ran. On MovieLens 100K with all of them, and with models that are trained, one
sweep each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mmbench.report.new_items import NDCG, RECALL
from tests.benchmarks.performance import table
from tests.studies.new_items import FoldedStudy, floors, over_folds
from tests.studies.planted import told
from tests.studies.sweeps import run_into_page

CONTRASTS = ("text_vs_none", "image_vs_none", "fused_vs_text", "fused_vs_image", "fused_vs_shuffled")
CONDITIONS = ("none", "text", "image", "fused", "shuffled", "text_shuffled_image")
MODELS = "popularity,contentpopularity,contentknn,cease,addease,l3ae,mmgf,attributemap"
#: The models that are trained, in the order in which they run, with the names of their sweeps.
TRAINED_MODELS = {
    "vbpr": "ml100k_cold_vbpr_images",
    "fusion": "ml100k_cold_fusion",
    "freedom": "ml100k_cold_freedom",
    "dropoutnet": "ml100k_cold_dropoutnet",
    "clcrec": "ml100k_cold_clcrec",
}
FREE = "free_disposal_of_image"


@dataclass(frozen=True)
class RealFolds(FoldedStudy):
    """Folds of new items of a real data set."""

    def said(self) -> dict[str, Any]:
        """What the finished sweep says but for the facts of every slice of every fold."""
        return {name: part for name, part in super().said().items() if name != "facts"}


COMPUTED = [
    RealFolds(
        "hm_sample_cold_computed",
        (
            "dataset=hm_sample",
            "dataset.protocol=cold",
            "dataset.cold_fold=0,1,2,3,4",
            f"model={MODELS}",
            "modality=none,text,image,fused,shuffled,shuffled_image,text_shuffled_image",
            "budget=small",
            f"statistics.contrasts=[{','.join(CONTRASTS)}]",
        ),
    )
]
#: Models that are computed, on MovieLens 100K.
FILMS = [
    RealFolds(
        "ml100k_cold_computed",
        (
            "dataset=ml100k",
            "dataset.protocol=cold",
            "dataset.cold_fold=0,1,2,3,4",
            "model=popularity,contentpopularity,contentknn,hybridknn,cease,addease,l3ae,mmgf,attributemap",
            "modality=none,text,image,fused,shuffled,shuffled_image,text_shuffled_image",
            "budget=small",
        ),
    )
]
TRAINED = [
    RealFolds(
        name,
        (
            "dataset=ml100k",
            "dataset.protocol=cold",
            "dataset.cold_fold=0,1,2,3,4",
            f"model={model}",
            "modality=none,text,image,fused,text_shuffled_image",
            "budget=small",
        ),
    )
    for model, name in TRAINED_MODELS.items()
]
#: Shuffled content, in sweeps of their own, because it was run later.
CONTROLS = [
    RealFolds(
        f"ml100k_cold_{model}_shuffled",
        (
            "dataset=ml100k",
            "dataset.protocol=cold",
            "dataset.cold_fold=0,1,2,3,4",
            f"model={model}",
            "modality=shuffled",
            "budget=small",
        ),
    )
    for model in TRAINED_MODELS
]


def rows(results: Mapping[str, Mapping[str, Any]]) -> str:
    """The tables of docs/results.md: what is found and gained model by model, and more of each condition.

    Args:
        results: sweeps of the same folds.
    """
    parts = ("contrasts", "disposals", "new_items")
    joined = {part: [one for result in results.values() for one in result[part]] for part in parts}
    first = next(iter(results.values()))
    return f"{floors(first)}\n\n{gains(joined)}\n\n{measures(joined['new_items'])}"


def gains(result: Mapping[str, Any]) -> str:
    """NDCG@20 of new items by condition, and gains over the folds; over all models where they ran in one sweep."""
    by_name = {(one["model"], one["condition"]): one for one in result["new_items"]}
    said = [*over_folds(result), *over_folds(result, "disposals")]
    judged = {one["name"].split("/", 1)[1]: one for one in said}
    conditions = [condition for condition in CONDITIONS if any(name[1] == condition for name in by_name)]
    lines = [
        [model]
        + [_ndcg(by_name.get((model, condition))) for condition in conditions]
        + [told(judged.get(f"{model}/{asked}")) for asked in (*CONTRASTS[:3], FREE)]
        for model in dict.fromkeys(model for model, condition in by_name if condition == "fused")
    ]
    of_all = [one for one in said if one["name"].endswith(f"/all models/{FREE}")]
    if len(of_all) == 1 < len(lines):
        lines.append(["all models", *[""] * (len(conditions) + 3), told(of_all[0])])
    asked = [f"{contrast.replace('_', ' ')} %" for contrast in CONTRASTS[:3]]
    return table(["model", *conditions, *asked, "free disposal of images %"], lines)


def _ndcg(one: Mapping[str, Any] | None) -> str:
    return "-" if one is None else f"{one[f'new {NDCG}']:.4f}"


def measures(new_items: Sequence[Mapping[str, Any]]) -> str:
    """More of each condition with real content, and of none, the floor of common lists; means over the folds.

    Gains over content popularity are those of a sweep that has it.
    """
    columns: dict[str, Callable[[Mapping[str, Any]], str]] = {
        "NDCG@20": _number(f"new {NDCG}"),
        "Recall@20": _number(f"new {RECALL}"),
        "AUC": _number("new auc"),
        "over content popularity %": _beyond,
        "other items: NDCG@20": _number(f"others {NDCG}"),
        "common lists: harmonic mean": _number(f"harmonic {NDCG}"),
    }
    if all(one["beyond"] is None for one in new_items):
        del columns["over content popularity %"]
    lines = [
        [one["model"], one["condition"], *(said(one) for said in columns.values())]
        for one in new_items
        if one["condition"] in ("none", "text", "image", "fused")
    ]
    return table(["model", "condition", *columns], lines)


def _number(name: str) -> Callable[[Mapping[str, Any]], str]:
    return lambda one: f"{one[name]:.4f}"


def _beyond(one: Mapping[str, Any]) -> str:
    if one["beyond"] is None:
        return "-"
    lo, hi = one["bounds"]
    return f"{100 * one['beyond']:+.1f} [{100 * lo:+.1f}, {100 * hi:+.1f}]"


def main() -> None:
    """Run what is missing, and write the tables of what has run."""
    run_into_page(COMPUTED, "folds", rows)
    run_into_page(FILMS, "folds of films", rows)
    run_into_page([*TRAINED, *CONTROLS], "folds of trained models", rows)


if __name__ == "__main__":
    main()
