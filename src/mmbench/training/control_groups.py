"""Control groups, by which SLURM and containers limit what a process may take of a machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple


class Group(NamedTuple):
    """A control group.

    Attributes:
        version: of control groups, 1 or 2, which name their files differently.
        folder: its files.
    """

    version: int
    folder: Path

    def text(self, name: str) -> str:
        """What a file of the group says; empty where the group has none of this name."""
        return text(self.folder / name)


def groups(controller: str, root: Path = Path("/")) -> Iterator[Group]:
    """The control groups of this process that limit something: its own first, then those above it.

    Args:
        controller: what they limit, ``memory`` or ``cpu``.
        root: where ``proc`` and ``sys`` are mounted.
    """
    for line in text(root / "proc/self/cgroup").splitlines():
        _, controllers, group = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        top = root / "sys/fs/cgroup" / (controller if controllers else "")
        # In a container the group's own folder may be the mount itself, and its path one that is not seen from inside.
        place = top / group.lstrip("/")
        for folder in dict.fromkeys((place, *place.parents, top)):
            if folder.is_relative_to(top):
                yield Group(1 if controllers else 2, folder)


def text(file: Path) -> str:
    """The text of a file of the system; empty where there is none."""
    try:
        return file.read_text(encoding="utf-8")
    except OSError:
        return ""
