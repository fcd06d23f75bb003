"""Times one model through the real path: ``python -m tests.benchmarks.trial MODEL [ITEMS]`` prints one JSON object.

The model is trained twice by :func:`mmbench.tuning.study.run_unit`, records included, for two epochs of 36 steps: as
the one trial of a cell and as its final run, both of the default configuration.
The first training finds empty caches; of the second the last 30 steps of the last epoch are taken. Nothing is added
to a training but looks at the clock. The clock is the processor time of the one thread, which a busy machine disturbs
less than the time on the wall. A process of its own gives a peak memory of its own.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import itertools
import json
import math
import re
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mmbench.evaluation.ranking import Evaluator
from mmbench.nn.recommender import ClosedForm, FactorModel, Recommender, Triplets
from mmbench.store.records import CellStore
from mmbench.training import allocation, loop
from mmbench.tuning.cell import CellTask
from mmbench.tuning.study import choose_if_due, run_unit, waiting
from tests.benchmarks.profiles import profiled
from tests.benchmarks.scatter import SCATTERED, compared
from tests.benchmarks.subjects import BABY_ITEMS, WARM_UPS, baby_words, made, opened, sizes_of

now = time.process_time
#: Batches of the profile of a step.
PROFILED = 6
#: Epochs of the trial that is put together from the measured parts.
TRIAL_EPOCHS = 30


@dataclass
class Epoch:
    """Moments of one epoch, in seconds of the clock.

    Args:
        began: the loader was asked for its first batch.
        batches: each batch was handed out.
        validated: validation began and ended.
    """

    began: float
    batches: list[float] = field(default_factory=list)
    validated: tuple[float, float] = (math.nan, math.nan)

    @property
    def steps(self) -> list[float]:
        """Seconds of every step but the last, the draw of the next batch included."""
        return [after - before for before, after in itertools.pairwise(self.batches)]

    @property
    def step(self) -> float:
        """Median of the steps after the warm-ups."""
        return statistics.median(self.steps[WARM_UPS:])


class Clock:
    """Looks at the time whenever a training asks for a batch or validates.

    Args:
        between: the time where an epoch or a validation begins or ends.
    """

    def __init__(self, between: Callable[[], float] = now) -> None:
        self.between = between
        self.epochs: list[Epoch] = []

    def install(self) -> None:
        """Have every training of this process watched."""
        clock = self

        class Watched(loop.TripletLoader):
            def __iter__(self) -> Iterator[Triplets]:
                epoch = Epoch(clock.between())
                clock.epochs.append(epoch)
                for batch in super().__iter__():
                    epoch.batches.append(now())
                    yield batch

        validate = loop.validation_scores

        def watched(evaluator: Evaluator, model: Recommender) -> NDArray[np.float64]:
            if isinstance(model, ClosedForm):  # the popularity baseline, ranked once a split
                return validate(evaluator, model)
            began = clock.between()
            scores = validate(evaluator, model)
            if math.isnan(clock.epochs[-1].validated[0]):  # the stored state is ranked once more after the last epoch
                clock.epochs[-1].validated = (began, clock.between())
            return scores

        loop.TripletLoader = Watched  # type: ignore[misc]
        loop.validation_scores = watched


def forget_peak() -> None:
    """Let :func:`peak_mb` count from now on, where the system can: what made the data is no memory of the model."""
    with contextlib.suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")


def peak_mb() -> float:
    """Largest resident size of this process since :func:`forget_peak`, in MB of a million bytes."""
    status = Path("/proc/self/status")
    # Not the usage that a process reports where there is another way: it begins with the size of the parent.
    if status.exists():
        return float(re.search(r"^VmHWM:\s*(\d+) kB", status.read_text(), re.MULTILINE)[1]) * 1024 / 1e6  # type: ignore[index]
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6


def parts(epochs: Sequence[Epoch], called: float, returned: float, n_batches: int) -> dict[str, float]:
    """Seconds of the parts of a training of two epochs.

    Args:
        epochs: its two epochs.
        called: moment of its call.
        returned: moment of its return.
        n_batches: steps of a whole epoch.
    """
    first, last = epochs
    # What happens once an epoch stands before its first batch, in its first step, and between last step and ranking.
    before = last.batches[0] - first.validated[1]
    after = last.validated[0] - last.batches[-1] - last.step
    once = before + max(0.0, last.steps[0] - last.step) + max(0.0, after)
    evaluation = last.validated[1] - last.validated[0]
    setup, written = first.began - called, returned - last.validated[1]
    epoch = once + n_batches * last.step
    return {
        "step": last.step,
        "once_per_epoch": once,
        "epoch": epoch,
        "evaluation": evaluation,
        "setup": setup,
        "records": written,
        "trial": setup + TRIAL_EPOCHS * (epoch + evaluation) + written,
    }


def timed_training(task: CellTask, store: CellStore, clock: Clock, n_batches: int) -> dict[str, float]:
    """Parts of the next training of a cell."""
    choose_if_due(task, store)  # for a final run
    (unit,) = waiting(task, store)
    clock.epochs.clear()
    called = now()
    training = run_unit(task, store, unit)
    returned = now()
    if training.failure is not None:
        raise RuntimeError(f"{task.cell}: {training.failure.reason}")
    return parts(clock.epochs, called, returned, n_batches)


def measured(words: Sequence[str]) -> dict[str, Any]:
    """Parts of the second training, set-up of the first, memory and sizes of the cell of a command line."""
    with tempfile.TemporaryDirectory() as folder:
        task, store = opened(words, Path(folder))
        forget_peak()
        loaded = peak_mb()
        _, settings = task.recipe(task.default)
        clock = Clock()
        clock.install()
        n_batches = math.ceil(len(task.train) / settings.batch_size)
        cold = timed_training(task, store, clock, n_batches)
        allocation.release()  # as a worker does between trainings: the second one's peak is its own
        warm = timed_training(task, store, clock, n_batches)
        peak = peak_mb()
        subject, data = made(task)
        assert isinstance(subject, FactorModel)
        subject.begin_epoch()
        batches = list(itertools.islice(loop.TripletLoader(data, settings.batch_size, 0), PROFILED))
        both_ways = compared(subject, batches[0]) if task.cell.model in SCATTERED else {}
        profile = profiled(subject, batches)
    features = sum(f.values.nbytes for f in task.features.values()) / 1e6
    return {
        **warm,
        **both_ways,
        "first_setup": cold["setup"],
        "peak_mb": peak,
        "loaded_mb": loaded,
        "features_mb": features,
        "n_batches": n_batches,
        "profile": profile,
        "sizes": dataclasses.asdict(sizes_of(task, subject, data, settings.batch_size)),
    }


def main() -> None:
    """Measure on one thread, as a worker of a sweep runs."""
    torch.set_num_threads(1)
    allocation.keep_freed_memory()
    model, *rest = sys.argv[1:]
    print(json.dumps(measured(baby_words(model, int(rest[0]) if rest else BABY_ITEMS))))


if __name__ == "__main__":
    main()
