"""The rules that rest on trials and learning curves, against known answers."""

from __future__ import annotations

import numpy as np
import pytest

from mmbench.inference import tuning_curves


def test_the_tuning_gain_is_that_over_the_default() -> None:
    assert tuning_curves.tuning_gain(np.array([0.2, 0.1, 0.4, 0.3])) == pytest.approx(1.0)


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
    # What is as good as the last of the best counts too: here every value is.
    assert tuning_curves.edge_share([1.0, 1, 5, 5, 5, 5, 5, 9], np.full(8, 0.1), 1.0, 9.0, log=False) == 3 / 8
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


def test_known_answer_of_crossing_curves() -> None:
    steady, late, early = [0.3, 0.3, 0.3], [0.1, 0.4, 0.2], [0.35, 0.2, 0.2]
    # After the first epoch late is behind both, which it overtakes in the second; early stays above steady: the best
    # epoch so far counts, not the last.
    assert tuning_curves.crossings([1, 2], [steady, None, late, early]) == pytest.approx(2 / 6)
    assert tuning_curves.crossings([2], [steady, late, early]) == 0.0
    assert tuning_curves.crossings([1], [[0.1, 0.2], [0.1, 0.3]]) == 0.0  # equal so far is no order
    assert tuning_curves.crossings([1], [steady, None]) is None
