"""What it costs to choose an epoch by few new items: ``python -m tests.studies.unstopped`` trains what is missing.

DropoutNet and CLCRec with their default configurations train to the same cap on the five folds of MovieLens 100K, past
every epoch where a sweep would stop them, and validation and test are ranked after every epoch. What validation chooses
is held against the best epoch by test, which no rule may choose: it bounds what any rule could find. Test parts are
looked at for this and for nothing else.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from mmbench.cli.compose import compose
from mmbench.scheduling.cell_key import RESULTS_VERSION
from mmbench.store import files
from mmbench.training import allocation
from tests.benchmarks.performance import table
from tests.calibration.curves import CAP_EPOCHS, CAP_STEPS, unstopped
from tests.studies.sweeps import Study, run_into_page

MODELS = ("dropoutnet", "clcrec")
CONDITIONS = ("image", "text")
FOLDS = 5


@dataclass(frozen=True)
class Unstopped(Study):
    """The default configuration of one condition, fold by fold."""

    @property
    def command(self) -> list[str]:
        """The words of its cells but for the fold."""
        return [*self.words, "tracking=none"]

    def run(self) -> dict[str, Any]:
        """Train it, and write the scores of every epoch."""
        began = time.perf_counter()
        torch.set_num_threads(1)
        allocation.keep_freed_memory()
        result = {
            "command": self.command,
            "results_version": RESULTS_VERSION,
            "trainings": FOLDS,
            "folds": [self.course(fold) for fold in range(FOLDS)],
            "wall_seconds": round(time.perf_counter() - began),
        }
        files.write_document(self.record, result)
        return result

    def course(self, fold: int) -> dict[str, list[float]]:
        """NDCG@20 of new items after every epoch, by validation and by test."""
        job = compose([*self.command, f"dataset.cold_fold={fold}"]).job()
        trained = unstopped(job.task(), job.dataset().split, 0, CAP_STEPS, CAP_EPOCHS, always=True)
        scores = {"validation": trained.loop_state.course.history, "test": [value for _, value in trained.tested]}
        return {part: [float(f"{value:.7g}") for value in values] for part, values in scores.items()}


STUDIES = [
    Unstopped(
        f"unstopped_{model}_{condition}",
        ("dataset=ml100k", "dataset.protocol=cold", f"model={model}", f"modality={condition}", "budget=small"),
    )
    for model in MODELS
    for condition in CONDITIONS
]


def rows(results: Mapping[str, Mapping[str, Any]]) -> str:
    """The table of docs/results.md: test NDCG@20 at epochs that are chosen in three ways, means over the folds.

    Beside it stands, fold by fold, how validation and test correlate over the epochs.
    """
    lines = []
    for name, result in results.items():
        _, model, condition = name.split("_")
        valid, test = ([np.array(one[part]) for one in result["folds"]] for part in ("validation", "test"))
        # A later epoch counts where scores are equal, as in a training.
        chosen = [len(scores) - 1 - int(scores[::-1].argmax()) for scores in valid]
        reached = (
            [scores[epoch] for scores, epoch in zip(test, chosen, strict=True)],
            [scores.max() for scores in test],
            [scores[-1] for scores in test],
        )
        means = [f"{np.mean(scores):.4f}" for scores in reached]
        agreed = (f"{np.corrcoef(one, other)[0, 1]:.2f}" for one, other in zip(valid, test, strict=True))
        epochs = (chosen, [int(scores.argmax()) for scores in test])
        lines.append(
            [model, condition, *means, *(", ".join(str(epoch + 1) for epoch in of) for of in epochs), ", ".join(agreed)]
        )
    header = ["chosen by validation", "best by test", "last", "chosen epochs", "best epochs", "correlation"]
    return table(["model", "condition", *header], lines)


def main() -> None:
    """Train what is missing, and write the table of what has been trained."""
    run_into_page(STUDIES, "unstopped", rows)


if __name__ == "__main__":
    main()
