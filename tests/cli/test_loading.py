"""Before the libraries load that take seconds, a command says so on stderr; where none does it says nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

#: Runs commands in a process in which torch cannot be loaded: each ends where it would be.
PROGRAM = """
import contextlib, io, json, sys
from mmbench.cli import main

class Reached(BaseException):
    pass

class Ends:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            raise Reached

sys.meta_path.insert(0, Ends())
told = []
for words in json.load(sys.stdin):
    reached = False
    sys.argv = ["mmbench", *words]
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        try:
            main()
        except SystemExit:
            pass
        except Reached:
            reached = True
    told.append([reached, out.getvalue(), err.getvalue()])
print(json.dumps(told))
"""
WINNER = ["sweep", "--cell", "planted/ease", "--out"]


@pytest.mark.thorough
def test_a_line_is_said_before_what_takes_seconds(tmp_path: Path) -> None:
    (tmp_path / "sweep").mkdir()
    (tmp_path / "shop").mkdir()
    (tmp_path / "items.csv").write_text("item\n")
    heavy = [
        ["-m", "model=popularity", "sweep.name=s"],
        ["model=popularity", "lang=ja"],
        ["plan", "model=popularity", "lang=ja"],
        ["plan", "model=popularity"],
        ["signal", "dataset=planted"],
        ["check", "shop"],
        ["decide", "sweep", "lang=ja"],
        ["audit", "sweep"],
        ["verify", "sweep.zip"],
        ["recommend", *WINNER, "lists.csv"],
        ["export", *WINNER, "vectors"],
    ]
    light = [
        ["--cfg", "job", "model=popularity"],
        ["model=vbpx"],
        ["plan", "model=vbpx"],
        ["signal", "dataset=plantd"],
        ["report", "nowhere"],
        ["prepare", "items.csv", "--out", "made"],
        ["decide", "--template", "default"],
    ]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        input=json.dumps([*heavy, *light]),
        capture_output=True,
        text=True,
        timeout=240,
        check=True,
        cwd=tmp_path,
    )
    told = json.loads(done.stdout)
    for words, said in zip(heavy, told, strict=False):
        line = "mmbench: 読み込み中\n" if "lang=ja" in words else "mmbench: loading\n"
        assert said == [True, "", line], words
    for words, (reached, _, err) in zip(light, told[len(heavy) :], strict=True):
        assert not reached, words
        assert "loading" not in err, words
