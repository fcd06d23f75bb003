"""The decision about the training rule says what the recorded curves say."""

from __future__ import annotations

from mmbench.cli.compose import compose
from tests.calibration import rules
from tests.calibration.curves import CAP_EPOCHS, CAP_STEPS, packed
from tests.studies.sweeps import ROOT

PAGE = ROOT / "docs" / "decisions" / "0019-training-rule.md"


def test_the_page_has_the_tables_of_the_packed_curves() -> None:
    page, frame = PAGE.read_text(encoding="utf-8"), packed()
    assert len(frame) > 0
    results = rules.applied(rules.whole_pairs(frame), rules.RULES)
    assert rules.printed(rules.summary(results)) in page
    assert rules.printed(rules.ends(frame)) in page


def test_the_rule_in_use_is_the_cap() -> None:
    budget = compose(["model=vbpr", "budget=small"]).config["budget"]
    assert (budget["patience_steps"], budget["max_steps"], budget["least_epochs"]) == (CAP_STEPS, CAP_STEPS, CAP_EPOCHS)
