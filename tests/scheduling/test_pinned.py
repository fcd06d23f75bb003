"""The process that others are forked from: no signal ends it, and none is lost while it starts."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from multiprocessing import connection, process
from pathlib import Path

import pytest

from mmbench.messages import Refusal
from mmbench.scheduling import pinned

PROGRAM = """
import json, os, signal, sys
from multiprocessing import forkserver
from pathlib import Path
from mmbench.scheduling import pinned
from mmbench.scheduling.signals import ENDING

def tell(file):
    heard = [signal.getsignal(number) == signal.SIG_IGN for number in ENDING]
    Path(file).write_text(json.dumps([heard, list(signal.pthread_sigmask(signal.SIG_BLOCK, []))]))

if __name__ == "__main__":
    start = forkserver.ensure_running

    def signalled():
        for number in ENDING:
            os.kill(os.getpid(), number)
        start()

    forkserver.ensure_running = signalled
    came = []
    for number in ENDING:
        signal.signal(number, lambda number, frame: came.append(number))
    context = pinned.server("mmbench.scheduling.pinned")
    assert sorted(came) == sorted(ENDING), came
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == set()
    forkserver.ensure_running = start
    for number in ENDING:
        os.kill(forkserver._forkserver._forkserver_pid, number)
    process = pinned.process(context, "", tell, sys.argv[1], shared=())
    server = forkserver._forkserver._forkserver_pid
    process.start()
    process.join()
    assert process.exitcode == 0
    assert forkserver._forkserver._forkserver_pid == server  # and not one that was started in its place
"""


@pytest.mark.parametrize("excess", [0, 1])
def test_a_folder_for_temporary_files_that_is_too_long_for_a_socket_is_refused(
    excess: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The longest that is allowed holds a socket."""
    monkeypatch.setitem(process.current_process()._config, "tempdir", None)
    most = pinned.SOCKET - len(pinned.ADDED)
    folder = tmp_path / ("t" * (most + excess - len(str(tmp_path)) - 1))
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    if excess:
        with pytest.raises(Refusal, match=f"/t+ has {most + 1} bytes, and a path of at most {most} leaves room for"):
            pinned.check_sockets()
        with pytest.raises(OSError, match="path too long"):
            connection.Listener(family="AF_UNIX")
    else:
        pinned.check_sockets()
        connection.Listener(family="AF_UNIX").close()


def test_a_signal_while_it_starts_is_heard_afterwards_and_does_not_end_it(tmp_path: Path) -> None:
    program, told = tmp_path / "program.py", tmp_path / "told.json"
    program.write_text(PROGRAM)
    done = subprocess.run([sys.executable, str(program), str(told)], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    # The child ignores both until it sets handlers of its own, and hears them then: neither is blocked.
    assert json.loads(told.read_text()) == [[True, True], []]
