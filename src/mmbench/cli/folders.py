"""Folders that appear whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import fnmatch
import glob
import os
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from mmbench import fingerprint
from mmbench.messages import Message, Refusal
from mmbench.messages.hints import SHOWN
from mmbench.messages.refused import reason
from mmbench.store import files
from mmbench.store.leases import process_start

#: More than Hydra writes of a sweep, so that a full disk is told before it does.
PROBE_BYTES = 1 << 16


def check_writable(folder: Path, option: str = "") -> None:
    """Refuse a folder that cannot be made or written into, before anything is computed for it.

    Hydra has no one-line errors, and a writer of files names a temporary one. Folders that were not there are not left.

    Args:
        folder: where files are to be.
        option: how the command line names another place; empty where it cannot.

    Raises:
        ValueError: for such a folder.
    """
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        try:
            _probe(folder)
        except FileNotFoundError:  # another command, which looks at a folder beside it, may have taken one away
            _probe(folder)
        for place in made:
            with contextlib.suppress(OSError):  # another command has made its own folder there meanwhile
                place.rmdir()
    except OSError as error:
        # Of a file in the place of the folder the system says that it exists.
        why = reason(NotADirectoryError(errno.ENOTDIR, "") if isinstance(error, FileExistsError) else error)
        if option:
            raise Refusal(
                "{folder} cannot be written: {error}; name another place with {option}",
                folder=folder,
                error=why,
                option=option,
            ) from error
        raise Refusal(
            "{folder} cannot be written: {error}; it must be a folder that files can be written into",
            folder=folder,
            error=why,
        ) from error


def _probe(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder) as probe:
        probe.write(bytes(PROBE_BYTES))


def check_file(path: Path, option: str) -> None:
    """Refuse the place of a file that cannot be written there, before anything is computed for it.

    Args:
        path: where the file is to be.
        option: how the command line names another place.

    Raises:
        ValueError: for a folder in its place, and as :func:`check_writable` for the folder that holds it.
    """
    check_writable(path.parent, option)
    if path.is_dir():
        raise Refusal("{path} is a folder; name the file to write with {option}", path=path, option=option)


@contextlib.contextmanager
def new_folder(out: Path, products: Callable[[Path], Iterable[str]], overwrite: bool) -> Iterator[Path]:
    """A folder beside ``out`` that takes its place at the end; an error leaves ``out`` as it was.

    What ``out`` holds is looked at before anything is made, and again when it is replaced. What a killed command of
    this machine left beside ``out`` is put back or removed before.

    Args:
        out: where the folder is to be.
        products: gives the patterns of the names in ``out`` that may be replaced; asked where it holds something.
        overwrite: whether a folder with such files may be.

    Raises:
        ValueError: if ``out`` holds something and must not, or should not, be replaced, and if nothing can be written
            beside it.
    """
    out = out.resolve()
    host = fingerprint.of_json(socket.gethostname())[:8]  # processes of other machines cannot be seen from here
    _clear_leftovers(out, host)
    _check_replaceable(out, products, overwrite)
    check_writable(out.parent, "--out FOLDER")
    out.parent.mkdir(parents=True, exist_ok=True)
    made, old = (out.with_name(f".{out.name}.{word}-{host}-{os.getpid()}") for word in ("new", "old"))
    made.mkdir()
    try:
        yield made
        files.sync([made, *made.rglob("*")])
        _check_replaceable(out, products, overwrite)  # somebody may have put something there meanwhile
        if out.exists():
            out.rename(old)
        made.rename(out)
        files.sync([out.parent])
    finally:
        if old.exists() and not out.exists():
            old.rename(out)
        shutil.rmtree(made, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def _clear_leftovers(out: Path, host: str) -> None:
    """Put back what a killed command had moved away from ``out``, and remove what it left of the folder it made."""
    for word in ("old", "new"):
        for left in sorted(out.parent.glob(f".{glob.escape(out.name)}.{word}-{host}-*")):
            pid = left.name.rpartition("-")[2]
            if not pid.isdecimal() or (int(pid) != os.getpid() and process_start(int(pid)) is not None):
                continue
            if word == "old" and not out.exists():
                left.rename(out)
            else:
                shutil.rmtree(left, ignore_errors=True)


def _check_replaceable(out: Path, products: Callable[[Path], Iterable[str]], overwrite: bool) -> None:
    if out.exists() and not out.is_dir():
        raise Refusal("--out {path} is a file; name a folder", path=out)
    held = sorted(path.name for path in out.iterdir()) if out.exists() else []
    if held and not overwrite:
        raise Refusal("--out {path} is not empty; name another folder or add --overwrite", path=out)
    patterns = list(products(out)) if held else []
    strange = [name for name in held if not any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)]
    if strange:
        names = ", ".join(map(repr, strange[:SHOWN]))
        if len(strange) > SHOWN:
            names = Message.counted(
                "{names} and {n} other", "{names} and {n} others", len(strange) - SHOWN, names=names
            )
        raise Refusal(
            "--out {path} holds {name}, which this command did not write; it is not overwritten", path=out, name=names
        )
