"""The table as data: every number traced to its records."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
import pytest

from mmbench import paths
from mmbench.inference import intervals
from mmbench.report import results
from mmbench.report.layout import markdown_table
from mmbench.report.reading import read_sweep
from mmbench.report.table import CellResult, SweepTable, condition_columns
from mmbench.store import records
from mmbench.store.schema import Manifest
from tests.report.conftest import DATASET
from tests.report.constructed import Made, write_sweep


@pytest.fixture(scope="module")
def table(whole_sweep: Path) -> SweepTable:
    return read_sweep(whole_sweep)


def ndcg_at_20(folder: Path, seed: int) -> pd.Series:
    """NDCG@20 of each user, written out; in this world everybody has one held-out item."""
    frame = pd.read_parquet(paths.final_file(folder, seed, paths.RANKS))
    assert not frame["user"].duplicated().any()
    return pd.Series(np.where(frame["rank"] <= 20, 1 / np.log2(frame["rank"] + 1), 0.0), index=frame["user"])


def test_every_planned_cell_has_a_status(table: SweepTable) -> None:
    assert {(m, c): cell.status for (_, m, c), cell in table.cells.items()} == {
        ("popularity", "-"): "done",
        ("bpr", "-"): "done",
        **{("vbpr", c): "done" for c in ("none", "text", "image", "fused", "late")},
        **{("fusion", c): "done" for c in ("none", "text", "fused")},
        ("fusion", "image"): "stale",
        ("lightgcn", "-"): "missing",
        ("broken", "text"): "failed",
    }
    assert table.datasets == [DATASET]
    assert table.conditions == ("none", "text", "image", "fused", "late")
    assert table.models(DATASET) == ["bpr", "lightgcn", "popularity", "broken", "fusion", "vbpr"]
    assert (table.name, table.budget["seeds"], table.metrics) == ("my_table", 3, ("ndcg@20", "recall@20"))


def test_tiers_are_those_of_the_configuration(table: SweepTable) -> None:
    expected = {"popularity": ("core",), "lightgcn": ("core",), "vbpr": ("core", "study"), "broken": ()}
    assert {model: table.tiers(DATASET, model) for model in expected} == expected


def test_numbers_are_those_of_the_ranks(table: SweepTable) -> None:
    for cell in table.cells.values():
        if cell.status != "done" or cell.parts:
            continue
        by_hand = np.array([ndcg_at_20(cell.folder, seed).mean() for seed in (1, 2, 3)])
        assert cell.seeds == (1, 2, 3)
        assert cell.by_seed("ndcg@20") == pytest.approx(by_hand)
        assert cell.mean("ndcg@20") == pytest.approx(by_hand.mean())
        assert cell.spread("ndcg@20") == pytest.approx(np.sqrt(((by_hand - by_hand.mean()) ** 2).sum() / 2), abs=1e-12)
        assert cell.per_user("recall@20").shape == (60, 3)


def test_one_seed_has_no_spread(table: SweepTable) -> None:
    cell = replace(table.cells[DATASET, "vbpr", "text"], seeds=(2,))
    assert cell.spread("ndcg@20") is None
    assert cell.mean("ndcg@20") == pytest.approx(ndcg_at_20(cell.folder, 2).mean())


@pytest.mark.parametrize(("condition", "against"), [("text", "none"), ("fused", "none"), ("text", "fused")])
@pytest.mark.parametrize("model", ["vbpr", "fusion"])
def test_a_change_is_the_ratio_of_the_means(table: SweepTable, model: str, condition: str, against: str) -> None:
    a, b = table.cells[DATASET, model, condition], table.cells[DATASET, model, against]
    change = table.change(DATASET, model, condition, against, "ndcg@20")
    assert change is not None
    by_hand = [np.stack([ndcg_at_20(cell.folder, seed) for seed in (1, 2, 3)], axis=1) for cell in (a, b)]
    assert change.mean == pytest.approx(by_hand[0].mean() / by_hand[1].mean() - 1)
    whole = intervals.relative_gain(by_hand[0], by_hand[1])
    assert (change.lo, change.hi) == pytest.approx((whole.lo, whole.hi))


def test_no_change_where_there_is_nothing_to_compare(table: SweepTable) -> None:
    for model, condition, against in [
        ("bpr", "text", "none"),  # one result under every condition
        ("fusion", "image", "none"),  # stale
        ("lightgcn", "text", "none"),  # missing
        ("broken", "text", "none"),  # failed, and not planned
    ]:
        assert table.change(DATASET, model, condition, against, "ndcg@20") is None


@pytest.mark.parametrize("change", [{"test_hash": "other"}, {"seeds": (1, 2)}])
def test_no_change_between_other_test_splits_or_seeds(table: SweepTable, change: dict[str, object]) -> None:
    cells = dict(table.cells)
    key = (DATASET, "fusion", "text")
    cells[key] = replace(cells[key], **change)
    other = replace(table, cells=cells)
    assert other.done(DATASET, "fusion", "text") is not None
    assert other.change(DATASET, "fusion", "text", "none", "ndcg@20") is None
    assert other.change(DATASET, "fusion", "fused", "none", "ndcg@20") is not None


def test_a_gain_over_nothing_is_no_number(sweep_dir: Path) -> None:
    table = read_sweep(sweep_dir)
    cell = table.cells[DATASET, "fusion", "none"]
    for seed in cell.seeds:
        file = paths.final_file(cell.folder, seed, paths.RANKS)
        frame = pd.read_parquet(file)
        frame.assign(rank=frame["rank"] * 0 + 79).to_parquet(file)
    assert read_sweep(sweep_dir).change(DATASET, "fusion", "text", "none", "ndcg@20") is None


def test_below_popularity_is_marked_and_nothing_else(table: SweepTable) -> None:
    popularity = table.cells[DATASET, "popularity", "-"].mean("ndcg@20")
    for cell in table.cells.values():
        if cell.status == "done":
            assert table.below_popularity(cell, "ndcg@20") == (cell.mean("ndcg@20") < popularity)
    assert table.below_popularity(table.cells[DATASET, "vbpr", "none"], "ndcg@20")
    assert not table.below_popularity(table.cells[DATASET, "popularity", "-"], "ndcg@20")


def test_nothing_is_below_popularity_among_new_items(tmp_path: Path) -> None:
    """Popularity ranks them by the luck of ties."""
    fold = {"dataset": {"name": "d", "protocol": "cold", "cold_fold": 0}}
    cells = {
        ("d", "popularity", "-"): Made(np.ones((2, 10), bool), config=fold),
        ("d", "m", "none"): Made(np.array([[True] * 4 + [False] * 6] * 2), config=fold),
    }
    table = read_sweep(write_sweep(tmp_path / "s", cells))
    assert not table.below_popularity(table.cells["d", "m", "none"], "ndcg@20")


def test_a_negative_metric_has_no_relative_change(table: SweepTable, monkeypatch: pytest.MonkeyPatch) -> None:
    assert table.change(DATASET, "fusion", "text", "none", "ndcg@20") is not None
    mean = CellResult.mean
    for negative in ("text", "none"):

        def below(cell: CellResult, metric: str, negative: str = negative) -> float:
            return -mean(cell, metric) if cell.modality == negative else mean(cell, metric)

        monkeypatch.setattr(CellResult, "mean", below)
        assert table.change(DATASET, "fusion", "text", "none", "ndcg@20") is None


def test_below_popularity_is_told_of_each_metric(tmp_path: Path) -> None:
    """Popularity has few users' items in the first place, the model those of many in the fifteenth."""
    cells = {
        ("d", "popularity", "-"): Made(np.array([[True] * 4 + [False] * 6] * 2)),
        ("d", "m", "none"): Made(np.ones((2, 10), bool), ranks=np.full(10, 15)),
    }
    table = read_sweep(write_sweep(tmp_path / "s", cells, metrics=("ndcg@20", "recall@20")))
    one = table.cells["d", "m", "none"]
    assert [table.below_popularity(one, metric) for metric in table.metrics] == [True, False]
    ndcg, recall = (markdown_table(printed) for printed in results.document(table, []).tables)
    assert ("below popularity" in ndcg, "below popularity" in recall) == (True, False)


def test_without_popularity_nothing_is_below_it(table: SweepTable) -> None:
    alone = replace(table, cells={key: cell for key, cell in table.cells.items() if key[1] != "popularity"})
    assert not any(alone.below_popularity(cell, "ndcg@20") for cell in alone.cells.values() if cell.status == "done")


def test_models_are_ranked_by_their_means(table: SweepTable) -> None:
    for condition in table.conditions:
        ranked = table.ranked(DATASET, condition, "ndcg@20")
        results = [table.done(DATASET, model, condition) for model in ranked]
        means = [result.mean("ndcg@20") for result in results if result]
        assert means == sorted(means, reverse=True)
        assert {"bpr", "popularity", "vbpr"} <= set(ranked)
        assert not {"lightgcn", "broken"} & set(ranked)
        assert ("fusion" in ranked) == (condition not in ("image", "late"))


def test_columns_compare_with_none_and_with_fused(table: SweepTable) -> None:
    assert condition_columns(table) == [
        ("text", "none"),
        ("image", "none"),
        ("fused", "none"),
        ("late", "none"),
        ("none", "fused"),
        ("text", "fused"),
        ("image", "fused"),
        ("fused", "late"),
    ]
    assert condition_columns(replace(table, conditions=("text", "image"))) == []


def test_conditions_stand_in_the_order_of_a_paper(sweep_dir: Path) -> None:
    file = paths.manifest_file(sweep_dir)
    plan = records.read(file, Manifest)
    records.write(
        file, msgspec.structs.replace(plan, modalities=["zeta", "shuffled", "audio", "fused", "alpha", "none"])
    )
    conditions = read_sweep(sweep_dir).conditions
    assert conditions == ("none", "text", "image", "audio", "fused", "late", "shuffled", "alpha", "zeta")


def test_a_folder_without_a_plan_is_no_sweep(sweep_dir: Path) -> None:
    with pytest.raises(ValueError, match=r"elsewhere is no sweep \(no manifest.json\); sweeps beside it: my_table"):
        read_sweep(sweep_dir.parent / "elsewhere")
    with pytest.raises(ValueError, match="sweeps beside it: none"):
        read_sweep(sweep_dir / "nowhere" / "at all")
