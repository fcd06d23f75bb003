"""Expected performance after tuning: against enumeration, against its law, and the rules that rest on it."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmbench.inference import tuning_curves, tuning_luck
from mmbench.inference.intervals import Interval
from mmbench.inference.tuning_luck import Trials

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


def test_the_edge_rule_rounds_the_top_up_and_needs_a_range() -> None:
    validation = np.array([0.9, 0.8, 0.1, 0.1, 0.1, 0.1, 0.1])  # a fifth of seven trials is two
    assert tuning_curves.edge_share([1.0, 5.0, 5, 5, 5, 5, 5], validation, 1.0, 9.0, log=False) == 0.5
    with pytest.raises(ValueError, match="the range from 3 to 3 is empty"):
        tuning_curves.edge_share([3.0], validation[:1], 3, 3, log=False)


def test_bands_hold_their_curve_and_are_paired() -> None:
    rng = np.random.default_rng(5)
    score = rng.random(20)
    bands = tuning_curves.tuning_bands({"a": score, "b": 2 * score}, replicas=300)
    for n in (1, 7, 20):
        assert bands["a"].mean[n - 1] == pytest.approx(tuning_curves.expected_validation_performance(score, n))
    assert (bands["a"].lo <= bands["a"].mean + 1e-12).all()
    assert (bands["a"].lo < bands["a"].hi).all()
    np.testing.assert_allclose(bands["b"].lo, 2 * bands["a"].lo)  # the same trials in both conditions
    tested = tuning_curves.tuning_bands({"a": score}, {"a": 1 - score}, replicas=50)["a"]
    assert tested.mean[-1] == pytest.approx(1 - score.max())
    first = tuning_curves.tuning_bands({"a": score}, default_first=True, replicas=50)["a"]
    assert first.lo[0] == first.hi[0] == score[0]
    with pytest.raises(ValueError, match="conditions must have the same trials"):
        tuning_curves.tuning_bands({"a": score, "b": score[:5]})


def test_bands_cover_the_true_curve() -> None:
    truth = np.random.default_rng(6).normal(size=(200_000, 4)).max(axis=1).mean()
    rng = np.random.default_rng(7)
    covered = 0
    for _ in range(200):
        band = tuning_curves.tuning_bands({"a": rng.normal(size=30)}, replicas=200, seed=int(rng.integers(1 << 30)))[
            "a"
        ]
        covered += bool(band.lo[3] <= truth <= band.hi[3])
    assert 165 <= covered <= 195  # narrower than asked, as percentile bands over few trials are


def two_conditions(users: int = 400) -> tuple[Trials, Trials]:
    rng = np.random.default_rng(8)
    quality = rng.normal(1.0, 0.1, 12)
    taste = rng.gamma(2.0, 0.05, users)
    noise = rng.normal(1.0, 0.05, (2, 12, users))
    sides = [
        Trials(quality + 0.02 * rng.normal(size=12), f * quality[:, None] * taste * noise[i])
        for i, f in ((0, 1.1), (1, 1.0))
    ]
    return sides[0], sides[1]


def test_the_tuned_gain_is_that_of_etp() -> None:
    a, b = two_conditions()
    for n in (1, 6, 12):
        found = tuning_luck.tuned_gain(a, b, n, replicas=50)
        tested = [tuning_curves.expected_tuned_test_performance(s.validation, s.test.mean(axis=1), n) for s in (a, b)]
        assert found.mean == pytest.approx(tested[0] / tested[1] - 1)
        assert found.lo <= found.hi
    whole = tuning_luck.tuned_gain(a, b, replicas=50)
    assert whole == tuning_luck.tuned_gain(a, b, 12, replicas=50)
    assert whole.contains(whole.mean)


def test_equal_conditions_have_no_contrast_whatever_is_drawn() -> None:
    a, _ = two_conditions()
    assert tuning_luck.tuned_gain(a, a, replicas=50) == Interval(0.0, 0.0, 0.0, 0.9)


def test_a_lucky_choice_widens_the_contrast() -> None:
    # One trial of A stands far out on the test split: without it the gain is gone.
    rng = np.random.default_rng(9)
    test = np.tile(rng.gamma(2.0, 0.05, 300), (10, 1))
    lucky = test.copy()
    lucky[3] *= 1.3
    validation = np.linspace(0.1, 0.2, 10)
    best_is_lucky = np.where(np.arange(10) == 3, 0.5, validation)
    found = tuning_luck.tuned_gain(Trials(best_is_lucky, lucky), Trials(validation, test))
    assert found.mean == pytest.approx(0.3)
    assert found.lo == pytest.approx(0.0)  # a third of the samples have not drawn it
    half = tuning_luck.tuned_gain(Trials(best_is_lucky, lucky), Trials(validation, test), 5)
    assert half.mean == pytest.approx(0.15)


def test_contrasts_of_other_trials_are_refused() -> None:
    a, b = two_conditions()
    with pytest.raises(ValueError, match="are not paired"):
        tuning_luck.tuned_gain(a, Trials(b.validation, b.test[:, :5]))
    with pytest.raises(ValueError, match="12 validation scores and 11 test scores"):
        tuning_luck.tuned_gain(Trials(a.validation, a.test[:11]), Trials(b.validation, b.test[:11]))
    with pytest.raises(ValueError, match="relative gain over a mean of zero is not defined"):
        tuning_luck.tuned_gain(a, Trials(b.validation, 0 * b.test))


def test_samples_of_trials_keep_the_default() -> None:
    slots = tuning_curves.resampled_slots(6, 200, np.random.default_rng(0), default_first=True)
    assert (slots[:, 0] == 0).all()
    assert slots[:, 1:].min() == 1
    assert (np.diff(slots, axis=1) >= 0).all()
    assert tuning_curves.resampled_slots(1, 3, np.random.default_rng(0), default_first=True).tolist() == [[0]] * 3
    free = tuning_curves.resampled_slots(6, 2000, np.random.default_rng(0))
    assert math.isclose((free == 2).mean(), 1 / 6, abs_tol=0.02)
