"""Verdict words: every combination of tuned gain, dependence on tuning and circumstances, against tables by hand."""

from __future__ import annotations

import itertools
import math

import pytest

from mmbench.inference.gains import NoWord, TunedGain
from mmbench.inference.verdicts import NO_WORD, Verdict, holds, verdict
from tests.gains import tuned

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

#: What the interval of the gain allows: point and half-width of the 95 % interval of its logarithm -> the verdict, then
#: the words that hold too; first where tuning agrees, then where the gain depends on it.
INTERVALS = [
    # name                         point   half    tuning agrees           depends on tuning
    ("clear gain",                  0.050, 0.0300, "better",               "depends on tuning, better"),
    ("gain just of the margin",     0.0201, 0.0150, "better",              "depends on tuning, better"),
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
    ("loss just of the margin",    -0.0201, 0.0150, "worse",               "depends on tuning, worse"),
    ("clear loss",                 -0.050, 0.0300, "worse",                "depends on tuning, worse"),
    ("exactly nothing",             0.000, 0.0000, "equivalent",           "depends on tuning, equivalent"),
]  # fmt: skip
#: What is known besides the gain -> the verdict; None where the interval decides.
CIRCUMSTANCES = [
    # failed      untrusted        wordless    refusal          verdict
    ("it crashed", "splits differ", "one seed", NoWord.WIDE,     "failed"),
    ("it crashed", "splits differ", "one seed", None,            "failed"),
    ("it crashed", "splits differ", "",         None,            "failed"),
    ("it crashed", "",              "one seed", None,            "failed"),
    ("it crashed", "",              "",         NoWord.WIDE,     "failed"),
    ("it crashed", "",              "",         None,            "failed"),
    ("",           "splits differ", "one seed", NoWord.WIDE,     "measurement not trusted"),
    ("",           "splits differ", "one seed", None,            "measurement not trusted"),
    ("",           "splits differ", "",         NoWord.WIDE,     "measurement not trusted"),
    ("",           "splits differ", "",         None,            "measurement not trusted"),
    ("",           "",              "one seed", NoWord.WIDE,     "no word"),
    ("",           "",              "one seed", None,            "no word"),
    *(("",         "",              "",         reason,          "no word") for reason in NoWord),
    ("",           "",              "",         None,            None),
]  # fmt: skip


@pytest.mark.parametrize(("failed", "untrusted", "wordless", "refusal", "word"), CIRCUMSTANCES)
def test_every_combination(
    failed: str, untrusted: str, wordless: str, refusal: NoWord | None, word: str | None
) -> None:
    for (name, point, half, agreeing, depending), depends in itertools.product(INTERVALS, (False, True)):
        measured = tuned(point, half, depends=depends, refusal=refusal)
        judged = verdict(measured, DELTA, failed=failed, untrusted=untrusted, wordless=wordless)
        assert ", ".join([str(judged), *judged.also]) == (word or (agreeing, depending)[depends]), name
        assert judged.reason


def test_words_and_their_order() -> None:
    assert list(Verdict) == PRECEDENCE
    assert f"{Verdict.BETTER_SMALL}" == "better but small"
    assert NO_WORD not in PRECEDENCE


def test_the_first_word_that_holds_is_the_verdict() -> None:
    for _, point, half, _, _ in INTERVALS:
        for depends in (False, True):
            measured = tuned(point, half, depends=depends)
            judged = verdict(measured, DELTA)
            holding = [word for word, true in holds(measured, DELTA).items() if true]
            assert judged.word is not None
            assert sorted([judged.word, *judged.also], key=PRECEDENCE.index) == (
                sorted(holding, key=PRECEDENCE.index) or ["undecided"]
            )


def test_no_two_words_about_a_difference_contradict() -> None:
    for mean, half in itertools.product([x / 1000 for x in range(-60, 61, 4)], [x / 1000 for x in range(1, 60, 3)]):
        held = {word for word, true in holds(tuned(mean, half), DELTA).items() if true}
        assert not held & {Verdict.BETTER, Verdict.BETTER_SMALL} or not held & {Verdict.WORSE, Verdict.WORSE_SMALL}
        assert not {Verdict.BETTER, Verdict.EQUIVALENT} <= held
        assert not {Verdict.WORSE, Verdict.EQUIVALENT} <= held


@pytest.mark.parametrize(
    ("point", "half", "at_first", "at_second"),
    [
        (0.05, 0.045, "better", "undecided"),  # 4.5 % times 2.241/1.960 reaches zero
        (0.05, 0.030, "better", "better"),
        (0.0, 0.0230, "equivalent", "undecided"),  # 2.3 % times 1.645/1.960 is within the margin, times one is not
        (-0.05, 0.045, "worse", "undecided"),
    ],
)
def test_words_of_a_second_look_need_more(point: float, half: float, at_first: str, at_second: str) -> None:
    assert verdict(tuned(point, half), DELTA).word == at_first
    assert verdict(tuned(point, half, level=0.975), DELTA).word == at_second


@pytest.mark.parametrize("reason", NoWord)
def test_a_refusal_is_the_reason(reason: NoWord) -> None:
    judged = verdict(tuned(0.5, 0.01, refusal=reason), DELTA)
    assert (judged.word, judged.reason) == (None, str(reason))


@pytest.mark.parametrize(
    ("measured", "reason"),
    [
        (tuned(0.05, 0.03), "the 95 % interval lies above zero, and the gain reaches the margin of 2 %"),
        (tuned(-0.05, 0.03), "the 95 % interval lies below zero, and the loss reaches the margin of 2 %"),
        (
            tuned(0.01, 0.005),
            "the 95 % interval lies above zero, and the gain does not reach the margin of 2 %; real but negligible",
        ),
        (tuned(-0.01, 0.005), "the 90 % interval lies within the margin of 2 %; real but negligible"),
        (tuned(0.0, 0.01), "the 90 % interval lies within the margin of 2 %"),
        (tuned(0.01, 0.05), "neither a difference nor its absence is shown"),
        (
            tuned(0.05, 0.03, depends=True, after_all=0.12),
            "after all 30 trials the gain is +12.0 %, outside the 95 % interval",
        ),
        (tuned(0.05, 0.03, depends=True), "after 5 trials the 95 % interval lies on the other side of zero"),
        (
            tuned(0.0196, 0.01),
            "the 95 % interval lies above zero, and the gain does not reach the margin of 2 % (gain +1.96 %)",
        ),
        (
            tuned(-0.0204, 0.01),
            "the 95 % interval lies below zero, and the loss reaches the margin of 2 % (gain -2.04 %)",
        ),
        (
            tuned(0.05, 0.03, depends=True, after_all=0.0822),
            "after all 30 trials the gain is +8.22 %, outside the 95 % interval",
        ),
        (
            tuned(0.05, 0.03, depends=True, after_all=math.nan),
            "after all 30 trials a side finds nothing, so there is no gain",
        ),
        (tuned(0.0, 0.001, level=1 - 0.05 / 3), "the 96.7 % interval lies within the margin of 2 %"),
        (tuned(0.05, 0.01, level=0.975), "the 97.5 % interval lies above zero, and the gain reaches the margin of 2 %"),
    ],
)
def test_reasons(measured: TunedGain, reason: str) -> None:
    assert verdict(measured, DELTA).reason == reason


def test_what_cannot_be_judged_is_refused() -> None:
    with pytest.raises(ValueError, match="the equivalence margin must be positive, not 0"):
        verdict(tuned(0.1, 0.01), 0.0)
    with pytest.raises(ValueError, match="there is no gain to judge"):
        verdict(None, DELTA)
    assert verdict(None, DELTA, failed="out of memory").word is Verdict.FAILED
    assert verdict(None, DELTA, wordless="one seed").word is None
    with pytest.raises(ValueError, match="margin must be positive"):
        verdict(tuned(0.1, 0.01), math.nan)
    with pytest.raises(ValueError, match="a gain without bounds cannot be judged"):
        holds(tuned(0.1, 0.01, refusal=NoWord.FEW_USERS), DELTA)
