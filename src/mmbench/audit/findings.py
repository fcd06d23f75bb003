"""What an audit finds, where it stands in the folder of a sweep, and how two values are held against each other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from mmbench import paths
from mmbench.extensions import kept_alive
from mmbench.messages import Message, Refusal
from mmbench.messages.refused import told
from mmbench.store import records
from mmbench.store.schema import (
    SHORT_OF_MEMORY,
    CellName,
    PlannedCell,
    Stage,
    Training,
    content_hash,
)


@dataclass(frozen=True)
class Doubt:
    """Why something cannot be confirmed, though no record contradicts it.

    Args:
        reason: why.
        touches_verdicts: whether a verdict may rest on it.
    """

    reason: Message
    touches_verdicts: bool = True


Said = Iterator[tuple[Path, str, Message | Doubt]]
#: How far the clocks of two machines of a sweep may lie apart.
CLOCKS_APART = timedelta(minutes=5)


@dataclass(frozen=True)
class Finding:
    """Something that is not what the other records give.

    Args:
        cell: the cell whose verdicts it touches; without a condition those of its model, None those of the sweep.
        file: the file, relative to the folder of the sweep.
        field: the field of its record, or what of the file.
        reason: what is wrong.
        doubt: whether it only cannot be confirmed: verdicts that it touches are not trusted, the other ones are.
        touches_verdicts: whether it touches any; times, which no verdict reads, do not.
    """

    cell: CellName | None
    file: str
    field: str
    reason: Message
    doubt: bool = False
    touches_verdicts: bool = True

    def touches(self, dataset: str, model: str) -> bool:
        """Whether it touches the verdicts of a dataset and model."""
        if not self.touches_verdicts:
            return False
        return self.cell is None or (self.cell.dataset, self.cell.model) == (dataset, model)

    def __str__(self) -> str:
        return f"{self.file}: {self.field}: {self.reason}"


def findings(sweep_dir: Path, cell: CellName | None, said: Said) -> list[Finding]:
    """What was said of a cell as findings; a record that cannot be read ends it with one more."""
    found = []
    try:
        with kept_alive():  # models are built again
            for file, field, reason in said:
                place = file.relative_to(sweep_dir).as_posix()
                if isinstance(reason, Doubt):
                    touches = reason.touches_verdicts
                    found.append(Finding(cell, place, field, reason.reason, doubt=True, touches_verdicts=touches))
                else:
                    found.append(Finding(cell, place, field, reason))
    except Refusal as error:
        refuse_short_of_memory(error)
        found.append(Finding(cell, _place(sweep_dir, cell), "record", error.message))
    except Exception as error:  # whoever wrote a record decides what is wrong with it
        refuse_short_of_memory(error)
        reason = Message("it cannot be read: {error}", error=f"{type(error).__name__}: {error}")
        found.append(Finding(cell, _place(sweep_dir, cell), "record", reason))
    return found


def refuse_short_of_memory(error: Exception) -> None:
    """Refuse to find anything where this machine lacks the memory for it, which says nothing of the records."""
    from mmbench.training import allocation  # what it imports takes seconds, and a report needs none of it

    if allocation.is_out_of_memory(error):
        raise Refusal(told(MemoryError(allocation.reason(error).removeprefix(SHORT_OF_MEMORY)))) from error


def _place(sweep_dir: Path, cell: CellName | None) -> str:
    if cell is None:
        return paths.manifest_file(sweep_dir).name
    return paths.cell_dir(sweep_dir, *cell).relative_to(sweep_dir).as_posix()


def folder_of(sweep_dir: Path, planned: PlannedCell) -> Path:
    """The folder of a planned cell; never where its record points to."""
    return paths.cell_dir(sweep_dir, *planned.name)


def read_aside(folder: Path, key: str) -> list[tuple[Path, Training]]:
    """Final runs of configurations that are no longer the choice of a cell, each with the folder it lies in."""
    return [
        (aside, final)
        for aside in paths.aside_dirs(folder)
        for final in records.read_trainings(aside, Stage.FINAL, key)
    ]


def set_aside_trainings(sweep_dir: Path) -> set[str]:
    """Hashes of the trainings in all folders of a sweep that were set aside."""
    return records.set_aside_hashes(paths.stale_dirs(sweep_dir))


def same(file: Path, field: str, recorded: Any, expected: Any) -> Said:
    """A finding if a field is not what it should be."""
    if recorded != expected:
        yield (
            file,
            field,
            Message(
                "it is {recorded}, the other records give {expected}",
                recorded=_short(recorded),
                expected=_short(expected),
            ),
        )


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def hash_holds(file: Path, record: Any, field: str = "hash") -> Said:
    """A finding if a record has not the hash of what it says."""
    if record.hash != content_hash(record):
        yield file, field, Message("it is not the hash of what the record says")


def moment(text: str) -> datetime:
    """A time of a record, ISO 8601; UTC where it names no zone."""
    time = datetime.fromisoformat(text)
    return time if time.tzinfo else time.replace(tzinfo=UTC)
