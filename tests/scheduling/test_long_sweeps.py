"""What a sweep costs does not grow with its length: memory of a worker, reads of a look, counts of the progress."""

from __future__ import annotations

import ctypes
import io
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from mmbench.scheduling import memory, worker
from mmbench.scheduling.progress import Progress
from mmbench.store import records
from mmbench.store.schema import CellName, LedgerRow
from mmbench.training import allocation
from tests import records as made
from tests.tiny import make_job, opened

MIB = 2**20
#: Trainings of one worker, those after which its memory is taken as reached, and by how much it may grow after them.
TRAININGS, WARM, GROWTH = 200, 20, 20 * MIB


def train(folder: Path, *words: str) -> None:
    """Run so many trainings as a worker does, and print what the process has after each; in a process of its own."""
    job = make_job(folder, *words, f"budget.trials={TRAININGS}")
    opened(job)
    run = worker.run_unit

    def noting(*given: Any) -> Any:
        print(memory.resident(os.getpid())[0], flush=True)
        return run(*given)

    worker.run_unit = noting
    worker.start([job], ctypes.create_string_buffer(worker.STATE_SIZE))


@pytest.mark.slow
@pytest.mark.parametrize("words", [("model=bpr",), ("model=freedom", "modality=fused")])
def test_memory_stays_flat_over_two_hundred_trainings(words: tuple[str, ...], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.scheduling.test_long_sweeps", str(tmp_path), *words]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=550, cwd=root)
    held = [int(line) for line in done.stdout.splitlines() if line.isdigit()]
    assert len(held) >= TRAININGS
    assert max(held[WARM:]) - held[WARM] < GROWTH


def test_a_collection_follows_every_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Circles of a trainer would live on for dozens of trainings otherwise."""
    job = make_job(tmp_path, "model=popularity", "budget.trials=1", "budget.seeds=2")
    opened(job)
    steps: list[str] = []
    monkeypatch.setattr(allocation, "release", lambda: steps.append("release"))
    run = worker.run_unit
    monkeypatch.setattr(worker, "run_unit", lambda *given: steps.append("training") or run(*given))
    worker.work([job])
    trial, finals = ["training", "release"], ["training", "release"] * 2
    assert steps == [*trial, "release", *finals, "release"]  # those alone after the choice and after the test split


@pytest.mark.thorough
def test_the_record_of_a_cell_is_parsed_once_however_many_trainings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = make_job(tmp_path, "model=bpr", "budget.trials=12", "budget.seeds=2")
    _, store = opened(job)
    noted: Counter[str] = Counter()
    read = records.read

    def noting(path: Path, kind: type[records.R]) -> records.R:
        noted[path.name] += 1
        return read(path, kind)

    monkeypatch.setattr(records, "read", noting)
    worker.work([job])
    assert store.seal() is not None
    assert noted["cell.json"] <= 3
    assert all(noted[f"{slot:03d}.json"] <= 3 for slot in range(12))


def test_a_record_that_another_command_replaces_is_read_again(tmp_path: Path) -> None:
    """Raised trials are seen by a worker that has read the record of the cell before."""
    words = ("model=bpr", "budget.seeds=1")
    _, store = opened(make_job(tmp_path, *words, "budget.trials=2"))
    assert store.effort().trials == 2
    opened(make_job(tmp_path, *words, "budget.trials=5"))
    assert store.effort().trials == 5


class OneByOne:
    """A ledger that has one more row at every look."""

    def __init__(self, rows: list[LedgerRow]) -> None:
        self.rows = iter(rows)

    def new(self) -> list[LedgerRow]:
        return [row for row in [next(self.rows, None)] if row is not None]


def followed(tmp_path: Path, cells: int) -> tuple[int, str]:
    """Calls with which the progress of so many cells follows 300 rows, and the line of the last one."""
    keys = [made.KEY, *(f"{number:064d}" for number in range(cells - 1))]
    names = {key: CellName("data", "vbpr", f"c{number}") for number, key in enumerate(keys)}
    shown = Progress(tmp_path, names, dict.fromkeys(keys, 300), out=io.StringIO(), line_every=3600.0)
    shown.start(finished=keys[1:3])
    rows = [made.row(made.trial(slot)) for slot in range(300)]
    shown.ledger = OneByOne(rows)  # type: ignore[assignment]
    shown.update()  # asks once for every cell whether it has failed, and not again before a line is due
    calls = 0

    def noted(frame: object, event: str, called: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(noted)
    for slot in range(1, 300):
        shown.update()
        assert (shown.n_done, shown.total) == (2 * 300 + slot + 1, 300 * cells)
    sys.setprofile(None)
    return calls, shown.line(rows[-1])


def test_following_the_ledger_costs_the_same_whatever_the_number_of_cells(tmp_path: Path) -> None:
    few, _ = followed(tmp_path, 10)
    many, said = followed(tmp_path, 3000)
    assert few > 300
    assert many < 1.1 * few  # 25 times when all cells were counted at every row; garbage is collected in between
    assert said.startswith(f"[3/3000 cells, 900/{300 * 3000} trainings")


if __name__ == "__main__":
    train(Path(sys.argv[1]), *sys.argv[2:])
