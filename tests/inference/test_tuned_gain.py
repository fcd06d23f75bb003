"""Tuned gain: known answers, every subset counted, what gives no bounds, and free disposal over cells and models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from mmbench.inference.best_of_n import SeedNoise, Tuning
from mmbench.inference.tuned_gain import tuned_gain
from tests.inference.test_intervals import known_answers


def numbers(values: Sequence[Any]) -> np.ndarray:
    """A table with NaN for null."""
    width = max((len(row) for row in values if isinstance(row, list)), default=0)
    return np.array([([np.nan] * width if width else np.nan) if value is None else value for value in values])


def given_tuning(answer: Mapping[str, Any], side: str) -> Tuning:
    test = numbers(answer[f"test_{side}"])
    slots = [f"configuration {slot}" for slot in range(len(test))]
    noise = SeedNoise(answer[f"relative_seed_sd_{side}"], answer[f"seeds_{side}"] - 1.0)
    return Tuning(numbers(answer[f"validation_{side}"]), test, np.arange(test.shape[1]), slots, noise)


@pytest.mark.parametrize("answer", [case for answers in known_answers("tuned_gain") for case in [*answers.values[0]]])
def test_known_answer_tuned_gain(answer: Mapping[str, Any]) -> None:
    found = tuned_gain(given_tuning(answer, "a"), given_tuning(answer, "b"), answer["n"], level=answer["level"])
    estimate, log_gain = found.estimate, found.estimate.log_gain
    interval = log_gain.at(answer["level"])
    (trials,) = estimate.trial_terms
    ours = {
        "n": found.n,
        "weights_a": found.a.weights[0],
        "weights_b": found.b.weights[0],
        "tuned_a": found.a.tuned,
        "tuned_b": found.b.tuned,
        "log_ratio": estimate.log_ratio,
        "gain": found.gain,
        "var_trials": estimate.trials_variance,
        "effective_configurations": trials.effective_configurations,
        "var_users": estimate.users_variance,
        "var_default_seed": estimate.seed_variance,
        "df": log_gain.df,
        "lo": interval.lo,
        "hi": interval.hi,
    }
    assert ours.keys() == answer["expected"].keys()
    for name, expected in answer["expected"].items():
        value = np.array(expected, np.float64)  # null is NaN
        np.testing.assert_allclose(ours[name], value, rtol=1e-8, atol=0.0, err_msg=name)
