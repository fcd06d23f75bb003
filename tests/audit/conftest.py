"""A small sweep that is really run: raised once, with a control, a closed form, and a model that fails."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from mmbench import paths
from mmbench.audit.recorded import Sources
from mmbench.cli.compose import compose
from mmbench.scheduling import worker
from mmbench.scheduling.sweep import Sweep
from mmbench.scheduling.trust import Trust
from tests.audit.forger import Forger
from tests.tiny import TINY, write_broken_model

CELLS = (
    ("vbpr", "text", "complementary"),
    ("vbpr", "fused", "complementary"),
    ("vbpr", "text_shuffled_image", "complementary"),
    ("ease", "none", "no_signal"),
    ("broken", "none", "complementary"),
    ("broken", "text", "complementary"),
)
#: Of 60 users, those whose validation is ranked.
SAMPLE = 50
#: Who audits these sweeps vouches for the model that fails.
SOURCES = Sources(Trust.of(["tests.tiny.Broken"]))


def run(
    folder: Path, name: str, *words: str, cells: tuple[tuple[str, str, str], ...] = CELLS, work: bool = True
) -> Path:
    """Run a sweep in this process, or plan it alone; the same command again resumes it or raises it."""
    if not (folder / "conf").exists():
        write_broken_model(folder / "conf")
    shared = [*TINY, f"paths.multirun={folder}", f"sweep.name={name}", *words]
    jobs = [
        compose([*shared, f"model={m}", f"modality={c}", f"dataset.world={w}"], [folder / "conf"]).job()
        for m, c, w in cells
    ]
    sweep = Sweep.plan(jobs, shared)
    sweep.open()
    if work and sweep.waiting:
        worker.work(sweep.waiting)
    return sweep.folder


@pytest.fixture(scope="session")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sweep, with two trials and then with three; beside it its manifest as it was before it was raised.

    Validation is ranked for a sample of users, so that every edit meets one.
    """
    folder, words = tmp_path_factory.mktemp("honest"), ("budget.seeds=2", f"evaluation.validation_users={SAMPLE}")
    sweep = run(folder, "s", "budget.trials=2", *words)
    shutil.copyfile(paths.manifest_file(sweep), folder / "earlier.json")
    return run(folder, "s", "budget.trials=3", *words)


@pytest.fixture
def forger(honest: Path) -> Iterator[Forger]:
    """Edits the sweep; afterwards it is as it was."""
    with Forger(honest) as forger:
        yield forger
