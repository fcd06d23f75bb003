"""Which assumed numbers an answer rests on, and whether the sums were given before the results."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from enum import StrEnum

from mmbench.decision.economics import INPUTS, Economics, Source, scaled
from mmbench.decision.evidence import Evidence

#: How far off a number may be that nobody in the company has given.
FACTOR = 10
#: Inputs of which more is better; of all others less is.
GOOD = ("value.recommendations_year", "value.conversion", "value.order_value", "value.margin", "transfer",
        "items.with_images")  # fmt: skip


def deciding(economics: Economics, stands: Callable[[Economics], bool]) -> tuple[str, ...]:
    """Assumed inputs that turn an answer in favour of images: with one of them ten times worse it no longer stands.

    Where only several of them together turn it, all that are assumed are named.

    Args:
        economics: what was put in.
        stands: whether the answer stands with other inputs.
    """
    worse = {
        name: 1 / FACTOR if name in GOOD else float(FACTOR)
        for name in INPUTS
        if economics.sources[name] is Source.ASSUMED
    }
    if not worse or stands(scaled(economics, worse)):
        return ()
    alone = tuple(name for name, factor in worse.items() if not stands(scaled(economics, {name: factor})))
    return alone or tuple(worse)


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
