"""Cells of published studies that are run again: which, by which command, and what is compared."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import mmbench
from mmbench import paths
from mmbench.cli.compose import compose
from mmbench.report.fairness_checks import read_groups
from mmbench.report.reading import read_sweep
from mmbench.store import files, records
from mmbench.store.schema import ID_ONLY, Manifest
from tests.studies import answer, kept, rerun, sweeps

PUBLISHED = sorted(file.parent for file in (sweeps.ROOT / "studies").glob(f"*/{kept.PLAN}"))
WAS = rerun.Rerun("2026-12-01", "5f", {}, ["vbpr/text"], 70, 70, 0.0, 1000, 0)


@pytest.fixture
def study(shop_sweep: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A published study whose cells come out again as they were."""
    folder = tmp_path / "studies" / "shop"
    folder.mkdir(parents=True)
    table = read_sweep(shop_sweep)
    kept.write(table, read_groups(table, shop_sweep), folder)
    shutil.copyfile(paths.manifest_file(shop_sweep), folder / kept.PLAN)
    mmbench.read(str(shop_sweep)).trials().to_csv(folder / rerun.TRIALS, index=False)
    monkeypatch.setattr(rerun, "ROOT", tmp_path)

    def run(*words: str) -> None:
        (name,) = (word.removeprefix("sweep.name=") for word in words if word.startswith("sweep.name="))
        shutil.copytree(shop_sweep, tmp_path / "multirun" / name)

    monkeypatch.setattr(sweeps, "mmbench", run)
    return folder


def test_what_comes_out_the_same_is_said_and_kept(study: Path) -> None:
    trials = pd.read_csv(study / rerun.TRIALS)
    rerun.main(["shop", "--cells", "2"])
    found = msgspec.convert(files.read_document(study / rerun.RERUN), rerun.Rerun)
    cells = rerun.drawn(trials, found.root, 2)
    assert found.cells == [str(cell) for cell in cells]
    assert found.trainings == found.same == sum(len(rerun.of(trials, cell)) for cell in cells) > 0
    assert (found.distance, found.other_ranks) == (0.0, 0)
    assert found.ranks > 0
    assert found.root == files.read_document(study / kept.TUNING)["root"]
    rerun.main(["shop"])  # a sweep of before is not taken for a new one
    assert len(files.read_document(study / rerun.RERUN)["cells"]) == 1


def test_a_score_and_a_rank_that_differ_are_found(study: Path) -> None:
    trials = pd.read_csv(study / rerun.TRIALS)
    (cell,) = rerun.drawn(trials, files.read_document(study / kept.TUNING)["root"], 1)
    row = rerun.of(trials, cell).index[0]
    trials.loc[row, "validation"] += 1e-9
    trials.to_csv(study / rerun.TRIALS, index=False)
    ranks = pq.read_table(study / kept.RANKS)
    column = ranks[str(cell)].to_pylist()
    column[3] = [None if rank is None else rank + 1 for rank in column[3]]
    place = ranks.column_names.index(str(cell))
    pq.write_table(ranks.set_column(place, str(cell), pa.array(column)), study / kept.RANKS)
    found = rerun.rerun("shop", 1)
    assert found.same == found.trainings - 1
    assert found.distance == pytest.approx(1e-9, rel=1e-3)
    assert found.other_ranks == sum(rank is not None for rank in column[3])


def seed(trials: pd.DataFrame) -> None:
    trials["seed"] += 1


def weight(trials: pd.DataFrame) -> None:
    (name, *_) = (column for column in trials if column.startswith("model.") and trials[column].notna().all())
    trials[name] += 0.5


def lost(trials: pd.DataFrame) -> None:
    trials.drop(index=trials.index[::5], inplace=True)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (seed, "seed differs from the published trainings"),
        (weight, r"model\.\w+ differs from the published trainings"),
        (lost, "trainings have other names than the"),
    ],
)
def test_what_is_another_study_is_not_compared(study: Path, change: Callable[[pd.DataFrame], None], said: str) -> None:
    trials = pd.read_csv(study / rerun.TRIALS)
    change(trials)
    trials.to_csv(study / rerun.TRIALS, index=False)
    with pytest.raises(ValueError, match=said):
        rerun.rerun("shop", 1)
    assert not (study / rerun.RERUN).exists()


@pytest.mark.parametrize("folder", PUBLISHED, ids=lambda folder: folder.name)
def test_a_cell_of_every_study_has_a_command_for_it_alone(folder: Path) -> None:
    trials = pd.read_csv(folder / rerun.TRIALS)
    plan = records.read(folder / kept.PLAN, Manifest)
    (cell,) = rerun.drawn(trials, files.read_document(folder / kept.TUNING)["root"], 1)
    words = rerun.command(plan, cell, "again")
    several = [word for word in words if "," in word]
    assert all(word.partition("=")[0].startswith(("dataset.", "++dataset.", "study.draw")) for word in several)
    job = compose([word if word not in several else word.partition(",")[0] for word in words]).job()
    asked = rerun.NO_CONTENT if cell.modality == ID_ONLY else cell.modality
    assert (job.choices["model"], job.asked_modality) == (cell.model, asked)
    assert (job.config.plain["budget"]["trials"], job.config.plain["sweep"]["name"]) == (plan.budget["trials"], "again")


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (WAS, "70 of 70 (vbpr/text)"),
        (msgspec.structs.replace(WAS, same=68, distance=2.4e-9), "68 of 70 (vbpr/text), others within 2e-09"),
        (msgspec.structs.replace(WAS, root="60"), "-"),
        (None, "-"),
    ],
)
def test_the_page_says_what_came_out_again(found: rerun.Rerun | None, said: str, tmp_path: Path) -> None:
    if found is not None:
        files.write_document(tmp_path / rerun.RERUN, msgspec.to_builtins(found))
    assert answer.run_again(tmp_path, "5f") == said
