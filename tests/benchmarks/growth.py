"""What grows how with the number of users: ``python -m tests.benchmarks.growth [SCALE ...]`` writes the page's table.

A log of Baby's shape is drawn with 1, 10 or 100 times as many users and the same items: Baby's interactions per user
with a long tail, items by popularity alone. Nothing is to be learnt from it, so only times and sizes count, and it is
drawn in a few arrays, where a planted world draws a number for each pair of user and item. Features are random and
narrow. Everything after the log is the real path: configuration, Lightning, exact negatives, ranking of validation.

Each model and scale is measured in a process of its own, which may take :data:`MOST_BYTES`. Seconds are processor
seconds of one thread. An epoch is the median step, after warm-ups, times its number of steps, plus what happens once
per epoch.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mmbench.cli.compose import compose
from mmbench.data import planted, splits
from mmbench.data.features import ItemFeature
from mmbench.data.interactions import Interactions
from mmbench.data.recdata import make_recdata
from mmbench.data.splits import Split
from mmbench.evaluation.ranking import Evaluator
from mmbench.training import allocation, loop
from mmbench.training.fit import fit
from tests.benchmarks.apart import apart
from tests.benchmarks.performance import PAGE, table, with_section
from tests.benchmarks.subjects import BABY_ITEMS, baby_words
from tests.benchmarks.trial import Clock, forget_peak, now, parts, peak_mb

MODELS = ("lightgcn", "vbpr")
SCALES = (1, 10, 100)
BABY_USERS, BABY_INTERACTIONS = 19_445, 160_792
WIDTHS = {"image": 128, "text": 64}
#: Steps of an epoch that are run, where it has more; two epochs are run.
STEPS = 51
#: Words of a cell on Baby's planted world that are others here.
OTHERWISE = ("dataset", "dataset.world_options.n_items", "budget.batches_per_epoch")
#: Users of the sample of validation.
SAMPLE = 20_000
MOST_BYTES = 16 << 30


def log_of(scale: int) -> Split:
    """Train, validation and test of a log with ``scale`` times Baby's users and interactions."""
    rng = np.random.default_rng([29, scale])
    n_users = BABY_USERS * scale
    counts = planted._long_tailed(BABY_INTERACTIONS * scale, n_users, BABY_ITEMS, 0)
    popularity = np.cumsum(rng.lognormal(size=BABY_ITEMS))
    drawn = np.searchsorted(popularity / popularity[-1], rng.random(int(counts.sum()), dtype=np.float32))
    pairs = np.unique(np.repeat(np.arange(n_users), counts) * BABY_ITEMS + np.minimum(drawn, BABY_ITEMS - 1))
    users, items = pairs // BABY_ITEMS, pairs % BABY_ITEMS
    place = splits._place_within(users, rng.random(len(users), dtype=np.float32))
    n = np.bincount(users, minlength=n_users)
    held = np.where(n < 3, 0, np.where(n < 10, 2, n // 5))[users]

    def part(rows: NDArray[np.bool_]) -> Interactions:
        return Interactions(users[rows], items[rows], n_users, BABY_ITEMS)

    test = place < held // 2
    return Split(part(place >= held), part((place < held) & ~test), part(test), "paper")


def features_of() -> dict[str, ItemFeature]:
    """Random features of :data:`WIDTHS` numbers."""
    rng, everyone = np.random.default_rng(0), np.ones(BABY_ITEMS, bool)
    return {
        name: ItemFeature(rng.standard_normal((BABY_ITEMS, width), dtype=np.float32), everyone)
        for name, width in WIDTHS.items()
    }


def measured(model: str, scale: int) -> dict[str, Any]:
    """Seconds and memory of a training of two epochs."""
    words = [word for word in baby_words(model) if word.partition("=")[0] not in OTHERWISE]
    task = compose([*words, f"budget.batches_per_epoch={STEPS}"]).job().task()
    build, settings = task.recipe(task.default)
    # A training on the small world of the default data set, so that what is imported or compiled once is.
    fit(build, make_recdata(task.train, task.inputs(1)), task.train, task.valid, settings, seed=1)
    began = now()
    split = log_of(scale)
    split.tuning_fingerprint  # noqa: B018 -- asked for by every sweep
    drawn = now() - began
    features = features_of() if task.features else {}
    task = replace(task, train=split.train, valid=split.valid, features=features)
    n_batches = -(-len(task.train) // settings.batch_size)
    forget_peak()
    loaded = peak_mb()
    clock = Clock()
    clock.install()
    called = now()
    fitted = fit(build, make_recdata(task.train, features), task.train, task.valid, settings, seed=1)
    timed = parts(clock.epochs, called, now(), n_batches)
    peak = peak_mb()
    evaluator = Evaluator(split.sampled(SAMPLE).ranked_valid, task.train)
    began = now()
    loop.validation_scores(evaluator, fitted.model)
    return {
        **timed,
        "model": model,
        "scale": scale,
        "users": task.train.n_users,
        "interactions": sum(len(rows) for rows in split.whole),
        "n_batches": n_batches,
        "steps_run": 2 * min(n_batches, STEPS),
        "sampled": now() - began,
        "drawn": drawn,
        "loaded_mb": loaded,
        "peak_mb": peak,
    }


def rows_of(results: Sequence[dict[str, Any]]) -> list[list[str]]:
    """Rows of the table; behind each number, how many times as large it is as in the row of the scale before."""
    before: dict[str, dict[str, Any]] = {}
    rows = []
    for one in results:
        name = f"{one['model']}, {one['scale']}x"
        if "failed" in one:
            rows.append([name, f"not measured: {one['failed']}", *[""] * 8])
            continue
        last = before.get(one["model"])

        def told(key: str, digits: int, one: dict[str, Any] = one, last: dict[str, Any] | None = last) -> str:
            if key not in one:
                return "not measured"
            text = f"{one[key]:,.{digits}f}"
            return text if last is None or key not in last else f"{text} ({one[key] / last[key]:.1f}x)"

        milliseconds = {**one, "step": 1e3 * one["step"]}
        step = told("step", 1, milliseconds, None if last is None else {"step": 1e3 * last["step"]})
        rows.append(
            [
                name,
                f"{one['users']:,}",
                f"{one['interactions']:,}",
                told("setup", 1),
                step,
                f"{one['n_batches']:,}",
                told("epoch", 1),
                told("evaluation", 1),
                f"{one['sampled']:.1f}",
                told("peak_mb", 0),
            ]
        )
        before[one["model"]] = one
    return rows


HEADER = (
    "model",
    "users",
    "interactions",
    "set-up s",
    "step ms",
    "steps of an epoch",
    "epoch s",
    "ranking of validation s",
    f"of {SAMPLE:,} users s",
    "peak memory MB",
)


def main(words: Sequence[str]) -> None:
    """Measure every model at every scale that is asked for, and write the page."""
    if words[:1] == ["--one"]:
        torch.set_num_threads(1)
        allocation.keep_freed_memory()
        resource.setrlimit(resource.RLIMIT_DATA, (MOST_BYTES, MOST_BYTES))
        print(json.dumps(measured(words[1], int(words[2]))))
        return
    results = []
    for model in MODELS:
        for scale in map(int, words or SCALES):
            began = time.monotonic()
            results.append({"model": model, "scale": scale, **apart("tests.benchmarks.growth", model, str(scale))})
            print(f"{model} {scale}x: {time.monotonic() - began:.0f} s on the wall, {results[-1]}", flush=True)
    page = with_section(PAGE.read_text(encoding="utf-8"), "growth", table(HEADER, rows_of(results)))
    PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main(sys.argv[1:])
