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
from mmbench.cli.sweep import Planned, Sweep
from mmbench.data.recdata import make_recdata
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
    words = compose.open_modality_keys(word for word in argv if word not in ("-m", "--multirun"))
    flags = [word for word in words if word.startswith("-")]
    if flags:
        raise ValueError(f"{flags[0]} is no override; write the overrides of the sweep alone")
    composed = expand(words)
    torch.set_num_threads(1)
    sweep = Sweep.plan(composed, words)
    waiting = [plan for plan in sweep.planned if not plan.finished]
    print(f"{len(sweep.planned)} cells, {len(sweep.planned) - len(waiting)} of them finished")
    print(f"{sum(plan.trainings for plan in waiting)} trainings to run; each is one thread of one worker")
    further = sum(plan.most_trainings - plan.trainings for plan in waiting)
    if further:
        print(f"up to {further} further ones where the last half of the trials still moved a contrast (budget.extend)")
    if waiting:
        print("\n".join(described(waiting)))
    print("smallest gain that this budget can detect: unknown before a pilot with two seeds has run")


def expand(overrides: Sequence[str]) -> list[Composed]:
    """Compose every job of a sweep, in Hydra's order."""
    compose.check_overrides(overrides)
    defaults = compose.compose([word for word in overrides if word.startswith("experiment=")])
    chosen = [*defaults.sweeper_params, *overrides]
    variants = [compose.single_values(override) for override in compose.parse(chosen)]
    return [compose.compose(words) for words in itertools.product(*variants)]


def described(waiting: Sequence[Planned]) -> list[str]:
    """The pilot of each (dataset, model) and what follows for the sweep."""
    lines = ["", "model (heaviest condition)        set-up s  epoch s  trainings  shortest  longest", "-" * 80]
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
        lines.append(
            f"{name:<34}{pilot.setup:8.1f}{pilot.epoch:9.2f}{trainings:11d}{_time(shortest):>10}{_time(longest):>9}"
        )
    lines += ["", "workers    shortest (every training stops at once)   longest (every training runs all epochs)"]
    lines += [f"{n:<11}{_time(low / n):<42}{_time(high / n)}" for n in WORKERS]
    cores = len(os.sched_getaffinity(0))
    lines.append(
        f"this machine has {cores} cores; disk up to about {disk:.0f} MB, memory about {peak:.0f} MB per worker"
    )
    return lines


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


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
