"""Every verdict word through a whole sweep, and every number of a contrast by hand."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats as distributions

from mmbench.inference import intervals
from mmbench.report.comparisons import Comparison, read_contrasts, significant
from mmbench.report.fairness_checks import read_groups
from mmbench.report.layout import csv, latex, markdown, terminal
from mmbench.report.pooled import pool, rank_tables
from mmbench.report.reading import read_sweep
from mmbench.report.verdict_table import document, notes
from mmbench.report.write import write_report
from tests.report.constructed import Hits, Made, hit_users, write_sweep

USERS, BASE = 2000, range(1000)
D = "shop_50%&co|1"


def seeds(hits: Hits, n: int = 3) -> Hits:
    return np.stack([hits] * n)


def three(*spans: range, **records: Any) -> Made:
    """A cell whose three seeds all have a hit for the users of the spans."""
    return Made(seeds(hit_users(USERS, *spans)), **records)


def eight(*spans: range) -> Hits:
    """Eight trials with a hit for the users of the spans; fewer say nothing about the luck of tuning."""
    return seeds(hit_users(USERS, *spans), 8)


NONE = three(BASE)
UNTRUSTED = "measurement not trusted"
#: One row a case: name, records with text, records without content -> verdict, level of the fairness report.
#: Half of the users have a hit without content; users with a hit in addition and users who lose theirs decide the word.
CASES = [
    ("better",       three(range(1100)),                                  NONE, "better",            "PASS"),
    ("better_small", three(range(1010)),                                  NONE, "better but small",  "PASS"),
    ("equivalent",   three(range(2, 1002)),                               NONE, "equivalent",        "PASS"),
    ("worse",        three(range(900)),                                   NONE, "worse",             "PASS"),
    ("worse_small",  three(range(26, 1009)),                              NONE, "worse but small",   "PASS"),
    ("undecided",    three(range(45, 1060)),                              NONE, "undecided",         "PASS"),
    ("failed",       Made(failure="NaN in\nthe loss"),                    NONE, "failed",            "PASS"),
    ("missing",      Made(missing=True),                                  NONE, "text missing",      "PASS"),
    ("untrusted",    three(range(1100), seal={"choice_hash": "another"}), NONE, UNTRUSTED,           "FAIL"),
    ("other_test",   three(range(1100), seal={"test_hash": "another"}),   NONE, UNTRUSTED,           "FAIL"),
    ("lucky",        three(range(1100), trials=eight(BASE)),
                                                     three(BASE, trials=eight(BASE)), "depends on tuning", "PASS"),
    ("steady",       three(range(1100), trials=eight(range(1100))),
                                                     three(BASE, trials=eight(BASE)), "better", "PASS"),
    ("nothing",      NONE,                                                three(), UNTRUSTED,        "PASS"),
]  # fmt: skip
TEXT = {name: text for name, text, _, _, _ in CASES}
WORDS = {name: word for name, _, _, word, _ in CASES}
#: Name of a case, a sentence of the reason, whether it is given.
REASONS = [
    ("failed",       "text failed: NaN in\nthe loss",                               True),
    ("untrusted",    "the test split was opened for another choice",                True),
    ("other_test",   "the two differ in final seeds, test split or effort",         True),
    ("nothing",      "none finds nothing",                                          True),
    ("lucky",        "it would lie in [",                                           True),
    ("better",       "the luck of tuning was not checked",                          True),
    ("steady",       "the luck of tuning was not checked",                          False),
    ("better_small", "real but negligible",                                         True),
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


@pytest.mark.parametrize(("name", "sentence", "given"), REASONS)
def test_reasons(by_model: dict[str, Comparison], name: str, sentence: str, given: bool) -> None:
    judgement = by_model[name].judgement
    assert judgement is not None
    assert (sentence in judgement.reason) == given


def test_numbers_by_hand(by_model: dict[str, Comparison]) -> None:
    """A finds 1,010 of 2,000 users, B 1,000 of them; seeds agree, so only users vary."""
    c = by_model["better_small"]
    assert c.gain is not None
    assert c.inference is not None
    assert c.effects is not None
    assert c.gain.mean == pytest.approx(0.01)
    # d = (m_A - 1.01 m_B) / 0.5: -.02 for the 1,000, 2 for the 10, 0 for the rest; its mean is zero.
    variance = (1000 * 0.02**2 + 10 * 2.0**2) / (USERS - 1)
    se = math.sqrt(variance / USERS)
    assert c.gain.se == pytest.approx(se)
    df = USERS - 1
    t = distributions.t
    assert c.gain.df == pytest.approx(df)
    assert c.gain.lo == pytest.approx(0.01 - t.ppf(0.975, df) * se)
    assert c.gain.p == pytest.approx(2 * t.sf(0.01 / se, df))
    assert c.inference.noninferior_p == pytest.approx(t.sf(0.03 / se, df))
    assert c.inference.equivalence_p == pytest.approx(t.sf(0.01 / se, df))
    assert c.inference.margin == pytest.approx(0.01 + t.ppf(0.95, df) * se)
    z = distributions.norm.ppf(0.975) + distributions.norm.ppf(0.8)
    assert c.inference.mde == pytest.approx(z * se)
    assert (c.effects.improved, c.effects.harmed) == (10 / USERS, 0.0)
    # The other way round: 1,000 / 1,010 - 1.
    reverse = intervals.relative_gain(c.b.per_user("ndcg@20"), c.a.per_user("ndcg@20"))
    assert reverse.mean == pytest.approx(1000 / 1010 - 1)
    assert c.inference.dispensable_p == intervals.tost(reverse, 0.02).noninferiority_p


def test_adjusted_p(by_model: dict[str, Comparison]) -> None:
    tested = [c for c in by_model.values() if c.inference]
    assert len(tested) == 9  # what failed, was not run, was not paired or has nothing below it is not tested
    for c, q in zip(tested, intervals.benjamini_hochberg([c.gain.p for c in tested if c.gain]), strict=True):
        assert c.gain is not None
        assert c.inference is not None
        assert c.inference.bh == q
        assert c.inference.holm == c.gain.p  # one contrast in its family
    passing, all_of_them = significant(tested)
    assert (passing, all_of_them) == (sum(c.inference.bh < 0.05 for c in tested if c.inference), 9)
    assert 0 < passing < 9


def test_holm_is_within_a_model_and_dataset(tmp_path: Path) -> None:
    image = Made(seeds(hit_users(USERS, range(30, 1060))))
    cells = {("d", "m", "none"): NONE, ("d", "m", "text"): TEXT["undecided"], ("d", "m", "image"): image}
    cells |= {("d", "other", "none"): NONE, ("d", "other", "text"): TEXT["undecided"]}
    sweep = write_sweep(tmp_path / "s", cells, contrasts=["text_vs_none", "image_vs_none", "fused_vs_text"])
    table = read_sweep(sweep)
    compared = {(c.model, c.contrast): c for c in read_contrasts(table, read_groups(table, sweep))}
    assert list(compared) == [("m", "text_vs_none"), ("m", "image_vs_none"), ("other", "text_vs_none")]
    absent = [line for line in notes(table, list(compared.values())) if "not both conditions" in line]
    assert absent == ["Planned, but not both conditions are in this sweep: fused_vs_text."]
    raw = {key: c.gain.p for key, c in compared.items() if c.gain}
    adjusted = {key: c.inference.holm for key, c in compared.items() if c.inference}
    smaller, larger = sorted([raw["m", "text_vs_none"], raw["m", "image_vs_none"]])
    assert sorted([adjusted["m", "text_vs_none"], adjusted["m", "image_vs_none"]]) == [min(2 * smaller, larger), larger]
    assert adjusted["other", "text_vs_none"] == raw["other", "text_vs_none"]


def test_one_seed_infers_nothing(tmp_path: Path) -> None:
    one = {
        ("d", "m", name): Made(seeds(hit_users(USERS, span), 1))
        for name, span in (("none", BASE), ("text", range(1100)))
    }
    table = read_sweep(write_sweep(tmp_path / "s", one))
    (c,) = judged(table.folder).values()
    assert (c.word, c.inference) == ("undecided", None)
    made = document(table, [c])
    shown = {name: e.text for name, e in zip(made.tables[0].header, made.tables[0].entries[0], strict=True)}
    assert shown["gain %"] == "+10.0"
    assert {shown[name] for name in ("95 %", "Holm p", "BH q", "equivalence p", "margin %", "MDE %")} == {"-"}
    assert any("One seed" in line for line in notes(table, [c]))
    text = markdown(made)
    assert "significant over" in text
    assert not any(word in text for word in ("better", "worse but", "equivalent:"))
    frame = pd.read_csv(io.StringIO(csv(made)))
    assert frame.loc[0, ["lo95", "se", "p", "holm_p", "mde"]].isna().all()


def test_the_margin_is_that_of_the_manifest(tmp_path: Path) -> None:
    cells = {("d", "m", "none"): NONE, ("d", "m", "text"): TEXT["better"]}
    assert [c.word for c in judged(write_sweep(tmp_path / "s", cells, delta=0.2)).values()] == ["better but small"]


# Over data sets


def test_gains_are_pooled_over_data_sets_and_never_over_splits_of_one(tmp_path: Path) -> None:
    text = {"a": range(1100), "a-split1": range(1500), "b": range(1040), "c": range(1060)}
    config = {"a-split1": {"dataset": {"name": "a"}}}
    cells = {(d, "m", "text"): Made(seeds(hit_users(USERS, s)), config=config.get(d, {})) for d, s in text.items()}
    cells |= {(d, "m", "none"): Made(NONE.finals, config=config.get(d, {})) for d in text}
    table = read_sweep(write_sweep(tmp_path / "s", cells))
    compared = read_contrasts(table, read_groups(table, table.folder))
    (pooled,) = pool(compared).values()
    assert pooled.k == 3
    assert pooled.effect.mean == pytest.approx(math.exp(np.mean(np.log([1.1, 1.04, 1.06]))) - 1, abs=0.004)
    assert "random effects" in markdown(document(table, compared))
    assert pool([c for c in compared if c.a.data == "a"]) == {}


def test_ranks_only_from_ten_data_sets_on(tmp_path: Path) -> None:
    shown = {"none": range(1000), "text": range(1100), "image": range(1050)}
    cells = {(f"d{i}", "m", c): Made(seeds(hit_users(USERS, s))) for i in range(10) for c, s in shown.items()}
    (ranked,) = rank_tables(read_sweep(write_sweep(tmp_path / "ten", cells)))
    assert {r[0].text: r[1].text for r in ranked.entries} == {"none": "3.00", "text": "1.00", "image": "2.00"}
    assert "critical difference 1.05" in ranked.title
    nine = {key: made for key, made in cells.items() if key[0] != "d9"}
    assert rank_tables(read_sweep(write_sweep(tmp_path / "nine", nine))) == []


# On paper


def test_all_files_say_the_same(tmp_path: Path) -> None:
    models = ("better", "failed", "missing", "undecided")
    cells = {(D, m, "text"): TEXT[m] for m in models} | {(D, m, "none"): NONE for m in models}
    folder = write_sweep(tmp_path / "s", cells)
    table, compared = write_report(folder), list(judged(folder).values())
    made = document(table, compared)
    written = {ending: (folder / "report" / f"verdicts.{ending}").read_text() for ending in ("md", "tex", "csv")}
    assert written["md"] == markdown(made)
    assert written["tex"] == latex(made)
    assert table.text.endswith(terminal(made))
    assert table.words == {f"{D}/{model}/text_vs_none": WORDS[model] for model in models}
    assert {gap.name: gap.verdict for gap in table.gaps} == {
        f"{model}/text_vs_none": WORDS[model] for model in ("better", "undecided")
    }
    frame = pd.read_csv(io.StringIO(written["csv"]))
    assert {line.model: line.verdict for line in frame.itertuples()} == {model: WORDS[model] for model in models}
    for line in frame.itertuples():
        assert (folder / line.records_a / "cell.json").exists() == (line.model != "missing")
    (printed,) = made.tables
    for entries in printed.entries:
        assert all(entry.text in table.text for entry in entries)
        assert f"| {' | '.join(entry.text for entry in entries)} |" in written["md"]
    assert "1 of 2 tested contrasts" in table.text
    assert "NaN in the loss" in written["md"]
    assert r"<.001$\dagger$".replace("<", "$<$") in written["tex"]
    rows = [line for line in written["md"].splitlines() if line.startswith("|")]
    assert {line.count("|") for line in rows} == {len(printed.header) + 1}


def test_without_a_planned_contrast_that_is_said(tmp_path: Path) -> None:
    table = write_report(write_sweep(tmp_path / "s", {("d", "m", "none"): NONE}))
    assert "this sweep holds both conditions of none of the planned contrasts (text_vs_none)" in table.text
