"""Two worlds before and after they were sharpened: ``python -m tests.evaluation.trained_gains`` trains what is missing.

VBPR and Fusion without content, with text and with both modalities, each in a few settings of learning rate and
regularisation; of the settings of a condition the one with the best validation score counts. Every training is kept in
``trained_gains.json`` as soon as it ends, so that the script can be stopped; the rows that are complete are printed as
the table of decision 0016. ``--first N`` trains at most N, ``--list`` none.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from mmbench.cli.compose import compose
from mmbench.data.recdata import make_recdata
from mmbench.evaluation.metrics import per_user
from mmbench.evaluation.ranking import DegenerateScores, Evaluator
from mmbench.scheduling.cell_key import RESULTS_VERSION
from mmbench.store import files
from mmbench.store.schema import training_rule
from mmbench.training.fit import fit

RESULTS = Path(__file__).with_name("trained_gains.json")
METRIC = "ndcg@20"
MODELS = ("vbpr", "fusion")
CONDITIONS = ("none", "text", "fused")
#: Worlds with their seeds, each sharpened one below what it was.
ROWS = (("complementary@1", 0), ("complementary", 0), ("text_only@1", 0), ("text_only", 0))
#: Learning rate and weight of the regularisation, the same pairs for every condition.
SETTINGS = ((0.005, 0.15), (0.005, 0.5), (0.015, 0.5), (0.015, 1.0))
SEED = 1
MAX_STEPS = 3000


class Subject(NamedTuple):
    """One training.

    Attributes:
        world: the planted world.
        seed: seed of the world.
        model: name of the model.
        condition: the modality condition.
        lr: learning rate.
        reg_weight: weight of the regularisation.
    """

    world: str
    seed: int
    model: str
    condition: str
    lr: float
    reg_weight: float

    @property
    def overrides(self) -> list[str]:
        """What a command line takes for it."""
        data = [f"dataset.world={self.world}", f"dataset.world_options.seed={self.seed}", "dataset.protocol=paper"]
        budget = ["budget=small", f"budget.max_steps={MAX_STEPS}"]
        settings = [f"optimizer.lr={self.lr}", f"model.reg_weight={self.reg_weight}", *budget]
        return [*data, f"model={self.model}", f"modality={self.condition}", *settings, "tracking=none"]


Done = Mapping[Subject, Mapping[str, Any]]


def subjects() -> Iterator[Subject]:
    """Every training, world by world."""
    for world, seed in ROWS:
        for model in MODELS:
            for condition in CONDITIONS:
                for lr, reg_weight in SETTINGS:
                    yield Subject(world, seed, model, condition, lr, reg_weight)


def trained(subject: Subject) -> dict[str, Any]:
    """Validation and test NDCG@20 of one training in its best state; None for a training that failed."""
    began = time.perf_counter()
    job = compose(subject.overrides).job()
    task, split = job.task(), job.dataset().split
    build, settings = task.recipe(task.default)
    data = make_recdata(task.train, task.inputs(SEED))
    scores: dict[str, float | None] = {"validation": None, "test": None}
    try:
        fitted = fit(build, data, task.train, task.valid, settings, SEED)
        ranking = Evaluator(split.test, *split.seen_at_test).rank(fitted.model)
        scores = {"validation": float(fitted.per_user.mean()), "test": float(per_user(ranking.pairs, METRIC).mean())}
    except DegenerateScores:
        pass
    return {**subject._asdict(), **scores, "seconds": round(time.perf_counter() - began, 1)}


def how() -> dict[str, Any]:
    """What all trainings share: version of the results, and the rule that ends a training."""
    rule = training_rule(compose(next(subjects()).overrides).config["budget"])
    return {"results_version": RESULTS_VERSION, "rule": rule}


def read(file: Path = RESULTS) -> dict[Subject, dict[str, Any]]:
    """Trainings that were kept; none of other code or of another rule."""
    kept = files.read_document(file) if file.exists() else {}
    trainings = kept["trainings"] if kept.get("how") == how() else []
    return {Subject(*(one[name] for name in Subject._fields)): one for one in trainings}


def write(done: Done, file: Path = RESULTS) -> None:
    """Keep trainings, in the order of :func:`subjects`."""
    kept = [done[subject] for subject in subjects() if subject in done]
    files.write_document(file, {"how": how(), "trainings": kept})


def chosen(done: Done, world: str, seed: int, model: str, condition: str) -> float | None:
    """Test metric of the setting with the best validation score; None before all settings were trained."""
    own = [done.get(Subject(world, seed, model, condition, *setting)) for setting in SETTINGS]
    known = [one for one in own if one is not None]
    succeeded = [one for one in known if one["validation"] is not None]
    if len(known) < len(own) or not succeeded:
        return None
    return float(max(succeeded, key=lambda one: one["validation"])["test"])


def table(done: Done) -> list[str]:
    """The rows of decision 0016 that are complete."""
    lines = []
    for world, seed in ROWS:
        cells = [f"`{world}`", str(seed)]
        for model in MODELS:
            found = [chosen(done, world, seed, model, condition) for condition in CONDITIONS]
            scores = [score for score in found if score is not None]
            if len(scores) < len(found):
                break
            _, text, fused = scores
            cells += [*(f"{score:.4f}".removeprefix("0") for score in scores), f"{100 * (fused / text - 1):+.1f} %"]
        else:
            lines.append(f"| {' | '.join(cells)} |")
    return lines


def main(words: Sequence[str] | None = None, file: Path = RESULTS) -> None:
    """Train what is missing and print the rows that are complete."""
    parser = argparse.ArgumentParser(prog="python -m tests.evaluation.trained_gains", description=__doc__)
    parser.add_argument("--first", type=int, metavar="N", help="train at most N of those that are missing")
    parser.add_argument("--list", action="store_true", help="train nothing")
    asked = parser.parse_args(words)
    torch.set_num_threads(1)
    done, everything = read(file), list(subjects())
    missing = [] if asked.list else [subject for subject in everything if subject not in done][: asked.first]
    for subject in missing:
        done[subject] = trained(subject)
        write(done, file)
        print(*done[subject].values(), flush=True)
    print("\n".join([f"{len(done)} of {len(everything)} trainings", *table(done)]))


if __name__ == "__main__":
    main()
