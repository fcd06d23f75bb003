"""The same training in two trees of the code, in turn: ``python -m tests.benchmarks.against TREE MODEL [MODEL ...]``.

TREE is another checkout, made for example by ``git worktree add ../before 22402df`` and ``make -C ../before setup``.
Each round runs :mod:`tests.benchmarks.trial` there and here, each in a process of its own with the code of its tree. It
prints medians of an epoch and of the ranking of validation, in processor seconds, and how much faster this one is.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parents[2]
PARTS = ("epoch", "evaluation")


def timed(tree: Path, model: str, n_items: str) -> dict[str, float]:
    """Seconds of a trial with the code of a tree."""
    environment = {**os.environ, "PYTHONPATH": f"{tree / 'src'}{os.pathsep}{tree}"}
    own = tree / ".venv" / "bin" / "python"
    command = [str(own) if own.exists() else sys.executable, "-m", "tests.benchmarks.trial", model, n_items]
    done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{tree}: {done.stderr.strip().splitlines()[-1]}")
    found = json.loads(done.stdout.splitlines()[-1])
    return {part: found[part] for part in PARTS}


def compared(
    before: Sequence[Mapping[str, Any]], after: Sequence[Mapping[str, Any]], parts: Sequence[str] = PARTS
) -> list[tuple[float, float, float]]:
    """Median before, median after and their ratio, for each part."""
    medians = [[statistics.median(found[part] for found in side) for side in (before, after)] for part in parts]
    return [(old, new, old / new) for old, new in medians]


def main() -> None:
    """Print one line per model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tree", type=Path)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--items", default="7050")
    asked = parser.parse_args()
    for model in asked.models:
        sides: tuple[list[dict[str, float]], list[dict[str, float]]] = ([], [])
        for _ in range(asked.rounds):
            for side, tree in zip(sides, (asked.tree.resolve(), HERE), strict=True):
                side.append(timed(tree, model, asked.items))
        said = zip(PARTS, compared(*sides), strict=True)
        told = "; ".join(
            f"{part} {old:.2f} s before, {new:.2f} s now, {ratio:.2f}x" for part, (old, new, ratio) in said
        )
        print(f"{model}: {told}", flush=True)


if __name__ == "__main__":
    main()
