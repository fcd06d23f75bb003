"""What papers print beside what is ranked here: sources, both ways of ranking, and the page."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from tests.studies import pages, papers


@pytest.mark.parametrize("study", papers.PRINTED)
def test_numbers_of_papers_are_possible(study: str) -> None:
    assert len({(one.source, one.model) for one in papers.PRINTED[study]}) == len(papers.PRINTED[study])
    for printed in papers.PRINTED[study]:
        numbers = [number for number in printed[2:] if number is not None]
        assert len(numbers) in (2, 4)
        assert all(0 < ndcg < recall < 1 for recall, ndcg in zip(numbers[::2], numbers[1::2], strict=True)), printed


def test_the_source_study_is_quoted_as_it_prints(source_study: Path) -> None:
    told = pd.read_csv(source_study)
    told = told[(told.table == 4) & (told.dataset == "Baby")].set_index("model")
    quoted = [one for one in papers.PRINTED["baby_ids"] if one.source == papers.DEEP_DIVE]
    assert len(quoted) == len(told)
    for one in quoted:
        row = told.loc[one.model.replace("-", "")]
        assert (one.recall10, one.ndcg10) == (row["Recall@10"], row["NDCG@10"])


def test_the_page_has_what_is_kept() -> None:
    assert papers.known()
    for study, ours in papers.known().items():
        assert pages.shows(f"papers {study}", papers.rows(study, ours))


@pytest.mark.parametrize("study", papers.PRINTED)
def test_hidden_items_never_rank(study: str) -> None:
    """Hiding the items of validation, too, moves held-out items up or leaves them where they are."""
    for one in papers.known()[study]:
        for metric in papers.METRICS:
            assert one["hidden"][metric] >= one["as_papers"][metric] > 0, (one["model"], metric)


@pytest.mark.parametrize("study", papers.PRINTED)
def test_what_is_ranked_is_the_published_result(study: str) -> None:
    told = pd.read_csv(papers.STUDIES / study / "table.csv").set_index(["model", "modality", "metric"])["mean"]
    for one in papers.known()[study]:
        for metric in ("ndcg@20", "recall@20"):
            assert one["hidden"][metric] == pytest.approx(told[one["model"], one["modality"], metric], abs=1e-6)
