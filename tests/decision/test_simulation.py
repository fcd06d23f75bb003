"""The rule must answer: one that always says HOLD is a failure."""

from __future__ import annotations

import re
from collections.abc import Mapping

import pytest

from mmbench.decision import Action
from mmbench.decision.evidence import GATES
from tests.decision.simulation import FEW, GREY, MANY, TAKEN_FOR_PASSED, WORLDS, rates
from tests.docs.test_links import ROOT

Rates = Mapping[float, Mapping[Action, float]]


def holds_what_it_promises(shares: Rates) -> None:
    clear = [share for truth, share in shares.items() if truth not in GREY]
    assert shares[3.0][Action.GO] >= 0.8
    assert shares[0.0][Action.NO_GO] >= 0.6
    assert max(share[Action.HOLD] for share in clear) <= 0.4
    # A wrong answer is rare whatever the truth: GO where it does not pay, NO-GO where it does.
    assert max(share[Action.GO] for truth, share in shares.items() if truth <= 0.5) <= 0.01
    assert max(share[Action.NO_GO] for truth, share in shares.items() if truth >= 1.5) <= 0.01


def test_the_page_says_beside_the_rates_which_gates_are_taken_for_passed() -> None:
    _, _, section = (ROOT / "docs/decision.md").read_text(encoding="utf-8").partition("## How often it says what\n")
    told, _, drawn = section.strip().partition("\n\n")[0].partition("and draws ")
    assert set(re.findall(r"G\d", told)) == set(TAKEN_FOR_PASSED)
    assert set(re.findall(r"G\d", drawn.partition(".")[0])) == GATES.keys() - set(TAKEN_FOR_PASSED)


@pytest.mark.thorough
def test_many_users() -> None:
    holds_what_it_promises(rates(700, MANY, seed=1))


@pytest.mark.slow
def test_three_hundred_worlds_of_each_truth() -> None:
    holds_what_it_promises(rates(WORLDS, MANY))


@pytest.mark.thorough
def test_few_users_are_no_evidence_of_smallness() -> None:
    shares = rates(210, FEW, seed=2)
    assert shares[0.0][Action.NO_GO] <= 0.15
    assert shares[0.0][Action.GO] <= 0.05
