"""Disks that are full and control groups that are small, where this user may make them."""

from __future__ import annotations

import contextlib
import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[Callable[[int], None]]:
    """A file system of its own in a folder, of 64 KiB; yields what makes it as large as one says, in KiB."""
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"no file system may be mounted: {mounted.stderr.strip()}")
    try:
        yield lambda kib: subprocess.run(["mount", "-o", f"remount,size={kib}k", folder], check=True)
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


@contextlib.contextmanager
def limited_group(most: int) -> Iterator[Path]:
    """The file to which a process writes its number to have no more memory than so many bytes; version 1 or 2."""
    places = {Path("/sys/fs/cgroup/memory"): "memory.limit_in_bytes", Path("/sys/fs/cgroup"): "memory.max"}
    place = next((place for place in places if (place / "cgroup.procs").exists()), None)
    if place is None:
        pytest.skip("no control groups here")
    made = place / f"mmbench-{uuid.uuid4().hex}"
    try:
        made.mkdir()
    except OSError as error:
        pytest.skip(f"no control group may be made: {error}")
    try:
        if not (limit := made / places[place]).exists():
            pytest.skip("groups made here do not limit memory")
        limit.write_text(str(most))
        yield made / "cgroup.procs"
    finally:
        made.rmdir()
