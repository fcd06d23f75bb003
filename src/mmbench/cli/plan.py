"""``python -m mmbench.plan <same overrides>``: cells, trainings, time, disk and memory, measured by a short pilot."""

from __future__ import annotations

import itertools
import os
import resource
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from mmbench.cli import compose
from mmbench.cli.compose import Composed
from mmbench.cli.planned import Planned
from mmbench.cli.sweep import Sweep
from mmbench.cli.words import spoken
from mmbench.data.recdata import make_recdata
from mmbench.messages import Refusal, Words
from mmbench.report.layout import Document, terminal, text_table
from mmbench.training import fit

#: Epochs of a pilot: the first one warms up, the second one is counted.
PILOT_EPOCHS = 2
WORKERS = (1, 2, 4, 8, 16, 64)


@dataclass(frozen=True)
class Pilot:
    """What one training of a model was measured to cost.

    Args:
        setup: seconds to build the model and its graphs.
        epoch: seconds of one epoch with its validation.
        state_mb: megabytes of a stored state.
        peak_mb: peak memory of this process so far, in megabytes.
        trained: false for a model that is computed in one go.
    """

    setup: float
    epoch: float
    state_mb: float
    peak_mb: float
    trained: bool

    def seconds(self, epochs: int) -> float:
        """Seconds of a training of so many epochs."""
        return self.setup + (epochs if self.trained else 1) * self.epoch


def main(argv: Sequence[str]) -> None:
    """Print what the sweep of these overrides would cost; nothing of it is run or written."""
    words, argv = spoken("plan", argv)
    if {"-h", "--help"} & set(argv):
        print(words("help"), end="")
        return
    overrides = compose.open_modality_keys(word for word in argv if word not in ("-m", "--multirun"))
    flags = [word for word in overrides if word.startswith("-")]
    if flags:
        raise Refusal("command", "flag", flag=flags[0])
    composed = expand(overrides)
    torch.set_num_threads(1)
    sweep = Sweep.plan(composed, overrides, words.lang)
    waiting = [plan for plan in sweep.planned if not plan.finished]
    finished = len(sweep.planned) - len(waiting)
    print(words("cells", len(sweep.planned), finished=words.number(finished)))
    print(words("trainings", sum(plan.trainings for plan in waiting)))
    further = sum(plan.most_trainings - plan.trainings for plan in waiting)
    if further:
        print(words("further", further))
    if waiting:
        print(described(waiting, words), end="")
    print(words("detectable"))


def expand(overrides: Sequence[str]) -> list[Composed]:
    """Compose every job of a sweep, in Hydra's order."""
    compose.check_overrides(overrides)
    defaults = compose.compose([word for word in overrides if word.startswith("experiment=")])
    chosen = [*defaults.sweeper_params, *overrides]
    variants = [compose.single_values(override) for override in compose.parse(chosen)]
    return [compose.compose(words) for words in itertools.product(*variants)]


def described(waiting: Sequence[Planned], words: Words) -> str:
    """The pilot of each (dataset, model) and what follows for the sweep."""
    rows: list[list[str]] = []
    low = high = disk = peak = 0.0
    groups = itertools.groupby(waiting, key=lambda plan: (plan.task.cell.dataset, plan.task.cell.model))
    for (dataset, model), members in groups:
        cells = list(members)
        heaviest = max(cells, key=lambda plan: sum(f.values.size for f in plan.task.inputs(1).values()))
        pilot = measure(heaviest)
        trainings, budget = sum(plan.trainings for plan in cells), heaviest.task.budget
        most = sum(plan.most_trainings for plan in cells)
        shortest = trainings * pilot.seconds(min(budget.patience + 1, budget.max_epochs))
        longest = most * pilot.seconds(budget.max_epochs)
        low, high = low + shortest, high + longest
        disk, peak = disk + most * pilot.state_mb, max(peak, pilot.peak_mb)
        name = f"{dataset}/{model} ({heaviest.task.cell.modality})"
        costs = [words.number(pilot.setup, 1), words.number(pilot.epoch, 2), words.number(trainings)]
        rows.append([name, *costs, _time(shortest, words), _time(longest, words)])
    header = [words(name) for name in ("model", "setup", "epoch", "trainings_column", "shortest", "longest")]
    spread = [[str(n), _time(low / n, words), _time(high / n, words)] for n in WORKERS]
    cores = len(os.sched_getaffinity(0))
    tables = [
        text_table(words("pilots"), header, rows),
        text_table(words("spread"), [words(name) for name in ("workers", "shortest", "longest")], spread),
    ]
    notes = [words("machine", cores, disk=words.number(disk), memory=words.number(peak))]
    return terminal(Document("", tables, notes))


def measure(plan: Planned) -> Pilot:
    """Train the default configuration for two epochs."""
    task = plan.task
    build, settings = task.recipe(task.default)
    data = make_recdata(task.train, task.inputs(1))
    settings = replace(settings, max_epochs=PILOT_EPOCHS, patience=PILOT_EPOCHS)
    began = time.perf_counter()
    outcome = fit(build, data, task.train, task.valid, settings, seed=1)
    seconds = time.perf_counter() - began
    state = sum(p.numel() for p in outcome.model.parameters()) * 2 / 1e6
    epoch = (seconds - outcome.setup_seconds) / outcome.epochs
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return Pilot(outcome.setup_seconds, epoch, state, peak, outcome.stop_reason != "closed_form")


def _time(seconds: float, words: Words) -> str:
    if seconds < 90:
        return words("seconds", n=words.number(seconds))
    if seconds < 5400:
        return words("minutes", n=words.number(seconds / 60))
    return words("hours", n=words.number(seconds / 3600, 1))
