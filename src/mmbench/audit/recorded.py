"""A cell as its record describes it, with the data it was trained on read again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mmbench import paths
from mmbench.audit.findings import folder_of, read_aside
from mmbench.data.splits import Split
from mmbench.messages import Refusal
from mmbench.scheduling.configuration import JobConfig
from mmbench.scheduling.job import Job
from mmbench.scheduling.trust import Trust
from mmbench.store import records
from mmbench.store.records import CellStore
from mmbench.store.schema import Cell, Manifest, PlannedCell, Stage, Training
from mmbench.tuning.cell import CellTask


@dataclass(frozen=True)
class Sources:
    """What an audit may use besides the records.

    Args:
        trust: what may be used because a record names it.
        data: a folder of data sets, or the one folder of the only one; None to read them where the records say, if
            ``trust`` lets them be read there.
    """

    trust: Trust
    data: Path | None = None

    def dataset(self, section: dict[str, Any]) -> dict[str, Any]:
        """The section of a recorded data set with the folder that is read: that of its name where there is one.

        The last part of the path that a record names comes second, or a record could have another data set read.

        Raises:
            ValueError: if ``data`` does not hold it.
        """
        if self.data is None or section.get("world") is not None:
            return section
        name = Path(section.get("path") or section["name"]).name
        for folder in (self.data / str(section["name"]), self.data / name, self.data):
            if any(folder.glob("interactions.*")):
                return {**section, "path": str(folder)}
        raise Refusal("{folder} holds neither a folder {name} nor interactions", folder=self.data, name=name)

    @property
    def may_use(self) -> Trust:
        """What may be read, ``data`` included."""
        added = () if self.data is None else (self.data,)
        return replace(self.trust, places=(*self.trust.places, *added))


def needs_data(sweep_dir: Path) -> bool:
    """Whether a cell was trained on data that lie in files; a planted world is drawn again from its record."""
    planned = records.read(paths.manifest_file(sweep_dir), Manifest).cells
    cells = (file for file in (paths.cell_file(folder_of(sweep_dir, one)) for one in planned) if file.exists())
    return any(records.read(file, Cell).config["dataset"].get("world") is None for file in cells)


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
    def read(sweep_dir: Path, planned: PlannedCell, sources: Sources) -> Recorded:
        """Read its record and its data.

        Raises:
            ValueError: if the record, the data or the model cannot be read here, or nobody vouches for them.
        """
        folder = folder_of(sweep_dir, planned)
        cell = records.read(paths.cell_file(folder), Cell)
        plain = {**cell.config, "dataset": sources.dataset(cell.located_config["dataset"])}
        config = JobConfig.of_record(plain, draw=cell.draw)
        names = {"model": cell.model, "modality": cell.modality}
        job = Job(config, names, (), sweep_dir, sources.may_use)
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

    def training(self, recorded: str) -> tuple[CellStore, Training]:
        """The training whose record has the hash ``recorded``, with the store it lies in."""
        return next((store, training) for store, training in self.trainings() if training.hash == recorded)
