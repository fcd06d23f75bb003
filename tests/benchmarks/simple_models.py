"""Models that are computed, on Amazon Baby: ``MMBENCH_DATA=FOLDER python -m tests.benchmarks.simple_models``.

Needs the folder ``baby`` of the data (``dataset=baby``) under ``$MMBENCH_DATA``. Every model is fitted three times in a
process of its own, with caches emptied before each, and ranks validation after each; medians of processor seconds of
one thread. Ceilings are measured after the models. The rows go into ``results.json`` and ``docs/performance.md``;
``make bench`` takes them too where the data are.
"""

from __future__ import annotations

import dataclasses
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from mmbench.cli.compose import compose
from mmbench.data.recdata import RecData, make_recdata
from mmbench.evaluation.metrics import per_user
from mmbench.evaluation.ranking import Evaluator
from mmbench.nn import alternating_least_squares, common_users, item_neighbours
from mmbench.nn.memo import Memo
from mmbench.nn.recommender import ClosedForm
from mmbench.training import allocation
from tests.benchmarks.ceilings import CEILINGS
from tests.benchmarks.counts import SIMPLE_COUNTS, SimpleSizes
from tests.benchmarks.work import Ceilings

ROUNDS = 3
CEILING_ROUNDS = 15
now = time.process_time


def data_folder() -> Path | None:
    """The folder of Amazon Baby, where ``$MMBENCH_DATA`` has it."""
    folder = Path(os.environ.get("MMBENCH_DATA", "")) / "baby"
    return folder if "MMBENCH_DATA" in os.environ and folder.is_dir() else None


def forget() -> None:
    """Empty the caches of what follows from data alone."""
    item_neighbours._lists = Memo(item_neighbours.CACHED_LISTS)
    common_users._common = Memo(1)
    alternating_least_squares._factorisations = Memo(1)


def sizes_of(model: ClosedForm, data: RecData, evaluated: torch.Tensor, pairs: int) -> SimpleSizes:
    """What the counts depend on, from the data and from what was fitted."""
    users, items = (
        torch.bincount(data.edge_index[side], minlength=n) for side, n in ((0, data.n_users), (1, data.n_items))
    )
    similarity = getattr(model, "similarity", None)
    additions = 0
    if similarity is not None:
        chosen = torch.isin(data.edge_index[0], evaluated)
        additions = int(similarity.crow_indices().diff()[data.edge_index[1][chosen]].sum())
    dim = getattr(model, "embedding_dim", 0)
    sides = [(lengths**2 * dim, lengths * dim**2, lengths.clamp_max(dim) ** 3 / 3) for lengths in (users, items)]
    return SimpleSizes(
        users=data.n_users,
        items=data.n_items,
        edges=data.edge_index.shape[1],
        products=int(users.square().sum()),
        entries=similarity.values().numel() if similarity is not None else 0,
        additions=additions,
        seen=int(users[evaluated].sum()),
        evaluated=len(evaluated),
        pairs=pairs,
        widths={name: (int(data.present[name].sum()), values.shape[1]) for name, values in data.features.items()},
        dim=dim,
        sweeps=getattr(model, "n_sweeps", 0),
        solved=float(sum(2 * torch.minimum(short, long).sum() + factor.sum() for short, long, factor in sides)),
    )


def measured(name: str, folder: Path) -> dict[str, Any]:
    """Medians of a model's seconds, its score on validation, and its sizes."""
    words = [f"model={name}", "dataset=baby", f"dataset.path={folder}", "modality=text", "tracking=none"]
    task = compose([*words, "training.accelerator=cpu"]).job().task()
    build, _ = task.recipe(task.default)
    data, evaluator = make_recdata(task.train, task.inputs(0)), Evaluator(task.valid, task.train)
    fits, rankings = [], []
    for _ in range(ROUNDS):
        forget()
        began = now()
        model = build(data)
        assert isinstance(model, ClosedForm)
        model.fit(data)
        fitted = now()
        ranking = evaluator.rank(model)
        rankings.append(now() - fitted)
        fits.append(fitted - began)
    sizes = sizes_of(model, data, torch.from_numpy(evaluator.users), len(task.valid))
    return {
        "simple": name,
        "fit": statistics.median(fits),
        "ranking": statistics.median(rankings),
        "ndcg@20": float(per_user(ranking.pairs, "ndcg@20").mean()),
        "sizes": dataclasses.asdict(sizes),
    }


def in_own_process(name: str) -> dict[str, Any]:
    """:func:`measured` in a fresh process."""
    command = [sys.executable, "-m", "tests.benchmarks.simple_models", name]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{name}: {done.stderr.strip().splitlines()[-1]}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def with_floors(said: Mapping[str, Any], ceilings: Ceilings) -> dict[str, Any]:
    """What was timed of a model, with the floors of its fit and its ranking."""
    counts, sizes = SIMPLE_COUNTS[said["simple"]], SimpleSizes(**said["sizes"])
    floors = {"fit": counts.fit(sizes).seconds(ceilings), "ranking": counts.ranking(sizes).seconds(ceilings)}
    return {**said, "floors": floors}


def rate(make: Callable[[], Any]) -> float:
    """Units per second of a ceiling."""
    ceiling, seconds = make(), []
    for _ in range(CEILING_ROUNDS):
        began = now()
        ceiling.run()
        seconds.append(now() - began)
    return float(ceiling.amount / statistics.median(seconds))


def main() -> None:
    """One model as JSON where it is named; otherwise all of them, written into results and page."""
    from tests.benchmarks.performance import PAGE, RESULTS, simple_rows, with_sections

    folder = data_folder()
    if folder is None:
        raise SystemExit("set MMBENCH_DATA to the folder that holds baby/ (dataset=baby); nothing was measured")
    torch.set_num_threads(1)
    allocation.keep_freed_memory()
    if sys.argv[1:]:
        print(json.dumps(measured(sys.argv[1], folder)))
        return
    timed = [in_own_process(name) for name in SIMPLE_COUNTS]
    ceilings = Ceilings(**{name: rate(make) for name, make in CEILINGS.items()})
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    results["simple"] = {said["simple"]: with_floors(said, ceilings) for said in timed}
    RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    PAGE.write_text(with_sections(PAGE.read_text(encoding="utf-8"), results), encoding="utf-8")
    print(simple_rows(results))


if __name__ == "__main__":
    main()
