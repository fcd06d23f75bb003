"""Time and memory of a large sweep, planned, resumed and reported: ``python -m tests.benchmarks.thousand_cells``.

It writes planted records: real plans, keys and files, but scores and ranks that were drawn, so that nothing is trained.
Models with five conditions each, in as many draws as are needed, 17 trials and three final runs per cell, 200 users.
Then, in processes of their own: 300 cells that are planned anew; all cells that are resumed, where nothing is left to
do; what a worker does to find work while all trainings are held by others; and the report. Seconds are processor
seconds of the process, imports included; peak memory is its largest resident size.
"""

from __future__ import annotations

import itertools
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from unittest import mock

import numpy as np

from mmbench.cli.compose import compose_all
from mmbench.evaluation.metrics import RankedPairs, Ranking
from mmbench.report.write import write_report
from mmbench.scheduling.planning import Planned
from mmbench.scheduling.sweep import Sweep
from mmbench.store.schema import Course, Stage
from tests import records as valid

MODELS = (
    "vbpr", "fusion", "mmgcn", "grcn", "lattice", "dualgnn", "mvgae", "slmrec", "bm3", "freedom", "mgcn", "dragon",
    "lgmrec", "damrs", "smore", "pgl", "mmgcf", "selfcf", "contentknn", "hybridknn",
)  # fmt: skip
CONDITIONS = ("none", "text", "image", "fused", "text_shuffled_image")
USERS, ITEMS, TRIALS, SEEDS, EPOCHS = 200, 80, 17, 3, 40
LISTED = 50


def asked(folder: Path, cells: int) -> list[list[str]]:
    """Overrides of each job of a sweep with about so many cells."""
    per_draw = len(MODELS) * len(CONDITIONS)
    world = (f"dataset.world_options.n_users={USERS}", f"dataset.world_options.n_items={ITEMS}")
    effort = ("budget=smoke", f"budget.trials={TRIALS}", f"budget.seeds={SEEDS}")
    shared = [*world, *effort, "tracking=none", "training.accelerator=cpu", "sweep.name=thousand"]
    draws = range(max(1, cells // per_draw))
    return [
        [*shared, f"paths.multirun={folder}", f"study.draw={draw}", f"model={model}", f"modality={condition}"]
        for draw, model, condition in itertools.product(draws, MODELS, CONDITIONS)
    ][:cells]


def planned(folder: Path, cells: int) -> Sweep:
    """The sweep, planned by the same code as a command."""
    return Sweep.plan([one.job() for one in compose_all(asked(folder, cells))], ["thousand"])


def plant(folder: Path, cells: int) -> Sweep:
    """Write the records of a finished sweep with about so many cells."""
    sweep = planned(folder, cells)
    sweep.open()
    with mock.patch("os.fsync"):  # no power cut is waited for
        for number, plan in enumerate(sweep.planned):
            _plant_cell(plan, np.random.default_rng(number))
    return sweep


def _plant_cell(plan: Planned, rng: np.random.Generator) -> None:
    task, store = plan.task, plan.store
    test = plan.job.dataset().split.test
    users, positions = np.unique(test.users, return_inverse=True)
    ease = 1.0 + 4.0 * np.random.default_rng(0).random(len(users))  # some users are easier than others for every model
    configurations = task.slots()
    scores = 0.1 + 0.01 * rng.standard_normal(len(configurations)).cumsum() / np.arange(1, len(configurations) + 1)
    best = int(np.argmax(scores))

    def write(stage: Stage, number: int, slot: int) -> None:
        make = valid.final if stage == Stage.FINAL else valid.trial
        history = [float(scores[slot] * min(1.0, (epoch + 1) / 30)) for epoch in range(EPOCHS)]
        course = Course(
            history=history,
            losses=[{"bpr": 0.7 - 0.01 * epoch, "regularisation": 0.01} for epoch in range(EPOCHS)],
            best_epoch=30,
            steps_per_epoch=12,
            stop_reason="patience",
            popularity=0.01,
        )
        training = make(
            number,
            cell_key=store.key,
            configuration=configurations[slot],
            course=course,
            split_hash=task.split_fingerprint,
        )
        store.write_training(training, valid.row(training, **task.cell._asdict()))
        ranks = np.minimum(rng.geometric(0.3 * scores[slot] * ease[positions]), ITEMS).astype(np.int64)
        top = None
        if stage == Stage.FINAL:
            top = rng.permuted(np.tile(np.arange(ITEMS, dtype=np.int32), (len(users), 1)), axis=1)[:, :LISTED]
        store.write_ranking(training.unit, Ranking(users, RankedPairs(positions, ranks, len(users)), test.items, top))

    for slot in range(len(configurations)):
        write(Stage.TRIAL, slot, slot)
    chosen = store.finished_trainings()
    choice = valid.choice(next(t for t in chosen.values() if t.index == best), n_trials=len(configurations))
    store.write_choice(choice)
    for number in range(1, SEEDS + 1):
        write(Stage.FINAL, number, best)
    split = plan.job.dataset().split
    store.write_seal(
        valid.seal(
            choice,
            test_hash=split.test_fingerprint,
            protocol=split.protocol,
            valid_masked=split.masks_valid_at_test,
            finals=list(range(1, SEEDS + 1)),
        )
    )


def _measure(what: str, folder: Path, cells: int) -> None:
    """One part, in this process."""
    if what == "plan":
        Sweep.open(planned(folder, cells))
    elif what == "resume":
        assert planned(folder, cells).run_pool() == 0
    elif what == "report":
        write_report(folder / "thousand")
    used = resource.getrusage(resource.RUSAGE_SELF)
    seconds, peak = used.ru_utime + used.ru_stime, used.ru_maxrss / 1024
    print(f"{what}, {cells:,} cells: {seconds:.1f} s, {peak:,.0f} MB", flush=True)


def main(argv: Sequence[str]) -> None:
    """Measure everything, or with ``PART FOLDER CELLS`` one part."""
    if len(argv) == 3:
        _measure(argv[0], Path(argv[1]), int(argv[2]))
        return
    cells = int(argv[0]) if argv else 1000
    with tempfile.TemporaryDirectory() as folder:
        began = time.process_time()
        plant(Path(folder) / "planted", cells)
        print(f"written in {time.process_time() - began:.0f} s")
        for what, place, number in (("plan", "new", 300), ("resume", "planted", cells), ("report", "planted", cells)):
            command = [sys.executable, "-m", "tests.benchmarks.thousand_cells", what, f"{folder}/{place}", str(number)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            print(done.stdout.splitlines()[-1], flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
