"""The rules that rest on trials and learning curves, against known answers."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from mmbench.inference import tuning_curves


def test_the_tuning_gain_is_that_over_the_default() -> None:
    assert tuning_curves.tuning_gain(np.array([0.2, 0.1, 0.4, 0.3])) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("best", "log", "share", "chance"),
    [
        ([1.04, 9.9, 5.0, 5.0], False, 0.25, 2 * 4 / 20),  # the edges end at 1.45 and 9.55; one trial is at the upper
        ([1.46, 9.54, 5.0, 5.0], False, 0.0, 1.0),
        ([1.12, 1.13, 8.9, 8.92], True, 0.25, 2 * 4 / 20),  # on the log scale they end at 1.122 and 8.913
        ([1.0, 10.0, 1.0, 10.0], True, 0.5, 2 * math.comb(18, 2) / math.comb(20, 4)),  # of each bound alone
        ([10.0, 10.0, 5.0, 10.0], False, 0.75, 2 * 17 / math.comb(20, 4)),
    ],
)
def test_known_answer_of_the_edge_rule(best: list[float], log: bool, share: float, chance: float) -> None:
    values = np.concatenate([np.full(16, 1.0), best])  # 20 trials, of which the last four are the top fifth
    validation = np.concatenate([np.linspace(0.1, 0.2, 16), [0.5, 0.6, 0.7, 0.8]])
    edge = tuning_curves.edge(values, validation, 1.0, 10.0, log=log)
    assert edge.share == share
    assert edge.chance == pytest.approx(chance)


def test_an_edge_is_shown_where_chance_alone_would_not_make_it() -> None:
    """Three of the six best of 30 trials at a bound are not more than half of them; four of five there are shown."""
    validation = np.linspace(0.1, 0.2, 30)

    def edge(at_bound: int, of_best: int) -> tuning_curves.Edge:
        others = at_bound - of_best
        values = [1.0] * others + [5.0] * (24 - others) + [5.0] * (6 - of_best) + [1.0] * of_best
        return tuning_curves.edge(values, validation, 1.0, 9.0, log=False)

    assert not edge(3, 3).shown(1)
    assert edge(5, 4).chance == pytest.approx(2 * (5 * math.comb(25, 2) + 25) / math.comb(30, 6))
    assert (edge(5, 4).shown(9), edge(5, 4).shown(10)) == (True, False)
    # A whole number of three values lies at a bound in two of three trials, whatever is good.
    assert not edge(10, 4).shown(1)


def test_an_edge_is_not_shown_by_the_share_at_one_bound_and_the_chance_at_the_other() -> None:
    """Of the best 20 of 100 whole numbers 11 are 1, as chance would have it, and 9 are 3, as it would not."""
    values = [1.0] * 49 + [2.0] * 31 + [1.0] * 11 + [3.0] * 9
    edge = tuning_curves.edge(values, np.arange(100.0), 1.0, 3.0, log=False)
    assert edge == (0.55, 1.0)
    assert not edge.shown(1)


@pytest.mark.parametrize("values", [[1.0, 2.0, 3.0], np.linspace(1.0, 3.0, 41)], ids=["three numbers", "a range"])
def test_chance_calls_a_range_too_narrow_in_at_most_its_level(values: Sequence[float]) -> None:
    rng = np.random.default_rng(5)
    tries = [(rng.choice(values, 30), rng.permutation(30).astype(float)) for _ in range(2000)]
    shown = [tuning_curves.edge(drawn, order, 1.0, 3.0, log=False).shown(1) for drawn, order in tries]
    assert np.mean(shown) <= tuning_curves.EDGE_LEVEL + 3 * math.sqrt(0.05 * 0.95 / len(tries))


def test_a_value_with_a_probability_of_its_own_is_no_edge() -> None:
    """It counts among the best trials and not among those at a bound, though the range may have no logarithm for it."""
    validation = np.array([0.9, 0.8, 0.7, 0.6, *[0.1] * 16])  # the best four

    def share(values: Sequence[float], low: float, high: float, *, log: bool, atoms: Sequence[float]) -> float:
        return tuning_curves.edge(values, validation, low, high, log=log, atoms=atoms).share

    values = [0.0, 1.0, 1.0, 3.0, *[2.0] * 16]
    assert share(values, 1.0, 10.0, log=True, atoms=(0.0,)) == 0.5
    assert share(values, 1.0, 10.0, log=False, atoms=(0.0, 1.0, 10.0)) == 0.0
    assert share([0.0] * 20, 1.0, 10.0, log=True, atoms=(0.0,)) == 0.0
    # What is as good as the last of the best counts too: here every value is, and chance would place as many there.
    alike = tuning_curves.edge([1.0, 1, 5, 5, 5, 5, 5, 9], np.full(8, 0.1), 1.0, 9.0, log=False)
    assert alike == (2 / 8, 1.0)
    # Beside a bound that has a probability of its own there is nothing to search either.
    near = [0.02, 0.01, 0.03, 2.98, *[1.0] * 16]
    assert [share(near, 0.0, 3.0, log=False, atoms=a) for a in [(), (0.0,), (0.0, 3.0)]] == [0.75, 0.25, 0.0]


def test_the_edge_rule_rounds_the_top_up_and_needs_a_range() -> None:
    validation = np.array([0.9, 0.8, 0.1, 0.1, 0.1, 0.1, 0.1])  # a fifth of seven trials is two
    assert tuning_curves.edge([1.0, 5.0, 5, 5, 5, 5, 5], validation, 1.0, 9.0, log=False).share == 0.5
    with pytest.raises(ValueError, match="the range from 3 to 3 is empty"):
        tuning_curves.edge([3.0], validation[:1], 3, 3, log=False)


def test_known_answer_of_crossing_curves() -> None:
    steady, late, early = [0.3, 0.3, 0.3], [0.1, 0.4, 0.2], [0.35, 0.2, 0.2]
    # After the first epoch late is behind both, which it overtakes in the second; early stays above steady: the best
    # epoch so far counts, not the last.
    assert tuning_curves.crossings([1, 2], [steady, None, late, early]) == pytest.approx(2 / 6)
    assert tuning_curves.crossings([2], [steady, late, early]) == 0.0
    assert tuning_curves.crossings([1], [[0.1, 0.2], [0.1, 0.3]]) == 0.0  # equal so far is no order
    assert tuning_curves.crossings([1], [steady, None]) is None
