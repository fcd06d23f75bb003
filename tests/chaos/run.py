"""Kills, stops, wrong clocks and torn files against tiny sweeps: ``python -m tests.chaos.run --seeds 0-9``.

Each seed draws its own disasters. Three commands work on one sweep at a time. They are killed, told to stop,
interrupted and suspended, their clocks are a day off, and after a power cut (all of them die at once) files are empty,
cut, zero or garbage. Then the command is given again. At the end the records must be those of a sweep that nobody
disturbed, nothing that was finished and whole may have been trained again, and nothing may hang, stay behind or print a
traceback.

A seed that has ended leaves a file in ``results/``; the same command goes on with the seeds that have none. Run it with
``nice``, beside other work.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import multiprocessing
import os
import pickle
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing.context import ForkProcess
from pathlib import Path

import torch

from mmbench import paths
from mmbench.cli.compose import compose
from mmbench.scheduling import worker
from mmbench.scheduling.job import Job
from mmbench.store import files, ledger, records
from mmbench.store.records import CellStore
from mmbench.store.schema import Cell
from tests.tiny import TINY
from tests.torn import MODES, command, results, tear

RESULTS = Path(__file__).with_name("results")
NAME, CREW = "chaos", 3
#: Cells whose trainings take a tenth of a second, and how much of them; half of the sweeps are raised on their way.
MODELS, CONDITION = ("bpr", "fusion", "itemknn"), "modality=text"
FIRST, RAISED = ("budget.trials=4", "budget.seeds=2"), ("budget.trials=6", "budget.seeds=3")
SHARED = (
    *(word for word in TINY if not word.startswith("budget=")),
    *("budget=smoke", "budget.max_steps=1", "budget.least_epochs=12", "export.top_k=5"),
    *(CONDITION, f"sweep.name={NAME}"),
)
#: What happens next, by how often.
WEIGHTS = {"KILL": 8, "TERM": 4, "INT": 4, "STOP": 3, "power cut": 3}
DAY = 86_400.0
#: Chance after each disaster that the next commands ask for more trials and final runs.
RAISE = 0.02
#: Seconds between two disasters, on average.
PAUSE = 0.6
#: Disasters in a sweep after which it is left alone; it must end then.
MOST = 80
#: Seconds in which a sweep that is left alone must end on a busy machine.
HANGS = 600.0
#: What every fifth seed is made of; the others are commands only, which start without importing anything.
PARTS = ("namespaces", "workers", "commands")
#: Folders of what was superseded when effort was raised.
EARLIER = {"looks", "aside"}
HELD = {signal.SIGINT, signal.SIGTERM}
#: Seconds within which a worker has imported everything and begun, as a rule, and signals to a command of that kind.
STARTING, STRIKES = 12.0, 3
#: Names an environment variable of the processes that a seed starts.
MARK = "MMBENCH_CHAOS"
#: How a command may end: it is complete, or it was told to stop.
ENDS = (0, 128 + signal.SIGTERM, -signal.SIGKILL)


@dataclass
class Log:
    """What a seed did, and what went wrong.

    Attributes:
        seed: its number.
        signals: sent, by name; a suspension and its end count once.
        torn: damaged files by kind and mode.
        clocks: commands whose clock was a day off.
        namespaces: commands that ran in a process namespace of their own.
        commands: commands that were started.
        sweeps: sweeps that came to their end.
        trainings: rows of their ledgers.
        repeated: rows of a training that had one; its files had been torn.
        seconds: wall time.
        problems: none, if all went well.
    """

    seed: int
    signals: Counter[str] = field(default_factory=Counter)
    torn: Counter[str] = field(default_factory=Counter)
    clocks: int = 0
    namespaces: int = 0
    commands: int = 0
    sweeps: int = 0
    trainings: int = 0
    repeated: int = 0
    seconds: float = 0.0
    problems: list[str] = field(default_factory=list)


def jobs(folder: Path, effort: Sequence[str]) -> list[Job]:
    """The jobs of the sweep."""
    words = (*SHARED, *effort, f"paths.multirun={folder}")
    return [compose([*words, f"model={model}"]).job() for model in MODELS]


def run_command(jobs: list[Job], said: Path, clock: float) -> None:
    """A command in a process of its own, which ends as the command line does.

    Args:
        jobs: its jobs.
        said: where its output goes.
        clock: seconds by which its clock is wrong.
    """
    with said.open("ab", buffering=0) as out:
        os.dup2(out.fileno(), 1)
        os.dup2(out.fileno(), 2)
    now, code = time.time, 1
    time.time = lambda: now() + clock
    try:
        for number in HELD:  # as a pool takes both
            signal.signal(number, worker._give_back)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD)
        code = command(jobs)
    except worker.Stopped:
        code = worker.EXIT_STOPPED
    except BaseException:
        traceback.print_exc()
    os._exit(code)


def fork(jobs: list[Job], said: Path, clock: float = 0.0) -> ForkProcess:
    """Start :func:`run_command`; signals reach it once it can take them."""
    process = multiprocessing.get_context("fork").Process(target=run_command, args=(jobs, said, clock))
    signal.pthread_sigmask(signal.SIG_BLOCK, HELD)
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD)
    return process


@functools.cache
def undisturbed(effort: tuple[str, ...]) -> dict[str, str]:
    """What a sweep of this effort leaves when nothing happens to it."""
    with tempfile.TemporaryDirectory(prefix="mmbench-chaos-") as name:
        folder = Path(name)
        process = fork(jobs(folder, effort), folder / "said.txt")
        process.join()
        assert process.exitcode == 0, (folder / "said.txt").read_text()
        return current(folder / NAME)


def current(sweep: Path) -> dict[str, str]:
    """Digest of every file of every cell, those of earlier looks left out: these depend on when effort was raised."""
    return {name: digest for name, digest in results(sweep).items() if not EARLIER & set(name.split("/"))}


class Arena:
    """One sweep, the commands that work on it, and what happens to them.

    Args:
        folder: an empty folder.
        rng: draws what happens.
        log: notes it.
    """

    def __init__(self, folder: Path, rng: random.Random, log: Log) -> None:
        self.folder, self.rng, self.log = folder, rng, log
        self.sweep, self.said = folder / NAME, folder / "said.txt"
        self.effort = FIRST
        self.jobs = jobs(folder, FIRST)
        self.crew: list[ForkProcess] = []
        self.torn: Counter[str] = Counter()

    def play(self, disasters: int) -> None:
        """Work on the sweep through at most so many disasters, then leave it alone until it has ended."""
        happened = 0
        while happened < disasters:
            self.fill()
            time.sleep(min(self.rng.expovariate(1 / PAUSE), 4 * PAUSE))
            if self.is_complete():
                break
            if not self.crew:  # all of them have taken a signal's hint meanwhile
                continue
            self.strike()
            happened += 1
            if self.effort is FIRST and self.rng.random() < RAISE:
                self.effort, self.jobs = RAISED, jobs(self.folder, RAISED)
        self.wait()
        self.crew = [fork(self.jobs, self.said)]  # the last word, whatever the others had been told
        self.log.commands += 1
        self.wait()
        self.check()

    def fill(self) -> None:
        """Start commands until there are enough."""
        while len(self.crew) < CREW:
            clock = self.rng.choice((-DAY, 0.0, 0.0, 0.0, DAY))
            self.log.clocks += clock != 0
            self.log.commands += 1
            self.crew.append(fork(self.jobs, self.said, clock))

    def is_complete(self) -> bool:
        """Take leave of commands that have ended; whether one of them found the sweep complete."""
        gone = [process for process in self.crew if not process.is_alive()]
        self.crew = [process for process in self.crew if process not in gone]
        for process in gone:
            if process.exitcode not in ENDS:
                self.log.problems.append(f"a command ended with {process.exitcode}: {self.last_words()}")
        # Three crashes in one training would rightly count as its failure.
        for file in self.sweep.glob("leases/*.crashes"):
            file.unlink(missing_ok=True)
        return any(process.exitcode == 0 for process in gone)

    def wait(self) -> None:
        """Wait for all commands; one that hangs is a problem."""
        until = time.monotonic() + HANGS
        for process in self.crew:
            process.join(max(until - time.monotonic(), 0.0))
            if process.is_alive():
                self.log.problems.append(f"a command hangs: {self.last_words()}")
                process.kill()
                process.join()
        self.is_complete()

    def last_words(self) -> str:
        """The end of what the commands said."""
        return " | ".join(self.said.read_text(errors="replace").splitlines()[-3:]) if self.said.exists() else ""

    def strike(self) -> None:
        """Let something happen."""
        what = self.rng.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
        if what == "power cut":
            self.cut_power()
            return
        victim = self.rng.choice(self.crew)
        self.send(victim, what)
        if what == "STOP":
            time.sleep(self.rng.uniform(0.0, 2.0))
            os.kill(victim.pid or 0, signal.SIGCONT)

    def send(self, process: ForkProcess, name: str) -> None:
        """Send a signal to a command that has not been waited for."""
        os.kill(process.pid or 0, getattr(signal, f"SIG{name}"))
        self.log.signals[name] += 1

    def cut_power(self) -> None:
        """Kill every command and leave one or two files torn."""
        for process in self.crew:
            self.send(process, "KILL")
        for process in self.crew:
            process.join()
        self.is_complete()
        kept = {paths.damaged_dir(self.sweep), paths.report_dir(self.sweep)}
        files = [file for file in sorted(self.sweep.rglob("*")) if file.is_file() and not kept & set(file.parents)]
        for file in self.rng.sample(files, min(len(files), self.rng.choice((1, 2)))):
            mode = self.rng.choice(list(MODES))
            tear(file, mode, self.rng)
            self.log.torn[f"{_kind(file)} {mode}"] += 1
            self.torn[_training(self.sweep, file)] += 1

    def check(self) -> None:
        """Compare the sweep with an undisturbed one."""
        found, expected = current(self.sweep), undisturbed(self.effort)
        different = sorted(name for name in found.keys() | expected if found.get(name) != expected.get(name))
        if different:
            self.log.problems.append(f"{len(different)} files differ: {different[:3]}")
        if "Traceback" in self.said.read_text(errors="replace"):
            self.log.problems.append("a command printed a traceback")
        folders = {records.read(file, Cell).key: file.parent for file in paths.cell_files(self.sweep)}
        rows = list(ledger.read(self.sweep))
        for (key, unit, _), times in Counter((r.cell_key, r.unit, r.configuration_hash) for r in rows).items():
            file = CellStore(self.sweep, folders[key], key).training_file(unit, paths.RECORD)
            if times - 1 > self.torn[_training(self.sweep, file)]:
                self.log.problems.append(f"{file.relative_to(self.sweep)} was finished and trained {times} times")
            self.log.repeated += times - 1
        self.log.trainings += len(rows)
        self.log.sweeps += 1


def _kind(file: Path) -> str:
    """What kind of file this is: its ending behind the number of a training, otherwise its name."""
    return file.name.partition(".")[2] if file.parent.name in {"trials", "finals", "leases"} else file.name


def _training(sweep: Path, file: Path) -> str:
    """The training that a file belongs to, its cell included; a name of its own for any other file."""
    return f"{'/'.join(file.relative_to(sweep).parts[:3])} {file.parent.name}/{file.name.partition('.')[0]}"


def play_for_real(folder: Path, rng: random.Random, log: Log, disasters: int) -> None:
    """Whole commands with a pool of two workers: parent or worker is hit, and nothing of it may stay behind."""
    words = [*SHARED, *FIRST, f"paths.multirun={folder}", f"model={','.join(MODELS)}", "sweep.workers=2"]
    arena = Arena(folder, rng, log)
    for happened in range(disasters + 1):
        mark = f"{MARK}={os.getpid()}-{happened}"
        with arena.said.open("ab") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", "mmbench", "-m", *words],
                env={**os.environ, MARK: mark.partition("=")[2]},
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        log.commands += 1
        for _ in range(STRIKES if happened < disasters else 0):
            time.sleep(rng.uniform(0.0, STARTING))
            victims = [pid for pid in _marked(mark) if not _is_tracker(pid)]
            if process.poll() is not None or not victims:
                break
            name = rng.choice(("KILL", "TERM", "INT"))
            with contextlib.suppress(ProcessLookupError):
                os.kill(rng.choice(victims), getattr(signal, f"SIG{name}"))
                log.signals[name] += 1
            arena.is_complete()
        _await(lambda process=process, mark=mark: process.poll() is not None and not _marked(mark), log, "end")
        for pid in _marked(mark):
            os.kill(pid, signal.SIGKILL)
        arena.is_complete()
    arena.check()


def _leases(sweep: Path) -> bool:
    return any(sweep.glob("leases/*.lease"))


def _await(true: Callable[[], bool], log: Log, what: str) -> None:
    """Wait until something is so; a problem if it takes too long."""
    until = time.monotonic() + HANGS
    while not true():
        if time.monotonic() > until:
            log.problems.append(f"a command with workers does not {what}")
            return
        time.sleep(0.2)


def _marked(mark: str) -> list[int]:
    """Living processes that were started with a mark in their environment."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if mark.encode() in (place / "environ").read_bytes().split(b"\0"):
                found.append(int(place.name))
    return found


def _is_tracker(pid: int) -> bool:
    """Whether a process is the helper in which multiprocessing keeps count of what is shared."""
    try:
        return b"resource_tracker" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def play_in_namespaces(folder: Path, rng: random.Random, log: Log) -> None:
    """Three commands with one host name, each in a process namespace of its own, so that their numbers are the same."""
    arena = Arena(folder, rng, log)
    (folder / "jobs.pickle").write_bytes(pickle.dumps(arena.jobs))
    rights = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    inside = ["unshare", *rights, "--pid", "--fork", "--mount-proc", "--kill-child"]
    member = [*inside, sys.executable, "-m", "tests.chaos.run", "--member", str(folder)]
    crew = [subprocess.Popen(member) for _ in range(CREW)]
    log.commands += CREW
    log.namespaces += CREW
    _await(lambda: _leases(arena.sweep) or all(one.poll() is not None for one in crew), log, "start in a namespace")
    time.sleep(rng.uniform(0.0, 1.0))
    crew[0].kill()
    log.signals["KILL"] += 1
    _await(lambda: all(one.poll() is not None for one in crew), log, "end in a namespace")
    for one in crew:
        one.kill()
        if one.wait() not in ENDS:
            log.problems.append(f"a command in a namespace ended with {one.returncode}: {arena.last_words()}")
    arena.play(0)


def can_unshare() -> bool:
    """Whether this user may make process namespaces."""
    rights = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    try:
        return subprocess.run(["unshare", *rights, "--pid", "--fork", "--mount-proc", "true"]).returncode == 0
    except FileNotFoundError:
        return False


def run_seed(seed: int, signals: int, until: float, parts: Sequence[str]) -> Log:
    """All disasters of a seed.

    Args:
        seed: its number.
        signals: sweeps are begun until so many were sent.
        until: no sweep is begun after this moment of the monotonic clock.
        parts: some of :data:`PARTS`.
    """
    log, rng, began = Log(seed), random.Random(seed), time.monotonic()
    number = 0
    with tempfile.TemporaryDirectory(prefix="mmbench-chaos-") as name:

        def place() -> Path:
            nonlocal number
            number += 1
            (folder := Path(name) / str(number)).mkdir()
            return folder

        if "namespaces" in parts and can_unshare():
            play_in_namespaces(place(), rng, log)
        if "workers" in parts:
            play_for_real(place(), rng, log, disasters=4)
        while log.signals.total() < signals and time.monotonic() < until:
            Arena(place(), rng, log).play(MOST)
        log.problems += [f"kept in {_kept(Path(name), seed)}"] if log.problems else []
    log.seconds = round(time.monotonic() - began, 1)
    return log


def _kept(folder: Path, seed: int) -> Path:
    """Copy the sweeps of a seed that met problems to where they stay."""
    target = Path(tempfile.mkdtemp(prefix=f"mmbench-chaos-seed{seed}-"))
    shutil.copytree(folder, target, dirs_exist_ok=True)
    return target


def main(argv: Sequence[str]) -> int:
    """Run seeds that have no log yet, and print what all logs add up to; 1 if there were problems."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.run", description=__doc__)
    parser.add_argument("--seeds", default="0-9", help="for example 0-9 or 4; those with a log are passed over")
    parser.add_argument("--signals", type=int, default=100, help="signals of each seed")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="no sweep is begun after so many")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the logs lie")
    parser.add_argument("--member", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    if options.member is not None:
        run_command(pickle.loads((options.member / "jobs.pickle").read_bytes()), options.member / "said.txt", 0.0)
    first, _, last = options.seeds.partition("-")
    until = time.monotonic() + 60 * options.minutes
    for seed in range(int(first), int(last or first) + 1):
        file = options.results / f"seed-{seed}.json"
        if file.exists() or time.monotonic() > until:
            continue
        log = run_seed(seed, options.signals, until, PARTS if seed % 5 == 0 else ("commands",))
        files.write_text(file, json.dumps(vars(log), indent=1) + "\n")
        print(_line(log), flush=True)
    logs = [json.loads(file.read_text()) for file in sorted(options.results.glob("seed-*.json"))]
    total = Counter({name: sum(log[name] for log in logs) for name in ("clocks", "namespaces", "sweeps", "trainings")})
    sums = {name: sum(sum(log[name].values()) for log in logs) for name in ("signals", "torn")}
    problems = [problem for log in logs for problem in log["problems"]]
    print(f"{len(logs)} seeds: {sums | dict(total)}, {len(problems)} problems")
    return 1 if problems else 0


def _line(log: Log) -> str:
    """A seed in one line."""
    said = f"seed {log.seed}: {log.signals.total()} signals, {log.torn.total()} torn files, {log.sweeps} sweeps"
    return f"{said}, {log.seconds:.0f} s" + "".join(f"\n  {problem}" for problem in log.problems)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
