"""What AddEASE itself gains by images in ``cold_image``: ``python -m tests.studies.own_gain`` runs what is missing.

The generator says what the best scorer gains, no model. In ``cold_image`` all of it comes from new items, which AddEASE
hardly ever ranks among the first 20, so its word is held against its own gain: the mean over ten worlds of this kind,
none of which had been run before. What was asked of it, before they ran: the word *equivalent* is true of AddEASE if
the 90 % interval of that mean lies within the margin of 2 %. Slots belong to the name of the data set, which is the
same in all of them, so each world has a draw of its own: gains that share their configurations are not independent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmbench.inference.intervals import LogGain
from mmbench.inference.pooling import PooledEffect, pooled_gain
from tests.benchmarks.performance import table
from tests.studies.planted import told
from tests.studies.sweeps import Study, run_into_page

#: Seeds of the worlds; 0 and 1 had been looked at.
SEEDS = range(2, 12)
STUDIES = [
    Study(
        f"own_gain_cold_image_{seed}",
        (
            "dataset.world=cold_image",
            f"dataset.world_options.seed={seed}",
            "dataset.protocol=given",
            "model=addease",
            "modality=text,fused",
            "budget=small",
            f"study.draw={seed}",
            "statistics.contrasts=[fused_vs_text]",
        ),
    )
    for seed in SEEDS
]


def pooled(results: Mapping[str, Mapping[str, Any]], level: float) -> PooledEffect:
    """Mean gain of both over text alone, over worlds.

    Args:
        results: studies by name, two or more.
        level: coverage.
    """
    judged = [contrast for result in results.values() for contrast in result["contrasts"]]
    return pooled_gain([LogGain(one["log_ratio"], one["se"], one["df"]) for one in judged], level)


def rows(results: Mapping[str, Mapping[str, Any]]) -> str:
    """The table of docs/results.md: the gain in each world, and the mean over all."""
    lines = [
        [name.rpartition("_")[2], told(contrast)]
        for name, result in results.items()
        for contrast in result["contrasts"]
    ]
    if len(results) > 1:
        mean = pooled(results, 0.9).effect
        bounds = f"[{100 * mean.lo:+.2f}, {100 * mean.hi:+.2f}]"
        lines.append(["all, 90 % interval", f"{100 * mean.mean:+.2f} {bounds}"])
    return table(["seed", "fused vs text"], lines)


def main() -> None:
    """Run what is missing, and write the table of what has run."""
    run_into_page(STUDIES, "own gain", rows)


if __name__ == "__main__":
    main()
