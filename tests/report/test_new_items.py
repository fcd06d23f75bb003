"""The report of new items: floors, popularity lines and folds from the records of a sweep that ran."""

from __future__ import annotations

import io
import math
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mmbench import paths
from mmbench.evaluation import metrics
from mmbench.evaluation.metrics import RankedPairs, Ranking
from mmbench.inference.intervals import LogGain
from mmbench.messages import Translator
from mmbench.report import benchmark, contribution_facts, new_items, verdict_table
from mmbench.report.comparisons import read_contrasts
from mmbench.report.contribution_facts import (
    AMONG_NEW,
    FOUND_OF_1000,
    NEW_ITEMS,
    VALUES,
    document,
    new_items_facts,
    read_contributions,
)
from mmbench.report.disposals import read_disposals
from mmbench.report.facts import Facts, notes
from mmbench.report.fairness_checks import read_groups
from mmbench.report.layout import csv, markdown
from mmbench.report.new_items import FoldMeasures, Row, read_rows
from mmbench.report.reading import read_sweep
from mmbench.report.sentences import disposal_sentence, sentence
from mmbench.report.table import CONDITIONS
from mmbench.report.together import TOGETHER
from mmbench.report.write import write_report
from mmbench.scheduling.sweep import Sweep
from mmbench.store.files import write_parquet
from mmbench.store.records import ranking_frames
from tests.conftest import blank_charts
from tests.report.constructed import Made, hit_users, write_sweep
from tests.report.pages import english_sentences, visible
from tests.tiny import TINY, composed

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
            states = {"states": {"text": "drop" if modality == "none" else "real"}}
            made[f"a-fold{fold}", model, modality] = Made(hits, config=config, items=items, cell=states)
    return made


def write(folder: Path, folds: dict[str, dict[str, int]]) -> Path:
    """The sweep, with the ranks that final runs of protocol cold have beside those of their target."""
    made = cells(folds)
    write_sweep(folder, made)
    write_candidates(folder, made)
    return folder


def write_candidates(folder: Path, made: Mapping[tuple[str, str, str], Made]) -> None:
    """The ranks of the final runs of cells of protocol cold among all candidates."""
    for (dataset, model, modality), one in made.items():
        place = paths.cell_dir(folder, dataset, model, modality)
        for seed, hits in enumerate(one.finals, 1):
            n, everyone = len(hits), np.arange(len(hits))
            own = pd.read_parquet(paths.final_file(place, seed, paths.RANKS))
            own["candidates"] = np.int32(POOL)
            write_parquet(paths.final_file(place, seed, paths.RANKS), own)
            warm = RankedPairs(everyone, np.full(n, 4), n, candidates=np.full(n, 100))
            # Of both kinds one item each: the new one at 5 where the model finds it, the other one at 2.
            both = RankedPairs(
                np.repeat(everyone, 2),
                np.stack([np.where(hits, 5, 90), np.full(n, 2)], axis=1).ravel(),
                n,
                new=np.tile([True, False], n),
                candidates=np.full(n, 140),
            )
            listed = np.where(hits, 10, 0)
            for ending, ranking in (
                ("warm", Ranking(everyone, warm, everyone, None)),
                ("all", Ranking(everyone, both, np.repeat(everyone, 2), None, listed)),
            ):
                for name, frame in ranking_frames(ranking, paths.ranks_among(ending)).items():
                    write_parquet(paths.final_file(place, seed, name), frame)


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


@pytest.fixture(scope="module")
def one_seed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two folds, each of whose conditions was trained once."""
    folds = {"0": {"m/text": 30, "m/none": 10}, "1": {"m/text": 42, "m/none": 10}}
    made = {key: replace(one, finals=one.finals[:1]) for key, one in cells(folds).items()}
    folder = tmp_path_factory.mktemp("once") / "s"
    write_sweep(folder, made, contrasts=["text_vs_none"])
    write_candidates(folder, made)
    return folder


ALL = "a over 3 of 5 cold folds"


def test_folds_stand_together_and_alone(rows: list[Row]) -> None:
    assert list(dict.fromkeys(row.data for row in rows)) == [ALL, "a-fold0", "a-fold1", "a-fold2"]
    assert {row.target for row in rows} == {"cold"}
    together = line(rows, ALL, "m")
    assert together.over("new ndcg@20") == (pytest.approx(0.6), pytest.approx(0.1))
    assert line(rows, "a-fold1", "m").over("new ndcg@20") == (pytest.approx(0.7), None)


def test_folds_that_are_planned_and_have_not_run_are_not_counted(tmp_path: Path) -> None:
    made = cells({str(n): {"m/text": 30, "m/none": 10} for n in range(3)})
    waiting = {(f"a-fold{n}", "m", name): Made(missing=True) for n in (3, 4) for name in ("text", "none")}
    folder = write_sweep(tmp_path / "s", made | waiting)
    write_candidates(folder, made)
    assert next(iter(rows_of(folder))).data == ALL


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


def test_a_gain_that_is_nothing_has_no_minus() -> None:
    """And one that is next to nothing keeps its sign and says how much it is."""
    (text,) = (column.format for column in new_items.COLUMNS if column.label == "over content popularity %")
    assert [text((gain, None)) for gain in (-0.0004, -1e-12, 0.0213)] == ["-0.04", "+0.0", "+2.1"]
    assert text((0.0, LogGain(-1e-9, 1e-4, 5.0))).startswith("+0.0 [-0.0")


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


def test_a_fold_of_several_is_no_single_draw_where_its_first_model_lacks_another(tmp_path: Path) -> None:
    swept = write(tmp_path / "s", {"0": {"a/text": 30, "m/none": 10}, "1": {"m/none": 10}})
    assert "one draw of new items" not in markdown(new_items.document(read_sweep(swept), rows_of(swept)))


def test_a_sweep_without_new_items_has_no_such_table(tmp_path: Path) -> None:
    made = {("b", "m", "text"): Made(np.stack([hit_users(USERS, range(20))] * 2))}
    assert rows_of(write_sweep(tmp_path / "s", made)) == []


def test_a_line_that_one_fold_lacks_stands_in_the_others_alone(tmp_path: Path) -> None:
    folds = {"0": {"m/text": 30, "m/none": 10}, "1": {"m/none": 10}}
    found = [(row.data, row.model, row.condition) for row in rows_of(write(tmp_path / "s", folds))]
    assert ("a-fold0", "m", "text") in found
    assert ("a over 2 of 5 cold folds", "m", "text") not in found
    assert ("a over 2 of 5 cold folds", "m", "none") in found


def contributions(folder: Path) -> dict[tuple[str, str], Facts]:
    table = read_sweep(folder)
    groups = read_groups(table, folder)
    measured = read_contributions(table, groups, read_contrasts(table, groups))
    return {(facts.dataset, facts.model): facts for facts in measured}


def test_a_fold_has_values_and_no_words(folder: Path) -> None:
    """Text finds three times what none does, far beyond the bounds over users: were it no fold, that would be said."""
    found = contributions(folder)
    for fold in range(3):
        facts = found[f"a-fold{fold}", "m"]
        (alone,) = [fact for fact in facts.facts if fact.measure == VALUES]
        assert alone.interval is not None
        assert alone.interval.lo > 0
        assert (facts.one_draw, facts.readings) == (True, [])
    text = markdown(document(read_sweep(folder), list(found.values())))
    assert "a-fold0/m: one draw of new items, bounds are over its users and seeds alone, no conclusions" in text
    assert "text adds to" not in text


def test_new_items_found_stand_over_folds_with_an_interval_over_the_folds(folder: Path) -> None:
    joined = contributions(folder)[ALL, "m"]
    found = {fact.subject: fact for fact in joined.facts if (fact.measure, fact.part) == (NEW_ITEMS, FOUND_OF_1000)}
    text = found["text"]
    assert text.value == pytest.approx(600)
    assert text.interval is not None
    assert text.interval.hi - text.value == pytest.approx(4.302653 * 100 / math.sqrt(3), rel=1e-6)
    assert text.baseline == pytest.approx(1000 * 10 / 60)
    assert found["none"].interval is not None
    assert found["none"].interval.lo == pytest.approx(found["none"].value)


def test_found_of_1000_is_counted_over_the_interactions_of_common_lists(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of five users with a new item two hold out others too, one of them two new items; one of these three is found."""
    everyone, both = np.arange(5), np.array([1, 1, 1, 3, 3])
    alone = RankedPairs(everyone, np.full(5, 30), 5, candidates=np.full(5, POOL))
    common = RankedPairs(
        np.array([0, 0, 0, 1, 1]),
        np.array([2, 40, 3, 50, 4]),
        2,
        new=np.array([True, True, False, True, False]),
        candidates=np.full(2, 140),
    )
    views = {
        "cold": [Ranking(everyone, alone, everyone, None)],
        "all": [Ranking(np.array([1, 3]), common, both, None)],
    }
    monkeypatch.setattr(new_items, "views_of", lambda cell: views)
    facts = Facts("a", "m", 2, "PASS")
    new_items_facts(facts, [read_sweep(folder).cells["a-fold0", "m", "text"]])
    (found,) = [fact for fact in facts.facts if fact.part == FOUND_OF_1000]
    assert (found.value, found.n) == (pytest.approx(1000 / 3), 3)
    (among,) = [fact for fact in facts.facts if fact.part == AMONG_NEW]
    assert among.n == POOL


def test_the_mean_over_folds_of_one_seed_has_the_bounds_that_are_told(one_seed: Path) -> None:
    found = contributions(one_seed)
    joined = found["a over 2 of 5 cold folds", "m"]
    assert all(fact.interval is not None for fact in joined.facts)
    told = {facts.dataset: list(notes([facts])) for facts in found.values()}
    name = "a over 2 of 5 cold folds/m"
    assert told[joined.dataset] == [f"{name}: one seed in a fold, bounds are over the folds alone, no conclusions"]
    assert Translator("ja")(told[joined.dataset][0]).startswith("a(新商品の全5グループ中2グループ)/m: ")
    assert "a-fold0/m: one final run does not tell how far runs differ, no bounds and no conclusions" in told["a-fold0"]
    assert not any(fact.interval for fact in found["a-fold0", "m"].facts)


def test_folds_with_one_final_seed_have_no_word(one_seed: Path) -> None:
    table = read_sweep(one_seed)
    joined, *folds = read_contrasts(table, read_groups(table, one_seed))
    assert joined.over is not None
    assert joined.judgement is not None
    assert joined.judgement.word is None
    assert "training noise not measured, 1 final seed" in joined.judgement.reason
    assert len(folds) == 2


def test_a_single_draw_of_new_items_has_neither_words_nor_a_mean_over_folds(tmp_path: Path) -> None:
    (facts,) = contributions(write(tmp_path / "s", {"0": {"m/text": 30, "m/none": 10}})).values()
    assert (facts.dataset, facts.one_draw, facts.readings) == ("a-fold0", True, [])


def test_the_benchmark_marks_nothing_in_a_fold(folder: Path) -> None:
    table = read_sweep(folder)
    groups = read_groups(table, folder)
    made = benchmark.document(table, read_contrasts(table, groups), groups)
    assert len(made.tables) == 4  # the gains over all folds first
    assert {entry.rank for one in made.tables for row in one.entries for entry in row} == {0}
    assert {one.hint for one in made.tables} == {""}
    assert any(note.startswith("No value of a-fold0, a-fold1, a-fold2 is marked") for note in made.notes)
    assert TOGETHER in made.notes


def time_sweep(folder: Path, target: str) -> Path:
    """What a split by time finds of its new items, tuned for them or for the harmonic mean."""
    config = {"dataset": {"name": "a", "protocol": "time"}, "tuning": {"target": target}}
    made = {(f"a-{target}", *key[1:]): replace(one, config=config) for key, one in cells({"0": LINES}).items()}
    write_sweep(folder, made)
    write_candidates(folder, made)
    if target == "harmonic":  # the own ranks are those of common lists
        for key in made:
            for seed in (1, 2):
                place = paths.cell_dir(folder, *key)
                files = [paths.final_file(place, seed, name) for name in (paths.RANKS, paths.ranks_among("cold"))]
                shutil.copy(files[0], files[1])
                shutil.copy(paths.final_file(place, seed, paths.ranks_among("all")), files[0])
    return folder


LINES = {"m/text": 30, "m/none": 10}


@pytest.mark.parametrize(
    ("target", "among"),
    [
        ("cold", "NDCG@20 among new items themselves"),
        ("harmonic", "harmonic mean of NDCG@20 of new and of other items in common lists"),
        ("warm", "NDCG@20 among items of the training log themselves"),
    ],
)
def test_titles_and_sentences_of_verdicts_say_the_target(tmp_path: Path, target: str, among: str) -> None:
    table = read_sweep(time_sweep(tmp_path / "s", target))
    groups = read_groups(table, table.folder)
    compared, disposals = read_contrasts(table, groups), read_disposals(table, groups)
    text = markdown(verdict_table.document(table, compared, disposals))
    assert f"## a-{target}, verdicts on {among}\n" in text
    assert all(f"({among}, " in sentence(c, "ndcg@20") for c in compared)
    assert all(f"({among}, " in disposal_sentence(d, "ndcg@20") for d in disposals)
    assert disposals
    assert f"## a-{target}, free disposal on {among}\n" in text
    titles = [str(one.title) for one in benchmark.document(table, compared, groups).tables]
    assert titles == [f"a-{target}, benchmark on {among}"]


def test_other_items_among_themselves_have_their_number_and_floor(tmp_path: Path) -> None:
    table = read_sweep(time_sweep(tmp_path / "s", "warm"))
    (cell, *_) = table.cells.values()
    pairs = cell.tested[0].pairs
    assert pairs.candidates is not None
    (line,) = new_items.floor_lines(table, ["ndcg@20"])
    floor = metrics.floor(pairs, "ndcg@20").mean()
    assert line == (
        f"a-warm: lists of {pairs.candidates.mean():.0f} items of the training log on average; floor, where nothing "
        f"tells them apart: ndcg@20 {floor:.4f}."
    )
    assert line in verdict_table.notes(table, read_contrasts(table, read_groups(table, table.folder)), [])


def test_the_printed_table_says_how_many_other_items_a_list_holds(rows: list[Row]) -> None:
    (listed,) = (column for column in new_items.COLUMNS if column.label == "items in a list")
    found = line(rows, "a-fold0", "m")
    assert found.listed == 100.0
    assert listed.format(found.listed) == "100"
    assert line(rows, "a-fold0", str(new_items.ORACLE), "-").listed is None


def test_all_items_are_named_as_ever(tmp_path: Path) -> None:
    made = {("b", "m", c): Made(np.stack([hit_users(USERS, range(20))] * 2)) for c in ("text", "none")}
    table = read_sweep(write_sweep(tmp_path / "s", made))
    (one,) = read_contrasts(table, read_groups(table, table.folder))
    assert sentence(one, "ndcg@20").endswith("(NDCG@20, b)")


@pytest.fixture(scope="module")
def report(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The written report of the cold sweep, whose plain names are Japanese."""
    copied = Path(shutil.copytree(folder, tmp_path_factory.mktemp("written") / "s"))
    with pytest.MonkeyPatch.context() as patch:
        blank_charts(patch)
        return write_report(copied, lang="ja").folder / "report"


def test_every_table_of_a_cold_sweep_names_pool_and_floor(report: Path) -> None:
    gain = np.sum(1 / np.log2(np.arange(2, 22))) / POOL
    for name in (paths.TABLE, paths.VERDICTS, paths.BENCHMARK):
        text = (report / f"{name}.md").read_text()
        for fold in range(3):
            says = f"pool of {POOL} new items; floor, where nothing tells them apart: ndcg@20 {gain:.4f}."
            assert f"- a-fold{fold}: {says}\n" in text, name
        assert str(verdict_table.NOT_OF_USERS) not in text


def test_tables_of_one_draw_of_new_items_mark_no_best(report: Path) -> None:
    text = (report / f"{paths.TABLE}.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("| m |")]
    assert rows
    assert not any("*" in row for row in rows)
    assert "- No value of a-fold0, a-fold1, a-fold2 is marked: each is one draw of new items" in text


def test_a_harmonic_mean_has_a_pool_and_no_users_and_no_slices(tmp_path: Path) -> None:
    table = read_sweep(time_sweep(tmp_path / "s", "harmonic"))
    assert table.cells["a-harmonic", "m", "text"].rankings[0].new is not None
    groups = read_groups(table, table.folder)
    compared = read_contrasts(table, groups)
    assert all(c.effects is None for c in compared)
    assert any(c.configuration is not None for c in compared)
    notes = verdict_table.notes(table, compared, [])
    assert verdict_table.NOT_OF_USERS in notes
    assert f"a-harmonic: pool of {POOL} new items beside the others; the floor of common lists is" in "\n".join(notes)
    frame = pd.read_csv(io.StringIO(csv(verdict_table.document(table, compared, []))))
    assert frame[["improved", "harmed", "d_z"]].isna().all().all()
    facts = Facts("a-harmonic", "m", 2, "PASS")
    contribution_facts._slices(facts, compared[1], None, "ndcg@20")  # type: ignore[arg-type]
    assert facts.unknown == ["slices of text_vs_none: a harmonic mean is no sum over items or users"]


def test_users_of_new_items_have_values(tmp_path: Path) -> None:
    table = read_sweep(time_sweep(tmp_path / "s", "cold"))
    compared = read_contrasts(table, read_groups(table, table.folder))
    assert [c.effects is None for c in compared if c.configuration is not None] == [False]


def test_the_report_of_a_cold_sweep_is_written_in_both_languages(report: Path) -> None:
    names = ("contentpopularity", *CONDITIONS)
    for name in (paths.NEW_ITEMS, paths.TABLE, paths.VERDICTS, paths.BENCHMARK, paths.CONTRIBUTION, paths.SUBMISSION):
        japanese, english = (visible((report / f"{name}.{ending}").read_text()) for ending in ("ja.md", "md"))
        assert english_sentences(japanese, *names) == [], name
        assert len(english_sentences(english, *names)) > 2, name
    new = (report / "new_items.ja.md").read_text()
    assert "候補は新商品40, 40, 40点。調整の目標: 新商品どうし" in new
    assert "| 正解に基づく人気順" in new
    contributed = (report / "contribution.ja.md").read_text()
    assert "m: M7 新商品\n" in contributed
    assert "| 1,000件のうち見つかった件数 |" in contributed
    assert "| 新商品どうしの NDCG@20 |" in contributed
    page = (report / "report.html").read_text()
    assert english_sentences(visible(page), *names) == []
    assert "new_items.ja.md" in page


def test_measured_is_plain() -> None:
    row = Row("a", "cold", "m", "text", (FoldMeasures({}, 1, 2.0, 3, 0.5),))
    assert row.over("new ndcg@20") is None
    assert row.beyond is None


def test_titles_name_what_is_judged_before_anything_has_run(tmp_path: Path) -> None:
    words = [*TINY, f"paths.multirun={tmp_path}", "sweep.name=s", "dataset.protocol=cold", "dataset.cold_fold=0"]
    conditions = ("none", "text", "shuffled")
    sweep = Sweep.plan([composed([*words, "model=addease", f"modality={c}"]).job() for c in conditions], words)
    sweep.open()
    table = read_sweep(sweep.folder)
    groups = read_groups(table, sweep.folder)
    compared, disposals = read_contrasts(table, groups), read_disposals(table, groups)
    verdicts = verdict_table.document(table, compared, disposals)
    titles = [made.title for made in (*verdicts.tables, *benchmark.document(table, compared, groups).tables)]
    assert [title.partition(" on ")[0].split(", ")[-1] for title in titles] == [
        "verdicts",
        "free disposal",
        "benchmark",
    ]
    assert {title.partition(" on ")[2] for title in titles} == {"NDCG@20 among new items themselves"}
    assert any("in NDCG@20 among new items themselves once both are tuned" in note for note in verdicts.notes)
