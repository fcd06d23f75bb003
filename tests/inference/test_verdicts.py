"""Verdict words: every combination of what can hold, against a table written by hand."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

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


#: What the intervals alone allow: point, half-width of the 95 % interval, words that hold.
INTERVALS: list[tuple[str, CrossedInterval, list[str]]] = [
    ("clear gain", gain(0.05, 0.03), ["better"]),
    ("gain of the margin", gain(0.02, 0.015), ["better"]),
    ("small gain, wide", gain(0.015, 0.014), ["better but small"]),
    ("small gain, narrow", gain(0.010, 0.005), ["better but small", "equivalent"]),
    ("nothing, narrow", gain(0.000, 0.010), ["equivalent"]),
    ("nothing, 90 % fits", gain(0.000, 0.0235), ["equivalent"]),
    ("nothing, 90 % does not fit", gain(0.000, 0.0245), []),
    ("nothing, wide", gain(0.01, 0.05), []),
    ("small loss, narrow", gain(-0.010, 0.005), ["equivalent", "worse but small"]),
    ("small loss, wide", gain(-0.015, 0.014), ["worse but small"]),
    ("loss of the margin", gain(-0.02, 0.015), ["worse"]),
    ("clear loss", gain(-0.05, 0.03), ["worse"]),
    ("exact gain", gain(0.05, 0.0), ["better"]),
    ("exactly nothing", gain(0.0, 0.0), ["equivalent"]),
]
#: What the luck of tuning says, and whether the verdict depends on it, by where the point is.
TUNED = {
    "not checked": lambda point: (None, False),
    "around the point": lambda point: (Interval(point, point - 0.01, point + 0.01), False),
    "beside the point": lambda point: (Interval(point + 0.02, point + 0.01, point + 0.03), True),
    "across zero": lambda point: (Interval(0.0, -0.2, 0.2), False),
}


@pytest.mark.parametrize(("name", "found", "words"), INTERVALS, ids=[row[0] for row in INTERVALS])
@pytest.mark.parametrize("luck", TUNED)
@pytest.mark.parametrize("failed", ["", "it crashed"])
@pytest.mark.parametrize("untrusted", ["", "splits differ"])
@pytest.mark.parametrize("seeds", [1, 2, 5])
def test_every_combination(
    name: str, found: CrossedInterval, words: list[str], luck: str, failed: str, untrusted: str, seeds: int
) -> None:
    tuned, depends = TUNED[luck](found.mean)
    judged = verdict(replace(found, seeds=seeds), DELTA, tuned=tuned, failed=failed, untrusted=untrusted)
    if failed:
        expected = ["failed"]
    elif untrusted:
        expected = ["measurement not trusted"]
    elif seeds == 1:
        expected = ["undecided"]
    else:
        expected = (["depends on tuning"] if depends else []) + words or ["undecided"]
    assert [judged.word, *judged.also] == expected
    assert judged.reason


def test_words_and_their_order() -> None:
    assert list(Verdict) == PRECEDENCE
    assert f"{Verdict.BETTER_SMALL}" == "better but small"


def test_the_first_word_that_holds_is_the_verdict() -> None:
    for _, found, _ in INTERVALS:
        for luck in TUNED.values():
            tuned, _ = luck(found.mean)
            judged = verdict(found, DELTA, tuned=tuned)
            holding = [word for word, true in holds(found, DELTA, tuned).items() if true]
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
    found = gain(0.05, 0.03)
    assert verdict(found, DELTA, tuned=Interval(-0.05, -0.08, -0.02)).word is Verdict.DEPENDS_ON_TUNING
    assert verdict(gain(-0.05, 0.03), DELTA, tuned=Interval(0.05, 0.02, 0.08)).word is Verdict.DEPENDS_ON_TUNING


def test_one_seed_says_why() -> None:
    judged = verdict(gain(0.5, 0.01, seeds=1), DELTA)
    assert (judged.word, judged.reason) == (Verdict.UNDECIDED, "training noise not measured: one seed")


@pytest.mark.parametrize(
    ("found", "tuned", "said"),
    [
        (gain(0.05, 0.03), None, "gain +5.0% [+2.0%, +8.0%], margin 2.0%; the luck of tuning was not checked"),
        (gain(0.01, 0.005), Interval(0.01, 0.0, 0.02), "gain +1.0% [+0.5%, +1.5%], margin 2.0%; real but negligible"),
        (gain(-0.01, 0.005), Interval(-0.01, -0.02, 0.0), "margin 2.0%; real but negligible"),
        (gain(0.05, 0.03), Interval(0.01, 0.0, 0.02), "with other draws of the trials it would lie in [+0.0%, +2.0%]"),
        (gain(0.01, 0.05), Interval(0.01, 0.0, 0.02), "neither a difference nor its absence is shown"),
    ],
)
def test_reasons(found: CrossedInterval, tuned: Interval | None, said: str) -> None:
    assert verdict(found, DELTA, tuned=tuned).reason.endswith(said)


def test_what_cannot_be_judged_is_refused() -> None:
    with pytest.raises(ValueError, match="the equivalence margin must be positive, not 0"):
        verdict(gain(0.1, 0.01), 0.0)
    with pytest.raises(ValueError, match="there is no gain to judge"):
        verdict(None, DELTA)
    assert verdict(None, DELTA, failed="out of memory").word is Verdict.FAILED
    with pytest.raises(ValueError, match="margin must be positive"):
        verdict(gain(0.1, 0.01), math.nan)
