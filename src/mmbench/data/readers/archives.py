"""Zip archives, unpacked where nothing in them can reach out of the folder made for them."""

from __future__ import annotations

import contextlib
import shutil
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from mmbench.data.regular_file import visible_in
from mmbench.messages import Refusal

#: What grows by more than this is made to fill a disk.
MAX_RATIO = 1000
_CHECKED_FROM = 1 << 24


@contextlib.contextmanager
def unpacked(path: Path) -> Iterator[Path]:
    """A temporary folder with what a zip archive holds; the one folder that everything lies in, where there is one.

    Raises:
        ValueError: for a damaged or encrypted archive, a link, or a name that leads out of it or is both a file and a
            folder.
    """
    with tempfile.TemporaryDirectory(prefix="mmbench-") as made:
        folder = Path(made)
        try:
            with zipfile.ZipFile(path) as archive:
                for entry in archive.infolist():
                    _check(path, entry)
                # Entries may share their compressed bytes, so that each is small and all of them are not.
                if sum(entry.file_size for entry in archive.infolist()) > _most(path.stat().st_size):
                    raise Refusal(
                        "{path}: its entries grow more than {ratio}-fold; unpack the archive yourself if it is to be "
                        "trusted",
                        path=path,
                        ratio=MAX_RATIO,
                    )
                for entry in archive.infolist():
                    try:
                        _unpack(archive, entry, folder)
                    except (FileExistsError, IsADirectoryError, NotADirectoryError) as error:
                        raise Refusal(
                            "{path}: the entry {entry} makes one name a file and a folder",
                            path=path,
                            entry=repr(entry.filename),
                        ) from error
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
            raise Refusal("{path} is no readable .zip: {error}", path=path, error=str(error)) from error
        held = [inner for inner in visible_in(folder) if inner.name != "__MACOSX"]
        yield held[0] if len(held) == 1 and held[0].is_dir() else folder


def _check(path: Path, entry: zipfile.ZipInfo) -> None:
    name = PurePosixPath(entry.filename.replace("\\", "/"))
    if name.is_absolute() or ".." in name.parts or any(":" in part for part in name.parts[:1]):
        raise Refusal(
            "{path}: the entry {entry} leads out of the archive; nothing was unpacked",
            path=path,
            entry=repr(entry.filename),
        )
    if stat.S_ISLNK(entry.external_attr >> 16):
        raise Refusal(
            "{path}: the entry {entry} is a link; an archive may hold files and folders only",
            path=path,
            entry=repr(entry.filename),
        )
    if entry.flag_bits & 1:
        raise Refusal(
            "{path}: the entry {entry} is encrypted; unpack the archive first", path=path, entry=repr(entry.filename)
        )
    if entry.file_size > _most(entry.compress_size):
        raise Refusal(
            "{path}: the entry {entry} grows more than {ratio}-fold; unpack the archive yourself if it is to be "
            "trusted",
            path=path,
            entry=repr(entry.filename),
            ratio=MAX_RATIO,
        )


def _most(compressed: int) -> int:
    """Bytes that so many compressed ones may grow to."""
    return max(_CHECKED_FROM, MAX_RATIO * compressed)


def _unpack(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, folder: Path) -> None:
    target = folder / entry.filename.replace("\\", "/")
    if entry.is_dir():
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with archive.open(entry) as inside, target.open("wb") as outside:
        shutil.copyfileobj(inside, outside)
