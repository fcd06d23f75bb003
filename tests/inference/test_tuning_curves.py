"""Expected performance after tuning: against enumeration, against its law, and the rules that rest on it."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmbench.inference import tuning_curves

VALUES = [0.31, 0.12, 0.44, 0.44, 0.07, 0.29]


def enumerated(validation: np.ndarray, scores: np.ndarray, n: int, default_first: bool) -> float:
    """Mean score of the choice over every set of ``n`` trials, the definition itself."""
    first = [0] if default_first else []
    others = range(len(first), len(validation))
    chosen = [
        max([*first, *rest], key=lambda slot: (validation[slot], -slot))
        for rest in itertools.combinations(others, n - len(first))
    ]
    return float(np.mean(scores[chosen]))


@pytest.mark.parametrize(
    ("n", "expected"),
    [
        (1, 0.31),
        (2, (0.31 * 3 + 0.44 * 2) / 5),
        (3, (0.31 * 3 + 0.44 * 7) / 10),
        (4, (0.31 + 0.44 * 9) / 10),
        (6, 0.44),
    ],
)
def test_known_answer_of_evp_with_the_default_first(n: int, expected: float) -> None:
    # Counted by hand: the default 0.31 is beaten by two of the five others; sets of n - 1 that hold neither keep it.
    found = tuning_curves.expected_validation_performance(np.array(VALUES), n, default_first=True)
    assert found == pytest.approx(expected, rel=1e-12)


@settings(deadline=None, derandomize=True)
@given(st.lists(st.integers(0, 6), min_size=2, max_size=8), st.booleans())
def test_chances_are_those_of_all_sets_of_trials(scores: list[int], default_first: bool) -> None:
    validation = np.array(scores, np.float64)
    test = np.random.default_rng(0).random(len(scores))
    for n in range(1, len(scores) + 1):
        chances = tuning_curves.chance_of_choice(validation, n, default_first=default_first)
        assert chances.sum() == pytest.approx(1.0)
        evp = tuning_curves.expected_validation_performance(validation, n, default_first=default_first)
        etp = tuning_curves.expected_tuned_test_performance(validation, test, n, default_first=default_first)
        assert evp == pytest.approx(enumerated(validation, validation, n, default_first), rel=1e-12, abs=1e-12)
        assert etp == pytest.approx(enumerated(validation, test, n, default_first), rel=1e-12)


def test_evp_of_one_is_the_mean_and_of_all_the_maximum() -> None:
    values = np.random.default_rng(1).random(90)
    assert tuning_curves.expected_validation_performance(values, 1) == pytest.approx(values.mean())
    assert tuning_curves.expected_validation_performance(values, 90) == values.max()
    assert tuning_curves.expected_validation_performance(values, 1, default_first=True) == values[0]
    curve = [tuning_curves.expected_validation_performance(values, n) for n in range(1, 91)]
    assert (np.diff(curve) >= 0).all()


def test_evp_is_unbiased() -> None:
    draws = np.random.default_rng(2).gamma(2.0, 1.0, (4000, 20))
    found = np.mean([tuning_curves.expected_validation_performance(row, 5) for row in draws])
    truth = np.random.default_rng(3).gamma(2.0, 1.0, (400_000, 5)).max(axis=1).mean()
    assert found == pytest.approx(truth, rel=0.005)


def test_etp_is_given_for_every_user_too() -> None:
    rng = np.random.default_rng(4)
    validation, test = rng.random(12), rng.random((12, 7))
    by_user = tuning_curves.expected_tuned_test_performance(validation, test, 5)
    assert isinstance(by_user, np.ndarray)
    assert by_user.shape == (7,)
    whole = tuning_curves.expected_tuned_test_performance(validation, test.mean(axis=1), 5)
    assert by_user.mean() == pytest.approx(whole)


def test_a_tie_goes_to_the_lower_slot() -> None:
    validation, test = np.array([0.1, 0.5, 0.5, 0.2]), np.array([1.0, 2.0, 3.0, 4.0])
    assert tuning_curves.expected_tuned_test_performance(validation, test, 4) == 2.0
    assert tuning_curves.expected_tuned_test_performance(np.full(4, 0.3), test, 4) == 1.0


def test_a_failed_trial_counts_as_a_trial() -> None:
    validation, test = np.array([0.3, -np.inf, 0.5, 0.4]), np.array([0.2, np.nan, 0.6, 0.5])
    assert tuning_curves.expected_validation_performance(validation, 2) == pytest.approx((0.3 + 0.4 * 2 + 0.5 * 3) / 6)
    assert tuning_curves.expected_validation_performance(validation, 1) == -np.inf
    assert tuning_curves.expected_tuned_test_performance(validation, test, 4) == 0.6
    assert tuning_curves.expected_tuned_test_performance(validation, test[:, None], 2).shape == (1,)  # type: ignore[union-attr]


@pytest.mark.parametrize("n", [0, 5])
def test_nothing_is_extrapolated(n: int) -> None:
    with pytest.raises(ValueError, match=f"n={n} must lie between 1 and the 4 trials"):
        tuning_curves.expected_validation_performance(np.arange(4.0), n)


def test_bad_trials_are_refused() -> None:
    with pytest.raises(ValueError, match="a validation score is NaN"):
        tuning_curves.expected_validation_performance(np.array([0.1, np.nan]), 1)
    with pytest.raises(ValueError, match="4 validation scores and 3 test scores"):
        tuning_curves.expected_tuned_test_performance(np.arange(4.0), np.arange(3.0), 2)


def test_saturation_and_tuning_gain() -> None:
    values = np.array([0.2, 0.1, 0.4, 0.3])
    evp = tuning_curves.expected_validation_performance(values, 2)
    assert tuning_curves.saturation(values) == pytest.approx((0.4 - evp) / 0.4)
    assert tuning_curves.saturation(np.full(5, 0.3)) == pytest.approx(0.0)
    assert tuning_curves.tuning_gain(values) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("best", "log", "expected"),
    [
        ([1.04, 9.9, 5.0, 5.0], False, 0.5),  # the edges end at 1.45 and 9.55
        ([1.46, 9.54, 5.0, 5.0], False, 0.0),
        ([1.12, 1.13, 8.9, 8.92], True, 0.5),  # on the log scale they end at 1.122 and 8.913
        ([1.0, 10.0, 1.0, 10.0], True, 1.0),
    ],
)
def test_known_answer_of_the_edge_rule(best: list[float], log: bool, expected: float) -> None:
    values = np.concatenate([np.full(16, 1.0), best])  # 20 trials, of which the last four are the top fifth
    validation = np.concatenate([np.linspace(0.1, 0.2, 16), [0.5, 0.6, 0.7, 0.8]])
    assert tuning_curves.edge_share(values, validation, 1.0, 10.0, log=log) == expected


def test_a_value_with_a_probability_of_its_own_is_no_edge() -> None:
    """It counts among the best trials and not among those at a bound, though the range may have no logarithm for it."""
    validation = np.array([0.9, 0.8, 0.7, 0.6, *[0.1] * 16])  # the best four
    values = [0.0, 1.0, 10.0, 3.0, *[2.0] * 16]
    assert tuning_curves.edge_share(values, validation, 1.0, 10.0, log=True, atoms=(0.0,)) == 0.5
    assert tuning_curves.edge_share(values, validation, 1.0, 10.0, log=False, atoms=(0.0, 1.0, 10.0)) == 0.0
    assert tuning_curves.edge_share([0.0] * 20, validation, 1.0, 10.0, log=True, atoms=(0.0,)) == 0.0
    # Beside a bound that has a probability of its own there is nothing to search either.
    near = [0.02, 0.01, 2.99, 2.98, *[1.0] * 16]
    shares = [
        tuning_curves.edge_share(near, validation, 0.0, 3.0, log=False, atoms=a) for a in [(), (0.0,), (0.0, 3.0)]
    ]
    assert shares == [1.0, 0.5, 0.0]


def test_the_edge_rule_rounds_the_top_up_and_needs_a_range() -> None:
    validation = np.array([0.9, 0.8, 0.1, 0.1, 0.1, 0.1, 0.1])  # a fifth of seven trials is two
    assert tuning_curves.edge_share([1.0, 5.0, 5, 5, 5, 5, 5], validation, 1.0, 9.0, log=False) == 0.5
    with pytest.raises(ValueError, match="the range from 3 to 3 is empty"):
        tuning_curves.edge_share([3.0], validation[:1], 3, 3, log=False)
