"""One scheduler: plan the cells of a sweep, keep a pool of single-threaded workers on them, have the report written."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TextIO

from mmbench import faults, paths
from mmbench.messages import Message, Refusal, Template, Translator
from mmbench.messages.commands import command_line, override
from mmbench.messages.refused import told
from mmbench.scheduling import manifest, pilot, pinned, worker
from mmbench.scheduling.configuration import JobConfig
from mmbench.scheduling.devices import Machine
from mmbench.scheduling.earlier_commands import check_alike, check_effort, check_fixed, check_sample
from mmbench.scheduling.job import Job
from mmbench.scheduling.planning import Planned, check_shared, plan_cells
from mmbench.scheduling.pool import Pool
from mmbench.scheduling.progress import Progress
from mmbench.store import crashes, files, ledger, trackers
from mmbench.store.bounds import Damaged
from mmbench.store.leases import Leases, at_work, check_storage, make_leases, present
from mmbench.store.mending import mend, mend_after, retry_finals
from mmbench.store.records import CellStore
from mmbench.training.settings import check_machine
from mmbench.tuning.study import list_unlisted

#: What is said of records that are moved aside, by whether that was asked for.
MOVED = {
    True: Template("{cell}: its records set aside; moved to {folder}, nothing reused"),
    False: Template("{cell}: its records belong to other data or settings; moved to {folder}, nothing reused"),
}


@dataclass(frozen=True)
class Given:
    """What a launcher gives to a pool.

    Args:
        cores: processors, if the process of the pool may run on so many; None for all that it may run on.
        gpus: number of GPUs, which ones the variable says, or a part of one that pools share; None for all that the
            process of the pool sees.
    """

    cores: int | None = None
    gpus: float | None = None


@dataclass(frozen=True)
class Sweep:
    """A planned sweep.

    Args:
        folder: folder of the sweep.
        jobs: the requested jobs.
        planned: its cells.
        overrides: the command line, for the manifest.
        typed: the command line with what says where its files lie and where it runs; empty where that is all there is.
    """

    folder: Path
    jobs: Sequence[Job]
    planned: Sequence[Planned]
    overrides: Sequence[str]
    typed: Sequence[str] = ()

    @staticmethod
    def plan(
        jobs: Sequence[Job],
        overrides: Sequence[str],
        translator: Translator | None = None,
        typed: Sequence[str] = (),
    ) -> Sweep:
        """Read the data, check all user input, and find out which cells are finished.

        Args:
            jobs: the requested jobs.
            overrides: the command line, for the manifest.
            translator: language of the printed data summary; by default that of the sweep.
            typed: the command line with what says where its files lie and where it runs.

        Raises:
            ValueError: for any user error that can be seen before the first cell runs.
        """
        check_shared(jobs)
        config, folder = jobs[0].config, jobs[0].sweep_dir
        translator = translator or Translator(config.plain["lang"])
        print(translator(Message("sweep {name} -> {folder}", name=config.sweep.name, folder=folder)), flush=True)
        return Sweep(folder, jobs, plan_cells(jobs, config.study.resume, translator), overrides, typed)

    @property
    def config(self) -> JobConfig:
        """Configuration of the sweep as a whole, which all jobs share."""
        return self.jobs[0].config

    @property
    def translator(self) -> Translator:
        """Into the language that the command was asked to speak."""
        return Translator(self.config.plain["lang"])

    def tell(self, message: Message, file: TextIO | None = None) -> None:
        """Print a sentence in the language of the command."""
        print(self.translator(message), file=file, flush=True)

    @property
    def waiting(self) -> list[Job]:
        """Cells that are not finished."""
        return [plan.job for plan in self.planned if not plan.finished]

    def check(self) -> None:
        """Refuse what does not go with what earlier commands planned for this sweep, and tell what has yet to follow.

        Raises:
            ValueError: for another margin, primary metric, sample of validation or other contrasts, for effort that is
                lowered or raised for some conditions of a model only, for other code than a model was begun with, and
                with ``resume=never`` if a cell has records already.
        """
        check_fixed(self.folder, self.config)
        check_sample(self.folder, self.planned)
        for line in check_effort(self.folder, self.planned):
            self.tell(line)
        check_alike(self.folder, self.planned, afresh=self.config.study.resume == "force")
        for plan in self.planned:
            if self.config.study.resume == "never" and paths.cell_file(plan.store.folder).exists():
                raise Refusal(
                    "study.resume=never, but {folder} has records; use auto, force or another name",
                    folder=plan.store.folder,
                )

    def leases(self) -> Leases:
        """The lease server of the sweep, which whoever asks for it closes.

        Raises:
            ValueError: for one that is unknown or does not answer.
        """
        study = self.config.study
        return make_leases(study.storage, self.folder, study.lease_timeout)

    @contextlib.contextmanager
    def present(self) -> Iterator[None]:
        """Show that this command is at work on the sweep.

        Raises:
            ValueError: for a lease server that does not answer, and as :func:`mmbench.store.leases.present`.
        """
        self.leases().close()  # a server that does not answer is told here, and not by each worker
        with present(self.config.study.storage, self.folder, self.config.study.lease_timeout):
            yield

    @contextlib.contextmanager
    def opened(self) -> Iterator[None]:
        """Open the sweep while no other command does, and show that this one is at work on it.

        Raises:
            ValueError: as :meth:`present`, and for what does not go with earlier commands.
        """
        check_storage(self.config.study.storage)
        with contextlib.ExitStack() as stack:
            with files.locked(paths.lock_file(self.folder, "plan")):
                self.check()
                self.check_running()
                stack.enter_context(self.present())
                self.open()
            yield

    def check_running(self) -> None:
        """Refuse to set records aside while somebody works on the sweep.

        Raises:
            ValueError: for other data or settings than the records', or ``resume=force``, while leases are held.
        """
        aside = [plan for plan in self.planned if not plan.finished and self._is_set_aside(plan.store)]
        if not aside:
            return
        with contextlib.closing(self.leases()) as leases:
            running = at_work(leases, self.folder)
        if running:
            raise Refusal(
                "{cell}: another command is at work on this sweep, so its records cannot be set aside for other data, "
                "settings or study.resume=force; only budget.trials and budget.seeds can be raised now; wait until it "
                "has ended, or take another sweep.name",
                cell=aside[0].task.cell,
            )

    def _is_set_aside(self, store: CellStore) -> bool:
        recorded = paths.cell_file(store.folder).exists()
        return recorded and (self.config.study.resume == "force" or not store.is_current())

    def check_machine(self, given: Given | None = None) -> None:
        """Refuse what this machine cannot train with; another one that the cells are sent to may.

        Args:
            given: as in :meth:`machine`.

        Raises:
            ValueError: as :func:`mmbench.training.settings.check_machine`, as
                :func:`mmbench.scheduling.pinned.check_sockets`, and as
                :meth:`mmbench.scheduling.devices.Machine.here`.
        """
        if self.waiting:
            pinned.check_sockets()
        sections = [job.config.plain["training"] for job in self.jobs]
        asked = ((one["accelerator"], one["precision"], one["compile"]) for one in sections)
        for accelerator, precision, compiled in dict.fromkeys(asked):
            check_machine(accelerator, precision, compiled=compiled)
        self.machine(given)

    def machine(self, given: Given | None = None) -> Machine:
        """What a pool of this process may use.

        Args:
            given: what a launcher has given to it; None for all that this process sees.

        Raises:
            ValueError: as :meth:`mmbench.scheduling.devices.Machine.here`.
        """
        given = given or Given()
        return Machine.here(self.config.plain["training"], given.cores, given.gpus)

    def open(self) -> None:
        """Write the manifest, and claim the folders of the cells that will run."""
        plan = manifest.write_manifest(self.folder, self.jobs, self.planned, self.overrides)
        self.tell(Message("plan {plan}", plan=plan))
        faults.reach("planned")
        self._list_again()
        self._claim()

    def _list_again(self) -> None:
        """Give trainings of finished cells a row again whose line was lost; workers see to those of other cells."""
        seen = ledger.Reader(self.folder)  # read again: another command may have done it since this one was planned
        unlisted = [plan for plan in self.planned if plan.unlisted]
        if n := sum(list_unlisted(plan.task, plan.store, seen) for plan in unlisted):
            self.tell(
                Message.counted(
                    "{file}: {n} training whose line was lost is listed again from its record, without its cost",
                    "{file}: {n} trainings whose lines were lost are listed again from their records, without their "
                    "costs",
                    n,
                    file=paths.ledger_file(self.folder),
                )
            )

    def _claim(self) -> None:
        """Claim the folders of unfinished cells; records of another key, or all if so asked, are moved aside."""
        afresh = self.config.study.resume == "force"
        for plan in self.planned:
            if plan.finished:
                plan.store.locate(plan.job.config.dataset.path)
                continue
            cell = plan.job.record(plan.task)
            if afresh or plan.failure() is not None:  # a cell that failed is tried again, by what may have more memory
                crashes.forget(plan.store.sweep_dir, plan.store.short_key)
                for line in () if afresh else retry_finals(plan.store):
                    self.tell(line)
            moved = plan.store.open(cell, afresh=afresh)
            if moved:
                self.tell(Message(MOVED[afresh], cell=plan.task.cell, folder=moved))

    def run_pool(self, given: Given | None = None) -> int:
        """Run the unfinished cells on a pool of this machine.

        Args:
            given: what a launcher has given to it; None for all that this process sees.

        Returns:
            The pool's exit code.
        """
        machine = self.machine(given)
        measured = self._sharing(machine)
        if self.waiting:
            self.tell(machine.described(self.config.sweep, measured))
        planned = {plan.store.key: plan for plan in self.planned}
        progress = Progress(
            self.folder,
            {key: plan.task.cell for key, plan in planned.items()},
            trainings={key: plan.trainings for key, plan in planned.items()},
            has_record=lambda key, unit: planned[key].store.training_file(unit, paths.RECORD).exists(),
            has_failed=lambda key: paths.failure_file(planned[key].store.folder).exists(),
            data={plan.task.cell.dataset: plan.job.config.dataset.name for plan in self.planned},
            translator=self.translator,
        )
        progress.start(finished=[plan.store.key for plan in self.planned if plan.finished])
        layout = machine.layout(self.config.sweep, measured)
        return Pool(self.waiting, layout, progress).run() if self.waiting else 0

    def _sharing(self, machine: Machine) -> Mapping[str, int] | None:
        """Workers that a pilot finds useful, by device; None where it is not to be asked.

        What it finds stands in the manifest, so that a command that resumes the sweep need not ask again where that
        holds for its machine and its trainings too.
        """
        waiting = [plan for plan in self.planned if not plan.finished]
        if not machine.needs_pilot(self.config.sweep) or sum(plan.left for plan in waiting) <= len(machine.groups):
            return None
        models = ["/".join(plan.task.cell[:2]) for plan in waiting]
        earlier = manifest.read_sharing(self.folder, models, machine.cores)
        known = [one for one in earlier if pilot.holds(one, waiting, machine)]
        found = pilot.sharings(waiting, machine, known)
        for one in {one.card: one for one in found.values() if one not in known}.values():
            manifest.write_sharing(self.folder, one)
            self.tell(pilot.described(one))
        # There may be more devices for the same cores than where it was found.
        return {devices: min(one.workers, machine.most_per_device) for devices, one in found.items()}

    def export(self) -> None:
        """Write the requested exports of the cells that were finished before; workers have written those of others.

        Raises:
            Damaged: where what is stored of a final run cannot be read.
        """
        for plan in self.planned:
            if plan.finished:
                worker.export_cell(plan.job, plan.store)

    def conclude(self, code: int) -> int:
        """Print which cells failed and how to resume; return the exit code of the sweep."""
        for plan in self.planned:
            if reason := plan.failure():
                self.tell(Message("failed: {cell}: {reason}", cell=plan.task.cell, reason=reason), sys.stderr)
                code = code or 1
        if code not in (0, 1):
            command = sweep_command(self.typed or self.overrides, str(self.config.sweep.name))
            left = Message("not finished; this goes on from the last finished training: {command}", command=command)
            self.tell(left, sys.stderr)
        return code


class Placement(Protocol):
    """Runs the unfinished cells of an opened sweep; a dry run only prints where they would run."""

    @property
    def dry_run(self) -> bool:
        """Whether nothing is to be started or written."""

    def check(self, sweep: Sweep) -> None:
        """Refuse, before anything is written, what the place does not have.

        Raises:
            ValueError: naming the setting.
        """

    def __call__(self, sweep: Sweep) -> int:
        """Run and return the exit code."""


class LocalPool:
    """A pool on this machine."""

    dry_run = False

    def check(self, sweep: Sweep) -> None:
        """Refuse what this machine cannot train with."""
        sweep.check_machine()

    def __call__(self, sweep: Sweep) -> int:
        """Run the pool."""
        return sweep.run_pool()


def run_sweep(
    jobs: Sequence[Job],
    overrides: Sequence[str],
    report: Callable[[Path], str],
    place: Placement | None = None,
    keep: Callable[[Path], None] = lambda folder: None,
    typed: Sequence[str] = (),
) -> int:
    """Plan, run and report a sweep.

    Args:
        jobs: the requested jobs.
        overrides: the command line, for the manifest.
        report: writes the report of a sweep folder and returns what a terminal shows of it.
        place: where the unfinished cells run; by default on a pool of this machine.
        keep: writes what is to be kept of the command into the folder of the sweep.
        typed: the command line with what says where its files lie and where it runs, which goes on with the sweep; by
            default ``overrides``.

    Returns:
        0, 1 if a cell failed, or the code that stopped it.

    Raises:
        ValueError: for any user error that can be seen before the first cell runs.
    """
    place = place or LocalPool()
    if place.dry_run:
        sweep = Sweep.plan(jobs, overrides)
        place.check(sweep)
        return place(sweep)
    mended: set[Path] = set()
    while True:
        sweep, code = _run(jobs, overrides, place, keep, typed)
        if code == 128 + signal.SIGTERM:  # what sent it kills soon
            sweep.tell(no_report(sweep.folder))
            return sweep.conclude(code)
        try:
            sweep.export()
            print(report(sweep.folder))
        except SystemExit as end:
            if end.code == 128 + signal.SIGTERM:
                sweep.tell(no_report(sweep.folder))
                sweep.conclude(code)
            raise
        except Damaged as error:  # in the middle of a file, which only reading it shows
            if error.path in mended:
                raise
            mended.add(error.path)
            for line in mend_after(sweep.folder, error):
                print(sweep.translator(line), flush=True)
            jobs = [job.resuming() for job in jobs]  # what was to be set aside is, and the records are this command's
            continue
        except OSError as error:  # a full disk stops the workers and the report; how to go on is told all the same
            ended = sweep.conclude(code)
            if ended == 0 or isinstance(error, BrokenPipeError):
                raise
            sweep.tell(Message("error: {message}", message=told(error)), sys.stderr)
            return ended
        return sweep.conclude(code)


def _run(
    jobs: Sequence[Job],
    overrides: Sequence[str],
    place: Placement,
    keep: Callable[[Path], None],
    typed: Sequence[str],
) -> tuple[Sweep, int]:
    """Plan and run a sweep; its exit code."""
    translator = Translator(jobs[0].config.plain["lang"])
    for line in mend(jobs[0].sweep_dir):
        print(translator(line), flush=True)
    sweep = Sweep.plan(jobs, overrides, typed=typed)
    # Wrong settings are refused before anything runs.
    for line in trackers.make_tracker(sweep.config.plain["tracking"], sweep.folder).lacking:
        sweep.tell(line, sys.stderr)
    place.check(sweep)
    with sweep.opened():
        keep(sweep.folder)
        try:
            return sweep, place(sweep)
        except BrokenPipeError:  # nobody reads what is printed; somebody may still read errors
            sweep.conclude(128 + signal.SIGPIPE)
            raise


def no_report(folder: Path) -> Message:
    """What is said of a sweep where SIGTERM leaves no time for its report."""
    return Message("no report, for lack of time: {command}", command=command_line(["report", str(folder)]))


def join_sweep(jobs: Sequence[Job], overrides: Sequence[str], given: Given | None = None) -> int:
    """Add a pool of this machine to a sweep that somebody else has planned and will report.

    Args:
        jobs: the requested jobs.
        overrides: the command line.
        given: what the pool may use; None for all that this process sees.

    Raises:
        ValueError: if the machine cannot train them, or has other code or versions than what is already trained.
    """
    translator = Translator(jobs[0].config.plain["lang"])
    for line in mend(jobs[0].sweep_dir):
        print(translator(line), flush=True)
    sweep = Sweep.plan(jobs, overrides)
    sweep.check_machine(given)
    # An allocation may begin days after it was asked for.
    check_alike(sweep.folder, sweep.planned, afresh=False)
    with sweep.present():
        return sweep.run_pool(given)


def sweep_command(words: Sequence[str], name: str) -> str:
    """Command that resumes a sweep, also if its name was derived from the words.

    How records of before were to be treated is left out: with ``study.resume=force`` it would begin afresh each time.
    """
    words = [word for word in words if not word.lstrip("+").startswith("study.resume=")]
    named = any(word.lstrip("+").startswith("sweep.name=") for word in words)
    return command_line(["-m", *words, *([] if named else [override("sweep.name", name)])])
