"""The records of a sweep: a folder per cell, one reader and one writer for every type of the schema."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmbench import faults, paths
from mmbench.evaluation.metrics import RankedPairs, Ranking
from mmbench.messages import Refusal
from mmbench.store import ledger
from mmbench.store.files import (
    Damaged,
    State,
    is_whole,
    json_writer,
    move,
    read_table,
    state_writer,
    sync,
    table_writer,
    write_all,
    write_json,
)
from mmbench.store.schema import (
    CLOSED_FORM,
    SCHEMA_VERSION,
    TRAININGS,
    AnyRecord,
    Cell,
    CellFailure,
    Choice,
    Configuration,
    Effort,
    FinalRun,
    LedgerRow,
    Record,
    Seal,
    Stage,
    Training,
    Trial,
    Unit,
)

R = TypeVar("R", bound=Record)


def write(path: Path, record: Record) -> None:
    """Write a record by atomic rename; NaN and infinity are errors."""
    write_json(path, msgspec.to_builtins(record))


def write_twice(path: Path, record: Record) -> None:
    """Write a record that nothing could compute again, and then a copy of it beside it."""
    save = json_writer(msgspec.to_builtins(record))
    write_all({path: save, paths.copy_of(path): save})


def read(path: Path, kind: type[R]) -> R:
    """Read a record of one kind.

    Args:
        path: its file.
        kind: its type.

    Raises:
        Damaged: if it is cut or overwritten.
        ValueError: if the file is no record of that kind, or of a schema that this version cannot read.
    """
    try:
        plain: Any = json.loads(path.read_bytes(), parse_constant=_refuse_constant)
    except ValueError as error:
        if not is_whole(path):
            raise Damaged(path) from error
        raise Refusal("{path} is not a record: {error}", path=path, error=error) from error
    if not isinstance(plain, dict):
        raise Refusal("{path} is not a record: it holds {kind}", path=path, kind=type(plain).__name__)
    if (version := plain.get("schema_version")) != SCHEMA_VERSION:
        raise Refusal(
            "{path} has schema version {version}, this mmbench reads version {known}; use the version of mmbench that "
            "wrote it, or run the sweep again under another sweep.name",
            path=path,
            version=version,
            known=SCHEMA_VERSION,
        )
    try:
        record: Record = msgspec.convert(plain, AnyRecord)
    except msgspec.ValidationError as error:
        raise Refusal("{path} is not a record: {error}", path=path, error=error) from error
    if not isinstance(record, kind):
        raise Refusal("{path} is not a record: it holds {kind}", path=path, kind=type(record).__name__)
    return record


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number")


@dataclass(frozen=True)
class CellStore:
    """The folder of one cell.

    Args:
        sweep_dir: folder of the sweep.
        folder: folder of the cell.
        key: hash of everything that decides the cell's results; records of another key are stale.
    """

    sweep_dir: Path
    folder: Path
    key: str

    def open(self, cell: Cell, *, afresh: bool = False) -> str | None:
        """Claim the folder for a cell; move a stale one (or with ``afresh`` any) aside and return the name it got.

        A folder of this key keeps its records, and its effort is raised to that of ``cell``, never lowered.
        """
        file = paths.cell_file(self.folder)
        old, moved = _read_if_exists(file, Cell), None
        key = old.key if old is not None else self._key_of_records()
        if key is not None and (key != self.key or afresh):
            aside = self.folder.with_name(f"{self.folder.name}.stale-{key[:8]}")
            old, moved = None, _move_aside(self.folder, aside)
        effort = cell.effort if old is None else old.effort.raised(cell.effort)
        if old is None:
            write(file, cell)
        elif effort != old.effort:
            write(file, msgspec.structs.replace(old, config=cell.config, effort=effort))
        paths.failure_file(self.folder).unlink(missing_ok=True)
        return moved

    def _key_of_records(self) -> str | None:
        """Key of what the folder holds where its own record was lost; None for an empty folder."""
        choice, seal = self.choice(), self.seal()
        trials = (read(file, Trial) for file in paths.training_records(self.folder, Stage.TRIAL))
        return next((record.cell_key for record in (choice, seal, *trials) if record is not None), None)

    def is_current(self) -> bool:
        """Whether the folder holds records of this key."""
        file = paths.cell_file(self.folder)
        return file.exists() and read(file, Cell).key == self.key

    def effort(self) -> Effort:
        """How often the cell is to be trained, as its record says now: a later command may have raised it."""
        return read(paths.cell_file(self.folder), Cell).effort

    def finished_trainings(self) -> dict[Unit, Training]:
        """Record of every finished training: those that the ledger lists and whose file exists."""
        done: dict[Unit, Training] = {}
        for row in ledger.read(self.sweep_dir):
            if row.cell_key == self.key:
                file = self.training_file(row.unit, paths.RECORD)
                if file.exists():
                    training = read(file, TRAININGS[row.stage])
                    # An earlier choice may have left a row of a final run that has a new record without one.
                    if training.configuration_hash == row.configuration_hash:
                        done[row.unit] = training
        return done

    def training_file(self, unit: Unit, ending: str) -> Path:
        """A file of a training, see :func:`mmbench.paths.training_file`."""
        return paths.training_file(self.folder, unit.stage, unit.number, ending)

    def written_files(self, training: Training) -> list[Path]:
        """Arrays that a training leaves beside its record."""
        if training.course is None:
            return []
        endings = [paths.VALIDATION, *([] if training.course.stop_reason == CLOSED_FORM else [paths.STATE])]
        return [self.training_file(training.unit, ending) for ending in endings]

    def tested_files(self, training: Training) -> list[Path]:
        """What scoring a training on test leaves, the rankings with shuffled modalities left out."""
        if training.course is None:
            return []
        endings = [paths.RANKS, *([paths.LISTS] if training.stage == Stage.FINAL else [])]
        return [self.training_file(training.unit, ending) for ending in endings]

    def lost_of_final(self, number: int) -> Path | None:
        """A file that a tested final run should have and has not; None where all are there."""
        record = paths.final_file(self.folder, number, paths.RECORD)
        if not record.exists():
            return record
        training = read(record, FinalRun)
        return first_missing([*self.written_files(training), *self.tested_files(training)])

    def written(self, unit: Unit, configuration_hash: str) -> Training | None:
        """A training whose record and arrays are there; the ledger may lack its row, if a kill came between.

        Args:
            unit: the training; no other worker may be at it.
            configuration_hash: of the configuration that it is to have.
        """
        training = _read_if_exists(self.training_file(unit, paths.RECORD), TRAININGS[unit.stage])
        if training is None or (training.cell_key, training.configuration_hash) != (self.key, configuration_hash):
            return None
        arrays = self.written_files(training)
        return training if first_missing(arrays) is None and all(map(is_whole, arrays)) else None

    def write_training(
        self, training: Training, row: LedgerRow, valid: pd.DataFrame | None = None, state: State | None = None
    ) -> None:
        """Write a finished training: arrays first, then its record, and last its ledger row, which makes it count.

        Args:
            training: its record.
            row: its row of the ledger.
            valid: validation metric of every evaluated user; None for a training that failed.
            state: parameters by name; None where there are none.
        """
        if training.stage == Stage.FINAL:
            choice = self.choice()
            if choice is not None and choice.configuration != training.configuration:
                # Trials were raised while it ran, and another configuration has been chosen since.
                aside = paths.aside_dir(self.folder, training.configuration_hash)
                replace(self, folder=aside).write_training(training, row, valid, state)
                return
            self.set_finals_aside(training.configuration)
        contents: dict[Path, Callable[[Path], object]] = {}
        if valid is not None:
            contents[self.training_file(training.unit, paths.VALIDATION)] = table_writer(valid)
        if state is not None:
            contents[self.training_file(training.unit, paths.STATE)] = state_writer(state)
        contents[self.training_file(training.unit, paths.RECORD)] = json_writer(msgspec.to_builtins(training))
        write_all(contents)
        faults.reach("ledger")
        ledger.append(self.sweep_dir, row)

    def choice(self) -> Choice | None:
        """The choice, once it is written."""
        return _read_if_exists(paths.choice_file(self.folder), Choice)

    def write_choice(self, choice: Choice) -> None:
        """Write the choice."""
        write(paths.choice_file(self.folder), choice)

    def set_finals_aside(self, kept: Configuration) -> None:
        """Move final runs of every other configuration to a folder of their own, where nothing replaces them."""
        for final in read_trainings(self.folder, Stage.FINAL, self.key):
            if final.configuration == kept:
                continue
            aside = paths.aside_dir(self.folder, final.configuration_hash)
            for file in paths.training_files(self.folder, *final.unit):
                with contextlib.suppress(FileNotFoundError):  # another worker has moved it
                    move(file, aside / file.relative_to(self.folder))
            faults.reach("aside")

    def keep_look(self) -> None:
        """Move the seal with a copy of its choice among the earlier looks; without a seal nobody has looked."""
        sealed, copy, choice = paths.seal_file(self.folder), paths.seal_copy(self.folder), self.choice()
        if choice is None or not (sealed.exists() or copy.exists()):
            return
        folder = copy.parent
        write_twice(paths.choice_file(folder), choice)
        if sealed.exists():
            move(sealed, paths.seal_file(folder))  # last, for a look counts from its seal on
        else:  # it was set aside, because a file that it stands for was lost
            write(paths.seal_file(folder), read(copy, Seal))
        faults.reach("look")

    def seal(self) -> Seal | None:
        """The seal, once the test split has been opened."""
        return _read_if_exists(paths.seal_file(self.folder), Seal)

    def last_seal(self) -> Seal | None:
        """The seal, or its copy if it was set aside because a file that it stands for was lost."""
        return self.seal() or _read_if_exists(paths.seal_copy(self.folder), Seal)

    def write_seal(self, seal: Seal) -> None:
        """Write the seal, and copies of it and of the choice where an earlier look would keep them.

        Everything that the seal stands for is on the disk before.
        """
        ranked = [*self.folder.rglob(f"*.{paths.RANKS}"), *self.folder.rglob(f"*.{paths.LISTS}")]
        sync([*ranked, *{file.parent for file in ranked}])
        copy, choice = paths.seal_copy(self.folder), self.choice()
        contents = {path: json_writer(msgspec.to_builtins(seal)) for path in (paths.seal_file(self.folder), copy)}
        if choice is not None:
            contents[paths.copy_of(paths.choice_file(copy.parent))] = json_writer(msgspec.to_builtins(choice))
        write_all(contents)

    def failure(self) -> CellFailure | None:
        """Why the cell has no result, if it failed."""
        return _read_if_exists(paths.failure_file(self.folder), CellFailure)

    def fail(self, reason: str, traceback: str) -> None:
        """Leave the record of a failed cell."""
        write(paths.failure_file(self.folder), CellFailure(key=self.key, reason=reason, traceback=traceback))

    def write_ranking(self, unit: Unit, ranking: Ranking, ending: str = paths.RANKS) -> None:
        """Write the test ranks of a training and, where they were asked for, the lists.

        Only :meth:`write_seal` waits until they are on the disk.

        Args:
            unit: the training.
            ranking: the ranks.
            ending: of the file; :func:`mmbench.paths.shuffled_ranks` for another way to score the same training.
        """
        users = ranking.users[ranking.pairs.users].astype(np.int32)
        frame = pd.DataFrame({"user": users, "item": ranking.items.astype(np.int32)})
        frame["rank"] = ranking.pairs.ranks.astype(np.int32)
        contents = {self.training_file(unit, ending): table_writer(frame)}
        if ranking.top is not None:
            lists = pd.DataFrame({"user": ranking.users.astype(np.int32), "items": list(ranking.top)})
            contents[self.training_file(unit, paths.LISTS)] = table_writer(lists)
        write_all(contents, synced=False)

    def clear_leftovers(self) -> None:
        """Remove temporary files of writers that were killed; only safe while no other worker writes to the cell."""
        for file in self.folder.rglob(".*.tmp"):
            file.unlink(missing_ok=True)


def first_missing(files: Sequence[Path]) -> Path | None:
    """The first file that is not there, None where all are."""
    return next((file for file in files if not file.exists()), None)


def _read_if_exists(path: Path, kind: type[R]) -> R | None:
    return read(path, kind) if path.exists() else None


def _move_aside(folder: Path, aside: Path) -> str:
    target, number = aside, 1
    while target.exists():
        number += 1
        target = aside.with_name(f"{aside.name}-{number}")
    os.rename(folder, target)
    return target.name


@dataclass(frozen=True)
class Look:
    """One opening of the test split of a cell; raising T or S leads to another one.

    Attributes:
        number: k, from 1.
        choice: what was chosen then.
        seal: what was opened then; its ``test_hash`` tells whether the test split is still the same.
        trials: random trials that took part in the choice, T: those of the slots 0 to T - 1.
        folder: where the final runs of then lie, as :func:`mmbench.paths.final_file` names them for the numbers in
            ``seal.finals``; those of a choice that still stands may be more by now.
    """

    number: int
    choice: Choice
    seal: Seal
    trials: int
    folder: Path

    @property
    def seeds(self) -> int:
        """Final runs of then, S."""
        return len(self.seal.finals)


def read_looks(cell: Path) -> list[Look]:
    """Every opening of the test split of a cell, in order; the last one is the current one of a sealed cell.

    With the trials of the slots below ``Look.trials``, whose records and test ranks stay in the cell, and the final
    runs in ``Look.folder``, everything that was said after a look can be computed again.
    """
    proposals = read(paths.cell_file(cell), Cell).effort.proposals
    current = _read_if_exists(paths.choice_file(cell), Choice)
    folders = [paths.look_dir(cell, number) for number in range(1, paths.looks_kept(cell) + 1)]
    if paths.seal_file(cell).exists():
        folders.append(cell)
    looks = []
    for number, folder in enumerate(folders, 1):
        choice, seal = read(paths.choice_file(folder), Choice), read(paths.seal_file(folder), Seal)
        finals = cell
        if current is None or current.configuration != choice.configuration:
            chosen = read(paths.training_file(cell, *choice.unit, paths.RECORD), Trial)
            finals = paths.aside_dir(cell, chosen.configuration_hash)
        looks.append(Look(number, choice, seal, choice.n_trials - proposals, finals))
    return looks


def read_trainings(cell: Path, stage: Stage, key: str) -> list[Training]:
    """Records of a stage in the folder of a cell, by their number; those of another key are passed over.

    Unlike :meth:`CellStore.finished_trainings` it does not need the ledger.
    """
    trainings = [read(file, TRAININGS[stage]) for file in paths.training_records(cell, stage)]
    return sorted((t for t in trainings if t.cell_key == key), key=lambda training: training.index)


def read_ranking(path: Path) -> RankedPairs:
    """Read test ranks from parquet."""
    return read_tested(path).pairs


def read_tested(path: Path) -> Ranking:
    """Read test ranks from parquet with the users and items they belong to, without lists."""
    frame = read_table(path)
    users, positions = np.unique(frame["user"].to_numpy(np.int64), return_inverse=True)
    pairs = RankedPairs(positions, frame["rank"].to_numpy(np.int64), len(users))
    return Ranking(users, pairs, frame["item"].to_numpy(np.int64), None)


def read_lists(path: Path) -> NDArray[np.int32]:
    """Read the best items of every evaluated user, users ascending, -1 where candidates ran out: ``(n_users, k)``."""
    frame = read_table(path).sort_values("user", kind="stable")
    return np.stack(frame["items"].to_list()).astype(np.int32)


def read_final(cell: Path, seed: int) -> Ranking:
    """Read the test ranks and the lists of a final run."""
    tested = read_tested(paths.final_file(cell, seed, paths.RANKS))
    return replace(tested, top=read_lists(paths.final_file(cell, seed, paths.LISTS)))


def versions() -> Mapping[str, str | None]:
    """Versions of what decides numbers, and the commit of a source checkout."""
    names = ("mmbench", "torch", "pytorch-lightning", "numpy", "optuna", "hydra-core", "torch-geometric")
    return {**{name: metadata.version(name) for name in names}, "commit": _commit()}


def _commit() -> str | None:
    checkout = paths.PACKAGE.parents[1]
    if not (checkout / ".git").exists():  # installed from a wheel, perhaps inside somebody else's repository
        return None
    try:
        command = ["git", "-C", str(checkout), "rev-parse", "HEAD"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None
