"""The decision about the training rule says what the recorded curves say."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from mmbench.cli.compose import compose
from tests.calibration import rules
from tests.calibration.curves import CAP_EPOCHS, CAP_STEPS, MODELS, Subject, packed, record, subjects
from tests.studies.sweeps import ROOT

PAGE = ROOT / "docs" / "decisions" / "0019-training-rule.md"


@pytest.mark.thorough
def test_the_page_has_the_tables_of_the_packed_curves() -> None:
    page, frame = PAGE.read_text(encoding="utf-8"), packed()
    assert len(frame) > 0
    results = rules.applied(rules.whole_pairs(frame), rules.RULES)
    assert rules.printed(rules.summary(results)) in page
    assert rules.printed(rules.ends(frame)) in page


def test_a_curve_has_come_to_its_best_score_so_far() -> None:
    curve = rules.curve_of(pd.Series(recorded("d", 0, [0.2, 0.1, 0.4], [0.2, 0.4])))
    assert rules._come_to(curve, np.array([50, 100, 250, 300, 900])).tolist() == [0.0, 0.5, 0.5, 1.0, 1.0]


@pytest.mark.charts
@pytest.mark.thorough
def test_the_figure_has_the_packed_curves() -> None:
    assert rules.learning(rules.whole_pairs(packed())).svg == rules.FIGURE.read_text(encoding="utf-8")


@pytest.mark.thorough
@pytest.mark.parametrize("model", MODELS)
def test_curves_begin_as_trainings_of_the_present_code_do(model: str) -> None:
    """What is recorded is no answer any more once a model gives other numbers; processors round differently."""
    frame = packed()
    condition = "-" if model == "lightgcn" else "fused"
    at = (frame[["dataset", "model", "condition", "slot"]] == ["complementary-0", model, condition, 0]).all(axis=1)
    (row,) = frame[at].itertuples()
    began = record(Subject("complementary-0", model, condition, 0), cap=2)
    np.testing.assert_allclose(began["validation"], row.validation[:2], rtol=0.05)


@pytest.mark.thorough
def test_the_rule_in_use_is_the_cheapest_that_passes() -> None:
    frame = packed()
    assert len(frame) == len(list(subjects()))
    budget = compose(["model=vbpr", "budget=small"]).config["budget"]
    # The cap in use never ends a training before that of the curves.
    assert budget["max_steps"] > CAP_STEPS
    assert budget["least_epochs"] == CAP_EPOCHS
    used = rules.by_steps(budget["patience_steps"], budget["min_steps"])
    assert used.name == rules.cheapest(rules.applied(frame, rules.RULES))


def recorded(
    dataset: str, slot: int, validation: list[float], test: list[float], condition: str = "text"
) -> dict[str, object]:
    """A training with an epoch of 100 steps; ``test`` at each new best validation."""
    best = [n + 1 for n, score in enumerate(validation) if score > max(validation[:n], default=-1.0)]
    assert len(best) == len(test)
    return {
        "dataset": dataset, "model": "m", "condition": condition, "slot": slot, "steps_per_epoch": 100,
        "popularity": 0.3, "validation": validation, "test_epochs": best, "test": test,
    }  # fmt: skip


def test_known_answer_of_a_regret() -> None:
    """Best after the third of twelve epochs and better after the last: five epochs of patience miss it."""
    rise = [0.2, 0.4, 0.5, *[0.45] * 8, 0.6]
    results = rules.applied(
        pd.DataFrame([recorded("d", 0, rise, [0.1, 0.2, 0.3, 0.4])]),
        [
            rules.by_epochs(5),
            rules.by_steps(600),
            rules.by_steps(600, least=1200),
            rules.from_popularity(600),
            rules.CAP,
        ],
    ).set_index("rule")
    assert results["steps"].tolist() == [800, 900, 1200, 900, 1200]
    assert results["test"].tolist() == pytest.approx([0.25, 0.25, 0, 0.25, 0])
    assert results["validation"].tolist() == pytest.approx([1 / 6, 1 / 6, 0, 1 / 6, 0])


def test_a_mean_passes_that_is_small_or_not_told_from_zero() -> None:
    assert rules.Estimate(0.004, 0.1).passes()  # below a quarter of the margin
    assert not rules.Estimate(0.006, 0.005).passes()  # told from zero
    assert rules.Estimate(0.006, 0.007).passes()  # not told from zero by a narrow interval
    assert not rules.Estimate(0.006, 0.02).passes()  # nor by a wide one
    assert rules.Estimate(-0.1, 0.0).passes()  # a rule may be better than the cap
    assert not rules.Estimate(-0.1, 0.0).passes(absolute=True)  # but not better for one condition


def test_the_cheapest_rule_passes_on_every_data_set() -> None:
    rise, flat = [0.2, 0.4, 0.5, *[0.45] * 8, 0.6], [0.2, 0.4, 0.5, *[0.45] * 9]
    cells = [(slot, condition) for slot in range(3) for condition in ("text", "fused")]
    rows = [recorded("flat", slot, flat, [0.1, 0.2, 0.3], condition) for slot, condition in cells]
    tried = [rules.by_epochs(5), rules.by_steps(1000), rules.CAP]
    assert rules.cheapest(rules.applied(pd.DataFrame(rows), tried)) == "5 epochs"
    rows += [recorded("rise", slot, rise, [0.1, 0.2, 0.3, 0.4], condition) for slot, condition in cells]
    results = rules.applied(pd.DataFrame(rows), tried)
    assert rules.cheapest(results) == "1,000 steps"
    assert rules.summary(results)["passes"].tolist() == ["1 of 2", "2 of 2", "2 of 2"]
