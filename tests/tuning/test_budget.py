"""A budget says what every condition gets, and refuses what cannot be meant."""

from __future__ import annotations

from typing import Any

import pytest

from mmbench.tuning.budget import Budget

RULE = {"patience_steps": 500, "min_steps": 1000, "max_steps": 3000, "least_epochs": 75}
STANDARD: dict[str, Any] = {"name": "standard", "trials": 30, "seeds": 5, **RULE}


def test_rungs_may_come_as_a_list() -> None:
    assert Budget(**STANDARD, rungs=[5, 20]).rungs == (5, 20)  # type: ignore[arg-type]


@pytest.mark.parametrize("field", ["trials", "seeds", "max_steps", "patience_steps", "batches_per_epoch"])
@pytest.mark.parametrize("value", [0, -1, 2.5, "8", True])
def test_a_budget_that_is_no_effort_is_refused(field: str, value: object) -> None:
    with pytest.raises(ValueError, match=rf"budget\.{field}={value} must be a whole number of at least 1"):
        Budget(**{**STANDARD, field: value})


def test_a_budget_may_leave_the_steps_of_an_epoch_open() -> None:
    assert Budget(**STANDARD).batches_per_epoch is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tpe": -1}, "budget.tpe=-1 must be a whole number of at least 0"),
        ({"trials": 10_000}, "budget.trials=10000 is too many; a cell has at most 9999"),
        ({"seeds": 10_000}, "budget.seeds=10000 is too many; a cell has at most 9999"),
        ({"rungs": [0, 5]}, r"budget.rungs=\[0, 5\] must be ascending steps from 1 to below max_steps=3000"),
        ({"rungs": [5, 5]}, r"budget.rungs=\[5, 5\] must be ascending"),
        ({"rungs": [3000]}, r"budget.rungs=\[3000\] must be ascending"),
        ({"rungs": ["5"]}, r"budget.rungs=\['5'\] must be ascending"),
    ],
)
def test_what_cannot_be_meant_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Budget(**{**STANDARD, **change})
