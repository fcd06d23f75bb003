"""Memory that this process and its children may still take: what the machine has, and what its control groups allow."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple


class Version(NamedTuple):
    """Where control groups of a version lie, and their files that tell of memory.

    Attributes:
        mount: folder of the outermost group.
        most: file of what a group may take.
        taken: file of what it takes.
        statistics: what of that only caches files.
        kills: file that counts the processes that were killed for it.
    """

    mount: str
    most: str
    taken: str
    statistics: tuple[str, ...]
    kills: str


#: By version of the control groups. What only caches files is given back on demand, so it does not count as taken.
V1 = Version(
    "sys/fs/cgroup/memory",
    "memory.limit_in_bytes",
    "memory.usage_in_bytes",
    ("total_inactive_file", "total_active_file"),
    "memory.oom_control",
)
V2 = Version("sys/fs/cgroup", "memory.max", "memory.current", ("inactive_file", "active_file"), "memory.events")


def available(root: Path = Path("/")) -> int | None:
    """Bytes that are left: the least of the machine's and of every control group above this process.

    Args:
        root: where ``proc`` and ``sys`` are mounted.

    Returns:
        None where the system does not say, as on anything but Linux.
    """
    in_groups = (_left(folder, version) for version, folder in groups(root))
    return min(itertools.chain(_machine(root), *in_groups), default=None)


def _machine(root: Path) -> Iterator[int]:
    found = re.search(r"^MemAvailable:\s+(\d+) kB$", _text(root / "proc/meminfo"), re.MULTILINE)
    if found:
        yield 1024 * int(found[1])


def groups(root: Path = Path("/")) -> Iterator[tuple[Version, Path]]:
    """The control groups of this process that limit memory: its own first, then those above it.

    Args:
        root: where ``proc`` and ``sys`` are mounted.
    """
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, group = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        version = V1 if controllers else V2
        top = root / version.mount
        # In a container the group's own folder may be the mount itself, and its path one that is not seen from inside.
        place = top / group.lstrip("/")
        for folder in dict.fromkeys((place, *place.parents, top)):
            if folder.is_relative_to(top):
                yield version, folder


def _left(folder: Path, version: Version) -> Iterator[int]:
    most, taken = (_text(folder / name).strip() for name in (version.most, version.taken))
    if most.isdigit() and taken.isdigit():
        words: Mapping[str, str] = dict(line.split() for line in _text(folder / "memory.stat").splitlines())
        cached = sum(int(words.get(name, 0)) for name in version.statistics)
        yield max(0, int(most) - int(taken) + cached)


def resident(pid: int) -> tuple[int, int]:
    """Bytes that a process has in memory, and the most it ever had; zeros for one that is gone."""
    text = _text(Path(f"/proc/{pid}/status"))
    found = dict(re.findall(r"^(VmRSS|VmHWM):\s+(\d+) kB$", text, re.MULTILINE))
    return 1024 * int(found.get("VmRSS", 0)), 1024 * int(found.get("VmHWM", 0))


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError:
        return ""
