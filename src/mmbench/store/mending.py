"""What a power cut or a disk did to the files of a sweep: found before a command reads them, set aside, made again.

A damaged file counts as never written. It is moved to the folder ``damaged`` of the sweep and never deleted, and so is
what means nothing without it: the record of a training that lost an array, the seal of a cell that lost test ranks. The
usual way of a sweep then does again what is missing, and nothing else.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from mmbench import paths
from mmbench.messages import Message
from mmbench.store import ledger, records
from mmbench.store.bounds import Damaged
from mmbench.store.crashes import OF_THE_MACHINE
from mmbench.store.files import is_object, is_readable, is_whole, locked, move, write_atomic
from mmbench.store.records import CellStore, Look, first_missing
from mmbench.store.schema import TRAININGS, Cell, Choice, Stage, Training, Unit

#: Seconds after which whoever makes a lease has written in it.
WRITING = 1.0


def mend(sweep_dir: Path) -> Iterator[Message]:
    """Set every damaged file of a sweep aside; says so line by line.

    Workers may be running: they rename whole files, so none of theirs is seen half written. One command mends at a
    time, for a file that another one has mended must not be set aside again. Those that wait for it, as a hundred
    allocations do that start together, need not look again.

    Args:
        sweep_dir: folder of the sweep, which may be missing.
    """
    if not sweep_dir.is_dir():
        return
    lock = paths.lock_file(sweep_dir, "mend")
    before = _mended(lock)
    with locked(lock):
        if _mended(lock) > before:
            return
        manifest = paths.manifest_file(sweep_dir)
        copy = paths.copy_of(manifest)
        with locked(paths.lock_file(sweep_dir, "manifest")):  # another command may be writing it
            yield from _restore(sweep_dir, manifest, copy)
            if not manifest.exists() and copy.exists() and is_whole(copy):  # nothing moves it, as a seal is moved
                _copy(copy, manifest)
                yield Message("{file} is missing; it was written again from its copy", file=manifest)
            if manifest.exists() and not is_whole(manifest):
                yield _set_aside(sweep_dir, manifest)
        if lines := ledger.unreadable(sweep_dir):
            yield Message.counted(
                "{file}: {n} line cannot be read and counts as never written; it stays where it is",
                "{file}: {n} lines cannot be read and count as never written; they stay where they are",
                lines,
                file=paths.ledger_file(sweep_dir),
            )
        yield from _cut_leases(sweep_dir)
        for folder in paths.cell_dirs(sweep_dir):
            yield from _mend_cell(sweep_dir, folder, [])
        with contextlib.suppress(OSError), lock.open("ab") as mark:  # a full disk
            mark.write(b"\n")


def _mended(lock: Path) -> int:
    """How many commands have mended the sweep: each leaves a byte in the file that it locks."""
    return lock.stat().st_size if lock.exists() else 0


def _cut_leases(sweep_dir: Path) -> Iterator[Message]:
    """Set leases aside that say nothing of their owner, for whom workers would wait as for a silent machine."""

    def cut() -> set[Path]:
        found = [*paths.lease_dir(sweep_dir).glob("*.lease"), *paths.lease_dir(sweep_dir).glob("*.dead")]
        return {file for file in found if not is_object(_content(file))}

    if before := cut():
        time.sleep(WRITING)
        for file in sorted(before & cut()):
            yield _set_aside(sweep_dir, file)


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except FileNotFoundError:  # given back meanwhile
        return b"{}"


def mend_after(sweep_dir: Path, error: Damaged) -> Iterator[Message]:
    """Set a file aside that was found damaged or missing when it was read, and what means nothing without it.

    Args:
        sweep_dir: folder of the sweep.
        error: what reading it raised.

    Raises:
        Damaged: if it is no file of a cell of this sweep.
    """
    folder = next((folder for folder in paths.cell_dirs(sweep_dir) if folder in error.path.parents), None)
    if folder is None or not paths.is_of_cell(error.path):
        raise error
    with locked(paths.lock_file(sweep_dir, "mend")):
        damaged = error.path.exists() and not is_readable(error.path)  # otherwise another worker has mended it
        yield from _mend_cell(sweep_dir, folder, [error.path] if damaged else [])


def set_aside_choice(store: CellStore, choice: Choice) -> Message:
    """Set a choice aside that its trials do not give any more; the seal of the cell speaks of it and goes with it."""
    store.confirm()
    for _ in _unseal(store, paths.choice_file(store.folder)):
        pass
    aside = _place(store.sweep_dir, paths.choice_file(store.folder))
    with contextlib.suppress(FileNotFoundError):  # another worker has moved it
        move(paths.choice_file(store.folder), aside)
    return Message(
        "{folder}: its trials do not give the choice of {stage} {number} again since some of them were repeated; the "
        "choice and the seal of before are kept as {aside}",
        folder=store.folder,
        stage=choice.stage,
        number=choice.slot,
        aside=aside,
    )


def set_aside_seal(store: CellStore) -> Message:
    """Keep the seal of before, which the repeated trainings do not give again, among the damaged files."""
    seal, copy = paths.seal_file(store.folder), paths.seal_copy(store.folder)
    aside = _place(store.sweep_dir, seal)
    _copy(seal if seal.exists() else copy, aside)
    return Message(
        "{folder}: what was repeated does not give the seal of before again; that is kept as {aside}",
        folder=store.folder,
        aside=aside,
    )


def retry_finals(store: CellStore) -> Iterator[Message]:
    """Set final runs aside that failed for want of memory or with their workers, so that they are run again.

    A trial that failed stands: that every condition had so many trials is what makes them equal. A final run has the
    configuration and the seed that it had.
    """
    for final in records.read_trainings(store.folder, Stage.FINAL, store.key):
        if final.failure is not None and final.failure.reason.startswith(OF_THE_MACHINE):
            record = store.training_file(final.unit, paths.RECORD)
            aside = _place(store.sweep_dir, record)
            with contextlib.suppress(FileNotFoundError):  # another command has moved it
                move(record, aside)
            yield Message(
                "{file} failed for want of memory or with its worker, and is run again; moved to {aside}",
                file=record,
                aside=aside,
            )


def keep_unlisted(store: CellStore, unit: Unit) -> None:
    """Keep a copy of a record among the damaged files, because the line of its training was lost.

    Its new line comes after those of final runs, which an audit accepts only of what was lost.
    """
    if not paths.damaged_records(store.sweep_dir, store.folder, *unit):
        record = store.training_file(unit, paths.RECORD)
        _copy(record, _place(store.sweep_dir, record))


def differs_from_look(store: CellStore, look: Look, training: Training, files: Mapping[str, str]) -> Message | None:
    """What to say of a final run of an earlier look that was repeated, if it is not the one that was sealed then.

    Args:
        store: records of the cell.
        look: the earlier look.
        training: the final run.
        files: fingerprint of what it was tested to by path, see :meth:`CellStore.write_ranking`.
    """
    run = dict(zip(look.seal.finals, look.seal.runs, strict=False)).get(training.index)
    if run == training.hash and all(look.seal.files.get(name) == held for name, held in files.items()):
        return None
    return Message(
        "{folder}: {stage} {number} of look {look} was repeated and is not the one that was sealed then",
        folder=store.folder,
        stage=training.stage,
        number=training.index,
        look=look.number,
    )


def differs_from_before(store: CellStore, training: Training) -> Message | None:
    """What to say of a training that was repeated, because a file of it was lost, if it came to another score."""
    if not paths.damaged_dir(store.sweep_dir).exists():
        return None
    what = training.cell_key, training.unit, training.configuration_hash
    listed = (store.ledger or ledger.Reader(store.sweep_dir)).trainings(training.cell_key)
    if what[1:] not in listed:  # nearly always; the whole ledger is read for one that was lost alone
        return None
    rows = [row for row in ledger.read(store.sweep_dir) if (row.cell_key, row.unit, row.configuration_hash) == what]
    if not rows or rows[-1].score == training.score:
        return None
    return Message(
        "{folder}: {stage} {number} was repeated and came to {score}, before it was {before}; another machine or "
        "library rounds in another way",
        folder=store.folder,
        stage=training.stage,
        number=training.index,
        score=training.score,
        before=rows[-1].score,
    )


def _mend_cell(sweep_dir: Path, folder: Path, known: list[Path]) -> Iterator[Message]:
    """The same for one cell; ``known`` are files that are damaged, whatever their edges look like."""
    store = CellStore(sweep_dir, folder, "")
    now = paths.look_dir(folder, paths.looks_kept(folder) + 1)
    for look in [*(paths.look_dir(folder, n) for n in range(1, paths.looks_kept(folder) + 1)), now]:
        for name in (paths.choice_file, paths.seal_file):
            yield from _restore(sweep_dir, name(folder if look == now else look), paths.copy_of(name(look)))
    # A link was not written here; whoever reads the sweep refuses it where it lies if it leads out.
    found = [file for file in folder.rglob("*") if paths.is_of_cell(file) and file.is_file() and not file.is_symlink()]
    damaged = sorted({*known, *filter(_is_cut, found)})
    alone = {name(folder) for name in (paths.cell_file, paths.choice_file, paths.seal_file, paths.failure_file)}
    if sealed := [file for file in damaged if file not in alone]:
        yield from _unseal(store, sealed[0])  # first: what was set aside must not leave a seal behind after a kill
    for file in damaged:
        yield _set_aside(sweep_dir, file)
    try:
        yield from _incomplete(replace(store, key=records.key_of(folder) or ""))
    except (ValueError, FileNotFoundError):
        return  # records of another version are somebody else's to judge, and a running worker may move its own


def _is_cut(file: Path) -> bool:
    try:
        return not is_whole(file)
    except FileNotFoundError:  # a running worker has moved it
        return False


def _incomplete(store: CellStore) -> Iterator[Message]:
    """Set aside records without their arrays, and a seal without the test ranks that it stands for."""
    file = paths.cell_file(store.folder)
    cell = records.read(file, Cell) if file.exists() else None
    choice, seal, proposals = store.choice(), store.seal(), 0 if cell is None else cell.effort.proposals
    raised = cell is not None and choice is not None and choice.n_trials != cell.effort.trials + proposals
    for stage in Stage:
        for record in paths.training_records(store.folder, stage):
            training: Training = records.read(record, TRAININGS[stage])
            if stage == Stage.FINAL and choice and (raised or choice.configuration != training.configuration):
                continue  # a worker may be moving it
            if lost := first_missing(store.written_files(training)):
                yield _set_aside(store.sweep_dir, record, lost)
    if seal is None or choice is None or seal.choice_hash != choice.hash or raised:
        return
    slots = [Unit(Stage.TRIAL, slot) for slot in range(choice.n_trials - proposals)]
    places = [Unit(Stage.PROPOSAL, place) for place in range(proposals)]
    units = (*slots, *places, *(Unit(Stage.FINAL, number) for number in seal.finals))
    stands_for = [*(store.training_file(unit, paths.RECORD) for unit in units), *map(store.folder.joinpath, seal.files)]
    if lost := first_missing(stands_for):
        yield from _unseal(store, lost)
        return
    for look in records.read_looks(store.folder):
        for number in look.seal.finals:
            if lost := replace(store, folder=look.folder).lost_of_final(number):
                yield from _unseal(store, lost)
                return


def _unseal(store: CellStore, lost: Path) -> Iterator[Message]:
    """Take the seal off a cell, so that it is ranked again; the copy of the seal says that somebody has looked."""
    seal, copy = paths.seal_file(store.folder), paths.seal_copy(store.folder)
    if seal.exists():
        if is_whole(seal) and not copy.exists():
            _copy(seal, copy)
        yield _set_aside(store.sweep_dir, seal, lost)


def _restore(sweep_dir: Path, file: Path, copy: Path) -> Iterator[Message]:
    """Write a damaged file again from its copy, or a damaged copy from the file; one that is missing stays so."""
    for broken, source in ((file, copy), (copy, file)):
        if broken.exists() and source.exists() and not is_whole(broken) and is_whole(source):
            aside = _place(sweep_dir, broken)
            _copy(broken, aside)
            _copy(source, broken)
            yield Message(
                "{file} is empty, cut or overwritten; it was written again from its copy, and what it held is kept as "
                "{aside}",
                file=broken,
                aside=aside,
            )


def _copy(source: Path, target: Path) -> None:
    write_atomic(target, lambda temporary: shutil.copyfile(source, temporary))


def _set_aside(sweep_dir: Path, file: Path, lost: Path | None = None) -> Message:
    """Move a file to the folder of damaged ones; ``lost`` is the file without which it means nothing."""
    aside = _place(sweep_dir, file)
    with contextlib.suppress(FileNotFoundError):  # a running worker has moved it or given it back
        move(file, aside)
    if lost is None:
        return Message(
            "{file} is empty, cut or overwritten and counts as never written; moved to {aside}", file=file, aside=aside
        )
    return Message(
        "{file} counts as never written, because {lost} is lost; moved to {aside}",
        file=file,
        lost=lost.name,
        aside=aside,
    )


def _place(sweep_dir: Path, file: Path) -> Path:
    """A free name for a file among the damaged ones, laid out as in the sweep."""
    wanted = paths.damaged_dir(sweep_dir) / file.relative_to(sweep_dir)
    place, number = wanted, 1
    while place.exists():
        number += 1
        place = wanted.with_name(f"{wanted.name}.{number}")
    return place
