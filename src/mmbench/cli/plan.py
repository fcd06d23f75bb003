"""``python -m mmbench plan <same overrides>``: cells, trainings, time, disk and memory, measured by a short pilot."""

from __future__ import annotations

import itertools
import math
import os
import resource
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from mmbench import paths
from mmbench.cli import compose, habits
from mmbench.cli.compose import Composed
from mmbench.cli.run import own_trust
from mmbench.cli.words import next_line, take_language
from mmbench.data.recdata import make_recdata
from mmbench.decision.gates import IMAGE
from mmbench.inference.tuned_gain import Gain, TunedGain
from mmbench.messages import Message, Refusal, Translator
from mmbench.report.comparisons import read_contrasts
from mmbench.report.disposals import control_of, read_disposals
from mmbench.report.fairness_checks import read_groups
from mmbench.report.layout import Document, terminal, text_table
from mmbench.report.reading import read_sweep
from mmbench.report.table import SweepTable
from mmbench.scheduling.planning import Planned
from mmbench.scheduling.sweep import Sweep
from mmbench.training.fit import fit
from mmbench.training.stopping import StoppingRule

#: Epochs of a pilot: the first one warms up, the second one is counted.
PILOT_EPOCHS = 2
WORKERS = (1, 2, 4, 8, 16, 64)
MODEL_COLUMNS = (Message("model (heaviest condition)"), Message("set-up s"), Message("epoch s"), Message("trainings"))
ENDS = (Message("shortest"), Message("longest"))
GAIN_COLUMNS = (
    Message("gain"),
    Message("after / of trials"),
    Message("95 % range"),
    Message("smallest gain that is detected"),
)
HELP = Message(
    """\
python -m mmbench plan OVERRIDE ... [lang=en|ja]

What would a sweep cost? Takes the overrides of the sweep, for example dataset=ml100k model=lattice,freedom
modality=none,fused budget=standard, and tells cells, trainings, time, disk and memory, measured by a pilot of two
epochs for every model, which controls are run, and how wide the range of each gain is expected to be, from what the
sweep has run so far. Nothing is written.
"""
)


@dataclass(frozen=True)
class Pilot:
    """What one training of a model was measured to cost.

    Args:
        setup: seconds to build the model and its graphs.
        epoch: seconds of one epoch with its validation.
        state_mb: megabytes of a stored state.
        peak_mb: peak memory of this process so far, in megabytes.
        trained: false for a model that is computed in one go.
        steps_per_epoch: optimizer steps of an epoch, at least 1.
    """

    setup: float
    epoch: float
    state_mb: float
    peak_mb: float
    trained: bool
    steps_per_epoch: int

    def seconds(self, epochs: int) -> float:
        """Seconds of a training of so many epochs."""
        return self.setup + (epochs if self.trained else 1) * self.epoch


def main(argv: Sequence[str]) -> None:
    """Print what the sweep of these overrides would cost; nothing of it is run or written."""
    translator, argv = take_language(argv)
    if {"-h", "--help"} & set(argv):
        print(translator(HELP), end="")
        return
    overrides = habits.ours((word for word in argv if word not in ("-m", "--multirun")), multirun=True)
    flags = [word for word in overrides if word.startswith("-")]
    if flags:
        raise Refusal("{flag} is no override; write the overrides of the sweep alone", flag=flags[0])
    composed = expand(overrides)
    torch.set_num_threads(1)
    sweep = Sweep.plan([job.job() for job in composed], overrides, translator)
    sweep.check()
    sweep.check_machine()  # the pilot trains on it
    waiting = [plan for plan in sweep.planned if not plan.finished]
    lines = [
        Message.counted(
            "{n} cell, {finished} of them finished",
            "{n} cells, {finished} of them finished",
            len(sweep.planned),
            finished=translator.number(len(sweep.planned) - len(waiting)),
        ),
        Message.counted(
            "{n} training to run; it is one thread of one worker",
            "{n} trainings to run; each is one thread of one worker",
            sum(plan.left for plan in waiting),
        ),
    ]
    print("\n".join(map(translator, lines)))
    if waiting:
        print(described(waiting, translator), end="")
    known = paths.manifest_file(sweep.folder).exists()
    table = read_sweep(sweep.folder, own_trust(sweep.jobs)) if known else None
    for line in controls(sweep.planned, table):
        print(translator(line))
    print(expected(table, translator), end="")
    if waiting:
        print("\n" + next_line(["-m", *argv], translator))


def expand(overrides: Sequence[str]) -> list[Composed]:
    """Compose every job of a sweep, in Hydra's order."""
    compose.check_overrides(overrides)
    defaults = compose.compose([word for word in overrides if word.startswith("experiment=")])
    chosen = [*defaults.sweeper_params, *overrides]
    variants = [compose.single_values(override) for override in compose.parse(chosen)]
    return compose.compose_all(itertools.product(*variants))


def controls(planned: Sequence[Planned], table: SweepTable | None) -> list[Message]:
    """Which condition is the control of each condition with images; nothing for data without images.

    Args:
        planned: cells of the command.
        table: what earlier commands of the sweep have run; None where there is nothing.
    """
    conditions: dict[tuple[str, str], dict[frozenset[tuple[str, str]], str]] = {}
    for name, cell in (table.cells if table else {}).items():
        if cell.status == "done":
            conditions.setdefault(name[:2], {})[frozenset(cell.states.items())] = cell.modality
    for plan in planned:
        task = plan.task
        if not any(task.condition.missing.values()):
            key = frozenset((modality, task.condition.state(modality)) for modality in task.features)
            conditions.setdefault(task.cell[:2], {})[key] = task.cell.modality
    run: dict[str, str] = {}
    missing: dict[str, None] = {}
    for by_states in conditions.values():
        for key, condition in by_states.items():
            states = dict(sorted(key))
            if states.get(IMAGE) == "real" and set(states.values()) <= {"real", "drop"}:
                control = by_states.get(frozenset({**states, IMAGE: "shuffle"}.items()))
                if control is None:
                    missing[control_of(states, condition, IMAGE)] = None
                else:
                    run[condition] = control
    lines = []
    if run:
        pairs = ", ".join(f"{control} ({condition})" for condition, control in sorted(run.items()))
        lines.append(Message("controls with shuffled images, and what each of them controls: {pairs}", pairs=pairs))
    lines += [
        Message("without one more control nothing can be decided about images; add {overrides}", overrides=overrides)
        for overrides in missing
    ]
    return lines


def expected(table: SweepTable | None, translator: Translator) -> str:
    """How wide the range of every tuned gain was so far, which is how wide it is expected to be.

    Args:
        table: what earlier commands of the sweep have run; None where there is nothing.
        translator: language.
    """
    gains: list[tuple[str, Gain | None]] = []
    if table is not None:
        groups = read_groups(table, table.folder)
        gains += [(disposal.name, disposal.tuned) for disposal in read_disposals(table, groups)]
        gains += [(comparison.name, comparison.tuned) for comparison in read_contrasts(table, groups)]
    rows = []
    for name, tuned in gains:
        log = tuned.estimate.log_gain if isinstance(tuned, TunedGain) else tuned and tuned.log_gain
        if tuned and log and math.isfinite(log.se):
            width = (log.at(0.95).hi - log.at(0.95).lo) / 2
            numbers = [f"± {translator.percent(width, 1)}", translator.percent(log.mde(), 1)]
            rows.append([name, f"{tuned.n} / {tuned.trials}", *numbers])
    if not rows:
        unknown = Message("range of the gains, and the smallest that can be detected: unknown before a pilot has run")
        return f"{translator(unknown)}\n"
    header = [translator(name) for name in GAIN_COLUMNS]
    title = translator(Message("Expected range of the gains, from what has run"))
    note = Message("More users narrow a range. More trials do not: a gain is told for a third of them.")
    return terminal(Document("", [text_table(title, header, rows)], [translator(note)]))


def described(waiting: Sequence[Planned], translator: Translator) -> str:
    """The pilot of each (dataset, model) and what follows for the sweep."""
    rows: list[list[str]] = []
    low = high = disk = peak = 0.0
    groups = itertools.groupby(waiting, key=lambda plan: (plan.task.cell.dataset, plan.task.cell.model))
    for (dataset, model), members in groups:
        cells = list(members)
        heaviest = max(cells, key=lambda plan: sum(f.values.size for f in plan.task.inputs(1).values()))
        pilot = measure(heaviest)
        trainings, budget = sum(plan.left for plan in cells), heaviest.task.budget
        rule = budget.stopping
        shortest = trainings * pilot.seconds(rule.fewest_epochs(pilot.steps_per_epoch))
        longest = trainings * pilot.seconds(rule.most_epochs(pilot.steps_per_epoch))
        low, high = low + shortest, high + longest
        disk, peak = disk + trainings * pilot.state_mb, max(peak, pilot.peak_mb)
        name = f"{dataset}/{model} ({heaviest.task.cell.modality})"
        costs = [translator.number(pilot.setup, 1), translator.number(pilot.epoch, 2), translator.number(trainings)]
        rows.append([name, *costs, _time(shortest, translator), _time(longest, translator)])
    header = [translator(name) for name in (*MODEL_COLUMNS, *ENDS)]
    spread = [[str(n), _time(low / n, translator), _time(high / n, translator)] for n in WORKERS]
    cores = len(os.sched_getaffinity(0))
    tables = [
        text_table(
            translator(Message("A pilot of two epochs for every model, with its heaviest condition")), header, rows
        ),
        text_table(
            translator(
                Message(
                    "How long the sweep takes: shortest if every training stops as early as the rule allows, longest "
                    "if every one runs to the cap"
                )
            ),
            [translator(name) for name in (Message("workers"), *ENDS)],
            spread,
        ),
    ]
    note = Message.counted(
        "this machine has {n} core; states, which an audit ranks again, take about {disk} MB of disk, memory about "
        "{memory} MB per worker",
        "this machine has {n} cores; states, which an audit ranks again, take about {disk} MB of disk, memory about "
        "{memory} MB per worker",
        cores,
        disk=translator.number(disk),
        memory=translator.number(peak),
    )
    return terminal(Document("", tables, [translator(note)]))


def measure(plan: Planned) -> Pilot:
    """Train the default configuration for two epochs."""
    task = plan.task
    build, settings = task.recipe(task.default)
    data = make_recdata(task.train, task.inputs(1))
    settings = replace(settings, stopping=StoppingRule(1, 0, 1, least_epochs=PILOT_EPOCHS))
    began = time.perf_counter()
    fitted = fit(build, data, task.train, task.valid, settings, seed=1, new_valid=task.new_valid, target=task.target)
    seconds = time.perf_counter() - began
    epoch = (seconds - fitted.cost.setup_seconds) / fitted.course.epochs
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    trained = fitted.course.stop_reason != "closed_form"
    steps = max(fitted.course.steps_per_epoch, 1)
    state_mb = sum(values.nbytes for values in fitted.state.values()) / 1e6
    return Pilot(fitted.cost.setup_seconds, epoch, state_mb, peak, trained, steps)


def _time(seconds: float, translator: Translator) -> str:
    if seconds < 90:
        return translator(Message("{n} s", n=translator.number(seconds)))
    if seconds < 5400:
        return translator(Message("{n} min", n=translator.number(seconds / 60)))
    return translator(Message("{n} h", n=translator.number(seconds / 3600, 1)))
