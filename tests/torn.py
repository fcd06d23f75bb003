"""Files as a power cut or a disk leaves them, and what must be the same after the next command."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from pathlib import Path

from mmbench import paths
from mmbench.report.fairness_checks import read_groups
from mmbench.report.list_facts import read_lists
from mmbench.report.reading import read_sweep
from mmbench.scheduling import worker
from mmbench.scheduling.job import Job
from mmbench.scheduling.sweep import Sweep, run_sweep
from tests.tiny import digests

#: What is left of a file's bytes.
MODES: Mapping[str, Callable[[bytes, random.Random], bytes]] = {
    "empty": lambda content, rng: b"",
    "cut": lambda content, rng: content[: len(content) // 2],
    "zeros": lambda content, rng: bytes(len(content)),
    "garbage": lambda content, rng: rng.randbytes(len(content)),
}
#: Folders that say how it came about, and not what came out.
MANNER = {paths.damaged_dir(Path()).name, paths.lease_dir(Path()).name, paths.report_dir(Path()).name}


def tear(file: Path, mode: str, rng: random.Random) -> None:
    """Leave a file as one of :data:`MODES` says."""
    file.write_bytes(MODES[mode](file.read_bytes(), rng))


def results(sweep_dir: Path) -> dict[str, str]:
    """Digest of every file of every cell, all of which are deterministic."""
    return {
        name: digest
        for name, digest in digests(sweep_dir).items()
        if name.count("/") > 2 and name.split("/")[0] not in MANNER and not name.endswith(".tmp")
    }


class InThisProcess:
    """Stands in for the pool."""

    dry_run = False

    def check(self, sweep: Sweep) -> None:
        """This process trains wherever the tests run."""

    def __call__(self, sweep: Sweep) -> int:
        if sweep.waiting:
            worker.work(sweep.waiting)
        return 0


def read_everything(sweep_dir: Path) -> str:
    """Read all that a report reads, also of earlier looks; it costs a tenth of writing one."""
    table = read_sweep(sweep_dir)
    for group in read_groups(table, sweep_dir):
        for cell in group.cells:
            for now in (cell, *(cell.past(number) for number in range(1, len(cell.openings)))):
                now.tuning  # noqa: B018
                now.finals_test  # noqa: B018
    for cell in table.cells.values():
        if cell.status == "done" and not cell.parts:
            read_lists(cell)
    return table.name


def command(jobs: list[Job]) -> int:
    """What the command line of a sweep does, in this process and with a report that is only read."""
    return run_sweep(jobs, [], read_everything, InThisProcess())
