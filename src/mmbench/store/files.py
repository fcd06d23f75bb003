"""Files that appear whole or not at all, and stay so when the power fails: text, JSON, parquet tables and states.

A file is written under another name, brought to the disk (``fsync``), and renamed; then its folder is brought to the
disk too. What a power cut, a full or a failing disk damages all the same is found here: :func:`is_whole` looks at the
beginning and the end of a file, and a reader checks the sums that parquet and npz carry.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmbench import faults
from mmbench.messages import Refusal
from mmbench.store import bounds
from mmbench.store.bounds import Damaged

#: What numpy says of a full disk, in place of a number: "25600 requested and 3040 written".
_SHORT_WRITE = re.compile(r"\d+ requested and \d+ written")
State = Mapping[str, NDArray[Any]]
#: Version in JSON files that are no records of a sweep: decisions, pre-tests, notes beside encoded features.
DOCUMENT_VERSION = 1


def unconfirmed() -> None:
    """Write without asking first."""


def write_all(
    contents: Mapping[Path, Callable[[Path], object]],
    *,
    synced: bool = True,
    confirm: Callable[[], None] = unconfirmed,
) -> None:
    """Write files that belong together: each is on the disk before it gets its name, and its name after that.

    Args:
        contents: what fills each file when it is given a temporary one beside it; they are renamed in this order, so
            that a reader sees all or nothing of each.
        synced: whether to wait for the disk; if not, :func:`sync` must be called before anything names the files.
        confirm: called before each file is written and before it gets its name; raises if that must not be any more.

    Raises:
        OSError: with the name that the file was to have.
    """
    temporaries = {path: path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp") for path in contents}
    try:
        for path, write in contents.items():
            confirm()
            make_folder(path.parent)
            with naming(path):
                write(temporaries[path])
        if synced:
            sync(temporaries.values())
        faults.reach("record")
        for path, temporary in temporaries.items():
            confirm()
            with naming(path):
                os.replace(temporary, path)
        if synced:
            sync({path.parent for path in contents})
    finally:
        for temporary in temporaries.values():
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Have an error of the system name a file, in place of a temporary one beside it or none."""
    try:
        yield
    except OSError as error:
        if error.errno is None and _SHORT_WRITE.fullmatch(str(error)):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error
        unnamed = error.filename is None and error.errno is not None  # the text of one without a number is all it says
        if unnamed or Path(str(error.filename)).name.startswith(f".{path.name}."):
            error.filename, error.filename2 = str(path), None
        raise


def write_atomic(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` fill a temporary file beside ``path``, then rename it: a reader sees all or nothing."""
    write_all({path: write})


def clear_leftovers(path: Path) -> None:
    """Remove temporary files of writers of a file that were killed; only safe while nobody else writes it."""
    for leftover in path.parent.glob(f".{path.name}.*.tmp"):
        leftover.unlink(missing_ok=True)


def move(source: Path, target: Path) -> None:
    """Rename a file into another folder, which is made; the new name is on the disk before the old one goes."""
    make_folder(target.parent)
    os.replace(source, target)
    sync([target.parent])
    sync([source.parent])


def make_folder(folder: Path) -> None:
    """Make a folder and its parents, and bring their names to the disk."""
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        sync([folder.parent])


def sync(paths: Iterable[Path]) -> None:
    """Bring files or folders to the disk; several at once, because a disk takes hardly longer for many than for one."""
    paths = list(paths)
    if len(paths) == 1:
        _sync(paths[0])
    elif paths:
        try:
            with ThreadPoolExecutor(min(len(paths), 16)) as pool:
                list(pool.map(_sync, paths))
        except RuntimeError:  # under a limit on memory or processes no thread starts; results are kept all the same
            for path in paths:
                _sync(path)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        with naming(path):
            os.fsync(handle)
    except OSError as error:
        if error.errno != errno.EINVAL:  # a file system that knows no fsync of a folder
            raise
    finally:
        os.close(handle)


#: First bytes, last bytes, and how far these begin before the end, by kind of file; an npz file ends in a record of 22
#: bytes. The CSV of a sweep's cells is that of recommendations.
_EDGES = {".parquet": (b"PAR1", b"PAR1", 4), ".npz": (b"PK\x03\x04", b"PK\x05\x06", 22), ".csv": (b"user", b"\n", 1)}


def is_whole(path: Path) -> bool:
    """Whether a file begins and ends as one of its kind does, and a JSON file can be read; true for other kinds.

    It costs some microseconds, so a command can afford it for every file of a sweep. Damage in the middle shows when
    the file is read.
    """
    kind = Path(path.name.removesuffix(".copy")).suffix
    if kind == ".json":
        return path.stat().st_size > bounds.MOST_JSON or is_object(path.read_bytes())  # a reader refuses a larger one
    if kind not in _EDGES:
        return True
    head, tail, length = _EDGES[kind]
    with path.open("rb") as file:
        begin = file.read(len(head))
        size = file.seek(0, os.SEEK_END)
        if size < len(head) + length:
            return False
        file.seek(size - length)
        return begin == head and file.read(len(tail)) == tail


def is_readable(path: Path) -> bool:
    """Whether all of a file can be read, its middle too."""
    read: dict[str, Callable[[Path], object]] = {".parquet": bounds.read_table, ".npz": bounds.read_arrays}
    try:
        read.get(path.suffix, is_whole)(path)
    except Damaged:
        return False
    except Refusal:
        pass  # it is as somebody wrote it
    return is_whole(path)


def is_object(content: bytes) -> bool:
    """Whether bytes are a JSON object; one that is nested too deeply is, and a reader refuses it."""
    try:
        return isinstance(msgspec.json.decode(content), dict)
    except ValueError:
        pass  # the parser of the standard library also knows NaN, which a reader refuses by name
    except RecursionError:
        return True
    try:
        return isinstance(json.loads(content), dict)
    except ValueError:
        return False
    except RecursionError:
        return True


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text by atomic rename."""
    write_atomic(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON object; NaN and infinity are errors."""
    write_atomic(path, json_writer(value))


def json_writer(value: Mapping[str, Any]) -> Callable[[Path], object]:
    """What writes a JSON object, see :func:`write_json`."""
    text = _as_json(value)
    return lambda path: path.write_text(text, encoding="utf-8")


def fits_reader(value: Mapping[str, Any]) -> bool:
    """Whether the file of a JSON object is small enough for its reader, see :func:`mmbench.store.bounds.read_json`."""
    return len(_as_json(value).encode()) <= bounds.MOST_JSON


def _as_json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def write_document(path: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON file that is no record of a sweep, with its version."""
    write_json(path, {"schema_version": DOCUMENT_VERSION, **value})


def read_document(path: Path) -> dict[str, Any]:
    """Read what :func:`write_document` wrote.

    Raises:
        ValueError: if the file is no JSON object or of another version.
    """
    value = bounds.read_json(path)
    if not isinstance(value, dict):
        raise Refusal("{path} is not a record: it holds {kind}", path=path, kind=type(value).__name__)
    version = value.get("schema_version")
    if version != DOCUMENT_VERSION:
        raise Refusal(
            "{path} is a document of version {version}; this mmbench reads version {known}",
            path=path,
            version=version,
            known=DOCUMENT_VERSION,
        )
    return dict(value)


def write_parquet(path: Path, frame: pd.DataFrame) -> None:
    """Write a table by atomic rename."""
    write_atomic(path, table_writer(frame))


def table_writer(frame: pd.DataFrame) -> Callable[[Path], object]:
    """What writes a table as parquet; its pages carry check sums."""
    return lambda path: frame.to_parquet(path, index=False, write_page_checksum=True)


def state_writer(state: State) -> Callable[[Path], object]:
    """What writes a model's parameters, which :func:`as_stored` has rounded."""

    def save(path: Path) -> None:
        with path.open("wb") as handle:
            np.savez(handle, **state)  # type: ignore[arg-type]

    return save


def as_stored(state: State) -> dict[str, NDArray[Any]]:
    """A model's parameters as float16; a tensor beyond its range keeps its own type."""
    return {name: _rounded(np.asarray(value)) for name, value in state.items()}


def _rounded(value: NDArray[Any]) -> NDArray[Any]:
    if value.dtype.kind != "f" or (value.size and np.abs(value).max() > np.finfo(np.float16).max):
        return value
    return value.astype(np.float16)


@contextlib.contextmanager
def locked(file: Path) -> Iterator[None]:
    """Hold a lock among processes and threads that share a folder; the system releases it when its holder dies."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("ab") as handle:
        with locking(file):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def locking(path: Path) -> Iterator[None]:
    """Have an error of the system name the file that is to be locked, and be ENOLCK where there are no locks at all."""
    with naming(path):
        try:
            yield
        except OSError as error:
            if error.errno in (errno.ENOSYS, errno.EOPNOTSUPP):  # of a file system that does not know them
                raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK)) from error
            raise


def read_state(path: Path) -> dict[str, NDArray[Any]]:
    """Read a model's parameters, or other arrays by their names, see :func:`mmbench.store.bounds.read_arrays`."""
    return bounds.read_arrays(path)
