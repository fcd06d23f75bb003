"""Every answer and every gate, on evidence and economics that are written down."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import special

from mmbench.decision import (
    Action,
    Evidence,
    Gate,
    Status,
    as_record,
    decide,
    decide_first,
    read_economics,
    replay,
)
from mmbench.decision.assumptions import Given, when_given
from mmbench.decision.economics import Range, Source, costs, with_counts
from mmbench.decision.evidence import GATES, Part, Promise
from mmbench.decision.formulas import evpi, evsi, preposterior_sd
from mmbench.decision.gates import better_than_shuffled
from mmbench.decision.openings import Key, Opening, Unclear, openings
from mmbench.decision.page.speaker import Speaker
from mmbench.decision.record import decided as decided_from
from mmbench.decision.record import holds
from mmbench.decision.rule import RULE_VERSION, Confidence, Why, confidence
from mmbench.decision.steps import FEW_TRIALS, FINISH, ONE_SEED, SILENT, WAITING
from mmbench.decision.value import (
    DRAWS,
    breakeven,
    central,
    draw,
    flips,
    likely_npv,
    of_part,
    tornado,
    triangular,
    uniforms,
)
from mmbench.inference.gains import WIDEST, NoWord
from mmbench.inference.intervals import Interval, LogGain
from mmbench.inference.verdicts import MIN_SEEDS, MIN_TRIALS
from tests.decision.cases import (
    BREAKEVEN,
    BREAKEVEN_OF_PART,
    OWN,
    PART,
    assuming,
    default_file,
    economics,
    evidence,
    in_part,
    log_gain,
    promising,
    without_gain,
)
from tests.inference.test_intervals import exceeding
from tests.test_decision import evpi_normal

FAIL, UNKNOWN, PASS = Status.FAIL, Status.UNKNOWN, Status.PASS


def too_wide(**variances: float) -> Evidence:
    return replace(without_gain(evidence(0.0), NoWord.WIDE), variances=variances)


def with_gate(measured: Evidence, gate: Gate) -> Evidence:
    return replace(measured, gates=(*(g for g in measured.gates if g.name != gate.name), gate))


#: What was measured, the answer, why it is HOLD, what bars it, the next step.
CASES = {
    "large gain": (evidence(0.25), Action.GO, Why.NONE, "", "roll_out"),
    "large gain, no second encoder": (evidence(0.25, G6=FAIL, G8=FAIL), Action.GO, Why.NONE, "", "roll_out"),
    "no gain": (evidence(0.0, 0.027), Action.NO_GO, Why.NONE, "", "wait"),
    "no gain, images carry no signal of their own": (evidence(0.0, 0.027, G3=FAIL), Action.NO_GO, Why.NONE, "", "wait"),
    "images harm": (evidence(-0.1), Action.NO_GO, Why.MONEY, "", "wait"),
    "no gain that could pay": (evidence(0.0), Action.NO_GO, Why.MONEY, "", "wait"),
    "no gain that could pay, whatever the other gates": (
        evidence(0.0, G2=FAIL, G3=UNKNOWN, G5=FAIL, G6=FAIL, G8=FAIL, G9=UNKNOWN), Action.NO_GO, Why.MONEY, "", "wait"),
    "no gain that could pay, but unequal effort": (
        evidence(0.0, G1=FAIL, G6=FAIL), Action.HOLD, Why.UNTRUSTED, "G1", "repair"),
    "no gain without range, as images were never chosen": (evidence(0.0, 0.0), Action.NO_GO, Why.NONE, "", "wait"),
    "no gain without range is no reason to skip the other gates": (
        evidence(0.0, 0.0, G6=FAIL), Action.HOLD, Why.BARRED_NO_GO, "G6", "encoder"),
    "gain at break-even": (evidence(BREAKEVEN), Action.HOLD, Why.UNCLEAR, "", "users"),
    "wide interval": (evidence(0.05, se=0.06), Action.HOLD, Why.UNCLEAR, "", "users"),
    "hardly likely to pay, and the upper bound is above break-even": (
        evidence(0.035, 0.0265), Action.HOLD, Why.UNCLEAR, "", "nothing"),
    "no gain, but too few users to see one": (evidence(0.0, 0.035), Action.HOLD, Why.BARRED_NO_GO, "G7", "users"),
    "G1: unequal effort": (evidence(0.25, G1=FAIL), Action.HOLD, Why.UNTRUSTED, "G1", "repair"),
    "G2: no simple baseline": (evidence(0.25, G2=FAIL), Action.HOLD, Why.UNTRUSTED, "G2", "baseline"),
    "G3: shuffled images do as well": (evidence(0.25, G3=FAIL), Action.HOLD, Why.BARRED_GO, "G3", "users"),
    "G3: no control was run": (evidence(0.25, G3=UNKNOWN), Action.HOLD, Why.UNTRUSTED, "G3", "control"),
    "G4: coverage breaks": (evidence(0.25, G4=FAIL), Action.HOLD, Why.BARRED_GO, "G4", "model"),
    "G4: more users and runs would show it": (
        with_gate(evidence(0.25), Gate("G4", UNKNOWN, 2.6)), Action.HOLD, Why.BARRED_GO, "G4", "users"),
    "G4: no guard-rail is needed to leave it": (evidence(0.0, 0.027, G4=FAIL), Action.NO_GO, Why.NONE, "", "wait"),
    "G5: few items have images": (evidence(0.0, 0.027, G5=FAIL), Action.HOLD, Why.UNTRUSTED, "G5", "images"),
    "G5: nobody could count": (evidence(0.25, G5=UNKNOWN), Action.HOLD, Why.UNTRUSTED, "G5", "repair"),
    "G5: the data cannot be read": (
        with_gate(evidence(0.25), Gate("G5", UNKNOWN, unread=True)), Action.HOLD, Why.UNTRUSTED, "G5", "data"),
    "G4: the data cannot be read": (
        with_gate(evidence(0.25), Gate("G4", UNKNOWN, unread=True)), Action.HOLD, Why.BARRED_GO, "G4", "data"),
    "G8: the data cannot be read": (
        with_gate(evidence(0.0, 0.027), Gate("G8", UNKNOWN, unread=True)),
        Action.HOLD, Why.BARRED_NO_GO, "G8", "data"),
    "G6: one encoder": (evidence(0.0, 0.027, G6=FAIL), Action.HOLD, Why.BARRED_NO_GO, "G6", "encoder"),
    "G6: nobody knows which": (evidence(0.0, 0.027, G6=UNKNOWN), Action.HOLD, Why.BARRED_NO_GO, "G6", "encoder"),
    "G6: one encoder, too few users, the encoder comes first": (
        evidence(0.0, 0.035, G6=FAIL), Action.HOLD, Why.BARRED_NO_GO, "G6 G7", "encoder"),
    "G6: one encoder is not why the data do not tell": (
        evidence(BREAKEVEN, G6=FAIL), Action.HOLD, Why.UNCLEAR, "", "users"),
    "G8: unused signal": (evidence(0.0, 0.027, G8=FAIL, G6=FAIL), Action.HOLD, Why.BARRED_NO_GO, "G6 G8", "ensemble"),
    "G9: other numbers of trials say something else": (
        evidence(0.25, G9=FAIL), Action.HOLD, Why.UNTRUSTED, "G9", "trials"),
    "G9: the chosen configurations were not compared": (
        evidence(0.0, 0.027, G9=UNKNOWN), Action.HOLD, Why.UNTRUSTED, "G9", "seeds"),
    "G9: the chosen configurations are worse": (
        with_gate(evidence(0.25), Gate("G9", FAIL, -0.1)), Action.HOLD, Why.BARRED_GO, "G9", "trials"),
    "G9: the chosen configurations are worse, which is no reason for images": (
        with_gate(evidence(0.01, 0.02), Gate("G9", FAIL, -0.1)), Action.NO_GO, Why.NONE, "", "wait"),
    "G9: the chosen configurations are better": (
        with_gate(evidence(-0.01, 0.027), Gate("G9", FAIL, 0.1)), Action.HOLD, Why.BARRED_NO_GO, "G9", "trials"),
    "several gates: the first is mended first": (
        evidence(0.25, G9=FAIL, G2=FAIL, G3=FAIL), Action.HOLD, Why.UNTRUSTED, "G2 G9", "baseline"),
    "one seed": (evidence(0.25, silent=ONE_SEED), Action.HOLD, Why.SILENT, "", "seeds"),
    "one seed, so nothing was compared": (
        with_gate(evidence(0.25, silent=ONE_SEED), Gate("G9", UNKNOWN, 1, 2)), Action.HOLD, Why.SILENT, "G9", "seeds"),
    "one seed and few images: nothing is bought before anything is known": (
        evidence(0.25, silent=ONE_SEED, G5=FAIL, G9=UNKNOWN), Action.HOLD, Why.SILENT, "G5 G9", "seeds"),
    "one seed and unequal effort": (
        evidence(0.25, silent=ONE_SEED, G1=FAIL, G9=UNKNOWN), Action.HOLD, Why.SILENT, "G1 G9", "repair"),
    "planned splits have not run": (without_gain(evidence(0.0), WAITING), Action.HOLD, Why.SILENT, "", FINISH),
    "planned splits have not run, and unequal effort": (
        without_gain(evidence(0.0, G1=FAIL), WAITING), Action.HOLD, Why.SILENT, "G1", "repair"),
    "few trials": (evidence(0.0, silent=FEW_TRIALS), Action.HOLD, Why.SILENT, "", "trials"),
    "few trials, so nothing was compared": (
        evidence(0.0, silent=NoWord.FEW_TRIALS, G9=UNKNOWN), Action.HOLD, Why.SILENT, "G9", "trials"),
    "few users": (without_gain(evidence(0.0), NoWord.FEW_USERS), Action.HOLD, Why.SILENT, "", "users"),
    "too wide by users": (without_gain(evidence(0.0), NoWord.WIDE), Action.HOLD, Why.SILENT, "", "users"),
    "too wide by trials": (too_wide(trials=0.6, users=0.3, seed=0.1), Action.HOLD, Why.SILENT, "", "trials"),
    "too wide by training noise": (too_wide(trials=0.3, users=0.3, seed=0.4), Action.HOLD, Why.SILENT, "", "seeds"),
    "too wide by splits, which no step adds": (
        too_wide(trials=0.2, users=0.2, splits=0.6), Action.HOLD, Why.SILENT, "", "users"),
    "too wide, and a record of before does not say by what": (
        replace(too_wide(), variances={}), Action.HOLD, Why.SILENT, "", "users"),
    "no control at all": (
        without_gain(evidence(0.0, G3=UNKNOWN), NoWord.MORE_SEARCH), Action.HOLD, Why.SILENT, "G3", "control"),
    "a gain of new items": (replace(evidence(0.25), target="cold"), Action.HOLD, Why.SILENT, "", "all_items"),
    "a gain of new items, no simple baseline": (
        replace(evidence(0.25, G2=FAIL), target="harmonic"), Action.HOLD, Why.SILENT, "", "all_items"),
    "a part of the items, measured alone": (in_part(evidence(0.1)), Action.PARTIAL, Why.NONE, "", "roll_out"),
    "a part of the items that does not pay": (in_part(evidence(0.06)), Action.HOLD, Why.UNCLEAR, "", "users"),
    "a part of the items without whose guard-rails it is no GO": (
        in_part(evidence(0.1, G4=FAIL)), Action.HOLD, Why.BARRED_GO, "G4", "model"),
    "unclear, and a part promises to pay": (
        promising(evidence(0.05, 0.06)), Action.HOLD, Why.PROMISING, "", "partial"),
    "small, and a part promises to pay": (
        promising(evidence(0.0, 0.027)), Action.HOLD, Why.PROMISING, "", "partial"),
    "small but for one encoder, and a part promises to pay": (
        promising(evidence(0.0, 0.027, G6=FAIL)), Action.HOLD, Why.PROMISING, "G6", "partial"),
    "whatever is best leaves images out, and a part of another configuration gained": (
        promising(evidence(0.0, 0.0)), Action.NO_GO, Why.NONE, "", "wait"),
    "a gain without a range, and a part promises to pay": (
        promising(evidence(0.05, 0.0)), Action.HOLD, Why.PROMISING, "", "partial"),
    "a part promises less than it costs": (
        promising(evidence(0.0, 0.027), 0.03), Action.NO_GO, Why.NONE, "", "wait"),
    "no gain that could pay, whatever a part promises": (
        promising(evidence(0.0)), Action.NO_GO, Why.MONEY, "", "wait"),
    "a measurement that is not trusted promises nothing": (
        promising(evidence(0.05, 0.06, G1=FAIL)), Action.HOLD, Why.UNTRUSTED, "G1", "repair"),
    "no gain was measured": (without_gain(evidence(0.0, G1=FAIL)), Action.HOLD, Why.UNTRUSTED, "G1", "repair"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_answer(name: str) -> None:
    measured, action, why, barred, step = CASES[name]
    decided = decide(measured, economics())
    assert (decided.action, decided.why, decided.step.name) == (action, why, step)
    if barred:
        assert " ".join(gate.name for gate in decided.barred) == barred
    assert [gate.name for gate in decided.gates] == [f"G{i}" for i in range(1, 10)]
    if decided.why in (Why.UNTRUSTED, Why.SILENT):
        # Nothing is said about the gain, whatever it was measured to be.
        assert (decided.probability, decided.confidence) == (None, Confidence.UNCLEAR)


@pytest.mark.parametrize("name", CASES)
def test_replaying_the_record_gives_the_same_answer(name: str) -> None:
    measured, setting = CASES[name][0], economics()
    decided = decide(measured, setting)
    record = json.loads(json.dumps(as_record(measured, setting, decided), allow_nan=False))
    assert replay(record) == decided


@pytest.mark.parametrize("name", CASES)
def test_every_number_of_a_record_is_computed_again(name: str) -> None:
    measured, setting = CASES[name][0], economics()
    decided = decide(measured, setting)
    record = json.loads(json.dumps(as_record(measured, setting, decided)))
    assert holds(record)
    result = record["result"]
    for key in ("probability", "npv_mean", "evpi", "breakeven", "gain_95", "npv_quantiles", "flip"):
        kept = result[key]
        if kept is not None:
            parts: list[float | None] = list(kept.values()) if isinstance(kept, dict) else np.ravel(kept).tolist()
            number = next(part for part in parts if part is not None)
            text = json.dumps(kept)
            result[key] = json.loads(text.replace(json.dumps(number), json.dumps(number * (1 + 1e-9))))
            assert holds(record), "another machine rounds in another way"
            result[key] = json.loads(text.replace(json.dumps(number), json.dumps(1.01 * number + 0.01)))
            assert not holds(record), key
        result[key] = kept
    del result["action"]
    assert not holds(record)


TAMPERED: tuple[tuple[str, tuple[str | int, ...], object], ...] = (
    ("wide interval", ("gates", 0, "status"), "fail"),
    ("wide interval", ("gates", 6, "value"), 0.01),
    ("wide interval", ("gates", 6, "limit"), 0.5),
    ("wide interval", ("steps", 0, "evsi"), 9e9),
    ("wide interval", ("steps", 1, "cost"), 1.0),
    ("wide interval", ("next_step", "cost"), 1.0),
    ("wide interval", ("next_step", "name"), "roll_out"),
    ("wide interval", ("opens", 0, "amount"), 3000.0),
    ("wide interval", ("opens", 0, "key"), "trials"),
    ("wide interval", ("gates",), []),
    ("G3: no control was run", ("gates", 2, "status"), "pass"),
    ("G3: no control was run", ("next_step", "command"), "rm"),
    ("unclear, and a part promises to pay", ("promise", "gain"), 0.2),
    ("unclear, and a part promises to pay", ("promise", "part", "items"), 3),
    ("unclear, and a part promises to pay", ("promise", "command"), "rm"),
)


@pytest.mark.parametrize(("name", "path", "value"), TAMPERED)
def test_no_gate_step_or_opening_of_a_record_can_be_altered(
    name: str, path: tuple[str | int, ...], value: object
) -> None:
    measured, setting = CASES[name][0], economics()
    record = json.loads(json.dumps(as_record(measured, setting, decide(measured, setting))))
    assert holds(record)
    *way, last = path
    part = record["result"]
    for key in way:
        part = part[key]
    assert part[last] != value
    part[last] = value
    assert not holds(record)


def test_a_record_may_word_its_gates_and_steps_in_another_way() -> None:
    measured, setting = evidence(0.25, G5=UNKNOWN), economics()
    record = json.loads(json.dumps(as_record(measured, setting, decide(measured, setting))))
    for part in (*record["result"]["gates"], record["result"]["next_step"]):
        part["why"] += " in other words"
    assert holds(record)
    record["result"]["why"] = "in other words"
    assert not holds(record)


@pytest.mark.parametrize("name", CASES)
def test_a_record_tells_no_sum_where_the_page_tells_none(name: str) -> None:
    measured, setting = CASES[name][0], economics()
    decided = decide(measured, setting)
    result = as_record(measured, setting, decided)["result"]
    assert result["probability"] == decided.probability
    if not decided.trusted:
        sums = ("probability", "npv_mean", "npv_sd", "npv_quantiles", "evpi", "flip")
        assert [result[key] for key in sums] == [None] * len(sums)
        assert result["tornado"] == []
        assert result["word"] is None
        assert {step["evsi"] for step in (*result["steps"], result["next_step"])} == {None}


@pytest.mark.parametrize(
    ("probability", "said"),
    [(0.7976, "79.8"), (0.8, "80"), (0.9462, "94.6"), (0.2006, "20.1"), (0.2, "20"), (0.9999, "more than 99")],
)
def test_a_number_of_cases_lies_on_its_side_of_what_the_rule_asks(probability: float, said: str) -> None:
    measured, setting = CASES["large gain"][0], economics()
    decided = decide(measured, setting)
    assert decided.value is not None
    assert (setting.go, setting.no_go) == (0.8, 0.2)
    value = replace(decided.value, probability=probability)
    speaker = Speaker.of("en", measured, setting, replace(decided, value=value))
    assert f"in {said} of 100" in speaker.sure()


@pytest.mark.parametrize("name", CASES)
def test_a_later_look_changes_the_word_and_the_range_and_no_answer(name: str) -> None:
    """GO, G3, G7 and NO-GO take no account of looks, so that records of before hold."""
    first, setting = CASES[name][0], economics()
    later = replace(first, level=0.975)
    one, two = decide(first, setting), decide(later, setting)
    assert (two.action, two.why, two.barred, two.value) == (one.action, one.why, one.barred, one.value)
    record = json.loads(json.dumps(as_record(later, setting, two), allow_nan=False))
    assert holds(record)
    assert record["inputs"]["evidence"]["level"] == record["result"]["level"] == 0.975
    if first.gain is not None:
        assert first.interval == first.gain.at(0.95)
        assert later.interval == first.gain.at(0.975)
        assert later.mde == pytest.approx(first.gain.mde(0.025))
        assert record["result"]["gain_range"] == [later.interval.lo, later.interval.hi]
        assert record["result"]["gain_95"] == [first.interval.lo, first.interval.hi]
        assert record["result"]["detectable"] == later.mde


@pytest.mark.parametrize("level", [0.95, 0.975])
def test_relevant_items_keep_their_level_in_a_record(level: float) -> None:
    """Three numbers at 95 %, as records of before have them at every look."""
    measured = replace(evidence(0.25), level=0.975, per_thousand=Interval(1.2, 0.4, 2.0, level))
    record = json.loads(json.dumps(as_record(measured, economics(), decide(measured, economics()))))
    kept = record["inputs"]["evidence"]["per_thousand"]
    assert kept == [1.2, 0.4, 2.0, *([] if level == 0.95 else [level])]
    assert holds(record)
    assert decided_from(record)[0].per_thousand == measured.per_thousand


def test_no_go_takes_an_upper_bound_below_break_even_too() -> None:
    measured, setting = CASES["hardly likely to pay, and the upper bound is above break-even"][0], economics()
    decided = decide(measured, setting)
    assert decided.value is not None
    assert decided.value.probability <= setting.no_go
    assert {gate.status for gate in decided.gates} == {PASS}
    assert measured.gain is not None
    assert measured.gain.gain < BREAKEVEN < measured.gain.at(0.95).hi
    assert decided.action is Action.HOLD


def test_go_takes_a_value_above_zero_in_the_mean_too() -> None:
    """Most draws pay a little, and those with a costly start lose much."""
    engineering = {"low": 0.0, "likely": 0.0, "high": 600_000.0}
    setting = economics(go=0.51, transfer=0.5, cost={**OWN["cost"], "engineering_once": engineering})
    measured = evidence(272 / 1500, 0.0005)
    decided = decide(measured, setting)
    assert decided.value is not None
    assert decided.value.probability > setting.go
    assert decided.value.mean < 0
    assert {gate.status for gate in decided.gates} == {PASS}
    assert decided.action is Action.HOLD


def test_the_cases_are_complete() -> None:
    assert {case[1] for case in CASES.values()} == set(Action)
    assert {case[2] for case in CASES.values()} == set(Why)
    barring = {name for case in CASES.values() for name in case[3].split()}
    assert barring == set(GATES)
    assert set(SILENT.values()) <= {*economics().steps, FINISH}


def test_a_record_of_something_else_is_refused() -> None:
    record = as_record(evidence(0.1), economics(), decide(evidence(0.1), economics()))
    with pytest.raises(ValueError, match="no decision record: kind is table"):
        replay({**record, "kind": "table"})
    with pytest.raises(ValueError, match=f"made by rule 0; this mmbench has rule {RULE_VERSION}"):
        replay({**record, "rule": 0})
    with pytest.raises(ValueError, match="inputs of the decision record cannot be read"):
        replay({**record, "inputs": {}})
    with pytest.raises(ValueError, match="G0 is no gate"):
        decide(replace(evidence(0.1), gates=(Gate("G0", PASS),)), economics())


def test_gates_that_nobody_looked_at_are_not_known() -> None:
    decided = decide(replace(evidence(0.25), gates=()), economics())
    assert decided.action is Action.HOLD
    assert {gate.status for gate in decided.gates if gate.name != "G7"} == {UNKNOWN}


# Value


def test_value_by_hand() -> None:
    # 0.2 x 0.5 x 1,000,000 x 3 - 60,000 - 20,000 x 3
    assert likely_npv(economics(), 0.2) == pytest.approx(180_000)
    assert decide(evidence(0.2), economics()).breakeven == pytest.approx(BREAKEVEN)
    value = draw(economics(), log_gain(0.2, 0.0)).value()
    assert value.mean == pytest.approx(180_000, rel=0.01)
    # Only the transfer varies: sd of a symmetric triangular of half-width .2 is .2 / sqrt(6).
    assert value.sd == pytest.approx(0.2 / np.sqrt(6) * 600_000, rel=0.02)
    assert value.probability == 1.0
    assert value.evpi == pytest.approx(0.0)


def test_probability_of_paying_is_that_of_the_gain_beyond_break_even() -> None:
    certain = economics(transfer=0.5)
    value = draw(certain, log_gain(0.09, 0.01)).value()
    exact = exceeding(log_gain(0.09, 0.01), BREAKEVEN)  # about one standard error above it
    assert value.probability == pytest.approx(exact, abs=0.01)
    assert value.sd == pytest.approx(0.01 * 0.5 * 1e6 * 3, rel=0.02)
    # E max(NPV, 0) - max(E NPV, 0) of a normal value
    assert value.evpi == pytest.approx(15_000 * 0.0833, rel=0.1)


def test_the_break_even_gain_is_drawn_too() -> None:
    # Break-even is .04 / transfer, triangular over .3, .5, .7: the gain exceeds it in the mean of its chances.
    gain = LogGain(np.log(1.1), 0.05, 6.0)
    transfer = np.random.default_rng(5).triangular(0.3, 0.5, 0.7, 4000)
    exact = np.mean([exceeding(gain, 0.04 / eta) for eta in transfer])
    assert draw(economics(), gain).value().probability == pytest.approx(exact, abs=0.01)


def test_a_gain_with_one_degree_of_freedom_has_a_value() -> None:
    # exp(t) with one degree of freedom has no mean: its average over draws is whatever the largest draw was.
    gain = LogGain(np.log(1.1), 0.05, 1.0)
    drawn = gain.draws(np.random.default_rng(0), 100_000)
    assert drawn.max() > 1e6
    kept = central(gain, drawn)
    assert kept.max() == pytest.approx(1.1 * np.exp(WIDEST) - 1)
    assert kept.min() == pytest.approx(1.1 * np.exp(-WIDEST) - 1)
    value = draw(economics(), gain).value()
    assert value.mean == pytest.approx(float(kept.mean()) * 0.5 * 3e6 - 120_000, rel=0.05)
    assert (value.probability > 0.5, np.isfinite(value.evpi)) == (True, True)
    # With many degrees of freedom its 99.9 % bounds are narrower than a factor of two.
    narrow = LogGain(np.log(1.1), 0.05, 1000.0)
    assert central(narrow, drawn).max() == pytest.approx(narrow.at(0.999).hi)


def test_where_it_turns() -> None:
    flip = flips(economics(), 0.2)
    assert flip.gain == pytest.approx(BREAKEVEN)
    assert flip.transfer == pytest.approx(0.2)
    # 13,000 images in three years eat up 180,000.
    assert flip.image_price is not None
    assert flip.image_price == pytest.approx(2.0 + 180_000 / 13_000)
    assert likely_npv(economics(), 0.2, changed={"cost.image": flip.image_price}) == pytest.approx(0.0, abs=1e-6)
    assert likely_npv(economics(), 0.2, changed={"transfer": 0.2}) == pytest.approx(0.0, abs=1e-6)
    assert flip.payback == pytest.approx(60_000 / (100_000 - 20_000))
    none = flips(economics(), -0.1)
    assert (none.transfer, none.payback) == (None, None)
    assert none.image_price is not None
    assert none.image_price < 0
    owned = economics(items={"stock": 10_000, "new_year": 0, "with_images": 1.0, "target": 1.0})
    assert flips(owned, 0.2).image_price is None


def test_images_of_later_years_are_discounted_where_their_price_turns_it() -> None:
    setting = economics(discount=0.1)
    price = flips(setting, 0.2).image_price
    assert price is not None
    assert likely_npv(setting, 0.2, changed={"cost.image": price}) == pytest.approx(0.0, abs=1e-6)


def test_tornado_is_sorted_by_swing_and_leaves_out_what_is_certain() -> None:
    swings = tornado(economics(), log_gain(0.2, 0.01))
    (wide,) = (swing for swing in tornado(economics(), log_gain(0.2, 0.01), 0.975) if swing.name == "gain")
    assert wide.high == pytest.approx(likely_npv(economics(), log_gain(0.2, 0.01).at(0.975).hi))
    assert [swing.name for swing in swings] == ["transfer", "gain"]
    assert (swings[0].low, swings[0].high) == (pytest.approx(60_000), pytest.approx(300_000))


def test_draws_are_triangular() -> None:
    drawn = triangular(Range(1, 2, 5), uniforms(DRAWS, 0)[0])
    assert (drawn.min() > 1, drawn.max() < 5) == (True, True)
    assert drawn.mean() == pytest.approx(8 / 3, abs=0.02)
    assert drawn.var() == pytest.approx((1 + 4 + 25 - 2 - 5 - 10) / 18, abs=0.02)


# Next steps


def test_more_users_are_worth_what_their_standard_error_says() -> None:
    certain = economics(transfer=0.5)
    decided = decide(evidence(BREAKEVEN, 0.02), certain)
    step = next(step for step in decided.steps if step.name == "users")
    # Four times the users leave a quarter of their share of .7.
    after = 0.02 * np.sqrt(0.7 / 4 + 0.2 + 0.1)
    noise = 1 / np.sqrt(1 / after**2 - 1 / 0.02**2)
    assert decided.value is not None
    worth = evpi_normal(decided.value.mean, preposterior_sd(0.02 * 1.5e6, noise * 1.5e6))
    assert step.evsi == pytest.approx(worth, rel=5e-3)  # over draws, not by the normal law


@pytest.mark.parametrize("mean", [0.02, BREAKEVEN])
def test_an_ab_test_is_worth_what_the_noise_of_its_conversions_says(mean: float) -> None:
    """It measures the gain times the transfer, which both vary."""
    setting, measured, n = economics(), evidence(mean, 0.02), 1_000_000
    step = next(step for step in decide(measured, setting).steps if step.name == "ab_test")
    assert measured.gain is not None
    drawn = draw(setting, measured.gain)
    rng = np.random.default_rng(0)
    reached = (mean + 0.02 * rng.standard_normal(n)) * rng.triangular(0.3, 0.5, 0.7, n)
    per_unit = drawn.per_gain / 0.5
    # The difference of two shares of .1, over .1.
    noise = math.sqrt(2 * 0.1 * 0.9 / setting.steps["ab_test"].amount) / 0.1
    worth = evsi(drawn.npv, preposterior_sd(reached.std() * per_unit, noise * per_unit))
    assert worth > 0
    assert step.evsi == pytest.approx(worth, rel=0.01)


def test_a_gain_that_could_not_be_seen_asks_for_what_would_show_it() -> None:
    unseen = evidence(0.0, 0.035)
    assert unseen.gain is not None
    by_trials = {"trials": unseen.gain.se**2, "users": 0.0, "seed": 0.0}
    decided = decide(replace(unseen, variances=by_trials), economics())
    # Where it is the draw of trials that hides it, more users show nothing, and more than 30 trials hardly more.
    assert ([gate.name for gate in decided.barred], decided.step.name) == (["G7"], "nothing")
    assert max(step.net for step in decided.steps) < 0
    few = decide(replace(unseen, variances=by_trials, trials=8), economics())
    assert ([gate.name for gate in few.barred], few.step.name) == (["G7"], "trials")
    noisy = replace(unseen, variances={"trials": 0.1, "users": 0.2, "seed": 0.7})
    assert decide(noisy, economics()).step.name == "seeds"
    free = economics(steps={"ab_test": {"cost": 0.0}})
    worth = decide(replace(unseen, variances=by_trials), free)
    assert ([gate.name for gate in worth.barred], worth.step.name) == (["G7"], "ab_test")


def test_what_closes_a_gate_is_the_next_step_with_its_command() -> None:
    told = decide(with_gate(evidence(0.25), Gate("G3", UNKNOWN, command="python -m mmbench -m x=y")), economics())
    assert (told.step.name, told.step.command) == ("control", "python -m mmbench -m x=y")


def test_knowing_is_never_worth_more_than_knowing_everything() -> None:
    decided = decide(evidence(0.05, 0.06), economics())
    assert decided.value is not None
    assert all(0 <= (step.evsi or 0) <= decided.value.evpi for step in decided.steps)
    for setting in (economics(), economics(steps={"users": {"cost": 1e6}, "ab_test": {"cost": 2e6}})):
        decided = decide(evidence(0.05, 0.06), setting)
        net = [step.net for step in decided.steps]
        assert net == sorted(net, reverse=True)
        assert decided.step.name == ("users" if net[0] > 0 else "nothing")
    assert net[0] < 0


def test_a_certain_gain_needs_no_measuring() -> None:
    certain = replace(evidence(BREAKEVEN, 0.0), variances={"trials": 0.0, "users": 0.0, "seed": 0.0})
    worth = {step.name: step.evsi for step in decide(certain, economics()).steps}
    assert worth["users"] == 0.0


@pytest.mark.parametrize(
    ("probability", "word"),
    [(0.99, "very likely"), (0.95, "very likely"), (0.9, "likely"), (0.8, "likely"), (0.5, "unclear")],
)
def test_words_of_probability(probability: float, word: str) -> None:
    assert confidence(probability) == word


# Some of the items alone


def test_a_part_costs_its_share_of_the_images_and_all_of_the_rest() -> None:
    assert breakeven(of_part(economics(), PART)) == pytest.approx(BREAKEVEN_OF_PART)
    new = Part("popularity:cold", 0, 0.0, 1.0)  # new items are bought images for as they come, all of them
    assert breakeven(of_part(economics(), new)) == pytest.approx((40_000 / 3 + 20_000) / 500_000)
    assert of_part(economics(), None) == economics()


def test_the_data_tell_how_many_of_a_part_have_an_image() -> None:
    """Half of all items have one and nine of ten of the part, so a hundred are bought for its 1,000 items."""
    assumed = economics(items={"stock": 10_000, "new_year": 0, "target": 1.0})
    told = with_counts(assumed, {"items.with_images": 0.5})
    part = replace(PART, with_images=0.9)
    bought, _ = costs(of_part(told, part).likely)["images"]
    assert bought == pytest.approx(1_000 * 0.1 * 2.0)
    bought, _ = costs(of_part(told, PART).likely)["images"]  # nobody read how many have one
    assert bought == pytest.approx(1_000 * 0.5 * 2.0)
    bought, _ = costs(of_part(economics(), part).likely)["images"]  # the company says that none has
    assert bought == pytest.approx(1_000 * 2.0)


def test_what_a_part_promises_is_held_against_its_own_break_even() -> None:
    assert BREAKEVEN_OF_PART < 0.07 < BREAKEVEN
    decided = decide(promising(evidence(0.0, 0.027), 0.07), economics())
    assert (decided.why, decided.breakeven) == (Why.PROMISING, pytest.approx(BREAKEVEN))
    assert decided.step.command == "python -m mmbench -m x=y"
    several = replace(promising(evidence(0.0, 0.027), 0.03), promising=(
        Promise(PART, 0.03, "a"), Promise(replace(PART, slice="category:Cups"), 0.08, "b")))  # fmt: skip
    assert decide(several, economics()).step.command == "b"


def test_all_items_come_first_then_the_part_that_is_best_on_validation_and_no_other() -> None:
    no, go, part = evidence(0.0, 0.027), evidence(0.25), in_part(evidence(0.1))
    bad = in_part(evidence(0.0))
    for whole, parts, told, action in (
        (go, [part], go, Action.GO),
        (no, [part], part, Action.PARTIAL),
        (no, [part, bad], part, Action.PARTIAL),
        (no, [bad, part], no, Action.NO_GO),
        (evidence(0.05, 0.06), [bad], None, Action.HOLD),
        (no, [], no, Action.NO_GO),
    ):
        measured, decided = decide_first(whole, parts, economics())
        assert measured is (whole if told is None else told)
        assert decided == decide(measured, economics())
        assert decided.action is action


# Numbers of one's own


def test_go_rests_on_the_assumed_numbers_that_turn_it() -> None:
    """Break-even is 8 %, the gain 25 %: ten times less sales turn it, ten times more storage does not."""
    measured = evidence(0.25)
    assert decide(measured, assuming()).assumptions == ()
    assert decide(measured, assuming("cost.kilobytes", "cost.encoding")).assumptions == ()
    asked = ("value.margin", "cost.kilobytes", "cost.image")
    assert decide(measured, assuming(*asked)).assumptions == ("value.margin", "cost.image")
    # 18,000 a year more leave break-even at 11.6 %, twice as much brings it to 15.2 %.
    both = ("cost.serving_year", "items.new_year")
    alone = [decide(evidence(0.135, 0.002), assuming(name, transfer=0.5)).assumptions for name in both]
    together = decide(evidence(0.135, 0.002), assuming(*both, transfer=0.5)).assumptions
    assert (alone, together) == ([(), ()], ("items.new_year", "cost.serving_year"))
    for other in (evidence(0.0), evidence(BREAKEVEN), evidence(0.25, G1=FAIL)):
        assert decide(other, assuming(*asked)).assumptions == ()


def test_an_opinion_about_the_transfer_is_ones_own_and_stays_amber() -> None:
    company = economics()
    assert company.sources["transfer"] is Source.OPINION
    assert "transfer" in company.assumed
    assert decide(evidence(0.25), company).assumptions == ()
    assert decide(evidence(0.25), assuming("transfer")).assumptions == ("transfer",)


@pytest.mark.parametrize(
    ("changed", "planned", "given"),
    [
        ("2026-01-01T10:00:00+00:00", "2026-01-01T10:00:01+00:00", Given.BEFORE),
        ("2026-01-01T10:00:00+00:00", "2026-01-01T10:00:00+00:00", Given.AFTER),
        ("2026-01-01T18:00:00+09:00", "2026-01-01T09:30:00+00:00", Given.BEFORE),
        ("2026-01-01", "2026-01-01T10:00:00+00:00", Given.UNKNOWN),
        ("", "2026-01-01T10:00:00+00:00", Given.UNKNOWN),
        ("yesterday", "2026-01-01T10:00:00+00:00", Given.UNKNOWN),
    ],
)
def test_whether_the_sums_came_first(changed: str, planned: str, given: Given) -> None:
    measured = replace(evidence(0.25), planned_at=planned)
    own = replace(economics(), digest="d", changed_at=changed)
    assert when_given(measured, own) is given
    default = replace(own, sources=dict.fromkeys(own.sources, Source.ASSUMED))
    assert when_given(measured, default) is Given.NEVER
    assert as_record(measured, own, decide(measured, own))["result"]["sums"] == str(given)


def test_an_assumed_horizon_or_discount_rate_may_decide() -> None:
    """Three years pay from 8 % on, one from 16 %; nobody gave them."""
    measured, horizon, rate = evidence(0.12, 0.002), assuming("years", transfer=0.5), assuming("discount", transfer=0.5)
    assert decide(measured, horizon).assumptions == ("years",)
    assert decide(measured, replace(horizon, years=1)).action is Action.NO_GO
    assert decide(evidence(0.25), horizon).assumptions == ()
    assert decide(measured, rate).assumptions == ()  # of nothing ten times is nothing
    dear = replace(rate, discount=0.05)  # 8.4 %, and with ten times as much 12.5 %
    assert decide(measured, dear).assumptions == ("discount",)
    assert decide(evidence(0.14, 0.002), dear).assumptions == ()
    steep = replace(dear, discount=0.9)  # 16.6 %, and at the highest rate 17.6 %
    assert decide(evidence(0.17, 0.002), steep).assumptions == ("discount",)
    # The thresholds say what is asked for.
    assert decide(measured, assuming("go", "no_go", transfer=0.5)).assumptions == ()


@pytest.mark.parametrize(
    ("own", "given"),
    [
        ({}, Given.NEVER),
        ({"currency": "EUR"}, Given.NEVER),
        ({"go": 0.51}, Given.AFTER),
        ({"no_go": 0.4}, Given.AFTER),
        ({"machine_hour": 1.0}, Given.AFTER),
        ({"tax": "included"}, Given.AFTER),
        ({"steps": {"users": {"cost": 1}}}, Given.AFTER),
        ({"transfer_pairs": [[0.04, 0.02], [0.01, 0.0], [0.02, 0.015]]}, Given.AFTER),
    ],
)
def test_whatever_is_given_after_the_plan_says_so(own: Mapping[str, Any], given: Given) -> None:
    measured = replace(evidence(0.25), planned_at="2026-01-01T10:00:00+00:00")
    setting = replace(read_economics(own, default_file()), digest="d", changed_at="2026-01-05T10:00:00+00:00")
    assert when_given(measured, setting) is given


# What would open a gate


def with_users(measured: Evidence, users: float) -> Evidence:
    """The same evidence of so many users."""
    assert measured.gain is not None
    variances = {**measured.variances, "users": measured.variances["users"] * measured.n_users / users}
    se = math.sqrt(math.fsum(variances.values()))
    return replace(measured, n_users=int(users), variances=variances, gain=replace(measured.gain, se=se))


@pytest.mark.parametrize(
    ("measured", "gate"),
    [
        (evidence(0.0, 0.03), "G7"),
        (evidence(0.07, 0.05, G3=FAIL), "G3"),
        (evidence(0.05, 0.02), ""),
        (replace(evidence(0.0, 0.03), level=0.975), "G7"),
        (replace(evidence(0.05, 0.02), level=0.975), ""),
    ],
    ids=["G7", "G3", "unclear", "G7 at a second look", "unclear at a second look"],
)
def test_so_many_users_and_no_fewer_open_it(measured: Evidence, gate: str) -> None:
    (opening,) = openings(measured, [Gate(gate, FAIL)] if gate else [], BREAKEVEN, None if gate else Unclear(True, 0.8))
    assert (opening.gate, opening.key) == (gate, Key.USERS)
    assert opening.amount is not None
    opened = {
        "G7": lambda e: e.gain.mde() <= BREAKEVEN,
        "G3": lambda e: better_than_shuffled(e.gain).status is PASS,
        "": lambda e: not e.interval.contains(BREAKEVEN),
    }[gate]
    assert opening.amount > measured.n_users
    assert opened(with_users(measured, opening.amount))
    assert not opened(with_users(measured, 0.98 * opening.amount))


def test_users_cannot_take_away_what_the_trials_leave() -> None:
    unseen = evidence(0.0, 0.035)
    assert unseen.gain is not None
    by_trials = replace(unseen, variances={"trials": 0.9 * unseen.gain.se**2, "users": 0.1 * unseen.gain.se**2})
    (opening,) = decide(by_trials, economics()).openings
    assert (opening.gate, opening.key, opening.amount) == ("G7", Key.NO_USERS, pytest.approx(0.9))
    assert decide(with_users(by_trials, 1e12), economics()).action is not Action.NO_GO


def test_a_guard_rail_that_is_not_shown_says_how_much_more_data_shows_it() -> None:
    unseen = [Gate("G4", UNKNOWN, 2.5), Gate("G4", UNKNOWN), Gate("G4", FAIL)]
    found = openings(evidence(0.25), unseen, BREAKEVEN)
    assert found == (Opening("G4", Key.USERS_AND_SEEDS, 2.5), *[Opening("G4", Key.ELSE)] * 2)


@pytest.mark.parametrize(("amount", "said"), [(1.02, "1.1 times"), (1.44, "1.5 times"), (2.0, "2.0 times")])
def test_so_many_times_as_many_users_and_final_runs_do_open_it(amount: float, said: str) -> None:
    closed = evidence(0.25)
    gates = tuple(Gate("G4", UNKNOWN, amount) if gate.name == "G4" else gate for gate in closed.gates)
    measured = replace(closed, gates=gates)
    (opens,) = Speaker.of("en", measured, economics(), decide(measured, economics())).opens()
    users = {"1.1": "2,200", "1.5": "3,000", "2.0": "4,000"}[said.split()[0]]
    assert opens.startswith(f"G4 opens with {said} as many test users (about {users}, now 2,000) and final training")


def test_what_nobody_could_read_opens_with_the_data_and_what_was_not_compared_with_a_second_run() -> None:
    unread = [Gate(name, UNKNOWN, unread=True) for name in ("G4", "G5", "G8")]
    assert openings(evidence(0.25), unread, BREAKEVEN) == tuple(Opening(gate.name, Key.DATA) for gate in unread)
    seeds, trials = Opening("G9", Key.SEEDS, MIN_SEEDS), Opening("", Key.TRIALS, MIN_TRIALS)
    unknown, one = Gate("G9", UNKNOWN), Gate("G9", UNKNOWN, 1, MIN_SEEDS)
    few = replace(evidence(0.25, silent=FEW_TRIALS), trials=2)
    assert openings(evidence(0.25), [unknown], BREAKEVEN) == (seeds,)
    assert openings(evidence(0.25, silent=ONE_SEED), [one], BREAKEVEN) == (seeds,)  # said once
    assert openings(few, [one], BREAKEVEN) == (seeds, trials)
    assert openings(few, [unknown], BREAKEVEN) == (Opening("G9", Key.ELSE), trials)
    # Two trials that disagree are not to become four where eight are needed anyway.
    assert openings(few, [Gate("G9", FAIL)], BREAKEVEN) == (Opening("G9", Key.TRIALS, MIN_TRIALS),)


def test_every_hold_names_what_would_open_it() -> None:
    for name, (measured, action, why, _, _) in CASES.items():
        decided = decide(measured, economics())
        opened = [opening.gate for opening in decided.openings]
        if action is not Action.HOLD:
            assert opened == [], name
        elif why in (Why.UNCLEAR, Why.SILENT):
            assert opened[-1] == "" or Opening("G9", Key.SEEDS, MIN_SEEDS) in decided.openings, name
        else:
            assert opened == [gate.name for gate in decided.barred], name
            assert opened or why is Why.PROMISING, name


def test_a_gain_that_is_told_from_break_even_leaves_the_business_to_be_known() -> None:
    wide = economics(transfer={"low": 0.05, "likely": 0.5, "high": 1.0})
    (opening,) = decide(evidence(0.10, 0.005), wide).openings
    assert opening == Opening("", Key.INPUTS)


@pytest.mark.parametrize("mean", [0.101, 0.059])
def test_a_business_of_which_nothing_is_uncertain_is_not_what_the_answer_waits_for(mean: float) -> None:
    """The range lies on one side of break-even, less surely than the company asks for."""
    measured = evidence(mean, 0.01)
    assert measured.interval is not None
    assert not measured.interval.contains(BREAKEVEN)
    asked = {"go": 0.99, "no_go": 0.01}
    for transfer in (0.5, OWN["transfer"]):  # which better figures of the business would not change
        decided = decide(measured, economics(transfer=transfer, **asked))
        (opening,) = decided.openings
        assert (decided.why, opening.gate, opening.key) == (Why.UNCLEAR, "", Key.USERS)
        assert opening.amount is not None
        gain = with_users(measured, opening.amount).gain
        assert gain is not None
        half = abs(gain.log_ratio - math.log1p(BREAKEVEN))
        assert special.stdtr(gain.df, half / gain.se) == pytest.approx(0.99, abs=1e-4)


def test_a_gain_that_is_break_even_itself_is_told_by_no_number_of_users() -> None:
    """It is no matter of what else is uncertain, and none of the business."""
    for_nothing = economics(cost=dict.fromkeys(OWN["cost"], 0.0))
    decided = decide(evidence(0.0, 0.0), for_nothing)
    assert (decided.breakeven, decided.why, decided.openings) == (0.0, Why.UNCLEAR, (Opening("", Key.ELSE),))
    (opening,) = openings(evidence(0.0, 0.01), [], 0.0, Unclear(True, 0.8))
    assert opening == Opening("", Key.NO_USERS, 0.0)
    assert openings(evidence(-0.022, 0.01), [Gate("G7", FAIL)], 0.0) == (Opening("G7", Key.NO_USERS, 0.0),)
    assert openings(evidence(-0.022, 0.01), [Gate("G3", FAIL)], 0.0) == (Opening("G3", Key.NO_USERS, 0.0),)


def test_a_small_shop_is_told_that_no_plausible_gain_could_pay() -> None:
    """300 items and 200,000 recommendations a year under the default prices."""
    own = {"value": {"recommendations_year": 200_000}, "items": {"stock": 300, "new_year": 20}}
    small = read_economics(own, default_file())
    decided = decide(evidence(0.05, 0.05, G3=UNKNOWN), small)
    assert decided.breakeven > 2
    assert decided.value is not None
    assert decided.value.probability < 0.01
    assert (decided.action, decided.why) == (Action.NO_GO, Why.MONEY)


def test_likely_values_at_the_favourable_ends_are_no_business_that_no_gain_can_help() -> None:
    """Hardly any draw pays, and with the likely values the measured gain does."""
    skewed = economics(
        transfer={"low": 0.05, "likely": 0.5, "high": 0.5},
        cost={
            **OWN["cost"],
            "image": {"low": 2.0, "likely": 2.0, "high": 20.0},
            "engineering_once": {"low": 40_000, "likely": 40_000, "high": 200_000},
        },
    )
    decided = decide(evidence(0.09, 0.002), skewed)
    assert decided.value is not None
    assert decided.value.probability < 0.01
    assert decided.breakeven < 0.09
    assert (decided.action, decided.why) == (Action.HOLD, Why.UNCLEAR)
    assert decide(evidence(0.03, 0.002), skewed).why is Why.MONEY


def test_the_value_of_a_measurement_over_draws() -> None:
    """Of normal draws it is the closed form, and it rises with what the measurement tells up to the EVPI."""
    draws = np.random.default_rng(0).normal(-0.1, 1.0, 400_000)
    for pilot in (0.3, 1.0, 3.0):
        spread = preposterior_sd(1.0, pilot)
        assert evsi(draws, spread) == pytest.approx(evpi_normal(-0.1, spread), abs=0.003)
    skewed = np.random.default_rng(0).lognormal(0.0, 1.5, 10_000) - 4.0
    worth = [evsi(skewed, r * skewed.std()) for r in (0.0, 0.2, 0.5, 0.9, 1.0, 2.0)]
    assert worth == sorted(worth)
    assert worth[0] == pytest.approx(0.0, abs=1e-9)
    assert worth[-2:] == [evpi(skewed)] * 2
    assert evsi(np.full(5, 3.0), 1.0) == 0.0
