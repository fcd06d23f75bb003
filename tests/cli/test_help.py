"""``--help`` of every command answers at once, because it loads no library that is slow."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from mmbench.cli import COMMANDS

#: Commands of ``prepare``, whose options are told apart from its own.
OF_PREPARE = ("import", "csv", "mmrec", "planted", "export-mmrec")
SLOW = (
    "torch",
    "pytorch_lightning",
    "torch_geometric",
    "pandas",
    "pyarrow",
    "scipy",
    "optuna",
    "wandb",
    "matplotlib",
    "timm",
    "transformers",
)
PROGRAM = """
import contextlib, io, json, sys
from mmbench.cli import main
asked, slow = json.load(sys.stdin)
told = []
for words in asked:
    before = set(sys.modules)
    sys.argv = ["mmbench", *words]
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        with contextlib.suppress(SystemExit):
            main()
    told.append([out.getvalue(), err.getvalue(), sorted(set(slow) & set(sys.modules) - before)])
print(json.dumps(told))
"""


@pytest.mark.thorough
def test_no_help_loads_a_library_that_is_slow() -> None:
    """One process for all of them, because starting one costs most; a library counts for the first that loads it."""
    asked = [["--help"], ["encode"], ["check"]]  # the last two are short for their help
    asked += [[name, "--help"] for name in COMMANDS]
    asked += [["prepare", name, "--help"] for name in OF_PREPARE]
    given = json.dumps([asked, SLOW])
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], input=given, capture_output=True, text=True, timeout=120, check=True
    )
    told = {" ".join(words): said for words, said in zip(asked, json.loads(done.stdout), strict=True)}
    assert {words: loaded for words, (_, _, loaded) in told.items() if loaded} == {}
    assert {words: err for words, (_, err, _) in told.items() if err} == {}
    for name in set(COMMANDS) - {"run"}:
        assert f"python -m mmbench {name}" in told[f"{name} --help"][0]
    assert told["run --help"] == told["--help"]
    assert "model=" in told["--help"][0]
    assert "amazon-2023-benchmark, table" in told["prepare import --help"][0]
