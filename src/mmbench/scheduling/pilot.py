"""Short trainings that tell what a sweep takes: time, memory, and how many workers a device has room and use for."""

from __future__ import annotations

import contextlib
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from multiprocessing import connection
from multiprocessing.context import ForkServerProcess
from multiprocessing.synchronize import Barrier
from typing import Any, NamedTuple

import torch

from mmbench.data.recdata import make_recdata
from mmbench.messages import Message
from mmbench.scheduling import memory, pinned
from mmbench.scheduling.devices import Machine
from mmbench.scheduling.job import Job
from mmbench.scheduling.planning import Planned
from mmbench.sealing.score_test import inference_shuffles
from mmbench.store.schema import CLOSED_FORM, Sharing, Stage
from mmbench.training import allocation
from mmbench.training.fit import evaluator_of_validation, fit, offset_of, rebuild
from mmbench.training.loop import validation_scores
from mmbench.training.stopping import StoppingRule
from mmbench.tuning.cell import CellTask

#: Epochs of a pilot, at least.
EPOCHS = 2
#: Patience that ends no training, in steps.
NEVER = 10**12
#: Seconds of the epochs that a forecast counts: what happens once per training is to be small beside them.
COUNTED = 2.0
#: Bytes of a GPU that a process takes besides its tensors: the context of CUDA and its libraries.
CONTEXT = 700 * 2**20
#: Share of a device's memory that pilots plan with; configurations differ from the default one, and so do their needs.
USED = 0.8
#: A number of workers is taken if it trains at least so many times as much as any smaller one.
WORTH = 1.1
#: Seconds that trainings side by side are timed for.
TIMED = 5.0
#: The most epochs that are run for such a time.
MOST_EPOCHS = 200
#: Seconds after which processes that do not begin together are given up; imports and set-up come before.
PATIENCE = 1800.0
#: Seconds of a whole sweep below which trying more workers would cost more than it gains.
SHORT = 60.0


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
        device_bytes: peak memory of the training's GPU so far, or of the process where it trains on processors.
        tested: seconds to build the model again from its state and to rank with it, as the test split asks for.
        extra: what a final run takes beyond that: rankings among other candidates and with shuffled modalities.
    """

    setup: float
    epoch: float
    state_mb: float
    peak_mb: float
    trained: bool
    steps_per_epoch: int
    device_bytes: int = 0
    tested: float = 0.0
    extra: float = 0.0

    def seconds(self, epochs: int) -> float:
        """Seconds of a training of so many epochs and of its test."""
        return self.setup + (epochs if self.trained else 1) * self.epoch + self.tested


def measure(task: CellTask, epochs: int = EPOCHS, *, tests: bool = False) -> Pilot:
    """Train the default configuration for some epochs.

    Args:
        task: whose configuration.
        epochs: how many, of a model that is trained.
        tests: whether what follows a training is timed too; validation stands in for the test split.
    """
    build, settings = task.recipe(task.default)
    data = make_recdata(task.train, task.inputs(1))
    # What compiling takes would be taken for the time of an epoch.
    settings = replace(settings, stopping=StoppingRule(NEVER, 0, 1, least_epochs=epochs), compile=False)
    began = time.perf_counter()
    fitted = fit(
        build,
        data,
        task.train,
        task.valid,
        settings,
        seed=1,
        new_valid=task.new_valid,
        target=task.target,
        common_lists=task.lists_new_items(Stage.TRIAL),
    )
    seconds = time.perf_counter() - began
    epoch = (seconds - fitted.cost.setup_seconds) / fitted.course.epochs
    tested = extra = 0.0
    if tests:
        evaluator = evaluator_of_validation(task.valid, task.train, task.new_valid, task.target, settings.device)
        began = time.perf_counter()
        model = rebuild(build, data, fitted.state, settings, 1)
        rebuilt = time.perf_counter() - began
        validation_scores(evaluator, model)
        tested = time.perf_counter() - began
        if fitted.state:  # a training ends with the same, once and not in every epoch
            epoch = max(seconds - fitted.cost.setup_seconds - tested, 0.0) / fitted.course.epochs
        extra = len(inference_shuffles(task)) * tested
        if task.new_valid is not None:
            began = time.perf_counter()
            offset_of(model, task.new_valid, task.train, settings.device)
            extra += time.perf_counter() - began + 2 * (tested - rebuilt)
    peak = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    on_gpu = settings.device.type == "cuda"
    return Pilot(
        fitted.cost.setup_seconds,
        epoch,
        sum(values.nbytes for values in fitted.state.values()) / 1e6,
        peak / 2**20,
        fitted.course.stop_reason != CLOSED_FORM,
        max(fitted.course.steps_per_epoch, 1),
        CONTEXT + torch.cuda.max_memory_reserved() if on_gpu else peak,
        tested,
        extra,
    )


def epochs_of(seconds: float, epoch: float) -> int:
    """Epochs that take about so many seconds, from :data:`EPOCHS` to :data:`MOST_EPOCHS`.

    >>> epochs_of(2.0, 0.25), epochs_of(2.0, 40.0)
    (8, 2)
    """
    return min(max(EPOCHS, round(seconds / max(epoch, 1e-3))), MOST_EPOCHS)


@dataclass(frozen=True)
class CellCost:
    """What the trainings of a cell cost.

    Args:
        training: each of them.
        once: seconds that the first one takes besides, for graphs and solutions that the others find in a cache.
    """

    training: Pilot
    once: float


def measure_cell(task: CellTask) -> CellCost:
    """Train the default configuration twice: what only the first training takes is the difference."""
    first = measure(task, epochs=1)
    again = measure(task, epochs_of(COUNTED, first.epoch), tests=True)
    return CellCost(again, max(0.0, first.seconds(1) - again.setup - again.epoch))


def between(least: CellCost, most: CellCost, share: float) -> CellCost:
    """Costs of a cell whose content lies between two others; seconds are taken to grow in step with its numbers.

    Args:
        least: costs with the least content.
        most: costs with the most content.
        share: 0 for the least content and 1 for the most.
    """

    def mean(low: float, high: float) -> float:
        return low + share * (high - low)

    low, high = least.training, most.training
    training = replace(
        high,
        setup=mean(low.setup, high.setup),
        epoch=mean(low.epoch, high.epoch),
        state_mb=mean(low.state_mb, high.state_mb),
        tested=mean(low.tested, high.tested),
        extra=mean(low.extra, high.extra),
    )
    return CellCost(training, mean(least.once, most.once))


def content(plan: Planned) -> int:
    """How many numbers the content of a cell's condition has."""
    return sum(plan.task.features[name].values.size for name in plan.task.condition.kept(plan.task.features))


def heaviest(waiting: Sequence[Planned]) -> dict[tuple[str, str], list[Planned]]:
    """The waiting cells by dataset and model, the condition with the most content first.

    Splits, folds and draws of a data set stand together, since they cost the same.
    """
    groups: dict[tuple[str, str], list[Planned]] = {}
    for plan in waiting:
        groups.setdefault((plan.job.repeated, plan.task.cell.model), []).append(plan)
    for group in groups.values():
        group.sort(key=content, reverse=True)
    return groups


def sharings(waiting: Sequence[Planned], machine: Machine, known: Sequence[Sharing] = ()) -> dict[str, Sharing]:
    """How many workers each device of a machine has room and use for, measured once for each kind of card.

    Args:
        waiting: cells that are not finished.
        machine: what the pool may use; it has devices.
        known: what earlier pilots found.

    Returns:
        What was found, new or known, by devices as ``machine.groups`` names them.
    """
    alike = len(machine.groups) == 1 and not known  # nothing to compare the only card with
    names = dict.fromkeys(machine.groups, "") if alike else cards(machine.groups)
    found = {one.card: one for one in known}
    for devices, name in names.items():
        if name not in found:
            found[name] = sharing(waiting, machine, devices)
    return {devices: found[name] for devices, name in names.items()}


def limit(waiting: Sequence[Planned], machine: Machine) -> int:
    """The most workers of a device for which there are cores and trainings."""
    return min(machine.most_per_device, -(-sum(plan.left for plan in waiting) // len(machine.groups)))


def holds(found: Sharing, waiting: Sequence[Planned], machine: Machine) -> bool:
    """Whether a pilot of an earlier command, on such a card, need not be repeated for this one.

    Its number is what the card has room and use for, or was limited by the number of devices, the trainings that were
    left or a failure. In the latter case it tells nothing of larger numbers.

    Args:
        found: what it found.
        waiting: cells that are not finished.
        machine: what the pool may use.
    """
    enough = found.workers < found.limit or found.workers >= limit(waiting, machine)
    return enough and found.per_training == machine.per_training


def sharing(waiting: Sequence[Planned], machine: Machine, devices: str) -> Sharing:
    """How many workers a device has room and use for.

    Every model is trained for two epochs, in one process and with its heaviest condition. The one that takes the most
    memory is then trained by 1, 2, 4, ... processes at once, as long as they fit and together get on faster. A model
    whose pilot fails counts for nothing: it will fail as a training does, with its reason in its record.

    Args:
        waiting: cells that are not finished.
        machine: what the pool may use.
        devices: that of them which is measured, or those of one training.
    """
    groups = heaviest(waiting)
    jobs = {name: group[0].job for name, group in groups.items()}
    left = {name: sum(plan.left for plan in group) for name, group in groups.items()}
    name_of_card, free, pilots = alone(list(jobs.values()), devices)
    measured = {name: pilot for name, pilot in zip(jobs, pilots, strict=True) if pilot is not None}
    models = sorted(map("/".join, jobs))
    if not measured:
        return Sharing(
            card=name_of_card,
            workers=1,
            cores=machine.cores,
            models=models,
            limit=1,
            per_training=machine.per_training,
        )
    name = max(measured, key=lambda one: measured[one].device_bytes)
    pilot = measured[name]
    room = max(1, int(USED * free) // pilot.device_bytes)
    rules = {one: groups[one][0].task.budget.stopping for one in measured}
    total = sum(
        left[one] * each.seconds(rules[one].fewest_epochs(each.steps_per_epoch)) for one, each in measured.items()
    )
    allowed = limit(waiting, machine)
    most = min(room, allowed)
    rates = {}
    if most > 1 and total / len(machine.groups) > SHORT:
        epochs = epochs_of(TIMED, pilot.epoch)
        rates = useful(most, lambda count: together(jobs[name], devices, count, epochs))
    return Sharing(
        card=name_of_card,
        workers=max(rates, default=1),
        cores=machine.cores,
        models=models,
        heaviest="/".join(groups[name][0].task.cell),
        device_bytes=pilot.device_bytes,
        free_bytes=free,
        epoch_seconds=pilot.epoch,
        epochs_per_second={str(count): rate for count, rate in rates.items()},
        limit=allowed if rates or room == 1 else 1,
        per_training=machine.per_training,
    )


def described(found: Sharing) -> Message:
    """What a pilot found, in a sentence."""
    if not found.heaviest:
        return Message("pilot on {card}: no model could be trained; 1 worker on each device", card=found.card)
    return Message(
        "pilot on {card}: {cell} is the heaviest, {taken} MB of {free} MB and {seconds} s an epoch; {workers} on each "
        "device",
        card=found.card,
        cell=found.heaviest,
        taken=f"{found.device_bytes / 2**20:.0f}",
        free=f"{found.free_bytes / 2**20:.0f}",
        seconds=f"{found.epoch_seconds:.2f}",
        workers=Message.counted("{n} worker", "{n} workers", found.workers),
    )


def useful(most: int, rate: Callable[[int], float | None]) -> dict[int, float]:
    """What each number of workers gets done, up to the last one that is worth its memory.

    Args:
        most: the most workers that fit.
        rate: epochs per second of so many workers together; None if they do not fit after all.

    >>> useful(8, lambda count: {1: 1.0, 2: 1.9, 4: 2.0}[count])
    {1: 1.0, 2: 1.9}
    """
    rates: dict[int, float] = {}
    count = 1
    while (done := rate(count)) is not None and done >= WORTH * max(rates.values(), default=0.0):
        rates[count] = done
        if count == most:
            break
        count = min(2 * count, most)
    return rates


def alone(jobs: Sequence[Job], devices: str) -> tuple[str, int, list[Pilot | None]]:
    """Train each job for two epochs in one process, one after the other.

    A model that fails may have taken its process down, or the device's use from it, so the rest is tried in another.

    Returns:
        Name of the device, bytes of it that were free before, and the pilots; None for a model that failed.
    """
    card: tuple[str, int] | None = None
    pilots: list[Pilot | None] = []
    while len(pilots) < len(jobs):
        with _started(devices, [(_alone, (jobs[len(pilots) :],), ())]) as (one,):
            told = _received(one)
            card = card or told
            while len(pilots) < len(jobs):
                pilots.append(_received(one))
                if pilots[-1] is None:
                    break
    return *(card or ("", 0)), pilots


def cards(groups: Sequence[str]) -> dict[str, str]:
    """Name of each device, asked for in a process that sees no other one."""
    with contextlib.ExitStack() as stack:  # all at once: each of them imports torch
        asked = {devices: stack.enter_context(_started(devices, [(_alone, ([],), ())])) for devices in groups}
        return {devices: (_received(one) or ("", 0))[0] for devices, (one,) in asked.items()}


def together(job: Job, devices: str, count: int, epochs: int) -> float | None:
    """Epochs per second of so many processes that train the same job on the same devices at once.

    Args:
        job: what they train.
        devices: what each of them sees.
        count: number of processes.
        epochs: that each of them is timed for.

    Returns:
        None if one of them failed, for want of memory for example.
    """
    context = pinned.server(pinned.__name__)
    barrier = context.Barrier(count)
    seconds: list[float] = []
    with _started(devices, [(_beside, (job, epochs), (barrier,))] * count) as waiting:
        while waiting:
            ready = connection.wait([sign for one in waiting for sign in one.signs])
            for one in [one for one in waiting if not one.signs.isdisjoint(ready)]:
                # Whom the system killed aborts no barrier; the others would wait for it, and end with this block.
                if (took := _received(one)) is None:
                    return None
                seconds.append(took)
                waiting.remove(one)
    return count * epochs / max(seconds)


class _Started(NamedTuple):
    """A process, and where it sends what it found."""

    process: ForkServerProcess
    end: connection.Connection

    @property
    def signs(self) -> frozenset[Any]:
        """What is ready once it has sent something or is gone."""
        return frozenset((self.end, self.process.sentinel))


@contextlib.contextmanager
def _started(
    devices: str, calls: Sequence[tuple[Callable[..., None], tuple[Any, ...], tuple[Any, ...]]]
) -> Iterator[list[_Started]]:
    """Run functions in pinned processes, which end with the block."""
    context = pinned.server(pinned.__name__)
    started: list[_Started] = []
    try:
        for call, given, shared in calls:
            receives, sends = context.Pipe(duplex=False)
            process = pinned.process(context, devices, call, *given, shared=(*shared, sends))
            process.start()
            sends.close()
            started.append(_Started(process, receives))
        yield list(started)
    finally:
        for one in started:
            one.process.kill()
            one.process.join()
            one.end.close()


def _received(one: _Started) -> Any:
    """What a process sent; None if it failed or is gone."""
    connection.wait(one.signs)
    try:
        return one.end.recv() if one.end.poll() else None
    except (EOFError, OSError):
        return None


def _ready() -> None:
    """Be as a worker is, and end with the process that waits for the result."""
    pinned.end_with_parent()
    allocation.keep_freed_memory()
    torch.set_num_threads(1)


def _alone(jobs: Sequence[Job], sends: connection.Connection) -> None:
    _ready()
    sends.send(_card())
    for job in jobs:
        try:
            if torch.cuda.is_available():
                torch.cuda.reset_peak_memory_stats()
            sends.send(measure(job.task()))
        except Exception:  # it will fail as a training too, and say why there
            return
        allocation.release()


def _card() -> tuple[str, int]:
    """Name of what this process trains on, and bytes of it that are free."""
    if torch.cuda.is_available():
        name = torch.cuda.get_device_name()
        return name, torch.cuda.mem_get_info()[0] + CONTEXT  # the context of this process is counted with its training
    return "CPU", memory.available() or 0


def _beside(job: Job, epochs: int, barrier: Barrier, sends: connection.Connection) -> None:
    _ready()
    try:
        task = job.task()
        pilot = measure(task, epochs=1)  # graphs and caches are made before the clock runs
        barrier.wait(PATIENCE)
        began = time.perf_counter()
        for _ in range(1 if pilot.trained else epochs):
            measure(task, epochs=epochs)
        sends.send(time.perf_counter() - began)
    except Exception:  # that the other one broke the barrier among them
        barrier.abort()
        sends.send(None)
