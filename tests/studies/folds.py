"""New items of the H&M sample in five folds, models that are computed: ``python -m tests.studies.folds``.

HybridKNN, which takes several times as long as any other model there, is left out; that was decided before it ran.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mmbench.report.fairness_checks import read_groups
from mmbench.report.new_items import NDCG, ORACLE, RECALL, Row, read_rows
from mmbench.report.reading import read_sweep
from tests.benchmarks.performance import table
from tests.studies.new_items import FoldedStudy, over_folds
from tests.studies.planted import told
from tests.studies.sweeps import run_into_page

CONTRASTS = ("text_vs_none", "image_vs_none", "fused_vs_text", "fused_vs_image", "fused_vs_shuffled")
CONDITIONS = ("none", "text", "image", "fused", "shuffled")
MODELS = "popularity,contentpopularity,contentknn,cease,addease,l3ae,mmgf,attributemap"
FREE = "free_disposal_of_image"


@dataclass(frozen=True)
class RealFolds(FoldedStudy):
    """Folds of new items of a real data set."""

    def said(self) -> dict[str, Any]:
        """What the finished sweep says, and what every condition finds of new items, over the folds."""
        read = read_sweep(self.folder)
        rows = [row for row in read_rows(read, read_groups(read, self.folder)) if len(row.folds) > 1]
        return {**super().said(), "pools": [fold.pool for fold in rows[0].folds], "new_items": list(map(found, rows))}


def found(row: Row) -> dict[str, Any]:
    """What a condition finds, means over the folds, and its gain over content popularity with its bounds."""
    values = {name: over[0] for name in row.folds[0].values if (over := row.over(name)) is not None}
    gain, law = row.beyond or (None, None)
    bounds = None if law is None else [law.at(0.95).lo, law.at(0.95).hi]
    return {"model": str(row.model), "condition": row.condition, **values, "beyond": gain, "bounds": bounds}


STUDIES = [
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


def rows(results: Mapping[str, Mapping[str, Any]]) -> str:
    """The tables of docs/results.md: what is found and gained model by model, and more of each condition."""
    return "\n\n".join(
        f"{floors(result)}\n\n{gains(result)}\n\n{measures(result['new_items'])}" for result in results.values()
    )


def gains(result: Mapping[str, Any]) -> str:
    """NDCG@20 of new items by condition, and gains over the folds."""
    by_name = {(one["model"], one["condition"]): one for one in result["new_items"]}
    both = [*over_folds(result), *over_folds(result, "disposals")]
    judged = {one["name"].split("/", 1)[1]: one for one in both}
    lines = [
        [model]
        + [f"{by_name[model, condition][f'new {NDCG}']:.4f}" for condition in CONDITIONS]
        + [told(judged.get(f"{model}/{asked}")) for asked in (*CONTRASTS[:3], FREE)]
        for model in dict.fromkeys(model for model, condition in by_name if condition == "fused")
    ]
    everything = judged.get(f"all models/{FREE}")
    lines.append(["all models", *("" for _ in (*CONDITIONS, *CONTRASTS[:3])), told(everything)])
    asked = [f"{contrast.replace('_', ' ')} %" for contrast in CONTRASTS[:3]]
    return table(["model", *CONDITIONS, *asked, "free disposal of images %"], lines)


def measures(new_items: Sequence[Mapping[str, Any]]) -> str:
    """More of each condition with real content, and of none, the floor of common lists; means over the folds."""
    header = ("NDCG@20", "Recall@20", "AUC", "over content popularity %", "other items: NDCG@20")
    names = (f"new {NDCG}", f"new {RECALL}", "new auc")
    lines = [
        [one["model"], one["condition"]]
        + [f"{one[name]:.4f}" for name in names]
        + [_beyond(one)]
        + [f"{one[name]:.4f}" for name in (f"others {NDCG}", f"harmonic {NDCG}")]
        for one in new_items
        if one["condition"] in ("none", "text", "image", "fused")
    ]
    return table(["model", "condition", *header, "common lists: harmonic mean"], lines)


def _beyond(one: Mapping[str, Any]) -> str:
    if one["beyond"] is None:
        return "-"
    lo, hi = one["bounds"]
    return f"{100 * one['beyond']:+.1f} [{100 * lo:+.1f}, {100 * hi:+.1f}]"


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


def main() -> None:
    """Run what is missing, and write the tables of what has run."""
    run_into_page(STUDIES, "folds", rows)


if __name__ == "__main__":
    main()
