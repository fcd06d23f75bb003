"""A sweep that has everything a table can show."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pandas as pd
import pytest
from matplotlib.figure import Figure

from mmbench import paths
from mmbench.report import charts
from mmbench.scheduling import worker
from mmbench.scheduling.sweep import Sweep
from mmbench.store import records
from mmbench.store.schema import Cell, Stage
from tests.tiny import BROKEN, TINY, composed

#: Needs escaping in LaTeX and in Markdown.
DATASET = "planted_50%&co|1"
JOBS = (
    ("popularity", "none"),
    ("bpr", "none"),
    *(("vbpr", condition) for condition in ("none", "text", "image", "fused")),
    *(("fusion", condition) for condition in ("none", "text", "image", "fused")),
    ("lightgcn", "none"),
    ("broken", "text"),
)


def ruin(cell: Path) -> None:
    """Give every held-out item the last rank in the final runs, but for one user in ten."""
    for record in paths.training_records(cell, Stage.FINAL):
        file = record.with_suffix(f".{paths.RANKS}")
        frame = pd.read_parquet(file)
        frame.assign(rank=(frame["rank"] * 0 + 79).where(frame["user"] % 10 != 0, 3).astype("int32")).to_parquet(file)


@pytest.fixture(scope="package", autouse=True)
def _records_are_taken_as_they_are() -> Iterator[None]:
    """Sweeps made by hand hold what no training gave; ``tests/audit`` is about what an audit makes of that."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mmbench.audit.consistency.check", lambda sweep_dir: [])
        yield


@pytest.fixture(scope="session")
def whole_sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Really run, then: LightGCN planned but not run, Fusion's image records of other settings, VBPR's none ruined."""
    folder = tmp_path_factory.mktemp("report")
    words = [*TINY, f"paths.multirun={folder}", "sweep.name=my_table", "budget.seeds=3", f"dataset.name='{DATASET}'"]
    jobs = [composed([*words, f"model={m}", f"modality={c}"], BROKEN).job() for m, c in JOBS]
    sweep = Sweep.plan(jobs, words)
    sweep.open()
    worker.work([job for job in sweep.waiting if job.cell.model != "lightgcn"])
    by_name = {(plan.task.cell.model, plan.task.cell.modality): plan.store.folder for plan in sweep.planned}
    shutil.rmtree(by_name["lightgcn", "-"])
    ruin(by_name["vbpr", "none"])
    file = paths.cell_file(by_name["fusion", "image"])
    records.write(file, msgspec.structs.replace(records.read(file, Cell), key="0" * 64))
    return sweep.folder


@pytest.fixture
def sweep_dir(whole_sweep: Path, tmp_path: Path) -> Path:
    """A copy to change."""
    return Path(shutil.copytree(whole_sweep, tmp_path / "my_table"))


@pytest.fixture
def painted(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """Every chart of a page that is drawn from here on, in their order, as the figure that the page has as SVG."""
    figures: list[Figure] = []

    def keep(figure: Figure) -> str:
        figures.append(figure)
        return "<svg></svg>"

    monkeypatch.setattr(charts, "svg", keep)
    return figures
