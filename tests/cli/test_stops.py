"""A command that is told to end while its libraries load ends at once, quietly, and with the code of the signal."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from mmbench import cli
from mmbench.cli import stops
from mmbench.cli.stops import stoppable
from mmbench.report import write
from tests.cli.conftest import Command, Here
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
        ("audit", signal.SIGINT, "stopped; the same command goes on from here\n"),
        ("verify", signal.SIGINT, "stopped; the same command begins anew\n"),
        ("audit", signal.SIGTERM, ""),
    ],
)
@pytest.mark.usefixtures("hearing")
def test_a_signal_unwinds_what_is_open(
    name: str, number: signal.Signals, said: str, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    unwound = []

    def stopped(words: object) -> None:
        try:
            os.kill(os.getpid(), number)
        finally:
            unwound.append(words)

    monkeypatch.setattr(cli, "function_of", lambda name: stopped)
    before = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)]
    assert command(name) == (128 + number, "", said)
    assert len(unwound) == 1
    assert [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)] == before


#: A command that has ended, and signals that come while Python ends.
ENDED = """
import atexit, os, signal, sys
from mmbench import cli
def main():
    for number in (signal.SIGINT, signal.SIGTERM):
        atexit.register(os.kill, os.getpid(), number)
    if code := int(sys.argv[1]):
        raise SystemExit(code)
cli.main = main
cli.program()
"""


@pytest.mark.parametrize("code", [0, 1])
def test_what_has_ended_by_itself_stays_so(code: int) -> None:
    program = [sys.executable, "-c", ENDED, str(code)]
    ended = subprocess.run(program, capture_output=True, text=True, timeout=120, preexec_fn=heard)
    assert (ended.returncode, ended.stdout, ended.stderr) == (code, "", "")


class Left(BaseException):
    """Stands for the end of the process, with its code and what it said on standard error."""


@pytest.mark.parametrize("loading", [False, True])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
@pytest.mark.usefixtures("hearing")
def test_a_signal_while_the_report_is_written_says_how_to_go_on(
    number: signal.Signals, loading: bool, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where it comes while a library loads that the report needs: what has trained for days is finished."""
    written = bytearray()

    def leave(code: int) -> None:
        raise Left(code, written.decode())

    def stopped(*given: object, **named: object) -> None:
        if loading:
            importlib.import_module("library_that_is_stopped")
        os.kill(os.getpid(), number)

    (tmp_path / "library_that_is_stopped.py").write_text(f"import os\nos.kill(os.getpid(), {int(number)})\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(Here, "run", lambda pool: 0)
    monkeypatch.setattr(write, "write_report", stopped)
    own = SimpleNamespace(_exit=leave, write=lambda number, line: written.extend(line))
    monkeypatch.setattr(stops, "os", own)
    words = ("model=popularity", "modality=none", "sweep.name=s")
    no_report = f"no report, for lack of time: python -m mmbench report {tmp_path / 's'}\n"
    lines = {signal.SIGINT: "stopped; the same command goes on from here\n", signal.SIGTERM: no_report}
    if loading:
        with pytest.raises(Left) as left:
            command("-m", *words)
        assert left.value.args == (128 + number, lines[number])
        return
    said = command("-m", *words)
    assert said.code == 128 + number
    if number == signal.SIGINT:
        assert said.err == lines[number]
    else:
        assert said.out.endswith(lines[number])
        assert said.err == ""


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    earlier = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with stoppable():
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
            assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
    finally:
        signal.signal(signal.SIGINT, earlier)
