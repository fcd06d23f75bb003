"""What the README tells a user to write and to type, written and typed."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from mmbench import paths
from mmbench.report.reading import read_sweep
from mmbench.store import records
from mmbench.store.schema import Cell

README = Path(__file__).resolve().parents[2] / "README.md"


@pytest.mark.slow
def test_a_model_of_ones_own_in_ten_lines(tmp_path: Path) -> None:
    _, _, told = README.read_text(encoding="utf-8").partition("A model of your own needs no fork")
    code, conf, command = re.findall(r"^```\w*\n(.*?)^```$", told, flags=re.MULTILINE | re.DOTALL)[:3]
    assert sum(bool(line.strip()) for block in (code, conf, command) for line in block.splitlines()) <= 10
    for block in (code, conf):
        (name,) = re.findall(r"^# (my_[\w/.]+)", block, flags=re.MULTILINE)
        file = tmp_path / name
        file.parent.mkdir(parents=True)
        file.write_text(block, encoding="utf-8")

    setting, python, *words = shlex.split(command)
    name, _, folder = setting.partition("=")
    assert (name, python) == ("PYTHONPATH", "python")
    here = os.environ.get(name)  # where the package is not installed it is found through this
    environment = {**os.environ, "OMP_NUM_THREADS": "1", name: os.pathsep.join(filter(None, [folder, here]))}
    done = subprocess.run(
        [sys.executable, *words], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
    )

    assert done.returncode == 0, done.stderr
    (sweep,) = [path for path in (tmp_path / "multirun").iterdir() if path.is_dir()]
    ((_, model, _), cell), *others = read_sweep(sweep).cells.items()
    assert (model, cell.status, others) == ("mine", "done", [])
    described = records.read(paths.cell_file(cell.folder), Cell).config["model"]
    assert described["_target_"] == "mine.Mine"
    assert described["embedding_dim"] == 32
