"""The report of new items: floors, popularity lines and folds from the records of a sweep that ran."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mmbench import paths
from mmbench.evaluation.metrics import RankedPairs, Ranking
from mmbench.report import new_items
from mmbench.report.fairness_checks import read_groups
from mmbench.report.layout import csv, markdown
from mmbench.report.new_items import Measured, Row, read_rows
from mmbench.report.reading import read_sweep
from mmbench.store.files import write_parquet
from mmbench.store.records import ranking_frames
from tests.report.constructed import Made, hit_users, write_sweep

USERS, POOL = 60, 40


def cells(folds: dict[str, dict[str, int]]) -> dict[tuple[str, str, str], Made]:
    """Cells of protocol cold by fold: of each condition how many users find their new item in the first place."""
    made = {}
    for fold, found in folds.items():
        config = {
            "dataset": {"name": "a", "protocol": "cold", "cold_fold": int(fold)},
            "tuning": {"target": None},
        }
        for (model, modality), n in ((tuple(name.split("/")), n) for name, n in found.items()):
            hits = np.stack([hit_users(USERS, range(n))] * 2)
            items = (np.arange(USERS) % 3).astype(np.int32)
            made[f"a-fold{fold}", model, modality] = Made(hits, config=config, items=items)
    return made


def write(folder: Path, folds: dict[str, dict[str, int]]) -> Path:
    """The sweep, with the ranks that final runs of protocol cold have beside those of their target."""
    made = cells(folds)
    write_sweep(folder, made)
    everyone = np.arange(USERS)
    for (dataset, model, modality), one in made.items():
        place = paths.cell_dir(folder, dataset, model, modality)
        for seed, hits in enumerate(one.finals, 1):
            own = pd.read_parquet(paths.final_file(place, seed, paths.RANKS))
            own["candidates"] = np.int32(POOL)
            write_parquet(paths.final_file(place, seed, paths.RANKS), own)
            warm = RankedPairs(everyone, np.full(USERS, 4), USERS, candidates=np.full(USERS, 100))
            # Of both kinds one item each: the new one at 5 where the model finds it, the other one at 2.
            both = RankedPairs(
                np.repeat(everyone, 2),
                np.stack([np.where(hits, 5, 90), np.full(USERS, 2)], axis=1).ravel(),
                USERS,
                new=np.tile([True, False], USERS),
                candidates=np.full(USERS, 140),
            )
            listed = np.where(hits, 10, 0)
            for ending, ranking in (
                ("warm", Ranking(everyone, warm, everyone, None)),
                ("all", Ranking(everyone, both, np.repeat(everyone, 2), None, listed)),
            ):
                for name, frame in ranking_frames(ranking, paths.ranks_among(ending)).items():
                    write_parquet(paths.final_file(place, seed, name), frame)
    return folder


def rows_of(folder: Path) -> list[Row]:
    table = read_sweep(folder)
    return read_rows(table, read_groups(table, folder))


def line(rows: list[Row], data: str, model: str, condition: str = "text") -> Row:
    (found,) = [r for r in rows if (r.data, r.model, r.condition) == (data, model, condition)]
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folds = {
        "0": {"m/text": 30, "m/none": 10, "contentpopularity/text": 20, "contentpopularity/none": 10},
        "1": {"m/text": 42, "m/none": 10, "contentpopularity/text": 20, "contentpopularity/none": 10},
        "2": {"m/text": 36, "m/none": 10, "contentpopularity/text": 20, "contentpopularity/none": 10},
    }
    return write(tmp_path_factory.mktemp("cold") / "s", folds)


@pytest.fixture(scope="module")
def rows(folder: Path) -> list[Row]:
    return rows_of(folder)


ALL = "a over 3 cold folds"


def test_folds_stand_together_and_alone(rows: list[Row]) -> None:
    assert list(dict.fromkeys(row.data for row in rows)) == [ALL, "a-fold0", "a-fold1", "a-fold2"]
    assert {row.target for row in rows} == {"cold"}
    together = line(rows, ALL, "m")
    assert together.over("new ndcg@20") == (pytest.approx(0.6), pytest.approx(0.1))
    assert line(rows, "a-fold1", "m").over("new ndcg@20") == (pytest.approx(0.7), None)


def test_floors_and_pools_stand_beside_the_numbers(rows: list[Row]) -> None:
    """One relevant item of 40: a list of 20 holds it half of the time, each place with the same chance."""
    one = line(rows, "a-fold0", "m", "none")
    assert one.folds[0].pool == POOL
    assert one.folds[0].others == 100
    assert one.over("new floor of recall@20") == (pytest.approx(0.5), None)
    gain = np.sum(1 / np.log2(np.arange(2, 22))) / POOL
    assert one.over("new floor of ndcg@20") == (pytest.approx(gain), None)
    assert one.over("others floor of recall@20") == (pytest.approx(0.2), None)
    # The item that is not found stands at 60 of 40 in these made-up records; found ones at the top.
    assert one.over("new recall@20") == (pytest.approx(10 / 60), None)


def test_common_lists_show_both_kinds_and_their_harmonic_mean(rows: list[Row]) -> None:
    values = line(rows, "a-fold0", "m").folds[0].values
    new, other = 0.5 / np.log2(6), 1 / np.log2(3)
    assert values["common new ndcg@20"] == pytest.approx(new)
    assert values["common others ndcg@20"] == pytest.approx(other)
    assert values["harmonic ndcg@20"] == pytest.approx(2 * new * other / (new + other))
    assert values["found"] == pytest.approx(0.5)
    assert values["share"] == pytest.approx(0.25)


def test_the_gain_over_content_popularity_has_an_interval_over_folds(rows: list[Row]) -> None:
    found = line(rows, ALL, "m").beyond
    assert found is not None
    gain, law = found
    logs = np.log(np.array([30, 42, 36]) / 20)
    assert gain == pytest.approx(np.expm1(logs.mean()))
    assert law is not None
    assert (law.se, law.df) == (pytest.approx(logs.std(ddof=1) / np.sqrt(3)), 2)
    alone = line(rows, "a-fold0", "m").beyond
    assert alone == (pytest.approx(0.5), None)
    assert line(rows, ALL, "contentpopularity").beyond is None


def test_oracle_popularity_is_the_pool_in_the_order_of_its_test_counts() -> None:
    """Of thirty new items three were taken: 28 twice, 27 and 29 once each. The seed puts 27 before 29."""
    users, items = np.array([0, 0, 1, 2, 2]), np.array([28, 27, 28, 28, 29])
    ranks = RankedPairs(users, np.array([9, 8, 7, 6, 5]), 3, candidates=np.full(3, 30))
    found = new_items._oracle(Ranking(np.arange(3), ranks, items, None))
    # Places 1 and 2, place 1, and places 1 and 3; the items that nobody took come after all of them.
    last = (1 + 1 / np.log2(4)) / (1 + 1 / np.log2(3))
    assert found.values["new ndcg@20"] == pytest.approx((1 + 1 + last) / 3, rel=1e-12)
    assert found.values["new recall@20"] == 1.0
    assert (found.pool, found.users) == (30, 3)


def test_the_document_says_what_a_single_fold_cannot(folder: Path, rows: list[Row], tmp_path: Path) -> None:
    table = read_sweep(folder)
    text = markdown(new_items.document(table, rows))
    assert "pool of 40, 40, 40 new items; tuned for new items among themselves" in text
    assert "one draw of new items" not in text
    exported = pd.read_csv(io.StringIO(csv(new_items.document(table, rows))))
    assert sorted(exported["dataset"].unique()) == ["a-fold0", "a-fold1", "a-fold2"]
    assert (exported["pool"] == POOL).all()
    assert exported["new_ndcg@20"].notna().all()
    single = write(tmp_path / "one", {"0": {"m/text": 30, "m/none": 10}})
    alone = read_sweep(single)
    said = markdown(new_items.document(alone, rows_of(single)))
    assert "a-fold0: one draw of new items" in said
    assert "content popularity was not run (model=contentpopularity)" in said


def test_a_sweep_without_new_items_has_no_such_table(tmp_path: Path) -> None:
    made = {("b", "m", "text"): Made(np.stack([hit_users(USERS, range(20))] * 2))}
    assert rows_of(write_sweep(tmp_path / "s", made)) == []


def test_a_line_that_one_fold_lacks_stands_in_the_others_alone(tmp_path: Path) -> None:
    folds = {"0": {"m/text": 30, "m/none": 10}, "1": {"m/none": 10}}
    found = [(row.data, row.model, row.condition) for row in rows_of(write(tmp_path / "s", folds))]
    assert ("a-fold0", "m", "text") in found
    assert ("a over 2 cold folds", "m", "text") not in found
    assert ("a over 2 cold folds", "m", "none") in found


def test_measured_is_plain() -> None:
    row = Row("a", "cold", "m", "text", (Measured({}, 1, 2.0, 3, 0.5),))
    assert row.over("new ndcg@20") is None
    assert row.beyond is None
