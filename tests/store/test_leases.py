"""Who may run a training: one owner at a time, and never a dead one."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from multiprocessing.synchronize import Barrier
from pathlib import Path
from types import SimpleNamespace

import pytest

from mmbench import paths
from mmbench.messages import Refusal
from mmbench.store import leases
from mmbench.store.leases import (
    FileLeases,
    LeaseLost,
    Owner,
    PostgresLeases,
    at_work,
    check_storage,
    holding,
    identity,
    is_stopped,
    make_leases,
    present,
    process_start,
)
from tests.parts import require_modules


def dead_owner() -> Owner:
    """A process of this machine that has ended."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        owner = replace(Owner.me(), pid=process.pid, started=process_start(process.pid))
        assert owner.started is not None
    return owner


def test_a_lease_has_one_owner_until_it_is_given_back(tmp_path: Path) -> None:
    mine, other = FileLeases(tmp_path), FileLeases(tmp_path, owner=replace(Owner.me(), host="elsewhere"))
    assert mine.claim("tune-0")
    assert not mine.claim("tune-0")
    assert not other.claim("tune-0")
    assert other.claim("tune-1")
    mine.release("tune-0")
    assert other.claim("tune-0")


def test_only_the_owner_can_give_a_lease_back(tmp_path: Path) -> None:
    mine, other = FileLeases(tmp_path), FileLeases(tmp_path, owner=replace(Owner.me(), host="elsewhere"))
    assert mine.claim("tune-0")
    other.release("tune-0")
    assert not other.claim("tune-0")


def test_a_dead_process_of_this_machine_loses_its_lease_at_once(tmp_path: Path) -> None:
    assert FileLeases(tmp_path, owner=dead_owner()).claim("tune-0")
    mine = FileLeases(tmp_path, timeout=1e9)
    assert mine.living() == []
    assert mine.claim("tune-0")
    assert not mine.claim("tune-0")
    assert mine.living() == ["tune-0"]
    assert [p.name for p in tmp_path.iterdir()] == ["tune-0.lease"]


def test_a_process_number_that_was_given_away_is_not_the_old_owner(tmp_path: Path) -> None:
    reused = replace(Owner.me(), started="1")
    assert FileLeases(tmp_path, owner=reused).claim("tune-0")
    assert FileLeases(tmp_path).claim("tune-0")


def test_an_owner_on_another_machine_is_dead_after_its_silence(tmp_path: Path) -> None:
    far = FileLeases(tmp_path, owner=Owner("elsewhere", 1, "1"))
    assert far.claim("tune-0")
    mine = FileLeases(tmp_path, timeout=60.0)
    assert not mine.claim("tune-0")
    long_ago = time.time() - 61
    os.utime(tmp_path / "tune-0.lease", (long_ago, long_ago))
    far.beat("tune-0")
    assert not mine.claim("tune-0")
    os.utime(tmp_path / "tune-0.lease", (long_ago, long_ago))
    assert mine.claim("tune-0")


@pytest.mark.parametrize("place", ["host", "boot", "namespace"])
def test_the_number_of_a_process_says_nothing_about_another_machine_boot_or_container(
    place: str, tmp_path: Path
) -> None:
    """Containers share a host name, and a number that is free here is a living worker there."""
    there = FileLeases(tmp_path, owner=replace(dead_owner(), **{place: "other"}))
    assert there.claim("tune-0")
    assert not FileLeases(tmp_path).claim("tune-0")
    os.utime(tmp_path / "tune-0.lease", (1, 1))
    assert FileLeases(tmp_path).claim("tune-0")


#: Takes a lease, says so, and holds it until it is told to end.
HOLD = (
    "import sys, pathlib; from mmbench.store.leases import FileLeases; "
    "print(FileLeases(pathlib.Path(sys.argv[1])).claim(sys.argv[2]), flush=True); sys.stdin.read()"
)


@pytest.mark.parametrize("mounted", [["--mount-proc"], []], ids=["own /proc", "/proc of the host"])
def test_workers_in_another_pid_namespace_are_alive(mounted: list[str], tmp_path: Path) -> None:
    unshare = ["unshare", "--pid", "--fork", "--kill-child", *mounted]
    if shutil.which("unshare") is None or subprocess.run([*unshare, "true"], capture_output=True).returncode:
        pytest.skip("this system does not permit new PID namespaces")
    assert FileLeases(tmp_path).claim("here")
    for name, taken in (("there", "True"), ("here", "False")):
        command = [*unshare, sys.executable, "-c", HOLD, str(tmp_path), name]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline().strip() == taken
            assert not FileLeases(tmp_path).claim(name)
            assert name in FileLeases(tmp_path).living()
            process.stdin.close()  # type: ignore[union-attr]


@pytest.mark.parametrize("days", [-1, 1])
def test_no_clock_of_a_machine_decides(days: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    far = FileLeases(tmp_path, owner=Owner("elsewhere", 1, "1"))
    assert far.claim("silent")
    assert far.claim("alive")
    os.utime(tmp_path / "silent.lease", (1, 1))
    clock = time.time
    monkeypatch.setattr(time, "time", lambda: clock() + 86_400 * days)
    mine = FileLeases(tmp_path, timeout=60.0)
    assert mine.claim("silent")
    assert not mine.claim("alive")


def test_a_lease_from_the_future_counts_from_the_moment_it_is_seen(tmp_path: Path) -> None:
    """As a file server leaves one whose clock is set back; its owner may be alive, or dead."""
    far = FileLeases(tmp_path, owner=Owner("elsewhere", 1, "1"))
    assert far.claim("tune-0")
    file = tmp_path / "tune-0.lease"
    tomorrow = time.time() + 86_400
    os.utime(file, (tomorrow, tomorrow))
    mine = FileLeases(tmp_path, timeout=60.0)
    assert not mine.claim("tune-0")
    assert file.stat().st_mtime < tomorrow - 80_000
    minute = file.stat().st_mtime - 61
    os.utime(file, (minute, minute))
    assert mine.claim("tune-0")


def test_a_stopped_worker_is_overtaken_after_its_silence_and_does_no_harm_later(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path), "tune-0"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == "True"
        assert not is_stopped(process.pid)
        process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
        assert is_stopped(process.pid)
        stopped = replace(Owner.me(), pid=process.pid, started=process_start(process.pid))
        mine, other = FileLeases(tmp_path, timeout=60.0), FileLeases(tmp_path, owner=stopped)
        assert not mine.claim("tune-0")
        os.utime(tmp_path / "tune-0.lease", (1, 1))
        assert mine.claim("tune-0")
        os.utime(tmp_path / "tune-0.lease", (1, 1))
        assert not other.beat("tune-0")
        other.release("tune-0")
        assert (tmp_path / "tune-0.lease").stat().st_mtime == 1
        process.kill()


def test_who_lost_a_lease_learns_of_it_before_writing(tmp_path: Path) -> None:
    mine, other = FileLeases(tmp_path), FileLeases(tmp_path, owner=Owner("elsewhere", 1, "1"))
    assert mine.claim("tune-0")
    with holding(mine, "tune-0") as confirm:
        confirm()
        os.utime(tmp_path / "tune-0.lease", (1, 1))
        assert other.claim("tune-0")
        with pytest.raises(LeaseLost):
            confirm()
    assert other.beat("tune-0")


def test_signs_of_life_fit_a_short_timeout(tmp_path: Path) -> None:
    mine = FileLeases(tmp_path, timeout=2.0)  # four signs in it, so that a busy machine may miss some
    assert mine.claim("tune-0")
    with holding(mine, "tune-0"):
        time.sleep(2.5)
        assert FileLeases(tmp_path, timeout=2.0).living() == ["tune-0"]
    assert mine.living() == []


def test_a_lease_that_its_maker_has_not_written_yet_is_alive(tmp_path: Path) -> None:
    (tmp_path / "tune-0.lease").touch()
    assert not FileLeases(tmp_path).claim("tune-0")


def test_holding_gives_a_sign_of_life_and_gives_back_whatever_happens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "BEAT", 0.01)
    mine = FileLeases(tmp_path)
    assert mine.claim("tune-0")
    file = tmp_path / "tune-0.lease"
    os.utime(file, (1, 1))
    seen = []

    def hold_until_a_sign_of_life() -> None:
        with holding(mine, "tune-0"):
            for _ in range(500):
                if file.stat().st_mtime > 1:
                    break
                time.sleep(0.01)
            seen.append(file.stat().st_mtime)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        hold_until_a_sign_of_life()
    assert seen[0] > 1
    assert not file.exists()


def _claim(folder: str, n: int, out: str, all_tried: Barrier) -> None:
    mine = FileLeases(Path(folder))
    won = [k for k in range(n) if mine.claim(f"tune-{k}")]
    Path(out).write_text(json.dumps(won))
    all_tried.wait()  # a lease of a worker that ended is free again


def test_of_many_workers_exactly_one_gets_each_lease(tmp_path: Path) -> None:
    folder = tmp_path / "leases"
    # Every lease belongs to a dead process first, so that the workers race for the grave too.
    old = FileLeases(folder, owner=dead_owner())
    assert all(old.claim(f"tune-{k}") for k in range(40))
    context = multiprocessing.get_context("fork")
    outs = [tmp_path / f"{w}.json" for w in range(4)]
    all_tried = context.Barrier(len(outs), timeout=60)
    workers = [context.Process(target=_claim, args=(str(folder), 40, str(out), all_tried)) for out in outs]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    won = [k for out in outs for k in json.loads(out.read_text())]
    assert sorted(won) == list(range(40))


def test_a_slow_reaper_does_not_bury_the_next_owner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It saw the dead owner, and another took over before it went on."""
    assert FileLeases(tmp_path, owner=dead_owner()).claim("tune-0")
    quick, slow = FileLeases(tmp_path), FileLeases(tmp_path)
    monkeypatch.setattr(slow, "_is_dead", lambda file: quick.claim("tune-0"))
    assert not slow.claim("tune-0")
    assert [p.name for p in tmp_path.iterdir()] == ["tune-0.lease"]


def test_a_reaper_that_dies_at_the_grave_blocks_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert FileLeases(tmp_path, owner=dead_owner()).claim("tune-0")
    dies = FileLeases(tmp_path, owner=dead_owner())
    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", lambda a, b: sys.exit("killed"))
        patched.setattr(Path, "unlink", lambda path, missing_ok=False: None)
        with pytest.raises(SystemExit):
            dies.claim("tune-0")
    assert list(tmp_path.glob("*.dead"))
    assert FileLeases(tmp_path).claim("tune-0")
    assert not list(tmp_path.glob("*.dead"))


def test_storage_is_named_or_refused(tmp_path: Path) -> None:
    made = make_leases("files", tmp_path, 7.0)
    assert isinstance(made, FileLeases)
    assert made.timeout == 7.0
    with pytest.raises(ValueError, match=r"study.storage=redis://x is unknown; write files or postgresql\+psycopg://"):
        make_leases("redis://x", tmp_path, 7.0)


@pytest.mark.parametrize(
    "address",
    [
        "//me:secret@host/leases",
        "//me:se#secret@host/leases",
        "//me:se?secret@host/leases",
        "//me:[secret@host/leases",
        "//me:secret@host@host/leases",
        "//host/leases?user=me&password=secret",
        "//host/leases?user=me&sslpassword=secret",
    ],
)
def test_a_password_does_not_get_into_records(address: str, tmp_path: Path) -> None:
    """Where the address ends in it is for libpq to say."""
    require_modules("psycopg")
    with pytest.raises(
        ValueError,
        match=r"^study\.storage holds a password, .* PGPASSWORD, ~/\.pgpass or, with PGSERVICE, a service file",
    ) as no:
        make_leases(f"postgresql+psycopg:{address}", tmp_path, 7.0)
    assert "secret" not in str(no.value)


@pytest.mark.parametrize(
    "address",
    [
        "//[::1/leases",
        "//me:secret%@host/leases",
        "//me:sec secret@host/leases",
        "//host/x?unknown=1",
        "",
        "2://me@x/y",
    ],
)
def test_what_libpq_cannot_read_is_no_address(address: str, tmp_path: Path) -> None:
    require_modules("psycopg")
    with pytest.raises(
        Refusal, match=r"^study\.storage is no address that libpq can read; write postgresql\+psycopg://"
    ) as no:
        make_leases(f"postgresql+psycopg{':' * (not address.startswith('2'))}{address}", tmp_path, 7.0)
    assert "secret" not in str(no.value)


@pytest.mark.parametrize(
    "address", ["//me@host/leases", "//me@one,two:5432/leases", "//%2Frun%2Fpg/leases", "///leases"]
)
def test_addresses_without_a_password_are_taken(address: str) -> None:
    require_modules("psycopg")
    check_storage(f"postgresql+psycopg:{address}")


def test_the_identity_of_a_sweep_is_written_once(tmp_path: Path) -> None:
    """Also into the folder of a sweep that an earlier version began, and again where a disk has lost what it says."""
    with ThreadPoolExecutor(4) as pool:
        told = set(pool.map(identity, [tmp_path] * 8))
    assert len(told) == 1
    assert {len(name) for name in told} == {32}
    paths.identity_file(tmp_path).write_text("")
    assert identity(tmp_path) not in {"", *told}
    with pytest.raises(FileNotFoundError):
        identity(tmp_path / "gone")
    assert not (tmp_path / "gone").exists()


def test_commands_that_would_share_no_lease_do_not_work_on_a_sweep_together(tmp_path: Path) -> None:
    """With leases in other places they would do every training twice."""
    elsewhere = FileLeases(tmp_path / "server")  # stands for a server of leases
    here = make_leases("files", tmp_path, 60.0)
    with present("postgresql+psycopg://me@host/leases", tmp_path, 60.0):
        assert at_work(elsewhere, tmp_path)
        with present("postgresql+psycopg://me@host/leases", tmp_path, 60.0):
            pass
        with (
            pytest.raises(ValueError, match=r"^study\.storage=files: another command is at work on this sweep and has"),
            present("files", tmp_path, 60.0),
        ):
            pass
    assert not at_work(elsewhere, tmp_path)
    assert here.claim("command-of")
    assert here.claim("command-5d41402abc4b2a76b9719d911017c592")  # of an earlier version
    with present("files", tmp_path, 60.0):
        assert len(here.living()) == 3
    assert at_work(elsewhere, tmp_path)


def test_postgresql_without_its_driver_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(ValueError, match=r"psycopg is missing: pip install 'mmbench\[postgres\]'"):
        make_leases("postgresql+psycopg://localhost/x", tmp_path, 7.0)


def test_a_connection_that_was_lost_is_made_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that is started anew, or a firewall that forgets, ends no worker; one that is away is told."""

    class Failed(Exception): ...

    class Lost(Failed): ...

    class Connection:
        def __init__(self, *address: str, autocommit: bool) -> None:
            if away:
                raise Lost("connection refused\nis the server running?")
            self.lost = False
            made.append(self)

        def execute(self, command: str, values: tuple[object, ...] = ()) -> SimpleNamespace:
            if self.lost:
                raise Lost("the connection is closed")
            return SimpleNamespace(description="one column", fetchall=lambda: [(1,)])

        def close(self) -> None:
            self.lost = True

    errors = SimpleNamespace(UniqueViolation=type("UniqueViolation", (Failed,), {}))
    server = SimpleNamespace(Error=Failed, OperationalError=Lost, errors=errors, connect=Connection)
    monkeypatch.setitem(sys.modules, "psycopg", server)
    made: list[Connection] = []
    away = False
    mine = PostgresLeases("postgresql+psycopg://host/leases", "a sweep")
    assert mine.beat("tune-0")
    made[0].close()
    assert mine.claim("tune-1")
    assert mine.beat("tune-0")
    assert len(made) == 2
    made[1].close()
    away = True
    with pytest.raises(OSError, match=r"^PostgreSQL does not answer: connection refused$"):
        mine.beat("tune-0")
    away = False
    assert mine.beat("tune-0")
    assert len(made) == 3
