"""Memory that this process and its children may still take: what the machine has, and what its control groups allow."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from mmbench.training.control_groups import Group, groups, text


class Version(NamedTuple):
    """The files of control groups of a version that tell of memory.

    Attributes:
        most: file of what a group may take.
        taken: file of what it takes.
        statistics: what of that only caches files.
        kills: file that counts the processes that were killed for it.
    """

    most: str
    taken: str
    statistics: tuple[str, ...]
    kills: str


#: By version of the control groups. What only caches files is given back on demand, so it does not count as taken.
VERSIONS = {
    1: Version(
        "memory.limit_in_bytes",
        "memory.usage_in_bytes",
        ("total_inactive_file", "total_active_file"),
        "memory.oom_control",
    ),
    2: Version("memory.max", "memory.current", ("inactive_file", "active_file"), "memory.events"),
}


def available(root: Path = Path("/")) -> int | None:
    """Bytes that are left: the least of the machine's and of every control group above this process.

    Args:
        root: where ``proc`` and ``sys`` are mounted.

    Returns:
        None where the system does not say, as on anything but Linux.
    """
    in_groups = map(_left, groups("memory", root))
    return min(itertools.chain(_machine(root), *in_groups), default=None)


def _machine(root: Path) -> Iterator[int]:
    found = re.search(r"^MemAvailable:\s+(\d+) kB$", text(root / "proc/meminfo"), re.MULTILINE)
    if found:
        yield 1024 * int(found[1])


def _left(group: Group) -> Iterator[int]:
    version = VERSIONS[group.version]
    most, taken = (group.text(name).strip() for name in (version.most, version.taken))
    if most.isdigit() and taken.isdigit():
        words: Mapping[str, str] = dict(line.split() for line in group.text("memory.stat").splitlines())
        cached = sum(int(words.get(name, 0)) for name in version.statistics)
        yield max(0, int(most) - int(taken) + cached)


def resident(pid: int) -> tuple[int, int]:
    """Bytes that a process has in memory, and the most it ever had; zeros for one that is gone."""
    status = text(Path(f"/proc/{pid}/status"))
    found = dict(re.findall(r"^(VmRSS|VmHWM):\s+(\d+) kB$", status, re.MULTILINE))
    return 1024 * int(found.get("VmRSS", 0)), 1024 * int(found.get("VmHWM", 0))
