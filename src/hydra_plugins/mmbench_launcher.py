"""Hydra's hook for ``hydra/launcher=local``; the work is done by :mod:`mmbench.cli.sweep`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict


class LocalLauncher(Launcher):
    """Runs all cells of a sweep on one pool of single-threaded worker processes of this machine."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keep what is needed to compose the jobs; the task function is not used, cells run in worker processes."""
        self.context = hydra_context
        self.config = config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Compose every job, run the sweep, and exit with its code when cells failed."""
        from mmbench.cli.compose import resolved
        from mmbench.cli.sweep import run_sweep

        jobs = [self._job(list(words), initial_job_idx + i) for i, words in enumerate(job_overrides)]
        composed = [resolved(job, job.hydra) for job in jobs]
        code = run_sweep(composed, list(self.config.hydra.overrides.task))
        if code:
            raise SystemExit(code)
        return [_done(words) for words in job_overrides]

    def _job(self, overrides: list[str], number: int) -> DictConfig:
        job = self.context.config_loader.load_sweep_config(self.config, overrides)
        with open_dict(job):
            job.hydra.job.id = job.hydra.job.num = number
        return job


def _done(overrides: Sequence[str]) -> JobReturn:
    result: Any = JobReturn()
    result.overrides, result.status, result.return_value = overrides, JobStatus.COMPLETED, None
    return result
