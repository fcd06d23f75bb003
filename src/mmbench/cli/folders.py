"""Folders that appear whole or not at all."""

from __future__ import annotations

import contextlib
import fnmatch
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from mmbench.messages import Refusal
from mmbench.store import files


@contextlib.contextmanager
def new_folder(out: Path, products: Sequence[str], overwrite: bool) -> Iterator[Path]:
    """A folder beside ``out`` that takes its place at the end; an error leaves ``out`` as it was.

    Args:
        out: where the folder is to be.
        products: patterns of the names that may be replaced.
        overwrite: whether a folder with such files may be.

    Raises:
        ValueError: if ``out`` holds something and must not, or should not, be replaced.
    """
    out = out.resolve()
    _check_replaceable(out, products, overwrite)
    out.parent.mkdir(parents=True, exist_ok=True)
    made, old = (out.with_name(f".{out.name}.{word}-{os.getpid()}") for word in ("new", "old"))
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir()
    try:
        yield made
        files.sync([made, *made.rglob("*")])
        if out.exists():
            out.rename(old)
        made.rename(out)
        files.sync([out.parent])
    finally:
        if old.exists() and not out.exists():
            old.rename(out)
        shutil.rmtree(made, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def _check_replaceable(out: Path, products: Sequence[str], overwrite: bool) -> None:
    if out.exists() and not out.is_dir():
        raise Refusal("--out {path} is a file; name a folder", path=out)
    held = sorted(path.name for path in out.iterdir()) if out.exists() else []
    if held and not overwrite:
        raise Refusal("--out {path} is not empty; name another folder or add --overwrite", path=out)
    strange = [name for name in held if not any(fnmatch.fnmatchcase(name, product) for product in products)]
    if strange:
        raise Refusal(
            "--out {path} holds {name}, which this command did not write; it is not overwritten",
            path=out,
            name=repr(strange[0]),
        )
