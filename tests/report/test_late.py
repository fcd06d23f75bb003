"""The late ensemble in the table: a derived condition, made of records and traced to them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
import pandas as pd
import pytest

from mmbench import paths
from mmbench.evaluation import late_ensemble, metrics
from mmbench.report.explain import explainable
from mmbench.report.fairness_checks import read_groups
from mmbench.report.layout import frame, terminal
from mmbench.report.reading import late_ensembles, read_sweep
from mmbench.report.results import document
from mmbench.report.table import LATE, CellResult, SweepTable
from mmbench.report.write import write_report
from mmbench.store import records
from mmbench.store.schema import Cell, Manifest
from tests.report.conftest import DATASET


@pytest.fixture(scope="module")
def table(whole_sweep: Path) -> SweepTable:
    return read_sweep(whole_sweep)


def test_it_averages_the_lists_of_the_same_seed(table: SweepTable) -> None:
    cell = table.cells[DATASET, "vbpr", LATE]
    assert [part.modality for part in cell.parts] == ["image", "text"]
    for place, seed in enumerate(cell.seeds):
        runs = [records.read_final(table.cells[DATASET, "vbpr", c].folder, seed) for c in ("text", "image")]
        by_hand = metrics.per_user(late_ensemble.late(runs), "ndcg@20")
        assert cell.per_user("ndcg@20")[:, place].tolist() == by_hand.tolist()
    assert not (cell.folder / LATE).exists()  # nothing of it is stored


def test_the_lists_it_reads_are_those_of_the_ranks(table: SweepTable) -> None:
    ranking = records.read_final(table.cells[DATASET, "vbpr", "text"].folder, 2)
    assert ranking.top is not None
    for user, item, rank in zip(ranking.pairs.users, ranking.items, ranking.pairs.ranks, strict=True):
        place = [*ranking.top[user]].index(item) + 1 if item in ranking.top[user] else None
        assert place == (rank if rank <= 50 else None)


def test_only_a_model_with_every_modality_alone_has_one(table: SweepTable) -> None:
    assert [model for _, model, condition in table.cells if condition == LATE] == ["vbpr"]  # Fusion's image is stale


def cells_of(table: SweepTable, **changes: dict[str, object]) -> list[CellResult]:
    """VBPR's cells, some of them changed."""
    by_name = {c: cell for (_, m, c), cell in table.cells.items() if m == "vbpr" and c != LATE}
    return [replace(cell, **changes.get(name, {})) for name, cell in by_name.items()]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "change",
    [
        {"status": "failed"},
        {"seeds": (1, 2)},
        {"test_hash": "other"},
        {"effort": "other"},
        {"only": ""},  # a control is no content
        {"modalities": ("audio", "image", "text")},  # which fused would have and late had not
    ],
)
def test_runs_that_cannot_be_mixed_are_not(table: SweepTable, change: dict[str, object]) -> None:
    assert len(late_ensembles(cells_of(table))) == 1
    both = {"image": change, "text": change} if "modalities" in change else {"image": change}
    assert not late_ensembles(cells_of(table, **both))


def test_any_number_of_modalities_takes_part(table: SweepTable) -> None:
    three = ("audio", "image", "text")
    cells = cells_of(table, **{name: {"modalities": three} for name in ("image", "text")})
    heard = replace(table.cells[DATASET, "vbpr", "text"], modality="audio", only="audio", modalities=three)
    (cell,) = late_ensembles([*cells, heard]).values()
    assert [part.modality for part in cell.parts] == ["audio", "image", "text"]
    assert cell.mean("ndcg@20") > 0


def test_the_condition_called_like_its_modality_goes_first(table: SweepTable) -> None:
    twin = replace(table.cells[DATASET, "vbpr", "text"], modality="text_again")
    for cells in ([twin, *cells_of(table)], [*cells_of(table), twin]):
        (cell,) = late_ensembles(cells).values()
        assert [part.modality for part in cell.parts] == ["image", "text"]


@pytest.mark.parametrize(("states", "missing"), [({"image": "shuffle"}, {}), ({"image": "real"}, {"image": 0.5})])
def test_controls_and_missing_content_are_no_part(sweep_dir: Path, states: dict, missing: dict) -> None:  # type: ignore[type-arg]
    file = paths.cell_file(read_sweep(sweep_dir).cells[DATASET, "vbpr", "image"].folder)
    cell = records.read(file, Cell)
    cell.states.update(states)
    cell.config["modality"]["missing"] = missing
    records.write(file, cell)
    assert (DATASET, "vbpr", LATE) not in read_sweep(sweep_dir).cells


def test_fused_stands_against_it(table: SweepTable) -> None:
    shown = document(table, []).tables[list(table.metrics).index("ndcg@20")]
    header = shown.header
    assert header.index(LATE) == header.index("fused") + 1
    assert "late vs fused %" not in header
    row = next(row for row in shown.entries if row[0].text == "vbpr")
    fused, late = (table.cells[DATASET, "vbpr", c].mean("ndcg@20") for c in ("fused", LATE))
    assert row[header.index("fused vs late %")].text == f"{100 * (fused / late - 1):+.1f}"
    assert "late: averaged ranks of the runs with one modality each" in terminal(document(table, []))


def test_deeper_metrics_are_not_shown(sweep_dir: Path) -> None:
    """The lists hold fifty items."""
    table = replace(read_sweep(sweep_dir), metrics=("ndcg@20", "ndcg@50", "recall@51"))
    made = document(table, [])
    exported = frame(made)
    for place, metric, known in ((1, "ndcg@50", True), (2, "recall@51", False)):
        assert {LATE, "fused vs late %", "late vs none %"} & set(made.tables[place].header) == (
            {LATE, "fused vs late %", "late vs none %"} if known else set()
        )
        assert (LATE in set(exported[exported["metric"] == metric]["modality"])) == known
    assert "recall@51" in terminal(made)


def test_it_is_in_no_report_on_tuning(sweep_dir: Path) -> None:
    write_report(sweep_dir)
    groups = read_groups(read_sweep(sweep_dir), sweep_dir)
    assert not [cell for group in groups for cell in group.cells if cell.modality == LATE]


def test_a_row_says_what_it_averages(table: SweepTable) -> None:
    row = frame(document(table, [])).query("modality == 'late'").iloc[0]
    assert row["reason"] == "averages image and text"
    assert table.folder / row["records"] == table.cells[DATASET, "vbpr", "text"].folder.parent


@pytest.mark.parametrize("contrast", [f"fused_vs_{LATE}", f"{LATE}_vs_text"])
def test_a_planned_contrast_with_it_has_no_word_and_keeps_the_report(sweep_dir: Path, contrast: str) -> None:
    """It has no records of its own that slices, guard-rails and explanations could read."""
    file = paths.manifest_file(sweep_dir)
    records.write(file, msgspec.structs.replace(records.read(file, Manifest), contrasts=[contrast, "fused_vs_text"]))
    write_report(sweep_dir)
    report = paths.report_dir(sweep_dir)
    verdicts = pd.read_csv(report / "verdicts.csv").query("model == 'vbpr'").set_index("contrast")
    assert verdicts.loc[contrast, "reason"] == "nothing was tuned in late"
    assert verdicts.loc[contrast, "configuration_gain"] != 0
    contribution = (report / "contribution.md").read_text()
    assert f"slices and guard-rails of {contrast}: late averages lists and keeps none" in contribution
    assert "M6 slices" in contribution  # of the other contrast
    told = explainable(sweep_dir)[f"{DATASET}/vbpr/{contrast}"]()
    assert f" = {LATE}: planted" in told
    assert "\n  averages image and text\n" in told
    assert "these two configurations, not the method" in told
