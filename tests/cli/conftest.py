"""The command line inside the test's own process."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest
from hydra.core.global_hydra import GlobalHydra

from mmbench.cli import main
from mmbench.scheduling import job as job_module
from mmbench.scheduling import sweep, worker
from mmbench.scheduling.devices import Layout
from mmbench.scheduling.job import Job
from mmbench.scheduling.progress import Progress
from tests.tiny import TINY, WORLD


class Said(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


class Here:
    """Stands in for the pool: the same worker, in this process, which saves the seconds that starting Python costs."""

    def __init__(self, jobs: Sequence[Job], layout: Layout, progress: Progress) -> None:
        self.jobs = jobs
        self.progress = progress

    def run(self) -> int:
        worker.work(self.jobs)
        self.progress.update()
        return 0


Command = Callable[..., Said]


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run ``mmbench`` with some words; what they leave open is a tiny world and sweeps below ``tmp_path``."""
    monkeypatch.setattr(sweep, "Pool", Here)

    def run(*words: str) -> Said:
        capsys.readouterr()
        # Another command is another process, which reads its data itself and has a Hydra of its own.
        running = GlobalHydra.instance().hydra
        GlobalHydra.instance().clear()
        job_module._dataset.cache_clear()
        job_module._aimed.cache_clear()
        said = {word.split("=")[0] for word in words}
        settings = [word for word in (*TINY, f"paths.multirun={tmp_path}") if word.split("=")[0] not in said]
        if said & {"dataset", "demo"}:
            settings = [word for word in settings if word not in WORLD]
        monkeypatch.setattr(sys, "argv", ["mmbench", *words, *settings])
        try:
            main()
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
        finally:
            GlobalHydra.instance().hydra = running
        return Said(code, *capsys.readouterr())

    return run
