"""Which assumed numbers an answer rests on, and whether the sums were given before the results."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime
from enum import StrEnum

from mmbench.decision.economics import INPUTS, Economics, Source, scaled
from mmbench.decision.evidence import Evidence

#: How far off a number may be that nobody in the company has given.
FACTOR = 10
#: Inputs of which more is better; of all others less is.
GOOD = ("value.recommendations_year", "value.conversion", "value.order_value", "value.margin", "transfer",
        "items.with_images")  # fmt: skip
#: What says how much later money counts, and the highest rate: one of 1 or more is refused.
WEIGHED, HIGHEST_RATE = ("years", "discount"), 0.99


def deciding(economics: Economics, stands: Callable[[Economics], bool]) -> tuple[str, ...]:
    """Assumed numbers that turn an answer in favour of images: with one of them ten times worse it no longer stands.

    A horizon is never worse than one year, and no discount rate reaches one. The thresholds ask for an answer and are
    no numbers of the business. Where only several of them together turn it, all that are assumed are named.

    Args:
        economics: what was put in.
        stands: whether the answer stands with other inputs.
    """
    assumed = tuple(name for name in (*INPUTS, *WEIGHED) if economics.sources[name] is Source.ASSUMED)
    if not assumed or stands(_worse(economics, assumed)):
        return ()
    alone = tuple(name for name in assumed if not stands(_worse(economics, [name])))
    return alone or assumed


def _worse(economics: Economics, names: Iterable[str]) -> Economics:
    """The economics with some numbers ten times worse, as far as they can be."""
    factors = {name: 1 / FACTOR if name in GOOD else float(FACTOR) for name in names if name in INPUTS}
    worse = scaled(economics, factors)
    if "years" in names:
        worse = replace(worse, years=max(economics.years // FACTOR, 1))
    if "discount" in names:
        worse = replace(worse, discount=min(economics.discount * FACTOR, HIGHEST_RATE))
    return worse


class Given(StrEnum):
    """When the company gave its sums."""

    BEFORE = "before the sweep was planned"
    AFTER = "after the sweep was planned"
    NEVER = "none were given"
    UNKNOWN = "not known"


def when_given(evidence: Evidence, economics: Economics) -> Given:
    """Whether the file of sums was last changed before the sweep was planned, hence before any result.

    Thresholds and prices of steps count, for they too can be chosen to fit a result. The times are those of the file
    and of the first plan; who wants to deceive can set either.
    """
    if {Source.OWN, Source.OPINION}.isdisjoint(economics.sources.values()):
        return Given.NEVER
    try:
        changed, planned = (datetime.fromisoformat(at) for at in (economics.changed_at, evidence.planned_at))
        return Given.BEFORE if changed < planned else Given.AFTER
    except (ValueError, TypeError):  # absent, or one of them without its time zone
        return Given.UNKNOWN
