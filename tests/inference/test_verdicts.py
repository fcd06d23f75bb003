"""Verdict words: every combination of gain, luck of tuning and circumstances, against tables written by hand."""

from __future__ import annotations

import itertools
import math

import pytest

from mmbench.inference.intervals import CrossedInterval, Interval
from mmbench.inference.verdicts import Verdict, holds, verdict

DELTA = 0.02
PRECEDENCE = [
    "failed",
    "measurement not trusted",
    "depends on tuning",
    "better",
    "better but small",
    "equivalent",
    "worse",
    "worse but small",
    "undecided",
]


def gain(mean: float, half95: float, seeds: int = 5) -> CrossedInterval:
    """A gain with many degrees of freedom; the half-width of its 90 % interval is .839 of that of the 95 % one."""
    return CrossedInterval(mean, mean - half95, mean + half95, se=half95 / 1.959964, df=1e9, p=0.0, seeds=seeds)


AGREES, DISAGREES = 0, 1
#: What the interval of the gain allows: point and half-width of the 95 % interval -> the verdict, then the words that
#: hold too; first where other draws of the trials agree with the gain, then where they do not.
INTERVALS = [
    # name                         point   half    tuning agrees           tuning disagrees
    ("clear gain",                  0.050, 0.0300, "better",               "depends on tuning, better"),
    ("gain of the margin",          0.020, 0.0150, "better",               "depends on tuning, better"),
    ("small gain, wide",            0.015, 0.0140, "better but small",     "depends on tuning, better but small"),
    ("small gain, narrow",          0.010, 0.0050, "better but small, equivalent",
                                                            "depends on tuning, better but small, equivalent"),
    ("nothing, narrow",             0.000, 0.0100, "equivalent",           "depends on tuning, equivalent"),
    ("nothing, 90 % fits",          0.000, 0.0235, "equivalent",           "depends on tuning, equivalent"),
    ("nothing, 90 % does not fit",  0.000, 0.0245, "undecided",            "depends on tuning"),
    ("nothing, wide",               0.010, 0.0500, "undecided",            "depends on tuning"),
    ("small loss, narrow",         -0.010, 0.0050, "equivalent, worse but small",
                                                            "depends on tuning, equivalent, worse but small"),
    ("small loss, wide",           -0.015, 0.0140, "worse but small",      "depends on tuning, worse but small"),
    ("loss of the margin",         -0.020, 0.0150, "worse",                "depends on tuning, worse"),
    ("clear loss",                 -0.050, 0.0300, "worse",                "depends on tuning, worse"),
    ("exact gain",                  0.050, 0.0000, "better",               "depends on tuning, better"),
    ("exactly nothing",             0.000, 0.0000, "equivalent",           "depends on tuning, equivalent"),
]  # fmt: skip
#: Intervals of the gain over other draws of the trials, by the point -> whether they agree with it.
TUNED = {
    "not checked": (lambda point: None, AGREES),
    "around the point": (lambda point: Interval(point, point - 0.01, point + 0.01), AGREES),
    "beside the point": (lambda point: Interval(point + 0.02, point + 0.01, point + 0.03), DISAGREES),
    "across zero": (lambda point: Interval(0.0, -0.2, 0.2), AGREES),
}
#: What is known besides the gain -> the verdict; None where the interval decides.
CIRCUMSTANCES = [
    # failed      untrusted        seeds  verdict
    ("it crashed", "splits differ", 5, "failed"),
    ("it crashed", "splits differ", 2, "failed"),
    ("it crashed", "splits differ", 1, "failed"),
    ("it crashed", "",              5, "failed"),
    ("it crashed", "",              2, "failed"),
    ("it crashed", "",              1, "failed"),
    ("",           "splits differ", 5, "measurement not trusted"),
    ("",           "splits differ", 2, "measurement not trusted"),
    ("",           "splits differ", 1, "measurement not trusted"),
    ("",           "",              1, "undecided"),
    ("",           "",              2, None),
    ("",           "",              5, None),
]  # fmt: skip


@pytest.mark.parametrize(("name", "point", "half", "agreeing", "disagreeing"), INTERVALS, ids=[r[0] for r in INTERVALS])
@pytest.mark.parametrize("luck", TUNED)
@pytest.mark.parametrize(("failed", "untrusted", "seeds", "word"), CIRCUMSTANCES)
def test_every_combination(
    name: str,
    point: float,
    half: float,
    agreeing: str,
    disagreeing: str,
    luck: str,
    failed: str,
    untrusted: str,
    seeds: int,
    word: str | None,
) -> None:
    tuned, column = TUNED[luck]
    judged = verdict(gain(point, half, seeds), DELTA, tuned=tuned(point), failed=failed, untrusted=untrusted)
    assert ", ".join([judged.word, *judged.also]) == (word or (agreeing, disagreeing)[column])
    assert judged.reason


def test_words_and_their_order() -> None:
    assert list(Verdict) == PRECEDENCE
    assert f"{Verdict.BETTER_SMALL}" == "better but small"


def test_the_first_word_that_holds_is_the_verdict() -> None:
    for _, point, half, _, _ in INTERVALS:
        for luck, _ in TUNED.values():
            measured, tuned = gain(point, half), luck(point)
            judged = verdict(measured, DELTA, tuned=tuned)
            holding = [word for word, true in holds(measured, DELTA, tuned).items() if true]
            assert sorted([judged.word, *judged.also], key=PRECEDENCE.index) == (
                sorted(holding, key=PRECEDENCE.index) or ["undecided"]
            )


def test_no_two_words_about_a_difference_contradict() -> None:
    for mean, half in itertools.product([x / 1000 for x in range(-60, 61, 4)], [x / 1000 for x in range(0, 60, 3)]):
        held = {word for word, true in holds(gain(mean, half), DELTA, None).items() if true}
        assert not held & {Verdict.BETTER, Verdict.BETTER_SMALL} or not held & {Verdict.WORSE, Verdict.WORSE_SMALL}
        assert not {Verdict.BETTER, Verdict.EQUIVALENT} <= held
        assert not {Verdict.WORSE, Verdict.EQUIVALENT} <= held


def test_opposite_directions_depend_on_tuning() -> None:
    assert verdict(gain(0.05, 0.03), DELTA, tuned=Interval(-0.05, -0.08, -0.02)).word is Verdict.DEPENDS_ON_TUNING
    assert verdict(gain(-0.05, 0.03), DELTA, tuned=Interval(0.05, 0.02, 0.08)).word is Verdict.DEPENDS_ON_TUNING


def test_one_seed_says_why() -> None:
    judged = verdict(gain(0.5, 0.01, seeds=1), DELTA)
    assert (judged.word, judged.reason) == (Verdict.UNDECIDED, "training noise not measured: one seed")


@pytest.mark.parametrize(
    ("measured", "tuned", "ending"),
    [
        (gain(0.05, 0.03), None, "gain +5.0% [+2.0%, +8.0%], margin 2.0%; the luck of tuning was not checked"),
        (gain(0.01, 0.005), Interval(0.01, 0.0, 0.02), "gain +1.0% [+0.5%, +1.5%], margin 2.0%; real but negligible"),
        (gain(-0.01, 0.005), Interval(-0.01, -0.02, 0.0), "margin 2.0%; real but negligible"),
        (gain(0.05, 0.03), Interval(0.01, 0.0, 0.02), "with other draws of the trials it would lie in [+0.0%, +2.0%]"),
        (gain(0.01, 0.05), Interval(0.01, 0.0, 0.02), "neither a difference nor its absence is shown"),
    ],
)
def test_reasons(measured: CrossedInterval, tuned: Interval | None, ending: str) -> None:
    assert verdict(measured, DELTA, tuned=tuned).reason.endswith(ending)


def test_what_cannot_be_judged_is_refused() -> None:
    with pytest.raises(ValueError, match="the equivalence margin must be positive, not 0"):
        verdict(gain(0.1, 0.01), 0.0)
    with pytest.raises(ValueError, match="there is no gain to judge"):
        verdict(None, DELTA)
    assert verdict(None, DELTA, failed="out of memory").word is Verdict.FAILED
    with pytest.raises(ValueError, match="margin must be positive"):
        verdict(gain(0.1, 0.01), math.nan)
