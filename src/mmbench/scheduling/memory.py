"""Memory that this process and its children may still take: what the machine has, and what its control groups allow."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple


class Limits(NamedTuple):
    """Files of a control group that say how much memory it may take and takes."""

    most: str
    taken: str
    statistics: tuple[str, ...]


#: By version of the control groups. What only caches files is given back on demand, so it does not count as taken.
V1 = Limits("memory.limit_in_bytes", "memory.usage_in_bytes", ("total_inactive_file", "total_active_file"))
V2 = Limits("memory.max", "memory.current", ("inactive_file", "active_file"))


def available(root: Path = Path("/")) -> int | None:
    """Bytes that are left: the least of the machine's and of every control group above this process.

    Args:
        root: where ``proc`` and ``sys`` are mounted.

    Returns:
        None where the system does not say, as on anything but Linux.
    """
    return min([*_machine(root), *_groups(root)], default=None)


def _machine(root: Path) -> Iterator[int]:
    found = re.search(r"^MemAvailable:\s+(\d+) kB$", _text(root / "proc/meminfo"), re.MULTILINE)
    if found:
        yield 1024 * int(found[1])


def _groups(root: Path) -> Iterator[int]:
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, group = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        limits, mount = (V1, "sys/fs/cgroup/memory") if controllers else (V2, "sys/fs/cgroup")
        top = root / mount
        # In a container the group's own folder may be the mount itself, and its path one that is not seen from inside.
        place = top / group.lstrip("/")
        for folder in dict.fromkeys((place, *place.parents, top)):
            if folder.is_relative_to(top):
                yield from _left(folder, limits)


def _left(folder: Path, limits: Limits) -> Iterator[int]:
    most, taken = (_text(folder / name).strip() for name in (limits.most, limits.taken))
    if most.isdigit() and taken.isdigit():
        words: Mapping[str, str] = dict(line.split() for line in _text(folder / "memory.stat").splitlines())
        cached = sum(int(words.get(name, 0)) for name in limits.statistics)
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
