"""The words a comparison may end in, and the one list that says which of them goes first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from mmbench.inference.intervals import CrossedInterval, Interval

#: Fewer seeds do not measure training noise, and no word about a difference is allowed.
MIN_SEEDS = 2


class Verdict(StrEnum):
    """Every word a comparison may end in; the first that holds is the verdict."""

    FAILED = "failed"
    UNTRUSTED = "measurement not trusted"
    DEPENDS_ON_TUNING = "depends on tuning"
    BETTER = "better"
    BETTER_SMALL = "better but small"
    EQUIVALENT = "equivalent"
    WORSE = "worse"
    WORSE_SMALL = "worse but small"
    UNDECIDED = "undecided"


@dataclass(frozen=True)
class Judgement:
    """A verdict and why.

    Args:
        word: the verdict.
        reason: one sentence for the reader.
        also: words that hold too and come later in the list, ``undecided`` left out.
    """

    word: Verdict
    reason: str
    also: tuple[Verdict, ...] = ()


def verdict(
    gain: CrossedInterval | None, delta: float, *, tuned: Interval | None = None, failed: str = "", untrusted: str = ""
) -> Judgement:
    """Judge a relative gain.

    Args:
        gain: the gain of the chosen configurations with its crossed interval; None only where a cell failed.
        delta: equivalence margin, fixed before the data were seen.
        tuned: 90 % interval of the gain after tuning with all trials; None where trials cannot tell it.
        failed: why one of the two cells has no result.
        untrusted: why the measurement cannot be trusted, for example different splits.

    Raises:
        ValueError: for a margin that is not positive, or without a gain where nothing failed.
    """
    if not delta > 0:
        raise ValueError(f"the equivalence margin must be positive, not {delta}")
    if failed:
        return Judgement(Verdict.FAILED, failed)
    if untrusted:
        return Judgement(Verdict.UNTRUSTED, untrusted)
    if gain is None:
        raise ValueError("there is no gain to judge; say why in failed or untrusted")
    if gain.seeds < MIN_SEEDS:
        return Judgement(Verdict.UNDECIDED, "training noise not measured: one seed")
    holding = holds(gain, delta, tuned)
    words = [word for word in Verdict if holding.get(word, False)]
    first, *also = words or [Verdict.UNDECIDED]
    return Judgement(first, _reason(first, gain, delta, tuned, tuple(also)), tuple(also))


def holds(gain: CrossedInterval, delta: float, tuned: Interval | None) -> Mapping[Verdict, bool]:
    """Which words about a difference hold, each judged alone.

    Better and worse need a 95 % interval beyond zero, and a point beyond the margin unless small; equivalent needs the
    90 % interval within the margins. A gain depends on tuning where the interval of its tuned contrast leaves out the
    chosen configurations' gain; that is always so where the two lie significantly on different sides of
    zero.
    """
    at95, at90 = gain.at(0.95), gain.at(0.90)
    return {
        Verdict.DEPENDS_ON_TUNING: tuned is not None and not tuned.contains(gain.mean),
        Verdict.BETTER: at95.lo > 0 and gain.mean >= delta,
        Verdict.BETTER_SMALL: at95.lo > 0 and gain.mean < delta,
        Verdict.EQUIVALENT: -delta < at90.lo and at90.hi < delta,
        Verdict.WORSE: at95.hi < 0 and gain.mean <= -delta,
        Verdict.WORSE_SMALL: at95.hi < 0 and gain.mean > -delta,
    }


def _reason(
    word: Verdict, gain: CrossedInterval, delta: float, tuned: Interval | None, also: tuple[Verdict, ...]
) -> str:
    interval = gain.at(0.95)
    reason = f"gain {gain.mean:+.1%} [{interval.lo:+.1%}, {interval.hi:+.1%}], margin {delta:.1%}"
    if word is Verdict.DEPENDS_ON_TUNING:
        assert tuned is not None
        return f"{reason}; with other draws of the trials it would lie in [{tuned.lo:+.1%}, {tuned.hi:+.1%}]"
    small = {Verdict.BETTER_SMALL, Verdict.WORSE_SMALL}
    if (word in small and Verdict.EQUIVALENT in also) or (word is Verdict.EQUIVALENT and small & set(also)):
        reason += "; real but negligible"
    if word is Verdict.UNDECIDED:
        reason += "; neither a difference nor its absence is shown"
    return reason if tuned is not None else f"{reason}; the luck of tuning was not checked"
