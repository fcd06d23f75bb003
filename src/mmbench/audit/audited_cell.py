"""One cell under audit: its record, what the plan gives it, and where its trainings lie."""

from __future__ import annotations

import functools
from pathlib import Path

from mmbench import paths
from mmbench.audit.findings import read_aside
from mmbench.audit.opened import CellInSweep
from mmbench.data.conditions import ModalityCondition
from mmbench.scheduling.cell_key import default_of
from mmbench.store import records
from mmbench.store.schema import TRAININGS, Cell, Configuration, DataPrint, Effort, Revision, Seal, Training, Unit
from mmbench.tuning.cell import slots_of
from mmbench.tuning.space import read_space


class AuditedCell:
    """A cell with its record.

    Args:
        in_sweep: the cell as it was planned, and what the sweep holds of it.

    Raises:
        ValueError: if its record cannot be read.
    """

    def __init__(self, in_sweep: CellInSweep) -> None:
        self.in_sweep = in_sweep
        self.folder, self.manifest, self.planned = in_sweep.folder, in_sweep.manifest, in_sweep.planned
        self.file = paths.cell_file(self.folder)
        self.ledger_file = paths.ledger_file(in_sweep.sweep_dir)
        self.manifest_file = paths.manifest_file(in_sweep.sweep_dir)
        self.cell = records.read(self.file, Cell)
        self.budget = self.cell.config["budget"]
        self.space = read_space(self.cell.config["search"])

    @property
    def data_print(self) -> DataPrint | None:
        """What the plan says of its data."""
        return self.manifest.data.get(self.cell.dataset)

    @functools.cached_property
    def condition(self) -> ModalityCondition:
        """Its modality condition."""
        return ModalityCondition(**self.cell.config["modality"])

    @functools.cached_property
    def slots(self) -> list[Configuration]:
        """The configuration of each random slot of the plan."""
        default = default_of(self.cell.config, self.space)
        return slots_of(self.cell.name, self.space, default, self.planned.trials, self.cell.given)

    def effort_of(self, trials: int, seeds: int) -> Effort:
        """How often the cell is trained under a plan of so many trials, no more than those of now, and final runs."""
        return Effort(trials=len(self.slots[: max(trials, 1)]), proposals=self.budget.get("tpe", 0), seeds=seeds)

    @functools.cached_property
    def revisions(self) -> list[Revision]:
        """Those that planned the cell under its key."""
        return [r for r in self.manifest.revisions if r.cells.get(str(self.cell.name)) == self.cell.key]

    @functools.cached_property
    def unclaimed(self) -> bool:
        """Whether effort was raised in the plan and not yet in the record, as a kill between both leaves it."""
        efforts = [self.effort_of(revision.trials, revision.seeds) for revision in self.revisions]
        now = self.effort_of(self.planned.trials, self.planned.seeds)
        return self.cell.effort in efforts[:-1] and self.cell.effort != now == efforts[-1]

    @property
    def looks_kept(self) -> list[Path]:
        """Folders of its earlier looks."""
        return [paths.look_dir(self.folder, number) for number in range(1, paths.looks_kept(self.folder) + 1)]

    @functools.cached_property
    def outgrown(self) -> bool:
        """Whether more final runs were planned since the last seal, as a revision notes it: it is an earlier look."""
        file, held = paths.seal_file(self.folder), set(self.manifest.seals_of(self.cell.name, self.cell.key).values())
        if not held or not file.exists():
            return False
        seal = records.read(file, Seal)
        kept = {records.read(paths.seal_file(look), Seal).hash for look in self.looks_kept}
        return len(seal.finals) < self.cell.effort.seeds and seal.hash in held - kept

    def record_of(self, unit: Unit) -> Path:
        """Where the record of one of its trainings lies."""
        return paths.training_file(self.folder, *unit, paths.RECORD)

    def aside(self) -> list[tuple[Path, Training]]:
        """Its trainings that were set aside, with their folders."""
        return read_aside(self.folder, self.cell.key)

    def was_lost(self, unit: Unit, *hashes: str) -> bool:
        """Whether a record of a training lies among the damaged files, so that it was run once more.

        Args:
            unit: the training.
            hashes: that of its record, where it must be a certain one; of one that cannot be read nobody knows it.
        """
        for file in paths.damaged_records(self.manifest_file.parent, self.folder, *unit):
            try:
                record = records.read(file, TRAININGS[unit.stage])
            except ValueError:
                return True
            if (record.cell_key, record.unit) == (self.cell.key, unit) and record.hash in (hashes or [record.hash]):
                return True
        return False
