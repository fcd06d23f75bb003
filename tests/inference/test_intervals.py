"""Intervals against known answers, against their own law, and at their edges."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as distributions

from mmbench.inference import intervals
from mmbench.inference.intervals import Interval, LogGain

OWN = Path(__file__).parent / "known_answers"
#: Names in the files that differ from the names here.
RENAMED = {"rel": "mean", "var_inter": "var_interaction"}


def known_answers(*names: str) -> list[Any]:
    """Cases of these names from our own folder and from every file or folder in ``$MMBENCH_KNOWN_ANSWERS``."""
    places = [OWN, *(Path(word) for word in os.environ.get("MMBENCH_KNOWN_ANSWERS", "").split(":") if word)]
    found = []
    for place in places:
        for file in sorted(place.glob("*.json")) if place.is_dir() else [place]:
            answers = json.loads(file.read_text(encoding="utf-8"))
            found += [pytest.param(answers[n], id=f"{file.parent.name}/{file.stem}-{n}") for n in names if n in answers]
    return found


def agrees(given_value: object, expected: Mapping[str, float]) -> None:
    ours = [getattr(given_value, RENAMED.get(name, name)) for name in expected]
    np.testing.assert_allclose(ours, list(expected.values()), rtol=1e-9, atol=0)


@pytest.mark.parametrize("answer", known_answers("crossed_interval", "crossed_interval_one_seed"))
def test_known_answer_crossed_interval(answer: Mapping[str, Any]) -> None:
    agrees(intervals.crossed_interval(np.array(answer["d"]), answer["level"]), answer["expected"])


@pytest.mark.parametrize("answer", known_answers("relative_gain_crossed"))
def test_known_answer_relative_gain(answer: Mapping[str, Any]) -> None:
    interval = intervals.relative_gain(np.array(answer["a"]), np.array(answer["b"]), answer["level"])
    agrees(interval, answer["expected"])


@pytest.mark.parametrize("answer", known_answers("relative_gain_crossed"))
def test_known_answer_variance_components(answer: Mapping[str, Any]) -> None:
    a, b = np.array(answer["a"]), np.array(answer["b"])
    found = intervals.mean_squares((a - a.mean() / b.mean() * b) / b.mean()).components()
    expected = {RENAMED.get(name, name): value for name, value in answer.get("components", {}).items()}
    np.testing.assert_allclose([found[name] for name in expected], list(expected.values()), rtol=1e-9, atol=0)


def crossed_tables(
    replicas: int, n: int, s: int, *, sd_user: float, sd_seed: float, sd_noise: float, mean: float = 0.0
) -> np.ndarray:
    """Tables of the model that the interval assumes, ``(replicas, n, s)``."""
    rng = np.random.default_rng([n, s])
    users = sd_user * rng.standard_normal((replicas, n, 1))
    seeds = sd_seed * rng.standard_normal((replicas, 1, s))
    return mean + users + seeds + sd_noise * rng.standard_normal((replicas, n, s))


@pytest.mark.parametrize(
    ("n", "s", "sd_seed"),
    [(300, 3, 0.002), (300, 5, 0.0005), (2000, 3, 0.002), (2000, 5, 0.004), (300, 1, 0.0)],
)
def test_interval_covers_as_often_as_it_says_and_is_not_idle(n: int, s: int, sd_seed: float) -> None:
    replicas, level = 600, 0.95
    tables = crossed_tables(replicas, n, s, sd_user=0.02, sd_seed=sd_seed, sd_noise=0.03, mean=0.01)
    found = [intervals.crossed_interval(table, level) for table in tables]
    covered = sum(i.lo <= 0.01 <= i.hi for i in found)
    assert covered >= distributions.binom.ppf(1e-3, replicas, level)
    # Not wider than Student's interval of someone who knows the standard error, with the fewest possible degrees.
    true_se = np.sqrt(0.02**2 / n + sd_seed**2 / s + 0.03**2 / (n * s))
    widest = 2 * distributions.t.ppf(0.975, max(s - 1, 1) if s > 1 else n - 1) * true_se
    assert np.mean([i.hi - i.lo for i in found]) < widest
    # Nor so wide that it never misses: coverage of a correct 80 % interval leaves room to see that.
    narrow = [intervals.crossed_interval(table, 0.6) for table in tables]
    assert sum(i.lo <= 0.01 <= i.hi for i in narrow) <= distributions.binom.ppf(0.999, replicas, 0.85)


@pytest.mark.parametrize(("n_seeds", "least", "most"), [(2, 0.84, 0.91), (3, 0.90, 0.955), (5, 0.92, 0.97)])
def test_what_two_and_three_seeds_cost(n_seeds: int, least: float, most: float) -> None:
    """Of seeds that move the mean four times as much as users do, the protocol gives the coverage; the worst case."""
    sd_seed = 4 * np.sqrt(n_seeds / 100)
    tables = crossed_tables(1000, 100, n_seeds, sd_user=1.0, sd_seed=sd_seed, sd_noise=0.3)
    found = [intervals.crossed_interval(table) for table in tables]
    assert least < np.mean([interval.lo <= 0 <= interval.hi for interval in found]) < most


def test_relative_gain_covers_the_true_ratio() -> None:
    replicas, n, s, gain = 400, 250, 4, 0.05
    rng = np.random.default_rng(11)
    level = rng.gamma(0.6, 0.2, (replicas, n, 1))
    wobble = 0.01 * rng.standard_normal((2, replicas, 1, s))
    b = level * rng.gamma(4.0, 0.25, (replicas, n, s)) * (1.0 + wobble[0])
    a = (1.0 + gain) * level * rng.gamma(4.0, 0.25, (replicas, n, s)) * (1.0 + wobble[1])
    covered = sum(i.lo <= gain <= i.hi for i in (intervals.relative_gain(x, y) for x, y in zip(a, b, strict=True)))
    assert covered >= distributions.binom.ppf(1e-3, replicas, 0.95)


def test_one_seed_is_the_paired_t_interval() -> None:
    d = np.random.default_rng(3).normal(0.1, 1.0, (40, 1))
    expected = distributions.ttest_1samp(d[:, 0], 0.0)
    interval = intervals.crossed_interval(d)
    bounds = expected.confidence_interval(0.95)
    assert (interval.lo, interval.hi, interval.p) == pytest.approx((bounds.low, bounds.high, expected.pvalue))
    assert (interval.df, interval.seeds) == (39, 1)


def test_components_are_those_of_the_model() -> None:
    table = crossed_tables(1, 4000, 300, sd_user=2.0, sd_seed=0.5, sd_noise=1.0)[0]
    found = intervals.mean_squares(table).components()
    assert found["var_user"] == pytest.approx(4.0, rel=0.1)
    assert found["var_seed"] == pytest.approx(0.25, rel=0.3)
    assert found["var_interaction"] == pytest.approx(1.0, rel=0.02)


def test_seed_variance_is_never_negative() -> None:
    rng = np.random.default_rng(0)
    table = rng.standard_normal((50, 4))
    table -= table.mean(axis=0)
    assert intervals.mean_squares(table).components()["var_seed"] == 0.0


TABLES = st.tuples(st.integers(8, 20), st.integers(1, 4), st.integers(0, 2**32 - 1))


@settings(deadline=None, derandomize=True)
@given(TABLES)
def test_interval_follows_its_table(shape: tuple[int, int, int]) -> None:
    n, s, seed = shape
    rng = np.random.default_rng(seed)
    d = rng.normal(0.3, 1.0, (n, s))
    interval = intervals.crossed_interval(d)

    def same(other: Interval, scale: float, shift: float) -> None:
        for bound in ("mean", "lo", "hi"):
            assert getattr(other, bound) == pytest.approx(scale * getattr(interval, bound) + shift, rel=1e-6, abs=1e-9)

    same(intervals.crossed_interval(d[rng.permutation(n)][:, rng.permutation(s)]), 1.0, 0.0)
    same(intervals.crossed_interval(3.0 * d), 3.0, 0.0)
    same(intervals.crossed_interval(d + 5.0), 1.0, 5.0)
    assert (interval.p < 0.05) == (interval.lo > 0.0 or interval.hi < 0.0)
    assert interval.lo <= interval.mean <= interval.hi
    wide = intervals.crossed_interval(d, 0.99)
    assert wide.lo <= interval.lo <= interval.hi <= wide.hi


@settings(deadline=None, derandomize=True)
@given(TABLES)
def test_relative_gain_has_no_unit(shape: tuple[int, int, int]) -> None:
    n, s, seed = shape
    rng = np.random.default_rng(seed)
    a, b = rng.gamma(1.0, 1.0, (2, n, s))
    gain, scaled = intervals.relative_gain(a, b), intervals.relative_gain(7.0 * a, 7.0 * b)
    assert (gain.mean, gain.lo, gain.hi) == pytest.approx((scaled.mean, scaled.lo, scaled.hi))
    assert gain.mean == pytest.approx(a.mean() / b.mean() - 1.0)
    assert (gain.p < 0.05) == (gain.lo > 0.0 or gain.hi < 0.0)


def test_equal_tables_have_no_gain() -> None:
    b = np.random.default_rng(1).gamma(1.0, 1.0, (30, 3))
    gain = intervals.relative_gain(b, b)
    assert (gain.mean, gain.lo, gain.hi, gain.se, gain.p) == (0.0, 0.0, 0.0, 0.0, 1.0)


def test_a_gain_without_noise_is_certain() -> None:
    b = np.random.default_rng(1).gamma(1.0, 1.0, (30, 3))
    gain = intervals.relative_gain(2.0 * b, b)
    assert (gain.mean, gain.lo, gain.hi, gain.se) == (1.0, 1.0, 1.0, 0.0)
    assert gain.p == 0.0


def test_a_gain_that_no_user_tells_the_error_of_has_no_bounds() -> None:
    b = np.random.default_rng(1).gamma(1.0, 1.0, (30, 3))
    one_hit = np.zeros((500, 5))
    one_hit[0] = 1.0
    for a, base in ((0 * b, b), (b, b), (one_hit / 3, one_hit), (b[:29] + b[1:], b[:29])):
        gain = intervals.bounded_gain(a, base, 0.9)
        assert gain.mean == pytest.approx(a.mean() / base.mean() - 1)
        assert (gain.lo, gain.hi, gain.bounded, gain.level) == (-math.inf, math.inf, False, 0.9)
        assert math.isnan(gain.p)
        assert (gain.at(0.95).lo, gain.at(0.95).hi) == (-math.inf, math.inf)
    told = intervals.bounded_gain(b[::-1], b, 0.9)
    assert told.bounded
    assert told == intervals.relative_gain(b[::-1], b, 0.9)


def test_a_constant_table_has_no_width() -> None:
    interval = intervals.crossed_interval(np.full((5, 2), 0.25))
    assert (interval.mean, interval.lo, interval.hi, interval.p) == (0.25, 0.25, 0.25, 0.0)
    assert intervals.crossed_interval(np.zeros((5, 2))).p == 1.0


def test_one_user_tells_no_bounds() -> None:
    one = np.full((1, 3), 0.5)
    for found, mean in ((intervals.crossed_interval(one), 0.5), (intervals.bounded_gain(one, 2 * one), -0.5)):
        assert (found.mean, found.lo, found.hi, found.bounded) == (mean, -math.inf, math.inf, False)
        assert math.isnan(found.p)
        assert found.at(0.9) == Interval(mean, -math.inf, math.inf, 0.9)


def test_tables_that_are_not_paired_are_refused() -> None:
    with pytest.raises(ValueError, match=r"tables \(4, 3\) and \(4, 2\) are not paired"):
        intervals.relative_gain(np.ones((4, 3)), np.ones((4, 2)))


def test_a_gain_over_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="relative gain over a mean of zero is not defined"):
        intervals.relative_gain(np.ones((4, 3)), np.zeros((4, 3)))


# Gains by their logarithm.


def test_a_log_gain_is_student_s_t_on_the_logarithm() -> None:
    gain = LogGain(0.05, 0.02, 7.3)
    half = distributions.t.ppf(0.95, 7.3) * 0.02
    found = gain.at(0.9)
    assert [found.mean, found.lo, found.hi] == pytest.approx(np.expm1([0.05, 0.05 - half, 0.05 + half]))
    assert found.level == 0.9
    assert gain.gain == pytest.approx(math.expm1(0.05))
    assert gain.p == pytest.approx(2 * distributions.t.sf(0.05 / 0.02, 7.3))
    assert LogGain(-0.05, 0.02, 7.3).p == gain.p
    for level in (0.5, 0.95, 0.999):
        assert gain.at(level).contains(0.0) == (gain.p >= 1 - level)


@pytest.mark.parametrize("margin", [0.01, 0.05, 0.2, 1.0, 3.0])
def test_equivalence_by_log_gains_is_the_90_percent_interval_within_the_margins(margin: float) -> None:
    for log_ratio in np.linspace(-0.3, 0.3, 31):
        gain = LogGain(float(log_ratio), 0.02, 7.3)
        interval = gain.at(0.9)
        found = gain.tost(margin)
        assert (found.equivalence_p < 0.05) == (interval.lo > -margin and interval.hi < margin)
        assert (found.noninferiority_p < 0.05) == (interval.lo > -margin)
        if margin < 1:
            assert found.noninferiority_p == pytest.approx(
                distributions.t.sf((log_ratio - math.log1p(-margin)) / 0.02, 7.3)
            )
        smallest = intervals.smallest_equivalence_margin(gain)
        assert gain.tost(smallest * 1.0001).equivalence_p < 0.05 < gain.tost(smallest * 0.9999).equivalence_p
    for wrong in (0.0, -0.1, math.nan):
        with pytest.raises(ValueError, match="margin must be positive"):
            LogGain(0.0, 0.1, 5.0).tost(wrong)


def test_the_detectable_log_gain_is_found_in_four_of_five_cases() -> None:
    rng, se, df = np.random.default_rng(0), 0.02, 12.0
    target = math.log1p(LogGain(0.0, se, df).mde())
    assert target == pytest.approx((distributions.t.ppf(0.975, df) + distributions.t.ppf(0.8, df)) * se)
    errors = se * np.sqrt(rng.chisquare(df, 20_000) / df)
    found = target + se * rng.standard_normal(20_000)
    power = np.mean(np.abs(found) > distributions.t.ppf(0.975, df) * errors)
    assert power == pytest.approx(0.8, abs=0.02)
    assert LogGain(0.0, se, 3.0).mde() > math.expm1(target) > LogGain(0.0, se, 1e9).mde()


def exceeding(gain: LogGain, limit: float) -> float:
    """Probability of a gain above a limit where log(1 + rho) ~ L + se t_df."""
    return float(distributions.t.sf((math.log1p(limit) - gain.log_ratio) / gain.se, gain.df))


def test_draws_of_a_log_gain_follow_its_law() -> None:
    gain = LogGain(0.03, 0.02, 4.0)
    drawn = gain.draws(np.random.default_rng(1), 40_000)
    assert drawn.shape == (40_000,)
    for limit in (-0.02, 0.0, 0.05):
        assert np.mean(drawn > limit) == pytest.approx(exceeding(gain, limit), abs=0.01)
    assert np.mean(drawn > gain.gain) == pytest.approx(0.5, abs=0.01)
    assert drawn.min() > -1.0


def test_a_log_gain_without_variance_is_a_point() -> None:
    none, some = LogGain(0.0, 0.0, 9.0), LogGain(0.05, 0.0, 9.0)
    assert none.p == 1.0
    assert math.isnan(some.p)
    assert (some.at(0.95).lo, some.at(0.95).hi) == (some.gain, some.gain)
    assert none.tost(0.02) == (0.0, 0.0)
    assert some.tost(0.02) == (1.0, 0.0)
    assert set(some.draws(np.random.default_rng(0), 3)) == {some.gain}
    assert some.mde() == 0.0


def test_a_log_gain_too_large_for_a_number_is_infinite() -> None:
    assert LogGain(0.0, 100.0, 1.0).at(0.99).hi == math.inf
    assert LogGain(0.0, 100.0, 1.0).at(0.99).lo == -1.0
