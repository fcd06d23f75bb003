"""What was measured, in the form that the rule takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from mmbench.inference.intervals import CrossedInterval, Interval


class Status(StrEnum):
    """Whether the evidence meets a gate; unknown evidence does not meet it and has a status of its own."""

    PASS = "pass"
    FAIL = "fail"
    UNKNOWN = "not known"


class Bars(StrEnum):
    """Which answer a gate that does not pass bars."""

    EVERY = "every answer but HOLD"
    GO = "GO"
    NO_GO = "NO-GO"


#: What each gate asks, in the order in which they are mended: what it bars, and the step that mends it.
#: Images that do not pay fail G3 and need no guard-rail, so these two bar GO alone.
GATES: Mapping[str, tuple[Bars, str]] = {
    "G1": (Bars.EVERY, "repair"),
    "G2": (Bars.EVERY, "model"),
    "G9": (Bars.EVERY, "trials"),
    "G5": (Bars.EVERY, "images"),
    "G3": (Bars.GO, "control"),
    "G4": (Bars.GO, "model"),
    "G8": (Bars.NO_GO, "ensemble"),
    "G6": (Bars.NO_GO, "encoder"),
    "G7": (Bars.NO_GO, "users"),
}


@dataclass(frozen=True)
class Gate:
    """One gate and what was found.

    Args:
        name: ``G1`` to ``G9``.
        status: whether the evidence meets the gate.
        value: the number that decided it; None where there is none.
        limit: what the number is held against.
        why: the finding in the words of the records, for the annex.
    """

    name: str
    status: Status
    value: float | None = None
    limit: float | None = None
    why: str = ""


@dataclass(frozen=True)
class SubsetGain:
    """The gain that lives in one slice of the items.

    Args:
        name: the slice, as the report calls it.
        gain: part of the slice in the relative gain of the whole; its bounds hold for all slices of its division at
            once.
        stock: share of the catalogue in the slice.
        new: share of the new items that will belong to it.
    """

    name: str
    gain: Interval
    stock: float
    new: float


@dataclass(frozen=True)
class Evidence:
    """What the records say about the gain of images given everything else.

    Args:
        dataset: its dataset.
        model: its model.
        contrast: the contrast, for example ``fused_vs_text``.
        n_users: test users.
        gain: relative gain in the primary metric with its crossed interval; None where there is none.
        tuned: the gain over other draws of the trials, with 90 % bounds; None where unknown.
        mde: gain that is detected with 80 % power; None with one seed.
        components: variance of users, seeds and their interaction; empty with one seed.
        per_thousand: relevant items more per 1,000 recommendations.
        gates: every gate but G7, which needs the break-even gain.
        subsets: slices of the items that could get images alone.
    """

    dataset: str
    model: str
    contrast: str
    n_users: int
    gain: CrossedInterval | None
    tuned: Interval | None
    mde: float | None
    components: Mapping[str, float]
    per_thousand: Interval | None
    gates: tuple[Gate, ...]
    subsets: tuple[SubsetGain, ...] = ()
