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
from mmbench.messages import Message, Refusal

State = Mapping[str, NDArray[Any]]
#: Version in JSON files that are no records of a sweep: decisions, pre-tests, notes beside encoded features.
DOCUMENT_VERSION = 1


class Damaged(Refusal):
    """A file that is empty, cut or overwritten, or that is gone; what reads it may treat it as never written.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        sentence = Message(
            "{path} is missing, empty, cut or overwritten; the command that wrote it sets it aside and repeats what is "
            "missing",
            path=path,
        )
        super().__init__(sentence)

    def __reduce__(self) -> tuple[object, ...]:
        return Damaged, (self.path,)


def write_all(contents: Mapping[Path, Callable[[Path], object]], *, synced: bool = True) -> None:
    """Write files that belong together: each is on the disk before it gets its name, and its name after that.

    Args:
        contents: what fills each file when it is given a temporary one beside it; they are renamed in this order, so
            that a reader sees all or nothing of each.
        synced: whether to wait for the disk; if not, :func:`sync` must be called before anything names the files.
    """
    temporaries = {path: path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp") for path in contents}
    try:
        for path, write in contents.items():
            make_folder(path.parent)
            write(temporaries[path])
        if synced:
            sync(temporaries.values())
        faults.reach("record")
        for path, temporary in temporaries.items():
            os.replace(temporary, path)
        if synced:
            sync({path.parent for path in contents})
    finally:
        for temporary in temporaries.values():
            temporary.unlink(missing_ok=True)


def write_atomic(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` fill a temporary file beside ``path``, then rename it: a reader sees all or nothing."""
    write_all({path: write})


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
        with ThreadPoolExecutor(min(len(paths), 16)) as pool:
            list(pool.map(_sync, paths))


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
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
        return is_object(path.read_bytes())
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
    read = {".parquet": read_table, ".npz": read_state}.get(path.suffix, lambda path: None)
    try:
        read(path)
    except Damaged:
        return False
    return is_whole(path)


def is_object(content: bytes) -> bool:
    """Whether bytes are a JSON object."""
    try:
        return isinstance(msgspec.json.decode(content), dict)
    except ValueError:
        pass  # the parser of the standard library also knows NaN, which a reader refuses by name
    try:
        return isinstance(json.loads(content), dict)
    except ValueError:
        return False


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text by atomic rename."""
    write_atomic(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON object; NaN and infinity are errors."""
    write_atomic(path, json_writer(value))


def json_writer(value: Mapping[str, Any]) -> Callable[[Path], object]:
    """What writes a JSON object, see :func:`write_json`."""
    text = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    return lambda path: path.write_text(text, encoding="utf-8")


def write_document(path: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON file that is no record of a sweep, with its version."""
    write_json(path, {"schema_version": DOCUMENT_VERSION, **value})


def read_document(path: Path) -> dict[str, Any]:
    """Read what :func:`write_document` wrote.

    Raises:
        ValueError: if the file is no JSON object or of another version.
    """
    try:
        value: Any = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise Refusal("{path} is not a record: {error}", path=path, error=error) from error
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


def read_table(path: Path) -> pd.DataFrame:
    """Read a parquet table.

    Raises:
        Damaged: if the file is missing, cut or overwritten.
    """
    try:
        return pd.read_parquet(path, page_checksum_verification=True)
    except OSError as error:
        if error.errno not in (None, errno.ENOENT):  # pyarrow's own have no number
            raise
        raise Damaged(path) from error
    except ValueError as error:  # pyarrow's errors of format
        raise Damaged(path) from error


def write_state(path: Path, state: State) -> None:
    """Write a model's parameters as float16; a tensor beyond its range keeps its own type."""
    write_atomic(path, state_writer(state))


def state_writer(state: State) -> Callable[[Path], object]:
    """What writes a model's parameters, see :func:`write_state`."""
    compact = {name: _compact(np.asarray(value)) for name, value in state.items()}

    def save(path: Path) -> None:
        with path.open("wb") as handle:
            np.savez(handle, **compact)  # type: ignore[arg-type]

    return save


def _compact(value: NDArray[Any]) -> NDArray[Any]:
    if value.dtype.kind != "f" or (value.size and np.abs(value).max() > np.finfo(np.float16).max):
        return value
    return value.astype(np.float16)


@contextlib.contextmanager
def locked(file: Path) -> Iterator[None]:
    """Hold a lock among processes and threads that share a folder; the system releases it when its holder dies."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("ab") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def read_state(path: Path) -> dict[str, NDArray[Any]]:
    """Read a model's parameters, or other arrays by their names; never unpickles.

    Raises:
        Damaged: if the file is missing, cut or overwritten.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except FileNotFoundError as error:
        raise Damaged(path) from error
    except OSError:
        raise
    except Exception as error:  # zipfile and numpy raise many kinds, all meaning the same
        if "allow_pickle" in str(error) and is_whole(path):
            raise
        raise Damaged(path) from error
