"""Equivalence, multiplicity, power and tuning curves against known answers; calibration on sufficient statistics."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as distributions

from mmbench.inference import intervals, power
from mmbench.inference.best_of_n import Side, TunedCell, Tuning, Vector
from mmbench.inference.intervals import CrossedInterval, LogGain, MeanSquares
from tests.inference.test_intervals import RENAMED, known_answers

CLOSE = {"rtol": 1e-9, "atol": 0.0}
#: The known non-inferiority p is for this margin.
NONINFERIORITY_MARGIN = 0.10


@pytest.mark.parametrize("answer", known_answers("tost"))
def test_known_answer_tost(answer: Mapping[str, Any]) -> None:
    """Known on a linear scale: a margin there is the lower one, -log(1 - margin), of a logarithm on either side."""
    gain = LogGain(answer["point"], answer["se"], answer["df"])
    sides = [replace(gain, log_ratio=sign * gain.log_ratio) for sign in (1, -1)]
    equivalence = max(side.tost(-math.expm1(-answer["margin"])).noninferiority_p for side in sides)
    noninferiority = gain.tost(-math.expm1(-NONINFERIORITY_MARGIN)).noninferiority_p
    expected = [answer["expected_p"], answer["noninferior_p"]]
    np.testing.assert_allclose([equivalence, noninferiority], expected, **CLOSE)
    assert (equivalence < 0.05) == answer["expected_equivalent"]


@pytest.mark.parametrize("answer", known_answers("holm"))
def test_known_answer_holm(answer: Mapping[str, Any]) -> None:
    np.testing.assert_allclose(intervals.holm(answer["p"]), answer["expected"], **CLOSE)


@pytest.mark.parametrize("answer", known_answers("benjamini_hochberg"))
def test_known_answer_benjamini_hochberg(answer: Mapping[str, Any]) -> None:
    np.testing.assert_allclose(intervals.benjamini_hochberg(answer["p"]), answer["expected"], **CLOSE)


@pytest.mark.parametrize("answer", known_answers("mde_relative"))
def test_known_answer_mde_relative(answer: Mapping[str, Any]) -> None:
    arguments = {RENAMED.get(name, name): value for name, value in answer.items() if name != "expected"}
    np.testing.assert_allclose(power.mde_relative(**arguments), answer["expected"], **CLOSE)


def side(validation: Vector, test: Vector | None = None) -> Side:
    """Trials that are all drawn, since the default failed: n of them are n + 1 with the default."""
    metric = (validation if test is None else test)[:, None]
    slots = [str(slot) for slot in range(len(validation) + 1)]
    trials = np.concatenate([[-np.inf], validation]), np.concatenate([[[np.nan]], metric])
    cell = TunedCell("model", "none", 0, Tuning(*trials, np.arange(1), slots, None), "runs")
    return Side([cell], {"model": len(slots)})


def expected_validation_performance(validation: Vector, n: Sequence[int]) -> Vector:
    """Of n random trials, by the estimator of the product."""
    trials = side(validation)
    return np.asarray(trials.chances([count + 1 for count in n]) @ trials.validation)


@pytest.mark.parametrize("answer", known_answers("expected_validation_performance"))
def test_known_answer_expected_validation_performance(answer: Mapping[str, Any]) -> None:
    found = expected_validation_performance(np.array(answer["validation"]), answer["n"])
    np.testing.assert_allclose(found, answer["expected"], **CLOSE)


@pytest.mark.parametrize("answer", known_answers("expected_tuned_test_performance"))
def test_known_answer_expected_tuned_test_performance(answer: Mapping[str, Any]) -> None:
    trials = side(np.array(answer["validation"]), np.array(answer["test"]))
    found = trials.chances([n + 1 for n in answer["n"]]) @ trials.test
    np.testing.assert_allclose(found, answer["expected"], **CLOSE)


@pytest.mark.parametrize("answer", known_answers("saturation"))
def test_known_answer_saturation(answer: Mapping[str, Any]) -> None:
    """The share that the second half of the trials found, which the fairness report prints."""
    validation = np.array(answer["validation"])
    half, whole = expected_validation_performance(validation, [math.ceil(len(validation) / 2), len(validation)])
    np.testing.assert_allclose((whole - half) / whole, answer["expected"], **CLOSE)


def test_expected_validation_performance_is_unbiased() -> None:
    draws = np.random.default_rng(2).gamma(2.0, 1.0, (4000, 20))
    found = np.mean([expected_validation_performance(row, [5]) for row in draws])
    truth = np.random.default_rng(3).gamma(2.0, 1.0, (400_000, 5)).max(axis=1).mean()
    assert found == pytest.approx(truth, rel=0.005)


# Calibration: intervals depend on a table only through its mean and mean squares, whose law is known.

REPLICAS = 20_000


@dataclass(frozen=True)
class Setting:
    """Relative variance components of a hit rate near .09 whose two conditions share six tenths of their hits."""

    n: int
    s: int
    sd_seed: float  # in units of the hit rate
    var_user: float = 1.23
    var_interaction: float = 4.3

    @property
    def var_seed(self) -> float:
        return (self.sd_seed / 0.09) ** 2

    @property
    def expected_squares(self) -> MeanSquares:
        users = self.s * self.var_user + self.var_interaction
        if self.s == 1:
            return MeanSquares(users, 0.0, 0.0, self.n, 1)
        seeds = self.n * self.var_seed + self.var_interaction
        return MeanSquares(users, seeds, self.var_interaction, self.n, self.s)

    @property
    def true_se(self) -> float:
        cells = self.n * self.s
        return math.sqrt(self.var_user / self.n + self.var_seed / self.s + self.var_interaction / cells)

    def intervals(self) -> tuple[list[CrossedInterval], CrossedInterval]:
        """Intervals of replicas whose true mean is zero, and the interval of one who knows the components."""
        rng = np.random.default_rng([self.n, self.s])
        truth = self.expected_squares
        means = self.true_se * rng.standard_normal(REPLICAS)

        def drawn(expected: float, df: int) -> np.ndarray:
            return expected * rng.chisquare(df, REPLICAS) / df if df else np.zeros(REPLICAS)

        n, s = self.n, self.s
        columns = (drawn(truth.users, n - 1), drawn(truth.seeds, s - 1), drawn(truth.residual, (n - 1) * (s - 1)))
        squares = iter([MeanSquares(*map(float, row), n, s) for row in zip(*columns, strict=True)])
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(intervals, "mean_squares", lambda d: next(squares))
            found = [intervals.crossed_interval(np.array([[mean]])) for mean in means]
            patch.setattr(intervals, "mean_squares", lambda d: truth)
            return found, intervals.crossed_interval(np.zeros((1, 1)))


SETTINGS = [
    Setting(2000, 3, 0.002),
    Setting(2000, 5, 0.0005),
    Setting(2000, 10, 0.0005),
    Setting(20_000, 3, 0.002),
    Setting(20_000, 5, 0.002),
]


@pytest.fixture(scope="module", params=SETTINGS, ids=lambda s: f"n{s.n}-s{s.s}-sd{s.sd_seed}")
def replicas(request: pytest.FixtureRequest) -> tuple[Setting, list[CrossedInterval], CrossedInterval]:
    return request.param, *request.param.intervals()


def at_most(rate: float) -> float:
    """A rate and three standard errors of it."""
    return rate + 3 * math.sqrt(rate * (1 - rate) / REPLICAS)


@pytest.mark.thorough
def test_intervals_cover_and_are_hardly_wider_than_the_oracles(
    replicas: tuple[Setting, list[CrossedInterval], CrossedInterval],
) -> None:
    setting, found, oracle = replicas
    assert np.mean([i.lo <= 0 <= i.hi for i in found]) >= 0.935
    width = np.mean([i.hi - i.lo for i in found])
    assert width <= 1.25 * (oracle.hi - oracle.lo)
    if setting.s >= 5:  # with enough seeds also against one who knows the standard error itself
        assert width <= 1.25 * 2 * distributions.norm.ppf(0.975) * setting.true_se


@pytest.mark.thorough
def test_no_effect_is_rarely_excluded_on_either_side(
    replicas: tuple[Setting, list[CrossedInterval], CrossedInterval],
) -> None:
    assert np.mean([i.lo > 0 for i in replicas[1]]) <= at_most(0.05)
    assert np.mean([i.hi < 0 for i in replicas[1]]) <= at_most(0.05)


@pytest.mark.thorough
@pytest.mark.parametrize("side", [-1, 1])
def test_an_effect_at_the_margin_is_rarely_found_equivalent(
    replicas: tuple[Setting, list[CrossedInterval], CrossedInterval], side: int
) -> None:
    setting, found, _ = replicas
    margin = 4 * setting.true_se  # wide enough for equivalence to be found at all
    moved = [replace(i, mean=i.mean + side * margin) for i in found]
    inside = [[-margin < i.lo and i.hi < margin for i in (one.at(0.9) for one in some)] for some in (moved, found)]
    assert np.mean(inside[0]) <= at_most(0.05)
    if setting.s >= 5:
        assert np.mean(inside[1]) >= 0.9


@pytest.mark.thorough
def test_three_seeds_that_dominate_are_the_weakest_case() -> None:
    found, _ = Setting(20_000, 3, 0.004).intervals()
    assert 0.92 <= np.mean([i.lo <= 0 <= i.hi for i in found]) <= 0.94


# The functions at their edges.


def test_bounds_are_those_of_the_interval() -> None:
    found = intervals.crossed_interval(np.random.default_rng(4).normal(0.2, 1, (30, 4)), 0.95)
    again = found.at(0.95)
    assert (again.lo, again.hi) == pytest.approx((found.lo, found.hi), rel=1e-12)


P_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=12)


@settings(deadline=None, derandomize=True)
@given(P_VALUES)
def test_adjusted_p_follow_the_raw_ones(p: list[float]) -> None:
    for adjusted in (intervals.holm(p), intervals.benjamini_hochberg(p)):
        assert (adjusted >= np.array(p) - 1e-15).all()
        assert (adjusted <= 1).all()
        order = np.argsort(p, kind="stable")
        assert (np.diff(adjusted[order]) >= 0).all()
    assert (intervals.benjamini_hochberg(p) <= intervals.holm(p) + 1e-15).all()
    # The step-down rule itself: reject in order of p until the first that is not below alpha over what is left.
    kept = [value * (len(p) - place) >= 0.05 for place, value in enumerate(sorted(p))]
    assert (intervals.holm(p) < 0.05).sum() == (kept.index(True) if True in kept else len(p))


@pytest.mark.parametrize("p", [[0.5, 1.2], [-0.1], [math.nan], [[0.1, 0.2]]])
def test_what_is_no_p_value_is_refused(p: list[float]) -> None:
    with pytest.raises(ValueError, match="p-values must be a vector of numbers in"):
        intervals.holm(p)


def test_users_who_gain_and_lose() -> None:
    b = np.array([[0.1, 0.2, 0.3], [0.5, 0.5, 0.5], [0.0, 0.0, 0.0], [0.2, 0.2, 0.2]])
    a = np.array([[0.3, 0.1, 0.2], [0.6, 0.5, 0.5], [0.1, 0.0, 0.0], [0.0, 0.2, 0.2]])
    found = intervals.user_effects(a, b)
    assert (found.improved, found.harmed) == (0.5, 0.25)
    d = (a - b).mean(axis=1)
    assert found.d_z == pytest.approx(d.mean() / d.std(ddof=1))
    assert intervals.user_effects(b, b).d_z == 0.0
    assert intervals.user_effects(np.ones((4, 2)), np.zeros((4, 2))).d_z == math.inf
    with pytest.raises(ValueError, match=r"tables \(4, 3\) and \(4, 2\) are not paired"):
        intervals.user_effects(a, b[:, :2])


COMPONENTS = {"var_user": 0.9, "var_seed": 0.0004, "var_interaction": 1.6}


@pytest.mark.parametrize("target", [0.03, 0.05, 0.2])
def test_needed_users_are_the_fewest_that_detect(target: float) -> None:
    users = power.users_needed(target, **COMPONENTS, seeds=5)
    assert users is not None
    assert power.mde_relative(**COMPONENTS, n=users, seeds=5) <= target
    assert users == 1 or power.mde_relative(**COMPONENTS, n=users - 1, seeds=5) > target


def test_some_targets_are_out_of_reach() -> None:
    assert power.users_needed(0.01, **COMPONENTS, seeds=3) is None  # training noise alone is larger
    with pytest.raises(ValueError, match="a target gain must be positive, not 0"):
        power.users_needed(0, **COMPONENTS, seeds=3)


def test_power_is_what_it_says() -> None:
    mde = power.mde_relative(**COMPONENTS, n=5000, seeds=5)
    se = math.sqrt(0.9 / 5000 + 0.0004 / 5 + 1.6 / 25_000)
    found = np.random.default_rng(0).normal(mde, se, 200_000)
    assert np.mean(found > 1.959964 * se) == pytest.approx(0.8, abs=0.005)


def test_a_negative_component_counts_as_zero() -> None:
    whole = power.mde_relative(var_user=0.0, var_seed=0.0, var_interaction=1.0, n=100, seeds=2)
    assert power.mde_relative(var_user=-0.1, var_seed=0.0, var_interaction=1.0, n=100, seeds=2) == whole
