"""Tuned gain: known answers, every subset counted, what gives no bounds, and free disposal over cells and models."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from opda.nonparametric import EmpiricalDistribution
from scipy import stats as distributions

from mmbench.inference import best_of_n
from mmbench.inference.best_of_n import NO_SEED_NOISE, SeedNoise, Side, TunedCell, Tuning
from mmbench.inference.gains import NoWord, TunedGain, depends, early_trials
from mmbench.inference.intervals import LogGain
from mmbench.inference.tuned_gain import estimate, tuned_gain
from mmbench.inference.tuning_curves import banded
from tests.inference import subsets
from tests.inference.test_intervals import known_answers

CLOSE = {"rtol": 1e-9, "atol": 1e-13}
NOISE = SeedNoise(0.01, 4.0)
FAILED = -1


def tuning(
    validation: Sequence[float], test: np.ndarray | None = None, *, n_users: int = 40, seed: int = 0, **said: Any
) -> Tuning:
    """Trials with these validation scores, failed where they are negative, and a test metric of our own."""
    scores = np.array([math.nan if score < 0 else score for score in validation], np.float64)
    if test is None:
        rng = np.random.default_rng([seed, len(scores)])
        test = 0.1 + 0.1 * rng.random((len(scores), 1)) + 0.1 * rng.random((len(scores), n_users))
        test[np.isnan(scores)] = math.nan
    slots = [f"configuration {slot}" for slot in range(len(scores))]
    return Tuning(scores, test, np.arange(test.shape[1]), slots, **{"seed_noise": NOISE, **said})


def pair(a: Tuning, b: Tuning) -> list[list[TunedCell]]:
    """Two sides of one cell each, as the counting takes them."""
    return [[TunedCell("a", "", 0, a, "a")], [TunedCell("a", "", 0, b, "b")]]


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


# Counted: every subset of up to ten trials.

SCORES = st.integers(FAILED, 4)


@st.composite
def two_conditions(draw: st.DrawFn, most: int = 8) -> tuple[list[int], list[int]]:
    trials = draw(st.integers(3, most))
    scores = st.lists(SCORES, min_size=trials, max_size=trials)
    return draw(scores), draw(scores)


def counted_agrees(a: Tuning, b: Tuning, n: int) -> None:
    """Every part of the estimate against the definition."""
    sides, slots = pair(a, b), {"a": len(a.scores)}
    found = tuned_gain(a, b, n)
    weights = [subsets.weights(side, n, slots) for side in sides]
    for side, ours, own in zip(sides, (found.a, found.b), weights, strict=True):
        assert np.isnan(ours.weights[0]).any() == np.isnan(own[0]).any()
        if not np.isnan(own[0]).any():
            np.testing.assert_allclose(ours.weights[0], own[0], **CLOSE)
            np.testing.assert_allclose(ours.tuned, subsets.by_user(side, own).mean(), **CLOSE)
            np.testing.assert_allclose(ours.validation, subsets.promised(side, own), **CLOSE)
            np.testing.assert_allclose(ours.optimism, ours.validation - ours.tuned, **CLOSE)
    np.testing.assert_allclose(found.a_beats_b, subsets.a_beats_b(sides, n, slots), **CLOSE)
    if np.isnan(np.concatenate([weights[0][0], weights[1][0]])).any():
        assert math.isnan(found.gain)
        assert found.refusal in (NoWord.FEW_SUCCESSES, NoWord.NOTHING_FOUND)
        return
    metric_a, metric_b = (subsets.by_user(side, own) for side, own in zip(sides, weights, strict=True))
    np.testing.assert_allclose(found.estimate.log_ratio, math.log(metric_a.mean() / metric_b.mean()), **CLOSE)
    by_user = metric_a / metric_a.mean() - metric_b / metric_b.mean()
    np.testing.assert_allclose(found.estimate.users_variance, by_user.var(ddof=1) / len(by_user), **CLOSE)
    effects = [
        own[0][0] * side.means[0] / m.mean() if own[0][0] else 0.0
        for side, own, m in zip((a, b), weights, (metric_a, metric_b), strict=True)
    ]
    np.testing.assert_allclose(found.estimate.seed_variance, sum((0.01 * effect) ** 2 for effect in effects), **CLOSE)
    random = np.stack([own[0][1:] for own in weights])
    (trials,) = found.estimate.trial_terms
    if not random.any():
        assert math.isnan(trials.effective_configurations)
    else:
        k = (random.sum(axis=1) ** 2).sum() / (random**2).sum()
        np.testing.assert_allclose(trials.effective_configurations, k, **CLOSE)
    if n == len(a.scores):
        assert math.isnan(found.estimate.trials_variance)
        return
    deleted = [("a", slot) for slot in range(1, len(a.scores))]
    if any(np.isnan(subsets.weights(side, n, slots, one)[0]).any() for one in deleted for side in sides):
        assert found.refusal is NoWord.FEW_SUCCESSES
        assert math.isnan(found.estimate.largest_change)
        return
    replicates = [subsets.log_ratio(sides, n, slots, one) for one in deleted]
    np.testing.assert_allclose(found.estimate.trials_variance, subsets.jackknife(replicates), **CLOSE)
    change = np.abs(np.array(replicates) - found.estimate.log_ratio).max()
    np.testing.assert_allclose(found.estimate.largest_change, change, **CLOSE)
    if found.top_trial is None:
        assert not random.any()
    else:
        top = random.sum(axis=0)
        assert top[found.top_trial.slot - 1] == pytest.approx(top.max(), rel=1e-9)
        assert (found.top_trial.weight_a, found.top_trial.weight_b) == pytest.approx(
            random[:, found.top_trial.slot - 1]
        )
        assert found.top_trial.gain_without == pytest.approx(math.expm1(replicates[found.top_trial.slot - 1]))


@settings(deadline=None, derandomize=True, max_examples=60)
@given(two_conditions(), st.data())
def test_the_estimate_is_that_of_all_sets_of_trials(scores: tuple[list[int], list[int]], data: st.DataObject) -> None:
    a, b = (tuning(side, seed=seed) for seed, side in enumerate(scores))
    counted_agrees(a, b, data.draw(st.integers(1, len(scores[0]))))


@pytest.mark.parametrize("n", [2, 4, 7, 10])
@pytest.mark.parametrize("default", [3, FAILED, 9, 0], ids=["tied", "failed", "best", "worst"])
def test_the_estimate_is_that_of_all_sets_of_ten_trials(default: int, n: int) -> None:
    a = tuning([default, 5, 3, 8, FAILED, 8, 1, 3, 6, 2], seed=1)
    b = tuning([3, 5, FAILED, 7, 7, 7, FAILED, 2, 8, 1], seed=2)
    counted_agrees(a, b, n)
    counted_agrees(b, a, n)


@settings(deadline=None, derandomize=True, max_examples=25)
@given(two_conditions(7))
def test_curves_are_those_of_all_sets_of_trials(scores: tuple[list[int], list[int]]) -> None:
    curves_agree(*(tuning(side, seed=seed) for seed, side in enumerate(scores)))


def test_curves_are_those_of_all_sets_of_ten_trials() -> None:
    """With ties, failures and a default that is tied."""
    curves_agree(
        tuning([3, 5, 3, 8, FAILED, 8, 1, 3, 6, 2], seed=1), tuning([3, 5, FAILED, 7, 7, 7, FAILED, 2, 8, 1], seed=2)
    )


def curves_agree(a: Tuning, b: Tuning) -> None:
    """Curves of test, validation and gain are means over all sets of trials of each size."""
    sides, slots, found = pair(a, b), {"a": len(a.scores)}, tuned_gain(a, b)
    for at in range(len(a.scores)):
        expected = []
        for side, curves in zip(sides, (found.a_curves, found.b_curves), strict=True):
            weights = subsets.weights(side, at + 1, slots)
            defined = not np.isnan(weights[0]).any()
            expected.append(subsets.by_user(side, weights).mean() if defined else math.nan)
            np.testing.assert_allclose(curves.test.mean[at], expected[-1], **CLOSE)
            np.testing.assert_allclose(
                curves.validation.mean[at], subsets.promised(side, weights) if defined else math.nan, **CLOSE
            )
        np.testing.assert_allclose(found.curve.mean[at], expected[0] / expected[1] - 1, **CLOSE)
    np.testing.assert_equal(found.gain_at_defaults, found.curve.mean[0])


def realistic(trials: int, seed: int, n_users: int = 200, lift: float = 1.0) -> Tuning:
    """Trials whose validation score is their test metric and noise."""
    rng = np.random.default_rng([trials, seed])
    quality = 0.1 * lift * (1 + 0.1 * np.random.default_rng(trials).standard_normal(trials))
    users = np.random.default_rng(n_users).gamma(2.0, 0.5, n_users)
    test = quality[:, None] * users * (1 + 0.2 * rng.standard_normal((trials, n_users)))
    return tuning(list(quality * (1 + 0.02 * rng.standard_normal(trials))), test)


@pytest.mark.parametrize("trials", [9, 12])
def test_bands_end_at_half_of_the_trials_and_are_the_intervals_of_their_number(trials: int) -> None:
    a, b = realistic(trials, 1), realistic(trials, 2)
    whole = tuned_gain(a, b)
    bounds = np.array([whole.curve.lo, whole.curve.hi])
    np.testing.assert_array_equal(np.isnan(bounds).any(axis=0), np.arange(1, trials + 1) > trials / 2)
    for n in range(1, trials // 2 + 1):
        interval = tuned_gain(a, b, n).interval
        assert interval is not None
        assert bounds[:, n - 1] == pytest.approx([interval.lo, interval.hi], rel=1e-9)


@pytest.mark.parametrize("trials", [1, 2, 8, 119, 120, 121, 122, 200, 1000])
def test_bands_of_many_trials_are_told_at_about_sixty_numbers(trials: int) -> None:
    numbers = banded(trials)
    assert numbers == sorted(set(numbers))
    assert len(numbers) <= 60
    if trials <= 121:
        assert numbers == list(range(1, trials // 2 + 1))
    else:
        assert numbers[:20] == list(range(1, 21))
        assert numbers[-1] == trials // 2
        assert max(after / before for before, after in itertools.pairwise(numbers[19:])) < 1.15


def test_bands_of_many_trials_are_the_intervals_of_their_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    computed = []

    def counted(side: Side, model: str, numbers: Sequence[int], *, test: bool) -> np.ndarray:
        computed.append(len(numbers))
        return without(side, model, numbers, test=test)

    without = Side.log_without
    monkeypatch.setattr(Side, "log_without", counted)
    a, b = realistic(150, 1, n_users=40), realistic(150, 2, n_users=40)
    found = tuned_gain(a, b, 73)
    places = np.flatnonzero(np.isfinite(found.curve.lo)) + 1
    assert set(places) == {73, early_trials(150), *banded(150)}
    assert computed == [len(places)] * 4  # test and validation of both sides
    assert np.isfinite(found.curve.mean).all()
    for n in (1, 25, 73, 75):
        interval = estimate([TunedCell("m", "a", 0, a, "a")], [TunedCell("m", "b", 0, b, "b")], n).log_gain.at(0.95)
        assert [found.curve.lo[n - 1], found.curve.hi[n - 1]] == pytest.approx([interval.lo, interval.hi], rel=1e-9)


def test_numbers_of_trials_are_taken_in_blocks_that_bound_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []

    def measured(side: Side, below: np.ndarray) -> np.ndarray:
        if below.ndim == 3:
            sizes.append(below.size)
        return chances(side, below)

    chances = Side._chances
    monkeypatch.setattr(Side, "_chances", measured)
    a, b = realistic(24, 1), realistic(24, 2)
    whole = tuned_gain(a, b)
    largest = max(sizes)
    sizes.clear()
    monkeypatch.setattr(best_of_n, "BLOCK", largest // 4)
    blocks = tuned_gain(a, b)
    assert max(sizes) <= largest // 4
    assert blocks.estimate == whole.estimate  # to the last bit
    for one, other in ((blocks.curve, whole.curve), (blocks.a_curves.validation, whole.a_curves.validation)):
        np.testing.assert_array_equal([one.mean, one.lo, one.hi], [other.mean, other.lo, other.hi])
    monkeypatch.setattr(best_of_n, "BLOCK", 1)  # one number of trials at a time is the least
    np.testing.assert_array_equal(tuned_gain(a, b).curve.lo, whole.curve.lo)


def test_chances_are_ratios_of_whole_numbers() -> None:
    """Those of many trials are too large for a float; a ratio of them is rounded once."""
    for m, d in ((0, 0), (5, 0), (5, 5), (7, 3), (1200, 400)):
        ways = [math.comb(c, d) / math.comb(m, d) for c in range(m + 1)]
        assert best_of_n.all_among(m, d).tolist() == ways
    assert np.isnan(best_of_n.all_among(3, 4)).all()


def test_the_band_of_a_side_knows_trials_users_and_seed_and_that_of_its_validation_score_the_trials() -> None:
    a, b, n = realistic(12, 1), realistic(12, 2), 4
    (side, _), slots, found = pair(a, b), {"a": 12}, tuned_gain(a, b)
    weights = subsets.weights(side, n, slots)
    metric = subsets.by_user(side, weights)
    (own,) = weights
    k = own[1:].sum() ** 2 / (own[1:] ** 2).sum()
    without = [subsets.weights(side, n, slots, ("a", slot)) for slot in range(1, 12)]
    trials = subsets.jackknife([math.log(subsets.by_user(side, w).mean()) for w in without])
    seed = (0.01 * own[0] * a.means[0] / metric.mean()) ** 2
    users = (metric / metric.mean()).var(ddof=1) / len(metric)
    terms = [(trials, max(k - 1, 1)), (users, len(metric) - 1), (seed, 4)]
    joined(found.a_curves.test, n, math.log(metric.mean()), terms)
    scores = subsets.jackknife([math.log(subsets.promised(side, w)) for w in without])
    joined(found.a_curves.validation, n, math.log(subsets.promised(side, weights)), [(scores, max(k - 1, 1))])


def joined(band: Any, n: int, log: float, terms: Sequence[tuple[float, float]]) -> None:
    """The band at n is that of Student's t with Satterthwaite's degrees of freedom."""
    variance = sum(part for part, _ in terms)
    df = variance**2 / sum(part**2 / degrees for part, degrees in terms)
    half = distributions.t.ppf(0.975, df) * math.sqrt(variance)
    found = [band.mean[n - 1], band.lo[n - 1], band.hi[n - 1]]
    np.testing.assert_allclose(found, np.exp([log, log - half, log + half]), rtol=1e-9)


@settings(deadline=None, derandomize=True)
@given(st.lists(st.floats(0.01, 1) | st.just(-1.0), min_size=3, max_size=40))
def test_the_validation_curve_agrees_with_opda(scores: list[float]) -> None:
    condition = tuning(scores, n_users=2)
    assume(np.isfinite(condition.scores).any())
    found = tuned_gain(condition, condition).a_curves.validation.mean
    default, random = condition.scores[0], condition.scores[1:]
    others = list(range(1, len(random) + 1))
    if np.isfinite(default):
        # The default is always tried: what is worse counts as the default, and so does what failed.
        expected = [default, *EmpiricalDistribution(np.maximum(random, default)).u_tuning_curve(others)]
    else:
        # Sets in which all failed are left out, so the mean over the others is one of positive scores over successes.
        successes = EmpiricalDistribution(np.isfinite(random).astype(float)).u_tuning_curve(others)
        best = EmpiricalDistribution(np.where(np.isfinite(random), random, 0.0)).u_tuning_curve(others)
        expected = [math.nan, *(best / successes)]
    np.testing.assert_allclose(found, expected, rtol=1e-9)


# Properties.


@settings(deadline=None, derandomize=True, max_examples=40)
@given(two_conditions(12))
def test_exchanged_sides_negate_the_logarithm_and_nothing_else(scores: tuple[list[int], list[int]]) -> None:
    a, b = (tuning(side, seed=seed) for seed, side in enumerate(scores))
    there, back = tuned_gain(a, b), tuned_gain(b, a)
    one, other = there.estimate.log_gain, back.estimate.log_gain
    np.testing.assert_allclose([other.log_ratio, other.se, other.df], [-one.log_ratio, one.se, one.df], rtol=1e-12)
    assert there.refusal == back.refusal
    np.testing.assert_allclose(there.a_beats_b, 1 - back.a_beats_b, rtol=1e-12, atol=1e-15)
    np.testing.assert_array_equal(there.a.weights[0], back.b.weights[0])


@pytest.mark.parametrize("noise", [NOISE, NO_SEED_NOISE])
def test_identical_conditions_have_no_gain_and_p_one(noise: SeedNoise) -> None:
    a = replace(realistic(12, 1), seed_noise=noise)
    found = tuned_gain(a, a)
    assert found.log_gain is not None
    assert (found.gain, found.log_gain.p, found.refusal, found.a_beats_b) == (0.0, 1.0, None, 0.5)
    assert found.estimate.trials_variance == found.estimate.users_variance == 0.0
    assert not found.depends_on_tuning
    if noise == NO_SEED_NOISE:  # and nothing varies
        assert (found.log_gain.se, found.interval and found.interval.lo) == (0.0, 0.0)
        assert found.log_gain.tost(0.02).equivalence_p == 0.0


def test_shares_are_of_the_whole_variance() -> None:
    estimate = tuned_gain(realistic(12, 1), realistic(12, 2)).estimate
    parts = [estimate.trials_variance, estimate.users_variance, estimate.seed_variance]
    assert min(parts) > 0
    assert estimate.shares == pytest.approx(np.array(parts) / estimate.log_gain.se**2)


def test_the_rule_for_n_is_a_third_rounded_up_and_at_least_two() -> None:
    rule = {trials: tuned_gain(realistic(trials, 1), realistic(trials, 2)).n for trials in (3, 4, 6, 7, 8, 9, 10, 30)}
    assert rule == {3: 2, 4: 2, 6: 2, 7: 3, 8: 3, 9: 3, 10: 4, 30: 10}


def first(condition: Tuning, trials: int) -> Tuning:
    return Tuning(
        condition.validation[:trials],
        condition.test[:trials],
        condition.users,
        condition.configurations[:trials],
        condition.seed_noise,
    )


def alike(one: TunedGain, other: TunedGain) -> None:
    assert one.estimate == other.estimate
    np.testing.assert_array_equal(one.curve.mean, other.curve.mean)


def test_of_unequal_numbers_of_trials_the_first_ones_count() -> None:
    a, b = realistic(12, 1), realistic(12, 2)
    for uneven in (tuned_gain(a, first(b, 9)), tuned_gain(first(a, 9), b)):
        assert (uneven.trials, uneven.n) == (9, 3)
    alike(tuned_gain(a, first(b, 9)), tuned_gain(first(a, 9), first(b, 9)))


def test_single_precision_is_summed_in_double() -> None:
    a, b = realistic(12, 1, 5000), realistic(12, 2, 5000)
    single = [replace(side, test=side.test.astype(np.float32)) for side in (a, b)]
    assert single[0].means.dtype == np.float64
    assert tuned_gain(*single).gain == pytest.approx(tuned_gain(a, b).gain, rel=1e-5)


def test_between_models_one_model_at_a_time_loses_a_trial() -> None:
    a, b, n = realistic(9, 1), realistic(9, 2), 3
    other = replace(b, configurations=[f"other {slot}" for slot in range(9)])
    found, paired = tuned_gain(a, other, n, between_models=True), tuned_gain(a, b, n)
    assert found.refusal is None
    assert found.gain == paired.gain
    assert found.estimate.users_variance == paired.estimate.users_variance
    for term, side in zip(found.estimate.trial_terms, (pair(a, b)), strict=True):
        slots = {"a": 9}
        values = [
            math.log(subsets.by_user(side, subsets.weights(side, n, slots, ("a", slot))).mean()) for slot in range(1, 9)
        ]
        (own,) = subsets.weights(side, n, slots)
        assert term.variance == pytest.approx(subsets.jackknife(values))
        assert term.effective_configurations == pytest.approx(own[1:].sum() ** 2 / (own[1:] ** 2).sum())
    draws = [(one, two) for one, two in itertools.product(subsets.draws({"a": 9}, n), repeat=2)]
    side_a, side_b = pair(a, b)
    means = [(a.means[subsets.best(side_a, one)[0][1]], b.means[subsets.best(side_b, two)[0][1]]) for one, two in draws]
    assert found.a_beats_b == pytest.approx(np.mean([x > y for x, y in means]))


def test_a_space_without_further_configurations_limits_nobody_and_draws_nothing() -> None:
    a, b = realistic(12, 1), first(realistic(12, 2), 3)
    finite = replace(b, exhausted=True, configurations=["x", "y", "z"])
    found = tuned_gain(a, finite, between_models=True)
    assert (found.trials, found.n, found.refusal) == (12, 4, None)
    assert [term.model for term in found.estimate.trial_terms] == ["a"]
    assert found.b.tuned == b.means[int(np.argmax(b.validation))]
    assert tuned_gain(a, replace(finite, exhausted=False), between_models=True).trials == 3


@pytest.mark.parametrize(("n", "drawn"), [(3, ["a", "b"]), (4, ["a"])])
def test_a_space_of_four_configurations_is_a_census_from_four_trials_on(n: int, drawn: list[str]) -> None:
    finite = replace(first(realistic(12, 2), 4), exhausted=True, configurations=["w", "x", "y", "z"])
    found = tuned_gain(realistic(12, 1), finite, n, between_models=True)
    assert [term.model for term in found.estimate.trial_terms] == drawn


# What gives no bounds, and what just does.


def scaled(condition: Tuning, slot: int, factor: float) -> Tuning:
    """The test metric of one trial multiplied."""
    test = condition.test.copy()
    test[slot] *= factor
    return replace(condition, test=test)


def failing(condition: Tuning, *failed: int) -> Tuning:
    validation, test = condition.validation.copy(), condition.test.copy()
    validation[list(failed)], test[list(failed)] = math.nan, math.nan
    return replace(condition, validation=validation, test=test)


def with_users(n: int) -> tuple[Tuning, Tuning]:
    return realistic(9, 1, n), realistic(9, 2, n)


def default_best(noise: SeedNoise | None) -> tuple[Tuning, Tuning]:
    a, b = realistic(9, 1), realistic(9, 2)
    validation = a.validation.copy()
    validation[0] = 1.0
    return replace(a, validation=validation, seed_noise=noise), b


def one_good(times: float) -> tuple[Tuning, Tuning]:
    """Of A's trials one is many times better than the others, which are alike."""
    b = realistic(9, 2, 2000)
    test = np.tile(b.test[0], (9, 1))
    test[4] *= times
    return tuning([1.0, 2, 3, 4, 9, 5, 6, 7, 8], test), replace(b, test=np.tile(b.test[0], (9, 1)))


def proportional() -> tuple[Tuning, Tuning]:
    """A is B times two for every user and trial: nothing varies."""
    b = replace(realistic(9, 2), seed_noise=NO_SEED_NOISE)
    return replace(b, test=2 * b.test), b


def nothing_found(kept: int) -> tuple[Tuning, Tuning]:
    """A finds something in ``kept`` trials only; its default fails."""
    a, b = realistic(9, 1), realistic(9, 2)
    found = np.argsort(a.validation)[9 - kept :]
    return replace(a, test=np.where(np.isin(np.arange(9), found)[:, None], a.test, 0.0)), b


REFUSED: list[tuple[NoWord | None, Callable[[], tuple[Tuning, Tuning]]]] = [
    (None, lambda: (realistic(3, 1), realistic(3, 2))),
    (NoWord.FEW_TRIALS, lambda: (realistic(2, 1), realistic(2, 2))),
    (NoWord.FEW_TRIALS, lambda: (realistic(1, 1), realistic(1, 2))),
    (None, lambda: (failing(realistic(9, 1), 1, 2, 3, 4, 6, 8), realistic(9, 2))),
    (NoWord.FEW_SUCCESSES, lambda: (failing(realistic(9, 1), 0, 1, 2, 3, 4, 6, 8), realistic(9, 2))),
    (NoWord.FEW_SUCCESSES, lambda: (realistic(9, 2), failing(realistic(9, 1), 1, 2, 3, 4, 5, 6, 8))),
    (NoWord.FEW_SUCCESSES, lambda: (failing(realistic(9, 1), *range(9)), realistic(9, 2))),
    (NoWord.NOTHING_FOUND, lambda: nothing_found(0)),
    (NoWord.NOTHING_FOUND, lambda: nothing_found(0)[::-1]),
    (NoWord.NOTHING_WITHOUT, lambda: nothing_found(1)),
    (None, lambda: with_users(30)),
    (NoWord.FEW_USERS, lambda: with_users(29)),
    (NoWord.FEW_USERS, lambda: with_users(1)),
    (None, lambda: default_best(NOISE)),
    (None, lambda: default_best(NO_SEED_NOISE)),
    (NoWord.SEED_UNKNOWN, lambda: default_best(None)),
    (None, lambda: (replace(failing(realistic(9, 1), 0), seed_noise=None), realistic(9, 2))),
    (NoWord.ONE_TRIAL, lambda: one_good(30.0)),
    (NoWord.WIDE, lambda: one_good(3.0)),
    (None, lambda: one_good(1.2)),
    (NoWord.NO_VARIANCE, proportional),
]


@pytest.mark.parametrize(
    ("refusal", "make"),
    REFUSED,
    ids=[f"{place}-{reason.name if reason else 'fine'}" for place, (reason, _) in enumerate(REFUSED)],
)
def test_what_has_no_bounds_says_why(refusal: NoWord | None, make: Callable[[], tuple[Tuning, Tuning]]) -> None:
    found = tuned_gain(*make())
    assert found.refusal is refusal
    assert (found.log_gain is not None) == (found.interval is not None) == (refusal in (None, NoWord.NO_VARIANCE))
    if refusal is not None:
        assert not found.depends_on_tuning
    if refusal in (NoWord.FEW_SUCCESSES, NoWord.FEW_TRIALS):
        assert np.isnan([found.curve.lo, found.curve.hi]).all()


@pytest.mark.parametrize(("failed", "refusal"), [((3,), None), ((2, 3), NoWord.FEW_SUCCESSES)])
def test_a_space_without_further_configurations_needs_successes_as_any_other(
    failed: tuple[int, ...], refusal: NoWord | None
) -> None:
    whole = replace(first(realistic(12, 2), 4), exhausted=True, configurations=["w", "x", "y", "z"])
    assert tuned_gain(realistic(12, 1), failing(whole, *failed), between_models=True).refusal is refusal


def test_every_reason_against_two_conditions_is_tested() -> None:
    assert {reason for reason, _ in REFUSED} == {None, *NoWord} - {NoWord.MORE_SEARCH, NoWord.ONE_FOLD}


def test_a_gain_without_variance_is_a_point_without_a_p() -> None:
    found = tuned_gain(*proportional())
    assert found.interval is not None
    assert found.log_gain is not None
    assert found.interval.lo == found.interval.hi == found.gain == pytest.approx(1.0)
    assert math.isnan(found.log_gain.p)


def test_the_ratio_stands_where_only_its_bounds_are_refused() -> None:
    few = tuned_gain(failing(realistic(9, 1), 0, 1, 2, 3, 4, 6, 8), realistic(9, 2))
    assert math.isfinite(few.gain)
    assert math.isnan(tuned_gain(realistic(2, 1), realistic(2, 2)).gain)


def test_a_wider_level_can_lose_the_bounds() -> None:
    a, b = one_good(1.8)
    assert tuned_gain(a, b, level=0.95).refusal is None
    assert tuned_gain(a, b, level=0.9999).refusal is NoWord.WIDE


def test_the_seed_term_has_the_degrees_of_its_finals() -> None:
    a, b = default_best(SeedNoise(0.02, 2.0))
    estimate = tuned_gain(a, b).estimate
    assert estimate.seed_terms[0] == pytest.approx((0.02**2, 2.0))
    assert SeedNoise.of_finals([0.1, 0.12, 0.14]) == pytest.approx((0.02 / 0.12, 2.0))
    for runs in ([], [0.1], [0.0, 0.0]):
        assert SeedNoise.of_finals(runs) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda b: replace(b, users=b.users + 1), "users"),
        (lambda b: replace(b, users=b.users[:-1], test=b.test[:, :-1]), "users"),
        (lambda b: replace(b, configurations=[*b.configurations[:-1], "another"]), "same configurations"),
    ],
)
def test_conditions_that_do_not_belong_together_are_refused(change: Callable[[Tuning], Tuning], message: str) -> None:
    a, b = realistic(9, 1), realistic(9, 2)
    with pytest.raises(ValueError, match=message):
        tuned_gain(a, change(b))


@pytest.mark.parametrize("n", [0, 10, -1])
def test_nothing_is_extrapolated(n: int) -> None:
    with pytest.raises(ValueError, match="nothing is extrapolated"):
        tuned_gain(realistic(9, 1), realistic(9, 2), n)


@pytest.mark.parametrize(
    "broken",
    [
        {"validation": np.ones(8)},
        {"test": np.ones((9, 39))},
        {"configurations": ["one"]},
        {"validation": np.ones(0), "test": np.ones((0, 40)), "configurations": []},
    ],
)
def test_trials_of_different_sizes_are_refused(broken: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="do not belong to"):
        replace(realistic(9, 1, 40), **broken)


def test_a_trial_that_succeeded_has_a_metric_of_every_user() -> None:
    whole = realistic(9, 1)
    test = whole.test.copy()
    test[3, 7] = math.nan
    with pytest.raises(ValueError, match=r"trials \[3\] have a validation score"):
        replace(whole, test=test)


# Whether the answer depends on tuning.


def graded(quality: Sequence[float], scores: Sequence[float], seed: int) -> Tuning:
    """Trials with these mean test metrics and validation scores, and little noise of users."""
    users = np.random.default_rng(5).gamma(2.0, 0.5, 400)
    noise = 1 + 0.02 * np.random.default_rng(seed).standard_normal((len(quality), 400))
    return tuning(scores, np.array(quality)[:, None] * users * noise)


def test_a_gain_that_only_all_trials_show_depends_on_tuning() -> None:
    # One lucky trial for A, one unlucky for B: after all trials the choice is sure to fall on them.
    alike, scores = [0.1] * 18, [0, *[1] * 17]
    lucky = graded([*alike[:-1], 0.13], [*scores[:-1], 2], 1)
    unlucky = graded([0.1, 0.08, *alike[2:]], [0, 2, *scores[2:]], 2)
    found = tuned_gain(lucky, unlucky)
    assert found.interval is not None
    assert found.curve.mean[-1] > found.interval.hi
    assert found.depends_on_tuning
    assert not tuned_gain(graded(alike, scores, 1), graded(alike, scores, 2)).depends_on_tuning


def test_a_gain_that_fewer_trials_reverse_depends_on_tuning() -> None:
    # A wins where the choice is good, B where it is poor; after three trials of 18 the choice is often poor.
    a, b = graded([0.08] * 12 + [0.105] * 6, range(18), 1), graded([0.1] * 18, range(18), 2)
    found, early = tuned_gain(a, b, 9, level=0.5), tuned_gain(a, b, 3, level=0.5).interval
    assert early is not None
    assert found.interval is not None
    assert early.hi < 0 < found.gain
    assert found.interval.contains(found.curve.mean[-1])
    assert found.depends_on_tuning
    wide = tuned_gain(a, b, 9, level=0.95)  # whose early interval holds zero
    assert wide.refusal is None
    assert not wide.depends_on_tuning


@pytest.mark.parametrize("trials", [8, 30, 300, 3000])
def test_closed_forms_with_identical_values_do_not_depend_on_tuning(trials: int) -> None:
    """Every configuration of both conditions finds the same, and validation orders them differently."""
    rng = np.random.default_rng(trials)
    same = np.tile(0.1 + 0.3 * rng.random(40) / 7, (trials, 1))
    a, b = (tuning(list(rng.random(trials)), same, seed_noise=NO_SEED_NOISE) for _ in "ab")
    sides = [TunedCell("m", name, 0, one, name) for name, one in (("a", a), ("b", b))]
    found = estimate(sides[:1], sides[1:])
    assert (found.estimate.log_gain.se, found.log_gain and found.log_gain.p) == (0.0, 1.0)
    assert abs(found.estimate.log_ratio) <= found.rounding
    assert abs(found.log_of_all - found.estimate.log_ratio) <= found.rounding
    assert not found.depends_on_tuning
    # The bound is that of float64, not a number that happens to be large enough: a gain beyond it is one.
    assert found.rounding < 1e-12 * trials / 30 + 1e-13
    moved = replace(found, log_of_all=found.estimate.log_ratio + 2 * found.rounding)
    assert moved.depends_on_tuning
    assert not replace(found, log_of_all=found.estimate.log_ratio - found.rounding).depends_on_tuning


def test_a_sign_by_rounding_reverses_nothing() -> None:
    """After n trials nothing but rounding is left of a loss, while the early interval lies above zero."""
    early = LogGain(0.01, 0.001, 50.0)
    after_n = LogGain(-1e-15, 0.01, 50.0)
    assert not depends(after_n, early, 0.0, 0.95, 1e-14)
    assert depends(after_n, early, 0.0, 0.95, 1e-16)
    assert depends(replace(after_n, log_ratio=-0.001), early, 0.0, 0.95, 1e-14)
    assert depends(after_n, None, math.nan, 0.95, 1e-14)  # no gain after all trials
