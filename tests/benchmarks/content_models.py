"""Models with content that are computed: ``MMBENCH_DATA=FOLDER python -m tests.benchmarks.content_models``.

On MovieLens 100K with text and images, warm and in one fold of new items: processor seconds of the trials of the budget
``small``, fit and ranking of validation, the first with empty caches and the worst of the later ones. On Amazon Baby
with text: the fit of the default configuration with empty caches. Every model and data set has a process of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

import torch

from mmbench.cli.compose import compose
from mmbench.data.recdata import make_recdata
from mmbench.nn.recommender import ClosedForm
from mmbench.training import allocation
from mmbench.training.fit import evaluator_of_validation
from mmbench.training.loop import validation_scores
from tests.benchmarks.performance import PAGE, marked, table, with_section
from tests.benchmarks.simple_models import now

MODELS = ("addease", "cease", "l3ae", "mmgf", "attributemap", "contentknn", "hybridknn")
WARM = ("dataset=ml100k", "modality=fused", "budget=small")
COLD = (*WARM, "dataset.protocol=cold", "dataset.cold_fold=0")
BABY = ("dataset=baby", "modality=text", "budget.trials=1")
SETTINGS = {"ml100k": WARM, "ml100k, new items": COLD, "baby": BABY}
#: Most seconds of a later trial on MovieLens, and of a fit on Baby.
TRIAL_GOAL, FIT_GOALS = 2.0, {"addease": 30.0, "cease": 20.0}


def measured(model: str, *words: str) -> list[tuple[float, float]]:
    """Seconds of fit and of ranking validation of each trial, in order."""
    task = compose([f"model={model}", *words, "tracking=none", "training.accelerator=cpu"]).job().task()
    data = make_recdata(task.train, task.inputs(0))
    evaluator = evaluator_of_validation(task.valid, task.train, task.new_valid, task.target)
    seconds = []
    for configuration in task.slots():
        build, _ = task.recipe(configuration)
        began = now()
        made = build(data)
        assert isinstance(made, ClosedForm)
        made.fit(data)
        fitted = now()
        validation_scores(evaluator, made)
        seconds.append((fitted - began, now() - fitted))
    return seconds


def row(model: str) -> list[str]:
    """A row of the table."""
    cells = [model]
    for setting, words in SETTINGS.items():
        command = [sys.executable, "-m", "tests.benchmarks.content_models", model, *words]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        trials = json.loads(done.stdout.splitlines()[-1])
        if setting == "baby":
            cells.append(marked(trials[0][0], FIT_GOALS.get(model), "{:.1f}"))
        else:
            first, *later = map(sum, trials)
            cells += [f"{first:.2f}", marked(max(later), TRIAL_GOAL)]
    return cells


def main() -> None:
    """One model and setting as JSON where they are named; otherwise all of them, written into the page."""
    torch.set_num_threads(1)
    allocation.keep_freed_memory()
    if sys.argv[1:]:
        print(json.dumps(measured(*sys.argv[1:])))
        return
    if "MMBENCH_DATA" not in os.environ:
        raise SystemExit("set MMBENCH_DATA to the folder that holds ml100k/ and baby/; nothing was measured")
    header = ["model", "ml100k, first trial s", "later trials, worst s", "new items, first trial s"]
    header += ["later trials, worst s", "baby, fit s"]
    text = table(header, [row(model) for model in MODELS])
    PAGE.write_text(with_section(PAGE.read_text(encoding="utf-8"), "content", text), encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
