"""Checklists filled from records: what is proved is answered, nothing else is."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from mmbench.inference.contribution.guardrails import Rail
from mmbench.report.comparisons import read_contrasts
from mmbench.report.contribution_facts import read_contributions
from mmbench.report.facts import Facts
from mmbench.report.fairness_checks import read_groups
from mmbench.report.list_facts import GUARDRAILS
from mmbench.report.reading import read_sweep
from mmbench.report.submission import NO, OPEN, YES, Answer, answers
from mmbench.report.write import write_report
from tests.report.constructed import write_sweep
from tests.report.test_contribution import cells


def filled(folder: Path) -> dict[tuple[str, str], Answer]:
    table = read_sweep(folder)
    groups = read_groups(table, folder)
    contrasts = read_contrasts(table, groups)
    measured = read_contributions(table, groups, contrasts)
    return {(a.checklist.split()[0], a.item): a for a in answers(table, contrasts, groups, measured)}


def test_a_sweep_that_ran(sweep_dir: Path) -> None:
    answers = filled(sweep_dir)
    assert sum(name == "NeurIPS" for name, _ in answers) == 16
    assert {name for name, _ in answers} == {"NeurIPS", "ML", "ACM", "RecSys"}
    compute = answers["NeurIPS", "8 Compute resources"]
    n = len((sweep_dir / "ledger.jsonl").read_text().splitlines())
    assert (compute.answer, compute.reason.split(" trainings")[0]) == (YES, str(n))
    assert "60 users, 80 items" in answers["ML", "Statistics of the data"].reason
    assert "popularity" in answers["RecSys", "Simple baselines?"].reason
    assert answers["NeurIPS", "1 Claims"].status == "person"
    for a in answers.values():
        assert a.reason.endswith(".") or a.item in ("Simple baselines?", "Statistics of the data")


def test_files_and_their_evidence(sweep_dir: Path) -> None:
    write_report(sweep_dir)
    report = sweep_dir / "report"
    text, latex = ((report / f"submission.{ending}").read_text() for ending in ("md", "tex"))
    links = re.findall(r"\]\(([^)]+)\)", text)
    assert links
    assert all((report / link).exists() for link in links)
    assert latex.count(r"\begin{itemize}") == latex.count(r"\end{itemize}") == 4
    assert latex.count("{") == latex.count("}")
    assert not re.search(r"(?<!\\)[%&_#]", latex)


@pytest.mark.parametrize(("n_seeds", "answer"), [(3, YES), (1, NO)])
def test_one_seed_infers_nothing(tmp_path: Path, n_seeds: int, answer: str) -> None:
    answers = filled(write_sweep(tmp_path / "s", cells(n_seeds)))
    assert answers["NeurIPS", "7 Statistical significance"].answer == answer
    assert answers["ML", "Central tendency and variation"].answer == answer
    assert answers["NeurIPS", "8 Compute resources"].answer == NO  # there is no ledger
    assert answers["RecSys", "Simple baselines?"].answer == NO
    assert answers["ACM", "Artifacts available"].answer == OPEN


def test_unequal_effort_is_not_called_equal(tmp_path: Path) -> None:
    made = cells()
    made["d", "m", "text"] = replace(made["d", "m", "text"], seal={"choice_hash": "another"})
    answers = filled(write_sweep(tmp_path / "s", made))
    equal = answers["RecSys", "Were baselines tuned with equal effort?"]
    assert (equal.answer, equal.reason) == (NO, "Not for d/m.")


@pytest.mark.parametrize(
    ("words", "answer", "reason"),
    [
        ([], OPEN, "No guard-rail was measured"),
        ([Rail.HOLDS, Rail.HOLDS], YES, "2 holds, 0 broken, 0 not shown. "),
        ([Rail.HOLDS, Rail.OPEN], NO, "1 holds, 0 broken, 1 not shown. One holds where the loss is below 5 %"),
        ([Rail.HOLDS, Rail.BROKEN], NO, " Broken: recall of items without image of d/m fused_vs_text."),
    ],
)
def test_the_price_of_a_gain_is_asked_for(tmp_path: Path, words: list[Rail], answer: str, reason: str) -> None:
    table = read_sweep(write_sweep(tmp_path / "s", cells()))
    groups = read_groups(table, table.folder)
    facts = Facts("d", "m", 3, "PASS")
    for part, word in zip(("coverage", "recall of items without image"), words, strict=False):
        facts.add(GUARDRAILS, "fused_vs_text", f"relative change of {part}", 0.0, word=word)
    asked = [a for a in answers(table, read_contrasts(table, groups), groups, [facts]) if "worse" in a.item]
    assert [(a.checklist, a.answer) for a in asked] == [("RecSys reproducibility", answer)]
    assert reason in asked[0].reason


def test_guard_rails_of_one_draw_of_new_items_answer_nothing(tmp_path: Path) -> None:
    table = read_sweep(write_sweep(tmp_path / "s", cells()))
    groups = read_groups(table, table.folder)
    facts = Facts("d-fold0", "m", 3, "PASS", one_draw=True)
    facts.add(GUARDRAILS, "fused_vs_text", "relative change of coverage", 0.0)
    (asked,) = [a for a in answers(table, read_contrasts(table, groups), groups, [facts]) if "worse" in a.item]
    assert asked.answer == OPEN
    assert "single draws of new items alone" in asked.reason
