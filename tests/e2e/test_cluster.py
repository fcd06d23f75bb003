"""Workers that share nothing but a folder, a PostgreSQL server, submitit or Ray make the records of the local pool."""

from __future__ import annotations

import contextlib
import getpass
import os
import pwd
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mmbench import paths
from mmbench.store import ledger
from mmbench.store.leases import Owner, PostgresLeases, make_leases
from tests.e2e.conftest import Run
from tests.parts import require_modules, require_program
from tests.tiny import TINY, digests

pytestmark = pytest.mark.slow

SWEEP = ("-m", "sweep.name=s", "model=bpr,fusion", "modality=text", *TINY, "budget.trials=4", "budget.seeds=2")


def cells(folder: Path) -> dict[str, str]:
    """Digest of every file of every cell."""
    return {name: mark for name, mark in digests(folder / "multirun" / "s").items() if name.startswith("planted")}


def exactly_once(folder: Path) -> None:
    """Four trials and two final runs of each of the two cells, no training twice."""
    rows = [(row.cell_key, row.unit) for row in ledger.read(folder / "multirun" / "s")]
    assert len(rows) == len(set(rows)) == 2 * (4 + 2)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Records of the local pool."""
    folder = tmp_path_factory.mktemp("alone")
    command = [sys.executable, "-m", "mmbench", *SWEEP]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=300)
    found = cells(folder)
    assert sum(name.endswith(paths.seal_file(folder).name) for name in found) == 2
    exactly_once(folder)
    return found


def together(folder: Path, *words: str, commands: int = 2) -> list[subprocess.CompletedProcess[str]]:
    """Start the same command several times at once, as on machines that share a folder."""
    command = [sys.executable, "-m", "mmbench", *SWEEP, "sweep.workers=1", *words]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "cwd": folder}
    started = [subprocess.Popen(command, **pipes) for _ in range(commands)]  # type: ignore[call-overload]
    ended = []
    for process in started:
        out, err = process.communicate(timeout=300)
        ended.append(subprocess.CompletedProcess(command, process.returncode, out, err))
    return ended


def test_the_same_command_twice_over_a_shared_folder(tmp_path: Path, alone: dict[str, str]) -> None:
    for done in together(tmp_path):
        assert done.returncode == 0, done.stderr
    assert cells(tmp_path) == alone
    exactly_once(tmp_path)


def server_tools() -> Path:
    """Folder of the server's programs, which Debian keeps off the path."""
    require_modules("psycopg")
    folders = [*map(str, sorted(Path("/usr/lib/postgresql").glob("*/bin"))), *os.get_exec_path()]
    return Path(require_program("initdb", path=os.pathsep.join(folders))).resolve().parent


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a throw-away server, run as an ordinary user, which PostgreSQL insists on."""
    tools = server_tools()
    user = getpass.getuser()
    folder = tmp_path_factory.mktemp("pg")
    options: dict[str, Any] = {"check": True, "capture_output": True, "timeout": 120}
    if os.geteuid() == 0:
        user = "nobody"
        entry = pwd.getpwnam(user)
        for parent in (folder, *folder.parents):
            if parent.owner() == "root" and parent != Path("/"):
                parent.chmod(parent.stat().st_mode | 0o011)
        os.chown(folder, entry.pw_uid, entry.pw_gid)
        options |= {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    data = folder / "data"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    subprocess.run([tools / "initdb", "-D", data, "-U", "mmbench", "-A", "trust"], **options, cwd=folder)
    settings = f"-h 127.0.0.1 -p {port} -k {folder}"
    log = folder / "log"
    subprocess.run([tools / "pg_ctl", "-D", data, "-o", settings, "-l", log, "-w", "start"], **options, cwd=folder)
    try:
        yield f"postgresql+psycopg://mmbench@127.0.0.1:{port}/postgres"
    finally:
        subprocess.run([tools / "pg_ctl", "-D", data, "-m", "fast", "-w", "stop"], **options, cwd=folder)


def test_the_same_command_three_times_over_postgresql(tmp_path: Path, alone: dict[str, str], postgres: str) -> None:
    for done in together(tmp_path, f"study.storage={postgres}", commands=3):
        assert done.returncode == 0, done.stderr
    assert cells(tmp_path) == alone
    exactly_once(tmp_path)
    assert not list((tmp_path / "multirun" / "s" / "leases").iterdir())  # where the commands said that they are at work


def rows(leases: PostgresLeases) -> list[Any]:
    """What the server holds of a sweep."""
    return leases._connection.execute("SELECT name FROM mmbench_leases WHERE sweep = %s", (leases.sweep,)).fetchall()


def test_sweeps_of_one_name_do_not_wait_for_each_other(tmp_path: Path, postgres: str) -> None:
    mine, other = tmp_path / "mine" / "study", tmp_path / "other" / "study"
    made = {}
    for folder in (mine, other):
        folder.mkdir(parents=True)
        with contextlib.closing(make_leases(postgres, folder, 60.0)) as made[folder]:
            assert made[folder].living() == []
            assert made[folder].claim("tune-0")
    with contextlib.closing(make_leases(postgres, mine, 60.0)) as again:  # another machine, the same folder
        assert again.living() == ["tune-0"]
        assert not again.claim("tune-0")
    assert all(leases._connection.closed for leases in made.values())  # type: ignore[attr-defined]
    with pytest.raises(FileNotFoundError):
        make_leases(postgres, tmp_path / "gone", 60.0)
    assert not (tmp_path / "gone").exists()


def test_leases_in_postgresql(postgres: str) -> None:
    here, elsewhere = Owner.me(), Owner("elsewhere", 1, None)
    mine, other = PostgresLeases(postgres, "one", owner=here), PostgresLeases(postgres, "one", owner=elsewhere)
    assert mine.claim("tune-0")
    assert not mine.claim("tune-0")
    assert not other.claim("tune-0")
    other.release("tune-0")  # not its own
    assert not other.claim("tune-0")
    mine.release("tune-0")
    assert other.claim("tune-0")
    assert mine.living() == ["tune-0"]
    assert mine.claim("tune-1")
    mine.release("tune-1")
    assert rows(mine) == [("tune-0",)]  # what is given back leaves nothing behind
    assert not mine.beat("tune-0")
    assert other.beat("tune-0")
    assert PostgresLeases(postgres, "two", owner=here).claim("tune-0")  # another sweep


def test_a_silent_or_dead_owner_loses_its_row(postgres: str) -> None:
    elsewhere = Owner("elsewhere", 1, None)
    assert PostgresLeases(postgres, "silent", owner=elsewhere).claim("tune-0")
    assert not PostgresLeases(postgres, "silent", timeout=60.0).claim("tune-0")
    patient = PostgresLeases(postgres, "silent", timeout=0.0)
    assert patient.claim("tune-0")
    gone = replace(Owner.me(), started="another start")
    assert PostgresLeases(postgres, "dead", owner=gone).claim("tune-0")
    assert PostgresLeases(postgres, "dead", timeout=1e9).claim("tune-0")


def test_a_sign_of_life_keeps_the_row(postgres: str) -> None:
    far = PostgresLeases(postgres, "alive", owner=Owner("elsewhere", 1, None))
    assert far.claim("tune-0")
    far._connection.execute("UPDATE mmbench_leases SET beat = now() - interval '1 hour' WHERE sweep = 'alive'")
    assert far.beat("tune-0")
    assert not PostgresLeases(postgres, "alive", timeout=600.0).claim("tune-0")


def test_a_row_from_the_future_counts_from_the_moment_it_is_seen(postgres: str) -> None:
    far = PostgresLeases(postgres, "future", owner=Owner("elsewhere", 1, None))
    assert far.claim("tune-0")
    far._connection.execute("UPDATE mmbench_leases SET beat = now() + interval '1 day' WHERE sweep = 'future'")
    mine = PostgresLeases(postgres, "future", timeout=600.0)
    assert not mine.claim("tune-0")
    far._connection.execute("UPDATE mmbench_leases SET beat = beat - interval '11 minutes' WHERE sweep = 'future'")
    assert mine.claim("tune-0")


def test_a_server_that_does_not_answer_is_one_line(mmbench: Run) -> None:
    require_modules("psycopg")
    done = mmbench(*SWEEP, "study.storage=postgresql+psycopg://mmbench@127.0.0.1:1/x")
    assert done.returncode == 2
    assert "error: study.storage: PostgreSQL does not answer" in done.stderr
    assert "Traceback" not in done.stderr


def test_submitit_on_this_machine(mmbench: Run, tmp_path: Path, alone: dict[str, str]) -> None:
    require_modules("submitit")
    words = ("hydra/launcher=slurm", "hydra.launcher.cluster=local", "hydra.launcher.allocations=2", "sweep.workers=1")
    done = mmbench(*SWEEP, *words)
    assert done.returncode == 0, done.stderr
    assert cells(tmp_path) == alone
    exactly_once(tmp_path)


def test_ray_on_this_machine(mmbench: Run, tmp_path: Path, alone: dict[str, str]) -> None:
    require_modules("ray")
    done = mmbench(*SWEEP, "hydra/launcher=ray", "hydra.launcher.pools=2", "hydra.launcher.num_cpus=1")
    assert done.returncode == 0, done.stderr
    assert cells(tmp_path) == alone
    exactly_once(tmp_path)
