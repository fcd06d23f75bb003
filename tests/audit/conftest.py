"""A small sweep that is really run: raised once, with a control, a closed form, and a model that fails."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mmbench.audit.recorded import Sources
from mmbench.scheduling import worker
from mmbench.scheduling.sweep import Sweep
from mmbench.scheduling.trust import Trust
from tests.audit.forger import Forger
from tests.tiny import BROKEN, TINY, composed

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
#: Who audits these sweeps vouches for the model that fails, and for one of a single number.
SOURCES = Sources(Trust.of(["tests.tiny.Broken", "tests.tiny.Steady"]))


def run(
    folder: Path, name: str, *words: str, cells: tuple[tuple[str, str, str], ...] = CELLS, work: bool = True
) -> Path:
    """Run a sweep in this process, or plan it alone; the same command again resumes it or raises it."""
    shared = [*TINY, f"paths.multirun={folder}", f"sweep.name={name}", *words]
    conf = folder / "conf" if (folder / "conf").exists() else BROKEN
    jobs = [composed([*shared, f"model={m}", f"modality={c}", f"dataset.world={w}"], conf).job() for m, c, w in cells]
    sweep = Sweep.plan(jobs, shared)
    sweep.open()
    if work and sweep.waiting:
        worker.work(sweep.waiting)
    return sweep.folder


@pytest.fixture
def forger(honest: Path) -> Iterator[Forger]:
    """Edits the sweep; afterwards it is as it was."""
    with Forger(honest) as forger:
        yield forger
