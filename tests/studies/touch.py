"""Does every model run under none, text, image and fused? ``python -m tests.studies.touch`` runs what is missing.

One trial and one final run of five steps each, on a planted world and on MovieLens 100K, on all items and on a fold of
new ones. No number of these runs says anything about a model; that none fails is all they show.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mmbench.cli.tiers import TIERS, models_of
from mmbench.report.fairness_checks import read_groups
from mmbench.report.reading import read_sweep
from tests.benchmarks.performance import table
from tests.studies.sweeps import Study, run_into_page

DATA = ("planted", "ml100k")
#: Words of each protocol, by its name in the table.
PROTOCOLS: Mapping[str, tuple[str, ...]] = {
    "paper": ("dataset.protocol=paper",),
    "cold": ("dataset.protocol=cold", "dataset.cold_fold=0"),
}
CONDITIONS = "none,text,image,fused"


@dataclass(frozen=True)
class Touch(Study):
    """A sweep that shows that everything runs."""

    def said(self) -> dict[str, Any]:
        """How its cells ended, and what it cost."""
        swept = read_sweep(self.folder)
        cells = [cell for group in read_groups(swept, self.folder) for cell in group.cells]
        return {
            "models": len({cell.model for cell in swept.cells.values()}),
            "cells": dict(Counter(cell.status for cell in swept.cells.values() if not cell.parts)),
            "trainings": sum(len(cell.ledger) for cell in cells),
            "training_seconds": round(sum(cell.seconds for cell in cells)),
        }


def models() -> list[str]:
    """Every model of the package that is trained or computed; lists of another system are neither."""
    return sorted({model for tier in TIERS for model in models_of(tier)})


def study(data: str, protocol: str) -> Touch:
    """The sweep of one data set under one protocol."""
    words = (
        f"dataset={data}",
        *PROTOCOLS[protocol],
        f"model={','.join(models())}",
        f"modality={CONDITIONS}",
        "budget=touch",
        "report.printed=false",
    )
    return Touch(f"touch_{data}_{protocol}", words)


STUDIES = [study(data, protocol) for data in DATA for protocol in PROTOCOLS]


def rows(results: Mapping[str, Mapping[str, Any]]) -> str:
    """The table of docs/results.md: what ran, and whether it ended."""
    lines = []
    for name, result in results.items():
        _, data, protocol = name.split("_")
        ended = ", ".join(f"{n} {status}" for status, n in sorted(result["cells"].items()))
        cost = f"{result['training_seconds'] / 60:.0f} min"
        lines.append([data, protocol, str(result["models"]), ended, str(result["trainings"]), cost])
    return table(["data", "protocol", "models", "cells", "trainings", "time of all trainings"], lines)


def main() -> None:
    """Run what is missing, and write the table of what has run."""
    run_into_page(STUDIES, "touch", rows)


if __name__ == "__main__":
    main()
