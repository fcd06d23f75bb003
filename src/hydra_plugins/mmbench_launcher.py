"""Hydra's hooks for ``hydra/launcher=local``, ``slurm`` and ``ray``; the work is done in :mod:`mmbench.cli`.

Hydra imports every plugin at each start, so nothing heavy is imported before a sweep runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict

if TYPE_CHECKING:
    from mmbench.scheduling.sweep import Placement


class LocalLauncher(Launcher):
    """Runs all cells of a sweep on one pool of single-threaded worker processes of this machine."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keep what is needed to compose the jobs; the task function is not used, cells run in worker processes."""
        self.context = hydra_context
        self.config = config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Compose every job, run the sweep, and exit with its code when it is not 0."""
        from mmbench.cli.compose import resolved
        from mmbench.cli.errors import one_line_errors
        from mmbench.cli.run import run

        # Hydra would print a traceback of its own for an exception that leaves here.
        with one_line_errors(["debug=true"] if self.config.debug else []):
            jobs = [self._job(list(words), initial_job_idx + i) for i, words in enumerate(job_overrides)]
            composed = [resolved(job, job.hydra) for job in jobs]
            code = run(composed, list(self.config.hydra.overrides.task), self.placement())
        if code:
            raise SystemExit(code)
        return [_done(words) for words in job_overrides]

    def placement(self) -> Placement:
        """Where the pools run."""
        from mmbench.scheduling.sweep import LocalPool

        return LocalPool()

    def _job(self, overrides: list[str], number: int) -> DictConfig:
        job = self.context.config_loader.load_sweep_config(self.config, overrides)
        with open_dict(job):
            job.hydra.job.id = job.hydra.job.num = number
        return job


class SlurmLauncher(LocalLauncher):
    """Runs a sweep on pools that SLURM starts, through submitit."""

    def __init__(self, allocations: int, cluster: str, dry_run: bool, max_timeouts: int, options: DictConfig) -> None:
        plain = OmegaConf.to_container(OmegaConf.create(options))
        self.arguments = (allocations, cluster, dry_run, max_timeouts, plain)

    def placement(self) -> Placement:
        """Pools on allocations."""
        from mmbench.scheduling.placement import Slurm

        return Slurm(*self.arguments)  # type: ignore[arg-type]


class RayLauncher(LocalLauncher):
    """Runs a sweep on pools that Ray starts."""

    def __init__(self, pools: int, address: str | None, num_cpus: int, num_gpus: float, dry_run: bool) -> None:
        self.arguments = (pools, address, num_cpus, num_gpus, dry_run)

    def placement(self) -> Placement:
        """Pools as Ray tasks."""
        from mmbench.scheduling.placement import Ray

        return Ray(*self.arguments)


def _done(overrides: Sequence[str]) -> JobReturn:
    result: Any = JobReturn()
    result.overrides, result.status, result.return_value = overrides, JobStatus.COMPLETED, None
    return result
