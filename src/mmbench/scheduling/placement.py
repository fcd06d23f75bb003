"""Runs worker pools on other machines: SLURM through submitit, or Ray.

Every allocation runs the same pool on the same shared folder; leases keep workers from repeating trainings. A time
limit shorter than a cell is normal: finished trainings stay, the current one is released, and the next allocation
resumes.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mmbench import paths
from mmbench.messages import Message, Refusal, series
from mmbench.scheduling.job import Job
from mmbench.scheduling.sweep import Sweep, join_sweep


@dataclass(frozen=True)
class PoolTask:
    """What an allocation runs; submitit calls :meth:`checkpoint` when the scheduler takes the allocation away.

    Args:
        jobs: the requested jobs.
        overrides: the command line.
    """

    jobs: Sequence[Job]
    overrides: Sequence[str]

    def __call__(self) -> int:
        """Work until nothing is left to start."""
        return join_sweep(self.jobs, self.overrides)

    def checkpoint(self) -> Any:
        """Queue the same pool again."""
        import submitit

        return submitit.helpers.DelayedSubmission(self)


def _task(sweep: Sweep) -> PoolTask:
    """Pool task of a sweep that resumes, so that no allocation moves records aside again."""
    return PoolTask([replace(job, config=job.config.resuming()) for job in sweep.jobs], list(sweep.overrides))


@dataclass(frozen=True)
class Slurm:
    """Pools on SLURM allocations.

    Args:
        allocations: number of pools.
        cluster: ``slurm``, or ``local`` for a trial without SLURM.
        dry_run: print the submission without submitting it.
        max_timeouts: number of times that a timed-out allocation is queued again.
        options: options of submitit's executor (``timeout_min``, ``slurm_partition``, ...).
    """

    allocations: int
    cluster: str
    dry_run: bool
    max_timeouts: int
    options: Mapping[str, Any]

    def __call__(self, sweep: Sweep) -> int:
        """Submit, wait, and return the worst exit code.

        Raises:
            ValueError: if submitit is missing or refuses an option.
        """
        n = min(self.allocations, max(1, sum(plan.left for plan in sweep.planned)))
        if self.dry_run:
            print(sweep.translator(self.described(sweep, n)))
            return 0
        try:
            import submitit
        except ImportError as error:
            raise Refusal("hydra/launcher=slurm needs submitit: pip install mmbench[slurm]") from error
        if not sweep.waiting:
            return 0
        folder = paths.slurm_dir(sweep.folder.resolve())
        try:
            requeue = {"slurm_max_num_timeout": self.max_timeouts} if self.cluster == "slurm" else {}
            executor = submitit.AutoExecutor(folder=folder / "%j", cluster=self.cluster, **requeue)
            executor.update_parameters(**{k: v for k, v in self.options.items() if v is not None})
        except (RuntimeError, TypeError, ValueError, NameError) as error:
            raise Refusal("hydra/launcher=slurm: {error}", error=error) from error
        task = _task(sweep)
        with executor.batch():
            submitted = [executor.submit(task) for _ in range(n)]
        names = series([job.job_id for job in submitted])
        sweep.tell(Message("submitted {n} allocations: {jobs} (logs in {folder})", n=n, jobs=names, folder=folder))
        return max(_result(job, sweep) for job in submitted)

    def described(self, sweep: Sweep, n: int) -> Message:
        """What would be submitted."""
        options = "\n".join(f"  {name}: {value}" for name, value in self.options.items() if value is not None)
        command = f"python -m mmbench -m {shlex.join(sweep.overrides)}"
        left = sum(plan.left for plan in sweep.planned)
        return Message(
            "would submit {n} allocations to {cluster}; each works on the {left} open trainings of\n  {command}\nwith\n"
            "{options}",
            n=n,
            cluster=self.cluster,
            left=left,
            command=command,
            options=options,
        )


def _result(job: Any, sweep: Sweep) -> int:
    try:
        return int(job.result())
    except Exception as error:  # submitit raises its own kinds for a lost, failed or cancelled job
        why = str(error).strip().splitlines()[-1]
        sweep.tell(Message("allocation {job} ended badly: {why}", job=job.job_id, why=why))
        return 3


@dataclass(frozen=True)
class Ray:
    """Pools as Ray tasks.

    Args:
        pools: number of pools.
        address: Ray cluster, ``auto`` for a running one, or null to start one on this machine.
        num_cpus: processors of each pool, and its number of workers unless ``sweep.workers`` is set.
        num_gpus: GPUs of each pool.
        dry_run: print the tasks without starting them.
    """

    pools: int
    address: str | None
    num_cpus: int
    num_gpus: float
    dry_run: bool

    def __call__(self, sweep: Sweep) -> int:
        """Start the tasks, wait, and return the worst exit code.

        Raises:
            ValueError: if Ray is missing or cannot be reached.
        """
        if self.dry_run:
            told = Message(
                "would start {pools} pools of {cpus} CPUs and {gpus} GPUs on {where}",
                pools=self.pools,
                cpus=self.num_cpus,
                gpus=self.num_gpus,
                where=self.address or Message("this machine"),
            )
            sweep.tell(told)
            return 0
        try:
            import ray
        except ImportError as error:
            raise Refusal("hydra/launcher=ray needs Ray: pip install mmbench[ray]") from error
        try:
            ray.init(address=self.address, ignore_reinit_error=True, log_to_driver=True, include_dashboard=False)
        except ConnectionError as error:
            raise Refusal(
                "hydra/launcher=ray: no cluster at {address}: {error}", address=self.address, error=error
            ) from error
        try:
            remote = ray.remote(num_cpus=self.num_cpus, num_gpus=self.num_gpus, max_retries=3)(_join)
            task = _task(sweep)
            return max(ray.get([remote.remote(task, self.num_cpus) for _ in range(self.pools)]))
        finally:
            ray.shutdown()


def _join(task: PoolTask, workers: int) -> int:
    """Run a pool inside a Ray task, which is no main thread and so takes no signal handlers."""
    return join_sweep([replace(job, config=job.config.with_workers(workers)) for job in task.jobs], task.overrides)
