"""The words a tuned gain may end in, and the one list that says which of them goes first."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from mmbench.inference.gains import REFUSALS, Gain, early_trials
from mmbench.inference.intervals import LogGain
from mmbench.messages import Message, Template, digits_apart, level_name, points

#: With fewer final seeds training noise is not measured, with fewer trials tuning is not: no word about a difference.
MIN_SEEDS, MIN_TRIALS = 2, 8
#: Largest weight of badly trained trials on a side, and largest share of failed ones, of a measurement to be trusted.
UNTRAINED_WEIGHT, FAILED_SHARE = 0.10, 1 / 3


class Verdict(StrEnum):
    """Every word a tuned gain may end in; the first that holds is the verdict."""

    FAILED = "failed"
    UNTRUSTED = "measurement not trusted"
    DEPENDS_ON_TUNING = "depends on tuning"
    BETTER = "better"
    BETTER_SMALL = "better but small"
    EQUIVALENT = "equivalent"
    WORSE = "worse"
    WORSE_SMALL = "worse but small"
    UNDECIDED = "undecided"


#: What stands where no word is allowed.
NO_WORD = Message("no word")
#: Every word for the reader, and what stands where none is allowed.
WORDS: Mapping[Verdict | None, Message] = {
    Verdict.FAILED: Message("failed"),
    Verdict.UNTRUSTED: Message("measurement not trusted"),
    Verdict.DEPENDS_ON_TUNING: Message("depends on tuning"),
    Verdict.BETTER: Message("better"),
    Verdict.BETTER_SMALL: Message("better but small"),
    Verdict.EQUIVALENT: Message("equivalent"),
    Verdict.WORSE: Message("worse"),
    Verdict.WORSE_SMALL: Message("worse but small"),
    Verdict.UNDECIDED: Message("undecided"),
    None: NO_WORD,
}


@dataclass(frozen=True)
class Judgement:
    """A verdict and why.

    Args:
        word: the verdict; None where no word is allowed.
        reason: why, in a clause for the reader.
        also: words that hold too and come later in the list, ``undecided`` left out.
    """

    word: Verdict | None
    reason: str
    also: tuple[Verdict, ...] = ()

    @property
    def said(self) -> Message:
        """The word for the reader."""
        return WORDS[self.word]

    def __str__(self) -> str:
        return str(self.said)


def verdict(
    tuned: Gain | None, delta: float, *, failed: str = "", untrusted: str = "", wordless: str = ""
) -> Judgement:
    """Judge a tuned gain, at the level of its bounds.

    Args:
        tuned: the gain; None only where something else decides.
        delta: equivalence margin, fixed before the data were seen.
        failed: why one of the two sides has no result.
        untrusted: why the measurement cannot be trusted, for example different splits.
        wordless: why no word is allowed, for example one seed.

    Raises:
        ValueError: for a margin that is not positive, or without a gain where nothing else decides.
    """
    if not delta > 0:
        raise ValueError(f"the equivalence margin must be positive, not {delta}")
    if failed:
        return Judgement(Verdict.FAILED, failed)
    if untrusted:
        return Judgement(Verdict.UNTRUSTED, untrusted)
    if wordless:
        return Judgement(None, wordless)
    if tuned is None:
        raise ValueError("there is no gain to judge; say why in failed, untrusted or wordless")
    if tuned.refusal is not None:
        return Judgement(None, REFUSALS[tuned.refusal])
    holding = holds(tuned, delta)
    words = [word for word in Verdict if holding.get(word, False)]
    first, *also = words or [Verdict.UNDECIDED]
    return Judgement(first, _reason(first, tuned, delta, tuple(also)), tuple(also))


def holds(tuned: Gain, delta: float) -> dict[Verdict, bool]:
    r"""Which words about a difference hold, each judged alone.

    Better and worse need an interval beyond zero at the level of the gain, :math:`1 - \alpha`, and a point beyond the
    margin unless small; equivalent needs the interval at level :math:`1 - 2 \alpha` within the margins.

    Raises:
        ValueError: for a gain without bounds.
    """
    if tuned.log_gain is None:
        raise ValueError(f"a gain without bounds cannot be judged: {tuned.refusal}")
    return {Verdict.DEPENDS_ON_TUNING: tuned.depends_on_tuning} | shown(tuned.log_gain, delta, tuned.level)


def shown(gain: LogGain, delta: float, level: float = 0.95) -> dict[Verdict, bool]:
    """Which words hold that depend on nothing but the gain and its bounds, see :func:`holds`."""
    difference, equivalence = gain.at(level), gain.at(equivalence_level(level))
    return {
        Verdict.BETTER: difference.lo > 0 and gain.gain >= delta,
        Verdict.BETTER_SMALL: difference.lo > 0 and gain.gain < delta,
        Verdict.EQUIVALENT: -delta < equivalence.lo and equivalence.hi < delta,
        Verdict.WORSE: difference.hi < 0 and gain.gain <= -delta,
        Verdict.WORSE_SMALL: difference.hi < 0 and gain.gain > -delta,
    }


def equivalence_level(level: float) -> float:
    r"""Coverage of the interval that two one-sided tests look at, :math:`1 - 2 \alpha`.

    >>> round(equivalence_level(0.95), 12)
    0.9
    """
    return 2.0 * level - 1.0


def _reason(word: Verdict, tuned: Gain, delta: float, also: tuple[Verdict, ...]) -> Message:
    interval = tuned.interval
    assert interval is not None
    level, margin = level_name(tuned.level), f"{100 * delta:g}"
    if word is Verdict.DEPENDS_ON_TUNING:
        after_all = float(tuned.curve.mean[-1])
        if math.isnan(after_all):
            return Message("after all {trials} trials a side finds nothing, so there is no gain", trials=tuned.trials)
        if not interval.contains(after_all):
            bound = interval.lo if after_all < interval.lo else interval.hi
            return Message(
                "after all {trials} trials the gain is {gain} %, outside the {level} % interval",
                trials=tuned.trials,
                gain=points(after_all, digits_apart(after_all, bound, 1, 100)),
                level=level,
            )
        return Message(
            "after {trials} trials the {level} % interval lies on the other side of zero",
            trials=early_trials(tuned.trials),
            level=level,
        )
    if word is Verdict.UNDECIDED:
        return Message("neither a difference nor its absence is shown")
    if word is Verdict.EQUIVALENT:
        level = level_name(equivalence_level(tuned.level))
    reason = Message(_REASONS[word], level=level, margin=margin)
    if word is not Verdict.EQUIVALENT and (digits := digits_apart(abs(tuned.gain), delta, 1, 100)) > 1:
        reason = Message("{reason} (gain {gain} %)", reason=reason, gain=points(tuned.gain, digits))
    small = {Verdict.BETTER_SMALL, Verdict.WORSE_SMALL}
    negligible = (word in small and Verdict.EQUIVALENT in also) or (word is Verdict.EQUIVALENT and small & set(also))
    return Message("{reason}; real but negligible", reason=reason) if negligible else reason


_REASONS = {
    Verdict.BETTER: Template("the {level} % interval lies above zero, and the gain reaches the margin of {margin} %"),
    Verdict.BETTER_SMALL: Template(
        "the {level} % interval lies above zero, and the gain does not reach the margin of {margin} %"
    ),
    Verdict.EQUIVALENT: Template("the {level} % interval lies within the margin of {margin} %"),
    Verdict.WORSE: Template("the {level} % interval lies below zero, and the loss reaches the margin of {margin} %"),
    Verdict.WORSE_SMALL: Template(
        "the {level} % interval lies below zero, and the loss does not reach the margin of {margin} %"
    ),
}
