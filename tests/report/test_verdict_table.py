"""Every verdict word through a whole sweep, and every number of a contrast by hand."""

from __future__ import annotations

import io
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats as distributions

from mmbench.inference import intervals
from mmbench.inference.gains import TunedGain
from mmbench.inference.verdicts import Verdict
from mmbench.report import pooled as pooling
from mmbench.report.comparisons import Comparison, is_significant, read_contrasts, significant
from mmbench.report.disposals import read_disposals
from mmbench.report.evidence import proved
from mmbench.report.explain import explainable
from mmbench.report.fairness_checks import read_groups
from mmbench.report.layout import csv, latex, markdown, terminal
from mmbench.report.pooled import pool, rank_tables
from mmbench.report.reading import read_sweep
from mmbench.report.sentences import sentence
from mmbench.report.table import Tuned
from mmbench.report.verdict_table import columns_of, document, notes
from mmbench.report.write import write_report
from mmbench.store.schema import DataPrint
from tests.report.constructed import Hits, Made, hit_users, write_earlier_look, write_sweep
from tests.studies import sweeps as studies

USERS, BASE = 2000, range(1000)
D = "shop_50%&co|1"


def seeds(hits: Hits, n: int = 3) -> Hits:
    return np.stack([hits] * n)


def three(*spans: range, **records: Any) -> Made:
    """A cell whose three seeds all have a hit for the users of the spans."""
    return Made(seeds(hit_users(USERS, *spans)), **records)


def trap() -> Made:
    """Seven of eight trials are better than nothing, and the one that validation likes best is far worse on test."""
    trials = np.stack([hit_users(USERS, BASE), *[hit_users(USERS, range(1100))] * 6, hit_users(USERS, range(500))])
    return three(range(500), trials=trials, validation=[0.50 + 0.01 * slot for slot in range(8)])


NONE = three(BASE)
UNTRUSTED = "measurement not trusted"
STALLED = [{"popularity": 0.9}] * 8
RISING = [{"history": [0.1] * 6 + [0.2, 0.3, 0.55], "best_epoch": 9, "stop_reason": "max_steps"}] * 8
CRASHED = [0.5, None, None, None, 0.5, 0.5, 0.5, 0.5]
RUNGS = {"budget": {"name": "standard", "trials": 8, "seeds": 3, "max_steps": 9, "rungs": [3]}}
#: One row a case: name, records with text, records without content -> verdict, level of the fairness report.
#: Half of the users have a hit without content; users with a hit in addition and users who lose theirs decide the word.
CASES = [
    ("better",       three(range(1100)),                                  NONE, "better",            "PASS"),
    ("better_small", three(range(1010)),                                  NONE, "better but small",  "PASS"),
    ("equivalent",   three(range(2, 1002)),                               NONE, "equivalent",        "PASS"),
    ("worse",        three(range(900)),                                   NONE, "worse",             "PASS"),
    ("worse_small",  three(range(26, 1009)),                              NONE, "worse but small",   "PASS"),
    ("undecided",    three(range(45, 1060)),                              NONE, "undecided",         "PASS"),
    ("failed",       Made(failure="NaN in\nthe loss"),                    NONE, "failed",            "WARN"),
    ("missing",      Made(missing=True),                                  NONE, "text missing",      "PASS"),
    ("untrusted",    three(range(1100), seal={"choice_hash": "another"}), NONE, UNTRUSTED,           "FAIL"),
    ("other_test",   three(range(1100), seal={"test_hash": "another"}),   NONE, UNTRUSTED,           "FAIL"),
    ("trap",         trap(),                                              NONE, "depends on tuning", "PASS"),
    ("stalled",      three(range(1100), courses=STALLED),                 NONE, UNTRUSTED,           "WARN"),
    ("rising",       three(range(1100), courses=RISING),                  NONE, UNTRUSTED,           "WARN"),
    ("crashed",      three(range(1100), validation=CRASHED),
                                          three(BASE, validation=CRASHED), UNTRUSTED,                "WARN"),
    ("short",        three(range(1100), trials=seeds(hit_users(USERS, range(1100)), 5)),
                     three(BASE, trials=seeds(hit_users(USERS, BASE), 5)), "no word",                "PASS"),
    ("rungs",        three(range(1100), config=RUNGS),         three(BASE, config=RUNGS), "no word", "PASS"),
    ("nothing",      NONE,                                                three(), "no word",        "PASS"),
]  # fmt: skip
TEXT = {name: text for name, text, _, _, _ in CASES}
WORDS = {name: word for name, _, _, word, _ in CASES}
#: Name of a case and what its reason says.
REASONS = [
    ("failed",       "text failed: NaN in the loss"),
    ("untrusted",    "the test split was opened for another choice"),
    ("other_test",   "the two differ in final seeds, test split or effort"),
    ("trap",         "after all 8 trials the gain is -50.0 %, outside the 95 % interval"),
    ("stalled",      "of the weight of text, stalled trials 100 %: raise budget.patience_steps"),
    ("rising",       "of the weight of text, cut off trials 100 %: raise budget.max_steps"),
    ("crashed",      "3 of the 8 trials of text failed; 3 of the 8 trials of none failed"),
    ("short",        "5 trials, and a word takes 8: raise budget.trials"),
    ("rungs",        "trials were cut short at rungs, so what they would have come to is unknown"),
    ("nothing",      "a side finds nothing, so there is no ratio"),
    ("better_small", "real but negligible"),
]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    cells = {(D, name, "text"): text for name, text, _, _, _ in CASES}
    cells |= {(D, name, "none"): none for name, _, none, _, _ in CASES}
    cells |= {(D, "bpr", "-"): NONE}
    return write_sweep(tmp_path_factory.mktemp("sweep") / "words", cells)


def judged(folder: Path) -> dict[str, Comparison]:
    table = read_sweep(folder)
    return {c.model: c for c in read_contrasts(table, read_groups(table, folder))}


@pytest.fixture(scope="module")
def by_model(folder: Path) -> dict[str, Comparison]:
    return judged(folder)


@pytest.mark.parametrize(("name", "word", "fairness"), [(name, *result) for name, _, _, *result in CASES])
def test_every_word(by_model: dict[str, Comparison], name: str, word: str, fairness: str) -> None:
    assert by_model[name].word == word
    assert by_model[name].fairness == fairness


def test_every_case_is_judged_and_nothing_else(by_model: dict[str, Comparison]) -> None:
    assert by_model.keys() == WORDS.keys()
    assert [name for name, comparison in by_model.items() if comparison.judgement is None] == ["missing"]


@pytest.mark.parametrize(("name", "why"), REASONS)
def test_reasons(by_model: dict[str, Comparison], name: str, why: str) -> None:
    judgement = by_model[name].judgement
    assert judgement is not None
    assert why in judgement.reason


def test_numbers_by_hand(by_model: dict[str, Comparison]) -> None:
    """A finds 1,010 of 2,000 users, B 1,000 of them in every trial, so only users vary."""
    c = by_model["better_small"]
    assert c.tuned is not None
    assert c.inference is not None
    assert (c.tuned.n, c.tuned.trials) == (3, 8)
    log = c.tuned.log_gain
    assert log is not None
    assert c.tuned.gain == pytest.approx(0.01)
    # m_A/mean_A - m_B/mean_B is 1/.505 - 2 for the 1,000 users, 1/.505 for the 10, and 0 for the rest.
    variance = (1000 * (1 / 0.505 - 2.0) ** 2 + 10 * (1 / 0.505) ** 2) / (USERS - 1)
    se, df = math.sqrt(variance / USERS), USERS - 1
    assert (log.se, log.df) == (pytest.approx(se), pytest.approx(df))
    t, middle = distributions.t, math.log(1.01)
    assert c.tuned.interval is not None
    assert c.tuned.interval.lo == pytest.approx(math.exp(middle - t.ppf(0.975, df) * se) - 1)
    assert c.inference.p == pytest.approx(2 * t.sf(middle / se, df))
    assert c.inference.noninferior_p == pytest.approx(t.sf((middle - math.log(0.98)) / se, df))
    assert c.inference.equivalence_p == pytest.approx(t.sf((math.log(1.02) - middle) / se, df))
    assert c.inference.margin == pytest.approx(math.exp(middle + t.ppf(0.95, df) * se) - 1)
    assert c.inference.mde == pytest.approx(math.exp((t.ppf(0.975, df) + t.ppf(0.8, df)) * se) - 1)
    # The other way round: B is not worse than A by the margin.
    assert c.inference.dispensable_p == pytest.approx(t.sf((-middle - math.log(0.98)) / se, df))


def test_the_two_configurations_keep_their_interval(by_model: dict[str, Comparison]) -> None:
    c = by_model["better_small"]
    assert c.effects is not None
    assert c.configuration == intervals.relative_gain(c.a.per_user("ndcg@20"), c.b.per_user("ndcg@20"))
    assert (c.effects.improved, c.effects.harmed) == (10 / USERS, 0.0)
    trapped = by_model["trap"]
    assert trapped.configuration is not None
    assert trapped.tuned is not None
    assert trapped.configuration.mean == pytest.approx(-0.5)  # what was chosen, not what tuning is expected to find
    # The trap is among 2 of 7 in 6/21 of the draws, the second worst never chosen alone; the rest finds 1,100.
    assert trapped.tuned.gain == pytest.approx((6 * 0.5 + 15 * 1.1) / 21 - 1)


def test_curves_and_what_is_shown_beside_them(by_model: dict[str, Comparison]) -> None:
    tuned = by_model["trap"].tuned
    assert tuned is not None
    assert tuned.gain_at_defaults == pytest.approx(0.0)
    assert tuned.curve.mean[-1] == pytest.approx(-0.5)
    assert np.isfinite(tuned.curve.lo[:3]).all()
    assert np.isnan(tuned.curve.lo[4:]).all()  # no bounds beyond half of the trials
    assert tuned.top_trial is not None
    assert (tuned.top_trial.slot, tuned.top_trial.weight_a) == (7, pytest.approx(6 / 21))
    assert tuned.top_trial.gain_without == pytest.approx(0.1)
    # Validation of a side minus test: of none .5 - .5; the optimism of text is what the trap promised.
    optimism = by_model["trap"].optimism
    assert optimism is not None
    expected = sum(rank * (0.51 + 0.01 * rank) for rank in range(7)) / 21
    assert optimism == (pytest.approx(expected - tuned.a.tuned), pytest.approx(0.0))


def test_adjusted_p(by_model: dict[str, Comparison]) -> None:
    # What failed, was not run, was not paired, was cut short or has nothing below it has no p of its own.
    assert {name for name in WORDS if by_model[name].inference is None} == {
        "failed", "missing", "other_test", "rungs", "nothing",
    }  # fmt: skip
    counted = [*by_model.values()]
    p = [1.0 if c.inference is None else c.inference.p for c in counted]
    for c, q in zip(counted, intervals.benjamini_hochberg(p), strict=True):
        if c.inference is not None:
            assert c.inference.bh == q
            assert c.inference.holm == c.inference.p  # one contrast in its family
    small = [c for c in counted if c.inference is not None and c.inference.bh < 0.05]
    silent = [c for c in small if c.judgement is not None and c.judgement.word in (None, Verdict.UNTRUSTED)]
    passing, all_of_them = significant(counted)
    assert (passing, all_of_them) == (len(small) - len(silent), len(counted))
    assert silent, "a p that is small and may not count"
    assert 0 < passing < len(counted) - len(silent)


def test_holm_is_within_a_model_and_dataset(tmp_path: Path) -> None:
    image = Made(seeds(hit_users(USERS, range(30, 1060))))
    cells = {("d", "m", "none"): NONE, ("d", "m", "text"): TEXT["undecided"], ("d", "m", "image"): image}
    cells |= {("d", "other", "none"): NONE, ("d", "other", "text"): TEXT["undecided"]}
    sweep = write_sweep(tmp_path / "s", cells, contrasts=["text_vs_none", "image_vs_none", "fused_vs_text"])
    table = read_sweep(sweep)
    compared = {(c.model, c.contrast): c for c in read_contrasts(table, read_groups(table, sweep))}
    assert list(compared) == [("m", "text_vs_none"), ("m", "image_vs_none"), ("other", "text_vs_none")]
    absent = [line for line in notes(table, list(compared.values()), []) if "not both conditions" in line]
    assert absent == ["Planned, but not both conditions are in this sweep: fused_vs_text."]
    raw = {key: c.inference.p for key, c in compared.items() if c.inference}
    adjusted = {key: c.inference.holm for key, c in compared.items() if c.inference}
    smaller, larger = sorted([raw["m", "text_vs_none"], raw["m", "image_vs_none"]])
    assert sorted([adjusted["m", "text_vs_none"], adjusted["m", "image_vs_none"]]) == [min(2 * smaller, larger), larger]
    assert adjusted["other", "text_vs_none"] == raw["other", "text_vs_none"]


def test_what_failed_or_has_no_bounds_counts_in_its_family(tmp_path: Path) -> None:
    """Else a condition that breaks, or a refusal that depends on the data, would make the others look better."""
    image = Made(seeds(hit_users(USERS, range(30, 1060))))
    cells = {("d", "m", "none"): NONE, ("d", "m", "text"): TEXT["undecided"], ("d", "m", "image"): image}
    holm = []
    for name, added in (("two", {}), ("broken", {("d", "m", "fused"): Made(failure="NaN")})):
        contrasts = ["text_vs_none", "image_vs_none", "fused_vs_none"]
        sweep = write_sweep(tmp_path / name, {**cells, **added}, contrasts=contrasts)
        table = read_sweep(sweep)
        compared = read_contrasts(table, read_groups(table, sweep))
        holm.append([c.inference.holm for c in compared if c.inference])
        assert significant(compared)[1] == 2 + len(added)
    assert min(holm[1]) == pytest.approx(1.5 * min(holm[0]))


def test_a_later_look_is_significant_at_its_own_level(by_model: dict[str, Comparison]) -> None:
    better = by_model["better"]
    assert isinstance(better.tuned, TunedGain)
    second = replace(better, tuned=replace(better.tuned, level=0.975))
    assert (is_significant(better, 0.04), is_significant(second, 0.04), is_significant(second, 0.02)) == (
        True, False, True,
    )  # fmt: skip
    assert not is_significant(by_model["untrusted"], 0.0)
    assert not is_significant(by_model["missing"], 0.0)


def test_nothing_is_significant_that_depends_on_tuning(by_model: dict[str, Comparison]) -> None:
    assert is_significant(by_model["better"], 0.0)
    assert not is_significant(by_model["trap"], 0.0)


def test_two_configurations_of_which_one_finds_nothing_have_no_bounds(tmp_path: Path) -> None:
    """The differences of all users are zero then, which is no certainty."""
    cells = {("d", "m", "none"): NONE, ("d", "m", "text"): three()}
    table = read_sweep(write_sweep(tmp_path / "s", cells))
    (c,) = judged(table.folder).values()
    made = document(table, [c], [])
    shown = {name: e.text for name, e in zip(made.tables[0].header, made.tables[0].entries[0], strict=True)}
    assert (shown["these two configurations %"], shown["95 % over users and seeds"]) == ("-100.0", "-")
    frame = pd.read_csv(io.StringIO(csv(made))).iloc[0]
    assert frame["configuration_gain"] == -1
    assert frame[[f"configuration_{name}" for name in ("lo95", "hi95", "se", "df", "p")]].isna().all()
    assert studies.contrast(c)["configuration"] == [-1.0, None, None]
    assert "  no bounds: a side finds nothing, no user differs" in explainable(table.folder)["d/m/text_vs_none"]()


def test_two_configurations_that_rank_alike_differ_by_exactly_nothing(tmp_path: Path) -> None:
    """A configuration that leaves content out is that of the smaller condition; the same hits by chance are not."""
    ranks = np.where(hit_users(USERS, BASE), 1, 300)
    for ranked, bounds in ((ranks, [0.0, 0.0, 0.0]), (np.where(ranks == 300, 301, ranks), [0.0, None, None])):
        cells = {
            ("d", "m", "none"): replace(NONE, ranks=ranks),
            ("d", "m", "text"): replace(three(), ranks=ranked),
        }
        (c,) = judged(write_sweep(tmp_path / f"s{ranked.max()}", cells)).values()
        assert studies.contrast(c)["configuration"] == bounds


def test_one_seed_allows_no_word(tmp_path: Path) -> None:
    one = {
        ("d", "m", name): Made(seeds(hit_users(USERS, span), 1))
        for name, span in (("none", BASE), ("text", range(1100)))
    }
    table = read_sweep(write_sweep(tmp_path / "s", one))
    (c,) = judged(table.folder).values()
    assert (c.word, c.inference) == ("no word", None)
    made = document(table, [c], [])
    shown = {name: e.text for name, e in zip(made.tables[0].header, made.tables[0].entries[0], strict=True)}
    assert (shown["tuned gain %"], shown["trials"]) == ("+10.0", "3 of 8")
    assert shown["these two configurations %"] == "+10.0"
    silent = ("interval", "Holm p", "BH q", "equivalence p", "margin %", "MDE %", "95 % over users and seeds")
    assert {shown[name] for name in silent} == {"-"}
    text = markdown(made)
    assert "training noise not measured, 1 final seed: raise budget.seeds" in text
    assert not any(word in text for word in ("better:", "worse:", "equivalent:", "undecided:"))
    frame = pd.read_csv(io.StringIO(csv(made)))
    assert frame.loc[0, ["lo", "se", "p", "holm_p", "mde", "configuration_lo95"]].isna().all()
    assert "seed noise of the default" in frame.loc[0, "no_word"]


def test_a_closed_form_needs_one_seed(tmp_path: Path) -> None:
    computed = [{"stop_reason": "closed_form"}] * 8
    cells = {
        ("d", "m", name): Made(seeds(hit_users(USERS, span), 1), courses=computed, final={"stop_reason": "closed_form"})
        for name, span in (("none", BASE), ("text", range(1100)))
    }

    def row(folder: Path) -> pd.Series[Any]:
        exported = csv(document(read_sweep(folder), list(judged(folder).values()), []))
        return pd.read_csv(io.StringIO(exported)).loc[0]

    found = row(write_sweep(tmp_path / "s", cells))
    assert found["verdict"] == "better"
    # The bounds of these two configurations are over the users alone.
    a, b = hit_users(USERS, range(1100)), hit_users(USERS, BASE)
    se = float(((a - 1.1 * b) / 0.5).std(ddof=1)) / math.sqrt(USERS)
    assert found[["seeds", "configuration_gain", "configuration_se"]].tolist() == pytest.approx([1, 0.1, se])
    assert found["configuration_lo95"] == pytest.approx(0.1 - distributions.t.ppf(0.975, USERS - 1) * se)
    # One that is trained on either side has noise that one run does not measure.
    for trained in ("none", "text"):
        changed = cells | {("d", "m", trained): replace(cells["d", "m", trained], courses=None, final={})}
        found = row(write_sweep(tmp_path / trained, changed))
        assert found[["configuration_lo95", "configuration_se", "configuration_p"]].isna().all()


def test_the_margin_is_that_of_the_manifest(tmp_path: Path) -> None:
    cells = {("d", "m", "none"): NONE, ("d", "m", "text"): TEXT["better"]}
    assert [c.word for c in judged(write_sweep(tmp_path / "s", cells, delta=0.2)).values()] == ["better but small"]


@pytest.mark.thorough
@pytest.mark.charts
def test_the_primary_metric_is_that_of_the_manifest(tmp_path: Path) -> None:
    """Text moves the hits of 500 users from the first to the third place: half of their NDCG, none of their recall."""
    ranks = np.where(hit_users(USERS, BASE), 1, 60)
    lower = np.where(hit_users(USERS, range(500)), 3, ranks)
    cells = {("d", "m", "none"): three(BASE), ("d", "m", "text"): three(BASE, ranks=lower)}
    words, optimism = {}, {}
    for metric in ("ndcg@20", "recall@20"):
        (c,) = judged(write_sweep(tmp_path / metric / "s", cells, primary=metric, metrics=[metric])).values()
        table = write_report(tmp_path / metric / "s")
        words[metric], optimism[metric] = c.word, c.optimism
        assert f"verdicts on {'NDCG' if metric == 'ndcg@20' else 'Recall'}@20" in table.text
    assert words == {"ndcg@20": "worse", "recall@20": "equivalent"}
    assert optimism["ndcg@20"] is not None
    assert optimism["recall@20"] is None  # validation is NDCG@20, and the two are not the same thing
    # Pages and figures of the second sweep speak of recall; NDCG@20 is left where it chooses, and to new items.
    report = tmp_path / "recall@20" / "s" / "report"
    for page in ("benchmark.md", "verdicts.md", "contribution.md", "submission.md", "fairness.html"):
        text = (report / page).read_text(encoding="utf-8").lower()
        assert "recall@20" in text, page
        chosen_by = r"validation ndcg@20|ndcg@20 on validation"
        left = [line for line in text.splitlines() if "ndcg@20" in re.sub(chosen_by, "", line)]
        assert [line for line in left if "new items" not in line] == [], page
    assert "Recall@20" in (report / "forest-text_vs_none.svg").read_text(encoding="utf-8")


# Looks


def test_after_raising_words_need_more_and_earlier_ones_are_listed(tmp_path: Path) -> None:
    """Ten users more are found: at the first look that shows, at the second the interval is wider."""
    hits = {"text": hit_users(USERS, range(6, 1016)), "none": hit_users(USERS, BASE)}
    before, after = (
        write_sweep(tmp_path / name, {("d", "m", c): Made(seeds(h), trials=seeds(h, n)) for c, h in hits.items()})
        for name, n in (("before", 8), ("after", 16))
    )
    for condition in hits:
        write_earlier_look(after / "d" / "m" / condition, 8)
    (first,), (second,) = (judged(folder).values() for folder in (before, after))
    assert first.tuned is not None
    assert second.tuned is not None
    assert (first.tuned.level, first.earlier) == (0.95, ())
    assert (second.tuned.level, second.tuned.trials, second.tuned.n) == (0.975, 16, 6)
    assert (first.word, second.word) == ("better but small", "equivalent")
    # Six users lose their hit, 994 keep it and 16 gain one; 1 - .025 is the level of one side, 1 - .0125 of one of two.
    variance = (6 * 2.0**2 + 994 * (1 / 0.505 - 2.0) ** 2 + 16 * (1 / 0.505) ** 2) / (USERS - 1)
    se, t = math.sqrt(variance / USERS), distributions.t(USERS - 1)
    assert second.inference is not None
    assert second.inference.margin == pytest.approx(1.01 * math.exp(t.ppf(0.975) * se) - 1)
    assert second.inference.mde == pytest.approx(math.exp((t.ppf(0.9875) + t.ppf(0.8)) * se) - 1)
    (look,) = second.earlier
    assert (look.number, look.trials, look.seeds, look.judgement) == (1, 8, 3, first.judgement)
    assert look.tuned is not None
    assert look.tuned.interval == first.tuned.interval
    table = write_report(after)
    assert "d/m/text_vs_none, look 1, with T 8 and S 3: better but small +1.0 % [" in table.text
    assert "at the k-th look at the test split words use the level 1 - .05/k" in table.text
    assert "] at 97.5 % to interactions alone" in table.text or "] at 97.5 % (NDCG@20, d)" in table.text
    for name in ("verdicts", "benchmark"):
        page = (after / "report" / f"{name}.ja.md").read_text(encoding="utf-8")
        assert "](97.5%信頼区間)" in page.replace("\\", "")
        assert "] at " not in page.replace("\\", "")


def test_a_condition_that_joined_later_has_no_earlier_words_but_the_level_of_the_others(tmp_path: Path) -> None:
    hits = {"text": hit_users(USERS, range(1100)), "none": hit_users(USERS, BASE)}
    folder = write_sweep(tmp_path / "s", {("d", "m", c): Made(seeds(h), trials=seeds(h, 16)) for c, h in hits.items()})
    write_earlier_look(folder / "d" / "m" / "none", 8)
    (c,) = judged(folder).values()
    assert c.tuned is not None
    assert (c.tuned.level, c.earlier) == (0.975, ())


@pytest.mark.parametrize(
    ("level", "p", "shown"),
    [
        (0.95, 0.0496, "0.0496"),
        (0.95, 0.0504, "0.0504"),
        (0.95, 0.0312, "0.031"),
        (0.975, 0.0248, "0.0248"),
        (0.975, 0.0496, "0.050"),
        (1 - 0.05 / 3, 0.01669, "0.01669"),
        (0.95, 0.0004, "<.001"),
    ],
)
def test_a_p_beside_the_level_of_its_look_does_not_look_like_it(
    folder: Path, by_model: dict[str, Comparison], level: float, p: float, shown: str
) -> None:
    c = by_model["better"]
    assert c.tuned is not None
    assert c.inference is not None
    adjusted = dict.fromkeys(("holm", "bh", "equivalence_p", "noninferior_p", "dispensable_p"), p)
    row = replace(c, tuned=replace(c.tuned, level=level), inference=replace(c.inference, **adjusted))
    printed = {column.label: column.entry(row).text for column in columns_of(read_sweep(folder))}
    assert printed["Holm p"] == shown + "†" * (p < 1 - level)
    assert [printed[name] for name in ("BH q", "equivalence p", "A not worse p", "B not worse p")] == [shown] * 4


# Sentences


@pytest.mark.parametrize(
    ("a", "b", "finding"),
    [
        ({"text": "real"}, {"text": "drop"}, "text adds +10.0 % [+8.0, +12.1] to interactions alone"),
        (
            {"image": "real", "text": "real"},
            {"image": "drop", "text": "real"},
            "images add +10.0 % [+8.0, +12.1] to text",
        ),
        (
            {"image": "real", "text": "real"},
            {"image": "shuffle", "text": "real"},
            "images add +10.0 % [+8.0, +12.1] over the same rows shuffled beside text",
        ),
        (
            {"image": "real", "text": "real"},
            {"image": "drop", "text": "drop"},
            "images and text add +10.0 % [+8.0, +12.1] to interactions alone",
        ),
        ({"text": "noise"}, {"text": "drop"}, "text against none is +10.0 % [+8.0, +12.1]"),
    ],
)
def test_a_sentence_names_model_effort_data_metric_and_number(
    tmp_path: Path, a: dict[str, str], b: dict[str, str], finding: str
) -> None:
    cells = {
        ("shop", "vbpr", "text"): three(range(1100), cell={"states": a}),
        ("shop", "vbpr", "none"): three(BASE, cell={"states": b}),
    }
    (c,) = judged(write_sweep(tmp_path / "s", cells)).values()
    assert sentence(c, "ndcg@20") == f"vbpr after 3 of its 8 trials: {finding} (NDCG@20, shop)"


def test_what_has_not_run_counts_with_a_p_of_1(tmp_path: Path) -> None:
    """Whoever stops before the controls have run gains nothing; 3 p is what Holm and BH give one of three contrasts."""
    cells = {("d", "m", "text"): TEXT["undecided"], ("d", "m", "none"): NONE}
    cells |= {("d", "m", name): Made(missing=True) for name in ("image", "fused")}
    folder = write_sweep(tmp_path / "s", cells, contrasts=["text_vs_none", "image_vs_none", "fused_vs_image"])
    table = read_sweep(folder)
    tested, *pending = read_contrasts(table, read_groups(table, folder))
    assert [c.judgement for c in pending] == [None, None]
    assert tested.inference is not None
    assert 0 < 3 * tested.inference.p < 1
    assert tested.inference.holm == tested.inference.bh == pytest.approx(3 * tested.inference.p)
    assert significant([tested, *pending]) == (0, 3)


# Over data sets


def test_gains_are_pooled_over_data_sets_and_never_over_splits_of_one(tmp_path: Path) -> None:
    text = {"a": range(1100), "a-split1": range(1500), "b": range(1040), "c": range(1060)}
    config = {"a-split1": {"dataset": {"name": "a"}}}
    cells = {(d, "m", "text"): Made(seeds(hit_users(USERS, s)), config=config.get(d, {})) for d, s in text.items()}
    cells |= {(d, "m", "none"): Made(NONE.finals, config=config.get(d, {})) for d in text}
    table = read_sweep(write_sweep(tmp_path / "s", cells))
    compared = read_contrasts(table, read_groups(table, table.folder))
    (pooled,) = pool(compared, table).values()
    assert pooled.k == 3
    assert pooled.effect.mean == pytest.approx(math.exp(np.mean(np.log([1.1, 1.04, 1.06]))) - 1, abs=0.004)
    assert "random effects" in markdown(document(table, compared, []))
    assert pool([c for c in compared if c.a.data == "a"], table) == {}


def print_of(split: str) -> DataPrint:
    return DataPrint(split, split, "", 1, 1, 1, {})


def test_one_data_set_under_two_names_is_pooled_once(tmp_path: Path) -> None:
    text = {"a": range(1100), "again": range(1500), "b": range(1040)}
    cells = {(d, "m", "text"): Made(seeds(hit_users(USERS, s))) for d, s in text.items()}
    cells |= {(d, "m", "none"): NONE for d in text}
    data = {d: print_of(split) for d, split in {"a": "1", "again": "1", "b": "2"}.items()}
    table = read_sweep(write_sweep(tmp_path / "s", cells, data=data))
    compared = read_contrasts(table, read_groups(table, table.folder))
    (members,) = pooling.studies(compared, table).values()
    assert [row.dataset for row in members.pooled] == ["a", "b"]
    (shown,) = pooling.pooled_tables(compared, table)
    assert [entry.text for entry in shown.entries[0]][:4] == ["m", "text_vs_none", "2", "a"]
    assert pool([c for c in compared if c.dataset != "b"], table) == {}


def test_data_sets_that_have_not_begun_are_each_left_out_by_name(tmp_path: Path) -> None:
    """Under the target that the plan names for them."""
    cells = {(d, "m", "text"): Made(seeds(hit_users(USERS, range(1050)))) for d in ("a", "b")}
    cells |= {(d, "m", "none"): NONE for d in ("a", "b")}
    cells |= {(d, "m", condition): Made(missing=True) for d in ("c", "d") for condition in ("text", "none")}
    table = read_sweep(write_sweep(tmp_path / "s", cells))
    compared = read_contrasts(table, read_groups(table, table.folder))
    (members,) = pooling.studies(compared, table).values()
    assert [row.dataset for row in members.left_out] == ["c", "d"]


@pytest.mark.thorough
def test_ranks_only_from_ten_data_sets_on(tmp_path: Path) -> None:
    """Text is the best everywhere, and images beat nothing in seven data sets and lose in three by as much."""
    found = {(i, c): end for i in range(10) for c, end in (("none", 1000), ("text", 1100), ("image", 1050))}
    found |= {(i, "image"): 950 for i in range(7, 10)}
    cells = {(f"d{i}", "m", c): Made(seeds(hit_users(USERS, range(end)))) for (i, c), end in found.items()}
    (ranked,) = rank_tables(read_sweep(write_sweep(tmp_path / "ten", cells)))
    rows = {name.text: (rank.text, alike.text) for name, rank, alike in ranked.entries}
    assert rows == {"none": ("2.70", "image"), "text": ("1.00", "-"), "image": ("2.30", "none")}
    assert "critical difference 1.05" in ranked.title
    nine = {key: made for key, made in cells.items() if key[0] != "d9"}
    assert rank_tables(read_sweep(write_sweep(tmp_path / "nine", nine))) == []
    twice = {f"d{i}": print_of(str(min(i, 8))) for i in range(10)}
    assert rank_tables(read_sweep(write_sweep(tmp_path / "twice", cells, data=twice))) == []


# On paper


def test_all_files_say_the_same(tmp_path: Path) -> None:
    models = ("better", "failed", "missing", "undecided")
    cells = {(D, m, "text"): TEXT[m] for m in models} | {(D, m, "none"): NONE for m in models}
    folder = write_sweep(tmp_path / "s", cells)
    table, compared = write_report(folder), list(judged(folder).values())
    groups = read_groups(table, folder)
    made = proved(document(table, compared, read_disposals(table, groups)), table, groups)
    written = {ending: (folder / "report" / f"verdicts.{ending}").read_text() for ending in ("md", "tex", "csv")}
    assert written["md"] == markdown(made)
    assert written["tex"] == latex(made)
    assert table.text.endswith(terminal(made))
    frame = pd.read_csv(io.StringIO(written["csv"]))
    assert {line.model: line.verdict for line in frame.itertuples()} == {model: WORDS[model] for model in models}
    for line in frame.itertuples():
        assert (folder / line.records_a / "cell.json").exists() == (line.model != "missing")
    (printed,) = made.tables
    for entries in printed.entries:
        assert all(entry.text in table.text for entry in entries)
        assert f"| {' | '.join(entry.text for entry in entries)} |" in written["md"]
    assert "1 of 4 planned contrasts" in table.text  # what failed and what is missing are among them
    assert "NaN in the loss" in written["md"]
    assert r"<.001$\dagger$".replace("<", "$<$") in written["tex"]
    rows = [line for line in written["md"].splitlines() if line.startswith("|")]
    assert {line.count("|") for line in rows} == {len(printed.header) + 1}


def test_without_a_planned_contrast_that_is_said(tmp_path: Path) -> None:
    table = write_report(write_sweep(tmp_path / "s", {("d", "m", "none"): NONE}))
    assert "this sweep holds both conditions of none of the planned contrasts (text_vs_none)" in table.text


def test_a_budget_of_one_is_no_plural(tmp_path: Path) -> None:
    cells = {("d", "m", "none"): NONE, ("d", "m", "text"): TEXT["undecided"]}
    sweep = write_sweep(tmp_path / "s", cells, contrasts=["text_vs_none"])
    table = read_sweep(sweep)
    compared = read_contrasts(table, read_groups(table, sweep))
    tuned = Tuned("touch", 1, 1, 5, "rule", exhausted=False)
    one = replace(table, cells={name: replace(cell, tuned=tuned) for name, cell in table.cells.items()})
    told = "budget touch: at most 1 trial and 1 final seed of a condition (fairness.md: of each)."
    said = notes(one, compared, [])
    assert said[0] == told
    of_all = "Significant over the table (BH q below .05, or .05/k at look k): 0 of 1 planned contrast; undecided is"
    assert any(note.startswith(of_all) for note in said)


def test_the_legend_says_how_often_a_gain_is_seen(tmp_path: Path) -> None:
    cells = {("d", "m", "none"): NONE, ("d", "m", "text"): TEXT["undecided"]}
    sweep = write_sweep(tmp_path / "s", cells, contrasts=["text_vs_none"])
    table = read_sweep(sweep)
    compared = read_contrasts(table, read_groups(table, sweep))
    told = "MDE: true gain that is seen in four of five such studies (80 % power), smaller ones less often;"
    assert any(told in note for note in notes(table, compared, []))
