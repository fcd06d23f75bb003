"""Runs worker pools on other machines: SLURM through submitit, or Ray.

Every allocation runs the same pool on the same shared folder; leases keep workers from repeating trainings. A time
limit shorter than a cell is normal: finished trainings stay, the current one is released, and the next allocation
resumes.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from mmbench import paths
from mmbench.data.readers.text_table import shortened
from mmbench.messages import Message, Refusal, Template, series
from mmbench.messages.commands import command_line
from mmbench.nn.hyperparameters import one_of
from mmbench.scheduling.configuration import Section
from mmbench.scheduling.devices import Machine
from mmbench.scheduling.job import Job
from mmbench.scheduling.pool import EXIT_INCOMPLETE
from mmbench.scheduling.sweep import Given, Sweep, join_sweep
from mmbench.training.settings import devices_here

#: Options of an allocation whose values are names, ``gpu`` often among them.
NO_REQUEST = (
    "name",
    "gpus_per_node",
    "slurm_partition",
    "slurm_account",
    "slurm_qos",
    "slurm_constraint",
    "slurm_setup",
)
#: Where submitit can start a pool: a cluster, processes of this machine, or this process.
CLUSTERS = ("slurm", "local", "debug")
#: An exit code above it names a signal.
SIGNALLED = 128
#: What is told of a pool that did not end by itself.
ALLOCATION = Template("allocation {name} ended badly: {why}")
POOL = Template("pool {name} ended badly: {why}")


@dataclass(frozen=True)
class PoolTask:
    """What an allocation runs; submitit calls :meth:`checkpoint` when the scheduler takes the allocation away.

    Args:
        jobs: the requested jobs.
        overrides: the command line.
        given: what the launcher gives to the pool; None for all that it sees.
    """

    jobs: Sequence[Job]
    overrides: Sequence[str]
    given: Given | None = None

    def __call__(self) -> int:
        """Work until nothing is left to start."""
        return join_sweep(self.jobs, self.overrides, self.given)

    def checkpoint(self) -> Any:
        """Queue the same pool again."""
        import submitit

        return submitit.helpers.DelayedSubmission(self)


def _task(sweep: Sweep, given: Given) -> PoolTask:
    """Pool task of a sweep that resumes, so that no allocation moves records aside again."""
    return PoolTask([job.resuming() for job in sweep.jobs], list(sweep.overrides), given)


@dataclass(frozen=True)
class Slurm:
    """Pools on SLURM allocations.

    Args:
        allocations: number of pools.
        cluster: ``slurm``; for a trial without SLURM ``local``, processes of this machine, or ``debug``, this process.
        dry_run: print the submission without submitting it.
        max_timeouts: number of times that a timed-out allocation is queued again.
        options: options of submitit's executor (``timeout_min``, ``slurm_partition``, ...).
    """

    allocations: int
    cluster: str
    dry_run: bool
    max_timeouts: int
    options: Mapping[str, Any]

    def __post_init__(self) -> None:
        _check_whole("allocations", self.allocations)
        _check_whole("max_timeouts", self.max_timeouts, least=0)
        _check_switch("dry_run", self.dry_run)
        one_of("hydra.launcher.cluster", self.cluster, CLUSTERS)
        if self.options.get("cpus_per_task") is not None:
            _check_whole("options.cpus_per_task", self.options["cpus_per_task"])

    def machine(self, training: Section) -> Machine | None:
        """What a pool may use of its allocation, as it is asked for.

        Returns:
            None where GPUs are asked for by other options than ``gpus_per_node``: only the allocation can tell.

        Raises:
            ValueError: if the allocation has fewer GPUs than the trainings need.
        """
        gpus, cores = self._gpus, self.options.get("cpus_per_task") or 1
        if gpus is None:
            return None
        _check_asked(training, gpus, "hydra.launcher.options.gpus_per_node")
        return Machine.of(training, [str(number) for number in range(gpus)], cores)

    @property
    def _gpus(self) -> int | None:
        """GPUs of an allocation; None where other options than ``gpus_per_node`` ask for them."""
        gpus = _count(self.options.get("gpus_per_node"))
        others = [f"{name}={value}" for name, value in self.options.items() if name not in NO_REQUEST and value]
        return None if not gpus and any(word in other for other in others for word in ("gpu", "gres")) else gpus

    def check(self, sweep: Sweep) -> None:
        """Refuse allocations that cannot train what is planned, or that cannot be asked for.

        Raises:
            ValueError: naming the setting, and if submitit is missing or refuses an option.
        """
        for job in sweep.jobs:
            self.machine(job.config.plain["training"])
        if sweep.waiting and not self.dry_run:
            with tempfile.TemporaryDirectory() as folder:  # some executors make theirs at once
                self._executor(Path(folder))

    def __call__(self, sweep: Sweep) -> int:
        """Submit, wait, and return the exit code of all pools together."""
        n = _useful(self.allocations, sweep)
        if self.dry_run:
            print(sweep.translator(self.described(sweep, n)))
            return 0
        if not sweep.waiting:
            return 0
        folder = paths.slurm_dir(sweep.folder.resolve())
        executor = self._executor(folder)
        task = _task(sweep, Given(self.options.get("cpus_per_task"), self._gpus))
        with executor.batch():
            submitted = [executor.submit(task) for _ in range(n)]
        names = series([job.job_id for job in submitted])
        sweep.tell(Message("submitted {n} allocations: {jobs} (logs in {folder})", n=n, jobs=names, folder=folder))
        return _together([_code(job.result, ALLOCATION, job.job_id, sweep) for job in submitted])

    def _executor(self, folder: Path) -> Any:
        """What submits.

        Args:
            folder: where the allocations log.

        Raises:
            ValueError: if submitit is missing or refuses an option.
        """
        try:
            import submitit
        except ImportError as error:
            raise Refusal("hydra/launcher=slurm needs submitit: pip install 'mmbench[slurm]'") from error
        try:
            requeue = {"slurm_max_num_timeout": self.max_timeouts} if self.cluster == "slurm" else {}
            executor = submitit.AutoExecutor(folder=folder / "%j", cluster=self.cluster, **requeue)
            executor.update_parameters(**{k: v for k, v in self.options.items() if v is not None})
        except (RuntimeError, TypeError, ValueError, NameError) as error:
            raise Refusal("hydra/launcher=slurm: {error}", error=error) from error
        return executor

    def described(self, sweep: Sweep, n: int) -> Message:
        """What would be submitted."""
        options = "\n".join(f"  {name}: {value}" for name, value in self.options.items() if value is not None)
        command = command_line(["-m", *sweep.overrides])
        left = sum(plan.left for plan in sweep.planned)
        machine, asked = self.machine(sweep.config.plain["training"]), sweep.config.sweep
        return Message(
            "would submit {n} allocations to {cluster}; each works on the {left} open trainings of\n  {command}\nwith\n"
            "{options}\neach: {workers}",
            n=n,
            workers=Message("as many workers as its GPUs take") if machine is None else machine.described(asked),
            cluster=self.cluster,
            left=left,
            command=command,
            options=options,
        )


def _useful(pools: int, sweep: Sweep) -> int:
    """Number of pools, no more than there are trainings to run."""
    return min(pools, max(1, sum(plan.left for plan in sweep.planned)))


def _code(result: Callable[[], Any], badly: Template, name: object, sweep: Sweep) -> int:
    """Exit code of one of several pools; one that ended badly is told and leaves its work to the others.

    Args:
        result: waits for the pool and gives its code.
        badly: what is told, of ``{name}`` and ``{why}``.
        name: of the pool.
        sweep: what it works on.
    """
    try:
        return int(result())
    except Exception as error:  # submitit and Ray raise their own kinds for what was lost, failed or cancelled
        why = (str(error).strip().splitlines() or [type(error).__name__])[-1]
        sweep.tell(Message(badly, name=name, why=why))
        return EXIT_INCOMPLETE


def _together(codes: Sequence[int]) -> int:
    """Exit code of several pools: 0 if one of them saw that every cell is over, whatever became of the others.

    A signal to a pool, such as that of a cancelled allocation, is none to this command.
    """
    return 0 if 0 in codes else max(EXIT_INCOMPLETE if code > SIGNALLED else code for code in codes)


@dataclass(frozen=True)
class Ray:
    """Pools as Ray tasks.

    Args:
        pools: number of pools; no more are started than there are trainings to run.
        address: Ray cluster, ``auto`` for a running one, or null to start one on this machine.
        num_cpus: processors of each pool.
        num_gpus: GPUs of each pool, or a part of one that pools share.
        dry_run: print the tasks without starting them.
    """

    pools: int
    address: str | None
    num_cpus: int
    num_gpus: float
    dry_run: bool

    def __post_init__(self) -> None:
        _check_whole("pools", self.pools)
        _check_whole("num_cpus", self.num_cpus)
        _check_switch("dry_run", self.dry_run)
        gpus = self.num_gpus
        number = isinstance(gpus, int | float) and not isinstance(gpus, bool) and 0 <= gpus < math.inf
        if not number or (gpus > 1 and gpus != int(gpus)):
            raise Refusal(
                "hydra.launcher.num_gpus={gpus} must be a whole number of at least 0, or a part of one GPU",
                gpus=shortened(f"{gpus}"),
            )

    def machine(self, training: Section) -> Machine:
        """What a pool may use, as it is asked for; less than a GPU is a part of one.

        Raises:
            ValueError: for fewer GPUs than the trainings need.
        """
        gpus = math.ceil(self.num_gpus)
        _check_asked(training, gpus, "hydra.launcher.num_gpus")
        return Machine.of(training, [str(number) for number in range(gpus)], self.num_cpus, whole=self.num_gpus == gpus)

    def check(self, sweep: Sweep) -> None:
        """Refuse pools that cannot train what is planned, or that Ray cannot start.

        Raises:
            ValueError: naming the setting, and if Ray is missing or cannot be reached.
        """
        for job in sweep.jobs:
            self.machine(job.config.plain["training"])
        if sweep.waiting and not self.dry_run:
            ray = _connected(self.address)  # and stays so until the pools have ended, or this process has
            self._check_room(sweep, [node["Resources"] for node in ray.nodes() if node["Alive"]])

    def __call__(self, sweep: Sweep) -> int:
        """Start the tasks, wait, and return the exit code of all pools together."""
        n = _useful(self.pools, sweep)
        if self.dry_run:
            told = Message(
                "would start {pools} pools of {cpus} CPUs and {gpus} GPUs on {where}; each: {workers}",
                pools=n,
                workers=self.machine(sweep.config.plain["training"]).described(sweep.config.sweep),
                cpus=self.num_cpus,
                gpus=self.num_gpus,
                where=self.address or Message("this machine"),
            )
            sweep.tell(told)
            return 0
        if not sweep.waiting:
            return 0
        ray = _connected(self.address)
        try:
            remote = ray.remote(num_cpus=self.num_cpus, num_gpus=self.num_gpus, max_retries=3)(_join)
            task = _task(sweep, Given(self.num_cpus, self.num_gpus))
            pools = [remote.remote(task) for _ in range(n)]
            return _together([_code(partial(ray.get, one), POOL, number, sweep) for number, one in enumerate(pools, 1)])
        finally:
            ray.shutdown()

    def _check_room(self, sweep: Sweep, machines: Sequence[Mapping[str, float]]) -> None:
        """Refuse a pool that no machine can hold, for which Ray would wait without end; a cluster may still grow.

        Raises:
            ValueError: if Ray was started on this machine alone, and it is too small.
        """
        asked = {"CPU": self.num_cpus, "GPU": self.num_gpus}
        if any(all(machine.get(kind, 0) >= number for kind, number in asked.items()) for machine in machines):
            return
        told = {"cpus": self.num_cpus, "gpus": self.num_gpus}
        if self.address is None:
            raise Refusal(
                "hydra/launcher=ray: this machine has no {cpus} CPUs and {gpus} GPUs for a pool; it has {here}",
                **told,
                here=devices_here(),
            )
        sweep.tell(
            Message("no machine of the cluster has {cpus} CPUs and {gpus} GPUs; waiting until one joins it", **told)
        )


def _connected(address: str | None) -> Any:
    """Ray's module, connected to a cluster, or to one that it starts on this machine.

    Raises:
        ValueError: if Ray is missing or cannot be reached.
    """
    try:
        import ray
    except ImportError as error:
        raise Refusal("hydra/launcher=ray needs Ray: pip install 'mmbench[ray]'") from error
    if not ray.is_initialized():
        try:
            ray.init(address=address, log_to_driver=True, include_dashboard=False)
        except ConnectionError as error:
            raise Refusal(
                "hydra/launcher=ray: no cluster at {address}: {error}", address=address, error=error
            ) from error
    return ray


def _join(task: PoolTask) -> int:
    """Run a pool inside a Ray task, which is no main thread and so takes no signal handlers."""
    return task()


def _check_whole(setting: str, value: object, *, least: int = 1) -> None:
    """Refuse a setting of the launcher that is no whole number, or a smaller one than it can be.

    Raises:
        ValueError: naming the setting.
    """
    if type(value) is not int or value < least:
        raise Refusal(
            "{key}={value} must be a whole number of at least {least}",
            key=f"hydra.launcher.{setting}",
            value=shortened(f"{value}"),
            least=least,
        )


def _check_switch(setting: str, value: object) -> None:
    """Refuse a setting of the launcher that is neither true nor false.

    Raises:
        ValueError: naming the setting.
    """
    if not isinstance(value, bool):
        key = f"hydra.launcher.{setting}"
        raise Refusal("{key}={value} must be true or false", key=key, value=shortened(f"{value}"))


def _count(gpus: object) -> int:
    """Number of GPUs of ``2`` or, as SLURM takes it too, ``a100:2``.

    Raises:
        ValueError: if it is neither.
    """
    word = str(0 if gpus is None else gpus).rpartition(":")[2]
    if not word.isdecimal():
        raise Refusal("hydra.launcher.options.gpus_per_node={gpus} must be a number, or TYPE:NUMBER", gpus=gpus)
    return int(word)


def _check_asked(training: Section, gpus: int, setting: str) -> None:
    """Refuse pools with fewer GPUs than a training needs.

    Raises:
        ValueError: naming the setting.
    """
    accelerator = training["accelerator"]
    on_gpu = accelerator == "gpu" or (accelerator == "auto" and gpus > 0)
    if on_gpu and gpus < training["devices"]:
        raise Refusal(
            "training.accelerator={accelerator} training.devices={devices}, but {setting}={gpus}",
            accelerator=accelerator,
            devices=training["devices"],
            setting=setting,
            gpus=gpus,
        )
