"""Models and their parts import torch, PyG, the parts and the data contract; no file, no clock, no environment."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

import pytest

from mmbench import paths

ROOT = Path(__file__).resolve().parents[2]
STANDARD = {"__future__", "abc", "collections", "dataclasses", "functools", "hashlib", "itertools", "math", "typing"}
TORCH = {"torch", "torch_geometric"}
#: Of the package: the parts, the contract of a model, the data that a model is given, and what it refuses with.
OWN = {
    "models": ("mmbench.nn.", "mmbench.models.base", "mmbench.data.recdata", "mmbench.messages"),
    "nn": ("mmbench.nn.", "mmbench.data.recdata", "mmbench.messages"),
}
#: What single files need besides: silencing an announcement of torch, and how lists are found for now.
BESIDES = {"nn/graph.py": {"warnings"}, "nn/neighbours.py": {"contextlib", "contextvars"}}
FILES = sorted(file for floor in OWN for file in (paths.PACKAGE / floor).rglob("*.py"))


def imported(source: str) -> set[str]:
    """Full names of the modules that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            found.add(str(node.module))
    return found


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(paths.PACKAGE)))
def test_a_model_imports_nothing_but_torch_and_parts(file: Path) -> None:
    where = file.relative_to(paths.PACKAGE).as_posix()
    allowed = STANDARD | TORCH | BESIDES.get(where, set())
    others = {name for name in imported(file.read_text(encoding="utf-8")) if name.partition(".")[0] not in allowed}
    assert {name for name in others if not name.startswith(OWN[where.partition("/")[0]])} == set()


def test_what_is_imported_is_found_wherever_it_stands() -> None:
    source = "import os.path\nfrom mmbench.nn import graph\ndef f():\n    if True:\n        import numpy as np\n"
    assert imported(source) == {"os.path", "mmbench.nn", "numpy"}


def test_the_contract_forbids_every_other_library_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (contract,) = [c for c in project["tool"]["importlinter"]["contracts"] if c["name"].startswith("Models and their")]
    names = {line.partition(">")[0].partition("[")[0].replace("-", "_") for line in project["project"]["dependencies"]}
    modules = {"hydra_core": "hydra", "pillow": "PIL", "pyyaml": "yaml"}
    assert {modules.get(name, name) for name in names} - TORCH <= set(contract["forbidden_modules"])
