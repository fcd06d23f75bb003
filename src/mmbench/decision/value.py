"""What a gain is worth: draws of the net present value, what drives it, and where it turns."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from mmbench.decision import formulas
from mmbench.decision.economics import INPUTS, Economics, Range, Source, base_value, costs, lacking, scaled, totals
from mmbench.decision.evidence import Part
from mmbench.inference.gains import WIDEST
from mmbench.inference.intervals import LogGain

Vector = NDArray[np.float64]
DRAWS = 20_000
#: A drawn gain beyond its bounds at this level counts as the bound where money is averaged: the law of exp(t) has no
#: finite mean.
CENTRAL = 0.999
#: Quantiles of the value that the page draws.
QUANTILES = (0.025, 0.05, 0.25, 0.5, 0.75, 0.95, 0.975)
BINS = 41
#: Values that lie closer together than this, relatively, are one sum: floating-point numbers between them are too few
#: for bins.
ONE_SUM = 1e-9


class _Terms(TypedDict):
    """Keywords of the formulas."""

    eta: float
    base_value_year: float
    cost_once: float
    cost_year: float
    years: int
    discount: float


@dataclass(frozen=True)
class Value:
    r"""The distribution of the net present value.

    Args:
        probability: share of the draws in which it is above zero, that is, in which the gain is above break-even.
        mean: its mean over the central part of the gain, see :func:`central`; sd and EVPI are of the same part.
        sd: its standard deviation.
        evpi: value of knowing everything before deciding, :math:`E[\max(NPV, 0)] - \max(E\,NPV, 0)`.
        quantiles: by probability.
        counts: draws in each of :data:`BINS` equal bins between the outermost quantiles.
        per_gain: mean worth of one unit of relative gain, :math:`E[\eta B] \cdot AF`.
    """

    probability: float
    mean: float
    sd: float
    evpi: float
    quantiles: Mapping[float, float]
    counts: tuple[int, ...]
    per_gain: float


@dataclass(frozen=True)
class Swing:
    """Net present value where one input takes its low or high value and all others their likely ones."""

    name: str
    low: float
    high: float


@dataclass(frozen=True)
class Flip:
    """Where the net present value is zero, all else at its likely value.

    Args:
        gain: the break-even gain.
        transfer: offline-to-online factor; None where the gain is not above zero.
        image_price: price of one image, below zero where not even free images pay; None where none has to be bought.
        payback: years after which the one-off cost has come back, undiscounted; None where it never does.
    """

    gain: float
    transfer: float | None
    image_price: float | None
    payback: float | None


@functools.lru_cache(maxsize=4)
def uniforms(n_draws: int, seed: int) -> NDArray[np.float64]:
    """Numbers in [0, 1), one row per input, ``(n_inputs, n_draws)``."""
    drawn = np.random.default_rng(seed).random((len(INPUTS), n_draws))
    drawn.flags.writeable = False
    return drawn


def triangular(given: Range, u: Vector) -> Vector:
    """Quantiles ``u`` ``(n_draws,)`` of the triangular distribution."""
    width = given.high - given.low
    if width == 0:
        return np.full(len(u), given.likely)
    turn = (given.likely - given.low) / width
    rising = given.low + np.sqrt(u * width * (given.likely - given.low))
    falling = given.high - np.sqrt((1 - u) * width * (given.high - given.likely))
    return np.where(u < turn, rising, falling)


def central(gain: LogGain, drawn: Vector) -> Vector:
    r"""Drawn gains ``(n_draws,)``, those in the tails brought to their ends, so that averages of money are finite.

    The ends are the bounds of the gain at :data:`CENTRAL`, and at most a factor of two to each side of the estimate, as
    far as bounds of a tuned gain may reach: with few degrees of freedom :math:`\exp(L + se \, t_{df})` would let one
    draw in a thousand outweigh all others.
    """
    half = min(gain.half_width(CENTRAL), WIDEST)
    return np.clip(drawn, math.expm1(gain.log_ratio - half), math.expm1(gain.log_ratio + half))


@dataclass(frozen=True)
class Draws:
    """Drawn net present values.

    Args:
        npv: of the gains as :func:`central` has them, ``(n_draws,)``.
        probability: share above zero, with the gains as drawn.
        per_gain: as in :class:`Value`.
    """

    npv: Vector
    probability: float
    per_gain: float

    def value(self) -> Value:
        """What they come to."""
        quantiles = dict(zip(QUANTILES, map(float, np.quantile(self.npv, QUANTILES)), strict=True))
        lo, hi = quantiles[QUANTILES[0]], quantiles[QUANTILES[-1]]
        if hi - lo <= ONE_SUM * max(abs(lo), abs(hi)):
            counts = np.bincount([BINS // 2], [len(self.npv)], minlength=BINS)
        else:
            counts, _ = np.histogram(self.npv, BINS, (lo, hi))
        return Value(
            self.probability,
            float(self.npv.mean()),
            float(self.npv.std()),
            formulas.evpi(self.npv),
            quantiles,
            tuple(map(int, counts)),
            self.per_gain,
        )


def draw(economics: Economics, gain: LogGain, n_draws: int = DRAWS, seed: int = 0) -> Draws:
    """Draw every input and the gain, independently of each other, and value each draw.

    Args:
        economics: the inputs.
        gain: the relative gain.
        n_draws: number of draws.
        seed: seed of the draws.
    """
    u = uniforms(n_draws, seed)
    x = {name: triangular(economics.inputs[name], row) for name, row in zip(INPUTS, u, strict=True)}
    once, year = totals(costs(x))
    base, eta = base_value(x), x["transfer"]
    npv = functools.partial(
        formulas.npv,
        eta=eta,
        base_value_year=base,
        cost_once=once,
        cost_year=year,
        years=economics.years,
        discount=economics.discount,
    )
    gains = gain.draws(np.random.default_rng([seed, len(INPUTS)]), n_draws)
    per_gain = float((eta * base).mean()) * formulas.annuity(economics.years, economics.discount)
    return Draws(npv(central(gain, gains)), float((npv(gains) > 0).mean()), per_gain)


def of_part(economics: Economics, part: Part | None) -> Economics:
    """The economics of images for some items alone: those are bought and kept, all recommendations are served.

    Where the data told how many items have an image, they tell how many of the part have one.

    Args:
        economics: those of the whole catalogue.
        part: which items; None for all.
    """
    if part is None:
        return economics
    own = scaled(economics, {"items.stock": part.stock, "items.new_year": part.new})
    if part.with_images is None or own.sources["items.with_images"] is not Source.DATA:
        return own
    told = Range(part.with_images, part.with_images, part.with_images)
    return replace(own, inputs={**own.inputs, "items.with_images": told})


def likely_npv(economics: Economics, gain: float, changed: Mapping[str, float] | None = None) -> float:
    """Net present value at likely inputs, but for those ``changed``."""
    return formulas.npv(gain, **_terms(economics, changed))


def breakeven(economics: Economics) -> float:
    """The gain at which the net present value is zero at likely inputs."""
    return formulas.breakeven_gain(**_terms(economics))


def _terms(economics: Economics, changed: Mapping[str, float] | None = None) -> _Terms:
    """What the formulas ask for, at likely inputs but for those ``changed``."""
    x = {**economics.likely, **(changed or {})}
    once, year = totals(costs(x))
    return {
        "eta": x["transfer"],
        "base_value_year": base_value(x),
        "cost_once": once,
        "cost_year": year,
        "years": economics.years,
        "discount": economics.discount,
    }


def flips(economics: Economics, gain: float) -> Flip:
    """Solve for a net present value of zero in the gain, the transfer, the price of an image and the years."""
    x = economics.likely
    once, year = totals(costs(x))
    factor = formulas.annuity(economics.years, economics.discount)
    base = base_value(x)
    transfer = (once / factor + year) / (gain * base) if gain > 0 else None
    bought = x["items.stock"] * lacking(x) + x["items.new_year"] * x["items.target"] * factor
    price = x["cost.image"] + likely_npv(economics, gain) / bought if bought > 0 else None
    surplus = gain * x["transfer"] * base - year
    payback = once / surplus if surplus > 0 else None
    return Flip(breakeven(economics), transfer, price, payback)


def tornado(economics: Economics, gain: LogGain, level: float = 0.95) -> list[Swing]:
    """Every uncertain input and the gain over its range, the widest swing first.

    The gain moves over its interval at this level and is called ``gain``.
    """
    interval = gain.at(level)
    swings = [Swing("gain", likely_npv(economics, interval.lo), likely_npv(economics, interval.hi))]
    for name, given in economics.inputs.items():
        if given.low < given.high:
            ends = (likely_npv(economics, gain.gain, changed={name: end}) for end in (given.low, given.high))
            swings.append(Swing(name, *ends))
    widths = {swing.name: abs(swing.high - swing.low) for swing in swings}
    return sorted((s for s in swings if not math.isclose(widths[s.name], 0.0)), key=lambda s: -widths[s.name])
