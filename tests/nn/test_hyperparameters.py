from __future__ import annotations

import pytest

from mmbench.nn.hyperparameters import at_least, nonnegative, one_of, positive, rate, share


@pytest.mark.parametrize("value", [0.0, 0.3, 0.999])
def test_a_rate_stays_as_it_is(value: float) -> None:
    assert rate("dropout", value) == value


@pytest.mark.parametrize("value", [-0.1, 1.0, float("nan")])
def test_what_is_no_rate_is_named(value: float) -> None:
    with pytest.raises(ValueError, match=f"noise={value} must be at least 0 and less than 1"):
        rate("noise", value)


def test_a_word_is_one_of_the_allowed() -> None:
    assert one_of("mode", "local", ("local", "global")) == "local"
    with pytest.raises(ValueError, match="mode='lokal' must be one of local, global"):
        one_of("mode", "lokal", ("local", "global"))


def test_a_positive_number_stays_as_it_is() -> None:
    assert positive("reg_weight", 0.5) == 0.5
    for value in (0.0, -1.0, float("inf"), float("nan"), "1"):
        with pytest.raises(ValueError, match=f"reg_weight={value} must be a positive number"):
            positive("reg_weight", value)  # type: ignore[arg-type]


def test_a_share_stays_as_it_is() -> None:
    assert [share("replaced", value) for value in (0.0, 0.4, 1.0)] == [0.0, 0.4, 1.0]
    for value in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match=f"replaced={value} must be at least 0 and at most 1"):
            share("replaced", value)


def test_weights_are_numbers_of_at_least_zero() -> None:
    nonnegative(reg_weight=0.0, cl_weight=3)
    for value in (-1e-9, float("inf"), float("nan"), "1"):
        with pytest.raises(ValueError, match=f"cl_weight={value} must be a number of at least 0"):
            nonnegative(reg_weight=0.5, cl_weight=value)  # type: ignore[arg-type]


def test_whole_numbers_have_a_least_one() -> None:
    at_least(0, n_layers=0, k=7)
    at_least(1, k=1)
    for value in (-1, 0, 2.0, "3", True, None):
        with pytest.raises(ValueError, match=f"k={value} must be a whole number of at least 1"):
            at_least(1, n_layers=2, k=value)  # type: ignore[arg-type]
