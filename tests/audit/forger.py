"""Someone who edits the records of a sweep, and knows how all of their hashes are computed."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmbench import fingerprint, paths
from mmbench.scheduling.cell_key import key_of
from mmbench.store import bounds
from mmbench.store.files import read_state
from mmbench.store.records import table_fingerprint
from mmbench.store.schema import (
    AnyRecord,
    Cell,
    CellName,
    Cost,
    LedgerRow,
    Revision,
    Stage,
    Training,
    content_hash,
    fixed,
    hashed,
)
from mmbench.tuning.cell import CellFailed, versions_hash
from mmbench.tuning.choice import choose
from mmbench.tuning.space import configuration_hash

Plain = dict[str, Any]
#: A value inside a file: a key of a record, a place in a list.
Pointer = tuple[str | int, ...]


class Forger:
    """Edits files of a sweep and puts everything back afterwards.

    Args:
        folder: folder of the sweep.

    Attributes:
        readable: whether hashes can be computed: not where an edit has left a file that nobody can read.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.manifest, self.ledger = paths.manifest_file(folder), paths.ledger_file(folder)
        self._before: dict[Path, bytes | None] = {}
        self._kept: set[tuple[Path, Pointer]] = set()
        self.readable = True

    def __enter__(self) -> Forger:
        return self

    def __exit__(self, *_: object) -> None:
        for file, content in reversed(self._before.items()):
            if content is None:
                file.unlink(missing_ok=True)
            else:
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(content)

    # Files

    def touch(self, file: Path) -> None:
        """Remember a file before it is changed."""
        if file not in self._before:
            self._before[file] = file.read_bytes() if file.exists() else None

    def remove(self, *places: Path) -> None:
        """Remove files and folders."""
        for place in places:
            for file in [f for f in place.rglob("*") if f.is_file()] if place.is_dir() else [place]:
                self.touch(file)
                file.unlink(missing_ok=True)

    def copy(self, source: Path, target: Path) -> None:
        """Copy a file, or a folder over another."""
        for file in [f for f in source.rglob("*") if f.is_file()] if source.is_dir() else [source]:
            place = target / file.relative_to(source) if source.is_dir() else target
            self.touch(place)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, place)

    def read(self, file: Path) -> Plain:
        """A record as plain values."""
        return dict(json.loads(file.read_text()))

    def rows(self) -> list[Plain]:
        """Rows of the ledger."""
        return [json.loads(line) for line in self.ledger.read_text().splitlines()] if self.ledger.exists() else []

    def decoded(self, file: Path) -> Any:
        """What a reader sees of a record or of the ledger; the plain values where it refuses them."""
        plain: Any = self.rows() if file == self.ledger else self.read(file)
        read = [_decoded(row) for row in plain] if file == self.ledger else _decoded(plain)
        return plain if read is None or (isinstance(read, list) and None in read) else read

    def write(self, file: Path, value: Plain) -> None:
        """Write a record."""
        self.touch(file)
        file.write_text(json.dumps(value))

    def write_rows(self, rows: Sequence[Plain]) -> None:
        """Write the ledger."""
        self.touch(self.ledger)
        self.ledger.write_text("".join(json.dumps(row) + "\n" for row in rows))

    def change(self, file: Path, pointer: Pointer, new: Callable[[Any], Any], keep: bool = True) -> None:
        """Change one value of a record or of a row of the ledger; no hash that is recomputed later replaces it.

        Args:
            file: the file; of the ledger, the pointer begins with the number of a row.
            pointer: where.
            new: what takes the place of the old value; :data:`DROPPED` for nothing.
            keep: whether it stays as it is when all hashes are recomputed.
        """
        whole: Any = self.rows() if file == self.ledger else self.read(file)
        node = whole
        for part in pointer[:-1]:
            node = node[part]
        value = new(copy.deepcopy(node.get(pointer[-1]) if isinstance(node, dict) else node[pointer[-1]]))
        if value is DROPPED:
            # What is at its default may stand in no file.
            node.pop(pointer[-1], None) if isinstance(node, dict) else node.pop(pointer[-1])
        else:
            node[pointer[-1]] = value
        if file == self.ledger:
            self.write_rows(whole)
        else:
            self.write(file, whole)
        if keep:
            self._kept.add((file, pointer))

    def frame(self, file: Path, change: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
        """Change a table."""
        self.touch(file)
        frame = change(pd.read_parquet(file))
        frame.to_parquet(file, index=False)

    def state(self, file: Path, change: Callable[[NDArray[Any]], NDArray[Any]]) -> None:
        """Change the first parameter of a state."""
        self.touch(file)
        state = read_state(file)
        name = sorted(state)[0]
        np.savez(file, **{**state, name: change(state[name]).astype(state[name].dtype)})

    # Places

    def cell(self, modality: str, model: str = "vbpr", dataset: str = "planted-complementary") -> Path:
        """Folder of a cell."""
        return paths.cell_dir(self.folder, dataset, model, modality)

    def cells(self) -> list[Path]:
        """Folders of all cells."""
        return [file.parent for file in paths.cell_files(self.folder) if paths.STALE not in file.parent.name]

    def trials(self, cell: Path) -> list[Path]:
        """Records of its trials."""
        return paths.training_records(cell, Stage.TRIAL)

    def finals(self, cell: Path) -> list[Path]:
        """Records of its final runs."""
        return paths.training_records(cell, Stage.FINAL)

    def beside(self, record: Path, ending: str) -> Path:
        """Another file of a training."""
        return record.with_name(f"{record.stem}.{ending}")

    def tables(self, ending: str, *cells: Path) -> list[Path]:
        """Tables of one kind."""
        return sorted(file for cell in cells or self.cells() for file in cell.rglob(f"*.{ending}"))

    def row_of(self, record: Path) -> int:
        """Place of the row of a training in the ledger."""
        digest = self.read(record)["hash"]
        return next(place for place, row in enumerate(self.rows()) if row["hash"] == digest)

    # Hashes

    def rehash(self, choose_again: bool = False) -> None:
        """Compute every hash again, from the tables and states up to the plan, as somebody would who knows them all.

        Args:
            choose_again: also choose again from the scores as they are now.
        """
        if not self.readable:
            return
        plan, manifest = self._plan(), self.read(self.manifest)
        moved: dict[str, str] = {}
        self.seals: dict[str, str] = {}
        new_row: list[tuple[str, Plain]] = []
        keys: dict[CellName, str] = {}
        for folder in self.cells():
            file = paths.cell_file(folder)
            cell = self.read(file)
            self._put(file, cell, "plan", plan)
            decoded = _decoded(cell)
            if isinstance(decoded, Cell):
                self._put(file, cell, "key", key_of(decoded))
            moved[self.read(file)["key"]] = cell["key"]
            self._hash(file, cell)
            for place in [folder, *paths.aside_dirs(folder)]:
                for stage in Stage:
                    for record in paths.training_records(place, stage):
                        self._training(record, moved, new_row)
            for place in [*(folder / "looks").glob("*"), folder]:
                self._choice(folder, place, moved, plan, choose_again)
            if (failure := paths.failure_file(folder)).exists():
                failed = self.read(failure)
                self._put(failure, failed, "key", moved.get(failed.get("key", ""), failed.get("key")))
                self.write(failure, failed)
        self._ledger(new_row, moved)
        for place, planned in enumerate(manifest["cells"]):
            if isinstance(planned, dict) and "key" in planned:
                self._put(self.manifest, planned, "key", moved.get(planned["key"], planned["key"]), ("cells", place))
        self._revisions(manifest, moved, keys)
        self._put(self.manifest, manifest, "hash", _hash_of(manifest))
        self.write(self.manifest, manifest)

    def _put(self, file: Path, record: Plain, name: str, value: Any, inside: Pointer = ()) -> None:
        if (file, (*inside, name)) not in self._kept:
            record[name] = value

    def _hash(self, file: Path, record: Plain) -> None:
        self._put(file, record, "hash", _hash_of(record))
        self.write(file, record)

    def _plan(self) -> str:
        manifest = self.read(self.manifest)
        said = [manifest.get(name) for name in ("delta", "contrasts", "primary", "statistics")]
        try:
            return fixed(*said)
        except TypeError:
            return ""

    def _training(self, record: Path, moved: dict[str, str], new_row: list[tuple[str, Plain]]) -> None:
        training = self.read(record)
        old = training.get("hash", "")
        self._put(record, training, "cell_key", moved.get(training.get("cell_key", ""), training.get("cell_key")))
        if "configuration" in training:
            self._put(record, training, "configuration_hash", configuration_hash(training["configuration"]))
        if training.get("course"):
            valid, state = self.beside(record, paths.VALIDATION), self.beside(record, paths.STATE)
            if valid.exists():
                self._put(record, training, "validation_hash", table_fingerprint(bounds.read_table(valid)))
            stored = fingerprint.of_named_arrays(read_state(state)) if state.exists() else ""
            self._put(record, training, "state_hash", stored)
        self._hash(record, training)
        new_row.append((old, training))

    def _choice(self, folder: Path, place: Path, moved: dict[str, str], plan: str, again: bool) -> None:
        file, sealed = paths.choice_file(place), paths.seal_file(place)
        if not file.exists():
            return
        choice = self.read(file)
        read = [_decoded(self.read(trial)) for trial in self.trials(folder)[: choice.get("n_trials") or None]]
        trials = [trial for trial in read if isinstance(trial, Training)]
        if again:
            try:
                choice = msgspec.to_builtins(choose(trials, plan))
            except CellFailed:
                return
        self._put(file, choice, "cell_key", moved.get(choice.get("cell_key", ""), choice.get("cell_key")))
        self._put(file, choice, "plan", plan)
        self._put(file, choice, "trials", [trial.hash for trial in trials])
        self._hash(file, choice)
        if not sealed.exists():
            return
        seal = self.read(sealed)
        before = seal.get("hash", "")
        aside = [a for a in paths.aside_dirs(folder) if choice.get("configuration") == _configuration(a)]
        runs = self.finals(aside[0] if aside else folder)
        self._put(sealed, seal, "cell_key", moved.get(seal.get("cell_key", ""), seal.get("cell_key")))
        self._put(sealed, seal, "choice_hash", choice.get("hash"))
        self._put(sealed, seal, "runs", [self.read(run)["hash"] for run in runs][: len(seal.get("finals", []))])
        if isinstance(seal.get("files"), dict):
            of_runs = aside[0] if aside else folder
            there = {name: (of_runs if name.startswith("finals") else folder) / name for name in seal["files"]}
            there = {name: file for name, file in there.items() if file.exists()}
            there |= {
                record.with_name(f"{record.stem}.{ending}").relative_to(folder).as_posix(): self.beside(record, ending)
                for record in ((*self.trials(folder), *runs) if place == folder else ())
                for ending in (paths.RANKS, paths.LISTS)
                if self.beside(record, ending).exists()
            }
            files = {name: table_fingerprint(bounds.read_table(table)) for name, table in there.items()}
            gone = {} if place == folder else {n: value for n, value in seal["files"].items() if n not in files}
            self._put(sealed, seal, "files", {**files, **gone})
        self._hash(sealed, seal)
        self.seals[before] = seal["hash"]

    def _ledger(self, new_row: list[tuple[str, Plain]], moved: dict[str, str]) -> None:
        rows = []
        for place, row in enumerate(self.rows()):
            unit = [moved.get(row.get("cell_key", ""), ""), row.get("stage"), row.get("index")]
            own = [t for t in new_row if [t[1].get(part) for part in ("cell_key", "stage", "index")] == unit]
            same = [t for old, t in own if old == row.get("hash")]
            training = next(iter([*same, *(t for _, t in own)]), None)
            decoded = None if training is None else _decoded(training)
            if isinstance(decoded, Training):
                name = CellName(*(row.get(part, "") for part in ("dataset", "model", "modality")))
                said = msgspec.to_builtins(
                    LedgerRow.of(
                        name,
                        decoded,
                        Cost(),
                        budget=row.get("budget", ""),
                        searched=row.get("searched", 0),
                        finished_at=row.get("finished_at", ""),
                    )
                )
                for field in said.keys() - {"cost", "budget", "searched", "finished_at", *name._fields}:
                    if (self.ledger, (place, field)) not in self._kept:
                        row[field] = said[field]
            rows.append(row)
        self.write_rows(rows)

    def _revisions(self, manifest: Plain, moved: dict[str, str], keys: dict[CellName, str]) -> None:
        previous = self._plan()
        for place, revision in enumerate(manifest.get("revisions") or []):
            inside: Pointer = ("revisions", place)
            if isinstance(revision.get("cells"), dict):
                cells = {name: moved.get(key, key) for name, key in revision["cells"].items()}
                self._put(self.manifest, revision, "cells", cells, inside)
                self._put(self.manifest, revision, "versions", self._versions(revision), inside)
            if isinstance(revision.get("data"), dict) and isinstance(manifest.get("data"), dict):
                data = {n: fingerprint.of_json(manifest["data"][n]) for n in revision["data"] if n in manifest["data"]}
                self._put(self.manifest, revision, "data", data, inside)
            if isinstance(revision.get("seals"), dict):
                seals = {name: self.seals.get(value, value) for name, value in revision["seals"].items()}
                self._put(self.manifest, revision, "seals", seals, inside)
            self._put(self.manifest, revision, "previous", previous, inside)
            self._put(self.manifest, revision, "hash", _hash_of(revision, Revision), inside)
            previous = revision.get("hash")

    def _versions(self, revision: Plain) -> Plain:
        said = dict(revision.get("versions", {}))
        for folder in self.cells():
            cell = self.read(paths.cell_file(folder))
            name = "/".join(str(cell.get(part)) for part in ("dataset", "model", "modality"))
            if name in said and isinstance(cell.get("versions"), dict):
                said[name] = versions_hash(cell["versions"])
        return said


class _Dropped:
    """No value."""


#: Takes a field away.
DROPPED = _Dropped()


def _configuration(folder: Path) -> Any:
    records = paths.training_records(folder, Stage.FINAL)
    return json.loads(records[0].read_text())["configuration"] if records else None


def _decoded(plain: Plain) -> Any:
    try:
        return msgspec.convert(plain, AnyRecord)
    except msgspec.ValidationError:
        return None


def _hash_of(plain: Plain, kind: type[Any] | None = None) -> str:
    """The hash that a record with these values would carry; of what is no record, something of the same form."""
    try:
        return content_hash(hashed(msgspec.convert(plain, kind or AnyRecord)))
    except (msgspec.ValidationError, ValueError):
        return fingerprint.of_json(sorted(map(str, plain)))
