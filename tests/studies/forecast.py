"""A forecast held against its sweep: ``python -m tests.studies.forecast`` asks for it, then runs the sweep.

``plan`` is asked with the words of the sweep before anything of it runs: one fold of new items of MovieLens 100K, the
models of the tier ``core``, the small budget. Nothing else should run on the machine meanwhile. Before it was asked,
the time was expected to exceed the shorter end of the forecast by no more than :data:`WITHIN`: trainings stop as early
as the rule allows in almost every case.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mmbench import paths
from mmbench.report.fairness_checks import read_groups
from mmbench.report.new_items import NDCG
from mmbench.report.reading import read_sweep
from mmbench.store import files
from tests.benchmarks.performance import table
from tests.studies.folds import RealFolds
from tests.studies.new_items import floors
from tests.studies.sweeps import mmbench, run_into_page

MODELS = "popularity,itemknn,contentknn,hybridknn,ease,cease,addease,bpr,lightgcn,fusion,vbpr,freedom"
CONDITIONS = ("none", "text", "image", "fused")
#: How far above the shorter end the truth may lie.
WITHIN = 0.3
UNITS = {"s": 1.0, "min": 60.0, "h": 3600.0}


@dataclass(frozen=True)
class Forecast(RealFolds):
    """A sweep with the forecast that was made before it."""

    def run(self) -> dict[str, Any]:
        """Ask ``plan``, run the sweep, and write what both say.

        Raises:
            SystemExit: if a part of the sweep has run; what is left is forecast only, and is no measure.
        """
        if paths.manifest_file(self.folder).exists():
            raise SystemExit(f"{self.folder} has begun: remove it, a forecast is held against a whole sweep")
        planned = forecast(mmbench("plan", *self.command[1:]))
        result = {**super().run(), "planned": planned}
        files.write_document(self.record, result)
        return result

    def said(self) -> dict[str, Any]:
        """What the finished sweep says, and the seconds of all trainings of each model."""
        groups = read_groups(read_sweep(self.folder), self.folder)
        took = {str(group.model): round(sum(cell.seconds for cell in group.cells)) for group in groups}
        return {**super().said(), "seconds_of": took}


def forecast(printed: str) -> dict[str, Any]:
    """What ``plan`` has printed: trainings of each model and how long they take, at least and at most, and the sweep.

    Args:
        printed: its lines, English.
    """
    rows = (re.split(r"\s{2,}", line.strip()) for line in printed.splitlines() if re.match(r"  \S+/\w+ \(", line))
    models = {name.split(" (")[0].partition("/")[2]: [int(n.replace(",", "")), *ends] for name, _, _, n, *ends in rows}
    here = re.search(r"^here: .*; from (\S+ \w+) to (\S+ \w+)", printed, re.MULTILINE)
    if here is None or not models:
        raise ValueError(f"no forecast in what plan has printed:\n{printed}")
    return {"models": models, "sweep": list(here.groups())}


def seconds(told: str) -> float:
    """Of a time as ``plan`` prints it.

    >>> seconds("90 s"), seconds("2 min"), seconds("1,250.5 h")
    (90.0, 120.0, 4501800.0)
    """
    number, unit = told.split()
    return float(number.replace(",", "")) * UNITS[unit]


STUDIES = [
    Forecast(
        "ml100k_cold_core",
        (
            "dataset=ml100k",
            "dataset.protocol=cold",
            "dataset.cold_fold=1",
            f"model={MODELS}",
            f"modality={','.join(CONDITIONS)}",
            "budget=small",
        ),
    )
]


def rows(results: Mapping[str, Mapping[str, Any]]) -> str:
    """The part of docs/results.md: what was forecast of each model and what it took, and what was found."""
    return "\n\n".join(f"{times(result)}\n\n{floors(result)}\n\n{found(result)}" for result in results.values())


def times(result: Mapping[str, Any]) -> str:
    """Trainings of each model, how long they were said to take on one worker, and took; then the sweep."""
    planned, took = result["planned"], result["seconds_of"]
    lines = [
        [model, str(n), shortest, longest, _time(took[model])]
        for model, (n, shortest, longest) in planned["models"].items()
    ]
    whole = [str(result["trainings"]), *planned["sweep"], _time(result["wall_seconds"])]
    header = ["model", "trainings", "planned, shortest", "longest", "took"]
    return table(header, [*lines, ["the sweep, two workers", *whole]])


def _time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 60 else f"{seconds / 60:.1f} min"


def found(result: Mapping[str, Any]) -> str:
    """NDCG@20 of new items among themselves, and of the others, by model and condition."""
    by_name = {(one["model"], one["condition"]): one for one in result["new_items"]}
    lines = [
        [model]
        + [
            f"{by_name[model, condition][f'{pool} {NDCG}']:.4f}"
            for pool in ("new", "others")
            for condition in CONDITIONS
        ]
        for model in dict.fromkeys(model for model, condition in by_name if condition == "fused")
    ]
    return table(["model", *CONDITIONS, f"other items: {CONDITIONS[0]}", *CONDITIONS[1:]], lines)


def main() -> None:
    """Ask and run what is missing, and write the tables of what has run."""
    run_into_page(STUDIES, "forecast", rows)


if __name__ == "__main__":
    main()
