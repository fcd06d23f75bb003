"""A command that is told to end while its libraries load ends at once, quietly, and with the code of the signal."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mmbench import cli
from mmbench.cli.stops import stoppable
from tests.cli.conftest import Command
from tests.signals import heard

#: The command line below a library that catches whatever is raised while it loads, as mpmath does.
PROGRAM = """
import os, runpy, sys
number, library, *sys.argv[1:] = sys.argv[1:]
class Guarded:
    def find_spec(self, name, path=None, target=None):
        if name == library:
            sys.meta_path.remove(self)
            try:
                os.kill(os.getpid(), int(number))
            except BaseException:
                pass
sys.meta_path.insert(0, Guarded())
runpy.run_module("mmbench", run_name="__main__", alter_sys=True)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
@pytest.mark.parametrize("library", ["mmbench.messages", "pandas"])
def test_a_signal_while_libraries_load(library: str, number: signal.Signals, tmp_path: Path) -> None:
    log, out = tmp_path / "log.csv", tmp_path / "out"
    log.write_text("user,item\n" + "".join(f"u{user},{item}\n" for user in range(8) for item in "abc"))
    words = ["prepare", str(log), "--out", str(out)]
    program = [sys.executable, "-c", PROGRAM, str(int(number)), library, *words]
    ended = subprocess.run(program, capture_output=True, text=True, timeout=120, preexec_fn=heard)
    assert (ended.returncode, ended.stdout, ended.stderr) == (128 + number, "", "")
    assert not out.exists()


@pytest.mark.parametrize(
    ("name", "number", "said"),
    [
        ("encode", signal.SIGINT, "stopped; the same command goes on from here\n"),
        ("audit", signal.SIGINT, "stopped; the same command begins anew\n"),
        ("audit", signal.SIGTERM, ""),
    ],
)
def test_a_signal_unwinds_what_is_open(
    name: str,
    number: signal.Signals,
    said: str,
    command: Command,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    unwound = []

    def stopped(words: object) -> None:
        try:
            os.kill(os.getpid(), number)
        finally:
            unwound.append(words)

    monkeypatch.setattr(cli, "function_of", lambda name: stopped)
    earlier = signal.getsignal(signal.SIGINT)
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, earlier))
    heard()
    before = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)]
    assert command(name) == (128 + number, "", said)
    assert len(unwound) == 1
    assert [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    earlier = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with stoppable():
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
            assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
    finally:
        signal.signal(signal.SIGINT, earlier)
