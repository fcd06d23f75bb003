"""Checklists filled from records: what is proved is answered, nothing else is."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmbench.inference.contribution.guardrails import Rail
from mmbench.messages import Translator
from mmbench.report import benchmark, results
from mmbench.report.comparisons import read_contrasts
from mmbench.report.contribution_facts import read_contributions
from mmbench.report.evidence import proved
from mmbench.report.facts import Facts
from mmbench.report.fairness import as_markdown as fairness_page
from mmbench.report.fairness_checks import PASS, WARN, read_groups
from mmbench.report.layout import markdown
from mmbench.report.list_facts import GUARDRAILS, RAILS
from mmbench.report.reading import read_sweep
from mmbench.report.submission import NO, OPEN, YES, Answer, answers, as_markdown
from mmbench.report.write import write_report
from mmbench.store.schema import DataPrint
from tests.decision.test_new_items import of_folds
from tests.report.constructed import Made, write_sweep
from tests.report.test_contribution import USERS, cells
from tests.report.test_new_items import write_candidates

NONE_SIMPLE = "Of itemknn, contentknn, hybridknn, ease, ials none has a result in this sweep."
#: What the training of a model comes to that is computed.
COMPUTED = {"stop_reason": "closed_form", "steps_per_epoch": 0}


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
    assert answers["RecSys", "Simple baselines?"].answer == NO  # popularity has nothing to tune
    assert answers["NeurIPS", "1 Claims"].status == "person"
    for a in answers.values():
        assert a.reason.endswith(".") or a.item in ("Simple baselines?", "Statistics of the data")


def test_files_and_their_evidence(sweep_dir: Path) -> None:
    write_report(sweep_dir)
    report = sweep_dir / "report"
    text, japanese, latex = ((report / f"submission.{ending}").read_text() for ending in ("md", "ja.md", "tex"))
    links, in_japanese = (re.findall(r"\]\(([^)]+)\)", page) for page in (text, japanese))
    assert {"verdicts.md", "fairness.md", "table.md", "../manifest.json"} <= {*links}
    assert in_japanese == [re.sub(r"(?<!\.ja)\.md$", ".ja.md", link) for link in links]
    assert all((report / link).exists() for link in links + in_japanese)
    assert latex.count(r"\begin{itemize}") == latex.count(r"\end{itemize}") == 4
    assert latex.count("{") == latex.count("}")
    assert not re.search(r"(?<!\\)[%&_#]", latex)


@pytest.mark.parametrize(("n_seeds", "answer"), [(3, YES), (1, NO)])
def test_one_seed_infers_nothing(tmp_path: Path, n_seeds: int, answer: str) -> None:
    answers = filled(write_sweep(tmp_path / "s", cells(n_seeds)))
    asked = answers["NeurIPS", "7 Statistical significance"]
    assert (asked.answer, asked.reason.startswith("Nothing is inferred: ")) == (answer, answer == NO)
    assert ("training noise not measured, 1 final seed" in asked.reason) == (answer == NO)
    spread = answers["ML", "Central tendency and variation"]
    assert (spread.answer, "over the draw of trials, users and the seed" in spread.reason) == (answer, answer == YES)
    assert ("standard deviation over seeds" in spread.reason) == (answer == YES)
    assert answers["NeurIPS", "8 Compute resources"].answer == NO  # there is no ledger
    assert answers["RecSys", "Simple baselines?"].answer == NO
    assert answers["ACM", "Artifacts available"].answer == OPEN


@pytest.mark.parametrize(
    ("versions", "said"),
    [(("a", "a"), "one feature set per modality and data set"), (("a", "b"), "at most 2 feature sets per modality")],
)
def test_limitations_count_the_encoders(versions: tuple[str, str], said: str, tmp_path: Path) -> None:
    """Two encoders of one data set are two data sets of the sweep, and one of the limitations."""
    made = {}
    for dataset, version in zip(("d", "d-text=other"), versions, strict=True):
        for (_, model, condition), one in cells().items():
            of_data = {"cell": {**one.cell, "features": {"text": version}}, "config": {"dataset": {"name": "d"}}}
            made[dataset, model, condition] = replace(one, **of_data)
    limits = filled(write_sweep(tmp_path / "s", made))["NeurIPS", "2 Limitations"].reason
    assert limits.startswith(f"Say at least: 1 data set; {said}")


def test_limitations_count_data_and_not_their_names(tmp_path: Path) -> None:
    made = {(dataset, *key): one for dataset in ("a", "again", "b") for (_, *key), one in cells().items()}
    data = {
        name: DataPrint(split, split, "", 1, 1, 1, {}) for name, split in {"a": "1", "again": "1", "b": "2"}.items()
    }
    limits = filled(write_sweep(tmp_path / "s", made, data=data))["NeurIPS", "2 Limitations"].reason
    assert limits.startswith("Say at least: 2 data sets")


def test_one_draw_of_new_items_infers_nothing(tmp_path: Path) -> None:
    """Fold and draw have one reason, which is said once; several folds are no limitation."""
    found = {}
    for n, made in ((1, of_folds(180)), (3, of_folds(180, 168, 174))):
        write_candidates(write_sweep(tmp_path / str(n), made), made)
        found[n] = filled(tmp_path / str(n))
    alone, several = (answers["NeurIPS", "7 Statistical significance"] for answers in found.values())
    assert (alone.answer, alone.reason) == (NO, "Nothing is inferred: one draw of new items (a single fold).")
    assert "one draw" not in several.reason
    alone, several = (answers["NeurIPS", "2 Limitations"] for answers in found.values())
    assert "; one draw of new items in d; offline metrics only" in alone.reason
    assert "one draw" not in several.reason


def test_what_is_not_trusted_is_not_inferred(tmp_path: Path) -> None:
    stalled = {"courses": [{"popularity": 0.9}] * 8}
    answers = filled(write_sweep(tmp_path / "s", {name: replace(made, **stalled) for name, made in cells().items()}))
    asked = answers["NeurIPS", "7 Statistical significance"]
    assert asked.answer == NO
    assert asked.reason.startswith("Nothing is inferred: ")
    assert "stalled trials 100 %" in asked.reason


def test_a_condition_that_failed_is_named_beside_equal_effort(tmp_path: Path) -> None:
    made = {**cells(), ("d", "m", "fused"): Made(failure="all 8 trials failed: out of memory")}
    asked = filled(write_sweep(tmp_path / "s", made))["RecSys", "Were baselines tuned with equal effort?"]
    assert (asked.answer, asked.reason.endswith(" Failed, and without a result: d/m/fused.")) == (YES, True)


def test_sizes_that_no_record_holds_are_no_statistics(tmp_path: Path) -> None:
    asked = filled(write_sweep(tmp_path / "s", cells()))["ML", "Statistics of the data"]
    assert (asked.answer, asked.reason) == (NO, "not recorded")


def test_tuning_elsewhere_is_not_certified(tmp_path: Path) -> None:
    given = {"dataset": "other", "root": "0a1b", "trials": 30, "configuration": {}}
    one = {"trials": np.ones((1, USERS), bool), "config": {"given": given}}
    answered = filled(write_sweep(tmp_path / "s", {name: replace(made, **one) for name, made in cells().items()}))
    for question in (EFFORT, CHOICE):
        asked = answered["RecSys", question]
        reason = "These records do not show it (not tuned here: configurations of other, root 0a1b)."
        assert (asked.answer, asked.reason) == (OPEN, reason)
    for question in (
        ("NeurIPS", "6 Experimental setting"),
        ("ML", "Ranges of hyper-parameters, how the best were chosen"),
        ("RecSys", "Ranges and chosen values of all methods?"),
    ):
        asked = answered[question]
        assert asked.answer == OPEN
        assert asked.reason.startswith("Describe the tuning (not tuned here: configurations of other, root 0a1b).")
    assert answered["RecSys", SPLIT].answer == YES


EFFORT, SPLIT, CHOICE = (
    "Were baselines tuned with equal effort?",
    "The same split for all?",
    "Was the choice made on validation data?",
)


@pytest.mark.parametrize(
    ("changed", "broken"),
    [
        ({"seal": {"choice_hash": "another"}}, CHOICE),
        ({"seal": {"test_hash": "another"}}, SPLIT),
        ({"cell": {"split_hash": "another"}}, SPLIT),
        ({"trials": np.ones((9, USERS), bool)}, EFFORT),
    ],
)
def test_each_question_is_answered_by_its_own_checks(tmp_path: Path, changed: dict[str, Any], broken: str) -> None:
    made = cells()
    text = made["d", "m", "text"]
    made["d", "m", "text"] = replace(text, **{**changed, "cell": {**text.cell, **changed.get("cell", {})}})
    answers = filled(write_sweep(tmp_path / "s", made))
    for question in (EFFORT, SPLIT, CHOICE):
        asked = answers["RecSys", question]
        assert asked.answer == (NO if question == broken else YES), question
        assert (asked.reason == "Not for d/m.") is (question == broken)


@pytest.mark.parametrize(
    ("models", "answer", "reason"),
    [
        ({"ials": {}, "ease": {"missing": True}}, YES, "ials"),
        ({"ease": {"failure": "no memory"}, "itemknn": {"missing": True}, "popularity": {}}, NO, NONE_SIMPLE),
    ],
)
def test_a_simple_baseline_is_one_that_is_tuned_and_has_a_result(
    tmp_path: Path, models: dict[str, dict[str, Any]], answer: str, reason: str
) -> None:
    hits = np.ones((2, USERS), bool)
    made = {("d", model, "-"): Made(hits, **described) for model, described in models.items()}
    asked = filled(write_sweep(tmp_path / "s", made))["RecSys", "Simple baselines?"]
    assert (asked.answer, asked.reason) == (answer, reason)


BOTH = "all items but those of the user's training and validation part"
TRAIN = "all items but those of the user's training part"
NEW = "all new items of the test part among themselves"


@pytest.mark.parametrize(
    ("seals", "config", "ranked"),
    [
        ({"d": {"protocol": "paper", "valid_masked": False}}, {}, TRAIN),
        ({"d": {"protocol": "time", "valid_masked": True}}, {}, BOTH),
        ({"d": {"protocol": "cold", "valid_masked": True}}, {"dataset": {"name": "d", "protocol": "cold"}}, NEW),
        (
            {
                "d": {"protocol": "paper", "valid_masked": False},
                "e": {"protocol": "last_out", "valid_masked": True},
                "f": {"protocol": "last_out", "valid_masked": True},
            },
            {},
            f"{TRAIN} (d); {BOTH} (e, f)",
        ),
    ],
)
def test_what_is_ranked_is_what_the_seals_say(
    tmp_path: Path, seals: dict[str, dict[str, Any]], config: dict[str, Any], ranked: str
) -> None:
    hits = np.ones((2, USERS), bool)
    made = {(dataset, "m", "-"): Made(hits, seal=seal, config=config) for dataset, seal in seals.items()}
    answered = filled(write_sweep(tmp_path / "s", made))
    full = answered["RecSys", "Full ranking?"]
    assert (full.answer, full.reason) == (YES, f"Ranked, none of them sampled: {ranked}.")
    definition = answered["ML", "Definition of the metrics"].reason
    assert definition == f"ndcg@20; ranked: {ranked}; formulas in docs/protocol.md."


def test_another_class_under_the_name_of_a_baseline_is_none(tmp_path: Path) -> None:
    hits = np.ones((2, USERS), bool)
    packaged = "mmbench.models.ease.EASE"
    made = {
        ("d", "itemknn", "-"): Made(hits, config={"model": {"_target_": "mine.ItemKNN"}}),
        ("d", "ease", "-"): Made(hits, config={"model": {"_target_": packaged}}),
        ("d", "own", "-"): Made(hits, config={"model": {"_target_": "mine.Own"}}),
    }
    folder = write_sweep(tmp_path / "s", made)
    table = read_sweep(folder)
    levels = {group.model: (group.level, [c.reason for c in group.checks]) for group in read_groups(table, folder)}
    said = "itemknn is mine.ItemKNN, and not the model of mmbench with that name"
    assert {model: (level, said in reasons) for model, (level, reasons) in levels.items()} == {
        "itemknn": (WARN, True), "ease": (PASS, False), "own": (PASS, False),
    }  # fmt: skip
    answered = filled(folder)
    simple, code = (answered["RecSys", question] for question in ("Simple baselines?", "Code of baselines?"))
    assert (simple.answer, simple.reason) == (YES, "ease")
    assert (code.answer, code.reason) == (
        OPEN,
        "One file per model, tuned by the same command. Not so where another class has the name: d/itemknn is "
        "mine.ItemKNN.",
    )
    described = answered["ML", "Clear description of the models"]
    assert (described.answer, described.reason) == (
        OPEN,
        "Each model file names its paper and formula. Not so of classes that are no part of mmbench: d/itemknn is "
        "mine.ItemKNN; d/own is mine.Own.",
    )


def test_one_seed_of_one_model_is_no_standard_deviation_of_it(tmp_path: Path) -> None:
    made = {("d", model, "-"): Made(np.ones((n, USERS), bool)) for model, n in (("m", 3), ("n", 1))}
    spread = filled(write_sweep(tmp_path / "s", made))["ML", "Central tendency and variation"]
    assert (spread.answer, spread.reason) == (
        NO, "Mean and standard deviation over seeds. Not so of d/n: one seed.",
    )  # fmt: skip


def test_the_formula_of_a_metric_of_your_own_is_yours_to_give(tmp_path: Path) -> None:
    table = read_sweep(write_sweep(tmp_path / "s", {("d", "m", "-"): Made(np.ones((2, USERS), bool))}))
    defined = {
        metrics: next(a for a in answers(replace(table, metrics=metrics), [], [], []) if a.item == DEFINED)
        for metrics in (("ndcg@20",), ("ndcg@20", "mine.first_hit@5"))
    }
    assert [answer.answer for answer in defined.values()] == [YES, OPEN]
    assert defined["ndcg@20", "mine.first_hit@5"].reason.endswith(
        " Not so of metrics that are no part of mmbench: mine.first_hit@5."
    )


DEFINED = "Definition of the metrics"
FOREIGN = "lists of another system, whose code, tuning and training data these records do not hold."


def test_lists_of_another_system_are_vouched_for_nowhere(tmp_path: Path) -> None:
    """Whatever the name of their row."""
    hits = np.ones((3, USERS), bool)
    lists = Made(hits, hits[:1], config={"model": {"recommendations": "lists.csv"}, "search": {}})
    folder = write_sweep(tmp_path / "s", {**cells(3), ("d", "ours", "-"): lists})
    answered = filled(folder)
    vouched = {
        question for (_, question), a in answered.items() if a.reason.endswith(f" Not shown for d/ours: {FOREIGN}")
    }
    assert vouched == {
        EFFORT, SPLIT, CHOICE, "6 Experimental setting", "Clear description of the models",
        "Ranges of hyper-parameters, how the best were chosen", "Ranges and chosen values of all methods?",
        "Is nothing of the future seen?", "Code of baselines?",
    }  # fmt: skip
    assert {a.answer for (_, question), a in answered.items() if question in vouched} == {OPEN}
    assert answered["RecSys", EFFORT].reason.startswith(
        "Same trials, configurations, seeds and training rule, checked."
    )
    table = read_sweep(folder)
    groups = read_groups(table, folder)
    assert {g.model: g.level for g in groups} == {"m": PASS, "ours": WARN}
    page = fairness_page(table, groups, [], [])
    said = "lists of another system: it was not tuned here, and what it learned from cannot be checked"
    assert f"| d | ours | WARN | {said} |" in page
    assert f"- WARN: origin: {said}" in page
    mark = "; lists of another system, not tuned here: d/ours"
    assert mark in page
    for document in (results.document(table, groups), benchmark.document(table, [], groups)):
        assert mark in markdown(proved(document, table, groups))


def other_model(trials: int = 8, seeds: int = 3, **described: Any) -> dict[tuple[str, str, str], Made]:
    """The cells of one model, and a second one with an effort of its own."""
    one = Made(np.ones((seeds, USERS), bool), np.ones((trials, USERS), bool), **described)
    return {**cells(3), ("d", "other", "-"): one}


@pytest.mark.parametrize(
    ("whole", "reason"),
    [
        (cells(3), ""),
        (other_model(), ""),
        (other_model(2), "Not the same for all models: d/other with T 2 and S 3; d/m with T 8 and S 3."),
        (other_model(12), "Not the same for all models: d/other with T 12 and S 3; d/m with T 8 and S 3."),
        (other_model(8, 1), "Not the same for all models: d/other with T 8 and S 1; d/m with T 8 and S 3."),
        # every configuration that there is, and computed: one run tells as much as many
        (other_model(1, config={"search": {}}), ""),
        (other_model(1, 1, config={"search": {}}, courses=[COMPUTED], final=COMPUTED), ""),
        (other_model(1, 1, config={"search": {}}), "all models: d/other with T 1 and S 1; d/m with T 8 and S 3."),
        # a split of its own is another task
        (other_model(seal={"test_hash": "another"}), "Not for all models of d."),
    ],
)
def test_models_with_less_effort_are_named(
    tmp_path: Path, whole: dict[tuple[str, str, str], Made], reason: str
) -> None:
    answers = filled(write_sweep(tmp_path / "s", whole))
    asked = answers["RecSys", SPLIT if "models of" in reason else EFFORT]
    assert asked.answer == (NO if reason else YES)
    assert asked.reason.endswith(reason)
    seeds = "1 to 3" if "S 1" in reason else answers["RecSys", "How many seeds?"].reason.split(" final")[0]
    assert answers["RecSys", "How many seeds?"].reason.startswith(f"{seeds} final seeds")
    if "T 12" in reason:
        assert answers["NeurIPS", "6 Experimental setting"].reason.startswith("8 to 12 trials of every condition")


def test_a_guard_rail_that_is_broken_is_no_damaged_file() -> None:
    assert Translator("ja")(RAILS[Rail.BROKEN]) == "悪化"


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


def test_guard_rails_that_are_not_trusted_answer_nothing(tmp_path: Path) -> None:
    table = read_sweep(write_sweep(tmp_path / "s", cells()))
    groups = read_groups(table, table.folder)
    facts = Facts("d", "m", 3, "FAIL")
    facts.add(GUARDRAILS, "fused_vs_text", "relative change of coverage", 0.0, word=Rail.HOLDS)
    (asked,) = [a for a in answers(table, read_contrasts(table, groups), groups, [facts]) if "worse" in a.item]
    assert asked.answer == OPEN
    assert "not trusted" in asked.reason


def test_the_proof_is_escaped_as_every_other_text(tmp_path: Path) -> None:
    """It names rows and data sets, which are a user's own words."""
    table = read_sweep(write_sweep(tmp_path / "s", cells()))
    named = replace(table, cells={n: replace(cell, external=True, dataset="<b>`x`") for n, cell in table.cells.items()})
    assert "; lists of another system, not tuned here: \\<b>\\`x\\`/m." in as_markdown(named, [])
