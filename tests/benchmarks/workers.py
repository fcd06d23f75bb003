"""Trials per hour on two cores: ``python -m tests.benchmarks.workers [ROUNDS]``, two single-threaded workers or one
worker of two threads.

Each round trains four trials of LightGCN and of VBPR (Baby size, three epochs) both ways, in turns; reported are the
medians of the time on the wall. Processes start and read their data before the clock does, as in a sweep, where that
happens once. Goal: two workers give 1.6 times the trials of one.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from mmbench.store.schema import Stage, Unit
from mmbench.training import allocation
from mmbench.tuning.study import choose_if_due, run_unit
from tests.benchmarks.subjects import baby_words, opened

MODELS, ROUNDS, TRIALS, EPOCHS = ("lightgcn", "vbpr"), 5, 4, 3
GOAL = 1.6


def serve(model: str, threads: int) -> None:
    """A worker: reads its data, then trains as many trials as each line of its input says and answers when done."""
    torch.set_num_threads(threads)
    allocation.keep_freed_memory()
    words = [word for word in baby_words(model) if not word.startswith("budget.")]
    with tempfile.TemporaryDirectory() as folder:
        task, store = opened(
            [*words, "budget.trials=1", "budget.max_steps=1", f"budget.least_epochs={EPOCHS}"], Path(folder)
        )
        run_unit(task, store, Unit(Stage.TRIAL, 0))  # caches, kernels, imports
        choose_if_due(task, store)  # the one trial
        print("ready", flush=True)
        number = 0
        for line in sys.stdin:
            for _ in range(int(line)):
                number += 1
                training = run_unit(task, store, Unit(Stage.FINAL, number))  # all of them of the one configuration
                assert training.succeeded, training.failure
            print("done", flush=True)


class Crew:
    """Worker processes that share a round's trials equally."""

    def __init__(self, model: str, workers: int, threads: int) -> None:
        command = [sys.executable, "-m", "tests.benchmarks.workers", "serve", model, str(threads)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.processes = [subprocess.Popen(command, **pipes) for _ in range(workers)]  # type: ignore[call-overload]
        self._hear("ready")

    def _hear(self, word: str) -> None:
        for process in self.processes:
            if process.stdout.readline().strip() != word:
                raise RuntimeError(f"a worker ended with exit code {process.wait()}")

    def seconds(self, trials: int) -> float:
        """Time on the wall until all have finished their share."""
        began = time.perf_counter()
        for process in self.processes:
            process.stdin.write(f"{trials // len(self.processes)}\n")
            process.stdin.flush()
        self._hear("done")
        return time.perf_counter() - began

    def close(self) -> None:
        """Let the workers end."""
        for process in self.processes:
            process.stdin.close()
            process.wait()


def compared(model: str, rounds: int, trials: int) -> dict[str, float]:
    """Trials per hour both ways, medians of rounds in turns, and their ratio."""
    two, one = Crew(model, 2, 1), Crew(model, 1, 2)
    try:
        pairs = [(two.seconds(trials), one.seconds(trials)) for _ in range(rounds)]
    finally:
        two.close()
        one.close()
    of_two, of_one = (3600 * trials / statistics.median(times) for times in zip(*pairs, strict=True))
    ratio = statistics.median(second / first for first, second in pairs)
    return {"two workers": of_two, "one worker of two threads": of_one, "ratio": ratio}


def main() -> None:
    """Serve, or compare and print."""
    if sys.argv[1:2] == ["serve"]:
        serve(sys.argv[2], int(sys.argv[3]))
        return
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    for model in MODELS:
        found = compared(model, rounds, TRIALS)
        mark = "" if found["ratio"] >= GOAL else f" (below the goal of {GOAL})"
        print(f"{model}, {EPOCHS} epochs: {json.dumps({k: round(v, 2) for k, v in found.items()})}{mark}", flush=True)


if __name__ == "__main__":
    main()
