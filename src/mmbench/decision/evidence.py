"""What was measured, in the form that the rule takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from mmbench.data.held_out import OF_NEW_ITEMS
from mmbench.inference.intervals import Interval, LogGain


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
    "G2": (Bars.EVERY, "baseline"),
    "G3": (Bars.GO, "control"),
    "G9": (Bars.EVERY, "trials"),
    "G5": (Bars.EVERY, "images"),
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
        value: the number that decided it; None where there is none. Of G3 that is not known, how often a control
            failed; None where none did. Of G4 that is not known, how many times as many users and final runs would show
            its guard-rails to hold as they were measured; None where one was measured below what is allowed or has no
            bounds. Of G9 that is not known, how many final runs there are where that is too few; None where it is
            something else.
        limit: what the number is held against.
        why: the finding in the words of the records; of G4, G5 and G8 that are not known the reason, for the page.
        command: what to run where that is all it takes.
        lo: lower bound of the number; None where it has none.
        hi: upper bound.
        rails: of G4, every guard-rail that was looked at and its word, see
            :class:`~mmbench.inference.contribution.guardrails.Rail`; one that could not be measured has none.
        unread: whether it is not known because the data set cannot be read, for the reason in ``why``.
    """

    name: str
    status: Status
    value: float | None = None
    limit: float | None = None
    why: str = ""
    command: str = ""
    lo: float | None = None
    hi: float | None = None
    rails: tuple[tuple[str, str], ...] = ()
    unread: bool = False

    @property
    def control_failed(self) -> bool:
        """Whether it is G3, and a control was run and has no result."""
        return (self.name, self.status) == ("G3", Status.UNKNOWN) and self.value is not None

    @property
    def bars(self) -> Bars:
        """What it bars where it does not pass.

        Without controls there is no answer, while a gain that they do not show bars GO. Chosen configurations that
        contradict the gain bar the answer that they contradict.
        """
        if self.name == "G3" and self.status is Status.UNKNOWN:
            return Bars.EVERY
        if self.name == "G9" and self.status is Status.FAIL and self.value is not None:
            return Bars.GO if self.value < 0 else Bars.NO_GO
        return GATES[self.name][0]


@dataclass(frozen=True)
class Part:
    """Items that are to have images where the others are not.

    Args:
        slice: what they are, ``<division>:<label>``, see :mod:`mmbench.data.divisions`.
        items: how many they are.
        stock: their share of the catalogue.
        new: share of the new items of a year that belong to them.
        with_images: share of them that has an image in the data; None where there are none of them.
    """

    slice: str
    items: int
    stock: float
    new: float
    with_images: float | None = None


@dataclass(frozen=True)
class Promise:
    """Items that gained where all items had images, so that images for them alone are worth a measurement.

    Args:
        part: which items.
        gain: what the metric would gain if it changed for their purchases as it did, and for no other. Ranks are a
            zero-sum game, so this is a hint, no estimate.
        command: what measures it.
    """

    part: Part
    gain: float
    command: str


@dataclass(frozen=True)
class Evidence:
    """What the records say about the gain of images: the best of all conditions, with real against shuffled images.

    Args:
        dataset: its dataset.
        metric: primary metric.
        models: models whose conditions it is the best of.
        n_users: test users.
        trials: trials per condition that were run.
        n: trials per condition after which the gain is told.
        ratio: the gain; None where it is not defined.
        gain: the same with its law; None where there are no bounds.
        level: coverage that its word, its range and the gain that would be seen rest on; above 95 % at a later look at
            the test split.
        silent: why nothing may be concluded from the gain, see :data:`mmbench.decision.steps.SILENT`; empty where
            something may.
        depends_on_tuning: whether fewer or more trials say something else.
        variances: variance of the logarithm of the ratio by the draw of ``trials``, of ``users`` and by the ``seed`` of
            default configurations; over repetitions also by ``splits``, or by ``folds`` alone; empty without bounds,
            but where these are too wide.
        model: the model that is best on validation with everything it may use, from which the gates are read.
        contrast: everything against everything but images, for example ``fused_vs_text``.
        per_thousand: relevant items more per 1,000 recommendations; None without bounds.
        gates: every gate but G7, which needs the break-even gain.
        repetitions: number of data sets that are judged together, which differ in their split seed or hold out other
            items; ``dataset`` is the first of them.
        folds: whether they hold out other items.
        part: the items that alone have images in what was measured; None where all have.
        promising: where all have, items for which images alone were not measured and look promising, best first.
        planned_at: when the sweep was planned, UTC.
        target: what tuning aimed at and the gain is one of, see :data:`mmbench.data.held_out.TARGETS`; empty for the
            ranking of all items.
        made_up: whether the data are a planted world.
    """

    dataset: str
    metric: str
    models: tuple[str, ...]
    n_users: int
    trials: int
    n: int
    ratio: float | None
    gain: LogGain | None
    level: float
    silent: str
    depends_on_tuning: bool
    variances: Mapping[str, float]
    model: str
    contrast: str
    per_thousand: Interval | None
    gates: tuple[Gate, ...]
    repetitions: int = 1
    folds: bool = False
    part: Part | None = None
    promising: tuple[Promise, ...] = ()
    planned_at: str = ""
    target: str = ""
    made_up: bool = False

    @property
    def of_new_items(self) -> bool:
        """Whether the gain is one of new items, whose share of all recommendations is not known."""
        return self.target in OF_NEW_ITEMS

    @property
    def interval(self) -> Interval | None:
        """The gain with bounds at its level; None where there are none."""
        return None if self.gain is None else self.gain.at(self.level)

    @property
    def mde(self) -> float | None:
        """True gain that is seen in four of five such studies, at the level of the gain; None without bounds."""
        return None if self.gain is None else self.gain.mde(1.0 - self.level)
