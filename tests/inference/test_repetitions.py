"""Several splits and several folds joined to one gain: by hand, and what gives no bounds or no word."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats as distributions

from mmbench.inference.gains import Estimate, NoWord, SeedTerm, TrialTerm, TunedGain
from mmbench.inference.intervals import CrossedInterval, LogGain
from mmbench.inference.repetitions import Repeated, over_folds, over_repetitions, over_splits, repeated_gain
from mmbench.inference.verdicts import Verdict, verdict
from tests.gains import tuned

SPLIT, FOLD = Repeated.SPLIT, Repeated.FOLD


def test_splits_are_joined_by_hand() -> None:
    gains = [LogGain(0.02, 0.01, 9.0), LogGain(0.05, 0.02, 5.0), LogGain(0.02, 0.01, 30.0)]
    found = over_splits(gains)
    assert found.log_ratio == pytest.approx(0.03)
    assert found.se**2 == pytest.approx((1e-4 + 4e-4 + 1e-4) / 3 + 3e-4 / 3)
    assert found.df == 5.0
    with pytest.raises(ValueError, match="at least two splits"):
        over_splits(gains[:1])


def test_folds_are_a_sample_of_five() -> None:
    logs = [0.01, 0.03, 0.02, -0.01, 0.05]
    found = over_folds(logs)
    expected = distributions.ttest_1samp(logs, 0.0)
    assert (found.log_ratio, found.df) == (pytest.approx(0.02), 4.0)
    assert found.p == pytest.approx(expected.pvalue)
    bounds = expected.confidence_interval(0.95)
    assert [found.at(0.95).lo, found.at(0.95).hi] == pytest.approx(np.expm1([bounds.low, bounds.high]))
    for wrong in ([0.01], [0.01, math.nan]):
        with pytest.raises(ValueError, match="at least two folds"):
            over_folds(wrong)


@pytest.mark.parametrize(
    ("kind", "variance", "df"),
    [
        (SPLIT, (0.01**2 + 0.02**2) / 2 + math.log(1.1) ** 2 / 4, 4.0),  # errors of .011 / 1.1 and .0242 / 1.21
        (FOLD, math.log(1.1) ** 2 / 4, 1.0),
    ],
)
def test_gains_of_chosen_configurations_are_joined_by_hand(kind: Repeated, variance: float, df: float) -> None:
    bounds = {"lo": math.nan, "hi": math.nan, "level": 0.95, "p": math.nan}
    gains = [
        CrossedInterval(0.1, se=0.011, df=9.0, seeds=5, **bounds),
        CrossedInterval(0.21, se=0.0242, df=4.0, seeds=3, **bounds),
    ]
    found = over_repetitions(kind, gains)
    log, se, law = 1.5 * math.log(1.1), math.sqrt(variance), distributions.t(df)
    assert (found.level, found.df, found.seeds) == (0.95, df, 3)
    assert found.mean == pytest.approx(1.1**1.5 - 1)
    assert found.se == pytest.approx(1.1**1.5 * se)
    assert [found.lo, found.hi] == pytest.approx(np.expm1([log - law.ppf(0.975) * se, log + law.ppf(0.975) * se]))
    assert found.p == pytest.approx(2 * law.sf(log / se))


def gains(*points: float, half95: float = 0.02, **said: object) -> list[TunedGain]:
    return [tuned(point, half95, **said) for point in points]  # type: ignore[arg-type]


def test_a_joined_gain_is_that_of_its_parts() -> None:
    parts = gains(0.03, 0.05, 0.04)
    found = repeated_gain(SPLIT, parts)
    assert found.log_gain == over_splits([part.estimate.log_gain for part in parts])
    assert found.gain == pytest.approx(math.exp(np.mean(np.log([1.03, 1.05, 1.04]))) - 1)
    assert (found.n, found.trials, found.level, found.refusal) == (10, 30, 0.95, None)
    assert found.gain_at_defaults == pytest.approx(found.gain)
    assert verdict(found, 0.02).word is Verdict.BETTER
    folds = repeated_gain(FOLD, parts)
    assert folds.log_gain == over_folds([part.log_ratio for part in parts])
    assert folds.variances == {"folds": pytest.approx(folds.log_gain.se**2)}


def test_the_variance_of_splits_is_shared_out() -> None:
    terms = Estimate(0.0, (TrialTerm("m", 3e-5, 4.0),), 2e-5, 1000, (SeedTerm(1e-5, 4.0),), 0.0)
    logs = [0.0, math.log1p(0.02)]
    parts = [replace(*gains(0.0), estimate=replace(terms, log_ratio=log)) for log in logs]
    found = repeated_gain(SPLIT, parts)
    assert found.log_gain is not None
    assert math.fsum(found.variances.values()) == pytest.approx(found.log_gain.se**2)
    assert found.variances["users"] == pytest.approx(2e-5)
    assert found.variances["splits"] == pytest.approx(math.log1p(0.02) ** 2 / 4)


def test_splits_that_disagree_are_undecided_although_each_alone_is_sure() -> None:
    parts = gains(0.20, -0.15, 0.01)
    assert [verdict(part, 0.02).word for part in parts[:2]] == [Verdict.BETTER, Verdict.WORSE]
    assert verdict(repeated_gain(SPLIT, parts), 0.02).word is Verdict.UNDECIDED


NOT_ALONE = [
    # kind, parts, why there is no word
    (SPLIT, [*gains(0.03, 0.03), *gains(0.03, refusal=NoWord.ONE_TRIAL)], NoWord.ONE_TRIAL),
    (FOLD, [*gains(0.03, 0.04), *gains(0.05, refusal=NoWord.ONE_TRIAL)], None),
    (FOLD, [*gains(0.03, 0.03), *gains(0.03, refusal=NoWord.MORE_SEARCH)], NoWord.MORE_SEARCH),
    (FOLD, gains(0.03), NoWord.ONE_FOLD),
    (SPLIT, gains(1.0, -0.8, 3.0), NoWord.WIDE),
    (SPLIT, gains(0.03, 0.03, half95=0.0), NoWord.NO_VARIANCE),
    (SPLIT, gains(0.0, 0.0, half95=0.0), None),
]


@pytest.mark.parametrize(("kind", "parts", "refusal"), NOT_ALONE)
def test_what_gives_no_word_says_why(kind: Repeated, parts: Sequence[TunedGain], refusal: NoWord | None) -> None:
    found = repeated_gain(kind, parts)
    assert found.refusal is refusal
    assert (found.log_gain is None) == (refusal not in (None, NoWord.NO_VARIANCE))
    assert not found.depends_on_tuning


def test_a_fold_without_a_ratio_leaves_nothing_to_say() -> None:
    (part,) = gains(0.03, refusal=NoWord.NOTHING_FOUND)
    nothing = replace(part, estimate=replace(part.estimate, log_ratio=math.nan))
    found = repeated_gain(FOLD, [*gains(0.03, 0.04), nothing])
    assert (found.refusal, math.isnan(found.gain)) == (NoWord.NOTHING_FOUND, True)


def test_a_fold_that_finds_nothing_after_all_trials_is_told_in_words() -> None:
    parts = [*gains(0.03, 0.04), *gains(0.05, after_all=math.nan)]
    judged = verdict(repeated_gain(FOLD, parts), 0.02)
    assert judged.word is Verdict.DEPENDS_ON_TUNING
    assert judged.reason == "after all 30 trials a side finds nothing, so there is no gain"


def test_repetitions_of_unequal_effort_have_nothing_in_common() -> None:
    with pytest.raises(ValueError, match=r"different numbers of trials \(8, 30\)"):
        repeated_gain(SPLIT, [*gains(0.03), *gains(0.03, trials=8)])


def test_the_strictest_look_counts() -> None:
    found = repeated_gain(SPLIT, [*gains(0.03), *gains(0.03, level=0.975)])
    assert found.level == 0.975


# Whether the answer depends on tuning.


def test_it_depends_on_tuning_where_all_trials_say_something_else_on_average() -> None:
    steady, moving = gains(0.03, 0.03), gains(0.03, after_all=0.09)
    assert not repeated_gain(SPLIT, steady).depends_on_tuning
    assert repeated_gain(SPLIT, [*steady, *moving, *moving]).depends_on_tuning
    # A split that moves alone is averaged: log(1.09 / 1.03) / 4 is less than the half width of .02.
    assert not repeated_gain(SPLIT, [*steady, *steady[:1], *moving]).depends_on_tuning


@pytest.mark.parametrize(("kind", "points"), [(SPLIT, (0.01, 0.01)), (FOLD, (0.010, 0.012))])
def test_it_depends_on_tuning_where_fewer_trials_lie_on_the_other_side_of_zero(
    kind: Repeated, points: Sequence[float]
) -> None:
    (loss,) = gains(-0.08)
    parts = [replace(part, early=loss.estimate) for part in gains(*points)]
    assert repeated_gain(kind, parts).depends_on_tuning
    assert not repeated_gain(kind, gains(*points)).depends_on_tuning


def test_fewer_trials_need_bounds_in_each_split_and_a_ratio_in_each_fold() -> None:
    (wide,) = gains(-0.08, half95=3.0)
    nothing = replace(wide.estimate, log_ratio=math.nan)
    for early, depends in (((wide.estimate, wide.estimate), True), ((wide.estimate, nothing), False)):
        parts = [replace(part, early=one) for part, one in zip(gains(0.010, 0.012), early, strict=True)]
        assert repeated_gain(FOLD, parts).depends_on_tuning == depends
        assert not repeated_gain(SPLIT, parts).depends_on_tuning
