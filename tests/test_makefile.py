"""``make`` on machines with several Pythons: one that is too old makes nothing, and a newer one takes its place."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.parts import require_program

ROOT = Path(__file__).resolve().parents[1]
#: A Python that says it has a version, makes an environment that holds itself, and installs nothing.
PYTHON = """#!/bin/sh
case "$1" in
-c) exec {real} -I -S -c 'import sys; sys.version_info = {version}; exec(sys.argv[2])' "$@" ;;
esac
echo "{version} $*" >> calls
if [ "$2" = venv ]; then
    [ "$3" != --clear ] || rm -rf .venv
    mkdir -p .venv/bin
    [ -e .venv/bin/python ] || cp "$0" .venv/bin/python
fi
"""


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """What of a clone the set-up reads, with ``python3`` and ``python3.12`` beside it."""
    require_program("make")
    for name in ("Makefile", "pyproject.toml"):
        shutil.copyfile(ROOT / name, tmp_path / name)
    for name, version in {"python3": (3, 10, 4), "python3.12": (3, 12, 1)}.items():
        (tmp_path / name).write_text(PYTHON.format(real=sys.executable, version=version))
        (tmp_path / name).chmod(0o755)
    return tmp_path


def set_up(clone: Path, name: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["make", "setup", f"PYTHON={clone / name}"], cwd=clone, capture_output=True, text=True)


def calls(clone: Path) -> list[str]:
    """Commands of the Pythons since the last call, each with its version."""
    file = clone / "calls"
    lines = file.read_text().splitlines() if file.exists() else []
    file.unlink(missing_ok=True)
    return lines


def test_an_old_python_makes_no_environment_and_is_told_how_to_name_another(clone: Path) -> None:
    done = set_up(clone, "python3")
    assert done.returncode == 2
    assert done.stderr.splitlines()[0] == (
        f"error: {clone}/python3 is Python 3.10 and mmbench needs 3.11 or newer; name one that you have, for example: "
        "make setup PYTHON=python3.12"
    )
    assert not (clone / ".venv").exists()


def test_an_environment_of_another_python_is_made_anew_and_one_of_this_is_kept(clone: Path) -> None:
    subprocess.run([clone / "python3", "-m", "venv", ".venv"], cwd=clone, check=True)
    calls(clone)
    install = "(3, 12, 1) -m pip install --quiet --editable .[dev]"
    for options in ("--clear ", ""):
        assert set_up(clone, "python3.12").returncode == 0
        assert calls(clone) == [f"(3, 12, 1) -m venv {options}.venv", install]
        (clone / ".venv" / ".installed").unlink()  # as if pip had been stopped
