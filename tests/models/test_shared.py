"""What two models have in common stands in ``mmbench.nn`` or in the contract, and not in both files."""

from __future__ import annotations

import ast
from itertools import combinations
from pathlib import Path

import pytest

from mmbench import models

FILES = {path.stem: path for path in Path(models.__file__).parent.glob("*.py") if path.stem not in ("__init__", "base")}
#: Consecutive statements that make a run of logic.
RUN = 3


def runs(source: str) -> set[tuple[str, ...]]:
    """Runs of statements in every block of every function but constructors, which hand parameters on."""
    found = set()
    for function in ast.walk(ast.parse(source)):
        if not isinstance(function, ast.FunctionDef) or function.name == "__init__":
            continue
        for node in ast.walk(function):
            for statements in (getattr(node, "body", None), getattr(node, "orelse", None)):
                block = [ast.unparse(s) for s in statements] if isinstance(statements, list) else []
                block = [line for line in block if line[0] not in "'\""]  # docstrings
                found |= {tuple(block[i : i + RUN]) for i in range(len(block) - RUN + 1)}
    return found


def test_what_counts_as_shared() -> None:
    body = '"""Doc."""\n    a = 1\n    for b in c:\n        d(b)\n    return a'
    one, other = f"def f(x):\n    {body}\n", f"def g(y):\n    {body.replace('Doc', 'Other')}\n"
    assert len(runs(one) & runs(other)) == 1
    assert not runs(one.replace("d(b)", "e(b)")) & runs(other)
    assert not runs(one.replace("def f(", "def __init__("))


@pytest.mark.parametrize(("first", "second"), combinations(sorted(FILES), 2))
def test_no_two_models_share_logic(first: str, second: str) -> None:
    shared = runs(FILES[first].read_text(encoding="utf-8")) & runs(FILES[second].read_text(encoding="utf-8"))
    assert not shared


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_model_is_short(name: str) -> None:
    assert len(FILES[name].read_text(encoding="utf-8").splitlines()) <= 150
