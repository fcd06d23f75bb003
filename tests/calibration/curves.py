"""Records how trainings go on when nothing stops them: ``python -m tests.calibration.curves [FOLDER]``.

Every training runs to the same cap, 3,000 optimizer steps and at least 75 epochs. Kept are validation NDCG@20 after
every epoch and test NDCG@20 at each new best, for slots 0 to 3 of five models with text and with both modalities, on
the calibration sets: twelve planted worlds and MovieLens 100K. Their test parts may be looked at for this and for
nothing else. One JSON file per training makes it resumable, and several processes may share a folder;
``--pack`` gathers the files in ``curves.parquet`` beside this module, from which :mod:`tests.calibration.rules` reads.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import torch

from mmbench.cli.compose import compose
from mmbench.data.recdata import make_recdata
from mmbench.data.splits import Split
from mmbench.evaluation.new_items import CommonLists
from mmbench.evaluation.ranking import Evaluator
from mmbench.nn.recommender import FactorModel
from mmbench.scheduling.cell_key import RESULTS_VERSION
from mmbench.sealing.score_test import evaluator_of_test
from mmbench.store import files
from mmbench.store.schema import Stage, Unit
from mmbench.training import allocation, fit, loop
from mmbench.training.stopping import SELECTION_METRIC, StoppingRule
from mmbench.tuning.cell import CellTask

CAP_STEPS, CAP_EPOCHS = 3000, 75
SLOTS = 4
MODELS = ("vbpr", "fusion", "lightgcn", "freedom", "bm3")
CONDITIONS = ("text", "fused")
WORLDS = ("redundant", "useless_image", "text_only", "cold_image", "no_signal", "complementary")
PACKED = Path(__file__).with_name("curves.parquet")


class Subject(NamedTuple):
    """One training to record.

    Attributes:
        dataset: its name, for example ``cold_image-0``.
        model: name of the model.
        condition: the modality condition; ``-`` where the model reads no content.
        slot: slot of the search.
    """

    dataset: str
    model: str
    condition: str
    slot: int

    @property
    def overrides(self) -> list[str]:
        """The command line of its cell."""
        condition = "none" if self.condition == "-" else self.condition
        world, _, seed = self.dataset.partition("-")
        data = ["dataset=ml100k"]
        if seed:
            data = [f"dataset.world={world}", f"dataset.world_options.seed={seed}"]
        given = ["dataset.protocol=given"] if world == "cold_image" else []
        return [*data, *given, f"model={self.model}", f"modality={condition}", "tracking=none", "budget=small"]


def subjects() -> Iterator[Subject]:
    """Every training: MovieLens, then the worlds of one seed after the other, the cheap models before the dear."""
    worlds = [[f"{world}-{seed}" for world in WORLDS] for seed in (0, 1)]
    for datasets, models in (
        (["ml100k"], MODELS),
        *((of_seed, group) for of_seed in worlds for group in (MODELS[:3], MODELS[3:])),
    ):
        for dataset in datasets:
            for model in models:
                for condition in ("-",) if model == "lightgcn" else CONDITIONS:
                    for slot in range(SLOTS):
                        yield Subject(dataset, model, condition, slot)


class Unstopped(loop.LitRecommender):
    """Trains to the cap, and ranks the test part too: whenever validation finds a new best state, or ``always``."""

    def __init__(self, *args: Any, test: Evaluator | CommonLists, always: bool) -> None:
        super().__init__(*args)
        self.test, self.always = test, always
        self.tested: list[tuple[int, float]] = []

    def on_train_epoch_end(self) -> None:
        """Validate, and test what is to be tested."""
        super().on_train_epoch_end()
        course = self.loop_state.course
        if self.always or course.best_epoch == course.epochs:
            self.tested.append((course.epochs, float(self.test.scores(self.model, SELECTION_METRIC).mean())))


def unstopped(
    task: CellTask, split: Split, slot: int, cap: int, least_epochs: int, *, always: bool = False
) -> Unstopped:
    """Train one slot of a cell to a cap, past every epoch where a sweep would stop it.

    Args:
        task: the cell.
        split: its split, of which the test part is ranked.
        slot: slot of the search.
        cap: optimizer steps.
        least_epochs: epochs that are trained even if the cap is fewer steps.
        always: test after every epoch.
    """
    build, settings = task.recipe(task.slots(slot + 1)[slot])
    seed = Unit(Stage.TRIAL, slot).seed
    data = make_recdata(task.train, task.inputs(seed))
    torch.manual_seed(seed)
    model = fit.made(build, data)
    assert isinstance(model, FactorModel)
    # Patience as long as the cap ends nothing.
    rule = StoppingRule(CAP_STEPS + 1, min_steps=0, max_steps=cap, least_epochs=least_epochs)
    validation = fit.evaluator_of_validation(task.valid, task.train, task.new_valid, task.target)
    test = evaluator_of_test(task, split)
    module = Unstopped(model, data, replace(settings, stopping=rule), validation, seed, test=test, always=always)
    loop.run(module)
    return module


def record(subject: Subject, cap: int = CAP_STEPS) -> dict[str, Any]:
    """Run one training to a cap of so many steps, two epochs at least."""
    began = time.process_time()
    job = compose(subject.overrides).job()
    task = job.task()
    least_epochs = CAP_EPOCHS if cap == CAP_STEPS else 2
    module = unstopped(task, job.dataset().split, subject.slot, cap, least_epochs)
    return {
        **subject._asdict(),
        "configuration": task.slots(subject.slot + 1)[subject.slot],
        "results_version": RESULTS_VERSION,
        "steps_per_epoch": module.loop_state.course.steps_per_epoch,
        "popularity": fit.popularity_score(module.evaluator, make_recdata(task.train, {})),
        "validation": [float(f"{value:.7g}") for value in module.loop_state.course.history],
        "test_epochs": [epoch for epoch, _ in module.tested],
        "test": [float(f"{value:.7g}") for _, value in module.tested],
        "degenerate": module.loop_state.degenerate,
        "seconds": round(time.process_time() - began, 1),
    }


def main() -> None:
    """Record what is missing, or pack what is there."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", default=Path("multirun/calibration"))
    parser.add_argument("--pack", action="store_true", help="gather the finished trainings in curves.parquet")
    arguments = parser.parse_args()
    folder: Path = arguments.folder
    folder.mkdir(parents=True, exist_ok=True)
    if arguments.pack:
        pack(folder)
        return
    known = set(packed()[list(Subject._fields)].itertuples(index=False, name=None))
    torch.set_num_threads(1)
    allocation.keep_freed_memory()
    for subject in subjects():
        file = folder / f"{'_'.join(map(str, subject))}.json"
        if tuple(subject) in known or file.exists():
            continue
        lock = file.with_suffix(".lock")
        try:
            lock.touch(exist_ok=False)  # another process has it, or was killed in it: remove the lock by hand
        except FileExistsError:
            continue
        files.write_text(file, json.dumps(record(subject)))
        lock.unlink()
        print(subject, flush=True)


def packed() -> pd.DataFrame:
    """The packed trainings of this code; those of code that gave other results are no answer for its rule."""
    frame = pd.read_parquet(PACKED)
    return frame[frame["results_version"] == RESULTS_VERSION]


def gathered(folder: Path) -> pd.DataFrame:
    """The packed trainings of this code and those of a folder, one row each."""
    rows = [json.loads(file.read_text()) for file in sorted(folder.glob("*.json"))]
    fresh = pd.DataFrame([{**row, "configuration": json.dumps(row["configuration"])} for row in rows])
    frame = pd.concat([packed(), fresh]).drop_duplicates(list(Subject._fields), keep="last")
    return frame.sort_values(list(Subject._fields)).reset_index(drop=True)


def pack(folder: Path) -> None:
    """Add the finished trainings of a folder to ``curves.parquet``."""
    frame = gathered(folder)
    frame.to_parquet(PACKED, index=False, compression="zstd")
    print(f"{len(frame)} trainings in {PACKED.name}, {frame['seconds'].sum():,.0f} processor seconds")


if __name__ == "__main__":
    main()
