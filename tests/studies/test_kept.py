"""What a study keeps gives its verdicts again."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from mmbench import paths
from mmbench.inference.gains import TunedGain
from mmbench.report.cell_effort import CellEffort
from mmbench.report.fairness_checks import Group, read_groups
from mmbench.report.reading import read_sweep
from mmbench.report.write import write_report
from mmbench.store.schema import Stage
from tests.decision.test_new_items import Cells, of_folds
from tests.decision.test_over_splits import split
from tests.report.constructed import write_sweep
from tests.report.test_new_items import write_candidates
from tests.studies import kept, sweeps

#: What is cloned with the repository: all studies, a rank of theirs, and other files of a data set and split of one.
MOST_BYTES, MOST_BITS_A_RANK, MOST_BYTES_BESIDE = 60e6, 2, 1e6
FOLDS = of_folds(180, 168, 174)
PUBLISHED = sorted(file.parent for file in (sweeps.ROOT / "studies").glob(f"*/{kept.VERDICTS}"))


def keep(sweep: Path, folder: Path) -> tuple[kept.Kept, list[Group]]:
    """What is kept of a sweep, and its groups."""
    table = read_sweep(sweep)
    groups = read_groups(table, sweep)
    folder.mkdir()
    kept.write(table, groups, folder)
    return kept.Kept(folder), groups


def cells_of(groups: list[Group]) -> dict[tuple[str, str], CellEffort]:
    return {(group.dataset, f"{group.model}/{cell.modality}"): cell for group in groups for cell in group.cells}


@pytest.mark.thorough
@pytest.mark.parametrize("folder", PUBLISHED, ids=lambda folder: folder.name)
def test_every_published_verdict_is_computed_again_from_what_is_kept(folder: Path) -> None:
    study = kept.Kept(folder)
    found = list(study.judged())
    assert [judged.row.Index for judged in found] == list(study.verdicts.index)  # not one is left out
    for judged in found:
        row, tuned, judgement = judged
        name = (row.dataset, row.model, row.contrast)
        assert (str(judgement), tuned.n, tuned.trials) == (row.verdict, row.n, row.trials), name
        assert (tuned.interval is None) == np.isnan(row.lo), name
        assert judged.distance <= 1e-9, name
        # Over splits the trials have no share of their own.
        share = tuned.estimate.shares.trials if isinstance(tuned, TunedGain) else np.nan
        assert share == pytest.approx(row.share_trials, rel=1e-6, nan_ok=True), name


def bytes_of(folders: Iterable[Path]) -> int:
    return sum(file.stat().st_size for folder in folders for file in folder.iterdir())


@pytest.mark.parametrize("folder", PUBLISHED, ids=lambda folder: folder.name)
def test_a_published_study_stays_small(folder: Path) -> None:
    held = {dataset for dataset, _ in kept.Kept(folder).conditions}
    ranks = (folder / kept.RANKS).stat().st_size
    groups = pq.ParquetFile(folder / kept.RANKS).metadata
    columns = [groups.row_group(n).column(m) for n in range(groups.num_row_groups) for m in range(groups.num_columns)]
    assert ranks * 8 < MOST_BITS_A_RANK * sum(column.num_values for column in columns)
    assert bytes_of([folder]) - ranks < MOST_BYTES_BESIDE * len(held)


def test_all_published_studies_together_stay_small() -> None:
    assert 0 < bytes_of(PUBLISHED) < MOST_BYTES


def test_what_is_kept_of_a_sweep_gives_its_verdicts(
    shop_sweep: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep = Path(shutil.copytree(shop_sweep, tmp_path / "shop"))
    write_report(sweep)
    (tmp_path / "studies").mkdir()
    study, _ = keep(sweep, tmp_path / "studies" / "shop")
    shutil.copyfile(paths.report_dir(sweep) / kept.VERDICTS, study.folders[0] / kept.VERDICTS)
    found = list(study.judged())
    assert len(found) == study.verdicts.gain.notna().sum() > 0
    for judged in found:
        assert str(judged.judgement) == judged.row.verdict
        assert judged.distance <= 1e-12
    monkeypatch.setattr(kept, "ROOT", tmp_path)
    monkeypatch.setattr("sys.argv", ["kept", "shop"])
    kept.main()
    *lines, last = capsys.readouterr().out.splitlines()
    assert [line.rpartition("; published: ")[2] for line in lines] == [judged.row.verdict for judged in found]
    assert last.startswith(f"shop: {len(found)} verdicts, gains and bounds at most ")


@pytest.mark.thorough
@pytest.mark.parametrize(("made", "together"), [(split(), "d over 2 split seeds"), (FOLDS, "d over 3 of 5 cold folds")])
def test_what_repetitions_say_together_is_computed_again(made: Cells, together: str, tmp_path: Path) -> None:
    sweep = write_sweep(tmp_path / "s", made)
    write_candidates(sweep, made)
    write_report(sweep)
    study, _ = keep(sweep, tmp_path / "kept")
    shutil.copyfile(paths.report_dir(sweep) / kept.VERDICTS, study.folders[0] / kept.VERDICTS)
    found = list(study.judged())
    assert [judged.row.Index for judged in found] == list(study.verdicts[study.verdicts.gain.notna()].index)
    joined = [judged for judged in found if judged.row.dataset == together]
    assert joined
    assert any(judged.tuned.interval is not None for judged in joined)
    for judged in found:
        name = (judged.row.dataset, judged.row.model, judged.row.contrast)
        assert str(judged.judgement) == judged.row.verdict, name
        assert judged.distance <= 1e-12, name


def test_a_trial_without_ranks_has_failed(shop_sweep: Path, tmp_path: Path) -> None:
    sweep = Path(shutil.copytree(shop_sweep, tmp_path / "shop"))
    (dataset, name), cell = next(iter(cells_of(read_groups(read_sweep(sweep), sweep)).items()))
    paths.training_file(cell.folder, Stage.TRIAL, 2, paths.RANKS).unlink()
    study, groups = keep(sweep, tmp_path / "kept")
    own, again = cells_of(groups)[dataset, name].tuning, study.cell(dataset, name).tuning
    assert np.flatnonzero(np.isinf(again.scores)).tolist() == [2]
    assert np.array_equal(own.scores, again.scores)
    assert np.array_equal(own.test, again.test, equal_nan=True)
    assert own.seed_noise == again.seed_noise


def test_trials_of_other_held_out_items_are_not_kept(shop_sweep: Path, tmp_path: Path) -> None:
    sweep = Path(shutil.copytree(shop_sweep, tmp_path / "shop"))
    *_, cell = cells_of(read_groups(read_sweep(sweep), sweep)).values()
    for slot in range(len(cell.trials)):
        file = paths.training_file(cell.folder, Stage.TRIAL, slot, paths.RANKS)
        frame = pd.read_parquet(file)
        frame[frame.user != frame.user.max()].to_parquet(file)
    with pytest.raises(ValueError, match="its held-out items are not those of the other trainings"):
        keep(sweep, tmp_path / "kept")


def test_a_trial_that_was_cut_off_is_not_trusted(shop_sweep: Path, tmp_path: Path) -> None:
    sweep = Path(shutil.copytree(shop_sweep, tmp_path / "shop"))
    write_report(sweep)
    study, _ = keep(sweep, tmp_path / "kept")
    shutil.copyfile(paths.report_dir(sweep) / kept.VERDICTS, study.folders[0] / kept.VERDICTS)
    row = next(judged.row for judged in study.judged() if str(judged.judgement) != "no word")
    for condition in study.conditions.values():
        condition.marked["cut off"] = list(range(len(condition.validation)))
    assert str(study.judge(row).judgement) == "measurement not trusted"
