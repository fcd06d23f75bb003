"""Economics of a gain: what it must be to pay, what it is worth, and what more knowledge would be worth."""

from __future__ import annotations

import math
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from mmbench.messages import Refusal

#: One number, or one per draw ``(n_draws,)``.
Amount = TypeVar("Amount", float, NDArray[np.float64])


def annuity(years: int, discount: float) -> float:
    r"""Present value of one unit at the end of each year, :math:`\sum_{k=1}^{H} (1+r)^{-k}`.

    Args:
        years: horizon H.
        discount: yearly rate r.
    """
    return math.fsum((1 + discount) ** -k for k in range(1, years + 1))


def npv(
    gain: Amount,
    *,
    eta: Amount,
    base_value_year: Amount,
    cost_once: Amount,
    cost_year: Amount,
    years: int,
    discount: float,
) -> Amount:
    r"""Net present value of a relative gain, :math:`\rho \eta B \cdot AF - C_{once} - C_{year} \cdot AF`.

    Args:
        gain: relative offline gain :math:`\rho`.
        eta: share of it that reaches the business; assumed until own trials have measured it.
        base_value_year: yearly margin B through recommendations.
        cost_once: one-off cost.
        cost_year: yearly cost.
        years: horizon.
        discount: yearly rate.

    Returns:
        In the currency of the costs; one per draw where the arguments are draws.
    """
    factor = annuity(years, discount)
    return gain * eta * base_value_year * factor - cost_once - cost_year * factor


def breakeven_gain(
    *, eta: float, base_value_year: float, cost_once: float, cost_year: float, years: int, discount: float
) -> float:
    r"""The gain at which the net present value is zero, :math:`(C_{once}/AF + C_{year}) / (\eta B)`.

    Raises:
        ValueError: if nothing of a gain reaches the business.
    """
    if not eta * base_value_year > 0:
        raise Refusal(
            "no gain can pay with eta={eta} and a base value of {base_value_year} a year",
            eta=eta,
            base_value_year=base_value_year,
        )
    return (cost_once / annuity(years, discount) + cost_year) / (eta * base_value_year)


def preposterior_sd(sd: float, pilot_sd: float) -> float:
    r"""Spread of what will be believed after a pilot, :math:`\sigma^2 / \sqrt{\sigma^2 + s^2}`.

    Args:
        sd: standard deviation of what is believed before it.
        pilot_sd: standard error s of the pilot; zero is perfect knowledge.
    """
    return sd**2 / math.hypot(sd, pilot_sd) if sd > 0 else 0.0


def evpi(draws: NDArray[np.float64]) -> float:
    r"""Value of knowing a net present value before deciding, :math:`E[\max(NPV, 0)] - \max(E\,NPV, 0)`, over draws.

    Args:
        draws: net present values ``(n_draws,)``.
    """
    return float(np.maximum(draws, 0.0).mean()) - max(float(draws.mean()), 0.0)


def evsi(draws: NDArray[np.float64], sd: float) -> float:
    r"""Value of a measurement after which what is believed spreads with standard deviation ``sd``, over the same draws.

    What will be believed has the law of the draws, drawn in towards their mean: :math:`m + r (x - m)` with r the
    ratio of the two standard deviations (the Gaussian approximation of Jalal and Alarid-Escudero, Medical Decision
    Making 2018, linear in the draws). As :math:`\max(\cdot, 0)` is convex it rises with r, and r = 1 is
    :func:`evpi`: no measurement is worth more than to know everything.

    Args:
        draws: net present values ``(n_draws,)``.
        sd: as :func:`preposterior_sd` gives it; more than that of the draws counts as theirs.
    """
    spread, mean = float(draws.std()), float(draws.mean())
    return evpi(mean + min(sd / spread, 1.0) * (draws - mean)) if spread > 0 else 0.0
