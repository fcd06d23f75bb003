"""``mmbench.sweep`` is the command in a process of its own: it prints, returns results, and fails in one line."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

import mmbench
from mmbench import paths
from mmbench.cli import from_python
from tests import extension
from tests.cli.conftest import Command
from tests.signals import heard
from tests.tiny import TINY

WORDS = ("model=popularity,hybridknn", "modality=none,text")


@pytest.mark.thorough
def test_a_sweep_runs_prints_and_returns_its_results(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(extension.install(tmp_path / "site")))  # the command sees what this program sees
    monkeypatch.setenv("FORCE_COLOR", "1")  # as the kernel of a notebook does
    words = [*TINY, f"paths.multirun={tmp_path}", "sweep.workers=1", "model=popularity,mine", "modality=none,text"]
    results = mmbench.sweep(*words)
    printed = capsys.readouterr().out
    assert "3 cells, 6 trainings planned" in printed
    assert "[3/3 cells, 6/6 trainings" in printed
    assert "\x1b" not in printed
    assert "ndcg@20" not in printed  # tables are what the results are for
    assert results.folder.parent == tmp_path
    assert results.table()["status"].eq("done").all()
    assert (paths.report_dir(results.folder) / "report.html").exists()


def test_what_the_command_prints_and_writes_is_handed_on(
    tmp_path: Path, command: Command, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command ran in this process; what says so in its place shows with which words and where it would have run."""
    site = extension.install(tmp_path / "site")
    monkeypatch.syspath_prepend(str(site))
    words = [*TINY, f"paths.multirun={tmp_path}", "sweep.name=s", "model=popularity,mine", "modality=text"]
    assert command("-m", *words).code == 0
    monkeypatch.setenv("FORCE_COLOR", "1")
    shown = ('echo "colour: $FORCE_COLOR"', 'echo "$PYTHONPATH"', 'echo "$@"')
    monkeypatch.setattr(sys, "executable", printing(tmp_path, *shown))
    silent = mmbench.sweep(*words, progress=False)
    assert capsys.readouterr().out == ""
    results = mmbench.sweep(*words)
    colour, places, asked = capsys.readouterr().out.splitlines()
    assert colour == "colour: "
    assert str(site) in places.split(os.pathsep)
    assert asked.startswith("-m mmbench -m report.printed=false ")
    assert results.folder == silent.folder == tmp_path / "s"
    assert set(results.table()["status"]) == {"done"}


def printing(folder: Path, *lines: str) -> str:
    """What stands in for Python where nothing is to be run: the same command again takes seconds to say so."""
    program = folder / "python"
    program.write_text("\n".join(["#!/bin/sh", *lines, ""]))
    program.chmod(0o755)
    return str(program)


@pytest.mark.parametrize(
    "wrong",
    [
        "model=vpbr",
        pytest.param("study.storage=nowhere", marks=pytest.mark.thorough),
        *(
            pytest.param(word, marks=pytest.mark.slow)
            for word in ("epochs=5", "statistics.delta=-1", "+dataset.path=x")
        ),
    ],
)
def test_errors_are_those_of_the_command(wrong: str, command: Command, tmp_path: Path) -> None:
    """Those that this process sees, and those that only the command sees."""
    words = [*TINY, f"paths.multirun={tmp_path}", "sweep.name=s", *WORDS]
    asked = [word for word in words if word.partition("=")[0] != wrong.partition("=")[0]] + [wrong]
    with pytest.raises(mmbench.Refusal) as refused:
        mmbench.sweep(*asked, progress=False)
    said = command("-m", *asked)
    assert (said.code, said.err) == (2, f"error: {refused.value}\n")


def test_flags_of_a_terminal_are_refused() -> None:
    for flag in ("--help", "--cfg"):
        with pytest.raises(mmbench.Refusal, match=f"mmbench.sweep takes words key=value and --config-dir, not {flag}"):
            mmbench.sweep(flag, "model=bpr")


def test_a_command_that_ends_without_a_word_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "executable", printing(tmp_path, "echo the last words", "exit 3"))
    with pytest.raises(mmbench.Refusal, match="the command ended with code 3: the last words"):
        mmbench.sweep(*TINY, "model=bpr", progress=False)
    printing(tmp_path, "echo 'Traceback (most recent call last):'", "echo KeyError: 0", f"exit {os.EX_SOFTWARE}")
    with pytest.raises(mmbench.Refusal, match=r"^the command ended with code 70: KeyError: 0$"):
        mmbench.sweep(*TINY, "model=bpr", progress=False)
    printing(tmp_path, f"exit {from_python.INTERRUPTED}")
    with pytest.raises(KeyboardInterrupt):
        mmbench.sweep(*TINY, "model=bpr", progress=False)


@pytest.mark.parametrize("ignored", [False, True])
def test_a_command_hears_that_its_program_was_interrupted(ignored: bool) -> None:
    """What ignores Ctrl-C, as in the background of a shell, hands that down to the command."""
    earlier = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.SIG_IGN) if ignored else heard()
    try:
        asleep = [sys.executable, "-S", "-c", "import time; print(flush=True); time.sleep(60)"]
        with contextlib.suppress(SystemExit), from_python._started(asleep, dict(os.environ)) as process:
            assert process.stdout is not None
            process.stdout.readline()
            raise SystemExit
    finally:
        signal.signal(signal.SIGINT, earlier)
    assert process.returncode == -(signal.SIGTERM if ignored else signal.SIGINT)


def test_a_pipe_of_the_program_that_nobody_reads_is_no_error_of_the_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", printing(tmp_path, "echo a line"))
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as unread, monkeypatch.context() as here:
        here.setattr(sys, "stdout", unread)
        with pytest.raises(BrokenPipeError):
            mmbench.sweep(*TINY, f"paths.multirun={tmp_path}", "model=bpr")
        os.dup2(os.open(os.devnull, os.O_WRONLY), writing)


@pytest.mark.slow
def test_a_script_without_a_guard_that_is_interrupted_stops_the_command(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    words = [*TINY, f"paths.multirun={tmp_path}", "sweep.name=s", "model=bpr", "modality=none", "budget.trials=500"]
    script.write_text(
        textwrap.dedent(
            f"""
            import mmbench
            try:
                mmbench.sweep(*{words!r})
            except KeyboardInterrupt:
                print("stopped")
            """
        )
    )
    with subprocess.Popen(
        [sys.executable, script], stdout=subprocess.PIPE, text=True, cwd=tmp_path, preexec_fn=heard
    ) as process:
        ledger = paths.ledger_file(tmp_path / "s")
        while not ledger.exists() or len(ledger.read_text().splitlines()) < 3:
            assert process.poll() is None
            time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=120)
    assert out.splitlines()[-1] == "stopped"
    n = len(ledger.read_text().splitlines())
    time.sleep(3)
    assert len(ledger.read_text().splitlines()) == n < 500
