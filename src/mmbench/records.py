"""The results store: JSON and parquet per cell by atomic rename, and one append-only ledger per sweep (RULINGS 17).

A record is deterministic: the same cell gives the same bytes. What differs from run to run (seconds, machine, time of
day) stands in the ledger.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmbench import faults, paths
from mmbench.messages import Refusal
from mmbench.metrics import RankedPairs, Ranking

SCHEMA_VERSION = 1
State = Mapping[str, NDArray[Any]]


def write_atomic(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` fill a temporary file beside ``path``, then rename it: a reader sees all or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write(temporary)
        faults.reach("record")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a record with its schema version."""
    text = json.dumps({"schema_version": SCHEMA_VERSION, **value}, indent=1, ensure_ascii=False, allow_nan=False)
    write_text(path, text + "\n")


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text by atomic rename."""
    write_atomic(path, lambda p: p.write_text(text, encoding="utf-8"))


def read_json(path: Path) -> dict[str, Any]:
    """Read a record.

    Raises:
        ValueError: if it is no JSON or of a schema this version cannot read.
    """
    try:
        record: Any = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise Refusal("{path} is not a record: {error}", path=path, error=error) from error
    if not isinstance(record, dict):
        raise Refusal("{path} is not a record: it holds {kind}", path=path, kind=type(record).__name__)
    version = record.get("schema_version")
    if version != SCHEMA_VERSION:
        raise Refusal(
            "{path} has schema version {version}; this mmbench reads version {known}",
            path=path,
            version=version,
            known=SCHEMA_VERSION,
        )
    return dict(record)


def append_ledger(sweep_dir: Path, row: Mapping[str, Any]) -> None:
    """Append one training as one line in one write; a torn last line of a killed writer is closed first."""
    path = paths.ledger_file(sweep_dir)
    path.parent.mkdir(parents=True, exist_ok=True)
    line = json.dumps({"schema_version": SCHEMA_VERSION, **row}, ensure_ascii=False, allow_nan=False) + "\n"
    handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        fcntl.lockf(handle, fcntl.LOCK_EX)  # appending is not atomic on network file systems; dies with the process
        faults.reach("locked")
        size = os.fstat(handle).st_size
        torn = size > 0 and os.pread(handle, 1, size - 1) != b"\n"
        data = (("\n" if torn else "") + line).encode()
        if os.write(handle, data) != len(data):
            raise OSError(errno.ENOSPC, "only part of a ledger row could be written", str(path))
    finally:
        os.close(handle)


def read_ledger(sweep_dir: Path) -> Iterator[dict[str, Any]]:
    """Rows of the ledger in order; a line that a kill left torn is passed over."""
    path = paths.ledger_file(sweep_dir)
    if not path.exists():
        return
    with path.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            try:
                row = json.loads(line)
            except json.JSONDecodeError:
                continue
            if isinstance(row, dict) and row.get("schema_version") == SCHEMA_VERSION:
                yield row


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

    def open(self, description: Mapping[str, Any], *, afresh: bool = False) -> str | None:
        """Claim the folder for this key; move a stale one (or with ``afresh`` any) aside and return the name it got."""
        file = self.folder / "cell.json"
        moved = None
        if file.exists():
            old = str(read_json(file).get("key"))
            if old != self.key or afresh:
                aside = self.folder.with_name(f"{self.folder.name}.stale-{old[:8]}")
                moved = _move_aside(self.folder, aside)
        if not file.exists():
            write_json(file, {"kind": "cell", "key": self.key, **description})
        (self.folder / "failure.json").unlink(missing_ok=True)
        return moved

    def is_current(self) -> bool:
        """Whether the folder holds records of this key."""
        file = self.folder / "cell.json"
        return file.exists() and read_json(file).get("key") == self.key

    def finished_trainings(self) -> dict[tuple[str, int], dict[str, Any]]:
        """Record of every finished training by (stage, slot or seed): those the ledger lists and whose file exists."""
        done: dict[tuple[str, int], dict[str, Any]] = {}
        for row in read_ledger(self.sweep_dir):
            if row.get("cell_key") == self.key:
                file = self.training_file(row["stage"], row["index"], "json")
                if file.exists():
                    done[row["stage"], row["index"]] = read_json(file)
        return done

    def training_file(self, stage: str, index: int, ending: str) -> Path:
        """A file of a trial (``tune``, slot), a proposed one (``extended``, place) or a final run (``final``, seed)."""
        place = {"tune": paths.trial_file, "extended": paths.proposal_file, "final": paths.final_file}
        return place[stage](self.folder, index, ending)

    def write_training(
        self,
        record: Mapping[str, Any],
        ledger_row: Mapping[str, Any],
        valid: pd.DataFrame | None,
        state: State | None,
    ) -> None:
        """Write a finished training: arrays first, then its record, and last its ledger row, which makes it count."""
        stage, index = record["stage"], record["index"]
        if valid is not None:
            write_parquet(self.training_file(stage, index, "valid.parquet"), valid)
        if state is not None:
            write_state(self.training_file(stage, index, "state.npz"), state)
        write_json(self.training_file(stage, index, "json"), {"cell_key": self.key, **record})
        faults.reach("ledger")
        append_ledger(self.sweep_dir, {"cell_key": self.key, **ledger_row})

    def write_ranking(self, stage: str, index: int, ranking: Ranking, variant: str = "") -> None:
        """Write the test ranks of a training and, where they were asked for, the lists.

        Args:
            stage: ``tune``, ``extended`` or ``final``.
            index: slot, place or seed.
            ranking: the ranks.
            variant: name of another way to score the same training, for example ``shuffled_image``.
        """
        users = ranking.users[ranking.pairs.users].astype(np.int32)
        frame = pd.DataFrame({"user": users, "item": ranking.items.astype(np.int32)})
        ending = f"{variant}.test.parquet" if variant else "test.parquet"
        ranks = ranking.pairs.ranks.astype(np.int32)
        write_parquet(self.training_file(stage, index, ending), frame.assign(rank=ranks))
        if ranking.top is not None:
            lists = pd.DataFrame({"user": ranking.users.astype(np.int32), "items": list(ranking.top)})
            write_parquet(self.training_file(stage, index, "lists.parquet"), lists)

    def read_ranking(self, stage: str, index: int) -> RankedPairs:
        """Read the test ranks of a training."""
        return read_ranking(self.training_file(stage, index, "test.parquet"))

    def clear_leftovers(self) -> None:
        """Remove temporary files of writers that were killed; only for who has the cell to himself."""
        for file in self.folder.rglob(".*.tmp"):
            file.unlink(missing_ok=True)

    def fail(self, reason: str, traceback: str) -> None:
        """Leave the record of a failed cell."""
        write_json(
            self.folder / "failure.json",
            {"kind": "failure", "key": self.key, "reason": reason, "traceback": traceback},
        )


def _move_aside(folder: Path, aside: Path) -> str:
    target, number = aside, 1
    while target.exists():
        number += 1
        target = aside.with_name(f"{aside.name}-{number}")
    os.rename(folder, target)
    return target.name


def read_ranking(path: Path) -> RankedPairs:
    """Read test ranks from parquet."""
    return read_tested(path).pairs


def read_tested(path: Path) -> Ranking:
    """Read test ranks from parquet with the users and items they belong to, without lists."""
    frame = pd.read_parquet(path)
    users, positions = np.unique(frame["user"].to_numpy(np.int64), return_inverse=True)
    pairs = RankedPairs(positions, frame["rank"].to_numpy(np.int64), len(users))
    return Ranking(users, pairs, frame["item"].to_numpy(np.int64), None)


def read_lists(path: Path) -> NDArray[np.int32]:
    """Read the best items of every evaluated user, users ascending, -1 where candidates ran out: ``(n_users, k)``."""
    frame = pd.read_parquet(path).sort_values("user", kind="stable")
    return np.stack(frame["items"].to_list()).astype(np.int32)


def read_final(cell: Path, seed: int) -> Ranking:
    """Read the test ranks and the lists of a final run."""
    tested = read_tested(paths.final_file(cell, seed, "test.parquet"))
    return replace(tested, top=read_lists(paths.final_file(cell, seed, "lists.parquet")))


def write_parquet(path: Path, frame: pd.DataFrame) -> None:
    """Write a table by atomic rename."""
    write_atomic(path, lambda p: frame.to_parquet(p, index=False))


def write_state(path: Path, state: State) -> None:
    """Write a model's parameters as float16; a tensor beyond its range keeps its own type."""
    small = {name: _compact(np.asarray(value)) for name, value in state.items()}

    def save(target: Path) -> None:
        with target.open("wb") as handle:
            np.savez(handle, **small)  # type: ignore[arg-type]

    write_atomic(path, save)


def read_state(path: Path) -> dict[str, NDArray[Any]]:
    """Read a model's parameters; never unpickles."""
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def _compact(value: NDArray[Any]) -> NDArray[Any]:
    if value.dtype.kind != "f" or (value.size and np.abs(value).max() > np.finfo(np.float16).max):
        return value
    return value.astype(np.float16)


def now() -> str:
    """The time of day in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def versions() -> dict[str, str | None]:
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
