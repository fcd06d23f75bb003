"""What was asked afterwards: pairs of conditions, parts of a gain, and that the page has what the files give."""

from __future__ import annotations

import copy

import numpy as np
import pandas as pd
import pytest

from mmbench.inference.tuned_gain import free_disposal
from tests.studies import afterwards, answer, kept, pages


@pytest.fixture(scope="module")
def films() -> kept.Kept:
    return kept.Kept(*answer.folders_of("ml100k"))


def test_each_condition_with_content_stands_beside_the_same_shuffled(films: kept.Kept) -> None:
    assert afterwards.pairs_of(films, "addease") == [
        ("addease/none", "addease/none"),
        ("addease/text", "addease/shuffled_text"),
        ("addease/image", "addease/shuffled_image"),
        ("addease/fused", "addease/shuffled"),
    ]
    assert afterwards.pairs_of(films, "ease") == [("ease/-", "ease/-")]
    shop = kept.Kept(*answer.folders_of("uci_retail"))
    assert afterwards.pairs_of(shop, "l3ae") == [("l3ae/none", "l3ae/none"), ("l3ae/text", "l3ae/shuffled")]


def test_a_condition_whose_control_has_not_run_is_on_neither_side(films: kept.Kept) -> None:
    begun, ran = copy.copy(films), ("none", "text", "fused", "shuffled")
    begun.conditions = {name: each for name, each in films.conditions.items() if each.modality in ran}
    assert afterwards.pairs_of(begun, "addease") == [
        ("addease/none", "addease/none"),
        ("addease/fused", "addease/shuffled"),
    ]


def test_only_computed_models_are_compared_by_another_metric(films: kept.Kept) -> None:
    rows = films.verdicts
    found = afterwards.exact(films, rows[rows.gain.notna()])
    assert {"addease", "l3ae"} <= set(found.model)
    assert not {"vbpr", "fusion"} & set(found.model)
    with pytest.raises(ValueError, match="final runs of vbpr/text are kept by ndcg@20 alone"):
        kept.Kept(*films.folders, metric="recall@20").cell("ml100k", "vbpr/text")


def test_another_metric_is_that_of_the_published_table() -> None:
    study = kept.Kept(*answer.folders_of("tiktok"), metric="recall@20")
    cell = study.cell("tiktok", "ease/-")
    table = pd.read_csv(answer.STUDIES / "tiktok" / "table.csv")
    published = table[(table.model == "ease") & (table.metric == "recall@20")]["mean"].item()
    chosen = int(np.argmax(cell.tuning.validation))
    assert cell.test[chosen].mean() == pytest.approx(published, abs=1e-9)


def test_parts_add_up_and_the_whole_is_the_published_gain() -> None:
    study, rng = kept.Kept(*answer.folders_of("uci_retail")), np.random.default_rng(0)
    counted = rng.random(19_502) < 0.5  # held-out purchases
    means = []
    for part in (None, counted, ~counted):
        text, nothing = (study.cell_of("uci_retail", f"l3ae/{each}", part).tuned_cell for each in ("text", "none"))
        means.append(free_disposal([text], [nothing]))
    whole, first, second = means
    assert first.a.tuned + second.a.tuned == pytest.approx(whole.a.tuned, rel=1e-12)
    assert first.b.tuned + second.b.tuned == pytest.approx(whole.b.tuned, rel=1e-12)
    rows = study.verdicts
    published = rows[(rows.model == "l3ae") & (rows.contrast == "text_vs_none")].gain.item()
    assert whole.gain == pytest.approx(published, rel=1e-9)


@pytest.mark.thorough
def test_the_margin_of_the_study_gives_its_words() -> None:
    rows = answer.judged()
    shop = rows[rows.study == "uci_retail"]
    study = kept.Kept(*answer.folders_of("uci_retail"))
    assert [str(study.judge(row, 0.02).judgement) for row in shop.itertuples()] == shop.verdict.tolist()
    assert "equivalent" in {str(study.judge(row, 0.5).judgement) for row in shop.itertuples()} - set(shop.verdict)


@pytest.mark.thorough
@pytest.mark.parametrize("section", ["content", "noise", "ease"])
def test_the_page_has_what_the_files_give(section: str) -> None:
    made = {"content": afterwards.content, "noise": afterwards.noise, "ease": afterwards.beside_ease}[section]()
    assert pages.shows(section, made)


@pytest.mark.thorough
def test_the_page_has_the_words_by_margin_and_by_metric() -> None:
    rows = answer.judged()
    metrics, words = afterwards.by_metric(rows)
    for section, made in {"metrics": metrics, "words": words, "margins": afterwards.by_margin(rows)}.items():
        assert pages.shows(section, made)
