"""Pooling over data sets, and ranks where there are enough of them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats as distributions

from mmbench.inference import pooling
from mmbench.inference.intervals import LogGain
from mmbench.inference.looks import level_of_look
from mmbench.messages import points

#: Trials of the BCG vaccine: cases and others among the vaccinated, cases and others among the rest (Colditz 1994).
BCG = [
    (4, 119, 11, 128), (6, 300, 29, 274), (3, 228, 11, 209), (62, 13536, 248, 12619), (33, 5036, 47, 5761),
    (180, 1361, 372, 1079), (8, 2537, 10, 619), (505, 87886, 499, 87892), (29, 7470, 45, 7232), (17, 1699, 65, 1600),
    (186, 50448, 141, 27197), (5, 2493, 3, 2338), (27, 16886, 29, 17825),
]  # fmt: skip


def risk_ratios() -> tuple[list[float], list[float]]:
    """Log risk ratios and their standard errors."""
    logs = [math.log(a / (a + b) / (c / (c + d))) for a, b, c, d in BCG]
    return logs, [math.sqrt(1 / a - 1 / (a + b) + 1 / c - 1 / (c + d)) for a, b, c, d in BCG]


def test_known_answer_of_the_textbook_example() -> None:
    # Published DerSimonian-Laird results: tau^2 = 0.3088, mean -0.7141.
    pooled = pooling.random_effects(*risk_ratios())
    assert pooled.tau**2 == pytest.approx(0.3088, abs=5e-5)
    assert pooled.effect.mean == pytest.approx(-0.7141, abs=5e-5)
    y, v = np.array(risk_ratios()[0]), np.array(risk_ratios()[1]) ** 2 + pooled.tau**2
    w = 1 / v
    q = (w * (y - pooled.effect.mean) ** 2).sum() / 12
    assert q > 1
    assert pooled.se == pytest.approx(math.sqrt(q / w.sum()))
    assert pooled.effect.hi - pooled.effect.mean == pytest.approx(distributions.t.ppf(0.975, 12) * pooled.se)
    assert pooled.predicted is not None
    reach = distributions.t.ppf(0.975, 11) * math.sqrt(pooled.tau**2 + pooled.se**2)
    assert (pooled.predicted.lo, pooled.predicted.hi) == pytest.approx(
        (pooled.effect.mean - reach, pooled.effect.mean + reach)
    )


def test_agreement_by_chance_does_not_shrink_the_interval() -> None:
    pooled = pooling.random_effects([0.02, 0.02, 0.02], [0.03, 0.03, 0.03])
    assert pooled.tau == 0.0
    assert pooled.se == pytest.approx(0.03 / math.sqrt(3))


def test_pooled_intervals_cover() -> None:
    rng = np.random.default_rng(0)
    covered, predicted, replicas = 0, 0, 2000
    for _ in range(replicas):
        errors = rng.uniform(0.01, 0.03, 5)
        pooled = pooling.random_effects(rng.normal(0.05, 0.02, 5) + errors * rng.normal(size=5), list(errors))
        covered += pooled.effect.contains(0.05)
        assert pooled.predicted is not None
        predicted += pooled.predicted.contains(rng.normal(0.05, 0.02))
    assert covered / replicas >= 0.935
    assert predicted / replicas >= 0.90  # tau of five studies is a rough guess


def test_two_studies_predict_nothing() -> None:
    assert pooling.random_effects([0.1, 0.2], [0.1, 0.1]).predicted is None


@pytest.mark.parametrize(
    ("estimates", "errors", "message"),
    [
        ([0.1], [0.1], "at least two studies and one standard error for each, not 1"),
        ([0.1, 0.2], [0.1], "one standard error for each"),
        ([0.1, 0.2], [0.1, -0.1], r"standard errors must be finite and not negative, not \[0.1, -0.1\]"),
        ([0.1, 0.2], [0.1, math.inf], "must be finite"),
    ],
)
def test_what_cannot_be_pooled_is_refused(estimates: list[float], errors: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pooling.random_effects(estimates, errors)


def test_an_estimate_without_error_is_the_limit_of_small_errors() -> None:
    estimates, errors = [0.002, 0.143, 0.102, 0.0], [0.0035, 0.056, 0.0125]
    exact, near = (pooling.random_effects(estimates, [*errors, error]) for error in (0.0, 1e-6))
    assert exact is not None
    assert near is not None
    for bound in ("mean", "lo", "hi"):
        assert getattr(exact.effect, bound) == pytest.approx(getattr(near.effect, bound), rel=1e-6)
    assert (exact.tau, exact.k) == (pytest.approx(near.tau, rel=1e-6), 4)
    without = pooling.random_effects(estimates[:3], errors)
    assert without is not None
    assert exact.effect.mean < without.effect.mean


def test_there_is_no_mean_where_an_estimate_without_error_would_have_all_the_weight() -> None:
    assert pooling.random_effects([0.1, 0.0, 0.05], [0.1, 0.0, 0.1]) is None  # no further from zero than their errors
    assert pooling.random_effects([0.5, 0.0, 0.0], [0.01, 0.0, 0.0]) is None
    assert pooling.pooled_gain([LogGain(0.5, 0.01, 9.0), LogGain(0.0, 0.0, 0.0), LogGain(0.0, 0.0, 0.0)]) is None


def test_gains_are_pooled_as_ratios() -> None:
    gains = [LogGain(math.log1p(g), se, 20.0) for g, se in ((0.10, 0.02), (-0.05, 0.03), (0.02, 0.02))]
    pooled = pooling.pooled_gain(gains)
    logs = pooling.random_effects([g.log_ratio for g in gains], [g.se for g in gains])
    assert (math.log1p(pooled.effect.mean), math.log1p(pooled.effect.lo)) == pytest.approx(
        (logs.effect.mean, logs.effect.lo)
    )
    assert pooled.predicted is not None
    effect = pooled.effect
    assert pooled.predicted.lo < effect.lo < effect.mean < effect.hi < pooled.predicted.hi
    turned = [LogGain(-g.log_ratio, g.se, g.df) for g in gains]
    assert 1 / (1 + pooling.pooled_gain(turned).effect.mean) - 1 == pytest.approx(effect.mean)


def test_a_bound_that_is_too_large_for_a_number_is_infinite() -> None:
    """Two data sets leave one degree of freedom, whose quantile grows with every look; so do three for a new one."""
    gains, level = [LogGain(2.3, 0.1, 10.0), LogGain(0.0, 0.05, 100.0)], level_of_look(1000)
    two = pooling.pooled_gain(gains, level)
    assert (two.effect.lo, two.effect.hi, two.predicted) == (-1.0, math.inf, None)
    three = pooling.pooled_gain([*gains, LogGain(-2.3, 0.05, 100.0)], level)
    assert (three.predicted.lo, three.predicted.hi) == (-1.0, math.inf)
    assert points(three.predicted.hi) == "+inf"


def test_critical_difference_of_the_table() -> None:
    # Demsar (2006): q at .05 is 2.343 for three methods, 2.569 for four, 2.728 for five.
    assert pooling.critical_difference(4, 10) == pytest.approx(2.569 * math.sqrt(20 / 60), rel=1e-3)
    assert pooling.critical_difference(3, 14) == pytest.approx(2.343 * math.sqrt(12 / 84), rel=1e-3)
    assert pooling.critical_difference(5, 30) == pytest.approx(2.728 * math.sqrt(30 / 180), rel=1e-3)


def test_ranks_over_few_data_sets_are_refused() -> None:
    with pytest.raises(ValueError, match="ranks over 9 data sets decide nothing, 10 are needed"):
        pooling.compare_ranks(np.ones((9, 4)))
    with pytest.raises(ValueError, match="at least 10 data sets, not 3"):
        pooling.critical_difference(4, 3)
    with pytest.raises(ValueError, match="at least three methods, not 2"):
        pooling.compare_ranks(np.ones((12, 2)))


def test_ranks_over_enough_data_sets() -> None:
    rng = np.random.default_rng(1)
    scores = rng.normal(0.1, 0.01, (12, 4))
    scores[:, 2] += 0.1
    scores[:, 3] = scores[:, 1]
    found = pooling.compare_ranks(scores)
    assert found.mean_ranks[2] == 1.0
    assert found.mean_ranks.sum() == pytest.approx(10)
    assert found.friedman_p == pytest.approx(distributions.friedmanchisquare(*scores.T).pvalue)
    assert found.pairwise_p[2, 0] < 0.01
    assert found.pairwise_p[1, 3] == found.pairwise_p[0, 0] == 1.0
    np.testing.assert_array_equal(found.pairwise_p, found.pairwise_p.T)


def test_known_answer_of_the_pairwise_tests() -> None:
    """Two data sets on which a and b are equal count half for each; above 13 the law with zeros is the normal one."""
    b_minus_a = np.array([13, 0, 0, *range(1, 12)])
    c_minus_b = np.array([-1, *range(2, 15)])  # c - a is 12, 2, 3, 5, 7, ..., 25
    found = pooling.compare_ranks(np.stack([0 * b_minus_a, b_minus_a, b_minus_a + c_minus_b], axis=1))
    # All of 14 signs are one side's, or all but that of rank 1: 1 and 2 of 2^14 patterns, on two sides.
    c_over_a, c_over_b = 3 * 2 / 2**14, 2 * 4 / 2**14
    # Ranks 3 to 14 and half of 1.5 + 1.5 are 103.5, 52.5 expected; 14 * 15 * 29 less half of 2^3 - 2 for the tie.
    b_over_a = 2 * distributions.norm.sf((103.5 - 52.5) / math.sqrt((14 * 15 * 29 - 3) / 24))
    expected = [[1, b_over_a, c_over_a], [b_over_a, 1, c_over_b], [c_over_a, c_over_b, 1]]
    np.testing.assert_allclose(found.pairwise_p, expected, rtol=1e-9)
