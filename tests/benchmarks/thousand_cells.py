"""Time and memory of a large sweep, planned, resumed and reported: ``python -m tests.benchmarks.thousand_cells``.

It plants records: real plans, keys, hashes and files, written by the code that writes those of a real sweep, but
scores, states and ranks that were drawn, so that nothing is trained. An audit has nothing to say of them. Models with
five conditions each, in as many draws as are needed, 17 trials and three final runs per cell, 200 users. Then, in
processes of their own: a command of 300 jobs until the first training of two workers begins; 300 cells that are
planned anew; all cells that are resumed, where nothing is left to do; and
``mmbench report``. Seconds are processor seconds of the process, imports included; peak memory is its largest resident
size.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch

from mmbench import paths
from mmbench.audit import consistency
from mmbench.cli.compose import compose_all
from mmbench.data.interactions import Interactions
from mmbench.evaluation.metrics import LIST_LENGTH, RankedPairs, Ranking
from mmbench.nn.recommender import ClosedForm
from mmbench.scheduling.planning import Planned
from mmbench.scheduling.sweep import Sweep
from mmbench.sealing import score_test
from mmbench.store import ledger
from mmbench.store.schema import CLOSED_FORM, Cost, Course, Stage, Training
from mmbench.training.fit import Fitted
from mmbench.training.settings import TrainingSettings
from mmbench.tuning import study

MODELS = (
    "vbpr", "fusion", "mmgcn", "grcn", "lattice", "dualgnn", "mvgae", "slmrec", "bm3", "freedom", "mgcn", "dragon",
    "lgmrec", "damrs", "smore", "pgl", "mmgcf", "contentknn", "hybridknn",
)  # fmt: skip
CONDITIONS = ("none", "text", "image", "fused", "text_shuffled_image")
USERS, ITEMS, TRIALS, SEEDS = 200, 80, 17, 3
#: Runs a command and prints its processor seconds and peak memory in KiB.
METERED = """
import resource, subprocess, sys
code = subprocess.call(sys.argv[1:])
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(used.ru_utime + used.ru_stime, used.ru_maxrss, file=sys.stderr)
sys.exit(code)
"""
#: Epochs in which a training gets better; patience ends it ten epochs later.
RISES = 30


def asked(folder: Path, cells: int) -> list[list[str]]:
    """Overrides of each job of a sweep with so many cells."""
    per_draw = len(MODELS) * len(CONDITIONS)
    world = (f"dataset.world_options.n_users={USERS}", f"dataset.world_options.n_items={ITEMS}")
    effort = ("budget=small", f"budget.trials={TRIALS}", f"budget.seeds={SEEDS}")
    ends = ("budget.patience_steps=100", "training.batch_size=128")
    shared = [*world, *effort, *ends, "tracking=none", "training.accelerator=cpu", "sweep.name=thousand"]
    draws = range(-(-cells // per_draw))
    return [
        [*shared, f"paths.multirun={folder}", f"study.draw={draw}", f"model={model}", f"modality={condition}"]
        for draw, model, condition in itertools.product(draws, MODELS, CONDITIONS)
    ][:cells]


def planned(folder: Path, cells: int) -> Sweep:
    """The sweep, planned by the same code as a command."""
    return Sweep.plan([one.job() for one in compose_all(asked(folder, cells))], ["thousand"])


def plant(folder: Path, cells: int) -> Sweep:
    """Write the records of a finished sweep with so many cells."""
    sweep = planned(folder, cells)
    sweep.open()
    seen = ledger.Reader(sweep.folder)
    with mock.patch("os.fsync"):  # no power cut is waited for
        for number, plan in enumerate(sweep.planned):
            _plant_cell(plan, seen, np.random.default_rng(number))
    return sweep


def _plant_cell(plan: Planned, seen: ledger.Reader, rng: np.random.Generator) -> None:
    task, store, split = plan.task, replace(plan.store, ledger=seen), plan.job.dataset().split
    closed = issubclass(plan.job.model_class, ClosedForm)
    with (
        mock.patch.object(study, "fit", functools.partial(_drawn, rng, closed)),
        mock.patch.object(score_test, "stored_rankings", functools.partial(_ranked, rng, split.test, closed)),
    ):
        while (units := study.waiting(task, store)) or study.choose_if_due(task, store):
            for unit in units:
                study.run_unit(task, store, unit)
        score_test.score_test(task, store, split)


def _drawn(
    rng: np.random.Generator,
    closed: bool,
    build: object,
    data: object,
    train: Interactions,
    valid: Interactions,
    settings: TrainingSettings,
    seed: int,
    **_: Any,
) -> Fitted:
    """What a training might have come to: it rises for thirty epochs, and ends as the rule says."""
    users = np.unique(valid.users)
    per_user = (0.1 + 0.02 * rng.standard_normal()) * 2 * rng.random(len(users))
    score = float(per_user.mean())
    if closed:
        course, state = Course(history=[score], best_epoch=1, stop_reason=CLOSED_FORM), {}
    else:
        steps, rule = -(-len(train.users) // settings.batch_size), settings.stopping
        course = Course(steps_per_epoch=steps, stop_reason="patience", best_epoch=RISES)
        for epoch in itertools.count(1):
            course.history.append(score * min(epoch, RISES) / RISES)
            course.losses.append({"bpr": 0.7 / epoch, "regularisation": 0.01})
            if rule.is_out_of_patience(epoch, min(epoch, RISES), steps):
                break
        state = {"weight": rng.standard_normal(4).astype(np.float16)}
    course.popularity, course.validated = 0.01, score
    return Fitted(torch.nn.Linear(7, 1, bias=False), state, users, per_user, course, Cost(seconds=1.0), [])


def _ranked(
    rng: np.random.Generator,
    test: Interactions,
    closed: bool,
    task: Any,
    store: Any,
    training: Training,
    *_: object,
    **__: object,
) -> Mapping[str, Ranking]:
    """Ranks of the test pairs, better ones where validation was, and lists that say the same."""
    users, positions = np.unique(test.users, return_inverse=True)
    ease = np.random.default_rng(0).random(len(users))  # some users are easier than others for every model

    def rank(lists: bool) -> Ranking:
        scores = rng.gumbel(size=(len(users), test.n_items))
        scores[positions, test.items] += 20 * (training.score or 0.0) * ease[positions]
        order = np.argsort(-scores, axis=1)
        ranks = np.argsort(order, axis=1)[positions, test.items] + 1
        top = order[:, :LIST_LENGTH].astype(np.int32) if lists else None
        return Ranking(users, RankedPairs(positions, ranks, len(users)), test.items, top)

    final = training.stage == Stage.FINAL
    rankings = {paths.RANKS: rank(final)}
    if final and not closed:
        rankings |= {paths.shuffled_ranks(name): rank(False) for name in score_test.inference_shuffles(task)}
    return rankings


def _run(what: str, folder: Path, cells: int) -> None:
    """One part, in this process."""
    sweep = planned(folder, cells)
    if what == "plan":
        sweep.open()
    else:
        assert sweep.run_pool() == 0


def _measure(what: str, cells: int, *words: str) -> str:
    """Run a module in a process of its own and print what it took; what it printed comes back."""
    began = time.perf_counter()
    # A process counts the memory of the one that started it as its own, so a small one stands between.
    command = [sys.executable, "-c", METERED, sys.executable, "-m", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{what} ended with {done.returncode}: {done.stdout}{done.stderr}")
    seconds, kib = map(float, done.stderr.splitlines()[-1].split())
    wall = time.perf_counter() - began
    print(f"{what}, {cells:,} cells: {seconds:.1f} s, {kib / 1024:,.0f} MB, {wall:.0f} s of wall time", flush=True)
    return done.stdout


def _first_training(folder: Path) -> None:
    """Processor seconds of all processes of a command of 300 jobs when the first training of two workers begins."""
    draws, models = ",".join(map(str, range(4))), ",".join(MODELS[:15])
    words = [*asked(folder, 1)[0][:-3], f"study.draw={draws}", f"model={models}", f"modality={','.join(CONDITIONS)}"]
    command = [sys.executable, "-m", "mmbench", "-m", "sweep.workers=2", *words]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
    leases = paths.lease_dir(folder / "thousand")
    try:
        while all(file.name.startswith("command-") for file in leases.glob("*.lease")):
            if process.poll() is not None:
                raise SystemExit(f"the command of 300 jobs ended with {process.returncode}")
            time.sleep(0.02)
        print(f"first training of 300 jobs on two workers: {_seconds_of(process.pid):.1f} s", flush=True)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _seconds_of(session: int) -> float:
    """Processor seconds of every process of a session, those that ended included."""
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            if int(fields[3]) == session:
                ticks += sum(map(int, fields[11:15]))  # its own, and of the children that it waited for
    return ticks / os.sysconf("SC_CLK_TCK")


def main(argv: Sequence[str]) -> None:
    """Measure everything, or with ``PART FOLDER CELLS`` run one part."""
    if len(argv) == 3:
        _run(argv[0], Path(argv[1]), int(argv[2]))
        return
    cells, here = int(argv[0]) if argv else 1000, "tests.benchmarks.thousand_cells"
    with tempfile.TemporaryDirectory() as folder:
        began = time.process_time()
        with contextlib.redirect_stdout(sys.stderr):
            sweep = plant(Path(folder) / "planted", cells)
        print(f"written in {time.process_time() - began:.0f} s", flush=True)
        _first_training(Path(folder) / "first")
        _measure("plan", 300, here, "plan", f"{folder}/new", "300")
        _measure("resume", cells, here, "resume", f"{folder}/planted", str(cells))
        said = _measure("report", cells, "mmbench", "report", str(sweep.folder))
        if "records: consistent;" not in said:
            raise SystemExit("\n".join(map(str, consistency.check(sweep.folder)[:20])))


if __name__ == "__main__":
    main(sys.argv[1:])
