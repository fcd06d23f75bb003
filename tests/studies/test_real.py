"""What is kept of a study on real data: tuned metrics of every user, and the page."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mmbench import paths
from mmbench.inference.tuned_gain import tuned_gain
from mmbench.report.fairness_checks import read_groups
from mmbench.report.reading import read_sweep
from mmbench.report.write import write_report
from tests.report.conftest import shop_sweep
from tests.studies import real, sweeps

__all__ = ["shop_sweep"]


def test_tuned_metrics_of_users_average_to_the_tuned_metric(shop_sweep: Path) -> None:
    groups = read_groups(read_sweep(shop_sweep), shop_sweep)
    table = real.tuned_by_user(groups)
    cells = [(group, cell) for group in groups for cell in group.cells]
    assert len(table) == sum(len(cell.users) for _, cell in cells)
    for group, cell in cells:
        mine = table[(table.model == group.model) & (table.modality == cell.modality)]
        assert list(mine.user) == list(cell.users)
        n = tuned_gain(cell.tuning, cell.tuning).n
        assert mine["ndcg@20"].mean() == pytest.approx(cell.alone.curves.test.mean[n - 1], rel=1e-6)


def test_a_study_is_published_with_what_its_tables_need(
    shop_sweep: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def mmbench(*words: str) -> None:
        asked.append(words[0])
        if words[0] == "report":
            write_report(Path(words[1]))
        if words[0] == "bundle":
            Path(words[2]).write_bytes(b"records")

    monkeypatch.setattr(sweeps, "mmbench", mmbench)
    monkeypatch.setattr(real, "ROOT", tmp_path)
    monkeypatch.setattr(real.Published, "sweep", shop_sweep)
    study = real.Published("shop")
    study.publish()
    assert asked == ["audit", "report", "bundle"]  # the audit comes first, so that every table says how far it went
    kept = {file.name for file in study.folder.iterdir()}
    assert {"plan.json", "trials.csv", "users.parquet", "benchmark.md", "table.tex", "verdicts.csv"} <= kept
    assert not [name for name in kept if ".ja." in name]
    assert study.folder.joinpath("plan.json").read_bytes() == paths.manifest_file(shop_sweep).read_bytes()
    assert np.isfinite(pd.read_csv(study.folder / "trials.csv").validation).all()
    page = study.page.read_text(encoding="utf-8")
    assert hashlib.sha256(b"records").hexdigest() in page
    assert "| proof | records: consistent; root " in page
    for row in pd.read_csv(study.folder / "verdicts.csv").dropna(subset="sentence").itertuples():
        assert f"- *{row.verdict}*: {row.sentence}\n" in page
    for figure in study.figures.iterdir():
        assert f"(../images/studies/shop/{figure.name})" in page
