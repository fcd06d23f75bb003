"""The evaluator against the metrics that the reference computes from its golden scores."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from mmbench.evaluation import metrics
from mmbench.evaluation.ranking import Evaluator
from tests.parity.golden import HERE, Case

GOLDEN = json.loads((HERE / "a" / "evaluation.json").read_text(encoding="utf-8"))


class Table:
    """Scores from a table."""

    def __init__(self, scores: torch.Tensor) -> None:
        self.scores = scores

    def score(self, users: torch.Tensor) -> torch.Tensor:
        return self.scores[users]


def names() -> list[str]:
    """Golden scores that rank without ties; a neighbourhood model gives most items the score 0."""
    without_ties = []
    for name in GOLDEN:
        if (HERE / "a" / f"{name}.npz").exists():
            scores = Case(HERE / "a", name, {}).arrays["scores"]
            if all(len(np.unique(row)) == len(row) for row in scores):
                without_ties.append(name)
    return without_ties


@pytest.mark.parametrize("name", names())
@pytest.mark.parametrize("part", ["valid", "test"])
def test_metrics_of_the_reference(name: str, part: str) -> None:
    """Train alone is masked, for test too, as the reference does.

    Definitions of average precision differ in the denominator, |G| or min(k, |G|). Every user of this data set has
    exactly one held-out item, where they coincide, so every metric is compared.
    """
    case = Case(HERE / "a", name, {})
    evaluator = Evaluator(case.part(part), case.part("train"))
    ranking = evaluator.rank(Table(torch.from_numpy(case.arrays["scores"])))
    assert (ranking.pairs.relevant == 1).all()
    assert len(ranking.users) == len(case.part(part))
    ours = {key: float(metrics.per_user(ranking.pairs, key).mean()) for key in GOLDEN[name][part]}
    assert ours == pytest.approx(GOLDEN[name][part], abs=1e-12)
