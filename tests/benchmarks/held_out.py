"""Ranking users of many held-out items in two trees: ``python -m tests.benchmarks.held_out TREE [MODEL ...]``.

TREE is another checkout, see :mod:`tests.benchmarks.against`. Models that are computed are fitted with their defaults
on MovieLens 1M (17 held-out items of a user in validation, ``dataset=ml1m`` under ``$MMBENCH_DATA``) and rank
validation. Each round runs this file there and here, in processes of their own with the code of their trees. It prints
medians of processor seconds of one thread, and whether both rank alike.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.benchmarks.against import HERE, compared

MODELS = {"popularity": "none", "ease": "none", "addease": "text", "itemknn": "none", "contentknn": "text"}


def measured(name: str, dataset: str) -> dict[str, Any]:
    """Seconds of a ranking of validation once it has been ranked, and what tells its ranks from others."""
    import torch

    from mmbench.cli.compose import compose
    from mmbench.data.recdata import make_recdata
    from mmbench.evaluation.ranking import Evaluator
    from mmbench.training import allocation

    torch.set_num_threads(1)
    allocation.keep_freed_memory()
    words = [f"dataset={dataset}", f"model={name}", f"modality={MODELS[name]}", "tracking=none"]
    task = compose([*words, "training.accelerator=cpu"]).job().task()
    data, evaluator = make_recdata(task.train, task.inputs(0)), Evaluator(task.valid, task.train)
    model = task.recipe(task.default)[0](data)
    model.fit(data)
    evaluator.rank(model)
    began = time.process_time()
    ranking = evaluator.rank(model)
    seconds = time.process_time() - began
    return {"ranking": seconds, "ranks": hashlib.sha256(ranking.pairs.ranks.tobytes()).hexdigest()}


def timed(tree: Path, name: str, dataset: str) -> dict[str, Any]:
    """:func:`measured` with the code of a tree."""
    environment = {**os.environ, "PYTHONPATH": f"{tree / 'src'}{os.pathsep}{HERE}"}
    command = [sys.executable, __file__, "--own", name, "--data", dataset]
    done = subprocess.run(command, cwd=HERE, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{tree}: {done.stderr.strip().splitlines()[-1]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Print one line per model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tree", type=Path, nargs="?")
    parser.add_argument("models", nargs="*", default=list(MODELS))
    parser.add_argument("--data", default="ml1m")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--own", choices=MODELS, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.own:
        print(json.dumps(measured(asked.own, asked.data)))
        return
    for model in asked.models:
        sides: tuple[list[dict[str, Any]], list[dict[str, Any]]] = ([], [])
        for _ in range(asked.rounds):
            for side, tree in zip(sides, (asked.tree.resolve(), HERE), strict=True):
                side.append(timed(tree, model, asked.data))
        ((old, new, ratio),) = compared(*sides, parts=("ranking",))
        alike = len({found["ranks"] for side in sides for found in side}) == 1
        words = "the same ranks" if alike else "OTHER RANKS"
        print(f"{model}: ranking {old:.2f} s before, {new:.2f} s now, {ratio:.2f}x; {words}", flush=True)


if __name__ == "__main__":
    main()
