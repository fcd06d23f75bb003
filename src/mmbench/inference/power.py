"""Power: which gain a study can see, and how many users a gain needs."""

from __future__ import annotations

import math

from scipy import special


def mde_relative(
    *,
    var_user: float,
    var_seed: float,
    var_interaction: float,
    n: int,
    seeds: int,
    alpha: float = 0.05,
    power: float = 0.8,
) -> float:
    r"""Minimal detectable relative effect.

    :math:`(z_{1-\alpha/2} + z_{power}) \sqrt{\sigma^2_u/n + \sigma^2_s/S + \sigma^2_{us}/(nS)}`, components of the
    differences scaled by B's mean, as ``MeanSquares.components`` gives them; one below zero counts as zero.
    """
    variance = max(var_user, 0.0) / n + max(var_seed, 0.0) / seeds + max(var_interaction, 0.0) / (n * seeds)
    return _detection(alpha, power) * math.sqrt(variance)


def users_needed(
    target: float,
    *,
    var_user: float,
    var_seed: float,
    var_interaction: float,
    seeds: int,
    alpha: float = 0.05,
    power: float = 0.8,
) -> int | None:
    """Users at which a relative gain of ``target`` is detected with these seeds; None if no number of users is enough.

    The equation of :func:`mde_relative` solved for n: training noise that users cannot average away sets a floor.
    """
    room = _variance_allowed(target, alpha, power) - max(var_seed, 0.0) / seeds
    return _at_least_one((max(var_user, 0.0) + max(var_interaction, 0.0) / seeds), room)


def _detection(alpha: float, power: float) -> float:
    return float(special.ndtri(1 - alpha / 2) + special.ndtri(power))


def _variance_allowed(target: float, alpha: float, power: float) -> float:
    if not target > 0:
        raise ValueError(f"a target gain must be positive, not {target}")
    return (target / _detection(alpha, power)) ** 2


def _at_least_one(variance: float, room: float) -> int | None:
    if room <= 0.0:
        return None
    return max(1, math.ceil(variance / room * (1 - 1e-12)))
