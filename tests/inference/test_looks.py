"""The level of words falls with the number of looks."""

from __future__ import annotations

from math import sqrt

import numpy as np
import pytest
from scipy.stats import norm

from mmbench.inference.looks import level_of_look

#: How often a gain of zero has had a word after 2, 3 and 5 looks, by the correlation of successive looks; they stand in
#: docs/protocol.md.
ERRORS = {0.0: [0.074, 0.090, 0.110], 0.7: [0.065, 0.075, 0.088], 0.9: [0.056, 0.060, 0.066]}


def test_levels() -> None:
    assert [level_of_look(k) for k in (1, 2, 4)] == [0.95, 0.975, 0.9875]
    assert level_of_look(2, alpha=0.1) == 0.95


@pytest.mark.parametrize(("correlation", "errors"), ERRORS.items())
def test_whoever_stops_at_the_first_word_errs_in_at_most_the_sum_over_looks(
    correlation: float, errors: list[float]
) -> None:
    rng = np.random.default_rng(0)
    z = rng.standard_normal(400_000)
    said = np.zeros(z.shape, bool)
    found = []
    for look in range(1, 6):
        alone = np.abs(z) > norm.ppf(0.5 + level_of_look(look) / 2)
        assert alone.mean() == pytest.approx(0.05 / look, abs=0.001)
        said |= alone
        found.append(said.mean())
        assert found[-1] <= 0.05 * sum(1 / k for k in range(1, look + 1)) + 0.001
        z = correlation * z + sqrt(1 - correlation**2) * rng.standard_normal(z.shape)
    assert [found[looks - 1] for looks in (2, 3, 5)] == pytest.approx(errors, abs=0.001)


@pytest.mark.parametrize("number", [0, -1])
def test_there_is_no_look_before_the_first(number: int) -> None:
    with pytest.raises(ValueError, match=f"looks are numbered from 1, not {number}"):
        level_of_look(number)
