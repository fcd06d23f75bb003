"""Memory and processors are those of the machine and of every control group above the process, whichever is least."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mmbench.scheduling import memory
from mmbench.training.settings import cores_here
from tests.machine import limited_group

MIB = 2**20


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


MACHINE = {"proc/meminfo": f"MemTotal: {900 * 1024} kB\nMemAvailable:     {800 * 1024} kB\n"}


def group(folder: str, most: str, taken: int, cached: int) -> dict[str, str]:
    """Files of a group of version 2, with this much of what it takes in a cache."""
    statistics = f"anon 5\ninactive_file {cached}\nactive_file 0\n"
    return {
        f"{folder}/memory.max": f"{most}\n",
        f"{folder}/memory.current": f"{taken}\n",
        f"{folder}/memory.stat": statistics,
    }


def test_without_a_group_it_is_the_machines(tmp_path: Path) -> None:
    assert memory.available(write(tmp_path, MACHINE)) == 800 * MIB
    assert memory.available(tmp_path / "no linux") is None


@pytest.mark.parametrize(
    ("own", "above", "left"),
    [
        ("max", "max", 800),
        (str(500 * MIB), "max", 500 - 300 + 100),
        ("max", str(450 * MIB), 450 - 350),  # that of the whole allocation
        (str(500 * MIB), str(450 * MIB), 100),
        (str(200 * MIB), "max", 0),
    ],
)
def test_version_2(tmp_path: Path, own: str, above: str, left: int) -> None:
    files = {**MACHINE, "proc/self/cgroup": "0::/slurm/job_7/step_0\n"}
    files |= group("sys/fs/cgroup/slurm/job_7/step_0", own, 300 * MIB, 100 * MIB)
    files |= group("sys/fs/cgroup/slurm/job_7", above, 350 * MIB, 0)
    assert memory.available(write(tmp_path, files)) == left * MIB


@pytest.mark.parametrize("path", ["/docker/4f", "/"])
def test_version_1_also_where_the_path_is_not_seen_from_inside(tmp_path: Path, path: str) -> None:
    top = "sys/fs/cgroup/memory"
    files = {
        **MACHINE,
        "proc/self/cgroup": f"5:cpu,cpuacct:/x\n4:memory:{path}\n0::/\n",
        f"{top}/memory.limit_in_bytes": f"{600 * MIB}\n",
        f"{top}/memory.usage_in_bytes": f"{400 * MIB}\n",
        f"{top}/memory.stat": f"cache 1\ntotal_inactive_file {30 * MIB}\ntotal_active_file {20 * MIB}\n",
    }
    assert memory.available(write(tmp_path, files)) == 250 * MIB


@pytest.mark.parametrize(
    ("groups", "files", "cores"),
    [
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000\n"}, 64),
        ("0::/a/b\n", {"a/b/cpu.max": "400000 100000\n"}, 4),
        ("0::/a/b\n", {"a/b/cpu.max": "400000 100000\n", "a/cpu.max": "150000 50000\n"}, 3),
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000\n", "a/cpu.max": "150000 100000\n"}, 2),
        ("0::/on/the/host\n", {"cpu.max": "1000 100000\n"}, 1),
        ("0::/\n", {"cpu.max": "6500000 100000\n"}, 64),
        ("5:cpu,cpuacct:/x\n0::/\n", {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 64),
        ("5:cpu,cpuacct:/x\n0::/\n", {"cpu/x/cpu.cfs_quota_us": "250000\n", "cpu/x/cpu.cfs_period_us": "50000\n"}, 5),
        ("5:memory:/x\n0::/\n", {"cpu/x/cpu.cfs_quota_us": "250000\n"}, 64),
    ],
)
def test_processors_are_as_many_as_the_groups_allow(
    groups: str, files: dict[str, str], cores: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(64)), raising=False)
    placed = {f"sys/fs/cgroup/{name}": text for name, text in files.items()}
    assert cores_here(write(tmp_path, {"proc/self/cgroup": groups, **placed})) == cores
    assert cores_here(tmp_path / "no linux") == 64


def test_what_a_process_takes() -> None:
    now, most = memory.resident(os.getpid())
    assert MIB < now <= most
    assert memory.resident(2**22 + 1) == (0, 0)


def test_a_real_group_is_seen() -> None:
    """Where this user may make one; version 1 or 2."""
    code = (
        "import os, sys; open(sys.argv[1], 'w').write(str(os.getpid())); "
        "from mmbench.scheduling import memory; print(memory.available())"
    )
    with limited_group(256 * MIB) as processes:
        said = subprocess.run([sys.executable, "-c", code, processes], check=True, capture_output=True, text=True)
        assert 0 < int(said.stdout) <= 256 * MIB
