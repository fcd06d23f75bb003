"""What was tried besides what is shown: a sweep that is run until it is lucky leaves these traces."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mmbench import paths
from mmbench.audit.findings import folder_of, read_aside, set_aside_trainings
from mmbench.messages import Message
from mmbench.store import ledger, records
from mmbench.store.schema import Cell, Manifest, Stage

#: Data set and model.
Subject = tuple[str, str]


@dataclass
class Tries:
    """Further tries of a data set and model.

    Args:
        here: those in the folder of the sweep, which an archive of it holds too.
        beside: sweeps beside it that planned the same cells.
    """

    here: list[Message] = field(default_factory=list)
    beside: list[Message] = field(default_factory=list)


def read_tries(sweep_dir: Path, *, beside: bool = True) -> Mapping[Subject, Tries]:
    """Cells that were set aside, trainings that nothing rests on, earlier plans, and sweeps ``beside`` this one."""
    manifest = records.read(paths.manifest_file(sweep_dir), Manifest)
    found: dict[Subject, Tries] = {(cell.dataset, cell.model): Tries() for cell in manifest.cells}

    def of(dataset: str, model: str) -> list[Message]:
        return found.setdefault((dataset, model), Tries()).here

    for folder in paths.stale_dirs(sweep_dir):
        with contextlib.suppress(ValueError):  # of another version
            cell = records.read(paths.cell_file(folder), Cell)
            n = len(records.trainings_of_stale(folder))
            name = folder.relative_to(sweep_dir).as_posix()
            of(cell.dataset, cell.model).append(
                Message.counted(
                    "{name} was set aside with {n} training",
                    "{name} was set aside with {n} trainings",
                    n,
                    name=name,
                )
            )
            if looks := len(paths.seals_of(folder)):
                of(cell.dataset, cell.model).append(
                    Message.counted(
                        "for {name} the test split had been opened once",
                        "for {name} the test split had been opened {n} times",
                        looks,
                        name=name,
                    )
                )
    for name, n in _in_turn(revision.cells for revision in manifest.revisions).items():
        dataset, model, condition = name.split("/")
        of(dataset, model).append(
            Message("{condition} was planned with {n} settings in turn", condition=condition, n=n)
        )
    for name, n in _in_turn(revision.versions for revision in manifest.revisions).items():
        dataset, model, condition = name.split("/")
        of(dataset, model).append(
            Message(
                "{condition} was planned with {n} versions of its code, or of what it computes with, in turn",
                condition=condition,
                n=n,
            )
        )
    for name in sorted(manifest.planned_late()):
        dataset, model, condition = name.split("/")
        of(dataset, model).append(
            Message("the plan of {condition} was written after its test split had been opened", condition=condition)
        )
    for dataset, n in _in_turn(revision.data for revision in manifest.revisions).items():
        for subject, tries in found.items():
            if subject[0] == dataset:
                tries.here.append(
                    Message(
                        "it was planned with {n} contents of {dataset} in turn: rows or features changed",
                        n=n,
                        dataset=dataset,
                    )
                )
    for (dataset, model, condition), n in _without_use(sweep_dir, manifest).items():
        of(dataset, model).append(
            Message.counted(
                "the ledger has {n} training of {condition} that no choice rests on",
                "the ledger has {n} trainings of {condition} that no choice rests on",
                n,
                condition=condition,
            )
        )
    owner = {cell.key: (cell.dataset, cell.model) for cell in manifest.cells}
    for other in plans_beside(sweep_dir) if beside else ():
        for subject in sorted({owner[cell.key] for cell in other.cells if cell.key in owner}):
            found[subject].beside.append(
                Message("sweep {name} beside it has cells with the same plan", name=other.name)
            )
    return found


def plans_beside(sweep_dir: Path) -> Iterator[Manifest]:
    """Plans of the sweeps beside a sweep; of another version none, for this one can be reported all the same."""
    for file in sorted(sweep_dir.resolve().parent.glob(str(paths.manifest_file(Path("*"))))):
        if file.parent != sweep_dir.resolve():
            with contextlib.suppress(ValueError):
                yield records.read(file, Manifest)


def _in_turn(revisions: Iterable[Mapping[str, str]]) -> Mapping[str, int]:
    """How many values each name has had in the revisions of a plan, of those that had several."""
    seen: dict[str, set[str]] = {}
    for values in revisions:
        for name, value in values.items():
            seen.setdefault(name, set()).add(value)
    return {name: len(several) for name, several in seen.items() if len(several) > 1}


def _without_use(sweep_dir: Path, manifest: Manifest) -> Counter[tuple[str, str, str]]:
    """Rows of the ledger beyond one for every training that the cells have, but for those of folders set aside."""
    used = {
        training.hash
        for planned in manifest.cells
        if paths.cell_file(folder_of(sweep_dir, planned)).exists()
        for training in [
            *(t for stage in Stage for t in records.read_trainings(folder_of(sweep_dir, planned), stage, planned.key)),
            *(final for _, final in read_aside(folder_of(sweep_dir, planned), planned.key)),
        ]
    }
    told = set_aside_trainings(sweep_dir)
    rows = Counter((row.dataset, row.model, row.modality, row.hash) for row in ledger.read(sweep_dir))
    extra: Counter[tuple[str, str, str]] = Counter()
    for (dataset, model, condition, value), n in rows.items():
        more = n - (value in used) if value not in told else 0
        if more:
            extra[dataset, model, condition] += more
    return extra
