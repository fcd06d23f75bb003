"""A cell as its record describes it, with the data it was trained on read again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mmbench import paths
from mmbench.audit.consistency import read_aside
from mmbench.data.splits import Split
from mmbench.scheduling.configuration import JobConfig
from mmbench.scheduling.job import Job
from mmbench.store import records
from mmbench.store.records import CellStore
from mmbench.store.schema import Cell, PlannedCell, Stage, Training
from mmbench.tuning.cell import CellTask


@dataclass(frozen=True)
class Recorded:
    """A cell of a sweep that can be ranked or trained again.

    Args:
        cell: its record.
        job: how it ran.
        task: input of tuning.
        store: its records.
        split: the split.
    """

    cell: Cell
    job: Job
    task: CellTask
    store: CellStore
    split: Split

    @staticmethod
    def read(sweep_dir: Path, planned: PlannedCell) -> Recorded:
        """Read its record and its data.

        Raises:
            ValueError: if the record, the data or the model cannot be read here.
        """
        folder = sweep_dir / planned.folder
        cell = records.read(paths.cell_file(folder), Cell)
        config = JobConfig.of_record(cell.config, draw=cell.draw)
        job = Job(config, {"model": cell.model, "modality": cell.modality}, (), sweep_dir)
        store = CellStore(sweep_dir, folder, cell.key)
        task = job.task().raised(cell.effort)
        return Recorded(cell, job, task, store, job.dataset().split)

    def trainings(self) -> Iterator[tuple[CellStore, Training]]:
        """Every training with the store it lies in: final runs of an earlier choice lie in one of their own."""
        for stage in Stage:
            for training in records.read_trainings(self.store.folder, stage, self.cell.key):
                yield self.store, training
        for folder, training in read_aside(self.store.folder, self.cell.key):
            yield CellStore(self.store.sweep_dir, folder, self.cell.key), training
