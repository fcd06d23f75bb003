"""The records of a sweep: a folder per cell, one reader and one writer for every type of the schema."""

from __future__ import annotations

import contextlib
import functools
import os
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmbench import faults, fingerprint, paths
from mmbench.evaluation.metrics import RankedPairs, Ranking
from mmbench.messages import Message, Refusal, Translator
from mmbench.store import bounds, ledger
from mmbench.store.bounds import Damaged
from mmbench.store.files import (
    State,
    is_whole,
    json_writer,
    move,
    state_writer,
    sync,
    table_writer,
    unconfirmed,
    write_all,
    write_json,
)
from mmbench.store.ledger import Position, Reader
from mmbench.store.schema import (
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
    content_hash,
    hashed,
)

R = TypeVar("R", bound=Record)
#: Fields of records that hold what no type says.
FREE = ("config", "configuration", "budget")
#: Packages and files whose source decides what is trained, what comes out and what is recorded of it. What reads the
#: records only, such as the report, is not among them: whoever reads them computes it again.
NUMBERS_COME_FROM = (
    *("data", "evaluation", "nn", "models", "training", "tuning", "sealing", "scheduling", "store"),
    *("extensions.py", "fingerprint.py"),
)
#: Name of the fingerprint of a condition's own states among the versions.
STATES = "states"


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
        plain = bounds.read_json(path)
    except Refusal as error:
        if not is_whole(path):
            raise Damaged(path) from error
        raise
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
    except (msgspec.ValidationError, RecursionError) as error:
        raise Refusal("{path} is not a record: {error}", path=path, error=error) from error
    if not isinstance(record, kind):
        raise Refusal("{path} is not a record: it holds {kind}", path=path, kind=type(record).__name__)
    for name in FREE:
        if isinstance(section := getattr(record, name, None), dict):
            bounds.check_plain(path, section)
    return record


class Superseded(Refusal):
    """The folder of a cell belongs to another key by now."""


@dataclass(frozen=True)
class CellStore:
    """The folder of one cell.

    Args:
        sweep_dir: folder of the sweep.
        folder: folder of the cell.
        key: hash of everything that decides the cell's results; records of another key are stale.
        ledger: reader that a process shares among its cells; None reads the whole ledger at every look.
        confirm: called before each file of a result is written; raises if the writer may not do that any more.
        translator: language of what is printed while the cell is worked on.
    """

    sweep_dir: Path
    folder: Path
    key: str
    ledger: Reader | None = None
    confirm: Callable[[], None] = field(default=unconfirmed, compare=False)
    translator: Translator = field(default_factory=Translator, compare=False)
    _read: dict[Path, tuple[tuple[int, int, int], Record]] = field(default_factory=dict, repr=False, compare=False)
    _files: dict[Unit, Path] = field(default_factory=dict, repr=False, compare=False)

    @property
    def short_key(self) -> str:
        """Beginning of the key, with which the names of the cell's leases begin."""
        return self.key[:20]

    def open(self, cell: Cell, *, afresh: bool = False) -> str | None:
        """Claim the folder for a cell; move a stale one (or with ``afresh`` any) aside and return the name it got.

        A folder of this key keeps its records, and its effort is raised to that of ``cell``, never lowered.
        """
        file = paths.cell_file(self.folder)
        old, moved = _read_if_exists(file, Cell), None
        key = key_of(self.folder)
        if key is not None and (key != self.key or afresh):
            aside = self.folder.with_name(f"{self.folder.name}{paths.STALE}{key[:8]}")
            old, moved = None, _move_aside(self.folder, aside)
        effort = cell.effort if old is None else old.effort.raised(cell.effort)
        if old is None:
            write(file, hashed(cell))
        elif effort != old.effort:
            changed = msgspec.structs.replace(old, config=cell.config, effort=effort, data_folder=cell.data_folder)
            write(file, hashed(changed))
        else:
            self.locate(cell.data_folder)
        paths.failure_file(self.folder).unlink(missing_ok=True)
        return moved

    def locate(self, folder: str | msgspec.UnsetType | None) -> None:
        """Say where the data lie now, if they were moved; of earlier versions' records that is part of their hash."""
        cell = self.cell()
        if cell.data_folder not in (folder, msgspec.UNSET):
            write(paths.cell_file(self.folder), msgspec.structs.replace(cell, data_folder=folder))

    def is_current(self) -> bool:
        """Whether the folder holds records of this key."""
        return paths.cell_file(self.folder).exists() and self.cell().key == self.key

    def cell(self) -> Cell:
        """The record of the cell that has the folder now, of whatever key."""
        file = paths.cell_file(self.folder)
        return self._known(file, Cell) or read(file, Cell)  # which says what is wrong with a file that is not there

    def effort(self) -> Effort:
        """How often the cell is to be trained, as its record says now: a later command may have raised it.

        Raises:
            Superseded: if the folder belongs to another key by now.
        """
        cell = self.cell()
        if cell.key != self.key:
            raise Superseded(
                Message(
                    "{folder} belongs to other data or settings by now: another command took it over and set these "
                    "records aside",
                    folder=self.folder,
                )
            )
        return cell.effort

    def progress(self) -> tuple[Position, Effort, Choice | None]:
        """What changes wherever a step of this cell begins or ceases to be due; lost files, which stay due, aside.

        It costs a look at three files, however many trainings the cell has.

        Raises:
            Superseded: if the folder belongs to another key by now.
        """
        return self._listed().position(), self.effort(), self.choice()

    def _listed(self) -> Reader:
        return self.ledger or Reader(self.sweep_dir)

    def finished_trainings(self) -> dict[Unit, Training]:
        """Record of every finished training of this key: those that the ledger lists and whose file exists."""
        done: dict[Unit, Training] = {}
        for (unit, configuration_hash), hashes in self._listed().hashes(self.key).items():
            training = self._training(unit)
            # An earlier choice may have left a row of a final run that has a new record without one.
            same = (self.key, configuration_hash)
            if training is None or (training.cell_key, training.configuration_hash) != same:
                continue
            if training.hash in hashes or not hashes <= self._replaced(unit):
                done[unit] = training
        return done

    def _replaced(self, unit: Unit) -> set[str]:
        """Hashes of what stood in the place of a training before it was begun afresh or was damaged.

        Rows of these say nothing of the record that is there now: its own is missing if a kill came between the two. A
        record that was edited is another thing, and its row stays what an audit compares it with.
        """
        found = set_aside_hashes(paths.set_aside_dirs(self.folder))
        for file in paths.damaged_records(self.sweep_dir, self.folder, *unit):
            with contextlib.suppress(ValueError):
                found.add(read(file, TRAININGS[unit.stage]).hash)
        return found

    def _training(self, unit: Unit) -> Training | None:
        """Record of a training, if there is one."""
        file = self._files.get(unit)
        if file is None:  # to put a path together takes longer than to ask for its file, which every look does
            file = self._files[unit] = self.training_file(unit, paths.RECORD)
        return self._known(file, TRAININGS[unit.stage])

    def _known(self, file: Path, kind: type[R]) -> R | None:
        """A record, if there is one; it is read again only where another file took its place."""
        try:
            stat = file.stat()
        except FileNotFoundError:
            return None
        mark = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
        if file in self._read and self._read[file][0] == mark:
            record = self._read[file][1]
            assert isinstance(record, kind)  # a path names one kind of record
            return record
        record = read(file, kind)
        self._read[file] = mark, record
        return record

    def training_file(self, unit: Unit, ending: str) -> Path:
        """A file of a training, see :func:`mmbench.paths.training_file`."""
        return paths.training_file(self.folder, unit.stage, unit.number, ending)

    def written_files(self, training: Training) -> list[Path]:
        """Arrays that a training leaves beside its record, which holds a hash of each."""
        hashes = {paths.VALIDATION: training.validation_hash, paths.STATE: training.state_hash}
        return [self.training_file(training.unit, ending) for ending, held in hashes.items() if held]

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
        write_all(contents, confirm=self.confirm)
        faults.reach("ledger")
        self.enlist(row)

    def enlist(self, row: LedgerRow) -> None:
        """Add the row of a training whose files are written, which makes it count."""
        self.confirm()
        ledger.append(self.sweep_dir, row)

    def choice(self) -> Choice | None:
        """The choice, once it is written for this key."""
        choice = self._known(paths.choice_file(self.folder), Choice)
        return choice if choice is not None and choice.cell_key == self.key else None

    def write_choice(self, choice: Choice) -> None:
        """Write the choice."""
        write_all({paths.choice_file(self.folder): json_writer(msgspec.to_builtins(choice))}, confirm=self.confirm)

    def set_finals_aside(self, kept: Configuration) -> None:
        """Move final runs of every other configuration to a folder of their own, where nothing replaces them."""
        self.confirm()
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
        self.confirm()
        folder = copy.parent
        write_twice(paths.choice_file(folder), choice)
        if sealed.exists():
            move(sealed, paths.seal_file(folder))  # last, for a look counts from its seal on
        else:  # it was set aside, because a file that it stands for was lost
            write(paths.seal_file(folder), read(copy, Seal))
        faults.reach("look")

    def seal(self) -> Seal | None:
        """The seal, once the test split has been opened for this key."""
        return self._own(paths.seal_file(self.folder))

    def last_seal(self) -> Seal | None:
        """The seal, or its copy if it was set aside because a file that it stands for was lost."""
        return self._own(paths.seal_file(self.folder)) or self._own(paths.seal_copy(self.folder))

    def _own(self, file: Path) -> Seal | None:
        seal = _read_if_exists(file, Seal)
        return seal if seal is not None and seal.cell_key == self.key else None

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
        write_all(contents, confirm=self.confirm)

    def failure(self) -> CellFailure | None:
        """Why the cell has no result, if it failed."""
        return _read_if_exists(paths.failure_file(self.folder), CellFailure)

    def fail(self, reason: str, traceback: str) -> None:
        """Leave the record of a failed cell."""
        self.confirm()
        write(paths.failure_file(self.folder), CellFailure(key=self.key, reason=reason, traceback=traceback))

    def write_ranking(self, unit: Unit, ranking: Ranking, ending: str = paths.RANKS) -> dict[str, str]:
        """Write the test ranks of a training and, where they were asked for, the lists.

        Only :meth:`write_seal` waits until they are on the disk.

        Args:
            unit: the training.
            ranking: the ranks.
            ending: of the file; :func:`mmbench.paths.shuffled_ranks` for another way to score the same training.

        Returns:
            Fingerprint of each table by its path in the cell.
        """
        frames = {self.training_file(unit, name): frame for name, frame in ranking_frames(ranking, ending).items()}
        contents = {file: table_writer(frame) for file, frame in frames.items()}
        write_all(contents, synced=False, confirm=self.confirm)
        return {file.relative_to(self.folder).as_posix(): frame_fingerprint(frame) for file, frame in frames.items()}

    def clear_leftovers(self) -> None:
        """Remove temporary files of writers that were killed; only safe while no other worker writes to the cell."""
        for file in self.folder.rglob(".*.tmp"):
            file.unlink(missing_ok=True)


def first_missing(files: Sequence[Path]) -> Path | None:
    """The first file that is not there, None where all are."""
    return next((file for file in files if not file.exists()), None)


def key_of(folder: Path) -> str | None:
    """Key of what the folder of a cell holds, also where its own record was lost; None for an empty folder."""
    kinds: tuple[tuple[Path, type[Cell | Choice | Seal | Trial]], ...] = (
        (paths.cell_file(folder), Cell),
        (paths.choice_file(folder), Choice),
        (paths.seal_file(folder), Seal),
        *((file, Trial) for file in paths.training_records(folder, Stage.TRIAL)),
    )
    for file, kind in kinds:
        if file.exists():
            record = read(file, kind)
            return record.key if isinstance(record, Cell) else record.cell_key
    return None


def ranking_frames(ranking: Ranking, ending: str = paths.RANKS) -> dict[str, pd.DataFrame]:
    """The tables of a ranking by the ending of their files.

    Args:
        ranking: ranks of the test pairs, and the best items of every user where they were asked for.
        ending: of the file of ranks.
    """
    users = ranking.users[ranking.pairs.users].astype(np.int32)
    pairs = {"user": users, "item": ranking.items.astype(np.int32), "rank": ranking.pairs.ranks.astype(np.int32)}
    if ranking.pairs.candidates is not None:
        pairs["candidates"] = ranking.pairs.candidates[ranking.pairs.users].astype(np.int32)
    if ranking.pairs.new is not None:
        pairs["new"] = ranking.pairs.new.astype(np.int8)
    if ranking.listed_new is not None:
        pairs["listed_new"] = ranking.listed_new[ranking.pairs.users].astype(np.int32)
    frames = {ending: pd.DataFrame(pairs)}
    if ranking.top is not None:
        frames[paths.LISTS] = pd.DataFrame({"user": ranking.users.astype(np.int32), "items": list(ranking.top)})
    return frames


def frame_fingerprint(frame: pd.DataFrame) -> str:
    """Fingerprint of a table that is to be stored, see :func:`table_fingerprint`."""
    columns = {str(name): frame[name].to_numpy() for name in frame}
    if "items" in columns and len(frame):
        columns["items"] = np.stack(list(columns["items"])).astype(np.int32)
    return table_fingerprint(columns)


def table_fingerprint(columns: Mapping[str, NDArray[Any]]) -> str:
    """Fingerprint of a stored table: its columns' names and values; the encoding of the file does not matter.

    Args:
        columns: as :func:`mmbench.store.bounds.read_table` reads them.
    """
    return fingerprint.of_named_arrays(columns)


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
        cell: where these lie: the folder of the cell, or one in which it was set aside when it was begun afresh.
        folder: where the final runs of then lie, as :func:`mmbench.paths.final_file` names them for the numbers in
            ``seal.finals``; those of a choice that still stands may be more by now.
    """

    number: int
    choice: Choice
    seal: Seal
    trials: int
    cell: Path
    folder: Path

    @property
    def seeds(self) -> int:
        """Final runs of then, S."""
        return len(self.seal.finals)

    def files(self) -> dict[Path, str]:
        """Fingerprint of every table that was sealed, by where it lies now."""
        of_finals = paths.training_file(Path(), Stage.FINAL, 1, paths.RECORD).parent.as_posix()
        return {
            (self.folder if name.partition("/")[0] == of_finals else self.cell) / name: held
            for name, held in self.seal.files.items()
        }

    def is_whole(self) -> bool:
        """Whether everything that it was made of is there to the bit, so that its words can be said again.

        Raises:
            ValueError: if a record or a table cannot be read, or is of another version.
            FileNotFoundError: if one is missing.
        """
        key, numbers = self.seal.cell_key, self.seal.finals
        trials = read_trainings(self.cell, Stage.TRIAL, key)[: self.trials]
        finals = [final for final in read_trainings(self.folder, Stage.FINAL, key) if final.index in numbers]
        return (
            self.seal.hash == content_hash(self.seal)
            and self.seal.choice_hash == content_hash(self.choice)
            and self.choice.trials[: self.trials] == list(map(content_hash, trials))
            and self.seal.runs == list(map(content_hash, finals))
            and all(table_fingerprint(bounds.read_table(file)) == held for file, held in self.files().items())
        )


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
        looks.append(Look(number, choice, seal, choice.n_trials - proposals, cell, finals))
    return looks


def read_every_look(cell: Path, key: str) -> list[Look]:
    """The same with those under the same key before the cell was begun afresh, numbered together.

    Nothing else rests on what was set aside, so that a look that is not whole there is left out.
    """
    looks: list[Look] = []
    for folder in paths.set_aside_dirs(cell):
        with contextlib.suppress(ValueError, FileNotFoundError):  # of another version, or partly removed
            for look in read_looks(folder):
                with contextlib.suppress(ValueError, FileNotFoundError):
                    if look.seal.cell_key == key and look.is_whole():
                        looks.append(look)
    return [replace(look, number=number) for number, look in enumerate([*looks, *read_looks(cell)], 1)]


def read_seals(files: Iterable[Path], key: str) -> dict[str, Seal]:
    """Seals of a cell under a key by their hashes.

    One that cannot be read is left out, and so is one that has not the hash of what it says.
    """
    found = {}
    for file in files:
        with contextlib.suppress(ValueError):  # a damaged one, or of another version in a folder that was set aside
            seal = read(file, Seal)
            if seal.cell_key == key and seal.hash == content_hash(seal):
                found[seal.hash] = seal
    return found


def read_trainings(cell: Path, stage: Stage, key: str | None = None) -> list[Training]:
    """Records of a stage in the folder of a cell, by their number; with ``key`` those of this key alone.

    Unlike :meth:`CellStore.finished_trainings` it does not need the ledger.
    """
    trainings = [read(file, TRAININGS[stage]) for file in paths.training_records(cell, stage)]
    return sorted((t for t in trainings if key in (None, t.cell_key)), key=lambda training: training.index)


def trainings_of_stale(folder: Path) -> list[Training]:
    """Trainings in the folder of a cell that was set aside or has no record, with those of its earlier choices."""
    found: list[Training] = []
    for stage in Stage:
        for place in (folder, *paths.aside_dirs(folder)):
            with contextlib.suppress(ValueError):  # nothing rests on them; an older version may have written them
                found += read_trainings(place, stage)
    return found


def set_aside_hashes(folders: Iterable[Path]) -> set[str]:
    """Hashes of the trainings in folders of cells that were set aside: begun afresh or with other settings."""
    return {training.hash for folder in folders for training in trainings_of_stale(folder)}


def read_ranking(path: Path) -> RankedPairs:
    """Read test ranks from parquet."""
    return read_tested(path).pairs


def read_tested(path: Path) -> Ranking:
    """Read test ranks from parquet with the users and items they belong to, without lists."""
    columns = bounds.read_columns(path, ("user", "item", "rank"), ("candidates", "new", "listed_new"))
    users, first, positions = np.unique(columns["user"], return_index=True, return_inverse=True)
    candidates, new, listed = (columns.get(name) for name in ("candidates", "new", "listed_new"))
    pairs = RankedPairs(
        positions,
        columns["rank"],
        len(users),
        new=None if new is None else new > 0,
        candidates=None if candidates is None else candidates[first],
    )
    return Ranking(users, pairs, columns["item"], None, None if listed is None else listed[first])


def read_lists(path: Path) -> NDArray[np.int32]:
    """Read the best items of every evaluated user, users ascending, -1 where candidates ran out: ``(n_users, k)``."""
    users, lists = bounds.read_lists(path, "user", "items")
    return lists[np.argsort(users, kind="stable")].astype(np.int32)


def read_final(cell: Path, seed: int) -> Ranking:
    """Read the test ranks and the lists of a final run."""
    tested = read_tested(paths.final_file(cell, seed, paths.RANKS))
    return replace(tested, top=read_lists(paths.final_file(cell, seed, paths.LISTS)))


def versions(
    model: Mapping[str, Path] | None = None, states: Mapping[str, Path] | None = None
) -> Mapping[str, str | None]:
    """Versions of what decides numbers, a fingerprint of the source that computes them, and the commit of a checkout.

    Args:
        model: files of a model that is no part of the package, and of what it imports, by module.
        states: the same of the states of a condition; their fingerprint stands apart, under :data:`STATES`, because the
            other conditions of the model have none or another one.
    """

    def of_files(files: Mapping[str, Path]) -> dict[str, str]:  # by module, for files of two folders may have one name
        return {name: fingerprint.of_source(file) for name, file in files.items()}

    names = ("mmbench", "torch", "pytorch-lightning", "numpy", "optuna", "hydra-core", "torch-geometric")
    source = fingerprint.of_source(*(paths.PACKAGE / part for part in NUMBERS_COME_FROM))
    if model:
        source = fingerprint.of_json([source, of_files(model)])
    own = {STATES: fingerprint.of_json(of_files(states))} if states else {}
    commit = _commit(paths.PACKAGE.parents[1])
    return {**{name: _version(name) for name in names}, "source": source, **own, "commit": commit}


#: Asked for once per cell; the code that runs does not change.
_version = functools.cache(metadata.version)


@functools.cache
def _commit(checkout: Path) -> str | None:
    if not (checkout / ".git").exists():  # installed from a wheel, perhaps inside somebody else's repository
        return None
    try:
        command = ["git", "-C", str(checkout), "rev-parse", "HEAD"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None
